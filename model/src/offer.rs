//! Offers: resources of one agent shown to one framework for one of its roles.
//!
//! An offer has two parts. What is *exclusive* in it nobody else is offered meanwhile. What is *optimistic* others may be
//! offered too; whoever commits first has it.

use crate::id::{AgentId, FrameworkId, OfferId};
use crate::resources::Resources;
use crate::role::Role;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One offer. Valid only in its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Names the epoch too.
    pub id: OfferId,
    /// To whom.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: Role,
    /// Whose resources.
    pub agent: AgentId,
    /// The agent's host.
    pub hostname: Arc<str>,
    /// The agent's attributes.
    pub attributes: Arc<BTreeMap<String, String>>,
    /// What is offered; no allocation role inside, `role` above holds for all.
    pub resources: Resources,
    /// The agent's change counter when the offer was made; with the epoch it names a state of its books.
    pub seq: u64,
    /// The part of `resources` that other frameworks may be offered at the same time. Empty with a fan-out of one.
    pub optimistic: Resources,
    /// The state of the agent that the offer shows.
    pub version: Version,
}

impl Offer {
    /// The part that nobody else is offered.
    #[must_use]
    pub fn exclusive(&self) -> Cow<'_, Resources> {
        if self.optimistic.is_empty() {
            Cow::Borrowed(&self.resources)
        } else {
            Cow::Owned(self.resources.minus(&self.optimistic))
        }
    }
    /// True when others may hold some of it too.
    #[must_use]
    pub fn is_optimistic(&self) -> bool {
        !self.optimistic.is_empty()
    }
}

/// A state of an agent's resources: what is committed, and what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The master's term.
    pub epoch: u64,
    /// Counts committed changes: launches, ends, reservations, volumes, a new declaration. Offers that are made, declined or
    /// rescinded do not count. Begins anew in each epoch.
    pub seq: u64,
}
