//! The shell's processes against a master that says what the test wants: sessions, restarts, the interface for users.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod master;
mod sdk;
mod service;
