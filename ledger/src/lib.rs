//! Checksummed append-only journal over a narrow file-system trait: the durable memory of the agent and of the scheduler.
//!
//! [`disk`] is the only way to storage and has two implementations, a real folder and a simulated one that
//! loses and tears whatever was not synced. [`journal`] keeps opaque records in order on such a disk.
//! This crate does not know what the records mean, knows no threads, no clock and no async; the shells own those.
//! Invariant: what [`journal::Journal::commit`] answered is read back by the next open, or the open refuses.

#![forbid(unsafe_code)]

pub mod disk;
pub mod journal;
