//! Contents: where each comes from and what becomes of it (I1, I6, I9, I11).
//!
//! A content is the number of the write that made it, and the world knows on top of which content each was written. What a
//! roll back or a clone must give is read from what clients asked for and from the snapshots' contents when they were
//! first durable, never from the effects. Invariant: what is remembered of a snapshot's content is never changed.

use super::imports::brought;
use super::{Judges, volume};
use crate::history::Wish;
use crate::volumes::{Replaced, Slot};
use crate::world::{AgentMachine, World};
use berth_agent_core::effect::Place;
use berth_model::id::{OperationId, SnapshotId, VolumeId};
use berth_model::operator::{Request, VolumeChoice};
use berth_model::record::{RegistryRecord, RegistryWrite};
use berth_model::snapshot::{Origin, SnapshotState};
use berth_model::volume::{Volume, VolumeState};
use std::collections::{BTreeMap, BTreeSet};

/// A roll back as the registry has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Roll {
    pub(super) operation: OperationId,
    pub(super) snapshot: SnapshotId,
    pub(super) safety: SnapshotId,
}

/// What volumes are made from.
#[derive(Debug, Default)]
pub(super) struct Descent {
    /// By the life that a roll back begins.
    pub(super) rolls: BTreeMap<(VolumeId, u64), Roll>,
    /// By the new volume.
    pub(super) clones: BTreeMap<VolumeId, (OperationId, SnapshotId)>,
    /// What a new volume holds of a directory.
    pub(super) imports: BTreeMap<VolumeId, (OperationId, u64)>,
    /// What a snapshot held when it was first durable.
    pub(super) contents: BTreeMap<SnapshotId, u64>,
    /// What the volume held when a snapshot of it was begun.
    begun: BTreeMap<SnapshotId, u64>,
    /// Which snapshot an operation takes.
    pub(super) taken: BTreeMap<OperationId, SnapshotId>,
    /// Snapshots that the registry has called READY.
    pub(super) ready: BTreeSet<SnapshotId>,
}

impl Judges {
    /// Takes in what the registry says of snapshots and of volumes that are made from them.
    pub(super) fn remember_descent(&mut self, world: &World) {
        for record in world.master.registry.records().values() {
            match record {
                RegistryRecord::Volume(volume) => self.remember_origin(volume),
                RegistryRecord::Snapshot(snapshot) => {
                    let id = snapshot.spec.id;
                    match snapshot.state {
                        SnapshotState::Creating => {
                            self.descent.taken.insert(snapshot.operation, id);
                        },
                        SnapshotState::Ready => drop(self.descent.ready.insert(id)),
                        SnapshotState::Failed
                        | SnapshotState::Lost
                        | SnapshotState::Deleting
                        | SnapshotState::Gone
                        | SnapshotState::Quarantined => {},
                    }
                },
                RegistryRecord::Meta { .. }
                | RegistryRecord::Agent(_)
                | RegistryRecord::AgentSeq { .. }
                | RegistryRecord::Reservation(_)
                | RegistryRecord::Framework(_)
                | RegistryRecord::Operation(_)
                | RegistryRecord::Disk(_)
                | RegistryRecord::Profile(_)
                | RegistryRecord::Schedule(_)
                | RegistryRecord::Weight(_)
                | RegistryRecord::Quota(_)
                | RegistryRecord::Transaction(_)
                | RegistryRecord::Audit(_) => {},
            }
        }
    }

    /// What a batch made durable: a snapshot may be READY and on its way out within one.
    pub fn master_keeps(&mut self, writes: &[RegistryWrite]) {
        for write in writes {
            if let RegistryWrite::Put(RegistryRecord::Snapshot(snapshot)) = write
                && snapshot.state == SnapshotState::Ready
            {
                self.descent.ready.insert(snapshot.spec.id);
            }
        }
    }

