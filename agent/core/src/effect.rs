//! What the agent's deciding code asks its shell to do to the host, and what the shell answers.
//!
//! An effect is only asked for after its intent is synced in the ledger. Every effect is idempotent: after a
//! crash it is asked for again, and an effect that was already done answers as if it had just been done.

use berth_model::access::Access;
use berth_model::agent::Disk;
use berth_model::error::Rejection;
use berth_model::id::{ContainerId, FrameworkId, OperationId, VolumeId};
use berth_model::record::LedgerDisk;
use berth_model::snapshot::{Consistency, Freeze, SnapshotSpec};
use berth_model::task::{Check, TaskInfo};
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::{Enforcement, VolumeSpec, VolumeUse};
use berth_model::wipe::Wipe;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Something to do to a volume. The shell runs them one at a time per volume, off the deciding thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeEffect {
    /// Make sure the volume is there with its identity marker, its size limit set, everything synced. A directory
    /// that is there without being ours is an error, never adopted.
    Create {
        /// What is wanted.
        spec: VolumeSpec,
        /// Trashed volumes that may be purged for room, oldest first.
        purgeable: Vec<(VolumeSpec, Bytes)>,
    },
    /// Take the volume of generation `spec.generation - 1` out of the trash and raise its generation.
    Restore {
        /// What is wanted.
        spec: VolumeSpec,
        /// Trashed volumes that may be purged for room, oldest first.
        purgeable: Vec<(VolumeSpec, Bytes)>,
    },
    /// Give the live volume another size, in use or not; its data stays. A size below what it uses is `Failed`, and
    /// it has its old one.
    Resize {
        /// As it is in the ledger.
        spec: VolumeSpec,
        /// What it is to have.
        size: Bytes,
        /// Trashed volumes that may be purged for room, oldest first.
        purgeable: Vec<(VolumeSpec, Bytes)>,
    },
    /// Move the volume into its disk's trash, synced.
    Trash {
        /// Which.
        spec: VolumeSpec,
    },
    /// Delete the volume from the trash (never follows links, never crosses a mount), synced.
    Purge {
        /// Which.
        spec: VolumeSpec,
    },
    /// Look whether the volume in the trash can be wiped so, and measure how much that is: `Used`. Changes nothing. `Failed`
    /// when it never can, also when its deletion has begun without.
    SurveyWipe {
        /// Which.
        spec: VolumeSpec,
        /// How.
        method: Wipe,
    },
    /// Overwrite what the volume in the trash holds, synced before any name of it is gone: `Wiped`. What is left of the
    /// volume is for `Purge`. Nobody finds it for a restore from the first byte on.
    Wipe {
        /// Which.
        spec: VolumeSpec,
        /// How.
        method: Wipe,
    },
    /// Look whether the volume is there and is the one the ledger means. Changes nothing.
    Verify {
        /// Which.
        spec: VolumeSpec,
        /// Where it must be.
        place: Place,
    },
    /// Measure how much the volume uses.
    Usage {
        /// Which.
        spec: VolumeSpec,
    },
    /// Make sure that the snapshot of the live volume is there with its marker, synced.
    Snapshot {
        /// What is wanted, and of what.
        snapshot: SnapshotSpec,
        /// The task to bring to rest meanwhile.
        freeze: Option<Freezing>,
    },
    /// Make sure that these snapshots, of one volume each, are there with their markers, synced, all of one moment; or
    /// none of them.
    TakeGroup {
        /// What is wanted; the first one's volume has the effect.
        members: Vec<SnapshotSpec>,
        /// An attempt that was cut off may have left some, of another moment: they are deleted first.
        again: bool,
        /// What may not write meanwhile.
        still: StandStill,
    },
    /// Delete whatever is there of these snapshots, synced. Answered by Absent.
    EraseGroup {
        /// Which; the first one's volume has the effect.
        members: Vec<SnapshotSpec>,
    },
    /// Delete the snapshot, synced.
    EraseSnapshot {
        /// Which.
        snapshot: SnapshotSpec,
    },
    /// Look whether the snapshot is there and is the one the ledger means. Changes nothing.
    VerifySnapshot {
        /// Which.
        snapshot: SnapshotSpec,
    },
    /// Put a copy of the snapshot in the place of the live volume of generation `spec.generation - 1`, whose data goes
    /// to the trash.
    RollBack {
        /// What is wanted.
        spec: VolumeSpec,
        /// To which snapshot.
        snapshot: SnapshotSpec,
        /// The snapshot that has the content of the life that ends.
        safety: SnapshotSpec,
    },
    /// Make a volume with the content of the snapshot.
    Clone {
        /// What is wanted.
        spec: VolumeSpec,
        /// Of which snapshot.
        snapshot: SnapshotSpec,
    },
    /// Make a volume with a content from outside, everything synced and compared. A directory stays as it is. Nothing of what
    /// is not whole remains, and no trash is purged for it.
    Import {
        /// What is wanted.
        spec: VolumeSpec,
        /// Where the content comes from.
        from: Source,
    },
    /// Give the root directory of the live volume this owner and mode, in use or not, synced. `Failed`: it has the old ones.
    SetAccess {
        /// As it is in the ledger.
        spec: VolumeSpec,
        /// All of what is wanted.
        access: Access,
    },
    /// Make sure that the directory under the volume's own name, which no ledger knew, is the volume, and sync that it
    /// is there. `Failed` when it is not; it is left as it is then.
    Adopt {
        /// Which.
        spec: VolumeSpec,
    },
}

