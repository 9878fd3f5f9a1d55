//! The steps of the promise: write rows, kill everything in turn, find the rows again in the same place.

use crate::database::{Placement, ready_placement, sql};
use anyhow::{Context, bail, ensure};
use berth_cluster_tests::{Cluster, is_alive, kill9, processes_of, wait_until};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

const SERVICE: &str = "mariadb";
const PATIENCE: Duration = Duration::from_secs(120);

/// One recovery.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was done.
    pub fault: String,
    /// From the fault until the service was ready and the rows were read.
    pub recovery: Duration,
    /// The database's process before and after.
    pub same_process: bool,
}

/// What the demo saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In order.
    pub steps: Vec<Step>,
}

/// Rows that must always be there.
struct Ledger {
    written: u64,
}

impl Ledger {
    /// Writes one batch; every row is committed when this answers.
    fn write(&mut self, port: u16) -> anyhow::Result<()> {
        let rows: Vec<String> = (self.written + 1..=self.written + 100)
            .map(|n| format!("({n}, UNHEX(MD5({n})))"))
            .collect();
        sql(port, &format!("INSERT INTO shop.orders VALUES {}", rows.join(",")))?;
        self.written += 100;
        Ok(())
    }

    fn check(&self, port: u16) -> anyhow::Result<()> {
        let seen = sql(
            port,
            "SELECT COUNT(*), COALESCE(MAX(id),0), COALESCE(SUM(digest = UNHEX(MD5(id))),0) FROM shop.orders",
        )?;
        let wanted = format!("{0}\t{0}\t{0}", self.written);
        ensure!(seen == wanted, "rows: wanted {wanted:?}, found {seen:?}");
        Ok(())
    }
}

