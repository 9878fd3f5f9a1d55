//! Views of the books, as lists show them. The registry's current revision is known to the shell only;
//! the cluster's row carries the one the term began with.

mod cell;
mod roles;

pub use cell::{CellChanges, CellWatch, cell_changes, cell_part, cell_point, watch_cell};
pub use roles::{quotas, roles};

use crate::allocator;
use crate::audit::beginning;
use crate::decide::orphan::is_orphan;
use crate::decide::schedule;
use crate::state::{Agent, State, VolumeEntry, labels, sum_of};
use berth_model::agent::Disk;
use berth_model::audit::{AuditHead, AuditView};
use berth_model::disk::DiskProfile;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::explain::Explanation;
use berth_model::id::{AgentId, FrameworkId, OperationId, ProfileName};
use berth_model::offer::Offer;
use berth_model::operation::{OperationKind, OperationRecord};
use berth_model::record::ReservationRow;
use berth_model::resources::{Name, Resources};
use berth_model::schedule::SnapshotSchedule;
use berth_model::snapshot::Snapshot;
use berth_model::task::{TaskState, TaskStatus};
use berth_model::units::Timestamp;
use berth_model::view::{
    AgentState, AgentView, ClusterView, DiskView, FrameworkView, ReservationView, ScheduleView,
    SnapshotView, TaskView, UsageView, VolumeView,
};
use berth_model::volume::{Volume, VolumeState};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The cluster, always one row.
#[must_use]
pub fn clusters(state: &State) -> Vec<ClusterView> {
    let registered = state.agents.values().filter(|a| a.state() == AgentState::Registered).count();
    let connected = state.frameworks.values().filter(|f| f.session.is_some()).count();
    vec![ClusterView {
        cluster: state.config.cluster,
        epoch: state.config.epoch,
        revision: state.config.revision,
        version: Arc::clone(&state.config.version),
        safe_mode: state.safe_mode.clone(),
        agents_registered: registered as u64,
        agents_total: state.agents.len() as u64,
        frameworks_connected: connected as u64,
    }]
}

/// The audit log's ends, and what was wrong with it at the start.
#[must_use]
pub fn audit(state: &State) -> AuditView {
    let anchor = beginning(state.config.cluster);
    let begun = AuditHead { seq: 0, hash: anchor, trimmed: 0, anchor };
    AuditView { head: state.audit.head.unwrap_or(begun), fault: state.audit.fault.clone() }
}

/// The agents.
#[must_use]
pub fn agents(state: &State) -> Vec<AgentView> {
    state
        .agents
        .values()
        .map(|agent| AgentView {
            info: agent.info.clone(),
            state: agent.state(),
            total: agent.books.total.clone(),
            used: agent.books.used.clone(),
            offered: agent.books.offered.clone(),
            last_seen: agent.last_seen,
        })
        .collect()
}

/// The disks, as their agents last told and as operators marked them.
#[must_use]
pub fn disks(state: &State) -> Vec<DiskView> {
    let all = state.agents.values();
    all.flat_map(|agent| agent.info.disks.iter().map(|d| disk(state, agent, d))).collect()
}

fn disk(state: &State, agent: &Agent, disk: &Disk) -> DiskView {
    let labels = labels(state, disk.id);
    let satisfied = |profile: &&DiskProfile| profile.misses(disk, labels).is_empty();
    let profiles = state.profiles.values().map(|profile| &**profile).filter(satisfied);
    let is_part = |name: &Name, source| *name == Name::Disk && source == disk.source;
    let id = disk.id;
    let mut disk = disk.clone();
    disk.orphans.retain(|orphan| is_orphan(state, orphan));
    DiskView {
        disk,
        agent: agent.info.id,
        hostname: Arc::clone(&agent.info.hostname),
        agent_state: agent.state(),
        cordon: state.cordon(id).cloned(),
        labels: labels.clone(),
        profiles: profiles.map(|profile| profile.name.clone()).collect::<Vec<ProfileName>>(),
        total: agent.books.total.filtered(|r| is_part(&r.name, r.disk_source())),
    }
}

/// The profiles of disks.
#[must_use]
pub fn profiles(state: &State) -> Vec<DiskProfile> {
    state.profiles.values().map(|profile| DiskProfile::clone(profile)).collect()
}