/// Where the content of a new volume comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of the machine.
    Directory {
        /// Which.
        path: Arc<str>,
    },
    /// An archive that somebody sends to the master; whatever was made of an earlier one is deleted first. `Failed` when nobody
    /// sends it.
    Stream {
        /// The operation under whose id it is sent.
        operation: OperationId,
    },
}

/// What became of the deletion of an orphan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrphanOutcome {
    /// Nothing of it is left, synced.
    Gone,
    /// It was left alone.
    Failed(Rejection),
    /// Not finished; it is to be asked for again.
    Unclear(Rejection),
}

/// A task that is brought to rest while a snapshot is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freezing {
    /// The task's run.
    pub container: ContainerId,
    /// How.
    pub freeze: Freeze,
}

/// The tasks that use the volumes of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandStill {
    /// Their runs.
    pub tasks: Vec<ContainerId>,
    /// Brings each of them to rest first.
    pub freeze: Option<Freeze>,
}

impl VolumeEffect {
    /// The volume concerned.
    #[must_use]
    pub fn spec(&self) -> &VolumeSpec {
        match self {
            Self::Create { spec, .. }
            | Self::Restore { spec, .. }
            | Self::Resize { spec, .. }
            | Self::Import { spec, .. }
            | Self::Trash { spec }
            | Self::Purge { spec }
            | Self::SurveyWipe { spec, .. }
            | Self::Wipe { spec, .. }
            | Self::Verify { spec, .. }
            | Self::Usage { spec }
            | Self::Adopt { spec }
            | Self::RollBack { spec, .. }
            | Self::Clone { spec, .. }
            | Self::SetAccess { spec, .. } => spec,
            Self::Snapshot { snapshot, .. }
            | Self::EraseSnapshot { snapshot }
            | Self::VerifySnapshot { snapshot } => &snapshot.of,
            Self::TakeGroup { members, .. } | Self::EraseGroup { members } => {
                &members.first().expect("a group has members").of
            },
        }
    }
}

/// Where a volume lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among the disk's volumes.
    Live,
    /// In the disk's trash.
    Trash,
}

/// What became of a volume effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeOutcome {
    /// It is there, synced and verified.
    Present {
        /// Where on the host.
        host_path: Arc<str>,
        /// Which driver made it.
        driver: Arc<str>,
        /// How its size is kept.
        enforcement: Enforcement,
        /// Trash that was deleted to make room.
        purged: Vec<VolumeId>,
    },
    /// The snapshots of a group are there, synced.
    Taken {
        /// Where on the host, in the order in which they were asked for.
        host_paths: Vec<Arc<str>>,
        /// By what their volumes stood still.
        consistency: Consistency,
    },
    /// It is not there.
    Absent,
    /// It uses this much.
    Used(Measured),
    /// Everything it held is overwritten, synced.
    Wiped,
    /// Something is there that does not carry the expected identity.
    Foreign(Rejection),
    /// The effect could not be done and nothing of it remains.
    Failed(Rejection),
    /// The effect could not be finished; what is on the disk is unclear until it is asked for again.
    Unclear(Rejection),
}

/// Something to do to a task's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerEffect {
    /// Start a supervisor for the task: sandbox, mounts, limits, user, command. Each volume's identity is
    /// checked on the directory handle that gets mounted, right before the start.
    Start {
        /// Names run directory, supervisor and cgroup.
        container: ContainerId,
        /// Whose task.
        framework: FrameworkId,
        /// The task.
        task: Box<TaskInfo>,
        /// Its volumes, with what must be found on the disk.
        volumes: Vec<(VolumeUse, VolumeSpec)>,
        /// Those of them that other tasks use already: they keep the owner they have.
        in_use: BTreeSet<VolumeId>,
    },
    /// Look after a container of an earlier life of this agent: answer Running or Exited.
    Adopt {
        /// Which.
        container: ContainerId,
        /// Its checks go on.
        health: Option<Check>,
        /// Its checks go on.
        readiness: Option<Check>,
    },
    /// SIGTERM, and SIGKILL after `grace`. Answered by Exited.
    Kill {
        /// Which.
        container: ContainerId,
        /// From SIGTERM to SIGKILL.
        grace: Duration,
    },
    /// The run is over and told: its sandbox may be deleted when its time has come.
    Release {
        /// Which.
        container: ContainerId,
    },
}

/// What the shell says about a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerEvent {
    /// The command runs.
    Running {
        /// Its process id.
        pid: u32,
    },
    /// It could not be started; nothing runs.
    NotStarted(Rejection),
    /// It ended.
    Exited(Exit),
    /// Result of the health check after counting failures and grace.
    Healthy(bool),
    /// Result of the readiness check after counting failures and grace.
    Ready(bool),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With a status.
    Status(i32),
    /// By a signal.
    Signal(i32),
    /// It exceeded its memory limit.
    OutOfMemory(Bytes),
    /// Its supervisor is gone without having written down how it ended.
    Unknown(String),
}

/// What became of an order about a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOutcome {
    /// It is in use.
    Added {
        /// As the master is told.
        disk: Box<Disk>,
        /// As the ledger remembers it.
        remembered: LedgerDisk,
    },
    /// It is in use no more, and nothing on it says that it was.
    Removed,
    /// It is as it was, and why.
    Failed(Rejection),
}
