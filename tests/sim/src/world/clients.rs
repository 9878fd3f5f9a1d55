//! The wires between frameworks, operators and the master, and what the history learns from them.

use super::World;
use crate::framework::{Conduct, Sent};
use crate::network::{Client, Manner, Packet, Side};
use crate::queue::Event;
use crate::sight::Sight;
use berth_master_core::query;
use berth_model::error::ErrorCode;
use berth_model::framework::{self, AcceptMode};
use berth_model::operation::{OfferOperation, OperationState};
use berth_model::transaction::{Outcome, PlacementResult};

impl World {
    /// A connection to a listening master, if the wires allow it.
    pub(crate) fn dial(&mut self, client: Client) -> Option<u64> {
        let listening = self.master.process.as_ref().is_some_and(|p| p.listening);
        if listening { self.network.dial(client, self.now) } else { None }
    }

    pub(crate) fn framework_start(&mut self, at: usize) {
        let framework = &mut self.frameworks[at];
        if framework.up {
            return;
        }
        framework.restart(true);
        let life = framework.life;
        self.queue.plan(self.now + 50, Event::FrameworkAct { framework: at, life });
    }

    pub(crate) fn framework_dies(&mut self, at: usize) {
        let conn = self.frameworks[at].conn;
        self.frameworks[at].restart(false);
        if let Some(conn) = conn {
            let manner = if self.dice.flip() { Manner::Told } else { Manner::Silent };
            self.network.close(&mut self.queue, self.now, (conn, Side::Client), manner);
        }
        let wait = self.dice.between(500, 20_000);
        self.queue.plan(self.now + wait, Event::FrameworkStart { framework: at });
    }

    pub(crate) fn framework_act(&mut self, at: usize, life: u64) {
        if self.frameworks[at].life != life {
            return;
        }
        let wait = if self.in_trouble() { self.dice.between(100, 2_500) } else { 2_000 };
        self.queue.plan(self.now + wait, Event::FrameworkAct { framework: at, life });
        if self.frameworks[at].conn.is_none() {
            let Some(conn) = self.dial(Client::Framework(at)) else { return };
            let framework = &mut self.frameworks[at];
            framework.conn = Some(conn);
            let sent = framework.subscribe();
            self.framework_calls(at, vec![sent]);
            return;
        }
        if self.frameworks[at].conduct == Conduct::Cell && self.dice.flip() {
            self.framework_looks(at);
        }
        let calls = self.frameworks[at].act(&mut self.tally);
        self.framework_calls(at, calls);
    }

    /// What it sees is what there is now; until it looks again it is what there was.
    fn framework_looks(&mut self, at: usize) {
        let framework = &mut self.frameworks[at];
        let process = self.master.process.as_ref().filter(|process| process.listening);
        let (Some(process), Some(id)) = (process, &framework.id) else { return };
        let state = process.core.state();
        let seen = query::watch_cell(state, id)
            .and_then(|watch| query::cell_part(state, &watch, None, usize::MAX));
        if let Ok(seen) = seen {
            framework.cell = seen;
        }
    }

    fn framework_calls(&mut self, at: usize, calls: Vec<Sent>) {
        for sent in calls {
            let framework = &mut self.frameworks[at];
            let Some(conn) = framework.conn else { return };
            let call = framework.number(&sent);
            self.history.called(sent.agent, &sent.call);
            self.send(conn, Side::Client, Packet::Call { call, body: sent.call });
        }
    }

