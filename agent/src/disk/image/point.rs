//! Mounting a device, first where nobody sees it, then below the disk's root, in `.mounts/<uuid>`.
//!
//! `.mounts` is a mount of its own whose mounts are shared with the private namespaces of containers: what is unmounted
//! here is gone there as well, so that a container of another service does not hold the image. Mounts are nosuid and
//! nodev. A mount point that nothing is mounted on has no permissions. This module does not know which image belongs
//! where.

use super::Format;
use super::device::{Device, MAJOR};
use super::grow::btrfs_device;
use super::lock::{self, INNER, Key};
use crate::disk::filesystem;
use crate::disk::fs::Node;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// Below the disk's root.
pub const PLACE: &str = ".mounts";

static SHARING: Mutex<()> = Mutex::new(());

/// A mounted file system that is in no namespace yet; gone when this is dropped, unless it was put somewhere.
#[derive(Debug)]
pub struct Mounted {
    mount: OwnedFd,
    root: Node,
    /// What is shown is the encrypted directory in it.
    is_locked: bool,
}

impl Mounted {
    /// Its root, which can be read and marked.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.root
    }
}

/// Mounts the device where nobody sees it.
///
/// # Errors
/// What the kernel says.
pub fn mount(device: &Device, format: Format) -> Result<Mounted, String> {
    let failed = |errno: Errno| format!("mounting {} as {format} failed ({errno})", device.path());
    let context =
        rustix::mount::fsopen(format.as_str(), FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| {
            match errno {
                Errno::NODEV => format!("this kernel has no {format}"),
                other => failed(other),
            }
        })?;
    let context = context.as_fd();
    let configured = rustix::mount::fsconfig_set_string(context, "source", device.path())
        .and_then(|()| match format {
            // A copy of an image carries the same uuid, which says nothing here.
            Format::Xfs => rustix::mount::fsconfig_set_flag(context, "nouuid"),
            Format::Ext4 | Format::Btrfs => Ok(()),
        })
        .and_then(|()| rustix::mount::fsconfig_create(context));
    configured.map_err(|errno| match complaint(context) {
        Some(words) => format!("{}: {words}", failed(errno)),
        None => failed(errno),
    })?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(&mount, ".", flags, Mode::empty()).map_err(failed)?;
    Ok(Mounted { mount, root: Node::from(root), is_locked: false })
}

/// Makes an encrypted directory in an empty file system; from now on that is its root.
///
/// # Errors
/// The kernel or the file system does not encrypt (OPNOTSUPP).
pub fn encrypt(mounted: Mounted, key: &Key) -> Result<Mounted, Errno> {
    let identifier = lock::add_key(mounted.root.descriptor()?, key)?;
    rustix::fs::mkdirat(&mounted.mount, INNER, Mode::RWXU)?;
    let inner = open(mounted.mount.as_fd(), INNER)?;
    lock::encrypt(inner.as_fd(), identifier)?;
    Ok(Mounted { root: Node::from(inner), is_locked: true, ..mounted })
}

/// The encrypted directory that [`encrypt`] made is the root.
///
/// # Errors
/// There is none (NOENT), or it is encrypted by another key (KEYREJECTED).
pub fn unlock(mounted: Mounted, key: &Key) -> Result<Mounted, Errno> {
    let identifier = lock::add_key(mounted.root.descriptor()?, key)?;
    let inner = open(mounted.mount.as_fd(), INNER)?;
    match lock::encrypted_by(inner.as_fd())? {
        Some(found) if found == identifier => {},
        Some(_other) => return Err(Errno::KEYREJECTED),
        None => return Err(Errno::NOENT),
    }
    Ok(Mounted { root: Node::from(inner), is_locked: true, ..mounted })
}

/// What the file system wrote about a failed mount.
fn complaint(context: BorrowedFd<'_>) -> Option<String> {
    let mut line = [0_u8; 512];
    let length = rustix::io::read(context, &mut line).ok()?;
    let text = String::from_utf8_lossy(line.get(..length)?).into_owned();
    Some(text.trim_start_matches(['e', 'w', 'i']).trim().to_owned()).filter(|text| !text.is_empty())
}

