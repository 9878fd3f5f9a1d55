//! What is read of an archive besides its heads: contents, where the parts of a file with holes lie, and the manifest.
//!
//! Invariant: what is accepted is, byte for byte, what an export writes of what has arrived.

use super::archive::{self, Checksum, Head, MANIFEST, Take, invalid, shown};
use super::unpack::{CHUNK, refuse};
use super::{Counter, Stop};
use crate::disk::fs::Node;
use crate::disk::fs::copying::CopyError;
use crate::disk::fs::real_copying::{BLOCK, EXTENTS_MAX};
use berth_model::error::Rejection;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

/// The bytes before the parts, and where they lie.
pub(super) type Mapped = (Vec<u8>, Vec<(u64, u64)>);

/// What the manifest has to say.
pub(super) struct Arrived<'a> {
    /// Of the files, in order.
    pub(super) checksums: &'a [Checksum],
    /// Of all lines about them.
    pub(super) lines: Checksum,
    /// How long those are.
    pub(super) length: u64,
    /// What follows them.
    pub(super) tail: Vec<u8>,
}

/// Compares the manifest with what arrived, byte for byte.
pub(super) fn compare(take: Take<'_>, head: &Head, arrived: &Arrived<'_>) -> Result<(), Stop> {
    if *head != Head::own(MANIFEST, arrived.length + arrived.tail.len() as u64) {
        return Err(refuse(head, "is not that of what has arrived"));
    }
    let mut lines = Lines::default();
    let mut left = arrived.length;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        lines.compare(&take(most)?, arrived.checksums).map_err(Stop::Content)?;
        left -= most as u64;
    }
    if Checksum::from(lines.sum.finalize()) != arrived.lines {
        return Err(refuse(head, "names other files than have arrived"));
    }
    if take(arrived.tail.len())? != arrived.tail {
        return Err(refuse(head, "has another checksum, or other counts, of what is before it"));
    }
    Ok(())
}

/// Where the parts of a file with holes lie.
pub(super) fn parts(take: Take<'_>, head: &Head, length: u64) -> Result<Mapped, Stop> {
    let wrong = || refuse(head, "has a list of its parts that makes no sense");
    if i64::try_from(length).is_err() {
        return Err(wrong());
    }
    let mut bytes = take(archive::BLOCK)?;
    let numbers = |bytes: &[u8]| -> Vec<u64> {
        let lines = bytes.split(|byte| *byte == b'\n');
        let mut all: Vec<&[u8]> = lines.collect();
        // What follows the last line's end.
        all.pop();
        all.iter().map_while(|line| std::str::from_utf8(line).ok()?.parse().ok()).collect()
    };
    let count = numbers(&bytes).first().copied().ok_or_else(wrong)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= EXTENTS_MAX + 1);
    let count = count.ok_or_else(wrong)?;
    let mut lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    while lines < 1 + 2 * count {
        if bytes.len() > 48 * (2 + count) {
            return Err(wrong());
        }
        let more = take(archive::BLOCK)?;
        lines += more.iter().filter(|byte| **byte == b'\n').count();
        bytes.extend(more);
    }
    let all = numbers(&bytes);
    let mut parts: Vec<(u64, u64)> =
        all.get(1..).unwrap_or_default().chunks_exact(2).map(|two| (two[0], two[1])).collect();
    parts.pop_if(|last| *last == (length, 0));
    let block = BLOCK as u64;
    let mut end = 0;
    for (at, own) in &parts {
        let ends = at.checked_add(*own).filter(|ends| *ends <= length).ok_or_else(wrong)?;
        let is_whole = own % block == 0 || ends == length;
        if *own == 0 || *at < end || at % block != 0 || !is_whole {
            return Err(wrong());
        }
        end = ends;
    }
    let carried: u64 = parts.iter().map(|(_at, own)| own).sum();
    if archive::map(&parts, length) != bytes
        || (bytes.len() as u64).checked_add(carried) != Some(head.size)
    {
        return Err(wrong());
    }
    Ok((bytes, parts))
}

/// Writes the parts of a file that follow; answers the checksum that it has when it is read again.
pub(super) fn fill(
    take: Take<'_>,
    (to, counter): (&Node, &Counter),
    (parts, length): (Vec<(u64, u64)>, u64),
    sum: &mut Sha256,
    failed: impl Fn(Errno) -> Stop,
) -> Result<u32, Stop> {
    let mut stopped = None;
    let mut parts = parts.into_iter().filter(|(_at, length)| *length > 0);
    let mut now: Option<(u64, u64)> = parts.next();
    let mut next = || {
        let Some((at, left)) = now else { return Ok(None) };
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let bytes = take(most).map_err(|stop| {
            stopped = Some(stop);
            CopyError::Stopped
        })?;
        sum.update(&bytes);
        if !counter.add_bytes(most as u64) {
            return Err(CopyError::Stopped);
        }
        let rest = left - most as u64;
        now = if rest > 0 { Some((at + most as u64, rest)) } else { parts.next() };
        Ok(Some((at, bytes)))
    };
    let copied = to.fill_with(length, &mut next);
    let copied = copied.map_err(|error| match error {
        CopyError::From(errno) | CopyError::To(errno) => failed(errno),
        CopyError::Stopped => stopped.unwrap_or(Stop::Stopped),
    })?;
    copied.checksum.ok_or(Stop::Stopped)
}

/// The lines of a manifest, as they come.
#[derive(Default)]
struct Lines {
    sum: Sha256,
    line: Vec<u8>,
    number: usize,
}

impl Lines {
    /// Each begins with the checksum of the next file; the rest of it is in the checksum of all.
    fn compare(&mut self, bytes: &[u8], checksums: &[Checksum]) -> Result<(), Rejection> {
        self.sum.update(bytes);
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let own = line.strip_prefix(b"# parts ").unwrap_or(&line);
            let own = own.strip_prefix(b"\\").unwrap_or(own);
            let wanted = checksums.get(self.number).map(|sum| archive::hex(sum));
            if wanted.is_none_or(|wanted| !own.starts_with(wanted.as_bytes())) {
                let text = format!(
                    "{} is not what the manifest says it is",
                    shown(own.get(66..).unwrap_or(own))
                );
                return Err(invalid(text));
            }
            self.number += 1;
        }
        Ok(())
    }
}
