//! A stage for container tests: a runtime on a temporary folder, tasks written as shell text, volumes that are
//! plain directories, and waiting for events with a limit.
//!
//! It knows nothing of the agent's ledger. What it starts it ends.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

use berth_agent::container::{Config, Runtime};
use berth_agent_core::effect::{ContainerEffect, ContainerEvent, Exit};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, ContainerId, FrameworkId, TaskId, VolumeId, VolumeName};
use berth_model::link::OutputStream;
use berth_model::resources::{DiskSource, Mount, MountMode, Name, Resource, Resources};
use berth_model::role::Role;
use berth_model::task::{Check, Command, Program, TaskInfo};
use berth_model::units::{Bytes, Scalar};
use berth_model::volume::{VolumeSpec, VolumeUse};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

pub const LIMIT: Duration = Duration::from_secs(60);

static NEXT: AtomicU64 = AtomicU64::new(1);

pub fn fresh_container() -> ContainerId {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    ContainerId::from_u128(u128::from(std::process::id()) << 64 | u128::from(number))
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// True when the test cannot run here, after saying so.
pub fn skip_without_root() -> bool {
    if !is_root() {
        eprintln!("SKIPPED: needs root");
    }
    !is_root()
}

/// The program next to this test's own.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join("examples/container_program");
    assert!(path.exists(), "{} is missing: cargo build -p berth-agent --examples", path.display());
    path
}

pub struct Stage {
    pub runtime: Arc<Runtime>,
    pub events: Receiver<(ContainerId, ContainerEvent)>,
    pub config: Config,
    pub dir: TempDir,
    started: Vec<ContainerId>,
}

impl Stage {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self::on(dir)
    }

    pub fn on(dir: TempDir) -> Self {
        let mut config = Config::new(dir.path().join("runs"), AgentId::from_u128(0xa9e7));
        config.program = program();
        config.host = "host-1".to_owned();
        config.free_percent_min = 0;
        let (runtime, events) = runtime(&config, dir.path());
        Self { runtime, events, config, dir, started: Vec::new() }
    }

    /// The agent ends and starts again; the containers do not notice.
    pub fn restart(&mut self) {
        let (runtime, events) = runtime(&self.config, self.dir.path());
        self.runtime = runtime;
        self.events = events;
    }

    pub fn run_folder(&self, container: ContainerId) -> PathBuf {
        self.config.runs.join(container.to_string())
    }

    pub fn sandbox(&self, container: ContainerId) -> PathBuf {
        self.run_folder(container).join("sandbox")
    }

    pub fn launch(&mut self, task: TaskInfo) -> ContainerId {
        self.launch_with(task, Vec::new())
    }

    pub fn launch_with(
        &mut self,
        task: TaskInfo,
        volumes: Vec<(VolumeUse, VolumeSpec)>,
    ) -> ContainerId {
        let container = fresh_container();
        self.started.push(container);
        self.start(container, task, volumes);
        container
    }

    pub fn start(
        &self,
        container: ContainerId,
        task: TaskInfo,
        volumes: Vec<(VolumeUse, VolumeSpec)>,
    ) {
        let framework = FrameworkId::new("f-1").unwrap();
        let task = Box::new(task);
        let in_use = BTreeSet::new();
        self.runtime.run(ContainerEffect::Start { container, framework, task, volumes, in_use });
    }

    pub fn adopt(&self, container: ContainerId) {
        self.runtime.run(ContainerEffect::Adopt { container, health: None, readiness: None });
    }

    pub fn kill(&self, container: ContainerId, grace: Duration) {
        self.runtime.run(ContainerEffect::Kill { container, grace });
    }

    pub fn release(&self, container: ContainerId) {
        self.runtime.run(ContainerEffect::Release { container });
    }

    pub async fn event(&mut self) -> ContainerEvent {
        self.event_of().await.1
    }

    pub async fn event_of(&mut self) -> (ContainerId, ContainerEvent) {
        tokio::time::timeout(LIMIT, self.events.recv())
            .await
            .unwrap_or_else(|_| panic!("no event within {LIMIT:?}; {}", self.notes()))
            .expect("the runtime lives")
    }

    pub async fn running(&mut self) -> u32 {
        match self.event().await {
            ContainerEvent::Running { pid } => pid,
            other => panic!("not running but {other:?}; {}", self.notes()),
        }
    }

    /// The end of a command that may be over before anybody has seen it run.
    pub async fn ended(&mut self) -> Exit {
        match self.event().await {
            ContainerEvent::Running { .. } => self.exit().await,
            ContainerEvent::Exited(exit) => exit,
            other => panic!("not ended but {other:?}; {}", self.notes()),
        }
    }

    pub async fn exit(&mut self) -> Exit {
        match self.event().await {
            ContainerEvent::Exited(exit) => exit,
            other => panic!("not exited but {other:?}; {}", self.notes()),
        }
    }

    pub async fn refusal(&mut self) -> (ErrorCode, String, String) {
        match self.event().await {
            ContainerEvent::NotStarted(Rejection { code, message, remedy, .. }) => {
                (code, message, remedy)
            },
            other => panic!("not refused but {other:?}; {}", self.notes()),
        }
    }

    /// Runs to the end and says how it ended and what it wrote.
    pub async fn output_of(&mut self, task: TaskInfo) -> (Exit, String) {
        let container = self.launch(task);
        let exit = self.ended().await;
        (exit, self.stdout(container) + &self.log(container, OutputStream::Stderr))
    }

    pub fn stdout(&self, container: ContainerId) -> String {
        self.log(container, OutputStream::Stdout)
    }

    pub fn log(&self, container: ContainerId, stream: OutputStream) -> String {
        let (_, bytes) = self.runtime.read_log(container, stream, 0, 1 << 20).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub async fn until_said(&self, container: ContainerId, text: &str) {
        until(text, || self.stdout(container).contains(text)).await;
    }

    /// What supervisors complained about.
    fn notes(&self) -> String {
        let logs = fs::read_dir(&self.config.runs).into_iter().flatten().flatten();
        logs.map(|run| fs::read_to_string(run.path().join("supervisor.log")).unwrap_or_default())
            .collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A failed test leaves no process behind: its supervisors end their commands when they are told to.
        for container in &self.started {
            if let Some(pid) = supervisor(&self.run_folder(*container)) {
                let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
            }
        }
    }
}

