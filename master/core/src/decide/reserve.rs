//! RESERVE, UNRESERVE, and the rows they change. Both are done when the registry is synced.

use super::disk::check_cordon;
use super::order::{Conversion, Order, Source};
use super::quota;
use crate::event::Event;
use crate::state::{Agent, Pool, RowKey, State, sum_of};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, OperationId, ReservationId, derive};
use berth_model::operation::{OperationKind, OperationState};
use berth_model::record::{RegistryKey, ReservationRow};
use berth_model::reservation::ReservationKind;
use berth_model::resources::{Name, Resource, Resources};
use berth_model::units::Timestamp;
use std::collections::BTreeMap;

/// Pushes one level on each of `wanted`, which carry it already.
pub(crate) fn reserve(order: &Order<'_>, wanted: &Resources) -> Result<Conversion, Rejection> {
    let produced = unmarked(wanted)?;
    let mut consumed = Resources::new();
    let mut levels = Vec::new();
    for resource in produced.iter() {
        check_plain(&resource, "RESERVE")?;
        if resource.name == Name::Disk {
            check_cordon(order.state, order.agent, &resource.disk_source())?;
        }
        check_level(order, &resource)?;
        let below = resource.pop().ok_or_else(|| not_dynamic(&resource))?;
        consumed.add(&below).map_err(|e| invalid(e.to_string()))?;
        levels.extend(resource.stack.owner().cloned().map(|owner| (owner, below)));
    }
    let new = levels.iter().map(|(owner, below)| (owner, below));
    quota::check_reserve(order.state, order.agent.info.id, new)?;
    finish(order, consumed, produced)
}

/// Pops one level off each of `wanted`, which still carry it.
pub(crate) fn unreserve(order: &Order<'_>, wanted: &Resources) -> Result<Conversion, Rejection> {
    order.state.refuse_in_safe_mode("UNRESERVE")?;
    let consumed = unmarked(wanted)?;
    let mut produced = Resources::new();
    for resource in consumed.iter() {
        check_plain(&resource, "UNRESERVE")?;
        let below = resource.pop().ok_or_else(|| not_dynamic(&resource))?;
        produced.add(&below).map_err(|e| invalid(e.to_string()))?;
    }
    finish(order, consumed, produced)
}

fn finish(
    order: &Order<'_>,
    consumed: Resources,
    produced: Resources,
) -> Result<Conversion, Rejection> {
    if consumed.is_empty() {
        return Err(invalid("no resources are named".to_owned()).field("resources"));
    }
    let mut events = order.secure(&consumed)?;
    let mut rows = RowChanges::new(order.state, order.agent);
    for resource in consumed.iter() {
        rows.shrink(&resource)?;
    }
    for resource in produced.iter() {
        rows.grow(&resource);
    }
    events.extend(rows.events(order.asked.id, order.asked.now));
    let agent = order.agent.info.id;
    let is_pop = order.asked.kind == OperationKind::Unreserve;
    let object = if is_pop { consumed.to_string() } else { produced.to_string() };
    let done = order.asked.record(Some(agent), Vec::new(), object, OperationState::Done);
    events.push(done.into());
    Ok(Conversion { consumed, produced, events })
}

fn invalid(message: String) -> Rejection {
    Rejection::new(ErrorCode::InvalidResources, message).field("resources")
}

fn not_dynamic(resource: &Resource) -> Rejection {
    Rejection::new(
        ErrorCode::InvalidResources,
        format!("{resource} has no dynamic reservation on top"),
    )
    .remedy("give each resource with the reservation level that is pushed or popped")
    .field("resources")
}

/// The sum without the mark of the role it was offered to.
pub(crate) fn unmarked(wanted: &Resources) -> Result<Resources, Rejection> {
    wanted.allocated_to(None).map_err(|e| invalid(e.to_string()))
}

fn check_plain(resource: &Resource, what: &str) -> Result<(), Rejection> {
    resource.validate().map_err(|e| invalid(e.to_string()))?;
    if let Some(volume) = resource.persistence() {
        return Err(invalid(format!("{what} names the volume {}", volume.name))
            .remedy("destroy the volume first, then name the disk without it"));
    }
    if resource.revocable || resource.shared || resource.provider.is_some() {
        return Err(invalid(format!("{what} names {resource}, which cannot be reserved"))
            .remedy("name resources that are neither revocable, shared nor of a provider"));
    }
    Ok(())
}

/// A framework reserves for its offers' role, or one below it, in its own name.
fn check_level(order: &Order<'_>, resource: &Resource) -> Result<(), Rejection> {
    let top = resource.stack.top().ok_or_else(|| not_dynamic(resource))?;
    if top.kind != ReservationKind::Dynamic {
        return Err(not_dynamic(resource));
    }
    let Source::Accepted { role, principal, .. } = order.source else { return Ok(()) };
    if !top.role.may_use(role) || role.is_star() {
        return Err(Rejection::new(
            ErrorCode::InvalidRole,
            format!("RESERVE for role {} from offers to role {role}", top.role),
        )
        .remedy("reserve for the offers' role or one below it")
        .field("resources"));
    }
    if principal.is_some() && top.principal.as_ref() != principal {
        let found = top.principal.as_ref().map_or("none", |p| p.as_str());
        let own = principal.map_or("none", |p| p.as_str());
        return Err(invalid(format!("RESERVE in the name of {found} by a framework of {own}"))
            .remedy("give the framework's own principal on the new level"));
    }
    Ok(())
}

