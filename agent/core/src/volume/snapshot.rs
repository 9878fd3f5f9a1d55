//! Snapshots: taken, looked at and deleted in the slot of their volume, so that never two effects touch one volume.
//!
//! As with volumes, calls and outcomes change the state and the state says which effect comes next. Rules: a snapshot
//! that was READY is deleted only by a call that names it or with the purge of its volume; a LOST one is never taken
//! anew, a QUARANTINED one never touched; nothing is taken or deleted before a master has taken the agent in.

use super::{Kind, Watch};
use crate::agent::Agent;
use crate::effect::{Freezing, VolumeEffect};
use crate::step::{Output, Severity};
use crate::timer::Timer;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, SnapshotId, VolumeId};
use berth_model::record::{LedgerRecord, LedgerSnapshot};
use berth_model::snapshot::{Freeze, Origin, SnapshotSpec, SnapshotState};
use berth_model::volume::VolumeState;

impl Agent {
    /// Makes sure that a snapshot is taken.
    pub(crate) fn ensure_snapshot(
        &mut self,
        spec: SnapshotSpec,
        operation: OperationId,
        freeze: Option<Freeze>,
    ) {
        let (id, volume) = (spec.id, spec.of.id);
        if let Some(known) = self.books.snapshots().get(&id) {
            if known.spec != spec {
                let text = format!("snapshot {id} exists on this agent of another volume or life");
                let error = Rejection::new(ErrorCode::SnapshotExists, text);
                self.refuse_snapshot(id, operation, error);
                return;
            }
            if known.state != SnapshotState::Failed || known.operation == Some(operation) {
                self.tell_snapshot(id);
                return;
            }
        }
        let error =
            self.cannot_take(&spec).or_else(|| freeze.as_ref().and_then(|_| cannot_rest(&spec)));
        let state = if error.is_some() { SnapshotState::Failed } else { SnapshotState::Creating };
        self.write_snapshot(LedgerSnapshot {
            spec,
            state,
            operation: Some(operation),
            freeze,
            error,
            changed: self.now,
            group: None,
        });
        self.tell_snapshot(id);
        self.advance(volume);
    }

    /// Why no snapshot of the volume can be taken.
    pub(super) fn cannot_take(&self, spec: &SnapshotSpec) -> Option<Rejection> {
        let of = &spec.of;
        let refuse = |what: String| {
            let text = format!("snapshot {} cannot be taken: volume {} {what}", spec.name, of.id);
            let error = Rejection::new(ErrorCode::VolumeNotReady, text);
            Some(error.remedy("take one when the volume is READY: see berth volume list"))
        };
        match self.books.volumes().get(&of.id) {
            None => refuse("is not on this agent".to_owned()),
            Some(volume) if is_safety(volume.origin.as_deref(), spec.id) => None,
            Some(volume) if volume.state != VolumeState::Ready => {
                refuse(format!("is {}", volume.state))
            },
            Some(volume) if volume.spec.generation != of.generation => refuse(format!(
                "is in generation {}, not in {}",
                volume.spec.generation, of.generation
            )),
            Some(_) => None,
        }
    }

    /// Deletes a snapshot.
    pub(crate) fn delete_snapshot(&mut self, spec: SnapshotSpec, operation: OperationId) {
        let (id, volume) = (spec.id, spec.of.id);
        let known = self.books.snapshots().get(&id).cloned().unwrap_or(LedgerSnapshot {
            spec,
            state: SnapshotState::Lost,
            operation: None,
            freeze: None,
            error: None,
            changed: self.now,
            group: None,
        });
        match known.state {
            SnapshotState::Ready | SnapshotState::Lost => {
                self.enter_snapshot(known, SnapshotState::Deleting, Some(operation), None);
                self.timers.clear(&Timer::Retry(volume));
                self.advance(volume);
            },
            SnapshotState::Failed => {
                self.enter_snapshot(known, SnapshotState::Gone, Some(operation), None);
            },
            SnapshotState::Deleting | SnapshotState::Gone => self.tell_snapshot(id),
            SnapshotState::Creating | SnapshotState::Quarantined => {
                let text = format!("snapshot {id} is {} and is not deleted", known.state);
                let error = Rejection::new(ErrorCode::SnapshotNotReady, text);
                self.refuse_snapshot(id, operation, error);
            },
        }
    }

