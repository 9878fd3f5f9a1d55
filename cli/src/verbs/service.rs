//! Services, through the service scheduler's own interface.

use crate::args::{OfRole, Service};
use crate::client::Client;
use crate::confirm::ask;
use crate::failure::{Failure, exit};
use crate::output::{self, Cell, Row, note};
use crate::rows::short;
use crate::services::Services;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::{Bytes, format_duration};
use berth_proto::service::v1::{PodTaskView, PodView, ServiceView};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A task of a pod.
#[derive(Debug, Serialize)]
struct TaskRow {
    name: String,
    goal: String,
    state: String,
    task_id: Option<String>,
    pid: Option<u32>,
    ready: Option<bool>,
    healthy: Option<bool>,
    restarts: u64,
    message: String,
    since_ms: u64,
}

/// A volume of a pod.
#[derive(Debug, Serialize)]
struct VolumeRow {
    name: String,
    volume_id: Option<String>,
    size_bytes: u64,
}

/// A pod of a service.
#[derive(Debug, Serialize)]
struct PodRow {
    name: String,
    index: u32,
    state: String,
    agent_id: Option<String>,
    hostname: String,
    message: String,
    ports: BTreeMap<String, u32>,
    volumes: Vec<VolumeRow>,
    tasks: Vec<TaskRow>,
}

/// A service.
#[derive(Debug, Serialize)]
struct ServiceRow {
    name: String,
    role: String,
    state: String,
    message: String,
    config_version: u64,
    framework_id: String,
    pods: Vec<PodRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
}

impl From<&PodTaskView> for TaskRow {
    fn from(view: &PodTaskView) -> Self {
        let view = view.clone();
        Self {
            name: view.name,
            goal: view.goal,
            state: view.state,
            task_id: view.task_id,
            pid: view.pid,
            ready: view.ready,
            healthy: view.healthy,
            restarts: view.restarts,
            message: view.message,
            since_ms: view.since_ms,
        }
    }
}

impl From<&PodView> for PodRow {
    fn from(view: &PodView) -> Self {
        let volumes = view.volumes.iter().map(|v| VolumeRow {
            name: v.name.clone(),
            volume_id: v.volume_id.clone(),
            size_bytes: v.size_bytes,
        });
        Self {
            name: view.name.clone(),
            index: view.index,
            state: view.state.clone(),
            agent_id: view.agent_id.clone(),
            hostname: view.hostname.clone(),
            message: view.message.clone(),
            ports: view.ports.clone().into_iter().collect(),
            volumes: volumes.collect(),
            tasks: view.tasks.iter().map(TaskRow::from).collect(),
        }
    }
}

impl ServiceRow {
    fn new(view: &ServiceView, with_document: bool) -> Self {
        Self {
            name: view.name.clone(),
            role: view.role.clone(),
            state: view.state.clone(),
            message: view.message.clone(),
            config_version: view.config_version,
            framework_id: view.framework_id.clone(),
            pods: view.pods.iter().map(PodRow::from).collect(),
            document: view.document.clone().filter(|_| with_document),
        }
    }
}

fn colored(state: &str) -> Cell {
    let text = state.to_owned();
    match state {
        "RUNNING" | "READY" | "FINISHED" | "TASK_RUNNING" | "TASK_FINISHED" => Cell::Good(text),
        "DEGRADED" | "FAILED" | "TASK_FAILED" | "TASK_LOST" => Cell::Bad(text),
        _ => Cell::Pending(text),
    }
}

impl Row for ServiceRow {
    const COLUMNS: &'static [&'static str] =
        &["SERVICE", "ROLE", "STATE", "PODS", "HOSTS", "MESSAGE", "VERSION"];
    const NARROW: usize = 6;
    fn cells(&self) -> Vec<Cell> {
        let ready = self.pods.iter().filter(|p| p.state == "READY").count();
        let hosts: Vec<&str> =
            self.pods.iter().map(|p| p.hostname.as_str()).filter(|h| !h.is_empty()).collect();
        vec![
            Cell::text(&self.name),
            Cell::text(&self.role),
            colored(&self.state),
            Cell::text(format!("{ready}/{}", self.pods.len())),
            Cell::text(if hosts.is_empty() { "-".to_owned() } else { hosts.join(",") }),
            Cell::text(&self.message),
            Cell::text(self.config_version),
        ]
    }
    fn name(&self) -> String {
        self.name.clone()
    }
}

