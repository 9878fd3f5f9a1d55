//! Supervisors and the tasks under them: they outlive the agent's process, not the machine. A container writes to its
//! volumes while it runs, so lost or swapped data shows.

use super::World;
use crate::queue::Event;
use crate::volumes::{FIRST_WRITE, is_the_one};
use berth_agent_core::Input;
use berth_agent_core::effect::{ContainerEffect, ContainerEvent, Exit, Place};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{ContainerId, VolumeId};
use berth_model::resources::Resources;
use berth_model::task::TaskKey;
use std::collections::BTreeSet;

/// How far a container has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerPhase {
    Preparing,
    Running { pid: u32 },
    Exited(Exit),
}

/// One supervisor and its task.
#[derive(Debug, Clone)]
pub struct Container {
    pub key: TaskKey,
    pub resources: Resources,
    /// With the generation that must be found.
    pub volumes: Vec<(VolumeId, u64)>,
    pub phase: ContainerPhase,
    one_shot: bool,
}

impl Container {
    /// Does the task run?
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.phase, ContainerPhase::Running { .. })
    }
}

impl World {
    pub(crate) fn container_effect(&mut self, at: usize, effect: ContainerEffect) {
        let machine = &mut self.agents[at];
        let boot = machine.boot;
        match effect {
            ContainerEffect::Start { container, framework, task, volumes, in_use: _ } => {
                self.judges.agent_changes(at, machine, &task.id);
                if machine.containers.contains_key(&container) {
                    self.container_answers(at, container);
                    return;
                }
                self.judges.container_asked(at, &machine.ledger.durable, &task, &volumes);
                let one_shot = task.name.contains("init");
                let new = Container {
                    key: TaskKey { framework, task: task.id.clone() },
                    resources: task.resources.clone(),
                    volumes: volumes
                        .iter()
                        .map(|(used, _)| (used.volume, used.generation))
                        .collect(),
                    phase: ContainerPhase::Preparing,
                    one_shot,
                };
                machine.containers.insert(container, new);
                let wait = machine.dice.between(5, 400);
                let up = Event::ContainerUp { agent: at, boot, container };
                self.queue.plan(self.now + wait, up);
            },
            ContainerEffect::Adopt { container, .. } => self.container_answers(at, container),
            ContainerEffect::Kill { container, grace } => {
                let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX).min(10_000);
                let wait = machine.dice.between(1, grace.max(1));
                let exit =
                    Event::ContainerExit { agent: at, boot, container, exit: Exit::Signal(15) };
                self.queue.plan(self.now + wait, exit);
            },
            ContainerEffect::Release { container } => {
                machine.containers.remove(&container);
                self.dirt.containers = true;
            },
        }
    }

    /// Tells the agent's process where a container stands.
    fn container_answers(&mut self, at: usize, container: ContainerId) {
        let event = match self.agents[at].containers.get(&container).map(|c| c.phase.clone()) {
            None => ContainerEvent::Exited(Exit::Unknown("no trace of its supervisor".to_owned())),
            Some(ContainerPhase::Preparing) => return,
            Some(ContainerPhase::Running { pid }) => ContainerEvent::Running { pid },
            Some(ContainerPhase::Exited(exit)) => ContainerEvent::Exited(exit),
        };
        self.container_tells(at, container, event);
    }

    fn container_tells(&mut self, at: usize, container: ContainerId, event: ContainerEvent) {
        let machine = &mut self.agents[at];
        if machine.process.is_none() {
            return;
        }
        let (life, wait) = (machine.life, machine.dice.between(1, 10));
        let event = Box::new(event);
        let says = Event::ContainerSays { agent: at, life, container, event };
        self.queue.plan(self.now + wait, says);
    }

    pub(crate) fn container_says(
        &mut self,
        at: usize,
        life: u64,
        container: ContainerId,
        event: ContainerEvent,
    ) {
        if self.agents[at].life == life {
            self.agent_input(at, Input::Container { container, event });
        }
    }

    pub(crate) fn container_up(&mut self, at: usize, boot: u64, container: ContainerId) {
        let now = self.now;
        let machine = &mut self.agents[at];
        if machine.boot != boot {
            return;
        }
        let Some(entry) = machine.containers.get_mut(&container) else { return };
        if entry.phase != ContainerPhase::Preparing {
            return;
        }
        let (slots, agent) = (&machine.volumes.seen, machine.id);
        let good = entry.volumes.iter().all(|(id, generation)| {
            slots.get(id).is_some_and(|slot| {
                slot.place == Place::Live && is_the_one(slot, agent, *generation)
            })
        });
        if !good {
            machine.containers.remove(&container);
            let error =
                Rejection::new(ErrorCode::VolumeUnavailable, "the marker is not the right one");
            self.container_tells(at, container, ContainerEvent::NotStarted(error));
            return;
        }
        let pid = u32::try_from(machine.dice.between(100, 30_000)).expect("small");
        entry.phase = ContainerPhase::Running { pid };
        let (volumes, one_shot) = (entry.volumes.clone(), entry.one_shot);
        for (id, _) in volumes {
            self.task_writes(at, id);
        }
        self.dirt.containers = true;
        self.dirt.disks = true;
        self.tally.deed("containers up");
        if self.is_shared_by_several(at) {
            self.tally.deed("volumes used by several");
        }
        let mut judges = std::mem::take(&mut self.judges);
        judges.container_up(self, at, container);
        self.judges = judges;
        self.container_answers(at, container);
        let dice = &mut self.agents[at].dice;
        let wait = if one_shot { dice.between(500, 5_000) } else { dice.between(5_000, 400_000) };
        let status = i32::from(!one_shot && dice.chance(400));
        let exit = Event::ContainerExit { agent: at, boot, container, exit: Exit::Status(status) };
        self.queue.plan(now + wait, exit);
    }

    pub(crate) fn container_exit(
        &mut self,
        at: usize,
        boot: u64,
        container: ContainerId,
        exit: Exit,
    ) {
        let machine = &mut self.agents[at];
        if machine.boot != boot {
            return;
        }
        let Some(entry) = machine.containers.get_mut(&container).filter(|c| c.is_running()) else {
            return;
        };
        entry.phase = ContainerPhase::Exited(exit);
        let volumes = entry.volumes.clone();
        for (id, _) in volumes {
            self.task_writes(at, id);
        }
        self.dirt.containers = true;
        self.dirt.disks = true;
        self.container_answers(at, container);
    }

    fn is_shared_by_several(&self, at: usize) -> bool {
        let running = self.agents[at].containers.values().filter(|c| c.is_running());
        let mut seen = BTreeSet::new();
        running.flat_map(|c| &c.volumes).any(|(id, _)| !seen.insert(*id))
    }

    fn task_writes(&mut self, at: usize, id: VolumeId) {
        let content = FIRST_WRITE + self.lineage.len() as u64;
        if let Some(before) = self.agents[at].volumes.write(id, content) {
            self.lineage.insert(content, before);
        }
    }

    /// A process that dies while it starts supervisors leaves some of them unborn.
    pub(crate) fn forget_unborn(&mut self, at: usize) {
        let machine = &mut self.agents[at];
        let unborn: Vec<ContainerId> = machine
            .containers
            .iter()
            .filter(|(_, container)| container.phase == ContainerPhase::Preparing)
            .map(|(id, _)| *id)
            .collect();
        for id in unborn {
            if machine.dice.flip() {
                machine.containers.remove(&id);
            }
        }
    }
}
