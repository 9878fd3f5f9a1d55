//! From a work directory to everything an agent runs on: lock, identity, ledger, disks, containers.
//!
//! The identity is minted at the first start and durable before the first contact:
//!
//! ```text
//! identity.minted   written and synced before the ledger is created
//! ledger/           the journal, which carries the same identity in its header; locked
//! identity          the file above under its final name, once the ledger is there
//! ```
//! So an identity without a ledger is a loss, never a first start, and is refused.

use super::clock::Clock;
use super::error::Error;
use super::{declare, ledger};
use crate::config::AgentConfig;
use crate::container::{self, Runtime};
use crate::disk::{Disks, Owner};
use crate::host::files;
use crate::volume::Volumes;
use crate::volume::keys::Keys;
use berth_agent_core::Books;
use berth_agent_core::effect::ContainerEvent;
use berth_ledger::disk::real::RealDisk;
use berth_ledger::journal::{self, Journal, Options};
use berth_model::agent::{AgentInfo, Disk};
use berth_model::id::{AgentId, ContainerId};
use berth_model::record::LedgerRecord;
use berth_proto::convert::MESSAGE_BYTES_MAX;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

const MINTED: &str = "identity.minted";
const IDENTITY: &str = "identity";
/// A record holds what came in one message, so whatever the master may send can be written down.
const LEDGER: Options =
    Options { record_bytes_max: MESSAGE_BYTES_MAX, segment_bytes_max: SEGMENT_BYTES_MAX };
/// Read back in some milliseconds at start.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;

/// What an agent runs on.
pub(super) struct Opened {
    pub(super) ledger: ledger::Ledger,
    pub(super) records: Vec<LedgerRecord>,
    pub(super) seq: u64,
    pub(super) volumes: Arc<Volumes>,
    pub(super) runtime: Arc<Runtime>,
    pub(super) events: mpsc::Receiver<(ContainerId, ContainerEvent)>,
    pub(super) info: AgentInfo,
    pub(super) clock: Clock,
    /// As it really is.
    pub(super) work_dir: PathBuf,
}

/// The part that blocks: files and disks.
struct Ground {
    work_dir: PathBuf,
    agent: AgentId,
    journal: Journal<RealDisk>,
    records: Vec<LedgerRecord>,
    seq: u64,
    volumes: Arc<Volumes>,
    /// The disks, with the directories on them that no record explains.
    disks: Vec<Disk>,
    /// For operators: snapshots that no record explains, disks that are declared twice.
    notes: Vec<String>,
    /// The containers of the ledger's tasks.
    known: BTreeSet<ContainerId>,
}

pub(super) async fn open(config: &AgentConfig) -> Result<Opened, Error> {
    let settings = config.clone();
    let ground = tokio::task::spawn_blocking(move || open_ground(&settings))
        .await
        .map_err(|_e| Error::Part("start"))??;
    let Ground { work_dir, agent, journal, records, seq, volumes, disks, notes, known } = ground;
    let mut containers = container::Config::new(work_dir.join("runs"), agent);
    containers.program.clone_from(&config.program);
    if let Some(hostname) = &config.hostname {
        containers.host.clone_from(hostname);
    }
    containers.log_limit = config.log_limit;
    containers.log_files = config.log_files;
    containers.retention = config.sandbox_retention;
    containers.free_percent_min = config.sandbox_free_percent_min;
    let hostname: Arc<str> = Arc::from(containers.host.as_str());
    let source = Arc::clone(&volumes);
    let (runtime, events) =
        Runtime::new(containers, Arc::new(move |spec| source.open_verified(spec)));
    let mut limitations = runtime.limitations();
    limitations.extend(notes);
    let front = Arc::clone(&runtime);
    let runs_unknown = tokio::task::spawn_blocking(move || {
        // Before anything else is done to containers.
        front.thaw_left()?;
        front.release_unknown(&known)
    })
    .await
    .map_err(|_e| Error::Part("start"))?;
    match runs_unknown {
        Ok(alive) => limitations.extend(alive.iter().map(|container| {
            let path = work_dir.join("runs").join(container.to_string());
            format!(
                "container {container} runs and is of no task in the ledger: look at {} and end it by hand",
                path.display()
            )
        })),
        Err(error) => tracing::warn!(%error, "runs that no task explains cannot be looked for"),
    }
    let info = AgentInfo {
        id: agent,
        hostname,
        attributes: Arc::new(config.attributes.clone()),
        declared: declare::resources(config, &disks)?,
        disks,
        limitations,
        version: Arc::from(env!("CARGO_PKG_VERSION")),
    };
    let ledger = ledger::Ledger::start(journal)?;
    Ok(Opened {
        ledger,
        records,
        seq,
        volumes,
        runtime,
        events,
        info,
        clock: Clock::start(),
        work_dir,
    })
}

