//! Arbitrary values of the model: what operators say of roles.

use crate::disks::profile_name;
use crate::nouns::*;
use berth_model::quota::{Amounts, Counted, Quota, QuotaRequest};
use berth_model::resources::Name;
use berth_model::role::Role;
use berth_model::units::Scalar;
use berth_model::view::{QuotaUse, QuotaView};
use berth_model::weight::{RoleWeight, Weight};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

pub fn weight() -> BoxedStrategy<Weight> {
    (1_u64..=1_000_000_000).prop_map(|milli| Weight::from_milli(milli).unwrap()).boxed()
}
pub fn counted() -> BoxedStrategy<Counted> {
    prop_oneof![
        select(vec!["cpus", "mem", "disk", "gpus", "tokens"])
            .prop_map(|n| Counted::All(Name::new(n))),
        profile_name().prop_map(Counted::DiskOf),
    ]
    .boxed()
}
fn amounts() -> BoxedStrategy<Amounts> {
    btree_map(counted(), (0_i64..=1 << 50).prop_map(Scalar::from_milli), 0..4).boxed()
}
/// One that makes sense.
fn quota_parts() -> BoxedStrategy<(Role, Amounts, Amounts)> {
    let role = "[a-z]{1,5}".prop_map(|text| Role::new(&text).unwrap());
    (role, amounts(), amounts())
        .prop_filter("it makes sense", |(role, guarantees, limits)| {
            berth_model::quota::check(role, guarantees, limits).is_ok()
        })
        .boxed()
}
pub fn quota() -> BoxedStrategy<Quota> {
    (quota_parts(), time(), operation_id())
        .prop_map(|((role, guarantees, limits), changed, operation)| Quota {
            role,
            guarantees,
            limits,
            changed,
            operation,
        })
        .boxed()
}
pub fn quota_request() -> BoxedStrategy<QuotaRequest> {
    prop_oneof![
        (quota_parts(), any::<bool>()).prop_map(|((role, guarantees, limits), force)| {
            QuotaRequest::Set { role, guarantees, limits, force }
        }),
        quota_parts().prop_map(|(role, _, _)| QuotaRequest::Unset { role }),
    ]
    .boxed()
}
pub fn quota_view() -> BoxedStrategy<QuotaView> {
    let milli = || any::<i64>().prop_map(Scalar::from_milli);
    let one = (counted(), of(milli()), of(milli()), milli(), milli(), milli()).prop_map(
        |(counted, guarantee, limit, consumed, offered, capacity)| QuotaUse {
            counted,
            guarantee,
            limit,
            consumed,
            offered,
            capacity,
        },
    );
    (role(), of(quota()), vec(one, 0..3))
        .prop_map(|(role, quota, uses)| QuotaView { role, quota, uses })
        .boxed()
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
