//! Persistent volumes as the registry and the agents' ledgers know them.

use crate::access::Access;
use crate::error::Rejection;
use crate::id::{AgentId, FrameworkId, OperationId, Principal, VolumeId, VolumeName};
use crate::reservation::Stack;
use crate::resources::{DiskSource, Mount, MountMode, Persistence, Resource};
use crate::role::Role;
use crate::snapshot::Origin;
use crate::units::{Bytes, Timestamp, UnitError};
use crate::wipe::Wiped;
use std::fmt;
use std::sync::Arc;

/// Where a volume stands. The registry holds the intended state, the agent's ledger what is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VolumeState {
    /// Intended, not yet durable on the agent; never offered.
    Creating,
    /// Durable on both sides; offered to its role.
    Ready,
    /// The agent could not make it; nothing lies on the disk. Kept until deleted.
    Failed,
    /// The data is not where it must be. Never made anew.
    Lost,
    /// To be destroyed; the agent has not confirmed yet.
    Tombstoned,
    /// In the agent's trash; its space is free again.
    Trashed,
    /// Deleted from the disk.
    Gone,
    /// Something lies on the disk that the records do not explain; kept, never offered, never deleted.
    Quarantined,
}

impl VolumeState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Creating,
        Self::Ready,
        Self::Failed,
        Self::Lost,
        Self::Tombstoned,
        Self::Trashed,
        Self::Gone,
        Self::Quarantined,
    ];

    /// The state as users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Ready => "READY",
            Self::Failed => "FAILED",
            Self::Lost => "LOST",
            Self::Tombstoned => "TOMBSTONED",
            Self::Trashed => "TRASHED",
            Self::Gone => "GONE",
            Self::Quarantined => "QUARANTINED",
        }
    }

    /// True while the volume's space is taken from its reservation.
    #[must_use]
    pub const fn holds_space(self) -> bool {
        match self {
            Self::Creating | Self::Ready | Self::Lost | Self::Tombstoned | Self::Quarantined => {
                true
            },
            Self::Failed | Self::Trashed | Self::Gone => false,
        }
    }

    /// True while no other volume of the role may have the name.
    #[must_use]
    pub const fn holds_name(self) -> bool {
        match self {
            Self::Creating
            | Self::Ready
            | Self::Failed
            | Self::Lost
            | Self::Tombstoned
            | Self::Quarantined => true,
            Self::Trashed | Self::Gone => false,
        }
    }
}

impl fmt::Display for VolumeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an agent needs to know to make, verify and destroy a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSpec {
    /// The identity for all its life; also its place on the disk.
    pub id: VolumeId,
    /// One life of the volume: 1 at first, one more each time it is restored from trash.
    pub generation: u64,
    /// Unique among the live volumes of the role.
    pub name: VolumeName,
    /// The owner's role.
    pub role: Role,
    /// Who created it.
    pub principal: Option<Principal>,
    /// The disk it lies on.
    pub source: DiskSource,
    /// Whole MiB.
    pub size: Bytes,
    /// Who may do what in its root directory. Like the size it is no part of the identity.
    pub access: Access,
    /// Several tasks may use it at once. Said when it is made, for all its life.
    pub shared: bool,
    /// What is written to it is encrypted, by a key of its own that its agent keeps. Said when it is made, for all its life.
    pub encrypted: bool,
}

/// A change of a volume's size that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// What it was, and is again should this fail. Whole MiB.
    pub from: Bytes,
    /// What is wanted. Whole MiB.
    pub to: Bytes,
}

impl Resize {
    /// What the books hold until it is over.
    #[must_use]
    pub fn larger(&self) -> Bytes {
        self.from.max(self.to)
    }
}

