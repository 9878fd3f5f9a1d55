//! Subvolumes and their quota groups on btrfs, by ioctl.
//!
//! Only what volumes need: make one, take one of another, limit it, measure it, forget its quota group. Deleting is the business of
//! `remove`: contents first and by handle, because dropping a whole subvolume at once leaves the file system's
//! quota accounting inconsistent.

use super::fs::Access;
use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, opcode};
use std::os::fd::{AsRawFd as _, BorrowedFd};

const GROUP: u8 = 0x94;
/// The inode of each subvolume's root directory.
pub const ROOT_INODE: u64 = 256;
const QUOTA_TREE: u64 = 8;
const QGROUP_INFO_KEY: u32 = 242;
/// Tree of trees, and the type of the item that says which other tree is linked in one.
const ROOT_TREE: u64 = 1;
const ROOT_REF_KEY: u32 = 156;
const LIMIT_REFERENCED: u64 = 1;
const QUOTA_ENABLE: u64 = 1;
/// `BTRFS_SUBVOL_RDONLY`.
const READ_ONLY: u64 = 2;

/// `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct VolumeArgs {
    fd: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `struct btrfs_ioctl_qgroup_limit_args`.
#[repr(C)]
struct LimitArgs {
    qgroup: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved_referenced: u64,
    reserved_exclusive: u64,
}

/// `struct btrfs_ioctl_quota_ctl_args`.
#[repr(C)]
struct QuotaArgs {
    command: u64,
    status: u64,
}

