//! Frameworks that do not play fair, for clusters in which the same is offered to several.
//!
//! Invariant: nothing they do may keep the others from their share for good.

use super::{Framework, Sent};
use berth_model::framework::{Call, Filters, Terms};
use berth_model::offer::Offer;
use berth_model::operation::OfferOperation;
use std::time::Duration;

/// How a framework deals with offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// As it should.
    Fair,
    /// It accepts everything it sees, all of it, and late; also what was taken back from it.
    Greedy,
    /// It collects offers, and seldom uses one.
    Hoarder,
    /// It never answers.
    Silent,
    /// It takes no offers, and commits on what it saw of the cell.
    Cell,
}

impl Conduct {
    /// Those that do not.
    pub const UNFAIR: [Self; 3] = [Self::Greedy, Self::Hoarder, Self::Silent];
}

impl Framework {
    /// Accepts one offer with a task that needs all its processors and memory.
    pub(super) fn grab(&mut self) -> Vec<Sent> {
        let ids: Vec<_> = self.offers.keys().copied().collect();
        let Some(id) = self.dice.pick(&ids).copied() else { return Vec::new() };
        let Some(offer) = self.offers.remove(&id) else { return Vec::new() };
        let operations = self.launch_all(&offer);
        vec![accept(&offer, operations)]
    }

    /// Mostly does nothing; at times starts something small on what it has held longest.
    pub(super) fn hoard(&mut self) -> Vec<Sent> {
        if !self.dice.chance(40) {
            return Vec::new();
        }
        let Some((_, offer)) = self.offers.pop_first() else { return Vec::new() };
        let operations = self.launch(&offer, Vec::new());
        vec![accept(&offer, operations)]
    }
}

fn accept(offer: &Offer, operations: Vec<OfferOperation>) -> Sent {
    let filters = Filters { refuse: Duration::ZERO };
    let (offers, terms) = (vec![offer.id], Terms::default());
    Sent { agent: Some(offer.agent), call: Call::Accept { offers, operations, filters, terms } }
}
