//! EXPORT: what is in a volume that nobody uses, or in one of its snapshots, is sent to whoever asked. Nothing of the volume
//! changes, and nothing is held back for it: what takes the content away ends the export.
//!
//! An export lives as long as its stream: the master that accepted it ends it, or the next one says that it ended.

use super::destroy::check_unused;
use super::order::{Asked, ended as ended_of};
use super::snapshot::by_id;
use crate::event::{AgentEvent, Event};
use crate::state::{State, VolumeEntry};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, OperationId, SnapshotId};
use berth_model::operation::{OperationKind, OperationState};
use berth_model::resources::DiskSource;
use berth_model::snapshot::{SnapshotSpec, SnapshotState};
use berth_model::transfer::{Progress, TransferOrder};
use berth_model::units::Timestamp;
use berth_model::volume::VolumeState;

/// Accepts an export. The agent is asked once somebody takes it.
pub(crate) fn export(
    state: &State,
    asked: Asked<'_>,
    entry: &VolumeEntry,
    snapshot: Option<SnapshotId>,
) -> Result<Vec<Event>, Rejection> {
    let spec = &entry.volume.spec;
    let of_volume = format!("volume {} of role {}", spec.name, spec.role);
    if let DiskSource::Block(_) = spec.source {
        let text = format!("{of_volume} is a raw device and holds no files");
        return Err(Rejection::new(ErrorCode::Unsupported, text)
            .remedy("copy it from within a task that uses it")
            .field("volume"));
    }
    let agent = state.connected_agent(entry.volume.agent)?.info.id;
    let object = match snapshot {
        Some(snapshot) => {
            let snapshot = ready(state, entry, snapshot)?;
            format!("snapshot {} of {of_volume}", snapshot.name)
        },
        None => {
            check_live(state, entry)?;
            of_volume
        },
    };
    let mut record = asked.record(Some(agent), vec![spec.id], object, OperationState::Accepted);
    record.snapshot = snapshot;
    // What an earlier one has told is over.
    let (volume, progress) = (spec.id, Progress::default());
    Ok(vec![AgentEvent::VolumeProgressed { volume, progress }.into(), record.into()])
}

fn check_live(state: &State, entry: &VolumeEntry) -> Result<(), Rejection> {
    check_unused(state, entry).map_err(|in_use| {
        let remedy = format!(
            "take a snapshot and export that: berth snapshot create {name} --name N, berth volume export {name} --snapshot N; or end the task first",
            name = entry.volume.spec.name
        );
        Rejection { remedy, ..in_use }
    })?;
    if entry.volume.state == VolumeState::Ready {
        return Ok(());
    }
    let spec = &entry.volume.spec;
    let text = format!("volume {} ({}) is {}", spec.name, spec.id, entry.volume.state);
    Err(Rejection::new(ErrorCode::VolumeNotReady, text)
        .remedy("only a volume that is READY, or a snapshot, can be exported")
        .field("volume"))
}

fn ready<'a>(
    state: &'a State,
    entry: &VolumeEntry,
    id: SnapshotId,
) -> Result<&'a SnapshotSpec, Rejection> {
    let snapshot = &by_id(state, id)?.snapshot;
    let spec = &snapshot.spec;
    let refused = |code, text| {
        Err(Rejection::new(code, text)
            .remedy("choose a snapshot that is READY: see berth snapshot list")
            .field("snapshot"))
    };
    if spec.of.id != entry.volume.spec.id {
        let text =
            format!("snapshot {} is not one of volume {}", spec.name, entry.volume.spec.name);
        return refused(ErrorCode::UnknownSnapshot, text);
    }
    if snapshot.state != SnapshotState::Ready {
        let text = format!("snapshot {} ({id}) is {}", spec.name, snapshot.state);
        return refused(ErrorCode::SnapshotNotReady, text);
    }
    Ok(spec)
}

/// Which agent has to send what, now that somebody takes it.
pub(crate) fn order(
    state: &State,
    operation: OperationId,
) -> Result<(AgentId, TransferOrder), Rejection> {
    let unknown = || {
        Rejection::new(
            ErrorCode::UnknownOperation,
            format!("operation {operation} exports nothing"),
        )
        .remedy("ask for an export first: berth volume export")
        .field("operation_id")
    };
    let record = state.operations.get(&operation).ok_or_else(unknown)?;
    if record.kind != OperationKind::Export {
        return Err(unknown());
    }
    if let OperationState::Done | OperationState::Failed(_) = &record.state {
        let text = format!("export {operation} has ended already, {}", record.state.as_str());
        return Err(Rejection::new(ErrorCode::TransferFailed, text)
            .remedy("ask for another one, under another request id"));
    }
    let volume = record.volumes.first().and_then(|id| state.volumes.get(id)).ok_or_else(unknown)?;
    let agent = state.connected_agent(volume.volume.agent)?.info.id;
    let snapshot = match record.snapshot {
        Some(id) => Some(Box::new(ready(state, volume, id)?.clone())),
        None => {
            check_live(state, volume)?;
            None
        },
    };
    Ok((agent, TransferOrder::Export { volume: Box::new(volume.volume.spec.clone()), snapshot }))
}

/// It was sent, or not.
pub(crate) fn ended(
    state: &State,
    operation: OperationId,
    result: Result<String, Rejection>,
    now: Timestamp,
) -> Option<Event> {
    state.operations.get(&operation).filter(|record| record.kind == OperationKind::Export)?;
    let (how, notes) = match result {
        Ok(note) => (Ok(()), vec![note]),
        Err(reason) => (Err(reason), Vec::new()),
    };
    ended_of(state, operation, how, notes, now)
}

/// The ends of the exports that the former master was sending.
pub(crate) fn interrupted(state: &State, now: Timestamp) -> Vec<Event> {
    let reason = || {
        Rejection::new(
            ErrorCode::TransferFailed,
            "the master was restarted while it sent the export",
        )
        .remedy("what has arrived is not whole; export again")
    };
    let records = state.operations.values();
    let sent = records.filter(|r| r.kind == OperationKind::Export && !r.state.is_final());
    sent.filter_map(|record| ended_of(state, record.id, Err(reason()), Vec::new(), now)).collect()
}
