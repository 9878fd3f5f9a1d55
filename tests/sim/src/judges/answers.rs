//! What clients were told, against what is durable (I6, I7).

use super::books::{HeapKey, heap_of};
use super::{Judges, volume};
use crate::history::{Asked, Wish};
use crate::world::World;
use berth_model::declaration::DiskOrder;
use berth_model::id::{AgentId, OperationId};
use berth_model::operation::{Action, OperationKind, OperationRecord, OperationState};
use berth_model::operator::Request;
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::resources::Resources;
use berth_model::units::Scalar;
use berth_model::volume::VolumeState;
use berth_model::wipe::Wipe;
use std::collections::{BTreeMap, BTreeSet};

/// How much one operation may have changed a row, at least and at most.
type Bounds = BTreeMap<(AgentId, HeapKey), (i64, i64)>;

impl Judges {
    /// I6: an accepted or finished operation is in the registry, a refused one is not; I7: its end never changes.
    pub(super) fn judge_answers(&mut self, world: &World) {
        for text in &world.history.contradictions {
            self.report("I7 at most once", text.clone());
        }
        for (id, asked) in &world.history.operations {
            let record = match world.master.registry.records().get(&RegistryKey::Operation(*id)) {
                Some(RegistryRecord::Operation(record)) => Some(&**record),
                Some(_) | None => None,
            };
            if let Some(text) = wrong_answer(*id, asked, record) {
                self.report("I6 durability", text);
            }
            if let (Some(record), Some(OperationState::Done)) = (record, &asked.end) {
                self.judge_effect(world, record);
                self.judge_descent(world, record);
                self.judge_disk(world, record);
            }
        }
    }

    /// I6: the effect of an operation that a client knows to be done holds, or somebody asked for its end.
    fn judge_effect(&mut self, world: &World, record: &OperationRecord) {
        for id in &record.volumes {
            let entry = volume(world.master.registry.records(), *id);
            let state = entry.map(|v| v.state);
            if self.vandalised.contains(id) {
                continue;
            }
            match record.kind {
                OperationKind::Create | OperationKind::Clone | OperationKind::Import => {
                    let ended = self.births.get(id).zip(entry).is_none_or(|(birth, v)| {
                        world.history.destroy_was_asked(*id, &birth.role, &v.spec.name)
                    });
                    let known = self.births.contains_key(id);
                    // It is there in this life until it is there in the next.
                    let rolls = entry.and_then(|v| v.origin.as_ref());
                    let rolls = rolls.is_some_and(|origin| origin.is_roll_back());
                    let there = state == Some(VolumeState::Ready)
                        || state == Some(VolumeState::Creating) && rolls;
                    if !(there || ended && known) {
                        let text =
                            format!("operation {} is done, volume {id} is {state:?}", record.id);
                        self.report("I6 durability", text);
                    }
                },
                OperationKind::Destroy => {
                    let back = world.history.restored.contains(id);
                    if state == Some(VolumeState::Ready) && !back {
                        let text = format!("operation {} is done, volume {id} is READY", record.id);
                        self.report("I6 durability", text);
                    }
                },
                OperationKind::Reserve
                | OperationKind::Unreserve
                | OperationKind::Grow
                | OperationKind::Shrink
                | OperationKind::Restore
                | OperationKind::Purge
                | OperationKind::Launch
                | OperationKind::Teardown
                | OperationKind::Kill
                | OperationKind::Cordon
                | OperationKind::Uncordon
                | OperationKind::Label
                | OperationKind::CreateProfile
                | OperationKind::DeleteProfile
                | OperationKind::Snapshot
                | OperationKind::SnapshotGroup
                | OperationKind::DeleteSnapshot
                | OperationKind::HoldSnapshot
                | OperationKind::RollBack
                | OperationKind::Protect
                | OperationKind::Unprotect
                | OperationKind::SetAccess
                | OperationKind::AdoptOrphan
                | OperationKind::PurgeOrphan
                | OperationKind::SetSchedule
                | OperationKind::DeleteSchedule
                | OperationKind::AddDisk
                | OperationKind::RemoveDisk
                | OperationKind::Export
                | OperationKind::SetWeight
                | OperationKind::SetQuota
                | OperationKind::UnsetQuota => {},
            }
        }
    }

