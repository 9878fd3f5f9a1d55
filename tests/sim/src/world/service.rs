//! The shell of the service scheduler: it takes nothing in while its ledger is written, and sends nothing before.

use super::World;
use crate::network::{Client, Manner, Packet, Side};
use crate::queue::Event;
use berth_framework_core::scheduler::{Input, Output};
use berth_model::framework;
use berth_model::framework::Call;
use berth_model::id::{AgentId, OfferId};

impl World {
    pub(crate) fn service_start(&mut self) {
        let now = self.clock(0);
        let Some(service) = &mut self.service else { return };
        if service.process.is_some() {
            return;
        }
        if let Err(error) = service.start(now) {
            self.judges.report("I6 durability", format!("ledger of the scheduler: {error}"));
            return;
        }
        let life = service.life;
        self.queue.plan(self.now + 100, Event::ServiceWake { life });
    }

    /// The process dies, in a power loss or alone; a commit on its way may have landed.
    pub(crate) fn service_dies(&mut self, power: bool) {
        let Some(service) = &mut self.service else { return };
        let Some(mut process) = service.process.take() else { return };
        service.life += 1;
        if process.in_commit() {
            service.disk.stop_after(service.dice.between(0, 2));
            drop(process.commit());
        }
        if power {
            service.disk.crash(service.dice.rng());
        } else {
            service.disk.kill();
        }
        let wait = service.dice.between(300, 15_000);
        let manner = if power { Manner::Silent } else { Manner::Told };
        if let Some(conn) = process.conn {
            self.network.close(&mut self.queue, self.now, (conn, Side::Client), manner);
        }
        self.queue.plan(self.now + wait, Event::ServiceStart);
    }

    pub(crate) fn service_wake(&mut self, life: u64) {
        let Some(service) = self.service.as_mut().filter(|service| service.life == life) else {
            return;
        };
        self.queue.plan(self.now + 1_000, Event::ServiceWake { life });
        let command = service.command();
        let Some(process) = &service.process else { return };
        if process.conn.is_none() {
            let conn = self.dial(Client::Service);
            if let Some(process) = self.service.as_mut().and_then(|s| s.process.as_mut()) {
                process.conn = conn;
            }
            if conn.is_some() {
                self.service_input(Input::Connected);
            }
        }
        if let Some(command) = command {
            self.service_input(Input::Command { request: 1, command });
        }
        self.service_input(Input::Tick);
    }

    pub(crate) fn service_hears(&mut self, conn: u64, packet: Packet) {
        let Packet::Event(event) = packet else { return };
        let process = self.service.as_ref().and_then(|service| service.process.as_ref());
        if process.is_none_or(|process| process.conn != Some(conn)) {
            return;
        }
        if let framework::Event::Operation(record) = &event {
            self.history.told(record.id, &record.state);
        }
        if let framework::Event::Answered { result: Ok(ids), .. } = &event {
            for id in ids {
                self.history.accepted(*id);
            }
        }
        if let framework::Event::Offers(offers) = &event {
            let agents = offers.iter().map(|offer| (offer.id, offer.agent));
            self.history.offers.extend(agents);
        }
        let ends = matches!(event, framework::Event::Error(_));
        self.service_input(Input::Event(Box::new(event)));
        if ends {
            self.network.close(&mut self.queue, self.now, (conn, Side::Client), Manner::Told);
            self.service_lost_master(conn);
        }
    }

    pub(crate) fn service_lost_master(&mut self, conn: u64) {
        let Some(process) = self.service.as_mut().and_then(|s| s.process.as_mut()) else { return };
        if process.conn == Some(conn) {
            process.conn = None;
            process.forget_calls();
            self.service_input(Input::Disconnected);
        }
    }

    fn service_input(&mut self, input: Input) {
        let now = self.clock(0);
        let Some(service) = &mut self.service else { return };
        let Some(process) = &mut service.process else { return };
        if process.in_commit() {
            process.inbox.push_back(input);
            return;
        }
        let (commits, outputs) = process.take(now, input);
        if commits {
            let (life, wait) = (service.life, service.dice.between(1, 8));
            self.queue.plan(self.now + wait, Event::ServiceCommitted { life });
        }
        self.service_says(outputs);
    }

    pub(crate) fn service_committed(&mut self, life: u64) {
        let Some(service) = self.service.as_mut().filter(|service| service.life == life) else {
            return;
        };
        let Some(process) = &mut service.process else { return };
        match process.commit() {
            Ok(outputs) => self.service_says(outputs),
            Err(_) => {
                self.service_dies(false);
                return;
            },
        }
        while let Some(process) = self.service.as_mut().and_then(|s| s.process.as_mut()) {
            if process.in_commit() {
                return;
            }
            let Some(input) = process.inbox.pop_front() else { return };
            self.service_input(input);
        }
    }

    fn service_says(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            let Output::Call { number, call } = output else { continue };
            self.note(|| format!("  service calls {call:?}"));
            let process = self.service.as_ref().and_then(|service| service.process.as_ref());
            let Some(conn) = process.and_then(|process| process.conn) else { return };
            self.history.called(self.agent_of(&call), &call);
            let packet = Packet::Call { call: number, body: call };
            self.send(conn, Side::Client, packet);
        }
    }

    fn agent_of(&self, call: &Call) -> Option<AgentId> {
        let Call::Accept { offers, .. } = call else { return None };
        offers.iter().find_map(|offer: &OfferId| self.history.offers.get(offer).copied())
    }
}
