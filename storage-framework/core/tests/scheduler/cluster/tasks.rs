//! Tasks as their agents run them, and the statuses that say so.

use super::{Cluster, Task, uses};
use berth_model::framework::Event;
use berth_model::id::{FrameworkId, StatusId, TaskId};
use berth_model::task::{StatusSource, TaskReason, TaskState, TaskStatus};

impl Cluster {
    pub fn status_of(&mut self, id: &str) -> TaskStatus {
        self.status(&TaskId::new(id).unwrap(), TaskState::Running, TaskReason::Normal, true)
    }

    /// The tasks of an agent end in a way nobody saw.
    pub fn lose_tasks(&mut self, index: usize, state: TaskState) {
        for id in self.live_on(index) {
            self.end_task(&id, state);
        }
    }

    pub(super) fn live_on(&self, index: usize) -> Vec<TaskId> {
        let live = self.tasks.iter().filter(|(_, t)| t.agent == index && !t.state.is_terminal());
        live.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn status(
        &mut self,
        id: &TaskId,
        state: TaskState,
        reason: TaskReason,
        acknowledged: bool,
    ) -> TaskStatus {
        self.counter += 1;
        TaskStatus {
            task: id.clone(),
            framework: FrameworkId::new("f").unwrap(),
            agent: self.tasks.get(id).map(|task| self.agents[task.agent].id),
            state,
            reason,
            source: StatusSource::Agent,
            message: String::new(),
            error: None,
            at: self.now,
            id: acknowledged.then(|| StatusId::from_u128(self.counter)),
            healthy: None,
            ready: (state == TaskState::Running).then_some(true),
            container: None,
            pid: None,
        }
    }

    fn say(&mut self, id: &TaskId, state: TaskState) {
        let status = self.status(id, state, TaskReason::Normal, true);
        let task = self.tasks.get_mut(id).unwrap();
        task.state = state;
        task.unacknowledged = Some(status.clone());
        if self.connected {
            self.events.push_back(Event::Status(status));
        }
    }

    /// The oldest task that waits for its start gets it.
    pub fn task_starts(&mut self) {
        let ready = |task: &Task| {
            task.state == TaskState::Staging
                && self.agents[task.agent].up
                && self.volumes.iter().all(|(name, v)| v.ready || !uses(&task.info.resources, name))
        };
        let Some(id) = self.tasks.iter().find(|(_, t)| ready(t)).map(|(id, _)| id.clone()) else {
            return;
        };
        self.tasks.get_mut(&id).unwrap().ran = true;
        let info = self.tasks[&id].info.clone();
        for (name, volume) in &mut self.volumes {
            if uses(&info.resources, name) && info.name.ends_with(".server") {
                assert!(
                    volume.succeeded.contains(&"init".to_owned()),
                    "{id} on a volume that was not initialised"
                );
                volume.served = true;
                self.written.insert(name.clone());
            }
        }
        self.say(&id, TaskState::Running);
    }

    pub fn task_ends(&mut self, success: bool) {
        let running = |t: &Task| t.state == TaskState::Running && self.agents[t.agent].up;
        let Some(id) = self.tasks.iter().find(|(_, t)| running(t)).map(|(id, _)| id.clone()) else {
            return;
        };
        self.end_task(&id, if success { TaskState::Finished } else { TaskState::Failed });
    }

    pub fn task_is_killed(&mut self, id: &TaskId) {
        let live =
            self.tasks.get(id).is_some_and(|t| !t.state.is_terminal() && self.agents[t.agent].up);
        if live {
            self.end_task(id, TaskState::Killed);
        }
    }

    pub(super) fn end_task(&mut self, id: &TaskId, state: TaskState) {
        let task = &self.tasks[id];
        let (agent, info, ran) = (task.agent, task.info.clone(), task.ran);
        let name = info.name.rsplit('.').next().unwrap().to_owned();
        for resource in info.resources.iter() {
            // A volume that is being made is never offered; one that could not be made is gone.
            let volume = resource.persistence().map(|p| &p.name);
            let offerable = |name| self.volumes.get(name).is_some_and(|volume| volume.ready);
            if !volume.is_none_or(offerable) {
                continue;
            }
            self.agents[agent].free.add(&resource).unwrap();
        }
        if state == TaskState::Finished {
            assert!(ran);
            if name == "format" {
                self.service_successes += 1;
            }
            for (volume, held) in &mut self.volumes {
                if uses(&info.resources, volume) {
                    if name == "init" {
                        assert!(!held.served, "init on a volume that a server has written to");
                        assert!(!held.succeeded.contains(&name), "init twice on {volume}");
                    }
                    held.succeeded.push(name.clone());
                }
            }
        }
        self.say(id, state);
    }
}
