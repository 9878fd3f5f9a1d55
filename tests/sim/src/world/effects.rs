//! Volume effects take time: first the machine sees the change, then it is synced and the outcome known. A process
//! that dies in between leaves what was seen; a machine that loses power leaves what chance wants of it.

use super::{Phase, World};
use crate::options::Breach;
use crate::queue::Event;
use crate::tally::Fault;
use crate::volumes::{Fate, RollBack, Volumes};
use berth_agent_core::Input;
use berth_agent_core::effect::{DiskOutcome, OrphanOutcome, VolumeEffect, VolumeOutcome};
use berth_model::declaration::DiskOrder;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::orphan::OrphanOrder;

fn concerned(effect: &VolumeEffect) -> Vec<VolumeId> {
    let mut ids = vec![effect.spec().id];
    match effect {
        VolumeEffect::Create { purgeable, .. }
        | VolumeEffect::Restore { purgeable, .. }
        | VolumeEffect::Resize { purgeable, .. } => {
            ids.extend(purgeable.iter().map(|(spec, _)| spec.id));
        },
        VolumeEffect::TakeGroup { members, .. } | VolumeEffect::EraseGroup { members } => {
            ids.extend(members.iter().skip(1).map(|member| member.of.id));
        },
        VolumeEffect::Trash { .. }
        | VolumeEffect::Purge { .. }
        | VolumeEffect::SurveyWipe { .. }
        | VolumeEffect::Wipe { .. }
        | VolumeEffect::Verify { .. }
        | VolumeEffect::Usage { .. }
        | VolumeEffect::Snapshot { .. }
        | VolumeEffect::EraseSnapshot { .. }
        | VolumeEffect::VerifySnapshot { .. }
        | VolumeEffect::RollBack { .. }
        | VolumeEffect::Clone { .. }
        | VolumeEffect::SetAccess { .. }
        | VolumeEffect::Import { .. }
        | VolumeEffect::Adopt { .. } => {},
    }
    ids
}

fn roll_back(effect: &VolumeEffect) -> Option<RollBack<'_>> {
    match effect {
        VolumeEffect::RollBack { spec, snapshot, safety } => {
            Some(RollBack { spec, snapshot, safety })
        },
        VolumeEffect::Create { .. }
        | VolumeEffect::Restore { .. }
        | VolumeEffect::Resize { .. }
        | VolumeEffect::Trash { .. }
        | VolumeEffect::Purge { .. }
        | VolumeEffect::SurveyWipe { .. }
        | VolumeEffect::Wipe { .. }
        | VolumeEffect::Verify { .. }
        | VolumeEffect::Usage { .. }
        | VolumeEffect::Snapshot { .. }
        | VolumeEffect::TakeGroup { .. }
        | VolumeEffect::EraseGroup { .. }
        | VolumeEffect::EraseSnapshot { .. }
        | VolumeEffect::VerifySnapshot { .. }
        | VolumeEffect::Clone { .. }
        | VolumeEffect::Adopt { .. }
        | VolumeEffect::Import { .. }
        | VolumeEffect::SetAccess { .. } => None,
    }
}

/// Does it take or delete a snapshot, or make a volume from one? These are rare, and fail more often instead.
fn is_copying(effect: &VolumeEffect) -> bool {
    match effect {
        VolumeEffect::Snapshot { .. }
        | VolumeEffect::TakeGroup { .. }
        | VolumeEffect::EraseGroup { .. }
        | VolumeEffect::EraseSnapshot { .. }
        | VolumeEffect::RollBack { .. }
        | VolumeEffect::Import { .. }
        | VolumeEffect::Clone { .. } => true,
        VolumeEffect::Create { .. }
        | VolumeEffect::Restore { .. }
        | VolumeEffect::Resize { .. }
        | VolumeEffect::Trash { .. }
        | VolumeEffect::Purge { .. }
        | VolumeEffect::SurveyWipe { .. }
        | VolumeEffect::Wipe { .. }
        | VolumeEffect::Verify { .. }
        | VolumeEffect::Usage { .. }
        | VolumeEffect::VerifySnapshot { .. }
        | VolumeEffect::Adopt { .. }
        | VolumeEffect::SetAccess { .. } => false,
    }
}

