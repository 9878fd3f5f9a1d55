//! What a step changed, found by the operation that is about it.
//!
//! Looked up instead of searched: a step may end ten thousand operations and change as many objects.

use crate::state::State;
use berth_model::audit::AuditChange;
use berth_model::id::{ReservationId, VolumeId};
use berth_model::operation::{OperationKind, OperationRecord};
use berth_model::quota::show_amounts;
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::units::format_duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many changes of one operation are written, at least; of what is beyond them it is said how much it is.
pub(super) const CHANGES_MAX: usize = 100;

/// What records were before the step, and which of them belong to what.
#[derive(Debug)]
pub(super) struct Touched {
    before: BTreeMap<RegistryKey, Option<RegistryRecord>>,
    rows: BTreeSet<(usize, ReservationId)>,
    snapshots: BTreeMap<VolumeId, Vec<RegistryKey>>,
}

impl Touched {
    pub(super) fn new(
        state: &State,
        before: BTreeMap<RegistryKey, Option<RegistryRecord>>,
        rows: BTreeSet<(usize, ReservationId)>,
    ) -> Self {
        let mut snapshots: BTreeMap<VolumeId, Vec<RegistryKey>> = BTreeMap::new();
        for (key, old) in &before {
            let RegistryKey::Snapshot(_) = key else { continue };
            if let Some(RegistryRecord::Snapshot(snapshot)) = old.clone().or(record(state, key)) {
                snapshots.entry(snapshot.spec.of.id).or_default().push(key.clone());
            }
        }
        Self { before, rows, snapshots }
    }

    /// The keys of what the step touched.
    pub(super) fn keys(&self) -> impl Iterator<Item = &RegistryKey> {
        self.before.keys()
    }

    /// What the step changed of the objects that the operation is about, and how many objects are left out.
    pub(super) fn changes(
        &self,
        state: &State,
        operation: &OperationRecord,
        volumes: &[VolumeId],
        decision: usize,
    ) -> (Vec<AuditChange>, usize) {
        let (mut found, mut left_out) = (Vec::new(), 0);
        for key in self.of(state, operation, volumes, decision) {
            let Some(old) = self.before.get(&key) else { continue };
            let new = record(state, &key);
            if *old == new {
                continue;
            }
            if found.len() >= CHANGES_MAX {
                left_out += 1;
                continue;
            }
            let object = name_of(&key);
            let (old, new) = (properties(old.as_ref()), properties(new.as_ref()));
            let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
            for what in names {
                let (before, after) = (old.get(what).cloned(), new.get(what).cloned());
                if before != after {
                    let (object, what) = (object.clone(), what.to_owned());
                    found.push(AuditChange { object, what, before, after });
                }
            }
        }
        (found, left_out)
    }

    /// The keys of what the operation is about, in their order.
    fn of(
        &self,
        state: &State,
        operation: &OperationRecord,
        volumes: &[VolumeId],
        decision: usize,
    ) -> BTreeSet<RegistryKey> {
        let mut keys = BTreeSet::new();
        for volume in volumes {
            keys.extend([RegistryKey::Volume(*volume), RegistryKey::Schedule(*volume)]);
            keys.extend(self.snapshots.get(volume).into_iter().flatten().cloned());
        }
        let all =
            (decision, ReservationId::from_u128(0))..(decision + 1, ReservationId::from_u128(0));
        let rows = self.rows.range(all).map(|(_, id)| RegistryKey::Reservation(*id));
        keys.extend(rows.filter(|key| self.is_on_agent(state, key, operation)));
        // Said of disks and profiles is something by itself: such an operation is the only one of its step.
        let is_one_of = |kinds: &[OperationKind]| kinds.contains(&operation.kind);
        if is_one_of(&[OperationKind::Cordon, OperationKind::Uncordon, OperationKind::Label]) {
            let disks = self.before.keys().filter(|key| matches!(key, RegistryKey::Disk(_)));
            keys.extend(disks.filter(|key| self.is_on_agent(state, key, operation)).cloned());
        }
        if is_one_of(&[OperationKind::CreateProfile, OperationKind::DeleteProfile]) {
            let is_profile = |key: &&RegistryKey| matches!(key, RegistryKey::Profile(_));
            keys.extend(self.before.keys().filter(is_profile).cloned());
        }
        if operation.kind == OperationKind::SetWeight {
            let is_weight = |key: &&RegistryKey| matches!(key, RegistryKey::Weight(_));
            keys.extend(self.before.keys().filter(is_weight).cloned());
        }
        if is_one_of(&[OperationKind::SetQuota, OperationKind::UnsetQuota]) {
            let is_quota = |key: &&RegistryKey| matches!(key, RegistryKey::Quota(_));
            keys.extend(self.before.keys().filter(is_quota).cloned());
        }
        keys
    }