    /// Forgets a snapshot of which nothing is on the disk.
    pub(crate) fn forget_snapshot(&mut self, id: SnapshotId) {
        let Some(snapshot) = self.books.snapshots().get(&id) else { return };
        let (state, volume) = (snapshot.state, snapshot.spec.of.id);
        match state {
            SnapshotState::Failed | SnapshotState::Lost | SnapshotState::Gone => {
                self.write(LedgerRecord::SnapshotForgotten(id));
                if let Some(watch) = self.watches.get_mut(&volume) {
                    watch.snapshots.remove(&id);
                    watch.verify_snapshots.remove(&id);
                    watch.begun.remove(&id);
                }
            },
            SnapshotState::Creating
            | SnapshotState::Ready
            | SnapshotState::Deleting
            | SnapshotState::Quarantined => {
                self.log(
                    Severity::Warning,
                    format!("snapshot {id} is not forgotten: it is {state}"),
                );
            },
        }
    }

    /// The volume was purged: its snapshots die with it.
    pub(super) fn bury_snapshots(&mut self, volume: VolumeId, operation: Option<OperationId>) {
        for id in self.snapshots_of(volume) {
            let Some(snapshot) = self.books.snapshots().get(&id).cloned() else { continue };
            match snapshot.state {
                SnapshotState::Creating | SnapshotState::Ready | SnapshotState::Lost => {
                    self.enter_snapshot(snapshot, SnapshotState::Deleting, operation, None);
                },
                SnapshotState::Failed => {
                    self.enter_snapshot(snapshot, SnapshotState::Gone, operation, None);
                },
                SnapshotState::Deleting | SnapshotState::Gone | SnapshotState::Quarantined => {},
            }
        }
    }

    pub(super) fn snapshots_of(&self, volume: VolumeId) -> Vec<SnapshotId> {
        self.books.snapshots_of(volume).map(|snapshot| snapshot.spec.id).collect()
    }

    /// Has snapshots looked at after a start.
    pub(super) fn resume_snapshots(&mut self) {
        let all: Vec<(VolumeId, SnapshotId)> = self
            .books
            .snapshots()
            .values()
            .filter(|snapshot| match snapshot.state {
                SnapshotState::Ready | SnapshotState::Lost | SnapshotState::Quarantined => true,
                SnapshotState::Creating
                | SnapshotState::Failed
                | SnapshotState::Deleting
                | SnapshotState::Gone => false,
            })
            .map(|snapshot| (snapshot.spec.of.id, snapshot.spec.id))
            .collect();
        for (volume, snapshot) in all {
            self.watch(volume).verify_snapshots.insert(snapshot);
        }
        let begun: Vec<(VolumeId, SnapshotId)> = self
            .books
            .snapshots()
            .values()
            .filter(|snapshot| {
                snapshot.state == SnapshotState::Creating
                    && (snapshot.freeze.is_some() || snapshot.group.is_some())
            })
            .map(|snapshot| (snapshot.spec.of.id, snapshot.spec.id))
            .collect();
        for (volume, snapshot) in begun {
            self.watch(volume).begun.insert(snapshot);
        }
    }

    /// Asks for the effect that one of the volume's snapshots needs next. The slot of the volume is free.
    pub(super) fn advance_snapshots(&mut self, volume: VolumeId) {
        let mut ids = self.snapshots_of(volume);
        if let Some(last) = self.watches.get(&volume).and_then(|watch| watch.put_off) {
            let behind = ids.partition_point(|id| *id <= last);
            ids.rotate_left(behind);
        }
        for id in ids {
            let Some(snapshot) = self.books.snapshots().get(&id).cloned() else { continue };
            let verify =
                self.watches.get(&volume).is_some_and(|watch| watch.verify_snapshots.contains(&id));
            match snapshot.state {
                SnapshotState::Creating if self.taken_in && snapshot.group.is_some() => {
                    let group = snapshot.group.map(|group| group.id);
                    if group.is_some_and(|group| self.advance_group(group)) {
                        return;
                    }
                },
                SnapshotState::Creating if self.taken_in => {
                    let kind = self.next_of_begun(&snapshot);
                    return self.begin_snapshot(snapshot, kind);
                },
                SnapshotState::Deleting if self.taken_in && !self.is_source(id) => {
                    return self.begin_snapshot(snapshot, Kind::EraseSnapshot(id));
                },
                SnapshotState::Ready | SnapshotState::Lost | SnapshotState::Quarantined
                    if verify =>
                {
                    return self.begin_snapshot(snapshot, Kind::VerifySnapshot(id));
                },
                SnapshotState::Creating
                | SnapshotState::Ready
                | SnapshotState::Failed
                | SnapshotState::Lost
                | SnapshotState::Deleting
                | SnapshotState::Gone
                | SnapshotState::Quarantined => {},
            }
        }
    }