fn tries_a_group(effect: &VolumeEffect) -> bool {
    matches!(effect, VolumeEffect::TakeGroup { members, .. } if members.len() > 1)
}

/// Has a roll back gone so far that it cannot say that nothing was done?
fn is_half(volumes: &Volumes, effect: &VolumeEffect) -> bool {
    roll_back(effect).is_some_and(|roll| volumes.is_half(roll))
}

impl World {
    /// Deletes what no ledger knows; synced at once.
    pub(crate) fn orphan_goes(&mut self, at: usize, order: &OrphanOrder) -> OrphanOutcome {
        let machine = &mut self.agents[at];
        let gone = machine.volumes.purge_orphan(machine.id, &order.spec);
        machine.volumes.sync();
        self.dirt.disks = true;
        match gone {
            Ok(()) => OrphanOutcome::Gone,
            Err(reason) => OrphanOutcome::Failed(reason),
        }
    }

    /// Uses one more disk, or one less.
    pub(crate) fn disk_order(&mut self, at: usize, order: &DiskOrder) -> DiskOutcome {
        self.dirt.disks = true;
        match self.agents[at].order(order) {
            Ok(outcome) => {
                match &outcome {
                    DiskOutcome::Added { .. } => self.tally.deed("disks added"),
                    DiskOutcome::Removed => self.tally.deed("disks removed"),
                    DiskOutcome::Failed(_) => {},
                }
                outcome
            },
            Err(lost) => {
                self.judges.report("I1 no unauthorised destruction", lost);
                DiskOutcome::Removed
            },
        }
    }

    pub(crate) fn effect_begins(&mut self, at: usize, token: u64, effect: VolumeEffect) {
        let machine = &mut self.agents[at];
        let Some(process) = &mut machine.process else { return };
        for id in concerned(&effect) {
            if let Some(other) = process.busy.insert(id, token) {
                let text =
                    format!("agent {at}: effects {other} and {token} at once on volume {id}");
                self.judges.report("one effect per volume", text);
            }
        }
        self.judges.effect_begins(at, machine, &effect);
        let trouble = self.phase == Phase::Trouble;
        let making = matches!(
            effect,
            VolumeEffect::Create { .. }
                | VolumeEffect::Restore { .. }
                | VolumeEffect::Resize { .. }
                | VolumeEffect::RollBack { .. }
                | VolumeEffect::Import { .. }
                | VolumeEffect::Clone { .. }
        );
        let fate = if making && self.now < machine.full_until {
            self.tally.fault(Fault::DiskFull);
            Fate::Fails
        } else if matches!(effect, VolumeEffect::SurveyWipe { .. }) && machine.dice.chance(200) {
            // What speaks against it is in the volume.
            Fate::Fails
        } else if self.now < machine.errors_until && machine.dice.chance(400) {
            self.tally.fault(Fault::DiskError);
            match machine.dice.below(3) {
                0 => Fate::UnclearDone,
                1 => Fate::UnclearUndone,
                _ => Fate::Fails,
            }
        } else if trouble && is_copying(&effect) && machine.dice.chance(80) {
            self.tally.fault(Fault::DiskError);
            if machine.dice.flip() { Fate::UnclearDone } else { Fate::UnclearUndone }
        } else if trouble && tries_a_group(&effect) && machine.dice.chance(400) {
            // Attempts that are cut off leave something behind, and the next ones come late.
            self.tally.fault(Fault::DiskError);
            Fate::UnclearDone
        } else if roll_back(&effect).is_some() && machine.dice.chance(300) {
            Fate::Half
        } else if is_half(&machine.volumes, &effect) && machine.dice.chance(300) {
            self.tally.fault(Fault::DiskError);
            Fate::Fails
        } else {
            Fate::Good
        };
        let slow = machine.dice.chance(100);
        let wait =
            if slow { machine.dice.between(100, 4_000) } else { machine.dice.between(1, 20) };
        let (life, effect) = (machine.life, Box::new(effect));
        let seen = Event::EffectSeen { agent: at, life, token, effect, fate };
        self.aim(wait + 5, Event::StrikeAgent { agent: at, life });
        self.queue.plan(self.now + wait, seen);
    }

