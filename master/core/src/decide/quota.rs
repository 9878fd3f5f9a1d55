//! SET_QUOTA and UNSET_QUOTA, done when the registry is synced, and the limits that whatever takes resources is held to.
//!
//! What a role consumes is what is reserved to it or to roles below it, idle or not, and what their tasks have of what is
//! unreserved. What is only offered does not count: several frameworks may hold the same. A limit is checked where something unreserved would become a role's: RESERVE, with whatever implies one, and LAUNCH.
//! Data that exist are never kept from their owner: what is restored or adopted may go beyond a limit.

use super::disk;
use super::held::held;
use super::order::Asked;
use super::quota_rescind;
use crate::audit::words;
use crate::event::Event;
use crate::state::{Agent, DiskKey, Holding, Link, State, labels, numbers};
use berth_model::disk::{DiskProfile, HealthWish};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, ProfileName};
use berth_model::offer::Offer;
use berth_model::operation::OperationState;
use berth_model::quota::{self, Amounts, Beyond, Counted, Quota, QuotaRequest};
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::resources::{Name, Resource, Resources};
use berth_model::role::Role;
use berth_model::units::Scalar;
use std::sync::Arc;

/// The most holders that a refusal names.
const NAMED_MAX: usize = 8;

/// Replaces or takes away the quota of a role.
pub(crate) fn change(
    state: &State,
    asked: Asked<'_>,
    request: &QuotaRequest,
) -> Result<Vec<Event>, Rejection> {
    let mut done = asked.record(None, Vec::new(), words::quota(request), OperationState::Done);
    match request {
        QuotaRequest::Unset { role } => {
            quota::check_role(role).map_err(|error| error.rejection())?;
            if !state.quotas.contains_key(role) {
                return Err(Rejection::new(
                    ErrorCode::UnknownQuota,
                    format!("role {role} has no quota"),
                )
                .remedy("list them with `berth quota show`")
                .field("role"));
            }
            Ok(vec![Event::Delete(RegistryKey::Quota(role.clone())), done.into()])
        },
        QuotaRequest::Set { role, guarantees, limits, force } => {
            quota::check(role, guarantees, limits).map_err(|error| error.rejection())?;
            // A guarantee of nothing is none; a limit of nothing is one.
            let mut guarantees = guarantees.clone();
            guarantees.retain(|_, amount| amount.is_positive());
            check_profiles(state, &guarantees, "guarantees")?;
            check_profiles(state, limits, "limits")?;
            let doubts =
                [check_capacity(state, role, &guarantees), check_consumed(state, role, limits)];
            for doubt in doubts.into_iter().filter_map(Result::err) {
                if !force {
                    return Err(doubt);
                }
                done.notes.push(format!("by force: {}", doubt.message));
            }
            let known = state.quotas.get(role);
            if known.is_some_and(|k| k.guarantees == guarantees && k.limits == *limits) {
                done.notes.push(format!("role {role} had this quota already"));
                return Ok(vec![done.into()]);
            }
            let (changed, operation) = (asked.now, asked.id);
            let limits = limits.clone();
            let new = Quota { role: role.clone(), guarantees, limits, changed, operation };
            let mut events = quota_rescind::rescind_for(state, &new, asked.now);
            events.push(Event::Put(RegistryRecord::Quota(Arc::new(new))));
            events.push(done.into());
            Ok(events)
        },
    }
}

fn check_profiles(state: &State, amounts: &Amounts, field: &str) -> Result<(), Rejection> {
    for counted in amounts.keys() {
        if let Counted::DiskOf(name) = counted {
            disk::profile(state, name).map_err(|error| error.field(field))?;
        }
    }
    Ok(())
}

fn check_capacity(state: &State, role: &Role, guarantees: &Amounts) -> Result<(), Rejection> {
    let others = state.quotas.values().filter(|known| known.role != *role);
    let others = others.map(|known| &known.guarantees);
    let beyond = quota::beyond_capacity(guarantees, others, |counted| capacity(state, counted));
    let Some(Beyond { counted, amount, most }) = beyond else { return Ok(()) };
    let text = format!(
        "all roles together would be guaranteed {counted}={}, and there is {counted}={}",
        counted.shown(amount),
        counted.shown(most)
    );
    Err(Rejection::new(ErrorCode::QuotaOvercommitted, text)
        .remedy("guarantee less, add agents, or use --force when more are to come")
        .field("guarantees"))
}

