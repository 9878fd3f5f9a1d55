//! The handle: how the API talks to the engine, through one bounded queue.

use super::committer::LogPart;
use super::outlets::{AgentOutlet, FrameworkOutlet};
use crate::registry::Record;
use crate::relay::Relay;
use berth_master_core::{Input, State};
use berth_model::audit::Said;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{FrameworkId, OperationId, SessionId, TaskId};
use berth_model::link::OutputStream;
use berth_model::operation::OperationRecord;
use berth_model::operator::Request;
use berth_model::units::Timestamp;
use berth_model::view::Change;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// What a query sees.
#[derive(Debug)]
pub struct Reading<'a> {
    /// The state, including what is not synced yet; the answer leaves after it is.
    pub state: &'a State,
    /// The time.
    pub now: Timestamp,
    /// The registry's revision once that is synced.
    pub revision: u64,
}

/// Reads the state now and answers once what it saw is synced.
pub type Query = Box<dyn FnOnce(&Reading<'_>) -> Box<dyn FnOnce() + Send> + Send>;

/// The bytes of a file from an offset on.
pub type FileData = (u64, Result<Vec<u8>, Rejection>);

/// A part of a task's output.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// Whose task.
    pub framework: FrameworkId,
    /// Which task.
    pub task: TaskId,
    /// Which output.
    pub stream: OutputStream,
    /// From which byte.
    pub offset: u64,
    /// At most so many bytes.
    pub length: u32,
}

pub(super) enum Message {
    Input(Box<Input>),
    Query(Query),
    OpenAgent(AgentOutlet, Box<Input>),
    OpenFramework(FrameworkOutlet, Box<Input>),
    Submit {
        operation: OperationId,
        fingerprint: u64,
        request: Box<Request>,
        said: Said,
        answer: oneshot::Sender<Result<OperationId, Rejection>>,
    },
    ReadLog {
        from: Vec<u8>,
        limit: usize,
        answer: oneshot::Sender<LogPart>,
    },
    Check {
        operation: OperationId,
        request: Box<Request>,
        said: Said,
        answer: oneshot::Sender<Result<Vec<String>, Rejection>>,
    },
    RefuseCall {
        session: SessionId,
        call: u64,
        error: Rejection,
    },
    Wait {
        operation: OperationId,
        answer: oneshot::Sender<Result<Arc<OperationRecord>, Rejection>>,
    },
    Watch(mpsc::Sender<Change>),
    ReadFile {
        range: FileRange,
        answer: oneshot::Sender<FileData>,
    },
    TryDisk {
        request: Box<Request>,
        answer: oneshot::Sender<FileData>,
    },
}

/// Talks to the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: mpsc::Sender<Message>,
    relay: Arc<Relay>,
    steps: watch::Receiver<u64>,
}

fn stopping() -> Rejection {
    Rejection::new(ErrorCode::Unavailable, "the master is stopping").remedy("try again in a moment")
}

impl Handle {
    pub(super) const fn new(
        inbox: mpsc::Sender<Message>,
        relay: Arc<Relay>,
        steps: watch::Receiver<u64>,
    ) -> Self {
        Self { inbox, relay, steps }
    }

    /// Wakes whoever watches what agents have free: it changes with each step that may have changed some of that.
    #[must_use]
    pub fn steps(&self) -> watch::Receiver<u64> {
        self.steps.clone()
    }

    /// Where agents that dialled for a transfer are met.
    #[must_use]
    pub const fn relay(&self) -> &Arc<Relay> {
        &self.relay
    }

    async fn send(&self, message: Message) -> Result<(), Rejection> {
        self.inbox.send(message).await.map_err(|_closed| stopping())
    }

