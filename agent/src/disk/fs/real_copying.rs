//! Copies of trees as the kernel makes them.
//!
//! A content is shared where the file system can (FICLONE), else read and written by us and not by the kernel
//! (`copy_file_range`): only so its checksum is known.

use super::copying::{Attribute, Copied, Copies, CopyError, Entry, EntryKind, Look, Parts, Told};
use super::real::{Open, inside};
use super::{Calls, Raw, Site};
use rustix::fs::{
    Advice, AtFlags, FileType, Mode, OFlags, SeekFrom, StatxFlags, Timespec, Timestamps,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;

/// What a checksum looks at, and the smallest hole that is kept.
pub const BLOCK: usize = 4096;
/// How much is read at once.
const CHUNK: usize = 1 << 20;
/// The kernel's limit of one attribute, and of all names of one file.
const ATTRIBUTES_MAX: usize = 64 << 10;

/// The checksum of a content so far, going on with bytes that begin at a multiple of [`BLOCK`].
#[must_use]
pub fn sum(mut sum: u32, at: u64, bytes: &[u8]) -> u32 {
    for (block, at) in bytes.chunks(BLOCK).zip((at..).step_by(BLOCK)) {
        if block.iter().any(|byte| *byte != 0) {
            sum = crc32c::crc32c_append(sum, &at.to_le_bytes());
            // What follows the end of a file in its last block is not part of it.
            let end = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            sum = crc32c::crc32c_append(sum, &block[..end]);
        }
    }
    sum
}

/// Hands all parts of a file that are no holes out, each from a multiple of [`BLOCK`] on.
fn parts<E>(
    file: BorrowedFd<'_>,
    failed: impl Fn(Errno) -> E,
    mut part: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    let stat = rustix::fs::fstat(file).map_err(&failed)?;
    let length = u64::try_from(stat.st_size).unwrap_or_default();
    let block = BLOCK as u64;
    let mut buffer = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK)).max(BLOCK)];
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data - data % block,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(errno) => return Err(failed(errno)),
        };
        at = at.max(data);
        let hole = rustix::fs::seek(file, SeekFrom::Hole(at)).unwrap_or(length);
        let end = hole.next_multiple_of(block).min(length).max(at + 1);
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(CHUNK).min(buffer.len());
            let read = read_all(file, &mut buffer[..most], at).map_err(&failed)?;
            if read == 0 {
                // It has become shorter: whoever compares it with what it was will say so.
                return Ok(at);
            }
            part(at, &buffer[..read])?;
            at += read as u64;
        }
        at = at.next_multiple_of(block);
    }
    Ok(length)
}

/// The most parts that a file's content is told in; smaller holes are taken for content when there are more.
pub const EXTENTS_MAX: usize = 1 << 16;

/// The parts of a file of this length that are no holes, each from a multiple of [`BLOCK`] on.
///
/// # Errors
/// As the system call fails.
pub fn extents(file: BorrowedFd<'_>, length: u64) -> Result<Vec<(u64, u64)>, Errno> {
    extents_within(file, length, EXTENTS_MAX)
}

fn extents_within(
    file: BorrowedFd<'_>,
    length: u64,
    most: usize,
) -> Result<Vec<(u64, u64)>, Errno> {
    let block = BLOCK as u64;
    let mut all: Vec<(u64, u64)> = Vec::new();
    // Holes that are smaller are none.
    let mut smallest = block;
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data - data % block,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![(0, length)]),
            Err(errno) => return Err(errno),
        };
        let begin = at.max(data);
        let hole = rustix::fs::seek(file, SeekFrom::Hole(begin)).unwrap_or(length);
        let end = hole.next_multiple_of(block).min(length).max(begin + 1);
        join(&mut all, (begin, end - begin), smallest);
        while all.len() > most {
            smallest = smallest.saturating_mul(2);
            let before = std::mem::take(&mut all);
            before.into_iter().for_each(|part| join(&mut all, part, smallest));
        }
        at = end.next_multiple_of(block);
    }
    Ok(all)
}

/// Adds a part, as one with the last when no hole of that size is between them.
fn join(all: &mut Vec<(u64, u64)>, (at, length): (u64, u64), smallest: u64) {
    match all.last_mut() {
        Some((begin, has)) if at - (*begin + *has) < smallest => *has = at + length - *begin,
        _apart => all.push((at, length)),
    }
}

fn read_all(file: BorrowedFd<'_>, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
    let mut read = 0;
    while read < buffer.len() {
        match rustix::io::pread(file, &mut buffer[read..], at + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(Errno::INTR) => {},
            Err(errno) => return Err(errno),
        }
    }
    Ok(read)
}

fn kind_of(mode: u32) -> EntryKind {
    match FileType::from_raw_mode(mode) {
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Link,
        FileType::Fifo => EntryKind::Pipe,
        FileType::Socket => EntryKind::Socket,
        FileType::BlockDevice | FileType::CharacterDevice => EntryKind::Device,
        FileType::RegularFile | FileType::Unknown => EntryKind::File,
    }
}

