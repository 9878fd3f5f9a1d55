//! The master's shell: one batch on its way to the registry, the next one collects, and nothing of a batch leaves
//! before it is synced. A failed commit ends the process.

use super::World;
use crate::dice::Dice;
use crate::judges::RollbackProof;
use crate::network::{Client, Manner, Packet, Side};
use crate::options::Breach;
use crate::queue::Event;
use crate::registry::Registry;
use crate::tally::Fault;
use berth_master_core::{Config, Input, Master, Optimistic, Output, Step};
use berth_model::audit::{Said, Who};
use berth_model::id::{ClusterId, FrameworkId, OperationId, SessionId, fingerprint};
use berth_model::link::FromAgent;
use berth_model::record::{RegistryKey, RegistryRecord, RegistryWrite};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What outlives the master's process.
#[derive(Debug)]
pub struct MasterMachine {
    pub registry: Registry,
    pub process: Option<MasterProcess>,
    pub life: u64,
    /// How far its clock is ahead.
    pub skew: u64,
    /// The registry was replaced by an older copy: what was answered since that copy may be gone.
    pub rolled_back: bool,
    dice: Dice,
}

/// What is to be written, and what may be said then.
#[derive(Debug, Default)]
pub struct Batch {
    writes: Vec<RegistryWrite>,
    outputs: Vec<Output>,
    /// What agents' ledgers had got to, as this batch takes it in.
    told: Vec<(usize, u64)>,
}

/// A running master.
#[derive(Debug)]
pub struct MasterProcess {
    pub core: Master,
    pub epoch: u64,
    pub(super) cluster: ClusterId,
    pub revision: u64,
    /// Its term is open: it takes connections.
    pub listening: bool,
    open: Batch,
    flying: Option<Batch>,
    wake_at: Option<u64>,
    pub(super) frameworks: BTreeMap<SessionId, FrameworkId>,
    pub(super) replies: BTreeMap<u64, (u64, u64, OperationId)>,
    replied: u64,
    /// Sessions of agents with a ledger that is older than what the registry knows of it.
    pub old_ledgers: BTreeSet<SessionId>,
    /// It was shown that its registry is older than what an agent has seen.
    pub proof: RollbackProof,
}

impl MasterProcess {
    /// Is a batch on its way to the registry?
    #[must_use]
    pub fn in_commit(&self) -> bool {
        self.flying.is_some()
    }
}

impl MasterMachine {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            registry: Registry::default(),
            process: None,
            life: 0,
            skew: 0,
            rolled_back: false,
            dice: Dice::new(seed, "master"),
        }
    }
}

impl World {
    pub(crate) fn master_start(&mut self) {
        if self.master.process.is_some() {
            return;
        }
        let (records, revision) = self.master.registry.load();
        let stored = records.iter().find_map(|record| match record {
            RegistryRecord::Meta { cluster, epoch, .. } => Some((*cluster, *epoch)),
            RegistryRecord::Agent(_)
            | RegistryRecord::AgentSeq { .. }
            | RegistryRecord::Reservation(_)
            | RegistryRecord::Volume(_)
            | RegistryRecord::Framework(_)
            | RegistryRecord::Operation(_)
            | RegistryRecord::Disk(_)
            | RegistryRecord::Profile(_)
            | RegistryRecord::Snapshot(_)
            | RegistryRecord::Schedule(_)
            | RegistryRecord::Weight(_)
            | RegistryRecord::Quota(_)
            | RegistryRecord::Transaction(_)
            | RegistryRecord::Audit(_) => None,
        });
        let (cluster, epoch) =
            stored.unwrap_or_else(|| (ClusterId::from_u128(self.master.dice.id()), 0));
        let config = Config {
            heartbeat: Duration::from_secs(5),
            agent_timeout: Duration::from_secs(25),
            reregister_window: Duration::from_secs(90),
            // Short enough that long runs remove entries.
            audit_entries: 40,
            audit_segment: 8,
            optimistic: Optimistic {
                fan_out: self.fan_out,
                timeout: Duration::from_secs(8),
                grace: Duration::from_millis(super::GRACE_MS),
                sticky: Duration::from_secs(10),
                ..Optimistic::default()
            },
            ..Config::new(cluster, epoch + 1, revision)
        };
        let now = self.clock(self.master.skew);
        let (core, mut step) = match Master::recover(config, records, now) {
            Ok(recovered) => recovered,
            Err(error) => {
                self.judges.report("recovery", format!("the master does not start: {error}"));
                return;
            },
        };
        if self.breaks(Breach::EpochNotRaised) {
            step.writes.retain(|write| write.key() != RegistryKey::Meta || epoch == 0);
        }
        self.master.life += 1;
        self.master.process = Some(MasterProcess {
            core,
            epoch: epoch + 1,
            cluster,
            revision,
            listening: false,
            open: Batch::default(),
            flying: None,
            wake_at: None,
            frameworks: BTreeMap::new(),
            replies: BTreeMap::new(),
            replied: 0,
            old_ledgers: BTreeSet::new(),
            proof: RollbackProof::new(epoch, revision),
        });
        self.tally.deed("master starts");
        self.note(|| format!("master starts epoch {} at revision {revision}", epoch + 1));
        self.master_takes(step);
        self.master_flies();
    }

