//! Health and readiness: the check's command is executed in the container again and again, and a change is told.
//!
//! It counts failures as the check's description says and decides nothing about the task.

use super::enter::Role;
use super::prepare::run_path;
use super::record::{Phase, RunFolder};
use super::runtime::Shared;
use crate::host::limits;
use berth_agent_core::effect::ContainerEvent;
use berth_model::id::ContainerId;
use berth_model::task::Check;
use std::io::{self, Read};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tracing::info;

/// Of a check's output only the last part is kept.
const OUTPUT_BYTES: usize = 1024;

/// How one run of a check ended.
#[derive(Debug)]
struct Verdict {
    passed: bool,
    said: String,
}

/// Runs the check until it is dropped or the container has ended. `age` is how long the command has been
/// running.
pub(crate) async fn repeat(
    shared: Arc<Shared>,
    container: ContainerId,
    role: Role,
    check: Check,
    age: Duration,
) {
    let begun = Instant::now();
    let mut told = None;
    let mut failures = 0_u32;
    loop {
        let stops = shared.stops.of(container);
        let verdict = match once(&shared, container, role, check.timeout).await {
            Ok(verdict) => verdict,
            Err(error) => Verdict { passed: false, said: format!("it cannot be run: {error}") },
        };
        if !verdict.passed && !still_runs(&shared, container) {
            return;
        }
        let stood_still = stops % 2 == 1 || shared.stops.of(container) != stops;
        if !verdict.passed && stood_still {
            // It could not do better.
            tokio::time::sleep(check.every).await;
            continue;
        }
        if verdict.passed {
            failures = 0;
        } else if age + begun.elapsed() >= check.grace {
            failures += 1;
        }
        let news = match (verdict.passed, told) {
            (true, None | Some(false)) => Some(true),
            (false, None | Some(true)) if failures >= check.failures.max(1) => Some(false),
            (true, Some(true)) | (false, None | Some(_)) => None,
        };
        if let Some(news) = news {
            let said = verdict.said;
            info!(%container, check = role.as_str(), passed = news, said, "check result changed");
            told = Some(news);
            let event = match role {
                Role::Readiness => ContainerEvent::Ready(news),
                Role::Health | Role::Command | Role::Freeze | Role::Still => {
                    ContainerEvent::Healthy(news)
                },
            };
            shared.tell(container, event).await;
        }
        tokio::time::sleep(check.every).await;
    }
}

/// A check that fails because its container is ending says nothing about the container.
fn still_runs(shared: &Shared, container: ContainerId) -> bool {
    let state = RunFolder::open(&run_path(&shared.config, container))
        .and_then(|run| run.map_or(Ok(None), |run| run.read_state()));
    match state {
        Ok(Some(state)) => {
            matches!(state.phase, Phase::Running { .. })
                && matches!(state.supervisor.open(), Ok(Some(_)) | Err(_))
        },
        Ok(None) | Err(_) => false,
    }
}

async fn once(
    shared: &Shared,
    container: ContainerId,
    role: Role,
    timeout: Duration,
) -> io::Result<Verdict> {
    let (mut output, end) = io::pipe()?;
    let flags = rustix::fs::fcntl_getfl(&output)?;
    rustix::fs::fcntl_setfl(&output, flags | rustix::fs::OFlags::NONBLOCK)?;
    let mut child = Command::new(&shared.config.program)
        .arg0("berth-check")
        .arg("check")
        .arg(run_path(&shared.config, container))
        .arg(role.as_str())
        .env_clear()
        .envs(limits::passed_on())
        .stdin(Stdio::null())
        .stdout(end.try_clone()?)
        .stderr(end)
        .kill_on_drop(true)
        .spawn()?;
    let mut tail = Tail::default();
    let deadline = Instant::now() + timeout;
    let status = loop {
        tokio::select! {
            status = child.wait() => break Some(status?),
            () = tokio::time::sleep_until(deadline) => break None,
            // A full pipe would stop the check; looking now and then is enough to keep it going.
            () = tokio::time::sleep(DRAIN_EVERY) => tail.take(&mut output),
        }
    };
    if status.is_none() {
        end_session(&mut child).await?;
    }
    tail.take(&mut output);
    let said = tail.text();
    Ok(match status {
        Some(status) if status.success() => Verdict { passed: true, said },
        Some(status) => Verdict { passed: false, said: format!("{status}: {said}") },
        None => Verdict {
            passed: false,
            said: format!("not done after {} ms, killed: {said}", timeout.as_millis()),
        },
    })
}

const DRAIN_EVERY: Duration = Duration::from_millis(200);

pub(super) async fn end_session(child: &mut Child) -> io::Result<()> {
    // The child is not reaped yet, so its pid names its own session or nothing.
    if let Some(pid) = child.id().and_then(crate::host::process::pid) {
        match rustix::process::kill_process_group(pid, rustix::process::Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {},
            Err(error) => return Err(error.into()),
        }
    }
    child.kill().await
}

#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn take(&mut self, output: &mut io::PipeReader) {
        let mut buffer = [0; 4096];
        // Ends with "would block", or with the last writer.
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            self.0.extend_from_slice(buffer.get(..count).unwrap_or_default());
            let surplus = self.0.len().saturating_sub(OUTPUT_BYTES);
            self.0.drain(..surplus);
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}
