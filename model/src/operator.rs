//! Calls of operators that change state. Each carries an operation id, so a retry is safe.

use crate::access::Access;
use crate::declaration::DiskDeclaration;
use crate::disk::{DiskRequest, ProfileRequest};
use crate::id::{
    AgentId, DiskId, FrameworkId, Principal, ProfileName, ReservationId, SnapshotId, SnapshotName,
    TaskId, VolumeId, VolumeName,
};
use crate::operation::OperationKind;
use crate::orphan::OrphanChoice;
use crate::quota::QuotaRequest;
use crate::resources::{DiskSource, Resources};
use crate::role::Role;
use crate::schedule::SchedulePlan;
use crate::snapshot::Freeze;
use crate::transfer::Import;
use crate::units::Bytes;
use crate::weight::Weight;
use crate::wipe::Wipe;
use std::sync::Arc;
use std::time::Duration;

/// Which disk is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskChoice {
    /// Any with room, the ROOT disk last.
    Any,
    /// By its id.
    Id(DiskId),
    /// By its name on the agent.
    Named(Arc<str>),
    /// By what resources call it.
    Source(DiskSource),
    /// Any that satisfies this profile, the ROOT disk last.
    Profile(ProfileName),
}

/// Which volume is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeChoice {
    /// By its id.
    Id(VolumeId),
    /// By its name; the role may be left out when the name is unique.
    Named {
        /// The role, when given.
        role: Option<Role>,
        /// The name.
        name: VolumeName,
    },
}

/// A state-changing call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Push one reservation level (given on the stacks).
    Reserve {
        /// Where.
        agent: AgentId,
        /// With the new level on top.
        resources: Resources,
    },
    /// Pop one reservation level (given on the stacks).
    Unreserve {
        /// Where.
        agent: AgentId,
        /// With the level still on top.
        resources: Resources,
    },
    /// Pop one whole reservation row, by its id.
    Release {
        /// Which row; only its unused part can go.
        reservation: ReservationId,
    },
    /// Reserve what is missing and create a volume.
    CreateVolume {
        /// Unique in the role.
        name: VolumeName,
        /// Whose it will be.
        role: Role,
        /// Who asks.
        principal: Option<Principal>,
        /// Whole MiB.
        size: Bytes,
        /// Where; any with room when absent.
        agent: Option<AgentId>,
        /// Which disk.
        disk: DiskChoice,
        /// The default mount.
        container_path: Arc<str>,
        /// Who may do what in it.
        access: Access,
        /// Whether several tasks may use it at once.
        shared: bool,
        /// By a key of its own, on a disk that encrypts.
        encrypted: bool,
        /// Where its content comes from; empty when absent. A directory needs an agent.
        import: Option<Import>,
    },
    /// Move a volume to the trash.
    DestroyVolume {
        /// Which.
        volume: VolumeChoice,
    },
    /// Give a volume another size, while it is used or not. It keeps its data; a size below what it uses is refused.
    ResizeVolume {
        /// Which.
        volume: VolumeChoice,
        /// Whole MiB.
        size: Bytes,
    },
    /// Take a volume out of the trash.
    RestoreVolume {
        /// Which.
        volume: VolumeId,
    },
    /// Delete a trashed volume for good.
    PurgeVolume {
        /// Which.
        volume: VolumeId,
        /// What becomes of its blocks; as its agent is configured when absent.
        wipe: Option<Wipe>,
    },
    /// Remove a framework; its reservations and volumes stay.
    Teardown {
        /// Which.
        framework: FrameworkId,
    },
    /// End a task.
    KillTask {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        task: TaskId,
        /// From SIGTERM to SIGKILL.
        grace: Option<Duration>,
    },
    /// Say something of a disk.
    Disk(DiskRequest),
    /// Change the profiles.
    Profile(ProfileRequest),
    /// Keep a volume's content as it is now.
    CreateSnapshot {
        /// Of which volume.
        volume: VolumeChoice,
        /// Unique among the volume's snapshots; made up when absent.
        name: Option<SnapshotName>,
        /// Who asks.
        principal: Option<Principal>,
        /// How the task that uses the volume brings it to rest.
        freeze: Option<Freeze>,
    },
    /// Keep the content of several volumes of one agent as it is at one moment: all of them or none.
    CreateGroup {
        /// Of which volumes.
        volumes: Vec<VolumeChoice>,
        /// Of each of the snapshots; made up when absent.
        name: Option<SnapshotName>,
        /// Who asks.
        principal: Option<Principal>,
        /// How each task that uses one of the volumes brings it to rest.
        freeze: Option<Freeze>,
    },
    /// Delete a snapshot for good.
    DeleteSnapshot {
        /// Which.
        snapshot: SnapshotId,
    },
    /// Hold a snapshot, so that neither it nor its volume is deleted, or release it.
    HoldSnapshot {
        /// Which.
        snapshot: SnapshotId,
        /// From now on.
        held: bool,
    },
    /// Give a volume the content of one of its snapshots, after a snapshot of what it has now.
    RollBackVolume {
        /// Which volume.
        volume: VolumeChoice,
        /// To which of its snapshots.
        snapshot: SnapshotId,
    },
    /// Make a new volume with the content of a snapshot, on the same disk.
    CloneVolume {
        /// Of which snapshot.
        snapshot: SnapshotId,
        /// Unique in the role.
        name: VolumeName,
        /// Whose it will be; the role of the snapshot's volume when absent.
        role: Option<Role>,
        /// Who asks.
        principal: Option<Principal>,
        /// The default mount.
        container_path: Arc<str>,
    },
    /// Make an orphan a volume again.
    AdoptOrphan {
        /// Which.
        orphan: OrphanChoice,
    },
    /// Delete an orphan's data for good, or forget a record without data.
    PurgeOrphan {
        /// Which.
        orphan: OrphanChoice,
    },
    /// Take snapshots of a volume by the clock, from now on; replaces the schedule it has.
    SetSchedule {
        /// Of which volume.
        volume: VolumeChoice,
        /// How often, and which stay.
        plan: SchedulePlan,
        /// Who asks.
        principal: Option<Principal>,
    },
    /// Take no more snapshots of a volume by the clock; those taken stay.
    DeleteSchedule {
        /// Of which volume.
        volume: VolumeChoice,
    },
    /// Say something of a volume that is there.
    Property {
        /// Which.
        volume: VolumeChoice,
        /// What.
        property: Property,
    },
    /// Have an agent that runs use one more disk.
    AddDisk {
        /// Which agent.
        agent: AgentId,
        /// What it is to use.
        disk: Box<DiskDeclaration>,
    },
    /// Have its agent use a disk no more that was added so. Nothing may be on it.
    RemoveDisk {
        /// Which.
        disk: DiskId,
    },
    /// Send what is in a volume that nobody uses, or in a snapshot, to whoever asks for it under the operation's id.
    ExportVolume {
        /// Which volume.
        volume: VolumeChoice,
        /// Which of its snapshots; the volume itself when absent.
        snapshot: Option<SnapshotId>,
    },
    /// Let a role count so much beside its siblings; 1 is what each has of which nothing was said.
    SetWeight {
        /// Which.
        role: Role,
        /// How much.
        weight: Weight,
    },
    /// Change what a role is sure to get and never gets more than.
    Quota(QuotaRequest),
}