    fn is_on_agent(&self, state: &State, key: &RegistryKey, operation: &OperationRecord) -> bool {
        let known = self.before.get(key).cloned().flatten().or_else(|| record(state, key));
        let agent = match known {
            Some(RegistryRecord::Reservation(row)) => row.agent,
            Some(RegistryRecord::Disk(disk)) => disk.agent,
            _other => return false,
        };
        operation.agent == Some(agent)
    }
}

/// What the books have under a key, of what entries show.
pub(super) fn record(state: &State, key: &RegistryKey) -> Option<RegistryRecord> {
    match key {
        RegistryKey::Volume(id) => {
            state.volumes.get(id).map(|v| RegistryRecord::Volume(Arc::clone(&v.volume)))
        },
        RegistryKey::Snapshot(id) => {
            state.snapshots.get(id).map(|s| RegistryRecord::Snapshot(Arc::clone(&s.snapshot)))
        },
        RegistryKey::Disk(id) => state.disks.get(id).cloned().map(RegistryRecord::Disk),
        RegistryKey::Profile(name) => {
            state.profiles.get(name).cloned().map(RegistryRecord::Profile)
        },
        RegistryKey::Reservation(id) => {
            state.rows.get(id).cloned().map(RegistryRecord::Reservation)
        },
        RegistryKey::Schedule(id) => state.schedules.get(id).cloned().map(RegistryRecord::Schedule),
        RegistryKey::Weight(role) => state.weights.get(role).cloned().map(RegistryRecord::Weight),
        RegistryKey::Quota(role) => state.quotas.get(role).cloned().map(RegistryRecord::Quota),
        RegistryKey::Meta
        | RegistryKey::Agent(_)
        | RegistryKey::AgentSeq(_)
        | RegistryKey::Framework(_)
        | RegistryKey::Operation(_)
        | RegistryKey::Transaction(..)
        | RegistryKey::Audit(_) => None,
    }
}

fn name_of(key: &RegistryKey) -> String {
    match key {
        RegistryKey::Volume(id) => format!("volume {id}"),
        RegistryKey::Snapshot(id) => format!("snapshot {id}"),
        RegistryKey::Disk(id) => format!("disk {id}"),
        RegistryKey::Profile(name) => format!("profile {name}"),
        RegistryKey::Reservation(id) => format!("reservation {id}"),
        RegistryKey::Schedule(id) => format!("schedule of volume {id}"),
        RegistryKey::Weight(role) | RegistryKey::Quota(role) => format!("role {role}"),
        RegistryKey::Meta
        | RegistryKey::Agent(_)
        | RegistryKey::AgentSeq(_)
        | RegistryKey::Framework(_)
        | RegistryKey::Operation(_)
        | RegistryKey::Transaction(..)
        | RegistryKey::Audit(_) => String::new(),
    }
}

/// What of a record an auditor wants to see, in words.
fn properties(record: Option<&RegistryRecord>) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    match record {
        Some(RegistryRecord::Volume(volume)) => {
            found.insert("state", volume.state.to_string());
            found.insert("size", volume.spec.size.to_string());
            found.insert("access", volume.spec.access.to_string());
            found.insert("protected", volume.protected.to_string());
            found.insert("generation", volume.spec.generation.to_string());
        },
        Some(RegistryRecord::Snapshot(snapshot)) => {
            found.insert("state", snapshot.state.to_string());
            found.insert("held", snapshot.held.to_string());
            if let Some(group) = &snapshot.group {
                found.insert("group", group.id.to_string());
                let by = group.consistency.map(|by| by.to_string()).unwrap_or_default();
                found.insert("consistency", by);
            }
        },
        Some(RegistryRecord::Disk(disk)) => {
            found.insert("cordoned", disk.cordon.is_some().to_string());
            let labels: Vec<String> = disk.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            found.insert("labels", labels.join(","));
        },
        Some(RegistryRecord::Profile(profile)) => {
            found.insert("profile", profile.name.to_string());
        },
        Some(RegistryRecord::Reservation(row)) => {
            found.insert("resources", row.resource.to_string());
        },
        Some(RegistryRecord::Schedule(schedule)) => {
            let (every, keep) = (format_duration(schedule.plan.every), schedule.plan.keep);
            let text = format!(
                "every {every}, keep last {} hourly {} daily {} weekly {}",
                keep.last, keep.hourly, keep.daily, keep.weekly
            );
            found.insert("plan", text);
        },
        Some(RegistryRecord::Weight(weight)) => {
            found.insert("weight", weight.weight.to_string());
        },
        Some(RegistryRecord::Quota(quota)) => {
            found.insert("guarantees", show_amounts(&quota.guarantees));
            found.insert("limits", show_amounts(&quota.limits));
        },
        Some(
            RegistryRecord::Meta { .. }
            | RegistryRecord::Agent(_)
            | RegistryRecord::AgentSeq { .. }
            | RegistryRecord::Framework(_)
            | RegistryRecord::Operation(_)
            | RegistryRecord::Transaction(_)
            | RegistryRecord::Audit(_),
        )
        | None => {},
    }
    found
}
