//! The embedded registry: RocksDB with one synced write batch per commit.
//!
//! Two guards stand beside RocksDB's own checksums. Each batch carries the revision, so a gap cannot hide. And
//! after each synced commit the revision is written to a small file of its own, `acknowledged`, without a sync: it can
//! lag behind the database after a power cut, but never run ahead of what was synced, so a database below it has
//! lost acknowledged batches (a log cut at a record boundary, which no checksum inside the log can show).

use super::{Change, LOG, LOG_TAIL, Loaded, Record, Store, StoreError};
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, DEFAULT_COLUMN_FAMILY_NAME,
    Direction, IteratorMode, MemtableFactory, Options, ReadOptions, WriteBatch, WriteOptions,
};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const REVISION_KEY: &[u8] = b"!revision";
const ACKNOWLEDGED: &str = "acknowledged";
/// The log has a column family of its own: it is read in parts while the master runs, and never as a whole. A batch
/// over both is one record of the write-ahead log.
const LOG_FAMILY: &str = "audit";

/// A RocksDB database in a folder.
pub struct RocksStore {
    path: PathBuf,
    db: DB,
    acknowledged: File,
    revision: u64,
    poisoned: bool,
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RocksStore")
            .field("path", &self.path)
            .field("revision", &self.revision)
            .finish()
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // An incomplete last record is what a crash leaves and is dropped; a checksum that does not match is not.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    // The registry is small and held in memory as well: the database is a log with an index.
    // Nobody reads it between start and stop, so the memtable need not be a search tree.
    options.set_memtable_factory(MemtableFactory::Vector);
    options.set_allow_concurrent_memtable_write(false);
    options.set_write_buffer_size(16 << 20);
    options.set_max_total_wal_size(64 << 20);
    options.set_max_background_jobs(1);
    options.set_keep_log_file_num(4);
    options.set_max_open_files(64);
    options
}

/// The log is searched, so its memtable is a search tree.
fn log_options() -> Options {
    let mut options = Options::default();
    options.set_paranoid_checks(true);
    options.set_write_buffer_size(4 << 20);
    options
}

impl RocksStore {
    /// Opens the database in `path`, creating it when the folder is absent or empty.
    ///
    /// # Errors
    /// Another process has it open, it is damaged, or it lacks acknowledged batches.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let write = |attempt, cause: std::io::Error| StoreError::Write {
            path: shown.clone(),
            attempt,
            cause: cause.to_string(),
        };
        std::fs::create_dir_all(path).map_err(|e| write("create the folder", e))?;
        let mark_path = path.join(ACKNOWLEDGED);
        let held = holds_data(path).map_err(|e| write("list the folder", e))?;
        if held && !path.join("CURRENT").exists() {
            return Err(StoreError::Corrupt {
                path: shown,
                what: "the file CURRENT is missing while others are there".to_owned(),
            });
        }
        let families = [
            ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, options()),
            ColumnFamilyDescriptor::new(LOG_FAMILY, log_options()),
        ];
        let db = DB::open_cf_descriptors(&options(), path, families)
            .map_err(|e| open_error(&shown, &e))?;
        let revision = read_revision(&db, &shown)?;
        let has_mark = mark_path.exists();
        if revision > 0 && !has_mark {
            return Err(StoreError::Corrupt {
                path: shown,
                what: format!("the file {ACKNOWLEDGED} is missing"),
            });
        }
        let acknowledged = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&mark_path)
            .map_err(|e| write("open the file acknowledged", e))?;
        if !has_mark {
            // Before the first commit, so that the mark's absence later on is damage.
            acknowledged.sync_all().map_err(|e| write("sync the file acknowledged", e))?;
            File::open(path)
                .and_then(|folder| folder.sync_all())
                .map_err(|e| write("sync the folder", e))?;
        }
        let store = Self { path: path.to_owned(), db, acknowledged, revision, poisoned: false };
        store.check_acknowledged()?;
        Ok(store)
    }

    fn log(&self) -> Result<&ColumnFamily, StoreError> {
        let family = self.db.cf_handle(LOG_FAMILY);
        family.ok_or_else(|| self.corrupt("the audit log's column family is not there"))
    }

    fn read_from(&self, mode: IteratorMode<'_>, limit: usize) -> Result<Vec<Record>, StoreError> {
        let mut reading = ReadOptions::default();
        reading.set_verify_checksums(true);
        let found = self.db.iterator_cf_opt(self.log()?, reading, mode);
        let found = found.map(|item| item.map(|(key, value)| (key.into_vec(), value.into_vec())));
        super::part(found, limit).map_err(|e| self.corrupt(format!("the audit log: {e}")))
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt { path: self.shown(), what: what.into() }
    }

    /// The mark is `revision` and its complement, 16 bytes. One that a power cut left empty or as zeros, which is how
    /// file systems show bytes that never reached the disk, says nothing.
    fn check_acknowledged(&self) -> Result<(), StoreError> {
        let mut mark = [0_u8; 16];
        let read = self
            .acknowledged
            .read_at(&mut mark, 0)
            .map_err(|e| self.corrupt(format!("cannot read the file {ACKNOWLEDGED}: {e}")))?;
        if read == 0 || (read == mark.len() && mark == [0; 16]) {
            return Ok(());
        }
        let (low, high) = mark.split_at(8);
        let number = |b: &[u8]| <[u8; 8]>::try_from(b).map(u64::from_be_bytes).unwrap_or_default();
        let (revision, complement) = (number(low), number(high));
        if read != mark.len() || revision != !complement {
            return Err(self.corrupt(format!(
                "the file {ACKNOWLEDGED} does not hold a revision and its complement"
            )));
        }
        if self.revision < revision {
            return Err(StoreError::CutOff {
                path: self.shown(),
                found: self.revision,
                acknowledged: revision,
            });
        }
        Ok(())
    }

    fn write_acknowledged(&self, revision: u64) -> Result<(), StoreError> {
        let mut mark = [0_u8; 16];
        mark[..8].copy_from_slice(&revision.to_be_bytes());
        mark[8..].copy_from_slice(&(!revision).to_be_bytes());
        self.acknowledged.write_all_at(&mark, 0).map_err(|e| StoreError::Write {
            path: self.shown(),
            attempt: "write the file acknowledged",
            cause: e.to_string(),
        })
    }

    fn write_batch(&self, revision: u64, batch: &[Change]) -> Result<(), StoreError> {
        let mut writes = WriteBatch::default();
        let log = self.log()?;
        for change in batch {
            match change {
                Change::Put { key, value } if key.starts_with(LOG) => {
                    writes.put_cf(log, key, value);
                },
                Change::Delete { key } if key.starts_with(LOG) => writes.delete_cf(log, key),
                Change::Put { key, value } => writes.put(key, value),
                Change::Delete { key } => writes.delete(key),
            }
        }
        writes.put(REVISION_KEY, revision.to_be_bytes());
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        self.db.write_opt(writes, &synced).map_err(|e| StoreError::Write {
            path: self.shown(),
            attempt: "write and sync a batch",
            cause: e.to_string(),
        })
    }
}

