//! Takes in what an agent says of a snapshot, at its registration and later. As with volumes, only a registration makes
//! the master repeat a message.

use super::group;
use super::merge_snapshot::{Verdict, merge};
use super::order::{ended, not_yet};
use super::report::Occasion;
use super::report_derived::roll_back_failed;
use super::snapshot::put;
use crate::event::{AgentEvent, Event};
use crate::state::{SnapshotEntry, State};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, OperationId, SnapshotId};
use berth_model::link::ToAgent;
use berth_model::operation::OperationKind;
use berth_model::record::RegistryKey;
use berth_model::snapshot::{Origin, Snapshot, SnapshotReport, SnapshotState};
use berth_model::units::Timestamp;
use berth_model::volume::{Volume, VolumeState};

/// What follows from a report, or from its absence at a registration.
pub(crate) fn take_in(
    state: &State,
    agent: AgentId,
    id: SnapshotId,
    report: Option<&SnapshotReport>,
    occasion: Occasion,
    now: Timestamp,
) -> Vec<Event> {
    let entry = state.snapshots.get(&id);
    if entry.is_some_and(|entry| entry.snapshot.agent != agent) {
        // A copy of a disk: the volumes on it are quarantined, and this one is nobody's.
        return Vec::new();
    }
    let volume = entry.map(|e| &e.snapshot.spec).or(report.map(|r| &r.spec)).map(|spec| spec.of.id);
    let is_there = volume.is_some_and(|volume| state.outlives_its_snapshots(volume));
    let verdict = merge(entry.map(|entry| entry.snapshot.state), report.map(|r| r.state), is_there);
    let mut events = match (entry, report) {
        (Some(entry), _) => recorded(state, entry, report, (verdict, occasion), now),
        (None, Some(report)) => unrecorded(agent, report, verdict, now),
        (None, None) => Vec::new(),
    };
    events.push(match report {
        Some(report) => AgentEvent::SnapshotObserved(Box::new(report.clone())).into(),
        None => AgentEvent::SnapshotUnobserved(id).into(),
    });
    events
}

fn recorded(
    state: &State,
    entry: &SnapshotEntry,
    report: Option<&SnapshotReport>,
    (verdict, occasion): (Verdict, Occasion),
    now: Timestamp,
) -> Vec<Event> {
    let snapshot = &entry.snapshot;
    let (agent, id, operation) = (snapshot.agent, snapshot.spec.id, snapshot.operation);
    let repeat = occasion == Occasion::Registration;
    let destructive = repeat && state.safe_mode.is_none();
    let enter = |state: SnapshotState, error: Option<Rejection>| {
        put(Snapshot { state, error, changed: now, ..Snapshot::clone(snapshot) })
    };
    match verdict {
        Verdict::Keep | Verdict::Adopt | Verdict::Forget => Vec::new(),
        Verdict::Ensure if repeat && is_own(state, operation, OperationKind::Snapshot) => {
            let (spec, freeze) = (snapshot.spec.clone(), snapshot.freeze.clone());
            vec![Event::tell(agent, ToAgent::EnsureSnapshot { spec, operation, freeze })]
        },
        Verdict::Ensure if repeat && is_own(state, operation, OperationKind::SnapshotGroup) => {
            group::again(state, snapshot).into_iter().collect()
        },
        // The safety snapshot of a roll back comes with the volume's message.
        Verdict::Ensure => not_yet(state, operation, report.and_then(|r| r.error.as_ref())),
        Verdict::Ready => {
            let group = report.and_then(|r| r.group).or(snapshot.group);
            let mut events = vec![put(Snapshot {
                state: SnapshotState::Ready,
                error: None,
                changed: now,
                group,
                ..Snapshot::clone(snapshot)
            })];
            if is_own(state, operation, OperationKind::Snapshot) {
                events.extend(ended(state, operation, Ok(()), Vec::new(), now));
            }
            events
        },
        Verdict::Failed => {
            let error = cause(entry, report, ErrorCode::Internal);
            let mut events = vec![enter(SnapshotState::Failed, Some(error.clone()))];
            if is_own(state, operation, OperationKind::Snapshot) {
                events.extend(ended(state, operation, Err(error.clone()), Vec::new(), now));
            }
            if let Some(volume) = rolled_with(state, entry) {
                // The record was replaced above: what is deleted here is not there any more.
                let failed = roll_back_failed(state, volume, error, now);
                let record = RegistryKey::Snapshot(id);
                events.extend(failed.into_iter().filter(|e| *e != Event::Delete(record.clone())));
            }
            events.push(Event::tell(agent, ToAgent::ForgetSnapshot { snapshot: id }));
            events
        },
        Verdict::Lost | Verdict::Quarantine => {
            let to = if verdict == Verdict::Lost {
                SnapshotState::Lost
            } else {
                SnapshotState::Quarantined
            };
            let error = cause(entry, report, ErrorCode::SnapshotLost);
            let mut events = vec![enter(to, Some(error.clone()))];
            if is_own(state, operation, OperationKind::Snapshot)
                || is_own(state, operation, OperationKind::DeleteSnapshot)
            {
                events.extend(ended(state, operation, Err(error), Vec::new(), now));
            }
            events
        },
        Verdict::Delete if destructive => {
            let spec = snapshot.spec.clone();
            vec![Event::tell(agent, ToAgent::DeleteSnapshot { spec, operation })]
        },
        Verdict::Delete => not_yet(state, operation, report.and_then(|r| r.error.as_ref())),
        Verdict::Dying | Verdict::Gone if state.safe_mode.is_some() => Vec::new(),
        Verdict::Dying => vec![enter(SnapshotState::Deleting, None)],
        Verdict::Gone => gone(state, entry, report, now),
    }
}

