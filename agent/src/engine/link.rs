//! The connection to the master: dials, dials again with a growing, jittered pause, and carries messages both ways.
//!
//! It knows no content beyond the form of messages. A queue that is full ends the connection instead of holding the
//! engine up; the next registration says everything again. Invariant: events of one connection come between its
//! `Opened` and its `Closed`, and connections do not overlap.

use berth_model::error::Rejection;
use berth_model::id::SessionId;
use berth_model::link::Envelope;
use berth_proto::address::Address;
use berth_proto::convert::{MESSAGE_BYTES_MAX, from_wire};
use berth_proto::v1;
use berth_proto::v1::agent_link_client::AgentLinkClient;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// A connection that lasted so long was a good one: the next pause is short again.
const GOOD_AFTER: Duration = Duration::from_secs(2);
/// Messages that wait for the network.
const QUEUE_MAX: usize = 16_384;
/// Events that wait for the engine; behind that, the network waits.
const EVENTS_MAX: usize = 256;

/// An open connection. Dropped, it is closed after what was sent before.
#[derive(Debug)]
pub(super) struct Connection {
    messages: mpsc::Sender<v1::FromAgent>,
    #[expect(dead_code, reason = "held, not read: dropping it ends the connection")]
    open: oneshot::Sender<()>,
}

impl Connection {
    /// Queues a message; false when the queue is full or the connection is gone.
    pub(super) fn send(&self, message: v1::FromAgent) -> bool {
        self.messages.try_send(message).is_ok()
    }
}

/// What happened to the connection.
#[derive(Debug)]
pub(super) enum Event {
    /// A connection is open.
    Opened(SessionId, Connection),
    /// The master said something.
    Heard(Box<Envelope>),
    /// The connection is closed.
    Closed,
}

/// The dialling task. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Link {
    pub(super) fn start(master: Address) -> Self {
        let (told, events) = mpsc::channel(EVENTS_MAX);
        let task = tokio::spawn(dial_forever(master, told));
        Self { events, task }
    }

    /// Gives the last messages a moment to leave.
    pub(super) async fn close(mut self, moment: Duration) {
        let closed = async {
            while let Some(event) = self.events.recv().await {
                if matches!(event, Event::Closed) {
                    return;
                }
            }
        };
        // Too late for the last messages: the next start repeats them.
        tokio::time::timeout(moment, closed).await.ok();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn dial_forever(master: Address, told: mpsc::Sender<Event>) {
    let mut attempts = 0_u32;
    let mut last_failure = String::new();
    loop {
        let since = Instant::now();
        match connect(&master, &told).await {
            Ok(()) => {
                last_failure.clear();
                if since.elapsed() >= GOOD_AFTER {
                    attempts = 0;
                }
            },
            Err(failure) => {
                if failure != last_failure {
                    tracing::warn!(%master, "the master cannot be reached: {failure}");
                    last_failure = failure;
                }
            },
        }
        if told.is_closed() {
            return;
        }
        tokio::time::sleep(pause(attempts)).await;
        attempts = attempts.saturating_add(1);
    }
}

/// A pause that doubles with each attempt, of which half is chance, so that many agents do not dial in step.
fn pause(attempts: u32) -> Duration {
    let full = PAUSE_MIN.saturating_mul(1 << attempts.min(16)).min(PAUSE_MAX);
    let chance = u32::from_be_bytes({
        let bytes = uuid::Uuid::new_v4().into_bytes();
        [0, 0, bytes[0], bytes[1]]
    });
    full / 2 + (full / 2).saturating_mul(chance) / (1 << 16)
}

/// One connection from its beginning to its end.
async fn connect(master: &Address, told: &mpsc::Sender<Event>) -> Result<(), String> {
    let endpoint = master.endpoint().map_err(|e| e.to_string())?;
    let channel = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .connect()
        .await
        .map_err(|e| causes(&e))?;
    let mut client = AgentLinkClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let (messages, queue) = mpsc::channel(QUEUE_MAX);
    let (open, closed) = oneshot::channel();
    let session = SessionId::from_u128(uuid::Uuid::new_v4().as_u128());
    // The master may answer the call only after the first message, so the engine must be told before.
    if told.send(Event::Opened(session, Connection { messages, open })).await.is_err() {
        return Ok(());
    }
    let ended = tokio::select! {
        ended = listen(&mut client, ReceiverStream::new(queue), told) => ended,
        _dropped = closed => Ok(()),
    };
    if let Err(why) = ended {
        tracing::info!(%master, "the connection to the master ended: {why}");
    }
    // The engine is gone: so is its interest in the end of the connection.
    told.send(Event::Closed).await.ok();
    Ok(())
}

async fn listen(
    client: &mut AgentLinkClient<tonic::transport::Channel>,
    queue: ReceiverStream<v1::FromAgent>,
    told: &mpsc::Sender<Event>,
) -> Result<(), String> {
    let answer = client.connect(queue).await.map_err(|status| said(&status))?;
    let mut envelopes = answer.into_inner();
    while let Some(message) = envelopes.message().await.map_err(|status| said(&status))? {
        let envelope: Envelope = from_wire(message)
            .map_err(|e: Rejection| format!("the master sent a malformed message: {e}"))?;
        if told.send(Event::Heard(Box::new(envelope))).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn said(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_half_of_each_is_chance() {
        for (attempts, full) in [(0, 100), (1, 200), (4, 1_600), (5, 3_000), (u32::MAX, 3_000)] {
            for _ in 0..50 {
                let ms = pause(attempts).as_millis();
                assert!((full / 2..=full).contains(&ms), "{attempts}: {ms}");
            }
        }
    }
}
