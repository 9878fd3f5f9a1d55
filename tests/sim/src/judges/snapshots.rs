//! Snapshots: one that a client was told is READY stays on its disk until somebody asks for its end.

use super::Judges;
use crate::world::{AgentMachine, World};
use berth_model::record::RegistryRecord;
use berth_model::snapshot::{Snapshot, SnapshotState};
use berth_model::volume::VolumeState;

impl Judges {
    /// I6 and I1: what was READY is durable on the disk of its agent unless its deletion, or its volume's, was asked for.
    pub(super) fn judge_snapshots(&mut self, world: &World) {
        let records = world.master.registry.records();
        for record in records.values() {
            if let RegistryRecord::Snapshot(snapshot) = record
                && snapshot.state == SnapshotState::Ready
            {
                self.kept.insert(snapshot.spec.id, snapshot.spec.clone());
            }
            if let RegistryRecord::Snapshot(snapshot) = record
                && snapshot.state == SnapshotState::Deleting
                && snapshot.scheduled.is_some()
                && self.kept.contains_key(&snapshot.spec.id)
            {
                self.judge_pruned(world, snapshot);
            }
            if let RegistryRecord::Snapshot(snapshot) = record
                && matches!(snapshot.state, SnapshotState::Lost | SnapshotState::Quarantined)
                && !self.is_touched(world, snapshot)
            {
                let (id, state) = (snapshot.spec.id, snapshot.state);
                let text = format!("snapshot {id} is {state} and nobody touched it");
                self.report("I6 durability", text);
            }
            if let RegistryRecord::Snapshot(snapshot) = record
                && snapshot.state == SnapshotState::Deleting
                && snapshot.held
                && !self.rolled_back
            {
                let text = format!("snapshot {} is held and being deleted", snapshot.spec.id);
                self.report("I1 no unauthorised destruction", text);
            }
            if let RegistryRecord::Volume(volume) = record
                && volume.protected
                && !self.rolled_back
                && matches!(
                    volume.state,
                    VolumeState::Tombstoned | VolumeState::Trashed | VolumeState::Gone
                )
            {
                let text = format!("protected volume {} is {}", volume.spec.id, volume.state);
                self.report("I1 no unauthorised destruction", text);
            }
            if let RegistryRecord::Volume(volume) = record
                && volume.state == VolumeState::Trashed
                && self.holds(world, volume.spec.id)
            {
                let text = format!("volume {} is in the trash, a snapshot is held", volume.spec.id);
                self.report("I1 no unauthorised destruction", text);
            }
        }
        let mut ended = Vec::new();
        let mut missing = Vec::new();
        for (id, spec) in &self.kept {
            let of = &spec.of;
            if world.history.deleted_snapshots.contains(id)
                || self.pruned.contains(id)
                || world.history.destroy_was_asked(of.id, &of.role, &of.name)
                || self.vandalised.contains(&of.id)
            {
                ended.push(*id);
                continue;
            }
            let there = world.agents.iter().any(|machine| {
                let found = machine.volumes.snapshots_durable.get(id);
                found.is_some_and(|found| found.spec == *spec)
            });
            if !there {
                missing
                    .push(format!("snapshot {id} of volume {} was READY and is on no disk", of.id));
            }
        }
        for id in ended {
            self.kept.remove(&id);
        }
        for text in missing {
            self.report("I6 durability", text);
        }
    }

    /// I1: by the clock goes only what a schedule took, nobody holds, and a newer good one follows.
    fn judge_pruned(&mut self, world: &World, pruned: &Snapshot) {
        let id = pruned.spec.id;
        if world.history.deleted_snapshots.contains(&id) || !self.pruned.insert(id) {
            return;
        }
        let newer = |record: &RegistryRecord| match record {
            RegistryRecord::Snapshot(other) => {
                other.spec.of.id == pruned.spec.of.id
                    && other.scheduled > pruned.scheduled
                    && (other.state == SnapshotState::Ready
                        || self.kept.contains_key(&other.spec.id))
            },
            RegistryRecord::Meta { .. }
            | RegistryRecord::Agent(_)
            | RegistryRecord::AgentSeq { .. }
            | RegistryRecord::Reservation(_)
            | RegistryRecord::Volume(_)
            | RegistryRecord::Framework(_)
            | RegistryRecord::Operation(_)
            | RegistryRecord::Disk(_)
            | RegistryRecord::Profile(_)
            | RegistryRecord::Schedule(_)
            | RegistryRecord::Weight(_)
            | RegistryRecord::Quota(_)
            | RegistryRecord::Transaction(_)
            | RegistryRecord::Audit(_) => false,
        };
        let stays = pruned.held || !world.master.registry.records().values().any(newer);
        // A registry from a backup does not know what was held, or what failed, since then.
        if stays && !self.rolled_back {
            let text = format!("snapshot {id} was deleted by the clock and should have stayed");
            self.report("I1 no unauthorised destruction", text);
        }
    }

    fn is_touched(&self, world: &World, snapshot: &Snapshot) -> bool {
        let strayed = |machine: &AgentMachine| machine.id == snapshot.agent && machine.strayed;
        self.rolled_back
            || self.vandalised.contains(&snapshot.spec.of.id)
            || world.agents.iter().any(strayed)
    }

    /// Does somebody hold a snapshot of the volume?
    fn holds(&self, world: &World, volume: berth_model::id::VolumeId) -> bool {
        !self.rolled_back
            && world.master.registry.records().values().any(|record| match record {
                RegistryRecord::Snapshot(snapshot) => {
                    snapshot.held && snapshot.spec.of.id == volume
                },
                RegistryRecord::Meta { .. }
                | RegistryRecord::Agent(_)
                | RegistryRecord::AgentSeq { .. }
                | RegistryRecord::Reservation(_)
                | RegistryRecord::Volume(_)
                | RegistryRecord::Framework(_)
                | RegistryRecord::Operation(_)
                | RegistryRecord::Disk(_)
                | RegistryRecord::Profile(_)
                | RegistryRecord::Schedule(_)
                | RegistryRecord::Weight(_)
                | RegistryRecord::Quota(_)
                | RegistryRecord::Transaction(_)
                | RegistryRecord::Audit(_) => false,
            })
    }
}
