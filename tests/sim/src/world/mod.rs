//! The whole cluster as plain values in one thread, with virtual time.
//!
//! Each component runs behind the batch discipline of the real shells: step, writes, durable commit, and only then what
//! it says. Invariant: nothing here depends on anything but the seed and the options.

mod agent;
mod clients;
mod containers;
mod effects;
mod healing;
mod machine;
mod master;
mod outlets;
mod service;
mod trouble;

pub use agent::AgentProcess;
pub use containers::ContainerPhase;
pub use machine::AgentMachine;
pub use master::{MasterMachine, MasterProcess};

use crate::dice::Dice;
use crate::framework::{Conduct, Framework};
use crate::history::History;
use crate::judges::{Judges, Violation};
use crate::network::{Client, Network, Packet, Side};
use crate::operator::Operator;
use crate::options::{Breach, Options};
use crate::queue::{Event, Queue};
use crate::service::Service;
use crate::tally::Tally;
use berth_model::record::RegistryRecord;
use berth_model::units::Timestamp;
use std::collections::BTreeMap;

/// Virtual time begins here.
const START_MS: u64 = 1_700_000_000_000;

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Faults happen.
    Trouble,
    /// Faults have ended; everything must settle.
    Healing {
        /// By then.
        until: u64,
        /// Everything has settled once; now every task ends and every framework must get offers.
        emptying: bool,
    },
    Over,
}

/// What changed since the judges last looked.
#[derive(Debug, Clone, Default)]
pub struct Dirt {
    pub registry: bool,
    pub ledgers: bool,
    pub disks: bool,
    pub containers: bool,
}

/// The world.
#[derive(Debug)]
pub struct World {
    pub options: Options,
    /// To how many frameworks the same is offered.
    pub fan_out: u32,
    /// Milliseconds since the start.
    pub now: u64,
    pub events: u64,
    pub queue: Queue,
    pub network: Network,
    pub master: MasterMachine,
    pub agents: Vec<AgentMachine>,
    pub frameworks: Vec<Framework>,
    pub operators: Vec<Operator>,
    pub service: Option<Service>,
    pub history: History,
    /// Each content that a task wrote, with the one that it changed.
    pub lineage: BTreeMap<u64, u64>,
    pub tally: Tally,
    pub dirt: Dirt,
    pub phase: Phase,
    pub trace: Vec<String>,
    pub(crate) judges: Judges,
    pub(crate) dice: Dice,
    pub(crate) plan: trouble::Plan,
}

/// How long the master lets an offer that does not fit any more be used.
pub const GRACE_MS: u64 = 150;

/// Half of the clusters have no fan-out.
fn fan_out_of(seed: u64) -> u32 {
    let mut dice = Dice::new(seed, "fan out");
    dice.pick(&[1, 1, 1, 2, 3, 4]).copied().unwrap_or(1)
}

