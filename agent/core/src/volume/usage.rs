//! How much volumes use: measured one after the other, so that it does not load the disks.

use super::Kind;
use crate::agent::Agent;
use crate::effect::VolumeOutcome;
use crate::step::Severity;
use crate::timer::Timer;
use berth_model::error::Rejection;
use berth_model::id::VolumeId;
use berth_model::link::FromAgent;
use berth_model::record::LedgerVolume;
use berth_model::volume::VolumeState;

/// How sure it is that something else lies where a volume was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It could not be measured.
    Measured,
    /// Then something contradicted it once: that may pass, and quarantine would not.
    Contradicted,
}

impl Agent {
    pub(super) fn measure_later(&mut self, id: VolumeId) {
        self.to_measure.insert((self.now.after(self.config.usage_pause), id));
        if !self.timers.is_set(&Timer::Usage) {
            self.schedule_usage();
        }
    }

    pub(super) fn schedule_usage(&mut self) {
        if let Some((due, _)) = self.to_measure.first() {
            let at = (*due).max(self.now.after(self.config.usage_pause));
            self.timers.set(Timer::Usage, at);
        }
    }

    pub(crate) fn measure_next(&mut self) {
        let Some((due, id)) = self.to_measure.pop_first() else { return };
        if due > self.now {
            self.to_measure.insert((due, id));
            self.schedule_usage();
            return;
        }
        let ready = self.books.volumes().get(&id).is_some_and(|v| v.state == VolumeState::Ready);
        if ready {
            self.to_measure.insert((self.now.after(self.config.usage_every), id));
        }
        if ready && self.unavailable(id).is_none() {
            self.watch(id).measure = true;
            self.advance(id);
        }
        // The outcome of a measurement schedules the next one.
        if self.under_way(id) != Some(Kind::Usage) {
            self.schedule_usage();
        }
    }

    pub(super) fn measured(&mut self, volume: &LedgerVolume, outcome: VolumeOutcome) {
        let id = volume.spec.id;
        match outcome {
            VolumeOutcome::Used(measured) => {
                self.watch(id).used = Some(measured.bytes);
                self.tell(FromAgent::Usage(vec![(id, measured)]));
            },
            // Whether that is for want of the volume itself, only a look for it can say.
            VolumeOutcome::Failed(error) | VolumeOutcome::Foreign(error) => {
                self.log(Severity::Warning, format!("volume {id} could not be measured: {error}"));
                self.doubt(id);
            },
            VolumeOutcome::Unclear(error) => {
                self.log(Severity::Warning, format!("volume {id} could not be measured: {error}"));
            },
            VolumeOutcome::Absent
            | VolumeOutcome::Present { .. }
            | VolumeOutcome::Taken { .. }
            | VolumeOutcome::Wiped => {
                self.doubt(id);
            },
        }
    }

    /// Whether it is there is unknown for the moment.
    pub(super) fn not_verified(&mut self, id: VolumeId, error: &Rejection) {
        self.log(Severity::Warning, format!("volume {id} could not be verified: {error}"));
        let why = Some(error.clone().bounded());
        let is_new = self.watch(id).unavailable != why;
        self.watch(id).unavailable = why;
        if is_new {
            self.tell_volume(id);
        }
        self.pause(id);
        self.volume_failed(id, error);
    }

    /// Something else lies where the volume should be.
    pub(super) fn contradicted(&mut self, volume: LedgerVolume, error: Rejection) {
        let id = volume.spec.id;
        match self.watch(id).doubt.take() {
            Some(Doubt::Measured) => {
                self.watch(id).doubt = Some(Doubt::Contradicted);
                self.not_verified(id, &error);
            },
            Some(Doubt::Contradicted) | None => {
                self.enter(volume, VolumeState::Quarantined, error);
            },
        }
    }

    /// Has a volume looked at that was what it should be, and could not be measured.
    fn doubt(&mut self, id: VolumeId) {
        let watch = self.watch(id);
        watch.verify = true;
        watch.doubt = Some(Doubt::Measured);
    }
}
