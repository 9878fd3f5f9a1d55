//! Orphans: directories without a record, and LOST volumes.

use super::{ErrorRow, age, short};
use crate::output::{Cell, Row};
use berth_model::id::AgentId;
use berth_model::orphan::Orphan;
use berth_model::units::{Bytes, Timestamp};
use berth_model::view::{DiskView, VolumeView};
use serde::Serialize;

/// An orphan.
#[derive(Debug, Serialize)]
pub(crate) struct OrphanRow {
    /// `data` without a record, or a `record` without data.
    pub(crate) kind: String,
    pub(crate) agent_id: String,
    pub(crate) hostname: String,
    pub(crate) disk: String,
    /// Where it lies; empty of a record.
    pub(crate) path: String,
    /// `volumes` or `trash`; empty of a record.
    pub(crate) place: String,
    pub(crate) used_bytes: Option<u64>,
    /// Of data: when something in its top directory changed. Of a record: when it was found to be lost.
    pub(crate) changed_ms: Option<u64>,
    /// What its marker says, when that is proven; the record of a LOST volume.
    pub(crate) volume: Option<String>,
    pub(crate) volume_id: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) generation: Option<u64>,
    pub(crate) size_bytes: Option<u64>,
    /// What speaks against it being a volume of this agent.
    pub(crate) evidence: String,
    /// Why the volume is LOST.
    pub(crate) error: Option<ErrorRow>,
    #[serde(skip)]
    pub(crate) agent: AgentId,
    #[serde(skip)]
    pub(crate) now: Timestamp,
}

impl OrphanRow {
    pub(crate) fn of_data(view: &DiskView, orphan: &Orphan, now: Timestamp) -> Self {
        let spec = orphan.spec.as_ref();
        Self {
            kind: "data".to_owned(),
            agent_id: view.agent.to_string(),
            hostname: view.hostname.to_string(),
            disk: view.disk.name.to_string(),
            path: orphan.path.to_string(),
            place: orphan.place.as_str().to_owned(),
            used_bytes: orphan.used.map(Bytes::get),
            changed_ms: orphan.modified.map(Timestamp::ms),
            volume: spec.map(|spec| spec.name.to_string()),
            volume_id: spec.map(|spec| spec.id.to_string()),
            role: spec.map(|spec| spec.role.to_string()),
            generation: spec.map(|spec| spec.generation),
            size_bytes: spec.map(|spec| spec.size.get()),
            evidence: orphan.evidence.to_string(),
            error: None,
            agent: view.agent,
            now,
        }
    }

    pub(crate) fn of_record(view: &VolumeView, now: Timestamp) -> Self {
        let volume = &view.volume;
        Self {
            kind: "record".to_owned(),
            agent_id: volume.agent.to_string(),
            hostname: view.hostname.to_string(),
            disk: view.disk.to_string(),
            path: String::new(),
            place: String::new(),
            used_bytes: None,
            changed_ms: Some(volume.changed.ms()),
            volume: Some(volume.spec.name.to_string()),
            volume_id: Some(volume.spec.id.to_string()),
            role: Some(volume.spec.role.to_string()),
            generation: Some(volume.spec.generation),
            size_bytes: Some(volume.spec.size.get()),
            evidence: String::new(),
            error: volume.error.as_ref().map(ErrorRow::from),
            agent: volume.agent,
            now,
        }
    }

    /// In a sentence.
    pub(crate) fn shown(&self) -> String {
        let volume = match (&self.role, &self.volume) {
            (Some(role), Some(name)) => format!("volume {role}/{name}"),
            _ => format!("no volume ({})", self.evidence),
        };
        let used = self.used_bytes.map_or("not measured".to_owned(), |b| Bytes::new(b).to_string());
        match self.kind.as_str() {
            "record" => {
                format!("{volume} on {}:{}, whose data is not there", self.hostname, self.disk)
            },
            _ => format!("{} on {}: {volume}, {used}", self.path, self.hostname),
        }
    }
}

impl Row for OrphanRow {
    const COLUMNS: &'static [&'static str] = &[
        "HOST",
        "DISK",
        "KIND",
        "VOLUME",
        "ROLE",
        "USED",
        "AGE",
        "PATH",
        "ID",
        "GENERATION",
        "EVIDENCE",
    ];
    const NARROW: usize = 8;
    fn cells(&self) -> Vec<Cell> {
        let kind = match self.place.as_str() {
            "trash" => "data (trash)".to_owned(),
            _ => self.kind.clone(),
        };
        let volume = match &self.volume {
            Some(name) => Cell::text(name),
            None => Cell::Bad("unidentified".to_owned()),
        };
        vec![
            Cell::text(&self.hostname),
            Cell::text(&self.disk),
            Cell::text(kind),
            volume,
            Cell::maybe(self.role.as_ref()),
            Cell::maybe(self.used_bytes.map(Bytes::new)),
            Cell::maybe(self.changed_ms.map(|then| age(self.now, then))),
            Cell::text(if self.path.is_empty() { "-" } else { &self.path }),
            Cell::maybe(self.volume_id.as_deref().map(short)),
            Cell::maybe(self.generation),
            Cell::text(&self.evidence),
        ]
    }
    fn name(&self) -> String {
        match (&self.volume, self.path.as_str()) {
            (Some(name), "") => name.clone(),
            _ => self.path.clone(),
        }
    }
}
