//! What the host answered about a snapshot. An answer to an effect that the snapshot's state no longer asks for changes
//! nothing.

use super::Kind;
use super::snapshot::is_safety;
use crate::agent::Agent;
use crate::effect::VolumeOutcome;
use crate::step::Severity;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, SnapshotId};
use berth_model::record::LedgerSnapshot;
use berth_model::snapshot::SnapshotState;

impl Agent {
    /// Takes the outcome of an effect on a snapshot in.
    pub(super) fn judge_snapshot(&mut self, id: SnapshotId, kind: Kind, outcome: VolumeOutcome) {
        let Some(snapshot) = self.books.snapshots().get(&id).cloned() else { return };
        match (kind, snapshot.state) {
            (Kind::Snapshot(_), SnapshotState::Creating) => self.taken(snapshot, outcome),
            // Its volume was purged meanwhile; what was taken is deleted next.
            (Kind::Snapshot(_), _) => {},
            (Kind::EraseSnapshot(_) | Kind::VerifySnapshot(_), SnapshotState::Creating) => {
                self.attempt_judged(snapshot, outcome);
            },
            (Kind::EraseSnapshot(_), SnapshotState::Deleting) => self.erased(snapshot, outcome),
            (Kind::VerifySnapshot(_), SnapshotState::Ready) => {
                self.snapshot_verified(snapshot, outcome);
            },
            (Kind::VerifySnapshot(_), SnapshotState::Lost) => {
                if let VolumeOutcome::Present { host_path, .. } = outcome {
                    let operation = snapshot.operation;
                    self.watch(snapshot.spec.of.id).snapshots.insert(id, host_path);
                    self.enter_snapshot(snapshot, SnapshotState::Ready, operation, None);
                }
            },
            (
                Kind::EraseSnapshot(_)
                | Kind::VerifySnapshot(_)
                | Kind::TakeGroup(_)
                | Kind::EraseGroup(_)
                | Kind::Create
                | Kind::Restore
                | Kind::Resize
                | Kind::Access
                | Kind::Derive
                | Kind::Trash
                | Kind::Purge
                | Kind::Survey(_)
                | Kind::Wipe(_)
                | Kind::VerifyLive
                | Kind::VerifyTrash
                | Kind::Usage,
                _,
            ) => {},
        }
    }

    fn taken(&mut self, snapshot: LedgerSnapshot, outcome: VolumeOutcome) {
        let (id, volume, operation) = (snapshot.spec.id, snapshot.spec.of.id, snapshot.operation);
        let error = match outcome {
            VolumeOutcome::Present { host_path, .. } => {
                let watch = self.watch(volume);
                watch.attempts = 0;
                watch.snapshots.insert(id, host_path);
                self.enter_snapshot(snapshot, SnapshotState::Ready, operation, None);
                return;
            },
            VolumeOutcome::Unclear(error) => return self.put_off_snapshot(snapshot, error),
            VolumeOutcome::Used(_) | VolumeOutcome::Taken { .. } | VolumeOutcome::Wiped => {
                return self.put_off_snapshot(snapshot, unexpected(id, "take"));
            },
            VolumeOutcome::Failed(error) | VolumeOutcome::Foreign(error) => error,
            VolumeOutcome::Absent => {
                self.watch(volume).verify = true;
                let text = format!("snapshot {id} cannot be taken: volume {volume} is not there");
                Rejection::new(ErrorCode::VolumeLost, text)
            },
        };
        self.log(Severity::Error, format!("snapshot {id} is FAILED: {error}"));
        let state = SnapshotState::Failed;
        self.enter_snapshot(snapshot, state, operation, Some(error.clone()));
        let rolled = self.books.volumes().get(&volume).cloned();
        if let Some(rolled) = rolled.filter(|v| is_safety(v.origin.as_deref(), id)) {
            self.roll_back_failed(rolled, error);
        }
    }

    /// What an attempt before a crash had taken was deleted, or found when the volume was not.
    fn attempt_judged(&mut self, snapshot: LedgerSnapshot, outcome: VolumeOutcome) {
        let (id, volume, operation) = (snapshot.spec.id, snapshot.spec.of.id, snapshot.operation);
        match outcome {
            VolumeOutcome::Present { .. } => self.taken(snapshot, outcome),
            VolumeOutcome::Absent => {
                self.watch(volume).begun.remove(&id);
                // When it can be taken, that is what comes next.
                if let Some(error) = self.cannot_take(&snapshot.spec) {
                    self.log(Severity::Error, format!("snapshot {id} is FAILED: {error}"));
                    let state = SnapshotState::Failed;
                    self.enter_snapshot(snapshot, state, operation, Some(error));
                }
            },
            VolumeOutcome::Foreign(error) => {
                self.log(Severity::Error, format!("snapshot {id} is QUARANTINED: {error}"));
                let state = SnapshotState::Quarantined;
                self.enter_snapshot(snapshot, state, operation, Some(error));
            },
            VolumeOutcome::Failed(error) | VolumeOutcome::Unclear(error) => {
                self.put_off_snapshot(snapshot, error);
            },
            VolumeOutcome::Used(_) | VolumeOutcome::Taken { .. } | VolumeOutcome::Wiped => {
                self.put_off_snapshot(snapshot, unexpected(id, "clear"));
            },
        }
    }

