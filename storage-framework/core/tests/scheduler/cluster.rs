//! A cluster small enough to be obviously right: one master with books per agent, tasks that start and end when
//! told to, statuses that are repeated until acknowledged. It shares no code with the scheduler but the model.

use berth_framework_core::record::{Record, State};
use berth_framework_core::scheduler::{Command, Config, Input, Output, Scheduler};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Event};
use berth_model::id::{
    AgentId, FrameworkId, OfferId, OperationId, StatusId, TaskId, VolumeId, VolumeName,
};
use berth_model::offer::Offer;
use berth_model::operation::{
    Action, OfferOperation, OperationKind, OperationRecord, OperationState,
};
use berth_model::resources::{Resource, Resources, Shortfall, parse_resources};
use berth_model::role::Role;
use berth_model::task::{StatusSource, TaskInfo, TaskReason, TaskState, TaskStatus};
use berth_model::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub struct Agent {
    pub id: AgentId,
    pub up: bool,
    /// Free: in no task, in no offer, not CREATING.
    pub free: Resources,
    pub offered: BTreeMap<OfferId, Resources>,
}

#[derive(Debug)]
pub struct Volume {
    pub id: VolumeId,
    pub agent: usize,
    pub ready: bool,
    pub resource: Resource,
    operation: OperationId,
    /// Tasks that ran on it to a successful end, and whether a server wrote to it.
    pub succeeded: Vec<String>,
    pub served: bool,
}

#[derive(Debug)]
pub struct Task {
    pub agent: usize,
    pub info: TaskInfo,
    pub state: TaskState,
    ran: bool,
    unacknowledged: Option<TaskStatus>,
}

#[derive(Debug)]
pub struct Cluster {
    pub now: Timestamp,
    pub agents: Vec<Agent>,
    pub volumes: BTreeMap<VolumeName, Volume>,
    pub tasks: BTreeMap<TaskId, Task>,
    pub scheduler: Scheduler,
    pub ledger: Vec<Record>,
    /// Successful ends of tasks with scope service.
    pub service_successes: u32,
    /// The volumes a server has written to.
    pub written: BTreeSet<VolumeName>,
    /// Roles whose offers are hidden by filters until they are revived.
    pub filtered: BTreeSet<Role>,
    /// Refuses single operations of an ACCEPT, as Mesos does, instead of all of it.
    pub pipelined: bool,
    starts: u64,
    connected: bool,
    roles: BTreeSet<Role>,
    suppressed: BTreeSet<Role>,
    events: VecDeque<Event>,
    offers: u64,
    counter: u128,
}

/// How much of a step survives a crash.
#[derive(Clone, Copy, Debug)]
pub enum Crash {
    BeforeSync,
    AfterSync,
    AfterOutputs(usize),
}

pub const ROLE: &str = "storage/test";

fn config(seed: u128) -> Config {
    Config {
        name: "services".to_owned(),
        user: String::new(),
        principal: None,
        failover_timeout: Duration::from_hours(1),
        url: String::new(),
        hostname: String::new(),
        seed,
    }
}

impl Cluster {
    pub fn new(agents: usize) -> Self {
        let agent = |index| Agent {
            id: AgentId::from_u128(index as u128 + 1),
            up: true,
            free: parse_resources("cpus:2;mem:1024;disk:4096;ports:[31000-31010]").unwrap(),
            offered: BTreeMap::new(),
        };
        let now = Timestamp::from_ms(1_000_000);
        Self {
            now,
            agents: (0..agents).map(agent).collect(),
            volumes: BTreeMap::new(),
            tasks: BTreeMap::new(),
            scheduler: Scheduler::recover(config(1), &[], now),
            ledger: Vec::new(),
            service_successes: 0,
            written: BTreeSet::new(),
            filtered: BTreeSet::new(),
            pipelined: false,
            starts: 1,
            connected: false,
            roles: BTreeSet::new(),
            suppressed: BTreeSet::new(),
            events: VecDeque::new(),
            offers: 0,
            counter: 0,
        }
    }

