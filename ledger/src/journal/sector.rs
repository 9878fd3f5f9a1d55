//! Batches of frames cut into self-checking 512-byte sectors.
//!
//! ```text
//! 0 crc32c of salt, offset and 4..512   4 kind u8   5 format u8 (0xB1)   6 used u16   8 data, then zeros
//! ```
//! One commit is one batch: whole sectors, the first marked FIRST, the last LAST. Sectors are what a device writes or does not write, so
//! a sector is intact, unwritten (all zeros, or short at the end of the file) or rotten, and no sector is two of these: an intact one
//! has at least two non-zero bytes that one changed byte cannot both clear. The salt is the segment header's
//! checksum, so sectors of other segments and owners, and sectors in the wrong place, count as rotten.

use super::fields::{u16_at, u32_at};

pub(super) const SECTOR: usize = 512;
const HEAD: usize = 8;
const DATA: usize = SECTOR - HEAD;
const FORMAT: u8 = 0xB1;
const KIND: u8 = 0x40;
const FIRST: u8 = 0x01;
const LAST: u8 = 0x02;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sector<'a> {
    Intact { is_first: bool, is_last: bool, data: &'a [u8] },
    Unwritten,
    Rotten,
}

/// Appends `batch` to `out` as sectors for the file offset `offset`.
pub(super) fn put(out: &mut Vec<u8>, salt: u32, mut offset: u64, batch: &[u8]) {
    let count = batch.len().div_ceil(DATA);
    for (at, data) in batch.chunks(DATA).enumerate() {
        let mut sector = [0; SECTOR];
        let first = if at == 0 { FIRST } else { 0 };
        let last = if at + 1 == count { LAST } else { 0 };
        sector[4] = KIND | first | last;
        sector[5] = FORMAT;
        let used = u16::try_from(data.len()).expect("at most 504");
        sector[6..8].copy_from_slice(&used.to_le_bytes());
        sector[HEAD..HEAD + data.len()].copy_from_slice(data);
        let crc = checksum(salt, offset, &sector);
        sector[..4].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&sector);
        offset += SECTOR as u64;
    }
}

/// The sector that starts at `offset` of `file`.
pub(super) fn look(file: &[u8], salt: u32, offset: usize) -> Sector<'_> {
    let Some(sector) = file.get(offset..offset + SECTOR) else { return Sector::Unwritten };
    if sector.iter().all(|byte| *byte == 0) {
        return Sector::Unwritten;
    }
    let used = usize::from(u16_at(sector, 6));
    let is_sound = u32_at(sector, 0) == checksum(salt, offset as u64, sector)
        && sector[4] & !(FIRST | LAST) == KIND
        && sector[5] == FORMAT
        && (1..=DATA).contains(&used)
        && sector[HEAD + used..].iter().all(|byte| *byte == 0);
    if is_sound {
        Sector::Intact {
            is_first: sector[4] & FIRST != 0,
            is_last: sector[4] & LAST != 0,
            data: &sector[HEAD..HEAD + used],
        }
    } else {
        Sector::Rotten
    }
}

fn checksum(salt: u32, offset: u64, sector: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(salt, &offset.to_le_bytes());
    crc32c::crc32c_append(crc, &sector[4..])
}
