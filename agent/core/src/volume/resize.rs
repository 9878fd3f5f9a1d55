//! GROW and SHRINK: the intent is the wanted size beside the one the volume has; the volume stays READY and usable.
//!
//! Invariant: `spec.size` is the size that the host last confirmed.

use super::Found;
use super::outcome::unexpected;
use crate::agent::Agent;
use crate::effect::VolumeOutcome;
use crate::timer::Timer;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, VolumeId};
use berth_model::record::LedgerVolume;
use berth_model::units::Bytes;
use berth_model::volume::VolumeState;

impl Agent {
    /// Gives a volume another size.
    pub(crate) fn resize(
        &mut self,
        id: VolumeId,
        generation: u64,
        size: Bytes,
        operation: OperationId,
    ) {
        let Some(mut volume) = self.known(id, generation, operation) else { return };
        if volume.state != VolumeState::Ready {
            let text = format!("volume {id} is {}: only a READY one is resized", volume.state);
            self.tell_refusal(id, operation, Rejection::new(ErrorCode::VolumeNotReady, text));
            return;
        }
        if self.told_to_have_failed(id, operation) {
            // What was reserved for it is given back by then.
            return;
        }
        let is_done = volume.resize.is_none() && volume.spec.size == size;
        if is_done || volume.resize == Some(size) {
            self.tell_volume(id);
            return;
        }
        let more = size.checked_sub(volume.held()).unwrap_or_default();
        if more > Bytes::default()
            && let Err(error) = self.check_room(&volume.spec, more)
        {
            self.tell_refusal(id, operation, error);
            return;
        }
        volume.resize = Some(size);
        volume.operation = Some(operation);
        volume.error = None;
        self.timers.clear(&Timer::Retry(id));
        self.watch(id).attempts = 0;
        self.write_volume(volume);
        self.tell_volume(id);
        self.advance(id);
    }

    pub(super) fn resized(
        &mut self,
        mut volume: LedgerVolume,
        held: &[VolumeId],
        outcome: VolumeOutcome,
    ) {
        let id = volume.spec.id;
        let given = self.watch(id).resizing.take().unwrap_or(volume.spec.size);
        match outcome {
            VolumeOutcome::Present { host_path, driver: _, enforcement, purged } => {
                let operation = volume.operation;
                volume.spec.size = given;
                // Another size may have been asked for meanwhile; that intent goes on.
                volume.resize = volume.resize.filter(|wanted| *wanted != given);
                volume.error = None;
                self.write_volume(volume);
                let watch = self.watch(id);
                watch.found = Some(Found { host_path, enforcement });
                watch.purged.clone_from(&purged);
                watch.attempts = 0;
                self.tell_volume(id);
                self.made_room(&purged, held, operation);
            },
            VolumeOutcome::Failed(error) => {
                for other in held {
                    let watch = self.watch(*other);
                    watch.verify = true;
                    watch.given_up = true;
                }
                if error.code == ErrorCode::DiskFull && self.has_other_trash(&volume, held) {
                    self.put_off(volume, error);
                    self.volume_released(id);
                    return;
                }
                let operation = volume.operation;
                if volume.resize == Some(given) {
                    volume.resize = None;
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
                self.put_off(volume, unexpected(id, "resize"));
            },
        }
        self.volume_released(id);
    }
}