/// The rows of reservations.
#[must_use]
pub fn reservations(state: &State) -> Vec<ReservationView> {
    let mut in_volumes: BTreeMap<AgentId, Resources> = BTreeMap::new();
    for entry in state.volumes.values().filter(|entry| entry.placed) {
        add(in_volumes.entry(entry.volume.agent).or_default(), &sum_of(&entry.plain()));
    }
    let mut in_tasks: BTreeMap<AgentId, Resources> = BTreeMap::new();
    for task in state.tasks.values().filter(|task| task.charged) {
        add(in_tasks.entry(task.agent).or_default(), &task.plain);
    }
    let part = |of: &BTreeMap<AgentId, Resources>, row: &ReservationRow| {
        let all = sum_of(&row.resource);
        let held = of.get(&row.agent).map(|held| all.minus(&held.missing(&all)));
        held.map(|held| held.total(&row.resource.name)).unwrap_or_default()
    };
    state
        .rows
        .values()
        .map(|row| ReservationView {
            row: ReservationRow::clone(row),
            in_volumes: part(&in_volumes, row),
            in_tasks: part(&in_tasks, row),
        })
        .collect()
}

fn add(sum: &mut Resources, what: &Resources) {
    sum.add_all(what).expect("parts of what agents have add up");
}

/// The volumes.
#[must_use]
pub fn volumes(state: &State) -> Vec<VolumeView> {
    state.volumes.values().map(|entry| volume(state, entry)).collect()
}

fn volume(state: &State, entry: &VolumeEntry) -> VolumeView {
    let agent = state.agents.get(&entry.volume.agent);
    let disk = agent
        .and_then(|a| a.info.disks.iter().find(|disk| disk.source == entry.volume.spec.source));
    let observed = entry.observed.as_ref();
    let resource = sum_of(&entry.resource());
    let holds = |a: &Agent| {
        let mut offers = a.offers.iter().filter_map(|id| state.offers.get(id));
        offers.find(|offer| offer.resources.contains(&resource)).map(|offer| offer.id)
    };
    VolumeView {
        volume: Volume::clone(&entry.volume),
        hostname: agent.map(|a| Arc::clone(&a.info.hostname)).unwrap_or_default(),
        disk: disk.map(|disk| Arc::clone(&disk.name)).unwrap_or_default(),
        host_path: observed.map(|o| Arc::clone(&o.host_path)).unwrap_or_default(),
        driver: observed.map(|o| Arc::clone(&o.driver)).unwrap_or_default(),
        enforcement: observed.map(|o| o.enforcement).unwrap_or_default(),
        used: observed.and_then(|o| o.used),
        users: entry.users.union(&entry.waiting).cloned().collect(),
        offer: agent.and_then(holds),
        observed: observed.map(|o| o.state),
        usage: entry.measured.latest().map(|(measured, now)| UsageView {
            measured,
            now,
            trend: entry.measured.trend(),
        }),
        unavailable: observed.and_then(|o| o.unavailable.clone()),
    }
}

/// The snapshots.
#[must_use]
pub fn snapshots(state: &State) -> Vec<SnapshotView> {
    state
        .snapshots
        .values()
        .map(|entry| {
            let snapshot = Snapshot::clone(&entry.snapshot);
            let agent = state.agents.get(&snapshot.agent);
            let source = &snapshot.spec.of.source;
            let disk = agent.and_then(|a| a.info.disks.iter().find(|disk| disk.source == *source));
            SnapshotView {
                hostname: agent.map(|a| Arc::clone(&a.info.hostname)).unwrap_or_default(),
                disk: disk.map(|disk| Arc::clone(&disk.name)).unwrap_or_default(),
                host_path: entry
                    .observed
                    .as_ref()
                    .map(|(_, path)| Arc::clone(path))
                    .unwrap_or_default(),
                observed: entry.observed.as_ref().map(|(state, _)| *state),
                snapshot,
            }
        })
        .collect()
}

/// The schedules of snapshots; of a volume that is no more there is none.
#[must_use]
pub fn schedules(state: &State) -> Vec<ScheduleView> {
    let volumes = state.schedules.values().filter_map(|s| Some((s, state.volumes.get(&s.volume)?)));
    let view = |(schedule, entry): (&Arc<SnapshotSchedule>, &VolumeEntry)| {
        let taken = schedule::taken(state, schedule.volume);
        let agent = state.agents.get(&entry.volume.agent);
        ScheduleView {
            schedule: SnapshotSchedule::clone(schedule),
            name: entry.volume.spec.name.clone(),
            role: entry.volume.spec.role.clone(),
            hostname: agent.map(|a| Arc::clone(&a.info.hostname)).unwrap_or_default(),
            next: schedule::next_time(state, schedule, entry),
            obstacle: schedule::obstacle(state, entry),
            kept: taken.len() as u64,
            newest: taken.last().map(|(at, _)| *at),
            volume_state: entry.volume.state,
        }
    };
    volumes.map(view).collect()
}

