//! Applies the registry's records: books and indices follow the difference to the record before.
//!
//! Recovery folds the same records through the same code, so a recovered master and one that went on
//! cannot disagree about what is durable.

use super::framework::rewant;
use super::{commit, placing, stir, stir_all, wake};
use crate::state::{
    Agent, Audit, Books, Framework, Pool, RowKey, SnapshotEntry, State, Timer, VolumeEntry,
    base_of, sum_of,
};
use berth_model::agent::AgentInfo;
use berth_model::audit::{AuditKey, AuditRecord};
use berth_model::disk::DiskRecord;
use berth_model::id::{
    AgentId, DiskId, FrameworkId, OperationId, ReservationId, SnapshotId, VolumeId,
};
use berth_model::operation::OperationRecord;
use berth_model::record::{FrameworkRecord, RegistryKey, RegistryRecord, ReservationRow};
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::snapshot::Snapshot;
use berth_model::units::Timestamp;
use berth_model::usage::History;
use berth_model::volume::Volume;
use berth_model::weight::Weight;
use std::collections::btree_map::Entry;
use std::num::NonZeroU64;
use std::sync::Arc;

pub(super) fn put(state: &mut State, now: Timestamp, record: RegistryRecord) {
    match record {
        RegistryRecord::Meta { next_framework, .. } => state.next_framework = next_framework,
        RegistryRecord::Agent(info) => put_agent(state, now, Arc::unwrap_or_clone(info)),
        RegistryRecord::AgentSeq { agent, ledger_seq } => {
            if let Some(entry) = state.agents.get_mut(&agent) {
                entry.ledger_seq = ledger_seq;
            }
        },
        RegistryRecord::Reservation(row) => put_row(state, now, row),
        RegistryRecord::Volume(volume) => put_volume(state, now, volume),
        RegistryRecord::Framework(record) => put_framework(state, Arc::unwrap_or_clone(record)),
        RegistryRecord::Operation(record) => put_operation(state, record),
        RegistryRecord::Disk(record) => put_disk(state, now, record),
        RegistryRecord::Profile(profile) => {
            let name = profile.name.clone();
            state.profiles.insert(name.clone(), profile);
            state.reprofile(&name);
        },
        RegistryRecord::Snapshot(snapshot) => put_snapshot(state, now, snapshot),
        RegistryRecord::Schedule(schedule) => {
            let volume = schedule.volume;
            state.schedules.insert(volume, schedule);
            wake(state, now, volume);
        },
        RegistryRecord::Weight(known) => {
            weigh(state, &known.role, known.weight);
            state.weights.insert(known.role.clone(), known);
        },
        RegistryRecord::Quota(quota) => {
            state.quotas.insert(quota.role.clone(), Arc::clone(&quota));
            state.requota(&quota);
            stir_all(state, now);
        },
        RegistryRecord::Transaction(record) => state.transactions.put(record),
        RegistryRecord::Audit(record) => put_audit(&mut state.audit, &record),
    }
}

pub(super) fn delete(state: &mut State, now: Timestamp, key: &RegistryKey) {
    match key {
        // The cluster's record and agents' records are never removed.
        RegistryKey::Meta | RegistryKey::Agent(_) | RegistryKey::AgentSeq(_) => {},
        RegistryKey::Reservation(id) => delete_row(state, now, *id),
        RegistryKey::Volume(id) => delete_volume(state, now, *id),
        RegistryKey::Framework(id) => delete_framework(state, id),
        RegistryKey::Operation(id) => delete_operation(state, *id),
        RegistryKey::Disk(id) => {
            state.disks.remove(id);
            stir_owners(state, now, *id);
        },
        RegistryKey::Profile(name) => {
            state.profiles.remove(name);
            state.reprofile(name);
        },
        RegistryKey::Snapshot(id) => delete_snapshot(state, now, *id),
        RegistryKey::Schedule(volume) => drop(state.schedules.remove(volume)),
        RegistryKey::Weight(role) => {
            weigh(state, role, Weight::ONE);
            state.weights.remove(role);
        },
        RegistryKey::Quota(role) => {
            state.quotas.remove(role);
            state.restand();
            stir_all(state, now);
        },
        RegistryKey::Transaction(framework, id) => state.transactions.forget(framework, *id),
        RegistryKey::Audit(AuditKey::Mark(seq)) => drop(state.audit.marks.remove(seq)),
        // The head is never removed, and entries are not in the books.
        RegistryKey::Audit(AuditKey::Head | AuditKey::Entry(_)) => {},
    }
}

/// The allocator goes by it from the next look on.
fn weigh(state: &mut State, role: &Role, weight: Weight) {
    let milli = NonZeroU64::new(weight.milli()).expect("a weight is above zero");
    state.shares.weigh(role, milli);
}