    fn remember_origin(&mut self, volume: &Volume) {
        let (id, operation) = (volume.spec.id, volume.operation);
        match volume.origin.as_deref() {
            Some(Origin::RollBack { snapshot, safety })
                if volume.state == VolumeState::Creating =>
            {
                let roll = Roll { operation, snapshot: snapshot.id, safety: safety.id };
                self.descent.rolls.insert((id, volume.spec.generation), roll);
            },
            Some(Origin::Clone { snapshot }) => {
                self.descent.clones.entry(id).or_insert((operation, snapshot.id));
            },
            Some(origin @ (Origin::Directory { .. } | Origin::Stream)) => {
                self.descent.imports.entry(id).or_insert((operation, brought(origin, operation)));
            },
            Some(Origin::RollBack { .. } | Origin::Orphan) | None => {},
        }
    }

    /// A snapshot holds at least what its volume held now.
    pub(super) fn snapshot_begins(&mut self, machine: &AgentMachine, id: SnapshotId, of: VolumeId) {
        if let Some(slot) = machine.volumes.durable.get(&of) {
            self.descent.begun.entry(id).or_insert(slot.content);
        }
    }

    /// What an attempt took that was cut off is deleted, and taken of another moment.
    pub(super) fn group_anew(&mut self, machine: &AgentMachine, id: SnapshotId, of: VolumeId) {
        self.descent.contents.remove(&id);
        self.descent.begun.remove(&id);
        self.snapshot_begins(machine, id, of);
    }

    pub(super) fn is_excused(&self, machine: &AgentMachine, id: VolumeId) -> bool {
        self.rolled_back || machine.strayed || self.vandalised.contains(&id)
    }

    /// I6: a snapshot holds what its volume held in that life while it was taken, and never anything else.
    pub(super) fn judge_taken(&mut self, world: &World, at: usize, machine: &AgentMachine) {
        let mut wrong = Vec::new();
        for (id, taken) in &machine.volumes.snapshots_durable {
            let of = &taken.spec.of;
            let known = self.descent.contents.get(id).copied();
            let ledger = &machine.ledger.durable;
            // An attempt at a group that was cut off lies there until the next one deletes it.
            let is_open = ledger.groups.contains_key(id)
                && ledger.snapshot(*id) == Some(SnapshotState::Creating);
            if is_open || self.is_excused(machine, of.id) || known == Some(taken.content) {
                continue;
            }
            if let Some(known) = known {
                wrong.push(format!("snapshot {id} held {known} and holds {}", taken.content));
                continue;
            }
            self.descent.contents.insert(*id, taken.content);
            let here = machine.volumes.durable.get(&of.id);
            let right_life = here.is_some_and(|slot| {
                slot.generation == of.generation && world.descends(slot.content, taken.content)
            });
            let new_enough = self
                .descent
                .begun
                .get(id)
                .is_none_or(|begun| world.descends(taken.content, *begun));
            if !(right_life && new_enough) {
                let spec = &taken.spec;
                wrong.push(format!("snapshot {spec:?} holds {}, taken of {here:?}", taken.content));
            }
        }
        for text in wrong {
            self.report("I6 durability", text);
        }
        self.judge_snapshot_leaks(at, machine);
    }

    /// I11: whatever snapshot lies on a disk is explained by the agent's ledger, and a replaced life by its snapshot.
    fn judge_snapshot_leaks(&mut self, at: usize, machine: &AgentMachine) {
        if machine.newest.is_some() || machine.strayed || self.rolled_back {
            return;
        }
        let ledger = &machine.ledger.durable;
        for (id, taken) in &machine.volumes.snapshots_durable {
            let explained = match ledger.snapshot(*id) {
                Some(
                    SnapshotState::Creating
                    | SnapshotState::Ready
                    | SnapshotState::Lost
                    | SnapshotState::Deleting
                    | SnapshotState::Quarantined,
                ) => true,
                Some(SnapshotState::Failed | SnapshotState::Gone) | None => {
                    self.vandalised.contains(&taken.spec.of.id)
                },
            };
            if !explained {
                let state = ledger.snapshot(*id);
                let text = format!("snapshot {id} lies on agent {at}, whose ledger says {state:?}");
                self.report("I11 no leak", text);
            }
        }
        for ((id, generation), replaced) in &machine.volumes.replaced_durable {
            let kept = machine.volumes.snapshots_durable.contains_key(&replaced.safety);
            if !kept && !self.vandalised.contains(id) {
                let text = format!("life {generation} of volume {id} outlives its snapshot");
                self.report("I11 no leak", text);
            }
        }
    }