fn check_consumed(state: &State, role: &Role, limits: &Amounts) -> Result<(), Rejection> {
    let found = quota::exceeded(limits, |counted| consumed(state, role, counted));
    let all: Vec<String> = found
        .map(|Beyond { counted, amount, most }| {
            format!(
                "limit {counted}={} of role {role} is below what it has, {counted}={} ({})",
                counted.shown(most),
                counted.shown(amount),
                holders(state, role, &counted)
            )
        })
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    Err(Rejection::new(ErrorCode::LimitBelowUse, all.join("; "))
        .remedy("end tasks or release reservations first, or use --force: nothing is taken away, and nothing more is given until it is below")
        .field("limits"))
}

/// Refuses to forget a profile by which a quota counts.
pub(crate) fn check_profile_unused(state: &State, name: &ProfileName) -> Result<(), Rejection> {
    let counted = Counted::DiskOf(name.clone());
    let mut users = state.quotas.values().filter(|known| {
        known.guarantees.contains_key(&counted) || known.limits.contains_key(&counted)
    });
    let Some(user) = users.next() else { return Ok(()) };
    let text = format!("profile {name} is what the quota of role {} counts disks by", user.role);
    Err(Rejection::new(ErrorCode::ProfileInUse, text)
        .remedy(format!(
            "change that quota first: `berth quota set {0}` or `berth quota unset {0}`",
            user.role
        ))
        .field("profile"))
}

/// Says which disks satisfy the profile by which something is counted, healthy or not: a disk that fails gives nothing back.
pub(crate) fn disks_of<'a>(
    state: &'a State,
    counted: &Counted,
) -> impl Fn(&DiskKey) -> bool + use<'a> {
    let profile = match counted {
        Counted::DiskOf(name) => state.profiles.get(name),
        Counted::All(_) => None,
    };
    let profile =
        profile.map(|known| DiskProfile { health: HealthWish::Any, ..DiskProfile::clone(known) });
    move |(agent, source)| {
        let Some(profile) = &profile else { return false };
        let disks = state.agents.get(agent).map(|agent| &agent.info.disks);
        let mut disks = disks.into_iter().flatten().filter(|disk| disk.source == *source);
        disks.any(|disk| profile.misses(disk, labels(state, disk.id)).is_empty())
    }
}

/// What the role and all below it have of it.
pub(crate) fn consumed(state: &State, role: &Role, counted: &Counted) -> Scalar {
    let held = state.holdings.trees.get(&role.top());
    held.map(|held| held.counted(counted, disks_of(state, counted))).unwrap_or_default()
}

/// What unreserved parts of `what`, which are on the agent, come to.
pub(crate) fn unreserved(
    agent: AgentId,
    what: &Resources,
    counted: &Counted,
    is_of: impl Fn(&DiskKey) -> bool,
) -> Scalar {
    let parts = numbers(what).filter(|(resource, _)| {
        resource.stack.is_unreserved() && is_counted(agent, resource, counted, &is_of)
    });
    Scalar::from_milli(parts.fold(0, |sum, (_, amount)| sum.saturating_add(amount)))
}

fn is_counted(
    agent: AgentId,
    resource: &Resource,
    counted: &Counted,
    is_of: impl Fn(&DiskKey) -> bool,
) -> bool {
    match counted {
        Counted::All(name) => resource.name == *name,
        Counted::DiskOf(_) => {
            resource.name == Name::Disk && is_of(&(agent, resource.disk_source()))
        },
    }
}

/// What the agents declare that are there, or are expected back.
pub(crate) fn capacity(state: &State, counted: &Counted) -> Scalar {
    let is_of = disks_of(state, counted);
    let there = |agent: &&Agent| agent.link != Link::Cut;
    let parts = state.agents.values().filter(there).flat_map(|agent| {
        let id = agent.info.id;
        let is_of = &is_of;
        numbers(&agent.info.declared)
            .filter(move |(resource, _)| is_counted(id, resource, counted, is_of))
            .map(|(_, amount)| amount)
    });
    Scalar::from_milli(parts.fold(0, i64::saturating_add))
}

/// What outstanding offers hold of what is unreserved; what several hold optimistically once.
pub(crate) fn offered<'a>(
    state: &State,
    offers: impl Iterator<Item = &'a Offer>,
    counted: &Counted,
) -> Scalar {
    let is_of = disks_of(state, counted);
    let sums = held(offers);
    let parts = sums.iter().map(|(agent, sum)| unreserved(*agent, sum, counted, &is_of));
    parts.fold(Scalar::ZERO, |sum, part| sum.checked_add(part).unwrap_or(sum))
}

