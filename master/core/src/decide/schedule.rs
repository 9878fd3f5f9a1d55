//! SET_SCHEDULE and DELETE_SCHEDULE, and what a schedule does when its time has come.
//!
//! What is due is decided from the record, the books and the time alone, so a look may come at any time and as often as it
//! likes. A time that passed while nothing could be taken is not made up for: the latest one counts. Snapshots are taken and deleted
//! by the same decisions that operators call for, under ids made from the time. Rules: only READY snapshots that this volume's
//! schedule took are deleted, never a held one, never the newest.

use super::disk::check_keeps_snapshots;
use super::keep::{Taken, falls_out};
use super::order::{Asked, Order, Source};
use super::sharing::check_freezable;
use super::snapshot::{self, Wanted};
use crate::event::Event;
use crate::state::{State, VolumeEntry};
use berth_model::audit::{Said, Who};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, Principal, SnapshotId, SnapshotName, VolumeId, derive};
use berth_model::operation::{OperationKind, OperationState};
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::schedule::{SchedulePlan, ScheduleResult, ScheduleRun, SnapshotSchedule};
use berth_model::snapshot::SnapshotState;
use berth_model::units::Timestamp;
use berth_model::volume::VolumeState;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A time that failed is tried again after this, or after half of the time between two when that is shorter.
const RETRY: Duration = Duration::from_secs(60);

/// Gives a volume a schedule, or another one.
pub(crate) fn set(
    state: &State,
    asked: Asked<'_>,
    entry: &VolumeEntry,
    plan: &SchedulePlan,
    principal: Option<&Principal>,
) -> Result<Vec<Event>, Rejection> {
    let (volume, spec) = (&entry.volume, &entry.volume.spec);
    if let Some(paused) = paused(entry) {
        return Err(paused.field("volume"));
    }
    plan.check().map_err(|error| {
        Rejection::new(ErrorCode::InvalidArgument, error.text)
            .remedy(error.remedy)
            .field(error.field)
    })?;
    check_keeps_snapshots(state, entry)?;
    if plan.freeze.is_some() {
        check_freezable(spec)?;
    }
    let before = state.schedules.get(&spec.id);
    let same = before.filter(|before| before.plan.every == plan.every);
    let schedule = SnapshotSchedule {
        volume: spec.id,
        plan: plan.clone(),
        principal: principal.cloned(),
        created: before.map_or(asked.now, |before| before.created),
        changed: asked.now,
        operation: asked.id,
        settled: same.map_or_else(|| plan.due(asked.now), |same| same.settled),
        last: same.and_then(|same| same.last.clone()),
    };
    let object = format!(
        "snapshots of volume {} of role {} every {}, keeping {}",
        spec.name,
        spec.role,
        berth_model::units::format_duration(plan.every),
        plan.keep.describe()
    );
    let record = asked.record(Some(volume.agent), vec![spec.id], object, OperationState::Done);
    Ok(vec![put(schedule), record.into()])
}

/// Takes a volume's schedule away; what it took stays.
pub(crate) fn delete(
    state: &State,
    asked: Asked<'_>,
    entry: &VolumeEntry,
) -> Result<Vec<Event>, Rejection> {
    let (volume, spec) = (&entry.volume, &entry.volume.spec);
    if !state.schedules.contains_key(&spec.id) {
        let text = format!("volume {} of role {} has no schedule", spec.name, spec.role);
        return Err(Rejection::new(ErrorCode::UnknownSchedule, text)
            .remedy("list them with `berth snapshot schedule list`")
            .field("volume"));
    }
    let object = format!("snapshot schedule of volume {} of role {}", spec.name, spec.role);
    let record = asked.record(Some(volume.agent), vec![spec.id], object, OperationState::Done);
    Ok(vec![Event::Delete(RegistryKey::Schedule(spec.id)), record.into()])
}

fn put(schedule: SnapshotSchedule) -> Event {
    Event::Put(RegistryRecord::Schedule(Arc::new(schedule)))
}

/// Why a schedule of this volume rests until somebody acts.
fn paused(entry: &VolumeEntry) -> Option<Rejection> {
    let (volume, spec) = (&entry.volume, &entry.volume.spec);
    match volume.state {
        VolumeState::Tombstoned | VolumeState::Trashed | VolumeState::Gone => {
            let text = format!("volume {} ({}) is {}", spec.name, spec.id, volume.state);
            let remedy = format!(
                "take it out of the trash with `berth volume trash restore {}`; until then no snapshot is taken or deleted by the clock",
                spec.id
            );
            Some(Rejection::new(ErrorCode::VolumeNotReady, text).remedy(remedy))
        },
        VolumeState::Creating
        | VolumeState::Ready
        | VolumeState::Failed
        | VolumeState::Lost
        | VolumeState::Quarantined => None,
    }
}

