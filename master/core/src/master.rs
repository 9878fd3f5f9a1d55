//! The front of the core: takes inputs, gives steps.

use crate::boundary::{Input, RecoverError, Step};
use crate::config::Config;
use crate::recover;
use crate::state::State;
use crate::turn::{Turn, check};
use berth_model::error::Rejection;
use berth_model::operator::Request;
use berth_model::record::RegistryRecord;
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
        now: Timestamp,
    ) -> Result<(Self, Step), RecoverError> {
        let (state, step) = recover::recover(config, records, now)?;
        Ok((Self { state }, step))
    }
    /// Takes in one input, then does what is due.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Step {
        Turn::new(&mut self.state, now).take(input)
    }
    /// Would an operator's request be accepted now, and what would it do? Nothing changes and nothing is recorded.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn check(&self, now: Timestamp, request: &Request) -> Result<Vec<String>, Rejection> {
        check(&self.state, now, request)
    }
    /// When the next [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.state.timers.next()
    }
    /// The books, for queries.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }
}