    /// I6: a disk that a client knows to be added is the agent's after every crash, until somebody asks for its removal.
    fn judge_disk(&mut self, world: &World, record: &OperationRecord) {
        let Some(DiskOrder::Add(wanted)) = record.disk.as_deref() else { return };
        let machine = world.agents.iter().find(|machine| Some(machine.id) == record.agent);
        let Some(machine) = machine.filter(|m| !m.strayed && m.newest.is_none()) else { return };
        let is_there = machine.made.contains_key(&wanted.source)
            && machine.ledger.durable.declared.contains(&wanted.source);
        let mut unmade = machine.unmade.iter();
        let asked = &world.history.removed_disks;
        let was_removed = unmade.any(|(id, source)| *source == wanted.source && asked.contains(id));
        if !is_there && !was_removed {
            let text =
                format!("operation {} added disk {}, and it is gone", record.id, wanted.name);
            self.report("I6 durability", text);
        }
    }

    /// I7 and I6: every row is the sum of what the operations did, each counted once.
    pub(super) fn judge_amounts(&mut self, world: &World) {
        let mut bounds = Bounds::new();
        // A release takes some unused part of some row of its agent: nothing is sure below there.
        let mut released: BTreeSet<AgentId> = BTreeSet::new();
        let records = world.master.registry.records();
        for (id, asked) in &world.history.operations {
            let Some(RegistryRecord::Operation(record)) = records.get(&RegistryKey::Operation(*id))
            else {
                continue;
            };
            let grows = record.kind == OperationKind::Grow;
            let implies = grows
                || matches!(
                    record.kind,
                    OperationKind::Create
                        | OperationKind::Restore
                        | OperationKind::Clone
                        | OperationKind::Import
                        | OperationKind::AdoptOrphan
                );
            if matches!(record.state, OperationState::Failed(_)) && !implies {
                continue;
            }
            if implies {
                // What was missing was reserved with it: anything from nothing to all.
                for ground in record.volumes.iter().filter_map(|id| self.grounds.get(id)) {
                    let key = record.agent.map(|agent| (agent, heap_of(ground)));
                    let amount = if grows {
                        asked.wishes.iter().map(wanted_size).max().unwrap_or(0)
                    } else {
                        ground.amount().map_or(0, Scalar::milli)
                    };
                    bounds.entry(key.expect("a volume has an agent")).or_insert((0, 0)).1 += amount;
                }
            }
            // Under an id that was used twice, either wish may have been the first.
            let sure = asked.wishes.len() == 1;
            for wish in &asked.wishes {
                if matches!(wish, Wish::Request(Request::Release { .. })) {
                    released.extend(record.agent);
                }
                add_bounds(&mut bounds, wish, sure, record);
            }
        }
        for record in records.values() {
            let RegistryRecord::Reservation(row) = record else { continue };
            let key = (row.agent, heap_of(&row.resource));
            let amount = row.resource.amount().map_or(0, Scalar::milli);
            let (low, high) = bounds.remove(&key).unwrap_or((0, 0));
            let low = if released.contains(&row.agent) { 0 } else { low };
            if amount < low || amount > high {
                let text =
                    format!("row {key:?} holds {amount}, the operations explain {low} to {high}");
                self.report("I7 at most once", text);
            }
        }
        for (key, (low, _)) in bounds {
            if low > 0 && !released.contains(&key.0) {
                let text =
                    format!("row {key:?} is not there, the operations explain at least {low}");
                self.report("I6 durability", text);
            }
        }
    }
}

