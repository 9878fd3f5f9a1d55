//! The last program of ours before a command or a check: takes on the container's surroundings and becomes it.
//!
//! It runs in a process of its own with one thread, which is why group, namespace and user can be changed by
//! plain calls. It never comes back when it succeeds.

use super::cgroup;
use super::record::{Phase, Refusal, RunFolder, Spec, State};
use super::still;
use crate::host::limits::take_passed_on;
use crate::host::linux::keep_descriptors_private;
use berth_model::error::{ErrorCode, Rejection};
use rustix::fs::{Access, Mode};
use rustix::thread::ThreadNameSpaceType;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// What is to be executed in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Command,
    Health,
    Readiness,
    /// Holds the data at rest as long as its standard input is open.
    Freeze,
    /// Stops everybody in the container as long as its standard input is open; is not in it.
    Still,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Health => "health",
            Self::Readiness => "readiness",
            Self::Freeze => "freeze",
            Self::Still => "still",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [Self::Command, Self::Health, Self::Readiness, Self::Freeze, Self::Still];
        all.into_iter().find(|r| r.as_str() == text)
    }
}

/// A status no command would choose to say that it could not be executed.
const NOT_EXECUTED: u8 = 126;

/// The hidden subcommand `check RUN_FOLDER command|health|readiness`, `check RUN_FOLDER still SECONDS`, or `check RUN_FOLDER freeze SECONDS PROGRAM
/// ARGUMENT…`. To be called before any thread is started.
///
/// With `command`, standard input is a pipe that takes the refusal; it is closed without a word when the command
/// was executed. A check says on standard error why it could not be executed.
#[must_use]
pub fn exec_check_main(run_folder: &Path, role: &str, rest: &[String]) -> ExitCode {
    let Some(role) = Role::parse(role) else {
        complain(&format!("nothing to execute is called {role:?}"));
        return ExitCode::from(NOT_EXECUTED);
    };
    let rejection = match role {
        Role::Command => {
            let report = io::stdin().as_fd().try_clone_to_owned();
            let rejection = become_it(run_folder, role, rest);
            if let Ok(report) = report {
                let text = serde_json::to_vec(&Refusal::from(rejection.clone()));
                let told =
                    text.map_err(io::Error::other).and_then(|t| File::from(report).write_all(&t));
                if told.is_ok() {
                    return ExitCode::from(NOT_EXECUTED);
                }
            }
            rejection
        },
        Role::Still => match still::hold(run_folder, rest) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(rejection) => rejection,
        },
        Role::Health | Role::Readiness | Role::Freeze => become_it(run_folder, role, rest),
    };
    complain(&rejection.to_string());
    ExitCode::from(NOT_EXECUTED)
}

fn complain(text: &str) {
    // Nobody is left to tell when standard error is closed.
    writeln!(io::stderr(), "{text}").ok();
}

fn launch(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Rejection {
    move |error| Rejection::new(ErrorCode::LaunchFailed, format!("{what}: {error}"))
}

/// Comes back only with a reason.
fn become_it(path: &Path, role: Role, rest: &[String]) -> Rejection {
    match prepare(path, role, rest) {
        Ok((mut command, program)) => {
            let error = command.exec();
            let rejection = Rejection::new(
                ErrorCode::LaunchFailed,
                format!("program {program:?} cannot be executed: {error}"),
            )
            .field("task.command");
            match error.kind() {
                io::ErrorKind::NotFound => {
                    rejection.remedy("install it on the agent, or give its full path")
                },
                io::ErrorKind::PermissionDenied => {
                    rejection.remedy("make it executable for the task's user")
                },
                _ => rejection,
            }
        },
        Err(rejection) => rejection,
    }
}

fn prepare(path: &Path, role: Role, rest: &[String]) -> Result<(Command, String), Rejection> {
    let here = &path.display();
    let run = RunFolder::open(path).map_err(launch(here))?;
    let run =
        run.ok_or_else(|| Rejection::new(ErrorCode::LaunchFailed, format!("{here} is gone")))?;
    let broken = || Rejection::new(ErrorCode::LaunchFailed, format!("{here} holds no record"));
    let spec = run.read_spec().map_err(launch(here))?.ok_or_else(broken)?;
    let state = run.read_state().map_err(launch(here))?.ok_or_else(broken)?;
    let (argv, alarm) = match role {
        Role::Command => (spec.command.clone(), None),
        Role::Health => probe(spec.health.as_ref()).ok_or_else(broken)?,
        Role::Readiness => probe(spec.readiness.as_ref()).ok_or_else(broken)?,
        Role::Freeze => given(rest).ok_or_else(broken)?,
        Role::Still => return Err(broken()),
    };
    if role != Role::Command {
        // The command has those of the supervisor; the others are children of the agent, which has raised its own.
        take_passed_on().map_err(launch("the limit of open files cannot be set"))?;
    }
    for group in &spec.groups {
        cgroup::join(group).map_err(launch("the control group cannot be entered"))?;
    }
    if role != Role::Command && spec.private_mounts {
        enter_mounts(&state)?;
    }
    rustix::process::setsid()
        .map_err(io::Error::from)
        .map_err(launch("no session can be started"))?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    if let Some(account) = &spec.account {
        account.become_it().map_err(launch(format!(
            "the task cannot run as user {}:{}",
            account.uid, account.gid
        )))?;
    }
    go_to_sandbox(&spec, role)?;
    let leave = || {
        keep_descriptors_private()?;
        // The supervisor takes its signals from a descriptor and blocks them, which would be inherited.
        nix::sys::signal::SigSet::all().thread_unblock()?;
        nix::sys::prctl::set_no_new_privs()?;
        if role == Role::Command {
            // After the change of user, which would have cleared it.
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            let parent = nix::unistd::getppid().as_raw();
            if u32::try_from(parent).ok() != Some(state.supervisor.pid) {
                return Err(io::Error::other("the supervisor is gone"));
            }
        }
        if let Some(seconds) = alarm {
            // Ends a check whose agent was killed meanwhile.
            nix::unistd::alarm::set(seconds);
        }
        Ok(())
    };
    leave().map_err(launch("the process cannot be confined"))?;
    let (program, arguments) = argv.split_first().ok_or_else(broken)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&spec.env);
    if role != Role::Freeze {
        command.stdin(Stdio::null());
    }
    Ok((command, program.clone()))
}

