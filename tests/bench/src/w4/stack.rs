//! Master and agent in one thread: production cores, registry and ledger, without sockets and with a driver that only
//! remembers.
//!
//! Each side collects what has arrived, decides, commits once, and only then lets its outputs out: the same group commit as the
//! daemons' engines.

use anyhow::{Context, bail};
use berth_agent::volume::Volumes;
use berth_agent::volume::driver::Driver;
use berth_agent::volume::fake::Fake;
use berth_agent_core::{Agent, Input as AgentInput, Output as AgentOutput, stamp};
use berth_ledger::disk::real::RealDisk;
use berth_ledger::journal::{Journal, Options};
use berth_master::registry::{self, Change as Write, RocksStore, Store};
use berth_master_core::{Config, Input, Master, Output};
use berth_model::agent::{AgentInfo, Disk, DiskHealth, Media};
use berth_model::audit::Said;
use berth_model::id::{
    AgentId, ClusterId, DiskId, OperationId, SessionId, VolumeId, VolumeName, derive,
};
use berth_model::link::{Envelope, FromAgent};
use berth_model::operation::OperationState;
use berth_model::operator::{DiskChoice, Request, VolumeChoice};
use berth_model::record::{LedgerRecord, RegistryWrite};
use berth_model::resources::{DiskSource, parse_resources};
use berth_model::role::Role;
use berth_model::units::{Bytes, Timestamp};
use berth_model::view::Change;
use berth_model::volume::Enforcement;
use berth_proto::ledger;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const CLUSTER: ClusterId = ClusterId::from_u128(1);
const AGENT: AgentId = AgentId::from_u128(2);
const SESSION: SessionId = SessionId::from_u128(3);

/// What was written and synced so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) syncs: usize,
    pub(super) registry_bytes: usize,
    pub(super) ledger_bytes: usize,
}

/// The whole path from a client's request to its durable end.
#[derive(Debug)]
pub(super) struct Stack {
    master: Master,
    store: RocksStore,
    revision: u64,
    agent: Agent,
    journal: Journal<RealDisk>,
    volumes: Volumes,
    now: Timestamp,
    to_master: VecDeque<Input>,
    to_agent: VecDeque<AgentInput>,
    /// Kept for their capacity.
    writes: Vec<RegistryWrite>,
    outputs: Vec<Output>,
    ended: Vec<(OperationId, OperationState, Vec<VolumeId>)>,
    minted: u64,
    pub(super) counters: Counters,
}

fn info() -> anyhow::Result<AgentInfo> {
    let size = Bytes::from_mib(4 << 20);
    Ok(AgentInfo {
        id: AGENT,
        hostname: Arc::from("bench"),
        attributes: Arc::default(),
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
            media: Media::Unknown,
            orphans: Vec::new(),
            no_snapshots: BTreeMap::new(),
            wipes: Vec::new(),
            added: false,
            no_encryption: None,
        }],
        limitations: Vec::new(),
        version: Arc::from("bench"),
    })
}

