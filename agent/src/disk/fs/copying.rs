//! The part of the narrow trait that is about copies of trees: what an entry is, and making one like it.
//!
//! It does not know what is copied, nor why. Invariant: nothing here follows a link, and what is read is not changed.

use super::{Calls, Node, Raw, Site};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::panic::Location;

/// What an entry of a directory is, as far as a copy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// With bytes in it.
    File,
    /// With entries in it.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Pipe,
    /// The name of a running process's socket.
    Socket,
    /// A block or character device.
    Device,
}

/// What the file system says of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Permissions, set-id bits and the sticky bit.
    pub mode: u32,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// In bytes, holes included.
    pub length: u64,
    /// What it takes on the disk, in bytes.
    pub allocated: u64,
    /// How many names it has.
    pub names: u64,
    /// The device number of its file system.
    pub device: (u32, u32),
    /// The mount it was reached through.
    pub mount: u64,
    /// Its inode.
    pub inode: u64,
    /// When its content was last changed: seconds and nanoseconds.
    pub modified: (i64, u32),
    /// When anything of it was last changed.
    pub changed: (i64, u32),
}

/// How an entry is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permissions; absent for a link, which has none.
    pub mode: Option<u32>,
    /// When its content was last changed.
    pub modified: (i64, u32),
}

impl Look {
    /// As another entry.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let mode = (entry.kind != EntryKind::Link).then_some(entry.mode);
        Self { uid: entry.uid, gid: entry.gid, mode, modified: entry.modified }
    }
}

/// A file's content was put into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many bytes, holes included.
    pub length: u64,
    /// Of its content, see [`Node::checksum`]; absent when both share it on the disk and nothing was read.
    pub checksum: Option<u32>,
}

/// On which side a copy failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyError {
    /// What is copied cannot be read.
    From(Errno),
    /// The copy cannot be written.
    To(Errno),
    /// It was told to stop.
    Stopped,
}

/// Is told of bytes that are there, and answers whether to go on.
pub type Told<'a> = &'a dyn Fn(u64) -> bool;

/// Gives the next part of a content with its place, each behind the last and from a multiple of a block on; nothing at the end.
pub type Parts<'a> = &'a mut dyn FnMut() -> Result<Option<(u64, Vec<u8>)>, CopyError>;

/// An extended attribute.
pub type Attribute = (String, Vec<u8>);

/// The calls that a copy needs. [`Node`] says what each does.
#[expect(missing_docs, reason = "documented once, at the methods of Node that call them")]
#[expect(clippy::missing_errors_doc, reason = "documented once, at the methods of Node")]
pub trait Copies {
    fn entry(&self, site: Site, name: Option<&OsStr>) -> Result<Entry, Errno>;
    fn content(&self, site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno>;
    fn target(&self, site: Site, name: &OsStr) -> Result<OsString, Errno>;
    fn attributes(&self, site: Site) -> Result<Vec<Attribute>, Errno>;
    fn fill_from(&self, site: Site, from: Raw<'_>, told: Told<'_>) -> Result<Copied, CopyError>;
    fn fill_with(&self, site: Site, length: u64, parts: Parts<'_>) -> Result<Copied, CopyError>;
    fn checksum(&self, site: Site, told: Told<'_>) -> Result<u32, Errno>;
    fn make_link(&self, site: Site, name: &OsStr, target: &OsStr) -> Result<(), Errno>;
    fn make_name(&self, site: Site, name: &OsStr, of: (Raw<'_>, &OsStr)) -> Result<(), Errno>;
    fn make_pipe(&self, site: Site, name: &OsStr) -> Result<(), Errno>;
    fn dress(&self, site: Site, name: Option<&OsStr>, look: &Look) -> Result<(), Errno>;
}

#[expect(clippy::missing_errors_doc, reason = "each fails as the system call it stands for")]
impl Node {
    /// What an entry of this directory is, a link itself; without a name, what this is.
    #[track_caller]
    pub fn entry(&self, name: Option<&OsStr>) -> Result<Entry, Errno> {
        self.0.entry(Location::caller(), name)
    }

    /// Opens a file right below this directory for reading: a link is LOOP, a mount XDEV, anything but a file INVAL.
    #[track_caller]
    pub fn content(&self, name: &OsStr) -> Result<Self, Errno> {
        self.0.content(Location::caller(), name).map(Self)
    }

    /// Where a symbolic link in this directory leads.
    #[track_caller]
    pub fn target(&self, name: &OsStr) -> Result<OsString, Errno> {
        self.0.target(Location::caller(), name)
    }

    /// All extended attributes that this process sees; none where the file system has none. A name that is no text is
    /// ILSEQ.
    #[track_caller]
    pub fn attributes(&self) -> Result<Vec<Attribute>, Errno> {
        self.0.attributes(Location::caller())
    }

    /// Gives this empty file the content of another, holes included: shared on the disk where the file system can, else
    /// byte by byte.
    #[track_caller]
    pub fn fill_from(&self, from: &Self, told: Told<'_>) -> Result<Copied, CopyError> {
        self.0.fill_from(Location::caller(), from.raw(), told)
    }

    /// Gives this empty file a content of this length; what lies between the parts are holes.
    #[track_caller]
    pub fn fill_with(&self, length: u64, parts: Parts<'_>) -> Result<Copied, CopyError> {
        self.0.fill_with(Location::caller(), length, parts)
    }

    /// Of the file's content as it is read from the disk: of all blocks that are not zero, with where they are.
    #[track_caller]
    pub fn checksum(&self, told: Told<'_>) -> Result<u32, Errno> {
        self.0.checksum(Location::caller(), told)
    }

    /// Makes a symbolic link.
    #[track_caller]
    pub fn make_link(&self, name: &OsStr, target: &OsStr) -> Result<(), Errno> {
        self.0.make_link(Location::caller(), name, target)
    }

    /// Gives a file another name.
    #[track_caller]
    pub fn make_name(&self, name: &OsStr, of: (&Self, &OsStr)) -> Result<(), Errno> {
        self.0.make_name(Location::caller(), name, (of.0.raw(), of.1))
    }

    /// Makes a named pipe.
    #[track_caller]
    pub fn make_pipe(&self, name: &OsStr) -> Result<(), Errno> {
        self.0.make_pipe(Location::caller(), name)
    }

    /// Gives an entry of this directory owner, mode and time, a link itself; without a name, this.
    #[track_caller]
    pub fn dress(&self, name: Option<&OsStr>, look: &Look) -> Result<(), Errno> {
        self.0.dress(Location::caller(), name, look)
    }
}
