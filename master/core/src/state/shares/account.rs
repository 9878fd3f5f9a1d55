//! What one framework, role or subtree of roles has, and how often it had its turn.

use super::share::Share;
use crate::state::sum_of;
use berth_model::id::AgentId;
use berth_model::resources::{Quantities, Resources};
use std::collections::BTreeMap;

/// What changes hands, taken apart once for all accounts that it concerns.
#[derive(Debug)]
pub(super) struct Parcel {
    agent: AgentId,
    /// All but the shared volumes.
    plain: Quantities,
    /// Each copy of a shared volume.
    copies: Vec<Resources>,
}

impl Parcel {
    pub(super) fn of(agent: AgentId, what: &Resources) -> Self {
        let shared = what.shared();
        let copies = match shared.is_empty() {
            true => Vec::new(),
            false => shared.iter().map(|volume| sum_of(&volume)).collect(),
        };
        Self { agent, plain: what.unshared().quantities().clone(), copies }
    }
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Offers included.
    pub(super) allocated: Quantities,
    /// How many offers were ever made to it; breaks ties, so that equals take turns.
    pub(super) served: u64,
    /// The copies of shared volumes it has; what is counted of them is in `allocated`.
    copies: BTreeMap<AgentId, Resources>,
    /// Under which it is in the order, against the totals of that moment.
    pub(super) share: Share,
}

impl Account {
    pub(super) fn charge(&mut self, parcel: &Parcel) {
        self.allocated.add(&parcel.plain);
        for copy in &parcel.copies {
            let mine = self.copies.entry(parcel.agent).or_default();
            if !mine.contains(copy) {
                self.allocated.add(copy.quantities());
            }
            mine.add_all(copy).expect("copies of volumes add up");
        }
    }
    pub(super) fn release(&mut self, parcel: &Parcel) {
        self.allocated.subtract(&parcel.plain);
        for copy in &parcel.copies {
            let Some(mine) = self.copies.get_mut(&parcel.agent) else { continue };
            if mine.checked_sub(copy).is_ok() && !mine.contains(copy) {
                self.allocated.subtract(copy.quantities());
            }
            if mine.is_empty() {
                self.copies.remove(&parcel.agent);
            }
        }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.allocated.is_empty() && self.copies.is_empty()
    }
}
