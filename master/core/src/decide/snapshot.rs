//! SNAPSHOT, DELETE_SNAPSHOT, HOLD, ROLLBACK, CLONE.
//!
//! A snapshot belongs to its volume: it is on the same disk, takes none of the role's reservation, and dies with the
//! volume's PURGE. Rules: nothing that ends in the deletion of a held snapshot is accepted; no snapshot is deleted from
//! which a volume is being made.

use super::create::accepted;
use super::destroy::{check_unused, under_way};
use super::disk::{check_health, check_keeps_snapshots};
use super::order::{Asked, Order};
use super::protect::check_unprotected;
use super::report_derived::rolls_back;
use super::rescind;
use super::room::{Wish, create_volume};
use super::sharing::check_freezable;
use crate::event::Event;
use crate::state::{SnapshotEntry, State, VolumeEntry, sum_of};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{Principal, SnapshotId, SnapshotName, VolumeId, VolumeName, derive};
use berth_model::link::ToAgent;
use berth_model::operation::OperationState;
use berth_model::operator::DiskChoice;
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::role::Role;
use berth_model::snapshot::{Freeze, Origin, Snapshot, SnapshotSpec, SnapshotState};
use berth_model::units::Timestamp;
use berth_model::volume::{Volume, VolumeSpec, VolumeState};
use std::sync::Arc;

/// The snapshot that is meant.
pub(crate) fn by_id(state: &State, id: SnapshotId) -> Result<&SnapshotEntry, Rejection> {
    state.snapshots.get(&id).ok_or_else(|| {
        Rejection::new(ErrorCode::UnknownSnapshot, format!("no snapshot {id}"))
            .remedy("list the snapshots with `berth snapshot list`")
            .field("snapshot")
    })
}

/// A snapshot as somebody asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: Option<&'a SnapshotName>,
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) freeze: Option<&'a Freeze>,
    /// The time of the volume's schedule.
    pub(crate) scheduled: Option<Timestamp>,
}

/// Keeps a volume's content as it is now.
pub(crate) fn create(
    order: &Order<'_>,
    entry: &VolumeEntry,
    wanted: Wanted<'_>,
) -> Result<Vec<Event>, Rejection> {
    check_ready(order.state, entry)?;
    let spec = &entry.volume.spec;
    check_health(order.agent, &spec.source)?;
    check_keeps_snapshots(order.state, entry)?;
    if wanted.freeze.is_some() {
        check_freezable(spec)?;
    }
    let snapshot = new(order.asked, entry, wanted, "auto", 0);
    let mut events = free_name(order.state, &snapshot.spec)?;
    let operation = order.asked.id;
    let message = ToAgent::EnsureSnapshot {
        spec: snapshot.spec.clone(),
        operation,
        freeze: wanted.freeze.cloned(),
    };
    let object =
        format!("snapshot {} of volume {} of role {}", snapshot.spec.name, spec.name, spec.role);
    let agent = order.agent.info.id;
    events.push(put(snapshot));
    let record = order.asked.record(Some(agent), vec![spec.id], object, OperationState::Accepted);
    events.push(record.into());
    events.push(Event::tell(agent, message));
    Ok(events)
}

/// The id of the snapshot that an operation takes.
pub(super) fn id_of(asked: Asked<'_>, index: u64) -> SnapshotId {
    SnapshotId::from_u128(derive(asked.id.as_u128(), index))
}

pub(super) fn new(
    asked: Asked<'_>,
    entry: &VolumeEntry,
    wanted: Wanted<'_>,
    made_up: &str,
    index: u64,
) -> Snapshot {
    let id = id_of(asked, index);
    let text = id.to_string();
    let short = text.get(..8).unwrap_or(&text);
    let name = wanted.name.cloned().unwrap_or_else(|| {
        SnapshotName::new(&format!("{made_up}-{short}")).expect("letters and digits are a name")
    });
    Snapshot {
        spec: SnapshotSpec { id, name, of: entry.volume.spec.clone() },
        agent: entry.volume.agent,
        state: SnapshotState::Creating,
        held: false,
        freeze: wanted.freeze.cloned(),
        error: None,
        principal: wanted.principal.cloned(),
        created: asked.now,
        changed: asked.now,
        operation: asked.id,
        scheduled: wanted.scheduled,
        group: None,
    }
}

