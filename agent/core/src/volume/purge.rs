//! Out of the trash for good: wiped first where somebody wants that, then deleted.
//!
//! A wipe is three effects, each with its record before it: what is there is measured and everything that speaks against
//! it is found (`Survey`, changes nothing), then it is overwritten (`Wipe`), then it is deleted (`Purge`). Invariants: what
//! is in the ledger as begun goes on until it is done, by whatever master and after any number of restarts, and is never
//! restored; only what the host said to be wiped is told as wiped; what has to be wiped makes no room for others before.

use super::outcome::unexpected;
use super::{Kind, Purge};
use crate::agent::Agent;
use crate::effect::VolumeOutcome;
use crate::step::Severity;
use crate::timer::Timer;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, VolumeId};
use berth_model::record::LedgerVolume;
use berth_model::snapshot::SnapshotState;
use berth_model::units::Bytes;
use berth_model::volume::{VolumeSpec, VolumeState};
use berth_model::wipe::{LedgerWipe, Wipe, WipeStage};
use std::time::Duration;

/// How long trash that cannot be wiped is left alone; an order looks at once.
const SURVEY_AGAIN: Duration = Duration::from_hours(1);

impl Agent {
    /// Deletes a volume from the trash.
    pub(crate) fn purge(
        &mut self,
        id: VolumeId,
        generation: u64,
        operation: OperationId,
        wipe: Option<Wipe>,
    ) {
        let Some(volume) = self.known(id, generation, operation) else { return };
        match volume.state {
            VolumeState::Trashed => {
                if self.told_to_have_failed(id, operation) {
                    return;
                }
                self.timers.clear(&Timer::Retry(id));
                self.want_wipe(volume, wipe.unwrap_or(self.config.purge_wipe), operation);
                self.watch(id).purge = Purge::Asked(operation);
                self.advance(id);
            },
            VolumeState::Gone => self.tell_volume(id),
            VolumeState::Creating
            | VolumeState::Ready
            | VolumeState::Failed
            | VolumeState::Lost
            | VolumeState::Tombstoned
            | VolumeState::Quarantined => {
                let text = format!("volume {id} is {}, not in the trash", volume.state);
                self.tell_refusal(id, operation, Rejection::new(ErrorCode::VolumeNotReady, text));
            },
        }
    }

    /// Writes down how the volume is to be wiped. What has begun goes on as it did.
    fn want_wipe(&mut self, mut volume: LedgerVolume, method: Wipe, operation: OperationId) {
        let operation = Some(operation);
        let wanted = match volume.wipe.filter(|wipe| wipe.stage != WipeStage::Wanted) {
            Some(begun) => Some(LedgerWipe { operation, ..begun }),
            None if method == Wipe::None => None,
            None => Some(LedgerWipe { operation, method, stage: WipeStage::Wanted }),
        };
        if volume.wipe != wanted {
            volume.wipe = wanted;
            self.write_volume(volume);
        }
    }

    /// What a trashed volume needs next, once a master has taken the agent in.
    pub(super) fn next_of_trashed(&mut self, volume: &LedgerVolume) -> Option<Kind> {
        let id = volume.spec.id;
        let surveys = self.wanted_method(volume);
        let watch = self.watch(id);
        match volume.wipe.map(|wipe| (wipe.stage, wipe.method)) {
            Some((WipeStage::Begun(_), method)) => Some(Kind::Wipe(method)),
            Some((WipeStage::Done(_), _)) => Some(Kind::Purge),
            Some((WipeStage::Wanted, _)) | None if surveys != Wipe::None => {
                Some(Kind::Survey(surveys))
            },
            Some((WipeStage::Wanted, _)) | None if watch.purge != Purge::No => Some(Kind::Purge),
            Some((WipeStage::Wanted, _)) | None => watch.verify.then_some(Kind::VerifyTrash),
        }
    }

    /// How the volume is to be wiped now, if that has not begun.
    fn wanted_method(&self, volume: &LedgerVolume) -> Wipe {
        let purge = self.watches.get(&volume.spec.id).map(|watch| watch.purge).unwrap_or_default();
        match (volume.wipe, purge) {
            (Some(wipe), _) => wipe.method,
            (None, Purge::Retention) => self.config.purge_wipe,
            (None, Purge::No | Purge::Asked(_)) => Wipe::None,
        }
    }

    /// The trash that a CREATE on the same disk may purge, oldest first.
    pub(super) fn purgeable(&self, spec: &VolumeSpec) -> Vec<(VolumeSpec, Bytes)> {
        let free = |id: &VolumeId| self.watches.get(id).is_none_or(|watch| watch.busy.is_none());
        self.books
            .trash(&spec.source)
            .filter(|volume| volume.spec.id != spec.id && free(&volume.spec.id))
            .filter(|volume| self.makes_room(volume))
            .take(self.config.purge_max)
            .map(|volume| {
                let used = self.watches.get(&volume.spec.id).and_then(|watch| watch.used);
                (volume.spec.clone(), used.unwrap_or(volume.spec.size))
            })
            .collect()
    }

    /// May it be deleted for the room of another one?
    pub(super) fn makes_room(&self, volume: &LedgerVolume) -> bool {
        volume.wipe.is_none() && self.config.purge_wipe == Wipe::None
    }

