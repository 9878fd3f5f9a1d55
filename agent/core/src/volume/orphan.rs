//! Data that the ledger does not explain, and LOST volumes whose data may be back.
//!
//! An orphan becomes a volume again by the same intent as any volume, with what lies there as its origin. Its deletion
//! is a record of its own: the intent is synced before anything is touched, and the result stays until the registry
//! has it. Invariant: nothing is deleted as an orphan that the ledger knows as a volume, and one deletion runs at a time.

use super::Found;
use super::outcome::unexpected;
use crate::agent::Agent;
use crate::effect::{OrphanOutcome, VolumeOutcome};
use crate::step::{Output, Severity};
use crate::timer::Timer;
use crate::volume::backoff;
use berth_model::agent::Disk;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, VolumeId};
use berth_model::link::FromAgent;
use berth_model::orphan::{LedgerOrphan, OrphanOrder, OrphanState};
use berth_model::record::{LedgerRecord, LedgerVolume};
use berth_model::snapshot::Origin;
use berth_model::volume::{VolumeSpec, VolumeState};

/// The deletion that is being carried out, and how often the last one was put off.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrphanWork {
    busy: Option<OperationId>,
    attempts: u32,
}

impl Agent {
    /// The directories that nobody knows, without those that the ledger has come to know since they were looked for.
    pub(crate) fn without_known(&self, mut disks: Vec<Disk>) -> Vec<Disk> {
        for disk in &mut disks {
            disk.orphans.retain(|orphan| {
                let known = |spec: &VolumeSpec| self.books.volumes().contains_key(&spec.id);
                !orphan.spec.as_ref().is_some_and(known)
            });
        }
        disks
    }

    /// Makes what lies under the volume's own name a volume again.
    pub(super) fn adopt_orphan(&mut self, spec: VolumeSpec, operation: OperationId) {
        let origin = Some(Box::new(Origin::Orphan));
        let id = spec.id;
        let going = self
            .books
            .orphans()
            .values()
            .find(|orphan| orphan.order.spec.id == id && orphan.state == OrphanState::Purging);
        match going {
            Some(orphan) if !self.books.volumes().contains_key(&id) => {
                let text = format!(
                    "the data of volume {id} is being deleted by operation {}",
                    orphan.operation
                );
                let error =
                    Rejection::new(ErrorCode::VolumeNotReady, text).remedy("it cannot be had back");
                self.enter_new(spec, operation, Some(error), origin);
            },
            Some(_) | None => self.begin_unless_known(spec, operation, origin),
        }
    }

    /// Looks whether the data of a LOST volume has come back.
    pub(crate) fn look_again(&mut self, id: VolumeId, generation: u64, operation: OperationId) {
        let Some(volume) = self.known(id, generation, operation) else { return };
        if volume.state != VolumeState::Lost {
            self.tell_volume(id);
            return;
        }
        self.timers.clear(&Timer::Retry(id));
        let watch = self.watch(id);
        watch.looked_for = Some(operation);
        watch.verify = true;
        self.advance(id);
    }

    /// The data of a lost volume may have come back: with its identity proven, it is used again.
    pub(super) fn lost_verified(&mut self, mut volume: LedgerVolume, outcome: VolumeOutcome) {
        let id = volume.spec.id;
        let asked = self.watch(id).looked_for.take();
        if let VolumeOutcome::Present { host_path, enforcement, driver, purged: _ } = outcome {
            volume.state = VolumeState::Ready;
            volume.error = None;
            volume.driver = driver;
            volume.changed = self.now;
            self.write_volume(volume);
            self.watch(id).found = Some(Found { host_path, enforcement });
            self.measure_later(id);
            self.tell_volume(id);
        } else if let Some(operation) = asked {
            let error = match outcome {
                VolumeOutcome::Failed(error)
                | VolumeOutcome::Unclear(error)
                | VolumeOutcome::Foreign(error) => error,
                VolumeOutcome::Absent => self.not_there(&volume.spec, "nothing has come back yet"),
                VolumeOutcome::Present { .. }
                | VolumeOutcome::Used(_)
                | VolumeOutcome::Taken { .. }
                | VolumeOutcome::Wiped => unexpected(id, "verify"),
            };
            self.tell_refusal(id, operation, error);
        }
    }

