//! What a client knows to be done to snapshots, to what is made from them and to sizes, is so.

use super::lineage::machine_of;
use super::{Judges, volume};
use crate::world::World;
use berth_model::id::{OperationId, SnapshotId, VolumeId, derive};
use berth_model::operation::{OperationKind, OperationRecord};
use berth_model::volume::VolumeState;

impl Judges {
    /// I6 and I9: what a client knows to be done is so: the snapshot was READY, the volume holds what was built on the
    /// snapshot's content, the size is the wanted one everywhere.
    pub(super) fn judge_descent(&mut self, world: &World, record: &OperationRecord) {
        let text = match record.kind {
            OperationKind::Snapshot => {
                let id = self.descent.taken.get(&record.id);
                let ready = id.is_some_and(|id| self.descent.ready.contains(id));
                (!ready).then(|| format!("snapshot {id:?} was never READY"))
            },
            OperationKind::SnapshotGroup => {
                (0..).zip(&record.volumes).find_map(|(index, volume)| {
                    let id = SnapshotId::from_u128(derive(record.id.as_u128(), index));
                    let ready = self.descent.ready.contains(&id);
                    (!ready).then(|| format!("snapshot {id} of volume {volume} was never READY"))
                })
            },
            OperationKind::RollBack => {
                let mut all = self.descent.rolls.iter();
                match all.find(|(_, roll)| roll.operation == record.id) {
                    Some((life, roll)) => {
                        let unsafe_yet = !self.descent.ready.contains(&roll.safety);
                        let safety = format!("its safety snapshot {} was never READY", roll.safety);
                        unsafe_yet
                            .then_some(safety)
                            .or_else(|| self.lacks(world, *life, roll.snapshot))
                    },
                    None => Some("the registry never had it".to_owned()),
                }
            },
            OperationKind::Clone => {
                let mut all = self.descent.clones.iter();
                match all.find(|(_, (operation, _))| *operation == record.id) {
                    Some((id, (_, snapshot))) => self.lacks(world, (*id, 1), *snapshot),
                    None => Some("the registry never had it".to_owned()),
                }
            },
            OperationKind::Import => self.lacks_import(world, record.id),
            OperationKind::Grow | OperationKind::Shrink => {
                record.volumes.iter().find_map(|id| self.of_another_size(world, record.id, *id))
            },
            OperationKind::Reserve
            | OperationKind::Unreserve
            | OperationKind::Create
            | OperationKind::Destroy
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
            | OperationKind::DeleteSnapshot
            | OperationKind::HoldSnapshot
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
            | OperationKind::UnsetQuota => None,
        };
        if let Some(text) = text {
            let text = format!("operation {} ({}) is done: {text}", record.id, record.kind);
            self.report("I6 durability", text);
        }
    }

    /// Why the volume's life does not hold what the snapshot held. A later life is another operation's business.
    fn lacks(
        &self,
        world: &World,
        (id, generation): (VolumeId, u64),
        snapshot: SnapshotId,
    ) -> Option<String> {
        let machine = machine_of(world, id)?;
        let slot = machine.volumes.durable.get(&id)?;
        if self.is_excused(machine, id) || slot.generation > generation {
            return None;
        }
        let held = self.descent.contents.get(&snapshot).copied();
        let right = slot.generation == generation
            && held.is_some_and(|held| world.descends(slot.content, held));
        (!right).then(|| format!("volume {id} is {slot:?}, snapshot {snapshot} held {held:?}"))
    }

    /// Why registry, ledger and disk do not have one size, while that operation is the last of the volume.
    fn of_another_size(
        &self,
        world: &World,
        operation: OperationId,
        id: VolumeId,
    ) -> Option<String> {
        let known = volume(world.master.registry.records(), id)?;
        let machine = machine_of(world, id)?;
        let settled = known.operation == operation && known.state == VolumeState::Ready;
        if !settled || self.is_excused(machine, id) || machine.newest.is_some() {
            return None;
        }
        let size = known.spec.size;
        let ledger = machine.ledger.durable.volumes.get(&id);
        let written = ledger.is_some_and(|v| v.spec.size == size && v.resize.is_none());
        let given = machine.volumes.durable.get(&id).is_some_and(|slot| slot.bytes == size.get());
        let open = known.resize.is_some();
        (open || !written || !given).then(|| {
            format!("volume {id} has {size}: still open {open}, ledger {written}, disk {given}")
        })
    }
}