/// The frameworks, removed ones too.
#[must_use]
pub fn frameworks(state: &State) -> Vec<FrameworkView> {
    state
        .frameworks
        .values()
        .map(|framework| {
            let tasks = framework.tasks.iter().filter_map(|key| state.tasks.get(key));
            let (mut live, mut used) = (0, Resources::new());
            for task in tasks.filter(|task| !task.ended()) {
                live += 1;
                // Ports of two agents may be equal, so ranges need not add up; they are left out then.
                drop(used.add_all(&task.resources));
            }
            FrameworkView {
                id: framework.record.id.clone(),
                info: framework.record.info.clone(),
                connected: framework.session.is_some(),
                registered: framework.record.registered,
                removed: framework.record.removed,
                tasks: live,
                offers: framework.offers.len() as u64,
                used,
            }
        })
        .collect()
}

/// How every agent stands to a framework, in each of its roles: offered, or why not.
///
/// # Errors
/// There is no such framework.
pub fn explain(
    state: &State,
    framework: &FrameworkId,
    now: Timestamp,
) -> Result<Vec<Explanation>, Rejection> {
    let known = state.frameworks.get(framework).ok_or_else(|| {
        Rejection::new(ErrorCode::UnknownFramework, format!("no framework {framework}"))
            .remedy("list them with `berth framework list`")
            .field("framework_id")
    })?;
    Ok(allocator::explain(state, known, now))
}

/// The outstanding offers.
#[must_use]
pub fn offers(state: &State) -> Vec<Offer> {
    state.offers.values().cloned().collect()
}

/// The tasks, ended ones for a while.
#[must_use]
pub fn tasks(state: &State) -> Vec<TaskView> {
    state
        .tasks
        .values()
        .map(|task| TaskView {
            status: seen(&task.status),
            name: task.name.clone(),
            resources: task.resources.clone(),
            hostname: state
                .agents
                .get(&task.agent)
                .map(|agent| Arc::clone(&agent.info.hostname))
                .unwrap_or_default(),
            labels: task.labels.clone(),
        })
        .collect()
}

/// What a check said before the task was lost from sight, or began to end, holds no more.
fn seen(status: &TaskStatus) -> TaskStatus {
    let running = status.state == TaskState::Running;
    TaskStatus {
        ready: status.ready.filter(|_| running),
        healthy: status.healthy.filter(|_| running),
        ..status.clone()
    }
}

/// The operations, ended ones for a while.
#[must_use]
pub fn operations(state: &State) -> Vec<Arc<OperationRecord>> {
    state.operations.values().map(|record| with_progress(state, record)).collect()
}

/// One operation.
#[must_use]
pub fn operation(state: &State, id: OperationId) -> Option<Arc<OperationRecord>> {
    state.operations.get(&id).map(|record| with_progress(state, record))
}

/// With a note that says how far it is, which no record holds.
fn with_progress(state: &State, record: &Arc<OperationRecord>) -> Arc<OperationRecord> {
    let is_export = record.kind == OperationKind::Export;
    let told = |id| {
        let entry: &VolumeEntry = state.volumes.get(id)?;
        match entry.volume.state {
            _any if is_export => entry.progress.map(|progress| progress.text()),
            VolumeState::Creating => entry.progress.map(|progress| progress.text()),
            VolumeState::Trashed if entry.volume.operation == record.id => {
                entry.progress.map(|progress| progress.wiped())
            },
            VolumeState::Trashed
            | VolumeState::Ready
            | VolumeState::Failed
            | VolumeState::Lost
            | VolumeState::Tombstoned
            | VolumeState::Gone
            | VolumeState::Quarantined => None,
        }
    };
    let told = record.volumes.iter().find_map(told);
    match told.filter(|_| !record.state.is_final()) {
        Some(told) => {
            let mut record = OperationRecord::clone(record);
            record.notes.push(told);
            Arc::new(record)
        },
        None => Arc::clone(record),
    }
}
