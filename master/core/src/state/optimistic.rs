//! What is remembered of optimistic offers: what is kept for a role, which offers no longer fit, who lost a race.
//!
//! All of it is soft: a master that restarts begins without it.

use super::{Agent, State};
use berth_model::id::{AgentId, FrameworkId, OfferId};
use berth_model::offer::Offer;
use berth_model::resources::{Name, Resources};
use berth_model::role::Role;
use berth_model::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Resources of an agent that only frameworks of one role are offered for a while. They stay in the available pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) role: Role,
    pub(crate) resources: Resources,
    pub(crate) until: Timestamp,
}

/// Who has its turn at what several may hold of an agent, as far as somebody gave back what it was offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// Optimistic offers of the agent since somebody yields.
    made: u64,
    /// Who comes after the others there, until so many were made or it is one of those that were.
    yielding: BTreeMap<FrameworkId, u64>,
}

impl Turns {
    /// The framework used nothing of an offer: whoever else wants some has its turn before, and they are so many. That many
    /// offers later it is next by its share again, so that those who do use them do not keep it waiting for good.
    pub(crate) fn gave_back(&mut self, framework: &FrameworkId, others: u64) {
        let made = self.made;
        self.yielding.retain(|_, until| *until > made);
        self.yielding.insert(framework.clone(), made + others);
    }
    /// The framework was offered some.
    pub(crate) fn offered(&mut self, framework: &FrameworkId) {
        if self.yielding.is_empty() {
            return;
        }
        self.made += 1;
        self.yielding.remove(framework);
    }
    /// Those who yield come in this order; nothing for the others.
    pub(crate) fn yields(&self, framework: &FrameworkId) -> Option<u64> {
        self.yielding.get(framework).copied().filter(|until| *until > self.made)
    }
}

/// An offer whose optimistic part is not all there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) agent: AgentId,
    /// Who took something last when it was noticed.
    pub(crate) winner: Option<Role>,
    pub(crate) seq: u64,
}

/// How a framework fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Races {
    /// Accepts in a row that conflicted.
    pub(crate) lost: u32,
    /// What the last of them needed and did not get.
    pub(crate) needed: Resources,
    /// Offers that were rescinded because somebody else committed, newest last.
    pub(crate) rescinded: VecDeque<(OfferId, Loss)>,
    /// It left an optimistic offer unanswered and has answered none since: until then it comes last.
    pub(crate) slow_until: Option<Timestamp>,
}

impl Races {
    /// How many rescinded offers are remembered.
    pub(crate) const REMEMBERED: usize = 64;
    /// After so many lost accepts in a row a framework gets an agent for itself.
    pub(crate) const PATIENCE: u32 = 3;
}

impl Agent {
    /// What of the agent is kept for others than this role.
    pub(crate) fn kept_from(&self, state: &State, role: &Role) -> Resources {
        self.kept_where(state, |of| of != role)
    }
    /// What of the agent is kept for this role and not offered to it now.
    pub(crate) fn kept_for(&self, state: &State, role: &Role) -> Resources {
        self.kept_where(state, |of| of == role)
    }
    fn kept_where(&self, state: &State, which: impl Fn(&Role) -> bool) -> Resources {
        let mut sum = Resources::new();
        let roles: BTreeSet<&Role> = self.kept.iter().map(|kept| &kept.role).collect();
        for role in roles.into_iter().filter(|role| which(role)) {
            let mut mine = Resources::new();
            for kept in self.kept.iter().filter(|kept| kept.role == *role) {
                mine.add_all(&kept.resources).expect("parts of an agent add up");
            }
            for offer in self.live_offers(state).filter(|offer| offer.role == *role) {
                mine = mine.minus(&offer.exclusive());
            }
            sum.add_all(&mine).expect("parts of an agent add up");
        }
        sum
    }
    pub(crate) fn live_offers<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Offer> {
        self.offers.iter().filter_map(|id| state.offers.get(id))
    }
    /// The optimistic offers of it that are out.
    pub(crate) fn optimistic<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Offer> {
        self.live_offers(state).filter(|offer| offer.is_optimistic())
    }
    /// Who holds them.
    pub(crate) fn holders<'a>(&'a self, state: &'a State) -> BTreeSet<&'a FrameworkId> {
        self.optimistic(state).map(|offer| &offer.framework).collect()
    }
    /// What of the agent a framework of this role may have now, apart from what others are offered exclusively.
    pub(crate) fn room_for(&self, state: &State, role: &Role) -> Resources {
        if self.kept.is_empty() {
            return self.books.available.clone();
        }
        self.books.available.minus(&self.kept_from(state, role))
    }
}

/// The cpus and memory among resources that are nobody's.
pub(crate) fn keepable(resources: &Resources) -> Resources {
    let counted = |name: &Name| matches!(name, Name::Cpus | Name::Mem);
    resources.filtered(|r| counted(&r.name) && r.can_be_optimistic())
}
