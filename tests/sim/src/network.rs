//! The links between clients and the master: ordered streams that delay, stall, break and stay half-open.
//!
//! It does not know what the packets mean. Invariant: on one connection, what one end sends reaches the other in
//! order or not at all, and nothing arrives behind a gap.

use crate::dice::Dice;
use crate::queue::{Event, Queue};
use crate::tally::{Fault, Tally};
use berth_model::error::Rejection;
use berth_model::framework;
use berth_model::id::{OperationId, SessionId};
use berth_model::link::{Envelope, FromAgent};
use berth_model::operation::OperationRecord;
use berth_model::operator::Request;
use std::collections::BTreeMap;

/// One that dials the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    Agent(usize),
    Framework(usize),
    Operator(usize),
    Service,
}

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Client,
    Master,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Master,
            Self::Master => Self::Client,
        }
    }
    const fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Master => 1,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub enum Packet {
    FromAgent(FromAgent),
    ToAgent(Envelope),
    Call { call: u64, body: framework::Call },
    Event(framework::Event),
    Submit { reply: u64, operation: OperationId, request: Request },
    Answer { reply: u64, operation: OperationId, result: Result<OperationId, Rejection> },
    Ended(OperationRecord),
}

/// How an end of a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The other end is told behind what was sent before.
    Told,
    /// The other end finds out when it finds out.
    Silent,
}

#[derive(Debug, Clone)]
pub struct Conn {
    pub client: Client,
    pub session: SessionId,
    /// When it was opened.
    pub since: u64,
    open: [bool; 2],
    cut: bool,
    last: [u64; 2],
}

impl Conn {
    /// Does this end believe in the connection?
    #[must_use]
    pub fn is_open(&self, side: Side) -> bool {
        self.open[side.index()]
    }
}

/// All connections, and the state of the wires.
#[derive(Debug)]
pub struct Network {
    conns: BTreeMap<u64, Conn>,
    opened: u64,
    dice: Dice,
    /// Of 1,000 messages, so many break their connection.
    pub loss_per_mille: u16,
    /// Nothing gets through from this end of this client's link until then.
    blocked: BTreeMap<(Client, Side), u64>,
}

impl Network {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            conns: BTreeMap::new(),
            opened: 0,
            dice: Dice::new(seed, "network"),
            loss_per_mille: 0,
            blocked: BTreeMap::new(),
        }
    }
    /// The connection, while an end believes in it.
    #[must_use]
    pub fn conn(&self, id: u64) -> Option<&Conn> {
        self.conns.get(&id)
    }
    /// The connections that this end believes in.
    pub fn open_at(&self, side: Side) -> impl Iterator<Item = (u64, &Conn)> {
        self.conns.iter().filter(move |(_, conn)| conn.is_open(side)).map(|(id, conn)| (*id, conn))
    }
    /// Blocks a direction until a moment.
    pub fn block(&mut self, client: Client, from: Side, until: u64) {
        self.blocked.insert((client, from), until);
    }
    /// Ends every partition.
    pub fn mend(&mut self) {
        self.blocked.clear();
    }
    fn blocked_until(&self, client: Client, from: Side, now: u64) -> Option<u64> {
        self.blocked.get(&(client, from)).copied().filter(|until| *until > now)
    }
    /// A connection to a listening master; nothing when the wires do not allow it.
    pub fn dial(&mut self, client: Client, now: u64) -> Option<u64> {
        let blocked = |side| self.blocked_until(client, side, now).is_some();
        if blocked(Side::Client) || blocked(Side::Master) {
            return None;
        }
        self.opened += 1;
        let session = SessionId::from_u128(self.dice.id());
        let conn =
            Conn { client, session, since: now, open: [true; 2], cut: false, last: [now; 2] };
        self.conns.insert(self.opened, conn);
        Some(self.opened)
    }
    /// Sends; the connection may break on it.
    pub fn send(
        &mut self,
        queue: &mut Queue,
        tally: &mut Tally,
        now: u64,
        (id, from): (u64, Side),
        packet: Packet,
    ) {
        let Some(conn) = self.conns.get(&id).filter(|conn| conn.is_open(from) && !conn.cut) else {
            return;
        };
        let client = conn.client;
        let stalled = self.blocked_until(client, from, now);
        let breaks = match stalled {
            Some(until) => until > now + 20_000 || self.dice.chance(300),
            None => self.loss_per_mille > 0 && self.dice.chance(self.loss_per_mille),
        };
        if breaks {
            tally.fault(Fault::ConnectionReset);
            self.cut(queue, now, id);
            return;
        }
        let slow = self.dice.chance(30);
        let delay = if slow { self.dice.between(50, 3_000) } else { self.dice.between(1, 15) };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let last = &mut conn.last[from.index()];
        let at = (now + delay).max(stalled.unwrap_or(0)).max(*last);
        *last = at;
        queue.plan(at, Event::Deliver { conn: id, to: from.other(), packet: Box::new(packet) });
    }
    /// Nothing sent from now on arrives; each end finds out in its own time.
    fn cut(&mut self, queue: &mut Queue, now: u64, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.cut = true;
        for side in [Side::Client, Side::Master] {
            let late = self.dice.chance(250);
            let wait =
                if late { self.dice.between(5_000, 90_000) } else { self.dice.between(1, 2_000) };
            let conn = &self.conns[&id];
            let at = (now + wait).max(conn.last[side.other().index()]);
            queue.plan(at, Event::Closed { conn: id, side });
        }
    }
    /// One end is closed by its owner, or goes with it.
    pub fn close(&mut self, queue: &mut Queue, now: u64, (id, side): (u64, Side), manner: Manner) {
        let wait = match manner {
            Manner::Told => self.dice.between(1, 20),
            Manner::Silent => self.dice.between(500, 60_000),
        };
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.is_open(side)) else { return };
        conn.open[side.index()] = false;
        if !conn.cut {
            conn.cut = true;
            let at = (now + wait).max(conn.last[side.index()]);
            queue.plan(at, Event::Closed { conn: id, side: side.other() });
        }
        self.forget(id);
    }
    /// One end has found out; true when it did not know.
    pub fn notice(&mut self, id: u64, side: Side) -> Option<Conn> {
        let conn = self.conns.get_mut(&id).filter(|conn| conn.is_open(side))?;
        conn.open[side.index()] = false;
        conn.cut = true;
        let noticed = conn.clone();
        self.forget(id);
        Some(noticed)
    }
    fn forget(&mut self, id: u64) {
        if self.conns.get(&id).is_some_and(|conn| conn.open == [false; 2]) {
            self.conns.remove(&id);
        }
    }
}
