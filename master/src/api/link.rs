//! Agents' links: one stream each way, for as long as the connection lives.

use super::{SESSION_QUEUE, drain};
use crate::engine::{AgentOutlet, Handle};
use berth_master_core::Input;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, SessionId};
use berth_model::link::{Envelope, FromAgent};
use berth_proto::convert::{from_wire, to_wire};
use berth_proto::status::to_status;
use berth_proto::v1;
use berth_proto::v1::agent_link_server::AgentLink;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

#[derive(Debug)]
pub(super) struct Link {
    handle: Handle,
}

impl Link {
    pub(super) const fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

#[tonic::async_trait]
impl AgentLink for Link {
    type ConnectStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<v1::Envelope, Status>> + Send + 'static>>;

    type TransferStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<v1::ToTransfer, Status>> + Send + 'static>>;

    async fn transfer(
        &self,
        request: Request<Streaming<v1::FromTransfer>>,
    ) -> Result<Response<Self::TransferStream>, Status> {
        let told = super::transfer::attach(self.handle.relay(), request.into_inner()).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn connect(
        &self,
        request: Request<Streaming<v1::FromAgent>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let peer = request.remote_addr();
        let mut inbound = request.into_inner();
        let first = super::first_message(&mut inbound).await?.ok_or_else(|| {
            to_status(
                &Rejection::new(ErrorCode::InvalidArgument, "the link ended before a registration")
                    .remedy("send a registration first"),
            )
        })?;
        let message = from_wire::<FromAgent>(first).map_err(|e| to_status(&e))?;
        let FromAgent::Register(registration) = &message else {
            return Err(to_status(
                &Rejection::new(ErrorCode::InvalidArgument, "the first message is no registration")
                    .field("body")
                    .remedy("send a registration first"),
            ));
        };
        let (agent, session) = (registration.info.id, registration.session);
        info!(%agent, %session, ?peer, "agent connects");
        let (sender, outbound) = mpsc::channel::<Envelope>(SESSION_QUEUE);
        let (closing, closed) = oneshot::channel();
        let handle = self.handle.clone();
        let outlet = AgentOutlet { session, sender, closing };
        let first = Input::Agent { agent, session, message };
        handle.open_agent(outlet, first).await.map_err(|e| to_status(&e))?;
        tokio::spawn(pump(handle, inbound, closed, agent, session));
        let stream = ReceiverStream::new(outbound).map(|envelope| Ok(to_wire(&envelope)));
        Ok(Response::new(Box::pin(stream)))
    }
}

/// Carries the agent's messages to the engine until either side ends the link.
async fn pump(
    handle: Handle,
    mut inbound: Streaming<v1::FromAgent>,
    mut closed: oneshot::Receiver<()>,
    agent: AgentId,
    session: SessionId,
) {
    loop {
        let message = tokio::select! {
            message = inbound.message() => message,
            _ = &mut closed => {
                debug!(%agent, %session, "link closed by the master");
                drain(inbound).await;
                break;
            },
        };
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(status) => {
                debug!(%agent, %session, %status, "link broke");
                break;
            },
        };
        match from_wire::<FromAgent>(message) {
            Ok(message) => {
                if handle.input(Input::Agent { agent, session, message }).await.is_err() {
                    return;
                }
            },
            Err(error) => {
                warn!(%agent, %session, %error, "agent sent a malformed message: its link is closed");
                break;
            },
        }
    }
    info!(%agent, %session, "agent disconnected");
    drop(handle.input(Input::AgentDisconnected { agent, session }).await);
}