/// The revision that the database holds; 0 when it is new.
fn read_revision(db: &DB, path: &str) -> Result<u64, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt { path: path.to_owned(), what };
    match db.get(REVISION_KEY).map_err(|e| corrupt(e.to_string()))? {
        None => Ok(0),
        Some(bytes) => <[u8; 8]>::try_from(bytes.as_slice())
            .map(u64::from_be_bytes)
            .map_err(|_e| corrupt("the revision record has the wrong length".to_owned())),
    }
}

/// Has anything been stored in this folder? RocksDB writes the first of these after CURRENT.
fn holds_data(path: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name();
        let is_data = Path::new(&name).extension().is_some_and(|e| e == "sst" || e == "log");
        if is_data || name == ACKNOWLEDGED {
            return Ok(true);
        }
    }
    Ok(false)
}

fn open_error(path: &str, error: &rocksdb::Error) -> StoreError {
    let text = error.to_string();
    let path = path.to_owned();
    match error.kind() {
        rocksdb::ErrorKind::IOError if text.contains("lock") => StoreError::Locked { path },
        rocksdb::ErrorKind::IOError
            if text.contains("No space")
                || text.contains("Read-only")
                || text.contains("Permission") =>
        {
            StoreError::Write { path, attempt: "open the database", cause: text }
        },
        _ => StoreError::Corrupt { path, what: text },
    }
}

impl Store for RocksStore {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let mut reading = ReadOptions::default();
        reading.set_verify_checksums(true);
        let mut records = Vec::new();
        for item in self.db.iterator_opt(IteratorMode::Start, reading) {
            let (key, value) = item.map_err(|e| self.corrupt(e.to_string()))?;
            if &*key != REVISION_KEY {
                records.push((key.into_vec(), value.into_vec()));
            }
        }
        let (log, log_fault) = match self.read_from(IteratorMode::End, LOG_TAIL) {
            Ok(mut log) => {
                log.reverse();
                (log, None)
            },
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Ok(Loaded { revision: self.revision, records, log, log_fault })
    }

    fn read_log(&mut self, from: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        self.read_from(IteratorMode::From(from, Direction::Forward), limit)
    }

