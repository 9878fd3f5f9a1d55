//! A stage for scripts: a master, its registry as a map, and agents and frameworks as plain ids. After
//! each input the invariants are checked and the registry's fold is recovered from.
#![expect(dead_code, reason = "each test file uses a part of the stage")]
#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up fails the test")]

pub mod orphan;
pub mod quota;
pub mod roles;

use berth_master_core::{Config, Input, Master, Output, Step, invariants, query};
use berth_model::agent::{AgentInfo, Disk, DiskHealth, Media};
use berth_model::audit::Said;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Event, Filters, FrameworkInfo, Terms};
use berth_model::id::{
    AgentId, ClusterId, ContainerId, DiskId, FrameworkId, OfferId, OperationId, Principal,
    SessionId, StatusId, TaskId, VolumeId, VolumeName,
};
use berth_model::link::{FromAgent, Registration, TaskReport, ToAgent};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation};
use berth_model::operator::{DiskChoice, Request};
use berth_model::record::{RegistryKey, RegistryRecord, RegistryWrite};
use berth_model::reservation::{Reservation, Stack};
use berth_model::resources::{
    DiskSource, Mount, MountMode, Name, Persistence, Resource, Resources, parse_resources,
};
use berth_model::role::Role;
use berth_model::snapshot::SnapshotReport;
use berth_model::task::{
    Command, Program, StatusSource, TaskInfo, TaskReason, TaskState, TaskStatus,
};
use berth_model::units::{Bytes, Timestamp};
use berth_model::view::Change;
use berth_model::volume::{Enforcement, VolumeReport, VolumeSpec, VolumeState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub fn agent_id(n: u128) -> AgentId {
    AgentId::from_u128(n)
}
pub fn session(n: u128) -> SessionId {
    SessionId::from_u128(n)
}
pub fn op(n: u128) -> OperationId {
    OperationId::from_u128(n)
}
pub fn role(text: &str) -> Role {
    Role::new(text).unwrap()
}
pub fn vname(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}
pub fn task_id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}
pub fn res(text: &str) -> Resources {
    parse_resources(text).unwrap()
}
pub fn mib(n: u64) -> Bytes {
    Bytes::from_mib(n)
}
/// The same resources with a dynamic level for `owner` on top.
pub fn reserved(text: &str, owner: &str) -> Resources {
    let level = || Reservation::dynamic(role(owner));
    Resources::from_list(res(text).iter().map(|r| r.push(level()).unwrap())).unwrap()
}
/// A volume's resource on reserved ROOT disk.
pub fn volume(name: &str, owner: &str, size: u64, path: &str) -> Resource {
    let stack = Stack::new(vec![Reservation::dynamic(role(owner))]).unwrap();
    Resource::disk(DiskSource::Root, mib(size).to_scalar().unwrap()).with_stack(stack).with_volume(
        Persistence { name: vname(name), principal: None },
        Mount { container_path: Arc::from(path), mode: MountMode::ReadWrite },
    )
}
pub fn sum(list: impl IntoIterator<Item = Resource>) -> Resources {
    Resources::from_list(list).unwrap()
}
pub fn plus(a: &Resources, b: &Resources) -> Resources {
    let mut sum = a.clone();
    sum.add_all(b).unwrap();
    sum
}

pub fn info(id: AgentId, declared: &str) -> AgentInfo {
    AgentInfo {
        id,
        hostname: Arc::from(format!("host-{}", id.as_u128())),
        attributes: Arc::default(),
        declared: res(declared),
        disks: vec![Disk {
            id: DiskId::from_u128(id.as_u128() + 1000),
            name: Arc::from("root"),
            source: DiskSource::Root,
            root: Arc::from("/srv"),
            driver: Arc::from("directory"),
            driver_reason: Arc::from("test"),
            enforcement: Enforcement::None,
            size: mib(10_240),
            free: mib(10_240),
            health: DiskHealth::Ok,
            media: Media::Hdd,
            orphans: Vec::new(),
            no_snapshots: BTreeMap::new(),
            wipes: Vec::new(),
            added: false,
            no_encryption: None,
        }],
        limitations: Vec::new(),
        version: Arc::from("0"),
    }
}

