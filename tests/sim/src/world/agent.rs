//! An agent's machine and the shell of its process: ledger first, then words and deeds. A failed ledger ends the
//! process; supervisors and disks outlive it; the machine's power takes both and what was not synced.

use super::World;
use crate::judges::Fold;
use crate::ledger::{Open, Refused};
use crate::network::{Client, Manner, Packet, Side};
use crate::options::Breach;
use crate::queue::Event;
use crate::tally::Fault;
use berth_agent_core::{Agent, Config, Input, Output, Step, stamp};
use berth_ledger::disk::sim::SimDisk;
use berth_ledger::journal::Journal;
use berth_model::id::VolumeId;
use berth_model::link::ToAgent;
use berth_model::record::{LedgerDisk, LedgerRecord};
use berth_model::wipe::Wipe;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Default)]
struct Batch {
    records: Vec<LedgerRecord>,
    outputs: Vec<Output>,
}

/// A running agent.
#[derive(Debug)]
pub struct AgentProcess {
    pub core: Agent,
    journal: Journal<SimDisk>,
    open: Batch,
    flying: Option<Batch>,
    pub conn: Option<u64>,
    wake_at: Option<u64>,
    /// Volumes with an effect under way, and those it may purge.
    pub busy: BTreeMap<VolumeId, u64>,
    /// A master has answered a registration of this life.
    pub taken_in: bool,
    /// The books as the judges fold them: everything decided, durable or not.
    pub decided: Fold,
}

impl AgentProcess {
    /// Is a batch on its way to the ledger?
    #[must_use]
    pub fn in_commit(&self) -> bool {
        self.flying.is_some()
    }
}

/// Every third agent wipes what leaves its trash although nobody asked.
fn config(at: usize) -> Config {
    Config {
        purge_wipe: if at % 3 == 2 { Wipe::Zero } else { Wipe::None },
        trash_retention: Duration::from_secs(900),
        status_retry: Duration::from_secs(5),
        status_retry_max: Duration::from_secs(30),
        effect_retry_max: Duration::from_secs(20),
        usage_every: Duration::from_secs(600),
        verify_wait: Duration::from_secs(5),
        register_wait: Duration::from_secs(15),
        revision_stride: 20,
        ..Config::default()
    }
}

impl World {
    pub(crate) fn agent_start(&mut self, at: usize, boot: u64) {
        let now = self.clock(self.agents[at].skew);
        let machine = &mut self.agents[at];
        if machine.process.is_some() || machine.boot != boot {
            return;
        }
        machine.ledger.kill();
        let Open { journal, records, seq } = match machine.ledger.open() {
            Ok(open) => open,
            Err(Refused::Disk) => {
                let wait = machine.dice.between(500, 5_000);
                self.queue.plan(self.now + wait, Event::AgentStart { agent: at, boot });
                return;
            },
            Err(Refused::Broken(text)) => {
                self.judges.report("I6 durability", format!("ledger of agent {at}: {text}"));
                return;
            },
        };
        self.dirt.ledgers = true;
        machine.life += 1;
        let decided = machine.ledger.durable.clone();
        let info = machine.declaration();
        let (core, step) = Agent::recover(config(at), info, records, seq, now);
        machine.process = Some(AgentProcess {
            core,
            journal,
            open: Batch::default(),
            flying: None,
            conn: None,
            wake_at: None,
            busy: BTreeMap::new(),
            taken_in: false,
            decided,
        });
        let disks = machine.disks().into_iter().map(|disk| LedgerDisk {
            id: disk.id,
            name: Arc::clone(&disk.name),
            source: disk.source.clone(),
            filesystem: Arc::from(""),
        });
        let disks = disks.collect();
        self.tally.deed("agent starts");
        self.agent_takes(at, step);
        self.agent_input(at, Input::DisksAdopted(disks));
        self.plan_dial(at);
    }

    fn plan_dial(&mut self, at: usize) {
        let machine = &mut self.agents[at];
        let (wait, life) = (machine.dice.between(100, 2_500), machine.life);
        self.queue.plan(self.now + wait, Event::AgentDial { agent: at, life });
    }

    pub(crate) fn agent_dial(&mut self, at: usize, life: u64) {
        let machine = &self.agents[at];
        if machine.life != life || machine.process.as_ref().is_none_or(|p| p.conn.is_some()) {
            return;
        }
        let listening = self.master.process.as_ref().is_some_and(|p| p.listening);
        let conn = if listening { self.network.dial(Client::Agent(at), self.now) } else { None };
        let Some(id) = conn else {
            self.plan_dial(at);
            return;
        };
        let session = self.network.conn(id).expect("just opened").session;
        if let Some(process) = &mut self.agents[at].process {
            process.conn = Some(id);
        }
        self.agent_input(at, Input::Connected { session });
    }

