//! A whole agent as a process, against a master that this program plays: what it weighs with many volumes, and whether the
//! deletion of very many files delays what it says.
//!
//! The figures of the deletion are taken twice, once while nothing else happens, so that the machine's own delays show. It
//! knows no offers and no registry. Every message is stamped when it arrives.

use crate::report::Figures;
use crate::statistics::{median, quantile};
use crate::w4::Effort;
use anyhow::{Context, bail, ensure};
use berth_cluster_tests::berth_bin;
use berth_model::access::Access;
use berth_model::id::{AgentId, ClusterId, FrameworkId, OperationId, TaskId, VolumeId, VolumeName};
use berth_model::link::{Envelope, FromAgent, ToAgent};
use berth_model::resources::{DiskSource, parse_resources};
use berth_model::role::Role;
use berth_model::task::{Command, Program, TaskInfo};
use berth_model::units::Bytes;
use berth_model::volume::{VolumeReport, VolumeSpec, VolumeState};
use berth_proto::convert::{from_wire, to_wire};
use berth_proto::v1;
use berth_proto::v1::agent_link_server::{AgentLink, AgentLinkServer};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

const CLUSTER: ClusterId = ClusterId::from_u128(0xc);
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Longer than anything that is waited for.
const LIMIT: Duration = Duration::from_secs(900);
/// Messages that wait to be looked at; more than the agent says while files are made.
const HEARD_MAX: usize = 10_000;
/// Files in one directory.
const FILES_EACH: usize = 1_000;

type Said = Result<v1::Envelope, Status>;

struct Session {
    heard: Streaming<v1::FromAgent>,
    say: mpsc::Sender<Said>,
}

struct Door(mpsc::Sender<Session>);

#[tonic::async_trait]
impl AgentLink for Door {
    type ConnectStream = ReceiverStream<Said>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::FromAgent>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (say, said) = mpsc::channel(64);
        let session = Session { heard: request.into_inner(), say };
        self.0.send(session).await.map_err(|_closed| Status::unavailable("it is over"))?;
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

/// The process; it ends with the value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn start(dir: &Path, master: &str) -> anyhow::Result<Process> {
    let log = File::create(dir.join("agent.log")).context("create a log")?;
    let work = dir.join("agent");
    let mut agent = std::process::Command::new(berth_bin()?);
    agent.args([
        "agent",
        "run",
        "--hostname",
        "bench",
        "--resources",
        "cpus:4;mem:4GiB;disk:20GiB",
    ]);
    agent.args(["--disk", "type=root,driver=directory", "--master", master]);
    agent.arg("--work-dir").arg(work).stdin(Stdio::null());
    agent.stdout(log.try_clone().context("open a log twice")?).stderr(log);
    Ok(Process(agent.spawn().context("start the agent")?))
}

fn envelope(message: ToAgent) -> v1::Envelope {
    to_wire(&Envelope { cluster: CLUSTER, epoch: 1, revision: 1, message })
}

/// The connection, with what was heard of it.
struct Talk {
    agent: AgentId,
    say: mpsc::Sender<Said>,
    heard: mpsc::Receiver<(Instant, FromAgent)>,
    heartbeats: Vec<Instant>,
    /// When its registration was heard.
    begun: Instant,
}

