//! Every decision of the service scheduler: documents, evaluation of offers, and what to do next.
//!
//! It knows neither sockets nor files nor the clock: time and events come in, calls and records go out. Invariant:
//! an output may leave only after the records of the same step are synced.
#![forbid(unsafe_code)]

pub mod document;
pub mod evaluate;
pub mod record;
pub mod scheduler;
