//! The session between a framework and the master: calls and events.

use crate::error::Rejection;
use crate::id::{
    AgentId, FrameworkId, OfferId, OperationId, Principal, StatusId, TaskId, TransactionId,
};
use crate::offer::Offer;
use crate::operation::{OfferOperation, OperationRecord};
use crate::role::Role;
use crate::task::TaskStatus;
use crate::transaction::{PlacementResult, Transaction};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Something that a framework understands and that others are spared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Volumes that several tasks, also of other frameworks, use at once.
    SharedResources,
}

impl Capability {
    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SharedResources => "SHARED_RESOURCES",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a framework says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkInfo {
    /// For people.
    pub name: Arc<str>,
    /// The user its tasks run as unless they name one.
    pub user: Arc<str>,
    /// The roles it takes offers for.
    pub roles: BTreeSet<Role>,
    /// Who it is, for reservations and volumes.
    pub principal: Option<Principal>,
    /// How long it may be away before it is torn down; zero means at once.
    pub failover_timeout: Duration,
    /// Where its own interface listens (`http://HOST:PORT`); empty when it has none.
    pub url: Arc<str>,
    /// The host it runs on.
    pub hostname: Arc<str>,
    /// What it understands.
    pub capabilities: BTreeSet<Capability>,
}

impl FrameworkInfo {
    /// Whether it may be offered shared volumes.
    #[must_use]
    pub fn can_share(&self) -> bool {
        self.capabilities.contains(&Capability::SharedResources)
    }
}

/// How long leftovers and declined resources are not offered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    /// Zero means no filter.
    pub refuse: Duration,
}

impl Default for Filters {
    /// Five seconds, the default of Mesos.
    fn default() -> Self {
        Self { refuse: Duration::from_secs(5) }
    }
}

/// What becomes of an ACCEPT when a part of what it needs was committed to somebody else meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcceptMode {
    /// Each operation and each task stands for itself: what is still there is done, the others conflict.
    #[default]
    Incremental,
    /// All operations and all tasks, or nothing.
    AllOrNothing,
}

impl AcceptMode {
    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incremental => "INCREMENTAL",
            Self::AllOrNothing => "ALL_OR_NOTHING",
        }
    }
}

/// On which terms an ACCEPT commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How much of it.
    pub mode: AcceptMode,
    /// Only if nothing was committed on the agent since this `seq` of an offer's version; without it, whenever what is
    /// needed is there.
    pub if_seq: Option<u64>,
}

/// A call of a framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// The first call of a session. With an id the framework comes back.
    Subscribe {
        /// What it says about itself.
        info: FrameworkInfo,
        /// The id it had; a never-seen one is taken as it is.
        framework: Option<FrameworkId>,
        /// Roles for which it wants no offers now.
        suppressed: BTreeSet<Role>,
    },
    /// Use offers.
    Accept {
        /// All of one agent and role.
        offers: Vec<OfferId>,
        /// In order.
        operations: Vec<OfferOperation>,
        /// For what remains unused.
        filters: Filters,
        /// All or a part, and as of when.
        terms: Terms,
    },
    /// Take resources of agents without offers.
    Commit(Transaction),
    /// Give offers back.
    Decline {
        /// Unknown ids are ignored.
        offers: Vec<OfferId>,
        /// How long not to offer them again.
        filters: Filters,
    },
    /// Offers again, filters forgotten; empty means all roles.
    Revive(BTreeSet<Role>),
    /// No offers for now; empty means all roles.
    Suppress(BTreeSet<Role>),
    /// A status update has been taken in.
    Acknowledge {
        /// Where it came from.
        agent: AgentId,
        /// Which task.
        task: TaskId,
        /// Which update.
        status: StatusId,
    },
    /// What do you know? Empty means all of this framework's tasks.
    Reconcile(Vec<(TaskId, Option<AgentId>)>),
    /// End a task.
    Kill {
        /// Which task.
        task: TaskId,
        /// Where, when known.
        agent: Option<AgentId>,
        /// From SIGTERM to SIGKILL, instead of the task's own.
        grace: Option<Duration>,
    },
    /// Replace the roles.
    UpdateRoles(BTreeSet<Role>),
    /// Remove this framework: its tasks end, its reservations and volumes stay.
    Teardown,
}

/// An event for a framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first event.
    Subscribed {
        /// Its id from now on.
        framework: FrameworkId,
        /// The master's epoch.
        epoch: u64,
        /// How often a heartbeat is sent.
        heartbeat: Duration,
    },
    /// New offers.
    Offers(Vec<Offer>),
    /// An offer is void.
    Rescind(OfferId),
    /// What became of a task.
    Status(TaskStatus),
    /// An operation of this framework ended, or was accepted.
    Operation(OperationRecord),
    /// An agent is unreachable or gone.
    AgentLost(AgentId),
    /// The session ends; the text says why.
    Error(Rejection),
    /// Still here.
    Heartbeat,
    /// The answer to the call with this number, once what it changed is synced.
    Answered {
        /// The number the caller gave.
        call: u64,
        /// The operations it accepted, or why nothing was done.
        result: Result<Vec<OperationId>, Rejection>,
    },
    /// The answer to a COMMIT, once what it changed is synced. A COMMIT that is refused as a whole is answered as other calls are.
    Committed {
        /// The number the caller gave.
        call: u64,
        /// Which transaction.
        transaction: TransactionId,
        /// One for each placement, in the order in which they were given.
        results: Vec<PlacementResult>,
    },
}