/// Refuses a name that is taken. Of a FAILED snapshot nothing lies anywhere, so a new attempt takes its place.
pub(super) fn free_name(state: &State, spec: &SnapshotSpec) -> Result<Vec<Event>, Rejection> {
    let mut events = Vec::new();
    for entry in state.snapshots_of(spec.of.id) {
        let holder = &entry.snapshot;
        if holder.spec.name != spec.name {
            continue;
        }
        if !holder.state.holds_name() {
            events.push(Event::Delete(RegistryKey::Snapshot(holder.spec.id)));
            continue;
        }
        return Err(Rejection::new(
            ErrorCode::SnapshotExists,
            format!(
                "volume {} has a snapshot {}: {} ({})",
                spec.of.name, spec.name, holder.spec.id, holder.state
            ),
        )
        .remedy("choose another name, or delete that snapshot first")
        .field("name"));
    }
    Ok(events)
}

pub(super) fn check_ready(state: &State, entry: &VolumeEntry) -> Result<(), Rejection> {
    let volume = &entry.volume;
    let label = format!("volume {} ({})", volume.spec.name, volume.spec.id);
    if volume.state != VolumeState::Ready {
        let text = format!("{label} is {}, not READY", volume.state);
        return Err(Rejection::new(ErrorCode::VolumeNotReady, text)
            .remedy("see `berth volume show`")
            .field("volume"));
    }
    let pending = state.operations.get(&volume.operation).filter(|o| !o.state.is_final());
    match pending {
        Some(operation) => Err(Rejection::new(
            ErrorCode::VolumeNotReady,
            format!("{label} is being changed by operation {} ({})", operation.id, operation.kind),
        )
        .remedy("wait for that operation")
        .field("volume")),
        None => Ok(()),
    }
}

/// Deletes a snapshot.
pub(crate) fn delete(order: &Order<'_>, entry: &SnapshotEntry) -> Result<Vec<Event>, Rejection> {
    order.state.refuse_in_safe_mode("DELETE_SNAPSHOT")?;
    let snapshot = &entry.snapshot;
    let (agent, operation, id) = (order.agent.info.id, order.asked.id, snapshot.spec.id);
    refuse_held(entry)?;
    check_no_source(order.state, entry)?;
    let volumes = vec![snapshot.spec.of.id];
    let nothing_there = match snapshot.state {
        SnapshotState::Ready | SnapshotState::Lost => false,
        SnapshotState::Failed | SnapshotState::Gone => true,
        SnapshotState::Quarantined => match entry.observed.as_ref().map(|(state, _)| *state) {
            None | Some(SnapshotState::Failed | SnapshotState::Lost | SnapshotState::Gone) => true,
            Some(
                SnapshotState::Creating
                | SnapshotState::Ready
                | SnapshotState::Deleting
                | SnapshotState::Quarantined,
            ) => {
                return Err(not_ready(entry).remedy(
                    "it is never deleted; look at its path on the agent, move it away by hand, restart the agent, then delete the record",
                ));
            },
        },
        SnapshotState::Creating | SnapshotState::Deleting => {
            return Err(
                not_ready(entry).remedy(format!("wait for operation {}", snapshot.operation))
            );
        },
    };
    let object = entry.label();
    if nothing_there {
        let record = order.asked.record(Some(agent), volumes, object, OperationState::Done);
        let forget = ToAgent::ForgetSnapshot { snapshot: id };
        return Ok(vec![
            Event::Delete(RegistryKey::Snapshot(id)),
            record.into(),
            Event::tell(agent, forget),
        ]);
    }
    let deleting = Snapshot {
        state: SnapshotState::Deleting,
        operation,
        changed: order.asked.now,
        ..Snapshot::clone(snapshot)
    };
    let message = ToAgent::DeleteSnapshot { spec: snapshot.spec.clone(), operation };
    let record = order.asked.record(Some(agent), volumes, object, OperationState::Accepted);
    Ok(vec![put(deleting), record.into(), Event::tell(agent, message)])
}

