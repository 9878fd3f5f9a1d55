//! Master and agent in one process: the production engine with its registry thread, the deciding cores, the
//! ledger's thread, and a driver that only remembers. No sockets.
//!
//! Each client submits an operation and waits for its durable end before it submits the next.

use super::side::{AGENT, Side};
use anyhow::{Context, bail};
use berth_master::engine::{Engine, EngineConfig, Handle};
use berth_master::registry::{Change, Loaded, RocksStore, Store, StoreError};
use berth_model::id::{ClusterId, OperationId, VolumeId, VolumeName, derive};
use berth_model::operation::OperationState;
use berth_model::operator::{DiskChoice, Request, VolumeChoice};
use berth_model::role::Role;
use berth_model::units::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// What was written and synced so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) syncs: AtomicUsize,
    pub(super) registry_bytes: AtomicUsize,
    pub(super) ledger_bytes: AtomicUsize,
}

/// The registry, counted.
struct Counted {
    store: RocksStore,
    counters: Arc<Counters>,
}

impl Store for Counted {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.store.load()
    }

    fn commit(&mut self, expected: u64, batch: &[Change]) -> Result<u64, StoreError> {
        // A tag and two lengths stand before key and value in the log, a header before the batch.
        let bytes = batch.iter().map(|write| match write {
            Change::Put { key, value } => key.len() + value.len() + 4,
            Change::Delete { key } => key.len() + 2,
        });
        self.counters.registry_bytes.fetch_add(bytes.sum::<usize>() + 40, Relaxed);
        self.counters.syncs.fetch_add(1, Relaxed);
        self.store.commit(expected, batch)
    }
}

/// The whole path from a client's request to its durable end.
#[derive(Debug)]
pub(super) struct Stack {
    runtime: Runtime,
    master: Handle,
    minted: u64,
    pub(super) counters: Arc<Counters>,
}

impl Stack {
    /// A new cluster of one agent in `dir`.
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start a runtime")?;
        let counters = Arc::new(Counters::default());
        let store = RocksStore::open(&dir.join("registry"))?;
        let store = Counted { store, counters: Arc::clone(&counters) };
        let settings = EngineConfig {
            new_cluster: ClusterId::from_u128(1),
            heartbeat: Duration::from_secs(3_600),
            agent_timeout: Duration::from_secs(36_000),
            offer_timeout: None,
        };
        let (engine, master) = Engine::start(Box::new(store), &settings)?;
        let (side, first) = Side::new(dir, master.clone(), Arc::clone(&counters))?;
        runtime.spawn(async {
            if let Err(error) = engine.run().await {
                tell("the master's engine", &error.into());
            }
        });
        runtime.spawn(async {
            if let Err(error) = side.run(first).await {
                tell("the agent", &error);
            }
        });
        Ok(Self { runtime, master, minted: 0, counters })
    }

    /// `clients` clients create `each` volumes, one after another; every volume is durable on both sides.
    pub(super) fn create(&mut self, clients: usize, each: usize) -> anyhow::Result<Vec<VolumeId>> {
        let role = Role::new("bench").context("role")?;
        let mut plans = Vec::with_capacity(clients);
        for _ in 0..clients {
            let mut plan = Vec::with_capacity(each);
            for _ in 0..each {
                let request = Request::CreateVolume {
                    name: VolumeName::new(&format!("v{}", self.minted)).context("name")?,
                    role: role.clone(),
                    principal: None,
                    size: Bytes::from_mib(1),
                    agent: Some(AGENT),
                    disk: DiskChoice::Any,
                    container_path: Arc::from("data"),
                };
                plan.push((self.mint(), request));
            }
            plans.push(plan);
        }
        self.carry_out(plans)
    }

    /// Destroys and purges volumes, many at once.
    pub(super) fn remove(&mut self, volumes: &[VolumeId]) -> anyhow::Result<()> {
        let mut plans = Vec::new();
        for id in volumes {
            let destroy = Request::DestroyVolume { volume: VolumeChoice::Id(*id) };
            let purge = Request::PurgeVolume { volume: *id };
            plans.push(vec![(self.mint(), destroy), (self.mint(), purge)]);
        }
        for part in plans.chunks(super::core::CLIENTS) {
            self.carry_out(part.to_vec())?;
        }
        Ok(())
    }

    fn mint(&mut self) -> OperationId {
        self.minted += 1;
        OperationId::from_u128(derive(77, self.minted))
    }

    fn carry_out(&self, plans: Vec<Vec<(OperationId, Request)>>) -> anyhow::Result<Vec<VolumeId>> {
        self.runtime.block_on(async {
            let mut clients = JoinSet::new();
            for plan in plans {
                clients.spawn(client(self.master.clone(), plan));
            }
            let mut volumes = Vec::new();
            while let Some(done) = clients.join_next().await {
                volumes.extend(done.context("a client")??);
            }
            Ok(volumes)
        })
    }
}

async fn client(
    master: Handle,
    plan: Vec<(OperationId, Request)>,
) -> anyhow::Result<Vec<VolumeId>> {
    let mut volumes = Vec::with_capacity(plan.len());
    for (operation, request) in plan {
        // Each id names one request.
        master.submit(operation, 0, request).await?;
        let record = master.wait(operation).await?;
        if record.state != OperationState::Done {
            bail!("operation {operation} ended as {:?}", record.state);
        }
        volumes.extend(&record.volumes);
    }
    Ok(volumes)
}

#[expect(clippy::print_stderr, reason = "a benchmark whose cluster died waits for nothing more")]
fn tell(who: &str, error: &anyhow::Error) {
    eprintln!("{who} ended: {error:#}");
}
