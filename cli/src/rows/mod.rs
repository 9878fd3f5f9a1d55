//! The rows behind tables and JSON: one type each, made from the views the master shows.
//!
//! Field names are part of the interface: they only grow. Sizes are bytes and end in `_bytes`, times are milliseconds
//! since the Unix epoch and end in `_ms`.

mod agent;
mod audit;
mod disk;
mod explain;
mod framework;
mod orphan;
mod quota;
mod role;
mod schedule;
mod snapshot;
mod storage;
mod task;
mod transfer;
mod usage;

pub(crate) use agent::AgentRow;
pub(crate) use audit::{AuditRow, CheckRow};
pub(crate) use disk::{DiskDetail, DiskRow, HealthRow, MatchRow, ProfileRow};
pub(crate) use explain::ExplainRow;
pub(crate) use framework::{FrameworkRow, OfferRow};
pub(crate) use orphan::OrphanRow;
pub(crate) use quota::{Amount, QuotaRow, QuotaUseRow};
pub(crate) use role::{RoleRow, RoleTreeRow};
pub(crate) use schedule::ScheduleRow;
pub(crate) use snapshot::SnapshotRow;
pub(crate) use storage::{ReservationRow, TrashRow, VolumeRow};
pub(crate) use task::{OperationRow, TaskRow};
pub(crate) use transfer::SurveyRow;
pub(crate) use usage::UsageRow;

use berth_model::error::Rejection;
use berth_model::resources::{Name, Resources};
use berth_model::units::{Bytes, Scalar, Timestamp};
use serde::Serialize;

/// The first eight digits: enough to tell ids apart, and accepted as a prefix.
pub(crate) fn short(id: &str) -> String {
    let is_minted = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    if is_minted { id.get(..8).unwrap_or(id).to_owned() } else { id.to_owned() }
}

/// Long texts end with an ellipsis in tables; JSON and `show` have them whole.
pub(crate) fn cut(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

/// An amount as JSON has it.
fn number(amount: Scalar) -> f64 {
    amount.to_string().parse().unwrap_or_default()
}

/// `3d`, `5h`, `12m`, `40s`.
pub(crate) fn age(now: Timestamp, then_ms: u64) -> String {
    let span = now.since(Timestamp::from_ms(then_ms));
    let seconds = span.as_secs();
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn mib(resources: &Resources, name: &Name) -> Bytes {
    Bytes::from_scalar(resources.total(name))
}

/// A refusal inside a row.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorRow {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) remedy: String,
    pub(crate) field: String,
}

impl From<&Rejection> for ErrorRow {
    fn from(error: &Rejection) -> Self {
        Self {
            code: error.code.as_str().to_owned(),
            message: error.message.clone(),
            remedy: error.remedy.clone(),
            field: error.field.clone(),
        }
    }
}

fn in_unit(name: &Name, amount: Scalar) -> String {
    match name {
        Name::Mem | Name::Disk => Bytes::from_scalar(amount).to_string(),
        Name::Cpus | Name::Gpus | Name::Ports | Name::Other(_) => amount.to_string(),
    }
}