impl Talk {
    async fn begin(sessions: &mut mpsc::Receiver<Session>) -> anyhow::Result<Self> {
        let session = tokio::time::timeout(LIMIT, sessions.recv()).await?.context("no agent")?;
        let Session { heard: mut stream, say } = session;
        let first = stream.message().await?.context("it hung up")?;
        let FromAgent::Register(registration) = from_wire(first)? else {
            bail!("the first message is no registration")
        };
        let begun = Instant::now();
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        tokio::spawn(async move {
            while let Ok(Some(message)) = stream.message().await {
                let at = Instant::now();
                if let Ok(message) = from_wire(message)
                    && tell.send((at, message)).await.is_err()
                {
                    break;
                }
            }
        });
        let beats = say.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(HEARTBEAT);
            while beats.send(Ok(envelope(ToAgent::Heartbeat))).await.is_ok() {
                ticks.tick().await;
            }
        });
        let talk = Self { agent: registration.info.id, say, heard, heartbeats: Vec::new(), begun };
        talk.tell(ToAgent::Registered { heartbeat: HEARTBEAT }).await?;
        Ok(talk)
    }

    async fn tell(&self, message: ToAgent) -> anyhow::Result<()> {
        self.say.send(Ok(envelope(message))).await.context("the agent hung up")
    }

    /// The next message that is no heartbeat; statuses are acknowledged.
    async fn next(&mut self) -> anyhow::Result<(Instant, FromAgent)> {
        loop {
            let heard = tokio::time::timeout(LIMIT, self.heard.recv()).await;
            let (at, message) = heard.context("nothing is heard")?.context("it hung up")?;
            if let FromAgent::Heartbeat { .. } = message {
                self.heartbeats.push(at);
                continue;
            }
            if let FromAgent::Status(status) = &message
                && let Some(id) = status.id
            {
                let (framework, task) = (status.framework.clone(), status.task.clone());
                self.tell(ToAgent::Acknowledge { framework, task, status: id }).await?;
            }
            return Ok((at, message));
        }
    }

    async fn report(
        &mut self,
        id: VolumeId,
        wanted: VolumeState,
    ) -> anyhow::Result<(Instant, VolumeReport)> {
        loop {
            if let (at, FromAgent::Volume { report, .. }) = self.next().await?
                && report.spec.id == id
            {
                ensure!(report.error.is_none(), "volume {id}: {report:?}");
                if report.state == wanted {
                    return Ok((at, report));
                }
            }
        }
    }

    /// The longest pauses between two heartbeats since the last question, in milliseconds.
    fn pauses(&mut self) -> Vec<f64> {
        let beats = std::mem::take(&mut self.heartbeats);
        let pairs = beats.iter().zip(beats.iter().skip(1));
        pairs.map(|(one, next)| next.duration_since(*one).as_secs_f64() * 1e3).collect()
    }
}

fn spec(number: u128) -> anyhow::Result<VolumeSpec> {
    Ok(VolumeSpec {
        id: VolumeId::from_u128(number),
        generation: 1,
        name: VolumeName::new(&format!("v{number}")).context("name")?,
        role: Role::new("bench").context("role")?,
        principal: None,
        source: DiskSource::Root,
        size: Bytes::from_mib(1),
        access: Access::default(),
        shared: false,
        encrypted: false,
    })
}

fn launch(agent: AgentId, number: usize) -> anyhow::Result<(TaskId, ToAgent)> {
    let id = TaskId::new(&format!("t{number}")).context("task")?;
    let program = Program::Shell("true".to_owned());
    let task = TaskInfo {
        id: id.clone(),
        name: "t".to_owned(),
        agent,
        resources: parse_resources("cpus:0.1;mem:32MiB").context("resources")?,
        command: Command { program, env: BTreeMap::new(), user: None },
        health: None,
        readiness: None,
        kill_grace: Duration::from_secs(5),
        labels: BTreeMap::new(),
    };
    let framework = FrameworkId::new("F-1").context("framework")?;
    Ok((id, ToAgent::Launch { framework, task: Box::new(task), volumes: Vec::new() }))
}

/// Kills the agent and starts it again; from the start of the process until its registration is heard, which it sends when
/// every volume is verified. The middle of five, in milliseconds.
async fn restarts(
    agent: &mut Option<Process>,
    talk: &mut Talk,
    (dir, address, sessions): &mut (&Path, &str, &mut mpsc::Receiver<Session>),
) -> anyhow::Result<f64> {
    let mut each = Vec::new();
    for _time in 0..5 {
        drop(agent.take());
        let begun = Instant::now();
        *agent = Some(start(dir, address)?);
        *talk = Talk::begin(sessions).await?;
        each.push(talk.begun.duration_since(begun).as_secs_f64() * 1e3);
    }
    Ok(median(&each))
}

fn pid(agent: Option<&Process>) -> anyhow::Result<u32> {
    Ok(agent.context("no agent")?.0.id())
}

/// Memory of a process that is not swapped out.
fn rss_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
    Ok(kib / 1024.0)
}

/// Makes that many files below a directory.
fn fill(root: &Path, files: usize) -> anyhow::Result<()> {
    for folder in 0..files.div_ceil(FILES_EACH) {
        let folder = root.join(format!("d{folder}"));
        std::fs::create_dir(&folder).with_context(|| format!("create {}", folder.display()))?;
        for file in 0..FILES_EACH {
            drop(File::create(folder.join(format!("f{file}"))).context("create a file")?);
        }
    }
    Ok(())
}

