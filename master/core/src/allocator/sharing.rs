//! Which part of an agent goes to several frameworks at once, and whose turn it is.
//!
//! It takes the allocator's portion for one framework and divides it into what only that framework is offered and what
//! others may be offered too. With a fan-out of one for all it gives everything back as it is. Invariant: what somebody holds
//! optimistically is never offered exclusively to another, except to a framework that has lost too often.

use super::bounds::Stage;
use crate::state::{Agent, Framework, State, Walk, keepable};
use berth_model::id::FrameworkId;
use berth_model::resources::{Resource, Resources};
use berth_model::role::Role;
use berth_model::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// One in so many agents may be offered to one framework alone, and at least one.
const ALONE_ONE_IN: usize = 20;

/// What a look at one agent has to know of its optimistic offers.
pub(super) struct Sharing<'a> {
    state: &'a State,
    agent: &'a Agent,
    on: bool,
    /// Who holds what of it optimistically, this round included.
    held: BTreeMap<FrameworkId, Resources>,
    /// What each of them holds, put over one another.
    out: Resources,
    /// How many may still get an optimistic part in this round.
    turns: u32,
    /// Who is to have the agent alone.
    owed: Option<FrameworkId>,
}

impl<'a> Sharing<'a> {
    pub(super) fn of(state: &'a State, agent: &'a Agent) -> Self {
        let config = &state.config.optimistic;
        let on = config.is_on();
        let turns = if config.stagger.is_zero() { u32::MAX } else { 1 };
        let owed = on.then(|| owed(state, agent)).flatten();
        let (held, out) = (BTreeMap::new(), Resources::new());
        let mut sharing = Self { state, agent, on, held, out, turns, owed };
        for offer in agent.optimistic(state).filter(|_| on) {
            sharing.hold(&offer.framework, &offer.optimistic);
        }
        sharing
    }

    fn hold(&mut self, framework: &FrameworkId, optimistic: &Resources) {
        let held = self.held.entry(framework.clone()).or_default();
        held.add_all(optimistic).expect("what one framework holds does not overlap");
        let more = held.minus(&self.out);
        self.out.add_all(&more).expect("parts of an agent add up");
    }

