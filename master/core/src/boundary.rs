//! The values that cross the core's edge: what happens to it, and what it wants done.

use berth_model::audit::Said;
use berth_model::error::Rejection;
use berth_model::framework::{Call, Event};
use berth_model::id::{AgentId, FrameworkId, OperationId, SessionId, TaskId, TransferId};
use berth_model::link::{FromAgent, OutputStream, ToAgent};
use berth_model::operator::Request;
use berth_model::record::RegistryWrite;
use berth_model::transfer::TransferWish;
use berth_model::view::Change;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A message of an agent.
    Agent {
        /// Who it says it is.
        agent: AgentId,
        /// The connection it came over.
        session: SessionId,
        /// What it says.
        message: FromAgent,
    },
    /// An agent's connection ended.
    AgentDisconnected {
        /// Whose.
        agent: AgentId,
        /// Which connection.
        session: SessionId,
    },
    /// A call of a framework.
    Framework {
        /// The connection it came over.
        session: SessionId,
        /// Who it is; absent before SUBSCRIBE.
        framework: Option<FrameworkId>,
        /// The caller's number, given back in the answer.
        call: u64,
        /// Of the whole call.
        fingerprint: u64,
        /// The call.
        body: Call,
    },
    /// A framework's connection ended.
    FrameworkDisconnected {
        /// Whose.
        framework: FrameworkId,
        /// Which connection.
        session: SessionId,
    },
    /// A state-changing call of an operator.
    Operator {
        /// Names the answer.
        reply: u64,
        /// Names the operation, so that a retry is safe.
        operation: OperationId,
        /// Tells a retry from another request under the same id.
        fingerprint: u64,
        /// What is wanted.
        request: Request,
        /// By whom and why.
        said: Said,
    },
    /// What an operator means to ask for was looked at beforehand, and is refused: for the audit log.
    Refused {
        /// Names the operation that does not come to be.
        operation: OperationId,
        /// What was wanted.
        request: Request,
        /// By whom and why.
        said: Said,
        /// Why not.
        error: Rejection,
    },
    /// Somebody wants to read a task's output.
    ReadFile {
        /// Names the answer.
        read: u64,
        /// Whose task.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which output.
        stream: OutputStream,
        /// From where.
        offset: u64,
        /// At most this many bytes.
        length: u32,
    },
    /// Somebody wants an agent to dial another stream.
    Transfer {
        /// Names it.
        transfer: TransferId,
        /// What for.
        wish: TransferWish,
    },
    /// Nothing more is sent for this operation EXPORT.
    ExportEnded {
        /// Which.
        operation: OperationId,
        /// What was sent, for its notes, or why not all of it.
        result: Result<String, Rejection>,
    },
    /// Somebody wants to know what an order about an agent's disks would find; answered as a read is.
    TryDisk {
        /// Names the answer.
        read: u64,
        /// ADD_DISK or REMOVE_DISK.
        request: Request,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done once the step's writes are synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message; the shell adds cluster, epoch and revision.
    ToAgent {
        /// To whom.
        agent: AgentId,
        /// Over which connection.
        session: SessionId,
        /// What.
        message: ToAgent,
    },
    /// End an agent's connection, after what was sent over it.
    CloseAgent {
        /// Whose.
        agent: AgentId,
        /// Which connection.
        session: SessionId,
    },
    /// Send an event.
    ToFramework {
        /// To whom.
        framework: FrameworkId,
        /// Over which connection.
        session: SessionId,
        /// What.
        event: Event,
    },
    /// End a framework's connection: the last event on it is [`Event::Error`] with this reason, and
    /// the shell sends it, since a refused subscriber has no framework id yet.
    CloseFramework {
        /// Which connection.
        session: SessionId,
        /// Why.
        reason: Rejection,
    },
    /// Answer an operator: the operation is accepted. Its end is announced as a change.
    Reply {
        /// The number of the call.
        reply: u64,
        /// The operation, or why nothing was done.
        result: Result<OperationId, Rejection>,
    },
    /// Answer a read.
    FileData {
        /// The number of the read.
        read: u64,
        /// Where the bytes begin.
        offset: u64,
        /// The bytes, or why there are none.
        data: Result<Vec<u8>, Rejection>,
    },
    /// No agent was asked to dial for this transfer.
    TransferRefused {
        /// Which.
        transfer: TransferId,
        /// Why.
        reason: Rejection,
    },
    /// Tell watchers.
    Changed(Change),
}

/// What one input leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// One atomic batch for the registry.
    pub writes: Vec<RegistryWrite>,
    /// May leave only after the writes are synced, in this order.
    pub outputs: Vec<Output>,
}

/// Why a registry cannot be taken up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// It belongs to another installation.
    #[error("registry belongs to cluster {found}, not {wanted}: check the work directory")]
    WrongCluster {
        /// In the registry.
        found: berth_model::id::ClusterId,
        /// In the configuration.
        wanted: berth_model::id::ClusterId,
    },
    /// The new term is not above the stored one.
    #[error(
        "registry has epoch {stored}, the new term {wanted} is not above it: another master may be running"
    )]
    Epoch {
        /// In the registry.
        stored: u64,
        /// In the configuration.
        wanted: u64,
    },
    /// Records, but none that names the cluster.
    #[error(
        "registry has {records} records but no cluster record: it is damaged, restore a backup"
    )]
    NoMeta {
        /// How many there are.
        records: usize,
    },
    /// A record that no sequence of operations can have led to.
    #[error(
        "registry record of {object} does not fit the others ({detail}): it is damaged, restore a backup"
    )]
    Inconsistent {
        /// What the record is about.
        object: String,
        /// What does not fit.
        detail: String,
    },
}
