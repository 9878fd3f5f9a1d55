//! Arbitrary resources from few names, so that they often meet in a sum.

use berth_model::id::{Principal, VolumeName};
use berth_model::reservation::{Reservation, Stack};
use berth_model::resources::{
    DiskSource, Mount, MountMode, Name, Persistence, Range, Ranges, Resource, Resources, Value,
};
use berth_model::role::Role;
use berth_model::units::Scalar;
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

pub fn role(text: &str) -> Role {
    Role::new(text).unwrap()
}

pub fn level(text: &str) -> Reservation {
    Reservation::dynamic(role(text))
}

pub fn stack() -> BoxedStrategy<Stack> {
    let label = |level: Reservation| level.with_labels(vec![("k".into(), "v".into())]);
    let principal = Principal::new("ops").unwrap();
    select(vec![
        vec![],
        vec![level("a")],
        vec![level("a").with_principal(Some(principal))],
        vec![label(level("a"))],
        vec![Reservation::fixed(role("a"))],
        vec![Reservation::fixed(role("a")), level("a/b")],
        vec![level("a"), level("a/b")],
        vec![level("c")],
    ])
    .prop_map(|levels| Stack::new(levels).unwrap())
    .boxed()
}

pub fn source() -> BoxedStrategy<DiskSource> {
    let (path, mount) = (DiskSource::Path("/d".into()), DiskSource::Mount("/m".into()));
    select(vec![DiskSource::Root, path, mount, DiskSource::Block("/dev/b".into())]).boxed()
}

pub fn mount() -> BoxedStrategy<Mount> {
    (select(vec!["data", "/srv"]), select(vec![MountMode::ReadWrite, MountMode::ReadOnly]))
        .prop_map(|(path, mode)| Mount { container_path: path.into(), mode })
        .boxed()
}

pub fn persistence() -> BoxedStrategy<Persistence> {
    (select(vec!["v1", "v2"]), of(Just("ops")))
        .prop_map(|(name, principal)| Persistence {
            name: VolumeName::new(name).unwrap(),
            principal: principal.map(|p| Principal::new(p).unwrap()),
        })
        .boxed()
}

pub fn mib() -> BoxedStrategy<Scalar> {
    (1..5_i64).prop_map(|mib| Scalar::from_milli(mib * 1_000)).boxed()
}

pub fn plain_disk() -> BoxedStrategy<Resource> {
    (source(), mib(), stack())
        .prop_map(|(source, size, stack)| Resource::disk(source, size).with_stack(stack))
        .boxed()
}

pub fn volume() -> BoxedStrategy<Resource> {
    (plain_disk(), persistence(), mount(), any::<bool>())
        .prop_map(|(disk, persistence, mount, shared)| {
            let mut volume = disk.with_volume(persistence, mount);
            volume.shared = shared;
            volume
        })
        .boxed()
}

pub fn ranges() -> BoxedStrategy<Ranges> {
    btree_set(0..40_u64, 1..6)
        .prop_map(|numbers| {
            let singles = numbers.into_iter().map(|n| Range { begin: n, end: n });
            Ranges::new(singles.collect()).unwrap()
        })
        .boxed()
}

/// What is neither disk nor volume.
pub fn plain() -> BoxedStrategy<Resource> {
    let value = prop_oneof![
        (1..5_000_i64).prop_map(|m| (Name::Cpus, Value::Scalar(Scalar::from_milli(m)))),
        mib().prop_map(|size| (Name::Mem, Value::Scalar(size))),
        (1..9_i64).prop_map(|m| (Name::new("fpga"), Value::Scalar(Scalar::from_milli(m * 500)))),
        ranges().prop_map(|ranges| (Name::Ports, Value::Ranges(ranges))),
        btree_set(select(vec!["x", "y", "z", "w"]), 1..3).prop_map(|items| {
            (Name::new("zones"), Value::Set(items.into_iter().map(Arc::from).collect()))
        }),
    ];
    (value, stack())
        .prop_map(|((name, value), stack)| Resource::of(name, value).with_stack(stack))
        .boxed()
}

pub fn resource() -> BoxedStrategy<Resource> {
    let provider = of(Just(Arc::from("csi")));
    (prop_oneof![3 => plain(), 2 => plain_disk(), 2 => volume()], any::<bool>(), provider)
        .prop_map(|(mut resource, revocable, provider)| {
            let free = resource.stack.is_unreserved() && resource.persistence().is_none();
            resource.revocable = revocable && free;
            resource.provider = provider;
            resource.validate().unwrap();
            resource
        })
        .boxed()
}

pub fn list() -> BoxedStrategy<Vec<Resource>> {
    vec(resource(), 0..12).boxed()
}

/// A sum of what could be added: a port or item that is there already is left out.
pub fn sum() -> BoxedStrategy<Resources> {
    list().prop_map(|list| added(&list)).boxed()
}

pub fn added(list: &[Resource]) -> Resources {
    let mut sum = Resources::new();
    for resource in list {
        let _left_out = sum.add(resource).is_err();
    }
    sum
}

/// Two sums that can be added.
pub fn pair() -> BoxedStrategy<(Resources, Resources)> {
    (sum(), sum())
        .prop_filter("ports or items overlap", |(a, b)| a.clone().add_all(b).is_ok())
        .boxed()
}
