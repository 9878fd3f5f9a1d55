//! The calls as the kernel does them, one or two system calls each.
//!
//! Invariant: an entry is opened, read and removed by its handle and single name; no link and no mount is crossed.

use super::{Access, Calls, FileSystem, Kind, Raw, Replace, Site, Tree};
use crate::disk::filesystem::{self, Position, Room};
use crate::disk::project::{self, Account};
use crate::disk::{mounts, subvolume};
use crate::host::pace;
use crate::volume::tree_size;
use rustix::fs::{
    AtFlags, Dir, FileType, IFlags, Mode, OFlags, RenameFlags, ResolveFlags, XattrFlags,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Longer attributes are not ours.
const ATTRIBUTE_MAX: usize = 4096;
/// Markers are shorter.
const READ_AT_ONCE: usize = 4096;

/// The host's file systems.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host;

impl FileSystem for Host {
    fn open(&self, _site: Site, path: &Path) -> Result<Box<dyn Calls>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Box::new(Open::from(descriptor)))
    }

    fn locate(&self, _site: Site, path: &Path) -> Result<Position, Errno> {
        filesystem::located(path)
    }

    fn device(&self, _site: Site, path: &Path) -> Result<Box<dyn Calls>, Errno> {
        number_of(&rustix::fs::stat(path)?)?;
        let flags = OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(device) => Ok(Box::new(Open::from(device))),
            // To be looked at; the device says itself that it is read-only.
            Err(Errno::ROFS | Errno::ACCESS) => {
                let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
                let device = rustix::fs::open(path, flags, Mode::empty())?;
                Ok(Box::new(Open::from(device)))
            },
            Err(errno) => Err(errno),
        }
    }

    fn device_number(&self, _site: Site, path: &Path) -> Result<(u32, u32), Errno> {
        number_of(&rustix::fs::stat(path)?)
    }
}

/// The number of the device that a file is.
pub(super) fn number_of(stat: &rustix::fs::Stat) -> Result<(u32, u32), Errno> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => {
            Ok((rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)))
        },
        _other => Err(Errno::NOTBLK),
    }
}

/// An open descriptor.
#[derive(Debug)]
pub struct Open(pub(super) std::fs::File);

impl From<OwnedFd> for Open {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor.into())
    }
}

/// Opens a directory right below `parent`: no link, no mount.
///
/// # Errors
/// It is not there (NOENT), a link (LOOP), a mount (XDEV), no directory (NOTDIR), or cannot be opened.
pub fn directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(parent, name, flags, Mode::empty(), inside())
}

pub(super) fn inside() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn collect(entries: Dir, most: usize) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
            if names.len() == most {
                break;
            }
        }
    }
    Ok(names)
}

/// May nobody change it, or only append to it?
pub(crate) fn immutable(object: BorrowedFd<'_>) -> bool {
    rustix::fs::ioctl_getflags(object)
        .is_ok_and(|flags| flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND))
}

