//! What leaves the master, once it may: over which connection, and what the judges and the mischief learn from it.

use super::World;
use crate::network::{Client, Manner, Packet, Side};
use berth_master_core::Output;
use berth_model::framework;
use berth_model::id::SessionId;
use berth_model::link::Envelope;
use berth_model::view::Change;

impl World {
    pub(super) fn master_says(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.master_says_one(output);
        }
    }

    fn master_says_one(&mut self, output: Output) {
        let Some(process) = &mut self.master.process else { return };
        match output {
            Output::ToAgent { agent, session, message } => {
                let (cluster, epoch, revision) = (process.cluster, process.epoch, process.revision);
                let envelope = Envelope { cluster, epoch, revision, message };
                let life = self.master.life;
                let session_of = (agent, session);
                self.judges.master_tells(
                    &self.master.registry,
                    life,
                    process,
                    (session_of, &envelope),
                );
                if let Some(at) = self.agents.iter().position(|machine| machine.id == agent) {
                    self.agents[at].remember_envelope(&envelope);
                }
                self.master_sends(session, Packet::ToAgent(envelope));
            },
            Output::CloseAgent { agent: _, session } => self.master_closes(session),
            Output::ToFramework { framework, session, event } => {
                if matches!(event, framework::Event::Subscribed { .. }) {
                    process.frameworks.insert(session, framework);
                }
                self.master_sends(session, Packet::Event(event));
            },
            Output::CloseFramework { session, reason } => {
                process.frameworks.remove(&session);
                self.master_sends(session, Packet::Event(framework::Event::Error(reason)));
                self.master_closes(session);
            },
            Output::Reply { reply, result } => {
                if let Some((conn, reply, operation)) = process.replies.remove(&reply) {
                    self.send(conn, Side::Master, Packet::Answer { reply, operation, result });
                }
            },
            Output::FileData { .. } | Output::TransferRefused { .. } => {},
            Output::Changed(Change::Operation(record)) => {
                let watchers: Vec<u64> = self
                    .network
                    .open_at(Side::Master)
                    .filter(|(_, conn)| matches!(conn.client, Client::Operator(_)))
                    .map(|(id, _)| id)
                    .collect();
                for conn in watchers {
                    self.send(
                        conn,
                        Side::Master,
                        Packet::Ended(berth_model::operation::OperationRecord::clone(&record)),
                    );
                }
            },
            Output::Changed(
                Change::Volume(_)
                | Change::Snapshot(_)
                | Change::Task(_)
                | Change::Agent { .. }
                | Change::Framework { .. },
            ) => {},
        }
    }

    fn master_conn(&self, session: SessionId) -> Option<u64> {
        let mut open = self.network.open_at(Side::Master);
        open.find(|(_, conn)| conn.session == session).map(|(id, _)| id)
    }

    fn master_sends(&mut self, session: SessionId, packet: Packet) {
        if let Some(conn) = self.master_conn(session) {
            self.send(conn, Side::Master, packet);
        }
    }

    fn master_closes(&mut self, session: SessionId) {
        if let Some(conn) = self.master_conn(session) {
            self.network.close(&mut self.queue, self.now, (conn, Side::Master), Manner::Told);
        }
    }
}
