//! Roles: what operators say of them, and how the master shows them.

use super::field;
use super::{At, Wire};
use crate::v1;
use crate::v1::submit_request as submit;
use berth_model::error::Rejection;
use berth_model::operator::Request;
use berth_model::role::Role;
use berth_model::units::{Scalar, Timestamp};
use berth_model::view::RoleView;
use berth_model::weight::{RoleWeight, Weight};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The remedy of every weight that is none.
const WEIGHTS: &str = "give thousandths from 1 to 1000000000, such as 1000";

fn weight(milli: u64, at: &At<'_>) -> Result<Weight, Rejection> {
    Weight::from_milli(milli).map_err(|error| at.invalid(error, WEIGHTS))
}

impl Wire for RoleWeight {
    type Message = v1::RoleWeight;

    fn to_wire(&self) -> v1::RoleWeight {
        let Self { role, weight, changed, operation } = self;
        v1::RoleWeight {
            role: role.to_string(),
            weight_milli: weight.milli(),
            changed_ms: changed.ms(),
            operation_id: operation.to_string(),
        }
    }

    fn from_wire(message: v1::RoleWeight, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::RoleWeight { role, weight_milli, changed_ms, operation_id } = message;
        Ok(Self {
            role: field::role(&role, &at.field("role"))?,
            weight: weight(weight_milli, &at.field("weight_milli"))?,
            changed: Timestamp::from_ms(changed_ms),
            operation: field::id(&operation_id, &at.field("operation_id"))?,
        })
    }
}

pub(super) fn set_weight_to_wire(role: &Role, weight: Weight) -> submit::Request {
    submit::Request::SetWeight(submit::SetWeight {
        role: role.to_string(),
        weight_milli: weight.milli(),
    })
}

pub(super) fn set_weight(message: &submit::SetWeight, at: &At<'_>) -> Result<Request, Rejection> {
    let submit::SetWeight { role, weight_milli } = message;
    Ok(Request::SetWeight {
        role: field::role(role, &at.field("role"))?,
        weight: weight(*weight_milli, &at.field("weight_milli"))?,
    })
}

fn amounts_to_wire(amounts: &BTreeMap<Arc<str>, Scalar>) -> BTreeMap<String, i64> {
    amounts.iter().map(|(name, amount)| (name.to_string(), amount.milli())).collect()
}

fn amounts(wire: BTreeMap<String, i64>) -> BTreeMap<Arc<str>, Scalar> {
    wire.into_iter().map(|(name, milli)| (Arc::from(name), Scalar::from_milli(milli))).collect()
}

impl Wire for RoleView {
    type Message = v1::RoleView;

    fn to_wire(&self) -> v1::RoleView {
        let Self {
            role,
            frameworks,
            reserved,
            used,
            volumes,
            weight,
            allocated,
            offered,
            consumed,
        } = self;
        v1::RoleView {
            role: role.to_string(),
            framework_ids: field::id_texts(frameworks),
            reserved_milli: amounts_to_wire(reserved),
            used_milli: amounts_to_wire(used),
            volumes: *volumes,
            weight_milli: Some(weight.milli()),
            allocated_milli: amounts_to_wire(allocated),
            offered_milli: amounts_to_wire(offered),
            consumed_milli: amounts_to_wire(consumed),
        }
    }

    fn from_wire(message: v1::RoleView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::RoleView {
            role,
            framework_ids,
            reserved_milli,
            used_milli,
            volumes,
            weight_milli,
            allocated_milli,
            offered_milli,
            consumed_milli,
        } = message;
        let weight_at = at.field("weight_milli");
        let weight = weight_milli.map(|milli| weight(milli, &weight_at)).transpose()?;
        Ok(Self {
            role: field::role(&role, &at.field("role"))?,
            frameworks: field::ids(&framework_ids, &at.field("framework_ids"))?,
            reserved: amounts(reserved_milli),
            used: amounts(used_milli),
            volumes,
            weight: weight.unwrap_or_default(),
            allocated: amounts(allocated_milli),
            offered: amounts(offered_milli),
            consumed: amounts(consumed_milli),
        })
    }
}