/// Why nothing is taken now, whatever the time is. It ends without anybody asking the schedule.
pub(crate) fn obstacle(state: &State, entry: &VolumeEntry) -> Option<Rejection> {
    let (volume, spec) = (&entry.volume, &entry.volume.spec);
    let unfinished = || {
        let text = format!("volume {} ({}) is CREATING", spec.name, spec.id);
        let error = Rejection::new(ErrorCode::VolumeNotReady, text);
        (volume.state == VolumeState::Creating)
            .then(|| error.remedy(format!("wait for operation {}", volume.operation)))
    };
    paused(entry).or_else(|| state.connected_agent(volume.agent).err()).or_else(unfinished)
}

/// Takes in how the snapshot that was being taken has ended; drops the schedule of a volume that is no more.
pub(crate) fn settle(state: &State, volume: VolumeId, _: Timestamp) -> Vec<Event> {
    let Some(schedule) = state.schedules.get(&volume) else { return Vec::new() };
    if !state.volumes.contains_key(&volume) {
        return vec![Event::Delete(RegistryKey::Schedule(volume))];
    }
    let Some(ScheduleRun { due, tried, result: ScheduleResult::Taking(id) }) = &schedule.last
    else {
        return Vec::new();
    };
    let Some(entry) = state.snapshots.get(id) else {
        let text = format!("snapshot {id} is not there any more");
        let failed = ScheduleResult::Failed(Rejection::new(ErrorCode::UnknownSnapshot, text));
        return vec![ran(schedule, *due, *tried, failed)];
    };
    let taken = &entry.snapshot;
    let result = match taken.state {
        SnapshotState::Creating => return Vec::new(),
        SnapshotState::Ready | SnapshotState::Deleting => ScheduleResult::Taken(*id),
        SnapshotState::Failed
        | SnapshotState::Lost
        | SnapshotState::Quarantined
        | SnapshotState::Gone => ScheduleResult::Failed(taken.error.clone().unwrap_or_else(|| {
            Rejection::new(
                ErrorCode::SnapshotNotReady,
                format!("{} is {}", entry.label(), taken.state),
            )
        })),
    };
    vec![ran(schedule, *due, *tried, result)]
}

fn ran(
    schedule: &SnapshotSchedule,
    due: Timestamp,
    tried: Timestamp,
    result: ScheduleResult,
) -> Event {
    let settled = schedule.settled.max(due);
    let last = Some(ScheduleRun { due, tried, result });
    put(SnapshotSchedule { settled, last, ..schedule.clone() })
}

/// The time that is open now, when one is.
fn open(schedule: &SnapshotSchedule, now: Timestamp) -> Option<Timestamp> {
    let due = schedule.plan.due(now);
    match &schedule.last {
        Some(ScheduleRun { result: ScheduleResult::Taking(_), .. }) => None,
        Some(run @ ScheduleRun { result: ScheduleResult::Failed(_), .. })
            if run.due == due && schedule.settled == due =>
        {
            (now >= again(schedule, run)).then_some(due)
        },
        Some(_) | None => (due > schedule.settled).then_some(due),
    }
}

/// When a time that failed is tried again.
fn again(schedule: &SnapshotSchedule, run: &ScheduleRun) -> Timestamp {
    run.tried.after(RETRY.min(schedule.plan.every / 2))
}

/// Takes the snapshot that is due.
pub(crate) fn take(state: &State, volume: VolumeId, now: Timestamp) -> Vec<Event> {
    let (Some(schedule), Some(entry)) = (state.schedules.get(&volume), state.volumes.get(&volume))
    else {
        return Vec::new();
    };
    let Some(due) = open(schedule, now).filter(|_| obstacle(state, entry).is_none()) else {
        return Vec::new();
    };
    let id = OperationId::from_u128(derive(volume.as_u128(), now.ms()));
    let result = attempt(state, schedule, entry, due, asked(id, OperationKind::Snapshot, now));
    match result {
        Ok((id, mut events)) => {
            events.push(ran(schedule, due, now, ScheduleResult::Taking(id)));
            events
        },
        Err(error) => vec![ran(schedule, due, now, ScheduleResult::Failed(error))],
    }
}

