//! How a master is set up to be measured: no timer of its own fires within a run, frameworks and agents are the least that
//! is accepted.

use berth_master_core::{Config, Input, Output, Step};
use berth_model::agent::{AgentInfo, Disk, DiskHealth, Media};
use berth_model::framework::{Call, Event, FrameworkInfo};
use berth_model::id::{AgentId, ClusterId, DiskId, FrameworkId, SessionId, StatusId, TaskId};
use berth_model::link::{FromAgent, Registration};
use berth_model::resources::{DiskSource, Resources};
use berth_model::role::Role;
use berth_model::task::{
    Command, Program, StatusSource, TaskInfo, TaskReason, TaskState, TaskStatus,
};
use berth_model::units::{Bytes, Timestamp};
use berth_model::volume::Enforcement;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Longer than a run, in virtual time.
const NEVER: Duration = Duration::from_secs(1_000_000_000);

/// The defaults, but without heartbeats and time-outs of connections.
#[must_use]
pub fn config() -> Config {
    Config {
        heartbeat: NEVER,
        agent_timeout: NEVER,
        reregister_window: NEVER,
        ..Config::new(ClusterId::from_u128(0xc), 1, 0)
    }
}

/// A healthy disk.
#[must_use]
pub fn disk(id: DiskId, name: &str, source: DiskSource, size: Bytes) -> Disk {
    Disk {
        id,
        name: Arc::from(name),
        source,
        root: Arc::from("/srv"),
        driver: Arc::from("directory"),
        driver_reason: Arc::from("bench"),
        enforcement: Enforcement::None,
        size,
        free: size,
        health: DiskHealth::Ok,
        media: Media::Ssd,
        orphans: Vec::new(),
        no_snapshots: BTreeMap::new(),
        added: false,
        wipes: Vec::new(),
        no_encryption: None,
    }
}

/// An agent that declares this.
#[must_use]
pub fn agent(
    id: AgentId,
    attributes: BTreeMap<String, String>,
    declared: Resources,
    disks: Vec<Disk>,
) -> AgentInfo {
    AgentInfo {
        id,
        hostname: Arc::from(format!("host-{}", id.as_u128() - 1)),
        attributes: Arc::new(attributes),
        declared,
        disks,
        limitations: Vec::new(),
        version: Arc::from("0"),
    }
}

/// How an agent without a past registers.
#[must_use]
pub fn register(info: AgentInfo, session: SessionId) -> Input {
    let agent = info.id;
    let registration = Registration {
        info,
        session,
        cluster: None,
        epoch: 0,
        revision: 0,
        ledger_seq: 0,
        volumes: Vec::new(),
        tasks: Vec::new(),
        snapshots: Vec::new(),
    };
    Input::Agent { agent, session, message: FromAgent::Register(Box::new(registration)) }
}

/// How a framework of one role subscribes under this name and id.
///
/// # Errors
/// The name is none.
pub fn subscribe(session: SessionId, name: &str, role: &str) -> anyhow::Result<Input> {
    let info = FrameworkInfo {
        name: Arc::from(name),
        user: Arc::from("nobody"),
        roles: BTreeSet::from([Role::new(role)?]),
        principal: None,
        failover_timeout: Duration::from_secs(600),
        url: Arc::from(""),
        hostname: Arc::from("here"),
        capabilities: BTreeSet::new(),
    };
    let framework = Some(FrameworkId::new(name)?);
    let body = Call::Subscribe { info, framework, suppressed: BTreeSet::new() };
    Ok(Input::Framework { session, framework: None, call: 0, fingerprint: 0, body })
}

/// Who was taken in.
#[must_use]
pub fn subscribed(step: &Step) -> Option<FrameworkId> {
    step.outputs.iter().find_map(|output| match output {
        Output::ToFramework { event: Event::Subscribed { framework, .. }, .. } => {
            Some(framework.clone())
        },
        _ => None,
    })
}

/// A task that runs a short command.
#[must_use]
pub fn task(id: TaskId, agent: AgentId, resources: Resources) -> TaskInfo {
    TaskInfo {
        name: id.to_string(),
        id,
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

/// What an agent says of a task; with an id it is to be acknowledged.
#[must_use]
pub fn status(
    framework: FrameworkId,
    task: TaskId,
    agent: AgentId,
    state: TaskState,
    id: Option<StatusId>,
    at: Timestamp,
) -> TaskStatus {
    TaskStatus {
        task,
        framework,
        agent: Some(agent),
        state,
        reason: TaskReason::Normal,
        source: StatusSource::Agent,
        message: String::new(),
        error: None,
        at,
        id,
        healthy: None,
        ready: None,
        container: None,
        pid: None,
    }
}