pub fn framework_info(name: &str, roles: &[&str]) -> FrameworkInfo {
    FrameworkInfo {
        name: Arc::from(name),
        user: Arc::from("nobody"),
        roles: roles.iter().map(|r| role(r)).collect(),
        principal: None,
        failover_timeout: Duration::from_secs(600),
        url: Arc::from(""),
        hostname: Arc::from("here"),
        capabilities: BTreeSet::new(),
    }
}

pub fn task(id: &str, agent: AgentId, resources: Resources) -> TaskInfo {
    TaskInfo {
        id: task_id(id),
        name: id.to_owned(),
        agent,
        resources,
        command: Command {
            program: Program::Shell("sleep 1000".to_owned()),
            env: BTreeMap::new(),
            user: None,
        },
        health: None,
        readiness: None,
        kill_grace: Duration::from_secs(5),
        labels: BTreeMap::new(),
    }
}

pub fn report(spec: &VolumeSpec, state: VolumeState) -> VolumeReport {
    VolumeReport {
        spec: spec.clone(),
        state,
        operation: None,
        error: None,
        host_path: Arc::from("/srv/volumes/x"),
        driver: Arc::from("directory"),
        enforcement: Enforcement::None,
        used: None,
        purged: Vec::new(),
        resizing: None,
        setting: None,
        wiped: None,
        refused: false,
        unavailable: None,
    }
}

pub fn status(
    framework: &FrameworkId,
    task: &str,
    agent: AgentId,
    state: TaskState,
    id: u128,
) -> TaskStatus {
    TaskStatus {
        task: task_id(task),
        framework: framework.clone(),
        agent: Some(agent),
        state,
        reason: TaskReason::Normal,
        source: StatusSource::Agent,
        message: String::new(),
        error: None,
        at: Timestamp::from_ms(5),
        id: Some(StatusId::from_u128(id)),
        healthy: None,
        ready: None,
        container: Some(ContainerId::from_u128(7)),
        pid: Some(42),
    }
}

pub fn cluster() -> ClusterId {
    ClusterId::from_u128(0xabcd_ef01 << 96)
}