fn not_ready(entry: &SnapshotEntry) -> Rejection {
    let text = format!("{} is {}", entry.label(), entry.snapshot.state);
    Rejection::new(ErrorCode::SnapshotNotReady, text).field("snapshot")
}

fn refuse_held(entry: &SnapshotEntry) -> Result<(), Rejection> {
    if !entry.snapshot.held {
        return Ok(());
    }
    let id = entry.snapshot.spec.id;
    Err(Rejection::new(ErrorCode::SnapshotHeld, format!("{} is held", entry.label()))
        .remedy(format!("release it with `berth snapshot release {id}` if nobody needs it"))
        .field("snapshot"))
}

/// Refuses what would end in the deletion of a snapshot that somebody holds.
pub(crate) fn check_none_held(state: &State, volume: VolumeId) -> Result<(), Rejection> {
    state.snapshots_of(volume).try_for_each(refuse_held)
}

/// Refuses to delete what a volume is being made from.
fn check_no_source(state: &State, entry: &SnapshotEntry) -> Result<(), Rejection> {
    let id = entry.snapshot.spec.id;
    let made = state.volumes.values().find(|volume| {
        volume.volume.state == VolumeState::Creating
            && volume.volume.origin.as_ref().is_some_and(|origin| match &**origin {
                Origin::Clone { snapshot } => snapshot.id == id,
                Origin::RollBack { snapshot, safety } => snapshot.id == id || safety.id == id,
                Origin::Orphan | Origin::Directory { .. } | Origin::Stream => false,
            })
    });
    match made {
        None => Ok(()),
        Some(made) => Err(Rejection::new(
            ErrorCode::SnapshotNotReady,
            format!(
                "{} is in use: volume {} is being made from it by operation {}",
                entry.label(),
                made.volume.spec.name,
                made.volume.operation
            ),
        )
        .remedy("wait for that operation")
        .field("snapshot")),
    }
}

/// Refuses a purge that would take the snapshots from which volumes are being made, or that are held.
pub(crate) fn check_purge(state: &State, volume: VolumeId) -> Result<(), Rejection> {
    check_none_held(state, volume)?;
    state.snapshots_of(volume).try_for_each(|entry| check_no_source(state, entry))
}

/// Holds a snapshot or releases it. The agent has no part in it.
pub(crate) fn hold(
    state: &State,
    asked: Asked<'_>,
    entry: &SnapshotEntry,
    held: bool,
) -> Result<Vec<Event>, Rejection> {
    let snapshot = &entry.snapshot;
    let of = &snapshot.spec.of;
    if held && snapshot.state != SnapshotState::Ready {
        return Err(not_ready(entry).remedy("only a READY snapshot can be held"));
    }
    let dying = state.volumes.get(&of.id).is_some_and(|v| match v.volume.state {
        VolumeState::Tombstoned | VolumeState::Trashed => true,
        // On its way out of the trash, and back there should that fail; a roll back ends in a life either way.
        VolumeState::Creating => !rolls_back(&v.volume),
        VolumeState::Ready
        | VolumeState::Failed
        | VolumeState::Lost
        | VolumeState::Gone
        | VolumeState::Quarantined => false,
    });
    if held && dying {
        let text = format!("{} cannot be held: its volume is in the trash", entry.label());
        return Err(Rejection::new(ErrorCode::VolumeNotReady, text)
            .remedy("restore the volume and wait until it is READY; else its snapshots go with it")
            .field("snapshot"));
    }
    let next = Snapshot { held, changed: asked.now, ..Snapshot::clone(snapshot) };
    let object = format!("{} {}", if held { "hold" } else { "release" }, entry.label());
    let record = asked.record(Some(snapshot.agent), vec![of.id], object, OperationState::Done);
    Ok(vec![put(next), record.into()])
}

