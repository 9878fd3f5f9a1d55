//! The service scheduler as a process: what it asks the master for, what it remembers, what users are told.

use crate::master::{Master, Session, until, within};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Event, FrameworkInfo};
use berth_model::id::{AgentId, FrameworkId, OfferId, StatusId, TaskId};
use berth_model::offer::{Offer, Version};
use berth_model::operation::{Action, OperationKind};
use berth_model::resources::{Resources, parse_resources};
use berth_model::role::Role;
use berth_model::task::{StatusSource, TaskReason, TaskState, TaskStatus};
use berth_model::units::Timestamp;
use berth_model::view::FrameworkView;
use berth_proto::service::v1;
use berth_proto::service::v1::services_client::ServicesClient;
use berth_proto::status::from_status;
use berth_storage_framework::service::{EngineError, SchedulerConfig, ServeError, run};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

const DOCUMENT: &str = "
apiVersion: berth/v1
kind: Service
name: db
role: storage/test
pods:
  p:
    resources: { cpu: 1, memory: 512MiB, ports: { sql: auto } }
    volumes: { data: { size: 1GiB, path: data } }
    tasks: { server: { goal: running, cmd: serve } }
";

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    users: ServicesClient<Channel>,
    address: SocketAddr,
}

async fn start(master: &Master, work_dir: &Path) -> Running {
    let config = SchedulerConfig {
        master: master.address.to_string().parse().unwrap(),
        work_dir: work_dir.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready_in, ready) = oneshot::channel();
    let task = tokio::spawn(async move {
        let stop = async { drop(stopped.await) };
        run(config, |address| ready_in.send(address).unwrap(), stop).await.unwrap();
    });
    let address = within("the scheduler", ready).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let users = ServicesClient::new(endpoint.connect().await.unwrap());
    Running { stop, task, users, address }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        within("the end", self.task).await.unwrap();
    }

    async fn apply(&mut self, id: &str, document: &str) -> Result<v1::ApplyReply, Rejection> {
        let request = v1::ApplyRequest {
            request_id: id.to_owned(),
            document: document.to_owned(),
            format: 0,
            dry_run: false,
        };
        self.users
            .apply(request)
            .await
            .map(tonic::Response::into_inner)
            .map_err(|s| from_status(&s))
    }

    async fn state(&self) -> (String, String) {
        let request = v1::GetRequest { name: "db".to_owned(), role: None };
        let view = self.users.clone().get(request).await.unwrap().into_inner();
        (view.state, view.message)
    }
}

fn framework() -> FrameworkId {
    FrameworkId::new("f-1").unwrap()
}

async fn welcome(session: &Session) {
    let heartbeat = Duration::from_secs(15);
    session.say(&Event::Subscribed { framework: framework(), epoch: 1, heartbeat }).await;
}

fn status(task: &TaskId, state: TaskState) -> TaskStatus {
    TaskStatus {
        task: task.clone(),
        framework: framework(),
        agent: Some(AgentId::from_u128(1)),
        state,
        reason: TaskReason::Normal,
        source: StatusSource::Agent,
        message: String::new(),
        error: None,
        at: Timestamp::from_ms(5),
        id: Some(StatusId::from_u128(7)),
        healthy: None,
        ready: Some(true),
        container: None,
        pid: Some(42),
    }
}

/// Offers one agent and takes the ACCEPT that follows: the kinds of its operations, and the task.
async fn launch(session: &mut Session) -> (Vec<OperationKind>, TaskId) {
    let offer = Offer {
        id: OfferId { epoch: 1, number: 1 },
        framework: framework(),
        role: Role::new("storage/test").unwrap(),
        agent: AgentId::from_u128(1),
        hostname: Arc::from("host"),
        attributes: Arc::default(),
        resources: parse_resources("cpus:2;mem:1024;disk:4096;ports:[31005-31005]").unwrap(),
        seq: 1,
        optimistic: Resources::new(),
        version: Version { epoch: 1, seq: 1 },
    };
    session.say(&Event::Offers(vec![offer])).await;
    let (number, operations) = session
        .wait_for("ACCEPT", |number, call| match call {
            Call::Accept { operations, .. } => Some((number, operations)),
            _ => None,
        })
        .await;
    let kinds = operations.iter().map(|operation| operation.action.kind()).collect();
    let task = operations.iter().find_map(|operation| match &operation.action {
        Action::Launch(tasks) => Some(tasks[0].id.clone()),
        _ => None,
    });
    let ids = operations.iter().map(|operation| operation.id).collect();
    session.say(&Event::Answered { call: number, result: Ok(ids) }).await;
    (kinds, task.unwrap())
}

