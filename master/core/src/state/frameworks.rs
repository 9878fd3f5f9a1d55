//! One framework, and the refusals it gave.

use super::Races;
use berth_model::explain::Reason;
use berth_model::id::{AgentId, FrameworkId, OfferId, SessionId};
use berth_model::record::FrameworkRecord;
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::task::TaskKey;
use berth_model::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// A framework in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Framework {
    pub(crate) record: FrameworkRecord,
    /// The open session.
    pub(crate) session: Option<SessionId>,
    /// Roles for which it wants no offers.
    pub(crate) suppressed: BTreeSet<Role>,
    /// With the time at which each was made.
    pub(crate) offers: BTreeMap<OfferId, Timestamp>,
    pub(crate) tasks: BTreeSet<TaskKey>,
    /// When it is torn down unless it comes back.
    pub(crate) given_up: Option<Timestamp>,
    /// How it fares in races for optimistic offers.
    pub(crate) races: Races,
}

impl Framework {
    pub(crate) fn new(record: FrameworkRecord) -> Self {
        Self {
            record,
            session: None,
            suppressed: BTreeSet::new(),
            offers: BTreeMap::new(),
            tasks: BTreeSet::new(),
            given_up: None,
            races: Races::default(),
        }
    }
    /// The roles it takes offers for now.
    pub(crate) fn wants(&self) -> impl Iterator<Item = &Role> + Clone {
        self.record.info.roles.iter().filter(|role| self.unwilling(role).is_none())
    }
    /// Why it takes no offers for one of its roles.
    pub(crate) fn unwilling(&self, role: &Role) -> Option<Reason> {
        if self.record.removed.is_some() {
            return Some(Reason::Removed);
        }
        if self.session.is_none() {
            return Some(Reason::Disconnected);
        }
        self.suppressed.contains(role).then_some(Reason::Suppressed)
    }
}

/// What a refusal is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FilterKey {
    pub(crate) framework: FrameworkId,
    pub(crate) role: Role,
    pub(crate) agent: AgentId,
}

/// One refusal: hides every offer that is contained in what was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) refused: Resources,
    pub(crate) until: Timestamp,
}