fn put_audit(audit: &mut Audit, record: &AuditRecord) {
    match record {
        AuditRecord::Head(head) => audit.head = Some(*head),
        AuditRecord::Mark(mark) => drop(audit.marks.insert(mark.seq, *mark)),
        AuditRecord::Entry(_) => {},
    }
}

fn put_agent(state: &mut State, now: Timestamp, info: AgentInfo) {
    let id = info.id;
    if let Entry::Vacant(place) = state.agents.entry(id) {
        place.insert(Agent::new(AgentInfo { declared: Resources::new(), ..info.clone() }));
        state.recovering += 1;
    }
    let Some(agent) = state.touch(id) else { return };
    let (before, after) = (agent.info.declared.clone(), info.declared.clone());
    agent.declare(info);
    if before != after {
        let (gone, new) = (before.minus(&after), after.minus(&before));
        agent.books.convert(Pool::Available, &gone, Pool::Available, &new);
        state.shares.withdraw(&before);
        state.shares.declare(&after);
        commit(state, id, None);
        state.unreserve(id, &before);
        state.reserve(id, &after);
        stir(state, now, id);
    }
    state.sort_disks(id);
}

/// Turns what lies between two amounts of a row from declared into reserved resources, or back.
fn convert_row(books: &mut Books, before: &Resources, after: &Resources) {
    let grown = after.minus(before);
    let shrunk = before.minus(after);
    books.convert(Pool::Available, &shrunk, Pool::Available, &declared_under(&shrunk));
    books.convert(Pool::Available, &declared_under(&grown), Pool::Available, &grown);
}

/// The row's owner has it, and the owner of what was declared below it has it no more.
fn count_row(state: &mut State, agent: AgentId, before: &Resources, after: &Resources) {
    state.unreserve(agent, before);
    state.reserve(agent, &declared_under(before));
    state.reserve(agent, after);
    state.unreserve(agent, &declared_under(after));
}

fn declared_under(reserved: &Resources) -> Resources {
    let mut sum = Resources::new();
    for resource in reserved.iter() {
        let base = base_of(&resource.stack);
        sum.add(&resource.with_stack(base)).expect("a part of a sum is a sum");
    }
    sum
}

fn put_row(state: &mut State, now: Timestamp, row: Arc<ReservationRow>) {
    let (id, agent) = (row.id, row.agent);
    let after = sum_of(&row.resource);
    let key = RowKey::of(&row.resource);
    let taker = row.resource.stack.owner().cloned();
    let before = state.rows.insert(id, row).map(|old| sum_of(&old.resource)).unwrap_or_default();
    if let (Some(entry), Some(key)) = (state.touch(agent), key) {
        entry.rows.insert(key, id);
        convert_row(&mut entry.books, &before, &after);
        count_row(state, agent, &before, &after);
    }
    commit(state, agent, taker.filter(|_| !before.contains(&after)));
    stir(state, now, agent);
}

fn delete_row(state: &mut State, now: Timestamp, id: ReservationId) {
    let Some(row) = state.rows.remove(&id) else { return };
    if let (Some(entry), Some(key)) = (state.touch(row.agent), RowKey::of(&row.resource)) {
        entry.rows.remove(&key);
        let before = sum_of(&row.resource);
        convert_row(&mut entry.books, &before, &Resources::new());
        count_row(state, row.agent, &before, &Resources::new());
    }
    commit(state, row.agent, None);
    stir(state, now, row.agent);
}

fn put_volume(state: &mut State, now: Timestamp, volume: Arc<Volume>) {
    let (id, agent) = (volume.spec.id, volume.agent);
    let known = state.volumes.remove(&id);
    let name_of = |v: &Volume| {
        let (role, name) = (v.spec.role.clone(), v.spec.name.clone());
        v.state.holds_name().then_some((role, name, id))
    };
    let (before, after) = (known.as_ref().and_then(|k| name_of(&k.volume)), name_of(&volume));
    if before != after {
        if let Some(name) = before {
            state.names.remove(&name);
        }
        state.names.extend(after);
    }
    let is_new = known.is_none();
    let entry = match known {
        Some(mut entry) => {
            let resized = entry.volume.spec.size != volume.spec.size;
            placing::leave_unless_same(state, &mut entry, &volume);
            let before = std::mem::replace(&mut entry.volume, volume);
            if before.state != entry.volume.state {
                // What one content's coming says nothing of is its going.
                entry.progress = None;
            }
            if before.spec.generation != entry.volume.spec.generation {
                // What another life used says nothing of this one.
                entry.measured = History::default();
            }
            if resized {
                recharge(state, &entry, &before);
            }
            entry
        },
        None => VolumeEntry::new(volume),
    };
    let entry = placing::enter(state, entry);
    state.volumes.insert(id, entry);
    if is_new && let Some(agent) = state.touch(agent) {
        agent.volumes.insert(id);
    }
    commit(state, agent, None);
    stir(state, now, agent);
    wake(state, now, id);
}

