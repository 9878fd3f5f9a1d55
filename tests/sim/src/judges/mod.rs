//! The judges: what must hold of the durable states and of what clients were told, after every event.
//!
//! They read registry records, ledgers, disks and the history, and share no code with what they judge; only the state
//! "as the master shows it" is asked of the master itself. docs/invariants.md says which function checks which
//! invariant. Invariant: a judge never changes the world.

mod answers;
mod audit;
mod books;
mod cell;
mod cordons;
mod descent;
mod disks;
mod epochs;
mod fold;
mod groups;
mod healed;
mod imports;
mod lineage;
mod races;
mod roles;
mod sharing;
mod snapshots;
mod tasks;

pub use audit::why;
pub use epochs::RollbackProof;
pub use fold::Fold;

use crate::volumes::Slot;
use crate::world::World;
use berth_model::id::{AgentId, ContainerId, OfferId, Principal, SnapshotId, VolumeId};
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::role::Role;
use berth_model::task::TaskKey;
use std::collections::{BTreeMap, BTreeSet};

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's number and name.
    pub rule: &'static str,
    /// On what, and how.
    pub text: String,
}

/// Who a volume belongs to, from its first sight on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Birth {
    role: Role,
    principal: Option<Principal>,
    agent: AgentId,
    shared: bool,
}

/// Everything the judges remember.
#[derive(Debug, Default)]
pub struct Judges {
    found: Vec<Violation>,
    births: BTreeMap<VolumeId, Birth>,
    /// The disk under each volume.
    grounds: BTreeMap<VolumeId, berth_model::resources::Resource>,
    /// Lives of volumes whose end was durable in the registry.
    tombs_registry: BTreeSet<(VolumeId, u64)>,
    /// The same in the ledger of their agent.
    tombs_agent: BTreeSet<(VolumeId, u64)>,
    /// Volumes that some agent's ledger has called READY.
    ready_ever: BTreeSet<VolumeId>,
    /// Volumes that were deleted from their disk.
    deleted: BTreeSet<VolumeId>,
    /// Durable slots at the last look, by agent.
    disks: BTreeMap<usize, BTreeMap<VolumeId, Slot>>,
    vandalised: BTreeSet<VolumeId>,
    /// The container in which a task first ran.
    started: BTreeMap<TaskKey, ContainerId>,
    /// The volume on which the service's pod first ran.
    pod_volume: Option<VolumeId>,
    /// Which life of the master used an epoch.
    epochs: BTreeMap<u64, u64>,
    ledger_epochs: BTreeMap<usize, u64>,
    tombs_decided: BTreeSet<VolumeId>,
    rolled_back: bool,
    /// What the registry said of volumes that are made from snapshots, and of snapshots.
    descent: lineage::Descent,
    /// Snapshots that the registry has called READY, of which volume.
    kept: BTreeMap<SnapshotId, berth_model::snapshot::SnapshotSpec>,
    /// Snapshots that the master deleted by the clock.
    pruned: BTreeSet<SnapshotId>,
    looks: u64,
    /// Since when an optimistic offer holds more than there is.
    unfit: BTreeMap<OfferId, u64>,
    /// What frameworks were told of the cell.
    watchers: cell::Watchers,
}

impl Judges {
    /// Something was found.
    pub fn report(&mut self, rule: &'static str, text: String) {
        self.found.push(Violation { rule, text });
    }
    /// Has anything been found?
    #[must_use]
    pub fn is_dissatisfied(&self) -> bool {
        !self.found.is_empty()
    }
    /// What was found.
    pub fn take(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.found)
    }
    /// A volume was changed by hand: what becomes of it is nobody's fault.
    pub fn vandalised(&mut self, at: usize, id: VolumeId) {
        self.vandalised.insert(id);
        drop(self.disks.entry(at).or_default().remove(&id));
    }
    /// A volume was removed by hand: its loss is nobody's fault, its return would be.
    pub fn vanished(&mut self, at: usize, id: VolumeId) {
        self.vandalised(at, id);
        self.deleted.insert(id);
    }
    /// What was removed by hand was put back by hand.
    pub fn came_back(&mut self, at: usize, id: VolumeId) {
        self.vandalised(at, id);
        self.deleted.remove(&id);
    }
    /// The registry forgot, by an operator's doing.
    pub fn registry_rolled_back(&mut self) {
        self.rolled_back = true;
    }

    /// Looks at what has changed.
    pub fn look(&mut self, world: &World) {
        if world.dirt.registry {
            self.looks += 1;
            self.judge_registry(world);
        }
        if world.dirt.ledgers {
            self.judge_ledgers(world);
        }
        if world.dirt.disks {
            self.judge_disks(world);
        }
        if world.dirt.disks || world.dirt.ledgers {
            self.judge_groups(world);
        }
        if world.dirt.containers || world.dirt.registry {
            self.judge_use(world);
        }
        if world.dirt.registry || world.dirt.disks {
            self.judge_snapshots(world);
        }
        if world.fan_out > 1 && world.events.is_multiple_of(4) {
            self.judge_races(world);
            self.judge_cell(world);
        }
        if world.dirt.registry || world.dirt.disks || world.dirt.ledgers {
            self.judge_ready(world);
        }
    }

    fn judge_registry(&mut self, world: &World) {
        self.remember_descent(world);
        self.judge_owners(world);
        self.judge_conservation(world);
        self.judge_log(&world.master.registry);
        self.judge_quotas(&world.master.registry);
        if !self.rolled_back {
            self.judge_answers(world);
            if self.looks.is_multiple_of(16) {
                self.judge_amounts(world);
            }
        }
    }
}

/// The volumes of a registry.
fn volumes(
    records: &BTreeMap<RegistryKey, RegistryRecord>,
) -> impl Iterator<Item = &berth_model::volume::Volume> {
    records.values().filter_map(|record| match record {
        RegistryRecord::Volume(volume) => Some(&**volume),
        RegistryRecord::Meta { .. }
        | RegistryRecord::Agent(_)
        | RegistryRecord::AgentSeq { .. }
        | RegistryRecord::Reservation(_)
        | RegistryRecord::Framework(_)
        | RegistryRecord::Operation(_)
        | RegistryRecord::Disk(_)
        | RegistryRecord::Profile(_)
        | RegistryRecord::Snapshot(_)
        | RegistryRecord::Schedule(_)
        | RegistryRecord::Weight(_)
        | RegistryRecord::Quota(_)
        | RegistryRecord::Transaction(_)
        | RegistryRecord::Audit(_) => None,
    })
}

/// One volume of a registry.
fn volume(
    records: &BTreeMap<RegistryKey, RegistryRecord>,
    id: VolumeId,
) -> Option<&berth_model::volume::Volume> {
    match records.get(&RegistryKey::Volume(id)) {
        Some(RegistryRecord::Volume(volume)) => Some(volume),
        Some(_) | None => None,
    }
}