pub struct Stage {
    pub master: Master,
    pub now: Timestamp,
    pub registry: BTreeMap<RegistryKey, RegistryRecord>,
    pub epoch: u64,
    next: u128,
    seq: u64,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(|_| {})
    }
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(cluster(), 1, 0);
        // So that a refusal can be shown to change nothing at all.
        config.audit_refusals = 0;
        change(&mut config);
        let now = Timestamp::from_ms(1_000_000);
        let (master, step) = Master::recover(config, Vec::new(), now).unwrap();
        let mut stage =
            Self { master, now, registry: BTreeMap::new(), epoch: 1, next: 100, seq: 0 };
        stage.store(&step);
        stage
    }
    fn store(&mut self, step: &Step) {
        for write in &step.writes {
            match write {
                RegistryWrite::Put(record) => {
                    drop(self.registry.insert(record.key(), record.clone()));
                },
                RegistryWrite::Delete(key) => drop(self.registry.remove(key)),
            }
        }
        let violations = invariants::check(self.master.state());
        assert!(violations.is_empty(), "{violations:#?}");
    }
    /// One input; the invariants hold after it. What it writes to the audit log is stored, and left out of the answer.
    pub fn put(&mut self, input: Input) -> Step {
        let step = self.master.step(self.now, input);
        self.store(&step);
        let is_audit = |write: &RegistryWrite| matches!(write.key(), RegistryKey::Audit(_));
        Step { writes: step.writes.into_iter().filter(|w| !is_audit(w)).collect(), ..step }
    }
    pub fn advance(&mut self, span: Duration) -> Step {
        self.now = self.now.after(span);
        self.put(Input::Tick)
    }
    /// A number never used before.
    pub fn fresh(&mut self) -> u128 {
        self.next += 1;
        self.next
    }
    /// The master dies and another takes up its registry.
    pub fn restart(&mut self) -> Step {
        self.epoch += 1;
        let config = Config { audit_refusals: 0, ..Config::new(cluster(), self.epoch, 0) };
        self.restart_with(config)
    }
    pub fn restart_with(&mut self, config: Config) -> Step {
        let records = self.registry.values().cloned().collect();
        let (master, step) = Master::recover(config, records, self.now).unwrap();
        self.master = master;
        self.store(&step);
        step
    }

    pub fn registration(&self, agent: AgentInfo, session: SessionId) -> Registration {
        Registration {
            info: agent,
            session,
            cluster: None,
            epoch: 0,
            revision: 0,
            ledger_seq: self.seq,
            volumes: Vec::new(),
            tasks: Vec::new(),
            snapshots: Vec::new(),
        }
    }
    pub fn register_as(&mut self, registration: Registration) -> Step {
        self.put(Input::Agent {
            agent: registration.info.id,
            session: registration.session,
            message: FromAgent::Register(Box::new(registration)),
        })
    }
    /// An agent with nothing on it; its session has its number.
    pub fn register(&mut self, n: u128, declared: &str) -> Step {
        let registration = self.registration(info(agent_id(n), declared), session(n));
        self.register_as(registration)
    }
    pub fn back(
        &mut self,
        n: u128,
        declared: &str,
        volumes: Vec<VolumeReport>,
        tasks: Vec<TaskReport>,
    ) -> Step {
        let session = session(self.fresh());
        let registration = self.registration(info(agent_id(n), declared), session);
        self.register_as(Registration { volumes, tasks, ..registration })
    }
    pub fn session_of(&self, n: u128, step: &Step) -> SessionId {
        let found = step.outputs.iter().find_map(|output| match output {
            Output::ToAgent { agent, session, .. } if *agent == agent_id(n) => Some(*session),
            _ => None,
        });
        found.unwrap()
    }
    pub fn agent_says(&mut self, n: u128, over: SessionId, message: FromAgent) -> Step {
        self.put(Input::Agent { agent: agent_id(n), session: over, message })
    }
    pub fn reports(&mut self, n: u128, over: SessionId, report: VolumeReport) -> Step {
        self.seq += 1;
        let ledger_seq = self.seq;
        self.agent_says(n, over, FromAgent::Volume { ledger_seq, report })
    }
    pub fn reports_snapshot(&mut self, n: u128, over: SessionId, report: SnapshotReport) -> Step {
        self.seq += 1;
        let ledger_seq = self.seq;
        self.agent_says(n, over, FromAgent::Snapshot { ledger_seq, report })
    }
    pub fn subscribe(&mut self, over: u128, info: FrameworkInfo) -> (FrameworkId, Step) {
        self.resubscribe(over, info, None)
    }
    pub fn resubscribe(
        &mut self,
        over: u128,
        info: FrameworkInfo,
        framework: Option<FrameworkId>,
    ) -> (FrameworkId, Step) {
        let body = Call::Subscribe { info, framework, suppressed: BTreeSet::new() };
        let input = Input::Framework {
            session: session(over),
            framework: None,
            call: 0,
            fingerprint: 0,
            body,
        };
        let step = self.put(input);
        let id = events(&step).into_iter().find_map(|event| match event {
            Event::Subscribed { framework, .. } => Some(framework),
            _ => None,
        });
        (id.expect("subscribed"), step)
    }
    pub fn call(&mut self, framework: &FrameworkId, over: u128, body: Call) -> Step {
        self.put(Input::Framework {
            session: session(over),
            framework: Some(framework.clone()),
            call: 1,
            fingerprint: 0,
            body,
        })
    }
    pub fn accept(
        &mut self,
        framework: &FrameworkId,
        over: u128,
        offers: &[&Offer],
        actions: Vec<Action>,
    ) -> Step {
        let operations = actions
            .into_iter()
            .map(|action| OfferOperation { id: op(self.fresh()), action })
            .collect();
        let offers: Vec<OfferId> = offers.iter().map(|o| o.id).collect();
        self.call(
            framework,
            over,
            Call::Accept {
                offers,
                operations,
                filters: Filters::default(),
                terms: Terms::default(),
            },
        )
    }
    pub fn operator(
        &mut self,
        id: u128,
        request: Request,
    ) -> (Result<OperationId, Rejection>, Step) {
        let fingerprint = berth_model::id::fingerprint(format!("{request:?}").as_bytes());
        let step = self.put(Input::Operator {
            reply: 9,
            operation: op(id),
            fingerprint,
            request,
            said: Said::default(),
        });
        let answer = step.outputs.iter().find_map(|output| match output {
            Output::Reply { reply: 9, result } => Some(result.clone()),
            _ => None,
        });
        (answer.expect("an answer"), step)
    }
    pub fn offers(&self) -> Vec<Offer> {
        query::offers(self.master.state())
    }
    pub fn volume(&self, name: &str) -> berth_model::view::VolumeView {
        let mut views = query::volumes(self.master.state()).into_iter();
        views.find(|view| view.volume.spec.name.as_str() == name).expect("the volume")
    }
    pub fn volume_states(&self) -> Vec<(String, VolumeState)> {
        query::volumes(self.master.state())
            .into_iter()
            .map(|view| (view.volume.spec.name.to_string(), view.volume.state))
            .collect()
    }
    /// Creates a volume by an operator and has agent `n` report it READY.
    pub fn make_volume(&mut self, n: u128, over: SessionId, name: &str, size: u64) -> VolumeSpec {
        let id = self.fresh();
        let (answer, step) = self.operator(id, create_request(name, "storage", size));
        assert_eq!(answer, Ok(op(id)));
        let spec = ensured(&step).expect("a message to the agent");
        self.reports(n, over, report(&spec, VolumeState::Ready));
        spec
    }
}

