//! The entry of a volume that was wiped although no operation asked for it: its retention was over.
//!
//! It knows nothing of wipes but what it is told.

use super::gather::draft;
use berth_model::audit::{AuditEntry, Phase, Who};
use berth_model::id::{AgentId, VolumeId};
use berth_model::operation::OperationKind;
use berth_model::units::Timestamp;

/// What was wiped because its retention was over, so that no operation tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) agent: AgentId,
    pub(crate) volume: VolumeId,
    pub(crate) object: String,
    pub(crate) text: String,
}

impl Certificate {
    /// Without number and hash.
    pub(super) fn entry(&self, now: Timestamp) -> AuditEntry {
        let Self { agent, volume, object, text } = self.clone();
        AuditEntry {
            kind: Some(OperationKind::Purge),
            object,
            agent: Some(agent),
            volumes: vec![volume],
            notes: vec![text],
            ..draft(Phase::Done, Who::Berth, now)
        }
    }
}
