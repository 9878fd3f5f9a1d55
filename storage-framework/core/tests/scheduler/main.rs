//! The scheduler against a small cluster: stories, and random events with crashes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;
mod deletion;
mod properties;
mod scenarios;
