//! Takes offers back after a change of quota: enough that the role is not above a limit once they are accepted, and that what it
//! is sure to get is free. Best effort and greedy: the offer that holds most of what is in question goes first, and amounts are
//! added up over all agents.
//!
//! A role whose own guarantee would not be met without an offer keeps it.

use super::quota::{consumed, disks_of, offered, unreserved};
use super::rescind::{filter, rescind};
use crate::event::Event;
use crate::state::{Agent, State};
use berth_model::framework::Filters;
use berth_model::id::OfferId;
use berth_model::offer::Offer;
use berth_model::quota::{Counted, Quota};
use berth_model::role::Role;
use berth_model::units::{Scalar, Timestamp};
use std::collections::BTreeSet;

/// The offers that go because the role has this quota from now on.
pub(super) fn rescind_for(state: &State, quota: &Quota, now: Timestamp) -> Vec<Event> {
    let mut gone: BTreeSet<OfferId> = BTreeSet::new();
    for (counted, limit) in &quota.limits {
        let has = held(state, &quota.role, counted, &gone);
        let over = has.saturating_sub(*limit);
        let own = |offer: &Offer| offer.role.may_use(&quota.role);
        take(state, counted, over, &mut gone, own, |_, _, _| true);
    }
    for (counted, guarantee) in &quota.guarantees {
        let has = held(state, &quota.role, counted, &gone);
        let freed = parts_of(state, counted, |offer| gone.contains(&offer.id));
        let there = [has, available(state, counted), freed];
        let there = there.into_iter().fold(Scalar::ZERO, |a, b| a.checked_add(b).unwrap_or(a));
        let missing = guarantee.saturating_sub(there);
        let foreign = |offer: &Offer| !offer.role.may_use(&quota.role);
        take(state, counted, missing, &mut gone, foreign, |offer, part, gone| {
            can_spare(state, &offer.role.top(), counted, part, gone)
        });
    }
    let offers = gone.iter().filter_map(|id| state.offers.get(id));
    offers
        .flat_map(|offer| {
            // Who had it is not offered the same again before others were.
            let refused = filter(offer, offer.resources.clone(), Filters::default(), state, now);
            rescind(offer).into_iter().chain(refused)
        })
        .collect()
}

/// Marks offers as gone, those with the largest part of it first, until `amount` is reached.
fn take(
    state: &State,
    counted: &Counted,
    amount: Scalar,
    gone: &mut BTreeSet<OfferId>,
    is_meant: impl Fn(&Offer) -> bool,
    may_go: impl Fn(&Offer, Scalar, &BTreeSet<OfferId>) -> bool,
) {
    if !amount.is_positive() {
        return;
    }
    let is_of = disks_of(state, counted);
    let part = |offer: &Offer| unreserved(offer.agent, &offer.resources, counted, &is_of);
    let offers = state.offers.values().filter(|o| is_meant(o) && !gone.contains(&o.id));
    let mut parts: Vec<(Scalar, &Offer)> = offers.map(|offer| (part(offer), offer)).collect();
    parts.retain(|(part, _)| part.is_positive());
    parts.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.id.cmp(&b.1.id)));
    let mut left = amount;
    for (part, offer) in parts {
        if !left.is_positive() {
            return;
        }
        if may_go(offer, part, gone) {
            gone.insert(offer.id);
            left = left.saturating_sub(part);
        }
    }
}

/// What offers hold of what is unreserved.
fn parts_of(state: &State, counted: &Counted, is_meant: impl Fn(&Offer) -> bool) -> Scalar {
    let is_of = disks_of(state, counted);
    let offers = state.offers.values().filter(|offer| is_meant(offer));
    let parts = offers.map(|offer| unreserved(offer.agent, &offer.resources, counted, &is_of));
    parts.fold(Scalar::ZERO, |sum, part| sum.checked_add(part).unwrap_or(sum))
}

/// What the role has or is offered, without the offers that go.
fn held(state: &State, role: &Role, counted: &Counted, gone: &BTreeSet<OfferId>) -> Scalar {
    let has = consumed(state, role, counted);
    let all = offered(state, role, counted);
    let lost = parts_of(state, counted, |o| o.role.may_use(role) && gone.contains(&o.id));
    has.checked_add(all.saturating_sub(lost)).unwrap_or(has)
}

/// Would the role still have what it is guaranteed?
fn can_spare(
    state: &State,
    role: &Role,
    counted: &Counted,
    part: Scalar,
    gone: &BTreeSet<OfferId>,
) -> bool {
    let guarantee = state.quotas.get(role).and_then(|quota| quota.guarantees.get(counted));
    guarantee
        .is_none_or(|guarantee| held(state, role, counted, gone).saturating_sub(part) >= *guarantee)
}

/// What is unreserved and free on the agents that may give it away.
fn available(state: &State, counted: &Counted) -> Scalar {
    let is_of = disks_of(state, counted);
    let usable =
        |agent: &&Agent| agent.session().is_some() && state.withheld_because(agent).is_none();
    let parts = state.agents.values().filter(usable);
    let parts = parts.map(|a| unreserved(a.info.id, &a.books.available, counted, &is_of));
    parts.fold(Scalar::ZERO, |sum, part| sum.checked_add(part).unwrap_or(sum))
}
