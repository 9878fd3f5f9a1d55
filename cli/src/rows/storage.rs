//! Reservations and volumes.

use super::{ErrorRow, UsageRow, age, in_unit, number, short};
use crate::output::{Cell, Row};
use berth_model::resources::Name;
use berth_model::units::{Bytes, Timestamp};
use berth_model::view::{ReservationView, VolumeView};
use berth_model::volume::VolumeState;
use serde::Serialize;

/// A row of reservations.
#[derive(Debug, Serialize)]
pub(crate) struct ReservationRow {
    pub(crate) id: String,
    pub(crate) agent_id: String,
    pub(crate) hostname: String,
    pub(crate) role: String,
    pub(crate) stack: String,
    pub(crate) resource: String,
    pub(crate) disk: String,
    pub(crate) amount: String,
    /// Of mem and disk.
    pub(crate) amount_bytes: Option<u64>,
    /// Of everything that is counted by a number.
    pub(crate) amount_number: Option<f64>,
    pub(crate) in_volumes: String,
    pub(crate) in_tasks: String,
    pub(crate) created_ms: u64,
}

impl ReservationRow {
    pub(crate) fn new(view: &ReservationView, hostname: &str) -> Self {
        let resource = &view.row.resource;
        let amount = match resource.amount() {
            Some(amount) => in_unit(&resource.name, amount),
            None => {
                resource.to_string().rsplit_once(':').map(|(_, v)| v.to_owned()).unwrap_or_default()
            },
        };
        Self {
            id: view.row.id.to_string(),
            agent_id: view.row.agent.to_string(),
            hostname: hostname.to_owned(),
            role: resource.stack.owner().map(ToString::to_string).unwrap_or_default(),
            stack: resource.stack.to_string(),
            resource: resource.name.to_string(),
            disk: if resource.name == Name::Disk {
                resource.disk_source().to_string()
            } else {
                String::new()
            },
            amount,
            amount_bytes: matches!(resource.name, Name::Mem | Name::Disk)
                .then(|| resource.size().get()),
            amount_number: resource.amount().map(number),
            in_volumes: in_unit(&resource.name, view.in_volumes),
            in_tasks: in_unit(&resource.name, view.in_tasks),
            created_ms: view.row.created.ms(),
        }
    }
}

impl Row for ReservationRow {
    const COLUMNS: &'static [&'static str] = &[
        "RESERVATION",
        "ROLE",
        "HOST",
        "RESOURCE",
        "AMOUNT",
        "IN VOLUMES",
        "IN TASKS",
        "DISK",
        "STACK",
    ];
    const NARROW: usize = 7;
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(short(&self.id)),
            Cell::text(&self.role),
            Cell::text(&self.hostname),
            Cell::text(&self.resource),
            Cell::text(&self.amount),
            Cell::text(&self.in_volumes),
            Cell::text(&self.in_tasks),
            Cell::text(&self.disk),
            Cell::text(&self.stack),
        ]
    }
    fn name(&self) -> String {
        self.id.clone()
    }
}

/// A volume.
#[derive(Debug, Serialize)]
pub(crate) struct VolumeRow {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) id: String,
    pub(crate) generation: u64,
    pub(crate) state: String,
    pub(crate) size_bytes: u64,
    pub(crate) resizing_to_bytes: Option<u64>,
    pub(crate) used_bytes: Option<u64>,
    pub(crate) usage: UsageRow,
    pub(crate) agent_id: String,
    pub(crate) hostname: String,
    pub(crate) disk: String,
    pub(crate) driver: String,
    pub(crate) enforced: String,
    pub(crate) container_path: String,
    pub(crate) host_path: String,
    pub(crate) in_use_by: Vec<String>,
    pub(crate) offer_id: Option<String>,
    pub(crate) principal: Option<String>,
    pub(crate) framework_id: Option<String>,
    pub(crate) created_ms: u64,
    pub(crate) changed_ms: u64,
    pub(crate) error: Option<ErrorRow>,
    /// Why it cannot be used at the moment, whatever its state.
    pub(crate) unavailable: Option<ErrorRow>,
    /// What its last operation waits for, where one is shown and that is known.
    pub(crate) waits_for: Option<String>,
    pub(crate) protected: bool,
    /// Several tasks may use it at once.
    pub(crate) shared: bool,
    /// UID:GID; absent: the user of the last task that mounted it writable.
    pub(crate) owner: Option<String>,
    /// Octal; absent: 0700.
    pub(crate) mode: Option<String>,
    /// By a key of its own, which its agent keeps.
    pub(crate) encrypted: bool,
    #[serde(skip)]
    pub(crate) now: Timestamp,
}

