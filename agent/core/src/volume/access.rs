//! SET_ACCESS: the intent is the wanted access beside the one the volume has; the volume stays READY and usable.
//!
//! Invariant: `spec.access` is what the host last confirmed.

use super::Found;
use super::outcome::unexpected;
use crate::agent::Agent;
use crate::effect::VolumeOutcome;
use crate::timer::Timer;
use berth_model::access::Access;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, VolumeId};
use berth_model::record::LedgerVolume;
use berth_model::volume::VolumeState;

impl Agent {
    /// Gives a volume's root directory another owner or mode.
    pub(crate) fn set_access(
        &mut self,
        id: VolumeId,
        generation: u64,
        access: Access,
        operation: OperationId,
    ) {
        let Some(mut volume) = self.known(id, generation, operation) else { return };
        if volume.state != VolumeState::Ready {
            let text = format!("volume {id} is {}: only a READY one is changed", volume.state);
            self.tell_refusal(id, operation, Rejection::new(ErrorCode::VolumeNotReady, text));
            return;
        }
        if self.told_to_have_failed(id, operation) {
            return;
        }
        let is_done = volume.setting.is_none() && volume.spec.access == access;
        if is_done || volume.setting == Some(access) {
            self.tell_volume(id);
            return;
        }
        volume.setting = Some(access);
        volume.operation = Some(operation);
        volume.error = None;
        self.timers.clear(&Timer::Retry(id));
        self.watch(id).attempts = 0;
        self.write_volume(volume);
        self.tell_volume(id);
        self.advance(id);
    }

    pub(super) fn access_set(&mut self, mut volume: LedgerVolume, outcome: VolumeOutcome) {
        let id = volume.spec.id;
        let given = self.watch(id).setting.take().unwrap_or(volume.spec.access);
        match outcome {
            VolumeOutcome::Present { host_path, driver: _, enforcement, purged: _ } => {
                volume.spec.access = given;
                // Another one may have been asked for meanwhile; that intent goes on.
                volume.setting = volume.setting.filter(|wanted| *wanted != given);
                volume.error = None;
                self.write_volume(volume);
                let watch = self.watch(id);
                watch.found = Some(Found { host_path, enforcement });
                watch.attempts = 0;
                self.tell_volume(id);
            },
            VolumeOutcome::Failed(error) => {
                let operation = volume.operation;
                if volume.setting == Some(given) {
                    volume.setting = None;
                    volume.error = None;
                    self.write_volume(volume);
                }
                self.watch(id).attempts = 0;
                if let Some(operation) = operation {
                    self.tell_failure(id, operation, error);
                }
            },
            VolumeOutcome::Foreign(error) => self.enter(volume, VolumeState::Quarantined, error),
            // Whether it is lost is for a verification to say.
            VolumeOutcome::Absent => self.watch(id).verify = true,
            VolumeOutcome::Unclear(error) => self.put_off(volume, error),
            VolumeOutcome::Used(_) | VolumeOutcome::Taken { .. } | VolumeOutcome::Wiped => {
                self.put_off(volume, unexpected(id, "set the access of"));
            },
        }
        self.volume_released(id);
    }
}