    pub(crate) fn agent_hears(&mut self, at: usize, conn: u64, packet: Packet) {
        let Packet::ToAgent(envelope) = packet else { return };
        if self.agents[at].process.as_ref().is_some_and(|p| p.conn == Some(conn)) {
            self.agent_input(at, Input::Master(envelope));
        }
    }

    pub(crate) fn agent_lost_master(&mut self, at: usize, conn: u64) {
        let Some(process) = &mut self.agents[at].process else { return };
        if process.conn == Some(conn) {
            process.conn = None;
            self.agent_input(at, Input::Disconnected);
            self.plan_dial(at);
        }
    }

    pub(crate) fn agent_input(&mut self, at: usize, input: Input) {
        let now = self.clock(self.agents[at].skew);
        let machine = &mut self.agents[at];
        let Some(process) = &mut machine.process else { return };
        let epoch = match &input {
            Input::Master(envelope) => Some(envelope.epoch),
            Input::Connected { .. }
            | Input::Disconnected
            | Input::Volume { .. }
            | Input::Container { .. }
            | Input::Disks(_)
            | Input::DisksAdopted(_)
            | Input::FileData { .. }
            | Input::OrphanPurged { .. }
            | Input::Progress(_)
            | Input::DiskOrdered { .. }
            | Input::Tick
            | Input::Shutdown { .. } => None,
        };
        if let Input::Master(envelope) = &input
            && matches!(envelope.message, ToAgent::Registered { .. })
        {
            process.taken_in |= envelope.epoch >= process.decided.epoch;
        }
        // What is due by now happens in the same step and is no answer to the message.
        let due = process.core.next_deadline().is_some_and(|due| due <= now);
        let step = process.core.step(now, input);
        if let Some(epoch) = epoch.filter(|_| !due) {
            self.judges.agent_obeys(at, process.decided.epoch, epoch, &step);
        }
        self.note(|| format!("  agent {at} writes {:?} does {:?}", step.records, step.outputs));
        self.agent_takes(at, step);
    }

    fn agent_takes(&mut self, at: usize, mut step: Step) {
        let breach = self.options.breach;
        if breach == Some(Breach::AgentTellsFirst) || breach == Some(Breach::AgentActsFirst) {
            let speaks = |output: &Output| matches!(output, Output::Send(_));
            let first = breach == Some(Breach::AgentTellsFirst);
            let outputs = std::mem::take(&mut step.outputs);
            let (early, late) = outputs
                .into_iter()
                .partition(|output| speaks(output) == first && !matches!(output, Output::Stopped));
            step.outputs = late;
            self.agent_acts(at, early);
        }
        let Some(process) = &mut self.agents[at].process else { return };
        process.decided.extend(&step.records);
        process.open.records.append(&mut step.records);
        process.open.outputs.append(&mut step.outputs);
        self.agent_flies(at);
        self.agent_plans_wake(at);
    }

    fn agent_flies(&mut self, at: usize) {
        let machine = &mut self.agents[at];
        let Some(process) = &mut machine.process else { return };
        if process.flying.is_some() {
            return;
        }
        let batch = std::mem::take(&mut process.open);
        if batch.records.is_empty() {
            self.agent_acts(at, batch.outputs);
            return;
        }
        process.flying = Some(batch);
        let slow = machine.dice.chance(20);
        let wait = if slow { machine.dice.between(50, 800) } else { machine.dice.between(1, 5) };
        let life = machine.life;
        self.aim(wait, Event::StrikeAgent { agent: at, life });
        self.queue.plan(self.now + wait, Event::AgentCommitted { agent: at, life });
    }

    pub(crate) fn agent_committed(&mut self, at: usize, life: u64) {
        let machine = &mut self.agents[at];
        if machine.life != life {
            return;
        }
        let Some(process) = &mut machine.process else { return };
        let Some(batch) = process.flying.take() else { return };
        let mut done = machine.ledger.commit(&mut process.journal, &batch.records).is_ok();
        if done && process.open.records.is_empty() && process.journal.wants_snapshot() {
            self.tally.deed("ledger snapshots");
            let state = process.core.snapshot();
            done = machine.ledger.snapshot(&mut process.journal, state).is_ok();
        }
        self.dirt.ledgers = true;
        if done {
            self.agent_acts(at, batch.outputs);
            self.agent_flies(at);
        } else {
            self.tally.fault(Fault::LedgerDiskFailed);
            self.agent_dies(at);
        }
    }

