//! What operators said of an agent's disks, and which of its resources are held back because of its disks.

use super::State;
use berth_model::agent::{Disk, DiskHealth};
use berth_model::id::DiskId;
use berth_model::resources::{DiskSource, Name, Resources};
use std::collections::{BTreeMap, BTreeSet};

/// The disks of an agent of which something is not given away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Withheld {
    /// Nothing of them.
    faulty: BTreeSet<DiskSource>,
    /// Nothing but the volumes on them.
    cordoned: BTreeSet<DiskSource>,
}

impl Withheld {
    /// Of these disks.
    pub(crate) fn of(state: &State, disks: &[Disk]) -> Self {
        let cordoned = disks.iter().filter(|disk| state.cordon(disk.id).is_some());
        Self {
            faulty: faulty_sources(disks),
            cordoned: cordoned.map(|disk| disk.source.clone()).collect(),
        }
    }
    /// Of an agent with these disks cordoned and no other trouble.
    pub(crate) fn by_cordon(cordoned: BTreeSet<DiskSource>) -> Self {
        Self { faulty: BTreeSet::new(), cordoned }
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.faulty.is_empty() && self.cordoned.is_empty()
    }
    /// What is left of the resources.
    pub(crate) fn strip(&self, resources: &Resources) -> Resources {
        resources.filtered(|resource| {
            let source = resource.disk_source();
            let is_held = self.faulty.contains(&source)
                || (resource.persistence().is_none() && self.cordoned.contains(&source));
            resource.name != Name::Disk || !is_held
        })
    }
}

/// The disks that are withheld.
fn faulty_sources(disks: &[Disk]) -> BTreeSet<DiskSource> {
    let faulty = disks.iter().filter(|disk| disk.health != DiskHealth::Ok);
    faulty.map(|disk| disk.source.clone()).collect()
}

/// The labels of a disk.
pub(crate) fn labels(state: &State, id: DiskId) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    state.disks.get(&id).map_or(&NONE, |record| &record.labels)
}
