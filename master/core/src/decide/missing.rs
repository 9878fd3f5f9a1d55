//! Reserves what is missing of a volume's place, and undoes that when the volume could not be made.

use super::order::Order;
use super::quota;
use super::reserve::RowChanges;
use super::room::{bad_size, free, sized};
use crate::event::Event;
use crate::state::{State, sum_of};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, derive};
use berth_model::resources::Resource;
use berth_model::role::Role;
use berth_model::units::{Bytes, Timestamp};
use berth_model::volume::Volume;

/// What had to be reserved.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) events: Vec<Event>,
    /// As it was before; absent when nothing was missing.
    pub(crate) from: Option<Box<Resource>>,
}

/// Makes sure that `disk`, reserved, is there to be taken, reserving from the levels below what is
/// missing.
pub(crate) fn reserve_missing(order: &Order<'_>, disk: &Resource) -> Result<Missing, Rejection> {
    let size = disk.size();
    let have = free(order.agent, disk, size);
    let short = Bytes::new(size.get().saturating_sub(have.get()));
    let missing = short.to_scalar().ok().filter(|missing| missing.is_positive());
    let Some(missing) = missing else {
        return Ok(Missing { events: order.secure(&sum_of(disk))?, from: None });
    };
    let mut below = disk.pop();
    while let Some(level) = &below
        && free(order.agent, level, short) < short
    {
        below = level.pop();
    }
    let Some(below) = below else { return Err(missing_disk(order, disk, have, short)) };
    let mut wanted = sum_of(&sized(&below, missing));
    if let Ok(have) = have.to_scalar() {
        wanted.add(&sized(disk, have)).map_err(|e| bad_size(e.to_string()))?;
    }
    let mut events = order.secure(&wanted)?;
    let mut rows = RowChanges::new(order.state, order.agent);
    let from = sized(&below, missing);
    rows.shrink(&from)?;
    rows.grow(&sized(disk, missing));
    events.extend(rows.events(order.asked.id, order.asked.now));
    Ok(Missing { events, from: Some(Box::new(from)) })
}

/// Refuses what had to be reserved when it takes the role above a limit.
pub(crate) fn check_limits(
    order: &Order<'_>,
    role: &Role,
    missing: &Missing,
) -> Result<(), Rejection> {
    let Some(from) = &missing.from else { return Ok(()) };
    quota::check_limits(order.state, order.agent.info.id, role, &sum_of(from))
}

/// Undoes what was reserved for a volume that could not be made; its space is free again.
pub(crate) fn give_back(state: &State, volume: &Volume, now: Timestamp) -> Vec<Event> {
    let (Some(from), Some(agent)) = (&volume.reserved_from, state.agents.get(&volume.agent)) else {
        return Vec::new();
    };
    let (Some(amount), Ok(plain)) = (from.amount(), volume.plain_resource()) else {
        return Vec::new();
    };
    let mut rows = RowChanges::new(state, agent);
    // The row holds the volume, so it cannot have less; were it otherwise, it is not ours to mend.
    if rows.shrink(&sized(&plain, amount)).is_err() {
        return Vec::new();
    }
    rows.grow(from);
    let undoing = OperationId::from_u128(derive(volume.operation.as_u128(), GIVEN_BACK));
    rows.events(undoing, now)
}

/// Rows that come back get ids apart from those the operation made.
const GIVEN_BACK: u64 = 1 << 33;

fn missing_disk(order: &Order<'_>, disk: &Resource, have: Bytes, short: Bytes) -> Rejection {
    let info = &order.agent.info;
    Rejection::new(
        ErrorCode::InsufficientResources,
        format!(
            "agent {} ({}) has {have} of {disk} free; {short} are missing and cannot be reserved",
            info.id, info.hostname
        ),
    )
    .remedy("ask for less, delete a volume, or release reservations of other roles")
}
