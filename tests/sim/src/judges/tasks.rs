//! What runs where, with what (I4, I7, I8).

use super::books::{Heap, heap_of};
use super::{Fold, Judges, volume};
use crate::world::{AgentMachine, ContainerPhase, World};
use berth_model::id::{ContainerId, VolumeId};
use berth_model::resources::{Name, Value};
use berth_model::task::TaskInfo;
use berth_model::volume::{VolumeSpec, VolumeState, VolumeUse};
use std::collections::BTreeSet;

/// How the ids of the service's tasks begin.
const SERVICE_TASKS: &str = "store.";

impl Judges {
    /// I8: a container is asked for with volumes that the ledger calls READY, in the right life.
    pub fn container_asked(
        &mut self,
        at: usize,
        durable: &Fold,
        task: &TaskInfo,
        volumes: &[(VolumeUse, VolumeSpec)],
    ) {
        for (used, spec) in volumes {
            let good = durable.volumes.get(&used.volume).is_some_and(|known| {
                known.state == VolumeState::Ready
                    && known.spec.generation == used.generation
                    && known.spec == *spec
            });
            if !good {
                let text = format!("agent {at} starts {} on volume {}", task.id, used.volume);
                self.report("I8 placement", text);
            }
        }
        let known = durable.live().any(|(key, _)| key.task == task.id);
        if !known {
            let text = format!("agent {at} starts {}, which its ledger does not hold", task.id);
            self.report("I8 placement", text);
        }
    }

    /// I7: a task runs in one container; I8: a volume is used where the registry has it.
    pub fn container_up(&mut self, world: &World, at: usize, id: ContainerId) {
        let machine = &world.agents[at];
        let Some(container) = machine.containers.get(&id) else { return };
        let first = *self.started.entry(container.key.clone()).or_insert(id);
        if first != id && !machine.strayed {
            let text = format!("task {} was started twice, in {first} and in {id}", container.key);
            self.report("I7 at most once", text);
        }
        if container.key.task.as_str().starts_with(SERVICE_TASKS) {
            self.judge_pod(world, id, &container.volumes);
        }
        for (used, generation) in &container.volumes {
            let entry = volume(world.master.registry.records(), *used);
            let here =
                entry.is_some_and(|v| v.agent == machine.id && v.spec.generation == *generation);
            if !here && !self.rolled_back {
                let text = format!("task {} uses volume {used}: {entry:?}", container.key);
                self.report("I8 placement", text);
            }
        }
    }

    /// I8: the service's only pod runs once, and always on the volume on which it first ran.
    fn judge_pod(&mut self, world: &World, id: ContainerId, volumes: &[(VolumeId, u64)]) {
        let others = world.agents.iter().flat_map(|machine| &machine.containers);
        let twin = others
            .filter(|(other, container)| **other != id && container.is_running())
            .find(|(_, container)| container.key.task.as_str().starts_with(SERVICE_TASKS));
        let strayed = world.agents.iter().any(|machine| machine.strayed);
        if let Some((_, twin)) = twin.filter(|_| !strayed) {
            self.report("I8 placement", format!("the service's pod runs twice, as {}", twin.key));
        }
        let Some((volume, _)) = volumes.first() else { return };
        let first = *self.pod_volume.get_or_insert(*volume);
        if first != *volume && !self.vandalised.contains(&first) && !self.rolled_back {
            let text = format!("the service's pod ran on volume {first} and now on {volume}");
            self.report("I8 placement", text);
        }
    }

    /// I4: what runs fits into what there is, row by row; a volume has one user unless it is shared.
    pub(super) fn judge_use(&mut self, world: &World) {
        for machine in world.agents.iter().filter(|machine| !machine.strayed) {
            self.judge_users(machine);
            if !self.rolled_back {
                self.judge_sums(world, machine);
            }
        }
    }

    fn judge_users(&mut self, machine: &AgentMachine) {
        let mut volumes: BTreeSet<VolumeId> = BTreeSet::new();
        let mut ports: BTreeSet<u64> = BTreeSet::new();
        let alive = machine
            .containers
            .values()
            .filter(|container| !matches!(container.phase, ContainerPhase::Exited(_)));
        for container in alive {
            for (id, _) in &container.volumes {
                let shared = self.births.get(id).is_some_and(|birth| birth.shared);
                if !volumes.insert(*id) && !shared {
                    let text = format!("volume {id} has two users, one is {}", container.key);
                    self.report("I4 no double allocation", text);
                }
            }
            for resource in container.resources.iter().filter(|r| r.name == Name::Ports) {
                let Value::Ranges(ranges) = &resource.value else { continue };
                for port in ranges.as_slice().iter().flat_map(|r| r.begin..=r.end) {
                    if !ports.insert(port) {
                        let text = format!("port {port} has two users, one is {}", container.key);
                        self.report("I4 no double allocation", text);
                    }
                }
            }
        }
    }

    fn judge_sums(&mut self, world: &World, machine: &AgentMachine) {
        let mut used = Heap::new();
        for container in machine.containers.values() {
            if matches!(container.phase, ContainerPhase::Exited(_)) {
                continue;
            }
            for resource in container.resources.iter().filter(|r| r.persistence().is_none()) {
                *used.entry(heap_of(&resource)).or_insert(0) +=
                    resource.amount().map_or(0, berth_model::units::Scalar::milli);
            }
        }
        let mut there = Self::room(world, machine.id);
        for (key, amount) in used {
            let room = there.entry(key.clone()).or_insert(0);
            if amount > *room && amount > 0 {
                let text = format!("agent {}: {key:?} has {room}, {amount} is in use", machine.id);
                self.report("I4 no double allocation", text);
            }
        }
    }
}
