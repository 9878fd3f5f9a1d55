//! The cell as frameworks watch it.

use super::field;
use super::resource::{sum, sum_to_wire};
use super::{At, Wire};
use crate::v1;
use berth_model::cell::{CellAgent, CellEvent, CellRole};
use berth_model::error::Rejection;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Wire for CellEvent {
    type Message = v1::CellEvent;

    fn to_wire(&self) -> v1::CellEvent {
        let Self { number, begins, more, agents } = self;
        v1::CellEvent {
            number: *number,
            begins: *begins,
            more: *more,
            agents: field::messages(agents),
        }
    }

    fn from_wire(message: v1::CellEvent, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::CellEvent { number, begins, more, agents } = message;
        Ok(Self { number, begins, more, agents: field::list(agents, &at.field("agents"))? })
    }
}

impl Wire for CellAgent {
    type Message = v1::CellAgent;

    fn to_wire(&self) -> v1::CellAgent {
        let Self { id, hostname, attributes, version, away, roles } = self;
        v1::CellAgent {
            agent_id: id.to_string(),
            hostname: hostname.to_string(),
            attributes: BTreeMap::clone(attributes),
            version: Some(version.to_wire()),
            away: away.clone(),
            roles: field::messages(roles),
        }
    }

    fn from_wire(message: v1::CellAgent, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::CellAgent { agent_id, hostname, attributes, version, away, roles } = message;
        Ok(Self {
            id: field::id(&agent_id, &at.field("agent_id"))?,
            hostname: Arc::from(hostname),
            attributes: Arc::new(attributes),
            version: field::required(version, &at.field("version"))?,
            away,
            roles: field::list(roles, &at.field("roles"))?,
        })
    }
}

impl Wire for CellRole {
    type Message = v1::CellRole;

    fn to_wire(&self) -> v1::CellRole {
        let Self { role, unreserved, reserved } = self;
        v1::CellRole {
            role: role.to_string(),
            unreserved: sum_to_wire(unreserved),
            reserved: sum_to_wire(reserved),
        }
    }

    fn from_wire(message: v1::CellRole, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::CellRole { role, unreserved, reserved } = message;
        Ok(Self {
            role: field::role(&role, &at.field("role"))?,
            unreserved: sum(unreserved, &at.field("unreserved"))?,
            reserved: sum(reserved, &at.field("reserved"))?,
        })
    }
}