#[tokio::test]
async fn a_service_is_applied_launched_shown_and_taken_up_again_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let mut scheduler = start(&master, folder.path()).await;
    let mut session = master.session().await;
    let (_, Call::Subscribe { info, framework: None, .. }) = session.call().await else {
        panic!("the first call is SUBSCRIBE, without an id")
    };
    assert_eq!((&*info.name, info.roles), ("berth-services", BTreeSet::new()));
    assert_eq!(*info.url, *format!("http://{}", scheduler.address));
    welcome(&session).await;

    let id = "0123456789abcdef0123456789abcdef";
    let reply = scheduler.apply(id, DOCUMENT).await.unwrap();
    assert_eq!(reply.changes, ["db: created with pod p-0"]);
    assert_eq!(scheduler.apply(id, DOCUMENT).await.unwrap(), reply);
    assert_eq!(scheduler.apply("", DOCUMENT).await.unwrap().changes, ["db: no change"]);
    let roles = session
        .wait_for("UPDATE_ROLES", |_, call| match call {
            Call::UpdateRoles(roles) => Some(roles),
            _ => None,
        })
        .await;
    assert_eq!(roles, BTreeSet::from([Role::new("storage/test").unwrap()]));
    let (kinds, task) = launch(&mut session).await;
    assert_eq!(kinds, [OperationKind::Reserve, OperationKind::Create, OperationKind::Launch]);
    session.say(&Event::Status(status(&task, TaskState::Running))).await;
    session
        .wait_for("ACKNOWLEDGE", |_, call| matches!(call, Call::Acknowledge { .. }).then_some(()))
        .await;
    until("RUNNING", || scheduler.state(), |(state, _)| state == "RUNNING").await;
    let request = v1::GetRequest { name: "db".to_owned(), role: None };
    let view = scheduler.users.get(request).await.unwrap().into_inner();
    assert_eq!(view.pods[0].ports, BTreeMap::from([("sql".to_owned(), 31_005)]));

    scheduler.stop().await;
    let scheduler = start(&master, folder.path()).await;
    let mut session = master.session().await;
    let (_, Call::Subscribe { info, framework: Some(same), .. }) = session.call().await else {
        panic!("the first call is SUBSCRIBE, with the id")
    };
    assert_eq!((same, info.roles), (framework(), roles));
    welcome(&session).await;
    let asked = session
        .wait_for("RECONCILE of the task", |_, call| match call {
            Call::Reconcile(tasks) if !tasks.is_empty() => Some(tasks),
            _ => None,
        })
        .await;
    assert_eq!(asked, [(task.clone(), Some(AgentId::from_u128(1)))]);
    let known = TaskStatus { id: None, ..status(&task, TaskState::Running) };
    session.say(&Event::Status(known)).await;
    until("RUNNING again", || scheduler.state(), |(state, _)| state == "RUNNING").await;
    scheduler.stop().await;
}

fn known(id: &str, url: &str, hostname: &str) -> FrameworkView {
    FrameworkView {
        id: FrameworkId::new(id).unwrap(),
        info: FrameworkInfo {
            name: Arc::from("berth-services"),
            user: Arc::from(""),
            roles: BTreeSet::new(),
            principal: None,
            failover_timeout: Duration::from_secs(60),
            url: Arc::from(url),
            hostname: Arc::from(hostname),
            capabilities: BTreeSet::new(),
        },
        connected: false,
        registered: Timestamp::from_ms(1),
        removed: None,
        tasks: 0,
        offers: 0,
        used: Resources::new(),
    }
}

