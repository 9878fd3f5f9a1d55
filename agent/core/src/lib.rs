//! Every decision of the agent, without I/O: which ledger record to write, which effect to ask for, what to tell
//! the master.
//!
//! [`Agent::step`] is the one entry point. It does not know how effects are carried out, how records are stored
//! or what time it is. Invariant: whatever leaves a [`Step`] as an output is explained by the records of this
//! step and of those before it; the shell lets outputs go only after those records are synced.
#![forbid(unsafe_code)]
#![warn(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::float_arithmetic,
    clippy::wildcard_enum_match_arm
)]

mod agent;
mod books;
pub mod effect;
mod link;
mod order;
mod report;
mod status;
mod step;
mod task;
mod timer;
mod volume;

pub use agent::Agent;
pub use books::Books;
pub use report::stamp;
pub use step::{Config, Input, Output, Severity, Step};
