//! The agent's side of the stack: its deciding core, the production ledger thread, and a driver that only remembers.
//!
//! It is fed by the master's engine directly, without a socket. Like the agent's engine it keeps one batch under
//! way at the ledger, collects the next one meanwhile, and lets an output go only after its records are synced.

use super::stack::Counters;
use anyhow::{Context, bail};
use berth_agent::engine::ledger::{Done, Job, Ledger};
use berth_agent::volume::Volumes;
use berth_agent::volume::driver::Driver;
use berth_agent::volume::fake::Fake;
use berth_agent_core::{Agent, Config, Input, Output, Step, stamp};
use berth_ledger::disk::real::RealDisk;
use berth_ledger::journal::{Journal, Options};
use berth_master::engine::{AgentOutlet, Handle};
use berth_master_core::Input as MasterInput;
use berth_model::agent::{AgentInfo, Disk, DiskHealth};
use berth_model::id::{AgentId, DiskId, SessionId};
use berth_model::link::{Envelope, FromAgent};
use berth_model::resources::{DiskSource, parse_resources};
use berth_model::units::{Bytes, Timestamp};
use berth_model::volume::Enforcement;
use berth_proto::ledger;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

pub(super) const AGENT: AgentId = AgentId::from_u128(2);
const SESSION: SessionId = SessionId::from_u128(3);
/// The engine closes the session of an agent that does not keep up.
const QUEUE: usize = 4_096;

#[derive(Default)]
struct Batch {
    records: Vec<Vec<u8>>,
    outputs: Vec<Output>,
}

/// One agent without a process of its own.
pub(super) struct Side {
    core: Agent,
    ledger: Ledger,
    volumes: Volumes,
    master: Handle,
    envelopes: mpsc::Receiver<Envelope>,
    outlet: Option<AgentOutlet>,
    collecting: Batch,
    under_way: Option<Vec<Output>>,
    answers: VecDeque<Input>,
    seq: u64,
    wants_snapshot: bool,
    start: Instant,
    counters: Arc<Counters>,
}

fn info() -> anyhow::Result<AgentInfo> {
    let size = Bytes::from_mib(4 << 20);
    Ok(AgentInfo {
        id: AGENT,
        hostname: Arc::from("bench"),
        attributes: BTreeMap::new(),
        declared: parse_resources("cpus:4;mem:4GiB;disk:4TiB").context("resources")?,
        disks: vec![Disk {
            id: DiskId::from_u128(4),
            name: Arc::from("root"),
            source: DiskSource::Root,
            root: Arc::from("/nowhere"),
            driver: Arc::from("fake"),
            driver_reason: Arc::from("a benchmark of everything else"),
            enforcement: Enforcement::None,
            size,
            free: size,
            health: DiskHealth::Ok,
        }],
        limitations: Vec::new(),
        version: Arc::from("bench"),
    })
}

impl Side {
    /// A new agent with its ledger in `dir`, and what it has to do first.
    pub(super) fn new(
        dir: &Path,
        master: Handle,
        counters: Arc<Counters>,
    ) -> anyhow::Result<(Self, Step)> {
        let disk = RealDisk::open(&dir.join("ledger")).context("open the ledger's folder")?;
        let journal = Journal::create(disk, AGENT.as_u128().to_be_bytes(), Options::default())
            .context("create the ledger")?;
        let driver: Arc<dyn Driver> = Arc::new(Fake::new(Bytes::from_mib(8 << 20)));
        let (core, first) =
            Agent::recover(Config::default(), info()?, Vec::new(), 0, Timestamp::from_ms(1));
        let (sender, envelopes) = mpsc::channel(QUEUE);
        let (closing, _closed) = oneshot::channel();
        let side = Self {
            core,
            ledger: Ledger::start(journal).context("start the ledger's thread")?,
            volumes: Volumes::with_drivers(BTreeMap::from([(DiskSource::Root, driver)])),
            master,
            envelopes,
            outlet: Some(AgentOutlet { session: SESSION, sender, closing }),
            collecting: Batch::default(),
            under_way: None,
            answers: VecDeque::new(),
            seq: 0,
            wants_snapshot: false,
            start: Instant::now(),
            counters,
        };
        Ok((side, first))
    }

    /// Runs until the master's engine ends.
    pub(super) async fn run(mut self, first: Step) -> anyhow::Result<()> {
        self.take(first);
        self.step(Input::Connected { session: SESSION });
        loop {
            self.flush().await?;
            tokio::select! {
                biased;
                done = self.ledger.done(), if self.under_way.is_some() => {
                    self.synced(done.context("ledger")?).await?;
                },
                envelope = self.envelopes.recv() => {
                    let Some(envelope) = envelope else { break };
                    self.step(Input::Master(envelope));
                    while let Ok(envelope) = self.envelopes.try_recv() {
                        self.step(Input::Master(envelope));
                    }
                },
            }
        }
        self.ledger.close().await;
        Ok(())
    }

    fn step(&mut self, input: Input) {
        let now = Timestamp::from_ms(1).after(self.start.elapsed());
        let step = self.core.step(now, input);
        self.take(step);
    }

    fn take(&mut self, step: Step) {
        self.collecting.records.extend(step.records.iter().map(ledger::encode));
        self.collecting.outputs.extend(step.outputs);
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        while self.under_way.is_none() {
            let Batch { records, outputs } = std::mem::take(&mut self.collecting);
            if records.is_empty() {
                if outputs.is_empty() {
                    return Ok(());
                }
                self.release(outputs).await?;
                continue;
            }
            let bytes: usize = records.iter().map(|r| r.len() + 40).sum();
            self.counters.ledger_bytes.fetch_add(bytes.next_multiple_of(512), Relaxed);
            self.counters.syncs.fetch_add(1, Relaxed);
            let snapshot = std::mem::take(&mut self.wants_snapshot)
                .then(|| ledger::encode_snapshot(&self.core.snapshot()));
            self.ledger.commit(Job { records, snapshot }).context("ledger")?;
            self.under_way = Some(outputs);
        }
        Ok(())
    }

    async fn synced(&mut self, done: Done) -> anyhow::Result<()> {
        self.seq = done.seq;
        self.wants_snapshot |= done.wants_snapshot;
        let outputs = self.under_way.take().unwrap_or_default();
        self.release(outputs).await
    }

    async fn release(&mut self, outputs: Vec<Output>) -> anyhow::Result<()> {
        for output in outputs {
            match output {
                Output::Send(message) => self.send(stamp(message, self.seq)).await?,
                Output::Volume { token, effect } => {
                    let outcome = self.volumes.run(&effect);
                    let volume = effect.spec().id;
                    self.answers.push_back(Input::Volume { volume, token, outcome });
                },
                Output::Disconnect { reason } => bail!("the agent left: {reason}"),
                Output::Container(_)
                | Output::ReadFile { .. }
                | Output::Log { .. }
                | Output::Stopped => {},
            }
        }
        while let Some(answer) = self.answers.pop_front() {
            self.step(answer);
        }
        Ok(())
    }

    async fn send(&mut self, message: FromAgent) -> anyhow::Result<()> {
        let input = MasterInput::Agent { agent: AGENT, session: SESSION, message };
        let sent = match self.outlet.take() {
            Some(outlet) => self.master.open_agent(outlet, input).await,
            None => self.master.input(input).await,
        };
        sent.context("the master's engine")
    }
}