#[tokio::test]
async fn a_second_scheduler_with_another_ledger_refuses_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let master = Master::start().await;
    let removed = FrameworkView {
        removed: Some(Timestamp::from_ms(9)),
        ..known("f-0", "http://10.0.0.1:1", "one")
    };
    *master.frameworks.0.lock().unwrap() = vec![removed, known("f-1", "http://10.0.0.2:1", "two")];
    let config = SchedulerConfig {
        master: master.address.to_string().parse().unwrap(),
        work_dir: folder.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
    };
    let ended = run(config, |_| (), std::future::pending());
    let error = within("the refusal", ended).await.unwrap_err();
    assert!(
        matches!(
            &error,
            ServeError::Engine(EngineError::Rival(r)) if r.code == ErrorCode::SessionExists
        ),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        "the master has a service scheduler already: framework f-1 at http://10.0.0.2:1 on two (not connected): start the scheduler with the work directory it had, or remove the old framework first with berth framework teardown f-1"
    );
}

#[tokio::test]
async fn a_scheduler_whose_subscription_was_cut_off_is_no_rival_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let scheduler = start(&master, folder.path()).await;
    let mut session = master.session().await;
    let (_, Call::Subscribe { info, framework: None, .. }) = session.call().await else {
        panic!("the first call is SUBSCRIBE")
    };
    // The master took it in, and the answer was lost.
    *master.frameworks.0.lock().unwrap() = vec![known("f-1", &info.url, &info.hostname)];
    drop(session);
    let mut session = master.session().await;
    assert!(matches!(session.call().await.1, Call::Subscribe { framework: None, .. }));
    welcome(&session).await;
    // What follows the id leaves after it is synced.
    session.wait_for("RECONCILE", |_, call| matches!(call, Call::Reconcile(_)).then_some(())).await;
    scheduler.stop().await;
    // With an id of its own it asks nobody.
    *master.frameworks.0.lock().unwrap() = vec![known("f-2", "http://10.0.0.2:1", "two")];
    let scheduler = start(&master, folder.path()).await;
    let mut session = master.session().await;
    let (_, call) = session.call().await;
    assert!(matches!(call, Call::Subscribe { framework: Some(_), .. }), "{call:?}");
    scheduler.stop().await;
}

#[tokio::test]
async fn wrong_requests_are_refused_with_their_field() {
    let folder = tempfile::tempdir().unwrap();
    let master = Master::start().await;
    let mut scheduler = start(&master, folder.path()).await;
    let wrong = DOCUMENT.replace("size: 1GiB", "size: 1").replace("cmd:", "cmb:");
    let refused = scheduler.apply("", &wrong).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the size 1 has no unit (field pods.p.volumes.data.size): write 1MiB or 1GiB; also: cmd is missing (field pods.p.tasks.server.cmd): write for example cmd: \"exec mariadbd …\"; unknown key \"cmb\" (field pods.p.tasks.server.cmb): did you mean cmd?"
    );
    let refused = scheduler.apply("xyz", DOCUMENT).await.unwrap_err();
    assert_eq!((refused.code, refused.field.as_str()), (ErrorCode::InvalidId, "request_id"));
    let unknown = scheduler
        .users
        .restart(v1::RestartRequest { name: "nobody".to_owned(), ..v1::RestartRequest::default() })
        .await
        .unwrap_err();
    assert_eq!(
        from_status(&unknown).to_string(),
        "no service is named nobody (field name): berth service list shows all"
    );
    scheduler.apply("", DOCUMENT).await.unwrap();
    let mut watch = scheduler
        .users
        .watch(v1::WatchRequest { name: "db".to_owned(), role: None })
        .await
        .unwrap()
        .into_inner();
    let first = within("a view", watch.message()).await.unwrap().unwrap();
    assert_eq!((first.state.as_str(), first.config_version), ("WAITING", 1));
    let delete = v1::DeleteRequest { name: "db".to_owned(), ..v1::DeleteRequest::default() };
    scheduler.users.delete(delete).await.unwrap();
    // It had no place yet, so nothing of it stays.
    while within("the end of the watch", watch.message()).await.unwrap().is_some() {}
    let list = scheduler.users.list(v1::ListRequest {}).await.unwrap().into_inner();
    assert_eq!(list.services, []);
    scheduler.stop().await;
}
