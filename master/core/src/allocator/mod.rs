//! Who is offered an agent's free resources: weighted dominant-resource fairness over the tree of roles, then over the
//! frameworks of a role.
//!
//! It knows no sessions and sends nothing. Filter (who may get it), order (who is next, kept by `state::shares`) and amount
//! (how much) are apart. A look at one agent and a cycle over all of them are the same: a cycle is looks one after the other,
//! each with the order that the one before left. The first framework in order takes all it may use of the agent; what is left,
//! because it is reserved to others, goes to the next; what may be offered to several stays for them too (`sharing`). With quota
//! those come first whose guarantee is not met, and nobody gets what quota does not leave (`bounds`). Invariant: each resource is in one offer, except that a shared volume
//! is in one of each framework's offers; it goes to one framework at a time, and to the next one in a later look.

mod bounds;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod scenarios;
mod sharing;
mod trial;

pub use trial::Trial;

use crate::state::{Agent, Shares, Standings, State, Withheld};
use berth_model::id::{FrameworkId, OfferId};
use berth_model::offer::{Offer, Version};
use berth_model::resources::{Name, Resources};
use berth_model::role::Role;
use berth_model::units::{Scalar, Timestamp};
use bounds::{Bounds, Stage};
use sharing::{Order, Sharing};
use std::sync::Arc;

/// Unreserved leftovers below both of these are not worth an offer (the minimum of Mesos).
const LEAST_CPUS: Scalar = Scalar::from_milli(10);
const LEAST_MEM: Scalar = Scalar::from_milli(32_000);

/// What comes of a look at an agent.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) offers: Vec<Offer>,
    /// The one among them that gives the agent to a framework alone, because it lost too often.
    pub(crate) alone: Option<OfferId>,
}

/// The offers to make of this agent now, numbered from `number`.
pub(crate) fn allocate(
    state: &State,
    (shares, standings): (&Shares, &Standings),
    agent: &Agent,
    number: u64,
    now: Timestamp,
) -> Round {
    if agent.session().is_none()
        || agent.books.available.is_empty()
        || state.withheld_because(agent).is_some()
        || state.awaits_agents()
    {
        return Round::default();
    }
    let mut free = agent.books.available.clone();
    if agent.faulty || !state.disks.is_empty() {
        let withheld = Withheld::of(state, &agent.info.disks);
        if !withheld.is_empty() {
            free = withheld.strip(&free);
        }
    }
    let mut look = Look {
        state,
        agent,
        now,
        sharing: Sharing::of(state, agent),
        bounds: Bounds::new(standings, agent),
        free,
        number,
        round: Round::default(),
    };
    if !standings.is_off() {
        let lacking = look.bounds.lacking(&look.free);
        if !lacking.is_empty() {
            let mut order = look.sharing.order(shares.walk(), now);
            order.only_of(lacking);
            look.walk(order, Stage::Guarantees);
        }
    }
    let order = look.sharing.order(shares.walk(), now);
    look.walk(order, Stage::Shares);
    look.round
}

/// A look in progress.
struct Look<'a> {
    state: &'a State,
    agent: &'a Agent,
    now: Timestamp,
    sharing: Sharing<'a>,
    bounds: Bounds<'a>,
    /// What nobody was given yet.
    free: Resources,
    /// Of the first offer.
    number: u64,
    round: Round,
}

impl<'a> Look<'a> {
    fn walk(&mut self, mut order: Order<'a>, stage: Stage) {
        let mut narrowed = stage == Stage::Guarantees;
        while !self.free.is_empty() {
            if !narrowed && (!self.free.has_unreserved() || self.sharing.is_given_out()) {
                order.only_of(self.free.owners());
                narrowed = true;
            }
            let Some((role, framework)) = order.step() else { return };
            let mut part = self.free.allocatable_to(role);
            let kept_back = kept_back(self.state, self.agent, role, framework, &part.shared());
            if !kept_back.is_empty() {
                part = part.minus(&kept_back);
            }
            // What others have of it is off before quota cuts the rest, else the cut falls on what nobody holds.
            let part = self.sharing.reach(stage, role, framework, part);
            let part = self.bounds.portion(stage, role, part);
            let (part, optimistic) = match stage {
                Stage::Guarantees => (part, Resources::new()),
                Stage::Shares => self.sharing.divide(role, framework, part),
            };
            if is_worthwhile(&part)
                && !is_refused(self.state, self.agent, role, framework, &part, self.now)
            {
                self.give(stage, role, framework, (part, optimistic));
            }
        }
    }
    fn give(
        &mut self,
        stage: Stage,
        role: &Role,
        framework: &FrameworkId,
        (part, optimistic): (Resources, Resources),
    ) {
        let exclusive = part.minus(&optimistic);
        self.free = self.free.minus(&exclusive);
        self.bounds.gave(role, &exclusive);
        // What a guarantee lacks is no turn of who lost too often: that one is owed all it needs.
        let alone = stage == Stage::Shares && self.sharing.made(framework, &exclusive, &optimistic);
        let mine = |offer: &&mut Offer| offer.framework == *framework && offer.role == *role;
        if let Some(offer) = self.round.offers.iter_mut().find(mine) {
            // What it was given towards a guarantee and the rest are one offer.
            offer.resources.add_all(&part).expect("parts of an agent add up");
            offer.optimistic.add_all(&optimistic).expect("parts of an agent add up");
            self.round.alone = self.round.alone.or(alone.then_some(offer.id));
            return;
        }
        let number = self.number + self.round.offers.len() as u64;
        let id = OfferId { epoch: self.state.config.epoch, number };
        if alone {
            self.round.alone = Some(id);
        }
        self.round.offers.push(Offer {
            id,
            framework: framework.clone(),
            role: role.clone(),
            agent: self.agent.info.id,
            hostname: self.agent.info.hostname.clone(),
            attributes: Arc::clone(&self.agent.info.attributes),
            resources: part,
            seq: self.agent.seq,
            optimistic,
            version: Version { epoch: self.state.config.epoch, seq: self.agent.commits },
        });
    }
}

/// The shared volumes that the framework is not offered: all when it does not understand them, else those it is offered
/// already.
fn kept_back(
    state: &State,
    agent: &Agent,
    role: &Role,
    framework: &FrameworkId,
    shared: &Resources,
) -> Resources {
    let shares = || state.frameworks.get(framework).is_some_and(|f| f.record.info.can_share());
    if shared.is_empty() || !shares() {
        return shared.clone();
    }
    let offers = agent.offers.iter().filter_map(|id| state.offers.get(id));
    let own = offers.filter(|offer| offer.framework == *framework && offer.role == *role);
    let mut kept = Resources::new();
    for offer in own {
        kept.add_all(&offer.resources.shared()).expect("copies of volumes add up");
    }
    kept
}

fn is_worthwhile(part: &Resources) -> bool {
    part.total(&Name::Cpus) >= LEAST_CPUS
        || part.total(&Name::Mem) >= LEAST_MEM
        || part.has_reserved()
}

/// A refusal hides what was refused and any part of it; anything more breaks through.
fn is_refused(
    state: &State,
    agent: &Agent,
    role: &Role,
    framework: &FrameworkId,
    part: &Resources,
    now: Timestamp,
) -> bool {
    let filters = state.filters.get(framework);
    let filters = filters.and_then(|of| of.get(&(role.clone(), agent.info.id)));
    let mut live = filters.into_iter().flatten().filter(|filter| filter.until > now);
    live.any(|filter| filter.refused.contains(part))
}