    pub(crate) fn effect_seen(
        &mut self,
        at: usize,
        life: u64,
        token: u64,
        (effect, fate): (Box<VolumeEffect>, Fate),
    ) {
        let full = self.now < self.agents[at].full_until;
        let machine = &mut self.agents[at];
        if machine.life != life {
            return;
        }
        let breach = self.options.breach;
        let code = if full { ErrorCode::DiskFull } else { ErrorCode::DiskFaulty };
        let error = Rejection::new(code, "the simulated disk says no");
        let made = machine.volumes.is_made(machine.id, &effect);
        let half = is_half(&machine.volumes, &effect);
        if fate == Fate::Half
            && let Some(roll) = roll_back(&effect)
            && machine.volumes.put_aside(machine.id, roll).is_ok()
        {
            // The rest follows, if nothing comes in between.
            self.tally.deed("roll backs halfway");
            self.dirt.disks = true;
            let wait = machine.dice.between(1, 500);
            let fate = if machine.dice.flip() { Fate::Good } else { Fate::UnclearUndone };
            let seen = Event::EffectSeen { agent: at, life, token, effect, fate };
            self.aim(wait, Event::StrikeAgent { agent: at, life });
            self.queue.plan(self.now + wait, seen);
            return;
        }
        let outcome = match fate {
            Fate::Fails if made => machine.volumes.apply(machine.id, &effect),
            Fate::Fails if half && breach != Some(Breach::RollBackDenied) => {
                VolumeOutcome::Unclear(error)
            },
            Fate::Good | Fate::Half => machine.volumes.apply(machine.id, &effect),
            Fate::UnclearDone if matches!(*effect, VolumeEffect::TakeGroup { .. }) => {
                if let VolumeEffect::TakeGroup { members, .. } = &*effect {
                    // As far as some of them.
                    let some = machine.dice.below(members.len() + 1);
                    machine.volumes.take_some(machine.id, members, some);
                    self.tally.deed("groups halfway");
                }
                VolumeOutcome::Unclear(error)
            },
            Fate::UnclearDone => {
                match roll_back(&effect).filter(|_| machine.dice.flip()) {
                    // As far as the first step, if that can be done.
                    Some(roll) => drop(machine.volumes.put_aside(machine.id, roll)),
                    None => drop(machine.volumes.apply(machine.id, &effect)),
                }
                VolumeOutcome::Unclear(error)
            },
            Fate::UnclearUndone => VolumeOutcome::Unclear(error),
            Fate::Fails if breach == Some(Breach::ResizeKept) => {
                if matches!(*effect, VolumeEffect::Resize { .. }) {
                    machine.volumes.apply(machine.id, &effect);
                }
                VolumeOutcome::Failed(error)
            },
            Fate::Fails => {
                machine.volumes.take_back(&effect);
                VolumeOutcome::Failed(error)
            },
        };
        if let VolumeEffect::Snapshot { snapshot, .. } = &*effect
            && breach == Some(Breach::SnapshotUnflushed)
            && let Some(taken) = machine.volumes.snapshots.get_mut(&snapshot.id)
            && let Some(before) = self.lineage.get(&taken.content)
        {
            taken.content = *before;
        }
        self.dirt.disks = true;
        let slow = machine.dice.chance(50);
        let wait = if slow { machine.dice.between(50, 1_000) } else { machine.dice.between(1, 5) };
        let done = Event::EffectDone { agent: at, life, token, effect, outcome: Box::new(outcome) };
        self.queue.plan(self.now + wait, done);
    }

    pub(crate) fn effect_done(
        &mut self,
        at: usize,
        life: u64,
        token: u64,
        (effect, outcome): (&VolumeEffect, VolumeOutcome),
    ) {
        let unsynced = self.breaks(Breach::DriverUnsynced);
        let machine = &mut self.agents[at];
        if machine.life != life {
            return;
        }
        let Some(process) = &mut machine.process else { return };
        process.busy.retain(|_, busy| *busy != token);
        if !unsynced {
            machine.volumes.sync();
            self.dirt.disks = true;
        }
        let volume = effect.spec().id;
        self.agent_input(at, Input::Volume { volume, token, outcome });
    }
}
