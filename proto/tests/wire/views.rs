//! Arbitrary values of the model: the rows the master shows.

use crate::nouns::*;
use crate::records::{cluster, framework_info, operation_record, row};
use crate::roles::weight;
use crate::tasks::*;
use berth_model::units::Scalar;
use berth_model::usage::Trend;
use berth_model::view::{
    AgentState, AgentView, Change, ClusterView, FrameworkView, ReservationView, RoleView,
    ScheduleView, SnapshotView, TaskView, UsageView, VolumeView,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

fn milli() -> BoxedStrategy<Scalar> {
    any::<i64>().prop_map(Scalar::from_milli).boxed()
}
fn agent_state() -> BoxedStrategy<AgentState> {
    select(vec![AgentState::Registered, AgentState::Recovering, AgentState::Unreachable]).boxed()
}

pub fn cluster_view() -> BoxedStrategy<ClusterView> {
    (cluster(), any::<(u64, u64)>(), arc(), of(text()), any::<(u64, u64, u64)>())
        .prop_map(|(cluster, (epoch, revision), version, safe_mode, (up, total, connected))| {
            ClusterView {
                cluster,
                epoch,
                revision,
                version,
                safe_mode,
                agents_registered: up,
                agents_total: total,
                frameworks_connected: connected,
            }
        })
        .boxed()
}
pub fn agent_view() -> BoxedStrategy<AgentView> {
    (agent_info(), agent_state(), resources(), resources(), resources(), of(time()))
        .prop_map(|(info, state, total, used, offered, last_seen)| AgentView {
            info,
            state,
            total,
            used,
            offered,
            last_seen,
        })
        .boxed()
}
pub fn reservation_view() -> BoxedStrategy<ReservationView> {
    (row(), milli(), milli())
        .prop_map(|(row, in_volumes, in_tasks)| ReservationView { row, in_volumes, in_tasks })
        .boxed()
}
pub fn usage_view() -> BoxedStrategy<UsageView> {
    let trend = (span(), any::<i64>()).prop_map(|(window, change)| Trend { window, change });
    (time(), measured(), of(trend))
        .prop_map(|(measured, now, trend)| UsageView { measured, now, trend })
        .boxed()
}
pub fn volume_view() -> BoxedStrategy<VolumeView> {
    (
        (volume(), arc(), arc(), arc(), arc()),
        (enforcement(), of(bytes()), vec(task_key(), 0..3), of(offer_id()), of(volume_state())),
        (of(usage_view()), of(rejection())),
    )
        .prop_map(
            |(
                (volume, hostname, disk, host_path, driver),
                (enforcement, used, users, offer, observed),
                (usage, unavailable),
            )| VolumeView {
                volume,
                hostname,
                disk,
                host_path,
                driver,
                enforcement,
                used,
                users,
                offer,
                observed,
                usage,
                unavailable,
            },
        )
        .boxed()
}
pub fn snapshot_view() -> BoxedStrategy<SnapshotView> {
    (snapshot(), arc(), arc(), arc(), of(snapshot_state()))
        .prop_map(|(snapshot, hostname, disk, host_path, observed)| SnapshotView {
            snapshot,
            hostname,
            disk,
            host_path,
            observed,
        })
        .boxed()
}
pub fn schedule_view() -> BoxedStrategy<ScheduleView> {
    let times = (of(time()), of(time()));
    let volume = (volume_name(), owner(), arc(), volume_state());
    (schedule(), volume, times, of(rejection()), any::<u64>())
        .prop_map(
            |(schedule, (name, role, hostname, volume_state), (next, newest), obstacle, kept)| {
                ScheduleView {
                    schedule,
                    name,
                    role,
                    hostname,
                    next,
                    obstacle,
                    kept,
                    newest,
                    volume_state,
                }
            },
        )
        .boxed()
}
pub fn framework_view() -> BoxedStrategy<FrameworkView> {
    (
        (framework(), framework_info(), any::<bool>(), time()),
        (of(time()), any::<u64>(), any::<u64>(), resources()),
    )
        .prop_map(|((id, info, connected, registered), (removed, tasks, offers, used))| {
            FrameworkView { id, info, connected, registered, removed, tasks, offers, used }
        })
        .boxed()
}
pub fn task_view() -> BoxedStrategy<TaskView> {
    (task_status(), text(), resources(), arc(), map())
        .prop_map(|(status, name, resources, hostname, labels)| TaskView {
            status,
            name,
            resources,
            hostname,
            labels,
        })
        .boxed()
}
pub fn role_view() -> BoxedStrategy<RoleView> {
    let amounts = || btree_map(arc(), milli(), 0..3);
    let own = (amounts(), amounts(), amounts(), amounts(), amounts());
    (role(), vec(framework(), 0..3), own, any::<u64>(), weight())
        .prop_map(|(role, frameworks, own, volumes, weight)| {
            let (reserved, used, allocated, offered, consumed) = own;
            RoleView {
                role,
                frameworks,
                reserved,
                used,
                volumes,
                weight,
                allocated,
                offered,
                consumed,
            }
        })
        .boxed()
}
pub fn change() -> BoxedStrategy<Change> {
    prop_oneof![
        operation_record().prop_map(|r| Change::Operation(Arc::new(r))),
        volume().prop_map(|v| Change::Volume(Arc::new(v))),
        task_status().prop_map(|s| Change::Task(Arc::new(s))),
        (agent(), agent_state()).prop_map(|(agent, state)| Change::Agent { agent, state }),
        (framework(), any::<bool>())
            .prop_map(|(framework, connected)| Change::Framework { framework, connected }),
        snapshot().prop_map(|s| Change::Snapshot(Arc::new(s))),
    ]
    .boxed()
}
