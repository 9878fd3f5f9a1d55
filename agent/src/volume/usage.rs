//! How much a volume uses: asked from the quota where there is one, else counted by walking the tree.
//!
//! The walk follows no link, enters no mount, counts a file with several names once, and gives up on trees too
//! large to be walked often.

use crate::disk::filesystem;
use crate::disk::fs::wiping::Surveyed;
use crate::disk::fs::{Node, Tree, real};
use crate::disk::image::still;
use crate::disk::probe::DriverKind;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

const ENTRIES_MAX: u64 = 1_000_000;
const DEPTH_MAX: usize = 256;

/// Measures the tree below a directory.
///
/// # Errors
/// Why it was given up.
pub fn measure(directory: &Node, kind: DriverKind) -> Result<Measured, String> {
    if kind == DriverKind::Btrfs {
        match directory.quota_used() {
            // The quota counts no files.
            Ok(Some(bytes)) => return Ok(Measured::of(Bytes::new(bytes))),
            // Without the privilege, or with quotas switched off since: count.
            Ok(None) | Err(Errno::PERM | Errno::NOENT) => {},
            Err(errno) => return Err(format!("the quota does not answer ({errno})")),
        }
    }
    let Tree { bytes, inodes } = directory.tree_size()?;
    Ok(Measured { bytes: Bytes::new(bytes), inodes: Some(inodes), inodes_limit: None })
}

/// What a tree of the host takes, its top not counted.
///
/// # Errors
/// Why it was given up.
pub fn tree_size(top: BorrowedFd<'_>) -> Result<Tree, String> {
    let failed = |errno: Errno| format!("the tree cannot be walked ({errno})");
    let device = filesystem::position(top).map_err(failed)?.device;
    let mut stack = vec![Dir::read_from(top).map_err(failed)?];
    let (mut bytes, mut inodes, mut entries) = (0_u64, 0_u64, 0_u64);
    let mut linked = BTreeSet::new();
    while let Some(here) = stack.last_mut() {
        let Some(entry) = here.read() else {
            stack.pop();
            continue;
        };
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let fd = here.fd().map_err(failed)?;
        let stat = match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        entries += 1;
        if entries > ENTRIES_MAX {
            return Err(format!("it has more than {ENTRIES_MAX} files"));
        }
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory || stat.st_nlink < 2 || linked.insert(stat.st_ino) {
            let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
            bytes = bytes.saturating_add(blocks.saturating_mul(512));
            inodes += 1;
        }
        if !is_directory {
            continue;
        }
        let child = match real::directory(fd, OsStr::from_bytes(name.to_bytes())) {
            Ok(child) => child,
            // Mounts and what has gone meanwhile do not count.
            Err(Errno::XDEV | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        if filesystem::position(child.as_fd()).map_err(failed)?.device == device {
            if stack.len() >= DEPTH_MAX {
                return Err(format!("it is more than {DEPTH_MAX} directories deep"));
            }
            stack.push(Dir::new(child).map_err(failed)?);
        }
    }
    Ok(Tree { bytes, inodes })
}

/// What there is to overwrite in a tree of the host, and what speaks against that.
///
/// # Errors
/// Why that cannot be told.
pub fn survey_tree(top: BorrowedFd<'_>) -> Result<Surveyed, String> {
    let failed = |errno: Errno| format!("the tree cannot be walked ({errno})");
    let mut stack = vec![(Dir::read_from(top).map_err(failed)?, String::new())];
    let mut found = Surveyed::default();
    // Of files with several names: how many there are, how many were met, and one of them.
    let mut linked: BTreeMap<u64, (u64, u64, String)> = BTreeMap::new();
    while let Some((here, above)) = stack.last_mut() {
        let Some(entry) = here.read() else {
            stack.pop();
            continue;
        };
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let path = format!("{above}{}", name.to_string_lossy());
        let fd = here.fd().map_err(failed)?;
        let stat = match rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                // What is mounted there stops whoever deletes it.
                let child = real::directory(fd, OsStr::from_bytes(name.to_bytes()))
                    .map_err(|errno| format!("{path} cannot be opened ({errno})"))?;
                if found.shared.is_none() && real::immutable(child.as_fd()) {
                    found.shared = Some(format!("{path} {IMMUTABLE}"));
                }
                if stack.len() >= DEPTH_MAX {
                    return Err(format!("it is more than {DEPTH_MAX} directories deep"));
                }
                stack.push((Dir::new(child).map_err(failed)?, format!("{path}/")));
            },
            FileType::RegularFile => {
                let names = linked.entry(stat.st_ino).or_insert((stat.st_nlink, 0, path.clone()));
                names.1 += 1;
                if names.1 == 1 {
                    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
                    found.bytes = found.bytes.saturating_add(blocks.saturating_mul(512));
                    if found.shared.is_none() {
                        found.shared = speaks_against(fd, name).map(|why| format!("{path} {why}"));
                    }
                }
                if names.0 <= names.1 {
                    linked.remove(&stat.st_ino);
                }
            },
            _other => {},
        }
    }
    if let Some((names, met, path)) = linked.into_values().next() {
        let text = format!("{path} has {names} names, of which only {met} are in the volume");
        found.shared = found.shared.or(Some(text));
    }
    Ok(found)
}

/// Why a file cannot be overwritten for good, as far as its file system says.
fn speaks_against(directory: BorrowedFd<'_>, name: &CStr) -> Option<&'static str> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?;
    if still::shared(file.as_fd()).is_ok_and(|bytes| bytes > 0) {
        return Some("shares blocks with another file");
    }
    real::immutable(file.as_fd()).then_some(IMMUTABLE)
}

const IMMUTABLE: &str = "is immutable or append-only (chattr -i -a)";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    #[test]
    fn links_count_once_and_are_not_followed() {
        let base = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("big"), vec![1_u8; 8 << 20]).unwrap();
        std::fs::create_dir_all(base.path().join("a/b")).unwrap();
        std::fs::write(base.path().join("a/b/file"), vec![1_u8; 1 << 20]).unwrap();
        std::fs::hard_link(base.path().join("a/b/file"), base.path().join("again")).unwrap();
        std::os::unix::fs::symlink(outside.path(), base.path().join("link")).unwrap();
        let top = Node::from(OwnedFd::from(std::fs::File::open(base.path()).unwrap()));
        let found = measure(&top, DriverKind::Directory).unwrap();
        let used = found.bytes.get();
        assert!((1 << 20..2 << 20).contains(&used), "{used}");
        // Two directories, one file with two names, one link.
        assert_eq!((found.inodes, found.inodes_limit), (Some(4), None));
    }
}
