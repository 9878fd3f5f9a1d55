//! Giving a mounted file system another size, by ioctl.
//!
//! Growing goes to the end of the device and is done when it is that large already. Only btrfs shrinks while it is
//! mounted; whether the data fits is the caller's question, asked before.

use super::Format;
use super::device::Device;
use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, opcode};
use std::os::fd::BorrowedFd;

/// `struct xfs_fsop_geom_v1`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct XfsGeometry {
    block_size: u32,
    realtime_extent: u32,
    group_blocks: u32,
    groups: u32,
    log_blocks: u32,
    sector_size: u32,
    inode_size: u32,
    inode_percent: u32,
    data_blocks: u64,
    realtime: [u64; 3],
    uuid: [u8; 16],
    rest: [u32; 7],
}

/// `struct xfs_growfs_data`.
#[repr(C)]
struct XfsGrow {
    blocks: u64,
    inode_percent: u32,
}

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct BtrfsArgs {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_dev_info_args`.
#[repr(C)]
struct BtrfsDevice {
    id: u64,
    uuid: [u8; 16],
    used: u64,
    total: u64,
    rest: [u64; 379],
    path: [u8; 1024],
}

/// Where the superblock of ext4 begins.
const EXT4_SUPERBLOCK: u64 = 1024;

const XFS_GEOMETRY: Opcode = opcode::read::<XfsGeometry>(b'X', 100);
const XFS_GROW: Opcode = opcode::write::<XfsGrow>(b'X', 110);
const EXT4_RESIZE: Opcode = opcode::write::<u64>(b'f', 16);
const BTRFS_RESIZE: Opcode = opcode::write::<BtrfsArgs>(0x94, 3);
const BTRFS_DEVICE: Opcode = opcode::read_write::<BtrfsDevice>(0x94, 30);

/// Gives the file system mounted at `root` this size, which its device has. Only btrfs gets smaller.
///
/// # Errors
/// The privilege is missing (PERM: ext4 wants CAP_SYS_RESOURCE), what btrfs holds does not fit (NOSPC), or the file
/// system refuses.
pub fn grow(root: BorrowedFd<'_>, format: Format, bytes: u64) -> Result<(), Errno> {
    match format {
        Format::Xfs => grow_xfs(root, bytes),
        Format::Ext4 => grow_ext4(root, bytes),
        Format::Btrfs => resize_btrfs(root, bytes),
    }
}

/// What the mounted file system takes of its device, in bytes.
///
/// # Errors
/// The file system or the device does not answer.
pub fn size(root: BorrowedFd<'_>, device: &Device, format: Format) -> Result<u64, Errno> {
    match format {
        Format::Xfs => {
            let now = xfs_geometry(root)?;
            Ok(now.data_blocks.saturating_mul(u64::from(now.block_size)))
        },
        Format::Ext4 => {
            let block = device.read(EXT4_SUPERBLOCK)?;
            ext4_size(&block).ok_or(Errno::UCLEAN)
        },
        Format::Btrfs => btrfs_device(root).map(|(_path, bytes)| bytes),
    }
}

/// From the superblock: the number of blocks, whose upper half counts with the feature "64bit", and their size.
fn ext4_size(superblock: &[u8]) -> Option<u64> {
    let number = |at: usize| {
        let bytes = superblock.get(at..at + 4)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    };
    if superblock.get(0x38..0x3a)? != [0x53, 0xef] {
        return None;
    }
    let wide = number(0x60)? & 0x80 != 0;
    let high = if wide { number(0x150)? } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(number(4)?);
    blocks.checked_mul(1024_u64.checked_shl(number(0x18)?)?)
}

#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
fn xfs_geometry(root: BorrowedFd<'_>) -> Result<XfsGeometry, Errno> {
    let mut now = XfsGeometry::default();
    // SAFETY: XFS_IOC_FSGEOMETRY_V1 writes one `struct xfs_fsop_geom_v1`, which XfsGeometry mirrors.
    unsafe {
        ioctl::ioctl(root, ioctl::Updater::<XFS_GEOMETRY, XfsGeometry>::new(&mut now))?;
    }
    Ok(now)
}

#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
fn grow_xfs(root: BorrowedFd<'_>, bytes: u64) -> Result<(), Errno> {
    let now = xfs_geometry(root)?;
    let blocks = bytes / u64::from(now.block_size.max(512));
    // Less than a group of the least size cannot be added.
    if blocks <= now.data_blocks {
        return Ok(());
    }
    let args = XfsGrow { blocks, inode_percent: now.inode_percent };
    // SAFETY: XFS_IOC_FSGROWFSDATA reads one `struct xfs_growfs_data`, which XfsGrow mirrors.
    unsafe { ioctl::ioctl(root, ioctl::Setter::<XFS_GROW, XfsGrow>::new(args)) }
}

#[expect(unsafe_code, reason = "an ioctl whose argument is a number")]
fn grow_ext4(root: BorrowedFd<'_>, bytes: u64) -> Result<(), Errno> {
    let block = u64::try_from(rustix::fs::fstatfs(root)?.f_bsize).map_err(|_odd| Errno::INVAL)?;
    let blocks = bytes / block.max(1024);
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64.
    unsafe { ioctl::ioctl(root, ioctl::Setter::<EXT4_RESIZE, u64>::new(blocks)) }
}

/// Gives a btrfs of one device this size, which may be smaller than now.
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
fn resize_btrfs(root: BorrowedFd<'_>, bytes: u64) -> Result<(), Errno> {
    let mut args = BtrfsArgs { fd: 0, name: [0; 4088] };
    let text = bytes.to_string();
    let room = args.name.get_mut(..text.len()).ok_or(Errno::INVAL)?;
    room.copy_from_slice(text.as_bytes());
    // SAFETY: BTRFS_IOC_RESIZE reads one `struct btrfs_ioctl_vol_args`, which BtrfsArgs mirrors.
    unsafe { ioctl::ioctl(root, ioctl::Setter::<BTRFS_RESIZE, BtrfsArgs>::new(args)) }
}

/// The path of the device under a btrfs of one device, as it was mounted, and its size in bytes.
///
/// # Errors
/// The file system does not answer.
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn btrfs_device(root: BorrowedFd<'_>) -> Result<(String, u64), Errno> {
    let mut args =
        BtrfsDevice { id: 1, uuid: [0; 16], used: 0, total: 0, rest: [0; 379], path: [0; 1024] };
    // SAFETY: BTRFS_IOC_DEV_INFO updates one `struct btrfs_ioctl_dev_info_args`, which BtrfsDevice mirrors.
    unsafe {
        ioctl::ioctl(root, ioctl::Updater::<BTRFS_DEVICE, BtrfsDevice>::new(&mut args))?;
    }
    let path = args.path.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok((String::from_utf8_lossy(path).into_owned(), args.total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_numbers_the_kernel_declares() {
        let numbers = [XFS_GEOMETRY, XFS_GROW, EXT4_RESIZE, BTRFS_RESIZE, BTRFS_DEVICE];
        assert_eq!(numbers, [0x8070_5864, 0x4010_586e, 0x4008_6610, 0x5000_9403, 0xd000_941e]);
    }
}
