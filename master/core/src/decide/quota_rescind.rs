//! Takes offers back after a change of quota: enough that the role is not above a limit once they are accepted, and that what it
//! is sure to get is free. Best effort and greedy: the offer that holds most of what is in question goes first, and amounts are
//! added up over all agents. What several frameworks hold optimistically is free only when all of them have lost it.
//!
//! A role whose own guarantee would not be met without an offer keeps it.

use super::held::held_of;
use super::quota::{consumed, disks_of, offered, unreserved};
use super::rescind::{filter, rescind};
use crate::event::Event;
use crate::state::{Agent, State};
use berth_model::framework::Filters;
use berth_model::id::OfferId;
use berth_model::offer::Offer;
use berth_model::quota::{Counted, Quota};
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::units::{Scalar, Timestamp};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// The offers that go because the role has this quota from now on.
pub(super) fn rescind_for(state: &State, quota: &Quota, now: Timestamp) -> Vec<Event> {
    let mut gone: BTreeSet<OfferId> = BTreeSet::new();
    let own = |offer: &Offer| offer.role.may_use(&quota.role);
    for (counted, limit) in &quota.limits {
        let over = has(state, &quota.role, counted, &gone).saturating_sub(*limit);
        let candidates = candidates(state, counted, own, &gone);
        take(state, counted, over, (candidates, &mut gone), own, |_, _| true);
    }
    for (counted, guarantee) in &quota.guarantees {
        let there = has(state, &quota.role, counted, &gone);
        let there = there.checked_add(free(state, counted, &gone)).unwrap_or(there);
        let missing = guarantee.saturating_sub(there);
        let candidates = candidates(state, counted, |offer| !own(offer), &gone);
        take(
            state,
            counted,
            missing,
            (candidates, &mut gone),
            |_| true,
            |offer, gone| can_spare(state, offer, counted, gone),
        );
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

/// Offers with some of it, those with the most first; the holders of the same next to one another.
fn candidates<'a>(
    state: &'a State,
    counted: &Counted,
    is_meant: impl Fn(&Offer) -> bool,
    gone: &BTreeSet<OfferId>,
) -> Vec<&'a Offer> {
    let is_of = disks_of(state, counted);
    let part = |offer: &Offer| unreserved(offer.agent, &offer.resources, counted, &is_of);
    let offers = state.offers.values().filter(|o| is_meant(o) && !gone.contains(&o.id));
    let mut parts: Vec<(Scalar, &Offer)> = offers.map(|offer| (part(offer), offer)).collect();
    parts.retain(|(part, _)| part.is_positive());
    parts.sort_by_key(|(part, offer)| (Reverse(*part), offer.agent, offer.id));
    parts.into_iter().map(|(_, offer)| offer).collect()
}

/// Marks candidates as gone, until what the offers that are meant hold is less by `amount`.
fn take(
    state: &State,
    counted: &Counted,
    amount: Scalar,
    (candidates, gone): (Vec<&Offer>, &mut BTreeSet<OfferId>),
    is_meant: impl Fn(&Offer) -> bool,
    may_go: impl Fn(&Offer, &BTreeSet<OfferId>) -> bool,
) {
    let is_of = disks_of(state, counted);
    let mut left = amount;
    for offer in candidates {
        if !left.is_positive() {
            return;
        }
        if !may_go(offer, gone) {
            continue;
        }
        let hold = |gone: &BTreeSet<OfferId>| {
            let rest = |other: &Offer| is_meant(other) && !gone.contains(&other.id);
            unreserved(offer.agent, &held_of(state, offer.agent, rest), counted, &is_of)
        };
        let before = hold(gone);
        gone.insert(offer.id);
        left = left.saturating_sub(before.saturating_sub(hold(gone)));
    }
}

/// What the role has or is offered, without the offers that go.
fn has(state: &State, role: &Role, counted: &Counted, gone: &BTreeSet<OfferId>) -> Scalar {
    let mine = |offer: &&Offer| offer.role.may_use(role) && !gone.contains(&offer.id);
    let offered = offered(state, state.offers.values().filter(mine), counted);
    let has = consumed(state, role, counted);
    has.checked_add(offered).unwrap_or(has)
}

/// Would the role that is offered this still have what it is guaranteed?
fn can_spare(state: &State, offer: &Offer, counted: &Counted, gone: &BTreeSet<OfferId>) -> bool {
    let role = offer.role.top();
    let guarantee = state.quotas.get(&role).and_then(|quota| quota.guarantees.get(counted));
    guarantee.is_none_or(|guarantee| {
        let mut without = gone.clone();
        without.insert(offer.id);
        has(state, &role, counted, &without) >= *guarantee
    })
}

/// What is unreserved on the agents that may give it away and is in no offer, once these have gone.
fn free(state: &State, counted: &Counted, gone: &BTreeSet<OfferId>) -> Scalar {
    let is_of = disks_of(state, counted);
    let usable =
        |agent: &&Agent| agent.session().is_some() && state.withheld_because(agent).is_none();
    let parts = state.agents.values().filter(usable).map(|agent| {
        let id = agent.info.id;
        let of = |what: &Resources| unreserved(id, what, counted, &is_of);
        let given = agent.live_offers(state).map(|offer| of(&offer.exclusive()));
        let all = given
            .fold(of(&agent.books.available), |sum, part| sum.checked_add(part).unwrap_or(sum));
        all.saturating_sub(of(&held_of(state, id, |offer| !gone.contains(&offer.id))))
    });
    parts.fold(Scalar::ZERO, |sum, part| sum.checked_add(part).unwrap_or(sum))
}