/// `struct btrfs_ioctl_qgroup_create_args`.
#[repr(C)]
struct QgroupArgs {
    create: u64,
    qgroup: u64,
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct LookupArgs {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_search_args`.
#[repr(C)]
struct SearchArgs {
    tree: u64,
    min_object: u64,
    max_object: u64,
    min_offset: u64,
    max_offset: u64,
    min_transaction: u64,
    max_transaction: u64,
    min_type: u32,
    max_type: u32,
    items: u32,
    unused: u32,
    unused_more: [u64; 4],
    found: [u8; 3992],
}

impl SearchArgs {
    /// The first item of this kind that an object has in a tree.
    const fn first(tree: u64, object: u64, kind: u32) -> Self {
        Self {
            tree,
            min_object: object,
            max_object: object,
            min_offset: 0,
            max_offset: u64::MAX,
            min_transaction: 0,
            max_transaction: u64::MAX,
            min_type: kind,
            max_type: kind,
            items: 1,
            unused: 0,
            unused_more: [0; 4],
            found: [0; 3992],
        }
    }
}

const SNAPSHOT_CREATE: Opcode = opcode::write::<VolumeArgs>(GROUP, 23);
const GET_FLAGS: Opcode = opcode::read::<u64>(GROUP, 25);
const SET_FLAGS: Opcode = opcode::write::<u64>(GROUP, 26);
const SUBVOLUME_CREATE: Opcode = opcode::write::<VolumeArgs>(GROUP, 24);
const QGROUP_LIMIT: Opcode = opcode::read::<LimitArgs>(GROUP, 43);
const QGROUP_CREATE: Opcode = opcode::write::<QgroupArgs>(GROUP, 42);
const QUOTA_CONTROL: Opcode = opcode::read_write::<QuotaArgs>(GROUP, 40);
const RESCAN_WAIT: Opcode = opcode::none(GROUP, 46);
const INODE_LOOKUP: Opcode = opcode::read_write::<LookupArgs>(GROUP, 18);
const TREE_SEARCH: Opcode = opcode::read_write::<SearchArgs>(GROUP, 17);

/// Makes an empty subvolume `name` in `parent`.
///
/// # Errors
/// The name exists (EXIST), or the file system refuses.
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn create(parent: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let mut args = VolumeArgs { fd: 0, transaction: 0, flags: 0, unused: [0; 4], name: [0; 4040] };
    // The last byte stays zero.
    let room = args.name.get_mut(..name.len()).filter(|room| room.len() < 256);
    room.ok_or(Errno::NAMETOOLONG)?.copy_from_slice(name.as_bytes());
    // SAFETY: BTRFS_IOC_SUBVOL_CREATE_V2 reads one `struct btrfs_ioctl_vol_args_v2`, which VolumeArgs mirrors.
    unsafe { ioctl::ioctl(parent, ioctl::Setter::<SUBVOLUME_CREATE, VolumeArgs>::new(args)) }
}

/// Makes a snapshot `name` in `parent` of the subvolume whose root is `source`, as of now.
///
/// # Errors
/// The name exists (EXIST), or the file system refuses.
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn snapshot(
    source: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    name: &str,
    access: Access,
) -> Result<(), Errno> {
    let flags = match access {
        Access::ReadOnly => READ_ONLY,
        Access::Writable => 0,
    };
    let fd = i64::from(source.as_raw_fd());
    let mut args = VolumeArgs { fd, transaction: 0, flags, unused: [0; 4], name: [0; 4040] };
    // The last byte stays zero.
    let room = args.name.get_mut(..name.len()).filter(|room| room.len() < 256);
    room.ok_or(Errno::NAMETOOLONG)?.copy_from_slice(name.as_bytes());
    // SAFETY: BTRFS_IOC_SNAP_CREATE_V2 reads one `struct btrfs_ioctl_vol_args_v2`, which VolumeArgs mirrors; its
    // descriptor is open as long as `source` is borrowed.
    unsafe { ioctl::ioctl(parent, ioctl::Setter::<SNAPSHOT_CREATE, VolumeArgs>::new(args)) }
}

/// Can nothing be written in the subvolume?
///
/// # Errors
/// It is no subvolume's root (INVAL).
#[expect(unsafe_code, reason = "an ioctl whose argument is a number")]
pub fn is_read_only(subvolume: BorrowedFd<'_>) -> Result<bool, Errno> {
    // SAFETY: BTRFS_IOC_SUBVOL_GETFLAGS writes one u64.
    let flags = unsafe { ioctl::ioctl(subvolume, ioctl::Getter::<GET_FLAGS, u64>::new())? };
    Ok(flags & READ_ONLY != 0)
}

/// Lets the subvolume be written again, which deleting it needs.
///
/// # Errors
/// It is no subvolume's root (INVAL), or the privilege is missing (PERM).
#[expect(unsafe_code, reason = "an ioctl whose argument is a number")]
pub fn make_writable(subvolume: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: BTRFS_IOC_SUBVOL_SETFLAGS reads one u64.
    unsafe { ioctl::ioctl(subvolume, ioctl::Setter::<SET_FLAGS, u64>::new(0)) }
}

/// Limits the subvolume to `bytes`, or lifts its limit.
///
/// # Errors
/// Quotas are off (NOTCONN, INVAL), or the privilege is missing (PERM).
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn limit(subvolume: BorrowedFd<'_>, bytes: Option<u64>) -> Result<(), Errno> {
    let args = LimitArgs {
        // The group of the subvolume itself.
        qgroup: 0,
        flags: LIMIT_REFERENCED,
        // All ones clears a limit.
        max_referenced: bytes.unwrap_or(u64::MAX),
        max_exclusive: 0,
        reserved_referenced: 0,
        reserved_exclusive: 0,
    };
    // SAFETY: BTRFS_IOC_QGROUP_LIMIT reads one `struct btrfs_ioctl_qgroup_limit_args`, which LimitArgs mirrors.
    unsafe { ioctl::ioctl(subvolume, ioctl::Setter::<QGROUP_LIMIT, LimitArgs>::new(args)) }
}

/// Switches quotas on for the whole file system and waits until what is there has been counted.
///
/// # Errors
/// The privilege is missing, or the file system refuses.
#[expect(unsafe_code, reason = "ioctls whose arguments are declared above")]
pub fn enable_quota(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut args = QuotaArgs { command: QUOTA_ENABLE, status: 0 };
    // SAFETY: BTRFS_IOC_QUOTA_CTL updates one `struct btrfs_ioctl_quota_ctl_args`, which QuotaArgs mirrors.
    let enabled = unsafe {
        ioctl::ioctl(directory, ioctl::Updater::<QUOTA_CONTROL, QuotaArgs>::new(&mut args))
    };
    match enabled {
        // Another agent on the same file system was faster.
        Ok(()) | Err(Errno::INPROGRESS | Errno::EXIST) => {},
        Err(errno) => return Err(errno),
    }
    // SAFETY: BTRFS_IOC_QUOTA_RESCAN_WAIT has no argument.
    unsafe { ioctl::ioctl(directory, ioctl::NoArg::<RESCAN_WAIT>::new()) }
}

/// The number of the subvolume a directory is in.
///
/// # Errors
/// Not on btrfs, or the file system does not answer.
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn id(directory: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut args = LookupArgs { tree: 0, object: ROOT_INODE, name: [0; 4080] };
    // SAFETY: BTRFS_IOC_INO_LOOKUP updates one `struct btrfs_ioctl_ino_lookup_args`, which LookupArgs mirrors.
    unsafe {
        ioctl::ioctl(directory, ioctl::Updater::<INODE_LOOKUP, LookupArgs>::new(&mut args))?;
    }
    Ok(args.tree)
}

/// What the subvolume uses as of the last transaction; nothing when it is not accounted.
///
/// # Errors
/// Quotas are off (NOENT), or the privilege is missing (PERM).
pub fn used(subvolume: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    Ok(counted(subvolume)?.map(|(referenced, _exclusive)| referenced))
}

/// What of it no other subvolume has too, likewise.
///
/// # Errors
/// See [`used`].
pub fn exclusive(subvolume: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    Ok(counted(subvolume)?.map(|(_referenced, exclusive)| exclusive))
}

#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
fn counted(subvolume: BorrowedFd<'_>) -> Result<Option<(u64, u64)>, Errno> {
    let group = id(subvolume)?;
    let mut args = SearchArgs {
        min_offset: group,
        max_offset: group,
        ..SearchArgs::first(QUOTA_TREE, 0, QGROUP_INFO_KEY)
    };
    // SAFETY: BTRFS_IOC_TREE_SEARCH updates one `struct btrfs_ioctl_search_args`, which SearchArgs mirrors.
    unsafe {
        ioctl::ioctl(subvolume, ioctl::Updater::<TREE_SEARCH, SearchArgs>::new(&mut args))?;
    }
    if args.items == 0 {
        return Ok(None);
    }
    // The header has 32 bytes; the item has its generation, the referenced bytes, the same compressed, the exclusive ones.
    let number = |at: usize| {
        let bytes =
            args.found.get(at..at.saturating_add(8)).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_le_bytes)
    };
    Ok(number(40).zip(number(56)))
}

/// A subvolume that lies inside this one: its name. A snapshot leaves an empty directory in its place.
///
/// # Errors
/// The privilege is missing (PERM), or the file system does not answer.
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn nested(subvolume: BorrowedFd<'_>) -> Result<Option<String>, Errno> {
    let mut args = SearchArgs::first(ROOT_TREE, id(subvolume)?, ROOT_REF_KEY);
    // SAFETY: BTRFS_IOC_TREE_SEARCH updates one `struct btrfs_ioctl_search_args`, which SearchArgs mirrors.
    unsafe {
        ioctl::ioctl(subvolume, ioctl::Updater::<TREE_SEARCH, SearchArgs>::new(&mut args))?;
    }
    if args.items == 0 {
        return Ok(None);
    }
    // The header has 32 bytes; the item has its directory, its number in it, the length of its name, and the name.
    let length = args.found.get(48..50).and_then(|bytes| bytes.try_into().ok());
    let length = usize::from(length.map_or(0, u16::from_le_bytes));
    let name = args.found.get(50..length.saturating_add(50)).unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(name).into_owned()))
}

/// Removes the quota group of a subvolume that was deleted.
///
/// # Errors
/// It is not there (NOENT) or the subvolume is not gone for good yet (BUSY).
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn forget(directory: BorrowedFd<'_>, group: u64) -> Result<(), Errno> {
    let args = QgroupArgs { create: 0, qgroup: group };
    // SAFETY: BTRFS_IOC_QGROUP_CREATE reads one `struct btrfs_ioctl_qgroup_create_args`, which QgroupArgs mirrors.
    unsafe { ioctl::ioctl(directory, ioctl::Setter::<QGROUP_CREATE, QgroupArgs>::new(args)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_numbers_the_kernel_declares() {
        let numbers = [
            SNAPSHOT_CREATE,
            GET_FLAGS,
            SET_FLAGS,
            SUBVOLUME_CREATE,
            QGROUP_LIMIT,
            QGROUP_CREATE,
            QUOTA_CONTROL,
            RESCAN_WAIT,
            INODE_LOOKUP,
            TREE_SEARCH,
        ];
        let want = [
            0x5000_9417,
            0x8008_9419,
            0x4008_941a,
            0x5000_9418,
            0x8030_942b,
            0x4010_942a,
            0xc010_9428,
            0x942e,
            0xd000_9412,
            0xd000_9411,
        ];
        assert_eq!(numbers, want);
    }
}
