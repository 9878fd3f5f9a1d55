//! What a report means for a volume that has an earlier life to go back to: one that is restored or rolled back.
//!
//! It knows no other volume. Invariant: when an agent says that it could not, the volume is again what it was.

use super::merge::{Known, Verdict, merge, merge_rolling};
use super::order::ended;
use crate::event::Event;
use crate::state::State;
use berth_model::error::Rejection;
use berth_model::record::RegistryKey;
use berth_model::snapshot::{Origin, SnapshotState};
use berth_model::units::Timestamp;
use berth_model::volume::{Volume, VolumeReport, VolumeSpec, VolumeState};

/// What follows from both sides' knowledge. A reason given with the state of the last life says that the next one will
/// not be.
pub(super) fn verdict_of(volume: Option<&Volume>, report: Option<&VolumeReport>) -> Verdict {
    let registry =
        volume.map(|volume| Known { state: volume.state, generation: volume.spec.generation });
    let known = report.map(|r| Known { state: r.state, generation: r.spec.generation });
    let rolling = volume.is_some_and(rolls_back);
    let verdict = match registry {
        Some(registry) if rolling => merge_rolling(registry, known),
        Some(_) | None => merge(registry, known),
    };
    let last = if rolling { VolumeState::Ready } else { VolumeState::Trashed };
    // What an agent says of an earlier operation, or of a deletion it could not do, says nothing of this one.
    let asked = volume.map(|volume| volume.operation);
    let refused =
        report.is_some_and(|r| r.state == last && r.error.is_some() && r.operation == asked);
    if verdict == Verdict::Ensure && refused { Verdict::Failed } else { verdict }
}

/// Is the volume on its way into its next life, with the content of a snapshot?
pub(super) fn rolls_back(volume: &Volume) -> bool {
    volume.state == VolumeState::Creating
        && volume.origin.as_ref().is_some_and(|origin| origin.is_roll_back())
}

/// Nothing was done: the volume goes on in the life it has.
pub(super) fn roll_back_failed(
    state: &State,
    volume: &Volume,
    error: Rejection,
    now: Timestamp,
) -> Vec<Event> {
    let generation = volume.spec.generation.saturating_sub(1);
    let next = Volume {
        state: VolumeState::Ready,
        spec: VolumeSpec { generation, ..volume.spec.clone() },
        changed: now,
        origin: None,
        ..volume.clone()
    };
    let mut events: Vec<Event> = vec![next.into()];
    events.extend(ended(state, volume.operation, Err(error), Vec::new(), now));
    // The agent says that a safety snapshot is taken before it says anything else: this one was not begun.
    if let Some(Origin::RollBack { safety, .. }) = volume.origin.as_deref()
        && let Some(entry) = state.snapshots.get(&safety.id)
        && entry.snapshot.state == SnapshotState::Creating
    {
        events.push(Event::Delete(RegistryKey::Snapshot(safety.id)));
    }
    events
}