fn names_of(file: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let mut names = vec![0_u8; ATTRIBUTES_MAX];
    let length = match rustix::fs::flistxattr(file, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(errno) => return Err(errno),
    };
    names.truncate(length);
    Ok(names)
}

impl Copies for Open {
    fn entry(&self, _site: Site, name: Option<&OsStr>) -> Result<Entry, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let name = name.unwrap_or_else(|| OsStr::new(""));
        let stat = rustix::fs::statx(self.0.as_fd(), name, flags, wanted)?;
        let mode = u32::from(stat.stx_mode);
        Ok(Entry {
            kind: kind_of(mode),
            mode: mode & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            length: stat.stx_size,
            allocated: stat.stx_blocks.saturating_mul(512),
            names: u64::from(stat.stx_nlink),
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            mount: stat.stx_mnt_id,
            inode: stat.stx_ino,
            modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
            changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
        })
    }

    fn content(&self, _site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat2(self.0.as_fd(), name, flags, Mode::empty(), inside())?;
        if kind_of(rustix::fs::fstat(&file)?.st_mode) != EntryKind::File {
            return Err(Errno::INVAL);
        }
        Ok(Box::new(Self::from(file)))
    }

    fn target(&self, _site: Site, name: &OsStr) -> Result<OsString, Errno> {
        let target = rustix::fs::readlinkat(self.0.as_fd(), name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    fn attributes(&self, _site: Site) -> Result<Vec<Attribute>, Errno> {
        let mut all = Vec::new();
        let names = names_of(self.0.as_fd())?;
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let name = std::str::from_utf8(name).map_err(|_no_text| Errno::ILSEQ)?;
            let mut value = vec![0_u8; ATTRIBUTES_MAX];
            match rustix::fs::fgetxattr(self.0.as_fd(), name, value.as_mut_slice()) {
                Ok(length) => value.truncate(length),
                // It has gone meanwhile.
                Err(Errno::NODATA) => continue,
                Err(errno) => return Err(errno),
            }
            all.push((name.to_owned(), value));
        }
        all.sort();
        Ok(all)
    }

    fn fill_from(&self, _site: Site, from: Raw<'_>, told: Told<'_>) -> Result<Copied, CopyError> {
        let Raw::Descriptor(from) = from else { return Err(CopyError::From(Errno::XDEV)) };
        if rustix::fs::ioctl_ficlone(self.0.as_fd(), from).is_ok() {
            let stat = rustix::fs::fstat(from).map_err(CopyError::From)?;
            let length = u64::try_from(stat.st_size).unwrap_or_default();
            return if told(length) {
                Ok(Copied { length, checksum: None })
            } else {
                Err(CopyError::Stopped)
            };
        }
        let mut checksum = 0;
        let length = parts(from, CopyError::From, |at, bytes| {
            let written = self.0.write_all_at(bytes, at);
            written.map_err(|error| {
                CopyError::To(Errno::from_io_error(&error).unwrap_or(Errno::IO))
            })?;
            checksum = sum(checksum, at, bytes);
            if told(bytes.len() as u64) { Ok(()) } else { Err(CopyError::Stopped) }
        })?;
        rustix::fs::ftruncate(self.0.as_fd(), length).map_err(CopyError::To)?;
        Ok(Copied { length, checksum: Some(checksum) })
    }

    fn fill_with(&self, _site: Site, length: u64, parts: Parts<'_>) -> Result<Copied, CopyError> {
        let mut checksum = 0;
        while let Some((at, bytes)) = parts()? {
            let written = self.0.write_all_at(&bytes, at);
            written.map_err(|error| {
                CopyError::To(Errno::from_io_error(&error).unwrap_or(Errno::IO))
            })?;
            checksum = sum(checksum, at, &bytes);
        }
        rustix::fs::ftruncate(self.0.as_fd(), length).map_err(CopyError::To)?;
        Ok(Copied { length, checksum: Some(checksum) })
    }

    fn checksum(&self, _site: Site, told: Told<'_>) -> Result<u32, Errno> {
        // What is synced is dropped from memory, so that the disk is read.
        rustix::fs::fadvise(self.0.as_fd(), 0, None, Advice::DontNeed).ok();
        let mut checksum = 0;
        parts(
            self.0.as_fd(),
            |errno| errno,
            |at, bytes| {
                checksum = sum(checksum, at, bytes);
                if told(bytes.len() as u64) { Ok(()) } else { Err(Errno::INTR) }
            },
        )?;
        Ok(checksum)
    }

    fn make_link(&self, _site: Site, name: &OsStr, target: &OsStr) -> Result<(), Errno> {
        rustix::fs::symlinkat(target, self.0.as_fd(), name)
    }

    fn make_name(&self, _site: Site, name: &OsStr, of: (Raw<'_>, &OsStr)) -> Result<(), Errno> {
        let Raw::Descriptor(directory) = of.0 else { return Err(Errno::XDEV) };
        rustix::fs::linkat(directory, of.1, self.0.as_fd(), name, AtFlags::empty())
    }

    fn make_pipe(&self, _site: Site, name: &OsStr) -> Result<(), Errno> {
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(self.0.as_fd(), name, FileType::Fifo, mode, 0)
    }

    fn dress(&self, _site: Site, name: Option<&OsStr>, look: &Look) -> Result<(), Errno> {
        let uid = Some(rustix::fs::Uid::from_raw(look.uid));
        let gid = Some(rustix::fs::Gid::from_raw(look.gid));
        let time = Timespec { tv_sec: look.modified.0, tv_nsec: look.modified.1.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        match name {
            None => {
                // The owner goes first: with it the kernel takes set-id bits away.
                rustix::fs::fchown(self.0.as_fd(), uid, gid)?;
                if let Some(mode) = look.mode {
                    rustix::fs::fchmod(self.0.as_fd(), Mode::from_raw_mode(mode))?;
                }
                rustix::fs::futimens(self.0.as_fd(), &times)
            },
            Some(name) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let entry = rustix::fs::openat(self.0.as_fd(), name, flags, Mode::empty())?;
                rustix::fs::chownat(&entry, "", uid, gid, AtFlags::EMPTY_PATH)?;
                if let Some(mode) = look.mode {
                    let path = format!("/proc/self/fd/{}", entry.as_raw_fd());
                    rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
                }
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(self.0.as_fd(), name, &times, flags)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Node;
    use super::*;
    use std::fs::File;
    use std::io::{Seek as _, Write as _};

    fn node(path: &std::path::Path) -> Node {
        Node::from(std::os::fd::OwnedFd::from(File::open(path).unwrap()))
    }

    #[test]
    fn a_content_keeps_its_holes_and_its_checksum_and_every_bit_counts() {
        let base = tempfile::tempdir().unwrap();
        let mut file = File::create(base.path().join("sparse")).unwrap();
        file.write_all(b"begin").unwrap();
        file.seek(std::io::SeekFrom::Start(40 << 20)).unwrap();
        file.write_all(&[7; 3 * BLOCK + 5]).unwrap();
        file.set_len(80 << 20).unwrap();
        let directory = node(base.path());
        let from = directory.content(OsStr::new("sparse")).unwrap();
        let to = directory.create("copy").unwrap();
        let told = std::cell::Cell::new(0);
        let go_on = |bytes| {
            told.set(told.get() + bytes);
            true
        };
        let copied = to.fill_from(&from, &go_on).unwrap();
        assert_eq!(copied.length, 80 << 20);
        let (was, is) = (from.entry(None).unwrap(), to.entry(None).unwrap());
        assert_eq!(
            (is.length, is.allocated <= was.allocated),
            (was.length, true),
            "{was:?} {is:?}"
        );
        let sum = to.checksum(&|_| true).unwrap();
        assert_eq!(from.checksum(&|_| true).unwrap(), sum);
        assert!(copied.checksum.is_none_or(|copied| copied == sum));
        assert!(told.get() > 0);
        let whole = std::fs::read(base.path().join("copy")).unwrap();
        assert!(whole == std::fs::read(base.path().join("sparse")).unwrap());
        let changed = File::options().write(true).open(base.path().join("copy")).unwrap();
        changed.write_all_at(&[6], (40 << 20) + BLOCK as u64).unwrap();
        assert_ne!(to.checksum(&|_| true).unwrap(), sum);
        assert_eq!(to.checksum(&|_| false), Err(Errno::INTR));
    }

    #[test]
    fn the_parts_of_a_file_are_told_and_small_holes_are_given_up_when_there_are_many() {
        let base = tempfile::tempdir().unwrap();
        let file = File::create(base.path().join("sparse")).unwrap();
        let (block, mib) = (BLOCK as u64, 1 << 20);
        for at in [0, mib, 2 * mib, 9 * mib] {
            file.write_all_at(&[7; 100], at).unwrap();
        }
        file.set_len(20 * mib).unwrap();
        let node = node(base.path()).content(OsStr::new("sparse")).unwrap();
        let of = |most| extents_within(node.descriptor().unwrap(), 20 * mib, most).unwrap();
        if of(9) == [(0, 20 * mib)] {
            eprintln!("SKIPPED: the file system here has no holes");
            return;
        }
        let apart = [0, mib, 2 * mib, 9 * mib].map(|at| (at, block));
        assert_eq!(of(4), apart);
        assert_eq!(of(2), [(0, 2 * mib + block), (9 * mib, block)]);
    }

    #[test]
    fn links_and_special_files_are_no_content() {
        let base = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", base.path().join("link")).unwrap();
        let directory = node(base.path());
        directory.make_pipe(OsStr::new("pipe")).unwrap();
        assert_eq!(directory.content(OsStr::new("link")).unwrap_err(), Errno::LOOP);
        assert_eq!(directory.content(OsStr::new("pipe")).unwrap_err(), Errno::INVAL);
        assert_eq!(directory.content(OsStr::new("../link")).unwrap_err(), Errno::XDEV);
        assert_eq!(directory.entry(Some(OsStr::new("link"))).unwrap().kind, EntryKind::Link);
        assert_eq!(directory.entry(Some(OsStr::new("pipe"))).unwrap().kind, EntryKind::Pipe);
        assert_eq!(directory.target(OsStr::new("link")).unwrap(), "/etc/passwd");
    }
}