/// One line a task: what `service status` prints as a table.
#[derive(Debug, Serialize)]
struct StatusRow {
    pod: String,
    task: String,
    goal: String,
    state: String,
    ready: Option<bool>,
    restarts: u64,
    hostname: String,
    pid: Option<u32>,
    ports: String,
    message: String,
    task_id: Option<String>,
    volumes: String,
}

impl StatusRow {
    fn all(service: &ServiceRow) -> Vec<Self> {
        let mut rows = Vec::new();
        for pod in &service.pods {
            let volumes: Vec<String> = pod
                .volumes
                .iter()
                .map(|v| {
                    let id = v.volume_id.as_deref().map_or_else(|| "not created".to_owned(), short);
                    format!("{} {} ({id})", v.name, Bytes::new(v.size_bytes))
                })
                .collect();
            let ports: Vec<String> = pod.ports.iter().map(|(n, p)| format!("{n}={p}")).collect();
            for task in &pod.tasks {
                let is_server = task.goal == "running";
                rows.push(Self {
                    pod: pod.name.clone(),
                    task: task.name.clone(),
                    goal: task.goal.clone(),
                    state: task.state.clone(),
                    ready: task.ready,
                    restarts: task.restarts,
                    hostname: pod.hostname.clone(),
                    pid: task.pid,
                    ports: if is_server { ports.join(",") } else { String::new() },
                    // What the pod waits for is said once, beside the task it is there for.
                    message: if is_server && !pod.message.is_empty() {
                        pod.message.clone()
                    } else {
                        task.message.clone()
                    },
                    task_id: task.task_id.clone(),
                    volumes: volumes.join(", "),
                });
            }
        }
        rows
    }
}

impl Row for StatusRow {
    const COLUMNS: &'static [&'static str] = &[
        "POD", "TASK", "STATE", "READY", "RESTARTS", "HOST", "PORTS", "TASK ID", "MESSAGE", "GOAL",
        "PID", "VOLUMES",
    ];
    const NARROW: usize = 9;
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.pod),
            Cell::text(&self.task),
            colored(&self.state),
            Cell::maybe(self.ready.map(|r| if r { "yes" } else { "no" })),
            Cell::text(self.restarts),
            Cell::text(if self.hostname.is_empty() { "-" } else { &self.hostname }),
            Cell::text(if self.ports.is_empty() { "-" } else { &self.ports }),
            Cell::maybe(self.task_id.as_ref()),
            Cell::text(&self.message),
            Cell::text(&self.goal),
            Cell::maybe(self.pid),
            Cell::text(&self.volumes),
        ]
    }
    fn name(&self) -> String {
        format!("{}.{}", self.pod, self.task)
    }
}

pub(crate) async fn run(command: &Service) -> Result<(), Failure> {
    match command {
        Service::List { of, read } => {
            let scheduler = Services::find(&Client::connect(&read.connect).await?).await?;
            let mut rows: Vec<ServiceRow> =
                scheduler.list().await?.iter().map(|v| ServiceRow::new(v, false)).collect();
            rows.retain(|row| of.role.as_ref().is_none_or(|role| row.role == *role));
            output::list(&rows, &read.show)
        },
        Service::Show { service, of, read } => {
            let scheduler = Services::find(&Client::connect(&read.connect).await?).await?;
            let view = scheduler.get(service, of.role.as_deref()).await?;
            output::one(&ServiceRow::new(&view, true), &read.show)
        },
        Service::Status { service, of, read } => {
            let scheduler = Services::find(&Client::connect(&read.connect).await?).await?;
            let view = scheduler.get(service, of.role.as_deref()).await?;
            let row = ServiceRow::new(&view, false);
            match read.show.output {
                output::Format::Table | output::Format::Wide => {
                    output::list(&StatusRow::all(&row), &read.show)
                },
                output::Format::Json | output::Format::Yaml | output::Format::Name => {
                    output::one(&row, &read.show)
                },
            }
        },
        Service::Restart { service, of, confirm, timeout, wait: _, detach, read } => {
            let scheduler = Services::find(&Client::connect(&read.connect).await?).await?;
            let view = scheduler.get(service, of.role.as_deref()).await?;
            let impact = format!("service {service}: its running tasks end and are started again");
            if confirm.dry_run {
                return output::planned(&impact, &read.show);
            }
            ask(&impact, confirm)?;
            let before = running_ids(&view);
            scheduler.restart(Client::mint(), service, of.role.as_deref()).await?;
            if *detach {
                return output::line(&format!("service {service} is restarting"));
            }
            let patience = *timeout;
            wait_for(&scheduler, service, of.role.as_deref(), patience, |view| {
                view.state == "RUNNING" && running_ids(view).iter().all(|id| !before.contains(id))
            })
            .await?;
            let view = scheduler.get(service, of.role.as_deref()).await?;
            output::one(&ServiceRow::new(&view, false), &read.show)
        },
        Service::Delete {
            service,
            delete_volumes,
            of,
            confirm,
            timeout,
            wait: _,
            detach,
            read,
        } => {
            let flags = (*delete_volumes, *detach);
            delete(&Deletion { service, of, confirm, timeout: *timeout, read }, flags).await
        },
    }
}

