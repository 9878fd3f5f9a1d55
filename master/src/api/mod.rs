//! The master's gRPC interface: agents' links, frameworks' sessions, operators' calls, on one port.
//!
//! It checks the shape of what arrives (through `berth-proto`), hands it to the engine and passes answers on. It decides
//! nothing and keeps nothing but the open streams.

mod cell;
mod link;
mod operator;
mod scheduler;
mod stream;
mod transfer;

use crate::engine::Handle;
use berth_model::error::{ErrorCode, Rejection};
use berth_proto::convert::MESSAGE_BYTES_MAX;
use berth_proto::status::to_status;
use berth_proto::v1::agent_link_server::AgentLinkServer;
use berth_proto::v1::operator_server::OperatorServer;
use berth_proto::v1::scheduler_server::SchedulerServer;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Status, Streaming};

/// How many messages wait for a slow session before it is closed.
const SESSION_QUEUE: usize = 4_096;

/// How long a peer may take to end its side after ours has ended.
const GOODBYE: Duration = Duration::from_secs(5);

/// How long a new session may stay silent.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// The first message of a session; a peer that says nothing is sent away.
async fn first_message<T>(inbound: &mut Streaming<T>) -> Result<Option<T>, Status> {
    match tokio::time::timeout(FIRST_WORD, inbound.message()).await {
        Ok(first) => first,
        Err(_elapsed) => Err(to_status(
            &Rejection::new(ErrorCode::TimedOut, "the session has not begun within 10s")
                .field("body")
                .remedy("send the first message at once"),
        )),
    }
}

/// Reads on until the peer ends the stream. Giving it up at once would reset the connection and could take the last
/// words that are still on their way with it.
async fn drain<T>(mut inbound: Streaming<T>) {
    let ended = async { while let Ok(Some(_late)) = inbound.message().await {} };
    drop(tokio::time::timeout(GOODBYE, ended).await);
}

/// Serves until `stop` completes.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    handle: Handle,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    let limit = MESSAGE_BYTES_MAX;
    Server::builder()
        // Half-open connections are found within half a minute.
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_service(
            AgentLinkServer::new(link::Link::new(handle.clone())).max_decoding_message_size(limit),
        )
        .add_service(
            SchedulerServer::new(scheduler::Sessions::new(handle.clone()))
                .max_decoding_message_size(limit),
        )
        .add_service(
            OperatorServer::new(operator::Operators::new(handle)).max_decoding_message_size(limit),
        )
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await
}
