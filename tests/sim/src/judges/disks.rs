//! What lies on the disks, against what was asked and written down (I1, I2, I6, I9, I11).

use super::{Judges, volume, volumes};
use crate::volumes::{FIRST_WRITE, Slot, is_the_one};
use crate::world::{AgentMachine, World};
use berth_agent_core::effect::{Place, VolumeEffect};
use berth_model::id::VolumeId;
use berth_model::record::LedgerVolume;
use berth_model::snapshot::SnapshotState;
use berth_model::volume::VolumeState;
use berth_model::wipe::{Wipe, WipeStage};
use std::collections::{BTreeMap, BTreeSet};

impl Judges {
    /// Remembers which lives of volumes the agent's ledger has declared over, and which it has called READY.
    pub(super) fn remember_ends(&mut self, _at: usize, machine: &AgentMachine) {
        for (id, volume) in &machine.ledger.durable.volumes {
            match volume.state {
                VolumeState::Tombstoned | VolumeState::Trashed => {
                    self.tombs_agent.insert((*id, volume.spec.generation));
                },
                VolumeState::Ready => drop(self.ready_ever.insert(*id)),
                VolumeState::Creating
                | VolumeState::Failed
                | VolumeState::Lost
                | VolumeState::Gone
                | VolumeState::Quarantined => {},
            }
        }
    }

    /// I1 and I11 over every durable slot.
    pub(super) fn judge_disks(&mut self, world: &World) {
        for (at, machine) in world.agents.iter().enumerate() {
            let now = &machine.volumes.durable;
            let before = self.disks.remove(&at).unwrap_or_default();
            if before != *now {
                self.judge_changes(world, machine, &before);
                self.judge_leaks(at, machine);
            }
            self.disks.insert(at, now.clone());
            self.judge_taken(world, at, machine);
        }
        self.judge_copies(world);
    }

    fn judge_changes(
        &mut self,
        world: &World,
        machine: &AgentMachine,
        before: &BTreeMap<VolumeId, Slot>,
    ) {
        let (agent, now) = (machine.id, &machine.volumes.durable);
        for (id, old) in before {
            let new = now.get(id);
            if self.judge_replaced(world, machine, (*id, old), new) {
                continue;
            }
            let moved = old.place == Place::Live && new.is_none_or(|new| new.place == Place::Trash);
            if moved || new.is_none() {
                self.judge_end(world, *id, old);
            }
            match new {
                None => drop(self.deleted.insert(*id)),
                Some(new) if new.content < old.content || new.generation < old.generation => {
                    let text = format!("volume {id} on agent {agent} was {old:?} and is {new:?}");
                    self.report("I1 no unauthorised destruction", text);
                },
                Some(_) => {},
            }
        }
        for (id, new) in now.iter().filter(|(id, _)| !before.contains_key(id)) {
            if self.judge_arrival(world, machine, *id, new) {
                continue;
            }
            // Ids follow from operation ids, so a forgetful registry may use that of an ended volume again.
            let known = !self.rolled_back && !machine.strayed;
            if self.deleted.contains(id) && self.ready_ever.contains(id) && known {
                let text =
                    format!("volume {id} was lost or deleted and is made anew on agent {agent}");
                self.report("I1 no unauthorised destruction", text);
            }
        }
    }

    /// A life that ends must have been asked for, and written down on both sides before.
    fn judge_end(&mut self, world: &World, id: VolumeId, slot: &Slot) {
        let unused = slot.content < FIRST_WRITE && !self.ready_ever.contains(&id);
        if self.vandalised.contains(&id) || unused {
            return;
        }
        let life = (id, slot.generation);
        let asked = self.births.get(&id).is_some_and(|birth| {
            let name = volume(world.master.registry.records(), id).map(|v| v.spec.name.clone());
            name.is_none_or(|name| world.history.destroy_was_asked(id, &birth.role, &name))
        });
        let (registry, agent) =
            (self.tombs_registry.contains(&life), self.tombs_agent.contains(&life));
        if !(registry && agent && asked) {
            let text = format!(
                "volume {id} generation {} ends: asked for {asked}, in the registry {registry}, in the ledger {agent}",
                slot.generation
            );
            self.report("I1 no unauthorised destruction", text);
        }
    }

