//! Applies what concerns frameworks: sessions, offers, refusals.

use super::{look_now, stir, stir_all, unsettle};
use crate::event::FrameworkEvent;
use crate::state::{Filter, FilterKey, Loss, Races, State, Timer};
use berth_model::id::{AgentId, FrameworkId, OfferId};
use berth_model::offer::Offer;
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::units::Timestamp;
use std::collections::BTreeSet;

/// What the framework wants may have changed.
pub(super) fn rewant(state: &mut State, id: &FrameworkId) {
    match state.frameworks.get(id) {
        Some(framework) => state.shares.want(id, framework.wants()),
        None => state.shares.forget(id),
    }
}

pub(super) fn apply(state: &mut State, now: Timestamp, event: FrameworkEvent) {
    match event {
        FrameworkEvent::Opened { framework, session, suppressed } => {
            if let Some(entry) = state.frameworks.get_mut(&framework) {
                entry.session = Some(session);
                entry.suppressed = suppressed;
                if let Some(at) = entry.given_up.take() {
                    state.timers.disarm(at, Timer::FrameworkAway(framework.clone()));
                }
            }
            rewant(state, &framework);
            // Who watches the cell in its name stops.
            state.turn += 1;
            races(state, &framework, |races| *races = Races::default());
            unfilter(state, &framework, None);
            stir_all(state, now);
        },
        FrameworkEvent::Cut { framework, until } => {
            if let Some(entry) = state.frameworks.get_mut(&framework) {
                entry.session = None;
                let timer = Timer::FrameworkAway(framework.clone());
                if let Some(at) = entry.given_up.replace(until) {
                    state.timers.disarm(at, timer.clone());
                }
                state.timers.arm(until, timer);
            }
            rewant(state, &framework);
            // Who watches the cell in its name stops.
            state.turn += 1;
            races(state, &framework, |races| *races = Races::default());
            unfilter(state, &framework, None);
        },
        FrameworkEvent::Closed(framework) => {
            if let Some(entry) = state.frameworks.get_mut(&framework) {
                entry.session = None;
                if let Some(at) = entry.given_up.take() {
                    state.timers.disarm(at, Timer::FrameworkAway(framework.clone()));
                }
            }
            rewant(state, &framework);
            // Who watches the cell in its name stops.
            state.turn += 1;
            races(state, &framework, |races| *races = Races::default());
            unfilter(state, &framework, None);
        },
        FrameworkEvent::Suppressed { framework, roles } => {
            if let Some(entry) = state.frameworks.get_mut(&framework) {
                entry.suppressed.extend(roles);
            }
            rewant(state, &framework);
        },
        FrameworkEvent::Revived { framework, roles } => {
            if let Some(entry) = state.frameworks.get_mut(&framework) {
                entry.suppressed.retain(|role| !roles.contains(role));
            }
            rewant(state, &framework);
            unfilter(state, &framework, Some(&roles));
            stir_all(state, now);
        },
        FrameworkEvent::Offered(offer) => offered(state, now, *offer),
        FrameworkEvent::OfferEnded(offer) => offer_ended(state, now, offer),
        FrameworkEvent::OfferedAlone(offer) => offered_alone(state, now, offer),
        FrameworkEvent::OfferLost { offer, loss } => {
            let at = now.after(state.config.optimistic.grace);
            state.timers.arm(at, Timer::OfferLost(offer));
            state.losses.insert(offer, loss);
        },
        FrameworkEvent::OfferFits(offer) => drop(state.losses.remove(&offer)),
        FrameworkEvent::LossKept { framework, offer, loss } => {
            let agent = loss.agent;
            races(state, &framework, |races| keep_loss(races, offer, loss));
            // What is left goes to those who lost at once, and not with the next cycle: until then nobody could use it.
            look_now(state, now, agent);
        },
        FrameworkEvent::RaceLost { framework, needed } => races(state, &framework, |races| {
            races.lost = races.lost.saturating_add(1);
            races.needed = needed;
        }),
        FrameworkEvent::RaceWon(framework) => races(state, &framework, |races| {
            races.lost = 0;
            races.needed = Resources::new();
        }),
        FrameworkEvent::Slow { framework, until } => {
            races(state, &framework, |races| races.slow_until = until);
        },
        FrameworkEvent::GaveBack { framework, agent } => gave_back(state, &framework, agent),
        FrameworkEvent::Refused { key, filter } => refused(state, key, filter),
        FrameworkEvent::FilterEnded(key) => filter_ended(state, now, &key),
    }
}

fn races(state: &mut State, framework: &FrameworkId, with: impl FnOnce(&mut Races)) {
    let Some(entry) = state.frameworks.get_mut(framework) else { return };
    with(&mut entry.races);
    if entry.races.lost >= Races::PATIENCE {
        state.owed.insert(framework.clone());
    } else {
        state.owed.remove(framework);
    }
}