/// After how many seconds it ends whatever becomes of it, and what to execute.
fn given(rest: &[String]) -> Option<(Vec<String>, Option<u32>)> {
    let (seconds, command) = rest.split_first()?;
    Some((command.to_vec(), Some(seconds.parse().ok()?)))
}

fn probe(probe: Option<&super::record::Probe>) -> Option<(Vec<String>, Option<u32>)> {
    let probe = probe?;
    let whole = probe.timeout + Duration::from_secs(2);
    Some((probe.command.clone(), Some(u32::try_from(whole.as_secs()).unwrap_or(u32::MAX))))
}

/// Into the mount namespace of the supervisor that wrote `state`.
fn enter_mounts(state: &State) -> Result<(), Rejection> {
    let gone = || Rejection::new(ErrorCode::LaunchFailed, "the container is gone");
    match state.phase {
        Phase::Running { .. } => {},
        Phase::Starting | Phase::Refused(_) | Phase::Ended(_) => return Err(gone()),
    }
    let supervisor = state.supervisor.open().map_err(launch("the supervisor cannot be found"))?;
    let handle = supervisor.ok_or_else(gone)?;
    // Entering a mount namespace leads to its topmost root. The supervisor's own root may lie below it, as in a
    // chroot; opened before the supervisor is known to live still, it is its root and nobody else's.
    let root = File::open(format!("/proc/{}/root", state.supervisor.pid))
        .map_err(launch("the container's root directory cannot be opened"))?;
    state.supervisor.open().map_err(launch("the supervisor cannot be found"))?.ok_or_else(gone)?;
    rustix::thread::move_into_thread_name_spaces(handle.as_fd(), ThreadNameSpaceType::MOUNT)
        .map_err(io::Error::from)
        .map_err(launch("the container's mount namespace cannot be entered"))?;
    rustix::process::fchdir(&root)
        .and_then(|()| rustix::process::chroot("."))
        .map_err(io::Error::from)
        .map_err(launch("the container's root directory cannot be entered"))
}

/// Changes into the sandbox as the task's user, or names the folder that stands in the way.
fn go_to_sandbox(spec: &Spec, role: Role) -> Result<(), Rejection> {
    if role == Role::Command {
        let absolute =
            spec.mounts.iter().map(|m| m.container_path.as_str()).filter(|p| p.starts_with('/'));
        for place in absolute.map(Path::new).chain([spec.sandbox.as_path()]) {
            check_parents(spec, place)?;
        }
    }
    std::env::set_current_dir(&spec.sandbox)
        .map_err(launch(format!("sandbox {} cannot be entered", spec.sandbox.display())))
}

fn check_parents(spec: &Spec, place: &Path) -> Result<(), Rejection> {
    let parents: Vec<PathBuf> = place.ancestors().skip(1).map(Path::to_owned).collect();
    for folder in parents.iter().rev() {
        // The kernel is asked as the task's user, so access lists and supplementary groups count.
        if let Err(error) = rustix::fs::access(folder, Access::EXEC_OK) {
            let user = spec.account.as_ref().map_or_else(
                || "the agent's user".to_owned(),
                |account| match &account.name {
                    Some(name) => format!("user {name}"),
                    None => format!("user {}:{}", account.uid, account.gid),
                },
            );
            return Err(Rejection::new(
                ErrorCode::PathNotTraversable,
                format!(
                    "directory {} on agent {} cannot be traversed by {user}, so {} is out of reach: {error}",
                    folder.display(),
                    spec.host,
                    place.display()
                ),
            )
            .remedy(format!("chmod o+x {}, or choose a user who may", folder.display()))
            .field("task.command.user"));
        }
    }
    Ok(())
}
