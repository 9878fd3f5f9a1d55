//! The ways out of the engine: sessions of agents and frameworks, waiting callers, watchers.
//!
//! All of them are bounded. A session that does not keep up is closed and has to come back; a watcher that does not
//! keep up is cut off. The engine never waits for any of them.

use super::FileData;
use super::batch::Release;
use crate::relay::Relay;
use berth_master_core::Output;
use berth_model::error::Rejection;
use berth_model::framework::Event;
use berth_model::id::{ClusterId, OperationId, SessionId};
use berth_model::link::{Envelope, ToAgent};
use berth_model::operation::OperationRecord;
use berth_model::view::Change;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

/// The way to one agent. Dropping `closing` tells the API that the session is over.
#[derive(Debug)]
pub struct AgentOutlet {
    /// Which connection.
    pub session: SessionId,
    /// What is sent.
    pub sender: mpsc::Sender<Envelope>,
    /// Dropped with the outlet.
    pub closing: oneshot::Sender<()>,
}

/// The way to one framework. Dropping `closing` tells the API that the session is over.
#[derive(Debug)]
pub struct FrameworkOutlet {
    /// Which connection.
    pub session: SessionId,
    /// What is sent.
    pub sender: mpsc::Sender<Event>,
    /// Dropped with the outlet.
    pub closing: oneshot::Sender<()>,
}

type Waiting = Vec<oneshot::Sender<Result<Arc<OperationRecord>, Rejection>>>;

#[derive(Debug)]
pub(super) struct Outlets {
    cluster: ClusterId,
    epoch: u64,
    agents: BTreeMap<SessionId, AgentOutlet>,
    frameworks: BTreeMap<SessionId, FrameworkOutlet>,
    replies: BTreeMap<u64, oneshot::Sender<Result<OperationId, Rejection>>>,
    files: BTreeMap<u64, oneshot::Sender<FileData>>,
    waiting: BTreeMap<OperationId, Waiting>,
    watchers: Vec<mpsc::Sender<Change>>,
    next: u64,
    relay: Arc<Relay>,
}

impl Outlets {
    pub(super) fn new(cluster: ClusterId, epoch: u64, relay: Arc<Relay>) -> Self {
        Self {
            cluster,
            epoch,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            replies: BTreeMap::new(),
            files: BTreeMap::new(),
            waiting: BTreeMap::new(),
            watchers: Vec::new(),
            next: 0,
            relay,
        }
    }

    pub(super) fn attach_agent(&mut self, outlet: AgentOutlet) {
        self.agents.insert(outlet.session, outlet);
    }
    pub(super) fn attach_framework(&mut self, outlet: FrameworkOutlet) {
        self.frameworks.insert(outlet.session, outlet);
    }
    pub(super) fn watch(&mut self, sender: mpsc::Sender<Change>) {
        self.watchers.push(sender);
    }
    pub(super) fn expect_reply(
        &mut self,
        answer: oneshot::Sender<Result<OperationId, Rejection>>,
    ) -> u64 {
        self.next += 1;
        self.replies.insert(self.next, answer);
        self.next
    }
    pub(super) fn expect_file(&mut self, answer: oneshot::Sender<FileData>) -> u64 {
        // Readers that gave up after an agent fell silent.
        self.files.retain(|_, waiting| !waiting.is_closed());
        self.next += 1;
        self.files.insert(self.next, answer);
        self.next
    }
    pub(super) fn expect_end(
        &mut self,
        operation: OperationId,
        answer: oneshot::Sender<Result<Arc<OperationRecord>, Rejection>>,
    ) {
        let waiting = self.waiting.entry(operation).or_default();
        waiting.retain(|w| !w.is_closed());
        waiting.push(answer);
    }

    pub(super) fn release(&mut self, releases: Vec<Release>, revision: u64) {
        for release in releases {
            match release {
                Release::Deliver(deliver) => deliver(),
                Release::Detach(session) => {
                    self.agents.remove(&session);
                    self.frameworks.remove(&session);
                },
                Release::Output(output) => self.emit(*output, revision),
                Release::RefuseCall { session, call, error } => {
                    self.tell_framework(session, Event::Answered { call, result: Err(error) });
                },
            }
        }
    }

    fn emit(&mut self, output: Output, revision: u64) {
        match output {
            Output::ToAgent { session, message, .. } => self.tell_agent(session, message, revision),
            Output::ToFramework { session, event, .. } => self.tell_framework(session, event),
            Output::CloseAgent { agent, session } => {
                info!(%agent, %session, "agent session closed");
                drop(self.agents.remove(&session));
            },
            Output::CloseFramework { session, reason } => {
                info!(%session, code = %reason.code, "framework session closed");
                self.tell_framework(session, Event::Error(reason));
                drop(self.frameworks.remove(&session));
            },
            Output::Reply { reply, result } => {
                if let Some(answer) = self.replies.remove(&reply) {
                    drop(answer.send(result));
                }
            },
            Output::FileData { read, offset, data } => {
                if let Some(answer) = self.files.remove(&read) {
                    drop(answer.send((offset, data)));
                }
            },
            Output::TransferRefused { transfer, reason } => self.relay.refuse(transfer, reason),
            Output::Changed(change) => self.changed(&change),
        }
    }

    fn tell_agent(&mut self, session: SessionId, message: ToAgent, revision: u64) {
        let Some(outlet) = self.agents.get(&session) else {
            debug!(%session, "a message for an agent that is not connected is dropped");
            return;
        };
        let envelope = Envelope { cluster: self.cluster, epoch: self.epoch, revision, message };
        if outlet.sender.try_send(envelope).is_err() {
            warn!(%session, "agent does not keep up or is gone: its session is closed");
            drop(self.agents.remove(&session));
        }
    }

    fn tell_framework(&mut self, session: SessionId, event: Event) {
        let Some(outlet) = self.frameworks.get(&session) else {
            debug!(%session, "an event for a framework that is not connected is dropped");
            return;
        };
        if outlet.sender.try_send(event).is_err() {
            warn!(%session, "framework does not keep up or is gone: its session is closed");
            drop(self.frameworks.remove(&session));
        }
    }

    fn changed(&mut self, change: &Change) {
        if let Change::Operation(record) = change {
            debug!(operation = %record.id, kind = %record.kind, state = record.state.as_str(), "operation");
            if record.state.is_final() {
                for answer in self.waiting.remove(&record.id).unwrap_or_default() {
                    drop(answer.send(Ok(Arc::clone(record))));
                }
            }
        }
        self.watchers.retain(|watcher| watcher.try_send(change.clone()).is_ok());
    }
}
