//! The engine: one task that owns the master's state.
//!
//! It takes inputs from a bounded queue, lets `berth-master-core` decide, and collects what is to be written and
//! told into the open batch. One batch is in flight at the registry thread; the next one collects meanwhile
//! (group commit, no timer). Nothing of a batch leaves before the batch is synced. A failed commit ends the engine:
//! restart is the only recovery.

pub mod audit;
#[cfg(test)]
mod audit_tests;
mod batch;
mod committer;
mod handle;
mod outlets;
#[cfg(test)]
mod tests;

pub use handle::{FileData, FileRange, Handle, Query, Reading};
pub use outlets::{AgentOutlet, FrameworkOutlet};

use crate::clock::Clock;
use crate::registry::{Loaded, Store, StoreError, encode};
use crate::relay::Relay;
use batch::{Batch, Release};
use berth_master_core::{Config, Input, Master, Optimistic, RecoverError};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{ClusterId, OperationId};
use berth_model::operation::OperationRecord;
use berth_model::record::RegistryRecord;
use berth_proto::{DecodeError, registry};
use committer::Committer;
use handle::Message;
use outlets::Outlets;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info};

/// How many inputs wait for the engine before callers wait themselves.
const QUEUE: usize = 1_024;
/// How many effects the open batch collects before the engine stops taking inputs.
const BATCH_LIMIT: usize = 8_192;

/// Why the engine ended or could not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The registry.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record cannot be read.
    #[error(
        "registry holds a record that cannot be read: restore it from a backup (docs/operations.md, Recover)"
    )]
    Record(#[source] DecodeError),
    /// The records contradict each other.
    #[error(
        "registry records contradict each other: restore it from a backup (docs/operations.md, Recover)"
    )]
    Recover(#[source] RecoverError),
    /// The registry thread could not be started or is gone.
    #[error("registry thread is not there: {what}")]
    Thread {
        /// What happened.
        what: String,
    },
}

/// The engine before it runs.
#[derive(Debug)]
pub struct Engine {
    core: Master,
    committer: Committer,
    inbox: mpsc::Receiver<Message>,
    outlets: Outlets,
    clock: Clock,
    steps: watch::Sender<u64>,
    open: Batch,
    in_flight: Option<Vec<Release>>,
}

/// What the shell decides; the core's other settings keep their defaults.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Used when the registry is empty.
    pub new_cluster: ClusterId,
    /// See [`Config::heartbeat`].
    pub heartbeat: Duration,
    /// See [`Config::agent_timeout`].
    pub agent_timeout: Duration,
    /// See [`Config::offer_timeout`].
    pub offer_timeout: Option<Duration>,
    /// See [`Config::optimistic`].
    pub optimistic: Optimistic,
    /// See [`Config::audit_entries`].
    pub audit_entries: u64,
    /// See [`Config::audit_age`].
    pub audit_age: Option<Duration>,
}

impl Engine {
    /// Loads the registry, opens a new epoch and syncs it before anybody is served.
    ///
    /// # Errors
    /// The registry cannot be read, or the new epoch cannot be synced.
    pub fn start(
        mut store: Box<dyn Store>,
        settings: &EngineConfig,
    ) -> Result<(Self, Handle), EngineError> {
        let clock = Clock::start();
        let Loaded { revision, records, log, log_fault } = store.load()?;
        let mut records = records
            .iter()
            .map(|(key, value)| registry::decode(key, value))
            .collect::<Result<Vec<_>, _>>()
            .map_err(EngineError::Record)?;
        let tail = audit::tail(&log, log_fault);
        records.extend(tail.entries);
        let (cluster, epoch) = records
            .iter()
            .find_map(|record| match record {
                RegistryRecord::Meta { cluster, epoch, .. } => Some((*cluster, *epoch)),
                _ => None,
            })
            .unwrap_or((settings.new_cluster, 0));
        let epoch = epoch + 1;
        let config = Config {
            heartbeat: settings.heartbeat,
            agent_timeout: settings.agent_timeout,
            offer_timeout: settings.offer_timeout,
            optimistic: settings.optimistic.clone(),
            audit_entries: settings.audit_entries,
            audit_age: settings.audit_age,
            audit_fault: tail.fault,
            audit_last: tail.last,
            ..Config::new(cluster, epoch, revision)
        };
        let (core, step) =
            Master::recover(config, records, clock.now()).map_err(EngineError::Recover)?;
        if let Some(fault) = berth_master_core::query::audit(core.state()).fault {
            error!(%fault, "the audit log is damaged; see `berth audit verify`");
        }
        let encoded = encode(&step.writes);
        let revision = store.commit(revision, &encoded)?;
        info!(%cluster, epoch, revision, "epoch opened");
        let committer = Committer::start(store, revision)?;
        let (sender, inbox) = mpsc::channel(QUEUE);
        let mut open = Batch::default();
        let relay = Arc::new(Relay::default());
        let (steps, watched) = watch::channel(0);
        open.add_outputs(step.outputs);
        let engine = Self {
            core,
            committer,
            inbox,
            outlets: Outlets::new(cluster, epoch, Arc::clone(&relay)),
            clock,
            steps,
            open,
            in_flight: None,
        };
        Ok((engine, Handle::new(sender, relay, watched)))
    }

