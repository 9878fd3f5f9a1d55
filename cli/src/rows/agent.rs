//! Agents and their disks.

use super::{mib, number, short};
use crate::output::{Cell, Row};
use berth_model::agent::{Disk, DiskHealth};
use berth_model::id::AgentId;
use berth_model::resources::Name;
use berth_model::units::{Bytes, Timestamp};
use berth_model::view::{AgentState, AgentView};
use berth_model::wipe::Wipe;
use serde::Serialize;
use std::collections::BTreeMap;

/// A disk of an agent.
#[derive(Debug, Serialize)]
pub(crate) struct DiskRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) agent_id: String,
    pub(crate) hostname: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) root: String,
    pub(crate) driver: String,
    pub(crate) driver_reason: String,
    pub(crate) enforced: String,
    pub(crate) size_bytes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) health: String,
    pub(crate) media: String,
    /// Does it keep snapshots of the volumes that are made on it now? "yes", or "no" with the reason.
    pub(crate) snapshots: String,
    /// How the volumes that are made on it now can be wiped when they are purged: `yes`, or `no` with the reason.
    pub(crate) wipe: BTreeMap<String, String>,
    /// Can volumes on it be encrypted? "yes", or "no" with the reason.
    pub(crate) encryption: String,
}

impl DiskRow {
    pub(crate) fn new(disk: &Disk, agent: AgentId, hostname: &str) -> Self {
        Self {
            id: disk.id.to_string(),
            name: disk.name.to_string(),
            agent_id: agent.to_string(),
            hostname: hostname.to_owned(),
            kind: disk.source.to_string().split(':').next().unwrap_or_default().to_owned(),
            root: disk.root.to_string(),
            driver: disk.driver.to_string(),
            driver_reason: disk.driver_reason.to_string(),
            enforced: disk.enforcement.as_str().to_owned(),
            size_bytes: disk.size.get(),
            free_bytes: disk.free.get(),
            health: match &disk.health {
                DiskHealth::Ok => "ok".to_owned(),
                DiskHealth::Faulty(why) => format!("faulty: {why}"),
            },
            media: disk.media.as_str().to_owned(),
            snapshots: match disk.no_snapshots.get(&disk.driver) {
                None => "yes".to_owned(),
                Some(why) => format!("no: {why}"),
            },
            wipe: wipes(disk),
            encryption: match &disk.no_encryption {
                None => "yes".to_owned(),
                Some(why) => format!("no: {why}"),
            },
        }
    }
}

/// Every way to wipe, and why not.
fn wipes(disk: &Disk) -> BTreeMap<String, String> {
    let methods = Wipe::ALL.into_iter().filter(|method| *method != Wipe::None);
    methods
        .map(|method| {
            let of_it = disk.wipes.iter().find(|a| a.driver == disk.driver && a.method == method);
            let said = match of_it.map(|ability| &ability.refused) {
                Some(None) => "yes".to_owned(),
                Some(Some(why)) => format!("no: {why}"),
                None => "no: its agent does not say that it can".to_owned(),
            };
            (method.to_string(), said)
        })
        .collect()
}

/// An agent.
#[derive(Debug, Serialize)]
pub(crate) struct AgentRow {
    pub(crate) id: String,
    pub(crate) hostname: String,
    pub(crate) state: String,
    pub(crate) cpus_total: f64,
    pub(crate) cpus_used: f64,
    pub(crate) mem_total_bytes: u64,
    pub(crate) mem_used_bytes: u64,
    pub(crate) disk_total_bytes: u64,
    pub(crate) disk_reserved_bytes: u64,
    pub(crate) disk_in_volumes_bytes: u64,
    pub(crate) total: String,
    pub(crate) used: String,
    pub(crate) offered: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) limitations: Vec<String>,
    pub(crate) version: String,
    pub(crate) last_seen_ms: Option<u64>,
    pub(crate) disks: Vec<DiskRow>,
}

impl From<&AgentView> for AgentRow {
    fn from(view: &AgentView) -> Self {
        let reserved = view.total.filtered(|r| !r.stack.is_unreserved());
        let volumes = view.total.filtered(|r| r.persistence().is_some());
        Self {
            id: view.info.id.to_string(),
            hostname: view.info.hostname.to_string(),
            state: view.state.as_str().to_owned(),
            cpus_total: number(view.total.total(&Name::Cpus)),
            cpus_used: number(view.used.total(&Name::Cpus)),
            mem_total_bytes: mib(&view.total, &Name::Mem).get(),
            mem_used_bytes: mib(&view.used, &Name::Mem).get(),
            disk_total_bytes: mib(&view.total, &Name::Disk).get(),
            disk_reserved_bytes: mib(&reserved, &Name::Disk).get(),
            disk_in_volumes_bytes: mib(&volumes, &Name::Disk).get(),
            total: view.total.to_string(),
            used: view.used.to_string(),
            offered: view.offered.to_string(),
            attributes: BTreeMap::clone(&view.info.attributes),
            limitations: view.info.limitations.clone(),
            version: view.info.version.to_string(),
            last_seen_ms: view.last_seen.map(Timestamp::ms),
            disks: view
                .info
                .disks
                .iter()
                .map(|disk| DiskRow::new(disk, view.info.id, &view.info.hostname))
                .collect(),
        }
    }
}

impl Row for AgentRow {
    const COLUMNS: &'static [&'static str] = &[
        "AGENT",
        "HOST",
        "STATE",
        "CPUS",
        "MEM",
        "DISK",
        "RESERVED",
        "IN VOLUMES",
        "VERSION",
        "ATTRIBUTES",
    ];
    const NARROW: usize = 8;
    fn cells(&self) -> Vec<Cell> {
        let attributes: Vec<String> =
            self.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
        vec![
            Cell::text(short(&self.id)),
            Cell::text(&self.hostname),
            if self.state == AgentState::Registered.as_str() {
                Cell::Good(self.state.clone())
            } else {
                Cell::Bad(self.state.clone())
            },
            Cell::text(format!("{}/{}", self.cpus_used, self.cpus_total)),
            Cell::text(format!(
                "{}/{}",
                Bytes::new(self.mem_used_bytes),
                Bytes::new(self.mem_total_bytes)
            )),
            Cell::text(Bytes::new(self.disk_total_bytes)),
            Cell::text(Bytes::new(self.disk_reserved_bytes)),
            Cell::text(Bytes::new(self.disk_in_volumes_bytes)),
            Cell::text(&self.version),
            Cell::text(attributes.join(",")),
        ]
    }
    fn name(&self) -> String {
        self.id.clone()
    }
}
