//! Takes in what an agent says of a volume, at its registration and later.
//!
//! Only a registration makes the master repeat a message: an answer that led to another message
//! could go round for ever.

use super::access;
use super::create::ensure;
use super::gone::{forget, gone, is_settled, purged_for};
use super::merge::Verdict;
use super::missing::give_back;
use super::order::{ended, not_yet, noted};
use super::orphan::still_lost;
use super::report_derived::{roll_back_failed, rolls_back, verdict_of};
use super::rescind;
use super::resize::{are_ready, sizes};
use super::wipe::purge_refused;
use crate::event::{AgentEvent, Event};
use crate::state::{Agent, State, VolumeEntry, sum_of};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, VolumeId};
use berth_model::link::ToAgent;
use berth_model::operation::OperationKind;
use berth_model::reservation::Stack;
use berth_model::resources::{Resource, Resources};
use berth_model::units::Timestamp;
use berth_model::volume::{Volume, VolumeReport, VolumeSpec, VolumeState};
use std::sync::Arc;

/// When something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// With everything else the agent knows.
    Registration,
    /// By itself.
    Report,
}

/// What follows from a report, or from its absence at a registration.
pub(crate) fn take_in(
    state: &State,
    agent: &Agent,
    id: VolumeId,
    report: Option<&VolumeReport>,
    occasion: Occasion,
    now: Timestamp,
) -> Vec<Event> {
    let entry = state.volumes.get(&id);
    if let Some(entry) = entry.filter(|entry| entry.volume.agent != agent.info.id) {
        return elsewhere(state, entry, agent, report, now);
    }
    let verdict = verdict_of(entry.map(|entry| &*entry.volume), report);
    let mut events = match (entry, report) {
        (Some(entry), Some(report)) if are_ready(&entry.volume, report) => {
            let repeat = occasion == Occasion::Registration;
            let mut events = sizes((state, agent, entry), report, repeat, now);
            events.extend(access::settle(state, entry, report, repeat, now));
            events
        },
        (Some(entry), _) => recorded(state, agent, entry, report, (verdict, occasion), now),
        (None, Some(report)) => unrecorded(agent, report, verdict, now),
        (None, None) => Vec::new(),
    };
    match report {
        Some(report) => events.push(AgentEvent::VolumeObserved(Box::new(report.clone())).into()),
        None => events.push(AgentEvent::VolumeUnobserved(id).into()),
    }
    events
}

/// A volume that the registry has on another agent: one of the two is a copy; nobody touches either.
fn elsewhere(
    state: &State,
    entry: &VolumeEntry,
    agent: &Agent,
    report: Option<&VolumeReport>,
    now: Timestamp,
) -> Vec<Event> {
    let Some(report) = report else { return Vec::new() };
    if report.state == VolumeState::Gone || entry.volume.state == VolumeState::Quarantined {
        return Vec::new();
    }
    let error = Rejection::new(
        ErrorCode::VolumeUnavailable,
        format!(
            "agents {} and {} both report volume {}",
            entry.volume.agent, agent.info.id, entry.volume.spec.id
        ),
    )
    .remedy("find out which disk was copied, and take one of them away");
    let Some(owner) = state.agents.get(&entry.volume.agent) else { return Vec::new() };
    withhold(state, owner, entry, VolumeState::Quarantined, error, now)
}

