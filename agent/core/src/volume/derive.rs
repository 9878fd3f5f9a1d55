//! Volumes that are made from something: a clone is a new volume, a roll back is a volume's next life, an orphan is a
//! volume again.
//!
//! A roll back ends in one of three ways: the volume is READY in the next generation; it is READY in the last one as if
//! nothing had been asked; or what lies there is unclear and the effect is asked for again. Before it touches the volume
//! a safety snapshot of the present content is READY in the ledger.

use super::Kind;
use crate::agent::Agent;
use crate::effect::{Source, VolumeEffect, VolumeOutcome};
use crate::step::{Output, Severity};
use crate::timer::Timer;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, VolumeId};
use berth_model::record::{LedgerSnapshot, LedgerVolume};
use berth_model::snapshot::{Origin, SnapshotSpec, SnapshotState};
use berth_model::volume::{VolumeSpec, VolumeState};

impl Agent {
    /// Makes sure that a volume is there with the content of its origin.
    pub(crate) fn derive_volume(
        &mut self,
        spec: VolumeSpec,
        operation: OperationId,
        origin: Box<Origin>,
    ) {
        match *origin {
            Origin::Clone { .. } | Origin::Directory { .. } | Origin::Stream => {
                self.begin_unless_known(spec, operation, Some(origin));
            },
            Origin::Orphan => self.adopt_orphan(spec, operation),
            Origin::RollBack { ref snapshot, ref safety } => {
                let (snapshot, safety) = (snapshot.clone(), safety.clone());
                self.roll_back(spec, operation, snapshot, safety);
            },
        }
    }

    /// Begins a new volume, also where an earlier attempt has failed; of a known one it is said where it stands.
    pub(super) fn begin_unless_known(
        &mut self,
        spec: VolumeSpec,
        operation: OperationId,
        origin: Option<Box<Origin>>,
    ) {
        let is_new = self.books.volumes().get(&spec.id).is_none_or(|known| {
            known.spec == spec
                && known.state == VolumeState::Failed
                && known.operation != Some(operation)
        });
        if !is_new {
            self.ensure(spec, operation, false);
            return;
        }
        let source = origin.as_ref().and_then(|origin| origin.snapshot());
        match source.and_then(|source| self.not_ready(source)) {
            // It may be on its way out: half of it is no content for a volume.
            Some(error) => self.enter_new(spec, operation, Some(error), origin),
            None => self.begin_volume(spec, operation, origin),
        }
    }

    fn roll_back(
        &mut self,
        spec: VolumeSpec,
        operation: OperationId,
        snapshot: SnapshotSpec,
        safety: SnapshotSpec,
    ) {
        let id = spec.id;
        let Some(known) = self.books.volumes().get(&id).cloned() else {
            let text = format!("operation {operation} rolls back volume {id}, which is not here");
            self.log(Severity::Warning, text);
            return;
        };
        let is_next = known.spec.generation.checked_add(1) == Some(spec.generation);
        if known.state != VolumeState::Ready || !is_next {
            self.tell_volume(id);
            return;
        }
        if self.told_to_have_failed(id, operation) {
            return;
        }
        if let Some(error) = self.cannot_roll_back(id, &snapshot) {
            self.tell_refusal(id, operation, error);
            return;
        }
        let taken = self.books.snapshots().get(&safety.id);
        if let Some(error) = taken.and_then(|taken| unsafe_to_go_on(taken, id)) {
            // The attempt that it was for ended, and the master has not heard of the end.
            self.tell_refusal(id, operation, error);
            return;
        }
        // Asked again after a failure that the master did not hear of: what was taken then is as good.
        if taken.is_none() {
            self.write_snapshot(LedgerSnapshot {
                spec: safety.clone(),
                state: SnapshotState::Creating,
                operation: Some(operation),
                freeze: None,
                error: None,
                changed: self.now,
                group: None,
            });
        }
        self.timers.clear(&Timer::Retry(id));
        let watch = self.watch(id);
        watch.attempts = 0;
        watch.found = None;
        watch.failed = None;
        self.write_volume(LedgerVolume {
            spec,
            state: VolumeState::Creating,
            operation: Some(operation),
            restore: false,
            error: None,
            changed: self.now,
            origin: Some(Box::new(Origin::RollBack { snapshot, safety })),
            ..known
        });
        self.tell_volume(id);
        self.advance(id);
    }

    fn cannot_roll_back(&self, id: VolumeId, snapshot: &SnapshotSpec) -> Option<Rejection> {
        if let Some(task) = self.books.user(id) {
            let text = format!("volume {id} is used by task {task} and is not rolled back");
            let error = Rejection::new(ErrorCode::VolumeInUse, text);
            return Some(error.remedy("end the task first"));
        }
        self.not_ready(snapshot)
    }

    /// Why no volume can be made from a snapshot.
    pub(super) fn not_ready(&self, snapshot: &SnapshotSpec) -> Option<Rejection> {
        let state = self.books.snapshots().get(&snapshot.id).map(|known| known.state);
        if state == Some(SnapshotState::Ready) {
            return None;
        }
        let state = state.map_or("not known", SnapshotState::as_str);
        let text = format!("snapshot {} is {state} on agent {}", snapshot.id, self.info.id);
        let error = Rejection::new(ErrorCode::SnapshotNotReady, text);
        Some(error.remedy("choose a snapshot that is READY: see berth snapshot list"))
    }

