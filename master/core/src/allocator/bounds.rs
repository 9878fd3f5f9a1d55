//! How much of an agent a role may be offered, as far as quota goes.
//!
//! Reserved resources are their owner's whatever its quota. Of what is unreserved, a role whose guarantee is not met is offered what
//! it lacks before anybody else is offered anything (`Stage::Guarantees`); after that (`Stage::Shares`) everybody gets what
//! keeps within the limits and leaves free what all guarantees still lack, which is the headroom. What can be divided is cut to fit;
//! a whole disk goes or stays. Rules: `HierarchicalDRF` of Apache Mesos 1.11, without its cycles: what the stages do there for all
//! agents one after the other they do here for one, and the headroom sees to the others.

use crate::state::{Agent, Counts, Standings};
use berth_model::quota::Counted;
use berth_model::resources::{Resource, Resources, Value};
use berth_model::role::Role;
use berth_model::units::Scalar;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// What a walk through the frameworks is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// What guarantees lack.
    Guarantees,
    /// Everything else.
    Shares,
}

/// What quota leaves, in the course of one look.
#[derive(Debug)]
pub(super) struct Bounds<'a> {
    standings: &'a Standings,
    agent: &'a Agent,
    /// Unreserved parts that were given in this look, by top-level role and in all.
    given: BTreeMap<Role, Counts>,
    spent: Counts,
    /// Somebody would have had more but for quota.
    cut: Cell<bool>,
}

