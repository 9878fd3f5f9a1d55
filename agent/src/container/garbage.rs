//! Deleting the sandboxes of finished runs when their time has come or the disk is nearly full.
//!
//! It walks only the folder of runs, and only runs that were released and whose supervisor is gone: what is not
//! known to be over is kept. The deleter it uses enters no mount and refuses whatever carries a volume's identity.

use super::Config;
use super::record::RunFolder;
use crate::disk::remove::{Limits, remove_tree};
use berth_model::id::ContainerId;
use rustix::fs::{Mode, OFlags, RenameFlags, renameat_with};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime};
use tracing::warn;

/// Marks a run that may be deleted; its time of change says since when.
const RELEASED: &str = "released";
/// Begins the name of a run folder that is being deleted.
const GOING: &str = ".going-";

/// Notes that the run is over and told.
pub(crate) fn release(run: &RunFolder) -> io::Result<()> {
    let path = run.path().join(RELEASED);
    match fs::OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Releases the runs that no task in the ledger explains: the agent died after it forgot the task and before it
/// noted the release. Says which of them are supervised; those are left alone.
pub(crate) fn release_unknown(
    config: &Config,
    known: &BTreeSet<ContainerId>,
) -> io::Result<Vec<ContainerId>> {
    let mut alive = Vec::new();
    let entries = match fs::read_dir(&config.runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(alive),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(container) = name.parse::<ContainerId>() else { continue };
        if known.contains(&container) {
            continue;
        }
        let Some(run) = RunFolder::open(&entry.path())? else { continue };
        match run.lock()? {
            Some(_nobody) => release(&run)?,
            None => alive.push(container),
        }
    }
    Ok(alive)
}

/// Deletes what may go at `now` and says what was deleted. A run that cannot be deleted is logged and kept.
pub(crate) fn collect(config: &Config, now: SystemTime) -> io::Result<Vec<ContainerId>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let runs = match rustix::fs::open(&config.runs, flags, Mode::empty()) {
        Ok(runs) => runs,
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut over: Vec<(SystemTime, ContainerId)> = Vec::new();
    for entry in fs::read_dir(&config.runs)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(GOING) {
            delete(&runs, &name);
        } else if let Ok(container) = name.parse::<ContainerId>()
            && let Some(since) = released_since(&entry.path())?
        {
            over.push((since, container));
        }
    }
    over.sort_unstable();
    let mut deleted = Vec::new();
    for (since, container) in over {
        let age = now.duration_since(since).unwrap_or(Duration::ZERO);
        let due = age >= config.retention || is_tight(&runs, config.free_percent_min)?;
        if due && delete_run(config, &runs, container)? {
            deleted.push(container);
        }
    }
    Ok(deleted)
}

/// When the run was released; nothing when it was not, or when somebody still supervises it.
fn released_since(path: &std::path::Path) -> io::Result<Option<SystemTime>> {
    let Some(run) = RunFolder::open(path)? else { return Ok(None) };
    let since = match fs::symlink_metadata(path.join(RELEASED)) {
        Ok(facts) => facts.modified()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(run.lock()?.map(|_lock| since))
}

fn is_tight(runs: &OwnedFd, free_percent_min: u8) -> io::Result<bool> {
    let facts = rustix::fs::fstatvfs(runs)?;
    let wanted = u128::from(facts.f_blocks) * u128::from(free_percent_min);
    Ok(u128::from(facts.f_bavail) * 100 < wanted)
}

fn delete_run(config: &Config, runs: &OwnedFd, container: ContainerId) -> io::Result<bool> {
    let name = container.to_string();
    let Some(run) = RunFolder::open(&config.runs.join(&name))? else { return Ok(false) };
    // First the part that may be refused; a refused run keeps its place and its records.
    if !delete(run.handle(), "sandbox") {
        return Ok(false);
    }
    let going = format!("{GOING}{name}");
    renameat_with(runs, &name, runs, &going, RenameFlags::NOREPLACE)?;
    Ok(delete(runs, &going))
}

fn delete(parent: &OwnedFd, name: &str) -> bool {
    let Ok(c_name) = CString::new(name) else { return false };
    match remove_tree(parent.as_fd(), &c_name, &Limits::unlimited()) {
        Ok(removed) => removed.finished,
        Err(error) => {
            warn!(%error, folder = name, "a sandbox is kept because it cannot be deleted");
            false
        },
    }
}