/// A volume in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Identity, place and size.
    pub spec: VolumeSpec,
    /// The only machine that has it.
    pub agent: AgentId,
    /// The reservation it was cut from.
    pub stack: Stack,
    /// The default mount, which a task may override.
    pub container_path: Arc<str>,
    /// Where it stands.
    pub state: VolumeState,
    /// Why it is FAILED, LOST or QUARANTINED.
    pub error: Option<Rejection>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When the state last changed.
    pub changed: Timestamp,
    /// The framework that created it, when it was not an operator.
    pub framework: Option<FrameworkId>,
    /// The operation that last changed the intent.
    pub operation: OperationId,
    /// The disk that this operation reserved to make or grow the volume, as it was before; given back should that fail,
    /// and absent once it is done.
    pub reserved_from: Option<Box<Resource>>,
    /// The operation changes the size of this READY volume; `spec.size` is the larger size until that is over.
    pub resize: Option<Resize>,
    /// What it is made from; absent once the volume is READY.
    pub origin: Option<Box<Origin>>,
    /// An operator has said that nothing may take data from it: no DESTROY, PURGE, SHRINK or ROLLBACK until it is unprotected.
    pub protected: bool,
    /// The operation changes the access of this READY volume; this is what it was, and is again should that fail.
    pub access_before: Option<Access>,
}

impl Volume {
    /// The volume as a resource of the algebra.
    ///
    /// # Errors
    /// The size is not whole MiB (cannot happen to a volume that was accepted).
    pub fn resource(&self) -> Result<Resource, UnitError> {
        let plain = self.plain_resource()?;
        let volume = plain.with_volume(
            Persistence { name: self.spec.name.clone(), principal: self.spec.principal.clone() },
            Mount { container_path: Arc::clone(&self.container_path), mode: MountMode::ReadWrite },
        );
        Ok(Resource { shared: self.spec.shared, ..volume })
    }
    /// The reserved disk under it.
    ///
    /// # Errors
    /// As for [`Volume::resource`].
    pub fn plain_resource(&self) -> Result<Resource, UnitError> {
        let size = self.spec.size.to_scalar()?;
        Ok(Resource::disk(self.spec.source.clone(), size).with_stack(self.stack.clone()))
    }
}

/// How a volume's size is kept, as its driver reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Enforcement {
    /// By accounting only; a writer can exceed it.
    #[default]
    None,
    /// By a quota of the file system: the writer gets ENOSPC or EDQUOT.
    Quota,
    /// By the size of a file system or device of its own.
    Device,
}

impl Enforcement {
    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quota => "quota",
            Self::Device => "device",
        }
    }
}

/// What an agent says about one volume: the state in its ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeReport {
    /// Identity and place, as the agent knows them.
    pub spec: VolumeSpec,
    /// CREATING: intent synced; READY, FAILED, TRASHED, GONE: the result is synced; LOST, QUARANTINED: found
    /// at verification.
    pub state: VolumeState,
    /// The operation that brought it there.
    pub operation: Option<OperationId>,
    /// Why FAILED, LOST or QUARANTINED, or why a destroy could not be done yet.
    pub error: Option<Rejection>,
    /// Where the data lies on the agent; empty when there is none.
    pub host_path: Arc<str>,
    /// Which driver made it.
    pub driver: Arc<str>,
    /// How its size is kept.
    pub enforcement: Enforcement,
    /// Bytes in use, when measured.
    pub used: Option<Bytes>,
    /// The trashed volumes that were purged to make room for this one.
    pub purged: Vec<VolumeId>,
    /// The size it is being given; `spec.size` is what it has.
    pub resizing: Option<Bytes>,
    /// The access it is being given; `spec.access` is what it has.
    pub setting: Option<Access>,
    /// Of a GONE one: how it was wiped before that; nothing when it was not.
    pub wiped: Option<Wiped>,
    /// The operation was refused for good and has changed nothing; `error` says why.
    pub refused: bool,
    /// Why it cannot be used at the moment, whatever its state; the agent goes on trying.
    pub unavailable: Option<Rejection>,
}

/// One use of a volume by a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUse {
    /// Which volume.
    pub volume: VolumeId,
    /// In which life; the agent refuses another.
    pub generation: u64,
    /// Where and how it is mounted.
    pub mount: Mount,
}