    /// Hands an input to the core; its effects leave through outlets.
    ///
    /// # Errors
    /// The engine has ended.
    pub async fn input(&self, input: Input) -> Result<(), Rejection> {
        self.send(Message::Input(Box::new(input))).await
    }
    /// Opens the way out to an agent and hands its first message to the core: both or, when the caller gives up,
    /// neither. [`Input::AgentDisconnected`] closes it again.
    ///
    /// # Errors
    /// The engine has ended.
    pub async fn open_agent(&self, outlet: AgentOutlet, first: Input) -> Result<(), Rejection> {
        self.send(Message::OpenAgent(outlet, Box::new(first))).await
    }
    /// Opens the way out to a framework and hands its first call to the core: both or neither.
    /// [`Input::FrameworkDisconnected`] closes it again.
    ///
    /// # Errors
    /// The engine has ended.
    pub async fn open_framework(
        &self,
        outlet: FrameworkOutlet,
        first: Input,
    ) -> Result<(), Rejection> {
        self.send(Message::OpenFramework(outlet, Box::new(first))).await
    }
    /// Asks for a change; answers once it is accepted, that is, its intent is synced.
    ///
    /// # Errors
    /// It was refused, or the engine has ended.
    pub async fn submit(
        &self,
        operation: OperationId,
        fingerprint: u64,
        request: Request,
        said: Said,
    ) -> Result<OperationId, Rejection> {
        let (answer, answered) = oneshot::channel();
        let request = Box::new(request);
        self.send(Message::Submit { operation, fingerprint, request, said, answer }).await?;
        answered.await.map_err(|_dropped| stopping())?
    }
    /// Would [`Handle::submit`] accept this now, and what would it do? Changes nothing; a refusal of what was asked in earnest is noted.
    ///
    /// # Errors
    /// It would be refused, or the engine has ended.
    pub async fn check(
        &self,
        operation: OperationId,
        request: Request,
        said: Said,
    ) -> Result<Vec<String>, Rejection> {
        let (answer, answered) = oneshot::channel();
        let request = Box::new(request);
        self.send(Message::Check { operation, request, said, answer }).await?;
        answered.await.map_err(|_dropped| stopping())?
    }
    /// Answers a framework's call that never reached the core because it is malformed.
    ///
    /// # Errors
    /// The engine has ended.
    pub async fn refuse_call(
        &self,
        session: SessionId,
        call: u64,
        error: Rejection,
    ) -> Result<(), Rejection> {
        self.send(Message::RefuseCall { session, call, error }).await
    }
    /// Answers when the operation has ended.
    ///
    /// # Errors
    /// Nobody knows the operation, or the engine has ended.
    pub async fn wait(&self, operation: OperationId) -> Result<Arc<OperationRecord>, Rejection> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Wait { operation, answer }).await?;
        answered.await.map_err(|_dropped| stopping())?
    }
    /// Everything that changes from now on. A watcher that does not keep up is cut off.
    ///
    /// # Errors
    /// The engine has ended.
    pub async fn watch(&self) -> Result<mpsc::Receiver<Change>, Rejection> {
        let (sender, receiver) = mpsc::channel(1_024);
        self.send(Message::Watch(sender)).await?;
        Ok(receiver)
    }
    /// Reads part of a task's output from its agent.
    ///
    /// # Errors
    /// The engine has ended, or the agent did not answer within ten seconds.
    pub async fn read_file(&self, range: FileRange) -> Result<FileData, Rejection> {
        let (answer, answered) = oneshot::channel();
        let name = format!("{}/{}", range.framework, range.task);
        self.send(Message::ReadFile { range, answer }).await?;
        match tokio::time::timeout(Duration::from_secs(10), answered).await {
            Ok(data) => data.map_err(|_dropped| stopping()),
            Err(_elapsed) => Err(Rejection::new(
                ErrorCode::AgentUnreachable,
                format!("read the output of task {name}: its agent did not answer within 10s"),
            )
            .remedy("see `berth agent list`, then try again")),
        }
    }
    /// Reads a part of the log, as it is synced.
    ///
    /// # Errors
    /// It cannot be read, too many read at once, or the engine has ended.
    pub(super) async fn read_log(
        &self,
        from: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<Record>, Rejection> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::ReadLog { from, limit, answer }).await?;
        let part = answered.await.map_err(|_dropped| {
            let text = "read the audit log: too many read it at once, or the master is stopping";
            Rejection::new(ErrorCode::Unavailable, text).remedy("try again in a moment")
        })?;
        part.map_err(|e| Rejection::new(ErrorCode::RegistryCorrupt, e.to_string()))
    }
    /// Asks the agent what an order about its disks would find: a line for each fact.
    ///
    /// # Errors
    /// It would be refused, the engine has ended, or the agent did not answer within ten seconds.
    pub async fn try_disk(&self, request: Request) -> Result<Vec<String>, Rejection> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::TryDisk { request: Box::new(request), answer }).await?;
        match tokio::time::timeout(Duration::from_secs(10), answered).await {
            Ok(data) => {
                let (_offset, found) = data.map_err(|_dropped| stopping())?;
                let text = String::from_utf8_lossy(&found?).into_owned();
                Ok(text.lines().map(str::to_owned).collect())
            },
            Err(_elapsed) => Err(Rejection::new(
                ErrorCode::AgentUnreachable,
                "the agent of the disk did not answer within 10s",
            )
            .remedy("see `berth agent list`, then try again")),
        }
    }
    /// Reads the state; the answer leaves once what it saw is synced.
    ///
    /// # Errors
    /// The engine has ended.
    pub async fn query<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reading<'_>) -> T + Send + 'static,
    ) -> Result<T, Rejection> {
        let (answer, answered) = oneshot::channel();
        let query: Query = Box::new(move |reading| {
            let value = read(reading);
            Box::new(move || drop(answer.send(value)))
        });
        self.send(Message::Query(query)).await?;
        answered.await.map_err(|_dropped| stopping())
    }
}
