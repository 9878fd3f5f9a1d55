//! The narrow trait between the disks and the operating system: what disks and volume drivers ask of a file system,
//! on open handles. `real` asks the kernel; tests put a simulated file system behind it.
//!
//! It does not know volumes, markers or disks. Invariant: whoever makes, moves, deletes or syncs something on a disk
//! does it through a [`Node`], so that a test sees every such call with the place in the source it comes from.

pub mod copying;
pub mod image;
mod paths;
pub mod raw;
pub mod real;
pub(crate) mod real_copying;
mod real_image;
mod snapshot;
pub mod wiping;

pub use paths::{device, device_number, locate, open};
pub use snapshot::Access;

use super::filesystem::{Position, Room};
use super::project::Account;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::Location;
use std::path::Path;

/// The place in the source that a call comes from. The kernel is not told; tests are.
pub type Site = &'static Location<'static>;

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory or the root of a subvolume.
    Directory,
    /// Anything else, a link included.
    Other,
}

/// What becomes of an entry that has the new name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It is gone.
    Yes,
    /// The call fails with EXIST.
    No,
}

/// What an open handle is to the file system that gave it out.
#[derive(Clone, Copy, Debug)]
pub enum Raw<'a> {
    /// The kernel's.
    Descriptor(BorrowedFd<'a>),
    /// A number of a simulated file system.
    Number(u64),
}

/// A file system as paths reach it.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// Opens a directory by its path, links followed.
    ///
    /// # Errors
    /// It is absent (NOENT), no directory (NOTDIR), or cannot be opened.
    fn open(&self, site: Site, path: &Path) -> Result<Box<dyn Calls>, Errno>;

    /// Where a directory's path leads.
    ///
    /// # Errors
    /// As [`FileSystem::open`], but needs no permission to read the directory.
    fn locate(&self, site: Site, path: &Path) -> Result<Position, Errno>;

    /// Opens a block device for this process alone, links followed.
    ///
    /// # Errors
    /// It is absent (NOENT), no block device (NOTBLK), mounted or held by somebody else (BUSY), or cannot be opened.
    fn device(&self, site: Site, path: &Path) -> Result<Box<dyn Calls>, Errno>;

    /// The number of the block device that a path leads to.
    ///
    /// # Errors
    /// As [`FileSystem::device`], but is never BUSY.
    fn device_number(&self, site: Site, path: &Path) -> Result<(u32, u32), Errno>;
}

