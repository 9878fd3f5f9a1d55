//! How roles stand against their quota, and what guarantees leave of what is free: the figures by which the allocator and a commit
//! are held to quota.
//!
//! Kept by differences, and only while there is a quota: a change of one agent or one role touches that agent and that role. It knows
//! no rule: `allocator` and `decide` do. Invariants: what a role has is its holdings and what it is offered exclusively;
//! `free` is what the agents that may give have free for anybody; `required` is what all roles together lack of their guarantees.

mod upkeep;

use super::{DiskKey, State, numbers};
use berth_model::id::{AgentId, ProfileName};
use berth_model::quota::{Counted, Quota};
use berth_model::resources::{Name, Resource, Resources};
use berth_model::role::Role;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Thousandths of what is counted; there are no zeros.
pub(crate) type Counts = BTreeMap<Counted, i64>;

/// How one top-level role stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) quota: Arc<Quota>,
    /// Of what its quota counts: what it and those below it hold, and are offered exclusively.
    has: Counts,
}

/// How all stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standings {
    /// The roles with quota.
    roles: BTreeMap<Role, Standing>,
    /// The disks of each profile that a quota counts by, whatever their health.
    members: BTreeMap<ProfileName, BTreeSet<DiskKey>>,
    /// Of what is guaranteed to anybody: free for anybody, in all.
    free: Counts,
    /// The same of each agent.
    parts: BTreeMap<AgentId, Counts>,
    /// What is lacking of guarantees, in all.
    required: Counts,
    /// The roles that lack something.
    lacking: BTreeSet<Role>,
    /// Agents that changed since their part was counted.
    touched: BTreeSet<AgentId>,
    /// Since this was last asked, a role has less of what is limited, or more is free of what is guaranteed.
    eased: bool,
}

static DISK: Counted = Counted::DISK;

fn add(to: &mut Counts, counted: &Counted, amount: i64) {
    if amount == 0 {
        return;
    }
    let sum = to.get(counted).copied().unwrap_or(0).saturating_add(amount);
    if sum == 0 {
        to.remove(counted);
    } else {
        to.insert(counted.clone(), sum);
    }
}

fn of(counts: &Counts, counted: &Counted) -> i64 {
    counts.get(counted).copied().unwrap_or(0)
}

impl Standing {
    /// How much of it the role has.
    pub(crate) fn has(&self, counted: &Counted) -> i64 {
        of(&self.has, counted)
    }
    /// What it lacks of its guarantee of it.
    pub(crate) fn lacks(&self, counted: &Counted) -> i64 {
        self.lacks_after(counted, |_| 0)
    }
    /// The same when it has as much `more` of each. Disk that satisfies a profile is disk: what is lacking of profiles is lacking
    /// of all disk as well, or so much disk of other kinds could be given away that those who are guaranteed any disk
    /// and those who are guaranteed this keep the last of it from each other. A disk of two profiles counts for each.
    pub(crate) fn lacks_after(&self, counted: &Counted, more: impl Fn(&Counted) -> i64) -> i64 {
        let own = self.lacks_itself(counted, &more);
        if *counted == Counted::DISK { own.max(self.of_profiles(&more)) } else { own }
    }
    /// Of what it lacks of disk: what has to satisfy profiles.
    pub(crate) fn of_profiles(&self, more: &impl Fn(&Counted) -> i64) -> i64 {
        let profiles = self.quota.guarantees.keys().filter(|c| matches!(c, Counted::DiskOf(_)));
        profiles.map(|counted| self.lacks_itself(counted, more)).fold(0, i64::saturating_add)
    }
    fn lacks_itself(&self, counted: &Counted, more: &impl Fn(&Counted) -> i64) -> i64 {
        let has = self.has(counted).saturating_add(more(counted));
        let guaranteed = self.quota.guarantees.get(counted);
        guaranteed.map_or(0, |amount| amount.milli().saturating_sub(has).max(0))
    }
    /// What it can lack.
    fn guaranteed(&self) -> impl Iterator<Item = &Counted> {
        let keys = self.quota.guarantees.keys();
        let by_profile = keys.clone().any(|counted| matches!(counted, Counted::DiskOf(_)));
        let disk = by_profile && !self.quota.guarantees.contains_key(&DISK);
        keys.chain(disk.then_some(&DISK))
    }
    /// How much more of it the role may have; nothing when there is no limit.
    pub(crate) fn room(&self, counted: &Counted) -> Option<i64> {
        let limit = self.quota.limits.get(counted)?;
        Some(limit.milli().saturating_sub(self.has(counted)).max(0))
    }
    fn counted(&self) -> BTreeSet<&Counted> {
        self.quota.guarantees.keys().chain(self.quota.limits.keys()).collect()
    }
}