    /// Runs until every handle is gone or the registry fails.
    ///
    /// # Errors
    /// A commit failed; what was not synced was told to nobody.
    pub async fn run(mut self) -> Result<(), EngineError> {
        loop {
            self.pump()?;
            let pause = self.pause();
            tokio::select! {
                biased;
                committed = self.committer.committed(), if self.in_flight.is_some() => {
                    self.finish_batch(committed?);
                },
                message = self.inbox.recv(), if self.open.len() < BATCH_LIMIT => {
                    let Some(message) = message else {
                        info!("engine ends: every handle is gone");
                        return Ok(());
                    };
                    self.take(message);
                    self.take_waiting();
                },
                () = tokio::time::sleep(pause) => self.step(Input::Tick),
            }
        }
    }

    /// Takes what waits already, so that one batch serves many callers.
    fn take_waiting(&mut self) {
        while self.open.len() < BATCH_LIMIT {
            let Ok(message) = self.inbox.try_recv() else { return };
            self.take(message);
        }
    }

    fn pause(&self) -> Duration {
        let longest = Duration::from_millis(1_000);
        match self.core.next_deadline() {
            Some(at) => at.since(self.clock.now()).clamp(Duration::from_millis(1), longest),
            None => longest,
        }
    }

    fn step(&mut self, input: Input) {
        let step = self.core.step(self.clock.now(), input);
        self.open.add_writes(step.writes);
        self.open.add_outputs(step.outputs);
        // Who is woken asks, and the answer to a question leaves when what it saw is synced.
        let point = berth_master_core::query::cell_point(self.core.state());
        self.steps.send_if_modified(|known| std::mem::replace(known, point) != point);
    }

    fn take_input(&mut self, input: Input) {
        let gone = match &input {
            Input::AgentDisconnected { session, .. }
            | Input::FrameworkDisconnected { session, .. } => Some(*session),
            _ => None,
        };
        self.step(input);
        // After what was decided before: a peer that only ended its own side still reads its answers.
        if let Some(session) = gone {
            self.open.add_detach(session);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Input(input) => self.take_input(*input),
            Message::OpenAgent(outlet, first) => {
                self.outlets.attach_agent(outlet);
                self.step(*first);
            },
            Message::OpenFramework(outlet, first) => {
                self.outlets.attach_framework(outlet);
                self.step(*first);
            },
            Message::Watch(sender) => self.outlets.watch(sender),
            Message::Submit { operation, fingerprint, request, said, answer } => {
                let reply = self.outlets.expect_reply(answer);
                let request = *request;
                self.step(Input::Operator { reply, operation, fingerprint, request, said });
            },
            Message::ReadLog { from, limit, answer } => self.committer.read(from, limit, answer),
            Message::ReadFile { range, answer } => {
                let read = self.outlets.expect_file(answer);
                let FileRange { framework, task, stream, offset, length } = range;
                self.step(Input::ReadFile { read, framework, task, stream, offset, length });
            },
            Message::TryDisk { request, answer } => {
                let read = self.outlets.expect_file(answer);
                self.step(Input::TryDisk { read, request: *request });
            },
            Message::Check { operation, request, said, answer } => {
                let outcome = self.core.check(self.clock.now(), &request);
                if let (Err(error), true) = (&outcome, said.in_earnest) {
                    let (request, error) = (*request, error.clone());
                    self.step(Input::Refused { operation, request, said, error });
                }
                self.open.add_delivery(Box::new(move || drop(answer.send(outcome))));
            },
            Message::RefuseCall { session, call, error } => {
                self.open.add_call_refusal(session, call, error);
            },
            Message::Wait { operation, answer } => self.wait(operation, answer),
            Message::Query(query) => {
                // The batch in flight and the open one will each have raised the revision by then.
                let revision = self.committer.revision()
                    + u64::from(self.in_flight.is_some())
                    + u64::from(self.open.has_writes());
                let deliver =
                    query(&Reading { state: self.core.state(), now: self.clock.now(), revision });
                self.open.add_delivery(deliver);
            },
        }
    }

    fn wait(
        &mut self,
        operation: OperationId,
        answer: oneshot::Sender<Result<Arc<OperationRecord>, Rejection>>,
    ) {
        match berth_master_core::query::operation(self.core.state(), operation) {
            Some(record) if record.state.is_final() => {
                self.open.add_delivery(Box::new(move || drop(answer.send(Ok(record)))));
            },
            Some(_running) => self.outlets.expect_end(operation, answer),
            None => {
                let refused = Rejection::new(
                    ErrorCode::UnknownOperation,
                    format!("operation {operation} is not known"),
                )
                .field("operation_id")
                .remedy("see `berth operation list`; ended operations are kept for a while only");
                self.open.add_delivery(Box::new(move || drop(answer.send(Err(refused)))));
            },
        }
    }

    /// Sends the open batch off when nothing is in flight; a batch that changed nothing leaves at once.
    fn pump(&mut self) -> Result<(), EngineError> {
        if self.in_flight.is_some() || self.open.is_empty() {
            return Ok(());
        }
        let (writes, releases) = std::mem::take(&mut self.open).into_parts();
        if writes.is_empty() {
            self.outlets.release(releases, self.committer.revision());
            return Ok(());
        }
        self.committer.commit(writes)?;
        self.in_flight = Some(releases);
        Ok(())
    }

    fn finish_batch(&mut self, revision: u64) {
        match self.in_flight.take() {
            Some(releases) => self.outlets.release(releases, revision),
            None => error!(revision, "a batch was committed that nobody waits for"),
        }
    }
}
