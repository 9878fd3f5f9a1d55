//! The journal: opaque records in order, durable in batches, compacted by snapshots.
//!
//! On disk are one segment (`log-N`, see `segment`) and, after the first compaction, one snapshot (`snapshot-N`).
//! [`Journal::append`] only buffers; [`Journal::commit`] writes all buffered records as one batch with one append and one
//! sync. A batch is all or nothing after a crash. [`Journal::snapshot`] writes the new snapshot beside the old one, syncs,
//! renames, syncs the folder, starts a segment the same way, and only then removes the older pair.
//!
//! What is promised: after `commit` or `snapshot` answered `Ok`, open returns that content or an error. What
//! is not: records that were appended but whose commit did not answer may be there or not, all of a batch or none. What one
//! file cannot tell: that its end was cut off cleanly, or that the folder is an older copy. For this [`Recovered::seq`] exists:
//! who is told the number of each commit compares it with the number after a restart, and a lower one means a ledger that
//! forgot. The journal knows nothing of what the records mean, of threads, and of retries: after
//! a failed write it answers [`Error::Poisoned`] for ever, because nobody can know what a failed sync left behind.

mod error;
mod fields;
mod frame;
mod inspect;
mod names;
mod recover;
mod sector;
mod segment;
mod snapshot;

pub use error::{Corruption, Damage, Error};
pub use inspect::{Content, File, Report, Verdict, inspect};

use crate::disk::{self, Disk};

use self::recover::Tip;

/// The number of a record or snapshot. The first is 1 and none is left out; a snapshot takes a number of its own.
pub type Seq = u64;

/// The uuid of the ledger's owner. Files of another owner are refused.
pub type Identity = [u8; 16];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Longer records are refused; at most 64 MiB.
    pub record_bytes_max: usize,
    /// From this size on [`Journal::wants_snapshot`]. 8 MiB are read back in some milliseconds at start.
    pub segment_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { record_bytes_max: 4 << 20, segment_bytes_max: 8 << 20 }
    }
}

/// What open found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The state given to the newest snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// The records after it.
    pub records: Vec<Vec<u8>>,
    /// The number of the last record or snapshot, 0 when there is none. Compare it with what peers have seen.
    pub seq: Seq,
    /// What a crash left of a commit that did not answer, now cut off.
    pub torn_bytes: u64,
}

/// An open ledger. There is at most one per folder.
#[derive(Debug)]
pub struct Journal<D> {
    disk: D,
    owner: Identity,
    options: Options,
    tip: Tip,
    newest_snapshot: Option<String>,
    appended: Seq,
    durable: Seq,
    /// Frames not yet written.
    staged: Vec<u8>,
    /// The same as sectors; kept for its capacity.
    block: Vec<u8>,
    is_poisoned: bool,
}

impl<D: Disk> Journal<D> {
    /// Starts a ledger where there is none. Whoever calls this has decided that nothing was lost.
    pub fn create(mut disk: D, owner: Identity, options: Options) -> Result<Self, Error> {
        for name in disk.list()? {
            match names::parse(&name) {
                names::Name::Creating => disk.remove(&name)?,
                names::Name::Foreign => {},
                names::Name::Segment(_)
                | names::Name::Snapshot(_)
                | names::Name::Temporary
                | names::Name::Stranger => return Err(Error::Occupied { file: name }),
            }
        }
        let tip = recover::start_segment(&mut disk, names::CREATING, &owner, 1)?;
        Ok(Self::at(disk, owner, options, tip, 0))
    }

    /// Opens the ledger that is there, finishing what a crash interrupted.
    pub fn open(
        mut disk: D,
        owner: Identity,
        options: Options,
    ) -> Result<(Self, Recovered), Error> {
        let survey = recover::survey(&disk, Some(&owner))?;
        let tip = recover::settle(&mut disk, &survey)?;
        let seq = survey.seq();
        let torn_bytes = survey.torn_bytes() as u64;
        let mut journal = Self::at(disk, owner, options, tip, seq);
        journal.newest_snapshot =
            survey.snapshot.as_ref().map(|snapshot| names::snapshot(snapshot.seq));
        let recovered = Recovered {
            snapshot: survey.snapshot.map(|snapshot| snapshot.state),
            records: survey.active.map(|active| active.scan.records).unwrap_or_default(),
            seq,
            torn_bytes,
        };
        Ok((journal, recovered))
    }

