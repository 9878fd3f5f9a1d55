//! The output of a command in files of limited size.
//!
//! `stdout` is being written; older parts are `stdout.<offset of their first byte>`. Offsets count from the
//! first byte ever written, and no file keeps books about them: the name and the length of the newest older part
//! say where the current one begins. At least one older part is always kept for that. The reader knows the
//! folder only and may read while the writer rotates.

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// The writing end, in the supervisor.
#[derive(Debug)]
pub(crate) struct LogWriter {
    folder: OwnedFd,
    name: &'static str,
    limit: u64,
    older_max: usize,
    current: File,
    start: u64,
    length: u64,
}

impl LogWriter {
    /// Goes on behind what is there. `files` counts the current one and is at least two.
    pub fn open(folder: OwnedFd, name: &'static str, limit: u64, files: u32) -> io::Result<Self> {
        let older = older_parts(folder.as_fd(), name)?;
        let start = older.last().map_or(0, Part::end);
        let current = create(folder.as_fd(), name)?;
        let length = current.metadata()?.len();
        let older_max = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(1).max(1);
        Ok(Self { folder, name, limit: limit.max(1), older_max, current, start, length })
    }

    /// Writes all of `bytes`, into as many files as it takes.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.length >= self.limit {
                self.rotate()?;
            }
            let room = usize::try_from(self.limit - self.length).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let written = self.current.write_all(now);
            // A full disk may have taken a part.
            self.length = self.current.metadata()?.len();
            written?;
            bytes = later;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let folder = self.folder.as_fd();
        match renameat(folder, self.name, folder, format!("{}.{}", self.name, self.start)) {
            // Renamed the last time, when there was no room for a new file.
            Ok(()) | Err(Errno::NOENT) => {},
            Err(error) => return Err(error.into()),
        }
        self.current = create(folder, self.name)?;
        self.start += self.length;
        self.length = 0;
        let older = older_parts(folder, self.name)?;
        let surplus = older.len().saturating_sub(self.older_max);
        for part in older.iter().take(surplus) {
            unlinkat(folder, part.file_name(self.name), AtFlags::empty())?;
        }
        Ok(())
    }
}

fn create(folder: BorrowedFd<'_>, name: &str) -> io::Result<File> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR | Mode::RGRP)?))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    start: u64,
    length: u64,
}

impl Part {
    fn end(&self) -> u64 {
        self.start + self.length
    }
    fn file_name(&self, name: &str) -> String {
        format!("{name}.{}", self.start)
    }
}

/// Older parts, oldest first.
fn older_parts(folder: BorrowedFd<'_>, name: &str) -> io::Result<Vec<Part>> {
    let mut parts = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let Some(start) = file_name.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'))
        else {
            continue;
        };
        let Ok(start) = start.parse() else { continue };
        if let Some(file) = open(folder, &file_name)? {
            parts.push(Part { start, length: file.metadata()?.len() });
        }
    }
    parts.sort_unstable();
    Ok(parts)
}

fn open(folder: BorrowedFd<'_>, name: &str) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// At most `length` bytes from `offset` on. The offset answered is larger than the one asked for when the
/// older bytes are gone, and smaller when fewer bytes were ever written.
pub(crate) fn read(
    folder: BorrowedFd<'_>,
    name: &str,
    offset: u64,
    length: usize,
) -> io::Result<(u64, Vec<u8>)> {
    // A rotation between listing and opening shows as a changed list or another file under the name.
    for _ in 0..100 {
        let older = older_parts(folder, name)?;
        let current = open(folder, name)?;
        if older != older_parts(folder, name)? {
            continue;
        }
        let start = older.last().map_or(0, Part::end);
        let current_length = match &current {
            Some(file) => fstat(file)?.st_size.try_into().unwrap_or(0),
            None => 0,
        };
        let newest = Part { start, length: current_length };
        let first = older.first().map_or(start, |part| part.start);
        let from = offset.clamp(first, newest.end());
        let mut bytes = Vec::new();
        for part in older.iter().filter(|part| part.end() > from) {
            match open(folder, &part.file_name(name))? {
                Some(file) => take(&file, *part, from, length, &mut bytes)?,
                None => break,
            }
        }
        // A part that was deleted since the listing leaves a gap: look again.
        let reached = from + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if bytes.len() < length && reached < start {
            continue;
        }
        if let Some(file) = &current {
            take(file, newest, from, length, &mut bytes)?;
        }
        return Ok((from, bytes));
    }
    Err(io::Error::other(format!("{name} is rotated faster than it can be read")))
}

/// Adds what `file`, which holds `part`, has of the wanted bytes behind those already in `bytes`.
fn take(file: &File, part: Part, from: u64, length: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let next = from + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if next < part.start || next >= part.end() || bytes.len() >= length {
        return Ok(());
    }
    let available = usize::try_from(part.end() - next).unwrap_or(usize::MAX);
    let mut chunk = vec![0; available.min(length - bytes.len())];
    file.read_exact_at(&mut chunk, next - part.start)?;
    bytes.append(&mut chunk);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(path: &std::path::Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap()
    }

    #[test]
    fn offsets_count_from_the_first_byte_across_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(folder(dir.path()), "stdout", 10, 2).unwrap();
        let at =
            |offset, length| read(folder(dir.path()).as_fd(), "stdout", offset, length).unwrap();
        assert_eq!(at(0, 100), (0, Vec::new()));
        log.write(b"0123456789").unwrap();
        assert_eq!(at(3, 4), (3, b"3456".to_vec()));
        log.write(b"abcdefghij").unwrap();
        log.write(b"ABC").unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["stdout", "stdout.10"]);
        assert_eq!(at(0, 100), (10, b"abcdefghijABC".to_vec()));
        assert_eq!(at(18, 4), (18, b"ijAB".to_vec()));
        assert_eq!(at(23, 4), (23, Vec::new()));
        assert_eq!(at(u64::MAX, 4), (23, Vec::new()));
        drop(log);
        let mut again = LogWriter::open(folder(dir.path()), "stdout", 10, 2).unwrap();
        again.write(b"DE").unwrap();
        assert_eq!(at(20, 9), (20, b"ABCDE".to_vec()));
    }

    #[test]
    fn a_rotation_that_stopped_half_way_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(folder(dir.path()), "stdout", 10, 3).unwrap();
        log.write(b"0123456789").unwrap();
        fs::rename(dir.path().join("stdout"), dir.path().join("stdout.0")).unwrap();
        log.write(b"ab").unwrap();
        let all = read(folder(dir.path()).as_fd(), "stdout", 0, 100).unwrap();
        assert_eq!(all, (0, b"0123456789ab".to_vec()));
    }

    #[test]
    fn a_reader_beside_a_rotating_writer_sees_every_byte_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogWriter::open(folder(dir.path()), "stderr", 64, 3).unwrap();
        let writer = std::thread::spawn(move || {
            for number in 0..20_000_u32 {
                log.write(&number.to_be_bytes()).unwrap();
            }
        });
        let mut offset = 0;
        while offset < 80_000 {
            let (from, bytes) = read(folder(dir.path()).as_fd(), "stderr", offset, 40).unwrap();
            for (place, byte) in (from..).zip(&bytes) {
                let number = u32::try_from(place / 4).unwrap().to_be_bytes();
                assert_eq!(*byte, number[usize::try_from(place % 4).unwrap()], "at {place}");
            }
            offset = from + u64::try_from(bytes.len()).unwrap();
        }
        writer.join().unwrap();
    }
}