    pub fn input(&mut self, input: Input, crash: Option<Crash>) {
        let step = self.scheduler.step(self.now, input);
        let (records, outputs) = match crash {
            None => (step.records, step.outputs),
            Some(Crash::BeforeSync) => (Vec::new(), Vec::new()),
            Some(Crash::AfterSync) => (step.records, Vec::new()),
            Some(Crash::AfterOutputs(count)) => {
                (step.records, step.outputs.into_iter().take(count).collect())
            },
        };
        // Through the ledger's form and back, as a restart would read it.
        self.ledger.extend(records.iter().map(|r| Record::decode(&r.encode()).unwrap()));
        for output in outputs {
            self.send(output);
        }
        if crash.is_some() {
            self.restart_scheduler();
        }
    }

    pub fn send(&mut self, output: Output) {
        match output {
            Output::Call { number, call } => self.call(number, call),
            Output::Reply { .. } => {},
        }
    }

    /// The tasks of an agent end in a way nobody saw.
    pub fn status_of(&mut self, id: &str) -> TaskStatus {
        self.status(&TaskId::new(id).unwrap(), TaskState::Running, TaskReason::Normal, true)
    }

    pub fn lose_tasks(&mut self, index: usize, state: TaskState) {
        for id in self.live_on(index) {
            self.end_task(&id, state);
        }
    }

    pub fn command(&mut self, command: Command) {
        self.input(Input::Command { request: 1, command }, None);
    }

    pub fn restart_scheduler(&mut self) {
        self.starts += 1;
        self.disconnect();
        self.scheduler =
            Scheduler::recover(config(u128::from(self.starts)), &self.ledger, self.now);
    }

    /// The session ends; nothing that was under way arrives.
    pub fn disconnect(&mut self) {
        self.connected = false;
        self.events.clear();
        for agent in &mut self.agents {
            for (_, resources) in std::mem::take(&mut agent.offered) {
                agent.free.add_all(&resources).unwrap();
            }
        }
        self.input(Input::Disconnected, None);
    }

    pub fn connect(&mut self) {
        if !self.connected {
            self.connected = true;
            self.input(Input::Connected, None);
        }
    }

    /// Delivers the oldest event.
    pub fn deliver(&mut self, crash: Option<Crash>) -> bool {
        let Some(event) = self.events.pop_front() else { return false };
        self.input(Input::Event(Box::new(event)), crash);
        true
    }

    pub fn tick(&mut self, pause: Duration) {
        self.now = self.now.after(pause);
        self.input(Input::Tick, None);
        let repeated: Vec<TaskStatus> =
            self.tasks.values().filter_map(|task| task.unacknowledged.clone()).collect();
        if self.connected {
            self.events.extend(repeated.into_iter().map(Event::Status));
        }
    }

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
                    attributes: BTreeMap::new(),
                    resources,
                    seq: 1,
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

