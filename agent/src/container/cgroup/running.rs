//! A group while its container runs and after: who is in it, entering it, its end, its removal.
//!
//! It works on groups that were made, whatever their limits.

use super::{Group, Kind, at, write};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io;

/// Moves this process into the group.
///
/// # Errors
/// The group is gone, or the process may not enter it.
pub fn join(group: &Group) -> io::Result<()> {
    write(&group.path.join("cgroup.procs"), "0")
}

/// Who is in the group; nobody when it is gone.
///
/// # Errors
/// It is there and cannot be read.
fn members(group: &Group) -> io::Result<Vec<Pid>> {
    let text = match fs::read_to_string(group.path.join("cgroup.procs")) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
            return Ok(Vec::new());
        },
        Err(error) => return Err(at(&group.path, &error)),
    };
    Ok(text.lines().filter_map(|line| crate::host::process::pid(line.parse().ok()?)).collect())
}

/// Kills whoever is in the groups, and says whether somebody was. A process that forks meanwhile needs another
/// call, except under v2.
///
/// # Errors
/// A group cannot be read.
pub fn kill_all(groups: &[Group]) -> io::Result<bool> {
    let mut anybody = false;
    for group in groups {
        let members = members(group)?;
        anybody |= !members.is_empty();
        let whole = group.kind == Kind::Unified
            && !members.is_empty()
            && write(&group.path.join("cgroup.kill"), "1").is_ok();
        if !whole {
            for member in members {
                match kill_process(member, Signal::KILL) {
                    Ok(()) | Err(rustix::io::Errno::SRCH) => {},
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(anybody)
}

/// How often the kernel killed in the group because its memory limit was reached.
#[must_use]
pub fn memory_kills(groups: &[Group]) -> u64 {
    let count = |group: &Group| {
        let name = match group.kind {
            Kind::Cpu => return 0,
            Kind::Memory => "memory.oom_control",
            Kind::Unified => "memory.events",
        };
        let text = fs::read_to_string(group.path.join(name)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .unwrap_or(0)
    };
    groups.iter().map(count).sum()
}

/// Removes an empty group, and `berth` above it when it was the last one.
///
/// # Errors
/// Somebody is still in it.
pub fn remove(group: &Group) -> io::Result<()> {
    match fs::remove_dir(&group.path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&group.path, &error)),
        Ok(()) | Err(_) => {
            if let Some(berth) = group.path.parent() {
                // Refused while other containers have groups there, which is what is wanted.
                fs::remove_dir(berth).map_err(|error| error.kind()).ok();
            }
            Ok(())
        },
    }
}
