//! What breaks, and when. Each seed has its own mixture; some faults are so heavy that only few seeds have them.

use super::World;
use crate::dice::Dice;
use crate::network::{Client, Packet, Side};
use crate::queue::Event;
use crate::registry::Copy;
use crate::tally::Fault;
use berth_agent_core::Input;
use berth_model::id::{AgentId, VolumeId};

/// The faults of one seed.
#[derive(Debug)]
pub struct Plan {
    pub(crate) loss_per_mille: u16,
    /// The mean pause between two faults.
    pause_ms: u64,
    /// Of 1,000 writes and effects, so many are interrupted.
    strikes_per_mille: u16,
    /// The registry is once replaced by an older copy.
    registry_rollback: bool,
    copy: Option<Copy>,
    /// Volumes are removed or changed by hand.
    vandals: bool,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let loss = [0, 2, 5, 15];
        let strikes = [0, 5, 20, 40];
        Self {
            loss_per_mille: loss[dice.below(loss.len())],
            pause_ms: dice.between(1_500, 12_000),
            strikes_per_mille: strikes[dice.below(strikes.len())],
            registry_rollback: dice.chance(200),
            copy: None,
            vandals: dice.chance(350),
        }
    }
}

impl World {
    pub(crate) fn trouble(&mut self) {
        if !self.in_trouble() {
            return;
        }
        let wait = self.dice.between(100, 2 * self.plan.pause_ms);
        self.queue.plan(self.now + wait, Event::Trouble);
        let at = self.dice.below(self.agents.len());
        match self.dice.below(100) {
            0..8 => self.kill_master(),
            8..13 => self.fail_commit(),
            13..27 => self.kill_agent(at),
            27..37 => self.cut_power(at),
            37..42 => self.fail_ledger(at),
            42..45 => self.stop_agent(at),
            45..49 => self.roll_ledger_back(at),
            49..56 => self.kill_client(),
            56..68 => self.partition(),
            68..74 => self.repeat_stale(at),
            74..80 => self.agents[at].full_until = self.now + self.dice.between(500, 20_000),
            80..86 => self.agents[at].errors_until = self.now + self.dice.between(500, 10_000),
            86..90 => self.vandalise(at),
            90..94 => self.jump(at),
            _ => self.roll_registry_back(),
        }
    }

    /// Perhaps something is hit in the next `within` milliseconds.
    pub(crate) fn aim(&mut self, within: u64, strike: Event) {
        if self.in_trouble() && self.dice.chance(self.plan.strikes_per_mille) {
            let wait = self.dice.between(0, within);
            self.queue.plan(self.now + wait, strike);
        }
    }

    pub(crate) fn strike_master(&mut self, life: u64) {
        if self.in_trouble() && self.master.life == life {
            self.kill_master();
        }
    }

    pub(crate) fn strike_agent(&mut self, at: usize, life: u64) {
        if !self.in_trouble() || self.agents[at].life != life {
            return;
        }
        if self.dice.flip() { self.kill_agent(at) } else { self.cut_power(at) }
    }

    fn kill_master(&mut self) {
        let Some(process) = &self.master.process else { return };
        let in_commit = process.in_commit();
        self.tally.fault(Fault::MasterKilled);
        if in_commit {
            self.tally.fault(Fault::MasterKilledInCommit);
        }
        if self.dice.flip() {
            self.master_batch_lands();
        }
        let power = self.dice.chance(400);
        self.master_dies(power);
    }

    fn fail_commit(&mut self) {
        self.master.registry.fail_next = Some(self.dice.flip());
    }

    /// Between the start of a batch and its end, or at any other time.
    fn kill_agent(&mut self, at: usize) {
        let Some(process) = &self.agents[at].process else { return };
        self.tally.fault(Fault::AgentKilled);
        if process.in_commit() {
            self.tally.fault(Fault::AgentLostInCommit);
            let calls = self.dice.between(0, 3);
            self.agent_interrupted(at, calls);
        }
        self.agent_dies(at);
    }

