//! Moves a volume's space between the pools of its agent's books when its state changes.
//!
//! A volume that a task uses stays in the used pool whatever its state becomes; it goes where its
//! state says when the task ends. A shared one rests where its state says, and each of its tasks has a copy in the used
//! pool.

use crate::state::{Place, Pool, State, VolumeEntry, place_of, sum_of};
use berth_model::resources::Resources;
use berth_model::task::TaskKey;
use berth_model::volume::Volume;

/// The pool in which a placed volume that no task uses lies.
fn pool_of(place: Place) -> Option<Pool> {
    match place {
        Place::Nowhere => None,
        Place::Withheld => Some(Pool::Withheld),
        Place::Active => Some(Pool::Available),
    }
}

/// Where the volume lies now.
fn pool_now(entry: &VolumeEntry) -> Option<Pool> {
    if !entry.placed {
        return None;
    }
    if is_away(entry) { Some(Pool::Used) } else { pool_of(place_of(entry.volume.state)) }
}

/// True when a task has the volume itself, and not a copy of it.
fn is_away(entry: &VolumeEntry) -> bool {
    !entry.is_shared() && !entry.users.is_empty()
}

/// How many tasks have a copy of it.
fn copies(entry: &VolumeEntry) -> usize {
    if entry.is_shared() { entry.users.len() } else { 0 }
}

/// Gives the space back as the disk under the volume.
pub(super) fn leave(state: &mut State, entry: &mut VolumeEntry) {
    let Some(pool) = pool_now(entry) else { return };
    entry.placed = false;
    if let Some(agent) = state.touch(entry.volume.agent) {
        let (volume, plain) = (sum_of(&entry.resource()), sum_of(&entry.plain()));
        for _ in 0..copies(entry) {
            agent.books.drop_copy(&volume);
        }
        agent.books.convert(pool, &volume, Pool::Available, &plain);
    }
}

/// Before `next` replaces the record: gives the space back when it will not be held, or not the same.
pub(super) fn leave_unless_same(state: &mut State, entry: &mut VolumeEntry, next: &Volume) {
    let same = entry.volume.agent == next.agent
        && entry.volume.stack == next.stack
        && entry.volume.spec.size == next.spec.size
        && entry.volume.spec.source == next.spec.source
        && entry.volume.spec.name == next.spec.name
        && entry.volume.spec.shared == next.spec.shared;
    let place = place_of(next.state);
    if !same || place == Place::Nowhere {
        leave(state, entry);
        return;
    }
    let (Some(from), Some(to)) = (pool_now(entry), pool_of(place)) else { return };
    if from != to
        && from != Pool::Used
        && let Some(agent) = state.touch(entry.volume.agent)
    {
        agent.books.shift(from, to, &sum_of(&entry.resource()));
    }
}

/// Takes the space for a volume that holds some and has none yet. A quarantined one takes it only if it
/// is there: what lies on the disk is a fact that the books may be too small for.
pub(super) fn enter(state: &mut State, mut entry: VolumeEntry) -> VolumeEntry {
    let Some(free) = pool_of(place_of(entry.volume.state)) else { return entry };
    // A volume whose size changes stays with the task that uses it.
    let to = if is_away(&entry) { Pool::Used } else { free };
    if entry.placed {
        return entry;
    }
    let Some(agent) = state.touch(entry.volume.agent) else { return entry };
    let plain: Resources = sum_of(&entry.plain());
    let quarantined = entry.volume.state == berth_model::volume::VolumeState::Quarantined;
    if quarantined && !agent.books.available.contains(&plain) {
        return entry;
    }
    let volume = sum_of(&entry.resource());
    agent.books.convert(Pool::Available, &plain, to, &volume);
    for _ in 0..copies(&entry) {
        agent.books.copy(&volume);
    }
    entry.placed = true;
    entry
}

/// Charges the volume to a task, from wherever its state put it.
pub(super) fn take(state: &mut State, entry: &VolumeEntry, task: &TaskKey) -> bool {
    if !entry.has_room_for(task) {
        return false;
    }
    let (Some(from), Some(agent)) = (pool_now(entry), state.touch(entry.volume.agent)) else {
        return false;
    };
    let resource = sum_of(&entry.resource());
    if entry.is_shared() {
        agent.books.copy(&resource);
    } else {
        agent.books.shift(from, Pool::Used, &resource);
    }
    true
}

/// Gives the volume back from a task to where its state says. The task is still among its users.
pub(super) fn give_back(state: &mut State, entry: &VolumeEntry) {
    let (Some(to), Some(agent)) =
        (pool_of(place_of(entry.volume.state)), state.touch(entry.volume.agent))
    else {
        return;
    };
    if entry.placed && entry.is_shared() {
        agent.books.drop_copy(&sum_of(&entry.resource()));
    } else if entry.placed {
        agent.books.shift(Pool::Used, to, &sum_of(&entry.resource()));
    }
}
