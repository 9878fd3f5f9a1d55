//! Roles: what operators say of them.

use super::field;
use super::{At, Wire};
use crate::v1;
use crate::v1::submit_request as submit;
use berth_model::error::Rejection;
use berth_model::operator::Request;
use berth_model::role::Role;
use berth_model::units::Timestamp;
use berth_model::weight::{RoleWeight, Weight};

/// The remedy of every weight that is none.
const WEIGHTS: &str = "give thousandths from 1 to 1000000000, such as 1000";

pub(super) fn weight(milli: u64, at: &At<'_>) -> Result<Weight, Rejection> {
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
