//! SET_ACCESS: another owner or mode for the root directory of a READY volume, in use or not.
//!
//! As with a size, the registry has what is wanted at once and remembers what was until the agent has done it.

use super::order::{Order, ended, not_yet};
use super::snapshot::check_ready;
use super::uses::check_available;
use crate::event::Event;
use crate::state::{State, VolumeEntry};
use berth_model::access::Access;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::ToAgent;
use berth_model::operation::OperationState;
use berth_model::units::Timestamp;
use berth_model::volume::{Volume, VolumeReport, VolumeSpec};

/// Changes what `change` says.
pub(crate) fn set(
    order: &Order<'_>,
    entry: &VolumeEntry,
    change: Access,
) -> Result<Vec<Event>, Rejection> {
    let volume = &entry.volume;
    let spec = &volume.spec;
    if change.is_empty() {
        let text = format!("volume {}: neither owner nor mode is given", spec.name);
        return Err(Rejection::new(ErrorCode::InvalidArgument, text)
            .remedy("give --owner, --mode, or both")
            .field("access"));
    }
    check_ready(order.state, entry)?;
    check_available(entry)?;
    let access = spec.access.changed(change);
    let object = format!("volume {} of role {}: {change}", spec.name, spec.role);
    let agent = order.agent.info.id;
    let record = |state| order.asked.record(Some(agent), vec![spec.id], object.clone(), state);
    if access == spec.access {
        return Ok(vec![record(OperationState::Done).into()]);
    }
    let next = Volume {
        spec: VolumeSpec { access, ..spec.clone() },
        operation: order.asked.id,
        changed: order.asked.now,
        access_before: Some(spec.access),
        ..Volume::clone(volume)
    };
    let message = tell(&next);
    Ok(vec![next.into(), record(OperationState::Accepted).into(), message])
}

fn tell(volume: &Volume) -> Event {
    let message = ToAgent::SetAccess {
        volume: volume.spec.id,
        generation: volume.spec.generation,
        access: volume.spec.access,
        operation: volume.operation,
    };
    Event::tell(volume.agent, message)
}

/// What follows from a report of a volume that is READY on both sides, in the same life. See [`super::resize::sizes`], which
/// does the same for sizes; only one of the two is ever under way.
pub(crate) fn settle(
    state: &State,
    entry: &VolumeEntry,
    report: &VolumeReport,
    repeat: bool,
    now: Timestamp,
) -> Vec<Event> {
    let volume = &entry.volume;
    let wanted = volume.spec.access;
    let over = |access, how| over(state, volume, access, how, now);
    let Some(before) = volume.access_before else {
        let settled = report.setting.unwrap_or(report.spec.access) == wanted;
        let ours = repeat && !settled && volume.resize.is_none() && state.safe_mode.is_none();
        return if ours { vec![tell(volume)] } else { Vec::new() };
    };
    let own_error = report.error.as_ref().filter(|_| report.operation == Some(volume.operation));
    match (report.setting, own_error) {
        (None, _) if report.spec.access == wanted => over(wanted, Ok(())),
        (None, Some(error)) => over(before, Err(error.clone())),
        (Some(_), Some(error)) => not_yet(state, volume.operation, Some(error)),
        // Also to an agent that is at it, as for a size.
        (Some(_) | None, _) if repeat => vec![tell(volume)],
        (Some(_) | None, _) => Vec::new(),
    }
}

fn over(
    state: &State,
    volume: &Volume,
    access: Access,
    how: Result<(), Rejection>,
    now: Timestamp,
) -> Vec<Event> {
    let next = Volume {
        spec: VolumeSpec { access, ..volume.spec.clone() },
        changed: now,
        access_before: None,
        ..volume.clone()
    };
    let mut events = vec![next.into()];
    events.extend(ended(state, volume.operation, how, Vec::new(), now));
    events
}
