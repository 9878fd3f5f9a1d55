//! The whole cluster in virtual time: the real cores and the real ledger on simulated disks, wires and machines.
//!
//! One seed is one cluster with its own faults; [`run_seed`] runs it to its end or to the first violation. It knows no
//! socket, file or clock. Invariant: equal seeds and options give equal runs.

mod dice;
mod disks;
mod framework;
mod history;
mod judges;
mod ledger;
pub mod mutants;
mod network;
mod operator;
mod options;
mod queue;
mod registry;
mod roles;
mod service;
mod sight;
mod tally;
mod volumes;
mod world;

pub use framework::Conduct;
pub use judges::Violation;
pub use options::{Breach, Options};
pub use tally::{Fault, Tally};

use world::World;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Events that happened.
    pub events: u64,
    /// Faults and deeds.
    pub tally: Tally,
    /// What the judges found; a run ends at the first.
    pub violations: Vec<Violation>,
    /// What happened, when that was asked for.
    pub trace: Vec<String>,
}

/// Runs one seed.
#[must_use]
pub fn run_seed(seed: u64, options: &Options) -> Outcome {
    let mut world = World::new(seed, options.clone());
    let violations = world.run();
    Outcome { events: world.events, tally: world.tally, violations, trace: world.trace }
}