impl VolumeRow {
    pub(crate) fn new(view: &VolumeView, now: Timestamp) -> Self {
        let volume = &view.volume;
        Self {
            name: volume.spec.name.to_string(),
            role: volume.spec.role.to_string(),
            id: volume.spec.id.to_string(),
            generation: volume.spec.generation,
            state: volume.state.as_str().to_owned(),
            size_bytes: volume.resize.map_or(volume.spec.size, |resize| resize.from).get(),
            resizing_to_bytes: volume.resize.map(|resize| resize.to.get()),
            used_bytes: view.used.map(Bytes::get),
            usage: UsageRow::new(view, now),
            agent_id: volume.agent.to_string(),
            hostname: view.hostname.to_string(),
            disk: if view.disk.is_empty() {
                volume.spec.source.to_string()
            } else {
                view.disk.to_string()
            },
            driver: view.driver.to_string(),
            enforced: view.enforcement.as_str().to_owned(),
            container_path: volume.container_path.to_string(),
            host_path: view.host_path.to_string(),
            in_use_by: view.users.iter().map(ToString::to_string).collect(),
            offer_id: view.offer.map(|o| o.to_string()),
            principal: volume.spec.principal.as_ref().map(ToString::to_string),
            framework_id: volume.framework.as_ref().map(ToString::to_string),
            created_ms: volume.created.ms(),
            changed_ms: volume.changed.ms(),
            error: volume.error.as_ref().map(ErrorRow::from),
            unavailable: view.unavailable.as_ref().map(ErrorRow::from),
            waits_for: None,
            protected: volume.protected,
            shared: volume.spec.shared,
            owner: volume.spec.access.owner.map(|owner| owner.to_string()),
            mode: volume.spec.access.mode.map(|mode| mode.to_string()),
            encrypted: volume.spec.encrypted,
            now,
        }
    }
}

impl Row for VolumeRow {
    const COLUMNS: &'static [&'static str] = &[
        "VOLUME",
        "ROLE",
        "SIZE",
        "USED",
        "HOST",
        "DISK",
        "STATE",
        "IN USE BY",
        "AGE",
        "ID",
        "DRIVER",
        "ENFORCED",
        "PATH",
        "USE",
        "FULL IN",
        "PROTECTED",
        "OWNER",
        "MODE",
        "ENCRYPTED",
        "SHARED",
    ];
    const NARROW: usize = 9;
    fn cells(&self) -> Vec<Cell> {
        let state = self.state.clone();
        let state = match VolumeState::ALL.iter().find(|s| s.as_str() == state) {
            Some(VolumeState::Ready) if self.unavailable.is_some() => {
                Cell::Bad(format!("{state}, unavailable"))
            },
            Some(VolumeState::Ready) => Cell::Good(state),
            Some(VolumeState::Failed | VolumeState::Lost | VolumeState::Quarantined) => {
                Cell::Bad(state)
            },
            Some(_) | None => Cell::Pending(state),
        };
        vec![
            Cell::text(&self.name),
            Cell::text(&self.role),
            Cell::text(match self.resizing_to_bytes {
                Some(to) => format!("{} > {}", Bytes::new(self.size_bytes), Bytes::new(to)),
                None => Bytes::new(self.size_bytes).to_string(),
            }),
            Cell::maybe(self.used_bytes.map(Bytes::new)),
            Cell::text(&self.hostname),
            Cell::text(&self.disk),
            state,
            Cell::text(if self.in_use_by.is_empty() {
                "-".to_owned()
            } else {
                self.in_use_by.join(",")
            }),
            Cell::text(age(self.now, self.created_ms)),
            Cell::text(short(&self.id)),
            Cell::text(&self.driver),
            Cell::text(&self.enforced),
            Cell::text(&self.container_path),
            Cell::text(self.usage.used_percent.map_or_else(|| "-".to_owned(), |p| format!("{p}%"))),
            Cell::text(self.usage.full_in()),
            Cell::text(if self.protected { "yes" } else { "-" }),
            Cell::maybe(self.owner.as_ref()),
            Cell::maybe(self.mode.as_ref()),
            Cell::text(if self.encrypted { "yes" } else { "-" }),
            Cell::text(if self.shared { "yes" } else { "-" }),
        ]
    }
    fn name(&self) -> String {
        format!("{}/{}", self.role, self.name)
    }
}

/// A volume in the trash: the same row, but what matters is since when it lies there.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct TrashRow(pub(crate) VolumeRow);

impl Row for TrashRow {
    const COLUMNS: &'static [&'static str] =
        &["VOLUME", "ROLE", "SIZE", "HOST", "DISK", "STATE", "DELETED", "ID", "GENERATION"];
    const NARROW: usize = 8;
    fn cells(&self) -> Vec<Cell> {
        let Self(row) = self;
        vec![
            Cell::text(&row.name),
            Cell::text(&row.role),
            Cell::text(Bytes::new(row.size_bytes)),
            Cell::text(&row.hostname),
            Cell::text(&row.disk),
            Cell::Pending(row.state.clone()),
            Cell::text(format!("{} ago", age(row.now, row.changed_ms))),
            Cell::text(short(&row.id)),
            Cell::text(row.generation),
        ]
    }
    fn name(&self) -> String {
        self.0.name()
    }
}
