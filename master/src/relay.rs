//! Where agents that dialled for a transfer meet whoever asked for it.
//!
//! What they exchange never comes near the engine: the two streams are joined by whoever asked, who reads the agent's only
//! as fast as he can pass it on. Invariant: each transfer is attached to at most once, and whoever waits is always answered:
//! by the agent, by a refusal, or by the end of his patience.

use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, OperationId, TransferId};
use berth_proto::v1;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

/// How long an agent may take to dial; it may be busy with other transfers.
const PATIENCE: Duration = Duration::from_secs(30);

/// The agent's side of a transfer.
#[derive(Debug)]
pub struct Attached {
    /// Who dialled.
    pub agent: AgentId,
    /// How long whoever takes what it sends may stand still.
    pub idle: Duration,
    /// What it says.
    pub messages: Streaming<v1::FromTransfer>,
    /// What it is told. Dropped, the transfer is over.
    pub answers: mpsc::Sender<Result<v1::ToTransfer, Status>>,
}

type Waiting = BTreeMap<TransferId, oneshot::Sender<Result<Attached, Rejection>>>;

/// The transfers that nobody has attached to yet, and the operations whose data somebody sends or takes.
#[derive(Debug, Default)]
pub struct Relay {
    waiting: Mutex<Waiting>,
    claimed: Mutex<BTreeSet<OperationId>>,
}

/// Somebody sends or takes the data of an operation. Dropped, another may.
#[derive(Debug)]
pub struct Claim {
    relay: Arc<Relay>,
    operation: OperationId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.relay.claimed().remove(&self.operation);
    }
}

/// A transfer that an agent is to attach to. Dropped, nobody can any more.
#[derive(Debug)]
pub struct Expected {
    relay: Arc<Relay>,
    transfer: TransferId,
    attached: oneshot::Receiver<Result<Attached, Rejection>>,
}

impl Relay {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claimed(&self) -> MutexGuard<'_, BTreeSet<OperationId>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nobody else sends or takes the data of this operation.
    ///
    /// # Errors
    /// Somebody does.
    pub fn claim(self: &Arc<Self>, operation: OperationId) -> Result<Claim, Rejection> {
        if self.claimed().insert(operation) {
            return Ok(Claim { relay: Arc::clone(self), operation });
        }
        let text = format!("somebody else has the stream of operation {operation}");
        Err(Rejection::new(ErrorCode::TransferFailed, text)
            .remedy("wait until that has ended, or ask for an operation of your own"))
    }

    /// Does somebody send or take the data of this operation?
    #[must_use]
    pub fn is_claimed(&self, operation: OperationId) -> bool {
        self.claimed().contains(&operation)
    }

    /// A new transfer.
    #[must_use]
    pub fn expect(self: &Arc<Self>) -> Expected {
        self.expect_as(TransferId::from_u128(uuid::Uuid::new_v4().as_u128()))
    }

    /// A transfer that both sides know: whoever expects it has claimed its operation.
    #[must_use]
    pub fn expect_as(self: &Arc<Self>, transfer: TransferId) -> Expected {
        let (sender, attached) = oneshot::channel();
        self.waiting().insert(transfer, sender);
        Expected { relay: Arc::clone(self), transfer, attached }
    }

    /// No agent will attach to it.
    pub fn refuse(&self, transfer: TransferId, reason: Rejection) {
        if let Some(waiting) = self.waiting().remove(&transfer) {
            // Whoever waited has gone.
            drop(waiting.send(Err(reason)));
        }
    }

    /// An agent has dialled.
    ///
    /// # Errors
    /// Nobody waits for it.
    pub fn attach(&self, transfer: TransferId, attached: Attached) -> Result<(), Rejection> {
        let gone = || {
            let text = format!("nobody waits for transfer {transfer} any more");
            Rejection::new(ErrorCode::TransferFailed, text)
        };
        let waiting = self.waiting().remove(&transfer).ok_or_else(gone)?;
        waiting.send(Ok(attached)).map_err(|_unsent| gone())
    }
}

impl Expected {
    /// Names it.
    #[must_use]
    pub fn transfer(&self) -> TransferId {
        self.transfer
    }

    /// The agent's side, whenever it dials.
    ///
    /// # Errors
    /// It was refused.
    pub async fn dialled(mut self) -> Result<Attached, Rejection> {
        match (&mut self.attached).await {
            Ok(answer) => answer,
            Err(_dropped) => Err(Rejection::new(ErrorCode::Unavailable, "the master is stopping")),
        }
    }

    /// The agent's side, once it has dialled.
    ///
    /// # Errors
    /// It was refused, or the agent did not dial in time.
    pub async fn attached(mut self) -> Result<Attached, Rejection> {
        match tokio::time::timeout(PATIENCE, &mut self.attached).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => {
                Err(Rejection::new(ErrorCode::Unavailable, "the master is stopping"))
            },
            Err(_elapsed) => {
                let text = format!("the agent did not dial within {}s", PATIENCE.as_secs());
                Err(Rejection::new(ErrorCode::AgentUnreachable, text).remedy(
                    "see `berth agent list`; it carries out four transfers at a time, so try again",
                ))
            },
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.relay.waiting().remove(&self.transfer);
    }
}

/// The stream of a transfer broke, or said something that makes no sense.
#[must_use]
pub fn broken(what: &str, status: Option<&Status>) -> Rejection {
    let why = status.map_or_else(String::new, |status| format!(": {}", status.message()));
    let text = format!("{what}{why}");
    Rejection::new(ErrorCode::TransferFailed, text).remedy("see the agent's log, then try again")
}
