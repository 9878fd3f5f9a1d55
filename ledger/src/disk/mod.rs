//! The narrow file-system trait: one flat folder of files, and exactly the calls the journal needs.
//!
//! It does not know what is in the files. Invariant: a call that answers an error may have taken partial effect;
//! only [`Disk::sync`] and [`Disk::sync_dir`] promise anything about a power loss, and only when they answer `Ok`.

pub mod real;
pub mod sim;

use std::fmt;
use std::io;

/// One flat folder. Names hold no `/`.
pub trait Disk {
    /// The names of all files in order.
    fn list(&self) -> Result<Vec<String>, Error>;
    /// The whole file.
    fn read(&self, name: &str) -> Result<Vec<u8>, Error>;
    /// An empty file; [`Kind::Exists`] when the name is taken.
    fn create_new(&mut self, name: &str) -> Result<(), Error>;
    /// Adds bytes behind the last one.
    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error>;
    /// Writes over bytes that exist already; never makes the file longer.
    fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Error>;
    /// Cuts the file to `len` bytes; never makes it longer.
    fn truncate(&mut self, name: &str, len: u64) -> Result<(), Error>;
    /// Makes the file's content and length durable. Says nothing about its name: see [`Disk::sync_dir`].
    fn sync(&mut self, name: &str) -> Result<(), Error>;
    /// Renames atomically; a file that had the name `to` is gone.
    fn replace(&mut self, from: &str, to: &str) -> Result<(), Error>;
    fn remove(&mut self, name: &str) -> Result<(), Error>;
    /// Makes every create, replace and remove so far durable.
    fn sync_dir(&mut self) -> Result<(), Error>;
}

/// What was asked of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Open,
    List,
    Read,
    Create,
    Append,
    Overwrite,
    Truncate,
    Sync,
    Replace,
    Remove,
    SyncDir,
}

impl Call {
    /// Whether the call can change what is stored.
    pub const fn is_change(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Read)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::List => "list",
            Self::Read => "read",
            Self::Create => "create",
            Self::Append => "append to",
            Self::Overwrite => "overwrite",
            Self::Truncate => "truncate",
            Self::Sync => "sync",
            Self::Replace => "rename",
            Self::Remove => "remove",
            Self::SyncDir => "sync the folder of",
        })
    }
}

/// Why a call failed, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    NotFound,
    Exists,
    NoSpace,
    ReadOnly,
    /// Another process holds the folder.
    Locked,
    /// The range or length asked for does not lie inside the file, or the name holds a `/`.
    Invalid,
    /// Anything else; the number is the system's errno, where there is one.
    Io(Option<i32>),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file"),
            Self::Exists => f.write_str("it exists already"),
            Self::NoSpace => f.write_str("no space left: free some on that file system, then restart"),
            Self::ReadOnly => f.write_str("read-only: make the folder writable, then restart"),
            Self::Locked => f.write_str(
                "another process uses this folder: stop that process or give this one a folder of its own",
            ),
            Self::Invalid => f.write_str("the name or range does not fit the file"),
            Self::Io(Some(errno)) => {
                let text = io::Error::from_raw_os_error(*errno);
                write!(f, "{text}: check the device's health, then restart")
            },
            Self::Io(None) => f.write_str("input/output error: check the device's health, then restart"),
        }
    }
}

/// A failed call: what was attempted on which file, and why it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call} {name}: {kind}")]
pub struct Error {
    pub call: Call,
    pub name: String,
    pub kind: Kind,
}

impl Error {
    pub fn new(call: Call, name: &str, kind: Kind) -> Self {
        Self { call, name: name.to_owned(), kind }
    }

    pub(crate) fn from_io(call: Call, name: &str, error: &io::Error) -> Self {
        const EDQUOT: i32 = 122;
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::AlreadyExists => Kind::Exists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Kind::ReadOnly,
            _ if error.raw_os_error() == Some(EDQUOT) => Kind::NoSpace,
            _ => Kind::Io(error.raw_os_error()),
        };
        Self::new(call, name, kind)
    }
}
