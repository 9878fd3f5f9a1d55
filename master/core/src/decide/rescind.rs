//! Takes offers back when what they hold is needed or gone.

use super::disk::rescind_withheld;
use super::order::insufficient;
use crate::event::{AgentEvent, Event, FrameworkEvent};
use crate::state::{Agent, Filter, FilterKey, State, Withheld};
use berth_model::agent::Disk;
use berth_model::error::Rejection;
use berth_model::framework::{self, Filters};
use berth_model::id::AgentId;
use berth_model::offer::Offer;
use berth_model::resources::Resources;
use berth_model::units::Timestamp;

/// Ends one offer and says so.
pub(crate) fn rescind(offer: &Offer) -> Vec<Event> {
    vec![
        FrameworkEvent::OfferEnded(offer.id).into(),
        Event::inform(offer.framework.clone(), framework::Event::Rescind(offer.id)),
    ]
}

/// Of what several may hold, whoever used nothing lets the others come first.
pub(crate) fn gave_back(offer: &Offer) -> Option<Event> {
    let (framework, agent) = (offer.framework.clone(), offer.agent);
    offer.is_optimistic().then(|| FrameworkEvent::GaveBack { framework, agent }.into())
}

/// The refusal that stands for a declined or partly used offer; nothing without a time or resources.
pub(crate) fn filter(
    offer: &Offer,
    refused: Resources,
    filters: Filters,
    state: &State,
    now: Timestamp,
) -> Option<Event> {
    if filters.refuse.is_zero() || refused.is_empty() {
        return None;
    }
    let key = FilterKey {
        framework: offer.framework.clone(),
        role: offer.role.clone(),
        agent: offer.agent,
    };
    let until = now.after(filters.refuse.max(state.config.allocation_interval));
    Some(FrameworkEvent::Refused { key, filter: Filter { refused, until } }.into())
}

/// Makes `wanted` available on the agent: what is offered optimistically is available; of the rest by rescinding as few offers as a greedy choice finds: always
/// the one that covers most of what is still missing.
///
/// # Errors
/// Free and offered resources together do not suffice.
pub(crate) fn claim(
    state: &State,
    agent: &Agent,
    wanted: &Resources,
    now: Timestamp,
) -> Result<Vec<Event>, Rejection> {
    if agent.books.available.contains(wanted) {
        return Ok(Vec::new());
    }
    let mut missing = agent.books.available.missing(wanted);
    let mut offers: Vec<&Offer> =
        agent.offers.iter().filter_map(|id| state.offers.get(id)).collect();
    let mut events = Vec::new();
    while !missing.is_empty() {
        let best = (0..offers.len())
            .map(|index| (covered(offers[index], &missing), std::cmp::Reverse(index)))
            .max()
            .filter(|(covers, _)| *covers > 0);
        let Some((_, std::cmp::Reverse(index))) = best else {
            let mut pool = agent.books.available.clone();
            pool.add_all(&agent.books.offered).expect("parts of a total add up");
            let holder =
                format!("free resources of agent {} ({})", agent.info.id, agent.info.hostname);
            return Err(insufficient(&holder, &pool, wanted));
        };
        let offer = offers.remove(index);
        let held = offer.exclusive().into_owned();
        missing = held.missing(&missing);
        events.extend(rescind(offer));
        events.extend(filter(offer, held, Filters::default(), state, now));
    }
    Ok(events)
}

/// How much of `missing` the offer holds, in thousandths over all names.
fn covered(offer: &Offer, missing: &Resources) -> i64 {
    let left = offer.exclusive().missing(missing);
    let part = missing.minus(&left);
    part.totals().values().fold(0, |sum, amount| sum.saturating_add(amount.milli()))
}

/// The offers of the agent that hold any of `wanted` as it is.
pub(crate) fn holding(state: &State, agent: &Agent, wanted: &Resources) -> Vec<Event> {
    agent
        .offers
        .iter()
        .filter_map(|id| state.offers.get(id))
        .filter(|offer| offer.resources.contains(wanted))
        .flat_map(rescind)
        .collect()
}

/// Disks changed: offers that hold what is withheld of them now are void.
pub(crate) fn disks_changed(state: &State, agent: AgentId, disks: Vec<Disk>) -> Vec<Event> {
    let withheld = Withheld::of(state, &disks);
    let known = state.agents.get(&agent).into_iter();
    let mut events: Vec<Event> =
        known.flat_map(|known| rescind_withheld(state, known, &withheld)).collect();
    events.push(AgentEvent::Disks { agent, disks }.into());
    events
}