impl Standings {
    /// True when there is no quota: everything else costs nothing then.
    pub(crate) fn is_off(&self) -> bool {
        self.roles.is_empty()
    }
    /// True when anything is guaranteed to anybody.
    pub(crate) fn guarantees(&self) -> bool {
        self.guaranteed().next().is_some()
    }
    /// The role's, by the top-level role.
    pub(crate) fn of(&self, top: &Role) -> Option<&Standing> {
        self.roles.get(top)
    }
    /// The top-level roles that lack something of a guarantee.
    pub(crate) fn lacking(&self) -> &BTreeSet<Role> {
        &self.lacking
    }
    /// What all roles together lack of it.
    pub(crate) fn required(&self, counted: &Counted) -> i64 {
        of(&self.required, counted)
    }
    /// What is lacking of any guarantee.
    pub(crate) fn all_required(&self) -> &Counts {
        &self.required
    }
    /// What is free of it for anybody, on the agents that may give; counted only of what is guaranteed.
    pub(crate) fn free(&self, counted: &Counted) -> i64 {
        of(&self.free, counted)
    }
    /// Under what a resource of the agent is counted: all of its name, and for a disk each profile that it satisfies.
    pub(crate) fn kinds<'a>(
        &'a self,
        agent: AgentId,
        resource: &Resource,
    ) -> impl Iterator<Item = Counted> + use<'a> {
        let key = (resource.name == Name::Disk).then(|| (agent, resource.disk_source()));
        let profiles = self
            .members
            .iter()
            .filter(move |(_, disks)| key.as_ref().is_some_and(|key| disks.contains(key)));
        let profiles = profiles.map(|(profile, _)| Counted::DiskOf(profile.clone()));
        std::iter::once(Counted::All(resource.name.clone())).chain(profiles)
    }
    /// What the unreserved numbers among `what` come to.
    pub(crate) fn unreserved(&self, agent: AgentId, what: &Resources) -> Counts {
        let mut counts = Counts::new();
        for (resource, amount) in numbers(what).filter(|(r, _)| r.stack.is_unreserved()) {
            for counted in self.kinds(agent, &resource) {
                add(&mut counts, &counted, amount);
            }
        }
        counts
    }

    /// The role has more of it, or less.
    pub(crate) fn change(&mut self, top: &Role, counts: &Counts, sign: i64) {
        let Some(standing) = self.roles.get_mut(top) else { return };
        let known: Vec<&Counted> = {
            let own = |counted: &&Counted| {
                standing.quota.guarantees.contains_key(*counted)
                    || standing.quota.limits.contains_key(*counted)
            };
            counts.keys().filter(own).collect()
        };
        if known.is_empty() {
            return;
        }
        for counted in standing.guaranteed() {
            add(&mut self.required, counted, -standing.lacks(counted));
        }
        for counted in known {
            let is_less = sign * of(counts, counted) < 0;
            self.eased |= is_less && standing.quota.limits.contains_key(counted);
            add(&mut standing.has, counted, sign * of(counts, counted));
        }
        for counted in standing.guaranteed() {
            add(&mut self.required, counted, standing.lacks(counted));
        }
        let lacks = standing.quota.guarantees.keys().any(|counted| standing.lacks(counted) > 0);
        match lacks {
            true => drop(self.lacking.insert(top.clone())),
            false => drop(self.lacking.remove(top)),
        }
    }
    /// What is reserved among `what` has become its owners', or is theirs no more.
    pub(crate) fn reserve(&mut self, agent: AgentId, what: &Resources, sign: i64) {
        if self.is_off() {
            return;
        }
        let mut owners: BTreeMap<Role, Counts> = BTreeMap::new();
        for (resource, amount) in numbers(what) {
            let Some(owner) = resource.stack.owner() else { continue };
            let counts = owners.entry(owner.top()).or_default();
            for counted in self.kinds(agent, &resource) {
                add(counts, &counted, amount);
            }
        }
        for (top, counts) in owners {
            self.change(&top, &counts, sign);
        }
    }
    /// The role has unreserved parts of `what` in a task or an exclusive offer, or has them no more.
    pub(crate) fn allocate(&mut self, agent: AgentId, role: &Role, what: &Resources, sign: i64) {
        if self.is_off() {
            return;
        }
        let top = role.top();
        if self.roles.contains_key(&top) {
            let counts = self.unreserved(agent, what);
            self.change(&top, &counts, sign);
        }
    }
    /// In a trial: what is free becomes less by what an offer holds exclusively, or more again.
    pub(crate) fn spend(&mut self, agent: AgentId, what: &Resources, sign: i64) {
        if self.is_off() {
            return;
        }
        for (counted, amount) in self.unreserved(agent, what) {
            if self.guaranteed().any(|known| *known == counted) {
                add(&mut self.free, &counted, -sign * amount);
            }
        }
    }

    /// What is guaranteed to anybody.
    fn guaranteed(&self) -> impl Iterator<Item = &Counted> {
        self.roles.values().flat_map(Standing::guaranteed)
    }
    /// What the agent has free may have changed.
    pub(crate) fn touch(&mut self, agent: AgentId) {
        if !self.is_off() {
            self.touched.insert(agent);
        }
    }
}

