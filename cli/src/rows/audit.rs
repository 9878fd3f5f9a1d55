//! The audit log as rows.

use super::{ErrorRow, age, cut};
use crate::output::{Cell, Row};
use berth_model::audit::{AuditChange, AuditCheck, AuditEntry, Phase};
use berth_model::units::Timestamp;
use serde::Serialize;

/// An entry.
#[derive(Debug, Serialize)]
pub(crate) struct AuditRow {
    seq: u64,
    at_ms: u64,
    phase: &'static str,
    operation: Option<String>,
    kind: Option<&'static str>,
    who: String,
    /// `claimed` means that nobody has checked the name.
    who_kind: &'static str,
    reason: Option<String>,
    object: String,
    agent_id: Option<String>,
    volumes: Vec<String>,
    changes: Vec<ChangeRow>,
    error: Option<ErrorRow>,
    notes: Vec<String>,
    hash: String,
    #[serde(skip)]
    now: Timestamp,
    #[serde(skip)]
    is_bad: bool,
}

/// A property before and after.
#[derive(Debug, Serialize)]
struct ChangeRow {
    object: String,
    what: String,
    before: Option<String>,
    after: Option<String>,
}

impl AuditRow {
    pub(crate) fn new(entry: &AuditEntry, now: Timestamp) -> Self {
        let change = |change: &AuditChange| {
            let AuditChange { object, what, before, after } = change.clone();
            ChangeRow { object, what, before, after }
        };
        Self {
            seq: entry.seq,
            at_ms: entry.at.ms(),
            phase: entry.phase.as_str(),
            operation: entry.operation.map(|id| id.to_string()),
            kind: entry.kind.map(|kind| kind.as_str()),
            who: entry.who.to_string(),
            who_kind: entry.who.kind(),
            reason: entry.reason.as_ref().map(ToString::to_string),
            object: entry.object.clone(),
            agent_id: entry.agent.map(|id| id.to_string()),
            volumes: entry.volumes.iter().map(ToString::to_string).collect(),
            changes: entry.changes.iter().map(change).collect(),
            error: entry.error.as_ref().map(ErrorRow::from),
            notes: entry.notes.clone(),
            hash: entry.hash.to_string(),
            now,
            is_bad: matches!(entry.phase, Phase::Failed | Phase::Refused),
        }
    }

    /// What changed, in a line.
    fn changed(&self) -> String {
        let one = |change: &ChangeRow| {
            let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            format!("{} {} → {}", change.what, shown(&change.before), shown(&change.after))
        };
        self.changes.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl Row for AuditRow {
    const COLUMNS: &'static [&'static str] = &[
        "SEQ",
        "AGE",
        "WHO",
        "OPERATION",
        "PHASE",
        "OBJECT",
        "REASON",
        "CHANGED",
        "ERROR",
        "VOLUMES",
        "OPERATION ID",
        "HASH",
        "NOTES",
    ];
    const NARROW: usize = 7;
    fn cells(&self) -> Vec<Cell> {
        let phase = self.phase.to_owned();
        vec![
            Cell::text(self.seq),
            Cell::text(age(self.now, self.at_ms)),
            Cell::text(cut(&self.who, 40)),
            Cell::maybe(self.kind),
            match self.phase {
                "DONE" => Cell::Good(phase),
                "ACCEPTED" => Cell::Pending(phase),
                _ if self.is_bad => Cell::Bad(phase),
                _ => Cell::text(phase),
            },
            Cell::text(cut(&self.object, 60)),
            Cell::maybe(self.reason.as_ref().map(|text| cut(text, 60))),
            Cell::text(self.changed()),
            Cell::maybe(self.error.as_ref().map(|e| e.message.clone())),
            Cell::text(self.volumes.join(",")),
            Cell::maybe(self.operation.as_ref()),
            Cell::text(&self.hash),
            Cell::maybe((!self.notes.is_empty()).then(|| self.notes.join("; "))),
        ]
    }
    fn name(&self) -> String {
        self.seq.to_string()
    }
}

/// A check of the chain.
#[derive(Debug, Serialize)]
pub(crate) struct CheckRow {
    intact: bool,
    checked: u64,
    first_seq: u64,
    last_seq: u64,
    last_hash: String,
    /// Entries up to this one were removed by the bounds of the log.
    trimmed: u64,
    broken_seq: Option<u64>,
    broken: Option<String>,
    /// What the master found wrong when it started.
    fault_at_start: Option<String>,
}

impl CheckRow {
    pub(crate) fn new(check: &AuditCheck, from: Option<u64>) -> Self {
        Self {
            intact: check.broken.is_none(),
            checked: check.checked,
            first_seq: from.unwrap_or(check.log.head.trimmed + 1),
            last_seq: check.last,
            last_hash: check.hash.to_string(),
            trimmed: check.log.head.trimmed,
            broken_seq: check.broken.as_ref().map(|(seq, _)| *seq),
            broken: check.broken.as_ref().map(|(_, why)| why.clone()),
            fault_at_start: check.log.fault.clone(),
        }
    }
}

impl Row for CheckRow {
    const COLUMNS: &'static [&'static str] = &["INTACT", "CHECKED", "LAST", "HASH", "BROKEN"];
    const NARROW: usize = 5;
    fn cells(&self) -> Vec<Cell> {
        vec![
            if self.intact { Cell::Good("yes".to_owned()) } else { Cell::Bad("no".to_owned()) },
            Cell::text(self.checked),
            Cell::text(self.last_seq),
            Cell::text(&self.last_hash),
            Cell::maybe(self.broken_seq),
        ]
    }
    fn name(&self) -> String {
        format!("{}:{}", self.last_seq, self.last_hash)
    }
}
