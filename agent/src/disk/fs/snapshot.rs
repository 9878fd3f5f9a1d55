//! Snapshots, as far as a file system has them: subvolumes with the content of another.
//!
//! It does not know what they are taken for.

use super::Node;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::panic::Location;

/// What may be done to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    ReadOnly,
    /// Everything.
    Writable,
}

#[expect(clippy::missing_errors_doc, reason = "each fails as the system call it stands for")]
impl Node {
    /// Makes a subvolume with the content, as of now, of the one that `of` is the root of.
    #[track_caller]
    pub fn snapshot(
        &self,
        name: impl AsRef<OsStr>,
        of: &Self,
        access: Access,
    ) -> Result<(), Errno> {
        self.0.snapshot(Location::caller(), name.as_ref(), of.raw(), access)
    }

    /// Can nothing be written in the subvolume it is the root of?
    #[track_caller]
    pub fn is_read_only(&self) -> Result<bool, Errno> {
        self.0.is_read_only(Location::caller())
    }

    /// Lets the subvolume it is the root of be written again, which deleting it needs.
    #[track_caller]
    pub fn make_writable(&self) -> Result<(), Errno> {
        self.0.make_writable(Location::caller())
    }
}
