//! Owners and amounts in the registry (I2, I3, and the ground for I4).

use super::{Birth, Judges, volumes};
use crate::world::World;
use berth_model::id::{AgentId, VolumeName};
use berth_model::record::RegistryRecord;
use berth_model::reservation::Stack;
use berth_model::resources::{DiskSource, Name, Resource};
use berth_model::role::Role;
use berth_model::units::Scalar;
use berth_model::volume::VolumeState;
use std::collections::{BTreeMap, BTreeSet};

/// What is counted together: name, reservation, disk.
pub(super) type HeapKey = (Name, Stack, DiskSource);
/// Thousandths by heap.
pub(super) type Heap = BTreeMap<HeapKey, i64>;

/// Where a resource is counted.
pub(super) fn heap_of(resource: &Resource) -> HeapKey {
    (resource.name.clone(), resource.stack.clone(), resource.disk_source())
}

fn milli(resource: &Resource) -> i64 {
    resource.amount().map_or(0, Scalar::milli)
}

impl Judges {
    /// I2: role, principal and machine of a volume never change, nor whether it is shared; a name is held once in its role. Remembers which lives
    /// have ended.
    pub(super) fn judge_owners(&mut self, world: &World) {
        let mut names: BTreeSet<(&Role, &VolumeName)> = BTreeSet::new();
        let mut wrong = Vec::new();
        for volume in volumes(world.master.registry.records()) {
            let spec = &volume.spec;
            let (role, principal) = (spec.role.clone(), spec.principal.clone());
            let birth = Birth { role, principal, agent: volume.agent, shared: spec.shared };
            let known = self.births.entry(spec.id).or_insert_with(|| birth.clone());
            // Ids follow from operation ids, so a forgetful registry may give one twice.
            if *known != birth && !self.rolled_back {
                wrong.push(format!("volume {} was {known:?} and is {birth:?}", spec.id));
            }
            // As large as it ever was: a restore may reserve so much.
            let larger = |old: &Resource| old.size() < spec.size;
            if let (true, Ok(ground)) =
                (self.grounds.get(&spec.id).is_none_or(larger), volume.plain_resource())
            {
                self.grounds.insert(spec.id, ground);
            }
            let named = match volume.state {
                VolumeState::Trashed | VolumeState::Gone | VolumeState::Quarantined => false,
                VolumeState::Creating
                | VolumeState::Ready
                | VolumeState::Failed
                | VolumeState::Lost
                | VolumeState::Tombstoned => true,
            };
            if named && !names.insert((&spec.role, &spec.name)) && !self.rolled_back {
                wrong.push(format!("two volumes of role {} are named {}", spec.role, spec.name));
            }
            match volume.state {
                VolumeState::Tombstoned | VolumeState::Trashed | VolumeState::Gone => {
                    self.tombs_registry.insert((spec.id, spec.generation));
                },
                VolumeState::Creating
                | VolumeState::Ready
                | VolumeState::Failed
                | VolumeState::Lost
                | VolumeState::Quarantined => {},
            }
        }
        for text in wrong {
            self.report("I2 single owner", text);
        }
    }

