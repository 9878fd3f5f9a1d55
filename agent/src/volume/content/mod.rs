//! What a new volume is filled with: the copy of a directory, or what an export has of another volume; and the export.
//!
//! It does not know how volumes come to be; the driver gives it the root of one that has no name yet and takes everything
//! back when it fails. Invariant: what is copied is never changed, and a copy that answers is whole and compared.

mod archive;
mod compare;
mod copy;
mod directory;
mod heads;
#[cfg(test)]
mod hostile;
mod incoming;
mod lines;
mod manifest;
mod open_by;
mod pack;
mod sources;
mod survey;
mod unpack;
mod walk;

pub use directory::Directory;
pub use incoming::{Incoming, Part};
pub use pack::{Exported, Packed, Sink, export};
pub use sources::Sources;
pub use survey::survey;
pub use unpack::Archive;

use crate::disk::fs::Node;
use berth_model::error::Rejection;
use berth_model::transfer::Progress;
use berth_model::units::Bytes;
use rustix::io::Errno;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why a volume did not get its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// What it is to be filled with is not fit for it, or is not what it has got.
    Content(Rejection),
    /// The volume does not take it.
    Volume {
        /// What was attempted, on what.
        doing: String,
        /// How it failed.
        errno: Errno,
    },
    /// The agent is stopping; it is to be begun again by the next one.
    Stopped,
}

impl Stop {
    /// A call on the volume has failed.
    fn volume(doing: String) -> impl Fn(Errno) -> Self + use<> {
        move |errno| Self::Volume { doing: doing.clone(), errno }
    }
}

/// Something that a new volume is filled with.
pub trait Content: fmt::Debug {
    /// Fills the root of the volume, which is empty.
    ///
    /// # Errors
    /// See [`Stop`]; any part of it may be there then.
    fn fill(&mut self, root: &Node) -> Result<(), Stop>;

    /// Compares what is there, after it was synced, with what was to be there.
    ///
    /// # Errors
    /// See [`Stop`].
    fn compare(&mut self, root: &Node) -> Result<(), Stop>;
}

/// How far one volume's content is; shared with whoever tells of it.
#[derive(Debug, Default)]
pub struct Counter {
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    entries: AtomicU64,
    entries_total: AtomicU64,
    stopped: Arc<AtomicBool>,
}

impl Counter {
    /// Nothing so far; ends when this becomes true.
    #[must_use]
    pub fn new(stopped: Arc<AtomicBool>) -> Self {
        Self { stopped, ..Self::default() }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            bytes: Bytes::new(self.bytes.load(Ordering::Relaxed)),
            bytes_total: Bytes::new(self.bytes_total.load(Ordering::Relaxed)),
            entries: self.entries.load(Ordering::Relaxed),
            entries_total: self.entries_total.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn expect(&self, bytes: u64, entries: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
        self.entries_total.store(entries, Ordering::Relaxed);
    }

    /// Counts bytes, and answers whether to go on.
    pub(crate) fn add_bytes(&self, bytes: u64) -> bool {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        !self.is_stopped()
    }

    fn add_entry(&self) -> Result<(), Stop> {
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.check()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), Stop> {
        if self.is_stopped() { Err(Stop::Stopped) } else { Ok(()) }
    }
}
