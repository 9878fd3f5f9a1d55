//! What happens to machines: offers of what is free, agents that go and come back, volumes that are made.

use super::{Cluster, Task, uses};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::Event;
use berth_model::id::{FrameworkId, OfferId, TaskId};
use berth_model::offer::{Offer, Version};
use berth_model::operation::{OperationKind, OperationState};
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::task::{TaskReason, TaskState};
use std::sync::Arc;

impl Cluster {
    /// Offers everything free of agents that are up, to roles that want it.
    pub fn offer(&mut self) {
        let hidden = |role: &&Role| self.suppressed.contains(role) || self.filtered.contains(role);
        let roles: Vec<Role> = self.roles.iter().filter(|role| !hidden(role)).cloned().collect();
        for role in roles {
            for agent in self.agents.iter_mut().filter(|agent| agent.up && self.connected) {
                let resources = agent.free.allocatable_to(&role);
                if resources.is_empty() {
                    continue;
                }
                agent.free.checked_sub(&resources).unwrap();
                self.offers += 1;
                let id = OfferId { epoch: 1, number: self.offers };
                agent.offered.insert(id, resources.clone());
                self.events.push_back(Event::Offers(vec![Offer {
                    id,
                    framework: FrameworkId::new("f").unwrap(),
                    role: role.clone(),
                    agent: agent.id,
                    hostname: Arc::from(format!("host-{}", agent.id.as_u128())),
                    attributes: Arc::default(),
                    resources,
                    seq: 1,
                    optimistic: Resources::new(),
                    version: Version { epoch: 1, seq: 1 },
                }]));
            }
        }
    }

    /// Offers end before their events arrive.
    pub fn rescind(&mut self) {
        for agent in &mut self.agents {
            for (id, resources) in std::mem::take(&mut agent.offered) {
                agent.free.add_all(&resources).unwrap();
                self.events.push_back(Event::Rescind(id));
            }
        }
    }

    pub fn agent_down(&mut self, index: usize) {
        self.agents[index].up = false;
        let offered = std::mem::take(&mut self.agents[index].offered);
        for (id, resources) in offered {
            self.agents[index].free.add_all(&resources).unwrap();
            self.events.push_back(Event::Rescind(id));
        }
        let ids: Vec<TaskId> = self.live_on(index);
        for id in ids {
            let status =
                self.status(&id, TaskState::Unreachable, TaskReason::AgentDisconnected, false);
            self.events.push_back(Event::Status(status));
        }
        self.events.push_back(Event::AgentLost(self.agents[index].id));
    }

    pub fn agent_up(&mut self, index: usize) {
        self.agents[index].up = true;
        for id in self.live_on(index) {
            let state = self.tasks[&id].state;
            let status = self.status(&id, state, TaskReason::Reconciliation, false);
            self.events.push_back(Event::Status(status));
        }
    }

    /// The only volume's disk becomes faulty, or sound again. It is in no offer and no task.
    pub fn hide_volume(&mut self, hidden: bool) {
        let volume = self.volumes.values_mut().next().unwrap();
        volume.hidden = hidden;
        let (agent, held) =
            (volume.agent, Resources::from_list([volume.resource.clone()]).unwrap());
        let free = &mut self.agents[agent].free;
        if hidden { free.checked_sub(&held).unwrap() } else { free.add_all(&held).unwrap() }
    }

    /// Everything that was withheld is offered again.
    pub fn uncordon(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        agent.cordoned = false;
        agent.free.add_all(&std::mem::take(&mut agent.withheld)).unwrap();
    }

    /// The agent makes a volume, or cannot.
    pub fn create_ends(&mut self, success: bool) {
        let found = self.volumes.iter().find(|(_, v)| !v.ready && self.agents[v.agent].up);
        let Some(name) = found.map(|(name, _)| name.clone()) else { return };
        let volume = self.volumes.get_mut(&name).unwrap();
        let (operation, id, agent) = (volume.operation, volume.id, volume.agent);
        let state = if success {
            volume.ready = true;
            let used = |t: &Task| !t.state.is_terminal() && uses(&t.info.resources, &name);
            if !self.tasks.values().any(used) {
                let resource = self.volumes[&name].resource.clone();
                self.agents[agent].free.add(&resource).unwrap();
            }
            OperationState::Done
        } else {
            let resource = volume.resource.clone();
            self.volumes.remove(&name);
            self.agents[agent].free.add(&resource.strip_volume()).unwrap();
            OperationState::Failed(Rejection::new(ErrorCode::DiskFull, "no room"))
        };
        self.say_operation(operation, OperationKind::Create, vec![id], state);
        if !success {
            let users = self
                .tasks
                .iter()
                .filter(|(_, t)| t.state == TaskState::Staging && uses(&t.info.resources, &name));
            let users: Vec<TaskId> = users.map(|(id, _)| id.clone()).collect();
            for id in users {
                self.end_task(&id, TaskState::Dropped);
            }
        }
    }
}
