//! A disk with nothing on it becomes a plain directory again.
//!
//! Invariant: nothing is deleted but Berth's own marks and directories that are empty; the identity goes first, so what a
//! crash leaves is nobody's.

use super::adopt::{DISK, Handle, PLACE, Refused, SIZE, faulty};
use super::code_of;
use berth_model::error::{ErrorCode, Rejection};
use rustix::io::Errno;
use std::path::Path;

/// The directories of a disk that hold volumes, in whatever form.
const PARTS: [&str; 4] = ["volumes", ".trash", ".snapshots", ".mounts"];

/// Refuses to unmake a disk with anything on it.
///
/// # Errors
/// What lies there.
pub fn refuse_full(handle: &Handle, root: &Path) -> Result<(), Rejection> {
    let shown = root.display();
    let unreadable = |errno| faulty(format!("the disk at {shown} cannot be listed ({errno})"));
    let holds = |name: &str, own: &[&str]| -> Result<(), Rejection> {
        let directory = match handle.root.directory(name) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(unreadable(errno)),
        };
        let names = directory.all_names().map_err(unreadable)?;
        match names.iter().find(|entry| !own.contains(&entry.as_str())) {
            None => Ok(()),
            Some(entry) => {
                let text = format!("{shown}/{name} holds {entry}");
                Err(Rejection::new(ErrorCode::ResourcesInUse, text).remedy(
                    "delete and purge what is on the disk first, or wait until it is deleted",
                ))
            },
        }
    };
    for name in PARTS {
        holds(name, &[])?;
    }
    holds(".meta", &[DISK, PLACE, SIZE])
}

/// Makes a disk with nothing on it a plain directory again. Asked again it completes what was begun.
///
/// # Errors
/// Something is on it: it is the disk it was. It cannot be written (`is_broken`): it is not known whether it has its identity
/// still, so nothing may be made on it.
pub fn unmake(handle: &Handle, root: &Path) -> Result<(), Refused> {
    refuse_full(handle, root)?;
    let shown = root.display();
    let failed = |errno: Errno| {
        let text = format!("unmaking the disk at {shown} failed ({errno}): it is withheld");
        let again = "remove it again; or restart the agent, which looks whether it is a disk still";
        Refused { reason: Rejection::new(code_of(errno), text).remedy(again), is_broken: true }
    };
    // The identity first: without it the rest is nobody's, and only empty directories are taken away.
    match handle.meta.unlink(DISK) {
        Ok(()) | Err(Errno::NOENT) => handle.meta.sync().map_err(failed)?,
        Err(errno) => return Err(failed(errno)),
    }
    for name in [PLACE, SIZE] {
        handle.meta.unlink(name).ok();
    }
    for name in PARTS.into_iter().chain([".meta"]) {
        handle.root.remove_directory(name).ok();
    }
    handle.root.sync().ok();
    Ok(())
}
