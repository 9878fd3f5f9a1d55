//! Keeps the standings up to date with the tables, and counts them from nothing when what is counted changes.

use super::{Counts, Standing, Standings, add};
use crate::state::{Agent, DiskKey, State, Withheld, labels};
use berth_model::disk::{DiskProfile, HealthWish};
use berth_model::id::{AgentId, ProfileName};
use berth_model::quota::{Counted, Quota};
use berth_model::resources::{DiskSource, Resources};
use berth_model::role::Role;
use std::collections::BTreeSet;
use std::sync::Arc;

impl State {
    /// The agent, for somebody who may change what it has free.
    pub(crate) fn touch(&mut self, agent: AgentId) -> Option<&mut Agent> {
        self.standings.touch(agent);
        let (id, turn) = (agent, self.turn);
        let agent = self.agents.get_mut(&id)?;
        if agent.touched != turn {
            self.touched.remove(&(agent.touched, id));
            self.touched.insert((turn, id));
            agent.touched = turn;
        }
        Some(agent)
    }
    /// The step is over: what is touched from now on counts as later.
    pub(crate) fn end_turn(&mut self) {
        if self.touched.last().is_some_and(|(turn, _)| *turn == self.turn) {
            self.turn += 1;
        }
    }
    /// Counts anew what the agents have free that changed.
    pub(crate) fn recount(&mut self) {
        while let Some(agent) = self.standings.touched.pop_first() {
            let part = self.part(&self.standings, agent);
            self.standings.put_part(agent, part);
        }
    }
    /// What the agent has free for anybody of what is guaranteed to somebody.
    pub(super) fn part(&self, standings: &Standings, agent: AgentId) -> Counts {
        let guaranteed: BTreeSet<&Counted> = standings.guaranteed().collect();
        let Some(agent) = self.agents.get(&agent).filter(|_| !guaranteed.is_empty()) else {
            return Counts::new();
        };
        if agent.session().is_none() || self.withheld_because(agent).is_some() {
            return Counts::new();
        }
        let withheld = Withheld::of(self, &agent.info.disks);
        let mut free = agent.books.available.filtered(|r| r.stack.is_unreserved());
        if !withheld.is_empty() {
            free = withheld.strip(&free);
        }
        let mut part = standings.unreserved(agent.info.id, &free);
        part.retain(|counted, _| guaranteed.contains(counted));
        part
    }

    /// What is reserved among `what` is its owners' from now on.
    pub(crate) fn reserve(&mut self, agent: AgentId, what: &Resources) {
        self.holdings.reserve(agent, what);
        self.standings.reserve(agent, what, 1);
    }
    /// It is theirs no more.
    pub(crate) fn unreserve(&mut self, agent: AgentId, what: &Resources) {
        self.holdings.unreserve(agent, what);
        self.standings.reserve(agent, what, -1);
    }
    /// A task of the role has unreserved parts of `what`.
    pub(crate) fn allocate(&mut self, agent: AgentId, role: &Role, what: &Resources) {
        self.holdings.allocate(agent, role, what);
        self.standings.allocate(agent, role, what, 1);
    }
    /// It has them no more.
    pub(crate) fn free(&mut self, agent: AgentId, role: &Role, what: &Resources) {
        self.holdings.free(agent, role, what);
        self.standings.allocate(agent, role, what, -1);
    }

    /// Everything is counted anew.
    pub(crate) fn restand(&mut self) {
        self.standings = self.stand();
        self.standings.eased = !self.cut.is_empty();
    }
    /// A role has another quota. Only when it counts something else is anything else counted anew.
    pub(crate) fn requota(&mut self, quota: &Arc<Quota>) {
        if !self.standings.replace(quota) {
            self.restand();
        }
    }
    /// A profile says something else.
    pub(crate) fn reprofile(&mut self, name: &ProfileName) {
        if self.standings.members.contains_key(name) {
            self.restand();
        }
    }
    /// An agent came, or its disks or their labels are others: they are sorted into the profiles.
    pub(crate) fn sort_disks(&mut self, agent: AgentId) {
        let Some(known) = self.agents.get(&agent) else { return };
        let mut others = Vec::new();
        let mut is_new = known.offers.is_empty();
        for (name, disks) in &self.standings.members {
            let from = (agent, DiskSource::Root);
            let before: BTreeSet<DiskKey> =
                disks.range(from..).take_while(|(of, _)| *of == agent).cloned().collect();
            let after: BTreeSet<DiskKey> = disks_of(self, name, known).collect();
            is_new &= before.is_empty();
            if before != after {
                others.push((name.clone(), after));
            }
        }
        if others.is_empty() {
            return;
        }
        let from = (agent, DiskSource::Root);
        is_new &= self.standings.roles.keys().all(|role| {
            let held = self.holdings.trees.get(role);
            let first = held.and_then(|held| held.disks.range(&from..).next());
            first.is_none_or(|((of, _), _)| *of != agent)
        });
        if !is_new {
            self.restand();
            return;
        }
        // Nobody has anything on it, so that nobody's figures change.
        for (name, disks) in others {
            self.standings.members.entry(name).or_default().extend(disks);
        }
        self.standings.touch(agent);
    }
    /// How all stand, counted from nothing.
    pub(crate) fn stand(&self) -> Standings {
        let mut standings = Standings::default();
        let counted = self.quotas.values().flat_map(|q| q.guarantees.keys().chain(q.limits.keys()));
        for counted in counted {
            let Counted::DiskOf(name) = counted else { continue };
            let disks = || self.agents.values().flat_map(|agent| disks_of(self, name, agent));
            standings.members.entry(name.clone()).or_insert_with(|| disks().collect());
        }
        for (role, quota) in &self.quotas {
            let mut standing = Standing { quota: Arc::clone(quota), has: Counts::new() };
            let Some(held) = self.holdings.trees.get(role) else {
                standings.enter(role, standing);
                continue;
            };
            let mut has = Counts::new();
            for counted in standing.counted() {
                let amount = held.counted(counted, |key| match counted {
                    Counted::DiskOf(name) => standings.members[name].contains(key),
                    Counted::All(_) => false,
                });
                add(&mut has, counted, amount.milli());
            }
            standing.has = has;
            standings.enter(role, standing);
        }
        for offer in self.offers.values() {
            standings.allocate(offer.agent, &offer.role, &offer.exclusive(), 1);
        }
        if !standings.is_off() {
            for agent in self.agents.keys() {
                let part = self.part(&standings, *agent);
                standings.put_part(*agent, part);
            }
        }
        standings.eased = false;
        standings
    }
}

/// The disks of an agent that satisfy a profile, whatever their health.
fn disks_of<'a>(
    state: &'a State,
    name: &ProfileName,
    agent: &'a Agent,
) -> impl Iterator<Item = DiskKey> + use<'a> {
    let profile = state
        .profiles
        .get(name)
        .map(|known| DiskProfile { health: HealthWish::Any, ..DiskProfile::clone(known) });
    let disks = agent.info.disks.iter().filter(move |disk| {
        let misses = profile.as_ref().map(|profile| profile.misses(disk, labels(state, disk.id)));
        misses.is_some_and(|misses| misses.is_empty())
    });
    disks.map(|disk| (agent.info.id, disk.source.clone()))
}
