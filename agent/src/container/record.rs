//! What lies in a container's run folder, and how agent and supervisor read and write it.
//!
//! ```text
//! <runs>/<container>/    0711, the agent's
//!     lock               held by the supervisor as long as it lives
//!     spec.json          what to run; written once, before the supervisor starts
//!     state.json         written by the supervisor only
//!     orders             a named pipe: the agent asks for the end
//!     released           there once the run is over and told
//!     supervisor.log     what the supervisor could not say otherwise
//!     logs/              the output of the command
//!     sandbox/           the command's own
//! ```
//! It knows nothing of processes and mounts. The formats change by adding fields, because a supervisor may be
//! older than the agent that reads it.

use super::cgroup::Group;
use crate::host::files;
use crate::host::{Account, Identity};
use berth_model::error::{ErrorCode, Rejection};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

const RECORD_BYTES_MAX: u64 = 16 << 20;

/// One volume's place in the container; its directory handle is passed beside the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mounted {
    /// For messages.
    pub volume: String,
    /// Relative to the sandbox, or absolute.
    pub container_path: String,
    pub read_only: bool,
}

/// One check's command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub command: Vec<String>,
    pub timeout: Duration,
}

/// Everything a supervisor and the checks need to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub container: String,
    /// For messages: the agent's host.
    pub host: String,
    pub sandbox: PathBuf,
    pub command: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Absent when the agent's own user is kept.
    pub account: Option<Account>,
    /// True when the container has a mount namespace of its own.
    pub private_mounts: bool,
    pub groups: Vec<Group>,
    pub memory_limit_bytes: Option<u64>,
    pub mounts: Vec<Mounted>,
    pub log_bytes: u64,
    pub log_files: u32,
    pub kill_grace: Duration,
    pub health: Option<Probe>,
    pub readiness: Option<Probe>,
}

/// What the supervisor says about itself and the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub supervisor: Identity,
    pub phase: Phase,
}

/// How far the run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// The surroundings are being made.
    Starting,
    /// The command runs.
    Running { pid: u32 },
    /// The command was not started.
    Refused(Refusal),
    /// The command ended, and everything it left behind.
    Ended(Ending),
}

/// How the command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    Status(i32),
    Signal(i32),
    OutOfMemory { limit_bytes: u64 },
}

/// A [`Rejection`] as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    code: String,
    message: String,
    remedy: String,
    field: String,
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let Rejection { code, message, remedy, field } = rejection;
        Self { code: code.as_str().to_owned(), message, remedy, field }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, remedy, field } = refusal;
        // A code of a newer release is still a failed launch.
        let code = ErrorCode::parse(&code).unwrap_or(ErrorCode::LaunchFailed);
        Self { code, message, remedy, field }
    }
}

/// An open run folder. Reads and writes go through the handle, so a mount over the path cannot divert them.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    handle: OwnedFd,
}

impl RunFolder {
    /// Opens the folder, or nothing when there is none.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(handle) => Ok(Some(Self { path: path.to_owned(), handle })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, name: &str) -> io::Result<Option<T>> {
        let Some(bytes) = files::read(&self.handle, name, RECORD_BYTES_MAX)? else {
            return Ok(None);
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                Err(io::Error::other(format!("{}: {error}", self.path.join(name).display())))
            },
        }
    }

    pub fn read_spec(&self) -> io::Result<Option<Spec>> {
        self.read("spec.json")
    }

    pub fn read_state(&self) -> io::Result<Option<State>> {
        self.read("state.json")
    }

    pub fn write_spec(&self, spec: &Spec) -> io::Result<()> {
        files::replace(&self.handle, "spec.json", &serde_json::to_vec(spec)?)
    }

    pub fn write_state(&self, state: &State) -> io::Result<()> {
        files::replace(&self.handle, "state.json", &serde_json::to_vec(state)?)
    }

    /// Takes the supervisor's lock, or says that a supervisor lives by giving nothing.
    pub fn lock(&self) -> io::Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.handle, "lock", flags, Mode::RUSR | Mode::WUSR)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(File::from(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The pipe for orders, open for reading and writing so that neither side waits for the other and an order
    /// written before the supervisor looks is kept.
    pub fn orders(&self) -> io::Result<File> {
        match rustix::fs::mkfifoat(&self.handle, "orders", Mode::RUSR | Mode::WUSR) {
            Ok(()) | Err(Errno::EXIST) => {},
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.handle, "orders", flags, Mode::empty())?))
    }
}