fn recorded(
    state: &State,
    agent: &Agent,
    entry: &VolumeEntry,
    report: Option<&VolumeReport>,
    (verdict, occasion): (Verdict, Occasion),
    now: Timestamp,
) -> Vec<Event> {
    let volume = &entry.volume;
    let id = agent.info.id;
    let repeat = occasion == Occasion::Registration;
    let destructive = repeat && state.safe_mode.is_none();
    match verdict {
        Verdict::Keep => still_lost(state, volume, report, occasion, now),
        Verdict::Adopt | Verdict::Forget => Vec::new(),
        // A roll back asked for after the registry was copied may be an old one: data since then would go.
        Verdict::Ensure if repeat && !(rolls_back(volume) && state.safe_mode.is_some()) => {
            vec![Event::tell(id, ensure(volume))]
        },
        Verdict::Ensure => {
            let of_it = report.filter(|r| r.operation == Some(volume.operation));
            not_yet(state, volume.operation, of_it.and_then(|r| r.error.as_ref()))
        },
        Verdict::Ready => ready(state, volume, report, now),
        Verdict::Failed => failed(state, volume, report, now),
        Verdict::Lost => withheld(state, agent, entry, VolumeState::Lost, report, now),
        Verdict::Quarantine => withheld(state, agent, entry, VolumeState::Quarantined, report, now),
        Verdict::Destroy if destructive => vec![Event::tell(
            id,
            ToAgent::DestroyVolume {
                volume: volume.spec.id,
                generation: volume.spec.generation,
                operation: volume.operation,
            },
        )],
        Verdict::Destroy => not_yet(state, volume.operation, report.and_then(|r| r.error.as_ref())),
        Verdict::Trashed => trashed(state, volume, now),
        Verdict::InTrash if destructive => purge_again(state, agent, volume),
        Verdict::InTrash if report.is_some_and(|r| r.refused) => {
            purge_refused(state, volume, report, now).into_iter().collect()
        },
        Verdict::InTrash => not_yet(state, volume.operation, report.and_then(|r| r.error.as_ref())),
        Verdict::Gone if state.safe_mode.is_some() => Vec::new(),
        Verdict::Gone => gone(state, volume, report, now),
    }
}

fn ready(
    state: &State,
    volume: &Volume,
    report: Option<&VolumeReport>,
    now: Timestamp,
) -> Vec<Event> {
    let next = Volume {
        state: VolumeState::Ready,
        error: None,
        changed: now,
        reserved_from: None,
        origin: None,
        ..volume.clone()
    };
    let mut events: Vec<Event> = vec![next.into()];
    let (purged, notes) = purged_for(state, report, now);
    events.extend(purged);
    if is_settled(state, volume, VolumeState::Ready) {
        events.extend(ended(state, volume.operation, Ok(()), notes, now));
    } else {
        events.extend(notes.into_iter().filter_map(|note| noted(state, volume.operation, note)));
    }
    events
}

fn cause(report: Option<&VolumeReport>, code: ErrorCode, volume: &Volume) -> Rejection {
    report.and_then(|r| r.error.clone()).unwrap_or_else(|| {
        let seen = report.map_or("nothing", |r| r.state.as_str());
        let generation = report.map_or(0, |r| r.spec.generation);
        let (spec, agent) = (&volume.spec, volume.agent);
        Rejection::new(
            code,
            format!(
                "volume {} ({}): agent {agent} reports {seen} (generation {generation}), the registry has {} (generation {})",
                spec.name, spec.id, volume.state, spec.generation
            ),
        )
        .remedy("look at the volume's disk on that agent; nothing was made or deleted there")
    })
}

fn failed(
    state: &State,
    volume: &Volume,
    report: Option<&VolumeReport>,
    now: Timestamp,
) -> Vec<Event> {
    let error = cause(report, ErrorCode::Internal, volume);
    let spec = &volume.spec;
    // A volume that could not be taken out of the trash may still lie there, in its earlier life.
    let in_trash = spec.generation > 1 && report.is_some_and(|r| r.state == VolumeState::Trashed);
    let next = if rolls_back(volume) {
        return roll_back_failed(state, volume, error, now);
    } else if in_trash {
        let generation = spec.generation - 1;
        Volume {
            state: VolumeState::Trashed,
            spec: VolumeSpec { generation, ..spec.clone() },
            changed: now,
            reserved_from: None,
            ..volume.clone()
        }
    } else {
        Volume {
            state: VolumeState::Failed,
            error: Some(error.clone()),
            changed: now,
            reserved_from: None,
            ..volume.clone()
        }
    };
    let mut events: Vec<Event> = vec![next.into()];
    events.extend(give_back(state, volume, now));
    events.extend(ended(state, volume.operation, Err(error), Vec::new(), now));
    if !in_trash {
        events.push(forget(volume, report));
    }
    events
}

fn withheld(
    state: &State,
    agent: &Agent,
    entry: &VolumeEntry,
    to: VolumeState,
    report: Option<&VolumeReport>,
    now: Timestamp,
) -> Vec<Event> {
    let volume = &entry.volume;
    let code =
        if to == VolumeState::Lost { ErrorCode::VolumeLost } else { ErrorCode::VolumeUnavailable };
    withhold(state, agent, entry, to, cause(report, code, volume), now)
}