fn running_ids(view: &ServiceView) -> Vec<String> {
    let tasks = view.pods.iter().flat_map(|p| &p.tasks);
    tasks.filter(|t| t.goal == "running").filter_map(|t| t.task_id.clone()).collect()
}

struct Deletion<'a> {
    service: &'a str,
    of: &'a OfRole,
    confirm: &'a crate::confirm::Confirm,
    timeout: Duration,
    read: &'a crate::args::Read,
}

async fn delete(
    what: &Deletion<'_>,
    (delete_volumes, detach): (bool, bool),
) -> Result<(), Failure> {
    let Deletion { service, of, confirm, timeout, read } = what;
    let scheduler = Services::find(&Client::connect(&read.connect).await?).await?;
    let role = of.role.as_deref();
    let view = scheduler.get(service, role).await?;
    let volumes: Vec<String> =
        view.pods.iter().flat_map(|p| &p.volumes).map(|v| v.name.clone()).collect();
    let fate = if delete_volumes {
        "go to the trash, their reservations are given back"
    } else {
        "and their reservations stay"
    };
    let impact = format!("service {service}: its tasks end; volumes {} {fate}", volumes.join(", "));
    if confirm.dry_run {
        return output::planned(&impact, &read.show);
    }
    ask(&impact, confirm)?;
    let kept = scheduler.delete(Client::mint(), service, role, delete_volumes).await?;
    for volume in &kept {
        note(&format!("volume {volume} is kept; see `berth volume list`"));
    }
    if detach {
        return output::line(&format!("service {service} is being deleted"));
    }
    let deadline = Instant::now() + *timeout;
    loop {
        let listed = scheduler.list().await?;
        let mut left = listed.iter().filter(|s| s.name == *service);
        let Some(left) = left.find(|s| role.is_none_or(|r| s.role == r)) else {
            return output::line(&format!("service {service} is deleted"));
        };
        if Instant::now() >= deadline {
            return Err(late(service, "deleted", *timeout, &left.message));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// `why` is the scheduler's own word, empty when it has none.
fn late(service: &str, state: &str, patience: Duration, why: &str) -> Failure {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    let error = Rejection::new(
        ErrorCode::TimedOut,
        format!("service {service} is not {state} after {}{why}", format_duration(patience)),
    );
    let remedy = format!("it goes on; see `berth service status {service}`");
    Failure::new(exit::TIMED_OUT, error.remedy(remedy))
}

async fn wait_for(
    scheduler: &Services,
    service: &str,
    role: Option<&str>,
    patience: Duration,
    is_there: impl Fn(&ServiceView) -> bool,
) -> Result<(), Failure> {
    let deadline = Instant::now() + patience;
    loop {
        let view = scheduler.get(service, role).await?;
        if is_there(&view) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(late(service, "running", patience, &view.message));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the service is running and ready.
pub(crate) async fn wait_running(
    scheduler: &Services,
    service: &str,
    role: &str,
    patience: Duration,
) -> Result<(), Failure> {
    wait_for(scheduler, service, Some(role), patience, |view| view.state == "RUNNING").await
}
