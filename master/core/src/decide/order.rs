//! One operation on one agent: who asks, under which id, and from which resources it may draw.

use super::{conflict, quota, rescind};
use crate::event::Event;
use crate::state::{Agent, State};
use berth_model::audit::Said;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, FrameworkId, OperationId, Principal, VolumeId};
use berth_model::operation::{OperationKind, OperationRecord, OperationState};
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::units::Timestamp;
use std::sync::Arc;

/// Names an operation and the time it is decided at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) id: OperationId,
    pub(crate) kind: OperationKind,
    pub(crate) fingerprint: u64,
    pub(crate) framework: Option<&'a FrameworkId>,
    /// What an operator said of who he is and why he asks.
    pub(crate) said: Option<&'a Said>,
    pub(crate) now: Timestamp,
}

impl Asked<'_> {
    /// The record of the operation in this state.
    pub(crate) fn record(
        &self,
        agent: Option<AgentId>,
        volumes: Vec<VolumeId>,
        object: String,
        state: OperationState,
    ) -> OperationRecord {
        OperationRecord {
            id: self.id,
            kind: self.kind,
            fingerprint: self.fingerprint,
            framework: self.framework.cloned(),
            agent,
            volumes,
            object,
            finished: state.is_final().then_some(self.now),
            state,
            notes: Vec::new(),
            accepted: self.now,
            orphan: None,
            said: self.said.cloned().unwrap_or_default(),
            disk: None,
            wipe: None,
            snapshot: None,
        }
    }
}

/// Where an operation takes its resources from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// What is left of the accepted offers.
    Accepted {
        running: &'a Resources,
        /// The offers' role.
        role: &'a Role,
        /// The framework's.
        principal: Option<&'a Principal>,
        /// The offers had an optimistic part: some of it may be somebody else's by now.
        contested: bool,
        /// There are no offers: it is all that the role may take of the agent, and whatever is missing is a conflict.
        cell: bool,
    },
    /// Everything of the agent that no task uses; offers that hold it are rescinded.
    Agent,
}

/// An operation with its surroundings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) state: &'a State,
    pub(crate) agent: &'a Agent,
    pub(crate) source: Source<'a>,
    pub(crate) asked: Asked<'a>,
}

/// What an operation does to the resources, and all that follows.
#[derive(Clone, Debug)]
pub(crate) struct Conversion {
    pub(crate) consumed: Resources,
    pub(crate) produced: Resources,
    pub(crate) events: Vec<Event>,
}

impl Order<'_> {
    /// Makes sure that `wanted` is there to be taken.
    pub(crate) fn secure(&self, wanted: &Resources) -> Result<Vec<Event>, Rejection> {
        match self.source {
            Source::Accepted { running, .. } if running.contains(wanted) => {
                self.check_there(wanted).map(|()| Vec::new())
            },
            Source::Accepted { running, .. } => {
                Err(self.short("the accepted offers", running, wanted))
            },
            Source::Agent => rescind::claim(self.state, self.agent, wanted, self.asked.now),
        }
    }
    /// Says what is missing of `wanted`: of offers the caller has read what they hold, of an agent he can only know what it held.
    pub(crate) fn short(&self, holder: &str, pool: &Resources, wanted: &Resources) -> Rejection {
        match self.source {
            Source::Accepted { cell: true, role, .. } => {
                conflict::not_there(self.agent, role, pool, wanted)
            },
            Source::Accepted { cell: false, .. } | Source::Agent => {
                insufficient(holder, pool, wanted)
            },
        }
    }
    /// Refuses what the accepted offers held and somebody else has committed meanwhile.
    pub(crate) fn check_there(&self, wanted: &Resources) -> Result<(), Rejection> {
        match self.source {
            Source::Accepted { contested: true, role, cell, .. } => {
                conflict::check_there(self.state, self.agent, role, wanted)
                    .and_then(|()| {
                        quota::check_headroom(self.state, self.agent.info.id, role, wanted)
                    })
                    .map_err(|error| if cell { error.remedy(conflict::AGAIN) } else { error })
            },
            Source::Accepted { .. } | Source::Agent => Ok(()),
        }
    }
    /// Who asked, when that is known.
    pub(crate) fn principal(&self) -> Option<&Principal> {
        match self.source {
            Source::Accepted { principal, .. } => principal,
            Source::Agent => None,
        }
    }
}

/// Says what is there of `wanted` and what is missing.
pub(crate) fn insufficient(holder: &str, pool: &Resources, wanted: &Resources) -> Rejection {
    let missing = pool.missing(wanted);
    let there = wanted.minus(&missing);
    Rejection::new(
        ErrorCode::InsufficientResources,
        format!("{holder} hold {there} of the wanted {wanted}; missing {missing}"),
    )
    .remedy("ask for less, reserve first, or free what is in use")
}

/// The earlier answer to the same request.
///
/// # Errors
/// The id was used for another request.
pub(crate) fn answered_before(
    state: &State,
    id: OperationId,
    fingerprint: u64,
) -> Result<Option<&Arc<OperationRecord>>, Rejection> {
    match state.operations.get(&id) {
        Some(record) if record.fingerprint != fingerprint => Err(Rejection::new(
            ErrorCode::RequestIdReused,
            format!(
                "operation id {id} belongs to another request: {} {}",
                record.kind, record.object
            ),
        )
        .remedy("choose a new id for each new request")
        .field("operation")),
        found => Ok(found),
    }
}

/// The end of an operation that was accepted; nothing when it ended before or is forgotten.
pub(crate) fn ended(
    state: &State,
    id: OperationId,
    how: Result<(), Rejection>,
    notes: Vec<String>,
    now: Timestamp,
) -> Option<Event> {
    let record = state.operations.get(&id).filter(|r| !r.state.is_final())?;
    let mut record = OperationRecord::clone(record);
    record.state = match how {
        Ok(()) => OperationState::Done,
        Err(rejection) => OperationState::Failed(rejection),
    };
    record.notes.extend(notes);
    record.finished = Some(now);
    Some(record.into())
}

/// Notes, once, why the agent could not do it yet; it goes on trying.
pub(crate) fn not_yet(state: &State, id: OperationId, error: Option<&Rejection>) -> Vec<Event> {
    let Some(error) = error else { return Vec::new() };
    let note = format!("not yet done: {error}");
    let pending = state.operations.get(&id).filter(|record| !record.state.is_final());
    if pending.is_none_or(|record| record.notes.contains(&note)) {
        return Vec::new();
    }
    noted(state, id, note).into_iter().collect()
}

/// Adds to an operation's notes, ended or not.
pub(crate) fn noted(state: &State, id: OperationId, note: String) -> Option<Event> {
    let mut record = OperationRecord::clone(state.operations.get(&id)?);
    record.notes.push(note);
    Some(record.into())
}
