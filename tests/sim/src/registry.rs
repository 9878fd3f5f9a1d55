//! The master's registry as a store of records: a batch is there as a whole or not at all.
//!
//! It knows no rule about records. Invariant: what a commit answered survives every crash, unless this run breaks
//! that on purpose.

use crate::options::Breach;
use berth_model::id::AgentId;
use berth_model::record::{RegistryKey, RegistryRecord, RegistryWrite};
use std::collections::BTreeMap;

/// Why a commit did not happen, or may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitFailed;

/// A copy of everything, as a backup holds it.
#[derive(Debug, Clone, Default)]
pub struct Copy {
    pub records: BTreeMap<RegistryKey, RegistryRecord>,
    pub revision: u64,
}

/// The store.
#[derive(Debug, Default)]
pub struct Registry {
    now: Copy,
    /// What is left after the power went; the same as `now` unless syncs are left out.
    synced: Option<Copy>,
    /// The next commit fails; true: although the batch was written.
    pub fail_next: Option<bool>,
}

impl Registry {
    /// Everything, as a start reads it.
    #[must_use]
    pub fn load(&self) -> (Vec<RegistryRecord>, u64) {
        (self.now.records.values().cloned().collect(), self.now.revision)
    }
    /// The records.
    #[must_use]
    pub fn records(&self) -> &BTreeMap<RegistryKey, RegistryRecord> {
        &self.now.records
    }
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.now.revision
    }
    /// The stored epoch; 0 before the first start.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        match self.now.records.get(&RegistryKey::Meta) {
            Some(RegistryRecord::Meta { epoch, .. }) => *epoch,
            Some(_) | None => 0,
        }
    }
    /// How far an agent's ledger had got when it last reported something that is still held here.
    #[must_use]
    pub fn ledger_seq(&self, agent: AgentId) -> u64 {
        match self.now.records.get(&RegistryKey::AgentSeq(agent)) {
            Some(RegistryRecord::AgentSeq { ledger_seq, .. }) => *ledger_seq,
            Some(_) | None => 0,
        }
    }
    /// Applies a batch and answers the new revision.
    pub fn commit(
        &mut self,
        expected: u64,
        writes: &[RegistryWrite],
        breach: Option<Breach>,
    ) -> Result<u64, CommitFailed> {
        let failure = self.fail_next.take();
        if expected != self.now.revision || failure == Some(false) {
            return Err(CommitFailed);
        }
        if breach == Some(Breach::RegistryUnsynced)
            && (self.synced.is_none() || self.now.revision.is_multiple_of(4))
        {
            self.synced = Some(self.now.clone());
        }
        for write in writes {
            match write {
                RegistryWrite::Put(record) => {
                    self.now.records.insert(record.key(), record.clone());
                },
                RegistryWrite::Delete(key) => drop(self.now.records.remove(key)),
            }
        }
        self.now.revision += 1;
        if failure == Some(true) { Err(CommitFailed) } else { Ok(self.now.revision) }
    }
    /// The machine's power went.
    pub fn crash(&mut self) {
        if let Some(synced) = self.synced.take() {
            self.now = synced;
        }
    }
    /// A backup.
    #[must_use]
    pub fn copy(&self) -> Copy {
        self.now.clone()
    }
    /// A backup is put in place.
    pub fn restore(&mut self, copy: Copy) {
        self.now = copy;
        self.synced = None;
    }
}
