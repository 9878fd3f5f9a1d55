//! The part of the narrow trait that is about files with a file system in them: allocating a file, attaching it as a
//! device, making, mounting, growing and unmounting what is in it.
//!
//! It does not know volumes or their markers. Invariant: as for all of [`super`], whatever changes something on a disk,
//! on a device or in the table of mounts is a call of its own, with the place in the source it comes from.

use super::{Calls, Node, Raw, Site};
use crate::disk::image::Format;
use crate::disk::image::lock::Key;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fmt;
use std::panic::Location;

/// What a file system has in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Its own data counted.
    pub bytes: u64,
    /// So many of so many; absent where the file system counts none.
    pub inodes: Option<(u64, u64)>,
}

/// The calls on a file that is an image, on the root of what is mounted from one, and on the root of its disk. [`Node`]
/// says what each does.
#[expect(missing_docs, reason = "documented once, at the methods of Node that call them")]
#[expect(clippy::missing_errors_doc, reason = "documented once, at the methods of Node")]
pub trait Images {
    fn file(&self, site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno>;
    fn write_in_place(&self, site: Site) -> Result<(), Errno>;
    fn allocate(&self, site: Site, bytes: u64) -> Result<(), Errno>;
    fn set_length(&self, site: Site, bytes: u64) -> Result<(), Errno>;
    fn length(&self, site: Site) -> Result<u64, Errno>;
    fn allocated(&self, site: Site, name: &OsStr) -> Result<u64, Errno>;
    fn attach(&self, site: Site) -> Result<Box<dyn Block>, Errno>;
    fn attached(&self, site: Site) -> Result<Option<Box<dyn Block>>, Errno>;
    fn device(
        &self,
        site: Site,
        file: Raw<'_>,
        format: Format,
    ) -> Result<Option<Box<dyn Block>>, Errno>;
    fn in_use(&self, site: Site) -> Result<Filled, Errno>;
    fn give_size(&self, site: Site, format: Format, bytes: u64) -> Result<(), Errno>;
    fn shown(&self, site: Site, name: &str) -> Result<Option<Box<dyn Calls>>, Errno>;
    fn unmount(&self, site: Site, name: &str) -> Result<(), Errno>;
    fn share(&self, site: Site, of: Raw<'_>) -> Result<(), Errno>;
    fn shared(&self, site: Site) -> Result<u64, Errno>;
    fn write_out(&self, site: Site) -> Result<(), Errno>;
    fn freeze(&self, site: Site) -> Result<(), Errno>;
    fn thaw(&self, site: Site) -> Result<(), Errno>;
}

/// A file that is attached as a block device. [`Device`] says what each call does.
#[expect(missing_docs, reason = "documented once, at the methods of Device that call them")]
#[expect(clippy::missing_errors_doc, reason = "documented once, at the methods of Device")]
pub trait Block: fmt::Debug + Send + Sync {
    fn number(&self) -> u32;
    fn read_size(&self, site: Site) -> Result<(), Errno>;
    fn format(&self, site: Site, format: Format, encrypts: bool) -> Result<(), String>;
    fn renew(&self, site: Site, format: Format) -> Result<(), String>;
    fn mount(&self, site: Site, format: Format) -> Result<Box<dyn Unseen>, String>;
    fn holds(&self, site: Site, root: Raw<'_>, format: Format) -> Result<u64, Errno>;
}

/// A mounted file system that is in no namespace yet. [`Mounted`] says what each call does.
#[expect(missing_docs, reason = "documented once, at the methods of Mounted that call them")]
#[expect(clippy::missing_errors_doc, reason = "documented once, at the methods of Mounted")]
pub trait Unseen: fmt::Debug + Send + Sync {
    fn root(&self) -> &Node;
    fn encrypt(self: Box<Self>, site: Site, key: &Key) -> Result<Box<dyn Unseen>, Errno>;
    fn open_with(self: Box<Self>, site: Site, key: &Key) -> Result<Box<dyn Unseen>, Errno>;
    fn put(self: Box<Self>, site: Site, disk: Raw<'_>, name: &str) -> Result<Node, Errno>;
}

/// An attached block device, held open: while it is held, it stays attached.
#[derive(Debug)]
pub struct Device(Box<dyn Block>);

#[expect(clippy::missing_errors_doc, reason = "each fails as the system call it stands for")]
impl Device {
    /// Its number.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.0.number()
    }

    /// Takes over the length of the file after it was changed.
    #[track_caller]
    pub fn read_size(&self) -> Result<(), Errno> {
        self.0.read_size(Location::caller())
    }

    /// Makes an empty file system on it; with `encrypts`, one of ext4 whose root can be encrypted.
    #[track_caller]
    pub fn format(&self, format: Format, encrypts: bool) -> Result<(), String> {
        self.0.format(Location::caller(), format, encrypts)
    }

    /// Gives the file system on it, which is mounted nowhere, a uuid that no other has.
    #[track_caller]
    pub fn renew(&self, format: Format) -> Result<(), String> {
        self.0.renew(Location::caller(), format)
    }

    /// Mounts it where nobody sees it.
    #[track_caller]
    pub fn mount(&self, format: Format) -> Result<Mounted, String> {
        self.0.mount(Location::caller(), format).map(Mounted)
    }

    /// What the file system mounted at `root` takes of it, in bytes.
    #[track_caller]
    pub fn holds(&self, root: &Node, format: Format) -> Result<u64, Errno> {
        self.0.holds(Location::caller(), root.raw(), format)
    }
}

/// A mounted file system that is in no namespace yet; gone when this is dropped, unless it was put somewhere.
#[derive(Debug)]
pub struct Mounted(Box<dyn Unseen>);

#[expect(clippy::missing_errors_doc, reason = "each fails as the system call it stands for")]
impl Mounted {
    /// Its root, which can be read and marked.
    #[must_use]
    pub fn root(&self) -> &Node {
        self.0.root()
    }

    /// An empty file system gets another root, empty as well, that is encrypted by this key: OPNOTSUPP where that is not
    /// possible. The kernel has the key until it is unmounted.
    #[track_caller]
    pub fn encrypt(self, key: &Key) -> Result<Self, Errno> {
        self.0.encrypt(Location::caller(), key).map(Self)
    }

    /// Its root is the one that was encrypted by this key: KEYREJECTED when that was another, NOENT when there is none.
    #[track_caller]
    pub fn open_with(self, key: &Key) -> Result<Self, Errno> {
        self.0.open_with(Location::caller(), key).map(Self)
    }

    /// Puts it below the disk's root, and returns its root as it is seen there.
    #[track_caller]
    pub fn put(self, disk: &Node, name: &str) -> Result<Node, Errno> {
        self.0.put(Location::caller(), disk.raw(), name)
    }
}

#[expect(clippy::missing_errors_doc, reason = "each fails as the system call it stands for")]
impl Node {
    /// Opens a file right below this directory for reading and writing: a link is LOOP, a directory ISDIR.
    #[track_caller]
    pub fn file(&self, name: impl AsRef<OsStr>) -> Result<Self, Errno> {
        self.0.file(Location::caller(), name.as_ref()).map(Self)
    }

    /// What is written into this empty file is written where it was allocated, also on a file system that copies.
    #[track_caller]
    pub fn write_in_place(&self) -> Result<(), Errno> {
        self.0.write_in_place(Location::caller())
    }

    /// Allocates this file from its beginning on; it is at least so long then.
    #[track_caller]
    pub fn allocate(&self, bytes: u64) -> Result<(), Errno> {
        self.0.allocate(Location::caller(), bytes)
    }

    /// Cuts or lengthens this file; what is added is not allocated.
    #[track_caller]
    pub fn set_length(&self, bytes: u64) -> Result<(), Errno> {
        self.0.set_length(Location::caller(), bytes)
    }

    /// The length of this file.
    #[track_caller]
    pub fn length(&self) -> Result<u64, Errno> {
        self.0.length(Location::caller())
    }

    /// What a file right below this directory takes from the disk, in bytes.
    #[track_caller]
    pub fn allocated(&self, name: impl AsRef<OsStr>) -> Result<u64, Errno> {
        self.0.allocated(Location::caller(), name.as_ref())
    }

    /// This file as a device: the one it is already, or a new one that goes with its last user.
    #[track_caller]
    pub fn attach(&self) -> Result<Device, Errno> {
        self.0.attach(Location::caller()).map(Device)
    }

    /// The device that is attached to this file, if there is one.
    #[track_caller]
    pub fn attached(&self) -> Result<Option<Device>, Errno> {
        Ok(self.0.attached(Location::caller())?.map(Device))
    }

    /// The device of the file, provided that it is what is mounted at this root.
    #[track_caller]
    pub fn device(&self, file: &Self, format: Format) -> Result<Option<Device>, Errno> {
        Ok(self.0.device(Location::caller(), file.raw(), format)?.map(Device))
    }

    /// What the file system of this root has in use, its own data counted.
    #[track_caller]
    pub fn in_use(&self) -> Result<Filled, Errno> {
        self.0.in_use(Location::caller())
    }

    /// Gives the file system of this root this size, which its device has. Only btrfs gets smaller; what it holds does
    /// not fit then is NOSPC.
    #[track_caller]
    pub fn give_size(&self, format: Format, bytes: u64) -> Result<(), Errno> {
        self.0.give_size(Location::caller(), format, bytes)
    }

    /// The root of the file system that is mounted under this name below the disk of this root, if any.
    #[track_caller]
    pub fn shown(&self, name: &str) -> Result<Option<Self>, Errno> {
        Ok(self.0.shown(Location::caller(), name)?.map(Self))
    }

    /// Unmounts what is mounted under this name below the disk of this root.
    #[track_caller]
    pub fn unmount(&self, name: &str) -> Result<(), Errno> {
        self.0.unmount(Location::caller(), name)
    }

    /// This empty file gets the content of another one, and shares its blocks until one of them is written: OPNOTSUPP or
    /// INVAL where the file system cannot.
    #[track_caller]
    pub fn share(&self, of: &Self) -> Result<(), Errno> {
        self.0.share(Location::caller(), of.raw())
    }

    /// How many bytes of this file another one has as well. So much more is taken when all of it is written.
    #[track_caller]
    pub fn shared(&self) -> Result<u64, Errno> {
        self.0.shared(Location::caller())
    }

    /// What there is to write in the file system of this root is written, so that freezing it finds little. It promises
    /// nothing: what is written meanwhile is left out.
    #[track_caller]
    pub fn write_out(&self) -> Result<(), Errno> {
        self.0.write_out(Location::caller())
    }

    /// Everything in the file system of this root is on its device, and whoever writes waits, until it is thawed: also
    /// when this process is no more. BUSY when it is frozen already.
    #[track_caller]
    pub fn freeze(&self) -> Result<(), Errno> {
        self.0.freeze(Location::caller())
    }

    /// Lets those who wait go on. INVAL when it is not frozen.
    #[track_caller]
    pub fn thaw(&self) -> Result<(), Errno> {
        self.0.thaw(Location::caller())
    }
}