    /// What a snapshot that is being taken needs. When it cannot be taken any more, an attempt before a crash may have
    /// taken it: FAILED says that nothing of it is on the disk, so that is deleted, unless it is all that is left.
    fn next_of_begun(&self, snapshot: &LedgerSnapshot) -> Kind {
        let (id, volume) = (snapshot.spec.id, snapshot.spec.of.id);
        let begun = self.watches.get(&volume).is_some_and(|watch| watch.begun.contains(&id));
        match self.cannot_take(&snapshot.spec) {
            None if begun => Kind::EraseSnapshot(id),
            None => Kind::Snapshot(id),
            Some(_) if self.is_missing(volume) => Kind::VerifySnapshot(id),
            Some(_) => Kind::EraseSnapshot(id),
        }
    }

    /// Is the data of the volume not where it should be?
    fn is_missing(&self, volume: VolumeId) -> bool {
        match self.books.volumes().get(&volume).map(|volume| volume.state) {
            None | Some(VolumeState::Lost | VolumeState::Quarantined) => true,
            Some(
                VolumeState::Creating
                | VolumeState::Ready
                | VolumeState::Failed
                | VolumeState::Tombstoned
                | VolumeState::Trashed
                | VolumeState::Gone,
            ) => false,
        }
    }

    /// Is a volume being made from the snapshot?
    fn is_source(&self, id: SnapshotId) -> bool {
        let mut volumes = self.books.volumes().values();
        volumes.any(|volume| {
            volume.state == VolumeState::Creating
                && volume
                    .origin
                    .as_ref()
                    .is_some_and(|origin| origin.snapshot().is_some_and(|source| source.id == id))
        })
    }

    /// Begins an effect on a snapshot in its volume's slot.
    pub(super) fn begin_snapshot(&mut self, snapshot: LedgerSnapshot, kind: Kind) {
        let volume = snapshot.spec.of.id;
        let freeze = snapshot.freeze.and_then(|freeze| {
            // A volume that nobody uses is at rest.
            let user = self.books.user(volume)?;
            let container = self.books.tasks().get(user)?.container;
            Some(Freezing { container, freeze })
        });
        let (spec, token) = (snapshot.spec, self.next_token());
        let watch = self.watch(volume);
        watch.begin(token, kind);
        watch.verify_snapshots.remove(&spec.id);
        let effect = match kind {
            Kind::EraseSnapshot(_) => VolumeEffect::EraseSnapshot { snapshot: spec },
            Kind::VerifySnapshot(_) => VolumeEffect::VerifySnapshot { snapshot: spec },
            Kind::Snapshot(_)
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
            | Kind::Usage => VolumeEffect::Snapshot { snapshot: spec, freeze },
        };
        self.emit(Output::Volume { token, effect });
    }

    pub(super) fn write_snapshot(&mut self, snapshot: LedgerSnapshot) {
        self.write(LedgerRecord::Snapshot(Box::new(snapshot)));
    }
}

impl Watch {
    /// The volume's slot is taken by an effect that purges nothing.
    fn begin(&mut self, token: u64, kind: Kind) {
        self.busy = Some(super::Busy::Effect { token, kind, held: Vec::new() });
    }
}

/// Why the tasks of the volume are not brought to rest: the command would run in one of them.
fn cannot_rest(spec: &SnapshotSpec) -> Option<Rejection> {
    let text =
        format!("snapshot {} cannot be taken at rest: volume {} is shared", spec.name, spec.of.id);
    let error = Rejection::new(ErrorCode::VolumeShared, text);
    spec.of.shared.then(|| error.remedy("take it without a freeze command"))
}

/// Is the snapshot the one that a roll back takes first?
pub(super) fn is_safety(origin: Option<&Origin>, id: SnapshotId) -> bool {
    match origin {
        Some(Origin::RollBack { safety, .. }) => safety.id == id,
        Some(Origin::Clone { .. } | Origin::Orphan | Origin::Directory { .. } | Origin::Stream)
        | None => false,
    }
}
