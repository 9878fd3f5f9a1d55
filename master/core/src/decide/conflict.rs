//! Optimistic offers: what an operation needs of what others may have taken, when that is a conflict, and which offers no
//! longer fit.
//!
//! It decides on amounts only: an operation that fits may still be refused for another reason. Invariant: at the end of a
//! step each optimistic offer is wholly available, or noted as lost and rescinded when its grace is over.

use super::rescind::rescind;
use super::reserve::unmarked;
use crate::event::{AgentEvent, Event, FrameworkEvent};
use crate::state::{Agent, Loss, State, sum_of};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, FrameworkId, OfferId};
use berth_model::operation::Action;
use berth_model::resources::{Resource, Resources, Value};
use berth_model::role::Role;
use berth_model::task::TaskInfo;
use std::collections::BTreeMap;

/// The part of resources that others may have committed meanwhile.
pub(crate) fn contested(resources: &Resources) -> Resources {
    resources.filtered(Resource::can_be_optimistic)
}

/// Refuses what is not there any more of what the accepted offers held.
pub(crate) fn check_there(
    state: &State,
    agent: &Agent,
    role: &Role,
    wanted: &Resources,
) -> Result<(), Rejection> {
    let need = contested(wanted);
    let room = agent.room_for(state, role);
    if room.contains(&need) {
        return Ok(());
    }
    let missing = room.missing(&need);
    let loss = Loss { agent: agent.info.id, winner: agent.taker.clone(), seq: agent.commits };
    Err(lost(Some(agent), &format!("{missing} of the wanted {need} is not there any more"), &loss))
}

/// What a placement needs is not among what its role may take of the agent.
pub(crate) fn not_there(
    agent: &Agent,
    role: &Role,
    pool: &Resources,
    wanted: &Resources,
) -> Rejection {
    let missing = pool.missing(wanted);
    late(agent, &format!("{missing} of the wanted {wanted} is not there for role {role}"))
}

/// What to do without offers.
pub(crate) const AGAIN: &str =
    "look at the agent as it is now and decide anew, under a new transaction id";

/// The caller looked at the agent in another term.
pub(crate) fn check_epoch(agent: &Agent, given: u64, current: u64) -> Result<(), Rejection> {
    if given == current {
        return Ok(());
    }
    let what = format!("the placement is of epoch {given}, the master is in epoch {current}");
    Err(late(agent, &what).field("epoch"))
}

/// A refusal for what has never been seen in an offer, so that nobody need have been first.
fn late(agent: &Agent, what: &str) -> Rejection {
    let (id, host, seq) = (agent.info.id, &agent.info.hostname, agent.commits);
    let taker = agent.taker.as_ref().map(|role| format!("; role {role} was the last to take some"));
    let taker = taker.unwrap_or_default();
    Rejection::new(
        ErrorCode::Conflict,
        format!("Conflict: agent {id} ({host}): {what}{taker} (seq {seq})"),
    )
    .remedy(AGAIN)
}

/// A refusal for a race that was lost.
fn lost(agent: Option<&Agent>, what: &str, loss: &Loss) -> Rejection {
    let host = agent.map_or("unknown", |agent| &*agent.info.hostname);
    let winner = match &loss.winner {
        Some(role) => format!("role {role} was first"),
        None => "somebody else was first".to_owned(),
    };
    Rejection::new(
        ErrorCode::Conflict,
        format!("Conflict: agent {} ({host}): {what}; {winner} (seq {})", loss.agent, loss.seq),
    )
    .remedy("decide anew on the next offer, which comes by itself")
}

/// The offer was rescinded because somebody else committed what it held.
pub(crate) fn rescinded(
    state: &State,
    offer: OfferId,
    framework: &FrameworkId,
) -> Option<Rejection> {
    let races = &state.frameworks.get(framework)?.races;
    let (_, loss) = races.rescinded.iter().find(|(id, _)| *id == offer)?;
    let agent = state.agents.get(&loss.agent);
    Some(lost(agent, &format!("offer {offer} was rescinded"), loss).field("offers"))
}

/// Something was committed on the agent since the caller looked; `current` is where it stood when the call began.
pub(crate) fn check_seq(agent: &Agent, current: u64, if_seq: Option<u64>) -> Result<(), Rejection> {
    if if_seq.is_none_or(|seq| seq == current) {
        return Ok(());
    }
    let loss = Loss { agent: agent.info.id, winner: agent.taker.clone(), seq: agent.commits };
    let what = format!("it has changed since seq {}", if_seq.unwrap_or_default());
    Err(lost(Some(agent), &what, &loss).field("if_seq"))
}