impl Stack {
    /// A new cluster of one agent in `dir`.
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        let now = Timestamp::from_ms(1);
        let mut store = RocksStore::open(&dir.join("registry"))?;
        let config = Config::new(CLUSTER, 1, 0);
        let (master, first) = Master::recover(config, Vec::new(), now)?;
        let revision = store.commit(0, &encode(&first.writes).0)?;
        let disk = RealDisk::open(&dir.join("ledger")).context("open the ledger's folder")?;
        let options = Options::default();
        let journal = Journal::create(disk, AGENT.as_u128().to_be_bytes(), options)
            .context("create the ledger")?;
        let driver: Arc<dyn Driver> = Arc::new(Fake::new(Bytes::from_mib(8 << 20)));
        let volumes = Volumes::with_drivers(BTreeMap::from([(DiskSource::Root, driver)]));
        let (agent, step) =
            Agent::recover(berth_agent_core::Config::default(), info()?, Vec::new(), 0, now);
        let mut stack = Self {
            master,
            store,
            revision,
            agent,
            journal,
            volumes,
            now,
            to_master: VecDeque::new(),
            to_agent: VecDeque::new(),
            writes: Vec::new(),
            outputs: Vec::new(),
            ended: Vec::new(),
            minted: 0,
            counters: Counters::default(),
        };
        stack.finish_agent(step.records, step.outputs)?;
        stack.to_agent.push_back(AgentInput::Connected { session: SESSION });
        stack.settle()?;
        Ok(stack)
    }

    /// `clients` clients create `each` volumes, each the next one when its last is durable on both sides.
    pub(super) fn create(&mut self, clients: usize, each: usize) -> anyhow::Result<Vec<VolumeId>> {
        let mut made = Vec::with_capacity(clients * each);
        for _ in 0..each {
            made.extend(self.round(clients)?);
        }
        Ok(made)
    }

    fn round(&mut self, clients: usize) -> anyhow::Result<Vec<VolumeId>> {
        let role = Role::new("bench").context("role")?;
        for _ in 0..clients {
            let request = Request::CreateVolume {
                name: VolumeName::new(&format!("v{}", self.minted)).context("name")?,
                role: role.clone(),
                principal: None,
                size: Bytes::from_mib(1),
                agent: Some(AGENT),
                disk: DiskChoice::Any,
                container_path: Arc::from("data"),
                access: berth_model::access::Access::default(),
                encrypted: false,
                import: None,
                shared: false,
            };
            self.submit(request);
        }
        self.finish(clients)
    }

    /// Destroys and purges volumes.
    pub(super) fn remove(&mut self, volumes: &[VolumeId]) -> anyhow::Result<()> {
        for part in volumes.chunks(super::core::CLIENTS) {
            for id in part {
                self.submit(Request::DestroyVolume { volume: VolumeChoice::Id(*id) });
            }
            self.finish(part.len())?;
            for id in part {
                self.submit(Request::PurgeVolume { volume: *id, wipe: None });
            }
            self.finish(part.len())?;
        }
        Ok(())
    }

    fn submit(&mut self, request: Request) {
        self.minted += 1;
        let operation = OperationId::from_u128(derive(77, self.minted));
        self.to_master.push_back(Input::Operator {
            reply: self.minted,
            operation,
            fingerprint: self.minted,
            request,
            said: Said::default(),
        });
    }

    fn finish(&mut self, count: usize) -> anyhow::Result<Vec<VolumeId>> {
        self.settle()?;
        let ended = std::mem::take(&mut self.ended);
        if ended.len() != count {
            bail!("{} of {count} operations ended", ended.len());
        }
        let mut volumes = Vec::with_capacity(count);
        for (id, state, concerned) in ended {
            if state != OperationState::Done {
                bail!("operation {id} ended as {state:?}");
            }
            volumes.extend(concerned);
        }
        Ok(volumes)
    }

    /// Alternates between the two sides until nothing is under way.
    fn settle(&mut self) -> anyhow::Result<()> {
        while !self.to_master.is_empty() || !self.to_agent.is_empty() {
            self.now = self.now.after(Duration::from_millis(1));
            if !self.to_master.is_empty() {
                self.master_batch()?;
            }
            if !self.to_agent.is_empty() {
                self.agent_batch()?;
            }
        }
        Ok(())
    }

    fn master_batch(&mut self) -> anyhow::Result<()> {
        // What arrives while these leave belongs to the next batch; the buffers are kept for their capacity.
        let mut outputs = std::mem::take(&mut self.outputs);
        for input in self.to_master.drain(..) {
            let step = self.master.step(self.now, input);
            self.writes.extend(step.writes);
            outputs.extend(step.outputs);
        }
        if !self.writes.is_empty() {
            let (batch, bytes) = encode(&self.writes);
            self.writes.clear();
            self.revision = self.store.commit(self.revision, &batch)?;
            self.counters.syncs += 1;
            self.counters.registry_bytes += bytes;
        }
        for output in outputs.drain(..) {
            match output {
                Output::ToAgent { message, .. } => {
                    let envelope =
                        Envelope { cluster: CLUSTER, epoch: 1, revision: self.revision, message };
                    self.to_agent.push_back(AgentInput::Master(envelope));
                },
                Output::Changed(Change::Operation(record)) if record.state.is_final() => {
                    self.ended.push((record.id, record.state.clone(), record.volumes.clone()));
                },
                Output::Reply { result, .. } => drop(result?),
                Output::CloseAgent { .. } => bail!("the master closed the agent's link"),
                Output::ToFramework { .. }
                | Output::CloseFramework { .. }
                | Output::FileData { .. }
                | Output::TransferRefused { .. }
                | Output::Changed(_) => {},
            }
        }
        self.outputs = outputs;
        Ok(())
    }

    fn agent_batch(&mut self) -> anyhow::Result<()> {
        let (mut records, mut outputs) = (Vec::new(), Vec::new());
        for input in self.to_agent.drain(..) {
            let step = self.agent.step(self.now, input);
            records.extend(step.records);
            outputs.extend(step.outputs);
        }
        self.finish_agent(records, outputs)
    }

    fn finish_agent(
        &mut self,
        records: Vec<LedgerRecord>,
        outputs: Vec<AgentOutput>,
    ) -> anyhow::Result<()> {
        if !records.is_empty() {
            let encoded: Vec<Vec<u8>> = records.iter().map(ledger::encode).collect();
            let bytes: usize = encoded.iter().map(|r| r.len() + 40).sum();
            self.counters.ledger_bytes += bytes.next_multiple_of(512);
            self.journal.append(&encoded).context("append to the ledger")?;
            self.journal.commit().context("sync the ledger")?;
            self.counters.syncs += 1;
            if self.journal.wants_snapshot() {
                let state = ledger::encode_snapshot(&self.agent.snapshot());
                self.journal.snapshot(&state).context("write a snapshot of the ledger")?;
            }
        }
        for output in outputs {
            match output {
                AgentOutput::Send(message) => {
                    let message: FromAgent = stamp(message, self.journal.seq());
                    self.to_master.push_back(Input::Agent {
                        agent: AGENT,
                        session: SESSION,
                        message,
                    });
                },
                AgentOutput::Volume { token, effect } => {
                    let outcome = self.volumes.run(&effect);
                    let volume = effect.spec().id;
                    self.to_agent.push_back(AgentInput::Volume { volume, token, outcome });
                },
                AgentOutput::Disconnect { reason } => bail!("the agent left: {reason}"),
                AgentOutput::Container(_)
                | AgentOutput::ReadFile { .. }
                | AgentOutput::PurgeOrphan { .. }
                | AgentOutput::Transfer { .. }
                | AgentOutput::RefuseTransfer { .. }
                | AgentOutput::OrderDisk { .. }
                | AgentOutput::TryDisk { .. }
                | AgentOutput::Log { .. }
                | AgentOutput::Stopped => {},
            }
        }
        Ok(())
    }
}

/// The batch and how many bytes it puts into the registry's log.
fn encode(writes: &[RegistryWrite]) -> (Vec<Write>, usize) {
    let batch = registry::encode(writes);
    // A tag and two lengths stand before key and value in the log, a header before the batch.
    let bytes = batch.iter().map(|write| match write {
        Write::Put { key, value } => key.len() + value.len() + 4,
        Write::Delete { key } => key.len() + 2,
    });
    let bytes = bytes.sum::<usize>() + 40;
    (batch, bytes)
}
