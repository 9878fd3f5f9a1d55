//! What the master asks for: ensure, destroy, purge, forget. Every call may come any number of times.

use super::{Kind, Purge, Watch};
use crate::agent::Agent;
use crate::step::Severity;
use crate::timer::Timer;
use berth_model::agent::DiskHealth;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, VolumeId};
use berth_model::record::{LedgerRecord, LedgerVolume};
use berth_model::snapshot::Origin;
use berth_model::units::Bytes;
use berth_model::volume::{VolumeSpec, VolumeState};
use std::sync::Arc;

impl Agent {
    /// A task that used the volume has ended.
    pub(crate) fn volume_released(&mut self, id: VolumeId) {
        let wanted = self.watches.get_mut(&id).and_then(|watch| watch.destroy.take());
        let generation = self.books.volumes().get(&id).map(|volume| volume.spec.generation);
        if let (Some(operation), Some(generation)) = (wanted, generation) {
            self.destroy(id, generation, operation);
        }
    }

    /// Is the volume to be destroyed as soon as nobody uses it?
    pub(crate) fn is_condemned(&self, id: VolumeId) -> bool {
        self.watches.get(&id).is_some_and(|watch| watch.destroy.is_some())
    }

    /// Makes sure a volume is there.
    pub(crate) fn ensure(&mut self, spec: VolumeSpec, operation: OperationId, restore: bool) {
        let id = spec.id;
        let Some(known) = self.books.volumes().get(&id) else {
            self.ensure_unknown(spec, operation, restore);
            return;
        };
        if restore
            && known.state == VolumeState::Trashed
            && known.spec.generation.checked_add(1) == Some(spec.generation)
        {
            if !self.told_to_have_failed(id, operation) {
                self.restore(spec, operation);
            }
        } else if restore && is_nothing(known.state) && known.spec.generation != spec.generation {
            self.ensure_unknown(spec, operation, restore);
        } else if known.spec.generation != spec.generation {
            let text = format!(
                "volume {id} is {} in generation {} on this agent, not in generation {}",
                known.state, known.spec.generation, spec.generation
            );
            self.tell_refusal(id, operation, Rejection::new(ErrorCode::VolumeNotReady, text));
        } else if (VolumeSpec { access: spec.access, ..known.spec.clone() }) != spec {
            let text = format!("volume {id} exists on this agent with another name, disk or size");
            self.tell_refusal(id, operation, Rejection::new(ErrorCode::VolumeExists, text));
        } else if known.state == VolumeState::Failed && known.operation != Some(operation) {
            self.ensure_unknown(spec, operation, restore);
        } else {
            self.tell_volume(id);
        }
    }

    fn ensure_unknown(&mut self, spec: VolumeSpec, operation: OperationId, restore: bool) {
        let id = spec.id;
        let admitted = if restore {
            Err(Rejection::new(
                ErrorCode::VolumeLost,
                format!("volume {id} is not in the trash of agent {}", self.info.id),
            )
            .remedy("it was purged, or its retention is over; nothing was made in its place"))
        } else {
            self.check_room(&spec, spec.size)
        };
        self.enter_new(spec, operation, admitted.err(), None);
    }

    /// Begins a volume, of which nothing is on the disk yet.
    pub(super) fn begin_volume(
        &mut self,
        spec: VolumeSpec,
        operation: OperationId,
        origin: Option<Box<Origin>>,
    ) {
        let error = self.check_room(&spec, spec.size).err();
        self.enter_new(spec, operation, error, origin);
    }

    pub(super) fn enter_new(
        &mut self,
        spec: VolumeSpec,
        operation: OperationId,
        error: Option<Rejection>,
        origin: Option<Box<Origin>>,
    ) {
        let id = spec.id;
        let state = if error.is_some() { VolumeState::Failed } else { VolumeState::Creating };
        let watch = self.watch(id);
        // An effect on one of its snapshots may be under way, and never two touch one volume.
        *watch = Watch { busy: watch.busy.take(), ..Watch::default() };
        self.timers.clear(&Timer::Retry(id));
        self.write_volume(LedgerVolume {
            spec,
            state,
            operation: Some(operation),
            restore: false,
            error,
            driver: Arc::from(""),
            changed: self.now,
            resize: None,
            origin,
            setting: None,
            wipe: None,
        });
        self.tell_volume(id);
        self.advance(id);
    }

