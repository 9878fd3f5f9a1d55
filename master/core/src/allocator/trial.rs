//! A cycle as a trial: what would be offered to whom if every agent were looked at now. Nothing of the cluster changes.
//!
//! It decides with the allocator's own code, on shares of its own that follow what it gives. The books of agents stay as
//! they are, so each look at an agent finds what is free of it in the cluster, whatever the trial gave of it before.

use super::allocate;
use crate::state::{Agent, Shares, Standings, State};
use berth_model::id::AgentId;
use berth_model::offer::Offer;
use berth_model::units::Timestamp;

/// The trial.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    state: &'a State,
    now: Timestamp,
    shares: Shares,
    standings: Standings,
    next_offer: u64,
}

impl<'a> Trial<'a> {
    /// Begins with the shares as they are.
    #[must_use]
    pub fn new(state: &'a State, now: Timestamp) -> Self {
        let mut shares = state.shares.clone();
        shares.settle(now, state.config.allocation_interval);
        let standings = state.standings.clone();
        Self { state, now, shares, standings, next_offer: state.next_offer }
    }
    /// Looks at every agent, in the order of their ids.
    pub fn cycle(&mut self) -> Vec<Offer> {
        let state = self.state;
        let mut made = Vec::with_capacity(state.agents.len());
        for agent in state.agents.values() {
            made.extend(self.take_turns(agent));
        }
        made
    }
    /// Looks at one agent.
    pub fn look(&mut self, agent: AgentId) -> Vec<Offer> {
        let Some(agent) = self.state.agents.get(&agent) else { return Vec::new() };
        self.take_turns(agent)
    }
    fn take_turns(&mut self, agent: &Agent) -> Vec<Offer> {
        let figures = (&self.shares, &self.standings);
        let offers = allocate(self.state, figures, agent, self.next_offer, self.now).offers;
        for offer in &offers {
            let exclusive = offer.exclusive();
            self.shares.offer((&offer.role, &offer.framework), offer.agent, &exclusive);
            self.standings.allocate(offer.agent, &offer.role, &exclusive, 1);
            self.standings.spend(offer.agent, &exclusive, 1);
            self.next_offer = offer.id.number + 1;
        }
        offers
    }
    /// An offer of this trial ends.
    pub fn take_back(&mut self, offer: &Offer) {
        let exclusive = offer.exclusive();
        self.shares.release((&offer.role, &offer.framework), offer.agent, &exclusive);
        self.standings.allocate(offer.agent, &offer.role, &exclusive, -1);
        self.standings.spend(offer.agent, &exclusive, -1);
    }
}