/// Nobody asks: Berth keeps what somebody once set.
const BY_ITSELF: Said = Said { who: Who::Berth, reason: None, in_earnest: false };

fn asked<'a>(id: OperationId, kind: OperationKind, now: Timestamp) -> Asked<'a> {
    Asked { id, kind, fingerprint: 0, framework: None, said: Some(&BY_ITSELF), now }
}

fn attempt(
    state: &State,
    schedule: &SnapshotSchedule,
    entry: &VolumeEntry,
    due: Timestamp,
    asked: Asked<'_>,
) -> Result<(SnapshotId, Vec<Event>), Rejection> {
    let name = SnapshotName::new(&format!("scheduled-{}", due.compact()))
        .expect("letters, digits and dashes are a name");
    let wanted = Wanted {
        name: Some(&name),
        principal: schedule.principal.as_ref(),
        freeze: schedule.plan.freeze.as_ref(),
        scheduled: Some(due),
    };
    let agent = state.connected_agent(entry.volume.agent)?;
    let order = Order { state, agent, source: Source::Agent, asked };
    let events = snapshot::create(&order, entry, wanted)?;
    Ok((snapshot::id_of(asked, 0), events))
}

/// Deletes what falls out of the rules, and what is left of times that failed.
pub(crate) fn prune(state: &State, volume: VolumeId, now: Timestamp) -> Vec<Event> {
    let (Some(schedule), Some(entry)) = (state.schedules.get(&volume), state.volumes.get(&volume))
    else {
        return Vec::new();
    };
    let Ok(agent) = state.connected_agent(entry.volume.agent) else { return Vec::new() };
    if paused(entry).is_some() {
        return Vec::new();
    }
    let latest = schedule.last.as_ref().map(|run| run.due);
    let mut doomed: Vec<SnapshotId> =
        falls_out(&schedule.plan.keep, &taken(state, volume)).iter().map(|(_, id)| *id).collect();
    doomed.extend(state.snapshots_of(volume).filter_map(|entry| {
        let snapshot = &entry.snapshot;
        let is_past = snapshot.scheduled.is_some() && snapshot.scheduled < latest;
        (snapshot.state == SnapshotState::Failed && is_past).then_some(snapshot.spec.id)
    }));
    let mut events = Vec::new();
    for id in doomed {
        let Some(doomed) = state.snapshots.get(&id) else { continue };
        let operation = OperationId::from_u128(derive(id.as_u128(), now.ms()));
        let asked = asked(operation, OperationKind::DeleteSnapshot, now);
        let order = Order { state, agent, source: Source::Agent, asked };
        // One that is held, or from which a volume is being made, is looked at again next time.
        events.extend(snapshot::delete(&order, doomed).unwrap_or_default());
    }
    events
}

/// The good snapshots that the volume's schedule took.
pub(crate) fn taken(state: &State, volume: VolumeId) -> BTreeSet<Taken> {
    let ready = state.snapshots_of(volume).filter(|e| e.snapshot.state == SnapshotState::Ready);
    ready.filter_map(|e| Some((e.snapshot.scheduled?, e.snapshot.spec.id))).collect()
}

/// The next of its times; absent while nothing can be taken.
pub(crate) fn next_time(
    state: &State,
    schedule: &SnapshotSchedule,
    entry: &VolumeEntry,
) -> Option<Timestamp> {
    let rests = obstacle(state, entry).is_some();
    (!rests).then(|| schedule.settled.after(schedule.plan.every))
}

/// When to look again, unless something happens before. Nothing is due before that.
pub(crate) fn next_look(state: &State, volume: VolumeId, now: Timestamp) -> Option<Timestamp> {
    let (schedule, entry) = (state.schedules.get(&volume)?, state.volumes.get(&volume)?);
    if obstacle(state, entry).is_some() {
        return None;
    }
    let due = schedule.plan.due(now);
    let next = due.max(schedule.settled).after(schedule.plan.every);
    match &schedule.last {
        Some(ScheduleRun { result: ScheduleResult::Taking(_), .. }) => None,
        Some(run @ ScheduleRun { result: ScheduleResult::Failed(_), .. }) if run.due == due => {
            Some(again(schedule, run).min(next)).filter(|at| *at > now).or(Some(next))
        },
        Some(_) | None => Some(next),
    }
}
