//! A cycle as a trial: what would be offered to whom if every agent were looked at now. Nothing of the cluster changes.
//!
//! It decides with the allocator's own code, on shares of its own that follow what it gives. The books of agents stay as
//! they are, so each look at an agent finds what is free of it in the cluster, whatever the trial gave of it before.

use super::allocate;
use crate::state::{Shares, State};
use berth_model::id::AgentId;
use berth_model::offer::Offer;
use berth_model::units::Timestamp;

/// The trial.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    state: &'a State,
    now: Timestamp,
    shares: Shares,
    next_offer: u64,
}

impl<'a> Trial<'a> {
    /// Begins with the shares as they are.
    #[must_use]
    pub fn new(state: &'a State, now: Timestamp) -> Self {
        let mut shares = state.shares.clone();
        shares.settle(now, state.config.allocation_interval);
        Self { state, now, shares, next_offer: state.next_offer }
    }
    /// Looks at every agent, in the order of their ids.
    pub fn cycle(&mut self) -> Vec<Offer> {
        let state = self.state;
        let mut made = Vec::with_capacity(state.agents.len());
        for agent in state.agents.values() {
            let offers = allocate(state, &self.shares, agent, self.next_offer, self.now).offers;
            self.give(&offers);
            made.extend(offers);
        }
        made
    }
    /// Looks at one agent.
    pub fn look(&mut self, agent: AgentId) -> Vec<Offer> {
        let Some(agent) = self.state.agents.get(&agent) else { return Vec::new() };
        let offers = allocate(self.state, &self.shares, agent, self.next_offer, self.now).offers;
        self.give(&offers);
        offers
    }
    fn give(&mut self, offers: &[Offer]) {
        for offer in offers {
            self.shares.offer((&offer.role, &offer.framework), offer.agent, &offer.exclusive());
            self.next_offer = offer.id.number + 1;
        }
    }
    /// An offer of this trial ends.
    pub fn take_back(&mut self, offer: &Offer) {
        self.shares.release((&offer.role, &offer.framework), offer.agent, &offer.exclusive());
    }
}
