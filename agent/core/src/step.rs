//! What goes into the deciding code and what comes out.

use crate::effect::{
    ContainerEffect, ContainerEvent, DiskOutcome, OrphanOutcome, VolumeEffect, VolumeOutcome,
};
use berth_model::agent::Disk;
use berth_model::declaration::DiskOrder;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{ContainerId, OperationId, SessionId, TransferId, VolumeId};
use berth_model::link::{Envelope, FromAgent, OutputStream};
use berth_model::orphan::OrphanOrder;
use berth_model::record::{LedgerDisk, LedgerRecord};
use berth_model::resources::DiskSource;
use berth_model::transfer::{Progress, TransferOrder};
use berth_model::volume::VolumeState;
use berth_model::wipe::Wipe;
use std::collections::BTreeSet;
use std::time::Duration;

/// Times and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a destroyed volume can be restored.
    pub trash_retention: Duration,
    /// How trash is wiped when nobody says how.
    pub purge_wipe: Wipe,
    /// First pause before an unacknowledged status is repeated; doubles each time.
    pub status_retry: Duration,
    /// Longest pause between repetitions of a status.
    pub status_retry_max: Duration,
    /// First pause before a failed effect is asked for again; doubles each time.
    pub effect_retry: Duration,
    /// Longest pause between attempts of an effect.
    pub effect_retry_max: Duration,
    /// How often each volume is measured.
    pub usage_every: Duration,
    /// Pause between two measurements, so that they do not load the disks.
    pub usage_pause: Duration,
    /// How long a registration waits for the first verification of all volumes.
    pub verify_wait: Duration,
    /// How long an answer to a registration may take.
    pub register_wait: Duration,
    /// A master that is silent for so many heartbeats is given up.
    pub silence_heartbeats: u32,
    /// A registry revision is written down at the latest when it grew by this much.
    pub revision_stride: u64,
    /// How many trashed volumes one CREATE may purge.
    pub purge_max: usize,
    /// The disks that the agent's own settings name: no order takes one of them away.
    pub configured: BTreeSet<DiskSource>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            trash_retention: Duration::from_hours(24),
            purge_wipe: Wipe::None,
            status_retry: Duration::from_secs(10),
            status_retry_max: Duration::from_mins(10),
            effect_retry: Duration::from_secs(1),
            effect_retry_max: Duration::from_mins(1),
            usage_every: Duration::from_mins(5),
            usage_pause: Duration::from_secs(1),
            verify_wait: Duration::from_secs(10),
            register_wait: Duration::from_secs(30),
            silence_heartbeats: 4,
            revision_stride: 1_000,
            purge_max: 128,
            configured: BTreeSet::new(),
        }
    }
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A stream to the master is open.
    Connected {
        /// Minted for this connection.
        session: SessionId,
    },
    /// The stream is closed.
    Disconnected,
    /// The master said something.
    Master(Envelope),
    /// A volume effect is over.
    Volume {
        /// Which volume.
        volume: VolumeId,
        /// The effect's number, from [`Output::Volume`].
        token: u64,
        /// What became of it.
        outcome: VolumeOutcome,
    },
    /// Something happened to a container.
    Container {
        /// Which.
        container: ContainerId,
        /// What.
        event: ContainerEvent,
    },
    /// The disks as they are now.
    Disks(Vec<Disk>),
    /// Disks in use, to be remembered.
    DisksAdopted(Vec<LedgerDisk>),
    /// The answer to [`Output::ReadFile`] or [`Output::TryDisk`].
    FileData {
        /// Names the read.
        read: u64,
        /// Where the data begins.
        offset: u64,
        /// The bytes, or why there are none.
        data: Result<Vec<u8>, Rejection>,
    },
    /// The deletion of an orphan is over.
    OrphanPurged {
        /// On whose behalf, from [`Output::PurgeOrphan`].
        operation: OperationId,
        /// What became of it.
        outcome: OrphanOutcome,
    },
    /// How far the volumes are that get their content from outside.
    Progress(Vec<(VolumeId, Progress)>),
    /// An order about a disk was carried out, or not.
    DiskOrdered {
        /// On whose behalf, from [`Output::OrderDisk`].
        operation: OperationId,
        /// What became of it.
        outcome: DiskOutcome,
    },
    /// Time has passed; due at [`crate::Agent::next_deadline`].
    Tick,
    /// The process is asked to end.
    Shutdown {
        /// End the tasks first; otherwise they go on and are adopted by the next start.
        kill_tasks: bool,
    },
}

/// Something for the shell to do, after this step's records are synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send over the current stream. The shell fills in the ledger's position with [`crate::stamp`].
    Send(FromAgent),
    /// Close the current stream.
    Disconnect {
        /// Why.
        reason: Rejection,
    },
    /// Carry out a volume effect. At most one is under way per volume, those being purged included.
    Volume {
        /// Comes back with the outcome.
        token: u64,
        /// What to do.
        effect: VolumeEffect,
    },
    /// Carry out a container effect. `Start` and `Adopt` are answered before anything else is asked of the container.
    Container(ContainerEffect),
    /// Read a part of a task's output.
    ReadFile {
        /// Names the answer.
        read: u64,
        /// Whose output.
        container: ContainerId,
        /// Which.
        stream: OutputStream,
        /// From where.
        offset: u64,
        /// At most this many bytes.
        length: u32,
    },
    /// Delete a directory that the ledger does not explain: what its marker says is compared first, no link is followed
    /// and no mount entered. One at a time.
    PurgeOrphan {
        /// Comes back with the outcome.
        operation: OperationId,
        /// What.
        order: Box<OrphanOrder>,
    },
    /// Dial another stream to the master and do over it what was asked for. It is not answered, and changes nothing.
    Transfer {
        /// Names it.
        transfer: TransferId,
        /// What is wanted.
        order: TransferOrder,
    },
    /// Dial another stream to the master and say over it why there is nothing.
    RefuseTransfer {
        /// Names it.
        transfer: TransferId,
        /// Why.
        reason: Rejection,
    },
    /// Use one more disk, or one less. One at a time; asked again it completes what was begun.
    OrderDisk {
        /// Comes back with the outcome.
        operation: OperationId,
        /// What.
        order: Box<DiskOrder>,
    },
    /// Look what such an order would find; changes nothing. Answered with a line of text for each fact.
    TryDisk {
        /// Names the answer.
        read: u64,
        /// What.
        order: Box<DiskOrder>,
    },
    /// A line for the log.
    Log {
        /// Who must act.
        severity: Severity,
        /// What happened.
        message: String,
    },
    /// The process may end.
    Stopped,
}

/// Who must act on a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nobody.
    Info,
    /// Somebody, some day.
    Warning,
    /// Somebody, now.
    Error,
}

impl Severity {
    /// Of a volume that came to this state. What whoever asked for it got wrong is told to them, and nobody at the machine
    /// has to act.
    pub(crate) const fn of(state: VolumeState, error: &Rejection) -> Self {
        match (state, error.code) {
            (VolumeState::Failed, ErrorCode::InvalidArgument | ErrorCode::Unsupported) => {
                Self::Warning
            },
            _fault => Self::Error,
        }
    }
}

/// What one input leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To be appended to the ledger and synced.
    pub records: Vec<LedgerRecord>,
    /// To be carried out after that, in order.
    pub outputs: Vec<Output>,
}
