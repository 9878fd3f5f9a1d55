//! One record as bytes: header, payload, checksums, end mark.
//!
//! ```text
//! 0 magic "BLFR"   4 version u8   5 zeros ×3   8 length u32   12 seq u64   20 crc32c of 0..20
//! 24 payload       24+length crc32c of the payload    28+length end mark "RFLB"
//! ```
//! All numbers are little-endian. This file knows nothing of sectors and files. Invariant: `take` accepts exactly what
//! `put` wrote.

use super::fields::{u32_at, u64_at};
use super::{Damage, Seq};

const MAGIC: &[u8; 4] = b"BLFR";
const END: &[u8; 4] = b"RFLB";
const VERSION: u8 = 1;
const HEADER: usize = 24;
const FOOTER: usize = 8;

/// The most that a record's length field is trusted with, in bytes.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 << 20;

pub(super) fn put(out: &mut Vec<u8>, seq: Seq, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("append limits a record to 64 MiB");
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    out.extend_from_slice(END);
}

/// The record at the start of `bytes`, which must have the number `wanted`, and what follows it.
pub(super) fn take(bytes: &[u8], wanted: Seq) -> Result<(&[u8], &[u8]), Damage> {
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(Damage::Frame)?;
    if &header[..4] != MAGIC || u32_at(header, 20) != crc32c::crc32c(&header[..20]) {
        return Err(Damage::Frame);
    }
    if header[4] != VERSION {
        return Err(Damage::Version { found: header[4].into(), known: VERSION.into() });
    }
    if header[5..8] != [0; 3] {
        return Err(Damage::Frame);
    }
    let length = usize::try_from(u32_at(header, 8)).expect("a u32 fits a usize here");
    if length > PAYLOAD_BYTES_MAX {
        return Err(Damage::Frame);
    }
    let (payload, rest) = body.split_at_checked(length).ok_or(Damage::Frame)?;
    let (footer, rest) = rest.split_at_checked(FOOTER).ok_or(Damage::Frame)?;
    if u32_at(footer, 0) != crc32c::crc32c(payload) || &footer[4..] != END {
        return Err(Damage::Frame);
    }
    let found = u64_at(header, 12);
    if found != wanted {
        return Err(Damage::SeqGap { found, wanted });
    }
    Ok((payload, rest))
}

#[cfg(test)]
mod tests {
    use super::{put, take};
    use crate::journal::Damage;

    #[test]
    fn every_changed_byte_and_every_shorter_length_is_refused() {
        let mut bytes = Vec::new();
        put(&mut bytes, 7, b"payload");
        assert_eq!(take(&bytes, 7), Ok((&b"payload"[..], &[][..])));
        assert_eq!(take(&bytes, 8), Err(Damage::SeqGap { found: 7, wanted: 8 }));
        for at in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xFF] {
                let mut bad = bytes.clone();
                bad[at] ^= mask;
                assert_eq!(take(&bad, 7), Err(Damage::Frame), "byte {at} mask {mask:#x}");
            }
            assert_eq!(take(&bytes[..at], 7), Err(Damage::Frame), "length {at}");
        }
    }
}
