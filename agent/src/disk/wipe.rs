//! Overwrites what files and devices hold, part by part, each synced before anything of it is given back.
//!
//! It decides nothing: the caller has found out that overwriting reaches the blocks. Invariant: a name goes, and a file gets
//! shorter, only after the bytes behind it were overwritten and synced; so whatever a crash leaves, what is left of the work
//! is what is left of the file.

use super::fs::Node;
use super::fs::wiping::Pattern;
use crate::volume::content::Counter;
use berth_model::wipe::Wipe;
use rustix::io::Errno;
use std::ffi::OsStr;

/// So much is overwritten and synced before the next begins, and is done again at most after a crash.
pub const PART: u64 = 64 << 20;

/// Why a wipe stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The file system keeps what was there before.
    Elsewhere,
    /// The agent ends; it goes on after its next start.
    Ended,
    /// A call failed.
    Io(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        if errno == Errno::OPNOTSUPP { Self::Elsewhere } else { Self::Io(errno) }
    }
}

/// How, and who is told how far it is.
#[derive(Clone, Copy, Debug)]
pub struct Wiper<'a> {
    method: Wipe,
    counter: &'a Counter,
}

impl<'a> Wiper<'a> {
    /// One that counts there.
    #[must_use]
    pub fn new(method: Wipe, counter: &'a Counter) -> Self {
        Self { method, counter }
    }

    /// So much there is.
    pub fn expect(&self, bytes: u64) {
        self.counter.expect(bytes, 0);
    }

    /// So much was done before.
    pub fn count(&self, bytes: u64) {
        self.counter.add_bytes(bytes);
    }

    /// Overwrites a file right below this directory, provided that this is its last name.
    ///
    /// # Errors
    /// See [`Stop`].
    pub fn entry(&self, directory: &Node, name: &OsStr) -> Result<(), Stop> {
        let Some(found) = directory.regular(name)? else { return Ok(()) };
        if found.names > 1 {
            return Ok(());
        }
        let file = directory.to_overwrite(name)?;
        let mut end = found.length;
        while end > 0 {
            let from = (end - 1) / PART * PART;
            self.part(&file, from, end - from)?;
            if from > 0 {
                // What is left to do after a crash.
                file.set_length(from)?;
            }
            end = from;
        }
        Ok(())
    }

    /// Overwrites a part of a file or device, synced.
    ///
    /// # Errors
    /// See [`Stop`].
    pub fn part(&self, node: &Node, at: u64, length: u64) -> Result<(), Stop> {
        if self.counter.is_stopped() {
            return Err(Stop::Ended);
        }
        let patterns: &[Pattern] = match self.method {
            Wipe::None => &[],
            Wipe::Discard => {
                node.discard(at, length)?;
                node.sync()?;
                &[]
            },
            Wipe::Zero => &[Pattern::Zeros],
            Wipe::Shred => &[Pattern::Noise, Pattern::Zeros],
        };
        let mut bytes = if self.method == Wipe::Discard { length } else { 0 };
        for pattern in patterns {
            bytes = node.overwrite(at, length, *pattern)?;
            if bytes > 0 {
                node.sync()?;
            }
        }
        self.counter.add_bytes(bytes);
        Ok(())
    }
}
