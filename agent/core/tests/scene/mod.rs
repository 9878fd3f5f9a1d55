//! Values that the tests of the agent's core share: one agent with one disk, and short ways to say things to it.
#![expect(dead_code, reason = "each test file uses its own part")]

use berth_agent_core::effect::{ContainerEffect, VolumeEffect, VolumeOutcome};
use berth_agent_core::{Agent, Config, Input, Output, Step};
use berth_model::agent::{AgentInfo, Disk, DiskHealth};
use berth_model::id::{
    AgentId, ClusterId, DiskId, FrameworkId, OperationId, SessionId, TaskId, VolumeId, VolumeName,
};
use berth_model::link::{Envelope, FromAgent, ToAgent};
use berth_model::record::LedgerRecord;
use berth_model::resources::{DiskSource, Mount, MountMode, parse_resources};
use berth_model::role::Role;
use berth_model::task::{Command, Program, TaskInfo, TaskKey, TaskStatus};
use berth_model::units::{Bytes, Timestamp};
use berth_model::volume::{Enforcement, VolumeReport, VolumeSpec, VolumeUse};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub const CLUSTER: ClusterId = ClusterId::from_u128(0xC);
pub const AGENT: AgentId = AgentId::from_u128(0xA);

pub fn info() -> AgentInfo {
    AgentInfo {
        id: AGENT,
        hostname: Arc::from("one.example"),
        attributes: Arc::default(),
        declared: parse_resources("cpus:2;mem:2GiB;disk:10GiB").expect("valid"),
        disks: vec![Disk {
            id: DiskId::from_u128(0xD),
            name: Arc::from("root"),
            source: DiskSource::Root,
            root: Arc::from("/srv/root"),
            driver: Arc::from("directory"),
            driver_reason: Arc::from("test"),
            enforcement: Enforcement::None,
            size: Bytes::from_mib(10 * 1024),
            free: Bytes::from_mib(10 * 1024),
            health: DiskHealth::Ok,
            media: berth_model::agent::Media::Unknown,
            orphans: vec![],
            no_snapshots: BTreeMap::new(),
            wipes: Vec::new(),
            added: false,
            no_encryption: None,
        }],
        limitations: vec![],
        version: Arc::from("0"),
    }
}

pub fn volume(number: u128) -> VolumeId {
    VolumeId::from_u128(0x7000 + number)
}

pub fn operation(number: u128) -> OperationId {
    OperationId::from_u128(0x5000 + number)
}

pub fn spec(number: u128, generation: u64) -> VolumeSpec {
    VolumeSpec {
        id: volume(number),
        generation,
        name: VolumeName::new(&format!("data-{number}")).expect("valid"),
        role: Role::new("storage").expect("valid"),
        principal: None,
        source: DiskSource::Root,
        size: Bytes::from_mib(1024),
        access: berth_model::access::Access::default(),
        shared: false,
        encrypted: false,
    }
}

pub fn framework() -> FrameworkId {
    FrameworkId::new("F-1").expect("valid")
}

pub fn key(task: &str) -> TaskKey {
    TaskKey { framework: framework(), task: TaskId::new(task).expect("valid") }
}

pub fn task(id: &str) -> TaskInfo {
    TaskInfo {
        id: TaskId::new(id).expect("valid"),
        name: id.to_owned(),
        agent: AGENT,
        resources: parse_resources("cpus:1;mem:256MiB").expect("valid"),
        command: Command {
            program: Program::Shell("exec sleep 1000".to_owned()),
            env: BTreeMap::new(),
            user: None,
        },
        health: None,
        readiness: None,
        kill_grace: Duration::from_secs(5),
        labels: BTreeMap::new(),
    }
}

pub fn used(number: u128, generation: u64) -> VolumeUse {
    VolumeUse {
        volume: volume(number),
        generation,
        mount: Mount { container_path: Arc::from("data"), mode: MountMode::ReadWrite },
    }
}

pub fn present() -> VolumeOutcome {
    VolumeOutcome::Present {
        host_path: Arc::from("/disk/v"),
        driver: Arc::from("directory"),
        enforcement: Enforcement::None,
        purged: vec![],
    }
}

pub fn ensure(number: u128, generation: u64, op: u128) -> ToAgent {
    let spec = spec(number, generation);
    ToAgent::EnsureVolume { spec, operation: operation(op), restore: generation > 1 }
}