impl World {
    /// The cluster of a seed, not yet started.
    #[must_use]
    pub fn new(seed: u64, options: Options) -> Self {
        let mut dice = Dice::new(seed, "world");
        let agents = dice.between(3, 5);
        let frameworks = dice.between(1, 3);
        let operators = dice.between(1, 2);
        let count = |n: u64| 0..usize::try_from(n).expect("small");
        let breach = options.breach;
        let fan_out = options.fan_out.unwrap_or_else(|| fan_out_of(seed));
        let mut frameworks: Vec<Framework> =
            count(frameworks).map(|at| Framework::new(seed, at, Conduct::Fair)).collect();
        // Where frameworks race, some of them do not play fair.
        for conduct in Conduct::UNFAIR.into_iter().filter(|_| fan_out > 1) {
            frameworks.push(Framework::new(seed, frameworks.len(), conduct));
        }
        if fan_out > 1 {
            frameworks.push(Framework::new(seed, frameworks.len(), Conduct::Cell));
        }
        let mut world = Self {
            fan_out,
            now: 0,
            events: 0,
            queue: Queue::default(),
            network: Network::new(seed),
            master: MasterMachine::new(seed),
            agents: count(agents).map(|at| AgentMachine::new(seed, at, breach)).collect(),
            frameworks,
            operators: count(operators).map(|at| Operator::new(seed, at)).collect(),
            service: dice.chance(500).then(|| Service::new(seed)),
            history: History::default(),
            lineage: BTreeMap::new(),
            tally: Tally::default(),
            dirt: Dirt::default(),
            phase: Phase::Trouble,
            trace: Vec::new(),
            judges: Judges::default(),
            plan: trouble::Plan::new(seed),
            dice,
            options,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.network.loss_per_mille = self.plan.loss_per_mille;
        self.queue.plan(1, Event::MasterStart);
        for agent in 0..self.agents.len() {
            let at = self.dice.between(1, 2_000);
            self.queue.plan(at, Event::AgentStart { agent, boot: 0 });
        }
        for framework in 0..self.frameworks.len() {
            let at = self.dice.between(100, 5_000);
            self.queue.plan(at, Event::FrameworkStart { framework });
        }
        for operator in 0..self.operators.len() {
            let at = self.dice.between(1_000, 5_000);
            self.queue.plan(at, Event::OperatorAct { operator });
        }
        if self.service.is_some() {
            self.queue.plan(300, Event::ServiceStart);
        }
        self.queue.plan(8_000, Event::Trouble);
    }

    /// Runs to the end and answers what was found.
    pub fn run(&mut self) -> Vec<Violation> {
        while self.phase != Phase::Over {
            if !self.advance() {
                break;
            }
        }
        for record in self.master.registry.records().values() {
            if let RegistryRecord::Operation(record) = record {
                let text = format!("operations {} {}", record.kind, record.state.as_str());
                self.tally.deed(&text);
            }
        }
        self.judges.take()
    }

    /// One event; false when there is none, or something was found.
    pub fn advance(&mut self) -> bool {
        let Some((at, event)) = self.queue.next() else { return false };
        self.now = self.now.max(at);
        self.events += 1;
        self.note(|| format!("{event:?}"));
        self.happen(event);
        self.judge();
        if self.events > self.options.events.saturating_mul(50) {
            self.judges.report("I16 progress", "the world does not come to rest".to_owned());
        }
        if self.judges.is_dissatisfied() {
            return false;
        }
        if self.phase == Phase::Trouble && self.events >= self.options.events {
            self.heal();
        }
        true
    }

    fn judge(&mut self) {
        let mut judges = std::mem::take(&mut self.judges);
        judges.look(self);
        self.judges = judges;
        self.dirt = Dirt::default();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { conn, to, packet } => self.deliver(conn, to, *packet),
            Event::Closed { conn, side } => self.closed(conn, side),
            Event::MasterStart => self.master_start(),
            Event::MasterWake { life } => self.master_wake(life),
            Event::MasterCommitted { life } => self.master_committed(life),
            Event::AgentStart { agent, boot } => self.agent_start(agent, boot),
            Event::AgentDial { agent, life } => self.agent_dial(agent, life),
            Event::AgentWake { agent, life } => self.agent_wake(agent, life),
            Event::AgentCommitted { agent, life } => self.agent_committed(agent, life),
            Event::EffectSeen { agent, life, token, effect, fate } => {
                self.effect_seen(agent, life, token, (effect, fate));
            },
            Event::EffectDone { agent, life, token, effect, outcome } => {
                self.effect_done(agent, life, token, (&effect, *outcome));
            },
            Event::ContainerUp { agent, boot, container } => {
                self.container_up(agent, boot, container);
            },
            Event::ContainerExit { agent, boot, container, exit } => {
                self.container_exit(agent, boot, container, exit);
            },
            Event::ContainerSays { agent, life, container, event } => {
                self.container_says(agent, life, container, *event);
            },
            Event::FrameworkStart { framework } => self.framework_start(framework),
            Event::FrameworkAct { framework, life } => self.framework_act(framework, life),
            Event::OperatorAct { operator } => self.operator_act(operator),
            Event::ServiceStart => self.service_start(),
            Event::ServiceWake { life } => self.service_wake(life),
            Event::ServiceCommitted { life } => self.service_committed(life),
            Event::Trouble => self.trouble(),
            Event::StrikeMaster { life } => self.strike_master(life),
            Event::StrikeAgent { agent, life } => self.strike_agent(agent, life),
            Event::LedgerBack { agent } => self.ledger_back(agent),
            Event::Inspect => self.inspect(),
        }
    }

    fn deliver(&mut self, id: u64, to: Side, packet: Packet) {
        let Some(conn) = self.network.conn(id).filter(|conn| conn.is_open(to)) else { return };
        let (client, session) = (conn.client, conn.session);
        match (to, client) {
            (Side::Master, _) => self.master_hears(id, client, session, packet),
            (Side::Client, Client::Agent(agent)) => self.agent_hears(agent, id, packet),
            (Side::Client, Client::Framework(at)) => self.framework_hears(at, id, packet),
            (Side::Client, Client::Operator(at)) => self.operator_hears(at, id, packet),
            (Side::Client, Client::Service) => self.service_hears(id, packet),
        }
    }

    fn closed(&mut self, id: u64, side: Side) {
        let Some(conn) = self.network.notice(id, side) else { return };
        match (side, conn.client) {
            (Side::Master, client) => self.master_lost(client, conn.session),
            (Side::Client, Client::Agent(agent)) => self.agent_lost_master(agent, id),
            (Side::Client, Client::Framework(at)) => self.framework_lost_master(at, id),
            (Side::Client, Client::Operator(at)) => self.operator_lost_master(at, id),
            (Side::Client, Client::Service) => self.service_lost_master(id),
        }
    }

    pub(crate) fn send(&mut self, conn: u64, from: Side, packet: Packet) {
        let Self { network, queue, tally, now, .. } = self;
        network.send(queue, tally, *now, (conn, from), packet);
    }

    /// Time as a clock that is ahead by `skew` shows it.
    pub(crate) fn clock(&self, skew: u64) -> Timestamp {
        Timestamp::from_ms(START_MS + self.now + skew)
    }

    /// The moment of the world at which that clock shows `due`, at least one millisecond from now.
    pub(crate) fn moment(&self, due: Timestamp, skew: u64) -> u64 {
        due.ms().saturating_sub(START_MS + skew).max(self.now + 1)
    }

    /// Is `content` that other one, or written on top of it?
    pub(crate) fn descends(&self, content: u64, from: u64) -> bool {
        let mut at = content;
        while at != from {
            match self.lineage.get(&at) {
                Some(before) => at = *before,
                None => return false,
            }
        }
        true
    }

    pub(crate) fn breaks(&self, breach: Breach) -> bool {
        self.options.breach == Some(breach)
    }

    pub(crate) fn in_trouble(&self) -> bool {
        self.phase == Phase::Trouble
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.options.trace {
            self.trace.push(format!("{:>9} ms  {}", self.now, line()));
        }
    }
}
