//! The messages between an agent and the master, over one ordered stream that the agent dials.

use crate::access::Access;
use crate::agent::{AgentInfo, Disk};
use crate::declaration::DiskOrder;
use crate::error::Rejection;
use crate::id::{
    ClusterId, ContainerId, FrameworkId, GroupId, OperationId, SessionId, SnapshotId, StatusId,
    TaskId, TransferId, VolumeId,
};
use crate::orphan::OrphanOrder;
use crate::resources::Resources;
use crate::snapshot::{Freeze, Origin, SnapshotReport, SnapshotSpec};
use crate::task::{TaskInfo, TaskStatus};
use crate::transfer::{Progress, TransferOrder};
use crate::units::Bytes;
use crate::usage::Measured;
use crate::volume::{VolumeReport, VolumeSpec, VolumeUse};
use crate::wipe::Wipe;
use std::time::Duration;

/// The first message of an agent: everything it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Who it is and what it has.
    pub info: AgentInfo,
    /// One connection; minted anew for each.
    pub session: SessionId,
    /// The cluster it belongs to; absent before its first contact.
    pub cluster: Option<ClusterId>,
    /// The highest epoch it has stored.
    pub epoch: u64,
    /// The highest registry revision it has stored; a registry below it was rolled back.
    pub revision: u64,
    /// The last sequence number of its ledger; below what the master was told, the ledger was rolled back.
    pub ledger_seq: u64,
    /// Every volume in its ledger that is not GONE, or that was wiped before that.
    pub volumes: Vec<VolumeReport>,
    /// Every task it runs, and every ended one whose last update is not acknowledged.
    pub tasks: Vec<TaskReport>,
    /// Every snapshot in its ledger, deleted ones until the master has said that it knows.
    pub snapshots: Vec<SnapshotReport>,
}

/// One task of an agent, at registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReport {
    /// Its latest status.
    pub status: TaskStatus,
    /// What it uses.
    pub resources: Resources,
    /// The volumes it uses.
    pub volumes: Vec<VolumeId>,
    /// Its name.
    pub name: String,
    /// Its run.
    pub container: ContainerId,
}

/// From agent to master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromAgent {
    /// First message of a connection.
    Register(Box<Registration>),
    /// A volume's state in the ledger, synced before it is sent.
    Volume {
        /// The ledger's sequence number after that sync.
        ledger_seq: u64,
        /// The state.
        report: VolumeReport,
    },
    /// A task's status; repeated until acknowledged when it has an id.
    Status(TaskStatus),
    /// Disks changed (health, free space).
    Disks(Vec<Disk>),
    /// Measured use of volumes.
    Usage(Vec<(VolumeId, Measured)>),
    /// Part of a file, or why it cannot be read.
    FileData {
        /// The number of the read.
        read: u64,
        /// Where `data` begins; the file may have been rotated past the wanted offset.
        offset: u64,
        /// The bytes; empty at the end of the file.
        data: Result<Vec<u8>, Rejection>,
    },
    /// Still here.
    Heartbeat {
        /// The ledger's sequence number.
        ledger_seq: u64,
    },
    /// A snapshot's state in the ledger, synced before it is sent.
    Snapshot {
        /// The ledger's sequence number after that sync.
        ledger_seq: u64,
        /// The state.
        report: SnapshotReport,
    },
    /// The deletion of an orphan has ended, synced before it is sent.
    OrphanPurged {
        /// The ledger's sequence number after that sync.
        ledger_seq: u64,
        /// On whose behalf.
        operation: OperationId,
        /// Nothing of it is left, or why it was left alone.
        result: Result<(), Rejection>,
    },
    /// How far volumes are that get their content from outside.
    Progress(Vec<(VolumeId, Progress)>),
    /// The agent declares something else than before; synced before it is sent.
    Declared(Box<AgentInfo>),
    /// An order about a disk has ended, synced before it is sent.
    DiskOrdered {
        /// The ledger's sequence number after that sync.
        ledger_seq: u64,
        /// On whose behalf.
        operation: OperationId,
        /// It is done, or why not.
        result: Result<(), Rejection>,
    },
}

/// From master to agent. Everything carries the epoch; an agent refuses a lower one than it has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The sender's cluster.
    pub cluster: ClusterId,
    /// The sender's term.
    pub epoch: u64,
    /// The registry's revision when this was sent.
    pub revision: u64,
    /// What is said.
    pub message: ToAgent,
}

