//! What counts for quota: what is reserved to a role, idle or not, and what its tasks have of what is unreserved.
//!
//! Kept by differences, for each role by itself and for each top-level role with all that are below it, so that an ACCEPT costs
//! the same however much there is. It knows no quota. Only numbers count: ports and other ranges and sets do not.

use berth_model::id::AgentId;
use berth_model::quota::Counted;
use berth_model::resources::{DiskSource, Name, Resource, Resources};
use berth_model::role::Role;
use berth_model::units::Scalar;
use std::collections::BTreeMap;

/// Thousandths by name; there are no zeros, so that equal figures are equal maps.
pub(crate) type Figures = BTreeMap<Name, i64>;

/// A disk, as resources name it.
pub(crate) type DiskKey = (AgentId, DiskSource);

/// What one role has, or one tree of roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    /// Reserved, whether tasks or volumes have it or not.
    pub(crate) reserved: Figures,
    /// Unreserved, in tasks.
    pub(crate) allocated: Figures,
    /// Both, of disk, by where it is.
    pub(crate) disks: BTreeMap<DiskKey, i64>,
}

/// What all roles have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Each by itself.
    pub(crate) roles: BTreeMap<Role, Holding>,
    /// Each top-level role with those below it.
    pub(crate) trees: BTreeMap<Role, Holding>,
}

/// A resource that is a number, and how much of it there is in all copies.
pub(crate) fn numbers(what: &Resources) -> impl Iterator<Item = (Resource, i64)> + '_ {
    what.entries().filter_map(|entry| {
        let amount = entry.resource.amount()?.milli();
        let copies = i64::try_from(entry.copies).unwrap_or(i64::MAX);
        Some((entry.resource, amount.saturating_mul(copies)))
    })
}

fn add<K: Ord>(to: &mut BTreeMap<K, i64>, key: K, amount: i64) {
    let sum = to.get(&key).copied().unwrap_or(0).saturating_add(amount);
    if sum == 0 {
        to.remove(&key);
    } else {
        to.insert(key, sum);
    }
}

impl Holding {
    fn is_empty(&self) -> bool {
        self.reserved.is_empty() && self.allocated.is_empty() && self.disks.is_empty()
    }
    /// How much of it there is in all.
    pub(crate) fn consumed(&self, name: &Name) -> Scalar {
        let of = |figures: &Figures| figures.get(name).copied().unwrap_or(0);
        Scalar::from_milli(of(&self.reserved).saturating_add(of(&self.allocated)))
    }
    /// How much of what is counted there is; `is_of` says which disks satisfy the profile.
    pub(crate) fn counted(&self, counted: &Counted, is_of: impl Fn(&DiskKey) -> bool) -> Scalar {
        match counted {
            Counted::All(name) => self.consumed(name),
            Counted::DiskOf(_) => {
                let disks = self.disks.iter().filter(|(key, _)| is_of(key));
                Scalar::from_milli(disks.fold(0, |sum, (_, part)| sum.saturating_add(*part)))
            },
        }
    }
    /// What there is any of.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.reserved.keys().chain(self.allocated.keys())
    }
}

impl Holdings {
    /// Reserved parts of `what` belong to their owners from now on.
    pub(crate) fn reserve(&mut self, agent: AgentId, what: &Resources) {
        self.count_reserved(agent, what, 1);
    }
    /// They belong to them no more.
    pub(crate) fn unreserve(&mut self, agent: AgentId, what: &Resources) {
        self.count_reserved(agent, what, -1);
    }
    /// A task of the role has unreserved parts of `what`.
    pub(crate) fn allocate(&mut self, agent: AgentId, role: &Role, what: &Resources) {
        self.count_allocated(agent, role, what, 1);
    }
    /// It has them no more.
    pub(crate) fn free(&mut self, agent: AgentId, role: &Role, what: &Resources) {
        self.count_allocated(agent, role, what, -1);
    }

    fn count_reserved(&mut self, agent: AgentId, what: &Resources, sign: i64) {
        for (resource, amount) in numbers(what) {
            let Some(owner) = resource.stack.owner() else { continue };
            self.count(owner, |holding| {
                add(&mut holding.reserved, resource.name.clone(), sign * amount);
                count_disk(holding, agent, &resource, sign * amount);
            });
        }
    }
    fn count_allocated(&mut self, agent: AgentId, role: &Role, what: &Resources, sign: i64) {
        for (resource, amount) in numbers(what).filter(|(r, _)| r.stack.is_unreserved()) {
            self.count(role, |holding| {
                add(&mut holding.allocated, resource.name.clone(), sign * amount);
                count_disk(holding, agent, &resource, sign * amount);
            });
        }
    }
    fn count(&mut self, role: &Role, with: impl Fn(&mut Holding)) {
        for (map, role) in [(&mut self.roles, role.clone()), (&mut self.trees, role.top())] {
            let holding = map.entry(role.clone()).or_default();
            with(holding);
            if holding.is_empty() {
                map.remove(&role);
            }
        }
    }
}

fn count_disk(holding: &mut Holding, agent: AgentId, resource: &Resource, amount: i64) {
    if resource.name == Name::Disk {
        add(&mut holding.disks, (agent, resource.disk_source()), amount);
    }
}
