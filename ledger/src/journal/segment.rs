//! A segment file: one header sector, then batches. Scanning tells a torn tail from rot.
//!
//! ```text
//! 0 magic "BRTHLOG\n"   8 version u32   12 zeros ×4   16 owner   32 first seq u64   40 crc32c of 0..40   44 zeros to 512
//! ```
//! The header is written to a temporary file and synced before the name appears, so a bad header is always rot.
//! Batches are written one at a time, each synced before the next, so a tear is possible in the last one only:
//!
//! | found from the first bad place on | meaning |
//! |---|---|
//! | unwritten sectors, or the end of the file, before the batch is complete; behind them only sectors of this same batch | torn tail, cut |
//! | any rotten sector, anywhere | rot |
//! | an unwritten sector, and behind it the first sector of another batch, or anything behind this batch's last one | rot |
//! | intact sectors whose frames or order are wrong | rot |
//!
//! What cannot be told: a last batch whose whole sectors became zeros, or that was cut off with the file's end, looks
//! torn or was never there. [`super::Recovered::seq`] is for that.

use super::fields::{u32_at, u64_at};
use super::names::SEQ_MAX;
use super::sector::{self, SECTOR, Sector};
use super::{Damage, Error, Identity, Seq, frame};

const MAGIC: &[u8; 8] = b"BRTHLOG\n";
const VERSION: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) owner: Identity,
    pub(super) first: Seq,
    /// The header's checksum, with which the sectors' checksums start.
    pub(super) salt: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) header: Header,
    pub(super) records: Vec<Vec<u8>>,
    pub(super) batches: u64,
    /// Where the last complete batch starts; the end of the header when there is none.
    pub(super) last_batch: usize,
    /// Where the last complete batch ends and the next one goes.
    pub(super) end: usize,
    pub(super) torn_bytes: usize,
}

impl Scan {
    /// The number of the last record, or of the one before the segment.
    pub(super) fn seq(&self) -> Seq {
        self.header.first - 1 + self.records.len() as u64
    }
}

pub(super) fn put_header(owner: &Identity, first: Seq) -> (Vec<u8>, Header) {
    let mut out = Vec::with_capacity(SECTOR);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(owner);
    out.extend_from_slice(&first.to_le_bytes());
    let salt = crc32c::crc32c(&out);
    out.extend_from_slice(&salt.to_le_bytes());
    out.resize(SECTOR, 0);
    (out, Header { owner: *owner, first, salt })
}

fn take_header(file: &[u8]) -> Result<Header, Damage> {
    let sector = file.get(..SECTOR).ok_or(Damage::Header)?;
    let salt = u32_at(sector, 40);
    if &sector[..8] != MAGIC || crc32c::crc32c(&sector[..40]) != salt {
        return Err(Damage::Header);
    }
    let version = u32_at(sector, 8);
    if version != VERSION {
        return Err(Damage::Version { found: version, known: VERSION });
    }
    let first = u64_at(sector, 32);
    if !(1..=SEQ_MAX).contains(&first)
        || sector[12..16] != [0; 4]
        || sector[44..].iter().any(|byte| *byte != 0)
    {
        return Err(Damage::Header);
    }
    let owner = sector[16..32].try_into().expect("sixteen bytes were sliced");
    Ok(Header { owner, first, salt })
}

/// Reads a whole segment. Errors name `name`.
pub(super) fn scan(name: &str, file: &[u8]) -> Result<Scan, Error> {
    let header = take_header(file).map_err(|what| Error::corrupt(name, 0, what))?;
    let mut scan = Scan {
        header,
        records: Vec::new(),
        batches: 0,
        last_batch: SECTOR,
        end: SECTOR,
        torn_bytes: 0,
    };
    while scan.end < file.len() {
        match read_batch(file, header.salt, scan.end) {
            Ok((stream, end)) => {
                let mut rest = stream.as_slice();
                while !rest.is_empty() {
                    let (payload, behind) = frame::take(rest, scan.seq() + 1)
                        .map_err(|what| Error::corrupt(name, scan.end, what))?;
                    scan.records.push(payload.to_vec());
                    rest = behind;
                }
                scan.batches += 1;
                scan.last_batch = scan.end;
                scan.end = end;
            },
            Err(Stop::Torn) => {
                scan.torn_bytes = file.len() - scan.end;
                break;
            },
            Err(Stop::Rot { offset, what }) => return Err(Error::corrupt(name, offset, what)),
        }
    }
    Ok(scan)
}

enum Stop {
    Torn,
    Rot { offset: usize, what: Damage },
}

/// The frames of the batch at `start`, and where it ends.
fn read_batch(file: &[u8], salt: u32, start: usize) -> Result<(Vec<u8>, usize), Stop> {
    let mut stream = Vec::new();
    let mut at = start;
    loop {
        match sector::look(file, salt, at) {
            Sector::Intact { is_first, .. } if is_first != (at == start) => {
                return Err(Stop::Rot { offset: at, what: Damage::Order });
            },
            Sector::Intact { is_last, data, .. } => {
                stream.extend_from_slice(data);
                at += SECTOR;
                if is_last {
                    return Ok((stream, at));
                }
            },
            Sector::Unwritten => return Err(judge_hole(file, salt, at)),
            Sector::Rotten => return Err(Stop::Rot { offset: at, what: Damage::Sector }),
        }
    }
}

/// The batch before `hole` is incomplete: is what lies behind the hole possible for a last, unsynced batch?
fn judge_hole(file: &[u8], salt: u32, hole: usize) -> Stop {
    let mut is_over = false;
    for at in (hole..file.len()).step_by(SECTOR) {
        if is_over {
            return Stop::Rot { offset: hole, what: Damage::Hole };
        }
        match sector::look(file, salt, at) {
            Sector::Intact { is_first: true, .. } => {
                return Stop::Rot { offset: hole, what: Damage::Hole };
            },
            Sector::Intact { is_first: false, is_last, .. } => is_over = is_last,
            Sector::Unwritten => {},
            Sector::Rotten => return Stop::Rot { offset: at, what: Damage::Sector },
        }
    }
    Stop::Torn
}
