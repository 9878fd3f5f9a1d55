//! Exchanges of data with whoever asked the master for them, each over a stream of its own that the agent dials.
//!
//! Nothing of it passes the deciding code, and nothing changes by it. A stream that breaks ends its transfer; whoever asked
//! is told by the master.

use crate::volume::Volumes;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, TransferId};
use berth_model::transfer::TransferOrder;
use berth_proto::address::Address;
use berth_proto::convert::{MESSAGE_BYTES_MAX, to_wire};
use berth_proto::v1;
use berth_proto::v1::agent_link_client::AgentLinkClient;
use berth_proto::v1::from_transfer::{Attach, Body};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A master that does not even answer pings for so long is gone.
const SILENCE: Duration = Duration::from_secs(20);
/// Messages that wait for the network.
pub(super) const QUEUE_MAX: usize = 4;

/// Where transfers go, and in whose name.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) master: Address,
    pub(super) agent: AgentId,
    /// How long the other side may stand still.
    pub(super) idle: Duration,
}

pub(super) fn message(body: Body) -> v1::FromTransfer {
    v1::FromTransfer { body: Some(body) }
}

/// Does what was asked for, from the dialling to the end.
pub(super) async fn run(
    way: Way,
    transfer: TransferId,
    order: TransferOrder,
    volumes: Arc<Volumes>,
) {
    if let Err(why) = attached(&way, transfer, order, volumes).await {
        tracing::warn!(%transfer, "a transfer has failed: {why}");
    }
}

async fn attached(
    way: &Way,
    transfer: TransferId,
    order: TransferOrder,
    volumes: Arc<Volumes>,
) -> Result<(), String> {
    let (messages, answers) = attach(way, transfer).await?;
    let last = match order {
        TransferOrder::Survey { path, size } => {
            let found = spawn_blocking(move || volumes.survey(&path, size)).await;
            let failed = |_panic| {
                Err(Rejection::new(
                    ErrorCode::Internal,
                    "the survey failed; the agent's log says where",
                ))
            };
            match found.unwrap_or_else(failed) {
                Ok(survey) => Body::Survey(to_wire(&survey)),
                Err(reason) => Body::Failed(to_wire(&reason)),
            }
        },
        TransferOrder::Export { volume, snapshot } => {
            let what = (volume, snapshot);
            super::stream::exported(&messages, way.idle, volumes, what).await?
        },
    };
    say_last(messages, answers, last).await
}

/// Dials only to say why there is nothing.
pub(super) async fn refuse(way: Way, transfer: TransferId, reason: Rejection) {
    let said = async {
        let (messages, answers) = attach(&way, transfer).await?;
        say_last(messages, answers, Body::Failed(to_wire(&reason))).await
    };
    if let Err(why) = said.await {
        tracing::warn!(%transfer, "a transfer could not be refused: {why}");
    }
}

async fn say_last(
    messages: mpsc::Sender<v1::FromTransfer>,
    mut answers: tonic::Streaming<v1::ToTransfer>,
    last: Body,
) -> Result<(), String> {
    messages.send(message(last)).await.map_err(|_closed| "the master hung up".to_owned())?;
    drop(messages);
    // What was said is on its way until the master ends its side.
    while answers.message().await.map_err(|status| said(&status))?.is_some() {}
    Ok(())
}

/// Dials and says which transfer it is.
pub(super) async fn attach(
    way: &Way,
    transfer: TransferId,
) -> Result<(mpsc::Sender<v1::FromTransfer>, tonic::Streaming<v1::ToTransfer>), String> {
    let endpoint = way.master.endpoint().map_err(|e| e.to_string())?;
    let channel = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(CONNECT_TIMEOUT)
        .keep_alive_timeout(SILENCE)
        .connect()
        .await
        .map_err(|error| format!("the master at {} does not answer: {error}", way.master))?;
    let mut client = AgentLinkClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let (messages, queue) = mpsc::channel(QUEUE_MAX);
    let (transfer_id, agent_id) = (transfer.to_string(), way.agent.to_string());
    let idle_ms = u64::try_from(way.idle.as_millis()).unwrap_or(u64::MAX);
    let attach = Attach { transfer_id, agent_id, idle_ms };
    messages
        .send(message(Body::Attach(attach)))
        .await
        .map_err(|_closed| "the queue is closed".to_owned())?;
    let answer = client.transfer(ReceiverStream::new(queue)).await;
    Ok((messages, answer.map_err(|status| said(&status))?.into_inner()))
}

pub(super) fn said(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
