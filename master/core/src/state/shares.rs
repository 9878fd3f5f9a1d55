//! Who has how much of the cluster: the figures behind fair sharing, in thousandths.

use berth_model::id::FrameworkId;
use berth_model::resources::{Name, Resources};
use berth_model::role::Role;
use std::collections::BTreeMap;

/// Quantities by name; zero entries are dropped so that equal figures are equal maps.
pub(crate) type Quantities = BTreeMap<Name, i64>;

/// What one framework has in one role, offers included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) allocated: Quantities,
    /// How many offers it was ever made; breaks ties, so that equals take turns.
    pub(crate) served: u64,
}

/// The figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// What all known agents declare.
    pub(crate) cluster: Quantities,
    pub(crate) roles: BTreeMap<Role, Usage>,
    pub(crate) frameworks: BTreeMap<(Role, FrameworkId), Usage>,
}

fn add(to: &mut Quantities, what: &Resources, sign: i64) {
    for (name, amount) in what.totals() {
        let sum = to.get(&name).copied().unwrap_or(0).saturating_add(sign * amount.milli());
        if sum == 0 {
            to.remove(&name);
        } else {
            to.insert(name, sum);
        }
    }
}

impl Shares {
    pub(crate) fn declare(&mut self, what: &Resources) {
        add(&mut self.cluster, what, 1);
    }
    pub(crate) fn withdraw(&mut self, what: &Resources) {
        add(&mut self.cluster, what, -1);
    }
    pub(crate) fn charge(&mut self, role: &Role, framework: &FrameworkId, what: &Resources) {
        add(&mut self.roles.entry(role.clone()).or_default().allocated, what, 1);
        let key = (role.clone(), framework.clone());
        add(&mut self.frameworks.entry(key).or_default().allocated, what, 1);
    }
    pub(crate) fn release(&mut self, role: &Role, framework: &FrameworkId, what: &Resources) {
        add(&mut self.roles.entry(role.clone()).or_default().allocated, what, -1);
        let key = (role.clone(), framework.clone());
        add(&mut self.frameworks.entry(key).or_default().allocated, what, -1);
    }
    pub(crate) fn serve(&mut self, role: &Role, framework: &FrameworkId) {
        self.roles.entry(role.clone()).or_default().served += 1;
        self.frameworks.entry((role.clone(), framework.clone())).or_default().served += 1;
    }
    /// Forgets a framework's turns, once nothing is allocated to it any more.
    pub(crate) fn forget(&mut self, framework: &FrameworkId) {
        self.frameworks.retain(|(_, id), usage| id != framework || !usage.allocated.is_empty());
    }
}