    /// Deletes a directory that the ledger does not explain.
    pub(crate) fn purge_orphan(&mut self, operation: OperationId, order: OrphanOrder) {
        if self.books.orphans().contains_key(&operation) {
            self.tell_orphan(operation);
            return;
        }
        let id = order.spec.id;
        let state = match self.books.volumes().get(&id) {
            Some(known) => {
                let text =
                    format!("volume {id} is {} in the agent's ledger, no orphan", known.state);
                let error = Rejection::new(ErrorCode::VolumeExists, text);
                OrphanState::Failed(error.remedy("delete it as a volume"))
            },
            None => OrphanState::Purging,
        };
        self.write_orphan(LedgerOrphan { operation, order, state });
        self.tell_orphan(operation);
        self.continue_orphans();
    }

    /// Forgets a deletion whose end the registry knows.
    pub(crate) fn forget_orphan(&mut self, operation: OperationId) {
        let state = self.books.orphans().get(&operation).map(|orphan| orphan.state.clone());
        match state {
            Some(OrphanState::Gone | OrphanState::Failed(_)) => {
                self.write(LedgerRecord::OrphanForgotten(operation));
            },
            Some(OrphanState::Purging) => {
                let text = format!("operation {operation} is not forgotten: it is under way");
                self.log(Severity::Warning, text);
            },
            None => {},
        }
    }

    /// Begins the first deletion that waits, unless one is under way or put off.
    pub(crate) fn continue_orphans(&mut self) {
        if !self.taken_in || self.orphan_work.busy.is_some() || self.timers.is_set(&Timer::Orphan) {
            return;
        }
        let mut waiting = self.books.orphans().values();
        let next = waiting.find(|orphan| orphan.state == OrphanState::Purging);
        let Some((operation, order)) = next.map(|o| (o.operation, o.order.clone())) else { return };
        self.orphan_work.busy = Some(operation);
        self.emit(Output::PurgeOrphan { operation, order: Box::new(order) });
    }

    /// Takes the outcome of a deletion in.
    pub(crate) fn orphan_purged(&mut self, operation: OperationId, outcome: OrphanOutcome) {
        if self.orphan_work.busy != Some(operation) {
            return;
        }
        self.orphan_work.busy = None;
        let Some(orphan) = self.books.orphans().get(&operation).cloned() else { return };
        let (id, place) = (orphan.order.spec.id, orphan.order.place);
        match outcome {
            OrphanOutcome::Gone => {
                self.orphan_work.attempts = 0;
                self.log(Severity::Info, format!("orphan {id} ({}) is deleted", place.as_str()));
                self.write_orphan(LedgerOrphan { state: OrphanState::Gone, ..orphan.clone() });
                self.strike_off(&orphan.order);
                self.tell_orphan(operation);
            },
            OrphanOutcome::Failed(error) => {
                self.orphan_work.attempts = 0;
                self.log(Severity::Error, format!("orphan {id} is left alone: {error}"));
                self.write_orphan(LedgerOrphan { state: OrphanState::Failed(error), ..orphan });
                self.tell_orphan(operation);
            },
            OrphanOutcome::Unclear(error) => {
                self.log(Severity::Warning, format!("orphan {id} is not deleted yet: {error}"));
                let (first, longest) = (self.config.effect_retry, self.config.effect_retry_max);
                let pause = backoff(first, longest, self.orphan_work.attempts);
                self.orphan_work.attempts = self.orphan_work.attempts.saturating_add(1);
                self.timers.set(Timer::Orphan, self.now.after(pause));
            },
        }
        self.continue_orphans();
    }

    /// The master need not wait for the next look at the disks.
    fn strike_off(&mut self, order: &OrphanOrder) {
        let before = self.info.disks.clone();
        for disk in &mut self.info.disks {
            disk.orphans.retain(|orphan| {
                orphan.place != order.place || orphan.spec.as_ref() != Some(&order.spec)
            });
        }
        if self.info.disks != before {
            self.tell_disks();
        }
    }

    /// Tells the master how a deletion ended, if it has.
    fn tell_orphan(&mut self, operation: OperationId) {
        let result = match self.books.orphans().get(&operation).map(|orphan| &orphan.state) {
            Some(OrphanState::Gone) => Ok(()),
            Some(OrphanState::Failed(error)) => Err(error.clone()),
            Some(OrphanState::Purging) | None => return,
        };
        self.tell(FromAgent::OrphanPurged { ledger_seq: 0, operation, result });
    }

    /// Tells the master of every deletion that ended and that it may not have heard of.
    pub(crate) fn tell_orphans(&mut self) {
        let all: Vec<OperationId> = self.books.orphans().keys().copied().collect();
        for operation in all {
            self.tell_orphan(operation);
        }
    }

    fn write_orphan(&mut self, orphan: LedgerOrphan) {
        self.write(LedgerRecord::Orphan(Box::new(orphan)));
    }
}