/// The body of an [`Envelope`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToAgent {
    /// The registration was taken in.
    Registered {
        /// How often each side sends a heartbeat.
        heartbeat: Duration,
    },
    /// The registration was refused; the connection ends.
    Refused(Rejection),
    /// Make sure the volume is there: create it, or (`restore`) take it out of the trash.
    EnsureVolume {
        /// What is wanted.
        spec: VolumeSpec,
        /// On whose behalf.
        operation: OperationId,
        /// It lies in the trash under the generation before `spec.generation`.
        restore: bool,
    },
    /// Give it another size, in use or not.
    ResizeVolume {
        /// Which.
        volume: VolumeId,
        /// In which life.
        generation: u64,
        /// Whole MiB.
        size: Bytes,
        /// On whose behalf.
        operation: OperationId,
    },
    /// Move it to the trash.
    DestroyVolume {
        /// Which.
        volume: VolumeId,
        /// In which life.
        generation: u64,
        /// On whose behalf.
        operation: OperationId,
    },
    /// Delete it from the trash.
    PurgeVolume {
        /// Which.
        volume: VolumeId,
        /// In which life.
        generation: u64,
        /// On whose behalf.
        operation: OperationId,
        /// What becomes of its blocks; as the agent is configured when absent.
        wipe: Option<Wipe>,
    },
    /// Forget a volume that failed, was lost, or is gone, once the registry has.
    ForgetVolume {
        /// Which.
        volume: VolumeId,
        /// In which life.
        generation: u64,
    },
    /// Start a task.
    Launch {
        /// Whose.
        framework: FrameworkId,
        /// What.
        task: Box<TaskInfo>,
        /// The volumes among its resources.
        volumes: Vec<VolumeUse>,
    },
    /// End a task.
    Kill {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        task: TaskId,
        /// From SIGTERM to SIGKILL, instead of the task's own.
        grace: Option<Duration>,
    },
    /// The framework has taken in a status.
    Acknowledge {
        /// Whose.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which update.
        status: StatusId,
    },
    /// Read a task's output.
    ReadFile {
        /// Names the answer.
        read: u64,
        /// Whose.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which output.
        stream: OutputStream,
        /// From where, counted from the first byte ever written.
        offset: u64,
        /// At most this many bytes.
        length: u32,
    },
    /// Still here.
    Heartbeat,
    /// Make sure the snapshot is taken.
    EnsureSnapshot {
        /// What is wanted.
        spec: SnapshotSpec,
        /// On whose behalf.
        operation: OperationId,
        /// How the task that uses the volume brings it to rest.
        freeze: Option<Freeze>,
    },
    /// Make sure that the snapshots of a group are taken, at one moment, all of them or none.
    EnsureGroup {
        /// Which group.
        group: GroupId,
        /// What is wanted, of one volume each.
        members: Vec<SnapshotSpec>,
        /// On whose behalf.
        operation: OperationId,
        /// How the tasks that use the volumes bring them to rest.
        freeze: Option<Freeze>,
    },
    /// Delete the snapshot for good.
    DeleteSnapshot {
        /// Which.
        spec: SnapshotSpec,
        /// On whose behalf.
        operation: OperationId,
    },
    /// Forget a snapshot that failed, was lost, or is gone, once the registry has.
    ForgetSnapshot {
        /// Which.
        snapshot: SnapshotId,
    },
    /// Make sure the volume is there with the content of a snapshot.
    DeriveVolume {
        /// What is wanted.
        spec: VolumeSpec,
        /// On whose behalf.
        operation: OperationId,
        /// Where the content comes from.
        origin: Box<Origin>,
    },
    /// Give its root directory this owner and mode, in use or not.
    SetAccess {
        /// Which.
        volume: VolumeId,
        /// In which life.
        generation: u64,
        /// All that is said of it.
        access: Access,
        /// On whose behalf.
        operation: OperationId,
    },
    /// Look again whether the data of a LOST volume has come back.
    VerifyVolume {
        /// Which.
        volume: VolumeId,
        /// In which life.
        generation: u64,
        /// On whose behalf.
        operation: OperationId,
    },
    /// Delete a directory that the ledger does not explain, for good.
    PurgeOrphan {
        /// On whose behalf.
        operation: OperationId,
        /// What.
        order: Box<OrphanOrder>,
    },
    /// Dial another stream for this exchange of data. Nothing changes by it.
    Transfer {
        /// Names it.
        transfer: TransferId,
        /// What is wanted.
        order: TransferOrder,
    },
    /// Forget such a deletion, once the registry knows how it ended.
    ForgetOrphan {
        /// On whose behalf it was.
        operation: OperationId,
    },
    /// Use one more disk, or one less.
    OrderDisk {
        /// On whose behalf.
        operation: OperationId,
        /// What.
        order: Box<DiskOrder>,
    },
    /// Forget such an order, once the registry knows how it ended.
    ForgetDiskOrder {
        /// On whose behalf it was.
        operation: OperationId,
    },
    /// Would such an order be carried out? Answered as a read is: with what was found, a line each, or with why not.
    TryDisk {
        /// Names the answer.
        read: u64,
        /// What.
        order: Box<DiskOrder>,
    },
}

/// Which output of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
