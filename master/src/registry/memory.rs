//! Stores without a disk: one that keeps everything in memory, and a double that fails on demand.

use super::{Change, LOG, LOG_TAIL, Loaded, Record, Store, StoreError};
use std::collections::BTreeMap;

/// Keeps records in memory; for tests and benches.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    revision: u64,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let (mut log, records): (Vec<_>, Vec<_>) = self
            .records
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .partition(|(key, _)| key.starts_with(LOG));
        log.drain(..log.len().saturating_sub(LOG_TAIL));
        Ok(Loaded { revision: self.revision, records, log, log_fault: None })
    }

    fn commit(&mut self, expected: u64, batch: &[Change]) -> Result<u64, StoreError> {
        if expected != self.revision {
            return Err(StoreError::Conflict { expected, found: self.revision });
        }
        for change in batch {
            match change {
                Change::Put { key, value } => drop(self.records.insert(key.clone(), value.clone())),
                Change::Delete { key } => drop(self.records.remove(key)),
            }
        }
        self.revision += 1;
        Ok(self.revision)
    }

    fn read_log(&mut self, from: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        let start = from.max(LOG).to_vec();
        let behind = self.records.range(start..).take_while(|(key, _)| key.starts_with(LOG));
        super::part(behind.map(|(k, v)| Ok((k.clone(), v.clone()))), limit)
    }
}

/// Commits `good` batches, then fails for ever, as a full or broken disk does.
#[derive(Debug)]
pub struct FailingStore<S> {
    inner: S,
    good: u64,
}

impl<S> FailingStore<S> {
    /// Lets `good` commits through to `inner`.
    pub const fn new(inner: S, good: u64) -> Self {
        Self { inner, good }
    }
}

impl<S: Store> Store for FailingStore<S> {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.inner.load()
    }

    fn commit(&mut self, expected: u64, batch: &[Change]) -> Result<u64, StoreError> {
        let Some(left) = self.good.checked_sub(1) else {
            return Err(StoreError::Write {
                path: "(failing double)".to_owned(),
                attempt: "sync a batch",
                cause: "no space left on device".to_owned(),
            });
        };
        self.good = left;
        self.inner.commit(expected, batch)
    }

    fn read_log(&mut self, from: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        self.inner.read_log(from, limit)
    }
}
