//! What lies on a raw device, told from the first and last bytes as `blkid` does: so that nothing of anybody else is
//! overwritten, and the refusal names what was found.
//!
//! Invariant: a device is empty only when the first and the last MiB of it, which hold what identifies anything known, are
//! all zeros.

use crate::disk::fs::Node;
use rustix::io::Errno;

const MIB: u64 = 1 << 20;
/// Where and by what something is recognised.
const KNOWN: [(u64, &[u8], &str); 21] = [
    (0, b"XFSB", "an XFS file system"),
    (0x438, b"\x53\xef", "an ext2, ext3 or ext4 file system"),
    (0x10040, b"_BHRfS_M", "a btrfs file system"),
    (0x400, b"\x10\x20\xf5\xf2", "an F2FS file system"),
    (3, b"NTFS    ", "an NTFS file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (0x36, b"FAT1", "a FAT file system"),
    (0x52, b"FAT32", "a FAT file system"),
    (0x8001, b"CD001", "an ISO 9660 file system"),
    (0, b"hsqs", "a squashfs file system"),
    (0x18, b"\xc8\x03\x4d\x18\x73\xf2\xdb\x9c", "a bcache device"),
    (
        0x1018,
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81",
        "a bcache device",
    ),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (0x218, b"LVM2 001", "an LVM physical volume"),
    (0x1000, b"\xfc\x4e\x2b\xa9", "a member of a software RAID"),
    (0, b"\xfc\x4e\x2b\xa9", "a member of a software RAID"),
    (0xff6, b"SWAPSPACE2", "swap space"),
    (0xff6, b"SWAP-SPACE", "swap space"),
    (0, b"bluestore block device", "a Ceph OSD"),
    (0x200, b"EFI PART", "a GPT partition table"),
    (0x1fe, b"\x55\xaa", "an MBR partition table or boot sector"),
];

/// What a region holds that begins at `from` and ends at `to`; nothing when it is empty.
///
/// # Errors
/// It cannot be read.
pub fn find(device: &Node, from: u64, to: u64) -> Result<Option<String>, Errno> {
    let length = to.saturating_sub(from);
    let first = device.read_at(from, bytes(length.min(MIB)))?;
    for (at, magic, what) in KNOWN {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if first.get(at..).is_some_and(|rest| rest.starts_with(magic)) {
            return Ok(Some(what.to_owned()));
        }
    }
    if let Some(at) = first_byte(&first) {
        return Ok(Some(format!("data of an unknown kind (first at byte {at})")));
    }
    let tail = length.saturating_sub(MIB).min(MIB);
    let last = device.read_at(to - tail, bytes(tail))?;
    let Some(at) = first_byte(&last) else { return Ok(None) };
    // In the last block, of 512 bytes or of 4 KiB.
    let is_table = [512, 4096].iter().any(|block| {
        last.len()
            .checked_sub(*block)
            .and_then(|at| last.get(at..))
            .is_some_and(|rest| rest.starts_with(b"EFI PART"))
    });
    Ok(Some(if is_table {
        "the second copy of a GPT partition table".to_owned()
    } else {
        let at = length - tail + at as u64;
        format!("data of an unknown kind near its end (first at byte {at})")
    }))
}

/// Where the first byte is that is not zero.
fn first_byte(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 4096;
    let zeros = [0; BLOCK];
    let (index, block) = bytes
        .chunks(BLOCK)
        .enumerate()
        .find(|(_index, block)| zeros.get(..block.len()) != Some(*block))?;
    Some(index * BLOCK + block.iter().position(|byte| *byte != 0)?)
}

/// Overwrites with zeros what [`find`] looks at, and syncs.
///
/// # Errors
/// Any part may be overwritten.
pub fn wipe(device: &Node, from: u64, to: u64) -> Result<(), Errno> {
    let length = to.saturating_sub(from);
    let (head, tail) = (length.min(MIB), length.saturating_sub(MIB).min(MIB));
    device.write_at(from, &vec![0; bytes(head)])?;
    if tail > 0 {
        device.write_at(to - tail, &vec![0; bytes(tail)])?;
    }
    device.sync()
}

fn bytes(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
