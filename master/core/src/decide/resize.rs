//! GROW and SHRINK: a READY volume gets another size, in use or not.
//!
//! While it is under way the books hold the larger of the two sizes, so that what a failed GROW gives back was never
//! anybody else's, and what a SHRINK gives back is free only once nobody can write there any more.

use super::destroy::{check_unused, not_held, under_way, unknown};
use super::disk::check_disk;
use super::gone::purged_for;
use super::missing::{check_limits, give_back, reserve_missing};
use super::order::{Asked, Conversion, Order, Source, ended, not_yet};
use super::protect::check_unprotected;
use super::rescind;
use super::sharing::check_resizable;
use super::uses::check_available;
use crate::event::Event;
use crate::state::{Agent, State, VolumeEntry, sum_of};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::ToAgent;
use berth_model::operation::{OperationKind, OperationState};
use berth_model::resources::{Resource, Value};
use berth_model::units::{Bytes, Scalar, Timestamp};
use berth_model::volume::{Resize, Volume, VolumeReport, VolumeSpec, VolumeState};

/// Gives a volume the size, reserving what is missing of it.
pub(crate) fn resize(
    order: &Order<'_>,
    entry: &VolumeEntry,
    size: Bytes,
) -> Result<Vec<Event>, Rejection> {
    let volume = &entry.volume;
    let spec = &volume.spec;
    size.to_scalar().map_err(|e| {
        Rejection::new(ErrorCode::InvalidArgument, format!("volume {}: size: {e}", spec.name))
            .remedy("give a whole number of MiB above zero, such as 10GiB")
            .field("size")
    })?;
    check_ready(volume)?;
    check_available(entry)?;
    check_resizable(spec)?;
    let from = spec.size;
    let kind = if size < from { OperationKind::Shrink } else { OperationKind::Grow };
    if kind == OperationKind::Shrink {
        check_unprotected(volume, kind)?;
    }
    let order = Order { asked: Asked { kind, ..order.asked }, ..*order };
    let agent = order.agent.info.id;
    let object = format!("volume {} of role {}, from {from} to {size}", spec.name, spec.role);
    let record = |state| order.asked.record(Some(agent), vec![spec.id], object.clone(), state);
    if size == from {
        return Ok(vec![record(OperationState::Done).into()]);
    }
    if !spec.source.is_divisible() {
        return Err(Rejection::new(
            ErrorCode::Unsupported,
            format!("volume {} is all of disk {}", spec.name, spec.source),
        )
        .remedy("create a volume on another disk and copy the data"));
    }
    let mut events = Vec::new();
    if entry.users.is_empty() {
        events.extend(rescind::holding(order.state, order.agent, &sum_of(&entry.resource())));
    }
    let mut next = Volume {
        spec: VolumeSpec { size: from.max(size), ..spec.clone() },
        operation: order.asked.id,
        changed: order.asked.now,
        resize: Some(Resize { from, to: size }),
        ..Volume::clone(volume)
    };
    if size > from {
        check_disk(order.state, order.agent, &spec.source)?;
        let more = size.checked_sub(from).unwrap_or_default();
        let more = more.to_scalar().map_err(|e| {
            Rejection::new(ErrorCode::InvalidArgument, format!("volume {}: {e}", spec.name))
                .field("size")
        })?;
        let missing =
            reserve_missing(&order, &Resource { value: Value::Scalar(more), ..entry.plain() })?;
        check_limits(&order, &spec.role, &missing)?;
        events.extend(missing.events);
        next.reserved_from = missing.from;
    }
    let message = tell(&next, size);
    events.push(next.into());
    events.push(record(OperationState::Accepted).into());
    events.push(message);
    Ok(events)
}

/// Makes an offered volume larger by offered disk. The rules are those of Mesos for GROW_VOLUME: the addition is reserved in
/// the same way, on the same disk.
pub(crate) fn grow_offered(
    order: &Order<'_>,
    volume: &Resource,
    addition: &Resource,
) -> Result<Conversion, Rejection> {
    let entry = offered(order, volume)?;
    let addition = Resource { allocation_role: None, ..addition.clone() };
    addition.validate().map_err(|e| invalid(e.to_string(), "addition"))?;
    let plain = entry.plain();
    let same = Resource { value: plain.value.clone(), ..addition.clone() } == plain;
    if addition.persistence().is_some() || !same {
        let text = format!(
            "volume {} cannot grow by {addition}: it is made of {plain}",
            entry.volume.spec.name
        );
        return Err(
            invalid(text, "addition").remedy("add disk with the same reservation on the same disk")
        );
    }
    let more = addition.size();
    let size = entry.volume.spec.size.checked_add(more).ok_or_else(|| {
        invalid(format!("volume {}: the sum is too large", entry.volume.spec.name), "addition")
    })?;
    if more.to_scalar().ok() != addition.amount() {
        return Err(invalid(format!("{addition} is not whole MiB"), "addition"));
    }
    order.secure(&sum_of(&addition))?;
    let events = resize(order, entry, size)?;
    let mut consumed = sum_of(&entry.resource());
    consumed.add(&addition).map_err(|e| invalid(e.to_string(), "addition"))?;
    let grown = Resource { value: Value::Scalar(scalar(size)?), ..entry.resource() };
    Ok(Conversion { consumed, produced: sum_of(&grown), events })
}

