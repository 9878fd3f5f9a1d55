//! Bringing a task to rest for a snapshot: a program in its container that holds the data still as long as its standard
//! input is open.
//!
//! One program that lives through the snapshot, and not one to freeze and one to thaw: whatever becomes of the agent, its
//! end of the pipe closes, and the program lets go. It does not know what is done meanwhile. Invariant: a program is
//! killed only after its input was closed and it had its time to let go; after a drop that time is its own limit.

use super::checks::end_session;
use super::enter::Role;
use super::prepare::{argv, run_path};
use super::runtime::Runtime;
use crate::host::limits;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::ContainerId;
use berth_model::snapshot::Freeze;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// Of what the program complains about, this much is told.
const COMPLAINT_BYTES: u64 = 1024;
/// What it may print before it has said that the data is at rest.
const LINE_BYTES: u64 = 4096;
/// How long a program that was killed, or closed its output, may take to be gone.
const END: Duration = Duration::from_secs(5);
/// How often it is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A task that is at rest.
#[derive(Debug)]
pub struct Frozen {
    child: Child,
    container: ContainerId,
    patience: Duration,
    /// Kept open, so that what the program prints later does not end it.
    _stdout: BufReader<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Runtime {
    /// Starts the program in the container and waits for the line that says that the data is at rest.
    ///
    /// # Errors
    /// FREEZE_FAILED: it did not say so in time; it has been ended.
    pub async fn freeze(
        &self,
        container: ContainerId,
        freeze: &Freeze,
    ) -> Result<Frozen, Rejection> {
        let failed = |what: String| {
            let text = format!("the task in container {container} was not brought to rest: {what}");
            Rejection::new(ErrorCode::FreezeFailed, text)
                .remedy("nothing was taken; try the freeze command in the task by hand")
        };
        let seconds = freeze.timeout.as_secs().saturating_mul(2).saturating_add(2);
        let mut arguments = vec![Role::Freeze.as_str().to_owned(), seconds.to_string()];
        arguments.extend(argv(&freeze.program));
        self.held_by(container, &arguments, freeze.timeout).await.map_err(failed)
    }

    /// Starts `check RUN_FOLDER ARGUMENT…` and waits for its line.
    ///
    /// # Errors
    /// What went wrong; it has been ended.
    pub(super) async fn held_by(
        &self,
        container: ContainerId,
        arguments: &[String],
        patience: Duration,
    ) -> Result<Frozen, String> {
        let config = self.config();
        let child = Command::new(&config.program)
            .arg0("berth-check")
            .arg("check")
            .arg(run_path(config, container))
            .args(arguments)
            .env_clear()
            .envs(limits::passed_on())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| format!("it cannot be run: {error}"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let Some(stdout) = stdout else { return Err("it has no output".to_owned()) };
        let mut frozen =
            Frozen { child, container, patience, _stdout: BufReader::new(stdout), stderr };
        let mut line = String::new();
        let mut words = (&mut frozen._stdout).take(LINE_BYTES);
        let what = match timeout(patience, words.read_line(&mut line)).await {
            Ok(Ok(1..)) if line.ends_with('\n') => return Ok(frozen),
            Ok(Ok(_)) => "it ended without a line on its standard output".to_owned(),
            Ok(Err(error)) => format!("its output cannot be read: {error}"),
            Err(_elapsed) => format!("it said nothing in {} ms", patience.as_millis()),
        };
        // It may hold the data already, or be about to.
        frozen.let_go().await;
        let said = frozen.end().await;
        Err(if said.is_empty() { what } else { format!("{what}: {said}") })
    }
}

impl Frozen {
    /// Is the program gone already? Then nothing is at rest any more. It is not reaped: its number stays its own, so
    /// that what it started can be ended by it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let Some(pid) = self.child.id().and_then(crate::host::process::pid) else { return true };
        let looked = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(pid), looked), Ok(None))
    }

    /// Lets go. The data was at rest until now unless the program had ended before.
    ///
    /// # Errors
    /// FREEZE_FAILED: it had, so what was taken meanwhile may not be consistent.
    pub async fn thaw(mut self) -> Result<(), Rejection> {
        let container = self.container;
        if self.has_ended() {
            let said = self.end().await;
            let status = match self.child.try_wait() {
                Ok(Some(status)) => status.to_string(),
                Ok(None) | Err(_) => "its status is lost".to_owned(),
            };
            let text = format!(
                "the freeze command in container {container} ended before the snapshot was taken ({status}) {said}"
            );
            return Err(Rejection::new(ErrorCode::FreezeFailed, text.trim_end().to_owned())
                .remedy("it has to hold the data at rest until its standard input ends"));
        }
        if self.let_go().await {
            self.child.wait().await.ok();
        } else {
            let said = self.end().await;
            tracing::warn!(%container, said, "the freeze command did not end and was killed");
        }
        Ok(())
    }

    /// Closes the program's input and gives it its time to end. Has it ended?
    async fn let_go(&mut self) -> bool {
        drop(self.child.stdin.take());
        let gone = async {
            while !self.has_ended() {
                sleep(LOOK).await;
            }
        };
        timeout(self.patience, gone).await.is_ok()
    }

    /// Ends the program and what it started; answers its complaint.
    async fn end(&mut self) -> String {
        drop(self.child.stdin.take());
        if let Err(error) = end_session(&mut self.child).await {
            tracing::warn!(container = %self.container, %error, "a freeze command cannot be ended");
        }
        let mut said = Vec::new();
        if let Some(stderr) = self.stderr.take() {
            let mut words = stderr.take(COMPLAINT_BYTES);
            // A child of it may hold the pipe open; what was said until then is told.
            timeout(END, words.read_to_end(&mut said)).await.ok();
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    }
}
