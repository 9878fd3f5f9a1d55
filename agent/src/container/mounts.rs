//! The private mount namespace of a container and the volumes in it.
//!
//! It is given directory handles whose identity was verified and mounts exactly those: no path of a volume is
//! resolved here. It knows no tasks. What is mounted here is in no other mount namespace, so nothing that walks
//! the host's directories can reach a volume through a sandbox.

use super::devices::{self, is_device};
use super::record::{Mounted, Spec};
use crate::host::linux::{MountAccess, restrict_mount};
use berth_model::error::{ErrorCode, Rejection};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Moves this process, which must have one thread, into a mount namespace of its own and mounts the volumes.
///
/// # Errors
/// A place is not fit for a mount, or the kernel refuses.
pub(crate) fn set_up(spec: &Spec, volumes: &[OwnedFd]) -> Result<(), Rejection> {
    // A handle of the old namespace cannot be a source in the new one: the detached copies are made first.
    let mut trees = Vec::new();
    for (mount, volume) in spec.mounts.iter().zip(volumes) {
        let tree = if is_device(volume.as_fd()) {
            None
        } else {
            let tree = detach(mount, volume.as_fd()).map_err(|e| {
                failed(mount, &format!("its directory cannot be made a mount: {e}"))
            })?;
            Some(tree)
        };
        trees.push(tree);
    }
    let isolate = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        // What the host unmounts disappears here too; what is mounted here stays here.
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)?;
        Ok(())
    };
    isolate().map_err(|e: io::Error| {
        Rejection::new(
            ErrorCode::LaunchFailed,
            format!("no private mount namespace can be made on agent {}: {e}", spec.host),
        )
        .remedy("run the agent with CAP_SYS_ADMIN")
    })?;
    let nodes = devices::make(spec, volumes)?;
    for ((mount, tree), node) in spec.mounts.iter().zip(trees).zip(nodes) {
        let (tree, place) = match (tree, node) {
            (Some(tree), _none) => (tree, place(spec, mount)?),
            (None, Some(node)) => (node, device_place(spec, mount)?),
            (None, None) => return Err(failed(mount, "its device was not made")),
        };
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(tree, "", &place, "", flags)
            .map_err(|e| failed(mount, &format!("the kernel refuses: {e}")))?;
    }
    Ok(())
}

fn place(spec: &Spec, mount: &Mounted) -> Result<OwnedFd, Rejection> {
    if mount.container_path.starts_with('/') {
        absolute_place(spec, mount)
    } else {
        relative_place(spec, mount, Path::new(&mount.container_path))
    }
}

/// The file that a device takes the place of: one of the host, or an empty one in the sandbox.
fn device_place(spec: &Spec, mount: &Mounted) -> Result<OwnedFd, Rejection> {
    let io_failed = |error: Errno| failed(mount, &error.to_string());
    let path = Path::new(&mount.container_path);
    let name = path.file_name().ok_or_else(|| invalid(mount, "it has no name"))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS;
    let file = if path.is_absolute() {
        rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve)
    } else {
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        let folder = relative_place(spec, mount, parent)?;
        let fresh = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        match rustix::fs::openat(&folder, name, fresh, Mode::empty()) {
            Ok(_made) => {},
            Err(Errno::EXIST) => {},
            Err(error) => return Err(io_failed(error)),
        }
        rustix::fs::openat2(&folder, name, flags, Mode::empty(), resolve | ResolveFlags::BENEATH)
    };
    let file = file.map_err(|error| match error {
        Errno::NOENT => Rejection::new(
            ErrorCode::MountPointMissing,
            format!(
                "the device of volume {} cannot be put at {}: no such file on agent {}",
                mount.volume, mount.container_path, spec.host
            ),
        )
        .remedy("make an empty file there, or use a relative container path")
        .field("task.resources.disk.mount.container_path"),
        Errno::LOOP => invalid(mount, "a part of the path is a symbolic link"),
        error => io_failed(error),
    })?;
    let facts = rustix::fs::fstat(&file).map_err(io_failed)?;
    match FileType::from_raw_mode(facts.st_mode) {
        FileType::RegularFile if facts.st_size == 0 => Ok(file),
        _other => Err(invalid(mount, "a device takes the place of an empty file only")),
    }
}

