//! What the ledger says: the fold of its records, with the indices that deciding needs.
//!
//! It knows no host and no master. Invariant: the state is the fold of the records and of nothing else, so
//! [`Books::records`] of any state folds to that state.

use berth_model::declaration::{DiskDeclaration, LedgerDiskOrder};
use berth_model::id::{ClusterId, ContainerId, DiskId, OperationId, SnapshotId, VolumeId};
use berth_model::orphan::LedgerOrphan;
use berth_model::record::{
    LedgerDisk, LedgerRecord, LedgerSnapshot, LedgerTask, LedgerTaskPhase, LedgerVolume,
};
use berth_model::resources::DiskSource;
use berth_model::task::TaskKey;
use berth_model::units::{Bytes, Timestamp};
use berth_model::volume::VolumeState;
use std::collections::{BTreeMap, BTreeSet};

/// The state of an agent's ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    cluster: Option<ClusterId>,
    epoch: u64,
    revision: u64,
    disks: BTreeMap<DiskId, LedgerDisk>,
    volumes: BTreeMap<VolumeId, LedgerVolume>,
    tasks: BTreeMap<TaskKey, LedgerTask>,
    snapshots: BTreeMap<SnapshotId, LedgerSnapshot>,
    orphans: BTreeMap<OperationId, LedgerOrphan>,
    disk_orders: BTreeMap<OperationId, LedgerDiskOrder>,
    declarations: BTreeMap<DiskSource, DiskDeclaration>,
    index: Index,
}

/// Derived from the records, kept so that no decision scans all volumes or tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Index {
    /// Space taken by volumes, per disk.
    held: BTreeMap<DiskSource, Bytes>,
    /// Trash by age, per disk.
    trash: BTreeMap<DiskSource, BTreeSet<(Timestamp, VolumeId)>>,
    /// The live tasks that use a volume.
    users: BTreeMap<VolumeId, BTreeSet<TaskKey>>,
    /// Whose run a container is.
    containers: BTreeMap<ContainerId, TaskKey>,
    /// Tasks that have not ended.
    live: BTreeSet<TaskKey>,
    /// The snapshots of a volume.
    snapshots: BTreeSet<(VolumeId, SnapshotId)>,
}

impl Books {
    /// The fold of `records`.
    #[must_use]
    pub fn fold(records: impl IntoIterator<Item = LedgerRecord>) -> Self {
        let mut books = Self::default();
        for record in records {
            books.apply(record);
        }
        books
    }

    /// Takes one record in.
    pub fn apply(&mut self, record: LedgerRecord) {
        match record {
            LedgerRecord::Joined(cluster) => self.cluster = Some(cluster),
            LedgerRecord::Epoch { epoch, revision } => {
                self.epoch = epoch;
                self.revision = revision;
            },
            LedgerRecord::Disk(disk) => drop(self.disks.insert(disk.id, disk)),
            LedgerRecord::Volume(volume) => {
                if let Some(old) = self.volumes.remove(&volume.spec.id) {
                    self.index.without_volume(&old);
                }
                self.index.with_volume(&volume);
                self.volumes.insert(volume.spec.id, volume);
            },
            LedgerRecord::VolumeForgotten(id) => {
                if let Some(old) = self.volumes.remove(&id) {
                    self.index.without_volume(&old);
                }
            },
            LedgerRecord::Task(task) => {
                let key = task.key();
                if let Some(old) = self.tasks.remove(&key) {
                    self.index.without_task(&key, &old);
                }
                self.index.with_task(&key, &task);
                self.tasks.insert(key, *task);
            },
            LedgerRecord::TaskForgotten(key) => {
                if let Some(old) = self.tasks.remove(&key) {
                    self.index.without_task(&key, &old);
                }
            },
            LedgerRecord::Snapshot(snapshot) => self.put_snapshot(*snapshot),
            LedgerRecord::Snapshots(snapshots) => {
                for snapshot in snapshots {
                    self.put_snapshot(snapshot);
                }
            },
            LedgerRecord::SnapshotForgotten(id) => {
                if let Some(old) = self.snapshots.remove(&id) {
                    self.index.snapshots.remove(&(old.spec.of.id, id));
                }
            },
            LedgerRecord::Orphan(orphan) => drop(self.orphans.insert(orphan.operation, *orphan)),
            LedgerRecord::OrphanForgotten(operation) => drop(self.orphans.remove(&operation)),
            LedgerRecord::DiskOrder(order) => {
                drop(self.disk_orders.insert(order.operation, *order));
            },
            LedgerRecord::DiskOrderForgotten(operation) => {
                drop(self.disk_orders.remove(&operation));
            },
            LedgerRecord::DiskDeclared(disk) => {
                drop(self.declarations.insert(disk.source.clone(), *disk));
            },
            LedgerRecord::DiskUndeclared(source) => {
                self.declarations.remove(&source);
                self.disks.retain(|_, disk| disk.source != source);
            },
        }
    }

    fn put_snapshot(&mut self, snapshot: LedgerSnapshot) {
        let (id, volume) = (snapshot.spec.id, snapshot.spec.of.id);
        if let Some(old) = self.snapshots.insert(id, snapshot) {
            self.index.snapshots.remove(&(old.spec.of.id, id));
        }
        self.index.snapshots.insert((volume, id));
    }