    fn agent_acts(&mut self, at: usize, outputs: Vec<Output>) {
        for output in outputs {
            let Some(process) = &mut self.agents[at].process else { return };
            match output {
                Output::Send(message) => {
                    let message = stamp(message, process.journal.seq());
                    if let Some(conn) = process.conn {
                        self.send(conn, Side::Client, Packet::FromAgent(message));
                    }
                },
                Output::Disconnect { reason } => {
                    self.note(|| format!("  agent {at} hangs up: {reason}"));
                    self.agent_hangs_up(at);
                },
                Output::Volume { token, effect } => self.effect_begins(at, token, effect),
                Output::Container(effect) => self.container_effect(at, effect),
                Output::ReadFile { read, offset, .. } => {
                    self.agent_input(at, Input::FileData { read, offset, data: Ok(Vec::new()) });
                },
                Output::OrderDisk { operation, order } => {
                    let outcome = self.disk_order(at, &order);
                    self.agent_input(at, Input::DiskOrdered { operation, outcome });
                },
                Output::TryDisk { read, .. } => {
                    self.agent_input(at, Input::FileData { read, offset: 0, data: Ok(Vec::new()) });
                },
                Output::PurgeOrphan { operation, order } => {
                    let outcome = self.orphan_goes(at, &order);
                    self.agent_input(at, Input::OrphanPurged { operation, outcome });
                },
                // Nobody asks here: it changes nothing.
                Output::Transfer { .. } | Output::RefuseTransfer { .. } => {},
                Output::Log { severity, message } => {
                    self.note(|| format!("  agent {at} {severity:?}: {message}"));
                },
                Output::Stopped => self.agent_dies(at),
            }
        }
    }

    fn agent_hangs_up(&mut self, at: usize) {
        let Some(process) = &mut self.agents[at].process else { return };
        if let Some(conn) = process.conn.take() {
            self.network.close(&mut self.queue, self.now, (conn, Side::Client), Manner::Told);
        }
        self.plan_dial(at);
    }

    /// The process ends; the machine goes on.
    pub(crate) fn agent_dies(&mut self, at: usize) {
        let machine = &mut self.agents[at];
        let Some(process) = machine.process.take() else { return };
        machine.life += 1;
        machine.ledger.kill();
        self.forget_unborn(at);
        if let Some(conn) = process.conn {
            self.network.close(&mut self.queue, self.now, (conn, Side::Client), Manner::Told);
        }
        self.plan_agent_start(at);
    }

    fn plan_agent_start(&mut self, at: usize) {
        let machine = &mut self.agents[at];
        let (wait, boot) = (machine.dice.between(200, 15_000), machine.boot);
        self.queue.plan(self.now + wait, Event::AgentStart { agent: at, boot });
    }

    /// A batch that is on its way reaches the disk in part, as far as `calls` changes of the disk go.
    pub(crate) fn agent_interrupted(&mut self, at: usize, calls: u64) {
        let machine = &mut self.agents[at];
        let Some(process) = &mut machine.process else { return };
        let Some(batch) = process.flying.take() else { return };
        machine.ledger.disk.stop_after(calls);
        // Whether it answered does not matter: nobody is left to be told.
        drop(machine.ledger.commit(&mut process.journal, &batch.records));
        self.dirt.ledgers = true;
    }

    /// The machine's power goes.
    pub(crate) fn power_loss(&mut self, at: usize) {
        let conn = self.agents[at].process.as_mut().and_then(|process| process.conn.take());
        let machine = &mut self.agents[at];
        machine.process = None;
        machine.life += 1;
        machine.boot += 1;
        machine.containers.clear();
        machine.ledger.crash(machine.dice.rng());
        let mut dice = machine.dice.clone();
        machine.volumes.power_loss(&mut dice);
        machine.dice = dice;
        self.dirt.disks = true;
        self.dirt.containers = true;
        if let Some(conn) = conn {
            self.network.close(&mut self.queue, self.now, (conn, Side::Client), Manner::Silent);
        }
        self.plan_agent_start(at);
    }

    fn agent_plans_wake(&mut self, at: usize) {
        let machine = &self.agents[at];
        let (life, skew) = (machine.life, machine.skew);
        let due = machine.process.as_ref().and_then(|process| process.core.next_deadline());
        let Some(due) = due else { return };
        let moment = self.moment(due, skew);
        let Some(process) = &mut self.agents[at].process else { return };
        if process.wake_at.is_none_or(|planned| planned > moment) {
            process.wake_at = Some(moment);
            self.queue.plan(moment, Event::AgentWake { agent: at, life });
        }
    }

    pub(crate) fn agent_wake(&mut self, at: usize, life: u64) {
        let moment = self.now;
        let now = self.clock(self.agents[at].skew);
        let machine = &mut self.agents[at];
        if machine.life != life {
            return;
        }
        let Some(process) = &mut machine.process else { return };
        if process.wake_at.is_none_or(|planned| planned > moment) {
            return;
        }
        process.wake_at = None;
        if process.core.next_deadline().is_some_and(|due| due <= now) {
            self.agent_input(at, Input::Tick);
        } else {
            self.agent_plans_wake(at);
        }
    }
}
