//! Stopping a task by the kernel's freezer, so that nothing is written to any of its volumes.
//!
//! A group of control stays frozen when the process that froze it dies. So a small process of its own does it (`hold`, the
//! hidden subcommand `check RUN_FOLDER still SECONDS`): it lets the task go on when its standard input ends, which is
//! also what an agent that dies leaves behind, and in any case when its time is over. Invariants: (a) a group that may be
//! frozen by Berth has the file `still` in its run folder; (b) whoever ends such a process, or starts an agent, thaws
//! what is named so; (c) it counts as held only when that process lived until it was let go.

use super::cgroup::{self, Group};
use super::enter::Role;
use super::freeze::Frozen;
use super::prepare::run_path;
use super::record::RunFolder;
use super::runtime::{Runtime, Shared};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::ContainerId;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Says in a run folder that the container may be frozen.
const MARKER: &str = "still";
/// How often it is looked whether everybody stands still.
const LOOK: Duration = Duration::from_millis(1);
/// How long a task may take until it stands still: whoever waits for a slow disk does so first.
const STOPPING: Duration = Duration::from_secs(10);
/// How long it stands still at most.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Which containers were stopped how often: a check that failed while its container stood still says nothing.
#[derive(Debug, Default)]
pub(super) struct Stops(Mutex<BTreeMap<ContainerId, u64>>);

impl Stops {
    fn count(&self, container: ContainerId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(container).or_default() += 1;
    }

    /// Grows with each beginning and each end: an odd number stands still.
    pub fn of(&self, container: ContainerId) -> u64 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&container).copied().unwrap_or_default()
    }
}

/// A task that stands still. One at a time for each.
#[derive(Debug)]
pub struct Still {
    holder: Option<Frozen>,
    thaws: Thaws,
}

/// Lets a task go on when it is dropped, whatever has become of the process that held it.
struct Thaws {
    shared: Arc<Shared>,
    container: ContainerId,
    group: Group,
}

impl std::fmt::Debug for Thaws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thaws").field("container", &self.container).finish_non_exhaustive()
    }
}

impl Drop for Thaws {
    fn drop(&mut self) {
        thaw(&self.group, &run_path(&self.shared.config, self.container));
        self.shared.stops.count(self.container);
    }
}

impl Still {
    /// Lets go. Nothing was written by the task until now.
    ///
    /// # Errors
    /// FREEZE_FAILED: it went on before.
    pub async fn end(mut self) -> Result<(), Rejection> {
        let Some(holder) = self.holder.take() else { return Ok(()) };
        let container = self.thaws.container;
        let held = !holder.has_ended();
        holder.thaw().await.ok();
        if held {
            return Ok(());
        }
        let text = format!(
            "the task in container {container} went on before everything was taken, which may take {} s",
            PATIENCE.as_secs()
        );
        Err(Rejection::new(ErrorCode::FreezeFailed, text)
            .remedy("look what keeps the disk busy, and try again"))
    }
}

impl Runtime {
    /// Stops everybody in the container. Nothing when it has ended.
    ///
    /// # Errors
    /// FREEZE_FAILED: it cannot be stopped; it runs.
    pub async fn stand_still(&self, container: ContainerId) -> Result<Option<Still>, Rejection> {
        let path = run_path(self.config(), container);
        let failed = |what: String| {
            let text = format!("the task in container {container} cannot be stopped: {what}");
            Rejection::new(ErrorCode::FreezeFailed, text)
        };
        let spec = RunFolder::open(&path).and_then(|run| run.map_or(Ok(None), |r| r.read_spec()));
        let Some(spec) = spec.map_err(|error| failed(error.to_string()))? else {
            return Ok(None);
        };
        let Some(group) = cgroup::freezable(&spec.groups).cloned() else {
            return Err(failed("it is in no control group (v2) of its own".to_owned())
                .remedy("run the agent as root where cgroup v2 is mounted, give a freeze command, or stop the task"));
        };
        let shared = Arc::clone(self.shared());
        shared.stops.count(container);
        // From here on it is thawed by whatever drops it.
        let thaws = Thaws { shared, container, group };
        let seconds = PATIENCE.as_secs().to_string();
        let arguments = [Role::Still.as_str().to_owned(), seconds];
        let holder = self.held_by(container, &arguments, STOPPING).await;
        holder.map(|holder| Some(Still { holder: Some(holder), thaws })).map_err(failed)
    }

    /// At a start: lets everybody go on who was stopped by an agent that is no more.
    ///
    /// # Errors
    /// The folder of runs cannot be read.
    pub fn thaw_left(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.config().runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            if !path.join(MARKER).exists() {
                continue;
            }
            let spec =
                RunFolder::open(&path).and_then(|run| run.map_or(Ok(None), |r| r.read_spec()));
            match spec {
                Ok(spec) => {
                    let groups = spec.map(|spec| spec.groups).unwrap_or_default();
                    if let Some(group) = cgroup::freezable(&groups) {
                        tracing::warn!(path = %path.display(), "a task may have been left standing still and goes on");
                        thaw(group, &path);
                    }
                },
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a task may stand still");
                },
            }
        }
        Ok(())
    }
}

fn thaw(group: &Group, run: &Path) {
    // Nothing is worse than to leave it.
    let thawed = cgroup::thaw(group).or_else(|_first| cgroup::thaw(group));
    match thawed {
        Ok(()) => drop(fs::remove_file(run.join(MARKER))),
        Err(error) => {
            let path = group.path.display();
            tracing::error!(%error, "a task stands still: write 0 to {path}/cgroup.freeze");
        },
    }
}

/// `check RUN_FOLDER still SECONDS`: freezes the container, says so by a line, waits for the end of standard input or of
/// the time, and thaws.
///
/// # Errors
/// It does not stand still; it is thawed.
pub(super) fn hold(path: &Path, rest: &[String]) -> Result<(), Rejection> {
    let failed = |what: String| Rejection::new(ErrorCode::FreezeFailed, what);
    let io_failed = |error: io::Error| failed(error.to_string());
    let seconds = rest.first().and_then(|text| text.parse().ok());
    let time = seconds.map(Duration::from_secs).ok_or_else(|| failed("no time".to_owned()))?;
    let run = RunFolder::open(path).map_err(io_failed)?;
    let spec = run.map_or(Ok(None), |run| run.read_spec()).map_err(io_failed)?;
    let spec = spec.ok_or_else(|| failed("the container is gone".to_owned()))?;
    let group = cgroup::freezable(&spec.groups);
    let group = group.ok_or_else(|| failed("it has no group to freeze".to_owned()))?;
    fs::write(path.join(MARKER), b"").map_err(io_failed)?;
    let begun = Instant::now();
    let held = freeze_and_wait(group, begun + time);
    thaw(group, path);
    held.map_err(io_failed)
}

fn freeze_and_wait(group: &Group, deadline: Instant) -> io::Result<()> {
    cgroup::freeze(group)?;
    while !cgroup::is_frozen(group)? {
        if Instant::now() >= deadline {
            return Err(io::Error::other("somebody in it does not stop"));
        }
        if is_let_go(LOOK)? {
            return Ok(());
        }
    }
    writeln!(io::stdout(), "still")?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || is_let_go(left)? {
            return Ok(());
        }
    }
}

/// Has standard input ended? Waits for that so long.
fn is_let_go(wait: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut watched = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let wait = PollTimeout::try_from(wait).map_err(io::Error::other)?;
    match poll(&mut watched, wait) {
        Ok(events) => Ok(events > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
