//! Frameworks' sessions: calls in, events out.

use super::{SESSION_QUEUE, drain};
use crate::engine::{FrameworkOutlet, Handle};
use berth_master_core::Input;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Event};
use berth_model::id::{FrameworkId, SessionId};
use berth_proto::convert::{from_wire, id_from_wire, to_wire};
use berth_proto::status::to_status;
use berth_proto::v1::scheduler_server::Scheduler;
use berth_proto::{fingerprint, v1};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info};

#[derive(Debug)]
pub(super) struct Sessions {
    handle: Handle,
    /// Places for those who watch the cell.
    places: Arc<Semaphore>,
}

/// How many may watch the cell at once.
const WATCHERS: usize = 256;

impl Sessions {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, places: Arc::new(Semaphore::new(WATCHERS)) }
    }
}

fn read_call(message: v1::SchedulerCall) -> Result<(u64, u64, Call), Rejection> {
    let number = message.call;
    let print = fingerprint(&v1::SchedulerCall { call: 0, ..message.clone() });
    let (_, call) = from_wire::<(u64, Call)>(message)?;
    Ok((number, print, call))
}

#[tonic::async_trait]
impl Scheduler for Sessions {
    type SessionStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<v1::SchedulerEvent, Status>> + Send + 'static>>;

    type WatchCellStream = ReceiverStream<Result<v1::CellEvent, Status>>;

    async fn watch_cell(
        &self,
        request: Request<v1::WatchCellRequest>,
    ) -> Result<Response<Self::WatchCellStream>, Status> {
        let v1::WatchCellRequest { framework_id } = request.into_inner();
        let framework: FrameworkId =
            id_from_wire(&framework_id, "framework_id").map_err(|e| to_status(&e))?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_none| {
            let text = format!("{WATCHERS} watch the cell already");
            to_status(
                &Rejection::new(ErrorCode::Unavailable, text)
                    .remedy("one stream suffices a framework; end others, or try again"),
            )
        })?;
        let events = super::cell::watch(self.handle.clone(), framework, place).await;
        events.map(|events| Response::new(ReceiverStream::new(events))).map_err(|e| to_status(&e))
    }

    async fn session(
        &self,
        request: Request<Streaming<v1::SchedulerCall>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut inbound = request.into_inner();
        let subscribe_first = || {
            to_status(
                &Rejection::new(ErrorCode::NotSubscribed, "the first call is not SUBSCRIBE")
                    .field("body")
                    .remedy("subscribe first"),
            )
        };
        let first = super::first_message(&mut inbound).await?.ok_or_else(subscribe_first)?;
        let (call, print, body) = read_call(first).map_err(|e| to_status(&e))?;
        if !matches!(body, Call::Subscribe { .. }) {
            return Err(subscribe_first());
        }
        let session = SessionId::from_u128(uuid::Uuid::new_v4().as_u128());
        let (sender, mut from_engine) = mpsc::channel::<Event>(SESSION_QUEUE);
        let (closing, closed) = oneshot::channel();
        let outlet = FrameworkOutlet { session, sender, closing };
        let first = Input::Framework { session, framework: None, call, fingerprint: print, body };
        self.handle.open_framework(outlet, first).await.map_err(|e| to_status(&e))?;

        // The id the master gave is needed on every later call; it is in the first event.
        let (id_in, id) = watch::channel(None::<FrameworkId>);
        let (to_client, outbound) = mpsc::channel::<Result<v1::SchedulerEvent, Status>>(64);
        tokio::spawn(async move {
            while let Some(event) = from_engine.recv().await {
                if let Event::Subscribed { framework, .. } = &event {
                    id_in.send_replace(Some(framework.clone()));
                }
                if to_client.send(Ok(to_wire(&event))).await.is_err() {
                    return;
                }
            }
        });
        let handle = self.handle.clone();
        tokio::spawn(pump(handle, inbound, closed, session, id));
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound).map(|event| event))))
    }
}

async fn pump(
    handle: Handle,
    mut inbound: Streaming<v1::SchedulerCall>,
    mut closed: oneshot::Receiver<()>,
    session: SessionId,
    mut id: watch::Receiver<Option<FrameworkId>>,
) {
    // Calls are taken once the session has its framework; a refused subscriber never gets one.
    // A session that was both opened and closed by now is still to be reported as ended: the id comes first.
    let framework = tokio::select! {
        biased;
        known = id.wait_for(Option::is_some) => known.ok().and_then(|k| k.clone()),
        _ = &mut closed => None,
    };
    let Some(framework) = framework else {
        drain(inbound).await;
        return;
    };
    info!(%framework, %session, "framework subscribed");
    loop {
        let message = tokio::select! {
            message = inbound.message() => message,
            _ = &mut closed => {
                debug!(%framework, %session, "session closed by the master");
                drain(inbound).await;
                break;
            },
        };
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(status) => {
                debug!(%framework, %session, %status, "session broke");
                break;
            },
        };
        let number = message.call;
        let sent = match read_call(message) {
            Ok((call, fingerprint, body)) => {
                let framework = Some(framework.clone());
                handle.input(Input::Framework { session, framework, call, fingerprint, body }).await
            },
            Err(error) => handle.refuse_call(session, number, error).await,
        };
        if sent.is_err() {
            return;
        }
    }
    info!(%framework, %session, "framework disconnected");
    drop(handle.input(Input::FrameworkDisconnected { framework, session }).await);
}
