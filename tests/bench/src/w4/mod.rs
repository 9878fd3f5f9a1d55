//! W4: durable RESERVE+CREATE, with 0 to 10,000 volumes already on the agent.
//!
//! *Core* drives the production cores, the RocksDB registry and the agent's ledger in one thread without sockets, with a
//! driver that only remembers. *End to end* drives real daemons over loopback with the `directory` driver.

mod core;
mod end_to_end;
mod raw;
mod stack;

use crate::report::Figures;
use std::path::Path;
use std::time::Instant;

/// How many volumes are there before a measurement.
pub const EXISTING: [usize; 4] = [0, 100, 1_000, 10_000];

/// How much is done; the full size unless a quick look is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Alternating blocks per figure.
    pub blocks: usize,
    /// Operations of one client in a block.
    pub singles: usize,
    /// Rounds of 256 clients in a block.
    pub rounds: usize,
    /// The largest number of existing volumes.
    pub largest: usize,
}

impl Effort {
    /// What docs/testing.md reports.
    pub const FULL: Self = Self { blocks: 15, singles: 100, rounds: 16, largest: 10_000 };
    /// A look in about ten seconds; for the test that the benchmark works.
    pub const QUICK: Self = Self { blocks: 2, singles: 10, rounds: 1, largest: 100 };
}

/// Runs everything below `dir`.
///
/// # Errors
/// A volume could not be created, or a daemon could not be started.
pub fn run(dir: &Path, effort: Effort, with_daemons: bool) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    core::measure(dir, effort, &mut figures)?;
    if with_daemons {
        end_to_end::measure(dir, effort, &mut figures)?;
    }
    Ok(figures)
}

/// Only the core path with 256 clients, `rounds` times each, for a profiler; answers microseconds an operation.
///
/// # Errors
/// A volume could not be created.
pub fn load(dir: &Path, rounds: u32) -> anyhow::Result<f64> {
    let mut stack = stack::Stack::new(dir)?;
    let start = Instant::now();
    let made = stack.create(core::CLIENTS, usize::try_from(rounds)?)?;
    let spent = start.elapsed().as_secs_f64() * 1e6;
    Ok(spent / f64::from(u32::try_from(made.len())?))
}
