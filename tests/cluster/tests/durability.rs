//! Acknowledged means durable: what was answered is there after everything was killed in the same moment.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Pair, Run};
use std::collections::BTreeSet;
use std::path::Path;

/// 100 in the release checklist; fewer in every test run.
fn rounds() -> usize {
    std::env::var("BERTH_DURABILITY_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(25)
}

fn must(run: Run) -> anyhow::Result<Run> {
    ensure!(run.code == 0, "ended with {}: {}", run.code, run.stderr);
    Ok(run)
}

fn names(pair: &Pair) -> anyhow::Result<BTreeSet<String>> {
    let volumes = pair.items(&["volume", "list"])?;
    let mut names = BTreeSet::new();
    for volume in &volumes {
        ensure!(volume["state"] == "READY", "volume is not ready: {volume}");
        let path = volume["host_path"].as_str().context("no host path")?;
        ensure!(Path::new(path).is_dir(), "{path} is not there: {volume}");
        names.insert(volume["name"].as_str().context("no name")?.to_owned());
    }
    Ok(names)
}

#[test]
fn every_acknowledged_volume_survives_killing_master_and_agent_at_the_answer() -> anyhow::Result<()>
{
    let dir = tempfile::tempdir()?;
    let mut pair = Pair::new(dir.path())?;
    pair.start()?;
    let mut wanted = BTreeSet::new();
    for round in 0..rounds() {
        let name = format!("v{round}");
        must(pair.berth(&["volume", "create", &name, "--role", "tests", "--size", "8MiB"])?)?;
        pair.kill_both()?;
        wanted.insert(name);
        pair.start()?;
        ensure!(names(&pair)? == wanted, "after round {round}: {:?}", names(&pair)?);
    }
    eprintln!("{} of {} volumes are there", names(&pair)?.len(), rounds());
    Ok(())
}

/// One line of `strace -f -yy`: what matters here is only the order of calls and their texts.
fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// Where the first line is that satisfies `is`, from `from` on.
fn first(
    lines: &[String],
    from: usize,
    what: &str,
    is: impl Fn(&str) -> bool,
) -> anyhow::Result<usize> {
    let found = lines.iter().skip(from).position(|line| is(line)).map(|at| at + from);
    found.with_context(|| format!("no line: {what}\n{}", lines[from.min(lines.len())..].join("\n")))
}

fn is_receive(line: &str) -> bool {
    ["recvfrom(", "read(", "readv(", "recvmsg("].iter().any(|call| line.contains(call))
        || line.contains("recvfrom resumed")
        || line.contains("read resumed")
}

fn is_send(line: &str) -> bool {
    ["sendto(", "write(", "writev(", "sendmsg("].iter().any(|call| line.contains(call))
}

/// A sync that has returned 0, in one line or as the end of an interrupted one.
fn is_synced(line: &str) -> bool {
    (line.contains("fdatasync(") || line.contains("fsync(") || line.contains("sync resumed"))
        && line.trim_end().ends_with("= 0")
}

#[test]
fn a_sync_has_returned_between_a_request_and_its_answer() -> anyhow::Result<()> {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: strace is not installed");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let trace = dir.path().join("trace-{}").display().to_string();
    let calls = "trace=fdatasync,fsync,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg";
    let words = ["strace", "-f", "-yy", "-s", "4096", "-e", calls, "-o", trace.as_str()];
    let mut pair = Pair::new(dir.path())?.wrapped(&words);
    pair.start()?;
    let id = "5eed0000000000000000000000000001";
    let args =
        ["volume", "create", "data", "--role", "tests", "--size", "8MiB", "--request-id", id];
    must(pair.berth(&args)?)?;
    must(pair.berth(&["operation", "show", id])?)?;

    let master = lines(&dir.path().join("trace-master"))?;
    let is_of = |line: &str| line.contains(id);
    let asked = first(&master, 0, "the request arrives", |l| is_receive(l) && is_of(l))?;
    let answered = first(&master, asked, "the answer leaves", |l| {
        is_send(l) && is_of(l) && !l.contains("/registry")
    })?;
    let synced = first(&master, asked, "the registry syncs", is_synced)?;
    ensure!(synced < answered, "answered in line {answered}, synced in line {synced}");

    // The agent syncs its intent before it touches the disk and its result before it reports.
    let agent = lines(&dir.path().join("trace-agent"))?;
    let told = first(&agent, 0, "the order arrives", |l| is_receive(l) && is_of(l))?;
    // Reports may come in between (CREATING); the last one says READY.
    let is_report = |l: &String| is_send(l) && is_of(l) && l.contains("TCP");
    let reported = agent.iter().rposition(is_report).context("the agent reported nothing")?;
    ensure!(reported > told, "reported in line {reported}, told in line {told}");
    let syncs = agent[told..reported].iter().filter(|l| is_synced(l)).count();
    ensure!(syncs >= 2, "only {syncs} syncs between the order and the report");
    Ok(())
}