impl Calls for Open {
    fn raw(&self) -> Raw<'_> {
        Raw::Descriptor(self.0.as_fd())
    }

    fn directory(&self, _site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno> {
        Ok(Box::new(Self::from(directory(self.0.as_fd(), name)?)))
    }

    fn make_directory(&self, _site: Site, name: &OsStr, mode: u32) -> Result<(), Errno> {
        rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(mode))
    }

    fn create(&self, _site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Box::new(Self::from(file)))
    }

    fn write(&self, _site: Site, bytes: &[u8]) -> Result<(), Errno> {
        (&self.0).write_all(bytes).map_err(|error| errno(&error))
    }

    fn read(&self, _site: Site, name: &OsStr, most: u64) -> Result<Vec<u8>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(&self.0, name, flags, Mode::empty(), inside())?;
        // What is read here fits at once; a reader that feels its way takes ten times as many calls.
        let mut bytes = Vec::with_capacity(READ_AT_ONCE);
        let read = std::fs::File::from(file).take(most).read_to_end(&mut bytes);
        read.map_err(|error| errno(&error))?;
        Ok(bytes)
    }

    fn unlink(&self, _site: Site, name: &OsStr) -> Result<(), Errno> {
        let gone = rustix::fs::unlinkat(&self.0, name, AtFlags::empty());
        pace::deleted();
        gone
    }

    fn remove_directory(&self, _site: Site, name: &OsStr) -> Result<(), Errno> {
        let gone = rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR);
        pace::deleted();
        gone
    }

    fn rename(
        &self,
        _site: Site,
        name: &OsStr,
        (to, new): (Raw<'_>, &OsStr),
        replace: Replace,
    ) -> Result<(), Errno> {
        let Raw::Descriptor(to) = to else { return Err(Errno::XDEV) };
        match replace {
            Replace::Yes => rustix::fs::renameat(&self.0, name, to, new),
            Replace::No => {
                rustix::fs::renameat_with(&self.0, name, to, new, RenameFlags::NOREPLACE)
            },
        }
    }

    fn sync(&self, _site: Site) -> Result<(), Errno> {
        rustix::fs::fsync(&self.0)
    }

    fn sync_file_system(&self, _site: Site) -> Result<(), Errno> {
        rustix::fs::syncfs(&self.0)
    }

    fn attribute(&self, _site: Site, name: &str) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0_u8; ATTRIBUTE_MAX];
        let length = rustix::fs::fgetxattr(&self.0, name, value.as_mut_slice())?;
        value.truncate(length);
        Ok(value)
    }

    fn set_attribute(&self, _site: Site, name: &str, value: &[u8]) -> Result<(), Errno> {
        rustix::fs::fsetxattr(&self.0, name, value, XattrFlags::empty())
    }

    fn set_mode(&self, _site: Site, mode: u32) -> Result<(), Errno> {
        rustix::fs::fchmod(&self.0, Mode::from_raw_mode(mode))
    }

    fn set_owner(&self, _site: Site, uid: u32, gid: u32) -> Result<(), Errno> {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(&self.0, Some(uid), Some(gid))
    }

    fn unlock(&self, _site: Site, name: &OsStr) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.0, name, flags, Mode::empty())?;
        rustix::fs::chmod(format!("/proc/self/fd/{}", handle.as_raw_fd()), Mode::RWXU)
    }

    fn is_immutable(&self, _site: Site, entry: Option<&OsStr>) -> bool {
        let Some(entry) = entry else { return immutable(self.0.as_fd()) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, entry, flags, Mode::empty())
            .is_ok_and(|file| immutable(file.as_fd()))
    }

    fn kind(&self, _site: Site, path: &OsStr) -> Result<Kind, Errno> {
        let stat = rustix::fs::statat(&self.0, path, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            _other => Kind::Other,
        })
    }

    fn names(&self, _site: Site, most: usize) -> Result<Vec<OsString>, Errno> {
        // A stream of its own: this handle's position may be in use by another thread.
        match Dir::read_from(&self.0) {
            Ok(entries) => collect(entries, most),
            // Readable but not to be entered: without root, a directory of our own may be that.
            Err(Errno::ACCESS) => {
                rustix::fs::seek(&self.0, rustix::fs::SeekFrom::Start(0))?;
                let copy = self.0.try_clone().map_err(|error| errno(&error))?;
                collect(Dir::new(OwnedFd::from(copy))?, most)
            },
            Err(errno) => Err(errno),
        }
    }

    fn position(&self, _site: Site) -> Result<Position, Errno> {
        filesystem::position(self.0.as_fd())
    }

    fn room(&self, _site: Site) -> Result<Room, Errno> {
        filesystem::room(self.0.as_fd())
    }

    fn identity(&self, _site: Site) -> Result<String, Errno> {
        filesystem::identity(self.0.as_fd())
    }

    fn is_btrfs(&self, _site: Site) -> Result<bool, Errno> {
        filesystem::is_btrfs(self.0.as_fd())
    }

    fn tree_size(&self, _site: Site) -> Result<Tree, String> {
        tree_size(self.0.as_fd())
    }

    fn mounts(&self, _site: Site) -> io::Result<Vec<String>> {
        mounts::touching(self.0.as_fd())
    }

    fn make_subvolume(&self, _site: Site, name: &OsStr) -> Result<(), Errno> {
        subvolume::create(self.0.as_fd(), &name.to_string_lossy())
    }

    fn subvolume(&self, _site: Site) -> Result<u64, Errno> {
        subvolume::id(self.0.as_fd())
    }

    fn limit(&self, _site: Site, bytes: Option<u64>) -> Result<(), Errno> {
        subvolume::limit(self.0.as_fd(), bytes)
    }

    fn quota_used(&self, _site: Site) -> Result<Option<u64>, Errno> {
        subvolume::used(self.0.as_fd())
    }

    fn enable_quota(&self, _site: Site) -> Result<(), Errno> {
        subvolume::enable_quota(self.0.as_fd())
    }

    fn forget_quota(&self, _site: Site, group: u64) -> Result<(), Errno> {
        subvolume::forget(self.0.as_fd(), group)
    }

    fn project(&self, _site: Site) -> Result<u32, Errno> {
        project::of(self.0.as_fd())
    }

    fn set_project(&self, _site: Site, project: u32) -> Result<(), Errno> {
        project::set(self.0.as_fd(), project)
    }

    fn account(&self, _site: Site, project: u32) -> Result<Account, Errno> {
        project::account(self.0.as_fd(), project)
    }

    fn limit_project(&self, _site: Site, project: u32, bytes: Option<u64>) -> Result<(), Errno> {
        project::limit(self.0.as_fd(), project, bytes)
    }

    fn snapshot(
        &self,
        _site: Site,
        name: &OsStr,
        of: Raw<'_>,
        access: Access,
    ) -> Result<(), Errno> {
        let Raw::Descriptor(of) = of else { return Err(Errno::XDEV) };
        subvolume::snapshot(of, self.0.as_fd(), &name.to_string_lossy(), access)
    }

    fn nested(&self, _site: Site) -> Result<Option<String>, Errno> {
        subvolume::nested(self.0.as_fd())
    }

    fn is_read_only(&self, _site: Site) -> Result<bool, Errno> {
        subvolume::is_read_only(self.0.as_fd())
    }

    fn make_writable(&self, _site: Site) -> Result<(), Errno> {
        subvolume::make_writable(self.0.as_fd())
    }
}
