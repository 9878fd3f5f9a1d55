//! What an operator can see of a cluster: what the registry holds, as a list would show it.

use crate::disks;
use berth_model::id::{AgentId, DiskId, FrameworkId};
use berth_model::orphan::OrphanChoice;
use berth_model::record::{RegistryKey, RegistryRecord, ReservationRow};
use berth_model::role::Role;
use berth_model::snapshot::Snapshot;
use berth_model::volume::Volume;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The role of the service's document.
const SERVICE_ROLE: &str = "svc";

/// What an operator knows of the cluster.
#[derive(Debug, Default)]
pub struct Sight {
    pub agents: Vec<AgentId>,
    pub volumes: Vec<Volume>,
    pub rows: Vec<ReservationRow>,
    pub frameworks: Vec<FrameworkId>,
    pub disks: Vec<DiskId>,
    pub cordoned: Vec<DiskId>,
    /// Disks that were added while their agent ran.
    pub added: Vec<DiskId>,
    pub snapshots: Vec<Snapshot>,
    /// Roles that have a quota.
    pub quotas: Vec<Role>,
    /// Data without a record, as agents told when they came.
    pub orphans: Vec<OrphanChoice>,
}

impl Sight {
    #[must_use]
    pub fn of(agents: Vec<AgentId>, records: &BTreeMap<RegistryKey, RegistryRecord>) -> Self {
        let mut sight = Self { agents, ..Self::default() };
        for record in records.values() {
            match record {
                // What belongs to the service scheduler is left to it: it has to succeed in the end.
                RegistryRecord::Volume(volume) if volume.spec.role.as_str() != SERVICE_ROLE => {
                    sight.volumes.push(Volume::clone(volume));
                },
                RegistryRecord::Reservation(row)
                    if row.resource.stack.owner().is_none_or(|r| r.as_str() != SERVICE_ROLE) =>
                {
                    sight.rows.push(ReservationRow::clone(row));
                },
                RegistryRecord::Framework(framework) if &*framework.info.name != "services" => {
                    sight.frameworks.push(framework.id.clone());
                },
                RegistryRecord::Snapshot(snapshot) => {
                    sight.snapshots.push(Snapshot::clone(snapshot));
                },
                RegistryRecord::Volume(_)
                | RegistryRecord::Reservation(_)
                | RegistryRecord::Framework(_) => {},
                RegistryRecord::Agent(info) => {
                    sight.disks.extend(info.disks.iter().map(|disk| disk.id));
                    sight.added.extend(disks::added(info));
                    let all = info.disks.iter().flat_map(|disk| &disk.orphans);
                    let agent = info.id;
                    sight.orphans.extend(all.map(|orphan| OrphanChoice::Data {
                        agent,
                        path: Arc::clone(&orphan.path),
                    }));
                },
                RegistryRecord::Disk(record) if record.cordon.is_some() => {
                    sight.cordoned.push(record.disk);
                },
                RegistryRecord::Quota(quota) => sight.quotas.push(quota.role.clone()),
                RegistryRecord::Meta { .. }
                | RegistryRecord::Disk(_)
                | RegistryRecord::Profile(_)
                | RegistryRecord::AgentSeq { .. }
                | RegistryRecord::Operation(_)
                | RegistryRecord::Schedule(_)
                | RegistryRecord::Weight(_)
                | RegistryRecord::Transaction(_)
                | RegistryRecord::Audit(_) => {},
            }
        }
        sight
    }
}