/// The file system mounted under this name on the disk, if any.
///
/// # Errors
/// The place cannot be looked at.
pub fn mounted(disk: BorrowedFd<'_>, name: &str) -> Result<Option<OwnedFd>, Errno> {
    let hub = match open(disk, PLACE) {
        Ok(hub) => hub,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    match open(hub.as_fd(), name) {
        Ok(place) if is_mount_point(place.as_fd())? => Ok(Some(place)),
        Ok(_bare) => Ok(None),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Puts the mounted file system below the disk's root, and returns its root as it is seen there.
///
/// # Errors
/// The place cannot be made, or the kernel refuses.
pub fn put(mounted: Mounted, disk: BorrowedFd<'_>, name: &str) -> Result<Node, Errno> {
    let hub = share(disk)?;
    match rustix::fs::mkdirat(&hub, name, Mode::empty()) {
        Ok(()) | Err(Errno::EXIST) => {},
        Err(errno) => return Err(errno),
    }
    let place = open(hub.as_fd(), name)?;
    if is_mount_point(place.as_fd())? {
        return Err(Errno::BUSY);
    }
    if !mounted.is_locked {
        move_to(mounted.mount.as_fd(), place.as_fd())?;
        return Ok(mounted.root);
    }
    // Only what is mounted somewhere can be shown in part: the whole file system is, under another name, for a moment.
    let whole = whole_of(name);
    detach(hub.as_fd(), &whole)?;
    match rustix::fs::mkdirat(&hub, &whole, Mode::empty()) {
        Ok(()) | Err(Errno::EXIST) => {},
        Err(errno) => return Err(errno),
    }
    let shown = move_to(mounted.mount.as_fd(), open(hub.as_fd(), &whole)?.as_fd())
        .and_then(|()| open_tree(open(open(hub.as_fd(), &whole)?.as_fd(), INNER)?.as_fd()))
        .and_then(|tree| move_to(tree.as_fd(), place.as_fd()));
    let gone = detach(hub.as_fd(), &whole);
    shown.and(gone)?;
    open(hub.as_fd(), name).map(Node::from)
}

/// Under which name the file system around an encrypted directory is mounted, for a moment.
fn whole_of(name: &str) -> String {
    format!(".{name}")
}

/// Unmounts what is mounted under this name of the directory of mount points, whoever uses it, and removes its place.
fn detach(hub: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    loop {
        match open(hub, name) {
            Ok(place) if is_mount_point(place.as_fd())? => {
                let path = format!("/proc/thread-self/fd/{}/{name}", hub.as_raw_fd());
                let flags = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
                match rustix::mount::unmount(path, flags) {
                    Ok(()) | Err(Errno::INVAL) => {},
                    Err(errno) => return Err(errno),
                }
            },
            Ok(_bare) => break,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    match rustix::fs::unlinkat(hub, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Unmounts what is mounted under this name and removes the mount point.
///
/// # Errors
/// It is in use (BUSY), or the kernel refuses.
pub fn take(disk: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let hub = match open(disk, PLACE) {
        Ok(hub) => hub,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    while mounted(disk, name)?.is_some() {
        let path = format!("/proc/thread-self/fd/{}/{name}", hub.as_raw_fd());
        match rustix::mount::unmount(path, UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::INVAL) => {},
            Err(errno) => return Err(errno),
        }
    }
    match rustix::fs::unlinkat(&hub, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => {},
        Err(errno) => return Err(errno),
    }
    // A process may have been stopped while it showed the encrypted part.
    detach(hub.as_fd(), &whole_of(name))
}

/// The loop device under a mounted file system, by number.
///
/// # Errors
/// The file system does not answer.
pub fn device_under(root: BorrowedFd<'_>, format: Format) -> Result<Option<u32>, Errno> {
    match format {
        Format::Xfs | Format::Ext4 => {
            let (major, minor) = filesystem::position(root)?.device;
            Ok((major == MAJOR).then_some(minor))
        },
        Format::Btrfs => match btrfs_device(root) {
            Ok((path, _size)) => {
                Ok(path.strip_prefix("/dev/loop").and_then(|number| number.parse().ok()))
            },
            // Not btrfs.
            Err(Errno::NOTTY | Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno),
        },
    }
}

/// The directory of mount points, as a mount of its own.
fn share(disk: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let _alone = SHARING.lock().unwrap_or_else(PoisonError::into_inner);
    match rustix::fs::mkdirat(disk, PLACE, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {},
        Err(errno) => return Err(errno),
    }
    let place = open(disk, PLACE)?;
    if !is_mount_point(place.as_fd())? {
        move_to(open_tree(place.as_fd())?.as_fd(), place.as_fd())?;
    }
    // Also when it was a mount: whoever made it may have been stopped before this.
    let hub = open(disk, PLACE)?;
    let path = format!("/proc/thread-self/fd/{}", hub.as_raw_fd());
    rustix::mount::mount_change(path, MountPropagationFlags::SHARED)?;
    Ok(hub)
}

/// The directory as a mount of its own, which is nowhere yet.
fn open_tree(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(directory, "", flags)
}

fn move_to(tree: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", place, "", flags)
}

/// Opens a directory right below `parent`, into what is mounted there.
fn open(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(parent, name, flags, Mode::empty(), inside)
}

/// Is the directory the root of a mount?
///
/// # Errors
/// The file system does not answer.
pub fn is_mount_point(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    let stat = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
