//! The front of the core: takes inputs, gives steps.

use crate::boundary::{Input, RecoverError, Step};
use crate::config::Config;
use crate::state::State;
use berth_model::record::{RegistryRecord, RegistryWrite};
use berth_model::units::Timestamp;

/// The master of one term.
#[derive(Clone, Debug)]
pub struct Master {
    state: State,
}

impl Master {
    /// Takes up the registry's records and opens the term; the step's writes are to be synced before
    /// anything else is done.
    ///
    /// # Errors
    /// The records contradict the configuration or each other.
    pub fn recover(
        config: Config,
        records: Vec<RegistryRecord>,
        _now: Timestamp,
    ) -> Result<(Self, Step), RecoverError> {
        drop(records);
        let meta = RegistryRecord::Meta {
            cluster: config.cluster,
            epoch: config.epoch,
            next_framework: 1,
        };
        let step = Step { writes: vec![RegistryWrite::Put(meta)], outputs: Vec::new() };
        Ok((Self { state: State { config } }, step))
    }
    /// Takes in one input.
    pub fn step(&mut self, _now: Timestamp, _input: Input) -> Step {
        Step::default()
    }
    /// When the next [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }
    /// The books, for queries.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }
}
