//! Arbitrary values of the model: small nouns first.

use crate::tasks::program;
use crate::wipes::wiped;
use berth_model::access::{Access, Mode, Owner};
use berth_model::declaration::{DiskDeclaration, DiskOrder, DiskOrderState, LedgerDiskOrder};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{
    AgentId, ContainerId, DiskId, FrameworkId, GroupId, OfferId, OperationId, Principal,
    SnapshotId, SnapshotName, StatusId, TaskId, VolumeId, VolumeName,
};
use berth_model::orphan::{LedgerOrphan, Orphan, OrphanOrder, OrphanPlace, OrphanState};
use berth_model::reservation::{Reservation, Stack};
use berth_model::resources::{
    DiskInfo, DiskSource, Mount, MountMode, Name, Persistence, Range, Ranges, Resource, Resources,
    Value,
};
use berth_model::role::Role;
use berth_model::schedule::{
    EVERY_MAX, EVERY_MIN, KEEP_MAX, Keep, SchedulePlan, ScheduleResult, ScheduleRun,
    SnapshotSchedule,
};
use berth_model::snapshot::{
    Consistency, Freeze, Group, Origin, Snapshot, SnapshotReport, SnapshotSpec, SnapshotState,
};
use berth_model::units::{Bytes, Scalar, Timestamp};
use berth_model::usage::Measured;
use berth_model::volume::{
    Enforcement, Resize, Volume, VolumeReport, VolumeSpec, VolumeState, VolumeUse,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub fn text() -> BoxedStrategy<String> {
    "[ -~ä…]{0,8}".boxed()
}
pub fn filled() -> BoxedStrategy<String> {
    "[ -~ä…]{1,8}".boxed()
}
pub fn arc() -> BoxedStrategy<Arc<str>> {
    text().prop_map(Arc::from).boxed()
}
fn name_text() -> BoxedStrategy<String> {
    "[a-zA-Z0-9 _:;,ä…-]{1,9}".boxed()
}
pub fn agent() -> BoxedStrategy<AgentId> {
    any::<u128>().prop_map(AgentId::from_u128).boxed()
}
pub fn volume_id() -> BoxedStrategy<VolumeId> {
    any::<u128>().prop_map(VolumeId::from_u128).boxed()
}
pub fn disk_id() -> BoxedStrategy<DiskId> {
    any::<u128>().prop_map(DiskId::from_u128).boxed()
}
pub fn operation_id() -> BoxedStrategy<OperationId> {
    any::<u128>().prop_map(OperationId::from_u128).boxed()
}
pub fn status_id() -> BoxedStrategy<StatusId> {
    any::<u128>().prop_map(StatusId::from_u128).boxed()
}
pub fn container() -> BoxedStrategy<ContainerId> {
    any::<u128>().prop_map(ContainerId::from_u128).boxed()
}
pub fn framework() -> BoxedStrategy<FrameworkId> {
    name_text().prop_map(|t| FrameworkId::new(&t).unwrap()).boxed()
}
pub fn task() -> BoxedStrategy<TaskId> {
    name_text().prop_map(|t| TaskId::new(&t).unwrap()).boxed()
}
pub fn volume_name() -> BoxedStrategy<VolumeName> {
    name_text().prop_map(|t| VolumeName::new(&t).unwrap()).boxed()
}
pub fn principal() -> BoxedStrategy<Option<Principal>> {
    of(name_text().prop_map(|t| Principal::new(&t).unwrap())).boxed()
}
pub fn offer_id() -> BoxedStrategy<OfferId> {
    any::<(u64, u64)>().prop_map(|(epoch, number)| OfferId { epoch, number }).boxed()
}
pub fn owner() -> BoxedStrategy<Role> {
    "[a-z]{1,3}(/[a-z]{1,3}){0,2}".prop_map(|t| Role::new(&t).unwrap()).boxed()
}
pub fn role() -> BoxedStrategy<Role> {
    prop_oneof![4 => owner(), 1 => Just(Role::star())].boxed()
}
pub fn roles() -> BoxedStrategy<BTreeSet<Role>> {
    btree_set(role(), 0..4).boxed()
}
pub fn time() -> BoxedStrategy<Timestamp> {
    any::<u64>().prop_map(Timestamp::from_ms).boxed()
}
pub fn span() -> BoxedStrategy<Duration> {
    any::<u64>().prop_map(Duration::from_millis).boxed()
}
pub fn some_span() -> BoxedStrategy<Duration> {
    (1..u64::MAX).prop_map(Duration::from_millis).boxed()
}
pub fn map() -> BoxedStrategy<BTreeMap<String, String>> {
    btree_map("[A-Z_.a-z]{1,5}", text(), 0..3).boxed()
}
pub fn bytes() -> BoxedStrategy<Bytes> {
    any::<u64>().prop_map(Bytes::new).boxed()
}
pub fn size() -> BoxedStrategy<Bytes> {
    (1..1_000_000_u64).prop_map(Bytes::from_mib).boxed()
}

pub fn rejection() -> BoxedStrategy<Rejection> {
    (select(ErrorCode::ALL), text(), text(), text())
        .prop_map(|(code, message, remedy, field)| Rejection { code, message, remedy, field })
        .boxed()
}

pub fn stack() -> BoxedStrategy<Stack> {
    let level = (principal(), vec((filled(), text()), 0..3));
    (vec(level, 0..4), any::<bool>())
        .prop_map(|(levels, fixed)| {
            let mut path = String::from("r");
            let mut stack = Vec::new();
            for (index, (principal, labels)) in levels.into_iter().enumerate() {
                let role = Role::new(&path).unwrap();
                let plain = if fixed && index == 0 {
                    Reservation::fixed(role)
                } else {
                    Reservation::dynamic(role)
                };
                let labels = labels.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
                stack.push(plain.with_principal(principal).with_labels(labels));
                path.push_str("/s");
            }
            Stack::new(stack).unwrap()
        })
        .boxed()
}

pub fn source() -> BoxedStrategy<DiskSource> {
    let root = || "/[a-z]{1,3}".prop_map(Arc::from);
    prop_oneof![
        Just(DiskSource::Root),
        root().prop_map(DiskSource::Path),
        root().prop_map(DiskSource::Mount),
        root().prop_map(DiskSource::Block)
    ]
    .boxed()
}
pub fn container_path() -> BoxedStrategy<Arc<str>> {
    "/?[a-z]{1,3}(/[a-z]{1,3}){0,2}".prop_map(Arc::from).boxed()
}
pub fn mount() -> BoxedStrategy<Mount> {
    (container_path(), select(vec![MountMode::ReadWrite, MountMode::ReadOnly]))
        .prop_map(|(container_path, mode)| Mount { container_path, mode })
        .boxed()
}
fn disk_info() -> BoxedStrategy<DiskInfo> {
    let volume = (volume_name(), principal(), mount());
    (source(), of(volume))
        .prop_map(|(source, volume)| match volume {
            None => DiskInfo { source, persistence: None, mount: None },
            Some((name, principal, mount)) => DiskInfo {
                source,
                persistence: Some(Persistence { name, principal }),
                mount: Some(mount),
            },
        })
        .boxed()
}

fn amount() -> BoxedStrategy<(Name, Value)> {
    let scalar = |milli: i64| Value::Scalar(Scalar::from_milli(milli));
    prop_oneof![
        (1..100_000_i64).prop_map(move |m| (Name::Cpus, scalar(m))),
        (1..100_000_i64).prop_map(move |m| (Name::Mem, scalar(m * 1000))),
        (1..100_000_i64).prop_map(move |m| (Name::Disk, scalar(m * 1000))),
        (1..100_000_i64).prop_map(move |m| (Name::new("fpga"), scalar(m))),
        btree_set(0..50_u64, 1..5).prop_map(|starts| {
            let ranges = starts.into_iter().map(|s| Range { begin: s * 10, end: s * 10 + 5 });
            (Name::Ports, Value::Ranges(Ranges::new(ranges.collect()).unwrap()))
        }),
        btree_set("[a-z]{1,2}".prop_map(Arc::from), 1..4)
            .prop_map(|items| (Name::new("zones"), Value::Set(items))),
    ]
    .boxed()
}

pub fn resource() -> BoxedStrategy<Resource> {
    let flags = (any::<bool>(), any::<bool>());
    let provider = of(filled().prop_map(Arc::from));
    (amount(), stack(), of(disk_info()), flags, provider, of(role()))
        .prop_map(|((name, value), stack, disk, (shared, revocable), provider, for_role)| {
            let disk = disk.filter(|_| name == Name::Disk);
            let volume = disk.as_ref().is_some_and(|d| d.persistence.is_some());
            let resource = Resource {
                shared: shared && volume,
                revocable: revocable && !volume && stack.is_unreserved(),
                name,
                value,
                stack,
                disk,
                provider,
                allocation_role: for_role,
            };
            resource.validate().unwrap();
            resource
        })
        .boxed()
}

/// A sum; some volumes and whole disks in it several times.
pub fn resources() -> BoxedStrategy<Resources> {
    vec((resource(), 1..4_usize), 0..4)
        .prop_map(|list| {
            let mut sum = Resources::new();
            for (resource, times) in list {
                for _ in 0..if resource.is_divisible() { 1 } else { times } {
                    // Two of one name with values of different kinds, or the same port: left out.
                    let _left_out = sum.add(&resource).is_err();
                }
            }
            sum
        })
        .boxed()
}
pub fn some_resources() -> BoxedStrategy<Resources> {
    (resource(), resources())
        .prop_map(|(one, mut sum)| {
            let _left_out = sum.add(&one).is_err();
            sum
        })
        .boxed()
}

pub fn enforcement() -> BoxedStrategy<Enforcement> {
    select(vec![Enforcement::None, Enforcement::Quota, Enforcement::Device]).boxed()
}
pub fn volume_state() -> BoxedStrategy<VolumeState> {
    select(VolumeState::ALL.to_vec()).boxed()
}
pub fn access() -> BoxedStrategy<Access> {
    let owner = (0..u32::MAX, 0..u32::MAX).prop_map(|(uid, gid)| Owner::new(uid, gid).unwrap());
    (of(owner), of(0_u32..=0o7777))
        .prop_map(|(owner, mode)| Access { owner, mode: mode.map(|bits| Mode::new(bits).unwrap()) })
        .boxed()
}
pub fn spec() -> BoxedStrategy<VolumeSpec> {
    let kind = (access(), any::<bool>(), any::<bool>());
    (volume_id(), 1..u64::MAX, volume_name(), owner(), principal(), source(), size(), kind)
        .prop_map(|(id, generation, name, role, principal, source, size, kind)| VolumeSpec {
            id,
            generation,
            name,
            role,
            principal,
            source,
            size,
            access: kind.0,
            shared: kind.1,
            encrypted: kind.2,
        })
        .boxed()
}
pub fn volume() -> BoxedStrategy<Volume> {
    (
        (spec(), agent(), stack(), container_path(), volume_state()),
        (of(rejection()), time(), time(), of(framework())),
        (
            operation_id(),
            of(resource()),
            of((size(), size())),
            of(origin()),
            any::<bool>(),
            of(access()),
        ),
    )
        .prop_map(
            |(
                (spec, agent, stack, container_path, state),
                (error, created, changed, framework),
                (operation, reserved_from, resize, origin, protected, access_before),
            )| Volume {
                spec,
                agent,
                stack,
                container_path,
                state,
                error,
                created,
                changed,
                framework,
                operation,
                reserved_from: reserved_from.map(Box::new),
                resize: resize.map(|(from, to)| Resize { from, to }),
                origin: origin.map(Box::new),
                protected,
                access_before,
            },
        )
        .boxed()
}
pub fn volume_report() -> BoxedStrategy<VolumeReport> {
    (
        (spec(), volume_state(), of(operation_id()), of(rejection()), arc()),
        (arc(), enforcement(), of(bytes()), vec(volume_id(), 0..3), of(size()), of(access())),
        (of(wiped()), any::<bool>(), of(rejection())),
    )
        .prop_map(
            |(
                (spec, state, operation, error, host_path),
                (driver, enforcement, used, purged, resizing, setting),
                (wiped, refused, unavailable),
            )| {
                VolumeReport {
                    spec,
                    state,
                    operation,
                    error,
                    host_path,
                    driver,
                    enforcement,
                    used,
                    purged,
                    resizing,
                    setting,
                    wiped,
                    refused,
                    unavailable,
                }
            },
        )
        .boxed()
}
pub fn volume_use() -> BoxedStrategy<VolumeUse> {
    (volume_id(), 1..u64::MAX, mount())
        .prop_map(|(volume, generation, mount)| VolumeUse { volume, generation, mount })
        .boxed()
}
pub fn snapshot_id() -> BoxedStrategy<SnapshotId> {
    any::<u128>().prop_map(SnapshotId::from_u128).boxed()
}
pub fn snapshot_name() -> BoxedStrategy<SnapshotName> {
    name_text().prop_map(|t| SnapshotName::new(&t).unwrap()).boxed()
}
pub fn snapshot_state() -> BoxedStrategy<SnapshotState> {
    select(SnapshotState::ALL.to_vec()).boxed()
}
pub fn snapshot_spec() -> BoxedStrategy<SnapshotSpec> {
    (snapshot_id(), snapshot_name(), spec())
        .prop_map(|(id, name, of)| SnapshotSpec { id, name, of })
        .boxed()
}
pub fn freeze() -> BoxedStrategy<Freeze> {
    (program(), some_span()).prop_map(|(program, timeout)| Freeze { program, timeout }).boxed()
}
pub fn origin() -> BoxedStrategy<Origin> {
    prop_oneof![
        snapshot_spec().prop_map(|snapshot| Origin::Clone { snapshot }),
        (snapshot_spec(), snapshot_spec())
            .prop_map(|(snapshot, safety)| Origin::RollBack { snapshot, safety }),
        Just(Origin::Orphan),
        crate::transfers::directory().prop_map(|path| Origin::Directory { path }),
        Just(Origin::Stream),
    ]
    .boxed()
}
pub fn orphan_place() -> BoxedStrategy<OrphanPlace> {
    select(vec![OrphanPlace::Live, OrphanPlace::Trash]).boxed()
}
pub fn orphan() -> BoxedStrategy<Orphan> {
    (arc(), orphan_place(), of(spec()), arc(), of(bytes()), of(time()))
        .prop_map(|(path, place, spec, evidence, used, modified)| Orphan {
            path,
            place,
            spec,
            evidence,
            used,
            modified,
        })
        .boxed()
}
pub fn orphan_order() -> BoxedStrategy<OrphanOrder> {
    (spec(), orphan_place()).prop_map(|(spec, place)| OrphanOrder { spec, place }).boxed()
}
pub fn ledger_orphan() -> BoxedStrategy<LedgerOrphan> {
    let state = prop_oneof![
        Just(OrphanState::Purging),
        Just(OrphanState::Gone),
        rejection().prop_map(OrphanState::Failed),
    ];
    (operation_id(), orphan_order(), state)
        .prop_map(|(operation, order, state)| LedgerOrphan { operation, order, state })
        .boxed()
}
pub fn declaration() -> BoxedStrategy<DiskDeclaration> {
    let root = || "/[a-z]{1,3}".prop_map(Arc::from);
    let drivers = select(vec!["", "btrfs", "image:xfs"]);
    let kinds = prop_oneof![
        (root().prop_map(DiskSource::Path), drivers),
        (root().prop_map(DiskSource::Mount), Just("")),
        (root().prop_map(DiskSource::Block), Just("")),
    ];
    (kinds, "[a-z]{1,5}", of(size()))
        .prop_map(|((source, driver), name, size)| DiskDeclaration {
            source,
            name: Arc::from(name),
            driver: Arc::from(driver),
            size,
        })
        .boxed()
}
pub fn disk_order() -> BoxedStrategy<DiskOrder> {
    prop_oneof![
        declaration().prop_map(DiskOrder::Add),
        (disk_id(), source()).prop_map(|(disk, source)| DiskOrder::Remove { disk, source }),
    ]
    .boxed()
}
pub fn ledger_disk_order() -> BoxedStrategy<LedgerDiskOrder> {
    let state = prop_oneof![
        Just(DiskOrderState::Pending),
        Just(DiskOrderState::Done),
        rejection().prop_map(DiskOrderState::Failed),
    ];
    (operation_id(), disk_order(), state)
        .prop_map(|(operation, order, state)| LedgerDiskOrder { operation, order, state })
        .boxed()
}
pub fn snapshot() -> BoxedStrategy<Snapshot> {
    (
        (snapshot_spec(), agent(), snapshot_state(), any::<bool>(), of(freeze())),
        (of(rejection()), principal(), time(), time(), operation_id(), of(time()), group()),
    )
        .prop_map(
            |(
                (spec, agent, state, held, freeze),
                (error, principal, created, changed, operation, scheduled, group),
            )| Snapshot {
                spec,
                agent,
                state,
                held,
                freeze,
                error,
                principal,
                created,
                changed,
                operation,
                scheduled,
                group,
            },
        )
        .boxed()
}
pub fn snapshot_report() -> BoxedStrategy<SnapshotReport> {
    (snapshot_spec(), snapshot_state(), of(operation_id()), of(rejection()), arc(), group())
        .prop_map(|(spec, state, operation, error, host_path, group)| SnapshotReport {
            spec,
            state,
            operation,
            error,
            host_path,
            group,
        })
        .boxed()
}
pub fn group() -> BoxedStrategy<Option<Group>> {
    let by = select(vec![Consistency::Unused, Consistency::Program, Consistency::Frozen]);
    of((group_id(), of(by)).prop_map(|(id, consistency)| Group { id, consistency })).boxed()
}
pub fn group_id() -> BoxedStrategy<GroupId> {
    any::<u128>().prop_map(GroupId::from_u128).boxed()
}
pub fn schedule_plan() -> BoxedStrategy<SchedulePlan> {
    let keep = (1_u32..=KEEP_MAX, 0..=KEEP_MAX, 0..=KEEP_MAX, 0..=KEEP_MAX)
        .prop_map(|(last, hourly, daily, weekly)| Keep { last, hourly, daily, weekly });
    let every = (EVERY_MIN.as_secs()..=EVERY_MAX.as_secs()).prop_map(Duration::from_secs);
    (every, keep, of(freeze()))
        .prop_map(|(every, keep, freeze)| SchedulePlan { every, keep, freeze })
        .boxed()
}
pub fn schedule() -> BoxedStrategy<SnapshotSchedule> {
    let result = prop_oneof![
        snapshot_id().prop_map(ScheduleResult::Taking),
        snapshot_id().prop_map(ScheduleResult::Taken),
        rejection().prop_map(ScheduleResult::Failed),
    ];
    let run = (time(), time(), result).prop_map(|(due, tried, result)| ScheduleRun {
        due,
        tried,
        result,
    });
    let times = (time(), time(), time());
    (volume_id(), schedule_plan(), principal(), times, operation_id(), of(run))
        .prop_map(|(volume, plan, principal, (created, changed, settled), operation, last)| {
            SnapshotSchedule { volume, plan, principal, created, changed, operation, settled, last }
        })
        .boxed()
}
pub fn measured() -> BoxedStrategy<Measured> {
    (bytes(), of(any::<u64>()), of(any::<u64>()))
        .prop_map(|(bytes, inodes, inodes_limit)| Measured { bytes, inodes, inodes_limit })
        .boxed()
}
