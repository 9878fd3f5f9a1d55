//! Groups of snapshots: taken, or given up, by one effect that has the slots of all their volumes.
//!
//! The members enter and leave CREATING in one record, so no ledger ever has a part of a group that is on its way. Rules:
//! no task that uses one of the volumes may be starting when the effect begins, and none can start while it has the
//! slots; what an attempt that was cut off may have left is deleted before another begins, or before the group is FAILED.

use super::{Busy, Kind};
use crate::agent::Agent;
use crate::effect::{StandStill, VolumeEffect, VolumeOutcome};
use crate::step::{Output, Severity};
use crate::timer::Timer;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{ContainerId, GroupId, OperationId, VolumeId};
use berth_model::record::{LedgerRecord, LedgerSnapshot, LedgerTaskPhase};
use berth_model::resources::MountMode;
use berth_model::snapshot::{Freeze, Group, SnapshotSpec, SnapshotState};
use berth_model::volume::VolumeState;

impl Agent {
    /// Makes sure that the snapshots of a group are taken.
    pub(crate) fn ensure_group(
        &mut self,
        group: GroupId,
        specs: Vec<SnapshotSpec>,
        operation: OperationId,
        freeze: Option<Freeze>,
    ) {
        let all = self.books.snapshots();
        let is_own = |spec: &SnapshotSpec| {
            let known = all.get(&spec.id);
            known.is_some_and(|k| k.spec == *spec && k.group.is_some_and(|g| g.id == group))
        };
        if specs.iter().all(is_own) {
            for spec in &specs {
                self.tell_snapshot(spec.id);
            }
            return;
        }
        if let Some(known) = specs.iter().find(|spec| all.contains_key(&spec.id)) {
            let text = format!("snapshot {} exists on this agent without group {group}", known.id);
            let (id, error) = (known.id, Rejection::new(ErrorCode::SnapshotExists, text));
            self.refuse_snapshot(id, operation, error);
            return;
        }
        let error = specs.iter().find_map(|spec| self.cannot_take(spec));
        let state = if error.is_some() { SnapshotState::Failed } else { SnapshotState::Creating };
        let volumes: Vec<VolumeId> = specs.iter().map(|spec| spec.of.id).collect();
        let now = self.now;
        let member = |spec| LedgerSnapshot {
            spec,
            state,
            operation: Some(operation),
            freeze: freeze.clone(),
            error: error.clone(),
            changed: now,
            group: Some(Group { id: group, consistency: None }),
        };
        self.write_group(specs.into_iter().map(member).collect());
        for volume in volumes {
            self.advance(volume);
        }
    }

    /// All of them in one record.
    fn write_group(&mut self, members: Vec<LedgerSnapshot>) {
        let ids: Vec<_> = members.iter().map(|member| member.spec.id).collect();
        self.write(LedgerRecord::Snapshots(members));
        for id in ids {
            self.tell_snapshot(id);
        }
    }

    /// The members of a group that are on their way, by their volumes; the others were buried with theirs.
    fn members(&self, group: GroupId) -> (Vec<LedgerSnapshot>, Vec<LedgerSnapshot>) {
        let all = self.books.snapshots().values();
        let own = all.filter(|snapshot| snapshot.group.is_some_and(|g| g.id == group)).cloned();
        let (mut creating, others): (Vec<_>, Vec<_>) =
            own.partition(|snapshot| snapshot.state == SnapshotState::Creating);
        creating.sort_by_key(|snapshot| snapshot.spec.of.id);
        (creating, others)
    }

    /// Asks for the effect that a group needs next. Does nothing while the slot of one of its volumes is taken: whatever
    /// has it comes back here when it is over.
    pub(super) fn advance_group(&mut self, group: GroupId) -> bool {
        let (creating, others) = self.members(group);
        let volumes: Vec<VolumeId> = creating.iter().map(|member| member.spec.of.id).collect();
        let is_free = |volume: &VolumeId| {
            self.watches.get(volume).is_none_or(|watch| watch.busy.is_none())
                && !self.timers.is_set(&Timer::Retry(*volume))
        };
        let Some(leader) = volumes.first().copied() else { return false };
        if !volumes.iter().all(is_free) {
            return false;
        }
        let hopeless = hopeless(&others)
            .or_else(|| creating.iter().find_map(|member| self.cannot_take(&member.spec)));
        let members: Vec<SnapshotSpec> =
            creating.iter().map(|member| member.spec.clone()).collect();
        let (kind, effect) = match hopeless {
            Some(error) if volumes.iter().any(|volume| self.may_come_back(*volume)) => {
                // What an earlier attempt took may be all that is left of it.
                self.put_off_group(creating, error);
                return false;
            },
            Some(_) => (Kind::EraseGroup(group), VolumeEffect::EraseGroup { members }),
            None => match self.tasks_on(&volumes) {
                Ok(tasks) => {
                    let again = creating.iter().any(|member| self.is_begun(member));
                    let freeze = creating.first().and_then(|member| member.freeze.clone());
                    let still = StandStill { tasks, freeze };
                    (Kind::TakeGroup(group), VolumeEffect::TakeGroup { members, again, still })
                },
                Err(error) => {
                    self.put_off_group(creating, error);
                    return false;
                },
            },
        };
        let token = self.next_token();
        let held: Vec<VolumeId> = volumes.into_iter().skip(1).collect();
        for other in &held {
            self.watch(*other).busy = Some(Busy::Held);
        }
        self.watch(leader).busy = Some(Busy::Effect { token, kind, held });
        self.emit(Output::Volume { token, effect });
        true
    }

    fn is_begun(&self, member: &LedgerSnapshot) -> bool {
        let watch = self.watches.get(&member.spec.of.id);
        watch.is_some_and(|watch| watch.begun.contains(&member.spec.id))
    }

