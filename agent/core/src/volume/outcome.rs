//! What the host answered. An answer to an effect that the volume's state no longer asks for changes nothing.

use super::{Busy, Found, Kind, Purge};
use crate::agent::Agent;
use crate::effect::VolumeOutcome;
use crate::step::Severity;
use crate::timer::Timer;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, VolumeId};
use berth_model::record::LedgerVolume;
use berth_model::resources::DiskSource;
use berth_model::volume::{VolumeSpec, VolumeState};
use berth_model::wipe::WipeStage;

impl Agent {
    /// Takes the outcome of an effect in and goes on with the volume.
    pub(crate) fn conclude(&mut self, id: VolumeId, token: u64, outcome: VolumeOutcome) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let Some(Busy::Effect { kind, held, .. }) =
            watch.busy.take_if(|busy| matches!(busy, Busy::Effect { token: t, .. } if *t == token))
        else {
            return;
        };
        for other in &held {
            self.watch(*other).busy = None;
        }
        if let Kind::Snapshot(snapshot)
        | Kind::EraseSnapshot(snapshot)
        | Kind::VerifySnapshot(snapshot) = kind
        {
            self.judge_snapshot(snapshot, kind, outcome);
        } else if let Kind::TakeGroup(group) | Kind::EraseGroup(group) = kind {
            self.judge_group(group, kind, outcome);
        } else if let Some(volume) = self.books.volumes().get(&id).cloned() {
            let origin = volume.origin.clone();
            self.judge(volume, kind, &held, outcome);
            self.release_source(origin.as_deref());
        }
        if kind == Kind::Usage {
            self.schedule_usage();
        }
        if let Some(generation) = self.watches.get_mut(&id).and_then(|watch| watch.forget.take()) {
            self.forget(id, generation);
        }
        self.advance(id);
        // A quarantined volume is looked for in two places.
        let goes_on =
            self.watches.get(&id).is_some_and(|watch| watch.in_trash && watch.busy.is_some());
        if !goes_on && (self.unverified.remove(&id) || kind == Kind::VerifyTrash) {
            self.register();
        }
        for other in held {
            self.advance(other);
        }
    }

    fn judge(
        &mut self,
        volume: LedgerVolume,
        kind: Kind,
        held: &[VolumeId],
        outcome: VolumeOutcome,
    ) {
        match (kind, volume.state) {
            (Kind::Create | Kind::Restore, VolumeState::Creating) => {
                self.made(volume, held, outcome);
            },
            (Kind::Resize, VolumeState::Ready) => self.resized(volume, held, outcome),
            (Kind::Access, VolumeState::Ready) => self.access_set(volume, outcome),
            (Kind::Trash, VolumeState::Tombstoned) => self.trashed(volume, outcome),
            (Kind::Purge, VolumeState::Trashed) => self.purged(volume, outcome),
            (Kind::Survey(method), VolumeState::Trashed) => self.surveyed(volume, method, outcome),
            (Kind::Wipe(_), VolumeState::Trashed) => self.wiped(volume, outcome),
            (Kind::VerifyLive, VolumeState::Ready) => self.verified(volume, outcome),
            (Kind::VerifyTrash, VolumeState::Trashed) => self.trash_verified(volume, outcome),
            (Kind::VerifyLive, VolumeState::Lost) => self.lost_verified(volume, outcome),
            (Kind::VerifyLive, VolumeState::Quarantined) => {
                let watch = self.watch(volume.spec.id);
                watch.in_trash = outcome == VolumeOutcome::Absent;
                watch.verify = watch.in_trash;
            },
            (Kind::VerifyTrash, VolumeState::Quarantined) => {
                self.watch(volume.spec.id).in_trash = false;
                if outcome == VolumeOutcome::Absent {
                    let text = format!("quarantined volume {} was moved away", volume.spec.id);
                    self.log(Severity::Info, text);
                    self.forget_volume(volume.spec.id);
                }
            },
            (Kind::Usage, VolumeState::Ready) => self.measured(&volume, outcome),
            (Kind::Derive, VolumeState::Creating) => self.derived(volume, held, outcome),
            (
                Kind::Create
                | Kind::Restore
                | Kind::Resize
                | Kind::Access
                | Kind::Trash
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
                | Kind::VerifySnapshot(_),
                _,
            ) => {},
        }
    }

    pub(super) fn made(
        &mut self,
        mut volume: LedgerVolume,
        held: &[VolumeId],
        outcome: VolumeOutcome,
    ) {
        let id = volume.spec.id;
        match outcome {
            VolumeOutcome::Present { host_path, driver, enforcement, purged } => {
                let operation = volume.operation;
                volume.state = VolumeState::Ready;
                volume.restore = false;
                volume.origin = None;
                volume.error = None;
                volume.driver = driver;
                volume.changed = self.now;
                self.write_volume(volume);
                let watch = self.watch(id);
                watch.found = Some(Found { host_path, enforcement });
                watch.purged.clone_from(&purged);
                watch.attempts = 0;
                watch.unavailable = None;
                self.measure_later(id);
                // First the report that says what was purged for which volume.
                self.tell_volume(id);
                self.made_room(&purged, held, operation);
                self.volume_released(id);
            },
            VolumeOutcome::Failed(error) => {
                // What the failed effect purged on the way is found out by looking.
                for other in held {
                    let watch = self.watch(*other);
                    watch.verify = true;
                    watch.given_up = true;
                }
                // What an import is to hold may not be there later: it waits for no room.
                let is_import = volume.origin.as_ref().is_some_and(|from| from.is_import());
                let is_full = error.code == ErrorCode::DiskFull && !is_import;
                if is_full && self.has_other_trash(&volume, held) {
                    self.put_off(volume, error);
                } else if volume.restore {
                    volume.spec.generation = volume.spec.generation.saturating_sub(1);
                    volume.restore = false;
                    let operation = volume.operation;
                    self.enter_trash(volume, operation.map(|operation| (operation, error)));
                } else {
                    self.enter(volume, VolumeState::Failed, error);
                }
            },
            VolumeOutcome::Foreign(error) => {
                let state =
                    if volume.restore { VolumeState::Quarantined } else { VolumeState::Failed };
                self.enter(volume, state, error);
            },
            VolumeOutcome::Unclear(error) => self.put_off(volume, error),
            VolumeOutcome::Absent if volume.restore => {
                let text = format!("volume {id} is no longer in the trash");
                let error = Rejection::new(ErrorCode::VolumeLost, text)
                    .remedy("it was purged; nothing was made in its place");
                self.enter(volume, VolumeState::Failed, error);
            },
            VolumeOutcome::Absent
            | VolumeOutcome::Used(_)
            | VolumeOutcome::Taken { .. }
            | VolumeOutcome::Wiped => {
                self.put_off(volume, unexpected(id, "make"));
            },
        }
    }

    /// The trash that an effect purged for its room is gone.
    pub(super) fn made_room(
        &mut self,
        purged: &[VolumeId],
        held: &[VolumeId],
        operation: Option<OperationId>,
    ) {
        for other in purged.iter().filter(|other| held.contains(other)) {
            // Somebody may have asked for a restore meanwhile, which finds out by itself.
            let trash = self.books.volumes().get(other);
            if trash.is_some_and(|other| other.state == VolumeState::Trashed) {
                self.gone(*other, operation, None);
                self.bury_snapshots(*other, operation);
            }
        }
    }

    /// Is there trash on the volume's disk that the failed effect was not allowed to purge?
    pub(super) fn has_other_trash(&self, volume: &LedgerVolume, held: &[VolumeId]) -> bool {
        // What has to be wiped makes room once that has begun.
        let goes = |trash: &LedgerVolume| self.makes_room(trash) || trash.wipe.is_some();
        self.books
            .trash(&volume.spec.source)
            .any(|trash| !held.contains(&trash.spec.id) && goes(trash))
    }

    fn trashed(&mut self, volume: LedgerVolume, outcome: VolumeOutcome) {
        let id = volume.spec.id;
        match outcome {
            VolumeOutcome::Present { .. } => self.enter_trash(volume, None),
            VolumeOutcome::Absent => {
                let text = format!("volume {id} was not there any more when it was destroyed");
                let error = Rejection::new(ErrorCode::VolumeLost, text);
                self.gone(id, volume.operation, Some(error));
            },
            VolumeOutcome::Foreign(error) => self.enter(volume, VolumeState::Quarantined, error),
            VolumeOutcome::Failed(error) | VolumeOutcome::Unclear(error) => {
                self.put_off(volume, error);
            },
            VolumeOutcome::Used(_) | VolumeOutcome::Taken { .. } | VolumeOutcome::Wiped => {
                self.put_off(volume, unexpected(id, "trash"));
            },
        }
    }

    /// What somebody has to know who looks for the data.
    pub(super) fn not_there(&self, spec: &VolumeSpec, besides: &str) -> Rejection {
        let VolumeSpec { id, name, role, source, .. } = spec;
        let disk = self.info.disks.iter().find(|disk| disk.source == *source);
        let below = disk.map_or_else(String::new, |disk| format!(", below {}", disk.root));
        let host = &self.info.hostname;
        let text = format!(
            "the data of volume {name} of role {role} ({id}) is not on disk {source} of {host}{below}"
        );
        let remedy = match source {
            DiskSource::Block(_) => "connect the device that has it".to_owned(),
            DiskSource::Root | DiskSource::Path(_) | DiskSource::Mount(_) => {
                "its directory bears its id: put it back, with its attributes".to_owned()
            },
        };
        Rejection::new(ErrorCode::VolumeLost, text).remedy(format!(
            "{besides}; {remedy}, and run berth orphan adopt {id}; or delete the volume"
        ))
    }

    fn verified(&mut self, volume: LedgerVolume, outcome: VolumeOutcome) {
        let id = volume.spec.id;
        match outcome {
            VolumeOutcome::Present { host_path, enforcement, .. } => {
                let watch = self.watch(id);
                watch.found = Some(Found { host_path, enforcement });
                (watch.attempts, watch.doubt) = (0, None);
                if watch.unavailable.take().is_some() {
                    self.tell_volume(id);
                }
                self.volume_verified(id);
            },
            VolumeOutcome::Absent => {
                let error = self.not_there(&volume.spec, "nothing was made in its place");
                self.enter(volume, VolumeState::Lost, error);
            },
            VolumeOutcome::Foreign(error) => self.contradicted(volume, error),
            VolumeOutcome::Failed(error) | VolumeOutcome::Unclear(error) => {
                self.not_verified(id, &error);
            },
            VolumeOutcome::Used(_) | VolumeOutcome::Taken { .. } | VolumeOutcome::Wiped => {
                self.not_verified(id, &unexpected(id, "verify"));
            },
        }
    }

    fn trash_verified(&mut self, volume: LedgerVolume, outcome: VolumeOutcome) {
        let id = volume.spec.id;
        match outcome {
            VolumeOutcome::Present { .. } => {
                let watch = self.watch(id);
                watch.unavailable = None;
                watch.given_up = false;
            },
            VolumeOutcome::Absent => {
                let watch = self.watch(id);
                let purged = watch.given_up || watch.purge != Purge::No;
                self.gone(id, volume.operation, None);
                if purged {
                    self.bury_snapshots(id, volume.operation);
                }
            },
            VolumeOutcome::Foreign(error) => self.enter(volume, VolumeState::Quarantined, error),
            VolumeOutcome::Failed(error) | VolumeOutcome::Unclear(error) => {
                self.watch(id).unavailable = Some(error);
                self.pause(id);
            },
            VolumeOutcome::Used(_) | VolumeOutcome::Taken { .. } | VolumeOutcome::Wiped => {},
        }
    }

    /// A final state with its reason.
    pub(super) fn enter(&mut self, mut volume: LedgerVolume, state: VolumeState, error: Rejection) {
        let id = volume.spec.id;
        self.log(Severity::of(state, &error), format!("volume {id} is {state}: {error}"));
        volume.state = state;
        volume.restore = false;
        volume.resize = None;
        volume.setting = None;
        volume.origin = None;
        volume.wipe = None;
        volume.error = Some(error.clone());
        volume.changed = self.now;
        self.write_volume(volume);
        self.timers.clear(&Timer::Retry(id));
        self.timers.clear(&Timer::Retention(id));
        self.watch(id).found = None;
        self.tell_volume(id);
        self.volume_failed(id, &error);
    }

    /// Into the trash, or back into it when a restore failed. Why it failed is told once and not kept: it says
    /// nothing about what lies in the trash.
    fn enter_trash(&mut self, mut volume: LedgerVolume, failed: Option<(OperationId, Rejection)>) {
        let id = volume.spec.id;
        volume.state = VolumeState::Trashed;
        volume.error = None;
        volume.changed = self.now;
        self.retain(&volume);
        self.write_volume(volume);
        let watch = self.watch(id);
        watch.found = None;
        watch.given_up = false;
        watch.attempts = 0;
        match failed {
            Some((operation, error)) => {
                self.tell_failure(id, operation, error);
            },
            None => self.tell_volume(id),
        }
    }

    /// Nothing of the volume is on the disk.
    pub(super) fn gone(
        &mut self,
        id: VolumeId,
        operation: Option<OperationId>,
        error: Option<Rejection>,
    ) {
        let Some(mut volume) = self.books.volumes().get(&id).cloned() else { return };
        volume.state = VolumeState::Gone;
        // Only what was done is worth telling.
        volume.wipe = volume.wipe.filter(|wipe| matches!(wipe.stage, WipeStage::Done(_)));
        volume.operation = operation.or(volume.operation);
        volume.error = error;
        volume.changed = self.now;
        self.write_volume(volume);
        self.timers.clear(&Timer::Retry(id));
        self.timers.clear(&Timer::Retention(id));
        self.tell_volume(id);
    }

    /// The intent stays; the effect is asked for again later. Told once per reason.
    pub(super) fn put_off(&mut self, mut volume: LedgerVolume, error: Rejection) {
        // As it is written: else a reason that is too long would be a new one each time.
        let (id, error) = (volume.spec.id, error.bounded());
        if volume.state == VolumeState::Trashed {
            self.put_off_purge(&volume, error);
        } else if volume.error.as_ref() != Some(&error) {
            self.log(Severity::Warning, format!("volume {id} stays {}: {error}", volume.state));
            volume.error = Some(error);
            self.write_volume(volume);
            self.tell_volume(id);
        }
        self.pause(id);
    }

    fn put_off_purge(&mut self, volume: &LedgerVolume, error: Rejection) {
        let id = volume.spec.id;
        let watch = self.watch(id);
        let is_new = watch.unavailable.as_ref() != Some(&error);
        watch.unavailable = Some(error.clone());
        if is_new {
            let operation = match watch.purge {
                Purge::Asked(operation) => Some(operation),
                Purge::No | Purge::Retention => volume.operation,
            };
            self.log(Severity::Warning, format!("volume {id} stays in the trash: {error}"));
            if let Some(operation) = operation {
                self.tell_refusal(id, operation, error);
            }
        }
    }
}

pub(super) fn unexpected(id: VolumeId, verb: &str) -> Rejection {
    Rejection::new(
        ErrorCode::Internal,
        format!("the driver's answer to {verb} volume {id} makes no sense"),
    )
}
