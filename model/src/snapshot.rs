//! Snapshots of volumes as the registry and the agents' ledgers know them.
//!
//! A snapshot is an object of its own, not a state of its volume: it has an id, a name that is unique among the
//! volume's snapshots, and it says in which life and at which size it was taken. It dies with its volume's PURGE or by a
//! DELETE_SNAPSHOT, never otherwise.

use crate::error::Rejection;
use crate::id::{AgentId, GroupId, OperationId, Principal, SnapshotId, SnapshotName};
use crate::task::Program;
use crate::transfer::Import;
use crate::units::Timestamp;
use crate::volume::VolumeSpec;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a snapshot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SnapshotState {
    /// Intended, not yet durable on the agent.
    Creating,
    /// Durable on both sides.
    Ready,
    /// The agent could not take it; nothing of it lies on the disk.
    Failed,
    /// It is not where it must be. Never taken anew.
    Lost,
    /// To be deleted; the agent has not confirmed yet.
    Deleting,
    /// Deleted from the disk.
    Gone,
    /// Something lies there that the records do not explain; kept, never used, never deleted.
    Quarantined,
}

impl SnapshotState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Creating,
        Self::Ready,
        Self::Failed,
        Self::Lost,
        Self::Deleting,
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
            Self::Deleting => "DELETING",
            Self::Gone => "GONE",
            Self::Quarantined => "QUARANTINED",
        }
    }

    /// True while no other snapshot of the volume may have the name.
    #[must_use]
    pub const fn holds_name(self) -> bool {
        match self {
            Self::Creating | Self::Ready | Self::Lost | Self::Deleting | Self::Quarantined => true,
            Self::Failed | Self::Gone => false,
        }
    }
}

impl fmt::Display for SnapshotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an agent needs to know to take, verify, use and delete a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSpec {
    /// The identity for all its life; also its place on the disk.
    pub id: SnapshotId,
    /// Unique among the volume's snapshots.
    pub name: SnapshotName,
    /// The volume as it was when the snapshot was taken: its life, size and disk.
    pub of: VolumeSpec,
}

/// A program of the task that uses the volume: it brings the data to rest, says so by a line on its standard
/// output, stays until its standard input ends, and lets go then.
///
/// One program and not two, because its end is the release: an agent that dies closes its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Run in the container, as the task's user.
    pub program: Program,
    /// Without its line in this time the snapshot is not taken. The same again is its time to end.
    pub timeout: Duration,
}

/// By what the volumes of a group stood still while their snapshots were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Consistency {
    /// No task used any of them.
    Unused,
    /// The freeze command held every task that used one.
    Program,
    /// The kernel let none of these tasks run: what they had written is there, but they did not know.
    Frozen,
}

impl Consistency {
    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Program => "program",
            Self::Frozen => "frozen",
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The group that a snapshot belongs to: all of it is taken, at one moment, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The same for all of them.
    pub id: GroupId,
    /// By what their volumes stood still; absent until they are taken.
    pub consistency: Option<Consistency>,
}

/// A snapshot in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Identity, and of what.
    pub spec: SnapshotSpec,
    /// The only machine that has it.
    pub agent: AgentId,
    /// Where it stands.
    pub state: SnapshotState,
    /// Neither it nor its volume is deleted while somebody holds it.
    pub held: bool,
    /// How its volume is brought to rest, when it is.
    pub freeze: Option<Freeze>,
    /// Why it is FAILED, LOST or QUARANTINED.
    pub error: Option<Rejection>,
    /// Who asked for it.
    pub principal: Option<Principal>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When the state last changed.
    pub changed: Timestamp,
    /// The operation that last changed the intent.
    pub operation: OperationId,
    /// The time of the volume's schedule that it was taken for; absent when somebody asked for it.
    pub scheduled: Option<Timestamp>,
    /// With which others it was taken.
    pub group: Option<Group>,
}

/// What an agent says about one snapshot: the state in its ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Identity, and of what, as the agent knows it.
    pub spec: SnapshotSpec,
    /// CREATING and DELETING: the intent is synced; READY, FAILED, GONE: the result is; LOST, QUARANTINED: found
    /// at verification.
    pub state: SnapshotState,
    /// The operation that brought it there.
    pub operation: Option<OperationId>,
    /// Why FAILED, LOST or QUARANTINED, or why it could not be taken or deleted yet.
    pub error: Option<Rejection>,
    /// Where it lies on the agent; empty when that is not known.
    pub host_path: Arc<str>,
    /// With which others it was taken, as the agent knows it.
    pub group: Option<Group>,
}

/// Where the content of a volume that is being made comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A new volume with the content of a snapshot of another.
    Clone {
        /// Of which snapshot.
        snapshot: SnapshotSpec,
    },
    /// The volume's own next life, with the content of one of its snapshots.
    RollBack {
        /// To which snapshot.
        snapshot: SnapshotSpec,
        /// Takes the content of the life that ends, before anything else is done.
        safety: SnapshotSpec,
    },
    /// What lies under the volume's own name on the disk, with its identity, and that no ledger explains.
    Orphan,
    /// A copy of a directory of the agent's machine.
    Directory {
        /// Which directory.
        path: Arc<str>,
    },
    /// What an export has of a volume, as it is sent under the id of the operation.
    Stream,
}

impl From<&Import> for Origin {
    fn from(import: &Import) -> Self {
        match import {
            Import::Directory { path } => Self::Directory { path: Arc::clone(path) },
            Import::Stream => Self::Stream,
        }
    }
}

impl Origin {
    /// The snapshot whose content the volume gets, when it is made from one.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&SnapshotSpec> {
        match self {
            Self::Clone { snapshot } | Self::RollBack { snapshot, .. } => Some(snapshot),
            Self::Orphan | Self::Directory { .. } | Self::Stream => None,
        }
    }
    /// True when the content comes from outside and takes time to copy.
    #[must_use]
    pub const fn is_import(&self) -> bool {
        match self {
            Self::Clone { .. } | Self::RollBack { .. } | Self::Orphan => false,
            Self::Directory { .. } | Self::Stream => true,
        }
    }
    /// True when the volume has an earlier life that it goes back to should this fail.
    #[must_use]
    pub const fn is_roll_back(&self) -> bool {
        match self {
            Self::Clone { .. } | Self::Orphan | Self::Directory { .. } | Self::Stream => false,
            Self::RollBack { .. } => true,
        }
    }
}