    fn at(disk: D, owner: Identity, options: Options, tip: Tip, seq: Seq) -> Self {
        Self {
            disk,
            owner,
            options,
            tip,
            newest_snapshot: None,
            appended: seq,
            durable: seq,
            staged: Vec::new(),
            block: Vec::new(),
            is_poisoned: false,
        }
    }

    /// Buffers records and answers the number of the last one. Nothing is durable yet.
    pub fn append<P: AsRef<[u8]>>(&mut self, payloads: &[P]) -> Result<Seq, Error> {
        self.check_sound()?;
        let limit = self.options.record_bytes_max.min(frame::PAYLOAD_BYTES_MAX);
        for payload in payloads {
            let bytes = payload.as_ref().len();
            if bytes > limit {
                return Err(Error::TooLarge { bytes, limit });
            }
        }
        for payload in payloads {
            self.appended += 1;
            frame::put(&mut self.staged, self.appended, payload.as_ref());
        }
        Ok(self.appended)
    }

    /// Makes everything appended durable, with one write and one sync, and answers the number of the last record.
    /// Does not touch the disk when nothing is buffered.
    pub fn commit(&mut self) -> Result<Seq, Error> {
        self.check_sound()?;
        if self.staged.is_empty() {
            return Ok(self.durable);
        }
        self.block.clear();
        sector::put(&mut self.block, self.tip.header.salt, self.tip.end, &self.staged);
        let written = self
            .disk
            .append(&self.tip.name, &self.block)
            .and_then(|()| self.disk.sync(&self.tip.name));
        self.fail_stop(written)?;
        self.tip.end += self.block.len() as u64;
        self.staged.clear();
        self.durable = self.appended;
        Ok(self.durable)
    }

    /// Replaces all records so far by `state`, which must tell the same as they do. Commits what is buffered first.
    pub fn snapshot(&mut self, state: &[u8]) -> Result<Seq, Error> {
        self.commit()?;
        let seq = self.durable + 1;
        let name = names::snapshot(seq);
        let written = self.rotate(seq, &name, state);
        self.tip = self.fail_stop(written)?;
        self.newest_snapshot = Some(name);
        self.appended = seq;
        self.durable = seq;
        Ok(seq)
    }

    fn rotate(&mut self, seq: Seq, name: &str, state: &[u8]) -> Result<Tip, disk::Error> {
        let bytes = snapshot::put(&self.owner, seq, state);
        recover::place(&mut self.disk, names::NEW_SNAPSHOT, name, &bytes)?;
        let tip = recover::start_segment(&mut self.disk, names::NEW_SEGMENT, &self.owner, seq + 1)?;
        self.disk.remove(&self.tip.name)?;
        if let Some(older) = &self.newest_snapshot {
            self.disk.remove(older)?;
        }
        self.disk.sync_dir()?;
        Ok(tip)
    }

    fn check_sound(&self) -> Result<(), Error> {
        if self.is_poisoned { Err(Error::Poisoned) } else { Ok(()) }
    }

    fn fail_stop<T>(&mut self, outcome: Result<T, disk::Error>) -> Result<T, Error> {
        self.is_poisoned |= outcome.is_err();
        Ok(outcome?)
    }

    /// The number of the last durable record or snapshot.
    pub const fn seq(&self) -> Seq {
        self.durable
    }

    /// Whether the segment has grown so long that a snapshot is worth its price.
    pub const fn wants_snapshot(&self) -> bool {
        self.tip.end >= self.options.segment_bytes_max
    }

    /// For figures such as the number of syncs.
    pub const fn disk(&self) -> &D {
        &self.disk
    }
}