fn runtime(config: &Config, dir: &Path) -> (Arc<Runtime>, Receiver<(ContainerId, ContainerEvent)>) {
    let volumes = dir.join("volumes");
    let source = move |spec: &VolumeSpec| -> Result<OwnedFd, Rejection> {
        let path = volumes.join(spec.id.to_string());
        fs::File::open(&path).map(OwnedFd::from).map_err(|error| {
            Rejection::new(ErrorCode::VolumeUnavailable, format!("{}: {error}", path.display()))
        })
    };
    Runtime::new(config.clone(), Arc::new(source))
}

/// The pid of the supervisor, while it lives.
pub fn supervisor(run_folder: &Path) -> Option<u32> {
    let state = fs::read(run_folder.join("state.json")).ok()?;
    let state: serde_json::Value = serde_json::from_slice(&state).ok()?;
    let pid = u32::try_from(state["supervisor"]["pid"].as_u64()?).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Counted from the third field, which follows the name in parentheses; the 22nd is the start time.
    let ticks = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?;
    (state["supervisor"]["start_ticks"].as_u64() == ticks.parse().ok()).then_some(pid)
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie does nothing any more.
    stat.rsplit_once(')').is_some_and(|(_, tail)| !tail.trim_start().starts_with('Z'))
}

pub fn shell(text: &str) -> TaskInfo {
    TaskInfo {
        id: TaskId::new("t-1").unwrap(),
        name: "test".to_owned(),
        agent: AgentId::from_u128(0xa9e7),
        resources: Resources::new(),
        command: Command {
            program: Program::Shell(text.to_owned()),
            env: BTreeMap::new(),
            user: None,
        },
        health: None,
        readiness: None,
        kill_grace: Duration::from_secs(5),
        labels: BTreeMap::new(),
    }
}

pub fn as_user(mut task: TaskInfo, user: &str) -> TaskInfo {
    task.command.user = Some(user.to_owned());
    task
}

pub fn with_resources(mut task: TaskInfo, cpu_milli: i64, mem_mib: u64) -> TaskInfo {
    task.resources = Resources::from_list([
        Resource::scalar(Name::Cpus, Scalar::from_milli(cpu_milli)),
        Resource::scalar(Name::Mem, Scalar::from_units(mem_mib).unwrap()),
    ])
    .unwrap();
    task
}

pub fn check(text: &str) -> Check {
    Check {
        program: Program::Shell(text.to_owned()),
        every: Duration::from_millis(20),
        timeout: Duration::from_secs(20),
        failures: 2,
        grace: Duration::ZERO,
    }
}

/// A volume as a plain directory, and its use at `container_path`.
pub fn volume(
    stage: &Stage,
    number: u128,
    container_path: &str,
    mode: MountMode,
) -> (VolumeUse, VolumeSpec) {
    let id = VolumeId::from_u128(number);
    fs::create_dir_all(volume_folder(stage, number)).unwrap();
    let spec = VolumeSpec {
        id,
        generation: 1,
        name: VolumeName::new(&format!("vol-{number}")).unwrap(),
        role: "db".parse::<Role>().unwrap(),
        principal: None,
        source: DiskSource::Root,
        size: Bytes::from_mib(10),
        access: berth_model::access::Access::default(),
        shared: false,
        encrypted: false,
    };
    let mount = Mount { container_path: container_path.into(), mode };
    (VolumeUse { volume: id, generation: 1, mount }, spec)
}

/// The same volume as a raw device.
pub fn device_of(
    (used, spec): (VolumeUse, VolumeSpec),
    stage: &Stage,
    device: &str,
) -> (VolumeUse, VolumeSpec) {
    let path = stage.dir.path().join("volumes").join(spec.id.to_string());
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink(device, path).unwrap();
    (used, spec)
}

pub fn volume_folder(stage: &Stage, number: u128) -> PathBuf {
    stage.dir.path().join("volumes").join(VolumeId::from_u128(number).to_string())
}