fn open_ground(config: &AgentConfig) -> Result<Ground, Error> {
    let declarations = declare::disks(config)?;
    std::fs::create_dir_all(&config.work_dir)
        .and_then(|()| std::fs::create_dir_all(config.work_dir.join("runs")))
        .map_err(at("cannot make the work directory", &config.work_dir))?;
    let work_dir = config
        .work_dir
        .canonicalize()
        .map_err(at("cannot find the work directory", &config.work_dir))?;
    let (agent, journal, recovered) = open_ledger(&work_dir)?;
    let records = understand(&recovered)
        .map_err(|e| Error::Record { path: work_dir.join("ledger"), what: e.to_string() })?;
    if recovered.torn_bytes > 0 {
        tracing::info!(bytes = recovered.torn_bytes, "an unfinished write was cut off the ledger");
    }
    let books = Books::fold(records.iter().cloned());
    let known: Vec<_> = books.disks().values().cloned().collect();
    let owner = Owner { agent, cluster: books.cluster() };
    let (declarations, conflicts) = declare::with_added(declarations, books.declarations());
    for conflict in &conflicts {
        tracing::warn!("{conflict}");
    }
    let disks = Disks::open(&work_dir, &declarations, owner, &known);
    let volumes = Volumes::new(Arc::new(disks));
    let place = match &config.key_dir {
        Some(place) => place.clone(),
        None => Keys::prepare(&work_dir)
            .map_err(at("cannot make the directory of keys in", &work_dir))?,
    };
    let keys = Keys::of_agent(agent, &work_dir, place);
    let unusable = keys.check().err().map(|why| {
        tracing::warn!("{why}");
        why.to_string()
    });
    let volumes = volumes.with_keys(keys);
    let volumes = Arc::new(volumes.importing(config.import_from.clone(), vec![work_dir.clone()]));
    let in_books: BTreeSet<_> = books.volumes().keys().copied().collect();
    let snapshots: BTreeSet<_> = books.snapshots().keys().copied().collect();
    let strange = volumes.unknown_snapshots(&snapshots, &in_books).into_iter().map(|path| {
        let text = format!("a snapshot at {path} is not in the ledger: kept, not used");
        tracing::warn!("{text}");
        text
    });
    let mut notes: Vec<String> = strange.chain(unusable).collect();
    notes.extend(conflicts);
    let disks = volumes.report(&in_books);
    for orphan in disks.iter().flat_map(|disk| &disk.orphans) {
        let what = match &orphan.spec {
            Some(spec) => format!("volume {} ({} of {})", spec.id, spec.name, spec.role),
            None => format!("what is no volume ({})", orphan.evidence),
        };
        tracing::warn!("{what} at {} is not in the ledger: kept, not offered", orphan.path);
    }
    let known = books.tasks().values().map(|task| task.container).collect();
    let seq = recovered.seq;
    Ok(Ground { work_dir, agent, journal, records, seq, volumes, disks, notes, known })
}

fn at<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::WorkDir { what, path: path.to_owned(), source }
}

fn open_ledger(work_dir: &Path) -> Result<(AgentId, Journal<RealDisk>, journal::Recovered), Error> {
    let path = work_dir.join("ledger");
    let failed = |source: journal::Error| Error::Open { path: path.clone(), source };
    // The lock comes first, so two processes cannot both take this for their first start.
    let disk = RealDisk::open(&path).map_err(|e| failed(e.into()))?;
    let minted = work_dir.join(MINTED);
    let final_name = work_dir.join(IDENTITY);
    if let Some(agent) = read_identity(&final_name)? {
        let owner = agent.as_u128().to_be_bytes();
        let (journal, recovered) = Journal::open(disk, owner, LEDGER).map_err(failed)?;
        return Ok((agent, journal, recovered));
    }
    let agent = match read_identity(&minted)? {
        Some(agent) => agent,
        None => AgentId::from_u128(uuid::Uuid::new_v4().as_u128()),
    };
    let folder = File::open(work_dir).map_err(at("cannot open", work_dir))?;
    files::replace(&folder, MINTED, format!("{agent}\n").as_bytes())
        .map_err(at("cannot write", &minted))?;
    let owner = agent.as_u128().to_be_bytes();
    let (journal, recovered) = match Journal::create(disk, owner, LEDGER) {
        Ok(journal) => (journal, none_recovered()),
        // A first start was interrupted after the ledger was made.
        Err(journal::Error::Occupied { .. }) => {
            let disk = RealDisk::open(&path).map_err(|e| failed(e.into()))?;
            Journal::open(disk, owner, LEDGER).map_err(failed)?
        },
        Err(other) => return Err(failed(other)),
    };
    rustix::fs::renameat(&folder, MINTED, &folder, IDENTITY)
        .and_then(|()| rustix::fs::fsync(&folder))
        .map_err(|errno| at("cannot write", &final_name)(errno.into()))?;
    tracing::info!(%agent, "a new agent");
    Ok((agent, journal, recovered))
}

fn none_recovered() -> journal::Recovered {
    journal::Recovered { snapshot: None, records: Vec::new(), seq: 0, torn_bytes: 0 }
}

fn read_identity(path: &Path) -> Result<Option<AgentId>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => match text.trim().parse() {
            Ok(agent) => Ok(Some(agent)),
            Err(e) => Err(Error::Identity { path: path.to_owned(), what: e.to_string() }),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(at("cannot read", path)(source)),
    }
}

fn understand(
    recovered: &journal::Recovered,
) -> Result<Vec<LedgerRecord>, berth_proto::DecodeError> {
    let mut records = match &recovered.snapshot {
        Some(bytes) => berth_proto::ledger::decode_snapshot(bytes)?,
        None => Vec::new(),
    };
    for bytes in &recovered.records {
        records.push(berth_proto::ledger::decode(bytes)?);
    }
    Ok(records)
}
