//! RESTORE and PURGE: out of the trash, back to life or out of existence.

use super::create::{accepted, free_name};
use super::disk::check_health;
use super::missing::reserve_missing;
use super::order::Order;
use super::protect::check_unprotected;
use super::snapshot::check_purge;
use super::wipe::check_wipe;
use crate::event::Event;
use crate::state::VolumeEntry;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::ToAgent;
use berth_model::operation::OperationState;
use berth_model::volume::{Volume, VolumeSpec, VolumeState};
use berth_model::wipe::Wipe;

/// Takes a volume out of the trash: reserves its space again where that is missing, in the volume's
/// next generation.
pub(crate) fn restore(order: &Order<'_>, entry: &VolumeEntry) -> Result<Vec<Event>, Rejection> {
    check_trashed(order, entry)?;
    let spec = &entry.volume.spec;
    let mut events = free_name(order.state, &spec.role, &spec.name).map_err(|taken| {
        // It comes back under the name it had.
        taken.remedy("it is restored under its own name only: delete that volume first, or keep this one in the trash")
    })?;
    // A cordon is no reason to refuse: the data lies there already.
    check_health(order.agent, &spec.source)?;
    let missing = reserve_missing(order, &entry.plain())?;
    events.extend(missing.events);
    let volume = Volume {
        state: VolumeState::Creating,
        operation: order.asked.id,
        changed: order.asked.now,
        error: None,
        reserved_from: missing.from,
        origin: None,
        spec: VolumeSpec { generation: spec.generation + 1, ..spec.clone() },
        ..Volume::clone(&entry.volume)
    };
    events.extend(accepted(order, vec![volume]));
    Ok(events)
}

/// Deletes a volume from the trash for good.
pub(crate) fn purge(
    order: &Order<'_>,
    entry: &VolumeEntry,
    wipe: Option<Wipe>,
) -> Result<Vec<Event>, Rejection> {
    order.state.refuse_in_safe_mode("PURGE")?;
    check_unprotected(&entry.volume, order.asked.kind)?;
    check_trashed(order, entry)?;
    check_purge(order.state, entry.volume.spec.id)?;
    check_wipe(order.state, order.agent, entry, wipe)?;
    let (agent, operation) = (order.agent.info.id, order.asked.id);
    let volume = Volume { operation, ..Volume::clone(&entry.volume) };
    let mut object = format!("volume {} of role {}", volume.spec.name, volume.spec.role);
    let snapshots = order.state.snapshots_of(volume.spec.id).count();
    if snapshots > 0 {
        object.push_str(&format!(" with {snapshots} snapshots"));
    }
    let mut record =
        order.asked.record(Some(agent), vec![volume.spec.id], object, OperationState::Accepted);
    record.wipe = wipe;
    if let Some(method) = wipe {
        record.notes.push(format!("wipe wanted: {method}"));
    }
    let message = ToAgent::PurgeVolume {
        volume: volume.spec.id,
        generation: volume.spec.generation,
        operation,
        wipe,
    };
    Ok(vec![volume.into(), record.into(), Event::tell(agent, message)])
}

fn check_trashed(order: &Order<'_>, entry: &VolumeEntry) -> Result<(), Rejection> {
    let volume = &entry.volume;
    let label = format!("volume {} ({})", volume.spec.name, volume.spec.id);
    if volume.state != VolumeState::Trashed {
        return Err(Rejection::new(
            ErrorCode::VolumeNotReady,
            format!("{label} is {}, not in the trash", volume.state),
        )
        .remedy("list the trash with `berth volume trash list`")
        .field("volume"));
    }
    let pending = order.state.operations.get(&volume.operation);
    if pending.is_some_and(|operation| !operation.state.is_final()) {
        return Err(Rejection::new(
            ErrorCode::VolumeNotReady,
            format!("{label} is being purged by operation {}", volume.operation),
        )
        .remedy("wait for that operation")
        .field("volume"));
    }
    Ok(())
}