pub fn destroy(number: u128, generation: u64, op: u128) -> ToAgent {
    ToAgent::DestroyVolume { volume: volume(number), generation, operation: operation(op) }
}

pub fn launch(id: &str, volumes: Vec<VolumeUse>) -> ToAgent {
    ToAgent::Launch { framework: framework(), task: Box::new(task(id)), volumes }
}

pub fn envelope(epoch: u64, message: ToAgent) -> Input {
    Input::Master(Envelope { cluster: CLUSTER, epoch, revision: epoch * 100, message })
}

/// An agent, its synced ledger, and the clock.
pub struct Scene {
    pub agent: Agent,
    pub ledger: Vec<LedgerRecord>,
    pub now: Timestamp,
}

impl Scene {
    pub fn new() -> Self {
        Self::of(info())
    }
    pub fn of(info: AgentInfo) -> Self {
        let now = Timestamp::from_ms(1_000_000);
        let (agent, step) = Agent::recover(Config::default(), info, vec![], 0, now);
        assert_eq!(step, Step::default());
        Self { agent, ledger: vec![], now }
    }
    /// Registered with a master of epoch 1.
    pub fn registered() -> Self {
        let mut scene = Self::new();
        scene.connect(1);
        scene
    }
    pub fn connect(&mut self, epoch: u64) -> Vec<Output> {
        let mut outputs = self.give(Input::Connected { session: SessionId::from_u128(1) });
        let heartbeat = Duration::from_secs(5);
        outputs.extend(self.give(envelope(epoch, ToAgent::Registered { heartbeat })));
        outputs
    }
    /// What a REGISTERED leads to on the connection that is open.
    pub fn taken_in(&mut self) -> Vec<Output> {
        self.say(ToAgent::Registered { heartbeat: Duration::from_secs(5) })
    }
    /// Takes an input in; its records are synced.
    pub fn step(&mut self, input: Input) -> Step {
        let step = self.agent.step(self.now, input);
        self.ledger.extend(step.records.clone());
        step
    }
    pub fn give(&mut self, input: Input) -> Vec<Output> {
        self.step(input).outputs
    }
    pub fn say(&mut self, message: ToAgent) -> Vec<Output> {
        self.give(envelope(1, message))
    }
    /// Answers the volume effect among `outputs`.
    pub fn answer(&mut self, outputs: &[Output], outcome: VolumeOutcome) -> Vec<Output> {
        let (token, effect) = only_volume_effect(outputs);
        self.give(Input::Volume { volume: effect.spec().id, token, outcome })
    }
    pub fn wait(&mut self, span: Duration) -> Vec<Output> {
        self.now = self.now.after(span);
        self.give(Input::Tick)
    }
    /// Starts anew from the ledger.
    pub fn crash(&mut self) -> Step {
        let records = self.ledger.clone();
        let seq = records.len() as u64;
        let (agent, step) = Agent::recover(Config::default(), info(), records, seq, self.now);
        self.agent = agent;
        self.ledger.extend(step.records.clone());
        step
    }
    /// A READY volume.
    pub fn ready_volume(&mut self, number: u128) {
        let outputs = self.say(ensure(number, 1, number));
        self.answer(&outputs, present());
    }
}

pub fn only_volume_effect(outputs: &[Output]) -> (u64, VolumeEffect) {
    let all = volume_effects(outputs);
    assert_eq!(all.len(), 1, "{outputs:?}");
    all[0].clone()
}

pub fn volume_effects(outputs: &[Output]) -> Vec<(u64, VolumeEffect)> {
    let effect = |o: &Output| match o {
        Output::Volume { token, effect } => Some((*token, effect.clone())),
        _ => None,
    };
    outputs.iter().filter_map(effect).collect()
}

pub fn container_effects(outputs: &[Output]) -> Vec<ContainerEffect> {
    let effect = |o: &Output| match o {
        Output::Container(effect) => Some(effect.clone()),
        _ => None,
    };
    outputs.iter().filter_map(effect).collect()
}

pub fn reports(outputs: &[Output]) -> Vec<VolumeReport> {
    let report = |o: &Output| match o {
        Output::Send(FromAgent::Volume { report, .. }) => Some(report.clone()),
        _ => None,
    };
    outputs.iter().filter_map(report).collect()
}

pub fn statuses(outputs: &[Output]) -> Vec<TaskStatus> {
    let status = |o: &Output| match o {
        Output::Send(FromAgent::Status(status)) => Some(status.clone()),
        _ => None,
    };
    outputs.iter().filter_map(status).collect()
}
