//! The index of reservation rows of one agent.

use berth_model::reservation::{ReservationKind, Stack};
use berth_model::resources::{DiskSource, Name, Resource};
use berth_model::role::Role;

/// What two reserved amounts must share to be one row. The owner comes before the stack, so the rows
/// of one role on one disk are neighbours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey {
    pub(crate) name: Name,
    pub(crate) source: DiskSource,
    pub(crate) owner: Role,
    pub(crate) stack: Stack,
}

impl RowKey {
    /// The row that `resource` belongs to; nothing when it is not dynamically reserved.
    pub(crate) fn of(resource: &Resource) -> Option<Self> {
        let top = resource.stack.top().filter(|r| r.kind == ReservationKind::Dynamic)?;
        Some(Self {
            name: resource.name.clone(),
            source: resource.disk_source(),
            owner: top.role.clone(),
            stack: resource.stack.clone(),
        })
    }
}

/// The stack that is left when all dynamic levels are popped: what the agent declared.
pub(crate) fn base_of(stack: &Stack) -> Stack {
    let mut base = stack.clone();
    while let Some(below) = base.pop() {
        base = below;
    }
    base
}