pub fn create_request(name: &str, owner: &str, size: u64) -> Request {
    Request::CreateVolume {
        name: vname(name),
        role: role(owner),
        principal: None,
        size: mib(size),
        agent: None,
        disk: DiskChoice::Any,
        container_path: Arc::from("data"),
        access: berth_model::access::Access::default(),
        encrypted: false,
        import: None,
        shared: false,
    }
}
pub fn ensured(step: &Step) -> Option<VolumeSpec> {
    messages(step).into_iter().find_map(|message| match message {
        ToAgent::EnsureVolume { spec, .. } => Some(spec),
        _ => None,
    })
}
/// The messages to agents, without heartbeats.
pub fn messages(step: &Step) -> Vec<ToAgent> {
    let sent = step.outputs.iter().filter_map(|output| match output {
        Output::ToAgent { message, .. } if *message != ToAgent::Heartbeat => Some(message.clone()),
        _ => None,
    });
    sent.collect()
}
/// The events to frameworks, without heartbeats.
pub fn events(step: &Step) -> Vec<Event> {
    let sent = step.outputs.iter().filter_map(|output| match output {
        Output::ToFramework { event, .. } if *event != Event::Heartbeat => Some(event.clone()),
        _ => None,
    });
    sent.collect()
}
pub fn offered(step: &Step) -> Vec<Offer> {
    let lists = events(step).into_iter().filter_map(|event| match event {
        Event::Offers(offers) => Some(offers),
        _ => None,
    });
    lists.flatten().collect()
}
pub fn statuses(step: &Step) -> Vec<(String, TaskState, TaskReason)> {
    let told = events(step).into_iter().filter_map(|event| match event {
        Event::Status(status) => Some((status.task.to_string(), status.state, status.reason)),
        _ => None,
    });
    told.collect()
}
/// The ends of operations, as watchers see them: kind, state, and the code of a failure.
pub fn operations(step: &Step) -> Vec<(&'static str, &'static str, Option<ErrorCode>)> {
    let changed = step.outputs.iter().filter_map(|output| match output {
        Output::Changed(Change::Operation(record)) => {
            let code = match &record.state {
                berth_model::operation::OperationState::Failed(rejection) => Some(rejection.code),
                _ => None,
            };
            Some((record.kind.as_str(), record.state.as_str(), code))
        },
        _ => None,
    });
    changed.collect()
}
pub fn refused(step: &Step) -> Option<ErrorCode> {
    messages(step).into_iter().find_map(|message| match message {
        ToAgent::Refused(rejection) => Some(rejection.code),
        _ => None,
    })
}
pub fn closed(step: &Step) -> Vec<(SessionId, ErrorCode)> {
    let ended = step.outputs.iter().filter_map(|output| match output {
        Output::CloseFramework { session, reason } => Some((*session, reason.code)),
        _ => None,
    });
    ended.collect()
}
pub fn answered(step: &Step) -> Option<Result<usize, ErrorCode>> {
    events(step).into_iter().find_map(|event| match event {
        Event::Answered { result, .. } => Some(result.map(|ids| ids.len()).map_err(|r| r.code)),
        _ => None,
    })
}
pub fn total_disk(resources: &Resources) -> u64 {
    Bytes::from_scalar(resources.total(&Name::Disk)).whole_mib().unwrap()
}
pub fn volume_id(n: u128) -> VolumeId {
    VolumeId::from_u128(n)
}
pub fn principal(text: &str) -> Principal {
    Principal::new(text).unwrap()
}
