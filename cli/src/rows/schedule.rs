//! Schedules of snapshots.

use super::{ErrorRow, age};
use crate::output::{Cell, Row};
use berth_model::schedule::ScheduleResult;
use berth_model::task::Program;
use berth_model::units::{Timestamp, format_duration};
use berth_model::view::ScheduleView;
use berth_model::volume::VolumeState;
use serde::Serialize;

/// The schedule of a volume's snapshots.
#[derive(Debug, Serialize)]
pub(crate) struct ScheduleRow {
    pub(crate) volume: String,
    pub(crate) volume_id: String,
    pub(crate) role: String,
    pub(crate) hostname: String,
    /// OK, TAKING, FAILING (the latest time failed), WAITING (for the agent or the volume), PAUSED (the volume is in the trash).
    pub(crate) state: String,
    pub(crate) every: String,
    pub(crate) every_ms: u64,
    pub(crate) keep: String,
    pub(crate) keep_last: u32,
    pub(crate) keep_hourly: u32,
    pub(crate) keep_daily: u32,
    pub(crate) keep_weekly: u32,
    pub(crate) freeze: Option<String>,
    /// READY snapshots that it took.
    pub(crate) snapshots: u64,
    /// The time for which the newest of them was taken.
    pub(crate) newest_ms: Option<u64>,
    pub(crate) next_ms: Option<u64>,
    /// Its latest time that was tried.
    pub(crate) last_due_ms: Option<u64>,
    pub(crate) last_tried_ms: Option<u64>,
    pub(crate) last_snapshot_id: Option<String>,
    /// Why that time has no snapshot.
    pub(crate) last_error: Option<ErrorRow>,
    /// Why nothing is taken now.
    pub(crate) obstacle: Option<ErrorRow>,
    pub(crate) principal: Option<String>,
    pub(crate) operation_id: String,
    pub(crate) created_ms: u64,
    pub(crate) changed_ms: u64,
    #[serde(skip)]
    pub(crate) now: Timestamp,
}

impl ScheduleRow {
    pub(crate) fn new(view: &ScheduleView, now: Timestamp) -> Self {
        let schedule = &view.schedule;
        let plan = &schedule.plan;
        let last = schedule.last.as_ref();
        let (snapshot, error) = match last.map(|run| &run.result) {
            Some(ScheduleResult::Taking(id) | ScheduleResult::Taken(id)) => (Some(id), None),
            Some(ScheduleResult::Failed(error)) => (None, Some(error)),
            None => (None, None),
        };
        let taking = last.is_some_and(|run| matches!(run.result, ScheduleResult::Taking(_)));
        let in_trash = matches!(view.volume_state, VolumeState::Tombstoned | VolumeState::Trashed);
        let state = match &view.obstacle {
            Some(_) if in_trash => "PAUSED",
            Some(_) => "WAITING",
            None if taking => "TAKING",
            None if error.is_some() => "FAILING",
            None => "OK",
        };
        Self {
            volume: view.name.to_string(),
            volume_id: schedule.volume.to_string(),
            role: view.role.to_string(),
            hostname: view.hostname.to_string(),
            state: state.to_owned(),
            every: format_duration(plan.every),
            every_ms: u64::try_from(plan.every.as_millis()).unwrap_or(u64::MAX),
            keep: plan.keep.describe(),
            keep_last: plan.keep.last,
            keep_hourly: plan.keep.hourly,
            keep_daily: plan.keep.daily,
            keep_weekly: plan.keep.weekly,
            freeze: plan.freeze.as_ref().map(|freeze| match &freeze.program {
                Program::Shell(text) => text.clone(),
                Program::Exec(arguments) => arguments.join(" "),
            }),
            snapshots: view.kept,
            newest_ms: view.newest.map(Timestamp::ms),
            next_ms: view.next.map(Timestamp::ms),
            last_due_ms: last.map(|run| run.due.ms()),
            last_tried_ms: last.map(|run| run.tried.ms()),
            last_snapshot_id: snapshot.map(ToString::to_string),
            last_error: error.map(ErrorRow::from),
            obstacle: view.obstacle.as_ref().map(ErrorRow::from),
            principal: schedule.principal.as_ref().map(ToString::to_string),
            operation_id: schedule.operation.to_string(),
            created_ms: schedule.created.ms(),
            changed_ms: schedule.changed.ms(),
            now,
        }
    }
}

impl Row for ScheduleRow {
    const COLUMNS: &'static [&'static str] =
        &["VOLUME", "ROLE", "EVERY", "KEEP", "STATE", "SNAPSHOTS", "NEWEST", "NEXT", "HOST"];
    const NARROW: usize = 8;
    fn cells(&self) -> Vec<Cell> {
        let state = self.state.clone();
        let state = match self.state.as_str() {
            "OK" => Cell::Good(state),
            "FAILING" => Cell::Bad(state),
            _ => Cell::Pending(state),
        };
        let next = self.next_ms.map(|at| age(Timestamp::from_ms(at), self.now.ms()));
        vec![
            Cell::text(&self.volume),
            Cell::text(&self.role),
            Cell::text(&self.every),
            Cell::text(&self.keep),
            state,
            Cell::text(self.snapshots),
            Cell::text(self.newest_ms.map_or_else(|| "-".to_owned(), |at| age(self.now, at))),
            Cell::text(next.map_or_else(|| "-".to_owned(), |span| format!("in {span}"))),
            Cell::text(&self.hostname),
        ]
    }
    fn name(&self) -> String {
        self.volume.clone()
    }
}
