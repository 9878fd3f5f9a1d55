//! Wiping what is purged: whether it can be, and what its agent's word at the end makes of the operation.
//!
//! It knows no method. Invariant: an operation that asked for a wipe is done only when the agent certifies one that is at
//! least as thorough; the certificate is written in the batch in which the volume's record goes.

use super::order::ended;
use crate::audit::certificate::Certificate;
use crate::event::Event;
use crate::state::{Agent, State, VolumeEntry};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::operation::{OperationKind, OperationRecord};
use berth_model::units::Timestamp;
use berth_model::volume::{Volume, VolumeReport};
use berth_model::wipe::{Wipe, Wiped};
use std::sync::Arc;

/// Refuses a wipe that would not reach the volume's blocks, as its agent says.
pub(super) fn check_wipe(
    state: &State,
    agent: &Agent,
    entry: &VolumeEntry,
    method: Option<Wipe>,
) -> Result<(), Rejection> {
    let Some(method) = method.filter(|method| *method != Wipe::None) else { return Ok(()) };
    let spec = &entry.volume.spec;
    let refused = |text: String, remedy: String| {
        let text = format!("volume {} ({}) is not purged: {text}", spec.name, spec.id);
        Err(Rejection::new(ErrorCode::Unsupported, text).remedy(remedy).field("wipe"))
    };
    let snapshots = state.snapshots_of(spec.id).count();
    if snapshots > 0 {
        let text = format!(
            "it cannot be wiped while it has {snapshots} snapshots, which share blocks with it"
        );
        let remedy =
            "delete its snapshots first (berth snapshot delete), or purge it with --wipe none";
        return refused(text, remedy.to_owned());
    }
    let disk = agent.info.disks.iter().find(|disk| disk.source == spec.source);
    let driver = entry.observed.as_ref().map(|observed| &observed.driver);
    let (Some(disk), Some(driver)) = (disk, driver.filter(|driver| !driver.is_empty())) else {
        let text = "its agent does not say what made it, so nobody knows whether it can be wiped";
        return refused(text.to_owned(), "wait for its agent, then try again".to_owned());
    };
    match disk.check_wipe(driver, method) {
        Ok(()) => Ok(()),
        Err(reason) => refused(reason.message, reason.remedy),
    }
}

/// The agent could not do it and has changed nothing: the volume stays in the trash.
pub(super) fn purge_refused(
    state: &State,
    volume: &Volume,
    report: Option<&VolumeReport>,
    now: Timestamp,
) -> Option<Event> {
    let report = report.filter(|r| r.refused && r.operation == Some(volume.operation))?;
    state.operations.get(&volume.operation).filter(|o| o.kind == OperationKind::Purge)?;
    ended(state, volume.operation, Err(report.error.clone()?), Vec::new(), now)
}

/// How the operation ends whose volume is gone.
pub(super) fn verdict(operation: &OperationRecord, wiped: Option<&Wiped>) -> Result<(), Rejection> {
    let wanted = operation.wipe.unwrap_or_default();
    let done = wiped.map(|wiped| wiped.method).unwrap_or_default();
    if operation.kind != OperationKind::Purge || done >= wanted {
        return Ok(());
    }
    let text =
        format!("{} is gone, but it was {}, not wiped by {wanted}", operation.object, done.done());
    let remedy = "its retention ended before the agent heard of the wish, or somebody took it away on the agent: \
                  overwrite what is free on its disk";
    Err(Rejection::new(ErrorCode::VolumeLost, text).remedy(remedy))
}

/// The certificate for the audit log, of what was wiped without an operation.
pub(super) fn certified(volume: &Volume, wiped: &Wiped) -> Event {
    let spec = &volume.spec;
    Event::Certified(Arc::new(Certificate {
        agent: volume.agent,
        volume: spec.id,
        object: format!("volume {} of role {}", spec.name, spec.role),
        text: note(volume, wiped),
    }))
}

/// As operations and the audit log show it.
pub(super) fn note(volume: &Volume, wiped: &Wiped) -> String {
    let spec = &volume.spec;
    format!(
        "volume {} ({}, generation {}) on disk {} {}",
        spec.name,
        spec.id,
        spec.generation,
        spec.source,
        wiped.text()
    )
}
