//! Who has how much of the cluster, and who is next: the figures behind fair sharing, in thousandths, and the order they
//! give. A shared volume counts once for whoever has it, in however many tasks and offers.
//!
//! What is exact, and when. What everybody has is exact after every event, and so is the order by it: one change of what a
//! framework has, or of a weight, moves it, its role and the roles above it, each in its own order, and touches nobody else.
//! A share is also a part of what the cluster has, and that changes for all at once when an agent comes, goes or declares
//! something else. Shares are therefore taken against totals that `settle` sets and that everybody's shares have in common,
//! so the order is always that of one moment's cluster. It sets them before a look when any total is off by more than a
//! sixteenth, or when an interval of allocation has passed since the last time; everything is put in order anew then. While
//! 10,000 agents register at once that happens some 150 times and once a second, instead of 10,000 times; otherwise a look
//! sees the totals as they are.

mod account;
mod label;
mod share;
mod slab;
mod tree;
mod walk;

pub(crate) use walk::Walk;

use account::{Account, Parcel};
use berth_model::id::{AgentId, FrameworkId};
use berth_model::resources::{Quantities, Resources};
use berth_model::role::Role;
use berth_model::units::Timestamp;
use share::{Share, WEIGHT_ONE};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;
use tree::{Branch, Tree};

/// How far a total may be from what shares are taken against: a sixteenth of that.
const PARTS: i64 = 16;

/// The figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// What all known agents declare.
    cluster: Quantities,
    /// What shares are taken against, and since when.
    against: Quantities,
    settled: Timestamp,
    tree: Tree,
}

/// What is allocated in all: of the cluster's, and to whoever has something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    cluster: Quantities,
    roles: BTreeMap<Role, [Quantities; 2]>,
    frameworks: BTreeMap<(Role, FrameworkId), Quantities>,
}

impl Shares {
    pub(crate) fn declare(&mut self, what: &Resources) {
        self.cluster.add(what.quantities());
    }
    pub(crate) fn withdraw(&mut self, what: &Resources) {
        self.cluster.subtract(what.quantities());
    }
    /// Somebody has got something of an agent.
    pub(crate) fn charge(&mut self, who: (&Role, &FrameworkId), agent: AgentId, what: &Resources) {
        let parcel = Parcel::of(agent, what);
        self.change(who, |account| account.charge(&parcel));
    }
    pub(crate) fn release(&mut self, who: (&Role, &FrameworkId), agent: AgentId, what: &Resources) {
        let parcel = Parcel::of(agent, what);
        self.change(who, |account| account.release(&parcel));
    }
    /// Somebody is offered something of an agent: it has that, and has had its turn.
    pub(crate) fn offer(&mut self, who: (&Role, &FrameworkId), agent: AgentId, what: &Resources) {
        let parcel = Parcel::of(agent, what);
        self.change(who, |account| {
            account.charge(&parcel);
            account.served += 1;
        });
    }
    fn change(&mut self, who: (&Role, &FrameworkId), change: impl Fn(&mut Account)) {
        let against = &self.against;
        self.tree.change(who, |account, weight| {
            change(account);
            Share::of(&account.allocated, against, weight)
        });
    }
    /// The role counts for so much, in thousandths, beside those with the same one above them.
    pub(crate) fn weigh(&mut self, role: &Role, weight: NonZeroU64) {
        let against = &self.against;
        self.tree
            .weigh(role, weight, |account, weight| Share::of(&account.allocated, against, weight));
    }
    /// The roles for which a framework wants offers from now on.
    pub(crate) fn want<'a>(
        &mut self,
        framework: &FrameworkId,
        roles: impl Iterator<Item = &'a Role> + Clone,
    ) {
        self.tree.want(framework, roles);
    }
    /// Forgets a framework's turns where nothing is allocated to it any more.
    pub(crate) fn forget(&mut self, framework: &FrameworkId) {
        self.tree.forget(framework);
    }
    /// Before a look: takes shares against the totals as they are now, when that is due.
    pub(crate) fn settle(&mut self, now: Timestamp, interval: Duration) {
        if self.cluster == self.against {
            return;
        }
        if self.cluster.is_far_from(&self.against, PARTS) || now >= self.settled.after(interval) {
            self.against = self.cluster.clone();
            self.settled = now;
            let against = &self.against;
            self.tree.sort(|account, weight| Share::of(&account.allocated, against, weight));
        }
    }

    /// True when nobody wants anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.tree.nodes[self.tree.root].branches.is_empty()
    }
    /// Everybody who wants offers, in the order in which they are next.
    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk::new(&self.tree)
    }

    /// What everybody has, without the order.
    pub(crate) fn figures(&self) -> Figures {
        let mut figures = Figures {
            cluster: self.cluster.clone(),
            roles: BTreeMap::new(),
            frameworks: BTreeMap::new(),
        };
        let nodes = self.tree.nodes.iter().map(|(_, node)| node);
        for node in nodes.filter(|node| !node.all.is_empty()) {
            let has = [node.all.allocated.clone(), node.own.allocated.clone()];
            figures.roles.insert(node.label.name.clone(), has);
        }
        for (_, seat) in self.tree.seats.iter().filter(|(_, seat)| !seat.account.is_empty()) {
            let key = (self.tree.nodes[seat.node].label.name.clone(), seat.label.name.clone());
            figures.frameworks.insert(key, seat.account.allocated.clone());
        }
        figures
    }
    /// The roles for which each framework is in the order.
    pub(crate) fn wanting(&self) -> BTreeMap<&FrameworkId, Vec<&Role>> {
        let mut wanting: BTreeMap<&FrameworkId, Vec<&Role>> = BTreeMap::new();
        for (framework, seats) in &self.tree.frameworks {
            let roles = seats.iter().filter(|(_, slot)| self.tree.seats[**slot].wants);
            let roles: Vec<&Role> = roles.map(|(role, _)| role).collect();
            if !roles.is_empty() {
                wanting.insert(&framework.name, roles);
            }
        }
        wanting
    }
    /// What roles count for that do not count for one, in thousandths.
    pub(crate) fn weights(&self) -> BTreeMap<&Role, u64> {
        let nodes = self.tree.nodes.iter().map(|(_, node)| node);
        let weighed = nodes.filter(|node| node.weight != WEIGHT_ONE);
        weighed.map(|node| (&node.label.name, node.weight.get())).collect()
    }
    /// Where the order is not what the figures give; computed from nothing.
    pub(crate) fn disorder(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut again = self.tree.clone();
        again.sort(|account, weight| Share::of(&account.allocated, &self.against, weight));
        if !again.is_ordered_as(&self.tree) {
            found.push("the order is not by shares".to_owned());
        }
        for (slot, node) in self.tree.nodes.iter() {
            let ready = self.tree.seats.iter().filter(|(_, seat)| seat.node == slot && seat.wants);
            if ready.count() != node.ready.len() {
                let name = &node.label.name;
                found.push(format!("{name}: not all are in order who want offers"));
            }
            let nodes = self.tree.nodes.iter();
            let below = nodes.filter(|(own, below)| {
                *own != self.tree.root && below.parent == slot && !below.branches.is_empty()
            });
            let own = usize::from(!node.ready.is_empty());
            let here = node.branches.values().filter(|b| **b == Branch::Own).count();
            if below.count() + own != node.branches.len() || own != here {
                found.push(format!("{}: a branch too many or too few", node.label.name));
            }
        }
        found
    }
}
