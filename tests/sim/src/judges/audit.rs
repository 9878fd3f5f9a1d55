//! The audit log: nothing begins or ends without an entry in the same batch, and the chain has no gap (I19).

use super::Judges;
use crate::registry::Registry;
use berth_master_core::audit::{beginning, entry_hash};
use berth_model::audit::{AuditEntry, AuditHash, AuditHead, AuditKey, AuditRecord, Phase, Who};
use berth_model::id::OperationId;
use berth_model::operation::{OperationRecord, OperationState};
use berth_model::record::{RegistryKey, RegistryRecord, RegistryWrite};
use std::collections::{BTreeMap, BTreeSet};

impl Judges {
    /// I19: looks at a batch right before it becomes durable, write by write.
    pub fn master_notes(&mut self, registry: &Registry, writes: &[RegistryWrite]) {
        let mut wanted: Vec<(OperationId, Phase)> = Vec::new();
        let mut at_once: BTreeSet<(OperationId, Phase)> = BTreeSet::new();
        let mut overlay: BTreeMap<OperationId, &OperationRecord> = BTreeMap::new();
        let mut noted: Vec<(OperationId, Phase)> = Vec::new();
        let (mut seq, mut hash) = end_of(registry, writes);
        let mut head = None;
        for write in writes {
            match write {
                RegistryWrite::Put(RegistryRecord::Operation(record)) => {
                    let before = overlay.get(&record.id).map(|known| &known.state);
                    let before = before.or_else(|| stored(registry, record.id));
                    let phase = match &record.state {
                        OperationState::Accepted => Phase::Accepted,
                        OperationState::Done => Phase::Done,
                        OperationState::Failed(_) => Phase::Failed,
                    };
                    let is_news = match before {
                        None => true,
                        Some(state) => !state.is_final() && record.state.is_final(),
                    };
                    if is_news {
                        wanted.push((record.id, phase));
                    }
                    if before.is_none() && phase == Phase::Failed && record.framework.is_some() {
                        at_once.insert((record.id, phase));
                    }
                    overlay.insert(record.id, record);
                },
                RegistryWrite::Put(RegistryRecord::Audit(AuditRecord::Entry(entry))) => {
                    self.judge_entry(entry, (&mut seq, &mut hash));
                    if let (Some(id), Phase::Accepted | Phase::Done | Phase::Failed) =
                        (entry.operation, entry.phase)
                    {
                        noted.push((id, entry.phase));
                    }
                },
                RegistryWrite::Put(RegistryRecord::Audit(AuditRecord::Head(new))) => {
                    head = Some(*new);
                },
                RegistryWrite::Put(_) | RegistryWrite::Delete(_) => {},
            }
        }
        // What a framework asks for in vain is a refusal, whose rate is bounded.
        wanted.retain(|one| !at_once.contains(one) || noted.contains(one));
        wanted.sort_unstable();
        noted.sort_unstable();
        if wanted != noted {
            let text = format!("operations begin or end as {wanted:?}, the log says {noted:?}");
            self.report("I19 audit", text);
        }
        if head.is_some_and(|head| (head.seq, head.hash) != (seq, hash)) {
            self.report("I19 audit", format!("the log ends at {seq}, its head says {head:?}"));
        }
    }

    fn judge_entry(&mut self, entry: &AuditEntry, (seq, hash): (&mut u64, &mut AuditHash)) {
        if entry.seq != *seq + 1 || entry.hash != entry_hash(hash, entry) {
            self.report("I19 audit", format!("entry {} does not follow entry {seq}", entry.seq));
        }
        (*seq, *hash) = (entry.seq, entry.hash);
        // The simulated operators say both, so it shows when one is lost on the way to the end of an operation.
        let said = entry.operation.map(why);
        if matches!(entry.who, Who::Claimed(_)) && entry.reason.as_deref() != said.as_deref() {
            let text = format!("entry {} says {:?}, not {said:?}", entry.seq, entry.reason);
            self.report("I19 audit", text);
        }
        if entry.who == Who::Unknown {
            self.report("I19 audit", format!("entry {} does not say who asked", entry.seq));
        }
    }

    /// I19: what is between the two ends of the log is there, and nothing beside it.
    pub(super) fn judge_log(&mut self, registry: &Registry) {
        let records = registry.records();
        let first = RegistryKey::Audit(AuditKey::Entry(0));
        let last = RegistryKey::Audit(AuditKey::Entry(u64::MAX));
        let count = records.range(first..=last).count() as u64;
        let wanted = head_of(registry).map_or(0, |head| head.seq - head.trimmed);
        if count != wanted {
            self.report("I19 audit", format!("{count} entries are there, {wanted} should be"));
        }
    }
}

/// Why a simulated operator asks.
#[must_use]
pub fn why(operation: OperationId) -> String {
    format!("wanted as {operation}")
}

fn head_of(registry: &Registry) -> Option<AuditHead> {
    match registry.records().get(&RegistryKey::Audit(AuditKey::Head)) {
        Some(RegistryRecord::Audit(AuditRecord::Head(head))) => Some(*head),
        Some(_) | None => None,
    }
}

/// The log's end; in the first batch of a cluster its beginning.
fn end_of(registry: &Registry, writes: &[RegistryWrite]) -> (u64, AuditHash) {
    if let Some(head) = head_of(registry) {
        return (head.seq, head.hash);
    }
    let cluster = writes.iter().find_map(|write| match write {
        RegistryWrite::Put(RegistryRecord::Meta { cluster, .. }) => Some(*cluster),
        RegistryWrite::Put(_) | RegistryWrite::Delete(_) => None,
    });
    (0, cluster.map(beginning).unwrap_or_default())
}

fn stored(registry: &Registry, id: OperationId) -> Option<&OperationState> {
    match registry.records().get(&RegistryKey::Operation(id)) {
        Some(RegistryRecord::Operation(record)) => Some(&record.state),
        Some(_) | None => None,
    }
}
