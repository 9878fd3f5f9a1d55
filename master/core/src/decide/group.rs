//! SNAPSHOT_GROUP: snapshots of several volumes of one agent, at one moment, all of them or none.
//!
//! Its members are snapshots like others, each with the group's id, which is the operation's. The agent writes their states
//! down together and takes them while no task runs that uses one of the volumes. Rule: the operation is DONE when every
//! member is READY, and fails when none is on its way any more and one is not.

use super::disk::{check_health, check_keeps_snapshots};
use super::order::{Asked, ended};
use super::snapshot::{Wanted, check_ready, free_name, id_of, new, put};
use crate::event::Event;
use crate::state::{SnapshotEntry, State, VolumeEntry};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, GroupId, OperationId};
use berth_model::link::ToAgent;
use berth_model::operation::{OperationKind, OperationRecord, OperationState};
use berth_model::snapshot::{Group, Snapshot, SnapshotSpec, SnapshotState};
use berth_model::units::Timestamp;
use std::collections::BTreeSet;

/// As many volumes as one group may have: all of them stand still until the last one is taken.
const VOLUMES_MAX: usize = 16;

/// Keeps the content of these volumes as it is at one moment.
pub(crate) fn create(
    state: &State,
    asked: Asked<'_>,
    entries: &[&VolumeEntry],
    wanted: Wanted<'_>,
) -> Result<Vec<Event>, Rejection> {
    let first = check_number(entries)?;
    check_one_agent(state, entries)?;
    let agent = state.connected_agent(first.volume.agent)?;
    let group = group_of(asked.id);
    let mut events = Vec::new();
    let mut members = Vec::new();
    for (entry, index) in entries.iter().copied().zip(0..) {
        check_ready(state, entry)?;
        check_health(agent, &entry.volume.spec.source)?;
        check_keeps_snapshots(state, entry)?;
        let mut snapshot = new(asked, entry, wanted, "group", index);
        if wanted.name.is_none() {
            // The same for all of them: that of the first one.
            snapshot.spec.name = new(asked, entry, wanted, "group", 0).spec.name;
        }
        snapshot.group = Some(Group { id: group, consistency: None });
        debug_assert_eq!(snapshot.spec.id, id_of(asked, index));
        events.extend(free_name(state, &snapshot.spec)?);
        members.push(snapshot.spec.clone());
        events.push(put(snapshot));
    }
    let names: Vec<String> = members.iter().map(|spec| spec.of.name.to_string()).collect();
    let object = format!(
        "snapshots {} of volumes {} of role {}",
        members.first().map(|spec| spec.name.to_string()).unwrap_or_default(),
        names.join(", "),
        first.volume.spec.role
    );
    let volumes = members.iter().map(|spec| spec.of.id).collect();
    let agent = agent.info.id;
    let record = asked.record(Some(agent), volumes, object, OperationState::Accepted);
    events.push(record.into());
    let (operation, freeze) = (asked.id, wanted.freeze.cloned());
    events.push(Event::tell(agent, ToAgent::EnsureGroup { group, members, operation, freeze }));
    Ok(events)
}

/// The group that an operation makes.
fn group_of(operation: OperationId) -> GroupId {
    GroupId::from_u128(operation.as_u128())
}

fn check_number<'a>(entries: &[&'a VolumeEntry]) -> Result<&'a VolumeEntry, Rejection> {
    let ids: BTreeSet<_> = entries.iter().map(|entry| entry.volume.spec.id).collect();
    let refuse = |text: String, remedy: &'static str| {
        Err(Rejection::new(ErrorCode::InvalidArgument, text).remedy(remedy).field("volumes"))
    };
    if ids.len() < entries.len() {
        return refuse("a volume of the group is named twice".to_owned(), "name each of them once");
    }
    match entries {
        [first, _, ..] if entries.len() <= VOLUMES_MAX => Ok(first),
        _ => refuse(
            format!("a group has 2 to {VOLUMES_MAX} volumes, not {}", entries.len()),
            "take a snapshot of a single volume, or make several groups",
        ),
    }
}

