//! SUBSCRIBE: a framework comes, or comes back.

use crate::state::{Framework, State};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::FrameworkInfo;
use berth_model::id::FrameworkId;
use berth_model::record::{FrameworkRecord, RegistryRecord};
use berth_model::role::Role;
use berth_model::units::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The records to be written for a subscriber: its own, and the cluster's when an id was minted.
pub(crate) fn subscribe(
    state: &State,
    info: &FrameworkInfo,
    wanted: Option<&FrameworkId>,
    suppressed: &BTreeSet<Role>,
    now: Timestamp,
) -> Result<(FrameworkId, Vec<RegistryRecord>), Rejection> {
    check_roles(info, suppressed)?;
    let mut records = Vec::new();
    let (id, known) = match wanted {
        Some(id) => (id.clone(), state.frameworks.get(id)),
        None => {
            let (id, next) = mint(state);
            records.push(RegistryRecord::Meta {
                cluster: state.config.cluster,
                epoch: state.config.epoch,
                next_framework: next,
            });
            (id, None)
        },
    };
    if let Some(known) = known {
        check_known(known, info)?;
    }
    let record = FrameworkRecord {
        id: id.clone(),
        info: info.clone(),
        registered: known.map_or(now, |known| known.record.registered),
        removed: None,
    };
    if known.is_none_or(|known| known.record != record) {
        records.push(RegistryRecord::Framework(Arc::new(record)));
    }
    Ok((id, records))
}

/// Refuses roles that cannot be subscribed to. No role at all is fine: a scheduler without work yet
/// takes no offers, and names its roles later.
pub(crate) fn check_roles(
    info: &FrameworkInfo,
    suppressed: &BTreeSet<Role>,
) -> Result<(), Rejection> {
    subscribed(&info.roles, suppressed, "suppressed")
}

/// Refuses roles that the framework is not subscribed to.
pub(crate) fn subscribed(
    roles: &BTreeSet<Role>,
    named: &BTreeSet<Role>,
    field: &str,
) -> Result<(), Rejection> {
    match named.difference(roles).next() {
        Some(role) => Err(Rejection::new(
            ErrorCode::InvalidRole,
            format!("the framework is not subscribed to role {role}"),
        )
        .remedy("name roles that it is subscribed to")
        .field(field)),
        None => Ok(()),
    }
}

fn check_known(known: &Framework, info: &FrameworkInfo) -> Result<(), Rejection> {
    let record = &known.record;
    if record.removed.is_some() {
        return Err(Rejection::new(
            ErrorCode::FrameworkRemoved,
            format!("framework {} ({}) was removed", record.id, record.info.name),
        )
        .remedy("subscribe without an id to begin anew")
        .field("framework"));
    }
    if record.info.principal != info.principal {
        return Err(Rejection::new(
            ErrorCode::InvalidArgument,
            format!("framework {} comes back with another principal", record.id),
        )
        .remedy("keep the principal: reservations and volumes carry it")
        .field("principal"));
    }
    Ok(())
}

fn mint(state: &State) -> (FrameworkId, u64) {
    let cluster = state.config.cluster.to_string();
    let prefix = cluster.get(..8).unwrap_or(&cluster);
    let mut next = state.next_framework;
    loop {
        let id = FrameworkId::new(&format!("{prefix}-{next:04}")).expect("digits and a hyphen");
        next += 1;
        if !state.frameworks.contains_key(&id) {
            return (id, next);
        }
    }
}
