//! A master of a few lines: the test reads calls and writes events, and says which frameworks there are.

use berth_model::framework::{Call, Event};
use berth_model::view::FrameworkView;
use berth_proto::convert::{from_wire, to_wire};
use berth_proto::v1;
use berth_proto::v1::scheduler_server::{Scheduler, SchedulerServer};
use std::convert::Infallible;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// The generous end of every wait.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Session {
    pub calls: mpsc::Receiver<(u64, Call)>,
    pub events: mpsc::Sender<Result<v1::SchedulerEvent, Status>>,
}

pub struct Master {
    pub address: SocketAddr,
    pub frameworks: Frameworks,
    sessions: mpsc::Receiver<Session>,
}

struct Sessions {
    to: mpsc::Sender<Session>,
}

#[tonic::async_trait]
impl Scheduler for Sessions {
    type SessionStream =
        Pin<Box<dyn Stream<Item = Result<v1::SchedulerEvent, Status>> + Send + 'static>>;

    type WatchCellStream = ReceiverStream<Result<v1::CellEvent, Status>>;

    async fn watch_cell(
        &self,
        _request: Request<v1::WatchCellRequest>,
    ) -> Result<Response<Self::WatchCellStream>, Status> {
        Err(Status::unimplemented("the scheduler takes offers only"))
    }

    async fn session(
        &self,
        request: Request<Streaming<v1::SchedulerCall>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut inbound = request.into_inner();
        let (calls_in, calls) = mpsc::channel(64);
        let (events, outbound) = mpsc::channel(64);
        self.to.send(Session { calls, events }).await.unwrap();
        tokio::spawn(async move {
            while let Some(Ok(message)) = inbound.next().await {
                if calls_in.send(from_wire(message).unwrap()).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound))))
    }
}

/// The only call of the operators' interface that schedulers make.
#[derive(Clone, Default)]
pub struct Frameworks(pub Arc<Mutex<Vec<FrameworkView>>>);

impl NamedService for Frameworks {
    const NAME: &'static str = "berth.v1.Operator";
}

impl Service<http::Request<Body>> for Frameworks {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;
    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/berth.v1.Operator/ListFrameworks");
        let listed = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(listed, request).await) })
    }
}

impl UnaryService<v1::ListFrameworksRequest> for Frameworks {
    type Response = v1::ListFrameworksReply;
    type Future = BoxFuture<Response<Self::Response>, Status>;
    fn call(&mut self, _request: Request<v1::ListFrameworksRequest>) -> Self::Future {
        let frameworks = self.0.lock().unwrap().iter().map(to_wire).collect();
        Box::pin(async { Ok(Response::new(v1::ListFrameworksReply { frameworks })) })
    }
}

impl Master {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, sessions) = mpsc::channel(4);
        let frameworks = Frameworks::default();
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(SchedulerServer::new(Sessions { to }))
                .add_service(frameworks.clone())
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { address, frameworks, sessions }
    }

    pub async fn session(&mut self) -> Session {
        within("a session", self.sessions.recv()).await.unwrap()
    }
}

impl Session {
    pub async fn call(&mut self) -> (u64, Call) {
        within("a call", self.calls.recv()).await.expect("the session is open")
    }

    /// The next call that `pick` takes; the others are of no interest here.
    pub async fn wait_for<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(u64, Call) -> Option<T>,
    ) -> T {
        within(what, async {
            loop {
                let (number, call) = self.calls.recv().await.expect("the session is open");
                if let Some(found) = pick(number, call) {
                    return found;
                }
            }
        })
        .await
    }

    pub async fn say(&self, event: &Event) {
        self.events.send(Ok(to_wire(event))).await.unwrap();
    }
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

/// Asks until the answer is taken, and shows the last one when it never is.
pub async fn until<T: Debug, F: Future<Output = T>>(
    what: &str,
    ask: impl Fn() -> F,
    good: impl Fn(&T) -> bool,
) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = ask().await;
        if good(&found) {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "waited for {what}, last: {found:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