/// The operation needs what another one would have made, which conflicted.
pub(crate) fn depends(what: &str, agent: AgentId) -> Rejection {
    Rejection::new(
        ErrorCode::Conflict,
        format!("Conflict: agent {agent}: {what} needs what an operation before it was to make, which conflicted"),
    )
    .remedy("decide anew on the next offer, which comes by itself")
}

/// What an operation takes and what it leaves, as far as can be told from its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) takes: Resources,
    pub(crate) leaves: Resources,
}

impl Footprint {
    /// Of everything but a LAUNCH, which is taken apart into tasks.
    pub(crate) fn of(action: &Action) -> Self {
        let below = |sum: &Resources| gather(sum.iter().filter_map(|r| r.pop()));
        let plain = |sum: &Resources| unmarked(sum).unwrap_or_default();
        match action {
            Action::Reserve(wanted) => {
                let leaves = plain(wanted);
                Self { takes: below(&leaves), leaves }
            },
            Action::Unreserve(wanted) => {
                let takes = plain(wanted);
                Self { leaves: below(&takes), takes }
            },
            Action::Create(volumes) => {
                let leaves = plain(&gather(volumes.iter().cloned()));
                Self { takes: gather(leaves.iter().map(|r| r.strip_volume())), leaves }
            },
            Action::Destroy(volumes) => {
                Self { takes: plain(&gather(volumes.iter().cloned())), leaves: Resources::new() }
            },
            Action::Grow { volume, addition } => {
                let mut takes = sum_of(volume);
                drop(takes.add(addition));
                let size = volume.amount().zip(addition.amount());
                let size = size.and_then(|(a, b)| a.checked_add(b));
                let grown =
                    size.map(|size| Resource { value: Value::Scalar(size), ..(**volume).clone() });
                Self { takes: plain(&takes), leaves: plain(&gather(grown)) }
            },
            Action::Shrink { volume, .. } => {
                let same = plain(&sum_of(volume));
                Self { takes: same.clone(), leaves: same }
            },
            Action::Launch(_) => Self::default(),
        }
    }
    /// Of one task of a LAUNCH.
    pub(crate) fn of_task(task: &TaskInfo) -> Self {
        Self { takes: unmarked(&task.resources).unwrap_or_default(), leaves: Resources::new() }
    }
}

/// What of a list adds up; words that make no sense are refused elsewhere.
fn gather(list: impl IntoIterator<Item = Resource>) -> Resources {
    let mut sum = Resources::new();
    for resource in list {
        drop(sum.add(&resource));
    }
    sum
}

/// Compares an agent's optimistic offers with what is available: each framework's together, oldest first.
pub(crate) fn settle(state: &State, id: AgentId) -> Vec<Event> {
    let mut events = vec![AgentEvent::Settled(id).into()];
    let Some(agent) = state.agents.get(&id) else { return events };
    let mut held: BTreeMap<&FrameworkId, Resources> = BTreeMap::new();
    let mut offers: Vec<_> = agent.optimistic(state).collect();
    offers.sort_by_key(|offer| offer.id);
    for offer in offers {
        let mut all = held.get(&offer.framework).cloned().unwrap_or_default();
        let adds_up = all.add_all(&offer.optimistic).is_ok();
        let fits = adds_up && agent.room_for(state, &offer.role).contains(&all);
        if fits {
            held.insert(&offer.framework, all);
        }
        match (fits, state.losses.contains_key(&offer.id)) {
            (true, true) => events.push(FrameworkEvent::OfferFits(offer.id).into()),
            (false, false) => {
                let loss = Loss { agent: id, winner: agent.taker.clone(), seq: agent.commits };
                events.push(FrameworkEvent::OfferLost { offer: offer.id, loss }.into());
            },
            (true, false) | (false, true) => {},
        }
    }
    events
}

/// The grace of an offer that does not fit is over.
pub(crate) fn give_up(state: &State, id: OfferId) -> Vec<Event> {
    let (Some(offer), Some(loss)) = (state.offers.get(&id), state.losses.get(&id)) else {
        return Vec::new();
    };
    let (framework, loss) = (offer.framework.clone(), loss.clone());
    let mut events = rescind(offer);
    events.push(FrameworkEvent::LossKept { framework, offer: id, loss }.into());
    events
}
