//! What must have come true some time after the last fault (I13, I16).

use super::{Judges, volumes};
use crate::world::{AgentMachine, World};
use berth_framework_core::scheduler::Scheduler;
use berth_master_core::query;
use berth_model::id::{AgentId, VolumeId};
use berth_model::operation::OperationState;
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::snapshot::SnapshotState;
use berth_model::task::TaskKey;
use berth_model::view::AgentState;
use berth_model::volume::{Volume, VolumeState};
use std::collections::{BTreeMap, BTreeSet};

impl Judges {
    /// What is not as it must be in the end; `emptying`: after every task was to end and everybody wanted offers.
    pub fn lacking(&mut self, world: &World, emptying: bool) -> Vec<String> {
        // An old registry is never healed by waiting: somebody has to put the newest one back.
        if self.rolled_back {
            return Vec::new();
        }
        let mut lacking = Vec::new();
        let Some(process) = world.master.process.as_ref().filter(|p| p.listening) else {
            return vec!["no master".to_owned()];
        };
        for view in query::agents(process.core.state()) {
            if view.state != AgentState::Registered {
                lacking.push(format!("agent {} is {}", view.info.id, view.state.as_str()));
            }
        }
        for (at, framework) in world.frameworks.iter().enumerate() {
            if !framework.subscribed {
                lacking.push(format!("framework {at} is not subscribed"));
            }
        }
        lacking.extend(unfinished(world));
        lacking.extend(divergence(world));
        lacking.extend(tasks_apart(world));
        if emptying {
            lacking.extend(not_empty(world));
            lacking.extend(service_stays(world));
        } else {
            lacking.extend(self.service_waits(world));
        }
        if lacking.is_empty() {
            self.judge_amounts(world);
        }
        lacking
    }

    /// The service runs where its data is, unless somebody has taken the data away.
    fn service_waits(&self, world: &World) -> Option<String> {
        let scheduler = scheduler(world)?;
        let view = scheduler.views().into_iter().next()?;
        let pod = view.pods.into_iter().next()?;
        let lost = pod.volumes.iter().any(|v| {
            let gone = |id: VolumeId| self.vandalised.contains(&id);
            v.id.is_none_or(gone)
        });
        let runs = pod.state == "READY" || pod.state == "RUNNING";
        (!runs && !lost).then(|| format!("the service's pod is {}: {}", pod.state, pod.message))
    }
}

/// A service that is deleted with its volumes goes. For one that is LOST or QUARANTINED, which other judges have a say in,
/// it waits until an operator deletes the service without.
fn service_stays(world: &World) -> Option<String> {
    let view = scheduler(world)?.views().into_iter().next()?;
    let records = world.master.registry.records();
    let waits = volumes(records).any(|volume| {
        matches!(volume.state, VolumeState::Lost | VolumeState::Quarantined)
            && volume.spec.role.as_str() == "svc"
    });
    if waits {
        return None;
    }
    let why = view.pods.into_iter().map(|pod| pod.message).collect::<Vec<_>>().join("; ");
    Some(format!("the service is not deleted: {} {why}", view.message))
}

fn scheduler(world: &World) -> Option<&Scheduler> {
    Some(&world.service.as_ref()?.process.as_ref()?.core)
}

/// Operations that have not ended.
fn unfinished(world: &World) -> Vec<String> {
    let records = world.master.registry.records().values();
    let open = records.filter_map(|record| match record {
        RegistryRecord::Operation(record) if record.state == OperationState::Accepted => {
            Some(format!("operation {} ({} {}) is ACCEPTED", record.id, record.kind, record.object))
        },
        RegistryRecord::Operation(_)
        | RegistryRecord::Meta { .. }
        | RegistryRecord::Agent(_)
        | RegistryRecord::AgentSeq { .. }
        | RegistryRecord::Reservation(_)
        | RegistryRecord::Volume(_)
        | RegistryRecord::Framework(_)
        | RegistryRecord::Disk(_)
        | RegistryRecord::Profile(_)
        | RegistryRecord::Snapshot(_)
        | RegistryRecord::Schedule(_)
        | RegistryRecord::Weight(_)
        | RegistryRecord::Quota(_)
        | RegistryRecord::Transaction(_)
        | RegistryRecord::Audit(_) => None,
    });
    open.collect()
}

/// The master's books, the registry and the ledgers say the same.
fn divergence(world: &World) -> Vec<String> {
    let mut lacking = Vec::new();
    let registry: BTreeMap<VolumeId, &Volume> =
        volumes(world.master.registry.records()).map(|v| (v.spec.id, v)).collect();
    if let Some(process) = &world.master.process {
        let shown = query::volumes(process.core.state());
        for view in &shown {
            if registry.get(&view.volume.spec.id) != Some(&&view.volume) {
                lacking.push(format!("volume {} differs from the registry", view.volume.spec.id));
            }
        }
        if shown.len() != registry.len() {
            lacking.push(format!("{} volumes shown of {}", shown.len(), registry.len()));
        }
    }
    for machine in world.agents.iter().filter(|machine| !machine.strayed) {
        lacking.extend(apart(machine, &registry));
        lacking.extend(snapshots_apart(machine, world));
    }
    lacking
}

