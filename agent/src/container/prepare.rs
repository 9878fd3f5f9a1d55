//! From a task to a started supervisor: everything that has to be done once, in blocking calls.
//!
//! Idempotent: asked again after a crash it finds out whether a supervisor of the run lives or has lived. It
//! verifies no volume itself and makes no mount in this process' namespace.

use super::cgroup::{Hierarchies, Limits};
use super::devices::{self, is_device};
use super::record::{Mounted, Phase, Probe, RunFolder, Spec, State};
use super::{Config, VolumeSource, cgroup, handover, places};
use crate::host::limits::give_inherited;
use crate::host::{Account, is_root};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{ContainerId, FrameworkId, VolumeId};
use berth_model::resources::{MountMode, Name};
use berth_model::task::{Check, Program, TaskInfo};
use berth_model::units::Bytes;
use berth_model::volume::{VolumeSpec, VolumeUse};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A run to be started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub container: ContainerId,
    pub framework: FrameworkId,
    pub task: Box<TaskInfo>,
    pub volumes: Vec<(VolumeUse, VolumeSpec)>,
    /// Those that other tasks use already.
    pub in_use: BTreeSet<VolumeId>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Begun {
    /// A supervisor was started; it is a child of this process.
    Started(Child),
    /// A supervisor of an earlier life of the agent is at it.
    Alive,
    /// It was started before and is over, or its supervisor is gone.
    Past(State),
}

const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The run folder of a container.
pub(crate) fn run_path(config: &Config, container: ContainerId) -> PathBuf {
    config.runs.join(container.to_string())
}

