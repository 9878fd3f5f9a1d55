//! Operations: state changes with an id that can be asked for, waited on and repeated safely.

use crate::audit::Said;
use crate::declaration::DiskOrder;
use crate::error::Rejection;
use crate::id::{AgentId, FrameworkId, OperationId, SnapshotId, VolumeId};
use crate::orphan::OrphanOrder;
use crate::resources::{Resource, Resources};
use crate::task::TaskInfo;
use crate::units::{Bytes, Timestamp};
use crate::wipe::Wipe;
use std::fmt;

/// An operation inside an ACCEPT. The id is chosen by the framework, so a repeated ACCEPT cannot act twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferOperation {
    /// Names the operation for queries and repetition.
    pub id: OperationId,
    /// What is to be done.
    pub action: Action,
}

/// What an operation does to the accepted resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Push one reservation level: each resource is given with the level already on its stack.
    Reserve(Resources),
    /// Pop one reservation level: each resource is given with the level still on its stack.
    Unreserve(Resources),
    /// Turn reserved disk into volumes, each given as the volume's resource.
    Create(Vec<Resource>),
    /// Destroy volumes, each given as the volume's resource.
    Destroy(Vec<Resource>),
    /// Start tasks.
    Launch(Vec<TaskInfo>),
    /// Make a volume larger by reserved disk of the same stack and disk.
    Grow {
        /// The volume's resource.
        volume: Box<Resource>,
        /// What is added.
        addition: Box<Resource>,
    },
    /// Make a volume smaller; what it gives back is reserved disk once the agent has done it.
    Shrink {
        /// The volume's resource.
        volume: Box<Resource>,
        /// By how much. Whole MiB.
        subtract: Bytes,
    },
}

/// Kinds, for lists and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationKind {
    /// RESERVE.
    Reserve,
    /// UNRESERVE.
    Unreserve,
    /// CREATE, with the RESERVE it may imply.
    Create,
    /// DESTROY: into the trash.
    Destroy,
    /// Out of the trash.
    Restore,
    /// Out of existence.
    Purge,
    /// LAUNCH.
    Launch,
    /// Removal of a framework.
    Teardown,
    /// End of one task.
    Kill,
    /// A volume gets larger, with the RESERVE it may imply.
    Grow,
    /// A volume gets smaller; what it gives back stays reserved.
    Shrink,
    /// A disk gets nothing new.
    Cordon,
    /// A disk is used again.
    Uncordon,
    /// A disk's labels.
    Label,
    /// A new profile of disks.
    CreateProfile,
    /// A profile of disks is forgotten.
    DeleteProfile,
    /// SNAPSHOT: a volume's content as it is now, kept beside it.
    Snapshot,
    /// SNAPSHOT_GROUP: the content of several volumes as it is at one moment.
    SnapshotGroup,
    /// DELETE_SNAPSHOT: a snapshot out of existence.
    DeleteSnapshot,
    /// HOLD or release of a snapshot.
    HoldSnapshot,
    /// ROLLBACK: a volume's next life, with the content of a snapshot.
    RollBack,
    /// CLONE: a new volume with the content of a snapshot.
    Clone,
    /// SET_SCHEDULE: snapshots of a volume by the clock.
    SetSchedule,
    /// DELETE_SCHEDULE: no more of them.
    DeleteSchedule,
    /// PROTECT: nothing may take data from a volume any more.
    Protect,
    /// UNPROTECT: the end of that.
    Unprotect,
    /// SET_ACCESS: another owner or mode of a volume.
    SetAccess,
    /// ADOPT_ORPHAN: data without a record, or the record of data that came back, is a volume again.
    AdoptOrphan,
    /// PURGE_ORPHAN: data without a record is deleted, or a record without data forgotten.
    PurgeOrphan,
    /// IMPORT: a new volume with content from outside.
    Import,
    /// ADD_DISK: an agent that runs uses one more disk.
    AddDisk,
    /// REMOVE_DISK: it does not use it any more.
    RemoveDisk,
    /// EXPORT: what is in a volume or a snapshot is sent to whoever asked.
    Export,
    /// SET_WEIGHT: what a role weighs beside its siblings.
    SetWeight,
    /// SET_QUOTA: what a top-level role is sure to get and never gets more than.
    SetQuota,
    /// UNSET_QUOTA: neither any more.
    UnsetQuota,
}