    fn live_on(&self, index: usize) -> Vec<TaskId> {
        let live = self.tasks.iter().filter(|(_, t)| t.agent == index && !t.state.is_terminal());
        live.map(|(id, _)| id.clone()).collect()
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

    fn say_operation(
        &mut self,
        id: OperationId,
        kind: OperationKind,
        volumes: Vec<VolumeId>,
        state: OperationState,
    ) {
        self.events.push_back(Event::Operation(OperationRecord {
            id,
            kind,
            fingerprint: 0,
            framework: None,
            agent: None,
            volumes,
            object: String::new(),
            state,
            notes: Vec::new(),
            accepted: self.now,
            finished: None,
        }));
    }

    fn status(
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

    fn end_task(&mut self, id: &TaskId, state: TaskState) {
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

    fn call(&mut self, number: u64, call: Call) {
        assert!(self.connected, "a call without a session: {call:?}");
        match call {
            Call::Subscribe { info, framework, suppressed } => {
                assert!(framework.is_none() || framework == Some(FrameworkId::new("f").unwrap()));
                self.roles = info.roles;
                self.suppressed = suppressed;
                let framework = FrameworkId::new("f").unwrap();
                self.events.push_back(Event::Subscribed {
                    framework,
                    epoch: 1,
                    heartbeat: Duration::from_secs(15),
                });
                let repeated = self.tasks.values().filter_map(|task| task.unacknowledged.clone());
                self.events.extend(repeated.map(Event::Status));
            },
            Call::Accept { offers, operations, .. } => {
                let result = self.accept(&offers, &operations);
                self.events.push_back(Event::Answered { call: number, result });
            },
            Call::Decline { offers, .. } => drop(self.take_back(&offers)),
            Call::Revive(roles) => {
                self.suppressed.retain(|role| !roles.contains(role));
                self.filtered.retain(|role| !roles.contains(role));
            },
            Call::Suppress(roles) => self.suppressed.extend(roles),
            Call::Acknowledge { task, status, .. } => {
                if let Some(task) = self.tasks.get_mut(&task)
                    && task.unacknowledged.as_ref().and_then(|u| u.id) == Some(status)
                {
                    task.unacknowledged = None;
                }
            },
            Call::Reconcile(tasks) => self.reconcile(&tasks),
            Call::Kill { task, .. } => {
                if self
                    .tasks
                    .get(&task)
                    .is_some_and(|t| t.state == TaskState::Staging || t.state == TaskState::Running)
                {
                    self.task_is_killed(&task);
                } else {
                    self.reconcile(&[(task, None)]);
                }
            },
            Call::UpdateRoles(roles) => {
                self.roles = roles;
                self.events.push_back(Event::Answered { call: number, result: Ok(Vec::new()) });
            },
            Call::Teardown => panic!("nobody asked for a teardown"),
        }
    }

    fn reconcile(&mut self, tasks: &[(TaskId, Option<AgentId>)]) {
        let all: Vec<(TaskId, Option<AgentId>)> = if tasks.is_empty() {
            self.tasks.keys().map(|id| (id.clone(), None)).collect()
        } else {
            tasks.to_vec()
        };
        for (id, agent) in all {
            let known = self
                .tasks
                .get(&id)
                .filter(|t| !t.state.is_terminal() || t.unacknowledged.is_some());
            let known = known.map(|t| (t.state, t.agent));
            let state = match known {
                Some((state, agent)) if !state.is_terminal() && !self.agents[agent].up => {
                    TaskState::Unreachable
                },
                Some((state, _)) => state,
                None if tasks.is_empty() => continue,
                None => match agent.and_then(|id| self.agents.iter().find(|a| a.id == id)) {
                    Some(agent) if !agent.up => TaskState::Unreachable,
                    Some(_) => TaskState::Gone,
                    None => TaskState::Unknown,
                },
            };
            let status = self.status(&id, state, TaskReason::Reconciliation, false);
            self.events.push_back(Event::Status(status));
        }
    }

    fn take_back(&mut self, offers: &[OfferId]) -> Option<(usize, Resources)> {
        let mut whole = None;
        for id in offers {
            let found = self.agents.iter().position(|agent| agent.offered.contains_key(id));
            let index = found?;
            let resources = self.agents[index].offered.remove(id)?;
            self.agents[index].free.add_all(&resources).unwrap();
            let (_, sum): &mut (usize, Resources) =
                whole.get_or_insert_with(|| (index, Resources::new()));
            sum.add_all(&resources).unwrap();
        }
        whole
    }

    /// All or nothing, unless pipelined.
    fn accept(
        &mut self,
        offers: &[OfferId],
        operations: &[OfferOperation],
    ) -> Result<Vec<OperationId>, Rejection> {
        let stale = || Rejection::new(ErrorCode::StaleOffer, "the offer is gone");
        let (index, left) = self.take_back(offers).ok_or_else(stale)?;
        let offered = left.clone();
        let mut plan = Plan { left, ..Plan::default() };
        for operation in operations {
            let before = plan.clone();
            let Err(why) = plan.take(operation, &self.volumes) else { continue };
            if !(self.pipelined && why.code == ErrorCode::VolumeExists) {
                return Err(why);
            }
            self.refuse_create(operations, operation.id, why);
            self.carry_out(index, &offered, before);
            return Ok(Vec::new());
        }
        self.carry_out(index, &offered, plan);
        Ok(operations.iter().map(|operation| operation.id).collect())
    }

    fn refuse_create(&mut self, operations: &[OfferOperation], id: OperationId, why: Rejection) {
        self.say_operation(id, OperationKind::Create, Vec::new(), OperationState::Failed(why));
        for operation in operations {
            let Action::Launch(tasks) = &operation.action else { continue };
            for task in tasks {
                let status =
                    self.status(&task.id, TaskState::Error, TaskReason::TaskInvalid, false);
                self.events.push_back(Event::Status(status));
            }
        }
    }

    fn carry_out(&mut self, index: usize, offered: &Resources, plan: Plan) {
        let Plan { left, creates, launches, destroys } = plan;
        for name in &destroys {
            self.volumes.remove(name);
            self.written.remove(name);
        }
        for (name, resource, operation) in creates {
            self.counter += 1;
            let used = launches.iter().any(|task| uses(&task.resources, &name));
            assert!(used, "a volume nobody uses");
            let volume = Volume {
                id: VolumeId::from_u128(self.counter),
                agent: index,
                ready: false,
                resource,
                operation,
                succeeded: Vec::new(),
                served: false,
            };
            self.volumes.insert(name, volume);
        }
        for info in launches {
            assert!(!self.tasks.contains_key(&info.id), "{} again", info.id);
            for (name, volume) in
                self.volumes.iter().filter(|(name, _)| uses(&info.resources, name))
            {
                assert_eq!(volume.agent, index, "{} is launched away from {name}", info.id);
            }
            let state = TaskState::Staging;
            let task = Task { agent: index, info, state, ran: false, unacknowledged: None };
            self.tasks.insert(task.info.id.clone(), task);
        }
        let agent = &mut self.agents[index];
        agent.free.checked_sub(offered).unwrap();
        // Launched tasks have taken their part out of `left`.
        agent.free.add_all(&left).unwrap();
    }

    /// What must hold at any time.
    pub fn check(&self) {
        let live: Vec<&TaskId> =
            self.tasks.iter().filter(|(_, t)| !t.state.is_terminal()).map(|(id, _)| id).collect();
        assert!(live.len() <= 1, "two live tasks of one pod: {live:?}");
        assert!(self.service_successes <= 1, "a task with scope service succeeded twice");
        assert!(self.written.len() <= 1, "a server wrote to two volumes: {:?}", self.written);
        let mut replayed = State::default();
        self.ledger.iter().for_each(|record| replayed.apply(record));
        assert_eq!(&replayed, self.scheduler.state(), "the ledger does not lead to the state");
        let mut whole = State::default();
        whole.apply(&Record::decode(&self.scheduler.snapshot().encode()).unwrap());
        assert_eq!(&whole, self.scheduler.state(), "the snapshot does not lead to the state");
    }
}

fn uses(resources: &Resources, name: &VolumeName) -> bool {
    resources.volumes().iter().any(|v| v.persistence().is_some_and(|p| p.name == *name))
}

/// What an ACCEPT does, as far as it has been looked at.
#[derive(Clone, Debug, Default)]
struct Plan {
    left: Resources,
    creates: Vec<(VolumeName, Resource, OperationId)>,
    launches: Vec<TaskInfo>,
    destroys: Vec<VolumeName>,
}

impl Plan {
    fn take(
        &mut self,
        operation: &OfferOperation,
        volumes: &BTreeMap<VolumeName, Volume>,
    ) -> Result<(), Rejection> {
        match &operation.action {
            Action::Reserve(wanted) => {
                for resource in wanted.iter() {
                    self.swap(&resource.pop().unwrap(), Some(&resource))?;
                }
            },
            Action::Create(wanted) => {
                for volume in wanted {
                    let name = volume.persistence().unwrap().name.clone();
                    if volumes.contains_key(&name) {
                        return Err(Rejection::new(
                            ErrorCode::VolumeExists,
                            format!("{name} exists"),
                        ));
                    }
                    self.swap(&volume.strip_volume(), Some(volume))?;
                    self.creates.push((name, volume.clone(), operation.id));
                }
            },
            Action::Launch(tasks) => {
                for task in tasks {
                    self.left.checked_sub(&task.resources).map_err(short)?;
                    self.launches.push(task.clone());
                }
            },
            Action::Destroy(wanted) => {
                for volume in wanted {
                    self.swap(volume, Some(&volume.strip_volume()))?;
                    self.destroys.push(volume.persistence().unwrap().name.clone());
                }
            },
            Action::Unreserve(wanted) => {
                for resource in wanted.iter() {
                    self.swap(&resource, resource.pop().as_ref())?;
                }
            },
            Action::Grow { .. } | Action::Shrink { .. } => {
                panic!("the service scheduler resizes nothing: {operation:?}");
            },
        }
        Ok(())
    }

    fn swap(&mut self, from: &Resource, to: Option<&Resource>) -> Result<(), Rejection> {
        self.left.checked_sub(&Resources::from_list([from.clone()]).unwrap()).map_err(short)?;
        self.left.add(to.unwrap()).unwrap();
        Ok(())
    }
}

fn short(shortfall: Shortfall) -> Rejection {
    Rejection::new(ErrorCode::InsufficientResources, shortfall.to_string())
}
