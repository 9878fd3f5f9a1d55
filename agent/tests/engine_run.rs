//! A whole agent in this process against a master that says what the test wants: volumes and tasks from the
//! first contact over a restart to the purge.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use berth_agent::engine::{self, Error, Stop};
use berth_agent::{AgentConfig, Flags};
use berth_model::error::ErrorCode;
use berth_model::id::{ClusterId, FrameworkId, OperationId, TaskId, VolumeId, VolumeName};
use berth_model::link::{Envelope, FromAgent, OutputStream, Registration, ToAgent};
use berth_model::resources::{DiskSource, Mount, MountMode, parse_resources};
use berth_model::role::Role;
use berth_model::task::{Command, Program, TaskInfo, TaskState, TaskStatus};
use berth_model::units::Bytes;
use berth_model::volume::{VolumeReport, VolumeSpec, VolumeState, VolumeUse};
use berth_proto::convert::{from_wire, to_wire};
use berth_proto::v1;
use berth_proto::v1::agent_link_server::{AgentLink, AgentLinkServer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

const LIMIT: Duration = Duration::from_secs(60);
const CLUSTER: ClusterId = ClusterId::from_u128(0xC);

/// One connection of an agent, as the master sees it.
struct Session {
    heard: Streaming<v1::FromAgent>,
    say: mpsc::Sender<Result<v1::Envelope, Status>>,
}

struct Door(mpsc::Sender<Session>);

#[tonic::async_trait]
impl AgentLink for Door {
    type ConnectStream = ReceiverStream<Result<v1::Envelope, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::FromAgent>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (say, said) = mpsc::channel(64);
        let session = Session { heard: request.into_inner(), say };
        self.0.send(session).await.map_err(|_e| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(said)))
    }

    type TransferStream = ReceiverStream<Result<v1::ToTransfer, Status>>;

    async fn transfer(
        &self,
        _request: Request<Streaming<v1::FromTransfer>>,
    ) -> Result<Response<Self::TransferStream>, Status> {
        Err(Status::unimplemented("no transfer is asked for here"))
    }
}

struct Master {
    address: String,
    sessions: mpsc::Receiver<Session>,
    epoch: u64,
}

