//! Volumes: one effect at a time for each, driven by the state in the books.
//!
//! `calls` takes what the master asks for, `outcome` what the host answered; both change the state and then call
//! [`Agent::advance`], which asks for the effect that the state needs next. So a restart, a repeated call and a failed
//! effect are the same case. Rules: a LOST or QUARANTINED volume is never made anew or deleted; nothing is moved to the
//! trash while a live task uses it, and nothing is purged that is not in the trash; before a master has taken the agent
//! in, volumes are only looked at.

mod access;
mod calls;
mod derive;
mod export;
mod group;
pub(crate) mod orphan;
mod outcome;
mod purge;
mod resize;
mod snapshot;
mod snapshot_outcome;
mod usage;

use crate::agent::Agent;
use crate::effect::{Place, VolumeEffect};
use crate::step::Output;
use crate::timer::Timer;
use berth_model::access::Access;
use berth_model::error::Rejection;
use berth_model::id::{GroupId, OperationId, SnapshotId, VolumeId};
use berth_model::record::{LedgerRecord, LedgerVolume};
use berth_model::units::Bytes;
use berth_model::volume::{Enforcement, VolumeSpec, VolumeState};
use berth_model::wipe::Wipe;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use usage::Doubt;

/// What was found on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) host_path: Arc<str>,
    pub(crate) enforcement: Enforcement,
}

/// Which effect is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Create,
    Restore,
    Resize,
    Access,
    Trash,
    Purge,
    /// What speaks against wiping it so, and how much there is.
    Survey(Wipe),
    Wipe(Wipe),
    VerifyLive,
    VerifyTrash,
    Usage,
    /// From its origin: a clone, a roll back, an orphan, an import.
    Derive,
    Snapshot(SnapshotId),
    /// With the slots of all its volumes.
    TakeGroup(GroupId),
    /// With the slots of all its volumes.
    EraseGroup(GroupId),
    EraseSnapshot(SnapshotId),
    VerifySnapshot(SnapshotId),
}

/// Why no other effect may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Busy {
    /// One is under way; it may purge the `held` volumes, or is about them as well.
    Effect { token: u64, kind: Kind, held: Vec<VolumeId> },
    /// An effect of another volume may purge this one, or is about it as well.
    Held,
}

/// Whether a trashed volume is to be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purge {
    #[default]
    No,
    /// Its retention is over.
    Retention,
    /// Somebody asked.
    Asked(OperationId),
}

/// What the agent learned about a volume since it started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    busy: Option<Busy>,
    pub(crate) found: Option<Found>,
    pub(crate) used: Option<Bytes>,
    /// An effect that was given it to purge has failed; it may have done that before.
    given_up: bool,
    /// Purged to make room for it.
    pub(crate) purged: Vec<VolumeId>,
    /// The size that the effect under way gives it.
    resizing: Option<Bytes>,
    /// The access that the effect under way gives it.
    setting: Option<Access>,
    /// Why its last verification could not be done.
    unavailable: Option<Rejection>,
    /// Why it is looked at although it was what it should be.
    doubt: Option<Doubt>,
    verify: bool,
    measure: bool,
    purge: Purge,
    /// Somebody asked for its destruction when that could not be; done as soon as it can be.
    destroy: Option<OperationId>,
    /// The order that failed last and changed nothing, as the master was told, or will be, on this connection.
    pub(crate) failed: Option<(OperationId, Rejection)>,
    /// To be forgotten in this generation when the effect under way is over.
    forget: Option<u64>,
    /// Somebody asked whether the data of this lost volume is back.
    looked_for: Option<OperationId>,
    /// The verification of a quarantined volume has come to the trash.
    in_trash: bool,
    attempts: u32,
    /// Where its snapshots were found.
    pub(crate) snapshots: BTreeMap<SnapshotId, Arc<str>>,
    /// Its snapshots that are to be looked at.
    verify_snapshots: BTreeSet<SnapshotId>,
    /// Those to be taken at rest, or with others, of which an earlier attempt may lie on the disk: nobody knows whether it was at rest.
    begun: BTreeSet<SnapshotId>,
    /// The snapshot whose effect failed last: the others have their turn before it.
    put_off: Option<SnapshotId>,
}

impl Agent {
    /// Has volumes looked at after a start.
    pub(crate) fn resume_volumes(&mut self) {
        let all: Vec<LedgerVolume> = self.books.volumes().values().cloned().collect();
        for volume in all {
            let id = volume.spec.id;
            match volume.state {
                VolumeState::Ready => {
                    self.unverified.insert(id);
                    self.watch(id).verify = true;
                    self.measure_later(id);
                },
                VolumeState::Trashed => {
                    self.unverified.insert(id);
                    self.watch(id).verify = true;
                    self.retain(&volume);
                },
                // The data may have come back, or what lay there may have been moved away by hand.
                VolumeState::Lost | VolumeState::Quarantined => {
                    self.unverified.insert(id);
                    self.watch(id).verify = true;
                },
                VolumeState::Creating
                | VolumeState::Tombstoned
                | VolumeState::Failed
                | VolumeState::Gone => {},
            }
        }
        self.resume_snapshots();
        self.continue_volumes();
    }