fn failed(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Rejection {
    move |error| Rejection::new(ErrorCode::LaunchFailed, format!("{what}: {error}"))
}

/// Starts the supervisor of a run, unless that was done before.
///
/// # Errors
/// Nothing runs, and why.
pub(crate) fn start(
    config: &Config,
    hierarchies: &Hierarchies,
    volumes: &VolumeSource,
    start: &Start,
) -> Result<Begun, Rejection> {
    let path = run_path(config, start.container);
    let folder = || failed(format!("run folder {}", path.display()));
    make_folder(&config.runs, 0o711).map_err(folder())?;
    make_folder(&path, 0o711).map_err(folder())?;
    let gone = || Rejection::new(ErrorCode::LaunchFailed, format!("{} vanished", path.display()));
    let run = RunFolder::open(&path).map_err(folder())?.ok_or_else(gone)?;
    let Some(lock) = run.lock().map_err(folder())? else { return Ok(Begun::Alive) };
    if let Some(state) = run.read_state().map_err(folder())? {
        match state.phase {
            // Nothing ran: this is a new attempt.
            Phase::Refused(_) => {},
            Phase::Starting | Phase::Running { .. } | Phase::Ended(_) => {
                return Ok(Begun::Past(state));
            },
        }
    }
    // Only now: what was started before runs on, whatever would speak against a start today.
    if argv(&start.task.command.program).is_empty() {
        return Err(Rejection::new(ErrorCode::InvalidArgument, "the task's command is empty")
            .remedy("give a program, or a text for the shell")
            .field("task.command"));
    }
    let account = account(config, &start.task)?;
    let mut spec = spec(config, start, account, &path);
    places::check(&spec.mounts, &config.runs, &spec.sandbox)?;
    check_privilege(config, &spec)?;
    let handles = open_volumes(volumes, start, &spec)?;
    make_folder(&path.join("logs"), 0o750).map_err(folder())?;
    make_sandbox(&spec).map_err(folder())?;
    if handles.iter().any(|handle| is_device(handle.as_fd())) {
        make_folder(&path.join(devices::FOLDER), 0o711).map_err(folder())?;
    }
    if spec.private_mounts {
        let limits = limits(&start.task);
        spec.groups = hierarchies
            .create(&spec.container, limits)
            .map_err(failed("the container's control groups cannot be made"))?;
    } else {
        link_volumes(&spec, &handles).map_err(folder())?;
    }
    run.write_spec(&spec).map_err(folder())?;
    let begun =
        spawn(config, &run, lock, &handles).map_err(failed("the supervisor cannot be started"));
    if begun.is_err() {
        for group in &spec.groups {
            cgroup::remove(group).map_err(failed(group.path.display())).ok();
        }
    }
    begun.map(Begun::Started)
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        // The mode counts, whatever the umask of this process is.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn account(config: &Config, task: &TaskInfo) -> Result<Option<Account>, Rejection> {
    let Some(user) = &task.command.user else { return Ok(None) };
    let account = Account::resolve(user, &config.host)?;
    if is_root() {
        return Ok(Some(account));
    }
    let own = Account::own();
    if account.uid == own.uid && account.gid == own.gid {
        return Ok(None);
    }
    Err(Rejection::new(
        ErrorCode::NotPrivileged,
        format!(
            "agent {} does not run as root and cannot start a task as user {user}",
            config.host
        ),
    )
    .remedy("run the agent as root, or give the task no user")
    .field("task.command.user"))
}

/// What is executed for a program.
pub(super) fn argv(program: &Program) -> Vec<String> {
    match program {
        Program::Shell(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()],
        Program::Exec(argv) => argv.clone(),
    }
}

fn probe(check: Option<&Check>) -> Option<Probe> {
    check.map(|check| Probe { command: argv(&check.program), timeout: check.timeout })
}

fn limits(task: &TaskInfo) -> Limits {
    Limits {
        cpu_milli: u64::try_from(task.resources.total(&Name::Cpus).milli()).unwrap_or(0),
        memory_bytes: Bytes::from_scalar(task.resources.total(&Name::Mem)).get(),
    }
}

fn spec(config: &Config, start: &Start, account: Option<Account>, path: &Path) -> Spec {
    let Start { container, framework, task, volumes, in_use: _ } = start;
    let sandbox = path.join("sandbox");
    let home = sandbox.display().to_string();
    let mut env: BTreeMap<String, String> = [
        ("PATH", SEARCH_PATH.to_owned()),
        ("HOME", home.clone()),
        ("BERTH_SANDBOX", home),
        ("BERTH_AGENT_ID", config.agent.to_string()),
        ("BERTH_FRAMEWORK_ID", framework.to_string()),
        ("BERTH_TASK_ID", task.id.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    env.extend(task.command.env.clone());
    // Last, because leftovers of a run are recognised by it.
    env.insert(CONTAINER_VARIABLE.to_owned(), container.to_string());
    let mounts = volumes.iter().map(|(used, spec)| Mounted {
        volume: spec.name.to_string(),
        container_path: used.mount.container_path.to_string(),
        read_only: used.mount.mode == MountMode::ReadOnly,
    });
    Spec {
        container: container.to_string(),
        host: config.host.clone(),
        command: argv(&task.command.program),
        env,
        account,
        private_mounts: is_root(),
        groups: Vec::new(),
        memory_limit_bytes: Some(limits(task).memory_bytes).filter(|bytes| *bytes > 0),
        mounts: mounts.collect(),
        log_bytes: config.log_limit.get(),
        log_files: config.log_files,
        kill_grace: task.kill_grace,
        health: probe(task.health.as_ref()),
        readiness: probe(task.readiness.as_ref()),
        sandbox,
    }
}

/// In the environment of each process of a container.
pub(crate) const CONTAINER_VARIABLE: &str = "BERTH_CONTAINER_ID";

/// Without root a volume can only be shown by a link in the sandbox.
fn check_privilege(config: &Config, spec: &Spec) -> Result<(), Rejection> {
    if spec.private_mounts {
        return Ok(());
    }
    for mount in &spec.mounts {
        let what = if mount.container_path.starts_with('/') {
            format!("mount volume {} at {}", mount.volume, mount.container_path)
        } else if mount.read_only {
            format!("mount volume {} read-only", mount.volume)
        } else {
            continue;
        };
        return Err(Rejection::new(
            ErrorCode::NotPrivileged,
            format!("agent {} does not run as root and cannot {what}", config.host),
        )
        .remedy("run the agent as root, or use a relative container path with mode RW")
        .field("task.resources.disk.mount"));
    }
    Ok(())
}

fn open_volumes(
    source: &VolumeSource,
    start: &Start,
    spec: &Spec,
) -> Result<Vec<OwnedFd>, Rejection> {
    if start.volumes.len() > handover::HANDLES_MAX {
        return Err(Rejection::new(
            ErrorCode::InvalidArgument,
            format!("the task uses {} volumes", start.volumes.len()),
        )
        .remedy(format!("use at most {}", handover::HANDLES_MAX)));
    }
    let mut handles = Vec::new();
    for (used, volume) in &start.volumes {
        if used.generation != volume.generation {
            return Err(Rejection::new(
                ErrorCode::VolumeUnavailable,
                format!(
                    "volume {} is in generation {}, the task asks for generation {}",
                    volume.name, volume.generation, used.generation
                ),
            )
            .remedy("wait for a new offer of the volume"));
        }
        let handle = source(volume)?;
        if is_device(handle.as_fd()) {
            check_device(spec, used, volume)?;
        } else if used.mount.mode == MountMode::ReadWrite
            && volume.access.owner.is_none()
            && !start.in_use.contains(&volume.id)
        {
            // What an operator has said of its owner holds, and nobody's volume is taken from him while he uses it.
            give(&handle, spec.account.as_ref()).map_err(failed(format!(
                "volume {} cannot be given to the task's user",
                volume.name
            )))?;
        }
        handles.push(handle);
    }
    Ok(handles)
}

/// A device is given as a whole, for reading and writing, in a container with mounts of its own.
fn check_device(spec: &Spec, used: &VolumeUse, volume: &VolumeSpec) -> Result<(), Rejection> {
    let refuse = |code, why: &str, remedy: &str| {
        let text = format!("volume {} is a raw device: {why}", volume.name);
        Err(Rejection::new(code, text).remedy(remedy).field("task.resources.disk.mount"))
    };
    if !spec.private_mounts {
        let why = format!("agent {} does not run as root and cannot give it to a task", spec.host);
        return refuse(ErrorCode::NotPrivileged, &why, "run the agent as root");
    }
    if used.mount.mode == MountMode::ReadOnly {
        let why = "it cannot be given read-only";
        return refuse(ErrorCode::Unsupported, why, "use mode RW, or a disk with a file system");
    }
    Ok(())
}

/// Makes the task's user own the directory itself, never what is in it.
fn give(folder: &OwnedFd, account: Option<&Account>) -> io::Result<()> {
    let Some(account) = account else { return Ok(()) };
    let facts =
        rustix::fs::statx(folder, "", AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::BASIC_STATS)?;
    if (facts.stx_uid, facts.stx_gid) == (account.uid, account.gid) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    Ok(rustix::fs::chownat(folder, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?)
}

fn open_sandbox(spec: &Spec) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(&spec.sandbox, flags, Mode::empty())?)
}

fn make_sandbox(spec: &Spec) -> io::Result<()> {
    make_folder(&spec.sandbox, 0o750)?;
    give(&open_sandbox(spec)?, spec.account.as_ref())
}

/// A link in the sandbox for each volume.
fn link_volumes(spec: &Spec, handles: &[OwnedFd]) -> io::Result<()> {
    for (mount, handle) in spec.mounts.iter().zip(handles) {
        let target =
            fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(handle)))?;
        let place = Path::new(&mount.container_path);
        let mut folder = open_sandbox(spec)?;
        for part in place.parent().into_iter().flatten() {
            match rustix::fs::mkdirat(&folder, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {},
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = rustix::fs::openat(&folder, part, flags, Mode::empty())?;
        }
        let name =
            place.file_name().ok_or_else(|| io::Error::other("a container path without name"))?;
        match rustix::fs::symlinkat(&target, &folder, name) {
            Ok(()) => {},
            Err(rustix::io::Errno::EXIST)
                if rustix::fs::readlinkat(&folder, name, Vec::new())?.to_bytes()
                    == target.as_os_str().as_encoded_bytes() => {},
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The lock becomes the supervisor's standard input: it is held until the supervisor is gone, whoever waits.
fn spawn(
    config: &Config,
    run: &RunFolder,
    lock: fs::File,
    handles: &[OwnedFd],
) -> io::Result<Child> {
    let log = rustix::fs::openat(
        run.handle(),
        "supervisor.log",
        OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    )?;
    let (socket, supervisor_end) = UnixStream::pair()?;
    let mut child = Command::new(&config.program)
        .arg0("berth-supervisor")
        .arg("supervise")
        .arg(run.path())
        .env_clear()
        .stdin(lock)
        .stdout(OwnedFd::from(supervisor_end))
        .stderr(log)
        .spawn()
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", config.program.display())))?;
    let ready = give_inherited(child.id());
    if let Err(error) = ready.and_then(|()| handover::send(&socket, handles)) {
        // Without the word it starts nothing; the socket is closed by then.
        drop(socket);
        child.wait()?;
        return Err(error);
    }
    Ok(child)
}
