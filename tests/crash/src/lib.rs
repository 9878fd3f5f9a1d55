//! Crash points of disks and volume drivers: the code that runs on real disks, on a simulated file system that loses,
//! reorders and tears whatever was not synced.
//!
//! `sim` is the file system, `scene` an agent and its users on it, `books` and `stage` the agent's ledger, `judge` what must be so
//! afterwards, `sequences` what is searched, `explore` the search through all crashes, `errors` the one through all failures.
//! `judge` shares no code with the drivers: it reads the simulated disk by itself.

pub mod activity;
pub mod books;
mod conclude;
pub mod errors;
pub mod explore;
pub mod judge;
pub mod scene;
pub mod sequences;
pub mod setup;
pub mod sim;
pub mod stage;
