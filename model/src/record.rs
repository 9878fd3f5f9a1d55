//! What is written down: the registry's records (master) and the ledger's records (agent).
//!
//! The registry holds intent and ownership, one key per record; the agent's ledger holds what is on its
//! disks and which tasks it runs, as a sequence of records whose fold is the state.

use crate::access::Access;
use crate::agent::AgentInfo;
use crate::audit::{AuditKey, AuditRecord};
use crate::declaration::{DiskDeclaration, DiskOrderState, LedgerDiskOrder};
use crate::disk::{DiskProfile, DiskRecord};
use crate::error::{RECORDED_MAX, Rejection, shortened};
use crate::framework::FrameworkInfo;
use crate::id::{
    AgentId, ClusterId, ContainerId, DiskId, FrameworkId, OperationId, ProfileName, ReservationId,
    SnapshotId, TaskId, TransactionId, VolumeId,
};
use crate::operation::OperationRecord;
use crate::orphan::{LedgerOrphan, OrphanState};
use crate::quota::Quota;
use crate::resources::{DiskSource, Resource};
use crate::role::Role;
use crate::schedule::SnapshotSchedule;
use crate::snapshot::{Freeze, Group, Origin, Snapshot, SnapshotSpec, SnapshotState};
use crate::task::{TaskInfo, TaskKey, TaskStatus};
use crate::transaction::TransactionRecord;
use crate::units::{Bytes, Timestamp};
use crate::volume::{Volume, VolumeSpec, VolumeState, VolumeUse};
use crate::weight::RoleWeight;
use crate::wipe::LedgerWipe;
use std::sync::Arc;

/// A record of the registry. Shared: the same value is in the books, on its way to the registry, and told to watchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryRecord {
    /// The cluster itself.
    Meta {
        /// Minted at the first start.
        cluster: ClusterId,
        /// Raised and synced at each start, before anything else is done.
        epoch: u64,
        /// The number of the next framework id.
        next_framework: u64,
    },
    /// An admitted agent, as it last declared itself.
    Agent(Arc<AgentInfo>),
    /// How far an agent's ledger had got when it last reported a result.
    AgentSeq {
        /// Whose ledger.
        agent: AgentId,
        /// Its sequence number.
        ledger_seq: u64,
    },
    /// Reserved resources of one agent.
    Reservation(Arc<ReservationRow>),
    /// A volume.
    Volume(Arc<Volume>),
    /// A framework.
    Framework(Arc<FrameworkRecord>),
    /// An operation.
    Operation(Arc<OperationRecord>),
    /// What operators said of a disk.
    Disk(Arc<DiskRecord>),
    /// A profile of disks.
    Profile(Arc<DiskProfile>),
    /// A snapshot.
    Snapshot(Arc<Snapshot>),
    /// The schedule of a volume's snapshots.
    Schedule(Arc<SnapshotSchedule>),
    /// What a role weighs, while that is not 1.
    Weight(Arc<RoleWeight>),
    /// The quota of a top-level role.
    Quota(Arc<Quota>),
    /// The answer to a framework's transaction.
    Transaction(Arc<TransactionRecord>),
    /// A part of the audit log.
    Audit(AuditRecord),
}

/// One row of dynamically reserved resources: everything of one agent with the same name, disk and stack.
/// The amount includes what volumes have taken from it, so CREATE touches one row only: the volume's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationRow {
    /// For people and for release.
    pub id: ReservationId,
    /// Whose resources.
    pub agent: AgentId,
    /// Name, stack, disk source and amount; no persistence, no mount.
    pub resource: Resource,
    /// When the row was first made.
    pub created: Timestamp,
}

/// A framework in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkRecord {
    /// Its id.
    pub id: FrameworkId,
    /// What it says about itself.
    pub info: FrameworkInfo,
    /// When it was first seen.
    pub registered: Timestamp,
    /// When it was torn down or given up; absent while it may come back.
    pub removed: Option<Timestamp>,
}

/// Names a record of the registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RegistryKey {
    /// The cluster itself.
    Meta,
    /// An agent.
    Agent(AgentId),
    /// An agent's ledger position.
    AgentSeq(AgentId),
    /// A row of reservations.
    Reservation(ReservationId),
    /// A volume.
    Volume(VolumeId),
    /// A framework.
    Framework(FrameworkId),
    /// An operation.
    Operation(OperationId),
    /// What operators said of a disk.
    Disk(DiskId),
    /// A profile of disks.
    Profile(ProfileName),
    /// A snapshot.
    Snapshot(SnapshotId),
    /// The schedule of a volume.
    Schedule(VolumeId),
    /// The weight of a role.
    Weight(Role),
    /// The quota of a role.
    Quota(Role),
    /// The answer to a framework's transaction.
    Transaction(FrameworkId, TransactionId),
    /// A part of the audit log.
    Audit(AuditKey),
}

