//! An allocator that keeps nothing: for each look it computes everybody's share from the offers there are, sorts everybody, and adds
//! up what quota counts.

use super::differential::{Bed, KINDS, agent};
use berth_model::id::FrameworkId;
use berth_model::quota::Counted;
use berth_model::resources::{Name, Resource, Resources};
use berth_model::role::Role;
use berth_model::units::Scalar;
use std::collections::BTreeSet;

impl Bed {
    /// Who would be offered what of an agent now, thought through from the tables alone.
    pub(super) fn expect(&self, n: u8) -> Vec<(String, String, String)> {
        let known = self.state.agents.get(&agent(n)).filter(|a| a.session().is_some());
        let Some(known) = known else { return Vec::new() };
        let mut free = known.books.available.clone();
        let mut said: Vec<(FrameworkId, Role, Resources)> = Vec::new();
        let order = self.order();
        for (guarantees, (role, framework)) in
            order.iter().map(|next| (true, next)).chain(order.iter().map(|next| (false, next)))
        {
            let part = free.filtered(|r| r.stack.is_allocatable_to(role));
            let part = self.bounded(guarantees, role, &part, &said);
            let reserved = part.entries().any(|e| !e.resource.stack.is_unreserved());
            let enough = part.total(&Name::Cpus).milli() >= 10
                || part.total(&Name::Mem).milli() >= 32_000
                || reserved;
            let mut refusals = self.state.filters.get(framework).into_iter().flatten();
            let refused = refusals.any(|((of, on), filters)| {
                (of, *on) == (role, agent(n))
                    && filters.iter().any(|f| f.until > self.now && f.refused.contains(&part))
            });
            if part.is_empty() || !enough || refused {
                continue;
            }
            free = free.minus(&part);
            match said.iter_mut().find(|(to, of, _)| to == framework && of == role) {
                Some((_, _, all)) => all.add_all(&part).unwrap(),
                None => said.push((framework.clone(), role.clone(), part)),
            }
        }
        let said = said.into_iter();
        said.map(|(to, of, part)| (to.to_string(), of.to_string(), part.to_string())).collect()
    }
    /// What quota leaves of a part, with what this look has given already.
    fn bounded(
        &self,
        guarantees: bool,
        of: &Role,
        part: &Resources,
        given: &[(FrameworkId, Role, Resources)],
    ) -> Resources {
        let idle = |sum: &Resources, name: &Name| {
            sum.filtered(|r| r.stack.is_unreserved()).total(name).milli()
        };
        let top = of.top();
        let has = |top: &Role, name: &Name| {
            let reserved = self.state.agents.values().map(|known| {
                let own = |r: &Resource| r.stack.owner().is_some_and(|owner| owner.top() == *top);
                known.info.declared.filtered(own).total(name).milli()
            });
            let offers = self.state.offers.values().filter(|offer| offer.role.top() == *top);
            let now = given.iter().filter(|(_, role, _)| role.top() == *top);
            reserved.sum::<i64>()
                + offers.map(|offer| idle(&offer.resources, name)).sum::<i64>()
                + now.map(|(_, _, part)| idle(part, name)).sum::<i64>()
        };
        let lacks = |top: &Role, name: &Name| {
            let quota = self.state.quotas.get(top);
            let wanted = quota.and_then(|quota| quota.guarantees.get(&Counted::All(name.clone())));
            wanted.map_or(0, |wanted| (wanted.milli() - has(top, name)).max(0))
        };
        let mut kept = part.filtered(|r| !r.stack.is_unreserved() || r.name == Name::Ports);
        let mut helps = false;
        for name in [Name::Cpus, Name::Mem, Name::Disk] {
            let quota = self.state.quotas.get(&top);
            let counted = Counted::All(name.clone());
            let mut fits = idle(part, &name);
            let needed: i64 = self.state.quotas.keys().map(|top| lacks(top, &name)).sum();
            if guarantees && quota.is_some_and(|quota| quota.guarantees.contains_key(&counted)) {
                fits = fits.min(lacks(&top, &name));
            } else if needed > 0 {
                let there = self.state.agents.values().filter(|a| a.session().is_some());
                let there: i64 = there.map(|a| idle(&a.books.available, &name)).sum();
                let gone: i64 = given.iter().map(|(_, _, part)| idle(part, &name)).sum();
                let own = if guarantees { 0 } else { lacks(&top, &name) };
                fits = fits.min((there - gone - needed).max(0) + own);
            }
            if let Some(limit) = quota.and_then(|quota| quota.limits.get(&counted)) {
                fits = fits.min((limit.milli() - has(&top, &name)).max(0));
            }
            helps |= fits > 0 && lacks(&top, &name) > 0;
            if fits > 0 {
                kept.add(&Resource::scalar(name, Scalar::from_milli(fits))).unwrap();
            }
        }
        if guarantees && !helps { Resources::new() } else { kept }
    }
    /// The dominant share of whoever `has` accepts, and how often it had its turn.
    fn share(&self, has: &dyn Fn(&Role, &FrameworkId) -> bool) -> ((i128, i128), usize) {
        let mut cluster = Resources::new();
        for known in self.state.agents.values() {
            cluster.add_all(&unmarked(&known.info.declared)).unwrap();
        }
        let milli = |of: &Resources, name: &Name| i128::from(of.total(name).milli());
        let of = |name: &Name| {
            let offers = self.state.offers.values().filter(|o| has(&o.role, &o.framework));
            let part = offers.map(|offer| milli(&offer.resources, name)).sum::<i128>();
            (part, milli(&cluster, name))
        };
        let parts = KINDS.iter().map(of).filter(|(_, whole)| *whole > 0);
        let dominant = parts.max_by(|(a, b), (c, d)| (a * d).cmp(&(c * b))).unwrap_or((0, 1));
        (dominant, self.log.iter().filter(|(role, id)| has(role, id)).count())
    }
    fn order(&self) -> Vec<(Role, FrameworkId)> {
        let mut wanting: Vec<(Role, FrameworkId)> = Vec::new();
        for (id, known) in &self.state.frameworks {
            wanting.extend(known.wants().map(|role| (role.clone(), id.clone())));
        }
        let mut order = Vec::new();
        self.descend(None, &wanting, &mut order);
        order
    }
    /// Everybody at or below a role, by what is directly below it.
    fn descend(
        &self,
        at: Option<&Role>,
        wanting: &[(Role, FrameworkId)],
        order: &mut Vec<(Role, FrameworkId)>,
    ) {
        // A branch is the child's role, or `at` itself for its own frameworks.
        let branch = |role: &Role| -> Option<Role> {
            let rest = match at {
                None => role.as_str(),
                Some(at) if role == at => return Some(role.clone()),
                Some(at) => role.as_str().strip_prefix(at.as_str())?.strip_prefix('/')?,
            };
            let child = rest.split('/').next()?;
            let above = role.as_str().len() - rest.len();
            Some(Role::new(&role.as_str()[..above + child.len()]).unwrap())
        };
        let roles: BTreeSet<Role> = wanting.iter().filter_map(|(role, _)| branch(role)).collect();
        let mut ranked: Vec<_> = roles
            .into_iter()
            .map(|role| {
                let own = Some(&role) == at;
                let ((part, whole), served) =
                    self.share(&|r, _| *r == role || (!own && r.is_below(&role)));
                let weight = if own { 1_000 } else { *self.weights.get(&role).unwrap_or(&1_000) };
                ((part, whole * weight), served, role)
            })
            .collect();
        ranked.sort_by(|((a, b), s, r), ((c, d), t, q)| {
            (a * d).cmp(&(c * b)).then(s.cmp(t)).then(r.cmp(q))
        });
        for (_, _, role) in ranked {
            if Some(&role) != at {
                self.descend(Some(&role), wanting, order);
                continue;
            }
            let here = wanting.iter().filter(|(own, _)| *own == role);
            let mut here: Vec<_> = here
                .map(|(_, id)| (self.share(&|r, f| *r == role && f == id), id.clone()))
                .collect();
            here.sort_by(|(((a, b), s), f), (((c, d), t), g)| {
                (a * d).cmp(&(c * b)).then(s.cmp(t)).then(f.cmp(g))
            });
            order.extend(here.into_iter().map(|(_, id)| (role.clone(), id)));
        }
    }
}

/// Ports of several agents have the same numbers: as amounts they add up.
fn unmarked(declared: &Resources) -> Resources {
    let sums = KINDS.iter().filter(|name| declared.total(name).is_positive());
    let list = sums.map(|name| Resource::scalar(name.clone(), declared.total(name)));
    let mut sum = Resources::new();
    list.for_each(|one| sum.add(&one).unwrap());
    sum
}
