//! Snapshots.

use super::{ErrorRow, age, short};
use crate::output::{Cell, Row};
use berth_model::snapshot::SnapshotState;
use berth_model::task::Program;
use berth_model::units::{Bytes, Timestamp};
use berth_model::view::SnapshotView;
use serde::Serialize;

/// A snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) volume: String,
    pub(crate) volume_id: String,
    /// The life of the volume in which it was taken.
    pub(crate) volume_generation: u64,
    pub(crate) role: String,
    /// Of the volume when it was taken.
    pub(crate) size_bytes: u64,
    pub(crate) state: String,
    /// What the agent last said.
    pub(crate) observed: Option<String>,
    pub(crate) held: bool,
    pub(crate) agent_id: String,
    pub(crate) hostname: String,
    pub(crate) disk: String,
    pub(crate) host_path: String,
    pub(crate) principal: Option<String>,
    pub(crate) freeze: Option<String>,
    pub(crate) error: Option<ErrorRow>,
    pub(crate) operation_id: String,
    /// The time of the volume's schedule that it was taken for.
    pub(crate) scheduled_ms: Option<u64>,
    /// The group that it was taken with.
    pub(crate) group_id: Option<String>,
    /// By what the volumes of the group stood still.
    pub(crate) consistency: Option<String>,
    pub(crate) created_ms: u64,
    pub(crate) changed_ms: u64,
    #[serde(skip)]
    pub(crate) now: Timestamp,
}

impl SnapshotRow {
    pub(crate) fn new(view: &SnapshotView, now: Timestamp) -> Self {
        let snapshot = &view.snapshot;
        let of = &snapshot.spec.of;
        Self {
            id: snapshot.spec.id.to_string(),
            name: snapshot.spec.name.to_string(),
            volume: of.name.to_string(),
            volume_id: of.id.to_string(),
            volume_generation: of.generation,
            role: of.role.to_string(),
            size_bytes: of.size.get(),
            state: snapshot.state.to_string(),
            observed: view.observed.map(|state| state.to_string()),
            held: snapshot.held,
            agent_id: snapshot.agent.to_string(),
            hostname: view.hostname.to_string(),
            disk: view.disk.to_string(),
            host_path: view.host_path.to_string(),
            principal: snapshot.principal.as_ref().map(ToString::to_string),
            freeze: snapshot.freeze.as_ref().map(|freeze| match &freeze.program {
                Program::Shell(text) => text.clone(),
                Program::Exec(arguments) => arguments.join(" "),
            }),
            error: snapshot.error.as_ref().map(ErrorRow::from),
            operation_id: snapshot.operation.to_string(),
            scheduled_ms: snapshot.scheduled.map(Timestamp::ms),
            group_id: snapshot.group.map(|group| group.id.to_string()),
            consistency: snapshot
                .group
                .and_then(|group| group.consistency)
                .map(|by| by.to_string()),
            created_ms: snapshot.created.ms(),
            changed_ms: snapshot.changed.ms(),
            now,
        }
    }
}

impl Row for SnapshotRow {
    const COLUMNS: &'static [&'static str] = &[
        "SNAPSHOT",
        "VOLUME",
        "ROLE",
        "SIZE",
        "HOST",
        "DISK",
        "STATE",
        "HELD",
        "AGE",
        "ID",
        "GENERATION",
        "PATH",
        "GROUP",
        "CONSISTENCY",
    ];
    const NARROW: usize = 9;
    fn cells(&self) -> Vec<Cell> {
        let state = self.state.clone();
        let state = match SnapshotState::ALL.iter().find(|s| s.as_str() == state) {
            Some(SnapshotState::Ready) => Cell::Good(state),
            Some(SnapshotState::Failed | SnapshotState::Lost | SnapshotState::Quarantined) => {
                Cell::Bad(state)
            },
            Some(SnapshotState::Creating | SnapshotState::Deleting | SnapshotState::Gone)
            | None => Cell::Pending(state),
        };
        vec![
            Cell::text(&self.name),
            Cell::text(&self.volume),
            Cell::text(&self.role),
            Cell::text(Bytes::new(self.size_bytes)),
            Cell::text(&self.hostname),
            Cell::text(&self.disk),
            state,
            Cell::text(if self.held { "held" } else { "-" }),
            Cell::text(age(self.now, self.created_ms)),
            Cell::text(short(&self.id)),
            Cell::text(self.volume_generation),
            Cell::text(&self.host_path),
            Cell::text(self.group_id.as_deref().map_or("-".to_owned(), short)),
            Cell::text(self.consistency.as_deref().unwrap_or("-")),
        ]
    }
    fn name(&self) -> String {
        format!("{}@{}", self.volume, self.name)
    }
}