/// The volume that is being rolled back and waits for this snapshot of its present content.
fn rolled_with<'a>(state: &'a State, entry: &SnapshotEntry) -> Option<&'a Volume> {
    let spec = &entry.snapshot.spec;
    let volume = &state.volumes.get(&spec.of.id)?.volume;
    match volume.origin.as_deref() {
        Some(Origin::RollBack { safety, .. })
            if safety.id == spec.id && volume.state == VolumeState::Creating =>
        {
            Some(volume)
        },
        Some(
            Origin::RollBack { .. }
            | Origin::Clone { .. }
            | Origin::Orphan
            | Origin::Directory { .. }
            | Origin::Stream,
        )
        | None => None,
    }
}

/// Is the operation of this kind? That of a roll back ends with its volume.
fn is_own(state: &State, operation: OperationId, kind: OperationKind) -> bool {
    state.operations.get(&operation).is_some_and(|record| record.kind == kind)
}

fn gone(
    state: &State,
    entry: &SnapshotEntry,
    report: Option<&SnapshotReport>,
    now: Timestamp,
) -> Vec<Event> {
    let (id, operation) = (entry.snapshot.spec.id, entry.snapshot.operation);
    let mut events = vec![Event::Delete(RegistryKey::Snapshot(id))];
    if is_own(state, operation, OperationKind::DeleteSnapshot) {
        events.extend(ended(state, operation, Ok(()), Vec::new(), now));
    }
    if report.is_some() {
        let message = ToAgent::ForgetSnapshot { snapshot: id };
        events.push(Event::tell(entry.snapshot.agent, message));
    }
    events
}

fn cause(entry: &SnapshotEntry, report: Option<&SnapshotReport>, code: ErrorCode) -> Rejection {
    report.and_then(|r| r.error.clone()).unwrap_or_else(|| {
        let seen = report.map_or("nothing", |r| r.state.as_str());
        let snapshot = &entry.snapshot;
        let text = format!(
            "{}: agent {} reports {seen}, the registry has {}",
            entry.label(),
            snapshot.agent,
            snapshot.state
        );
        Rejection::new(code, text)
            .remedy("look at the disk on that agent; nothing was made or deleted there")
    })
}

fn unrecorded(
    agent: AgentId,
    report: &SnapshotReport,
    verdict: Verdict,
    now: Timestamp,
) -> Vec<Event> {
    let spec = &report.spec;
    match verdict {
        Verdict::Forget => {
            vec![Event::tell(agent, ToAgent::ForgetSnapshot { snapshot: spec.id })]
        },
        Verdict::Adopt => {
            let error = Rejection::new(
                ErrorCode::SnapshotNotReady,
                format!(
                    "agent {agent} reports snapshot {} of volume {} ({}), which the registry does not know",
                    spec.name, spec.of.name, report.state
                ),
            )
            .remedy("nothing of it is touched; restore the registry it belongs to");
            vec![put(Snapshot {
                spec: spec.clone(),
                agent,
                state: SnapshotState::Quarantined,
                held: false,
                freeze: None,
                error: Some(error),
                principal: None,
                created: now,
                changed: now,
                operation: report.operation.unwrap_or(OperationId::from_u128(0)),
                scheduled: None,
                group: report.group,
            })]
        },
        Verdict::Keep
        | Verdict::Ensure
        | Verdict::Ready
        | Verdict::Failed
        | Verdict::Lost
        | Verdict::Delete
        | Verdict::Dying
        | Verdict::Gone
        | Verdict::Quarantine => Vec::new(),
    }
}
