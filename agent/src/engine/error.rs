//! Why an agent does not start, or stops by itself.

use berth_ledger::{disk, journal};
use berth_model::error::{ErrorCode, Rejection};
use std::path::PathBuf;

/// Why an agent does not start, or stops by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used on this machine.
    #[error(transparent)]
    Setting(#[from] Rejection),
    /// A file or folder of the work directory cannot be used.
    #[error("{what} {}: {source}", path.display())]
    WorkDir {
        /// What was attempted.
        what: &'static str,
        /// On which.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The agent's identity is damaged or lost.
    #[error("identity of the agent in {}: {what}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The ledger cannot be opened.
    #[error("ledger in {}: {source}", path.display())]
    Open {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: journal::Error,
    },
    /// A record of the ledger is intact but cannot be understood.
    #[error("ledger in {}: {what}", path.display())]
    Record {
        /// Its folder.
        path: PathBuf,
        /// Which record, and why.
        what: String,
    },
    /// The ledger cannot be written: what is durable is unknown, so the agent stops; its tasks go on.
    #[error("the ledger could not be written, so the agent stops and its tasks go on: {0}")]
    Write(#[source] journal::Error),
    /// A part of the agent ended that never should.
    #[error("the agent's {0} ended unexpectedly")]
    Part(&'static str),
}

impl Error {
    /// The same in the form every interface shows.
    #[must_use]
    pub fn rejection(&self) -> Rejection {
        let text = self.to_string();
        match self {
            Self::Setting(rejection) => rejection.clone(),
            Self::WorkDir { .. } => Rejection::new(ErrorCode::InvalidArgument, text)
                .field("--work-dir")
                .remedy("give a directory that the agent may write"),
            Self::Identity { .. } => Rejection::new(ErrorCode::LedgerCorrupt, text).remedy(
                "restore the work directory from a backup, or give an empty one to start with a new identity",
            ),
            Self::Open { source, .. } => match source {
                journal::Error::Disk(e) if e.kind == disk::Kind::Locked => {
                    Rejection::new(ErrorCode::Locked, text)
                        .remedy("another agent runs on this work directory: stop it or use another")
                },
                journal::Error::Disk(e) if e.kind == disk::Kind::NoSpace => {
                    Rejection::new(ErrorCode::DiskFull, text)
                },
                journal::Error::Disk(e) if e.kind == disk::Kind::ReadOnly => {
                    Rejection::new(ErrorCode::DiskReadOnly, text)
                },
                journal::Error::Disk(_)
                | journal::Error::Absent
                | journal::Error::Occupied { .. }
                | journal::Error::Corrupt(_)
                | journal::Error::Poisoned
                | journal::Error::TooLarge { .. } => {
                    Rejection::new(ErrorCode::LedgerCorrupt, text)
                },
            },
            Self::Record { .. } => Rejection::new(ErrorCode::LedgerCorrupt, text)
                .remedy("run the release that wrote it, or a later one"),
            Self::Write(_) => Rejection::new(ErrorCode::DiskFaulty, text)
                .remedy("repair the file system of the work directory, then start the agent again"),
            Self::Part(_) => Rejection::new(ErrorCode::Internal, text),
        }
    }
}