    /// The usual order, changed: a framework that lost too often comes first; those that gave back what they were offered
    /// come after the others, and those that leave offers unanswered last.
    pub(super) fn order(&self, walk: Walk<'a>, now: Timestamp) -> Order<'a> {
        let owed = self.owed.as_ref().and_then(|id| self.state.frameworks.get_key_value(id));
        let roles = |(id, framework): (&'a FrameworkId, &'a Framework)| {
            framework.wants().map(|role| (role, id)).collect()
        };
        let first: Vec<(&'a Role, &'a FrameworkId)> = owed.map(roles).unwrap_or_default();
        let known = first.first().map(|(_, id)| *id);
        let (agent, last) = (self.agent, BTreeMap::new());
        Order { walk, state: self.state, agent, on: self.on, now, first, known, last }
    }

    /// True when nothing that is nobody's is left to give in this round.
    pub(super) fn is_given_out(&self) -> bool {
        self.on && self.turns == 0
    }

    /// Of a portion, what the framework is offered now, and the optimistic part of that.
    pub(super) fn divide(
        &self,
        role: &Role,
        framework: &FrameworkId,
        portion: Resources,
    ) -> (Resources, Resources) {
        if !self.on {
            return (portion, Resources::new());
        }
        let fan_out = self.state.config.optimistic.of(role);
        if self.owed.as_ref() == Some(framework) || fan_out == 1 {
            return (portion, Resources::new());
        }
        let common = self.common(role, &portion);
        let exclusive = portion.minus(&common);
        let common = self.turn(framework, fan_out, common);
        let mut part = exclusive;
        part.add_all(&common).expect("parts of a sum add up");
        (part, common)
    }

    /// What of a part the framework may be offered at all: nothing that is kept for another role, and nothing that others hold
    /// where it would have it for itself alone, unless it is owed that.
    pub(super) fn reach(
        &self,
        stage: Stage,
        role: &Role,
        framework: &FrameworkId,
        part: Resources,
    ) -> Resources {
        if !self.on {
            return part;
        }
        let part = part.minus(&self.agent.kept_from(self.state, role));
        let is_alone = match stage {
            Stage::Guarantees => true,
            Stage::Shares => {
                self.owed.as_ref() != Some(framework) && self.state.config.optimistic.of(role) == 1
            },
        };
        if !is_alone {
            return part;
        }
        let common = self.common(role, &part);
        part.minus(&common.minus(&common.minus(&self.out)))
    }
    /// What of a part may be for several: not what is kept for the role.
    fn common(&self, role: &Role, part: &Resources) -> Resources {
        let mine = keepable(part).common(&self.agent.kept_for(self.state, role));
        part.filtered(Resource::can_be_optimistic).minus(&mine)
    }

    /// What the framework gets of what is for several: nothing when enough hold it, and what is new when it is one of them.
    fn turn(&self, framework: &FrameworkId, fan_out: u32, common: Resources) -> Resources {
        if self.turns == 0 {
            return Resources::new();
        }
        if let Some(held) = self.held.get(framework) {
            return common.minus(held);
        }
        let holders = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        if holders < fan_out { common } else { Resources::new() }
    }

    /// Notes an offer of this round; true when it gives the agent to a framework alone.
    pub(super) fn made(
        &mut self,
        framework: &FrameworkId,
        exclusive: &Resources,
        optimistic: &Resources,
    ) -> bool {
        if !optimistic.is_empty() {
            self.hold(framework, optimistic);
            self.turns = self.turns.saturating_sub(1);
        }
        let alone = self.owed.as_ref() == Some(framework) && !exclusive.is_empty();
        if alone {
            self.owed = None;
        }
        alone
    }
}

/// Who is next.
pub(super) struct Order<'a> {
    walk: Walk<'a>,
    state: &'a State,
    agent: &'a Agent,
    on: bool,
    now: Timestamp,
    first: Vec<(&'a Role, &'a FrameworkId)>,
    /// The one that comes first, and so not again.
    known: Option<&'a FrameworkId>,
    /// Those that come after the others: the slow ones behind those that yield, and those in the order in which they did.
    last: BTreeMap<(bool, u64, usize), (&'a Role, &'a FrameworkId)>,
}

impl<'a> Order<'a> {
    /// From now on only those who may use what is reserved to these.
    pub(super) fn only_of(&mut self, owners: BTreeSet<&Role>) {
        self.walk.only_of(owners);
    }
    pub(super) fn step(&mut self) -> Option<(&'a Role, &'a FrameworkId)> {
        if !self.on {
            return self.walk.step();
        }
        if let Some(next) = self.first.pop() {
            return Some(next);
        }
        while let Some((role, id)) = self.walk.step() {
            if self.known == Some(id) {
                continue;
            }
            let until = self.state.frameworks.get(id).and_then(|f| f.races.slow_until);
            let is_slow = until.is_some_and(|until| until > self.now);
            let yields = self.agent.turns.yields(id);
            if !is_slow && yields.is_none() {
                return Some((role, id));
            }
            let place = (is_slow, yields.unwrap_or(0), self.last.len());
            self.last.insert(place, (role, id));
        }
        self.last.pop_first().map(|(_, next)| next)
    }
}

/// The framework that has lost too often and finds here what it needed, when there may be one more.
fn owed(state: &State, agent: &Agent) -> Option<FrameworkId> {
    let most = (state.agents.len() / ALONE_ONE_IN).max(1);
    if state.alone.len() >= most {
        return None;
    }
    let alone: BTreeSet<&FrameworkId> =
        state.alone.iter().filter_map(|id| Some(&state.offers.get(id)?.framework)).collect();
    let holders = agent.holders(state);
    let mut waiting = state.owed.iter().filter(|id| {
        let Some(framework) = state.frameworks.get(*id) else { return false };
        let needed = &framework.races.needed;
        let fits = framework.wants().any(|role| agent.room_for(state, role).contains(needed));
        fits && !alone.contains(id) && !holders.contains(id)
    });
    waiting.next().cloned()
}