/// Tasks of several machines cannot be stopped at one moment.
fn check_one_agent(state: &State, entries: &[&VolumeEntry]) -> Result<(), Rejection> {
    let agents: BTreeSet<AgentId> = entries.iter().map(|entry| entry.volume.agent).collect();
    if agents.len() < 2 {
        return Ok(());
    }
    let host = |agent: &AgentId| {
        let known = state.agents.get(agent);
        known.map_or_else(|| agent.to_string(), |known| known.info.hostname.to_string())
    };
    let each: Vec<String> = entries
        .iter()
        .map(|entry| format!("{} on {}", entry.volume.spec.name, host(&entry.volume.agent)))
        .collect();
    let text = format!(
        "the volumes of the group are on {} agents: {}; their tasks cannot be stopped at one moment",
        agents.len(),
        each.join(", ")
    );
    Err(Rejection::new(ErrorCode::GroupApart, text)
        .remedy("make one group for each agent, or stop the tasks while you take them")
        .field("volumes"))
}

/// The members of the group that a snapshot belongs to, while its operation is under way.
fn under_way<'a>(
    state: &'a State,
    snapshot: &Snapshot,
) -> Option<(&'a OperationRecord, Vec<&'a SnapshotEntry>)> {
    let group = snapshot.group?.id;
    let operation = state.operations.get(&OperationId::from_u128(group.as_u128()))?;
    if operation.kind != OperationKind::SnapshotGroup || operation.state.is_final() {
        return None;
    }
    let all = operation.volumes.iter().flat_map(|volume| state.snapshots_of(*volume));
    let own = |entry: &&SnapshotEntry| entry.snapshot.group.is_some_and(|g| g.id == group);
    Some((operation, all.filter(own).collect()))
}

/// The message that has the group taken, once for all members that wait for it.
pub(crate) fn again(state: &State, snapshot: &Snapshot) -> Option<Event> {
    let (operation, entries) = under_way(state, snapshot)?;
    let waits = |entry: &&&SnapshotEntry| entry.snapshot.state == SnapshotState::Creating;
    let first = entries.iter().filter(waits).map(|entry| entry.snapshot.spec.id).min();
    if first != Some(snapshot.spec.id) {
        return None;
    }
    let members: Vec<SnapshotSpec> =
        entries.iter().map(|entry| entry.snapshot.spec.clone()).collect();
    let group = group_of(operation.id);
    let (operation, freeze) = (operation.id, snapshot.freeze.clone());
    let message = ToAgent::EnsureGroup { group, members, operation, freeze };
    Some(Event::tell(snapshot.agent, message))
}

/// The end of the operation that a snapshot was taken by, when that has come.
pub(crate) fn settle(state: &State, snapshot: &Snapshot, now: Timestamp) -> Option<Event> {
    let (operation, members) = under_way(state, snapshot)?;
    if members.iter().any(|entry| entry.snapshot.state == SnapshotState::Creating) {
        return None;
    }
    let failed = members.iter().find(|entry| entry.snapshot.state != SnapshotState::Ready);
    let how = match failed {
        Some(entry) => Err(entry.snapshot.error.clone().unwrap_or_else(|| {
            let text = format!("{} is {}", entry.label(), entry.snapshot.state);
            Rejection::new(ErrorCode::SnapshotNotReady, text)
        })),
        None if members.len() < operation.volumes.len() => {
            let text = format!("a snapshot of group {} is not there any more", operation.id);
            Err(Rejection::new(ErrorCode::SnapshotNotReady, text))
        },
        None => Ok(()),
    };
    let by = snapshot.group.and_then(|group| group.consistency).filter(|_| how.is_ok());
    let notes = by.map(|by| format!("consistency: {by}")).into_iter().collect();
    ended(state, operation.id, how, notes, now)
}
