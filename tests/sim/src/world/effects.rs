//! Volume effects take time: first the machine sees the change, then it is synced and the outcome known. A process
//! that dies in between leaves what was seen; a machine that loses power leaves what chance wants of it.

use super::World;
use crate::options::Breach;
use crate::queue::Event;
use crate::tally::Fault;
use crate::volumes::Fate;
use berth_agent_core::Input;
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;

fn concerned(effect: &VolumeEffect) -> Vec<VolumeId> {
    let mut ids = vec![effect.spec().id];
    match effect {
        VolumeEffect::Create { purgeable, .. }
        | VolumeEffect::Restore { purgeable, .. }
        | VolumeEffect::Resize { purgeable, .. } => {
            ids.extend(purgeable.iter().map(|(spec, _)| spec.id));
        },
        VolumeEffect::Trash { .. }
        | VolumeEffect::Purge { .. }
        | VolumeEffect::Verify { .. }
        | VolumeEffect::Usage { .. }
        | VolumeEffect::Snapshot { .. }
        | VolumeEffect::EraseSnapshot { .. }
        | VolumeEffect::VerifySnapshot { .. }
        | VolumeEffect::RollBack { .. }
        | VolumeEffect::Clone { .. } => {},
    }
    ids
}

impl World {
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
        let making = matches!(effect, VolumeEffect::Create { .. } | VolumeEffect::Restore { .. });
        let fate = if making && self.now < machine.full_until {
            self.tally.fault(Fault::DiskFull);
            Fate::Fails
        } else if self.now < machine.errors_until && machine.dice.chance(400) {
            self.tally.fault(Fault::DiskError);
            match machine.dice.below(3) {
                0 => Fate::UnclearDone,
                1 => Fate::UnclearUndone,
                _ => Fate::Fails,
            }
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
        let code = if full { ErrorCode::DiskFull } else { ErrorCode::DiskFaulty };
        let error = Rejection::new(code, "the simulated disk says no");
        let made = machine.volumes.is_made(machine.id, &effect);
        let outcome = match fate {
            Fate::Fails if made => machine.volumes.apply(machine.id, &effect),
            Fate::Good => machine.volumes.apply(machine.id, &effect),
            Fate::UnclearDone => {
                machine.volumes.apply(machine.id, &effect);
                VolumeOutcome::Unclear(error)
            },
            Fate::UnclearUndone => VolumeOutcome::Unclear(error),
            Fate::Fails => {
                machine.volumes.take_back(&effect);
                VolumeOutcome::Failed(error)
            },
        };
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