    pub(crate) fn framework_hears(&mut self, at: usize, conn: u64, packet: Packet) {
        let Packet::Event(event) = packet else { return };
        if self.frameworks[at].conn != Some(conn) {
            return;
        }
        match &event {
            framework::Event::Operation(record) => {
                self.history.told(record.id, &record.state);
                if matches!(&record.state, OperationState::Failed(e) if e.code == ErrorCode::Conflict)
                {
                    self.tally.deed("conflicts");
                }
            },
            framework::Event::Answered { call, result } => {
                if let Some(sent) = self.frameworks[at].unanswered.remove(call) {
                    self.framework_answered(&sent.call, result);
                }
            },
            framework::Event::Committed { call, results, .. } => {
                if let Some(sent) = self.frameworks[at].unanswered.remove(call) {
                    self.framework_committed(&sent.call, results);
                }
            },
            framework::Event::Error(_) => {
                let calls = self.frameworks[at].hear(event);
                self.framework_calls(at, calls);
                self.network.close(&mut self.queue, self.now, (conn, Side::Client), Manner::Told);
                self.frameworks[at].conn = None;
                self.frameworks[at].lost_master();
                return;
            },
            framework::Event::Subscribed { .. }
            | framework::Event::Offers(_)
            | framework::Event::Rescind(_)
            | framework::Event::Status(_)
            | framework::Event::AgentLost(_)
            | framework::Event::Heartbeat => {},
        }
        let calls = self.frameworks[at].hear(event);
        self.framework_calls(at, calls);
    }

    pub(crate) fn framework_answered(
        &mut self,
        call: &framework::Call,
        result: &Result<Vec<berth_model::id::OperationId>, berth_model::error::Rejection>,
    ) {
        let operations = match call {
            framework::Call::Accept { operations, .. } => operations.iter().collect(),
            framework::Call::Commit(transaction) => {
                transaction.placements.iter().flat_map(|p| &p.operations).collect::<Vec<_>>()
            },
            _other => return,
        };
        for OfferOperation { id, .. } in operations {
            match result {
                Ok(ids) if ids.contains(id) => self.history.accepted(*id),
                Ok(_) => {},
                Err(_) => self.history.refused(*id),
            }
        }
    }

    /// What was done is known to be accepted, and of all or nothing what was not done to be refused.
    fn framework_committed(&mut self, call: &framework::Call, results: &[PlacementResult]) {
        let framework::Call::Commit(transaction) = call else { return };
        let is_whole = transaction.mode == AcceptMode::AllOrNothing;
        for (placement, result) in transaction.placements.iter().zip(results) {
            for OfferOperation { id, .. } in &placement.operations {
                match &result.outcome {
                    Outcome::Done => {
                        self.tally.deed("placements");
                        self.history.accepted(*id);
                    },
                    Outcome::Conflict { .. } | Outcome::Refused(_) | Outcome::NotDone => {
                        if is_whole {
                            self.history.refused(*id);
                        }
                    },
                }
            }
        }
    }

    pub(crate) fn framework_lost_master(&mut self, at: usize, conn: u64) {
        let framework = &mut self.frameworks[at];
        if framework.conn == Some(conn) {
            framework.conn = None;
            framework.lost_master();
        }
    }

    pub(crate) fn operator_act(&mut self, at: usize) {
        let wait = self.operators[at].pause();
        self.queue.plan(self.now + wait, Event::OperatorAct { operator: at });
        if self.operators[at].conn.is_none() {
            self.operators[at].conn = self.dial(Client::Operator(at));
        }
        let Some(conn) = self.operators[at].conn else { return };
        let agents = self.agents.iter().map(|machine| machine.id).collect();
        let sight = Sight::of(agents, self.master.registry.records());
        let Some((operation, request)) = self.operators[at].act(&sight, &mut self.tally) else {
            return;
        };
        self.history.submitted(operation, &request);
        let reply = self.operators[at].number(operation, &request);
        self.send(conn, Side::Client, Packet::Submit { reply, operation, request });
    }

    pub(crate) fn operator_hears(&mut self, at: usize, conn: u64, packet: Packet) {
        if self.operators[at].conn != Some(conn) {
            return;
        }
        match packet {
            Packet::Answer { reply, operation, result } => {
                self.operators[at].unanswered.remove(&reply);
                match result {
                    Ok(_) => self.history.accepted(operation),
                    Err(_) => self.history.refused(operation),
                }
            },
            Packet::Ended(record) => {
                self.operators[at].ended(&record);
                self.history.told(record.id, &record.state);
            },
            Packet::FromAgent(_)
            | Packet::ToAgent(_)
            | Packet::Call { .. }
            | Packet::Event(_)
            | Packet::Submit { .. } => {},
        }
    }

    pub(crate) fn operator_lost_master(&mut self, at: usize, conn: u64) {
        if self.operators[at].conn == Some(conn) {
            self.operators[at].lost_master();
        }
    }
}
