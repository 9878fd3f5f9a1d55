//! One snapshot: the registry's record and what the agent says of it.

use super::State;
use berth_model::id::{SnapshotId, VolumeId};
use berth_model::snapshot::{Snapshot, SnapshotReport, SnapshotState};
use berth_model::volume::VolumeState;
use std::sync::Arc;

/// A snapshot in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotEntry {
    pub(crate) snapshot: Arc<Snapshot>,
    /// What its agent last said of it, and where it lies.
    pub(crate) observed: Option<(SnapshotState, Arc<str>)>,
}

impl SnapshotEntry {
    pub(crate) fn observe(&mut self, report: &SnapshotReport) {
        self.observed = Some((report.state, Arc::clone(&report.host_path)));
    }
    /// For people.
    pub(crate) fn label(&self) -> String {
        let spec = &self.snapshot.spec;
        format!("snapshot {} of volume {} ({})", spec.name, spec.of.name, spec.id)
    }
}

impl State {
    /// The snapshots of a volume.
    pub(crate) fn snapshots_of(&self, volume: VolumeId) -> impl Iterator<Item = &SnapshotEntry> {
        let all = (volume, SnapshotId::from_u128(0))..=(volume, SnapshotId::from_u128(u128::MAX));
        self.snapshots_by_volume.range(all).filter_map(|(_, id)| self.snapshots.get(id))
    }
    /// False once the volume is in the trash or gone: then its snapshots may go with it.
    pub(crate) fn outlives_its_snapshots(&self, volume: VolumeId) -> bool {
        self.volumes.get(&volume).is_some_and(|entry| match entry.volume.state {
            VolumeState::Creating
            | VolumeState::Ready
            | VolumeState::Failed
            | VolumeState::Lost
            | VolumeState::Tombstoned
            | VolumeState::Quarantined => true,
            VolumeState::Trashed | VolumeState::Gone => false,
        })
    }
}
