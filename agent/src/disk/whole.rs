//! MOUNT disks: a whole file system that is one volume. What must be so before such a disk is opened or used.
//!
//! While the file system is not mounted, nothing is read from or written to the bare directory. Data that was there
//! before is never taken over: the disk, or the CREATE, is refused with the name of what was found.

use super::fs::Node;
use super::image::point::is_mount_point;
use berth_model::error::{ErrorCode, Rejection};
use rustix::io::Errno;
use std::path::Path;

/// What belongs to a disk or to its file system.
pub(super) const OWN: [&str; 5] = ["volumes", ".trash", ".meta", ".snapshots", "lost+found"];

/// The root must be the root of a mount.
///
/// # Errors
/// It is a bare directory, or cannot be looked at.
pub fn refuse_bare(root: &Node, path: &Path) -> Result<(), Rejection> {
    let shown = path.display();
    match root.descriptor().and_then(is_mount_point) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Rejection::new(
            ErrorCode::DiskFaulty,
            format!("{shown} is not a mount point: the disk's file system is not mounted"),
        )
        .remedy("mount it there; nothing is written to the bare directory")),
        Err(errno) => Err(silent(path, errno)),
    }
}

/// Nothing of anybody else lies on the file system.
///
/// # Errors
/// What was found, or why the file system cannot be listed.
pub fn refuse_foreign(root: &Node, path: &Path) -> Result<(), Rejection> {
    let names = root.all_names().map_err(|errno| silent(path, errno))?;
    let Some(found) = names.iter().find(|name| !OWN.contains(&name.as_str())) else {
        return Ok(());
    };
    let text = format!(
        "{} is a MOUNT disk, which one volume has for itself, and holds {found}: it is not taken over",
        path.display()
    );
    Err(Rejection::new(ErrorCode::DirectoryExists, text)
        .remedy("move what is there away, or declare a directory on it with type=path"))
}

fn silent(path: &Path, errno: Errno) -> Rejection {
    let text = format!("the disk at {} does not answer ({errno})", path.display());
    Rejection::new(ErrorCode::DiskFaulty, text)
}