    pub(crate) fn master_input(&mut self, input: Input) {
        let now = self.clock(self.master.skew);
        let Some(process) = &mut self.master.process else { return };
        let was_proven = process.proof.is_proven();
        if let Input::Agent { message: FromAgent::Register(registration), .. } = &input {
            process.proof.register(registration);
        }
        let reported = match &input {
            Input::Agent { agent, message: FromAgent::Volume { ledger_seq, report }, .. } => {
                Some((*agent, *ledger_seq, report.spec.id))
            },
            Input::Agent { .. }
            | Input::AgentDisconnected { .. }
            | Input::Framework { .. }
            | Input::FrameworkDisconnected { .. }
            | Input::Operator { .. }
            | Input::Refused { .. }
            | Input::ReadFile { .. }
            | Input::Transfer { .. }
            | Input::ExportEnded { .. }
            | Input::TryDisk { .. }
            | Input::Tick => None,
        };
        let step = process.core.step(now, input);
        // A report that changed the volume's record must be remembered with it; one that only says what is known need not.
        if let Some((agent, seq, volume)) = reported
            && step.writes.iter().any(|write| write.key() == RegistryKey::Volume(volume))
            && let Some(at) = self.agents.iter().position(|machine| machine.id == agent)
            && !self.agents[at].strayed
        {
            process.open.told.push((at, seq));
        }
        self.judges.master_decides(&self.master.registry, was_proven, &step.writes);
        self.judges.master_offers(&self.frameworks, &step.outputs);
        self.note(|| format!("  master writes {:?} says {:?}", step.writes, step.outputs));
        self.master_takes(step);
    }

    fn master_takes(&mut self, mut step: Step) {
        if self.breaks(Breach::MasterTellsFirst) {
            let outputs = std::mem::take(&mut step.outputs);
            self.master_says(outputs);
        }
        let Some(process) = &mut self.master.process else { return };
        process.open.writes.append(&mut step.writes);
        process.open.outputs.append(&mut step.outputs);
        if process.flying.is_none() {
            self.master_flies();
        }
        self.master_plans_wake();
    }

    fn master_flies(&mut self) {
        let Some(process) = &mut self.master.process else { return };
        if process.flying.is_some() {
            return;
        }
        let batch = std::mem::take(&mut process.open);
        if batch.writes.is_empty() {
            process.listening |= process.revision > 0;
            self.master_says(batch.outputs);
            return;
        }
        process.flying = Some(batch);
        let life = self.master.life;
        let slow = self.master.dice.chance(20);
        let wait =
            if slow { self.master.dice.between(50, 800) } else { self.master.dice.between(1, 5) };
        self.aim(wait, Event::StrikeMaster { life });
        self.queue.plan(self.now + wait, Event::MasterCommitted { life });
    }

    pub(crate) fn master_committed(&mut self, life: u64) {
        if life != self.master.life {
            return;
        }
        let breach = self.options.breach;
        let Some(process) = &mut self.master.process else { return };
        let Some(batch) = process.flying.take() else { return };
        self.judges.master_places(&self.master.registry, &batch.writes);
        self.judges.master_notes(&self.master.registry, &batch.writes);
        self.judges.master_sets(&self.master.registry, &self.history, &batch.writes);
        let done = self.master.registry.commit(process.revision, &batch.writes, breach);
        self.dirt.registry = true;
        match done {
            Ok(revision) => {
                process.revision = revision;
                process.listening = true;
                self.judges.master_keeps(&batch.writes);
                for (at, seq) in batch.told {
                    self.agents[at].told_seq = self.agents[at].told_seq.max(seq);
                }
                self.master_says(batch.outputs);
                self.master_flies();
            },
            Err(_) => {
                self.tally.fault(Fault::CommitFailed);
                self.master_dies(false);
            },
        }
    }