impl RegistryRecord {
    /// The key this record is stored under.
    #[must_use]
    pub fn key(&self) -> RegistryKey {
        match self {
            Self::Meta { .. } => RegistryKey::Meta,
            Self::Agent(info) => RegistryKey::Agent(info.id),
            Self::AgentSeq { agent, .. } => RegistryKey::AgentSeq(*agent),
            Self::Reservation(row) => RegistryKey::Reservation(row.id),
            Self::Volume(volume) => RegistryKey::Volume(volume.spec.id),
            Self::Framework(record) => RegistryKey::Framework(record.id.clone()),
            Self::Operation(record) => RegistryKey::Operation(record.id),
            Self::Disk(record) => RegistryKey::Disk(record.disk),
            Self::Profile(profile) => RegistryKey::Profile(profile.name.clone()),
            Self::Snapshot(snapshot) => RegistryKey::Snapshot(snapshot.spec.id),
            Self::Schedule(schedule) => RegistryKey::Schedule(schedule.volume),
            Self::Weight(weight) => RegistryKey::Weight(weight.role.clone()),
            Self::Quota(quota) => RegistryKey::Quota(quota.role.clone()),
            Self::Transaction(record) => {
                RegistryKey::Transaction(record.framework.clone(), record.id)
            },
            Self::Audit(record) => RegistryKey::Audit(record.key()),
        }
    }
}

/// A change of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryWrite {
    /// Store or replace.
    Put(RegistryRecord),
    /// Remove.
    Delete(RegistryKey),
}

impl RegistryWrite {
    /// The key it changes.
    #[must_use]
    pub fn key(&self) -> RegistryKey {
        match self {
            Self::Put(record) => record.key(),
            Self::Delete(key) => key.clone(),
        }
    }
}

/// A record of an agent's ledger. The state is the fold of all records; a snapshot is a list of records
/// that folds to the same state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most records are of volumes")]
pub enum LedgerRecord {
    /// The cluster this agent belongs to, from its first contact on.
    Joined(ClusterId),
    /// The highest epoch and registry revision seen; stored before anything of that epoch is acted on.
    Epoch {
        /// The term.
        epoch: u64,
        /// The registry's revision.
        revision: u64,
    },
    /// A disk this agent has used.
    Disk(LedgerDisk),
    /// A volume's state.
    Volume(LedgerVolume),
    /// The volume's record is no longer needed.
    VolumeForgotten(VolumeId),
    /// A task's state.
    Task(Box<LedgerTask>),
    /// The task's record is no longer needed.
    TaskForgotten(TaskKey),
    /// A snapshot's state.
    Snapshot(Box<LedgerSnapshot>),
    /// The states of several snapshots, all of them or none.
    Snapshots(Vec<LedgerSnapshot>),
    /// The snapshot's record is no longer needed.
    SnapshotForgotten(SnapshotId),
    /// The deletion of a directory that the ledger did not explain.
    Orphan(Box<LedgerOrphan>),
    /// The record of that deletion is no longer needed.
    OrphanForgotten(OperationId),
    /// An order about a disk, and how far it has come.
    DiskOrder(Box<LedgerDiskOrder>),
    /// The record of that order is no longer needed.
    DiskOrderForgotten(OperationId),
    /// A disk that is used besides those of the configuration.
    DiskDeclared(Box<DiskDeclaration>),
    /// It is not used any more, and whatever was known of it is forgotten.
    DiskUndeclared(DiskSource),
}