    fn cut_power(&mut self, at: usize) {
        self.tally.fault(Fault::PowerLost);
        let in_commit =
            self.agents[at].process.as_ref().is_some_and(super::AgentProcess::in_commit);
        if in_commit {
            self.tally.fault(Fault::AgentLostInCommit);
            let calls = self.dice.between(0, 3);
            self.agent_interrupted(at, calls);
        }
        self.power_loss(at);
    }

    fn fail_ledger(&mut self, at: usize) {
        use berth_ledger::disk::{Call, Kind};
        let call = if self.dice.flip() { Call::Append } else { Call::Sync };
        let kind = if self.dice.flip() { Kind::NoSpace } else { Kind::Io(Some(5)) };
        self.agents[at].ledger.disk.fail_next(call, kind);
    }

    fn stop_agent(&mut self, at: usize) {
        if self.agents[at].process.is_none() {
            return;
        }
        self.tally.fault(Fault::AgentStopped);
        let kill_tasks = self.dice.chance(300);
        self.agent_input(at, Input::Shutdown { kill_tasks });
    }

    /// An older copy of the ledger is used for a while. Only copies that the master can recognise as old are used:
    /// what was never told may be forgotten.
    fn roll_ledger_back(&mut self, at: usize) {
        let machine = &mut self.agents[at];
        let told = machine.told_seq;
        if machine.newest.is_some() {
            return;
        }
        let Some(copy) = machine.older.take() else {
            machine.older = Some(machine.ledger.copy());
            return;
        };
        // It grows by a few records of its own before the master sees it.
        if copy.seq + 12 >= told {
            machine.older = Some(copy);
            return;
        }
        self.tally.fault(Fault::LedgerRolledBack);
        if machine.process.is_some() {
            self.agent_dies(at);
        }
        let machine = &mut self.agents[at];
        machine.newest = Some(machine.ledger.restore(copy));
        machine.older_since = self.now;
        let wait = machine.dice.between(20_000, 60_000);
        self.queue.plan(self.now + wait, Event::LedgerBack { agent: at });
    }

    /// Somebody puts the newest copy back.
    pub(crate) fn ledger_back(&mut self, at: usize) {
        if self.agents[at].newest.is_none() {
            return;
        }
        if self.agents[at].strayed && !self.master.rolled_back {
            self.agents[at].newest = None;
            return;
        }
        if self.agents[at].process.is_some() {
            self.agent_dies(at);
        }
        let machine = &mut self.agents[at];
        if let Some(newest) = machine.newest.take() {
            drop(machine.ledger.restore(newest));
        }
        self.dirt.ledgers = true;
    }

    fn kill_client(&mut self) {
        if self.service.is_some() && self.dice.chance(400) {
            self.tally.fault(Fault::FrameworkKilled);
            let power = self.dice.flip();
            self.service_dies(power);
            return;
        }
        let at = self.dice.below(self.frameworks.len());
        if self.frameworks[at].up {
            self.tally.fault(Fault::FrameworkKilled);
            self.framework_dies(at);
        }
    }

    fn partition(&mut self) {
        self.tally.fault(Fault::Partition);
        let until = self.now + self.dice.between(1_000, 60_000);
        let client = match self.dice.below(10) {
            0..7 => Client::Agent(self.dice.below(self.agents.len())),
            7..9 => Client::Framework(self.dice.below(self.frameworks.len())),
            _ => Client::Service,
        };
        match self.dice.below(3) {
            0 => self.network.block(client, Side::Client, until),
            1 => self.network.block(client, Side::Master, until),
            _ => {
                self.network.block(client, Side::Client, until);
                self.network.block(client, Side::Master, until);
            },
        }
    }

    /// What an earlier master said comes over the current connection.
    fn repeat_stale(&mut self, at: usize) {
        let Some(conn) = self.agents[at].process.as_ref().and_then(|process| process.conn) else {
            return;
        };
        let Some(envelope) = self.agents[at].stale_envelope() else { return };
        self.tally.fault(Fault::StaleMessage);
        self.agent_hears(at, conn, Packet::ToAgent(envelope));
    }

