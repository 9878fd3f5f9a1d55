//! A real database on a real cluster: the promise of Berth, shown step by step.
//!
//! `demo` narrates and measures; the test of the same name runs the same steps. Nothing is taken on trust: after each
//! fault the rows are read back, and agent, volume and process ids are compared.

mod database;
mod promise;
mod rollback;

pub use promise::{Report, Step, demo};
pub use rollback::{RolledBack, roll_back};
