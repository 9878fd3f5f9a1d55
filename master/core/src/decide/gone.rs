//! What follows when an agent says that a volume is gone, by a PURGE, by its retention, or for another one's room.
//!
//! It knows no other outcome of an operation than that.

use super::order::{ended, noted};
use super::wipe;
use crate::event::Event;
use crate::state::State;
use berth_model::audit::PURGED;
use berth_model::link::ToAgent;
use berth_model::record::RegistryKey;
use berth_model::units::Timestamp;
use berth_model::volume::{Volume, VolumeReport, VolumeState};

/// The trashed volumes that made room for the reported one, and what to note of them.
pub(super) fn purged_for(
    state: &State,
    report: Option<&VolumeReport>,
    now: Timestamp,
) -> (Vec<Event>, Vec<String>) {
    let (mut events, mut notes) = (Vec::new(), Vec::new());
    for purged in report.iter().flat_map(|r| &r.purged) {
        let Some(entry) = state.volumes.get(purged) else { continue };
        if entry.volume.state == VolumeState::Trashed && state.safe_mode.is_none() {
            let spec = &entry.volume.spec;
            notes.push(format!(
                "{PURGED} {} of role {} ({}) to make room",
                spec.name, spec.role, spec.id
            ));
            events.extend(gone(state, &entry.volume, None, now));
        }
    }
    (events, notes)
}

/// The record goes, and the operation that wanted it ends.
pub(super) fn gone(
    state: &State,
    volume: &Volume,
    report: Option<&VolumeReport>,
    now: Timestamp,
) -> Vec<Event> {
    let id = volume.spec.id;
    let mut events = vec![Event::Delete(RegistryKey::Volume(id))];
    let wiped = report.and_then(|report| report.wiped.as_ref());
    let certificate = wiped.map(|wiped| wipe::note(volume, wiped));
    let pending = state.operations.get(&volume.operation).filter(|o| !o.state.is_final());
    let Some(pending) = pending else {
        let note =
            format!("volume {} ({id}) was deleted from the trash by its agent", volume.spec.name);
        events.extend(noted(state, volume.operation, note));
        if let Some(wiped) = wiped {
            events.push(wipe::certified(volume, wiped));
        }
        events.extend(report.map(|_| forget(volume, report)));
        return events;
    };
    if is_settled(state, volume, VolumeState::Trashed) {
        let (how, notes) = (wipe::verdict(pending, wiped), certificate.into_iter().collect());
        events.extend(ended(state, volume.operation, how, notes, now));
    }
    events.extend(report.map(|_| forget(volume, report)));
    events
}

/// True when all other volumes of the operation are where this one is going.
pub(super) fn is_settled(state: &State, volume: &Volume, at: VolumeState) -> bool {
    let Some(operation) = state.operations.get(&volume.operation) else { return true };
    operation.volumes.iter().filter(|id| **id != volume.spec.id).all(|id| {
        state.volumes.get(id).is_none_or(|entry| {
            entry.volume.operation != volume.operation || entry.volume.state == at
        })
    })
}

/// The agent may drop its record, in the life it knows.
pub(super) fn forget(volume: &Volume, report: Option<&VolumeReport>) -> Event {
    let id = volume.spec.id;
    let generation = report.map_or(volume.spec.generation, |r| r.spec.generation);
    Event::tell(volume.agent, ToAgent::ForgetVolume { volume: id, generation })
}
