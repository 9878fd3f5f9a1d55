//! A snapshot file: the caller's whole state as of one sequence number.
//!
//! ```text
//! 0 magic "BRTHSNP\n"   8 version u32   12 zeros ×4   16 owner   32 seq u64   40 length u64   48 crc32c of 0..48
//! 52 payload            52+length crc32c of the payload   56+length end mark "PNSB"
//! ```
//! It gets its name only after it is synced, so whatever is wrong with it is rot. Invariant: `take` accepts exactly
//! what `put` wrote, to the last byte.

use super::fields::{u32_at, u64_at};
use super::{Damage, Error, Identity, Seq};

const MAGIC: &[u8; 8] = b"BRTHSNP\n";
const END: &[u8; 4] = b"PNSB";
const VERSION: u32 = 1;
const HEADER: usize = 52;
const FOOTER: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) owner: Identity,
    pub(super) seq: Seq,
    pub(super) state: Vec<u8>,
}

pub(super) fn put(owner: &Identity, seq: Seq, state: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + state.len() + FOOTER);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(owner);
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&(state.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(state);
    out.extend_from_slice(&crc32c::crc32c(state).to_le_bytes());
    out.extend_from_slice(END);
    out
}

pub(super) fn take(name: &str, file: &[u8]) -> Result<Snapshot, Error> {
    let damaged = |offset, what| Error::corrupt(name, offset, what);
    let (header, body) = file.split_at_checked(HEADER).ok_or_else(|| damaged(0, Damage::Header))?;
    if &header[..8] != MAGIC || u32_at(header, 48) != crc32c::crc32c(&header[..48]) {
        return Err(damaged(0, Damage::Header));
    }
    let version = u32_at(header, 8);
    if version != VERSION {
        return Err(damaged(8, Damage::Version { found: version, known: VERSION }));
    }
    if header[12..16] != [0; 4] {
        return Err(damaged(12, Damage::Header));
    }
    let owner = header[16..32].try_into().expect("sixteen bytes were sliced");
    let seq = u64_at(header, 32);
    let length = usize::try_from(u64_at(header, 40)).ok();
    match length.and_then(|length| body.split_at_checked(length)) {
        Some((state, footer))
            if footer.len() == FOOTER
                && u32_at(footer, 0) == crc32c::crc32c(state)
                && &footer[4..] == END =>
        {
            Ok(Snapshot { owner, seq, state: state.to_vec() })
        },
        Some(_) | None => Err(damaged(HEADER, Damage::Snapshot)),
    }
}
