//! Why a framework is not offered an agent, told by the code that decides it, and what would change that.
//!
//! It knows no cluster: the master's allocator finds the first thing that left somebody out. Invariant: a reason names what it is
//! about, so that the command that would change it can be written down.

mod text;

pub use text::Fix;

use crate::id::{AgentId, FrameworkId, OfferId};
use crate::quota::Counted;
use crate::role::Role;
use crate::units::{Scalar, Timestamp};
use crate::view::AgentState;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How one agent stands to one framework in one of its roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Which agent.
    pub agent: AgentId,
    /// Its host.
    pub hostname: Arc<str>,
    /// In which role.
    pub role: Role,
    /// How it stands.
    pub verdict: Verdict,
}

/// Offered, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The framework holds an offer of it.
    Offered {
        /// Which.
        offer: OfferId,
        /// Since when.
        since: Timestamp,
    },
    /// The next look at the agent offers it; absent: nothing has happened that leads to one.
    Due(Option<Timestamp>),
    /// The first thing that left the framework out.
    LeftOut(LeftOut),
}

/// The first thing that left a framework out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub reason: Reason,
    /// What was too little after it, for anything to be offered.
    pub short: Vec<Short>,
}

/// So much is wanted, and so much is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// Of what.
    pub counted: Counted,
    /// At least.
    pub want: Scalar,
    /// There is.
    pub have: Scalar,
}

/// Why nothing is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The framework was removed.
    Removed,
    /// It has no open session.
    Disconnected,
    /// It wants no offers for the role.
    Suppressed,
    /// The agent is not connected.
    Away(AgentState),
    /// The agent is connected and not used: it declares less than is reserved on it, or its tasks use more than it has.
    Withheld(String),
    /// With a guarantee nothing is offered before four in five agents have come back after a start.
    Awaits {
        /// Not back yet.
        missing: u64,
        /// Known.
        known: u64,
    },
    /// The whole agent is too small.
    Small,
    /// It is reserved for roles whose resources this one may not use.
    Reserved(BTreeSet<Role>),
    /// Tasks and volumes have it.
    Used,
    /// Others are offered it for themselves.
    Offered(BTreeSet<FrameworkId>),
    /// What is left lies on disks of which nothing is given away.
    Disks(BTreeSet<Arc<str>>),
    /// Only shared volumes are left, which the framework does not understand or is offered already.
    Shared,
    /// It is kept for another role for a while, whose task used it.
    Kept {
        /// Which.
        role: Role,
        /// How long.
        until: Timestamp,
    },
    /// Others hold it optimistically, and this framework would have it for itself.
    Held(BTreeSet<FrameworkId>),
    /// The limit of the top-level role.
    Limit {
        /// Which.
        role: Role,
        /// Of what.
        counted: Counted,
        /// How much it has.
        has: Scalar,
        /// How much it may have.
        limit: Scalar,
    },
    /// What is free is kept for the guarantees of other roles.
    Headroom {
        /// Of what.
        counted: Counted,
        /// Free on all agents.
        free: Scalar,
        /// What guarantees still lack.
        required: Scalar,
        /// Whose.
        roles: BTreeSet<Role>,
    },
    /// As many frameworks hold it as may at once, or it is not this one's turn yet.
    FanOut(BTreeSet<FrameworkId>),
    /// The framework declined it.
    Filter {
        /// Not offered again before, unless it grows.
        until: Timestamp,
    },
    /// The next look gives it to these, who come first by share.
    Turn(BTreeSet<FrameworkId>),
}

impl Reason {
    /// One word for programs; it never changes its meaning.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Removed => "REMOVED",
            Self::Disconnected => "DISCONNECTED",
            Self::Suppressed => "SUPPRESSED",
            Self::Away(_) => "AGENT_AWAY",
            Self::Withheld(_) => "AGENT_WITHHELD",
            Self::Awaits { .. } => "AWAITS_AGENTS",
            Self::Small => "AGENT_SMALL",
            Self::Reserved(_) => "RESERVED",
            Self::Used => "USED",
            Self::Offered(_) => "OFFERED_TO_OTHERS",
            Self::Disks(_) => "DISKS_WITHHELD",
            Self::Shared => "SHARED_VOLUMES",
            Self::Kept { .. } => "KEPT_FOR_ROLE",
            Self::Held(_) => "HELD_BY_OTHERS",
            Self::Limit { .. } => "QUOTA_LIMIT",
            Self::Headroom { .. } => "QUOTA_HEADROOM",
            Self::FanOut(_) => "FAN_OUT",
            Self::Filter { .. } => "FILTER",
            Self::Turn(_) => "TURN",
        }
    }
}
