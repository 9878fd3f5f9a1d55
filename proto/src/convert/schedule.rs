//! Schedules of snapshots: what is wanted, what the registry holds, what the master shows.

use super::field::{self, Choice};
use super::{At, Wire};
use crate::v1;
use crate::v1::schedule_run;
use crate::v1::submit_request as submit;
use berth_model::error::Rejection;
use berth_model::operator::Request;
use berth_model::schedule::{Keep, SchedulePlan, ScheduleResult, ScheduleRun, SnapshotSchedule};
use berth_model::units::Timestamp;
use berth_model::view::ScheduleView;
use berth_model::volume::VolumeState;
use std::sync::Arc;

impl Wire for Keep {
    type Message = v1::Keep;

    fn to_wire(&self) -> v1::Keep {
        let Self { last, hourly, daily, weekly } = *self;
        v1::Keep { last, hourly, daily, weekly }
    }

    fn from_wire(message: v1::Keep, _at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Keep { last, hourly, daily, weekly } = message;
        Ok(Self { last, hourly, daily, weekly })
    }
}

impl Wire for SchedulePlan {
    type Message = v1::SchedulePlan;

    fn to_wire(&self) -> v1::SchedulePlan {
        let Self { every, keep, freeze } = self;
        v1::SchedulePlan {
            every_ms: field::millis(*every),
            keep: Some(keep.to_wire()),
            freeze: freeze.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: v1::SchedulePlan, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::SchedulePlan { every_ms, keep, freeze } = message;
        let plan = Self {
            every: field::span(every_ms, &at.field("every_ms"))?,
            keep: field::required(keep, &at.field("keep"))?,
            freeze: field::optional(freeze, &at.field("freeze"))?,
        };
        plan.check().map_err(|error| at.field(error.field).invalid(error.text, error.remedy))?;
        Ok(plan)
    }
}

impl Wire for ScheduleRun {
    type Message = v1::ScheduleRun;

    fn to_wire(&self) -> v1::ScheduleRun {
        let Self { due, tried, result } = self;
        let result = match result {
            ScheduleResult::Taking(id) => schedule_run::Result::TakingSnapshotId(id.to_string()),
            ScheduleResult::Taken(id) => schedule_run::Result::TakenSnapshotId(id.to_string()),
            ScheduleResult::Failed(error) => schedule_run::Result::Failed(error.to_wire()),
        };
        v1::ScheduleRun { due_ms: due.ms(), tried_ms: tried.ms(), result: Some(result) }
    }

    fn from_wire(message: v1::ScheduleRun, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::ScheduleRun { due_ms, tried_ms, result } = message;
        let result = match result.ok_or_else(|| at.field("result").missing())? {
            schedule_run::Result::TakingSnapshotId(id) => {
                ScheduleResult::Taking(field::id(&id, &at.field("taking_snapshot_id"))?)
            },
            schedule_run::Result::TakenSnapshotId(id) => {
                ScheduleResult::Taken(field::id(&id, &at.field("taken_snapshot_id"))?)
            },
            schedule_run::Result::Failed(error) => {
                ScheduleResult::Failed(Wire::from_wire(error, &at.field("failed"))?)
            },
        };
        let (due, tried) = (Timestamp::from_ms(due_ms), Timestamp::from_ms(tried_ms));
        Ok(Self { due, tried, result })
    }
}

impl Wire for SnapshotSchedule {
    type Message = v1::SnapshotSchedule;

    fn to_wire(&self) -> v1::SnapshotSchedule {
        let Self { volume, plan, principal, created, changed, operation, settled, last } = self;
        v1::SnapshotSchedule {
            volume_id: volume.to_string(),
            plan: Some(plan.to_wire()),
            principal: principal.as_ref().map(ToString::to_string),
            created_ms: created.ms(),
            changed_ms: changed.ms(),
            operation_id: operation.to_string(),
            settled_ms: settled.ms(),
            last: last.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: v1::SnapshotSchedule, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::SnapshotSchedule {
            volume_id,
            plan,
            principal,
            created_ms,
            changed_ms,
            operation_id,
            settled_ms,
            last,
        } = message;
        Ok(Self {
            volume: field::id(&volume_id, &at.field("volume_id"))?,
            plan: field::required(plan, &at.field("plan"))?,
            principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
            created: Timestamp::from_ms(created_ms),
            changed: Timestamp::from_ms(changed_ms),
            operation: field::id(&operation_id, &at.field("operation_id"))?,
            settled: Timestamp::from_ms(settled_ms),
            last: field::optional(last, &at.field("last"))?,
        })
    }
}

impl Wire for ScheduleView {
    type Message = v1::ScheduleView;

    fn to_wire(&self) -> v1::ScheduleView {
        let Self { schedule, name, role, hostname, next, obstacle, kept, newest, volume_state } =
            self;
        v1::ScheduleView {
            schedule: Some(schedule.to_wire()),
            name: name.to_string(),
            role: role.to_string(),
            hostname: hostname.to_string(),
            next_ms: next.map(Timestamp::ms),
            obstacle: obstacle.as_ref().map(Wire::to_wire),
            kept: *kept,
            newest_ms: newest.map(Timestamp::ms),
            volume_state: volume_state.number(),
        }
    }

    fn from_wire(message: v1::ScheduleView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::ScheduleView {
            schedule,
            name,
            role,
            hostname,
            next_ms,
            obstacle,
            kept,
            newest_ms,
            volume_state,
        } = message;
        Ok(Self {
            schedule: field::required(schedule, &at.field("schedule"))?,
            name: field::id(&name, &at.field("name"))?,
            role: field::owner(&role, &at.field("role"))?,
            hostname: Arc::from(hostname),
            next: field::point(next_ms),
            obstacle: field::optional(obstacle, &at.field("obstacle"))?,
            kept,
            newest: field::point(newest_ms),
            volume_state: VolumeState::read(volume_state, &at.field("volume_state"))?,
        })
    }
}

/// Reads the call that sets one.
pub(super) fn set(message: submit::SetSchedule, at: &At<'_>) -> Result<Request, Rejection> {
    let submit::SetSchedule { volume, plan, principal } = message;
    Ok(Request::SetSchedule {
        volume: field::required(volume, &at.field("volume"))?,
        plan: field::required(plan, &at.field("plan"))?,
        principal: field::optional_id(principal.as_deref(), &at.field("principal"))?,
    })
}

/// Reads the call that deletes one.
pub(super) fn delete(message: submit::DeleteSchedule, at: &At<'_>) -> Result<Request, Rejection> {
    Ok(Request::DeleteSchedule { volume: field::required(message.volume, &at.field("volume"))? })
}