/// Registry, ledger and disk say the same of snapshots.
fn snapshots_apart(machine: &AgentMachine, world: &World) -> Vec<String> {
    let records = world.master.registry.records();
    let known = |id| match records.get(&RegistryKey::Snapshot(id)) {
        Some(RegistryRecord::Snapshot(snapshot)) => Some(snapshot.state),
        Some(_) | None => None,
    };
    let ledger = &machine.ledger.durable.snapshots;
    let mut lacking = Vec::new();
    for (id, state) in ledger {
        let fits = match known(*id) {
            Some(SnapshotState::Creating | SnapshotState::Deleting) => false,
            Some(SnapshotState::Ready) => *state == SnapshotState::Ready,
            Some(SnapshotState::Failed) => *state == SnapshotState::Failed,
            Some(SnapshotState::Lost) => {
                matches!(state, SnapshotState::Lost | SnapshotState::Failed)
            },
            Some(SnapshotState::Quarantined) => true,
            // A record of what was never taken, or is no more, goes at the agent's next registration.
            Some(SnapshotState::Gone) | None => {
                matches!(state, SnapshotState::Failed | SnapshotState::Gone)
            },
        };
        if !fits {
            lacking.push(format!("snapshot {id} is {:?} and {state} on its agent", known(*id)));
        }
    }
    for id in machine.volumes.snapshots_durable.keys().filter(|id| !ledger.contains_key(id)) {
        lacking.push(format!("snapshot {id} lies on a disk and is in no ledger"));
    }
    lacking
}

fn apart(machine: &AgentMachine, registry: &BTreeMap<VolumeId, &Volume>) -> Vec<String> {
    let ledger = &machine.ledger.durable.volumes;
    let mut lacking = Vec::new();
    for (id, volume) in registry.iter().filter(|(_, volume)| volume.agent == machine.id) {
        let known = ledger.get(id);
        let same = known.filter(|v| v.spec.generation == volume.spec.generation).map(|v| v.state);
        let fits = match volume.state {
            VolumeState::Ready => same == Some(volume.state) && has_its_size(machine, volume),
            VolumeState::Trashed => same == Some(volume.state),
            VolumeState::Creating | VolumeState::Tombstoned => false,
            VolumeState::Failed => known.is_none_or(|v| v.state == VolumeState::Failed),
            VolumeState::Lost => {
                known.is_none_or(|v| matches!(v.state, VolumeState::Lost | VolumeState::Failed))
            },
            VolumeState::Gone => known.is_none(),
            VolumeState::Quarantined => true,
        };
        if !fits {
            let there = known.map(|v| (v.state, v.spec.generation));
            lacking.push(format!(
                "volume {id} is {} in generation {} and {there:?} on its agent {}",
                volume.state, volume.spec.generation, machine.id
            ));
        }
    }
    for (id, volume) in ledger.iter().filter(|(id, _)| !registry.contains_key(id)) {
        // A record of what was never made, or is no more, goes at the agent's next registration.
        if matches!(volume.state, VolumeState::Failed | VolumeState::Gone) {
            continue;
        }
        lacking.push(format!("volume {id} is {} on an agent and not registered", volume.state));
    }
    lacking
}

/// Registry, ledger and disk agree on the size, and no change of it is open (I9).
fn has_its_size(machine: &AgentMachine, volume: &Volume) -> bool {
    let (id, size) = (volume.spec.id, volume.spec.size);
    let known = machine.ledger.durable.volumes.get(&id);
    let slot = machine.volumes.durable.get(&id);
    volume.resize.is_none()
        && known.is_some_and(|known| known.spec.size == size && known.resize.is_none())
        && slot.is_none_or(|slot| slot.bytes == size.get())
}

/// Master, ledgers and machines agree on what runs.
fn tasks_apart(world: &World) -> Vec<String> {
    let Some(process) = &world.master.process else { return Vec::new() };
    let mut believed: BTreeSet<(TaskKey, Option<AgentId>)> = BTreeSet::new();
    for view in query::tasks(process.core.state()) {
        let status = view.status;
        if !status.state.is_terminal() {
            believed
                .insert((TaskKey { framework: status.framework, task: status.task }, status.agent));
        }
    }
    let mut ledgers = BTreeSet::new();
    let mut running = BTreeSet::new();
    for machine in &world.agents {
        let live = machine.ledger.durable.live().map(|(key, _)| (key.clone(), Some(machine.id)));
        ledgers.extend(live);
        let up = machine.containers.values().filter(|container| container.is_running());
        running.extend(up.map(|container| (container.key.clone(), Some(machine.id))));
    }
    let difference = |name: &str, other: &BTreeSet<(TaskKey, Option<AgentId>)>| {
        let apart = believed.symmetric_difference(other).next();
        apart.map(|(key, _)| format!("task {key}: the master and {name} disagree"))
    };
    let strayed = world.agents.iter().any(|machine| machine.strayed);
    let machines = if strayed { None } else { difference("the machines", &running) };
    difference("the ledgers", &ledgers).into_iter().chain(machines).collect()
}

fn not_empty(world: &World) -> Vec<String> {
    let mut lacking = Vec::new();
    for machine in &world.agents {
        if let Some((key, _)) = machine.ledger.durable.live().next() {
            lacking.push(format!("task {key} has not ended"));
        }
    }
    for (at, framework) in world.frameworks.iter().enumerate() {
        if framework.offers_seen == 0 {
            lacking.push(format!("framework {at} gets no offer"));
        }
    }
    lacking
}
