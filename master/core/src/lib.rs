//! Every decision of the master, as a value machine: inputs and a time go in, registry writes and
//! outputs come out.
//!
//! It knows no file, socket, thread, clock or source of randomness, and iterates in order only, so a
//! run can be replayed from its inputs. `decide` reads the state and answers with events or a
//! refusal; `evolve` applies events and cannot fail; the writes of a step are the durable ones among
//! its events. Nothing of a step's outputs may leave before its writes are synced.
#![forbid(unsafe_code)]

pub mod allocator;
pub mod audit;
mod boundary;
mod config;
mod decide;
mod event;
mod evolve;
pub mod invariants;
mod master;
pub mod query;
mod recover;
mod state;
mod turn;

pub use boundary::{Input, Output, RecoverError, Step};
pub use config::{Config, FAN_OUT_MAX, Optimistic};
pub use master::Master;
pub use state::State;
