//! Transactions: operations on several agents at once, without offers.
//!
//! A transaction has an id that its framework chooses, so that a repeated COMMIT cannot act twice. It consists of placements,
//! each of one agent; the answer says of each what became of it.

use crate::error::Rejection;
use crate::framework::AcceptMode;
use crate::id::{AgentId, FrameworkId, OperationId, TransactionId, fingerprint};
use crate::operation::OfferOperation;
use crate::role::Role;
use crate::units::Timestamp;

/// How many placements a transaction may have.
pub const PLACEMENTS_MAX: usize = 1_000;

/// What a COMMIT asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Names it for repetition; an id of its framework's own.
    pub id: TransactionId,
    /// What goes where.
    pub placements: Vec<Placement>,
    /// A part of it, or all or nothing.
    pub mode: AcceptMode,
}

/// The part of a transaction that concerns one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Whose resources.
    pub agent: AgentId,
    /// The master's term in which the caller looked at the agent.
    pub epoch: u64,
    /// Only if nothing was committed on the agent since this `seq`; without it, whenever what is needed is there.
    pub if_seq: Option<u64>,
    /// For which of the framework's roles; may be left out by a framework with one.
    pub role: Option<Role>,
    /// In order.
    pub operations: Vec<OfferOperation>,
}

impl Transaction {
    /// Tells one transaction from another under the same id: the whole text of what it does.
    #[must_use]
    pub fn mark(&self) -> u64 {
        let Self { id: _, placements, mode } = self;
        fingerprint(format!("{mode:?} {placements:?}").as_bytes())
    }
    /// The ids of its operations, in order.
    pub fn operations(&self) -> impl Iterator<Item = OperationId> {
        self.placements.iter().flat_map(|placement| &placement.operations).map(|o| o.id)
    }
}

/// In which way a placement came too late or does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConflictKind {
    /// Unreserved resources that it needs are not free.
    Resources,
    /// Its role would have more than a limit.
    Quota,
    /// Too little would be left for what others are guaranteed.
    Headroom,
    /// The epoch is over, or the agent has changed since `if_seq`.
    Stale,
    /// It needs reserved resources or a volume that are in use, held exclusively, or somebody else's.
    Reserved,
}

impl ConflictKind {
    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resources => "RESOURCES",
            Self::Quota => "QUOTA",
            Self::Headroom => "HEADROOM",
            Self::Stale => "STALE",
            Self::Reserved => "RESERVED",
        }
    }
}

/// What became of a placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is committed.
    Done,
    /// Not all of it is: what it needs is not there. With INCREMENTAL its other operations are committed.
    Conflict {
        /// In which way.
        kind: ConflictKind,
        /// In words.
        error: Rejection,
    },
    /// Not all of it is, since it asks for something that is refused whatever is free. With INCREMENTAL its other operations
    /// are committed.
    Refused(Rejection),
    /// It could have been committed, and nothing of it is, because another placement could not: all or nothing was asked for.
    NotDone,
}

impl Outcome {
    /// True when all of the placement is committed.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
    /// Why not.
    #[must_use]
    pub const fn error(&self) -> Option<&Rejection> {
        match self {
            Self::Done | Self::NotDone => None,
            Self::Conflict { error, .. } | Self::Refused(error) => Some(error),
        }
    }
}

/// The answer to one placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementResult {
    /// Whose resources.
    pub agent: AgentId,
    /// The agent's `seq` after the transaction; 0 when there is no such agent.
    pub seq: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// The answer to a transaction, as it is recorded to be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRecord {
    /// Whose.
    pub framework: FrameworkId,
    /// Which.
    pub id: TransactionId,
    /// Recognises another transaction under the same id.
    pub fingerprint: u64,
    /// When it was decided.
    pub decided: Timestamp,
    /// One for each placement, in the order in which they were given.
    pub results: Vec<PlacementResult>,
}
