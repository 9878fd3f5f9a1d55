//! Small files that are either whole or absent, below an open directory.
//!
//! It knows no formats. A reader never sees half of what a writer wrote, also after a power cut.

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

/// Replaces the file `name` in `folder` by one that only the owner may read.
///
/// # Errors
/// Any step failed; the earlier file is still there.
pub fn replace(folder: impl AsFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = folder.as_fd();
    let fresh = format!("{name}.new");
    match unlinkat(folder, &fresh, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {},
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(folder, &fresh, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(bytes)?;
    file.sync_all()?;
    renameat(folder, &fresh, folder, name)?;
    rustix::fs::fsync(folder)?;
    Ok(())
}

/// The content of the file `name` in `folder`, or nothing when there is none.
///
/// # Errors
/// It is there and cannot be read, or has more than `limit` bytes.
pub fn read(folder: impl AsFd, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(io::Error::other(format!("{name} has more than {limit} bytes")));
    }
    Ok(Some(bytes))
}