    fn erased(&mut self, snapshot: LedgerSnapshot, outcome: VolumeOutcome) {
        let (id, operation) = (snapshot.spec.id, snapshot.operation);
        match outcome {
            VolumeOutcome::Absent => {
                self.watch(snapshot.spec.of.id).attempts = 0;
                self.enter_snapshot(snapshot, SnapshotState::Gone, operation, None);
            },
            VolumeOutcome::Foreign(error) => {
                self.log(Severity::Error, format!("snapshot {id} is QUARANTINED: {error}"));
                let state = SnapshotState::Quarantined;
                self.enter_snapshot(snapshot, state, operation, Some(error));
            },
            VolumeOutcome::Failed(error) | VolumeOutcome::Unclear(error) => {
                self.put_off_snapshot(snapshot, error);
            },
            VolumeOutcome::Present { .. }
            | VolumeOutcome::Used(_)
            | VolumeOutcome::Taken { .. }
            | VolumeOutcome::Wiped => {
                self.put_off_snapshot(snapshot, unexpected(id, "delete"));
            },
        }
    }

    fn snapshot_verified(&mut self, snapshot: LedgerSnapshot, outcome: VolumeOutcome) {
        let (id, volume, operation) = (snapshot.spec.id, snapshot.spec.of.id, snapshot.operation);
        let (state, error) = match outcome {
            VolumeOutcome::Present { host_path, .. } => {
                self.watch(volume).snapshots.insert(id, host_path);
                self.tell_snapshot(id);
                return;
            },
            VolumeOutcome::Absent => {
                let text = format!("snapshot {id} is not on disk {}", snapshot.spec.of.source);
                let error = Rejection::new(ErrorCode::SnapshotLost, text)
                    .remedy("nothing was made in its place; look for it, or delete its record");
                (SnapshotState::Lost, error)
            },
            VolumeOutcome::Foreign(error) => (SnapshotState::Quarantined, error),
            VolumeOutcome::Failed(error) | VolumeOutcome::Unclear(error) => {
                let text = format!("snapshot {id} could not be verified: {error}");
                self.log(Severity::Warning, text);
                let watch = self.watch(volume);
                watch.verify_snapshots.insert(id);
                watch.put_off = Some(id);
                self.pause(volume);
                return;
            },
            VolumeOutcome::Used(_) | VolumeOutcome::Taken { .. } | VolumeOutcome::Wiped => return,
        };
        self.log(Severity::Error, format!("snapshot {id} is {state}: {error}"));
        self.enter_snapshot(snapshot, state, operation, Some(error));
    }

    pub(super) fn enter_snapshot(
        &mut self,
        mut snapshot: LedgerSnapshot,
        state: SnapshotState,
        operation: Option<OperationId>,
        error: Option<Rejection>,
    ) {
        let id = snapshot.spec.id;
        snapshot.state = state;
        snapshot.operation = operation.or(snapshot.operation);
        snapshot.error = error;
        snapshot.changed = self.now;
        if state == SnapshotState::Gone
            && let Some(watch) = self.watches.get_mut(&snapshot.spec.of.id)
        {
            watch.snapshots.remove(&id);
        }
        self.write_snapshot(snapshot);
        self.tell_snapshot(id);
    }

    /// The intent stays; the effect is asked for again later. Told once per reason.
    fn put_off_snapshot(&mut self, mut snapshot: LedgerSnapshot, error: Rejection) {
        let (id, volume) = (snapshot.spec.id, snapshot.spec.of.id);
        let error = error.bounded();
        let watch = self.watch(volume);
        watch.put_off = Some(id);
        if snapshot.state == SnapshotState::Creating && snapshot.freeze.is_some() {
            watch.begun.insert(id);
        }
        if snapshot.error.as_ref() != Some(&error) {
            let text = format!("snapshot {id} stays {}: {error}", snapshot.state);
            self.log(Severity::Warning, text);
            snapshot.error = Some(error);
            self.write_snapshot(snapshot);
            self.tell_snapshot(id);
        }
        self.pause(volume);
    }
}

fn unexpected(id: SnapshotId, verb: &str) -> Rejection {
    Rejection::new(
        ErrorCode::Internal,
        format!("the driver's answer to {verb} snapshot {id} makes no sense"),
    )
}
