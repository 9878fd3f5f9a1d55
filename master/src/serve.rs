//! A master from its configuration to its end.

use crate::api;
use crate::config::MasterConfig;
use crate::engine::{Engine, EngineConfig, EngineError};
use crate::registry::{RocksStore, StoreError};
use berth_model::id::ClusterId;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tracing::info;

/// Why a master ended or could not start.
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
    /// The registry.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The gRPC server.
    #[error("the gRPC server failed")]
    Server(#[from] tonic::transport::Error),
}

/// Runs until `stop` completes or the registry fails; `ready` is called with the address once it serves.
///
/// # Errors
/// The registry or the address cannot be used, or a commit failed later.
pub async fn run(
    config: MasterConfig,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let store = RocksStore::open(&config.work_dir.join("registry"))?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| ServeError::Listen { address: config.listen, source })?;
    let address = listener
        .local_addr()
        .map_err(|source| ServeError::Listen { address: config.listen, source })?;
    let settings = EngineConfig {
        new_cluster: ClusterId::from_u128(uuid::Uuid::new_v4().as_u128()),
        heartbeat: config.heartbeat,
        agent_timeout: config.agent_timeout,
        offer_timeout: config.offer_timeout,
        optimistic: config.optimistic,
        audit_entries: config.audit_entries,
        audit_age: config.audit_age,
    };
    let (engine, handle) = Engine::start(Box::new(store), &settings)?;
    let mut running = tokio::spawn(engine.run());
    info!(%address, "serving");
    ready(address);
    // Open streams would keep a graceful server up for ever; everything that was answered is synced already.
    let outcome = tokio::select! {
        served = api::serve(listener, handle, std::future::pending()) => served.map_err(ServeError::from),
        () = stop => {
            info!("stopping: what was answered is synced, the rest is for the next start");
            Ok(())
        },
        outcome = &mut running => return joined(outcome),
    };
    // The registry is closed before the process may end.
    running.abort();
    drop(running.await);
    outcome
}

fn joined(
    outcome: Result<Result<(), EngineError>, tokio::task::JoinError>,
) -> Result<(), ServeError> {
    match outcome {
        Ok(result) => result.map_err(ServeError::from),
        Err(error) => {
            Err(EngineError::Thread { what: format!("the engine task ended: {error}") }.into())
        },
    }
}