/// Makes an offered volume smaller. What it gives back is in a later offer, once the agent has done it.
pub(crate) fn shrink_offered(
    order: &Order<'_>,
    volume: &Resource,
    subtract: Bytes,
) -> Result<Conversion, Rejection> {
    let entry = offered(order, volume)?;
    let spec = &entry.volume.spec;
    let size = spec.size.checked_sub(subtract).filter(|size| *size > Bytes::default());
    let size = size.filter(|_| subtract > Bytes::default()).ok_or_else(|| {
        let text = format!("volume {} of {} cannot shrink by {subtract}", spec.name, spec.size);
        invalid(text, "subtract").remedy("take away more than nothing and less than all")
    })?;
    let events = resize(order, entry, size)?;
    let same = sum_of(&entry.resource());
    Ok(Conversion { consumed: same.clone(), produced: same, events })
}

/// The volume that an accepted offer holds and this resource means.
fn offered<'a>(order: &Order<'a>, volume: &Resource) -> Result<&'a VolumeEntry, Rejection> {
    let entry = volume
        .persistence()
        .zip(volume.stack.owner())
        .and_then(|(p, role)| order.state.volume_on(order.agent.info.id, role, &p.name))
        .ok_or_else(|| unknown(&volume.to_string()))?;
    check_resizable(&entry.volume.spec)?;
    check_unused(order.state, entry)?;
    let Source::Accepted { running, .. } = order.source else {
        return Err(Rejection::new(ErrorCode::Internal, "an offered volume without offers"));
    };
    if !running.contains(&sum_of(&entry.resource())) {
        return Err(not_held(order, running, entry));
    }
    Ok(entry)
}

fn invalid(message: String, field: &'static str) -> Rejection {
    Rejection::new(ErrorCode::InvalidResources, message).field(field)
}

fn scalar(size: Bytes) -> Result<Scalar, Rejection> {
    size.to_scalar().map_err(|e| invalid(e.to_string(), "addition"))
}

fn check_ready(volume: &Volume) -> Result<(), Rejection> {
    let (name, id) = (&volume.spec.name, volume.spec.id);
    if let Some(under_way) = under_way(volume) {
        return Err(under_way);
    }
    if volume.state != VolumeState::Ready {
        return Err(Rejection::new(
            ErrorCode::VolumeNotReady,
            format!("volume {name} ({id}) is {}: only a READY one is resized", volume.state),
        )
        .remedy("see berth volume show"));
    }
    Ok(())
}

fn tell(volume: &Volume, size: Bytes) -> Event {
    let message = ToAgent::ResizeVolume {
        volume: volume.spec.id,
        generation: volume.spec.generation,
        size,
        operation: volume.operation,
    };
    Event::tell(volume.agent, message)
}

/// READY on both sides, in the same life: nothing but their sizes can differ.
pub(crate) fn are_ready(volume: &Volume, report: &VolumeReport) -> bool {
    let ready = VolumeState::Ready;
    volume.state == ready
        && report.state == ready
        && volume.spec.generation == report.spec.generation
}

/// What follows from a report of a volume that is READY on both sides, in the same life.
///
/// With `repeat` (at a registration) what the agent has not heard of is told again; a size that differs although none is
/// being changed comes from an older registry or ledger, and the agent is brought to the registry's.
pub(crate) fn sizes(
    (state, agent, entry): (&State, &Agent, &VolumeEntry),
    report: &VolumeReport,
    repeat: bool,
    now: Timestamp,
) -> Vec<Event> {
    let volume = &entry.volume;
    let over = |size, how| over((state, agent, entry), report, (size, how), now);
    let Some(resize) = volume.resize else {
        let settled = report.resizing.unwrap_or(report.spec.size) == volume.spec.size;
        let ours = repeat && !settled && state.safe_mode.is_none();
        return if ours { vec![tell(volume, volume.spec.size)] } else { Vec::new() };
    };
    let own_error = report.error.as_ref().filter(|_| report.operation == Some(volume.operation));
    match (report.resizing, own_error) {
        (None, _) if report.spec.size == resize.to => over(resize.to, Ok(())),
        (None, Some(error)) => over(resize.from, Err(error.clone())),
        (Some(_), Some(error)) => not_yet(state, volume.operation, Some(error)),
        // Also to an agent that is at it: it may fail before the master listens, and says so when asked again.
        (Some(_) | None, _) if repeat => vec![tell(volume, resize.to)],
        (Some(_) | None, _) => Vec::new(),
    }
}

fn over(
    (state, agent, entry): (&State, &Agent, &VolumeEntry),
    report: &VolumeReport,
    (size, how): (Bytes, Result<(), Rejection>),
    now: Timestamp,
) -> Vec<Event> {
    let volume = &entry.volume;
    let mut events = Vec::new();
    if size != volume.spec.size && entry.users.is_empty() {
        // It may have been offered with the larger size meanwhile.
        events = rescind::holding(state, agent, &sum_of(&entry.resource()));
    }
    let next = Volume {
        spec: VolumeSpec { size, ..volume.spec.clone() },
        changed: now,
        resize: None,
        reserved_from: None,
        ..Volume::clone(volume)
    };
    events.push(next.into());
    if how.is_err() {
        events.extend(give_back(state, volume, now));
    }
    let (purged, notes) = purged_for(state, Some(report), now);
    events.extend(purged);
    events.extend(ended(state, volume.operation, how, notes, now));
    events
}