    /// A volume is removed or replaced by hand while no task runs on it.
    fn vandalise(&mut self, at: usize) {
        if !self.plan.vandals {
            return;
        }
        if self.agents[at].dice.flip() && self.put_back(at) {
            return;
        }
        let machine = &mut self.agents[at];
        let used: Vec<VolumeId> = machine
            .containers
            .values()
            .flat_map(|container| container.volumes.iter().map(|(id, _)| *id))
            .collect();
        let durable = &machine.volumes.durable;
        let ids: Vec<VolumeId> = durable.keys().filter(|id| !used.contains(id)).copied().collect();
        let Some(id) = machine.dice.pick(&ids).copied() else { return };
        machine.vandalised.insert(id);
        if machine.dice.chance(700) {
            self.tally.fault(Fault::VolumeVanished);
            machine.volumes.seen.remove(&id);
            let slot = machine.volumes.durable.remove(&id);
            let spec = machine.ledger.durable.volumes.get(&id).map(|known| known.spec.clone());
            if let (Some(slot), Some(spec)) = (slot, spec)
                && slot.generation == spec.generation
            {
                machine.aside.insert(id, slot);
                machine.specs.insert(id, spec);
            }
            self.judges.vanished(at, id);
        } else {
            self.tally.fault(Fault::MarkerChanged);
            let other = AgentId::from_u128(machine.dice.id());
            for slots in [&mut machine.volumes.seen, &mut machine.volumes.durable] {
                if let Some(slot) = slots.get_mut(&id) {
                    slot.agent = other;
                }
            }
            self.judges.vandalised(at, id);
        }
        self.dirt.disks = true;
    }

    /// What somebody took away is put back; the agent finds it when it looks at its disks.
    fn put_back(&mut self, at: usize) -> bool {
        let machine = &mut self.agents[at];
        let ids: Vec<VolumeId> = machine
            .aside
            .keys()
            .filter(|id| !machine.volumes.seen.contains_key(id))
            .copied()
            .collect();
        let Some(id) = machine.dice.pick(&ids).copied() else { return false };
        let Some(slot) = machine.aside.remove(&id) else { return false };
        machine.volumes.seen.insert(id, slot.clone());
        machine.volumes.durable.insert(id, slot);
        self.tally.deed("volumes put back by hand");
        self.judges.came_back(at, id);
        self.dirt.disks = true;
        let disks = self.agents[at].disks();
        self.agent_input(at, Input::Disks(disks));
        true
    }

    fn jump(&mut self, at: usize) {
        self.tally.fault(Fault::ClockJump);
        let ahead = self.dice.between(1_000, 120_000);
        if self.dice.chance(300) {
            self.master.skew += ahead;
        } else {
            self.agents[at].skew += ahead;
        }
    }

    fn roll_registry_back(&mut self) {
        if !self.plan.registry_rollback {
            return;
        }
        let Some(copy) = self.plan.copy.take() else {
            if self.master.registry.revision() > 0 {
                self.plan.copy = Some(self.master.registry.copy());
            }
            return;
        };
        if self.dice.chance(600) || self.master.registry.revision() < copy.revision + 10 {
            self.plan.copy = Some(copy);
            return;
        }
        self.plan.registry_rollback = false;
        self.tally.fault(Fault::RegistryRolledBack);
        self.master_dies(false);
        self.master.registry.restore(copy);
        self.master.rolled_back = true;
        self.judges.registry_rolled_back();
        self.dirt.registry = true;
    }

    /// Ends everything that is broken.
    pub(crate) fn mend_everything(&mut self) {
        self.network.loss_per_mille = 0;
        self.network.mend();
        self.master.registry.fail_next = None;
        for at in 0..self.agents.len() {
            self.ledger_back(at);
            self.agents[at].full_until = 0;
            self.agents[at].errors_until = 0;
        }
    }
}