    /// What speaks against wiping the volume is known, and how much there is of it.
    pub(super) fn surveyed(
        &mut self,
        mut volume: LedgerVolume,
        method: Wipe,
        outcome: VolumeOutcome,
    ) {
        let id = volume.spec.id;
        if self.wanted_method(&volume) != method {
            // Somebody wants something else by now.
            return;
        }
        let outcome = match (outcome, self.snapshots_left(id)) {
            (VolumeOutcome::Used(_), count) if count > 0 => {
                VolumeOutcome::Failed(shares(id, method, count))
            },
            (outcome, _) => outcome,
        };
        let operation = volume.wipe.and_then(|wipe| wipe.operation);
        match outcome {
            VolumeOutcome::Used(measured) => {
                let stage = WipeStage::Begun(measured.bytes);
                let text = format!("volume {id} is wiped by {method}: {}", measured.bytes);
                self.log(Severity::Info, text);
                volume.wipe = Some(LedgerWipe { operation, method, stage });
                self.write_volume(volume);
                let watch = self.watch(id);
                watch.attempts = 0;
                watch.unavailable = None;
            },
            VolumeOutcome::Failed(error) if error.code != ErrorCode::VolumeInUse => match operation
            {
                Some(operation) => self.refuse_wipe(volume, operation, error),
                // It stays in the trash, and whoever looks is told why. What speaks against it seldom goes by itself, and
                // looking for it reads the whole volume.
                None => {
                    self.put_off(volume, error);
                    self.timers.set(Timer::Retry(id), self.now.after(SURVEY_AGAIN));
                },
            },
            other @ (VolumeOutcome::Failed(_)
            | VolumeOutcome::Unclear(_)
            | VolumeOutcome::Absent
            | VolumeOutcome::Foreign(_)
            | VolumeOutcome::Present { .. }
            | VolumeOutcome::Taken { .. }
            | VolumeOutcome::Wiped) => self.not_wiped(volume, other, "measure"),
        }
    }

    /// Nothing was changed, and the volume stays as it is.
    fn refuse_wipe(&mut self, mut volume: LedgerVolume, operation: OperationId, error: Rejection) {
        let id = volume.spec.id;
        self.log(Severity::Warning, format!("volume {id} stays in the trash: {error}"));
        volume.wipe = None;
        self.write_volume(volume);
        self.watch(id).purge = Purge::No;
        self.tell_failure(id, operation, error);
        if !self.timers.is_set(&Timer::Retention(id)) {
            // Its retention ended meanwhile. Whoever wanted it wiped gets as much time again, to remove the cause.
            let end = self.now.after(self.config.trash_retention);
            self.timers.set(Timer::Retention(id), end);
        }
    }

    /// The volume's content is overwritten, or not yet.
    pub(super) fn wiped(&mut self, mut volume: LedgerVolume, outcome: VolumeOutcome) {
        let id = volume.spec.id;
        match (outcome, volume.wipe) {
            (VolumeOutcome::Wiped, Some(wipe)) => {
                let stage = match wipe.stage {
                    WipeStage::Begun(bytes) | WipeStage::Done(bytes) => WipeStage::Done(bytes),
                    WipeStage::Wanted => WipeStage::Done(Bytes::default()),
                };
                volume.wipe = Some(LedgerWipe { stage, ..wipe });
                self.write_volume(volume);
                self.watch(id).attempts = 0;
            },
            (other, _) => self.not_wiped(volume, other, "wipe"),
        }
    }

    fn not_wiped(&mut self, volume: LedgerVolume, outcome: VolumeOutcome, verb: &str) {
        let id = volume.spec.id;
        match outcome {
            VolumeOutcome::Absent => {
                let text = format!("volume {id} was not there any more when it was to be wiped");
                let error = Rejection::new(ErrorCode::VolumeLost, text)
                    .remedy("somebody took it out of the trash by hand: look for it there");
                let operation = volume.wipe.and_then(|wipe| wipe.operation).or(volume.operation);
                self.gone(id, operation, Some(error));
            },
            VolumeOutcome::Foreign(error) => self.enter(volume, VolumeState::Quarantined, error),
            VolumeOutcome::Failed(error) | VolumeOutcome::Unclear(error) => {
                self.put_off(volume, error);
            },
            VolumeOutcome::Present { .. }
            | VolumeOutcome::Used(_)
            | VolumeOutcome::Taken { .. }
            | VolumeOutcome::Wiped => {
                self.put_off(volume, unexpected(id, verb));
            },
        }
    }

    pub(super) fn purged(&mut self, volume: LedgerVolume, outcome: VolumeOutcome) {
        let id = volume.spec.id;
        let operation = match self.watch(id).purge {
            Purge::Asked(operation) => Some(operation),
            Purge::No | Purge::Retention => {
                volume.wipe.and_then(|wipe| wipe.operation).or(volume.operation)
            },
        };
        match outcome {
            VolumeOutcome::Absent => {
                self.gone(id, operation, None);
                self.bury_snapshots(id, operation);
            },
            VolumeOutcome::Foreign(error) => self.enter(volume, VolumeState::Quarantined, error),
            VolumeOutcome::Failed(error) | VolumeOutcome::Unclear(error) => {
                self.put_off(volume, error);
            },
            VolumeOutcome::Present { .. }
            | VolumeOutcome::Used(_)
            | VolumeOutcome::Taken { .. }
            | VolumeOutcome::Wiped => {
                self.put_off(volume, unexpected(id, "purge"));
            },
        }
    }

    /// Snapshots whose blocks may be those of the volume.
    fn snapshots_left(&self, id: VolumeId) -> usize {
        let of_it = self.books.snapshots().values().filter(|snapshot| snapshot.spec.of.id == id);
        of_it
            .filter(|snapshot| {
                !matches!(snapshot.state, SnapshotState::Gone | SnapshotState::Failed)
            })
            .count()
    }
}

fn shares(id: VolumeId, method: Wipe, count: usize) -> Rejection {
    let text = format!(
        "volume {id} cannot be wiped by {method}: it has {count} snapshots, which share blocks with it"
    );
    Rejection::new(ErrorCode::Unsupported, text)
        .remedy("delete its snapshots first (berth snapshot list, berth snapshot delete)")
        .field("wipe")
}