    /// Is its data not where it should be, and may be found again?
    fn may_come_back(&self, volume: VolumeId) -> bool {
        match self.books.volumes().get(&volume).map(|volume| volume.state) {
            Some(VolumeState::Lost | VolumeState::Quarantined) => true,
            None
            | Some(
                VolumeState::Creating
                | VolumeState::Ready
                | VolumeState::Failed
                | VolumeState::Tombstoned
                | VolumeState::Trashed
                | VolumeState::Gone,
            ) => false,
        }
    }

    /// The runs of the tasks that may write to one of the volumes.
    fn tasks_on(&self, volumes: &[VolumeId]) -> Result<Vec<ContainerId>, Rejection> {
        let mut runs = Vec::new();
        for key in self.books.live() {
            let Some(task) = self.books.tasks().get(key) else { continue };
            let mut used =
                task.volumes.iter().filter(|used| used.mount.mode == MountMode::ReadWrite);
            if !used.any(|used| volumes.contains(&used.volume)) {
                continue;
            }
            match task.phase {
                LedgerTaskPhase::Running => runs.push(task.container),
                LedgerTaskPhase::Starting => {
                    let text = format!("task {key} is starting on a volume of the group");
                    return Err(Rejection::new(ErrorCode::VolumeInUse, text)
                        .remedy("nothing; it is taken when the task runs"));
                },
                LedgerTaskPhase::Ended => {},
            }
        }
        Ok(runs)
    }

    /// Takes the outcome of an effect on a group in.
    pub(super) fn judge_group(&mut self, group: GroupId, kind: Kind, outcome: VolumeOutcome) {
        let (creating, others) = self.members(group);
        let buried = hopeless(&others).is_some();
        match (kind, outcome) {
            // A volume was purged meanwhile: what was taken of the others is deleted next.
            (Kind::TakeGroup(_), VolumeOutcome::Taken { .. }) if buried => self.begun(&creating),
            (Kind::TakeGroup(_), VolumeOutcome::Taken { host_paths, consistency }) => {
                for (member, path) in creating.iter().zip(host_paths) {
                    let watch = self.watch(member.spec.of.id);
                    watch.attempts = 0;
                    watch.begun.remove(&member.spec.id);
                    watch.snapshots.insert(member.spec.id, path);
                }
                let group = Some(Group { id: group, consistency: Some(consistency) });
                self.enter_group(creating, SnapshotState::Ready, None, group);
            },
            (Kind::TakeGroup(_), VolumeOutcome::Failed(error) | VolumeOutcome::Foreign(error)) => {
                self.group_failed(creating, error);
            },
            (Kind::EraseGroup(_), VolumeOutcome::Absent) => {
                let error = hopeless(&others)
                    .or_else(|| creating.iter().find_map(|member| self.cannot_take(&member.spec)));
                match error {
                    Some(error) => self.group_failed(creating, error),
                    // It can be taken again, which is what comes next.
                    None => self.forget_attempts(&creating),
                }
            },
            (Kind::EraseGroup(_), VolumeOutcome::Failed(error) | VolumeOutcome::Foreign(error))
            | (_, VolumeOutcome::Unclear(error)) => {
                self.begun(&creating);
                self.put_off_group(creating, error);
            },
            (_, _) => {
                let text = format!("the driver's answer about group {group} makes no sense");
                self.begun(&creating);
                self.put_off_group(creating, Rejection::new(ErrorCode::Internal, text));
            },
        }
    }

    fn begun(&mut self, creating: &[LedgerSnapshot]) {
        for member in creating {
            self.watch(member.spec.of.id).begun.insert(member.spec.id);
        }
    }

    fn forget_attempts(&mut self, creating: &[LedgerSnapshot]) {
        for member in creating {
            self.watch(member.spec.of.id).begun.remove(&member.spec.id);
        }
    }

    fn group_failed(&mut self, creating: Vec<LedgerSnapshot>, error: Rejection) {
        self.forget_attempts(&creating);
        for member in &creating {
            // Perhaps the data is not there.
            let watch = self.watch(member.spec.of.id);
            watch.attempts = 0;
            watch.verify |= error.code == ErrorCode::VolumeUnavailable;
            self.log(Severity::Error, format!("snapshot {} is FAILED: {error}", member.spec.id));
        }
        self.enter_group(creating, SnapshotState::Failed, Some(error), None);
    }

    fn enter_group(
        &mut self,
        mut members: Vec<LedgerSnapshot>,
        state: SnapshotState,
        error: Option<Rejection>,
        group: Option<Group>,
    ) {
        for member in &mut members {
            member.state = state;
            member.error.clone_from(&error);
            member.group = group.or(member.group);
            member.changed = self.now;
        }
        self.write_group(members);
    }

    /// The intent stays; the effect is asked for again later. Told once per reason.
    fn put_off_group(&mut self, mut creating: Vec<LedgerSnapshot>, error: Rejection) {
        let Some(leader) = creating.first().map(|member| member.spec.of.id) else { return };
        if creating.iter().any(|member| member.error.as_ref() != Some(&error)) {
            self.log(Severity::Warning, format!("a group of snapshots waits: {error}"));
            for member in &mut creating {
                member.error = Some(error.clone());
            }
            self.write_group(creating);
        }
        self.pause(leader);
    }
}

/// Why a group cannot be taken any more.
fn hopeless(others: &[LedgerSnapshot]) -> Option<Rejection> {
    let other = others.first()?;
    let text = format!(
        "the group cannot be taken: snapshot {} of volume {} is {}",
        other.spec.name, other.spec.of.name, other.state
    );
    Some(Rejection::new(ErrorCode::SnapshotNotReady, text).remedy("take another group"))
}
