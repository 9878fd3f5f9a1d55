//! What frameworks may take of an agent without an offer, and which transactions make no sense whatever is free.
//!
//! The same sum is shown by `WatchCell` and taken from by COMMIT.

use super::subscribe::subscribed;
use crate::state::{Agent, Framework, State, Withheld};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::FrameworkId;
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::transaction::{PLACEMENTS_MAX, Placement, Transaction, TransactionRecord};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Of the agent's resources that nobody uses or is offered exclusively, those that a framework of this role may have: what is
/// nobody's, and what is reserved to the role and those above it. Quota is not looked at.
pub(crate) fn room(state: &State, agent: &Agent, framework: &Framework, role: &Role) -> Resources {
    if agent.session().is_none() || state.withheld_because(agent).is_some() {
        return Resources::new();
    }
    let mut room = agent.room_for(state, role).allocatable_to(role);
    if agent.faulty || !state.disks.is_empty() {
        room = Withheld::of(state, &agent.info.disks).strip(&room);
    }
    if !framework.record.info.can_share() {
        let shared = room.shared();
        room = room.minus(&shared);
    }
    room
}

/// The answer that the same transaction was given before.
///
/// # Errors
/// The id was used for another one.
pub(crate) fn answered_before<'a>(
    state: &'a State,
    framework: &FrameworkId,
    transaction: &Transaction,
) -> Result<Option<&'a Arc<TransactionRecord>>, Rejection> {
    match state.transactions.get(framework, transaction.id) {
        Some(record) if record.fingerprint != transaction.mark() => Err(Rejection::new(
            ErrorCode::RequestIdReused,
            format!("transaction id {} belongs to another transaction", transaction.id),
        )
        .remedy("choose a new id for each new transaction")
        .field("txn_id")),
        found => Ok(found),
    }
}

/// Refuses a transaction that makes no sense whatever is free, and says for which role each placement is.
pub(crate) fn check(
    state: &State,
    framework: &Framework,
    transaction: &Transaction,
) -> Result<Vec<Role>, Rejection> {
    let invalid = |what: String, remedy: &str, field: &str| {
        let text = format!("transaction {}: {what}", transaction.id);
        Err(Rejection::new(ErrorCode::InvalidArgument, text).remedy(remedy).field(field))
    };
    let many = transaction.placements.len();
    if many == 0 {
        let remedy = "give at least one placement";
        return invalid("it has no placements".to_owned(), remedy, "placements");
    }
    if many > PLACEMENTS_MAX {
        let remedy = format!("give at most {PLACEMENTS_MAX} placements");
        return invalid(format!("it has {many} placements"), &remedy, "placements");
    }
    if let Some(place) = transaction.placements.iter().position(|p| p.operations.is_empty()) {
        let field = format!("placements[{place}].operations");
        let remedy = "give each placement at least one operation";
        return invalid("a placement has no operations".to_owned(), remedy, &field);
    }
    let mut seen = BTreeSet::new();
    for id in transaction.operations() {
        if !seen.insert(id) {
            let what = format!("two operations have the id {id}");
            return invalid(what, "give each operation an id of its own", "operations");
        }
        if let Some(record) = state.operations.get(&id) {
            return Err(Rejection::new(
                ErrorCode::RequestIdReused,
                format!("operation id {id} was taken in before: {} {}", record.kind, record.object),
            )
            .remedy("look at that operation; choose new ids for a new transaction")
            .field("operations"));
        }
    }
    let placements = transaction.placements.iter().enumerate();
    let roles = placements.map(|(place, placement)| {
        role_of(framework, placement)
            .map_err(|error| error.field(format!("placements[{place}].role")))
    });
    roles.collect()
}

fn role_of(framework: &Framework, placement: &Placement) -> Result<Role, Rejection> {
    let roles = &framework.record.info.roles;
    if let Some(role) = &placement.role {
        subscribed(roles, &BTreeSet::from([role.clone()]), "role")?;
        return Ok(role.clone());
    }
    let mut own = roles.iter();
    match (own.next(), own.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None | Some(_), _) => Err(Rejection::new(
            ErrorCode::InvalidArgument,
            format!("the placement on agent {} names no role", placement.agent),
        )
        .remedy("a framework with several roles says for which of them each placement is")),
    }
}