impl<'a> Bounds<'a> {
    pub(super) fn new(standings: &'a Standings, agent: &'a Agent) -> Self {
        Self {
            standings,
            agent,
            given: BTreeMap::new(),
            spent: Counts::new(),
            cut: Cell::new(false),
        }
    }
    /// The top-level roles that lack of a guarantee what the agent has free.
    pub(super) fn lacking(&self, free: &Resources) -> BTreeSet<&'a Role> {
        if self.standings.lacking().is_empty() {
            return BTreeSet::new();
        }
        let there = self.standings.unreserved(self.agent.info.id, free);
        let roles = self.standings.lacking().iter();
        roles.filter(|role| there.keys().any(|counted| self.lacks(role, counted) > 0)).collect()
    }

    fn given(&self, top: &Role, counted: &Counted) -> i64 {
        self.given.get(top).and_then(|counts| counts.get(counted)).copied().unwrap_or(0)
    }
    /// What the role lacks of its guarantee by now.
    fn lacks(&self, top: &Role, counted: &Counted) -> i64 {
        let standing = self.standings.of(top);
        standing.map_or(0, |s| s.lacks_after(counted, |counted| self.given(top, counted)))
    }
    /// How much of a resource that counts as `kinds`, of which `counted` is one, fills what the role lacks of that: of disk
    /// that satisfies no profile, not what has to satisfy one.
    fn fills(&self, top: &Role, counted: &Counted, kinds: &[Counted]) -> i64 {
        let lacks = self.lacks(top, counted);
        if *counted != Counted::DISK || lacks == 0 {
            return lacks;
        }
        let given = |counted: &Counted| self.given(top, counted);
        let elsewhere = self.standings.of(top).map_or(0, |standing| standing.of_profiles(&given));
        let profiles = kinds.iter().filter(|kind| **kind != Counted::DISK);
        lacks - elsewhere + profiles.map(|kind| self.lacks(top, kind)).max().unwrap_or(0)
    }
    /// What may go to those who are not guaranteed it; nothing when nobody is.
    fn surplus(&self, counted: &Counted) -> Option<i64> {
        let known = self.standings.required(counted);
        if known == 0 {
            return None;
        }
        let met = self.given.keys().map(|top| {
            let before = self.standings.of(top).map_or(0, |standing| standing.lacks(counted));
            before - self.lacks(top, counted)
        });
        let required = known - met.sum::<i64>();
        if required <= 0 {
            return None;
        }
        let spent = self.spent.get(counted).copied().unwrap_or(0);
        Some((self.standings.free(counted) - spent - required).max(0))
    }
    /// How much of it the role may be given now; nothing when there is no bound.
    fn most(
        &self,
        stage: Stage,
        top: &Role,
        (counted, kinds): (&Counted, &[Counted]),
    ) -> Option<i64> {
        let share = self.share(stage, top, (counted, kinds));
        self.room(top, counted).into_iter().chain(share).min()
    }
    /// Up to its limit.
    fn room(&self, top: &Role, counted: &Counted) -> Option<i64> {
        let room = self.standings.of(top).and_then(|standing| standing.room(counted));
        room.map(|room| (room - self.given(top, counted)).max(0))
    }
    /// As far as guarantees go.
    fn share(
        &self,
        stage: Stage,
        top: &Role,
        (counted, kinds): (&Counted, &[Counted]),
    ) -> Option<i64> {
        let standing = self.standings.of(top);
        let is_guaranteed = standing.is_some_and(|s| s.quota.guarantees.contains_key(counted));
        let fills = self.fills(top, counted, kinds);
        match stage {
            Stage::Guarantees if is_guaranteed || fills > 0 => Some(fills),
            Stage::Guarantees => self.surplus(counted),
            // What it lacks it may have of what others hold optimistically, too.
            Stage::Shares => self.surplus(counted).map(|left| left.saturating_add(fills)),
        }
    }
    /// Of what is counted in `part`, the bound that leaves least of it, and whether that is the limit.
    pub(super) fn tightest(&self, role: &Role, part: &Resources) -> Option<(Counted, bool)> {
        let top = role.top();
        let there = self.standings.unreserved(self.agent.info.id, part);
        let kinds: Vec<Counted> = there.keys().cloned().collect();
        let bounds = there.into_iter().filter_map(|(counted, amount)| {
            let room = self.room(&top, &counted).unwrap_or(i64::MAX);
            let share = self.share(Stage::Shares, &top, (&counted, &kinds)).unwrap_or(i64::MAX);
            let most = room.min(share);
            // In thousandths of what is there.
            let left = i128::from(most) * 1_000 / i128::from(amount.max(1));
            (most < amount).then_some((left, counted, room <= share))
        });
        bounds.min().map(|(_, counted, is_limit)| (counted, is_limit))
    }

    /// What the role may be offered of `part`, which it may use.
    pub(super) fn portion(&self, stage: Stage, role: &Role, part: Resources) -> Resources {
        if self.standings.is_off() {
            return if stage == Stage::Guarantees { Resources::new() } else { part };
        }
        let top = role.top();
        // By what a resource counts as: of each, how much there may be.
        let mut bounds: BTreeMap<Vec<Counted>, Vec<Option<i64>>> = BTreeMap::new();
        let mut taken = Counts::new();
        let (mut over, mut helps) = (Vec::new(), false);
        for resource in part.iter().filter(|r| r.stack.is_unreserved()) {
            let Some(amount) = resource.amount().map(Scalar::milli) else { continue };
            let kinds: Vec<Counted> = self.standings.kinds(self.agent.info.id, &resource).collect();
            let bounds = bounds.entry(kinds.clone()).or_insert_with(|| {
                kinds.iter().map(|kind| self.most(stage, &top, (kind, &kinds))).collect()
            });
            let mut fits = amount;
            for (counted, most) in kinds.iter().zip(bounds) {
                let taken = taken.get(counted).copied().unwrap_or(0);
                fits = fits.min(most.map_or(i64::MAX, |most| (most - taken).max(0)));
            }
            let fits = cut(&resource, amount, fits);
            helps |= fits > 0 && kinds.iter().any(|kind| self.fills(&top, kind, &kinds) > 0);
            for counted in kinds {
                *taken.entry(counted).or_default() += fits;
            }
            if fits < amount {
                over.push(less(&resource, amount - fits));
            }
        }
        if stage == Stage::Guarantees && !helps {
            return Resources::new();
        }
        if stage == Stage::Shares && !over.is_empty() {
            self.cut.set(true);
        }
        if over.is_empty() { part } else { part.minus(&sum(over)) }
    }
    /// Whether somebody would have had more but for quota.
    pub(super) fn has_cut(&self) -> bool {
        self.cut.get()
    }
    /// Notes what the role was given for itself.
    pub(super) fn gave(&mut self, role: &Role, exclusive: &Resources) {
        if self.standings.is_off() {
            return;
        }
        let counts = self.standings.unreserved(self.agent.info.id, exclusive);
        let given = self.given.entry(role.top()).or_default();
        for (counted, amount) in counts {
            *given.entry(counted.clone()).or_default() += amount;
            *self.spent.entry(counted).or_default() += amount;
        }
    }
}

/// How much of what fits can be given: of what cannot be divided all or nothing.
fn cut(resource: &Resource, amount: i64, fits: i64) -> i64 {
    if fits >= amount || resource.is_divisible() { fits.min(amount) } else { 0 }
}

fn less(resource: &Resource, milli: i64) -> Resource {
    Resource { value: Value::Scalar(Scalar::from_milli(milli)), ..resource.clone() }
}

fn sum(list: Vec<Resource>) -> Resources {
    Resources::from_list(list).expect("parts of an agent add up")
}