    fn restore(&mut self, spec: VolumeSpec, operation: OperationId) {
        let id = spec.id;
        if let Err(error) = self.check_room(&spec, spec.size) {
            self.tell_refusal(id, operation, error);
            return;
        }
        let Some(mut volume) = self.books.volumes().get(&id).cloned() else { return };
        if volume.wipe.is_some() {
            let text = format!("volume {id} is being wiped");
            let error = Rejection::new(ErrorCode::VolumeNotReady, text);
            self.tell_failure(id, operation, error.remedy("it cannot be had back"));
            return;
        }
        volume.spec = spec;
        volume.state = VolumeState::Creating;
        volume.operation = Some(operation);
        volume.restore = true;
        volume.error = None;
        volume.changed = self.now;
        self.timers.clear(&Timer::Retention(id));
        self.timers.clear(&Timer::Retry(id));
        let watch = self.watch(id);
        watch.purge = Purge::No;
        watch.attempts = 0;
        self.write_volume(volume);
        self.tell_volume(id);
        self.advance(id);
    }

    /// Is there a healthy disk with room for so much more of it?
    pub(super) fn check_room(&self, spec: &VolumeSpec, more: Bytes) -> Result<(), Rejection> {
        let VolumeSpec { id, source, .. } = spec;
        let Some(disk) = self.info.disks.iter().find(|disk| disk.source == *source) else {
            return Err(Rejection::new(
                ErrorCode::UnknownDisk,
                format!("agent {} has no disk {source} for volume {id}", self.info.id),
            )
            .remedy("declare it again with --disk"));
        };
        if let DiskHealth::Faulty(why) = &disk.health {
            return Err(Rejection::new(
                ErrorCode::DiskFaulty,
                format!("disk {} cannot take volume {id}: {why}", disk.name),
            ));
        }
        if let Err(error) = more.to_scalar() {
            return Err(Rejection::new(
                ErrorCode::InvalidResources,
                format!("volume {id} cannot be made: {error}"),
            )
            .field("volume.size"));
        }
        let held = self.books.held(source);
        let free = disk.size.checked_sub(held).unwrap_or_default();
        if free < more {
            return Err(Rejection::new(
                ErrorCode::InsufficientResources,
                format!("disk {} has {free} left for volumes, volume {id} needs {more}", disk.name),
            )
            .remedy("destroy a volume on it, or choose another disk"));
        }
        Ok(())
    }

    /// Moves a volume to the trash.
    pub(crate) fn destroy(&mut self, id: VolumeId, generation: u64, operation: OperationId) {
        let Some(volume) = self.known(id, generation, operation) else { return };
        match volume.state {
            VolumeState::Ready
                if matches!(self.under_way(id), Some(Kind::Resize | Kind::Access)) =>
            {
                // What the host does now would be done to a volume in the trash, and nobody would write it down.
                let text = format!("volume {id} is being given another size or access");
                let error = Rejection::new(ErrorCode::VolumeNotReady, text);
                self.watch(id).destroy = Some(operation);
                self.tell_refusal(id, operation, error.remedy("it is destroyed after that"));
            },
            VolumeState::Ready | VolumeState::Lost => match self.books.user(id) {
                Some(task) => {
                    let text = format!("volume {id} is used by task {task}");
                    let error = Rejection::new(ErrorCode::VolumeInUse, text)
                        .remedy("end the task; the volume is destroyed then");
                    self.watch(id).destroy = Some(operation);
                    self.tell_refusal(id, operation, error);
                },
                None => self.tombstone(volume, operation),
            },
            VolumeState::Failed => self.gone(id, Some(operation), None),
            VolumeState::Tombstoned | VolumeState::Trashed | VolumeState::Gone => {
                self.tell_volume(id);
            },
            VolumeState::Creating => {
                let text = format!("volume {id} is still being made");
                self.watch(id).destroy = Some(operation);
                self.tell_refusal(id, operation, Rejection::new(ErrorCode::VolumeNotReady, text));
            },
            VolumeState::Quarantined => {
                let text =
                    format!("volume {id} is in quarantine: what lies there is not explained");
                let error = Rejection::new(ErrorCode::VolumeNotReady, text)
                    .remedy("look at the disk; Berth does not delete what it cannot identify");
                self.tell_refusal(id, operation, error);
            },
        }
    }

