//! The task that keeps one session open.
//!
//! Queues: calls and notices are bounded. A full call queue means that the master does not read: the call is refused and
//! the session should be given up. A full notice queue slows the reading of events down, which the master sees.

use super::Backoff;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Event};
use berth_proto::address::Address;
use berth_proto::convert::{MESSAGE_BYTES_MAX, from_wire, to_wire};
use berth_proto::status::from_status;
use berth_proto::v1;
use berth_proto::v1::scheduler_client::SchedulerClient;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;
use tracing::debug;

const CALLS_MAX: usize = 1_024;
const NOTICES_MAX: usize = 1_024;
/// A master that is there answers a connection and a subscription within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Heartbeats that may fail to come before the master counts as gone.
const HEARTBEATS_MISSED: u32 = 4;

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The first pause between attempts.
    pub backoff_start: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// Spreads the pauses of clients that lost the same master.
    pub seed: u128,
}

impl Default for Options {
    /// A restarted master is back within a second; a fleet should not hammer one that is not.
    fn default() -> Self {
        let seed = uuid::Uuid::new_v4().as_u128();
        Self {
            backoff_start: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            seed,
        }
    }
}

/// What happens to a session.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most notices are events")]
pub enum Notice {
    /// A connection is open; the first call must be SUBSCRIBE.
    Connected(Caller),
    /// The master says something.
    Event(Event),
    /// The connection has ended, or could not be opened; another attempt follows.
    Disconnected(Rejection),
}

/// The call was not sent: the connection has ended, or the master does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call was not sent: the session has ended or is behind")]
pub struct NotSent;

/// Sends calls on one connection; dropping it ends the connection.
#[derive(Debug)]
pub struct Caller {
    calls: mpsc::Sender<v1::SchedulerCall>,
    /// Its other end lives as long as the connection.
    alive: oneshot::Sender<()>,
}

impl Caller {
    /// Sends a call; `number` comes back in its [`Event::Answered`], of a COMMIT that is not refused in [`Event::Committed`].
    ///
    /// # Errors
    /// It was not sent; drop the caller and wait for the next connection.
    pub fn call(&self, number: u64, call: &Call) -> Result<(), NotSent> {
        if self.alive.is_closed() {
            return Err(NotSent);
        }
        self.calls.try_send(to_wire(&(number, call.clone()))).map_err(|_full_or_closed| NotSent)
    }
}

/// A session that is kept open.
#[derive(Debug)]
pub struct Client {
    notices: mpsc::Receiver<Notice>,
    task: JoinHandle<()>,
}

impl Client {
    /// Starts the session's task; needs a Tokio runtime.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn start(master: Address, options: Options) -> Result<Self, Rejection> {
        let endpoint = master
            .endpoint()?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(20))
            .keep_alive_while_idle(true);
        let (to, notices) = mpsc::channel(NOTICES_MAX);
        let task = tokio::spawn(keep_open(endpoint, options, to));
        Ok(Self { notices, task })
    }

    /// The next notice; nothing once the client's task has ended, which it does only with the client.
    ///
    /// Cancel-safe: a notice is lost only together with the client.
    pub async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    /// A notice that is there already.
    pub fn ready(&mut self) -> Option<Notice> {
        self.notices.try_recv().ok()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_open(endpoint: Endpoint, options: Options, notices: mpsc::Sender<Notice>) {
    let mut backoff = Backoff::new(options.backoff_start, options.backoff_max, options.seed);
    loop {
        let why = match one_session(&endpoint, &notices, &mut backoff).await {
            Ok(()) => return,
            Err(why) => why,
        };
        debug!(error = %why, "session ended");
        if notices.send(Notice::Disconnected(why)).await.is_err() {
            return;
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Runs until the connection ends; `Ok` when nobody listens any more.
async fn one_session(
    endpoint: &Endpoint,
    notices: &mpsc::Sender<Notice>,
    backoff: &mut Backoff,
) -> Result<(), Rejection> {
    let channel = endpoint.connect().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|s| format!(": {s}")).unwrap_or_default();
        let message = format!("cannot reach the master at {}{cause}", endpoint.uri());
        Rejection::new(ErrorCode::Unavailable, message).remedy("check that the master runs there")
    })?;
    let (calls, outbound) = mpsc::channel(CALLS_MAX);
    let (alive, mut given_up) = oneshot::channel();
    // The master answers the stream after the first call, so the caller must be out before.
    if notices.send(Notice::Connected(Caller { calls, alive })).await.is_err() {
        return Ok(());
    }
    let mut client = SchedulerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let opened = tokio::select! {
        opened = tokio::time::timeout(CONNECT_TIMEOUT, client.session(ReceiverStream::new(outbound))) => opened,
        _ = &mut given_up => return Err(abandoned()),
    };
    let events = match opened {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return Err(from_status(&status)),
        Err(_elapsed) => return Err(silent(CONNECT_TIMEOUT)),
    };
    read_events(events, notices, backoff, given_up).await
}

async fn read_events(
    mut events: Streaming<v1::SchedulerEvent>,
    notices: &mpsc::Sender<Notice>,
    backoff: &mut Backoff,
    mut given_up: oneshot::Receiver<()>,
) -> Result<(), Rejection> {
    let mut patience = CONNECT_TIMEOUT;
    loop {
        let message = tokio::select! {
            message = tokio::time::timeout(patience, events.message()) => message,
            _ = &mut given_up => return Err(abandoned()),
        };
        let message = match message {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => {
                return Err(Rejection::new(
                    ErrorCode::Unavailable,
                    "the master closed the session",
                ));
            },
            Ok(Err(status)) => return Err(from_status(&status)),
            Err(_elapsed) => return Err(silent(patience)),
        };
        let event = from_wire::<Event>(message)?;
        if let Event::Subscribed { heartbeat, .. } = &event {
            patience = (*heartbeat * HEARTBEATS_MISSED).max(Duration::from_secs(1));
            backoff.reset();
        }
        if notices.send(Notice::Event(event)).await.is_err() {
            return Ok(());
        }
    }
}

fn abandoned() -> Rejection {
    Rejection::new(ErrorCode::Unavailable, "the session was given up")
}

fn silent(patience: Duration) -> Rejection {
    let message = format!("the master has been silent for {} ms", patience.as_millis());
    Rejection::new(ErrorCode::Unavailable, message).remedy("check that the master runs")
}