/// The tasks that use the volume are charged with its new size.
fn recharge(state: &mut State, entry: &VolumeEntry, before: &Volume) {
    let Ok(before) = before.resource() else { return };
    for user in &entry.users {
        let Some(task) = state.tasks.get(user) else { continue };
        let (who, agent) = ((&task.role, &user.framework), entry.volume.agent);
        state.shares.release(who, agent, &sum_of(&before));
        state.shares.charge(who, agent, &sum_of(&entry.resource()));
    }
}

fn delete_volume(state: &mut State, now: Timestamp, id: VolumeId) {
    let Some(mut entry) = state.volumes.remove(&id) else { return };
    unname(state, &entry.volume);
    placing::leave(state, &mut entry);
    if let Some(agent) = state.touch(entry.volume.agent) {
        agent.volumes.remove(&id);
    }
    commit(state, entry.volume.agent, None);
    stir(state, now, entry.volume.agent);
    wake(state, now, id);
}

fn unname(state: &mut State, volume: &Volume) {
    let spec = &volume.spec;
    state.names.remove(&(spec.role.clone(), spec.name.clone(), spec.id));
}

fn put_snapshot(state: &mut State, now: Timestamp, snapshot: Arc<Snapshot>) {
    let (id, agent, volume) = (snapshot.spec.id, snapshot.agent, snapshot.spec.of.id);
    let observed = state.snapshots.remove(&id).and_then(|old| old.observed);
    state.snapshots.insert(id, SnapshotEntry { snapshot, observed });
    state.snapshots_by_volume.insert((volume, id));
    if let Some(agent) = state.agents.get_mut(&agent) {
        agent.snapshots.insert(id);
    }
    wake(state, now, volume);
}

fn delete_snapshot(state: &mut State, now: Timestamp, id: SnapshotId) {
    let Some(entry) = state.snapshots.remove(&id) else { return };
    state.snapshots_by_volume.remove(&(entry.snapshot.spec.of.id, id));
    if let Some(agent) = state.agents.get_mut(&entry.snapshot.agent) {
        agent.snapshots.remove(&id);
    }
    wake(state, now, entry.snapshot.spec.of.id);
}

fn put_framework(state: &mut State, record: FrameworkRecord) {
    if let Some(removed) = record.removed {
        state.removed.insert((removed, record.id.clone()));
        state.transactions.end(&record.id);
    }
    let id = record.id.clone();
    match state.frameworks.get_mut(&id) {
        Some(framework) => {
            framework.suppressed.retain(|role| record.info.roles.contains(role));
            framework.record = record;
        },
        None => drop(state.frameworks.insert(id.clone(), Framework::new(record))),
    }
    rewant(state, &id);
    // Its roles may be others now, and with them what it is shown.
    state.turn += 1;
}

fn delete_framework(state: &mut State, id: &FrameworkId) {
    let Some(framework) = state.frameworks.remove(id) else { return };
    if let Some(removed) = framework.record.removed {
        state.removed.remove(&(removed, id.clone()));
    }
    if let Some(at) = framework.given_up {
        state.timers.disarm(at, Timer::FrameworkAway(id.clone()));
    }
    rewant(state, id);
}

fn put_disk(state: &mut State, now: Timestamp, record: Arc<DiskRecord>) {
    let id = record.disk;
    state.disks.insert(id, record);
    stir_owners(state, now, id);
}

/// What may be offered of the agents that have this disk has changed.
fn stir_owners(state: &mut State, now: Timestamp, disk: DiskId) {
    let has_it = |agent: &&Agent| agent.info.disks.iter().any(|own| own.id == disk);
    let owners: Vec<AgentId> = state.agents.values().filter(has_it).map(|a| a.info.id).collect();
    for owner in owners {
        state.sort_disks(owner);
        stir(state, now, owner);
    }
}

fn put_operation(state: &mut State, record: Arc<OperationRecord>) {
    let (id, finished) = (record.id, record.finished);
    if let Some(at) = state.operations.insert(id, record).and_then(|old| old.finished) {
        state.ended.remove(&(at, id));
    }
    if let Some(at) = finished {
        state.ended.insert((at, id));
    }
}

fn delete_operation(state: &mut State, id: OperationId) {
    if let Some(at) = state.operations.remove(&id).and_then(|old| old.finished) {
        state.ended.remove(&(at, id));
    }
}
