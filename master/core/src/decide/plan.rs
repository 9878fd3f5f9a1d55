//! What a request that would be accepted is going to do, for whoever tries it first.
//!
//! It reads the events that the decision made and decides nothing. What only the agent knows, it says as what the agent last
//! told.

use crate::event::{Event, FrameworkEvent};
use crate::state::{Agent, State, VolumeEntry};
use berth_model::operator::Request;
use berth_model::record::RegistryRecord;
use berth_model::resources::DiskSource;
use berth_model::units::{Bytes, Timestamp, format_duration};
use berth_model::volume::{Volume, VolumeState};
use std::time::Duration;

/// A line for each thing worth knowing.
pub(crate) fn plan(
    state: &State,
    now: Timestamp,
    request: &Request,
    events: &[Event],
) -> Vec<String> {
    if matches!(request, Request::Quota(_) | Request::SetWeight { .. }) {
        return of_role(events);
    }
    let volume = events.iter().find_map(|event| match event {
        Event::Put(RegistryRecord::Volume(volume)) => Some(&**volume),
        _other => None,
    });
    let Some(volume) = volume else { return Vec::new() };
    let Some(agent) = state.agents.get(&volume.agent) else { return Vec::new() };
    match request {
        Request::CreateVolume { import, size, .. } => {
            let mut lines = placed(agent, volume);
            lines.extend(differs(agent, volume, *size));
            // An import purges nothing.
            if import.is_none() {
                lines.extend(purges(state, agent, volume, volume.spec.size, now));
            }
            lines
        },
        Request::ResizeVolume { size, .. } => {
            let from = volume.resize.map_or(*size, |resize| resize.from);
            let more = Bytes::new(size.get().saturating_sub(from.get()));
            purges(state, agent, volume, more, now)
        },
        _other => Vec::new(),
    }
}

/// Which offers end, and what is worth knowing besides.
fn of_role(events: &[Event]) -> Vec<String> {
    let ends = |event: &&Event| matches!(event, Event::Framework(FrameworkEvent::OfferEnded(_)));
    let offers = events.iter().filter(ends).count();
    let notes = events.iter().filter_map(|event| match event {
        Event::Put(RegistryRecord::Operation(record)) => Some(record.notes.clone()),
        _other => None,
    });
    let rescinded = (offers > 0).then(|| format!("it rescinds {offers} offers"));
    notes.flatten().chain(rescinded).collect()
}

/// Where the volume would go, and what is reserved for it.
fn placed(agent: &Agent, volume: &Volume) -> Vec<String> {
    let Volume { spec, reserved_from, .. } = volume;
    let info = &agent.info;
    let disk = info.disks.iter().find(|disk| disk.source == spec.source);
    let name = disk.map_or_else(|| spec.source.to_string(), |disk| disk.name.to_string());
    let place = format!("on agent {} ({}), disk {name} ({})", info.hostname, info.id, spec.source);
    let reserved = match reserved_from {
        Some(from) => format!(
            "it reserves {} there for role {}, the rest of its {} is reserved already",
            from.size(),
            spec.role,
            spec.size
        ),
        None => format!("it takes {} that is reserved there for role {}", spec.size, spec.role),
    };
    let whole = reserved_from.as_ref().is_some_and(|from| from.size() == spec.size);
    let reserved = if whole {
        format!("it reserves {} there for role {}", spec.size, spec.role)
    } else {
        reserved
    };
    vec![place, reserved]
}

/// What a person who asked for a size would not expect, or what only the agent can refuse.
fn differs(agent: &Agent, volume: &Volume, asked: Bytes) -> Option<String> {
    let spec = &volume.spec;
    let disk = agent.info.disks.iter().find(|disk| disk.source == spec.source)?;
    if spec.size > asked {
        return Some(format!(
            "it gets the whole of disk {}: {} instead of {asked}",
            disk.name, spec.size
        ));
    }
    disk.driver.starts_with("image").then(|| {
        format!(
            "only its agent knows the least size of a file system there, and refuses less ({})",
            disk.driver
        )
    })
}

/// The trash that would be purged to make room, as far as the agent's last word on the disk goes.
fn purges(
    state: &State,
    agent: &Agent,
    volume: &Volume,
    needed: Bytes,
    now: Timestamp,
) -> Vec<String> {
    let source = &volume.spec.source;
    let Some(disk) = agent.info.disks.iter().find(|disk| disk.source == *source) else {
        return Vec::new();
    };
    if !source.is_divisible() || disk.free >= needed {
        return Vec::new();
    }
    let mut free = disk.free;
    let mut lines = Vec::new();
    for (entry, used) in trash(state, agent, source) {
        if free >= needed {
            break;
        }
        let spec = &entry.volume.spec;
        let since = now.ms().saturating_sub(entry.volume.changed.ms());
        let since = format_duration(Duration::from_secs(since / 1_000));
        lines.push(format!(
            "would purge trashed volume {} ({used}, deleted {since} ago, role {}, {}) to make room",
            spec.name, spec.role, spec.id
        ));
        free = free.checked_add(used).unwrap_or(free);
    }
    if free < needed {
        // Where that does not help, nothing is purged and the operation fails.
        return vec![format!(
            "warning: disk {} had {} free when its agent looked last and {needed} are needed, more than its trash has",
            disk.name, disk.free
        )];
    }
    lines
}

/// What lies in the trash of the disk, the oldest first, with what it used last.
fn trash<'a>(
    state: &'a State,
    agent: &Agent,
    source: &DiskSource,
) -> Vec<(&'a VolumeEntry, Bytes)> {
    let entries = agent.volumes.iter().filter_map(|id| state.volumes.get(id));
    let mut found: Vec<(&VolumeEntry, Bytes)> = entries
        .filter(|entry| {
            entry.volume.state == VolumeState::Trashed && entry.volume.spec.source == *source
        })
        .map(|entry| {
            let used = entry.observed.as_ref().and_then(|observed| observed.used);
            (entry, used.unwrap_or(entry.volume.spec.size))
        })
        .collect();
    found.sort_by_key(|(entry, _)| (entry.volume.changed, entry.volume.spec.id));
    found
}