/// The calls on an open file or directory. Names are single entries: they lead to no link's target and across no
/// mount. [`Node`] says what each does.
#[expect(missing_docs, reason = "documented once, at the methods of Node that call them")]
#[expect(clippy::missing_errors_doc, reason = "documented once, at the methods of Node")]
pub trait Calls:
    copying::Copies + image::Images + raw::Bytes + wiping::Wipes + fmt::Debug + Send + Sync
{
    fn raw(&self) -> Raw<'_>;
    fn directory(&self, site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno>;
    fn make_directory(&self, site: Site, name: &OsStr, mode: u32) -> Result<(), Errno>;
    fn create(&self, site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno>;
    fn write(&self, site: Site, bytes: &[u8]) -> Result<(), Errno>;
    fn read(&self, site: Site, name: &OsStr, most: u64) -> Result<Vec<u8>, Errno>;
    fn unlink(&self, site: Site, name: &OsStr) -> Result<(), Errno>;
    fn remove_directory(&self, site: Site, name: &OsStr) -> Result<(), Errno>;
    fn rename(
        &self,
        site: Site,
        name: &OsStr,
        to: (Raw<'_>, &OsStr),
        replace: Replace,
    ) -> Result<(), Errno>;
    fn sync(&self, site: Site) -> Result<(), Errno>;
    fn sync_file_system(&self, site: Site) -> Result<(), Errno>;
    fn attribute(&self, site: Site, name: &str) -> Result<Vec<u8>, Errno>;
    fn set_attribute(&self, site: Site, name: &str, value: &[u8]) -> Result<(), Errno>;
    fn set_mode(&self, site: Site, mode: u32) -> Result<(), Errno>;
    fn set_owner(&self, site: Site, uid: u32, gid: u32) -> Result<(), Errno>;
    fn unlock(&self, site: Site, name: &OsStr) -> Result<(), Errno>;
    fn is_immutable(&self, site: Site, entry: Option<&OsStr>) -> bool;
    fn kind(&self, site: Site, path: &OsStr) -> Result<Kind, Errno>;
    fn names(&self, site: Site, most: usize) -> Result<Vec<OsString>, Errno>;
    fn position(&self, site: Site) -> Result<Position, Errno>;
    fn room(&self, site: Site) -> Result<Room, Errno>;
    fn identity(&self, site: Site) -> Result<String, Errno>;
    fn is_btrfs(&self, site: Site) -> Result<bool, Errno>;
    fn tree_size(&self, site: Site) -> Result<Tree, String>;
    fn mounts(&self, site: Site) -> io::Result<Vec<String>>;
    fn make_subvolume(&self, site: Site, name: &OsStr) -> Result<(), Errno>;
    fn subvolume(&self, site: Site) -> Result<u64, Errno>;
    fn limit(&self, site: Site, bytes: Option<u64>) -> Result<(), Errno>;
    fn quota_used(&self, site: Site) -> Result<Option<u64>, Errno>;
    fn enable_quota(&self, site: Site) -> Result<(), Errno>;
    fn forget_quota(&self, site: Site, group: u64) -> Result<(), Errno>;
    fn project(&self, site: Site) -> Result<u32, Errno>;
    fn set_project(&self, site: Site, project: u32) -> Result<(), Errno>;
    fn account(&self, site: Site, project: u32) -> Result<Account, Errno>;
    fn limit_project(&self, site: Site, project: u32, bytes: Option<u64>) -> Result<(), Errno>;
    fn snapshot(&self, site: Site, name: &OsStr, of: Raw<'_>, access: Access) -> Result<(), Errno>;
    fn is_read_only(&self, site: Site) -> Result<bool, Errno>;
    fn nested(&self, site: Site) -> Result<Option<String>, Errno>;
    fn make_writable(&self, site: Site) -> Result<(), Errno>;
}

/// Methods of [`Node`] that pass a call without arguments on, with the place they are called from.
macro_rules! passed_on {
    ($($(#[$document:meta])* $name:ident: $answer:ty;)*) => {
        $(
            $(#[$document])*
            #[track_caller]
            pub fn $name(&self) -> $answer {
                self.0.$name(Location::caller())
            }
        )*
    };
}

/// An open file or directory.
#[derive(Debug)]
pub struct Node(Box<dyn Calls>);

/// What a tree takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// On the disk.
    pub bytes: u64,
    /// Files, directories and links in it; one with several names counts once.
    pub inodes: u64,
}

impl From<OwnedFd> for Node {
    fn from(descriptor: OwnedFd) -> Self {
        Self(Box::new(real::Open::from(descriptor)))
    }
}

impl From<Box<dyn Calls>> for Node {
    fn from(calls: Box<dyn Calls>) -> Self {
        Self(calls)
    }
}

#[expect(clippy::missing_errors_doc, reason = "each fails as the system call it stands for")]
impl Node {
    /// The kernel's descriptor, for calls that only a real file system has.
    ///
    /// # Errors
    /// OPNOTSUPP where the file system is a simulated one.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>, Errno> {
        match self.0.raw() {
            Raw::Descriptor(descriptor) => Ok(descriptor),
            Raw::Number(_) => Err(Errno::OPNOTSUPP),
        }
    }

    /// What the handle is to its file system.
    #[must_use]
    pub fn raw(&self) -> Raw<'_> {
        self.0.raw()
    }

    /// Opens a directory right below this one: absent is NOENT, a link LOOP, a mount XDEV, a file NOTDIR.
    #[track_caller]
    pub fn directory(&self, name: impl AsRef<OsStr>) -> Result<Self, Errno> {
        self.0.directory(Location::caller(), name.as_ref()).map(Self)
    }

    /// Makes a directory.
    #[track_caller]
    pub fn make_directory(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<(), Errno> {
        self.0.make_directory(Location::caller(), name.as_ref(), mode)
    }

    /// Makes a file that was not there, for this user alone, open for reading and writing.
    #[track_caller]
    pub fn create(&self, name: impl AsRef<OsStr>) -> Result<Self, Errno> {
        self.0.create(Location::caller(), name.as_ref()).map(Self)
    }

    /// Writes all the bytes behind what this handle wrote before; after an error any part of them is written.
    #[track_caller]
    pub fn write(&self, bytes: &[u8]) -> Result<(), Errno> {
        self.0.write(Location::caller(), bytes)
    }

    /// The first bytes of a file.
    #[track_caller]
    pub fn read(&self, name: impl AsRef<OsStr>, most: u64) -> Result<Vec<u8>, Errno> {
        self.0.read(Location::caller(), name.as_ref(), most)
    }

    /// Removes a name that is no directory.
    #[track_caller]
    pub fn unlink(&self, name: impl AsRef<OsStr>) -> Result<(), Errno> {
        self.0.unlink(Location::caller(), name.as_ref())
    }

    /// Removes an empty directory or subvolume.
    #[track_caller]
    pub fn remove_directory(&self, name: impl AsRef<OsStr>) -> Result<(), Errno> {
        self.0.remove_directory(Location::caller(), name.as_ref())
    }

    /// Moves an entry, atomically; what had the new name is gone.
    #[track_caller]
    pub fn replace(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        new: impl AsRef<OsStr>,
    ) -> Result<(), Errno> {
        let to = (to.raw(), new.as_ref());
        self.0.rename(Location::caller(), name.as_ref(), to, Replace::Yes)
    }

    /// Moves an entry, atomically; a new name that is taken is EXIST.
    #[track_caller]
    pub fn rename(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        new: impl AsRef<OsStr>,
    ) -> Result<(), Errno> {
        let to = (to.raw(), new.as_ref());
        self.0.rename(Location::caller(), name.as_ref(), to, Replace::No)
    }

    /// An extended attribute.
    #[track_caller]
    pub fn attribute(&self, name: &str) -> Result<Vec<u8>, Errno> {
        self.0.attribute(Location::caller(), name)
    }

    /// Sets an extended attribute.
    #[track_caller]
    pub fn set_attribute(&self, name: &str, value: &[u8]) -> Result<(), Errno> {
        self.0.set_attribute(Location::caller(), name, value)
    }

    /// Sets the permissions.
    #[track_caller]
    pub fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        self.0.set_mode(Location::caller(), mode)
    }

    /// Sets user and group; the kernel takes set-id bits away with it.
    #[track_caller]
    pub fn set_owner(&self, uid: u32, gid: u32) -> Result<(), Errno> {
        self.0.set_owner(Location::caller(), uid, gid)
    }

    /// Lets its owner into a directory below this one that cannot be opened.
    #[track_caller]
    pub fn unlock(&self, name: impl AsRef<OsStr>) -> Result<(), Errno> {
        self.0.unlock(Location::caller(), name.as_ref())
    }

    /// Is this directory, or an entry of it, immutable or append-only? False also where that cannot be told.
    #[must_use]
    #[track_caller]
    pub fn is_immutable(&self, entry: Option<&OsStr>) -> bool {
        self.0.is_immutable(Location::caller(), entry)
    }

    /// What lies at a path below this directory; a link at its end is not followed.
    #[track_caller]
    pub fn kind(&self, path: impl AsRef<OsStr>) -> Result<Kind, Errno> {
        self.0.kind(Location::caller(), path.as_ref())
    }

    /// Is there anything of that name?
    #[track_caller]
    pub fn exists(&self, name: impl AsRef<OsStr>) -> Result<bool, Errno> {
        match self.0.kind(Location::caller(), name.as_ref()) {
            Ok(Kind::Directory | Kind::Other) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// The names in this directory, from the first, at most so many.
    #[track_caller]
    pub fn names(&self, most: usize) -> Result<Vec<OsString>, Errno> {
        self.0.names(Location::caller(), most)
    }

    /// All names in this directory, sorted.
    #[track_caller]
    pub fn all_names(&self) -> Result<Vec<String>, Errno> {
        let names = self.0.names(Location::caller(), usize::MAX)?;
        let mut names: Vec<String> =
            names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    passed_on! {
        /// Makes this file's content, or this directory's entries and attributes, durable; of a directory that is new
        /// not its own name.
        sync: Result<(), Errno>;
        /// Makes everything on the file system durable.
        sync_file_system: Result<(), Errno>;
        /// Where it is.
        position: Result<Position, Errno>;
        /// How much room its file system has.
        room: Result<Room, Errno>;
        /// The uuid of its file system in hexadecimal; empty when it has none.
        identity: Result<String, Errno>;
        /// True on btrfs.
        is_btrfs: Result<bool, Errno>;
        /// What the tree below this directory takes, counted; else why it was given up, for people.
        tree_size: Result<Tree, String>;
        /// Where it, something below it, or it itself elsewhere is mounted.
        mounts: io::Result<Vec<String>>;
        /// The number of the subvolume it is in.
        subvolume: Result<u64, Errno>;
        /// What the quota group of its subvolume counts; nothing when it is not accounted.
        quota_used: Result<Option<u64>, Errno>;
        /// Switches quotas on for its whole file system.
        enable_quota: Result<(), Errno>;
        /// The project it has; 0 for none.
        project: Result<u32, Errno>;
    }

    /// Makes an empty subvolume.
    #[track_caller]
    pub fn make_subvolume(&self, name: impl AsRef<OsStr>) -> Result<(), Errno> {
        self.0.make_subvolume(Location::caller(), name.as_ref())
    }

    /// Limits the subvolume it is the root of, or lifts its limit.
    #[track_caller]
    pub fn limit(&self, bytes: Option<u64>) -> Result<(), Errno> {
        self.0.limit(Location::caller(), bytes)
    }

    /// Removes the quota group of a subvolume that was deleted.
    #[track_caller]
    pub fn forget_quota(&self, group: u64) -> Result<(), Errno> {
        self.0.forget_quota(Location::caller(), group)
    }

    /// Gives it a project, for itself and for what is made in it from now on; 0 takes it away.
    #[track_caller]
    pub fn set_project(&self, project: u32) -> Result<(), Errno> {
        self.0.set_project(Location::caller(), project)
    }

    /// What its file system accounts for a project.
    #[track_caller]
    pub fn account(&self, project: u32) -> Result<Account, Errno> {
        self.0.account(Location::caller(), project)
    }

    /// Limits a project of its file system, or lifts the limit.
    #[track_caller]
    pub fn limit_project(&self, project: u32, bytes: Option<u64>) -> Result<(), Errno> {
        self.0.limit_project(Location::caller(), project, bytes)
    }
}