    /// I1: a life that a roll back ends was meant by a client, and a snapshot has its content. True when this explains
    /// the change.
    pub(super) fn judge_replaced(
        &mut self,
        world: &World,
        machine: &AgentMachine,
        (id, old): (VolumeId, &Slot),
        new: Option<&Slot>,
    ) -> bool {
        let Some(aside) = machine.volumes.replaced_durable.get(&(id, old.generation)) else {
            return false;
        };
        let goes_on = new.is_none_or(|new| new.generation == old.generation + 1);
        if old.place != Place::Live || !goes_on {
            return false;
        }
        if !self.is_excused(machine, id)
            && let Some(text) = self.unexplained(world, machine, (id, old), aside)
        {
            self.report("I1 no unauthorised destruction", text);
        }
        if let Some(new) = new {
            self.judge_arrival(world, machine, id, new);
        }
        true
    }

    fn unexplained(
        &self,
        world: &World,
        machine: &AgentMachine,
        (id, old): (VolumeId, &Slot),
        aside: &Replaced,
    ) -> Option<String> {
        let Some(roll) = self.descent.rolls.get(&(id, old.generation + 1)) else {
            return Some(format!(
                "volume {id} is rolled back, and the registry says nothing of it"
            ));
        };
        if !was_asked(world, roll.operation, |request| match request {
            Request::RollBackVolume { volume, snapshot } => {
                *volume == VolumeChoice::Id(id) && *snapshot == roll.snapshot
            },
            _other => false,
        }) {
            return Some(format!("volume {id} is rolled back, and nobody asked for {roll:?}"));
        }
        if aside.slot != *old || aside.safety != roll.safety {
            return Some(format!("volume {id} was {old:?}, put aside is {aside:?}"));
        }
        let safe = machine.volumes.snapshots_durable.get(&roll.safety).map(|taken| taken.content);
        (safe != Some(old.content)).then(|| {
            format!("volume {id} held {} when it was replaced, its snapshot {safe:?}", old.content)
        })
    }

    /// I6: what appears holds the content of the snapshot that was meant, or nothing. True for the next life of a volume.
    pub(super) fn judge_arrival(
        &mut self,
        world: &World,
        machine: &AgentMachine,
        id: VolumeId,
        new: &Slot,
    ) -> bool {
        let last = (id, new.generation.saturating_sub(1));
        let is_next = machine.volumes.replaced_durable.contains_key(&last);
        if self.is_excused(machine, id) {
            return is_next;
        }
        let roll = self.descent.rolls.get(&(id, new.generation)).filter(|_| is_next);
        let clone = self.descent.clones.get(&id).copied().filter(|_| !is_next);
        let from = match (roll, clone) {
            (Some(roll), _) => Some(roll.snapshot),
            (None, Some((operation, snapshot))) => {
                let asked = was_asked(world, operation, |request| match request {
                    Request::CloneVolume { snapshot: wanted, .. } => *wanted == snapshot,
                    _other => false,
                });
                if !asked {
                    let text = format!("volume {id} is a clone of {snapshot} and nobody asked");
                    self.report("I6 durability", text);
                }
                Some(snapshot)
            },
            (None, None) => None,
        };
        let wanted = match from {
            Some(snapshot) => self.descent.contents.get(&snapshot).copied(),
            None if is_next => Some(0),
            None => Some(self.imported(world, id)),
        };
        if wanted != Some(new.content) {
            let text = format!("volume {id} is new with {new:?}, {from:?} holds {wanted:?}");
            self.report("I6 durability", text);
        }
        is_next
    }
}

/// Did a client ask for it under this id?
pub(super) fn was_asked(world: &World, id: OperationId, is_it: impl Fn(&Request) -> bool) -> bool {
    world.history.operations.get(&id).is_some_and(|asked| {
        asked.wishes.iter().any(|wish| match wish {
            Wish::Request(request) => is_it(request),
            Wish::Action { .. } => false,
        })
    })
}

pub(super) fn machine_of(world: &World, id: VolumeId) -> Option<&AgentMachine> {
    let agent = volume(world.master.registry.records(), id)?.agent;
    world.agents.iter().find(|machine| machine.id == agent)
}