/// Runs the whole promise in `dir`, narrating through `say`.
///
/// # Errors
/// A step failed; the text says which and why.
pub fn demo(dir: &Path, document: &Path, say: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
    let mut report = Report::default();
    say("starting one master, three agents and the service scheduler on loopback");
    let started = Instant::now();
    let mut cluster = Cluster::start(dir, &["--agents", "3"])?;
    say(&format!("ready after {:.1?}: {}", started.elapsed(), cluster.url()));

    let document = document.to_str().context("the document's path is not text")?;
    say(&format!(
        "applying {document}: reserve disk, create a volume, initialise it, run the server"
    ));
    let applied = cluster.berth(&["apply", document])?;
    ensure!(applied.code == 0, "berth apply ended with {}: {}", applied.code, applied.stderr);
    let started = Instant::now();
    let home = wait_ready(&cluster)?;
    say(&format!(
        "the database is ready after {:.1?}: process {}, port {}, volume {} on agent {}",
        started.elapsed(),
        home.pid,
        home.port,
        short(&home.volume),
        short(&home.agent)
    ));
    sql(
        home.port,
        "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, digest BINARY(16)) ENGINE=InnoDB",
    )?;
    let mut rows = Ledger { written: 0 };
    rows.write(home.port)?;
    rows.check(home.port)?;
    say("wrote 100 rows, each committed");

    let agent = child_of(&cluster, &home.agent)?;
    let mut now = home.clone();
    for (fault, child) in [
        ("kill -9 of mariadbd", None),
        ("kill -9 of the agent under it, restarted by berth dev", Some(agent.as_str())),
        ("kill -9 of the master, restarted by berth dev", Some("master")),
        ("kill -9 of the scheduler, restarted by berth dev", Some("scheduler")),
    ] {
        say(fault);
        let before = now.clone();
        let start = Instant::now();
        match child {
            None => kill9(before.pid)?,
            Some(child) => cluster.kill9(child)?,
        }
        if let Some(child) = child {
            wait_until("the child to be started again", PATIENCE, || {
                let pid = cluster.pid(child)?;
                ensure!(is_alive(pid), "{child} is not running yet");
                Ok(())
            })?;
        }
        now = recovered(&cluster, &before, &rows, child.is_none())?;
        let step = finish(fault, start, &before, &now, child.is_some())?;
        say(&told(&step));
        report.steps.push(step);
        check_home(&cluster, &home, &now)?;
        rows.write(now.port)?;
    }

    let fault = "stop and start of the whole cluster on the same directories";
    say(fault);
    let before = now.clone();
    cluster.stop()?;
    ensure!(!is_alive(before.pid), "the database still runs after the cluster was stopped");
    nothing_left(dir)?;
    let start = Instant::now();
    cluster = Cluster::start(dir, &["--agents", "3"])?;
    now = recovered(&cluster, &before, &rows, true)?;
    let step = finish(fault, start, &before, &now, false)?;
    say(&told(&step));
    report.steps.push(step);
    check_home(&cluster, &home, &now)?;

    say("stopping the cluster");
    cluster.stop()?;
    nothing_left(dir)?;
    Ok(report)
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn wait_ready(cluster: &Cluster) -> anyhow::Result<Placement> {
    wait_until("the database to be ready", PATIENCE, || ready_placement(cluster, SERVICE))
        .with_context(|| cluster.log_tails())
}

/// Waits until the service is ready again (as another process when `restarted`) and the rows are there.
fn recovered(
    cluster: &Cluster,
    before: &Placement,
    rows: &Ledger,
    restarted: bool,
) -> anyhow::Result<Placement> {
    wait_until("the database to come back", PATIENCE, || {
        is_whole(cluster)?;
        let now = ready_placement(cluster, SERVICE)?;
        ensure!(!restarted || now.pid != before.pid, "still shown as process {}", before.pid);
        rows.check(now.port)?;
        Ok(now)
    })
    .with_context(|| cluster.log_tails())
}

/// Every agent is registered with the current master and the scheduler has a session: no list shows what was before.
fn is_whole(cluster: &Cluster) -> anyhow::Result<()> {
    for agent in cluster.items(&["agent", "list"])? {
        ensure!(
            agent["state"] == "REGISTERED",
            "agent {} is {}",
            agent["hostname"],
            agent["state"]
        );
    }
    for framework in cluster.items(&["framework", "list"])? {
        ensure!(
            framework["state"] == "CONNECTED",
            "framework {} is {}",
            framework["name"],
            framework["state"]
        );
    }
    for task in cluster.items(&["task", "list"])? {
        ensure!(task["state"] == "TASK_RUNNING", "task {} is {}", task["id"], task["state"]);
    }
    Ok(())
}

fn finish(
    fault: &str,
    start: Instant,
    before: &Placement,
    now: &Placement,
    must_be_same: bool,
) -> anyhow::Result<Step> {
    let same_process = before.pid == now.pid;
    ensure!(
        same_process || !must_be_same,
        "the database was restarted (process {} became {}) although only Berth was hit",
        before.pid,
        now.pid
    );
    Ok(Step { fault: fault.to_owned(), recovery: start.elapsed(), same_process })
}

fn told(step: &Step) -> String {
    let process = if step.same_process { "the same process" } else { "a new process" };
    format!(
        "  back after {:.1?} as {process}: same agent, same volume, every row is there",
        step.recovery
    )
}

/// Which child of `berth dev` is this agent?
fn child_of(cluster: &Cluster, agent: &str) -> anyhow::Result<String> {
    let agents = cluster.items(&["agent", "list"])?;
    let found = agents.iter().find(|a| a.get("id").and_then(Value::as_str) == Some(agent));
    let name = found.and_then(|a| a.get("hostname")).and_then(Value::as_str);
    Ok(name.with_context(|| format!("agent {agent} is not listed"))?.to_owned())
}

/// Same agent, same volume, and no other agent has anything of the volume.
fn check_home(cluster: &Cluster, home: &Placement, now: &Placement) -> anyhow::Result<()> {
    ensure!(
        now.agent == home.agent,
        "the service moved from agent {} to {}",
        home.agent,
        now.agent
    );
    ensure!(now.volume == home.volume, "the volume changed from {} to {}", home.volume, now.volume);
    let owner = child_of(cluster, &home.agent)?;
    for number in 1..=3 {
        let name = format!("agent-{number}");
        let found = find(&cluster.dir().join(&name).join("disk"), &home.volume, 4)?;
        if name == owner {
            ensure!(found, "agent {name} does not have volume {} on its disk", home.volume);
        } else {
            ensure!(!found, "agent {name} got volume {} too", home.volume);
        }
    }
    Ok(())
}

/// Is there a directory of that name below `dir`?
fn find(dir: &Path, name: &str, depth: u32) -> anyhow::Result<bool> {
    let Some(depth) = depth.checked_sub(1) else { return Ok(false) };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("read {}", dir.display())),
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("read {}", dir.display()))?;
        if !entry.file_type().context("file type")?.is_dir() {
            continue;
        }
        if entry.file_name().to_string_lossy() == name || find(&entry.path(), name, depth)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn nothing_left(dir: &Path) -> anyhow::Result<()> {
    let left = processes_of(dir);
    if left.is_empty() { Ok(()) } else { bail!("processes were left running: {left:?}") }
}
