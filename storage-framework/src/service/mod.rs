//! The shared service scheduler as a process: ledger, session with the master, interface for users.
//!
//! One task owns the scheduler's core and its ledger; everything else talks to it through queues. Many inputs share one
//! commit: while one is being synced the next ones wait in the queues. Invariant: calls, replies and views leave only
//! after the records before them are synced; a failed sync ends the process, whose next start recovers.

mod api;
mod clock;
mod engine;
mod ledger;
mod requests;
mod rival;
mod views;

pub use engine::EngineError;
pub use ledger::LedgerError;

use crate::sdk;
use berth_framework_core::scheduler::{Config, Scheduler};
use berth_model::error::Rejection;
use berth_model::id::Principal;
use berth_proto::address::Address;
use clock::Clock;
use engine::Engine;
use ledger::Ledger;
use rival::Rivals;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tracing::info;

/// The framework's name at the master.
pub const FRAMEWORK_NAME: &str = "berth-services";
/// The owner of the reservations and volumes of services.
pub const PRINCIPAL: &str = "berth-services";
/// A scheduler that is away for a week is given up; its volumes stay even then.
const FAILOVER_TIMEOUT: Duration = Duration::from_hours(7 * 24);

/// Checked settings of a scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Where the master is.
    pub master: Address,
    /// Where the ledger is kept.
    pub work_dir: PathBuf,
    /// Where users reach it; loopback by default, because there is no authentication yet.
    pub listen: SocketAddr,
}

/// Why a scheduler ended or could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}: choose another --listen, or stop what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The master's address.
    #[error("{0}")]
    Master(Rejection),
    /// The gRPC server.
    #[error("the gRPC server failed")]
    Server(#[from] tonic::transport::Error),
}

/// Runs until `stop` completes or the ledger fails; `ready` is called with the address once it serves. Stopping leaves
/// the services running; the next start takes them up again.
///
/// # Errors
/// The ledger or the address cannot be used, the master has another service scheduler, or a commit failed later.
pub async fn run(
    config: SchedulerConfig,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (ledger, records) = Ledger::open(&config.work_dir)?;
    let listen = |source| ServeError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let hostname = hostname();
    let host =
        if address.ip().is_unspecified() { hostname.clone() } else { address.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let url = format!("http://{host}:{}", address.port());
    let rivals =
        Rivals::new(&config.master, url.clone(), hostname.clone()).map_err(ServeError::Master)?;
    let core = Config {
        name: FRAMEWORK_NAME.to_owned(),
        user: String::new(),
        principal: Some(Principal::new(PRINCIPAL).expect("a name without slashes")),
        failover_timeout: FAILOVER_TIMEOUT,
        url,
        hostname,
        seed: uuid::Uuid::new_v4().as_u128(),
    };
    let clock = Clock::start();
    let scheduler = Scheduler::recover(core, &records, clock.now());
    info!(%address, records = records.len(), services = scheduler.state().services.len(), "scheduler recovered");
    let client =
        sdk::Client::start(config.master, sdk::Options::default()).map_err(ServeError::Master)?;
    let (engine, handle) = Engine::new(scheduler, ledger, clock, rivals);
    ready(address);
    // Open streams would keep a graceful server up for ever; everything that was answered is synced already.
    tokio::select! {
        served = api::serve(listener, handle) => Ok(served?),
        ended = engine.run(client) => Ok(ended?),
        () = stop => Ok(()),
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".to_owned())
}