    /// I11: whatever lies on a disk is explained by the agent's ledger.
    fn judge_leaks(&mut self, at: usize, machine: &AgentMachine) {
        // An older copy of the ledger does not explain what came after it.
        if machine.newest.is_some() || machine.strayed {
            return;
        }
        for id in machine.volumes.durable.keys() {
            let state = machine.ledger.durable.volumes.get(id).map(|volume| volume.state);
            let explained = match state {
                Some(
                    VolumeState::Creating
                    | VolumeState::Ready
                    | VolumeState::Lost
                    | VolumeState::Tombstoned
                    | VolumeState::Trashed
                    | VolumeState::Quarantined,
                ) => true,
                Some(VolumeState::Failed | VolumeState::Gone) | None => {
                    self.vandalised.contains(id)
                },
            };
            if !explained {
                let text = format!("volume {id} lies on agent {at}, whose ledger says {state:?}");
                self.report("I11 no leak", text);
            }
        }
    }

    /// I2: a volume lies on one machine, the registry's.
    fn judge_copies(&mut self, world: &World) {
        if self.rolled_back {
            return;
        }
        let mut seen = BTreeSet::new();
        for machine in &world.agents {
            for id in machine.volumes.durable.keys() {
                let owner = self.births.get(id).map(|birth| birth.agent);
                if !seen.insert(*id) || owner.is_some_and(|owner| owner != machine.id) {
                    let text =
                        format!("volume {id} lies on agent {}, it is {owner:?}'s", machine.id);
                    self.report("I2 single owner", text);
                }
            }
        }
    }

    /// I6: what the registry calls READY is READY in the agent's ledger and lies on its disk, both durable.
    pub(super) fn judge_ready(&mut self, world: &World) {
        if self.rolled_back {
            return;
        }
        for volume in volumes(world.master.registry.records()) {
            let (id, generation) = (volume.spec.id, volume.spec.generation);
            if self.vandalised.contains(&id) {
                continue;
            }
            let machine = world.agents.iter().find(|machine| machine.id == volume.agent);
            let Some(machine) = machine.filter(|machine| !machine.strayed) else { continue };
            match volume.state {
                VolumeState::Ready => {},
                VolumeState::Lost | VolumeState::Quarantined => {
                    let text = format!("volume {id} is {} and nobody touched it", volume.state);
                    self.report("I6 durability", text);
                    continue;
                },
                VolumeState::Creating
                | VolumeState::Failed
                | VolumeState::Tombstoned
                | VolumeState::Trashed
                | VolumeState::Gone => continue,
            }
            let written = machine.ledger.durable.volumes.get(&id).is_some_and(|known| {
                known.state == VolumeState::Ready && known.spec.generation == generation
            });
            let there = machine.volumes.durable.get(&id).is_some_and(|slot| {
                slot.place == Place::Live && is_the_one(slot, machine.id, generation)
            });
            let bytes = machine.volumes.durable.get(&id).map_or(0, |slot| slot.bytes);
            if bytes > volume.spec.size.get() {
                let text =
                    format!("volume {id} takes {bytes}, the registry counts {}", volume.spec.size);
                self.report("I9 sizes", text);
            }
            if !(there && (written || machine.newest.is_some())) {
                let text = format!(
                    "volume {id} is READY in the registry; on the disk {there}, in the ledger {written}"
                );
                self.report("I6 durability", text);
            }
        }
    }