fn detach(mount: &Mounted, volume: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(volume, "", flags)?;
    let access = if mount.read_only { MountAccess::ReadOnly } else { MountAccess::ReadWrite };
    restrict_mount(tree.as_fd(), access)?;
    Ok(tree)
}

fn failed(mount: &Mounted, why: &str) -> Rejection {
    Rejection::new(
        ErrorCode::LaunchFailed,
        format!("volume {} cannot be mounted at {}: {why}", mount.volume, mount.container_path),
    )
}

fn invalid(mount: &Mounted, why: &str) -> Rejection {
    Rejection::new(
        ErrorCode::InvalidPath,
        format!("volume {} cannot be mounted at {}: {why}", mount.volume, mount.container_path),
    )
    .remedy("give a path without links and mounts, or one relative to the sandbox")
    .field("task.resources.disk.mount.container_path")
}

fn is_mount_point(place: BorrowedFd<'_>) -> io::Result<bool> {
    let facts = rustix::fs::statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(facts.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// The directory of the host an absolute container path names. It is never made here.
fn absolute_place(spec: &Spec, mount: &Mounted) -> Result<OwnedFd, Rejection> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(
        CWD,
        mount.container_path.as_str(),
        flags,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS,
    );
    let place = match opened {
        Ok(place) => place,
        Err(Errno::NOENT) => {
            return Err(Rejection::new(
                ErrorCode::MountPointMissing,
                format!(
                    "volume {} cannot be mounted at {}: no such directory on agent {}",
                    mount.volume, mount.container_path, spec.host
                ),
            )
            .remedy(format!(
                "mkdir -p {} on agent {}, or use a relative container path",
                mount.container_path, spec.host
            ))
            .field("task.resources.disk.mount.container_path"));
        },
        Err(Errno::LOOP) => {
            return Err(invalid(mount, "a part of the path is a symbolic link"));
        },
        Err(Errno::NOTDIR) => {
            return Err(invalid(mount, "a part of the path is not a directory"));
        },
        Err(error) => return Err(failed(mount, &error.to_string())),
    };
    match is_mount_point(place.as_fd()) {
        Ok(false) => Ok(place),
        Ok(true) => Err(invalid(mount, "something is mounted there already")),
        Err(error) => Err(failed(mount, &error.to_string())),
    }
}

/// The directory below the sandbox, made where it is missing. The sandbox belongs to the task's user, so no step
/// may follow a link or leave the file system.
fn relative_place(spec: &Spec, mount: &Mounted, path: &Path) -> Result<OwnedFd, Rejection> {
    let io_failed = |error: Errno| failed(mount, &error.to_string());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut place = rustix::fs::open(&spec.sandbox, flags, Mode::empty()).map_err(io_failed)?;
    for part in path {
        let fresh = match rustix::fs::mkdirat(&place, part, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(io_failed(error)),
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        // Without O_NOFOLLOW, which would call a link "not a directory".
        let inner = flags.difference(OFlags::NOFOLLOW);
        let next = rustix::fs::openat2(&place, part, inner, Mode::empty(), resolve);
        place = next.map_err(|error| match error {
            Errno::LOOP => invalid(mount, "a part of the path is a symbolic link"),
            Errno::XDEV => invalid(mount, "something is mounted there already"),
            Errno::NOTDIR => invalid(mount, "a part of the path is not a directory"),
            error => io_failed(error),
        })?;
        if let (true, Some(account)) = (fresh, &spec.account) {
            let owner = rustix::fs::Uid::from_raw(account.uid);
            let group = rustix::fs::Gid::from_raw(account.gid);
            rustix::fs::chownat(&place, "", Some(owner), Some(group), AtFlags::EMPTY_PATH)
                .map_err(io_failed)?;
        }
    }
    Ok(place)
}
