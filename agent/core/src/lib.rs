//! Every decision of the agent, without I/O: which ledger record to write, which effect to ask for, what to tell
//! the master. See `step` for the one entry point.
#![forbid(unsafe_code)]

pub mod effect;
