//! The kernel's freezer (v2): nobody in a frozen group runs, and what the kernel was doing for them is over.
//!
//! A group that is gone has nobody in it who could run.

use super::{Group, Kind, at, write};
use rustix::io::Errno;
use std::fs;
use std::io;

/// The group that can be frozen.
#[must_use]
pub fn freezable(groups: &[Group]) -> Option<&Group> {
    groups.iter().find(|group| group.kind == Kind::Unified)
}

/// Begins to freeze it; [`is_frozen`] says when everybody stands still.
///
/// # Errors
/// The kernel has no freezer there, or does not let it be used.
pub fn freeze(group: &Group) -> io::Result<()> {
    unless_gone(group, write(&group.path.join("cgroup.freeze"), "1"))
}

/// Lets it go on.
///
/// # Errors
/// The kernel does not let it.
pub fn thaw(group: &Group) -> io::Result<()> {
    unless_gone(group, write(&group.path.join("cgroup.freeze"), "0"))
}

/// Does nobody in it run?
///
/// # Errors
/// It is there and cannot be read.
pub fn is_frozen(group: &Group) -> io::Result<bool> {
    let path = group.path.join("cgroup.events");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().any(|line| line == "frozen 1")),
        Err(_) if is_gone(group) => Ok(true),
        Err(error) => Err(at(&path, &error)),
    }
}

fn unless_gone(group: &Group, written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(_) if is_gone(group) => Ok(()),
        written => written,
    }
}

fn is_gone(group: &Group) -> bool {
    let Err(error) = fs::read_to_string(group.path.join("cgroup.procs")) else { return false };
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(Errno::NODEV.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_gone_stands_still_and_one_without_a_freezer_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let group = Group { path: root.path().join("c1"), kind: Kind::Unified };
        freeze(&group).unwrap();
        assert!(is_frozen(&group).unwrap());
        thaw(&group).unwrap();
        // Plain files stand for the interface files.
        fs::create_dir(&group.path).unwrap();
        fs::write(group.path.join("cgroup.procs"), "").unwrap();
        assert_eq!(freeze(&group).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(group.path.join("cgroup.freeze"), "0").unwrap();
        fs::write(group.path.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        freeze(&group).unwrap();
        assert!(!is_frozen(&group).unwrap());
        fs::write(group.path.join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        assert!(is_frozen(&group).unwrap());
        assert_eq!(fs::read_to_string(group.path.join("cgroup.freeze")).unwrap(), "1");
        let cpu = Group { kind: Kind::Cpu, ..group.clone() };
        assert_eq!(freezable(&[cpu, group.clone()]), Some(&group));
    }
}
