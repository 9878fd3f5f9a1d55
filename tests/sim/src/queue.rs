//! What will happen when. Invariant: events of one moment come in the order in which they were planned.

use crate::network::{Packet, Side};
use crate::volumes::Fate;
use berth_agent_core::effect::{ContainerEvent, Exit, VolumeEffect};
use berth_model::id::ContainerId;
use std::collections::BTreeMap;

/// Something that happens to the world. Lives and boots say which process or machine was meant: what was planned
/// for one that is gone does not happen.
#[derive(Debug, Clone)]
pub enum Event {
    /// A message arrives.
    Deliver {
        conn: u64,
        to: Side,
        packet: Box<Packet>,
    },
    /// One end learns that the connection is over.
    Closed {
        conn: u64,
        side: Side,
    },
    MasterStart,
    MasterWake {
        life: u64,
    },
    MasterCommitted {
        life: u64,
    },
    AgentStart {
        agent: usize,
        boot: u64,
    },
    AgentDial {
        agent: usize,
        life: u64,
    },
    AgentWake {
        agent: usize,
        life: u64,
    },
    AgentCommitted {
        agent: usize,
        life: u64,
    },
    /// A volume effect changes what the machine sees; nothing of it is synced.
    EffectSeen {
        agent: usize,
        life: u64,
        token: u64,
        effect: Box<VolumeEffect>,
        fate: Fate,
    },
    /// It is synced, and its outcome is known.
    EffectDone {
        agent: usize,
        life: u64,
        token: u64,
        effect: Box<VolumeEffect>,
        outcome: Box<berth_agent_core::effect::VolumeOutcome>,
    },
    ContainerUp {
        agent: usize,
        boot: u64,
        container: ContainerId,
    },
    ContainerExit {
        agent: usize,
        boot: u64,
        container: ContainerId,
        exit: Exit,
    },
    ContainerSays {
        agent: usize,
        life: u64,
        container: ContainerId,
        event: Box<ContainerEvent>,
    },
    FrameworkStart {
        framework: usize,
    },
    FrameworkAct {
        framework: usize,
        life: u64,
    },
    OperatorAct {
        operator: usize,
    },
    ServiceStart,
    ServiceWake {
        life: u64,
    },
    ServiceCommitted {
        life: u64,
    },
    /// Something breaks.
    Trouble,
    /// The master is hit while a batch is on its way.
    StrikeMaster {
        life: u64,
    },
    /// An agent is hit while a batch or an effect is on its way.
    StrikeAgent {
        agent: usize,
        life: u64,
    },
    /// A ledger's newest copy is put back.
    LedgerBack {
        agent: usize,
    },
    /// A look at the healing world.
    Inspect,
}

/// The planned events.
#[derive(Debug, Default)]
pub struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    planned: u64,
}

impl Queue {
    /// Plans an event.
    pub fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.events.insert((at, self.planned), event);
    }
    /// The next event and its time.
    pub fn next(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