    /// The batch on its way becomes durable; nobody is told.
    pub(crate) fn master_batch_lands(&mut self) {
        let Some(process) = &mut self.master.process else { return };
        let Some(batch) = process.flying.take() else { return };
        self.judges.master_places(&self.master.registry, &batch.writes);
        self.judges.master_notes(&self.master.registry, &batch.writes);
        self.judges.master_sets(&self.master.registry, &self.history, &batch.writes);
        let registry = &mut self.master.registry;
        if registry.commit(process.revision, &batch.writes, self.options.breach).is_ok() {
            self.judges.master_keeps(&batch.writes);
            self.dirt.registry = true;
        }
    }

    /// The process ends; `power` takes what the registry has not synced.
    pub(crate) fn master_dies(&mut self, power: bool) {
        if self.master.process.take().is_none() {
            return;
        }
        self.note(|| "master dies".to_owned());
        if power {
            self.master.registry.crash();
            self.dirt.registry = true;
        }
        let manner = if power { Manner::Silent } else { Manner::Told };
        let conns: Vec<u64> = self.network.open_at(Side::Master).map(|(id, _)| id).collect();
        for id in conns {
            self.network.close(&mut self.queue, self.now, (id, Side::Master), manner);
        }
        let wait = self.master.dice.between(200, 6_000);
        self.queue.plan(self.now + wait, Event::MasterStart);
    }

    fn master_plans_wake(&mut self) {
        let life = self.master.life;
        let skew = self.master.skew;
        let Some(due) = self.master.process.as_ref().and_then(|p| p.core.next_deadline()) else {
            return;
        };
        let at = self.moment(due, skew);
        let Some(process) = &mut self.master.process else { return };
        if process.wake_at.is_none_or(|planned| planned > at) {
            process.wake_at = Some(at);
            self.queue.plan(at, Event::MasterWake { life });
        }
    }

    pub(crate) fn master_wake(&mut self, life: u64) {
        if life != self.master.life {
            return;
        }
        let (now, moment) = (self.clock(self.master.skew), self.now);
        let Some(process) = &mut self.master.process else { return };
        if process.wake_at.is_none_or(|at| at > moment) {
            return;
        }
        process.wake_at = None;
        if process.core.next_deadline().is_some_and(|due| due <= now) {
            self.master_input(Input::Tick);
        } else {
            self.master_plans_wake();
        }
    }

    pub(crate) fn master_hears(
        &mut self,
        conn: u64,
        client: Client,
        session: SessionId,
        packet: Packet,
    ) {
        let Some(process) = &mut self.master.process else { return };
        let input = match packet {
            Packet::FromAgent(message) => {
                let Client::Agent(at) = client else { return };
                let since = self.network.conn(conn).map_or(0, |conn| conn.since);
                if let FromAgent::Register(registration) = &message
                    && self.agents[at].newest.is_some()
                    && since >= self.agents[at].older_since
                {
                    // A registry that was put back knows less than it once took in.
                    let told = if self.master.rolled_back {
                        self.master.registry.ledger_seq(self.agents[at].id)
                    } else {
                        self.agents[at].told_seq
                    };
                    let old = registration.ledger_seq < told;
                    self.tally.deed(if old { "old ledgers shown" } else { "old ledgers unknown" });
                    self.agents[at].strayed |= !old;
                    if old {
                        process.old_ledgers.insert(session);
                    }
                }
                Input::Agent { agent: self.agents[at].id, session, message }
            },
            Packet::Call { call, body } => {
                let fingerprint = fingerprint(format!("{body:?}").as_bytes());
                let framework = process.frameworks.get(&session).cloned();
                Input::Framework { session, framework, call, fingerprint, body }
            },
            Packet::Submit { reply, operation, request } => {
                process.replied += 1;
                process.replies.insert(process.replied, (conn, reply, operation));
                let fingerprint = fingerprint(format!("{request:?}").as_bytes());
                let said = Said {
                    who: Who::Claimed(Arc::from("operator@sim")),
                    reason: Some(Arc::from(crate::judges::why(operation))),
                    in_earnest: false,
                };
                Input::Operator { reply: process.replied, operation, fingerprint, request, said }
            },
            Packet::ToAgent(_) | Packet::Event(_) | Packet::Answer { .. } | Packet::Ended(_) => {
                return;
            },
        };
        self.master_input(input);
    }

    pub(crate) fn master_lost(&mut self, client: Client, session: SessionId) {
        let Some(process) = &mut self.master.process else { return };
        match client {
            Client::Agent(at) => {
                let agent = self.agents[at].id;
                self.master_input(Input::AgentDisconnected { agent, session });
            },
            Client::Framework(_) | Client::Service => {
                if let Some(framework) = process.frameworks.remove(&session) {
                    self.master_input(Input::FrameworkDisconnected { framework, session });
                }
            },
            Client::Operator(_) => {},
        }
    }
}
