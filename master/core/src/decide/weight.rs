//! SET_WEIGHT: how much a role counts beside its siblings. Done when the registry is synced.
//!
//! A weight of 1 is no record. What is offered now was given by the old weights, so when somebody who takes offers is concerned all
//! outstanding offers are rescinded, and the next look at each agent goes by the new ones.

use super::order::Asked;
use super::rescind::rescind;
use crate::event::Event;
use crate::state::State;
use berth_model::operation::OperationState;
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::role::Role;
use berth_model::weight::{RoleWeight, Weight};
use std::sync::Arc;

/// Lets the role count so much from now on.
pub(crate) fn set(state: &State, asked: Asked<'_>, role: &Role, weight: Weight) -> Vec<Event> {
    let before = state.weight(role);
    let object = format!("role {role}, weight {weight}");
    let mut done = asked.record(None, Vec::new(), object, OperationState::Done);
    if before == weight {
        done.notes.push(format!("role {role} had the weight {weight} already"));
        return vec![done.into()];
    }
    let mut events = Vec::new();
    if is_wanted(state, role) {
        events.extend(state.offers.values().flat_map(rescind));
    }
    events.push(if weight.is_default() {
        Event::Delete(RegistryKey::Weight(role.clone()))
    } else {
        Event::Put(RegistryRecord::Weight(Arc::new(RoleWeight {
            role: role.clone(),
            weight,
            changed: asked.now,
            operation: asked.id,
        })))
    });
    events.push(done.into());
    events
}

/// Does anybody take offers for the role, or for one below it?
fn is_wanted(state: &State, role: &Role) -> bool {
    let mut wanted = state.frameworks.values().flat_map(|framework| framework.wants());
    wanted.any(|other| other == role || other.is_below(role))
}
