//! Benchmarks: ratios within one interleaved run, written as flat JSON objects.
//!
//! Absolute times of a shared machine say little; every figure that is judged compares our work with a raw loop over the
//! same bytes on the same file system, in blocks that alternate (raw, ours, ours, raw).

pub mod agent;
pub mod allocation;
pub mod counting;
pub mod draws;
pub mod plot;
pub mod report;
pub mod snapshots;
pub mod stage;
pub mod statistics;
pub mod w4;
pub mod w8;
pub mod w9;