/// Changes of one agent's rows, collected so that each row is written once.
#[derive(Debug)]
pub(crate) struct RowChanges<'a> {
    state: &'a State,
    agent: &'a Agent,
    changes: BTreeMap<RowKey, (Resources, Resources)>,
}

impl<'a> RowChanges<'a> {
    pub(crate) fn new(state: &'a State, agent: &'a Agent) -> Self {
        Self { state, agent, changes: BTreeMap::new() }
    }

    fn change(&mut self, key: RowKey) -> &mut (Resources, Resources) {
        let (state, agent) = (self.state, self.agent);
        self.changes.entry(key).or_insert_with_key(|key| {
            let row = agent.rows.get(key).and_then(|id| state.rows.get(id));
            let amount = row.map(|row| sum_of(&row.resource)).unwrap_or_default();
            (amount.clone(), amount)
        })
    }
    /// Less in the resource's row; nothing to do when it is not dynamically reserved.
    pub(crate) fn shrink(&mut self, resource: &Resource) -> Result<(), Rejection> {
        let Some(key) = RowKey::of(resource) else { return Ok(()) };
        let agent = self.agent.info.id;
        self.change(key).1.checked_sub(&sum_of(resource)).map_err(|shortfall| {
            Rejection::new(
                ErrorCode::InsufficientResources,
                format!("agent {agent} has not so much reserved: missing {}", shortfall.missing),
            )
            .remedy("list the reservations with `berth reservation list`")
        })
    }
    /// More in the resource's row.
    pub(crate) fn grow(&mut self, resource: &Resource) {
        if let Some(key) = RowKey::of(resource) {
            self.change(key).1.add(resource).expect("a part of what the agent has");
        }
    }
    /// First what shrinks, so that what grows finds it.
    pub(crate) fn events(self, operation: OperationId, now: Timestamp) -> Vec<Event> {
        let (mut shrinking, mut growing) = (Vec::new(), Vec::new());
        for (index, (key, (before, after))) in (0_u64..).zip(self.changes) {
            if before == after {
                continue;
            }
            let known = self.agent.rows.get(&key).and_then(|id| self.state.rows.get(id));
            let left = after.entries().next().map(|entry| entry.resource);
            let event = match (left, known) {
                (None, None) => continue,
                (None, Some(row)) => Event::Delete(RegistryKey::Reservation(row.id)),
                (Some(resource), Some(row)) => {
                    ReservationRow { resource, ..ReservationRow::clone(row) }.into()
                },
                (Some(resource), None) => {
                    let id = derive(operation.as_u128(), ROW_IDS + index);
                    let id = ReservationId::from_u128(id);
                    let agent = self.agent.info.id;
                    ReservationRow { id, agent, resource, created: now }.into()
                },
            };
            if before.contains(&after) { shrinking.push(event) } else { growing.push(event) }
        }
        shrinking.extend(growing);
        shrinking
    }
}

/// Rows' ids are derived from the operation that made them, apart from the ids of its volumes.
const ROW_IDS: u64 = 1 << 32;

/// The part of a row that neither volumes nor tasks have.
pub(crate) fn unused(
    state: &State,
    reservation: ReservationId,
) -> Result<(AgentId, Resources), Rejection> {
    let row = state.rows.get(&reservation).ok_or_else(|| {
        Rejection::new(ErrorCode::UnknownReservation, format!("no reservation {reservation}"))
            .remedy("list the reservations with `berth reservation list`")
            .field("reservation")
    })?;
    let agent = state.connected_agent(row.agent)?;
    let all = sum_of(&row.resource);
    let mut free = Resources::new();
    for pool in [Pool::Available, Pool::Offered] {
        let held = pool_of(agent, pool);
        let part = all.minus(&held.missing(&all));
        free.add_all(&part).map_err(|e| {
            Rejection::new(ErrorCode::InvalidResources, format!("reservation {reservation}: {e}"))
        })?;
    }
    if free.is_empty() {
        return Err(Rejection::new(
            ErrorCode::ResourcesInUse,
            format!("reservation {reservation} ({}) is wholly in volumes or tasks", row.resource),
        )
        .remedy("delete its volumes and end its tasks first"));
    }
    Ok((row.agent, free))
}

fn pool_of(agent: &Agent, pool: Pool) -> &Resources {
    match pool {
        Pool::Available => &agent.books.available,
        Pool::Offered => &agent.books.offered,
        Pool::Used => &agent.books.used,
        Pool::Withheld => &agent.books.withheld,
    }
}