fn gave_back(state: &mut State, framework: &FrameworkId, agent: AgentId) {
    let others = state.frameworks.iter().filter(|(id, _)| *id != framework);
    let others = others.filter(|(_, other)| other.wants().next().is_some()).count();
    if let Some(entry) = state.agents.get_mut(&agent) {
        entry.turns.gave_back(framework, u64::try_from(others).unwrap_or(u64::MAX));
    }
}

fn keep_loss(races: &mut Races, offer: OfferId, loss: Loss) {
    if races.rescinded.len() >= Races::REMEMBERED {
        races.rescinded.pop_front();
    }
    races.rescinded.push_back((offer, loss));
}

/// Who has an agent alone has it for a short time, and begins to count anew.
fn offered_alone(state: &mut State, now: Timestamp, id: OfferId) {
    let Some(offer) = state.offers.get(&id) else { return };
    let framework = offer.framework.clone();
    state.alone.insert(id);
    state.timers.arm(now.after(state.config.optimistic.alone), Timer::OfferOld(id));
    races(state, &framework, |races| races.lost = 0);
}

fn offered(state: &mut State, now: Timestamp, offer: Offer) {
    state.next_offer = state.next_offer.max(offer.id.number + 1);
    let exclusive = offer.exclusive().into_owned();
    if let Some(agent) = state.touch(offer.agent) {
        agent.books.offer(&exclusive);
        agent.offers.insert(offer.id);
        if offer.is_optimistic() {
            agent.turns.offered(&offer.framework);
        }
    }
    if let Some(framework) = state.frameworks.get_mut(&offer.framework) {
        framework.offers.insert(offer.id, now);
    }
    state.shares.offer((&offer.role, &offer.framework), offer.agent, &exclusive);
    state.standings.allocate(offer.agent, &offer.role, &exclusive, 1);
    let soon = offer.is_optimistic().then_some(state.config.optimistic.timeout);
    if let Some(span) = state.config.offer_timeout.into_iter().chain(soon).min() {
        state.timers.arm(now.after(span), Timer::OfferOld(offer.id));
    }
    let (agent, shared) = (offer.agent, !offer.resources.shared().is_empty());
    state.offers.insert(offer.id, offer);
    unsettle(state, agent);
    if shared {
        // The next framework may be offered it too, in a look of its own.
        stir(state, now, agent);
    }
}

fn offer_ended(state: &mut State, now: Timestamp, id: OfferId) {
    let Some(offer) = state.offers.remove(&id) else { return };
    let exclusive = offer.exclusive();
    if let Some(agent) = state.touch(offer.agent) {
        agent.books.end_offer(&exclusive);
        agent.offers.remove(&id);
        if agent.fanning && offer.is_optimistic() && agent.look_due.is_some() {
            // An earlier holder has answered: the next one's turn is now.
            look_now(state, now, offer.agent);
        }
    }
    if let Some(framework) = state.frameworks.get_mut(&offer.framework) {
        framework.offers.remove(&id);
    }
    state.shares.release((&offer.role, &offer.framework), offer.agent, &exclusive);
    state.standings.allocate(offer.agent, &offer.role, &exclusive, -1);
    state.losses.remove(&id);
    state.alone.remove(&id);
    stir(state, now, offer.agent);
}

fn refused(state: &mut State, key: FilterKey, filter: Filter) {
    state.timers.arm(filter.until, Timer::FilterEnds(key.clone()));
    let of_framework = state.filters.entry(key.framework).or_default();
    of_framework.entry((key.role, key.agent)).or_default().push(filter);
}

fn filter_ended(state: &mut State, now: Timestamp, key: &FilterKey) {
    let place = (key.role.clone(), key.agent);
    let Some(of_framework) = state.filters.get_mut(&key.framework) else { return };
    let Some(filters) = of_framework.get_mut(&place) else { return };
    filters.retain(|filter| filter.until > now);
    if filters.is_empty() {
        of_framework.remove(&place);
    }
    if of_framework.is_empty() {
        state.filters.remove(&key.framework);
    }
    stir(state, now, key.agent);
}

/// Drops the refusals of a framework, of some of its roles or of all.
fn unfilter(state: &mut State, framework: &FrameworkId, roles: Option<&BTreeSet<Role>>) {
    let Some(of_framework) = state.filters.get_mut(framework) else { return };
    let concerned = |role: &Role| roles.is_none_or(|roles| roles.contains(role));
    for ((role, agent), filters) in of_framework.iter().filter(|((role, _), _)| concerned(role)) {
        let key = FilterKey { framework: framework.clone(), role: role.clone(), agent: *agent };
        for filter in filters {
            state.timers.disarm(filter.until, Timer::FilterEnds(key.clone()));
        }
    }
    of_framework.retain(|(role, _), _| !concerned(role));
    if of_framework.is_empty() {
        state.filters.remove(framework);
    }
}
