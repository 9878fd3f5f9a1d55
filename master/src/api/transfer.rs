//! The master's part in transfers: agents attach, operators ask.

use crate::engine::Handle;
use crate::relay::{Attached, Relay, broken};
use berth_master_core::Input;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, TransferId};
use berth_model::transfer::TransferWish;
use berth_proto::convert::{from_wire, id_from_wire, survey_wish};
use berth_proto::status::to_status;
use berth_proto::v1;
use berth_proto::v1::from_transfer::Body;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// Messages that wait for a slow agent.
const QUEUE_MAX: usize = 4;

/// How long somebody may stand still of whose patience an agent says nothing.
const IDLE: Duration = Duration::from_mins(1);

/// Takes an agent's stream in; answers what it is told.
pub(super) async fn attach(
    relay: &Relay,
    mut messages: Streaming<v1::FromTransfer>,
) -> Result<mpsc::Receiver<Result<v1::ToTransfer, Status>>, Status> {
    let first = super::first_message(&mut messages).await?.and_then(|message| message.body);
    let Some(Body::Attach(attach)) = first else {
        return Err(to_status(
            &Rejection::new(ErrorCode::InvalidArgument, "the first message is no attach")
                .field("body")
                .remedy("say which transfer it is first"),
        ));
    };
    let refuse = |error: Rejection| to_status(&error);
    let transfer: TransferId = id_from_wire(&attach.transfer_id, "transfer_id").map_err(refuse)?;
    let agent: AgentId = id_from_wire(&attach.agent_id, "agent_id").map_err(refuse)?;
    let (answers, told) = mpsc::channel(QUEUE_MAX);
    let idle = match attach.idle_ms {
        0 => IDLE,
        said => Duration::from_millis(said),
    };
    relay.attach(transfer, Attached { agent, idle, messages, answers }).map_err(refuse)?;
    Ok(told)
}

/// Has an agent dial.
pub(super) async fn ask(
    handle: &Handle,
    relay: &Arc<Relay>,
    wish: TransferWish,
) -> Result<Attached, Rejection> {
    let expected = relay.expect();
    handle.input(Input::Transfer { transfer: expected.transfer(), wish }).await?;
    expected.attached().await
}

/// What an agent answers that was asked for one thing.
pub(super) async fn survey(
    handle: &Handle,
    relay: &Arc<Relay>,
    request: v1::SurveyDirectoryRequest,
) -> Result<v1::Survey, Rejection> {
    let wish = survey_wish(request)?;
    let Attached { mut messages, answers, .. } = ask(handle, relay, wish).await?;
    let said = messages.message().await;
    drop(answers);
    match said {
        Ok(Some(v1::FromTransfer { body: Some(Body::Survey(survey)) })) => Ok(survey),
        Ok(Some(v1::FromTransfer { body: Some(Body::Failed(error)) })) => {
            Err(from_wire::<Rejection>(error)?)
        },
        Ok(_other) => Err(broken("the agent ended its survey without an answer", None)),
        Err(status) => Err(broken("the stream of the survey broke", Some(&status))),
    }
}