    /// Which effect a volume needs that is being made from a snapshot.
    pub(super) fn next_of_derived(&mut self, volume: &LedgerVolume) -> Option<Kind> {
        let Some(Origin::RollBack { safety, .. }) = volume.origin.as_deref() else {
            return Some(Kind::Derive);
        };
        let known = self.books.snapshots().get(&safety.id);
        match known.map(|known| known.state) {
            // Once it was READY the volume may have been moved already: only the driver can tell, and takes back what
            // was begun.
            Some(
                SnapshotState::Ready
                | SnapshotState::Lost
                | SnapshotState::Deleting
                | SnapshotState::Gone
                | SnapshotState::Quarantined,
            )
            | None => Some(Kind::Derive),
            Some(SnapshotState::Creating) => Some(Kind::Snapshot(safety.id)),
            Some(SnapshotState::Failed) => {
                let text = format!(
                    "the safety snapshot {} of volume {} was not taken",
                    safety.name, volume.spec.id
                );
                let error = Rejection::new(ErrorCode::SnapshotNotReady, text);
                self.roll_back_failed(volume.clone(), error);
                None
            },
        }
    }

    /// Begins the effect that makes a volume from its origin.
    pub(super) fn effect_of(&self, spec: VolumeSpec) -> VolumeEffect {
        let volume = self.books.volumes().get(&spec.id);
        let operation = volume.and_then(|volume| volume.operation);
        match volume.and_then(|volume| volume.origin.as_deref()).cloned() {
            Some(Origin::Clone { snapshot }) => VolumeEffect::Clone { spec, snapshot },
            Some(Origin::RollBack { snapshot, safety }) => {
                VolumeEffect::RollBack { spec, snapshot, safety }
            },
            Some(Origin::Orphan) => VolumeEffect::Adopt { spec },
            Some(Origin::Directory { path }) => {
                VolumeEffect::Import { spec, from: Source::Directory { path } }
            },
            Some(Origin::Stream) if let Some(operation) = operation => {
                VolumeEffect::Import { spec, from: Source::Stream { operation } }
            },
            // Only a volume with an origin asks for this effect; looking changes nothing.
            Some(Origin::Stream) | None => {
                VolumeEffect::Verify { spec, place: crate::effect::Place::Live }
            },
        }
    }

    /// Takes the outcome of making a volume from its origin in.
    pub(super) fn derived(
        &mut self,
        volume: LedgerVolume,
        held: &[VolumeId],
        outcome: VolumeOutcome,
    ) {
        if volume.origin.as_ref().is_some_and(|origin| origin.is_import()) {
            self.made(volume, held, outcome);
            return;
        }
        let rolls_back = volume.origin.as_ref().is_some_and(|origin| origin.is_roll_back());
        let id = volume.spec.id;
        match outcome {
            VolumeOutcome::Failed(error) if rolls_back => self.roll_back_failed(volume, error),
            VolumeOutcome::Foreign(error) if rolls_back => {
                self.enter(volume, VolumeState::Quarantined, error);
            },
            VolumeOutcome::Absent if rolls_back => {
                let text = format!("volume {id} was not there when it was to be rolled back");
                let error = Rejection::new(ErrorCode::VolumeLost, text).remedy(
                    "nothing was made in its place; its snapshots are there: make a clone of one",
                );
                self.enter(volume, VolumeState::Lost, error);
            },
            VolumeOutcome::Failed(error) | VolumeOutcome::Foreign(error) => {
                self.enter(volume, VolumeState::Failed, error);
            },
            VolumeOutcome::Present { .. }
            | VolumeOutcome::Absent
            | VolumeOutcome::Used(_)
            | VolumeOutcome::Taken { .. }
            | VolumeOutcome::Wiped
            | VolumeOutcome::Unclear(_) => self.made(volume, &[], outcome),
        }
    }

    /// Nothing was done: the volume goes on in the life it has.
    pub(super) fn roll_back_failed(&mut self, mut volume: LedgerVolume, error: Rejection) {
        let (id, operation) = (volume.spec.id, volume.operation);
        self.log(Severity::Error, format!("volume {id} is not rolled back: {error}"));
        volume.spec.generation = volume.spec.generation.saturating_sub(1);
        volume.state = VolumeState::Ready;
        volume.origin = None;
        volume.error = None;
        volume.changed = self.now;
        self.write_volume(volume);
        let watch = self.watch(id);
        watch.attempts = 0;
        watch.verify = true;
        if let Some(operation) = operation {
            self.tell_failure(id, operation, error);
        }
    }

    /// A volume was made from a snapshot: what waited for the snapshot goes on.
    pub(super) fn release_source(&mut self, origin: Option<&Origin>) {
        if let Some(Origin::Clone { snapshot }) = origin {
            self.advance(snapshot.of.id);
        }
    }

    /// Emits an effect in the slot of a volume.
    pub(super) fn emit_effect(&mut self, token: u64, effect: VolumeEffect) {
        self.emit(Output::Volume { token, effect });
    }
}

/// Why a roll back does not go on with the safety snapshot that is there.
fn unsafe_to_go_on(safety: &LedgerSnapshot, volume: VolumeId) -> Option<Rejection> {
    match safety.state {
        SnapshotState::Creating | SnapshotState::Ready => None,
        SnapshotState::Failed
        | SnapshotState::Lost
        | SnapshotState::Deleting
        | SnapshotState::Gone
        | SnapshotState::Quarantined => Some(safety.error.clone().unwrap_or_else(|| {
            let text = format!(
                "volume {volume} is not rolled back: its safety snapshot {} is {}",
                safety.spec.name, safety.state
            );
            Rejection::new(ErrorCode::SnapshotNotReady, text).remedy("ask for the roll back again")
        })),
    }
}
