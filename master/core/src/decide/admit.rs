//! Whether an agent may come in, and what its declaration changes.

use crate::event::{AgentEvent, Event};
use crate::state::{Agent, State};
use berth_model::agent::AgentInfo;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, SessionId};
use berth_model::link::Registration;
use berth_model::record::RegistryRecord;
use std::sync::Arc;

/// Refuses an agent that must not come in.
pub(crate) fn check(
    state: &State,
    id: AgentId,
    session: SessionId,
    registration: &Registration,
) -> Result<(), Rejection> {
    let host = &registration.info.hostname;
    if registration.info.id != id {
        return Err(Rejection::new(
            ErrorCode::InvalidArgument,
            format!("agent {id} ({host}) registers as {}", registration.info.id),
        )
        .field("info.id"));
    }
    let own = state.config.cluster;
    if let Some(cluster) = registration.cluster.filter(|cluster| *cluster != own) {
        return Err(Rejection::new(
            ErrorCode::WrongCluster,
            format!("agent {id} ({host}) belongs to cluster {cluster}, this is {own}"),
        )
        .remedy("point the agent at its own master, or give it an empty work directory"));
    }
    let Some(known) = state.agents.get(&id) else { return Ok(()) };
    if let Some(live) = known.session().filter(|live| *live != session) {
        return Err(Rejection::new(
            ErrorCode::SessionExists,
            format!("agent {id} ({host}) has the live session {live}"),
        )
        .remedy(
            "stop the other agent process of this work directory, or wait until it times out",
        ));
    }
    let reported = known.ledger_seq.max(known.ledger_heard);
    if registration.ledger_seq < reported {
        return Err(Rejection::new(
            ErrorCode::LedgerRolledBack,
            format!(
                "agent {id} ({host}) comes with ledger sequence {}, it reported {} before",
                registration.ledger_seq, reported
            ),
        )
        .remedy("its work directory is an old copy: put the current one back, or start it with an empty one under a new id"));
    }
    Ok(())
}

/// What is learned about the registry: an agent that has seen a later one proves it to be old.
pub(crate) fn rollback(state: &State, id: AgentId, registration: &Registration) -> Option<Event> {
    let config = &state.config;
    let (epoch, revision) = (registration.epoch, registration.revision);
    // This epoch was told by this process only to the agents it has met.
    let from_the_future =
        epoch > config.epoch || (epoch == config.epoch && !state.met.contains(&id));
    let older = epoch < config.epoch && revision > config.revision;
    let host = &registration.info.hostname;
    let why = format!(
        "agent {id} ({host}) has seen epoch {epoch} revision {revision}, the registry was loaded at revision {} for epoch {}",
        config.revision, config.epoch
    );
    (from_the_future || older).then(|| AgentEvent::SafeMode(why).into())
}

/// Takes in what the agent declares. While what is reserved or used would not fit the new declaration,
/// the books stay on the old one and nothing of the agent is offered: reservations are never forgotten.
pub(crate) fn declare(known: Option<&Agent>, info: &AgentInfo) -> Vec<Event> {
    let id = info.id;
    let Some(known) = known else {
        return vec![Event::Put(RegistryRecord::Agent(Arc::new(info.clone())))];
    };
    let gone = known.info.declared.minus(&info.declared);
    let mut taken_in = info.clone();
    let mut why = None;
    if !known.books.available.contains(&gone) {
        let missing = known.books.available.missing(&gone);
        why = Some(format!("it no longer declares {missing}, which is reserved or in use"));
        taken_in.declared = known.info.declared.clone();
        taken_in.limitations.extend(why.clone());
    }
    let mut events = Vec::new();
    if known.info != taken_in {
        events.push(Event::Put(RegistryRecord::Agent(Arc::new(taken_in))));
    }
    events.push(AgentEvent::Misfit { agent: id, why }.into());
    events
}
