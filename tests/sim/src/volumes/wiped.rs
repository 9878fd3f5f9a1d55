//! What goes from the modelled disks by other ways than a purge: what is overwritten, and what nobody knows.
//!
//! Invariant: what is wiped stays where it is, so that a purge is seen to come after it.

use super::{Volumes, is_the_one};
use berth_agent_core::effect::{Place, VolumeOutcome};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::AgentId;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::VolumeSpec;

impl Volumes {
    /// How much there is to overwrite.
    pub(super) fn survey(&self, agent: AgentId, spec: &VolumeSpec) -> VolumeOutcome {
        match self.verify(agent, spec, Place::Trash) {
            VolumeOutcome::Present { .. } => VolumeOutcome::Used(Measured::of(Bytes::from_mib(1))),
            other => other,
        }
    }

    /// Overwrites what lies in the trash.
    pub(super) fn wipe(&mut self, agent: AgentId, spec: &VolumeSpec) -> VolumeOutcome {
        match self.verify(agent, spec, Place::Trash) {
            VolumeOutcome::Present { .. } => {
                if let Some(slot) = self.seen.get_mut(&spec.id) {
                    slot.wiped = true;
                }
                VolumeOutcome::Wiped
            },
            other => other,
        }
    }

    /// Deletes a volume that the ledger does not know, wherever it lies.
    pub fn purge_orphan(&mut self, agent: AgentId, spec: &VolumeSpec) -> Result<(), Rejection> {
        match self.seen.get(&spec.id) {
            Some(slot) if !is_the_one(slot, agent, spec.generation) => {
                let text = format!("another volume lies in the place of {}", spec.id);
                Err(Rejection::new(ErrorCode::VolumeUnavailable, text))
            },
            Some(_) | None => {
                self.seen.remove(&spec.id);
                Ok(())
            },
        }
    }
}