    fn commit(&mut self, expected: u64, batch: &[Change]) -> Result<u64, StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned { path: self.shown() });
        }
        if expected != self.revision {
            return Err(StoreError::Conflict { expected, found: self.revision });
        }
        let revision = expected + 1;
        let outcome =
            self.write_batch(revision, batch).and_then(|()| self.write_acknowledged(revision));
        match outcome {
            Ok(()) => {
                self.revision = revision;
                Ok(revision)
            },
            Err(error) => {
                self.poisoned = true;
                Err(error)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Change {
        Change::Put { key: key.into(), value: value.into() }
    }

    /// A registry of 40 batches, closed.
    fn written() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut store = RocksStore::open(folder.path()).unwrap();
        for n in 0..40 {
            store.commit(n, &[put(&format!("v/{n}"), &"x".repeat(100))]).unwrap();
        }
        folder
    }

    fn copy(from: &Path) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
        to
    }

    fn log_file(folder: &Path) -> PathBuf {
        std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.extension().is_some_and(|e| e == "log"))
            .max_by_key(|p| std::fs::metadata(p).unwrap().len())
            .unwrap()
    }

    fn reopen(folder: &Path) -> Result<Loaded, StoreError> {
        RocksStore::open(folder).and_then(|mut store| store.load())
    }

    #[test]
    fn a_log_cut_at_any_length_is_refused() {
        let whole = written();
        let length = std::fs::metadata(log_file(whole.path())).unwrap().len();
        for cut in (0..length).step_by(191) {
            let damaged = copy(whole.path());
            let log = OpenOptions::new().write(true).open(log_file(damaged.path())).unwrap();
            log.set_len(cut).unwrap();
            let error = reopen(damaged.path()).map(|l| l.revision).unwrap_err();
            assert!(
                matches!(error, StoreError::CutOff { .. } | StoreError::Corrupt { .. }),
                "cut at {cut} of {length}: {error}"
            );
        }
    }

    #[test]
    fn a_flipped_byte_is_refused_or_without_effect() {
        let whole = written();
        let good = reopen(copy(whole.path()).path()).unwrap();
        for entry in std::fs::read_dir(whole.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let length = std::fs::metadata(&path).unwrap().len();
            let step = usize::try_from((length / 12).max(1)).unwrap();
            for at in (0..length).step_by(step) {
                let damaged = copy(whole.path());
                let target = damaged.path().join(&name);
                let mut bytes = std::fs::read(&target).unwrap();
                bytes[usize::try_from(at).unwrap()] ^= 0x10;
                std::fs::write(&target, bytes).unwrap();
                if let Ok(loaded) = reopen(damaged.path()) {
                    assert_eq!(loaded, good, "{name} flipped at {at} was read as something else");
                }
            }
        }
    }

    #[test]
    fn a_registry_of_the_release_without_a_log_gets_one() {
        let folder = tempfile::tempdir().unwrap();
        let before = DB::open(&options(), folder.path()).unwrap();
        before.put("v/1", "x").unwrap();
        before.put(REVISION_KEY, 1_u64.to_be_bytes()).unwrap();
        drop(before);
        std::fs::write(folder.path().join(ACKNOWLEDGED), []).unwrap();
        let mut store = RocksStore::open(folder.path()).unwrap();
        let loaded = store.load().unwrap();
        let records = vec![(b"v/1".to_vec(), b"x".to_vec())];
        assert_eq!(loaded, Loaded { revision: 1, records, ..Loaded::default() });
        store.commit(1, &[put("audit/entry/1", "e")]).unwrap();
        drop(store);
        let log = vec![(b"audit/entry/1".to_vec(), b"e".to_vec())];
        assert_eq!(reopen(folder.path()).unwrap().log, log);
    }

    #[test]
    fn a_second_process_is_refused() {
        let folder = written();
        let _first = RocksStore::open(folder.path()).unwrap();
        let error = RocksStore::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    }

    #[test]
    fn a_missing_current_file_is_refused() {
        let folder = written();
        std::fs::remove_file(folder.path().join("CURRENT")).unwrap();
        let error = RocksStore::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }

    #[test]
    fn data_without_its_guard_files_is_refused() {
        // Opened as if it were new, the database would delete what it does not know.
        let damaged = copy(written().path());
        for name in ["CURRENT", ACKNOWLEDGED] {
            std::fs::remove_file(damaged.path().join(name)).unwrap();
        }
        let error = reopen(damaged.path()).map(|l| l.revision).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");

        // Without the mark a log cut between two records looks whole.
        let damaged = copy(written().path());
        std::fs::remove_file(damaged.path().join(ACKNOWLEDGED)).unwrap();
        let error = reopen(damaged.path()).map(|l| l.revision).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(!damaged.path().join(ACKNOWLEDGED).exists(), "the refusal did not last");
    }

    #[test]
    fn a_mark_that_a_power_cut_emptied_says_nothing() {
        let good = reopen(written().path()).unwrap();
        for left in [Vec::new(), vec![0; 16]] {
            let cut = copy(written().path());
            std::fs::write(cut.path().join(ACKNOWLEDGED), left).unwrap();
            assert_eq!(reopen(cut.path()).unwrap(), good);
        }
        let torn = copy(written().path());
        std::fs::write(torn.path().join(ACKNOWLEDGED), [1; 16]).unwrap();
        let error = reopen(torn.path()).map(|l| l.revision).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }

    #[test]
    fn a_crash_while_the_registry_was_made_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        drop(RocksStore::open(folder.path()).unwrap());
        std::fs::remove_file(folder.path().join(ACKNOWLEDGED)).unwrap();
        assert_eq!(reopen(folder.path()).unwrap(), Loaded::default());
    }
}
