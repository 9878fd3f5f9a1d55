//! Who is offered an agent's free resources: weighted dominant-resource fairness over the tree of roles, then over the
//! frameworks of a role.
//!
//! It knows no sessions and sends nothing. Filter (who may get it), order (who is next, kept by `state::shares`) and amount
//! (how much) are apart. A look at one agent and a cycle over all of them are the same: a cycle is looks one after the other,
//! each with the order that the one before left. The first framework in order takes all it may use of the agent; what is left,
//! because it is reserved to others, goes to the next; what may be offered to several stays for them too (`sharing`). With quota
//! those come first whose guarantee is not met, and nobody gets what quota does not leave (`bounds`). Invariant: each resource is in one offer, except that a shared volume
//! is in one of each framework's offers; it goes to one framework at a time, and to the next one in a later look. Whoever asks why
//! a framework is left out (`explain`) watches the same steps (`Witness`).

mod bounds;
#[cfg(test)]
mod differential;
mod explain;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod scenarios;
mod sharing;
mod trial;

pub(crate) use explain::explain;
pub use trial::Trial;

use crate::state::{Agent, Filter, Shares, Standings, State, Withheld};
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
    /// Somebody was offered less than there is, or nothing, for the sake of quota.
    pub(crate) is_cut: bool,
}

/// Why an agent is not looked at at all.
#[derive(Debug)]
enum Closed {
    /// It is not connected.
    Away,
    /// It is connected and not used.
    Withheld(String),
    /// Guarantees wait for agents after a start.
    Awaits,
    /// Nothing is available.
    Empty,
}

fn closed(state: &State, agent: &Agent) -> Option<Closed> {
    if agent.session().is_none() {
        return Some(Closed::Away);
    }
    if let Some(why) = state.withheld_because(agent) {
        return Some(Closed::Withheld(why));
    }
    if state.awaits_agents() {
        return Some(Closed::Awaits);
    }
    agent.books.available.is_empty().then_some(Closed::Empty)
}

/// What a framework may be given of an agent becomes less by these steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// What is free and the role may use.
    Free,
    /// Without shared volumes that it is not offered.
    Shared,
    /// Without what is kept for others, and what others hold.
    Reach,
    /// What quota leaves.
    Quota,
    /// Without what enough others hold.
    FanOut,
}

/// Who wants to know why a framework is left out. The allocator itself does not, and pays nothing for it.
trait Witness {
    /// What is left after a step.
    fn after(&mut self, _step: Step, _part: &Resources) {}
    /// The framework declined as much or more.
    fn refused(&mut self, _filter: &Filter) {}
}

/// Nobody wants to know.
struct Nobody;

impl Witness for Nobody {}

/// The offers to make of this agent now, numbered from `number`.
pub(crate) fn allocate(
    state: &State,
    (shares, standings): (&Shares, &Standings),
    agent: &Agent,
    number: u64,
    now: Timestamp,
) -> Round {
    if closed(state, agent).is_some() {
        return Round::default();
    }
    let mut look = Look::new(state, standings, agent, number, now);
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
    look.round.is_cut = look.bounds.has_cut();
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
    fn new(
        state: &'a State,
        standings: &'a Standings,
        agent: &'a Agent,
        number: u64,
        now: Timestamp,
    ) -> Self {
        let mut free = agent.books.available.clone();
        if agent.faulty || !state.disks.is_empty() {
            let withheld = Withheld::of(state, &agent.info.disks);
            if !withheld.is_empty() {
                free = withheld.strip(&free);
            }
        }
        let sharing = Sharing::of(state, agent);
        let bounds = Bounds::new(standings, agent);
        Self { state, agent, now, sharing, bounds, free, number, round: Round::default() }
    }
    fn walk(&mut self, mut order: Order<'a>, stage: Stage) {
        let mut narrowed = stage == Stage::Guarantees;
        while !self.free.is_empty() {
            if !narrowed && (!self.free.has_unreserved() || self.sharing.is_given_out()) {
                order.only_of(self.free.owners());
                narrowed = true;
            }
            let Some((role, framework)) = order.step() else { return };
            if let Some(parts) = self.part_for(stage, role, framework, &mut Nobody) {
                self.give(stage, role, framework, parts);
            }
        }
    }
    /// What the framework may be given of what is left, and the optimistic part of that; nothing when it is left out.
    fn part_for(
        &self,
        stage: Stage,
        role: &Role,
        framework: &FrameworkId,
        witness: &mut impl Witness,
    ) -> Option<(Resources, Resources)> {
        let mut part = self.free.allocatable_to(role);
        witness.after(Step::Free, &part);
        let kept_back = kept_back(self.state, self.agent, role, framework, &part.shared());
        if !kept_back.is_empty() {
            part = part.minus(&kept_back);
        }
        witness.after(Step::Shared, &part);
        // What others have of it is off before quota cuts the rest, else the cut falls on what nobody holds.
        let part = self.sharing.reach(stage, role, framework, part);
        witness.after(Step::Reach, &part);
        let part = self.bounds.portion(stage, role, part);
        witness.after(Step::Quota, &part);
        let (part, optimistic) = match stage {
            Stage::Guarantees => (part, Resources::new()),
            Stage::Shares => self.sharing.divide(role, framework, part),
        };
        witness.after(Step::FanOut, &part);
        if !is_worthwhile(&part) {
            return None;
        }
        if let Some(filter) = refusal(self.state, self.agent, role, framework, &part, self.now) {
            witness.refused(filter);
            return None;
        }
        Some((part, optimistic))
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

/// The refusal that hides it: what was refused and any part of that; anything more breaks through.
fn refusal<'a>(
    state: &'a State,
    agent: &Agent,
    role: &Role,
    framework: &FrameworkId,
    part: &Resources,
    now: Timestamp,
) -> Option<&'a Filter> {
    let filters = state.filters.get(framework);
    let filters = filters.and_then(|of| of.get(&(role.clone(), agent.info.id)));
    let mut live = filters.into_iter().flatten().filter(|filter| filter.until > now);
    live.find(|filter| filter.refused.contains(part))
}
