//! Who is offered an agent's free resources: dominant-resource fairness over roles, then over the
//! frameworks of a role.
//!
//! It knows no sessions and sends nothing. Filter (who may get it), order (who is next) and amount (how
//! much) are apart. The first framework in order takes all it may use of the agent; what is left,
//! because it is reserved to others, goes to the next. Invariant: each resource is in one offer, except that a shared volume
//! is in one of each framework's offers; it goes to one framework at a time, and to the next one in a later look.

mod share;

use crate::decide::disk::Withheld;
use crate::state::{Agent, State};
use berth_model::id::{FrameworkId, OfferId};
use berth_model::offer::Offer;
use berth_model::resources::{Name, Resources};
use berth_model::role::Role;
use berth_model::units::{Scalar, Timestamp};
use share::Share;
use std::collections::BTreeMap;

/// Unreserved leftovers below both of these are not worth an offer (the minimum of Mesos).
const LEAST_CPUS: Scalar = Scalar::from_milli(10);
const LEAST_MEM: Scalar = Scalar::from_milli(32_000);

/// The offers to make of this agent now.
pub(crate) fn allocate(state: &State, agent: &Agent, now: Timestamp) -> Vec<Offer> {
    if agent.session().is_none()
        || agent.books.available.is_empty()
        || state.withheld_because(agent).is_some()
    {
        return Vec::new();
    }
    let order = order(state);
    if order.is_empty() {
        return Vec::new();
    }
    let mut offers = Vec::new();
    let withheld = Withheld::of(state, &agent.info.disks);
    let mut free = match withheld.is_empty() {
        true => agent.books.available.clone(),
        false => withheld.strip(&agent.books.available),
    };
    for (role, framework) in order {
        let mut part = free.allocatable_to(role);
        let kept_back = kept_back(state, agent, role, framework, &part.shared());
        if !kept_back.is_empty() {
            part = part.minus(&kept_back);
        }
        if !is_worthwhile(&part) || is_refused(state, agent, role, framework, &part, now) {
            continue;
        }
        free = free.minus(&part);
        let number = state.next_offer + offers.len() as u64;
        offers.push(Offer {
            id: OfferId { epoch: state.config.epoch, number },
            framework: framework.clone(),
            role: role.clone(),
            agent: agent.info.id,
            hostname: agent.info.hostname.clone(),
            attributes: agent.info.attributes.clone(),
            resources: part,
            seq: agent.seq,
        });
        if free.is_empty() {
            break;
        }
    }
    offers
}

/// The shared volumes that the framework is not offered: all when it does not understand them, else those it is offered
/// already.
fn kept_back(
    state: &State,
    agent: &Agent,
    role: &Role,
    framework: &FrameworkId,
    shared: &Resources,
) -> Resources {
    let shares = state.frameworks.get(framework).is_some_and(|f| f.record.info.can_share());
    if shared.is_empty() || !shares {
        return shared.clone();
    }
    let offers = agent.offers.iter().filter_map(|id| state.offers.get(id));
    let own = offers.filter(|offer| offer.framework == *framework && offer.role == *role);
    let mut kept = Resources::new();
    for offer in own {
        kept.add_all(&offer.resources.shared()).expect("copies of volumes add up");
    }
    kept
}

/// Everybody who takes offers, the one with the least first.
fn order(state: &State) -> Vec<(&Role, &FrameworkId)> {
    let mut wanting: BTreeMap<&Role, Vec<&FrameworkId>> = BTreeMap::new();
    for (id, framework) in &state.frameworks {
        for role in framework.wants() {
            wanting.entry(role).or_default().push(id);
        }
    }
    let cluster = &state.shares.cluster;
    let mut roles: Vec<(Share, &Role)> = wanting
        .keys()
        .map(|role| (Share::of(state.shares.roles.get(role), cluster), *role))
        .collect();
    roles.sort();
    let mut order = Vec::new();
    for (_, role) in roles {
        let mut frameworks: Vec<(Share, &FrameworkId)> = wanting[role]
            .iter()
            .map(|id| {
                let usage = state.shares.frameworks.get(&(role.clone(), (*id).clone()));
                (Share::of(usage, cluster), *id)
            })
            .collect();
        frameworks.sort();
        order.extend(frameworks.into_iter().map(|(_, id)| (role, id)));
    }
    order
}

fn is_worthwhile(part: &Resources) -> bool {
    part.total(&Name::Cpus) >= LEAST_CPUS
        || part.total(&Name::Mem) >= LEAST_MEM
        || part.entries().any(|entry| !entry.resource.stack.is_unreserved())
}

/// A refusal hides what was refused and any part of it; anything more breaks through.
fn is_refused(
    state: &State,
    agent: &Agent,
    role: &Role,
    framework: &FrameworkId,
    part: &Resources,
    now: Timestamp,
) -> bool {
    let key = (role.clone(), agent.info.id);
    let filters = state.filters.get(framework).and_then(|of| of.get(&key));
    let mut live = filters.into_iter().flatten().filter(|filter| filter.until > now);
    live.any(|filter| filter.refused.contains(part))
}