/// Who has how much of it, the one with the most first.
fn holders(state: &State, role: &Role, counted: &Counted) -> String {
    let is_of = disks_of(state, counted);
    let below = state.holdings.roles.iter().filter(|(other, _)| other.may_use(role));
    let part = |held: &Holding| held.counted(counted, &is_of);
    let mut all: Vec<(Scalar, &Role)> = below
        .map(|(other, held)| (part(held), other))
        .filter(|(part, _)| part.is_positive())
        .collect();
    all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let named: Vec<String> = all
        .iter()
        .take(NAMED_MAX)
        .map(|(part, other)| format!("{other} has {}", counted.shown(*part)))
        .collect();
    let more = all.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(", and {more} more roles some") } else { String::new() };
    if named.is_empty() { "nobody has any".to_owned() } else { named.join(", ") + &more }
}

/// Refuses what would give the role more than a limit of its tree; only what is unreserved of `wanted` is new to it.
pub(crate) fn check_limits(
    state: &State,
    agent: AgentId,
    role: &Role,
    wanted: &Resources,
) -> Result<(), Rejection> {
    let top = role.top();
    let Some(quota) = state.quotas.get(&top) else { return Ok(()) };
    for (counted, limit) in &quota.limits {
        let is_of = disks_of(state, counted);
        let more = unreserved(agent, wanted, counted, &is_of);
        if !more.is_positive() {
            continue;
        }
        let has = consumed(state, &top, counted);
        let Some(beyond) = i64::checked_add(has.milli(), more.milli())
            .map_or(Some(i64::MAX), |sum| sum.checked_sub(limit.milli()))
            .filter(|beyond| *beyond > 0)
        else {
            continue;
        };
        let shown = |amount: Scalar| counted.shown(amount);
        let text = format!(
            "role {role} cannot have {counted}={} more: the limit of role {top} is {}, it has {} ({}), and {} would be too much",
            shown(more),
            shown(*limit),
            shown(has),
            holders(state, &top, counted),
            shown(Scalar::from_milli(beyond))
        );
        return Err(Rejection::new(ErrorCode::QuotaExceeded, text).remedy(format!(
            "end tasks or release reservations of role {top}, or raise its limit; see `berth quota usage {top}`"
        )));
    }
    Ok(())
}

/// Refuses to take what several were offered when too little would be left free for the guarantees of others: each offer kept it
/// free by itself, but not all of them together. What meets a guarantee of the role's own is taken from what it lacks.
pub(crate) fn check_headroom(
    state: &State,
    agent: AgentId,
    role: &Role,
    wanted: &Resources,
) -> Result<(), Rejection> {
    let standings = &state.standings;
    if standings.all_required().is_empty() {
        return Ok(());
    }
    let top = role.top();
    let needs = standings.unreserved(agent, wanted);
    let more = |counted: &Counted| needs.get(counted).copied().unwrap_or(0);
    for (counted, &need) in &needs {
        let required = standings.required(counted);
        let own = standings
            .of(&top)
            .map_or(0, |standing| standing.lacks(counted) - standing.lacks_after(counted, more));
        let free = standings.since(state, counted);
        if required <= own || free - need >= required - own {
            continue;
        }
        let shown = |milli: i64| counted.shown(Scalar::from_milli(milli.max(0)));
        let text = format!(
            "Conflict: agent {agent}: {counted}={} for role {role} would leave {} free in the cluster, and roles lack {} of what they are guaranteed",
            shown(need),
            shown(free - need),
            shown(required - own)
        );
        return Err(Rejection::new(ErrorCode::Conflict, text).remedy(
            "decide anew on the next offer, which comes by itself; see `berth quota usage` for who is guaranteed what",
        ));
    }
    Ok(())
}

/// As [`check_limits`], for what a RESERVE pushes a level on: each resource as it is below that level, and who gets it.
pub(crate) fn check_reserve<'a>(
    state: &State,
    agent: AgentId,
    levels: impl Iterator<Item = (&'a Role, &'a Resource)>,
) -> Result<(), Rejection> {
    if state.quotas.is_empty() {
        return Ok(());
    }
    let mut wanted: std::collections::BTreeMap<Role, Resources> = std::collections::BTreeMap::new();
    for (role, below) in levels {
        let sum = wanted.entry(role.top()).or_default();
        sum.add(below).map_err(|e| Rejection::new(ErrorCode::InvalidResources, e.to_string()))?;
    }
    wanted.iter().try_for_each(|(role, wanted)| check_limits(state, agent, role, wanted))
}
