//! `berth dev`: a whole cluster in one terminal.
//!
//! It starts master, agents and scheduler as children of this same program, one folder each, restarts a child that
//! dies, and says once when everything is connected. It holds no state of its own: everything stays in the
//! children's folders, and a new `berth dev` on them goes on where the last one stopped.

mod child;

use crate::failure::Failure;
use crate::output::note;
use anyhow::{Context, bail};
use berth_model::error::{ErrorCode, Rejection};
use child::{Child, Supervised};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Flags of `berth dev`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// How many agents
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    agents: u16,
    /// Where everything is kept
    #[arg(long, default_value = "berth-dev")]
    work_dir: PathBuf,
    /// The master's port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 5050)]
    port: u16,
    /// What each agent declares; a bare number of mem and disk is MiB
    #[arg(long, default_value = "cpus:2;mem:2GiB;disk:10GiB")]
    resources: String,
    /// Leave a child that died alone
    #[arg(long)]
    no_restart: bool,
}

/// How long agents may take to stop their tasks on Ctrl-C.
const STOP_TASKS: Duration = Duration::from_secs(60);
/// How long master and scheduler may take to end.
const STOP_DAEMON: Duration = Duration::from_secs(10);

/// Runs the cluster until SIGINT, SIGTERM or SIGHUP.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    berth_model::resources::parse_resources(&args.resources).context("--resources")?;
    std::fs::create_dir_all(&args.work_dir)
        .with_context(|| format!("create the work directory {}", args.work_dir.display()))?;
    let work_dir = args
        .work_dir
        .canonicalize()
        .with_context(|| format!("find the work directory {}", args.work_dir.display()))?;
    let _lock = lock(&work_dir)?;
    let port = choose_port(args.port)?;
    let url = format!("http://127.0.0.1:{port}");
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    // The terminal was closed.
    let mut hang_up = signal(SignalKind::hangup()).context("listen for SIGHUP")?;

    let plan = plan(&work_dir, port, &args)?;
    let names: Vec<String> = plan.iter().map(|child| child.name.clone()).collect();
    note(&format!("starting {} in {}", names.join(", "), work_dir.display()));
    let mut running = JoinSet::new();
    let mut controls = Vec::new();
    for child in plan {
        let (supervised, control) = Supervised::new(child, !args.no_restart);
        controls.push(control);
        running.spawn(supervised.run());
    }
    let mut ready = Box::pin(announce(url, args.agents, work_dir.clone()));
    let mut announced = false;
    // Whatever happens here, the children are stopped in order afterwards.
    let outcome = loop {
        tokio::select! {
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
            _ = hang_up.recv() => break Ok(()),
            outcome = &mut ready, if !announced => {
                announced = true;
                if let Err(error) = outcome { break Err(error); }
            },
            Some(ended) = running.join_next() => {
                let (name, what) = match ended.context("a child's watcher ended") {
                    Ok(ended) => ended,
                    Err(error) => break Err(error),
                };
                note(&format!("{name} ended ({what}) and is not restarted; see {}", work_dir.join(&name).join("log").display()));
                if running.is_empty() {
                    bail!("every child has ended");
                }
            },
        }
    };
    note("stopping: the scheduler, then the agents with their tasks, then the master");
    let stopped = stop(controls, &mut running).await;
    outcome.and(stopped)
}

/// Children in the order of their start.
fn plan(work_dir: &Path, port: u16, args: &Args) -> anyhow::Result<Vec<Child>> {
    let program = std::env::current_exe().context("find this program")?;
    let master = format!("127.0.0.1:{port}");
    let child = |name: &str, args: Vec<String>| Child {
        name: name.to_owned(),
        folder: work_dir.join(name),
        program: program.clone(),
        args,
    };
    let text = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<String>>();
    let folder = |name: &str| work_dir.join(name).display().to_string();
    let mut plan = vec![child(
        "master",
        text(&["master", "run", "--work-dir", &folder("master"), "--listen", &master]),
    )];
    for number in 1..=args.agents {
        let name = format!("agent-{number}");
        let flags = [
            "agent",
            "run",
            "--master",
            &master,
            "--work-dir",
            &folder(&name),
            "--hostname",
            &name,
            "--resources",
            &args.resources,
        ];
        plan.push(child(&name, text(&flags)));
    }
    let flags = ["scheduler", "run", "--master", &master, "--work-dir", &folder("scheduler")];
    plan.push(child("scheduler", text(&flags)));
    Ok(plan)
}

/// Two clusters in one folder would fight for it.
fn lock(work_dir: &Path) -> anyhow::Result<Flock<File>> {
    let path = work_dir.join("lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, _errno)| {
        let text = format!("another `berth dev` uses {}", work_dir.display());
        let error = Rejection::new(ErrorCode::Locked, text);
        Failure::from(error.remedy("stop it, or choose another --work-dir")).into()
    })
}

fn choose_port(port: u16) -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
        let text = format!("port {port} on 127.0.0.1 cannot be used ({error})");
        Failure::usage(text, "choose another --port, or 0 for a free one")
    })?;
    Ok(listener.local_addr().context("read the chosen port")?.port())
}

/// Prints the one line that scripts wait for.
async fn announce(url: String, agents: u16, work_dir: PathBuf) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut told = Duration::ZERO;
    loop {
        let status = crate::client::probe(&url).await;
        if let Ok(probe) = &status
            && probe.agents >= u64::from(agents)
            && probe.scheduler
        {
            crate::output::line(&format!("ready: {url}"))?;
            return Ok(());
        }
        if started.elapsed() > told + Duration::from_secs(15) {
            told = started.elapsed();
            let what = match status {
                Ok(probe) => format!(
                    "{} of {agents} agents registered, scheduler {}",
                    probe.agents,
                    if probe.scheduler { "subscribed" } else { "not subscribed" }
                ),
                Err(error) => format!("master does not answer: {error:#}"),
            };
            note(&format!(
                "still waiting after {}s: {what}; logs are in {}/*/log",
                told.as_secs(),
                work_dir.display()
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The scheduler first, so that it does not replace the tasks the agents are about to stop.
async fn stop(
    controls: Vec<child::Control>,
    running: &mut JoinSet<(String, String)>,
) -> anyhow::Result<()> {
    let of =
        |prefix: &str| controls.iter().filter(|c| c.name().starts_with(prefix)).collect::<Vec<_>>();
    let mut late = Vec::new();
    for (prefix, with, patience) in [
        ("scheduler", Signal::SIGTERM, STOP_DAEMON),
        ("agent-", Signal::SIGUSR1, STOP_TASKS),
        ("master", Signal::SIGTERM, STOP_DAEMON),
    ] {
        for control in of(prefix) {
            control.stop(with);
        }
        for control in of(prefix) {
            if !control.ended_within(patience).await {
                control.kill();
                late.push(control.name().to_owned());
            }
        }
    }
    while running.join_next().await.is_some() {}
    if late.is_empty() {
        return Ok(());
    }
    bail!("killed because they did not end in time: {}", late.join(", "))
}
