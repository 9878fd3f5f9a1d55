//! A cluster small enough to be obviously right: one master with books per agent, tasks that start and end when
//! told to, statuses that are repeated until acknowledged. It shares no code with the scheduler but the model.

mod calls;
mod machines;
mod plan;
mod tasks;

use berth_framework_core::record::{Record, State};
use berth_framework_core::scheduler::{Command, Config, Input, Output, Scheduler};
use berth_model::error::Rejection;
use berth_model::framework::Event;
use berth_model::id::{AgentId, OfferId, OperationId, TaskId, VolumeId, VolumeName};
use berth_model::operation::{OperationKind, OperationRecord, OperationState};
use berth_model::resources::{Resource, Resources, parse_resources};
use berth_model::role::Role;
use berth_model::task::{TaskInfo, TaskState, TaskStatus};
use berth_model::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

#[derive(Debug)]
pub struct Agent {
    pub id: AgentId,
    pub up: bool,
    /// Free: in no task, in no offer, not CREATING.
    pub free: Resources,
    pub offered: BTreeMap<OfferId, Resources>,
    /// What volumes leave behind is withheld.
    pub cordoned: bool,
    pub withheld: Resources,
}

#[derive(Debug)]
pub struct Volume {
    pub id: VolumeId,
    pub agent: usize,
    pub ready: bool,
    /// Its disk is faulty: it is there, and not offered.
    pub hidden: bool,
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
    /// Refuses the next DESTROY.
    pub refusal: Option<Rejection>,
    /// Every DESTROY that was asked for.
    pub destroys: u32,
    starts: u64,
    connected: bool,
    roles: BTreeSet<Role>,
    suppressed: BTreeSet<Role>,
    events: VecDeque<Event>,
    /// Ends of operations of the call that is being answered.
    ends: Vec<(OperationId, OperationKind, OperationState)>,
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
            cordoned: false,
            withheld: Resources::new(),
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
            refusal: None,
            destroys: 0,
            starts: 1,
            connected: false,
            roles: BTreeSet::new(),
            suppressed: BTreeSet::new(),
            events: VecDeque::new(),
            ends: Vec::new(),
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
            orphan: None,
            said: Default::default(),
            disk: None,
            wipe: None,
            snapshot: None,
        }));
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
