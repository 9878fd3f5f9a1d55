//! The scheduler's ledger: its records in a journal in the work directory.
//!
//! Invariant: a ledger that was made once is never silently made again; forgetting it would make the scheduler ask for
//! volumes that exist.

use berth_framework_core::record::{Record, Unreadable};
use berth_ledger::disk;
use berth_ledger::disk::real::RealDisk;
use berth_ledger::journal::{self, Journal, Options};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// The kind of owner: a ledger of an agent in the same folder is refused.
const OWNER: journal::Identity = *b"berth-scheduler1";
/// Says that a ledger was made here.
const MARKER: &str = "ledger-made";

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The folder or the journal.
    #[error("scheduler's ledger in {folder}: {source}")]
    Journal {
        /// Where.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        source: journal::Error,
    },
    /// The folder.
    #[error("scheduler's ledger in {folder}: {source}")]
    Folder {
        /// Where.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        source: disk::Error,
    },
    /// The marker file.
    #[error("scheduler's work directory {folder}: {source}: make it a writable directory")]
    Marker {
        /// Where.
        folder: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// There was one and it is gone.
    #[error(
        "the scheduler's ledger in {folder} is gone: restore it from a backup; to start with no services, delete {folder}/{MARKER}"
    )]
    Gone {
        /// The work directory.
        folder: PathBuf,
    },
    /// A record that cannot be read.
    #[error(
        "scheduler's ledger in {folder}: record {index}: {source}: use the release that wrote it"
    )]
    Record {
        /// Where.
        folder: PathBuf,
        /// Which, counted from 0 after the snapshot.
        index: usize,
        /// What is wrong.
        #[source]
        source: Unreadable,
    },
}

impl LedgerError {
    /// Is another process using it?
    #[must_use]
    pub fn is_locked(&self) -> bool {
        match self {
            Self::Folder { source, .. } => source.kind == disk::Kind::Locked,
            Self::Journal { source: journal::Error::Disk(disk), .. } => {
                disk.kind == disk::Kind::Locked
            },
            Self::Journal { .. }
            | Self::Marker { .. }
            | Self::Gone { .. }
            | Self::Record { .. } => false,
        }
    }
}

/// The open ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    journal: Journal<RealDisk>,
}

impl Ledger {
    /// Opens or makes the ledger of `work_dir` and reads its records.
    pub(super) fn open(work_dir: &Path) -> Result<(Self, Vec<Record>), LedgerError> {
        let folder = work_dir.join("ledger");
        let marked = |source| LedgerError::Marker { folder: work_dir.to_owned(), source };
        let failed = |source| LedgerError::Journal { folder: folder.clone(), source };
        let lock = || {
            RealDisk::open(&folder)
                .map_err(|source| LedgerError::Folder { folder: folder.clone(), source })
        };
        fs::create_dir_all(work_dir).map_err(marked)?;
        let (journal, recovered) = match Journal::open(lock()?, OWNER, Options::default()) {
            Ok((journal, recovered)) => (journal, recovered),
            Err(journal::Error::Absent) if work_dir.join(MARKER).exists() => {
                return Err(LedgerError::Gone { folder: work_dir.to_owned() });
            },
            Err(journal::Error::Absent) => {
                drop(Journal::create(lock()?, OWNER, Options::default()).map_err(failed)?);
                info!(folder = %folder.display(), "ledger made");
                Journal::open(lock()?, OWNER, Options::default()).map_err(failed)?
            },
            Err(source) => return Err(failed(source)),
        };
        mark(work_dir).map_err(marked)?;
        if recovered.torn_bytes > 0 {
            warn!(
                torn_bytes = recovered.torn_bytes,
                "ledger ended in an unfinished commit, which nobody was told of"
            );
        }
        let read = |(index, bytes): (usize, &Vec<u8>)| {
            Record::decode(bytes).map_err(|source| LedgerError::Record {
                folder: folder.clone(),
                index,
                source,
            })
        };
        let snapshot = recovered.snapshot.iter().enumerate();
        let records = snapshot.chain(recovered.records.iter().enumerate()).map(read);
        Ok((Self { journal }, records.collect::<Result<Vec<_>, _>>()?))
    }

    /// Makes the records durable with one sync; a snapshot replaces the journal when it has grown long.
    pub(super) fn commit(
        &mut self,
        records: &[Record],
        snapshot: impl FnOnce() -> Record,
    ) -> Result<(), journal::Error> {
        let bytes: Vec<Vec<u8>> = records.iter().map(Record::encode).collect();
        self.journal.append(&bytes)?;
        self.journal.commit()?;
        if self.journal.wants_snapshot() {
            self.journal.snapshot(&snapshot().encode())?;
        }
        Ok(())
    }
}

fn mark(work_dir: &Path) -> std::io::Result<()> {
    let path = work_dir.join(MARKER);
    if !path.exists() {
        File::create(&path)?.sync_all()?;
        File::open(work_dir)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::id::FrameworkId;

    #[test]
    fn records_survive_and_a_lost_ledger_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::Framework { id: FrameworkId::new("f-1").unwrap() };
        let (mut ledger, records) = Ledger::open(folder.path()).unwrap();
        assert_eq!(records, []);
        ledger.commit(std::slice::from_ref(&record), || record.clone()).unwrap();
        drop(ledger);
        let (ledger, records) = Ledger::open(folder.path()).unwrap();
        assert_eq!(records, [record]);
        let second = Ledger::open(folder.path()).unwrap_err().to_string();
        assert!(second.contains("another process uses this folder"), "{second}");
        drop(ledger);
        fs::remove_dir_all(folder.path().join("ledger")).unwrap();
        let lost = Ledger::open(folder.path()).unwrap_err();
        assert!(matches!(lost, LedgerError::Gone { .. }), "{lost}");
    }
}