    /// Asks for whatever the volumes' states need next.
    pub(crate) fn continue_volumes(&mut self) {
        let mut ids: BTreeSet<VolumeId> = self.books.volumes().keys().copied().collect();
        // A snapshot can outlive the record of its volume.
        ids.extend(self.books.snapshots().values().map(|snapshot| snapshot.spec.of.id));
        for id in ids {
            self.advance(id);
        }
    }

    /// Asks for the effect that the volume's state needs next, if any and if none is under way.
    fn advance(&mut self, id: VolumeId) {
        if self.timers.is_set(&Timer::Retry(id)) {
            return;
        }
        if self.watches.get(&id).is_some_and(|watch| watch.busy.is_some()) {
            return;
        }
        let Some(volume) = self.books.volumes().get(&id).cloned() else {
            self.advance_snapshots(id);
            return;
        };
        match self.next_of(&volume) {
            Some(Kind::Snapshot(safety)) => {
                if let Some(safety) = self.books.snapshots().get(&safety).cloned() {
                    let kind = Kind::Snapshot(safety.spec.id);
                    self.begin_snapshot(safety, kind);
                }
            },
            Some(kind) => self.begin(volume.spec, kind),
            None => self.advance_snapshots(id),
        }
    }

    fn next_of(&mut self, volume: &LedgerVolume) -> Option<Kind> {
        let id = volume.spec.id;
        let (state, restore, taken_in) = (volume.state, volume.restore, self.taken_in);
        if state == VolumeState::Creating && volume.origin.is_some() {
            return if taken_in { self.next_of_derived(volume) } else { None };
        }
        let watch = self.watch(id);
        match state {
            VolumeState::Creating | VolumeState::Tombstoned if !taken_in => None,
            VolumeState::Creating if restore => Some(Kind::Restore),
            VolumeState::Creating => Some(Kind::Create),
            VolumeState::Tombstoned => Some(Kind::Trash),
            VolumeState::Trashed if taken_in => self.next_of_trashed(volume),
            VolumeState::Trashed => watch.verify.then_some(Kind::VerifyTrash),
            VolumeState::Ready if watch.verify => Some(Kind::VerifyLive),
            VolumeState::Ready if taken_in && volume.resize.is_some() => Some(Kind::Resize),
            VolumeState::Ready if taken_in && volume.setting.is_some() => Some(Kind::Access),
            VolumeState::Ready => watch.measure.then_some(Kind::Usage),
            VolumeState::Quarantined if watch.verify && watch.in_trash => Some(Kind::VerifyTrash),
            VolumeState::Lost | VolumeState::Quarantined => {
                watch.verify.then_some(Kind::VerifyLive)
            },
            VolumeState::Failed | VolumeState::Gone => None,
        }
    }

    fn begin(&mut self, spec: VolumeSpec, kind: Kind) {
        let (id, token) = (spec.id, self.next_token());
        let purgeable = match kind {
            Kind::Create | Kind::Restore | Kind::Resize => self.purgeable(&spec),
            // An import takes hours, during which nobody could have back what it holds: it purges nothing.
            Kind::Trash
            | Kind::Access
            | Kind::Purge
            | Kind::Survey(_)
            | Kind::Wipe(_)
            | Kind::VerifyLive
            | Kind::VerifyTrash
            | Kind::Usage
            | Kind::Derive
            | Kind::Snapshot(_)
            | Kind::TakeGroup(_)
            | Kind::EraseGroup(_)
            | Kind::EraseSnapshot(_)
            | Kind::VerifySnapshot(_) => Vec::new(),
        };
        let held: Vec<VolumeId> = purgeable.iter().map(|(spec, _)| spec.id).collect();
        for other in &held {
            self.watch(*other).busy = Some(Busy::Held);
        }
        let wanted = self.books.volumes().get(&id).and_then(|volume| volume.resize);
        let access = self.books.volumes().get(&id).and_then(|volume| volume.setting);
        let derived = (kind == Kind::Derive).then(|| self.effect_of(spec.clone()));
        let watch = self.watch(id);
        watch.busy = Some(Busy::Effect { token, kind, held });
        if let Some(effect) = derived {
            self.emit_effect(token, effect);
            return;
        }
        let effect = match kind {
            Kind::Create => VolumeEffect::Create { spec, purgeable },
            Kind::Restore => VolumeEffect::Restore { spec, purgeable },
            Kind::Resize => {
                let size = wanted.unwrap_or(spec.size);
                watch.resizing = Some(size);
                VolumeEffect::Resize { spec, size, purgeable }
            },
            Kind::Access => {
                let access = access.unwrap_or(spec.access);
                watch.setting = Some(access);
                VolumeEffect::SetAccess { spec, access }
            },
            Kind::Trash => VolumeEffect::Trash { spec },
            Kind::Purge => VolumeEffect::Purge { spec },
            Kind::Survey(method) => VolumeEffect::SurveyWipe { spec, method },
            Kind::Wipe(method) => VolumeEffect::Wipe { spec, method },
            Kind::VerifyLive => {
                watch.verify = false;
                VolumeEffect::Verify { spec, place: Place::Live }
            },
            Kind::VerifyTrash => {
                watch.verify = false;
                VolumeEffect::Verify { spec, place: Place::Trash }
            },
            Kind::Usage
            | Kind::Derive
            | Kind::Snapshot(_)
            | Kind::TakeGroup(_)
            | Kind::EraseGroup(_)
            | Kind::EraseSnapshot(_)
            | Kind::VerifySnapshot(_) => {
                watch.measure = false;
                VolumeEffect::Usage { spec }
            },
        };
        self.emit(Output::Volume { token, effect });
    }