/// Runs tasks one after the other until `over` says so; how long each took from its launch to its end, in milliseconds.
/// Answers when the report of the volume came that ends it.
async fn tasks(
    talk: &mut Talk,
    first: usize,
    (count, gone): (usize, Option<VolumeId>),
) -> anyhow::Result<(Vec<f64>, Option<Instant>)> {
    let (mut each, mut ended) = (Vec::new(), None);
    let mut number = first;
    while if gone.is_some() { ended.is_none() } else { each.len() < count } {
        let (id, message) = launch(talk.agent, number)?;
        number += 1;
        let begun = Instant::now();
        talk.tell(message).await?;
        loop {
            let (at, message) = talk.next().await?;
            match message {
                FromAgent::Status(status) if status.task == id && status.state.is_terminal() => {
                    each.push(at.duration_since(begun).as_secs_f64() * 1e3);
                    break;
                },
                FromAgent::Volume { report, .. }
                    if Some(report.spec.id) == gone && report.state == VolumeState::Gone =>
                {
                    ended = Some(at);
                },
                _other => {},
            }
        }
    }
    Ok((each, ended))
}

fn put(figures: &mut Figures, when: &str, each: &[f64], pauses: &[f64]) {
    figures.put(&format!("destroy.{when}.status_ms_p50"), median(each));
    figures.put(&format!("destroy.{when}.status_ms_max"), quantile(each, 1.0));
    if !pauses.is_empty() {
        figures.put(&format!("destroy.{when}.between_heartbeats_ms_max"), quantile(pauses, 1.0));
    }
}

async fn measure(dir: &Path, effort: Effort, figures: &mut Figures) -> anyhow::Result<()> {
    let full = effort.blocks > 2;
    let (volumes, files) = if full { (1_000_u128, 1_000_000) } else { (50, 20_000) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("find a port")?;
    let address = listener.local_addr().context("read the port")?.to_string();
    let (door, mut sessions) = mpsc::channel(8);
    let server = tonic::transport::Server::builder()
        .add_service(AgentLinkServer::new(Door(door)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let mut agent = Some(start(dir, &address)?);
    let mut talk = Talk::begin(&mut sessions).await?;
    let mut place = (dir, address.as_str(), &mut sessions);
    let empty = restarts(&mut agent, &mut talk, &mut place).await?;
    figures.put("recovery.whole_agent.0_volumes.ms", empty);
    figures.put("idle.0_volumes.rss_mib", rss_mib(pid(agent.as_ref())?)?);
    let operation = OperationId::from_u128(1);
    for number in 1..=volumes {
        let message = ToAgent::EnsureVolume { spec: spec(number)?, operation, restore: false };
        talk.tell(message).await?;
        talk.report(VolumeId::from_u128(number), VolumeState::Ready).await?;
    }
    figures.put(&format!("idle.{volumes}_volumes.rss_mib"), rss_mib(pid(agent.as_ref())?)?);
    let full_of_them = restarts(&mut agent, &mut talk, &mut place).await?;
    figures.put(&format!("recovery.whole_agent.{volumes}_volumes.ms"), full_of_them);

    let big = spec(volumes + 1)?;
    talk.tell(ToAgent::EnsureVolume { spec: big.clone(), operation, restore: false }).await?;
    let (_at, report) = talk.report(big.id, VolumeState::Ready).await?;
    let place = report.host_path.to_string();
    tokio::task::spawn_blocking(move || fill(Path::new(&place), files)).await??;
    talk.next_heartbeats();
    let (each, _) = tasks(&mut talk, 0, (if full { 60 } else { 5 }, None)).await?;
    let pauses = talk.pauses();
    put(figures, "before", &each, &pauses);

    let (volume, generation) = (big.id, 1);
    talk.tell(ToAgent::DestroyVolume { volume, generation, operation }).await?;
    talk.report(volume, VolumeState::Trashed).await?;
    talk.next_heartbeats();
    let begun = Instant::now();
    talk.tell(ToAgent::PurgeVolume { volume, generation, operation, wipe: None }).await?;
    let (each, ended) = tasks(&mut talk, 10_000, (0, Some(volume))).await?;
    let pauses = talk.pauses();
    put(figures, "while", &each, &pauses);
    let seconds = ended.context("it is not gone")?.duration_since(begun).as_secs_f64();
    figures.put(&format!("destroy.{files}_files.seconds"), seconds);
    Ok(())
}

impl Talk {
    /// Forgets the heartbeats so far.
    fn next_heartbeats(&mut self) {
        while let Ok((_at, _message)) = self.heard.try_recv() {}
        self.heartbeats.clear();
    }
}

/// Runs it below `dir`.
///
/// # Errors
/// The agent could not be started, or does not do as it is told; its log is in `dir`.
pub fn run(dir: &Path, effort: Effort) -> anyhow::Result<Figures> {
    let dir = dir.join("whole-agent");
    std::fs::create_dir_all(&dir).context("create a folder")?;
    let mut figures = Figures::default();
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    let outcome = runtime.block_on(measure(&dir, effort, &mut figures));
    outcome.with_context(|| {
        let log = std::fs::read_to_string(dir.join("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    })?;
    Ok(figures)
}