impl LedgerRecord {
    /// The same with errors short enough to be written, whatever they quote: a record that is too long for the journal would
    /// end the agent, at each start again.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let bound = |error: &mut Option<Rejection>| *error = error.take().map(Rejection::bounded);
        match &mut self {
            Self::Volume(volume) => bound(&mut volume.error),
            Self::Snapshot(snapshot) => bound(&mut snapshot.error),
            Self::Snapshots(all) => all.iter_mut().for_each(|one| bound(&mut one.error)),
            Self::Task(task) => {
                let LedgerTask { status, unacknowledged, .. } = &mut **task;
                for status in unacknowledged.iter_mut().chain([status]) {
                    bound(&mut status.error);
                    let message = std::mem::take(&mut status.message);
                    status.message = shortened(message, RECORDED_MAX);
                }
            },
            Self::Orphan(orphan) => {
                if let OrphanState::Failed(error) = &mut orphan.state {
                    *error = error.clone().bounded();
                }
            },
            Self::DiskOrder(order) => {
                if let DiskOrderState::Failed(error) = &mut order.state {
                    *error = error.clone().bounded();
                }
            },
            Self::Joined(_)
            | Self::Epoch { .. }
            | Self::Disk(_)
            | Self::VolumeForgotten(_)
            | Self::TaskForgotten(_)
            | Self::SnapshotForgotten(_)
            | Self::OrphanForgotten(_)
            | Self::DiskOrderForgotten(_)
            | Self::DiskDeclared(_)
            | Self::DiskUndeclared(_) => {},
        }
        self
    }
}

/// A disk as an agent remembers it, to recognise a swapped one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerDisk {
    /// As written on it.
    pub id: DiskId,
    /// For people.
    pub name: Arc<str>,
    /// How resources name it.
    pub source: DiskSource,
    /// The file system's own identity when it was adopted (hexadecimal), empty when it has none.
    pub filesystem: Arc<str>,
}

/// A volume as an agent's ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerVolume {
    /// Identity, place and size.
    pub spec: VolumeSpec,
    /// CREATING and TOMBSTONED are intents; the others are results.
    pub state: VolumeState,
    /// The operation that brought it there.
    pub operation: Option<OperationId>,
    /// Being taken out of the trash (only while CREATING).
    pub restore: bool,
    /// Why FAILED, LOST or QUARANTINED.
    pub error: Option<Rejection>,
    /// Which driver made it; empty before that.
    pub driver: Arc<str>,
    /// When the state was entered; for TRASHED, the retention counts from here.
    pub changed: Timestamp,
    /// An intent: this READY volume is to have that size.
    pub resize: Option<Bytes>,
    /// What it is made from (only while CREATING).
    pub origin: Option<Box<Origin>>,
    /// An intent: this READY volume is to have that access.
    pub setting: Option<Access>,
    /// Of a TRASHED volume an intent: it is to be wiped before it is deleted. Of a GONE one what was done.
    pub wipe: Option<LedgerWipe>,
}

impl LedgerVolume {
    /// The space that is taken for it, with what it is to grow by.
    #[must_use]
    pub fn held(&self) -> Bytes {
        self.resize.map_or(self.spec.size, |wanted| self.spec.size.max(wanted))
    }
}

/// A snapshot as an agent's ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSnapshot {
    /// Identity, and of what.
    pub spec: SnapshotSpec,
    /// CREATING and DELETING are intents; the others are results.
    pub state: SnapshotState,
    /// The operation that brought it there.
    pub operation: Option<OperationId>,
    /// How its volume is brought to rest.
    pub freeze: Option<Freeze>,
    /// Why FAILED, LOST or QUARANTINED, or not done yet.
    pub error: Option<Rejection>,
    /// When the state was entered.
    pub changed: Timestamp,
    /// With which others it is taken. They enter and leave CREATING in one record.
    pub group: Option<Group>,
}

/// How far the agent has come with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LedgerTaskPhase {
    /// Accepted; its supervisor may or may not have been started.
    Starting,
    /// Its supervisor was seen.
    Running,
    /// It ended; kept until its last update is acknowledged.
    Ended,
}

/// A task as an agent's ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerTask {
    /// Whose.
    pub framework: FrameworkId,
    /// What it runs.
    pub info: TaskInfo,
    /// The volumes it uses.
    pub volumes: Vec<VolumeUse>,
    /// Names its run directory, supervisor and cgroup.
    pub container: ContainerId,
    /// How far it has come.
    pub phase: LedgerTaskPhase,
    /// Somebody asked for its end.
    pub killing: bool,
    /// The latest status.
    pub status: TaskStatus,
    /// Updates not yet acknowledged, oldest first.
    pub unacknowledged: Vec<TaskStatus>,
}

impl LedgerTask {
    /// The task's name in the cluster.
    #[must_use]
    pub fn key(&self) -> TaskKey {
        TaskKey { framework: self.framework.clone(), task: self.task().clone() }
    }
    /// The task's id.
    #[must_use]
    pub fn task(&self) -> &TaskId {
        &self.info.id
    }
}