    fn watch(&mut self, id: VolumeId) -> &mut Watch {
        self.watches.entry(id).or_default()
    }

    /// Looks at a volume on which a task wants to start; the outcome reaches the task.
    pub(crate) fn verify(&mut self, id: VolumeId) {
        self.timers.clear(&Timer::Retry(id));
        self.watch(id).verify = true;
        self.advance(id);
    }

    /// An order failed, and what it was about is as it was before.
    fn tell_failure(&mut self, id: VolumeId, operation: OperationId, error: Rejection) {
        let heard = self.is_heard();
        self.watch(id).failed = heard.then(|| (operation, error.clone()));
        self.tell_refusal(id, operation, error);
    }

    /// The master repeats orders at the registration, before it can hear how they ended. One that failed is not begun
    /// again: by then the master counts on what was before.
    fn told_to_have_failed(&mut self, id: VolumeId, operation: OperationId) -> bool {
        let failed = self.watch(id).failed.clone().filter(|(failed, _)| *failed == operation);
        let Some((_, error)) = failed else { return false };
        self.tell_refusal(id, operation, error);
        true
    }

    /// What a master asked for and the ledger does not hold ends with the connection: the next master may know
    /// better, and repeats it otherwise.
    pub(crate) fn drop_wishes(&mut self) {
        for (id, watch) in &mut self.watches {
            watch.destroy = None;
            watch.forget = None;
            watch.failed = None;
            watch.looked_for = None;
            if matches!(watch.purge, Purge::Asked(_)) {
                // A retention that was over before is over still; its timer has fired.
                let runs = self.timers.is_set(&Timer::Retention(*id));
                watch.purge = if runs { Purge::No } else { Purge::Retention };
            }
        }
    }

    /// Why the volume cannot be used at the moment although it is READY.
    pub(crate) fn unavailable(&self, id: VolumeId) -> Option<&Rejection> {
        self.watches.get(&id).and_then(|watch| watch.unavailable.as_ref())
    }

    pub(crate) fn retry(&mut self, id: VolumeId) {
        if self.unavailable(id).is_some() {
            self.watch(id).verify = true;
        }
        self.advance(id);
    }

    pub(crate) fn retention_over(&mut self, id: VolumeId) {
        let watch = self.watch(id);
        if watch.purge == Purge::No {
            watch.purge = Purge::Retention;
        }
        self.advance(id);
    }

    /// Starts the retention of a trashed volume.
    fn retain(&mut self, volume: &LedgerVolume) {
        let end = volume.changed.after(self.config.trash_retention);
        self.timers.set(Timer::Retention(volume.spec.id), end);
    }

    fn under_way(&self, id: VolumeId) -> Option<Kind> {
        match self.watches.get(&id).and_then(|watch| watch.busy.as_ref()) {
            Some(Busy::Effect { kind, .. }) => Some(*kind),
            Some(Busy::Held) | None => None,
        }
    }

    /// Asks again later; the pause doubles with each attempt.
    fn pause(&mut self, id: VolumeId) {
        let (first, longest) = (self.config.effect_retry, self.config.effect_retry_max);
        let watch = self.watch(id);
        let pause = backoff(first, longest, watch.attempts);
        watch.attempts = watch.attempts.saturating_add(1);
        self.timers.set(Timer::Retry(id), self.now.after(pause));
    }

    fn write_volume(&mut self, volume: LedgerVolume) {
        self.write(LedgerRecord::Volume(volume));
    }
}

/// `first` doubled `attempts` times, at most `longest`.
pub(crate) fn backoff(first: Duration, longest: Duration, attempts: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(attempts).unwrap_or(u32::MAX)).min(longest)
}