/// What operators say of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// Refuse from now on what would take data from it, or end that.
    Protected(bool),
    /// Give its root directory this owner or mode; what is absent stays.
    Access(Access),
}

impl Request {
    /// The kind under which it is recorded; of a resize, GROW until the books say that it is a SHRINK.
    #[must_use]
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Reserve { .. } => OperationKind::Reserve,
            Self::Unreserve { .. } | Self::Release { .. } => OperationKind::Unreserve,
            Self::CreateVolume { import: None, .. } => OperationKind::Create,
            Self::CreateVolume { import: Some(_), .. } => OperationKind::Import,
            Self::DestroyVolume { .. } => OperationKind::Destroy,
            Self::ResizeVolume { .. } => OperationKind::Grow,
            Self::RestoreVolume { .. } => OperationKind::Restore,
            Self::PurgeVolume { .. } => OperationKind::Purge,
            Self::Teardown { .. } => OperationKind::Teardown,
            Self::KillTask { .. } => OperationKind::Kill,
            Self::Disk(DiskRequest::Cordon { .. }) => OperationKind::Cordon,
            Self::Disk(DiskRequest::Uncordon { .. }) => OperationKind::Uncordon,
            Self::Disk(DiskRequest::Label { .. }) => OperationKind::Label,
            Self::Profile(ProfileRequest::Create(_)) => OperationKind::CreateProfile,
            Self::Profile(ProfileRequest::Delete(_)) => OperationKind::DeleteProfile,
            Self::CreateSnapshot { .. } => OperationKind::Snapshot,
            Self::CreateGroup { .. } => OperationKind::SnapshotGroup,
            Self::DeleteSnapshot { .. } => OperationKind::DeleteSnapshot,
            Self::HoldSnapshot { .. } => OperationKind::HoldSnapshot,
            Self::RollBackVolume { .. } => OperationKind::RollBack,
            Self::CloneVolume { .. } => OperationKind::Clone,
            Self::SetSchedule { .. } => OperationKind::SetSchedule,
            Self::DeleteSchedule { .. } => OperationKind::DeleteSchedule,
            Self::Property { property: Property::Protected(true), .. } => OperationKind::Protect,
            Self::Property { property: Property::Protected(false), .. } => OperationKind::Unprotect,
            Self::Property { property: Property::Access(_), .. } => OperationKind::SetAccess,
            Self::AdoptOrphan { .. } => OperationKind::AdoptOrphan,
            Self::PurgeOrphan { .. } => OperationKind::PurgeOrphan,
            Self::AddDisk { .. } => OperationKind::AddDisk,
            Self::RemoveDisk { .. } => OperationKind::RemoveDisk,
            Self::ExportVolume { .. } => OperationKind::Export,
            Self::SetWeight { .. } => OperationKind::SetWeight,
            Self::Quota(QuotaRequest::Set { .. }) => OperationKind::SetQuota,
            Self::Quota(QuotaRequest::Unset { .. }) => OperationKind::UnsetQuota,
        }
    }
}