    /// Records that fold to this state.
    #[must_use]
    pub fn records(&self) -> Vec<LedgerRecord> {
        let mut records = Vec::new();
        records.extend(self.cluster.map(LedgerRecord::Joined));
        if self.epoch > 0 || self.revision > 0 {
            records.push(LedgerRecord::Epoch { epoch: self.epoch, revision: self.revision });
        }
        records.extend(self.disks.values().cloned().map(LedgerRecord::Disk));
        records.extend(self.volumes.values().cloned().map(LedgerRecord::Volume));
        records.extend(self.tasks.values().cloned().map(|t| LedgerRecord::Task(Box::new(t))));
        records
            .extend(self.snapshots.values().cloned().map(|s| LedgerRecord::Snapshot(Box::new(s))));
        records.extend(self.orphans.values().cloned().map(|o| LedgerRecord::Orphan(Box::new(o))));
        let declared = self.declarations.values().cloned();
        records.extend(declared.map(|disk| LedgerRecord::DiskDeclared(Box::new(disk))));
        let orders = self.disk_orders.values().cloned();
        records.extend(orders.map(|order| LedgerRecord::DiskOrder(Box::new(order))));
        records
    }

    /// The cluster it belongs to.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }
    /// The highest epoch acted on.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
    /// The registry revision stored with it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }
    /// The disks used so far.
    #[must_use]
    pub fn disks(&self) -> &BTreeMap<DiskId, LedgerDisk> {
        &self.disks
    }
    /// The volumes.
    #[must_use]
    pub fn volumes(&self) -> &BTreeMap<VolumeId, LedgerVolume> {
        &self.volumes
    }
    /// The tasks.
    #[must_use]
    pub fn tasks(&self) -> &BTreeMap<TaskKey, LedgerTask> {
        &self.tasks
    }
    /// The snapshots.
    #[must_use]
    pub fn snapshots(&self) -> &BTreeMap<SnapshotId, LedgerSnapshot> {
        &self.snapshots
    }
    /// Deletions of what the ledger did not explain, ended ones until the registry knows.
    #[must_use]
    pub fn orphans(&self) -> &BTreeMap<OperationId, LedgerOrphan> {
        &self.orphans
    }
    /// Orders about disks, ended ones until the registry knows.
    #[must_use]
    pub fn disk_orders(&self) -> &BTreeMap<OperationId, LedgerDiskOrder> {
        &self.disk_orders
    }
    /// The disks that are used besides those of the configuration.
    #[must_use]
    pub fn declarations(&self) -> &BTreeMap<DiskSource, DiskDeclaration> {
        &self.declarations
    }
    /// The snapshots of one volume.
    pub fn snapshots_of(&self, volume: VolumeId) -> impl Iterator<Item = &LedgerSnapshot> {
        let all = (volume, SnapshotId::from_u128(0))..=(volume, SnapshotId::from_u128(u128::MAX));
        self.index.snapshots.range(all).filter_map(|(_, id)| self.snapshots.get(id))
    }
    /// Space taken by volumes on a disk.
    #[must_use]
    pub fn held(&self, disk: &DiskSource) -> Bytes {
        self.index.held.get(disk).copied().unwrap_or_default()
    }
    /// The trash of a disk, oldest first.
    pub fn trash(&self, disk: &DiskSource) -> impl Iterator<Item = &LedgerVolume> {
        let ids = self.index.trash.get(disk).into_iter().flatten();
        ids.filter_map(|(_, id)| self.volumes.get(id))
    }
    /// The live tasks that use a volume; more than one only when it is shared.
    pub fn users(&self, volume: VolumeId) -> impl Iterator<Item = &TaskKey> {
        self.index.users.get(&volume).into_iter().flatten()
    }
    /// The first live task that uses a volume, if any does.
    #[must_use]
    pub fn user(&self, volume: VolumeId) -> Option<&TaskKey> {
        self.users(volume).next()
    }
    /// The task whose run `container` is.
    #[must_use]
    pub fn task_of(&self, container: ContainerId) -> Option<&LedgerTask> {
        self.index.containers.get(&container).and_then(|key| self.tasks.get(key))
    }
    /// The tasks that have not ended.
    #[must_use]
    pub fn live(&self) -> &BTreeSet<TaskKey> {
        &self.index.live
    }
}

impl Index {
    fn with_volume(&mut self, volume: &LedgerVolume) {
        if volume.state.holds_space() {
            let held = self.held.entry(volume.spec.source.clone()).or_default();
            *held = Bytes::new(held.get().saturating_add(volume.held().get()));
        }
        if volume.state == VolumeState::Trashed {
            let trash = self.trash.entry(volume.spec.source.clone()).or_default();
            trash.insert((volume.changed, volume.spec.id));
        }
    }
    fn without_volume(&mut self, volume: &LedgerVolume) {
        let disk = &volume.spec.source;
        if volume.state.holds_space()
            && let Some(held) = self.held.get_mut(disk)
        {
            *held = Bytes::new(held.get().saturating_sub(volume.held().get()));
            if held.get() == 0 {
                self.held.remove(disk);
            }
        }
        if let Some(trash) = self.trash.get_mut(disk) {
            trash.remove(&(volume.changed, volume.spec.id));
            if trash.is_empty() {
                self.trash.remove(disk);
            }
        }
    }
    fn with_task(&mut self, key: &TaskKey, task: &LedgerTask) {
        self.containers.insert(task.container, key.clone());
        if task.phase == LedgerTaskPhase::Ended {
            return;
        }
        self.live.insert(key.clone());
        for used in &task.volumes {
            self.users.entry(used.volume).or_default().insert(key.clone());
        }
    }
    fn without_task(&mut self, key: &TaskKey, task: &LedgerTask) {
        self.containers.remove(&task.container);
        if !self.live.remove(key) {
            return;
        }
        for used in &task.volumes {
            let Some(users) = self.users.get_mut(&used.volume) else { continue };
            users.remove(key);
            if users.is_empty() {
                self.users.remove(&used.volume);
            }
        }
    }
}