impl OperationKind {
    /// Every kind.
    pub const ALL: [Self; 36] = [
        Self::Reserve,
        Self::Unreserve,
        Self::Create,
        Self::Destroy,
        Self::Restore,
        Self::Purge,
        Self::Launch,
        Self::Teardown,
        Self::Kill,
        Self::Grow,
        Self::Shrink,
        Self::Cordon,
        Self::Uncordon,
        Self::Label,
        Self::CreateProfile,
        Self::DeleteProfile,
        Self::Snapshot,
        Self::SnapshotGroup,
        Self::DeleteSnapshot,
        Self::HoldSnapshot,
        Self::RollBack,
        Self::Clone,
        Self::SetSchedule,
        Self::DeleteSchedule,
        Self::Protect,
        Self::Unprotect,
        Self::SetAccess,
        Self::AdoptOrphan,
        Self::PurgeOrphan,
        Self::Import,
        Self::AddDisk,
        Self::RemoveDisk,
        Self::Export,
        Self::SetWeight,
        Self::SetQuota,
        Self::UnsetQuota,
    ];

    /// The kind as users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserve => "RESERVE",
            Self::Unreserve => "UNRESERVE",
            Self::Create => "CREATE",
            Self::Destroy => "DESTROY",
            Self::Restore => "RESTORE",
            Self::Purge => "PURGE",
            Self::Launch => "LAUNCH",
            Self::Teardown => "TEARDOWN",
            Self::Kill => "KILL",
            Self::Grow => "GROW",
            Self::Shrink => "SHRINK",
            Self::Cordon => "CORDON",
            Self::Uncordon => "UNCORDON",
            Self::Label => "LABEL",
            Self::CreateProfile => "CREATE_PROFILE",
            Self::DeleteProfile => "DELETE_PROFILE",
            Self::Snapshot => "SNAPSHOT",
            Self::SnapshotGroup => "SNAPSHOT_GROUP",
            Self::DeleteSnapshot => "DELETE_SNAPSHOT",
            Self::HoldSnapshot => "HOLD_SNAPSHOT",
            Self::RollBack => "ROLLBACK",
            Self::Clone => "CLONE",
            Self::SetSchedule => "SET_SCHEDULE",
            Self::DeleteSchedule => "DELETE_SCHEDULE",
            Self::Protect => "PROTECT",
            Self::Unprotect => "UNPROTECT",
            Self::SetAccess => "SET_ACCESS",
            Self::AdoptOrphan => "ADOPT_ORPHAN",
            Self::PurgeOrphan => "PURGE_ORPHAN",
            Self::Import => "IMPORT",
            Self::AddDisk => "ADD_DISK",
            Self::RemoveDisk => "REMOVE_DISK",
            Self::Export => "EXPORT",
            Self::SetWeight => "SET_WEIGHT",
            Self::SetQuota => "SET_QUOTA",
            Self::UnsetQuota => "UNSET_QUOTA",
        }
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Action {
    /// The kind of this action.
    #[must_use]
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Reserve(_) => OperationKind::Reserve,
            Self::Unreserve(_) => OperationKind::Unreserve,
            Self::Create(_) => OperationKind::Create,
            Self::Destroy(_) => OperationKind::Destroy,
            Self::Launch(_) => OperationKind::Launch,
            Self::Grow { .. } => OperationKind::Grow,
            Self::Shrink { .. } => OperationKind::Shrink,
        }
    }
}

/// Where an operation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationState {
    /// The intent is synced in the registry; the agent has still to do it.
    Accepted,
    /// Synced in the agent's ledger and in the registry.
    Done,
    /// It will not happen; nothing of it remains.
    Failed(Rejection),
}

impl OperationState {
    /// The state as users see it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "ACCEPTED",
            Self::Done => "DONE",
            Self::Failed(_) => "FAILED",
        }
    }
    /// True when it will not change any more.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Accepted => false,
            Self::Done | Self::Failed(_) => true,
        }
    }
}

/// The record of one operation, kept for a while after it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRecord {
    /// The request's id.
    pub id: OperationId,
    /// What it does.
    pub kind: OperationKind,
    /// Recognises another request under the same id.
    pub fingerprint: u64,
    /// Who asked, when it was a framework.
    pub framework: Option<FrameworkId>,
    /// Where it happens; absent for TEARDOWN.
    pub agent: Option<AgentId>,
    /// The volumes it concerns.
    pub volumes: Vec<VolumeId>,
    /// In words, for lists: what it concerns.
    pub object: String,
    /// Where it stands.
    pub state: OperationState,
    /// Things worth knowing, such as trash that was purged to make room.
    pub notes: Vec<String>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// The data without a record that the agent is to delete.
    pub orphan: Option<Box<OrphanOrder>>,
    /// Who asked and why, as the caller said it; of a framework's operation, `framework` says who.
    pub said: Said,
    /// What the agent is to do with its disks.
    pub disk: Option<Box<DiskOrder>>,
    /// What is to become of the blocks of what is purged; as the agent is configured when absent.
    pub wipe: Option<Wipe>,
    /// Which snapshot is exported.
    pub snapshot: Option<SnapshotId>,
}
