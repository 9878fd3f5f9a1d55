//! Requests of operators that were refused.

use super::gather::draft;
use berth_model::audit::{AuditEntry, Phase, Said};
use berth_model::error::Rejection;
use berth_model::id::{OperationId, VolumeId};
use berth_model::operation::OperationKind;
use berth_model::units::Timestamp;

/// A request that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) operation: OperationId,
    pub(crate) kind: OperationKind,
    pub(crate) said: Said,
    pub(crate) object: String,
    /// What it was about, as far as that is known.
    pub(crate) volumes: Vec<VolumeId>,
    pub(crate) error: Rejection,
}

pub(super) fn of_refusal(refused: Refused, left_out: u64, now: Timestamp) -> AuditEntry {
    let Refused { operation, kind, said, object, volumes, error } = refused;
    AuditEntry {
        operation: Some(operation),
        kind: Some(kind),
        reason: said.reason,
        object,
        volumes,
        error: Some(error),
        notes: unwritten(left_out).collect(),
        ..draft(Phase::Refused, said.who, now)
    }
}

/// That entries of its kind are missing before an entry.
pub(super) fn unwritten(count: u64) -> impl Iterator<Item = String> {
    let text = || format!("{count} refusals before this one were not written");
    (count > 0).then(text).into_iter()
}
