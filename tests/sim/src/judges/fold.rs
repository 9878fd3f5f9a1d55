//! An agent's ledger as the judges read it: a fold of the records that shares nothing with the agent's own.

use berth_model::id::{ClusterId, GroupId, SnapshotId, VolumeId};
use berth_model::record::{
    LedgerRecord, LedgerSnapshot, LedgerTask, LedgerTaskPhase, LedgerVolume,
};
use berth_model::resources::DiskSource;
use berth_model::snapshot::SnapshotState;
use berth_model::task::TaskKey;
use std::collections::{BTreeMap, BTreeSet};

/// The state of a ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fold {
    pub cluster: Option<ClusterId>,
    pub epoch: u64,
    pub revision: u64,
    pub volumes: BTreeMap<VolumeId, LedgerVolume>,
    pub tasks: BTreeMap<TaskKey, LedgerTask>,
    pub snapshots: BTreeMap<SnapshotId, SnapshotState>,
    /// The groups of those that have one, and their volumes.
    pub groups: BTreeMap<SnapshotId, (GroupId, VolumeId)>,
    /// Disks besides those of the configuration.
    pub declared: BTreeSet<DiskSource>,
}

impl Fold {
    #[must_use]
    pub fn of(records: &[LedgerRecord]) -> Self {
        let mut fold = Self::default();
        fold.extend(records);
        fold
    }
    /// Takes records in.
    pub fn extend(&mut self, records: &[LedgerRecord]) {
        for record in records {
            match record {
                LedgerRecord::Joined(cluster) => self.cluster = Some(*cluster),
                LedgerRecord::Epoch { epoch, revision } => {
                    (self.epoch, self.revision) = (*epoch, *revision);
                },
                LedgerRecord::Disk(_)
                | LedgerRecord::Orphan(_)
                | LedgerRecord::OrphanForgotten(_)
                | LedgerRecord::DiskOrder(_)
                | LedgerRecord::DiskOrderForgotten(_) => {},
                LedgerRecord::DiskDeclared(disk) => {
                    self.declared.insert(disk.source.clone());
                },
                LedgerRecord::DiskUndeclared(source) => drop(self.declared.remove(source)),
                LedgerRecord::Volume(volume) => {
                    self.volumes.insert(volume.spec.id, volume.clone());
                },
                LedgerRecord::VolumeForgotten(id) => drop(self.volumes.remove(id)),
                LedgerRecord::Task(task) => {
                    let key =
                        TaskKey { framework: task.framework.clone(), task: task.info.id.clone() };
                    self.tasks.insert(key, (**task).clone());
                },
                LedgerRecord::TaskForgotten(key) => drop(self.tasks.remove(key)),
                LedgerRecord::Snapshot(snapshot) => self.put(snapshot),
                LedgerRecord::Snapshots(all) => all.iter().for_each(|one| self.put(one)),
                LedgerRecord::SnapshotForgotten(id) => {
                    self.snapshots.remove(id);
                    self.groups.remove(id);
                },
            }
        }
    }
    fn put(&mut self, snapshot: &LedgerSnapshot) {
        self.snapshots.insert(snapshot.spec.id, snapshot.state);
        if let Some(group) = snapshot.group {
            self.groups.insert(snapshot.spec.id, (group.id, snapshot.spec.of.id));
        }
    }
    /// Where a snapshot stands.
    pub fn snapshot(&self, id: SnapshotId) -> Option<SnapshotState> {
        self.snapshots.get(&id).copied()
    }
    /// The tasks that have not ended.
    pub fn live(&self) -> impl Iterator<Item = (&TaskKey, &LedgerTask)> {
        self.tasks.iter().filter(|(_, task)| task.phase != LedgerTaskPhase::Ended)
    }
}