    /// I3: reservations fit into what the agent declares, volumes into their reservation.
    pub(super) fn judge_conservation(&mut self, world: &World) {
        let records = world.master.registry.records();
        let mut declared: BTreeMap<(AgentId, Name, DiskSource), i64> = BTreeMap::new();
        let mut rows: BTreeMap<(AgentId, HeapKey), i64> = BTreeMap::new();
        let mut wrong = Vec::new();
        for record in records.values() {
            match record {
                RegistryRecord::Agent(info) => {
                    for resource in info.declared.iter() {
                        let key = (info.id, resource.name.clone(), resource.disk_source());
                        *declared.entry(key).or_insert(0) += milli(&resource);
                    }
                },
                RegistryRecord::Reservation(row) => {
                    let key = (row.agent, heap_of(&row.resource));
                    if rows.insert(key, milli(&row.resource)).is_some() {
                        wrong
                            .push(format!("two rows of {:?} on agent {}", row.resource, row.agent));
                    }
                    if milli(&row.resource) <= 0 {
                        wrong.push(format!("row {} holds nothing", row.id));
                    }
                },
                RegistryRecord::Meta { .. }
                | RegistryRecord::AgentSeq { .. }
                | RegistryRecord::Volume(_)
                | RegistryRecord::Framework(_)
                | RegistryRecord::Operation(_)
                | RegistryRecord::Disk(_)
                | RegistryRecord::Profile(_)
                | RegistryRecord::Snapshot(_)
                | RegistryRecord::Schedule(_)
                | RegistryRecord::Weight(_)
                | RegistryRecord::Quota(_)
                | RegistryRecord::Transaction(_)
                | RegistryRecord::Audit(_) => {},
            }
        }
        let mut reserved: BTreeMap<(AgentId, Name, DiskSource), i64> = BTreeMap::new();
        for ((agent, (name, _, source)), amount) in &rows {
            *reserved.entry((*agent, name.clone(), source.clone())).or_insert(0) += amount;
        }
        for (key, amount) in reserved {
            let total = declared.get(&key).copied().unwrap_or(0);
            if amount > total {
                wrong.push(format!("{key:?}: {amount} is reserved of {total}"));
            }
        }
        let mut held: BTreeMap<(AgentId, HeapKey), i64> = BTreeMap::new();
        for volume in volumes(records).filter(|v| takes_space(v.state)) {
            let key = (Name::Disk, volume.stack.clone(), volume.spec.source.clone());
            let size = volume.spec.size.to_scalar().map_or(i64::MAX / 4, Scalar::milli);
            *held.entry((volume.agent, key)).or_insert(0) += size;
        }
        for (key, amount) in held {
            let row = rows.get(&key).copied().unwrap_or(0);
            if amount > row && !self.rolled_back {
                wrong.push(format!("{key:?}: volumes take {amount} of {row}"));
            }
        }
        for text in wrong {
            self.report("I3 conservation", text);
        }
    }

    /// What tasks may use of an agent: rows without their volumes, and what is not reserved.
    pub(super) fn room(world: &World, agent: AgentId) -> Heap {
        let records = world.master.registry.records();
        let mut room = Heap::new();
        for record in records.values() {
            match record {
                RegistryRecord::Agent(info) if info.id == agent => {
                    for resource in info.declared.iter() {
                        *room.entry(heap_of(&resource)).or_insert(0) += milli(&resource);
                    }
                },
                RegistryRecord::Reservation(row) if row.agent == agent => {
                    let amount = milli(&row.resource);
                    let key = heap_of(&row.resource);
                    let below = (key.0.clone(), Stack::unreserved(), key.2.clone());
                    *room.entry(key).or_insert(0) += amount;
                    *room.entry(below).or_insert(0) -= amount;
                },
                RegistryRecord::Volume(volume)
                    if volume.agent == agent && takes_space(volume.state) =>
                {
                    let key = (Name::Disk, volume.stack.clone(), volume.spec.source.clone());
                    let size = volume.spec.size.to_scalar().map_or(0, Scalar::milli);
                    *room.entry(key).or_insert(0) -= size;
                },
                RegistryRecord::Agent(_)
                | RegistryRecord::Reservation(_)
                | RegistryRecord::Volume(_)
                | RegistryRecord::Meta { .. }
                | RegistryRecord::AgentSeq { .. }
                | RegistryRecord::Framework(_)
                | RegistryRecord::Operation(_)
                | RegistryRecord::Disk(_)
                | RegistryRecord::Profile(_)
                | RegistryRecord::Snapshot(_)
                | RegistryRecord::Schedule(_)
                | RegistryRecord::Weight(_)
                | RegistryRecord::Quota(_)
                | RegistryRecord::Transaction(_)
                | RegistryRecord::Audit(_) => {},
            }
        }
        room
    }
}

/// Quarantined volumes are facts that the books may be too small for.
fn takes_space(state: VolumeState) -> bool {
    match state {
        VolumeState::Creating
        | VolumeState::Ready
        | VolumeState::Lost
        | VolumeState::Tombstoned => true,
        VolumeState::Failed
        | VolumeState::Trashed
        | VolumeState::Gone
        | VolumeState::Quarantined => false,
    }
}
