//! The vocabulary of Berth: pure values shared by master, agent, frameworks and tools.
//!
//! It knows no wire format, no clock, no file and no thread. Everything here is ordered and
//! deterministic, so that the cores built on it can be replayed from a seed.
#![forbid(unsafe_code)]

pub mod access;
pub mod agent;
pub mod audit;
pub mod cell;
pub mod declaration;
pub mod disk;
pub mod error;
pub mod explain;
pub mod framework;
pub mod id;
pub mod link;
pub mod offer;
pub mod operation;
pub mod operator;
pub mod orphan;
pub mod quota;
pub mod record;
pub mod reservation;
pub mod resources;
pub mod role;
pub mod schedule;
pub mod snapshot;
pub mod task;
pub mod transaction;
pub mod transfer;
pub mod units;
pub mod usage;
pub mod view;
pub mod volume;
pub mod weight;
pub mod wipe;
