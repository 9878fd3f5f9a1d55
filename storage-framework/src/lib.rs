//! The storage framework's shell: a client session for framework authors, and the shared service scheduler.
//!
//! [`sdk`] speaks the native interface of the master and knows nothing of services; [`service`] runs the scheduler of
//! `berth-framework-core` on it, with a ledger and an interface of its own. It decides nothing. Invariant: what leaves
//! the process has been synced.
#![forbid(unsafe_code)]

pub mod sdk;
pub mod service;