    fn tombstone(&mut self, mut volume: LedgerVolume, operation: OperationId) {
        let id = volume.spec.id;
        volume.state = VolumeState::Tombstoned;
        volume.operation = Some(operation);
        volume.error = None;
        volume.resize = None;
        volume.setting = None;
        volume.changed = self.now;
        self.timers.clear(&Timer::Retry(id));
        let watch = self.watch(id);
        watch.attempts = 0;
        watch.unavailable = None;
        watch.verify = false;
        watch.destroy = None;
        self.write_volume(volume);
        self.advance(id);
    }

    /// The volume, if it is known in this generation; otherwise the master is told what is here. Of a volume of
    /// which nothing is left, nothing is left in any generation.
    pub(super) fn known(
        &mut self,
        id: VolumeId,
        generation: u64,
        operation: OperationId,
    ) -> Option<LedgerVolume> {
        let Some(mut volume) = self.books.volumes().get(&id).cloned() else {
            let text = format!("operation {operation} names volume {id}, which was never here");
            self.log(Severity::Warning, text);
            return None;
        };
        if volume.spec.generation != generation && is_nothing(volume.state) {
            volume.spec.generation = generation;
            volume.state = VolumeState::Gone;
            volume.operation = Some(operation);
            volume.wipe = None;
            self.write_volume(volume.clone());
        }
        if volume.spec.generation != generation {
            let text = format!(
                "volume {id} is in generation {} on this agent, not in {generation}",
                volume.spec.generation
            );
            self.tell_refusal(id, operation, Rejection::new(ErrorCode::VolumeNotReady, text));
            return None;
        }
        Some(volume)
    }

    pub(super) fn forget_volume(&mut self, id: VolumeId) {
        self.write(LedgerRecord::VolumeForgotten(id));
        self.watches.remove(&id);
        self.unverified.remove(&id);
        self.timers.clear(&Timer::Retry(id));
        self.timers.clear(&Timer::Retention(id));
    }

    /// Forgets a volume of which nothing is on the disk.
    pub(crate) fn forget(&mut self, id: VolumeId, generation: u64) {
        let Some(volume) = self.books.volumes().get(&id) else { return };
        let (state, found) = (volume.state, volume.spec.generation);
        if let Some(watch) = self.watches.get_mut(&id).filter(|watch| watch.busy.is_some()) {
            watch.forget = Some(generation);
            return;
        }
        match state {
            VolumeState::Failed | VolumeState::Lost | VolumeState::Gone if found == generation => {
                self.forget_volume(id);
                self.advance(id);
            },
            VolumeState::Creating
            | VolumeState::Ready
            | VolumeState::Failed
            | VolumeState::Lost
            | VolumeState::Tombstoned
            | VolumeState::Trashed
            | VolumeState::Gone
            | VolumeState::Quarantined => {
                let text = format!(
                    "volume {id} is not forgotten: it is {state} in generation {found} \
                     (asked for: generation {generation})"
                );
                self.log(Severity::Warning, text);
            },
        }
    }
}

/// Nothing of the volume is on the disk.
fn is_nothing(state: VolumeState) -> bool {
    match state {
        VolumeState::Failed | VolumeState::Gone => true,
        VolumeState::Creating
        | VolumeState::Ready
        | VolumeState::Lost
        | VolumeState::Tombstoned
        | VolumeState::Trashed
        | VolumeState::Quarantined => false,
    }
}
