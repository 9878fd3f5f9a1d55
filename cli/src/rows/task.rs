//! Tasks and operations.

use super::{ErrorRow, age, cut, short};
use crate::output::{Cell, Row};
use berth_model::operation::{OperationRecord, OperationState};
use berth_model::task::TaskState;
use berth_model::units::Timestamp;
use berth_model::view::TaskView;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A task.
#[derive(Debug, Serialize)]
pub(crate) struct TaskRow {
    pub(crate) id: String,
    pub(crate) framework_id: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) ready: Option<bool>,
    pub(crate) healthy: Option<bool>,
    pub(crate) pid: Option<u32>,
    pub(crate) agent_id: Option<String>,
    pub(crate) hostname: String,
    pub(crate) resources: String,
    pub(crate) container_id: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) changed_ms: u64,
    pub(crate) error: Option<ErrorRow>,
    #[serde(skip)]
    pub(crate) now: Timestamp,
}

impl TaskRow {
    pub(crate) fn new(view: &TaskView, now: Timestamp) -> Self {
        let status = &view.status;
        Self {
            id: status.task.to_string(),
            framework_id: status.framework.to_string(),
            name: view.name.clone(),
            state: status.state.as_str().to_owned(),
            reason: status.reason.as_str().to_owned(),
            message: status.message.clone(),
            ready: status.ready,
            healthy: status.healthy,
            pid: status.pid,
            agent_id: status.agent.map(|a| a.to_string()),
            hostname: view.hostname.to_string(),
            resources: view.resources.to_string(),
            container_id: status.container.map(|c| c.to_string()),
            labels: view.labels.clone(),
            changed_ms: status.at.ms(),
            error: status.error.as_ref().map(ErrorRow::from),
            now,
        }
    }
}

impl Row for TaskRow {
    const COLUMNS: &'static [&'static str] =
        &["TASK", "STATE", "READY", "HOST", "PID", "FOR", "FRAMEWORK", "MESSAGE", "RESOURCES"];
    const NARROW: usize = 6;
    fn cells(&self) -> Vec<Cell> {
        let state = self.state.clone();
        let state = match TaskState::ALL.iter().find(|s| s.as_str() == state) {
            Some(TaskState::Running | TaskState::Finished) => Cell::Good(state),
            Some(
                TaskState::Staging | TaskState::Starting | TaskState::Killing | TaskState::Killed,
            ) => Cell::Pending(state),
            Some(_) | None => Cell::Bad(state),
        };
        vec![
            Cell::text(&self.id),
            state,
            Cell::maybe(self.ready.map(|r| if r { "yes" } else { "no" })),
            Cell::text(if self.hostname.is_empty() { "-" } else { &self.hostname }),
            Cell::maybe(self.pid),
            Cell::text(age(self.now, self.changed_ms)),
            Cell::text(&self.framework_id),
            Cell::text(&self.message),
            Cell::text(&self.resources),
        ]
    }
    fn name(&self) -> String {
        self.id.clone()
    }
}

/// An operation.
#[derive(Debug, Serialize)]
pub(crate) struct OperationRow {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) object: String,
    pub(crate) volumes: Vec<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) framework_id: Option<String>,
    pub(crate) accepted_ms: u64,
    pub(crate) finished_ms: Option<u64>,
    pub(crate) notes: Vec<String>,
    pub(crate) error: Option<ErrorRow>,
    /// What it waits for, where one is shown and that is known.
    pub(crate) waits_for: Option<String>,
    pub(crate) who: String,
    pub(crate) reason: Option<String>,
    #[serde(skip)]
    pub(crate) now: Timestamp,
}

impl OperationRow {
    pub(crate) fn new(record: &OperationRecord, now: Timestamp) -> Self {
        Self {
            id: record.id.to_string(),
            kind: record.kind.as_str().to_owned(),
            state: record.state.as_str().to_owned(),
            object: record.object.clone(),
            volumes: record.volumes.iter().map(ToString::to_string).collect(),
            agent_id: record.agent.map(|a| a.to_string()),
            framework_id: record.framework.as_ref().map(ToString::to_string),
            accepted_ms: record.accepted.ms(),
            finished_ms: record.finished.map(Timestamp::ms),
            notes: record.notes.clone(),
            error: match &record.state {
                OperationState::Failed(error) => Some(ErrorRow::from(error)),
                OperationState::Accepted | OperationState::Done => None,
            },
            waits_for: None,
            who: match &record.framework {
                Some(id) => format!("framework {id}"),
                None => record.said.who.to_string(),
            },
            reason: record.said.reason.as_ref().map(ToString::to_string),
            now,
        }
    }
}

impl Row for OperationRow {
    const COLUMNS: &'static [&'static str] =
        &["OPERATION", "KIND", "STATE", "OBJECT", "AGE", "TOOK", "WHO", "REASON", "ERROR"];
    const NARROW: usize = 6;
    fn cells(&self) -> Vec<Cell> {
        let took = self.finished_ms.map(|end| {
            let span = Duration::from_millis(end.saturating_sub(self.accepted_ms));
            format!("{} ms", span.as_millis())
        });
        vec![
            Cell::text(short(&self.id)),
            Cell::text(&self.kind),
            match self.state.as_str() {
                "DONE" => Cell::Good(self.state.clone()),
                "FAILED" => Cell::Bad(self.state.clone()),
                _ => Cell::Pending(self.state.clone()),
            },
            Cell::text(cut(&self.object, 60)),
            Cell::text(age(self.now, self.accepted_ms)),
            Cell::maybe(took),
            Cell::text(cut(&self.who, 40)),
            Cell::maybe(self.reason.as_ref().map(|text| cut(text, 60))),
            Cell::maybe(self.error.as_ref().map(|e| e.message.clone())),
        ]
    }
    fn name(&self) -> String {
        self.id.clone()
    }
}
