//! Cordons: no volume begins on a disk that the registry calls cordoned (I18).

use super::Judges;
use crate::registry::Registry;
use berth_model::id::DiskId;
use berth_model::record::{RegistryKey, RegistryRecord, RegistryWrite};
use berth_model::volume::{Volume, VolumeState};
use std::collections::BTreeSet;

impl Judges {
    /// I18: looks at a batch right before it becomes durable, write by write.
    pub fn master_places(&mut self, registry: &Registry, writes: &[RegistryWrite]) {
        let cordon = |record: &RegistryRecord| match record {
            RegistryRecord::Disk(disk) => disk.cordon.is_some().then_some(disk.disk),
            RegistryRecord::Meta { .. }
            | RegistryRecord::Agent(_)
            | RegistryRecord::AgentSeq { .. }
            | RegistryRecord::Reservation(_)
            | RegistryRecord::Volume(_)
            | RegistryRecord::Framework(_)
            | RegistryRecord::Operation(_)
            | RegistryRecord::Profile(_)
            | RegistryRecord::Snapshot(_)
            | RegistryRecord::Schedule(_)
            | RegistryRecord::Weight(_)
            | RegistryRecord::Quota(_)
            | RegistryRecord::Transaction(_)
            | RegistryRecord::Audit(_) => None,
        };
        let mut cordoned: BTreeSet<DiskId> =
            registry.records().values().filter_map(cordon).collect();
        for write in writes {
            match write {
                RegistryWrite::Put(RegistryRecord::Disk(record)) if record.cordon.is_some() => {
                    cordoned.insert(record.disk);
                },
                RegistryWrite::Put(RegistryRecord::Disk(record)) => {
                    cordoned.remove(&record.disk);
                },
                RegistryWrite::Delete(RegistryKey::Disk(disk)) => drop(cordoned.remove(disk)),
                RegistryWrite::Put(RegistryRecord::Volume(volume)) if begins(registry, volume) => {
                    if disk_of(registry, volume).is_some_and(|disk| cordoned.contains(&disk)) {
                        let text = format!("volume {} begins on a cordoned disk", volume.spec.id);
                        self.report("I18 cordons", text);
                    }
                },
                RegistryWrite::Put(_) | RegistryWrite::Delete(_) => {},
            }
        }
    }
}

/// Is this the first that the registry hears of the volume, and is it yet to be made?
fn begins(registry: &Registry, volume: &Volume) -> bool {
    volume.state == VolumeState::Creating
        && !registry.records().contains_key(&RegistryKey::Volume(volume.spec.id))
}

fn disk_of(registry: &Registry, volume: &Volume) -> Option<DiskId> {
    let Some(RegistryRecord::Agent(info)) =
        registry.records().get(&RegistryKey::Agent(volume.agent))
    else {
        return None;
    };
    info.disks.iter().find(|disk| disk.source == volume.spec.source).map(|disk| disk.id)
}