/// Takes the volume out of circulation; the operation that was at it has failed.
fn withhold(
    state: &State,
    agent: &Agent,
    entry: &VolumeEntry,
    to: VolumeState,
    error: Rejection,
    now: Timestamp,
) -> Vec<Event> {
    let volume = &entry.volume;
    let mut events = Vec::new();
    if volume.state == VolumeState::Ready {
        events = rescind::holding(state, agent, &sum_of(&entry.resource()));
    }
    events.push(
        Volume {
            state: to,
            error: Some(error.clone()),
            changed: now,
            origin: None,
            // Its books keep the larger size and what was to be its access: so its agent will be told when its data comes back.
            resize: None,
            access_before: None,
            ..Volume::clone(volume)
        }
        .into(),
    );
    events.extend(ended(state, volume.operation, Err(error), Vec::new(), now));
    events
}

fn trashed(state: &State, volume: &Volume, now: Timestamp) -> Vec<Event> {
    let next = Volume { state: VolumeState::Trashed, error: None, changed: now, ..volume.clone() };
    let mut events: Vec<Event> = vec![next.into()];
    if is_settled(state, volume, VolumeState::Trashed) {
        events.extend(ended(state, volume.operation, Ok(()), Vec::new(), now));
    }
    events
}

fn purge_again(state: &State, agent: &Agent, volume: &Volume) -> Vec<Event> {
    let operation = state.operations.get(&volume.operation);
    let purging = operation.is_some_and(|o| o.kind == OperationKind::Purge && !o.state.is_final());
    let message = ToAgent::PurgeVolume {
        volume: volume.spec.id,
        generation: volume.spec.generation,
        operation: volume.operation,
        wipe: operation.and_then(|o| o.wipe),
    };
    if purging { vec![Event::tell(agent.info.id, message)] } else { Vec::new() }
}

fn unrecorded(
    agent: &Agent,
    report: &VolumeReport,
    verdict: Verdict,
    now: Timestamp,
) -> Vec<Event> {
    let spec = &report.spec;
    match verdict {
        Verdict::Forget => vec![Event::tell(
            agent.info.id,
            ToAgent::ForgetVolume { volume: spec.id, generation: spec.generation },
        )],
        Verdict::Adopt => vec![adopted(agent, report, now).into()],
        Verdict::Keep
        | Verdict::Ensure
        | Verdict::Ready
        | Verdict::Failed
        | Verdict::Lost
        | Verdict::Destroy
        | Verdict::Trashed
        | Verdict::InTrash
        | Verdict::Gone
        | Verdict::Quarantine => Vec::new(),
    }
}

/// A record for what nobody has a record of. Its space comes from a reservation of its role if one has
/// room, else from unreserved disk, and is withheld.
fn adopted(agent: &Agent, report: &VolumeReport, now: Timestamp) -> Volume {
    let spec = &report.spec;
    let has_room = |stack: &Stack| {
        let Ok(size) = spec.size.to_scalar() else { return false };
        let disk = Resource::disk(spec.source.clone(), size).with_stack(stack.clone());
        agent.books.available.contains(&sum_of(&disk))
    };
    let stacks =
        agent.rows.keys().filter(|key| key.owner == spec.role && key.source == spec.source);
    let stack = stacks.map(|key| key.stack.clone()).find(has_room).unwrap_or_default();
    let error = Rejection::new(
        ErrorCode::VolumeUnavailable,
        format!(
            "agent {} reports volume {} ({}, {}), which the registry does not know",
            agent.info.id, spec.name, spec.id, report.state
        ),
    )
    .remedy("nothing of it is touched; restore the registry it belongs to, or move the data away by hand");
    Volume {
        spec: spec.clone(),
        agent: agent.info.id,
        stack,
        container_path: Arc::from(spec.name.as_str()),
        state: VolumeState::Quarantined,
        error: Some(error),
        created: now,
        changed: now,
        framework: None,
        operation: report.operation.unwrap_or(OperationId::from_u128(0)),
        reserved_from: None,
        resize: None,
        origin: None,
        protected: false,
        access_before: None,
    }
}

/// Only what a sum can hold may be put in the books.
pub(crate) fn is_sane(report: &VolumeReport) -> bool {
    let mut sum = Resources::new();
    let size = report.spec.size.to_scalar();
    size.is_ok_and(|size| sum.add(&Resource::disk(report.spec.source.clone(), size)).is_ok())
}