fn wrong_answer(
    id: OperationId,
    asked: &Asked,
    record: Option<&OperationRecord>,
) -> Option<String> {
    let state = record.map(|record| &record.state);
    if asked.is_refused() {
        return match state {
            None | Some(OperationState::Failed(_)) => None,
            Some(state) => Some(format!("operation {id} was refused and is {}", state.as_str())),
        };
    }
    let uncertified = record.filter(|record| {
        record.kind == OperationKind::Purge
            && record.state == OperationState::Done
            && record.wipe.unwrap_or_default() != Wipe::None
            && !record.notes.iter().any(|note| note.contains("wiped: "))
    });
    if let Some(record) = uncertified {
        return Some(format!("{id} is done without a certificate: {:?}", record.notes));
    }
    if asked.accepted && state.is_none() && asked.end.is_none() {
        let launch = asked.wishes.iter().any(is_soft);
        return (!launch).then(|| format!("operation {id} was accepted and is unknown"));
    }
    match (&asked.end, state) {
        (Some(end), Some(state)) if end.as_str() != state.as_str() => {
            Some(format!("operation {id} was {} and is {}", end.as_str(), state.as_str()))
        },
        (Some(OperationState::Done), None) if !asked.wishes.iter().any(is_soft) => {
            Some(format!("operation {id} was done and is unknown"))
        },
        (Some(_) | None, _) => None,
    }
}

/// The size that a resize asks for, in thousandths of a MiB.
fn wanted_size(wish: &Wish) -> i64 {
    match wish {
        Wish::Request(Request::ResizeVolume { size, .. }) => {
            size.to_scalar().map_or(0, Scalar::milli)
        },
        // By disk that was reserved before.
        Wish::Request(_) | Wish::Action { .. } => 0,
    }
}

/// Launches and kills live in the agents, not in the registry.
fn is_soft(wish: &Wish) -> bool {
    match wish {
        Wish::Action { action: Action::Launch(_), .. }
        | Wish::Request(Request::KillTask { .. }) => true,
        Wish::Action { .. } | Wish::Request(_) => false,
    }
}

fn add_bounds(bounds: &mut Bounds, wish: &Wish, sure: bool, record: &OperationRecord) {
    let mut sum = |agent: AgentId, resources: &Resources, low: i64, high: i64| {
        for resource in resources.iter() {
            let amount = resource.amount().map_or(0, Scalar::milli);
            let entry = bounds.entry((agent, heap_of(&resource))).or_insert((0, 0));
            entry.0 += low * amount;
            entry.1 += high * amount;
        }
    };
    let done = record.state == OperationState::Done;
    let at_least = i64::from(sure && done);
    match wish {
        Wish::Action { agent, action: Action::Reserve(resources) }
        | Wish::Request(Request::Reserve { agent, resources }) => {
            sum(*agent, resources, at_least, 1);
        },
        Wish::Action { agent, action: Action::Unreserve(resources) }
        | Wish::Request(Request::Unreserve { agent, resources }) => {
            sum(*agent, resources, -1, -at_least);
        },
        Wish::Action {
            action:
                Action::Create(_)
                | Action::Destroy(_)
                | Action::Launch(_)
                | Action::Grow { .. }
                | Action::Shrink { .. },
            ..
        }
        | Wish::Request(
            Request::Release { .. }
            | Request::CreateVolume { .. }
            | Request::ResizeVolume { .. }
            | Request::DestroyVolume { .. }
            | Request::RestoreVolume { .. }
            | Request::PurgeVolume { .. }
            | Request::Teardown { .. }
            | Request::KillTask { .. }
            | Request::Disk(_)
            | Request::Profile(_)
            | Request::CreateSnapshot { .. }
            | Request::CreateGroup { .. }
            | Request::DeleteSnapshot { .. }
            | Request::HoldSnapshot { .. }
            | Request::RollBackVolume { .. }
            | Request::CloneVolume { .. }
            | Request::Property { .. }
            | Request::AdoptOrphan { .. }
            | Request::PurgeOrphan { .. }
            | Request::SetSchedule { .. }
            | Request::DeleteSchedule { .. }
            | Request::AddDisk { .. }
            | Request::RemoveDisk { .. }
            | Request::SetWeight { .. }
            | Request::Quota(_)
            | Request::ExportVolume { .. },
        ) => {},
    }
}
