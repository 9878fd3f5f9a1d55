//! What the kernel says about the file system under a directory: its identity, kind, size and free space.
//!
//! Identity is the file system's own uuid, stable across reboots and device names. Where a file system has none
//! (memory, overlays) there is no identity, and nothing is concluded from its absence.

use rustix::fs::{AtFlags, FileType, StatVfsMountFlags, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::ioctl;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// `f_type` of btrfs.
pub const BTRFS_MAGIC: u64 = 0x9123_683e;

/// Where an open directory is: together these name one object until the machine restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The device number of its file system (of its subvolume on btrfs).
    pub device: (u32, u32),
    /// The mount through which it was opened.
    pub mount: u64,
    /// Its inode.
    pub inode: u64,
}

impl Position {
    /// Do both lead to one object, through whatever mounts?
    #[must_use]
    pub fn is_same_object(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Room on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub total: u64,
    /// What this process may still take.
    pub free: u64,
    /// Nothing can be written.
    pub read_only: bool,
}

/// Looks where an open directory is.
///
/// # Errors
/// The file system does not answer.
pub fn position(directory: BorrowedFd<'_>) -> Result<Position, Errno> {
    let stat = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, WANTED)?;
    Ok(position_of(&stat))
}

/// Looks where a directory's path leads, links followed.
///
/// # Errors
/// It leads to nothing (NOENT) or to no directory (NOTDIR), or the file system does not answer.
pub fn located(path: &Path) -> Result<Position, Errno> {
    let stat = rustix::fs::statx(rustix::fs::CWD, path, AtFlags::empty(), WANTED)?;
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Directory => Ok(position_of(&stat)),
        _other => Err(Errno::NOTDIR),
    }
}

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

fn position_of(stat: &Statx) -> Position {
    Position {
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        mount: stat.stx_mnt_id,
        inode: stat.stx_ino,
    }
}

/// Looks how much room there is.
///
/// # Errors
/// The file system does not answer.
pub fn room(directory: BorrowedFd<'_>) -> Result<Room, Errno> {
    let stat = rustix::fs::fstatvfs(directory)?;
    Ok(Room {
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// True on btrfs.
///
/// # Errors
/// The file system does not answer.
pub fn is_btrfs(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(u64::try_from(rustix::fs::fstatfs(directory)?.f_type).ok() == Some(BTRFS_MAGIC))
}

/// `f_type` of ext2, ext3 and ext4.
const EXT_MAGIC: u64 = 0xef53;
/// `f_type` of XFS.
const XFS_MAGIC: u64 = 0x5846_5342;

/// True where a write to what was written before goes to the same blocks, unless they are shared.
///
/// # Errors
/// The file system does not answer.
pub fn overwrites_in_place(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    let found = u64::try_from(rustix::fs::fstatfs(directory)?.f_type).unwrap_or(0);
    Ok(matches!(found, EXT_MAGIC | XFS_MAGIC))
}

/// The file system's uuid in hexadecimal; empty when it has none or the kernel does not tell.
///
/// # Errors
/// The file system does not answer.
pub fn identity(directory: BorrowedFd<'_>) -> Result<String, Errno> {
    let uuid = if is_btrfs(directory)? { btrfs_uuid(directory) } else { kernel_uuid(directory) };
    match uuid {
        // Some file systems have the field and never fill it in.
        Ok([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => Ok(String::new()),
        Ok(bytes) => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(String::new()),
        Err(errno) => Err(errno),
    }
}

/// `struct fsuuid2`.
#[repr(C)]
#[derive(Clone, Copy)]
struct KernelUuid {
    length: u8,
    uuid: [u8; 16],
}

/// `struct btrfs_ioctl_fs_info_args`; only the uuid is of interest.
#[repr(C)]
#[derive(Clone, Copy)]
struct BtrfsInfo {
    max_id: u64,
    devices: u64,
    uuid: [u8; 16],
    rest: [u8; 992],
}

const GET_KERNEL_UUID: ioctl::Opcode = ioctl::opcode::read::<KernelUuid>(0x15, 0);
const GET_BTRFS_INFO: ioctl::Opcode = ioctl::opcode::read::<BtrfsInfo>(0x94, 31);

#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
fn kernel_uuid(directory: BorrowedFd<'_>) -> Result<[u8; 16], Errno> {
    let mut answer = KernelUuid { length: 0, uuid: [0; 16] };
    // SAFETY: FS_IOC_GETFSUUID writes one `struct fsuuid2`, which KernelUuid mirrors.
    unsafe {
        ioctl::ioctl(directory, ioctl::Updater::<GET_KERNEL_UUID, KernelUuid>::new(&mut answer))?;
    }
    if answer.length == 16 { Ok(answer.uuid) } else { Err(Errno::OPNOTSUPP) }
}

#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
fn btrfs_uuid(directory: BorrowedFd<'_>) -> Result<[u8; 16], Errno> {
    let mut answer = BtrfsInfo { max_id: 0, devices: 0, uuid: [0; 16], rest: [0; 992] };
    // SAFETY: BTRFS_IOC_FS_INFO reads and writes one argument of 1,024 bytes, which BtrfsInfo mirrors.
    unsafe {
        ioctl::ioctl(directory, ioctl::Updater::<GET_BTRFS_INFO, BtrfsInfo>::new(&mut answer))?;
    }
    Ok(answer.uuid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn ioctl_arguments_have_the_sizes_the_kernel_declares() {
        assert_eq!(GET_KERNEL_UUID, 0x8011_1500);
        assert_eq!(GET_BTRFS_INFO, 0x8400_941f);
        let base = tempfile::tempdir().unwrap();
        let directory = std::fs::File::open(base.path()).unwrap();
        let uuid = identity(directory.as_fd()).unwrap();
        assert!(uuid.is_empty() || uuid.len() == 32, "{uuid}");
        assert_eq!(identity(directory.as_fd()), Ok(uuid));
        let room = room(directory.as_fd()).unwrap();
        assert!(room.free <= room.total && !room.read_only, "{room:?}");
    }
}