    /// An effect is asked for only after its intent is in the ledger, and takes nothing from a running task.
    pub fn effect_begins(&mut self, at: usize, machine: &AgentMachine, effect: &VolumeEffect) {
        let (spec, durable) = (effect.spec(), &machine.ledger.durable);
        let looks = matches!(
            effect,
            VolumeEffect::Verify { .. }
                | VolumeEffect::Usage { .. }
                | VolumeEffect::SurveyWipe { .. }
                | VolumeEffect::VerifySnapshot { .. }
        );
        if !looks {
            self.agent_changes(at, machine, effect);
        }
        if let VolumeEffect::TakeGroup { members, still, .. } = effect {
            self.group_begins(at, machine, members, still);
        }
        if let VolumeEffect::Snapshot { snapshot, .. } = effect {
            self.snapshot_begins(machine, snapshot.id, snapshot.of.id);
        }
        let moves = matches!(
            effect,
            VolumeEffect::Trash { .. }
                | VolumeEffect::Purge { .. }
                | VolumeEffect::Wipe { .. }
                | VolumeEffect::RollBack { .. }
        );
        let user = machine.containers.values().find(|container| {
            container.is_running() && container.volumes.iter().any(|(id, _)| *id == spec.id)
        });
        if let Some(user) = user.filter(|_| moves && !machine.strayed) {
            let text = format!("agent {at} begins {effect:?} under task {}", user.key);
            self.report("I1 no unauthorised destruction", text);
        }
        let known = durable.volumes.get(&spec.id).filter(|v| v.spec.generation == spec.generation);
        let state = known.map(|volume| volume.state);
        let resize = known.and_then(|volume| volume.resize);
        let allowed = match effect {
            VolumeEffect::Create { .. } | VolumeEffect::Restore { .. } => {
                state == Some(VolumeState::Creating)
            },
            VolumeEffect::Resize { size, .. } => {
                state == Some(VolumeState::Ready) && resize == Some(*size)
            },
            VolumeEffect::Trash { .. } => state == Some(VolumeState::Tombstoned),
            VolumeEffect::Purge { .. } | VolumeEffect::SurveyWipe { .. } => {
                state == Some(VolumeState::Trashed)
            },
            VolumeEffect::Wipe { method, .. } => is_to_be_wiped(known, *method),
            VolumeEffect::Verify { .. } | VolumeEffect::Usage { .. } => true,
            VolumeEffect::RollBack { .. }
            | VolumeEffect::Clone { .. }
            | VolumeEffect::Import { .. }
            | VolumeEffect::Adopt { .. } => state == Some(VolumeState::Creating),
            VolumeEffect::Snapshot { snapshot, .. } => {
                durable.snapshot(snapshot.id) == Some(SnapshotState::Creating)
            },
            VolumeEffect::TakeGroup { members, .. } | VolumeEffect::EraseGroup { members } => {
                members
                    .iter()
                    .all(|member| durable.snapshot(member.id) == Some(SnapshotState::Creating))
            },
            // What was begun and cannot be taken any more is deleted, too.
            VolumeEffect::EraseSnapshot { snapshot } => matches!(
                durable.snapshot(snapshot.id),
                Some(SnapshotState::Deleting | SnapshotState::Creating)
            ),
            VolumeEffect::VerifySnapshot { .. } => true,
            VolumeEffect::SetAccess { access, .. } => {
                state == Some(VolumeState::Ready)
                    && known.and_then(|volume| volume.setting) == Some(*access)
            },
        };
        if let VolumeEffect::Purge { spec } = effect {
            self.purge_begins(at, machine, spec.id, known);
        }
        let is_safe = keeps_content(machine, effect);
        if !(allowed && is_safe) {
            let text = format!("agent {at} begins {effect:?}, its ledger says {state:?}");
            self.report("I1 intent first", text);
        }
    }

    /// What is said to be wiped is, on the disk, before it goes; and what is to be wiped does not go before.
    fn purge_begins(
        &mut self,
        at: usize,
        machine: &AgentMachine,
        id: VolumeId,
        known: Option<&LedgerVolume>,
    ) {
        let wiped = machine.volumes.durable.get(&id).map(|slot| slot.wiped);
        let stage = known.and_then(|volume| volume.wipe).map(|wipe| wipe.stage);
        let is_wrong = match stage {
            Some(WipeStage::Done(_)) => wiped == Some(false),
            Some(WipeStage::Begun(_) | WipeStage::Wanted) => true,
            None => false,
        };
        if is_wrong {
            let text =
                format!("agent {at} purges {id}: ledger {stage:?}, wiped on the disk {wiped:?}");
            self.report("I15 wiped before it is given back", text);
        }
    }
}

/// Does the ledger say that it is being wiped so?
fn is_to_be_wiped(known: Option<&LedgerVolume>, method: Wipe) -> bool {
    let wipe = known.filter(|volume| volume.state == VolumeState::Trashed).and_then(|v| v.wipe);
    wipe.is_some_and(|w| w.method == method && matches!(w.stage, WipeStage::Begun(_)))
}

/// Is the content of the life that it ends kept by a snapshot?
fn keeps_content(machine: &AgentMachine, effect: &VolumeEffect) -> bool {
    match effect {
        // What becomes of it once it was READY, the driver has to see to.
        VolumeEffect::RollBack { safety, .. } => !matches!(
            machine.ledger.durable.snapshot(safety.id),
            Some(SnapshotState::Creating | SnapshotState::Failed) | None
        ),
        VolumeEffect::Create { .. }
        | VolumeEffect::Restore { .. }
        | VolumeEffect::Resize { .. }
        | VolumeEffect::Trash { .. }
        | VolumeEffect::Purge { .. }
        | VolumeEffect::SurveyWipe { .. }
        | VolumeEffect::Wipe { .. }
        | VolumeEffect::Verify { .. }
        | VolumeEffect::Usage { .. }
        | VolumeEffect::Snapshot { .. }
        | VolumeEffect::TakeGroup { .. }
        | VolumeEffect::EraseGroup { .. }
        | VolumeEffect::EraseSnapshot { .. }
        | VolumeEffect::VerifySnapshot { .. }
        | VolumeEffect::Clone { .. }
        | VolumeEffect::Import { .. }
        | VolumeEffect::Adopt { .. }
        | VolumeEffect::SetAccess { .. } => true,
    }
}