impl Master {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (door, sessions) = mpsc::channel(8);
        let server = tonic::transport::Server::builder()
            .add_service(AgentLinkServer::new(Door(door)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        Self { address, sessions, epoch: 1 }
    }

    /// Takes the next connection's registration in.
    async fn admit(&mut self) -> (Talk, Registration) {
        let session = within(self.sessions.recv()).await.expect("the agent dials");
        let mut talk = Talk { session, epoch: self.epoch };
        let FromAgent::Register(registration) = talk.next().await else {
            panic!("the first message is not a registration")
        };
        talk.say(ToAgent::Registered { heartbeat: Duration::from_secs(1) }).await;
        (talk, *registration)
    }
}

struct Talk {
    session: Session,
    epoch: u64,
}

impl Talk {
    async fn say(&self, message: ToAgent) {
        let envelope = Envelope { cluster: CLUSTER, epoch: self.epoch, revision: 1, message };
        self.session.say.send(Ok(to_wire(&envelope))).await.unwrap();
    }
    async fn next(&mut self) -> FromAgent {
        let message =
            within(self.session.heard.message()).await.unwrap().expect("the stream is open");
        from_wire(message).unwrap()
    }
    async fn report(&mut self, wanted: VolumeState) -> (u64, VolumeReport) {
        loop {
            match self.next().await {
                FromAgent::Volume { ledger_seq, report } if report.state == wanted => {
                    return (ledger_seq, report);
                },
                FromAgent::Volume { report, .. } => {
                    assert_eq!(report.error, None, "{report:?}");
                },
                _ => {},
            }
        }
    }
    /// Acknowledges every update up to the one with `wanted`.
    async fn status(&mut self, wanted: TaskState) -> TaskStatus {
        loop {
            let FromAgent::Status(status) = self.next().await else { continue };
            if let Some(id) = status.id {
                let (framework, task) = (status.framework.clone(), status.task.clone());
                self.say(ToAgent::Acknowledge { framework, task, status: id }).await;
            }
            if status.state == wanted {
                return status;
            }
            assert!(!status.state.is_terminal(), "{status:?}");
        }
    }
}

impl Talk {
    /// The task's output, as soon as there is some.
    async fn output(&mut self) -> Vec<u8> {
        let mut number = 0;
        loop {
            number += 1;
            self.say(ToAgent::ReadFile {
                read: number,
                framework: framework(),
                task: TaskId::new("t-1").unwrap(),
                stream: OutputStream::Stdout,
                offset: 0,
                length: 100,
            })
            .await;
            let data = loop {
                if let FromAgent::FileData { read, data, .. } = self.next().await
                    && read == number
                {
                    break data.unwrap();
                }
            };
            if !data.is_empty() {
                return data;
            }
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("it takes less than a minute")
}

/// A running agent.
struct Running {
    stop: mpsc::Sender<Stop>,
    ended: JoinHandle<Result<(), Error>>,
}

impl Running {
    async fn stop(self, how: Stop) {
        self.stop.send(how).await.unwrap();
        within(self.ended).await.unwrap().unwrap();
    }
}

fn config(master: &str, work_dir: &Path) -> AgentConfig {
    let flags = Flags {
        master: Some(master.to_owned()),
        work_dir: Some(work_dir.to_owned()),
        hostname: Some("one.example".to_owned()),
        resources: Some("cpus:2;mem:1GiB;disk:64MiB".to_owned()),
        disks: vec!["type=root,driver=directory".to_owned()],
        ..Flags::default()
    };
    let mut config = AgentConfig::load(None, flags).unwrap();
    let own = std::env::current_exe().unwrap();
    config.program = own.parent().unwrap().parent().unwrap().join("examples/container_program");
    assert!(config.program.exists(), "cargo build -p berth-agent --examples");
    config
}

fn start(config: AgentConfig) -> Running {
    let (stop, asked) = mpsc::channel(1);
    Running { stop, ended: tokio::spawn(engine::run(config, asked)) }
}

fn work_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn spec(mib: u64) -> VolumeSpec {
    VolumeSpec {
        id: VolumeId::from_u128(0x77),
        generation: 1,
        name: VolumeName::new("data").unwrap(),
        role: Role::new("storage").unwrap(),
        principal: None,
        source: DiskSource::Root,
        size: Bytes::from_mib(mib),
        access: berth_model::access::Access::default(),
        shared: false,
        encrypted: false,
    }
}

fn ensure(mib: u64) -> ToAgent {
    ToAgent::EnsureVolume { spec: spec(mib), operation: OperationId::from_u128(1), restore: false }
}

fn task(registration: &Registration, script: &str) -> TaskInfo {
    TaskInfo {
        id: TaskId::new("t-1").unwrap(),
        name: "t".to_owned(),
        agent: registration.info.id,
        resources: parse_resources("cpus:0.1;mem:64MiB").unwrap(),
        command: Command {
            program: Program::Shell(script.to_owned()),
            env: BTreeMap::new(),
            user: None,
        },
        health: None,
        readiness: None,
        kill_grace: Duration::from_secs(5),
        labels: BTreeMap::new(),
    }
}

fn framework() -> FrameworkId {
    FrameworkId::new("F-1").unwrap()
}

fn volume_use() -> VolumeUse {
    VolumeUse {
        volume: spec(1).id,
        generation: 1,
        mount: Mount { container_path: Arc::from("data"), mode: MountMode::ReadWrite },
    }
}

fn launch(registration: &Registration, script: &str) -> ToAgent {
    ToAgent::Launch {
        framework: framework(),
        task: Box::new(task(registration, script)),
        volumes: vec![volume_use()],
    }
}

fn is_alive(pid: u32) -> bool {
    PathBuf::from(format!("/proc/{pid}/stat")).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_and_its_task_live_from_first_contact_over_a_restart_to_the_purge() {
    let dir = work_dir();
    let mut master = Master::start().await;
    let agent = start(config(&master.address, dir.path()));
    let (mut talk, first) = master.admit().await;
    assert_eq!((first.cluster, first.epoch, first.volumes.len()), (None, 0, 0));
    assert_eq!(
        first.info.declared,
        parse_resources("cpus:2;mem:1GiB;disk:64MiB;ports:[31000-32000]").unwrap()
    );
    assert_eq!(&*first.info.hostname, "one.example");
    assert_eq!(first.info.disks.len(), 1);

    talk.say(ensure(16)).await;
    let (seq, ready) = talk.report(VolumeState::Ready).await;
    assert!(seq > first.ledger_seq);
    assert_eq!((&*ready.driver, ready.operation), ("directory", Some(OperationId::from_u128(1))));
    let host_path = PathBuf::from(&*ready.host_path);
    assert!(host_path.is_dir());

    talk.say(launch(&first, "echo hello; echo precious > data/file; exec sleep 1000")).await;
    let running = talk.status(TaskState::Running).await;
    let pid = running.pid.expect("it runs");
    assert_eq!(within(talk.output()).await, b"hello\n");

    // In use it is not destroyed.
    let operation = OperationId::from_u128(2);
    let destroy = ToAgent::DestroyVolume { volume: spec(16).id, generation: 1, operation };
    talk.say(destroy.clone()).await;
    let refused = loop {
        if let FromAgent::Volume { report, .. } = talk.next().await {
            break report;
        }
    };
    assert_eq!(refused.state, VolumeState::Ready);
    assert_eq!(refused.error.map(|e| e.code), Some(ErrorCode::VolumeInUse));

    // The agent ends, the task does not.
    agent.stop(Stop::LeaveTasks).await;
    assert!(is_alive(pid));
    master.epoch = 2;
    let agent = start(config(&master.address, dir.path()));
    let (mut talk, again) = master.admit().await;
    assert_eq!((again.info.id, again.cluster, again.epoch), (first.info.id, Some(CLUSTER), 1));
    assert!(again.ledger_seq >= seq);
    assert_ne!(again.session, first.session);
    let volumes: Vec<_> = again.volumes.iter().map(|v| (v.spec.clone(), v.state)).collect();
    assert_eq!(volumes, vec![(spec(16), VolumeState::Ready)]);
    let tasks: Vec<_> = again.tasks.iter().map(|t| (t.status.state, t.status.pid)).collect();
    assert_eq!(tasks, vec![(TaskState::Running, Some(pid))]);
    assert!(is_alive(pid));

    let kill = ToAgent::Kill {
        framework: framework(),
        task: TaskId::new("t-1").unwrap(),
        grace: Some(Duration::from_secs(1)),
    };
    talk.say(kill).await;
    let killed = talk.status(TaskState::Killed).await;
    assert_eq!(killed.message, "asked to end; command was ended by signal 15 (SIGTERM)");
    assert!(!is_alive(pid));
    assert_eq!(std::fs::read_to_string(host_path.join("file")).unwrap(), "precious\n");

    talk.say(destroy).await;
    talk.report(VolumeState::Trashed).await;
    assert!(!host_path.exists());
    let operation = OperationId::from_u128(3);
    talk.say(ToAgent::PurgeVolume { volume: spec(16).id, generation: 1, operation, wipe: None })
        .await;
    talk.report(VolumeState::Gone).await;
    talk.say(ToAgent::ForgetVolume { volume: spec(16).id, generation: 1 }).await;
    // A message of the term that is over ends the connection; the agent comes back.
    talk.epoch = 1;
    talk.say(ToAgent::Heartbeat).await;
    let (_talk, last) = master.admit().await;
    assert_eq!((last.epoch, last.volumes.len(), last.tasks.len()), (2, 0, 0));
    agent.stop(Stop::LeaveTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_ends_tasks_waits_for_them_and_their_last_status_is_told_by_the_next_start() {
    let dir = work_dir();
    let mut master = Master::start().await;
    let agent = start(config(&master.address, dir.path()));
    let (mut talk, first) = master.admit().await;
    talk.say(ensure(16)).await;
    talk.report(VolumeState::Ready).await;
    talk.say(launch(&first, "exec sleep 1000")).await;
    let pid = talk.status(TaskState::Running).await.pid.expect("it runs");
    agent.stop(Stop::EndTasks).await;
    assert!(!is_alive(pid));
    let agent = start(config(&master.address, dir.path()));
    let (mut talk, again) = master.admit().await;
    assert_eq!(again.tasks.len(), 1);
    let killed = talk.status(TaskState::Killed).await;
    assert_eq!(
        killed.message,
        "the agent stops its tasks; command was ended by signal 15 (SIGTERM)"
    );
    agent.stop(Stop::LeaveTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_directory_has_one_agent_and_an_identity_without_its_ledger_is_refused() {
    let dir = work_dir();
    let mut master = Master::start().await;
    let agent = start(config(&master.address, dir.path()));
    let (_talk, first) = master.admit().await;
    let (_stop, asked) = mpsc::channel(1);
    let second = engine::run(config(&master.address, dir.path()), asked).await.unwrap_err();
    assert_eq!(second.rejection().code, ErrorCode::Locked);
    agent.stop(Stop::LeaveTasks).await;

    let identity = std::fs::read_to_string(dir.path().join("identity")).unwrap();
    assert_eq!(identity.trim(), first.info.id.to_string());
    let ledger = dir.path().join("ledger");
    std::fs::rename(&ledger, dir.path().join("away")).unwrap();
    let (_stop, asked) = mpsc::channel(1);
    let lost = engine::run(config(&master.address, dir.path()), asked).await.unwrap_err();
    assert_eq!(lost.rejection().code, ErrorCode::LedgerCorrupt);

    // A flipped byte is found, not guessed around.
    std::fs::remove_dir_all(&ledger).unwrap();
    std::fs::rename(dir.path().join("away"), &ledger).unwrap();
    let segment = std::fs::read_dir(&ledger)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("log-"))
        .expect("there is a segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2 + 20;
    bytes[middle] ^= 0x10;
    std::fs::write(&segment, bytes).unwrap();
    let (_stop, asked) = mpsc::channel(1);
    let damaged = engine::run(config(&master.address, dir.path()), asked).await.unwrap_err();
    assert_eq!(damaged.rejection().code, ErrorCode::LedgerCorrupt);
    assert!(damaged.to_string().contains("log-"), "{damaged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_waits_for_a_master_that_is_not_there_yet() {
    let dir = work_dir();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let agent = start(config(&address.to_string(), dir.path()));
    within(async {
        while !dir.path().join("identity").exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let (door, sessions) = mpsc::channel(8);
    let server = tonic::transport::Server::builder()
        .add_service(AgentLinkServer::new(Door(door)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let mut master = Master { address: address.to_string(), sessions, epoch: 1 };
    master.admit().await;
    agent.stop(Stop::LeaveTasks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_too_large_to_be_executed_is_refused_and_the_agent_goes_on() {
    let work_dir = work_dir();
    let mut master = Master::start().await;
    let agent = start(config(&master.address, work_dir.path()));
    let (mut talk, registration) = master.admit().await;
    let mut task = task(&registration, "true");
    for number in 0..50 {
        task.command.env.insert(format!("V{number}"), "x".repeat(100_000));
    }
    talk.say(ToAgent::Launch { framework: framework(), task: Box::new(task), volumes: vec![] })
        .await;
    let status = talk.status(TaskState::Failed).await;
    assert!(status.message.contains("Argument list too long"), "{status:?}");
    agent.stop(Stop::LeaveTasks).await;
}
