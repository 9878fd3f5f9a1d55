//! The mount table of the agent's own mount namespace: is anything mounted on, below or from a directory?
//!
//! It does not see the private namespaces of tasks; who uses a volume there is known to the deciding code.

use rustix::fs::{AtFlags, StatxFlags};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    id: u64,
    device: String,
    /// What of the file system is mounted.
    root: String,
    /// Where.
    pub(super) point: String,
    /// The kind of the file system.
    pub(super) kind: String,
    /// The device, as far as the kernel names one.
    pub(super) source: String,
}

/// The mounts that concern `directory`: on it, below it, or of it (or of a part of it) elsewhere.
///
/// # Errors
/// The mount table cannot be read or does not list the mount the directory is on.
pub fn touching(directory: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    // Of the thread, which is what its paths are resolved in.
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
    let stat = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    concerning(&table, stat.stx_mnt_id, &path.to_string_lossy()).ok_or_else(|| {
        io::Error::other(format!("the mount table does not list the mount of {}", path.display()))
    })
}

/// Every mount.
///
/// # Errors
/// The mount table cannot be read.
pub(super) fn all() -> io::Result<Vec<Mount>> {
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    Ok(table.lines().filter_map(parse).collect())
}

/// What the file system under an open directory is mounted from, as the kernel names it.
#[must_use]
pub fn source(directory: BorrowedFd<'_>) -> Option<String> {
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").ok()?;
    let wanted = StatxFlags::MNT_ID;
    let stat = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, wanted).ok()?;
    table.lines().filter_map(parse).find(|mount| mount.id == stat.stx_mnt_id).map(|m| m.source)
}

fn concerning(table: &str, mount: u64, path: &str) -> Option<Vec<String>> {
    let mounts: Vec<Mount> = table.lines().filter_map(parse).collect();
    let own = mounts.iter().find(|candidate| candidate.id == mount)?;
    let below = if own.point == "/" { path } else { path.strip_prefix(&own.point)? };
    let source = format!("{}{below}", own.root.trim_end_matches('/'));
    let concerns = |candidate: &&Mount| {
        is_within(&candidate.point, path)
            || (candidate.id != mount
                && candidate.device == own.device
                && is_within(&candidate.root, &source))
    };
    Some(mounts.iter().filter(concerns).map(|found| found.point.clone()).collect())
}

fn is_within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn parse(line: &str) -> Option<Mount> {
    let mut words = line.split(' ');
    let id = words.next()?.parse().ok()?;
    let device = words.nth(1)?.to_owned();
    let root = unescape(words.next()?);
    let point = unescape(words.next()?);
    let mut rest = words.skip_while(|word| *word != "-").skip(1);
    let kind = unescape(rest.next()?);
    let source = unescape(rest.next()?);
    Some(Mount { id, device, root, point, kind, source })
}

/// The kernel writes blanks, tabs, line breaks and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            },
            Some(_) | None => {
                bytes.push(*first);
                rest = tail;
            },
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 /top /srv/d\\0401 rw - btrfs /dev/sdb rw
31 30 8:1 / /srv/d\\0401/volumes/a/inner rw - ext4 /dev/sda1 rw
32 22 0:40 /top/volumes/b /mnt/b rw - btrfs /dev/sdb rw
33 22 0:40 /top/volumes/b/part /mnt/part rw - btrfs /dev/sdb rw
34 22 0:41 /top/volumes/c /mnt/c rw - btrfs /dev/sdc rw
";

    #[test]
    fn mounts_on_below_and_of_a_directory_are_found() {
        for (path, want) in [
            ("/srv/d 1/volumes/a", Some(vec!["/srv/d 1/volumes/a/inner"])),
            ("/srv/d 1/volumes/a/inner", Some(vec!["/srv/d 1/volumes/a/inner"])),
            ("/srv/d 1/volumes/b", Some(vec!["/mnt/b", "/mnt/part"])),
            ("/srv/d 1/volumes/c", Some(vec![])),
            ("/srv/d 1/volumes/ab", Some(vec![])),
            ("/elsewhere", None),
        ] {
            let found = concerning(TABLE, 30, path);
            let want = want.map(|points| points.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(found, want, "{path}");
        }
        assert_eq!(concerning(TABLE, 99, "/srv"), None);
        assert_eq!(concerning(TABLE, 22, "/mnt/x"), Some(vec![]));
    }
}
