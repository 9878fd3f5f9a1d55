//! Who has how much of the cluster: the figures behind fair sharing, in thousandths. A shared volume counts once for
//! whoever has it, in however many tasks and offers.

use super::sum_of;
use berth_model::id::{AgentId, FrameworkId};
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
    /// The copies of shared volumes it has; what is counted of them is in `allocated`.
    pub(crate) copies: BTreeMap<AgentId, Resources>,
}

impl Usage {
    fn charge(&mut self, agent: AgentId, what: &Resources) {
        add(&mut self.allocated, &what.unshared(), 1);
        for copy in what.shared().iter().map(|volume| sum_of(&volume)) {
            let mine = self.copies.entry(agent).or_default();
            if !mine.contains(&copy) {
                add(&mut self.allocated, &copy, 1);
            }
            mine.add_all(&copy).expect("copies of volumes add up");
        }
    }
    fn release(&mut self, agent: AgentId, what: &Resources) {
        add(&mut self.allocated, &what.unshared(), -1);
        for copy in what.shared().iter().map(|volume| sum_of(&volume)) {
            let Some(mine) = self.copies.get_mut(&agent) else { continue };
            if mine.checked_sub(&copy).is_ok() && !mine.contains(&copy) {
                add(&mut self.allocated, &copy, -1);
            }
            if mine.is_empty() {
                self.copies.remove(&agent);
            }
        }
    }
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
    /// Somebody has got something of an agent.
    pub(crate) fn charge(&mut self, who: (&Role, &FrameworkId), agent: AgentId, what: &Resources) {
        self.both(who).into_iter().for_each(|usage| usage.charge(agent, what));
    }
    pub(crate) fn release(&mut self, who: (&Role, &FrameworkId), agent: AgentId, what: &Resources) {
        self.both(who).into_iter().for_each(|usage| usage.release(agent, what));
    }
    fn both(&mut self, (role, framework): (&Role, &FrameworkId)) -> [&mut Usage; 2] {
        let of_framework = self.frameworks.entry((role.clone(), framework.clone()));
        [self.roles.entry(role.clone()).or_default(), of_framework.or_default()]
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
