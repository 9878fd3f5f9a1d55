//! The registry: the master's durable records behind a trait of three methods.
//!
//! A store knows keys and values as bytes and one revision that grows by one with each batch. It does not
//! know what the records mean. Invariant: when `commit` answers, the batch is on stable storage as a whole; when it
//! fails, the caller must stop (nothing is retried, no state is rolled back: restart is the only recovery).

mod batch;
mod memory;
mod rocks;

#[cfg(test)]
mod conformance;

pub use batch::encode;
pub use memory::{FailingStore, MemoryStore};
pub use rocks::RocksStore;

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Store or replace.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Remove; removing what is absent is no error.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

/// What lies under keys that begin so is a log: its last records are loaded, the others are read when somebody asks.
pub const LOG: &[u8] = b"audit/entry/";
/// How many records of the log are loaded.
pub const LOG_TAIL: usize = 512;

/// A key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The number of the last committed batch; 0 when there was none.
    pub revision: u64,
    /// All records but those of the log, ordered by key.
    pub records: Vec<Record>,
    /// The last [`LOG_TAIL`] records of the log, ordered by key.
    pub log: Vec<Record>,
    /// Why the log cannot be read. What depends on the other records does not depend on it.
    pub log_fault: Option<String>,
}

/// Where the registry lives.
pub trait Store: Send {
    /// Reads everything but the log, of which only the end, verifying checksums.
    ///
    /// # Errors
    /// The store is damaged, or holds less than it once acknowledged.
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Applies a batch as a whole and syncs it. Answers the new revision, `expected + 1`.
    ///
    /// # Errors
    /// Somebody else has written (`expected` is not the current revision), or the write or sync failed. After any
    /// error every later call fails too.
    fn commit(&mut self, expected: u64, batch: &[Change]) -> Result<u64, StoreError>;

    /// At most `limit` records of the log, from this key on, ordered by key. Once they have [`PART_MAX`] bytes no more follow.
    ///
    /// # Errors
    /// They cannot be read.
    fn read_log(&mut self, from: &[u8], limit: usize) -> Result<Vec<Record>, StoreError>;
}

/// From how many bytes on a part of the log has no more records.
pub const PART_MAX: usize = 4 << 20;

/// Takes records until they are enough.
fn part<E>(
    records: impl Iterator<Item = Result<Record, E>>,
    limit: usize,
) -> Result<Vec<Record>, E> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for record in records {
        if found.len() >= limit || bytes >= PART_MAX {
            break;
        }
        let (key, value) = record?;
        bytes += value.len();
        found.push((key, value));
    }
    Ok(found)
}

/// Why a registry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "registry {path} is in use by another process: stop the other master, or choose another work directory"
    )]
    Locked {
        /// The folder.
        path: String,
    },
    /// The database reports damage.
    #[error(
        "registry {path} is damaged: {what}: restore the folder from a backup (docs/operations.md, Recover); nothing was changed"
    )]
    Corrupt {
        /// The folder.
        path: String,
        /// What was found.
        what: String,
    },
    /// Batches that were acknowledged are missing.
    #[error(
        "registry {path} ends at revision {found}, but revision {acknowledged} was acknowledged: its last writes were cut off; restore the folder from a backup (docs/operations.md, Recover)"
    )]
    CutOff {
        /// The folder.
        path: String,
        /// The last revision that is there.
        found: u64,
        /// The last revision that was acknowledged.
        acknowledged: u64,
    },
    /// Not the revision the caller knows.
    #[error(
        "registry is at revision {found}, not {expected}: another master has written; stop one of the two"
    )]
    Conflict {
        /// What the caller knew.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// The write or its sync failed.
    #[error(
        "registry {path}: cannot {attempt}: {cause}: the master stops; check the disk, then start it again"
    )]
    Write {
        /// The folder.
        path: String,
        /// What was attempted.
        attempt: &'static str,
        /// The system's answer.
        cause: String,
    },
    /// An earlier call failed.
    #[error("registry {path} failed before and takes no more writes: start the master again")]
    Poisoned {
        /// The folder.
        path: String,
    },
}
