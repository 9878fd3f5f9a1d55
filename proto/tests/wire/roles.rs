//! Arbitrary values of the model: what operators say of roles.

use crate::nouns::*;
use berth_model::weight::{RoleWeight, Weight};
use proptest::prelude::*;

pub fn weight() -> BoxedStrategy<Weight> {
    (1_u64..=1_000_000_000).prop_map(|milli| Weight::from_milli(milli).unwrap()).boxed()
}
pub fn role_weight() -> BoxedStrategy<RoleWeight> {
    (role(), weight(), time(), operation_id())
        .prop_map(|(role, weight, changed, operation)| RoleWeight {
            role,
            weight,
            changed,
            operation,
        })
        .boxed()
}
