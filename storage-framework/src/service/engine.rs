//! The task that owns the scheduler's core and its ledger.

use super::clock::Clock;
use super::ledger::Ledger;
use super::requests::{Asked, Requests};
use super::rival::{Found, Rivals};
use super::views::Views;
use crate::sdk::{Caller, Client, Notice};
use berth_framework_core::record::Record;
use berth_framework_core::scheduler::{Input, Output, Scheduler, ServiceView};
use berth_ledger::journal;
use berth_model::error::Rejection;
use berth_model::framework::Call;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

/// How often the core looks at deadlines.
const TICK: Duration = Duration::from_millis(200);
/// Requests that wait; further ones wait in their connections.
const REQUESTS_MAX: usize = 256;
/// Inputs that share one commit.
const BATCH_MAX: usize = 512;

/// Why the engine ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ledger could not be written; nothing that was not synced has been told.
    #[error("write the scheduler's ledger: restart when the disk is sound again")]
    Commit(#[source] journal::Error),
    /// The thread that writes the ledger ended.
    #[error("the thread that writes the scheduler's ledger ended: {what}")]
    Thread {
        /// How.
        what: String,
    },
    /// Another scheduler runs the services, or ran them and left them to nobody.
    #[error("{0}")]
    Rival(Rejection),
}

/// Talks to the engine.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) requests: mpsc::Sender<Asked>,
    pub(super) views: watch::Receiver<Arc<Vec<ServiceView>>>,
}

#[derive(Debug)]
pub(super) struct Engine {
    core: Scheduler,
    ledger: Option<Ledger>,
    clock: Clock,
    inbox: mpsc::Receiver<Asked>,
    requests: Requests,
    caller: Option<Caller>,
    rivals: Rivals,
    views: Views,
    records: Vec<Record>,
    outputs: Vec<Output>,
}

impl Engine {
    pub(super) fn new(
        core: Scheduler,
        ledger: Ledger,
        clock: Clock,
        rivals: Rivals,
    ) -> (Self, Handle) {
        let (to, inbox) = mpsc::channel(REQUESTS_MAX);
        let views = Views::new(core.views());
        let handle = Handle { requests: to, views: views.subscribe() };
        let engine = Self {
            core,
            ledger: Some(ledger),
            clock,
            inbox,
            requests: Requests::default(),
            caller: None,
            rivals,
            views,
            records: Vec::new(),
            outputs: Vec::new(),
        };
        (engine, handle)
    }

    /// Runs until the ledger fails, another scheduler is found, or the client ends.
    pub(super) async fn run(mut self, mut client: Client) -> Result<(), EngineError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Each arm is cancel-safe: a message leaves its queue only when its arm is taken.
            tokio::select! {
                notice = client.next() => match notice {
                    Some(notice) => self.notice(notice).await?,
                    None => return Ok(()),
                },
                Some(asked) = self.inbox.recv() => self.asked(asked),
                _ = ticks.tick() => self.input(Input::Tick),
            }
            for _ in 1..BATCH_MAX {
                if let Some(notice) = client.ready() {
                    self.notice(notice).await?;
                } else if let Ok(asked) = self.inbox.try_recv() {
                    self.asked(asked);
                } else {
                    break;
                }
            }
            self.commit().await?;
            // Before the replies, so that whoever was answered finds what was changed.
            self.views.publish(self.core.views());
            self.send();
        }
    }

    fn input(&mut self, input: Input) {
        let step = self.core.step(self.clock.now(), input);
        self.records.extend(step.records);
        self.outputs.extend(step.outputs);
    }

    async fn notice(&mut self, notice: Notice) -> Result<(), EngineError> {
        match notice {
            Notice::Connected(caller) => {
                // Calls that are still waiting belong to the connection before.
                self.forget_calls();
                if self.may_subscribe().await? {
                    self.caller = Some(caller);
                    self.input(Input::Connected);
                }
            },
            Notice::Event(event) => {
                debug!(?event, "event");
                if self.caller.is_some() {
                    self.input(Input::Event(Box::new(event)));
                }
            },
            Notice::Disconnected(why) => {
                if self.caller.take().is_some() {
                    info!(error = %why, "disconnected from the master");
                }
                self.forget_calls();
                self.input(Input::Disconnected);
            },
        }
        Ok(())
    }

    /// False when the master has to be asked again, over another connection.
    async fn may_subscribe(&mut self) -> Result<bool, EngineError> {
        if self.core.state().framework.is_some() {
            return Ok(true);
        }
        match self.rivals.look().await {
            Found::Nobody => Ok(true),
            Found::Somebody(rejection) => Err(EngineError::Rival(rejection)),
            Found::Unclear(rejection) => {
                info!(error = %rejection, "not subscribed: there may be another service scheduler");
                Ok(false)
            },
        }
    }

    fn forget_calls(&mut self) {
        self.outputs.retain(|output| !matches!(output, Output::Call { .. }));
    }

    fn asked(&mut self, asked: Asked) {
        if let Some((request, command)) = self.requests.open(asked) {
            self.input(Input::Command { request, command });
        }
    }

    async fn commit(&mut self) -> Result<(), EngineError> {
        if self.records.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.records);
        for record in &records {
            let (what, object) = record.summary();
            info!(what, object, "recorded");
        }
        let mut ledger = self
            .ledger
            .take()
            .ok_or_else(|| EngineError::Thread { what: "the ledger is away".to_owned() })?;
        let whole = self.core.snapshot();
        let written = tokio::task::spawn_blocking(move || {
            let outcome = ledger.commit(&records, || whole);
            (ledger, outcome)
        });
        let (ledger, outcome) =
            written.await.map_err(|error| EngineError::Thread { what: error.to_string() })?;
        self.ledger = Some(ledger);
        outcome.map_err(EngineError::Commit)
    }

    fn send(&mut self) {
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Call { number, call } => self.send_call(number, &call),
                Output::Reply { request, result } => self.requests.close(request, result),
            }
        }
    }

    fn send_call(&mut self, number: u64, call: &Call) {
        debug!(number, ?call, "call");
        let Some(caller) = &self.caller else { return };
        if caller.call(number, call).is_err() {
            warn!(number, "the master does not take calls: the session is given up");
            self.caller = None;
        }
    }
}
