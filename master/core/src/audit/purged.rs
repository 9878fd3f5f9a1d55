//! Volumes in the trash that made room for another: the operation of that other is theirs too.

use super::changes::{Touched, record};
use crate::state::State;
use berth_model::audit::PURGED;
use berth_model::id::VolumeId;
use berth_model::operation::OperationRecord;
use berth_model::record::RegistryKey;

/// The trashed volumes that were purged in this step to make room for the operation's.
pub(super) fn victims(
    state: &State,
    touched: &Touched,
    operation: &OperationRecord,
) -> Vec<VolumeId> {
    if !operation.notes.iter().any(|note| note.starts_with(PURGED)) {
        return Vec::new();
    }
    let is_noted = |id: VolumeId| {
        let mark = format!("({id})");
        operation.notes.iter().any(|note| note.starts_with(PURGED) && note.contains(&mark))
    };
    let gone = touched.keys().filter_map(|key| match key {
        RegistryKey::Volume(id) if record(state, key).is_none() => Some(*id),
        _other => None,
    });
    gone.filter(|id| !operation.volumes.contains(id) && is_noted(*id)).collect()
}
