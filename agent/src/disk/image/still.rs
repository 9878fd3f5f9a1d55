//! Holding a mounted file system still, and what a file shares with others, by ioctl.
//!
//! A file system that was frozen stays so whatever becomes of who froze it; this module does not know when it is thawed.

use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, opcode};
use std::os::fd::BorrowedFd;

const FREEZE: Opcode = opcode::read_write::<u32>(b'X', 119);
const THAW: Opcode = opcode::read_write::<u32>(b'X', 120);
/// The size of what it reads and writes counts without the extents.
const MAP: Opcode = opcode::read_write::<Header>(b'f', 11);
/// Extents of one question.
const COUNT: usize = 256;
const LAST: u32 = 1;
const SHARED: u32 = 0x2000;
/// Where it is on the device is not known, or it is not as it was written there.
const UNCERTAIN: u32 = 0x2 | 0x4 | 0x8;
/// It lies among the file system's own data; written anew, it is there again or has a block of its own.
const INLINE: u32 = 0x200;
/// Everything is written out first.
const SYNC: u32 = 1;

/// `struct fiemap` without its extents.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
}

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    more_reserved: [u32; 3],
}

/// `struct fiemap` with room for its answer.
#[repr(C)]
struct Map {
    header: Header,
    extents: [Extent; COUNT],
}

/// Everything of the file system at `root` is on its device, and whoever writes waits.
///
/// # Errors
/// It is frozen already (BUSY), the privilege is missing, or it cannot be written out.
#[expect(unsafe_code, reason = "an ioctl that ignores its argument")]
pub fn freeze(root: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: FIFREEZE has no argument.
    unsafe { ioctl::ioctl(root, ioctl::NoArg::<FREEZE>::new()) }
}

/// Whoever waits goes on.
///
/// # Errors
/// It is not frozen (INVAL), or the privilege is missing.
#[expect(unsafe_code, reason = "an ioctl that ignores its argument")]
pub fn thaw(root: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: FITHAW has no argument.
    unsafe { ioctl::ioctl(root, ioctl::NoArg::<THAW>::new()) }
}

/// The bytes of a file that another has as well.
///
/// # Errors
/// The file system does not say.
pub fn shared(file: BorrowedFd<'_>) -> Result<u64, Errno> {
    let (mut start, mut bytes) = (0, 0_u64);
    loop {
        let map = look(file, start)?;
        let mapped = usize::try_from(map.header.mapped).unwrap_or(COUNT);
        let extents = map.extents.get(..mapped).unwrap_or_default();
        for extent in extents.iter().filter(|extent| extent.flags & SHARED != 0) {
            bytes = bytes.saturating_add(extent.length);
        }
        match extents.last() {
            Some(last) if last.flags & LAST == 0 && last.length > 0 => {
                start = last.logical.saturating_add(last.length);
            },
            Some(_) | None => return Ok(bytes),
        }
    }
}

/// A part of a file, and where it lies on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// In the file.
    pub logical: u64,
    /// On the device.
    pub physical: u64,
    /// How long it is.
    pub length: u64,
}

impl Part {
    /// Is it in the same place still, as one or in pieces?
    #[must_use]
    pub fn is_within(&self, parts: &[Self]) -> bool {
        let (mut at, end) = (self.logical, self.logical + self.length);
        while at < end {
            let wanted = self.physical + (at - self.logical);
            let found = parts.iter().find(|part| {
                part.logical <= at
                    && at < part.logical + part.length
                    && part.physical + (at - part.logical) == wanted
            });
            match found {
                Some(part) => at = part.logical + part.length,
                None => return false,
            }
        }
        true
    }
}

/// What is allocated of a part of a file, written out first.
///
/// # Errors
/// The file system does not say, or another file has some of it as well (OPNOTSUPP).
pub fn written(file: BorrowedFd<'_>, from: u64, to: u64) -> Result<Vec<Part>, Errno> {
    let (mut start, mut found) = (from, Vec::new());
    while start < to {
        let map = look_at(file, start, to - start, SYNC)?;
        let mapped = usize::try_from(map.header.mapped).unwrap_or(COUNT);
        let extents = map.extents.get(..mapped).unwrap_or_default();
        // What is allocated and not called written may have been, before.
        for extent in extents {
            if extent.flags & SHARED != 0
                || (extent.flags & UNCERTAIN != 0 && extent.flags & INLINE == 0)
            {
                return Err(Errno::OPNOTSUPP);
            }
            let end = extent.logical.saturating_add(extent.length).min(to);
            let logical = extent.logical.max(from);
            if logical < end {
                let physical = extent.physical.saturating_add(logical - extent.logical);
                found.push(Part { logical, physical, length: end - logical });
            }
        }
        match extents.last() {
            Some(last) if last.flags & LAST == 0 && last.length > 0 => {
                start = last.logical.saturating_add(last.length);
            },
            Some(_) | None => break,
        }
    }
    Ok(found)
}

fn look(file: BorrowedFd<'_>, start: u64) -> Result<Map, Errno> {
    look_at(file, start, u64::MAX - start, 0)
}

#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
fn look_at(file: BorrowedFd<'_>, start: u64, length: u64, flags: u32) -> Result<Map, Errno> {
    let count = u32::try_from(COUNT).map_err(|_large| Errno::RANGE)?;
    let header = Header { start, length, flags, mapped: 0, count, reserved: 0 };
    let mut map = Map { header, extents: [Extent::default(); COUNT] };
    // SAFETY: FS_IOC_FIEMAP updates one `struct fiemap` and writes at most `count` extents behind it, which Map has.
    unsafe {
        ioctl::ioctl(file, ioctl::Updater::<MAP, Map>::new(&mut map))?;
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    #[test]
    fn requests_have_the_numbers_the_kernel_declares() {
        assert_eq!([FREEZE, THAW, MAP], [0xc004_5877, 0xc004_5878, 0xc020_660b]);
        assert_eq!((size_of::<Header>(), size_of::<Extent>()), (32, 56));
    }

    #[test]
    fn a_file_of_its_own_shares_nothing() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 1 << 16]).unwrap();
        file.sync_all().unwrap();
        match shared(file.as_fd()) {
            // A file system in memory does not say.
            Ok(bytes) => assert_eq!(bytes, 0),
            Err(errno) => assert_eq!(errno, Errno::OPNOTSUPP),
        }
    }
}
