//! Roles as lists show them, and how they stand against their quota.

use super::add;
use crate::decide::held::held;
use crate::decide::quota::{capacity, consumed, offered};
use crate::state::{State, numbers, sum_of};
use berth_model::id::{AgentId, FrameworkId};
use berth_model::offer::Offer;
use berth_model::quota::{Counted, Quota};
use berth_model::resources::{Name, Resources};
use berth_model::role::Role;
use berth_model::units::Scalar;
use berth_model::view::{QuotaUse, QuotaView, RoleView};
use berth_model::weight::Weight;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The roles in use: subscribed to, reserved to, owning volumes, with a weight or a quota of their own, or above one that has
/// something.
#[must_use]
pub fn roles(state: &State) -> Vec<RoleView> {
    let mut views: BTreeMap<Role, RoleView> = BTreeMap::new();
    let mut subscribers: BTreeMap<Role, BTreeSet<FrameworkId>> = BTreeMap::new();
    for framework in state.frameworks.values().filter(|f| f.record.removed.is_none()) {
        for role in &framework.record.info.roles {
            subscribers.entry(role.clone()).or_default().insert(framework.record.id.clone());
        }
    }
    for (role, ids) in subscribers {
        row(&mut views, &role).frameworks = ids.into_iter().collect();
    }
    for agent in state.agents.values() {
        for entry in agent.books.total.entries() {
            let Some(owner) = entry.resource.stack.owner() else { continue };
            let one = sum_of(&entry.resource).total(&entry.resource.name);
            let name: Arc<str> = Arc::from(entry.resource.name.as_str());
            for _ in 0..entry.copies {
                count(&mut row(&mut views, owner).reserved, &name, one);
            }
        }
    }
    // A shared volume counts once, however many tasks of the role use it.
    let mut shared: BTreeMap<(&Role, AgentId), Resources> = BTreeMap::new();
    let mut used: Vec<(&Role, BTreeMap<Name, Scalar>)> = Vec::new();
    for task in state.tasks.values().filter(|task| !task.ended()) {
        used.push((&task.role, task.resources.unshared().totals()));
        add(shared.entry((&task.role, task.agent)).or_default(), &task.resources.shared());
    }
    used.extend(shared.into_iter().map(|((role, _), copies)| (role, copies.totals())));
    for (role, totals) in used {
        for (name, amount) in totals {
            count(&mut row(&mut views, role).used, &Arc::from(name.as_str()), amount);
        }
    }
    for entry in state.volumes.values().filter(|entry| entry.volume.state.holds_name()) {
        row(&mut views, &entry.volume.spec.role).volumes += 1;
    }
    for weight in state.weights.values() {
        row(&mut views, &weight.role).weight = weight.weight;
    }
    for role in state.quotas.keys() {
        row(&mut views, role);
    }
    let mut offers: BTreeMap<&Role, Vec<&Offer>> = BTreeMap::new();
    for offer in state.offers.values() {
        offers.entry(&offer.role).or_default().push(offer);
    }
    for (role, offers) in offers {
        let sums = held(offers.into_iter());
        for (name, amount) in sums.values().flat_map(Resources::totals) {
            count(&mut row(&mut views, role).offered, &Arc::from(name.as_str()), amount);
        }
    }
    consumption(state, &mut views);
    views.into_values().collect()
}

/// What counts for quota: of each role by itself, and of it with all below it. What has something below it is in use.
fn consumption(state: &State, views: &mut BTreeMap<Role, RoleView>) {
    let figure = |amount: &i64| Scalar::from_milli(*amount);
    for (role, held) in &state.holdings.roles {
        let own = &mut row(views, role).allocated;
        for (name, amount) in &held.allocated {
            count(own, &Arc::from(name.as_str()), figure(amount));
        }
        let mut above = Some(role.clone());
        while let Some(role) = above {
            let sums = &mut row(views, &role).consumed;
            for (name, amount) in held.reserved.iter().chain(&held.allocated) {
                count(sums, &Arc::from(name.as_str()), figure(amount));
            }
            above = role.parent();
        }
    }
}

/// Top-level roles that have a quota or anything that is counted, with how they stand.
#[must_use]
pub fn quotas(state: &State) -> Vec<QuotaView> {
    let offered = state.offers.values().map(|offer| offer.role.top());
    let roles: BTreeSet<Role> = offered
        .chain(state.quotas.keys().cloned())
        .chain(state.holdings.trees.keys().cloned())
        .collect();
    let mut capacities = BTreeMap::new();
    roles.into_iter().map(|role| quota_of(state, role, &mut capacities)).collect()
}

/// Capacities are the same for all roles; each is added up once.
fn quota_of(state: &State, role: Role, capacities: &mut BTreeMap<Counted, Scalar>) -> QuotaView {
    let quota = state.quotas.get(&role).map(|known| Quota::clone(known));
    let held = state.holdings.trees.get(&role);
    let mut all: BTreeSet<Counted> =
        held.iter().flat_map(|held| held.names()).cloned().map(Counted::All).collect();
    if let Some(known) = &quota {
        all.extend(known.guarantees.keys().chain(known.limits.keys()).cloned());
    }
    let offers: Vec<&Offer> = state.offers.values().filter(|o| o.role.may_use(&role)).collect();
    for offer in &offers {
        let parts = numbers(&offer.resources).filter(|(r, _)| r.stack.is_unreserved());
        all.extend(parts.map(|(resource, _)| Counted::All(resource.name)));
    }
    let uses = all.into_iter().map(|counted| QuotaUse {
        guarantee: quota.as_ref().and_then(|known| known.guarantees.get(&counted).copied()),
        limit: quota.as_ref().and_then(|known| known.limits.get(&counted).copied()),
        consumed: consumed(state, &role, &counted),
        offered: offered(state, offers.iter().copied(), &counted),
        capacity: *capacities.entry(counted.clone()).or_insert_with(|| capacity(state, &counted)),
        counted,
    });
    let uses = uses.collect();
    QuotaView { role, quota, uses }
}

fn row<'a>(views: &'a mut BTreeMap<Role, RoleView>, role: &Role) -> &'a mut RoleView {
    views.entry(role.clone()).or_insert_with(|| RoleView {
        role: role.clone(),
        frameworks: Vec::new(),
        reserved: BTreeMap::new(),
        used: BTreeMap::new(),
        volumes: 0,
        weight: Weight::ONE,
        allocated: BTreeMap::new(),
        offered: BTreeMap::new(),
        consumed: BTreeMap::new(),
    })
}

fn count(sums: &mut BTreeMap<Arc<str>, Scalar>, name: &Arc<str>, amount: Scalar) {
    let sum = sums.entry(Arc::clone(name)).or_default();
    *sum = sum.checked_add(amount).unwrap_or(*sum);
}
