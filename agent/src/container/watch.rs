//! Learning what a supervisor has written and when it is gone, without asking again and again.
//!
//! The same for a supervisor just started and for one of an earlier life of the agent. It knows nothing of what
//! the news mean.

use super::record::{RunFolder, State};
use crate::host::linux::waitable;
use crate::host::process;
use rustix::fs::inotify;
use rustix::process::{PidfdFlags, pidfd_open};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tracing::debug;

/// Between two looks at the folder where the kernel tells nobody of changes: it gives each user only so many
/// descriptors for that, often 128, and a container that runs must not be given up for one.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Between two looks at the lock of a supervisor that has not yet written who it is; the kernel tells nobody
/// when a lock is given back. It takes moments.
const LOCK_AGAIN: Duration = Duration::from_millis(100);

/// What is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    State(State),
    /// The supervisor is gone; what it wrote last, or why that cannot be read.
    Gone(Result<Option<State>, String>),
}

/// A living supervisor.
#[derive(Debug)]
pub(crate) struct Watch {
    run: RunFolder,
    /// Absent when the kernel has none left to give.
    changes: Option<AsyncFd<OwnedFd>>,
    supervisor: Option<AsyncFd<OwnedFd>>,
    /// Held open, so that an order is not lost while the supervisor is still coming up.
    orders: File,
    child: Option<Child>,
    last: Option<State>,
}

impl Watch {
    /// Begins to look; `child` is given when the supervisor is a child of this process.
    pub fn begin(run: RunFolder, child: Option<Child>) -> io::Result<Self> {
        let changes = match notice(&run) {
            Ok(changes) => Some(changes),
            Err(error) => {
                debug!(%error, folder = %run.path().display(), "changes are looked for now and then");
                None
            },
        };
        let orders = run.orders()?;
        let mut watch = Self { run, changes, supervisor: None, orders, child, last: None };
        if let Some(pid) = watch.child.as_ref().and_then(|child| process::pid(child.id())) {
            watch.supervisor = Some(waitable(pidfd_open(pid, PidfdFlags::empty())?)?);
        }
        Ok(watch)
    }

    /// What the supervisor wrote last.
    pub fn last(&self) -> Option<&State> {
        self.last.as_ref()
    }

    /// Asks the supervisor to end the command: SIGTERM, and SIGKILL after `grace`.
    pub fn order_end(&self, grace: Duration) -> io::Result<()> {
        let text = format!("end {}\n", grace.as_millis());
        match (&self.orders).write_all(text.as_bytes()) {
            // Thousands of orders wait already.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    /// The next news. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> io::Result<Seen> {
        loop {
            if let Ok(Some(state)) = self.run.read_state()
                && self.last.as_ref() != Some(&state)
            {
                if self.supervisor.is_none() {
                    match state.supervisor.open()? {
                        Some(handle) => self.supervisor = Some(waitable(handle)?),
                        None => return self.gone(),
                    }
                }
                self.last = Some(state.clone());
                return Ok(Seen::State(state));
            }
            let Some(supervisor) = &self.supervisor else {
                if self.run.lock()?.is_some() {
                    return self.gone();
                }
                tokio::select! {
                    changed = changed(self.changes.as_ref()) => changed?,
                    () = tokio::time::sleep(LOCK_AGAIN) => {},
                }
                continue;
            };
            tokio::select! {
                changed = changed(self.changes.as_ref()) => changed?,
                ended = supervisor.readable() => {
                    ended?.retain_ready();
                    return self.gone();
                },
            }
        }
    }

    fn gone(&mut self) -> io::Result<Seen> {
        if let Some(child) = &mut self.child {
            // Its handle said that it has ended, so this does not wait.
            child.wait()?;
        }
        Ok(Seen::Gone(self.run.read_state().map_err(|error| error.to_string())))
    }
}

fn notice(run: &RunFolder) -> io::Result<AsyncFd<OwnedFd>> {
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(&changes, run.path(), inotify::WatchFlags::MOVED_TO)?;
    waitable(changes)
}

/// Until a file was put into the folder, or it is time to look again; which one is not looked at.
async fn changed(changes: Option<&AsyncFd<OwnedFd>>) -> io::Result<()> {
    let Some(changes) = changes else {
        tokio::time::sleep(LOOK_AGAIN).await;
        return Ok(());
    };
    loop {
        let mut ready = changes.readable().await?;
        let mut buffer = [0_u8; 4096];
        let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?));
        match read {
            Ok(result) => return result.map(|_bytes| ()),
            Err(_would_block) => {},
        }
    }
}
