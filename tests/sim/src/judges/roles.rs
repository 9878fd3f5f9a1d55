//! What operators say of roles: the registry holds what was acknowledged, and nothing else (I20).

use super::Judges;
use crate::history::{History, Wish};
use crate::registry::Registry;
use berth_model::operation::{OperationKind, OperationRecord, OperationState};
use berth_model::operator::Request;
use berth_model::record::{RegistryKey, RegistryRecord, RegistryWrite};
use std::collections::BTreeMap;

/// What the registry holds of a role, in words; nothing when there is no record.
type Said = Option<String>;

impl Judges {
    /// I20: looks at a batch right before it becomes durable. The operations that end with it say what it must do to what is
    /// said of roles; it does that and no more.
    pub fn master_sets(
        &mut self,
        registry: &Registry,
        history: &History,
        writes: &[RegistryWrite],
    ) {
        let mut wanted: BTreeMap<RegistryKey, Vec<Said>> = BTreeMap::new();
        let mut becomes: BTreeMap<RegistryKey, Said> = BTreeMap::new();
        for write in writes {
            match write {
                RegistryWrite::Put(RegistryRecord::Operation(record)) if ends(registry, record) => {
                    let meant = meant(history, record);
                    let is_sure = meant.len() == 1;
                    for (key, said) in meant {
                        let known = wanted.entry(key.clone()).or_default();
                        if is_sure {
                            known.clear();
                        } else if known.is_empty() {
                            known.push(registry.records().get(&key).and_then(words));
                        }
                        known.push(said);
                    }
                },
                RegistryWrite::Put(record) if words(record).is_some() => {
                    becomes.insert(record.key(), words(record));
                },
                RegistryWrite::Delete(key @ RegistryKey::Weight(_)) => {
                    becomes.insert(key.clone(), None);
                },
                RegistryWrite::Put(_) | RegistryWrite::Delete(_) => {},
            }
        }
        for (key, said) in &wanted {
            let old = || registry.records().get(key).and_then(words);
            let new = becomes.remove(key).unwrap_or_else(old);
            if !said.contains(&new) {
                let text = format!("{key:?} becomes {new:?}, asked for was {said:?}");
                self.report("I20 roles", text);
            }
        }
        for (key, new) in becomes {
            self.report("I20 roles", format!("nobody asked that {key:?} becomes {new:?}"));
        }
    }
}

/// Is this the batch in which the operation comes to a good end?
fn ends(registry: &Registry, record: &OperationRecord) -> bool {
    record.kind == OperationKind::SetWeight
        && record.state == OperationState::Done
        && !registry.records().contains_key(&RegistryKey::Operation(record.id))
}

/// What was asked for under the operation's id; more than one thing when somebody used an id twice.
fn meant(history: &History, record: &OperationRecord) -> Vec<(RegistryKey, Said)> {
    let asked = history.operations.get(&record.id);
    let wishes = asked.into_iter().flat_map(|asked| &asked.wishes);
    let meant = wishes.filter_map(|wish| match wish {
        Wish::Request(Request::SetWeight { role, weight }) => {
            let said = (weight.milli() != 1_000).then(|| weight.milli().to_string());
            Some((RegistryKey::Weight(role.clone()), said))
        },
        Wish::Request(_) | Wish::Action { .. } => None,
    });
    meant.collect()
}

/// What a record says of a role.
fn words(record: &RegistryRecord) -> Said {
    match record {
        RegistryRecord::Weight(weight) => Some(weight.weight.milli().to_string()),
        _other => None,
    }
}
