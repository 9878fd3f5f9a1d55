//! What operators say of roles: the registry holds what was acknowledged, and nothing else; it makes sense; and nothing new is
//! reserved above a limit (I21).

use super::Judges;
use crate::history::{History, Wish};
use crate::registry::Registry;
use berth_model::operation::{OperationKind, OperationRecord, OperationState};
use berth_model::operator::Request;
use berth_model::quota::{Counted, QuotaRequest};
use berth_model::record::{RegistryKey, RegistryRecord, RegistryWrite};
use berth_model::resources::Name;
use std::collections::BTreeMap;

/// What the registry holds of a role, in words; nothing when there is no record.
type Said = Option<String>;

impl Judges {
    /// I21: looks at a batch right before it becomes durable. The operations that end with it say what it must do to what is
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
                RegistryWrite::Delete(key @ (RegistryKey::Weight(_) | RegistryKey::Quota(_))) => {
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
                self.report("I21 roles", text);
            }
        }
        for (key, new) in becomes {
            self.report("I21 roles", format!("nobody asked that {key:?} becomes {new:?}"));
        }
        self.judge_limits(registry, writes);
    }

    /// I21: no quota guarantees what it forbids, and none is of a role below another.
    pub(super) fn judge_quotas(&mut self, registry: &Registry) {
        for record in registry.records().values() {
            let RegistryRecord::Quota(quota) = record else { continue };
            let role = quota.role.as_str();
            if role.contains('/') || role == "*" {
                self.report("I21 roles", format!("role {role} has a quota"));
            }
            for (counted, guarantee) in &quota.guarantees {
                let own = quota.limits.get(counted);
                let all = quota.limits.get(&Counted::All(Name::Disk));
                let covers = matches!(counted, Counted::DiskOf(_) | Counted::All(Name::Disk));
                let limits = own.into_iter().chain(all.filter(|_| covers));
                if limits.into_iter().any(|limit| limit.milli() < guarantee.milli()) {
                    let text =
                        format!("role {role} is guaranteed {counted} {guarantee}, above its limit");
                    self.report("I21 roles", text);
                }
            }
        }
    }

    /// I21: a batch reserves no disk beyond a limit, unless somebody has his data back, or the limit is new.
    fn judge_limits(&mut self, registry: &Registry, writes: &[RegistryWrite]) {
        let records = registry.records();
        let is_excused = writes.iter().any(|write| match write {
            RegistryWrite::Put(RegistryRecord::Operation(record)) => {
                matches!(record.kind, OperationKind::Restore | OperationKind::AdoptOrphan)
            },
            RegistryWrite::Put(RegistryRecord::Quota(_)) => true,
            RegistryWrite::Put(_) | RegistryWrite::Delete(_) => false,
        });
        if is_excused {
            return;
        }
        let mut rows: BTreeMap<&RegistryKey, Option<&RegistryRecord>> = BTreeMap::new();
        let mut keys: Vec<RegistryKey> = Vec::new();
        for write in writes {
            keys.push(write.key());
        }
        for (write, key) in writes.iter().zip(&keys) {
            match write {
                RegistryWrite::Put(record @ RegistryRecord::Reservation(_)) => {
                    rows.insert(key, Some(record));
                },
                RegistryWrite::Delete(RegistryKey::Reservation(_)) => drop(rows.insert(key, None)),
                RegistryWrite::Put(_) | RegistryWrite::Delete(_) => {},
            }
        }
        if rows.is_empty() {
            return;
        }
        for record in records.values() {
            let RegistryRecord::Quota(quota) = record else { continue };
            let Some(limit) = quota.limits.get(&Counted::All(Name::Disk)) else { continue };
            let before: i64 = records.values().map(|r| reserved_disk(r, quota.role.as_str())).sum();
            let change = |(key, new): (&&RegistryKey, &Option<&RegistryRecord>)| {
                let of = |record| reserved_disk(record, quota.role.as_str());
                new.map_or(0, of) - records.get(key).map_or(0, of)
            };
            let after = before + rows.iter().map(change).sum::<i64>();
            if after > before && after > limit.milli() {
                let text = format!(
                    "role {} had {before} of disk reserved, has {after}, may have {}",
                    quota.role,
                    limit.milli()
                );
                self.report("I21 roles", text);
            }
        }
    }
}

/// Is this the batch in which the operation comes to a good end?
fn ends(registry: &Registry, record: &OperationRecord) -> bool {
    let kinds = [OperationKind::SetWeight, OperationKind::SetQuota, OperationKind::UnsetQuota];
    kinds.contains(&record.kind)
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
        Wish::Request(Request::Quota(QuotaRequest::Set { role, guarantees, limits, .. })) => {
            let mut guarantees = guarantees.clone();
            guarantees.retain(|_, amount| amount.milli() > 0);
            let said = format!("{guarantees:?} {limits:?}");
            Some((RegistryKey::Quota(role.clone()), Some(said)))
        },
        Wish::Request(Request::Quota(QuotaRequest::Unset { role })) => {
            Some((RegistryKey::Quota(role.clone()), None))
        },
        Wish::Request(_) | Wish::Action { .. } => None,
    });
    meant.collect()
}

/// What a record says of a role.
fn words(record: &RegistryRecord) -> Said {
    match record {
        RegistryRecord::Weight(weight) => Some(weight.weight.milli().to_string()),
        RegistryRecord::Quota(quota) => Some(format!("{:?} {:?}", quota.guarantees, quota.limits)),
        _other => None,
    }
}

/// Thousandths of MiB of disk that the row reserves to a role of this tree.
fn reserved_disk(record: &RegistryRecord, top: &str) -> i64 {
    let RegistryRecord::Reservation(row) = record else { return 0 };
    let owner = row.resource.stack.owner().map(|owner| owner.as_str()).unwrap_or_default();
    let is_of_tree = owner.split('/').next() == Some(top) && row.resource.name == Name::Disk;
    let amount = row.resource.amount().map_or(0, |amount| amount.milli());
    if is_of_tree { amount } else { 0 }
}
