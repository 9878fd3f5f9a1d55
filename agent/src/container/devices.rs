//! Raw devices of a container: nodes in a file system of its own, which the task's user owns and nobody else sees.
//!
//! The nodes of the host are left as they are. It knows no volumes: it is given open devices.

use super::record::Spec;
use berth_model::error::{ErrorCode, Rejection};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::mount::{MountFlags, OpenTreeFlags, mount, open_tree};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Below the run folder; outside of the container it stays empty.
pub(crate) const FOLDER: &str = "devices";

/// Is the handle of a volume that of a device, not of a directory?
pub(crate) fn is_device(handle: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(handle)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice)
}

/// Makes a node for each device, in the place of its handle; nothing in the place of directories. To be called in the
/// container's own mount namespace.
///
/// # Errors
/// The kernel refuses.
pub(super) fn make(spec: &Spec, volumes: &[OwnedFd]) -> Result<Vec<Option<OwnedFd>>, Rejection> {
    let failed = |error: io::Error| {
        let text = format!("the task's devices cannot be made on agent {}: {error}", spec.host);
        Rejection::new(ErrorCode::LaunchFailed, text).remedy("run the agent with CAP_MKNOD")
    };
    if !volumes.iter().any(|volume| is_device(volume.as_fd())) {
        return Ok(volumes.iter().map(|_directory| None).collect());
    }
    let folder = mount_folder(spec).map_err(failed)?;
    let nodes = volumes.iter().enumerate().map(|(number, volume)| {
        if is_device(volume.as_fd()) {
            node(spec, &folder, (number, volume)).map(Some)
        } else {
            Ok(None)
        }
    });
    nodes.collect::<Result<_, _>>().map_err(failed)
}

fn mount_folder(spec: &Spec) -> io::Result<OwnedFd> {
    let run = spec.sandbox.parent().ok_or_else(|| io::Error::other("a sandbox without parent"))?;
    let path = run.join(FOLDER);
    // Nodes work on it: it is mounted without MS_NODEV.
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("berth-devices", &path, "tmpfs", flags, c"size=64k,mode=0711")?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(&path, flags, Mode::empty())?)
}

fn node(spec: &Spec, folder: &OwnedFd, (number, device): (usize, &OwnedFd)) -> io::Result<OwnedFd> {
    let name = number.to_string();
    let which = rustix::fs::fstat(device)?.st_rdev;
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(folder, &name, FileType::BlockDevice, mode, which)?;
    if let Some(account) = &spec.account {
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(folder, &name, Some(uid), Some(gid), flags)?;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    Ok(open_tree(folder, &name, flags)?)
}
