//! The scheduler's gRPC interface for users: shape is checked here, everything else is decided by the core.

use super::engine::Handle;
use super::requests::Asked;
use super::views::message;
use berth_framework_core::document::{Format, parse};
use berth_framework_core::scheduler::{Command, Reply, ServiceView};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::OperationId;
use berth_proto::service::v1;
use berth_proto::service::v1::services_server::{Services, ServicesServer};
use berth_proto::status::to_status;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Views that wait for a slow watcher; it then misses states in between, never the last one.
const WATCH_MAX: usize = 16;

pub(super) async fn serve(
    listener: TcpListener,
    handle: Handle,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .add_service(ServicesServer::new(Api { handle }))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
}

#[derive(Debug)]
struct Api {
    handle: Handle,
}

impl Api {
    async fn ask(&self, id: String, command: Command) -> Result<Reply, Status> {
        let gone = || {
            to_status(
                &Rejection::new(ErrorCode::Unavailable, "the scheduler is stopping")
                    .remedy("try again when it is back"),
            )
        };
        let (answer, answered) = oneshot::channel();
        let asked = Asked { id: request_id(id)?, command, answer };
        self.handle.requests.send(asked).await.map_err(|_closed| gone())?;
        answered.await.map_err(|_closed| gone())?.map_err(|refused| to_status(&refused))
    }

    fn find(&self, name: &str, role: Option<&str>) -> Result<ServiceView, Status> {
        let views = self.handle.views.borrow().clone();
        find(&views, name, role).cloned().ok_or_else(|| unknown(name, role))
    }
}

fn find<'v>(views: &'v [ServiceView], name: &str, role: Option<&str>) -> Option<&'v ServiceView> {
    views.iter().find(|view| view.name == name && role.is_none_or(|role| view.role == role))
}

fn unknown(name: &str, role: Option<&str>) -> Status {
    let of_role = role.map(|role| format!(" of role {role}")).unwrap_or_default();
    to_status(
        &Rejection::new(ErrorCode::UnknownService, format!("no service{of_role} is named {name}"))
            .field("name")
            .remedy("berth service list shows all"),
    )
}

/// Empty, or 32 hexadecimal digits in one spelling.
fn request_id(text: String) -> Result<String, Status> {
    if text.is_empty() {
        return Ok(text);
    }
    text.parse::<OperationId>().map(|id| id.to_string()).map_err(|error| {
        let rejection = Rejection::new(ErrorCode::InvalidId, error.to_string());
        to_status(&rejection.field("request_id").remedy("give 32 hexadecimal digits"))
    })
}

/// One rejection for all that is wrong with a document: the first one's place, everybody's text.
fn document_problems(problems: Vec<Rejection>) -> Rejection {
    let count = problems.len();
    let mut problems = problems.into_iter();
    let Some(mut first) = problems.next() else {
        return Rejection::new(ErrorCode::Internal, "a document was refused without a reason");
    };
    if count > 1 {
        let rest: Vec<String> = problems.map(|problem| problem.to_string()).collect();
        first.remedy = format!("{}; also: {}", first.remedy, rest.join("; "));
    }
    first
}

fn unexpected(reply: &Reply) -> Status {
    to_status(&Rejection::new(
        ErrorCode::Internal,
        format!("the reply {reply:?} belongs to another call"),
    ))
}

#[tonic::async_trait]
impl Services for Api {
    type WatchStream =
        Pin<Box<dyn Stream<Item = Result<v1::ServiceView, Status>> + Send + 'static>>;

    async fn apply(
        &self,
        request: Request<v1::ApplyRequest>,
    ) -> Result<Response<v1::ApplyReply>, Status> {
        let v1::ApplyRequest { request_id, document, format, dry_run } = request.into_inner();
        let format = match v1::Format::try_from(format) {
            Ok(v1::Format::Unspecified) => None,
            Ok(v1::Format::Yaml) => Some(Format::Yaml),
            Ok(v1::Format::Json) => Some(Format::Json),
            Ok(v1::Format::Toml) => Some(Format::Toml),
            Err(_unknown) => {
                let rejection =
                    Rejection::new(ErrorCode::InvalidArgument, format!("unknown format {format}"));
                return Err(to_status(&rejection.field("format").remedy("use YAML, JSON or TOML")));
            },
        };
        let services =
            parse(&document, format).map_err(|problems| to_status(&document_problems(problems)))?;
        match self.ask(request_id, Command::Apply { services, dry_run }).await? {
            Reply::Applied { services, changes } => {
                Ok(Response::new(v1::ApplyReply { services, changes, dry_run }))
            },
            reply @ (Reply::Restarting { .. } | Reply::Deleting { .. }) => Err(unexpected(&reply)),
        }
    }

    async fn list(
        &self,
        _request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListReply>, Status> {
        let views = self.handle.views.borrow().clone();
        let services = views.iter().map(|view| message(view, false)).collect();
        Ok(Response::new(v1::ListReply { services }))
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::ServiceView>, Status> {
        let v1::GetRequest { name, role } = request.into_inner();
        Ok(Response::new(message(&self.find(&name, role.as_deref())?, true)))
    }

    async fn restart(
        &self,
        request: Request<v1::RestartRequest>,
    ) -> Result<Response<v1::RestartReply>, Status> {
        let v1::RestartRequest { request_id, name, role, pod } = request.into_inner();
        if role.is_some() {
            self.find(&name, role.as_deref())?;
        }
        match self.ask(request_id, Command::Restart { service: name, instance: pod }).await? {
            Reply::Restarting { instances } => {
                Ok(Response::new(v1::RestartReply { pods: instances }))
            },
            reply @ (Reply::Applied { .. } | Reply::Deleting { .. }) => Err(unexpected(&reply)),
        }
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteReply>, Status> {
        let v1::DeleteRequest { request_id, name, role, delete_volumes } = request.into_inner();
        if role.is_some() {
            self.find(&name, role.as_deref())?;
        }
        let command = Command::Delete { service: name, volumes: delete_volumes };
        match self.ask(request_id, command).await? {
            Reply::Deleting { kept_volumes } => Ok(Response::new(v1::DeleteReply { kept_volumes })),
            reply @ (Reply::Applied { .. } | Reply::Restarting { .. }) => Err(unexpected(&reply)),
        }
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let v1::WatchRequest { name, role } = request.into_inner();
        let first = self.find(&name, role.as_deref())?;
        let (to, outbound) = mpsc::channel(WATCH_MAX);
        tokio::spawn(follow(self.handle.views.clone(), first, to));
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound))))
    }
}

/// Sends the view now and after each change, until the service or the watcher is gone.
async fn follow(
    mut views: watch::Receiver<Arc<Vec<ServiceView>>>,
    mut shown: ServiceView,
    to: mpsc::Sender<Result<v1::ServiceView, Status>>,
) {
    if to.send(Ok(message(&shown, true))).await.is_err() {
        return;
    }
    loop {
        let current = views.borrow_and_update().clone();
        match find(&current, &shown.name, Some(&shown.role)) {
            None => return,
            Some(view) if *view != shown => {
                shown = view.clone();
                if to.send(Ok(message(&shown, true))).await.is_err() {
                    return;
                }
            },
            Some(_) => {},
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = to.closed() => return,
        }
    }
}