/// Gives a volume the content of one of its snapshots.
pub(crate) fn roll_back(
    order: &Order<'_>,
    entry: &VolumeEntry,
    snapshot: &SnapshotEntry,
) -> Result<Vec<Event>, Rejection> {
    let state = order.state;
    state.refuse_in_safe_mode("ROLLBACK")?;
    let (volume, of) = (&entry.volume, &snapshot.snapshot.spec.of);
    let spec = &volume.spec;
    if of.id != spec.id {
        let text = format!("{} is not a snapshot of volume {}", snapshot.label(), spec.name);
        return Err(Rejection::new(ErrorCode::UnknownSnapshot, text)
            .remedy("list its snapshots, or make a clone of that one")
            .field("snapshot"));
    }
    check_unprotected(volume, order.asked.kind)?;
    check_ready(state, entry)?;
    if let Some(under_way) = under_way(volume) {
        return Err(under_way);
    }
    check_unused(state, entry)?;
    check_health(order.agent, &spec.source)?;
    check_keeps_snapshots(state, entry)?;
    if snapshot.snapshot.state != SnapshotState::Ready {
        return Err(not_ready(snapshot));
    }
    if of.size > spec.size {
        let text = format!(
            "{} was taken at {}, volume {} has {} now",
            snapshot.label(),
            of.size,
            spec.name,
            spec.size
        );
        return Err(Rejection::new(ErrorCode::InsufficientResources, text)
            .remedy("grow the volume first, or make a clone"));
    }
    let nobody = Wanted { name: None, principal: None, freeze: None, scheduled: None };
    let safety = new(order.asked, entry, nobody, "before-rollback", 1);
    let mut events = free_name(state, &safety.spec)?;
    events.extend(rescind::holding(state, order.agent, &sum_of(&entry.resource())));
    let origin =
        Origin::RollBack { snapshot: snapshot.snapshot.spec.clone(), safety: safety.spec.clone() };
    let next = Volume {
        spec: VolumeSpec { generation: spec.generation.saturating_add(1), ..spec.clone() },
        state: VolumeState::Creating,
        error: None,
        operation: order.asked.id,
        changed: order.asked.now,
        reserved_from: None,
        origin: Some(Box::new(origin)),
        ..Volume::clone(volume)
    };
    events.push(put(safety));
    events.extend(accepted(order, vec![next]));
    Ok(events)
}

/// A new volume as somebody asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied<'a> {
    pub(crate) name: &'a VolumeName,
    pub(crate) role: Option<&'a Role>,
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) container_path: &'a Arc<str>,
}

/// Makes a volume with the content of a snapshot, on the same disk.
pub(crate) fn clone(
    state: &State,
    asked: Asked<'_>,
    entry: &SnapshotEntry,
    wanted: Copied<'_>,
) -> Result<Vec<Event>, Rejection> {
    let snapshot = &entry.snapshot;
    if snapshot.state != SnapshotState::Ready {
        return Err(not_ready(entry));
    }
    let of = &snapshot.spec.of;
    let origin = Origin::Clone { snapshot: snapshot.spec.clone() };
    let disk = DiskChoice::Source(of.source.clone());
    let wish = Wish {
        name: wanted.name,
        role: wanted.role.unwrap_or(&of.role),
        principal: wanted.principal,
        size: of.size,
        agent: Some(snapshot.agent),
        disk: &disk,
        container_path: wanted.container_path,
        origin: Some(&origin),
        access: of.access,
        // A copy is for one task at a time, whatever it was made from.
        shared: false,
        encrypted: of.encrypted,
    };
    create_volume(state, &wish, asked)
}

pub(super) fn put(snapshot: Snapshot) -> Event {
    Event::Put(RegistryRecord::Snapshot(Arc::new(snapshot)))
}
