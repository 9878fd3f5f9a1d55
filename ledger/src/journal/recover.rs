//! What a folder's files mean together, and putting them in order after a crash.
//!
//! [`survey`] only reads and either explains every file of ours or refuses; [`settle`] then finishes what a crash interrupted.
//! Possible after a crash: the segment's last batch torn; a newest snapshot whose segment does not exist yet (then the
//! segment before it is whole and ends right before the snapshot); older files not removed yet; temporary files.
//! Everything else is damage. Invariant: `settle` removes nothing that is needed to understand the rest, and
//! what it leaves is durable before open answers.

use std::collections::BTreeSet;

use crate::disk::{self, Disk};

use super::names::{self, Name};
use super::segment::{self, Header, Scan};
use super::snapshot::{self, Snapshot};
use super::{Damage, Error, Identity, Seq};

/// What the files say.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) owner: Identity,
    pub(super) snapshot: Option<Snapshot>,
    /// `None` when a crash came between the newest snapshot and its segment.
    pub(super) active: Option<Active>,
    /// Files that are not needed any more.
    leftovers: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Active {
    name: String,
    file: Vec<u8>,
    pub(super) scan: Scan,
}

/// Where the next batch goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) name: String,
    pub(super) header: Header,
    pub(super) end: u64,
}

impl Survey {
    /// The number of the last record or snapshot.
    pub(super) fn seq(&self) -> Seq {
        let base = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
        self.active.as_ref().map_or(base, |active| active.scan.seq())
    }

    pub(super) fn torn_bytes(&self) -> usize {
        self.active.as_ref().map_or(0, |active| active.scan.torn_bytes)
    }
}

/// Reads everything. `wanted` is the identity that all files must have; without it they must only agree.
pub(super) fn survey<D: Disk + ?Sized>(
    disk: &D,
    wanted: Option<&Identity>,
) -> Result<Survey, Error> {
    let mut segments = BTreeSet::new();
    let mut snapshots = BTreeSet::new();
    let mut leftovers = Vec::new();
    let mut has_temporary = false;
    for name in disk.list()? {
        match names::parse(&name) {
            Name::Segment(first) => {
                segments.insert(first);
            },
            Name::Snapshot(seq) => {
                snapshots.insert(seq);
            },
            Name::Creating => leftovers.push(name),
            Name::Temporary => {
                has_temporary = true;
                leftovers.push(name);
            },
            Name::Stranger => return Err(Error::corrupt(&name, 0, Damage::Stranger)),
            Name::Foreign => {},
        }
    }
    if segments.is_empty() && snapshots.is_empty() && !has_temporary {
        return Err(Error::Absent);
    }
    let base = snapshots.pop_last();
    let after = base.unwrap_or(0) + 1;
    let missing = |name: &str| Error::corrupt(name, 0, Damage::Missing);
    let newest = segments.pop_last().ok_or_else(|| missing(&names::segment(after)))?;
    if newest > after {
        return Err(missing(&names::snapshot(newest - 1)));
    }

    let snapshot = base.map(|seq| read_snapshot(disk, seq)).transpose()?;
    let active = read_segment(disk, newest)?;
    let owner = wanted.copied().unwrap_or(active.scan.header.owner);
    for (name, found) in [(active.name.clone(), active.scan.header.owner)]
        .into_iter()
        .chain(snapshot.iter().map(|snapshot| (names::snapshot(snapshot.seq), snapshot.owner)))
    {
        if found != owner {
            let wrong = Damage::Owner { found, wanted: owner };
            return Err(Error::corrupt(&name, 16, wrong));
        }
    }
    leftovers.extend(segments.into_iter().map(names::segment));
    leftovers.extend(snapshots.into_iter().map(names::snapshot));
    if newest == after {
        return Ok(Survey { owner, snapshot, active: Some(active), leftovers });
    }
    if active.scan.seq() + 1 != after - 1 || active.scan.torn_bytes > 0 {
        return Err(missing(&names::segment(after)));
    }
    leftovers.push(active.name);
    Ok(Survey { owner, snapshot, active: None, leftovers })
}

fn read_snapshot<D: Disk + ?Sized>(disk: &D, seq: Seq) -> Result<Snapshot, Error> {
    let name = names::snapshot(seq);
    let snapshot = snapshot::take(&name, &disk.read(&name)?)?;
    if snapshot.seq == seq { Ok(snapshot) } else { Err(Error::corrupt(&name, 32, Damage::Name)) }
}

fn read_segment<D: Disk + ?Sized>(disk: &D, first: Seq) -> Result<Active, Error> {
    let name = names::segment(first);
    let file = disk.read(&name)?;
    let scan = segment::scan(&name, &file)?;
    if scan.header.first == first {
        Ok(Active { name, file, scan })
    } else {
        Err(Error::corrupt(&name, 32, Damage::Name))
    }
}

/// Makes what was surveyed durable and tidy.
///
/// The last batch is written over itself before the sync: when an earlier process failed to sync it, the pages
/// may be in memory, look clean and not be on the device, and a sync alone would answer `Ok` and do nothing.
pub(super) fn settle<D: Disk>(disk: &mut D, survey: &Survey) -> Result<Tip, disk::Error> {
    if let Some(Active { name, file, scan }) = &survey.active {
        if scan.torn_bytes > 0 {
            disk.truncate(name, scan.end as u64)?;
        }
        if scan.batches > 0 {
            disk.overwrite(name, scan.last_batch as u64, &file[scan.last_batch..scan.end])?;
        }
        disk.sync(name)?;
    }
    disk.sync_dir()?;
    let (old, temporary): (Vec<_>, Vec<_>) = survey
        .leftovers
        .iter()
        .partition(|name| matches!(names::parse(name), Name::Segment(_) | Name::Snapshot(_)));
    for name in &temporary {
        disk.remove(name)?;
    }
    let tip = match &survey.active {
        Some(Active { name, scan, .. }) => {
            Tip { name: name.clone(), header: scan.header, end: scan.end as u64 }
        },
        None => start_segment(disk, names::NEW_SEGMENT, &survey.owner, survey.seq() + 1)?,
    };
    for name in &old {
        disk.remove(name)?;
    }
    if !survey.leftovers.is_empty() {
        disk.sync_dir()?;
    }
    Ok(tip)
}

/// A new, durable, empty segment.
pub(super) fn start_segment<D: Disk>(
    disk: &mut D,
    temporary: &str,
    owner: &Identity,
    first: Seq,
) -> Result<Tip, disk::Error> {
    let (bytes, header) = segment::put_header(owner, first);
    let name = names::segment(first);
    place(disk, temporary, &name, &bytes)?;
    Ok(Tip { name, header, end: bytes.len() as u64 })
}

/// A whole file that appears under its name only when its content is durable.
pub(super) fn place<D: Disk>(
    disk: &mut D,
    temporary: &str,
    name: &str,
    bytes: &[u8],
) -> Result<(), disk::Error> {
    disk.create_new(temporary)?;
    disk.append(temporary, bytes)?;
    disk.sync(temporary)?;
    disk.replace(temporary, name)?;
    disk.sync_dir()
}
