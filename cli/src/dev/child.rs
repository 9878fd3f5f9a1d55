//! One child of `berth dev`: started, watched, restarted, stopped.

use crate::output::note;
use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::watch;

const RESTART_AFTER: Duration = Duration::from_secs(1);

/// What to start.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
}

/// A child with its watcher.
#[derive(Debug)]
pub(super) struct Supervised {
    child: Child,
    restart: bool,
    ended: watch::Sender<bool>,
    wanted: watch::Receiver<Option<Signal>>,
}

/// The handle to stop a child.
#[derive(Debug)]
pub(super) struct Control {
    name: String,
    ended: watch::Receiver<bool>,
    wanted: watch::Sender<Option<Signal>>,
}

impl Control {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
    /// Asks the child to end and not to be restarted.
    pub(super) fn stop(&self, with: Signal) {
        self.wanted.send_replace(Some(with));
    }
    /// Ends the child at once.
    pub(super) fn kill(&self) {
        self.stop(Signal::SIGKILL);
    }
    /// Waits for the end.
    pub(super) async fn ended_within(&self, patience: Duration) -> bool {
        let mut ended = self.ended.clone();
        tokio::time::timeout(patience, ended.wait_for(|ended| *ended)).await.is_ok()
    }
}

impl Supervised {
    pub(super) fn new(child: Child, restart: bool) -> (Self, Control) {
        let (ended_in, ended) = watch::channel(false);
        let (wanted_in, wanted) = watch::channel(None);
        let name = child.name.clone();
        (
            Self { child, restart, ended: ended_in, wanted },
            Control { name, ended, wanted: wanted_in },
        )
    }

    /// Ends when the child has ended for good; says its name and how.
    pub(super) async fn run(mut self) -> (String, String) {
        let how = loop {
            let how = match self.run_once().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("{error:#}"),
            };
            if self.wanted.borrow().is_some() || !self.restart {
                break how;
            }
            note(&format!("{} ended ({how}); starting it again in 1 s", self.child.name));
            // Either the pause is over or somebody wants the end.
            let wanted = tokio::time::timeout(RESTART_AFTER, self.wanted.wait_for(Option::is_some));
            if wanted.await.is_ok() {
                break how;
            }
        };
        drop(std::fs::remove_file(self.child.folder.join("pid")));
        self.ended.send_replace(true);
        (self.child.name, how)
    }

    async fn run_once(&mut self) -> anyhow::Result<ExitStatus> {
        let folder = &self.child.folder;
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .with_context(|| format!("open {}/log", folder.display()))?;
        let errors = log.try_clone().context("open the log twice")?;
        let mut process = Command::new(&self.child.program)
            .args(&self.child.args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // Ctrl-C in the terminal is for `berth dev`, which stops its children in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", self.child.program.display()))?;
        let pid =
            process.id().and_then(|p| i32::try_from(p).ok()).context("read the child's pid")?;
        std::fs::write(folder.join("pid"), format!("{pid}\n"))
            .with_context(|| format!("write {}/pid", folder.display()))?;
        loop {
            tokio::select! {
                status = process.wait() => return status.context("wait for the child"),
                changed = self.wanted.changed() => {
                    let wanted = *self.wanted.borrow_and_update();
                    match (changed, wanted) {
                        (Ok(()), Some(with)) => signal(pid, with),
                        (Ok(()), None) => {},
                        (Err(_gone), _) => signal(pid, Signal::SIGTERM),
                    }
                },
            }
        }
    }
}

/// A child that has just ended cannot be signalled; that is what was wanted.
fn signal(pid: i32, with: Signal) {
    kill(Pid::from_raw(pid), with).ok();
}
