//! Takes the log up at a start: looks at the entries that were loaded, which are the last ones, and goes on behind them.
//!
//! A damaged log stops nobody: the cluster's data does not depend on it. It is said, in the log itself too, and the chain goes on
//! from where it ended; an entry that is there is never written over.

use super::chain::{Verifier, beginning};
use crate::state::State;
use berth_model::audit::{AuditEntry, AuditHead, AuditRecord};
use berth_model::record::RegistryRecord;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The entries among the records of a registry.
pub(crate) fn entries(records: &[RegistryRecord]) -> BTreeMap<u64, Arc<AuditEntry>> {
    let entry = |record: &RegistryRecord| match record {
        RegistryRecord::Audit(AuditRecord::Entry(entry)) => Some((entry.seq, Arc::clone(entry))),
        RegistryRecord::Audit(AuditRecord::Head(_) | AuditRecord::Mark(_))
        | RegistryRecord::Meta { .. }
        | RegistryRecord::Agent(_)
        | RegistryRecord::AgentSeq { .. }
        | RegistryRecord::Reservation(_)
        | RegistryRecord::Volume(_)
        | RegistryRecord::Framework(_)
        | RegistryRecord::Operation(_)
        | RegistryRecord::Disk(_)
        | RegistryRecord::Profile(_)
        | RegistryRecord::Snapshot(_)
        | RegistryRecord::Schedule(_)
        | RegistryRecord::Weight(_)
        | RegistryRecord::Quota(_)
        | RegistryRecord::Transaction(_) => None,
    };
    records.iter().filter_map(entry).collect()
}

/// Checks the loaded entries against each other and the head, and repairs the head if it must not be gone on from.
pub(crate) fn resume(state: &mut State, entries: &BTreeMap<u64, Arc<AuditEntry>>) {
    let mut faults: Vec<String> = state.config.audit_fault.iter().cloned().collect();
    if let Some(head) = &state.audit.head {
        faults.extend(check(state, head, entries));
    } else if state.config.audit_last > 0 || !entries.is_empty() {
        faults.push("its head is missing".to_owned());
    }
    let loaded = entries.last_key_value().map(|(_, entry)| (entry.seq, entry.hash));
    let begun = beginning(state.config.cluster);
    let known = state.audit.head;
    let mut head = known.unwrap_or_else(|| {
        let first = entries.first_key_value().map_or(1, |(seq, _)| *seq);
        AuditHead { seq: 0, hash: begun, trimmed: first.saturating_sub(1), anchor: begun }
    });
    if let Some((seq, hash)) = loaded.filter(|(seq, _)| *seq > head.seq) {
        head = AuditHead { seq, hash, ..head };
    }
    head.seq = head.seq.max(state.config.audit_last);
    if known.is_some() || head.seq > 0 {
        state.audit.head = Some(head);
    }
    state.audit.fault = (!faults.is_empty()).then(|| faults.join("; "));
}

fn check(
    state: &State,
    head: &AuditHead,
    entries: &BTreeMap<u64, Arc<AuditEntry>>,
) -> Option<String> {
    let Some((first, entry)) = entries.first_key_value() else {
        let missing = head.seq > head.trimmed;
        return missing.then(|| format!("entry {} is missing", head.seq));
    };
    // The hash before the first is known at the log's beginning and at a mark; else the first is taken at its word.
    let before = if *first == head.trimmed + 1 {
        Some(head.anchor)
    } else {
        state.audit.marks.get(&(first - 1)).map(|mark| mark.hash)
    };
    let mut verifier = match before {
        Some(hash) => Verifier::behind(first - 1, hash),
        None => Verifier::behind(*first, entry.hash),
    };
    let rest = entries.values().skip(usize::from(before.is_none()));
    rest.for_each(|entry| verifier.take(Ok(entry)));
    verifier.end(head);
    let beyond = entries.last_key_value().filter(|(last, _)| **last > head.seq);
    verifier.broken().map(|(seq, why)| format!("entry {seq}: {why}")).or_else(|| {
        beyond.map(|(last, _)| {
            format!("its head is at entry {}, but there is entry {last}", head.seq)
        })
    })
}