impl Standings {
    /// Whether quota may leave more than when this was last asked.
    pub(crate) fn has_eased(&self) -> bool {
        self.eased
    }
    /// The same, and it is asked.
    pub(crate) fn take_eased(&mut self) -> bool {
        std::mem::take(&mut self.eased)
    }
    /// Whether some agents have to be counted anew.
    pub(crate) fn is_stale(&self) -> bool {
        !self.touched.is_empty()
    }
    /// What agents have free that changed since they were counted.
    pub(crate) fn since(&self, state: &State, counted: &Counted) -> i64 {
        let changes = self.touched.iter().map(|agent| {
            let known = self.parts.get(agent).map_or(0, |part| of(part, counted));
            of(&state.part(self, *agent), counted).saturating_sub(known)
        });
        changes.fold(self.free(counted), i64::saturating_add)
    }
    fn put_part(&mut self, agent: AgentId, part: Counts) {
        let old = self.parts.remove(&agent).unwrap_or_default();
        for (counts, sign) in [(&old, -1), (&part, 1)] {
            for (counted, amount) in counts {
                add(&mut self.free, counted, sign * amount);
            }
        }
        self.eased |= part.iter().any(|(counted, amount)| *amount > of(&old, counted));
        if !part.is_empty() {
            self.parts.insert(agent, part);
        }
    }
}

impl Standings {
    /// Another quota for a role that counts the same; false when it does not.
    fn replace(&mut self, quota: &Arc<Quota>) -> bool {
        let Some(known) = self.roles.get(&quota.role) else { return false };
        let same = known.quota.guarantees.keys().eq(quota.guarantees.keys())
            && known.quota.limits.keys().eq(quota.limits.keys());
        if !same {
            return false;
        }
        let known = known.clone();
        for counted in known.guaranteed() {
            add(&mut self.required, counted, -known.lacks(counted));
        }
        self.lacking.remove(&quota.role);
        self.enter(&quota.role, Standing { quota: Arc::clone(quota), has: known.has });
        true
    }
    fn enter(&mut self, role: &Role, standing: Standing) {
        for counted in standing.guaranteed() {
            let lacks = standing.lacks(counted);
            add(&mut self.required, counted, lacks);
            if lacks > 0 {
                self.lacking.insert(role.clone());
            }
        }
        self.roles.insert(role.clone(), standing);
    }
}
