//! What outstanding offers hold of agents. What several frameworks hold optimistically is there once: whoever of them accepts,
//! it can only be given once.

use crate::state::{State, sum_of};
use berth_model::id::{AgentId, FrameworkId};
use berth_model::offer::Offer;
use berth_model::resources::Resources;
use std::collections::BTreeMap;

/// The exclusive parts of the offers and their optimistic parts put over one another: as much as could be accepted of them.
pub(crate) fn held<'a>(offers: impl Iterator<Item = &'a Offer>) -> BTreeMap<AgentId, Resources> {
    let mut sums: BTreeMap<AgentId, Resources> = BTreeMap::new();
    let mut shared: BTreeMap<AgentId, BTreeMap<&FrameworkId, Resources>> = BTreeMap::new();
    for offer in offers {
        lay(sums.entry(offer.agent).or_default(), &offer.exclusive());
        if offer.is_optimistic() {
            let parts = shared.entry(offer.agent).or_default();
            lay(parts.entry(&offer.framework).or_default(), &offer.optimistic);
        }
    }
    for (agent, parts) in shared {
        let mut all = Resources::new();
        for part in parts.values() {
            let more = part.minus(&all);
            lay(&mut all, &more);
        }
        lay(sums.entry(agent).or_default(), &all);
    }
    sums
}

/// The same of one agent.
pub(super) fn held_of(
    state: &State,
    agent: AgentId,
    is_meant: impl Fn(&Offer) -> bool,
) -> Resources {
    let agent = state.agents.get(&agent);
    let offers = agent.into_iter().flat_map(|agent| agent.live_offers(state));
    held(offers.filter(|offer| is_meant(offer))).into_values().next().unwrap_or_default()
}

/// Adds what adds up: the ports of an offer that no longer fits may be somebody else's already.
fn lay(sum: &mut Resources, more: &Resources) {
    for resource in more.iter() {
        if sum.add(&resource).is_err() {
            let rest = sum_of(&resource).minus(sum);
            drop(sum.add_all(&rest));
        }
    }
}
