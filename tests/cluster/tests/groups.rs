//! Groups of snapshots under real daemons and real tasks on btrfs: a task that writes to two volumes in turn is never seen
//! with one of them behind the other by more than the write that was under way, whatever is killed in between.

#![expect(clippy::print_stderr, reason = "what the machine lacks is said")]

use anyhow::{Context, ensure};
use berth_cluster_tests::{Cluster, wait_until};
use berth_host_tests::host::{mount_new, run, with_private_mounts};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const ROUNDS: usize = 100;
const KILLS: usize = 12;

/// Counts on the first volume, and only when that is durable on the second, and so on.
const WRITER: &str = r#"
apiVersion: berth/v1
kind: Service
name: writer
role: tests
pods:
  w:
    resources: { cpu: 1, memory: 64MiB }
    volumes:
      a: { size: 64MiB, path: a }
      b: { size: 64MiB, path: b }
    tasks:
      loop:
        goal: running
        cmd: |
          i=0
          while :; do
            i=$((i + 1))
            echo $i >> a/log && sync a/log && echo $i >> b/log && sync b/log || exit 1
          done
        health: { cmd: test -s a/log, every: 100ms, timeout: 1s, failures: 1, grace: 10s }
        stop: { grace: 2s }
"#;

fn on_btrfs(life: fn(&Path) -> anyhow::Result<()>) {
    if !Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists()
        && !Path::new("/sys/fs/cgroup/cgroup.procs").exists()
    {
        eprintln!("SKIPPED: this machine has no cgroup v2, by which tasks are stopped");
        return;
    }
    with_private_mounts(&["mkfs.btrfs", "mount"], || {
        let base = tempfile::tempdir().expect("a temporary directory");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(base.path(), open).expect("it is ours");
        let root = base.path().join("cluster");
        mount_new("btrfs", 2048, &root);
        if let Err(error) = life(&root) {
            panic!("{error:#}");
        }
        let _gone = run("umount", &["-l", &root.to_string_lossy()]);
    });
}

/// The last number that was written whole.
fn last(dir: &Path) -> anyhow::Result<u64> {
    let path = dir.join("log");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let whole = text.rsplit_once('\n').map_or("0", |(whole, _begun)| whole);
    whole.lines().last().unwrap_or("0").parse().context("a number")
}

fn path_of(row: &Value) -> anyhow::Result<PathBuf> {
    Ok(PathBuf::from(row["host_path"].as_str().context("no path")?))
}

/// The names of the writer's volumes, the one that is written first in front, and their paths.
fn start_writer(cluster: &Cluster) -> anyhow::Result<[(String, PathBuf); 2]> {
    let document = cluster.dir().join("writer.yaml");
    std::fs::write(&document, WRITER)?;
    let document = document.display().to_string();
    let applied = cluster.berth(&["apply", &document, "--wait", "--timeout", "60s"])?;
    ensure!(applied.code == 0, "{applied:?}");
    let rows = cluster.items(&["volume", "list", "--role", "tests"])?;
    let named = |end: &str| -> anyhow::Result<(String, PathBuf)> {
        let of = |row: &&Value| row["name"].as_str().is_some_and(|name| name.ends_with(end));
        let row = rows.iter().find(of).with_context(|| format!("{end}: {rows:?}"))?;
        Ok((row["name"].as_str().context("name")?.to_owned(), path_of(row)?))
    };
    let volumes = [named("a")?, named("b")?];
    goes_on(&volumes)?;
    Ok(volumes)
}

/// The task writes: nobody left it standing still.
fn goes_on(volumes: &[(String, PathBuf); 2]) -> anyhow::Result<()> {
    let before = last(&volumes[1].1).unwrap_or(0);
    wait_until("the task to write", PATIENCE, || {
        let now = last(&volumes[1].1)?;
        ensure!(now > before + 2, "{before}, then {now}");
        Ok(())
    })
}

fn of_one_moment(a: &Value, b: &Value) -> anyhow::Result<()> {
    let (first, second) = (last(&path_of(a)?)?, last(&path_of(b)?)?);
    ensure!(
        first == second || first == second + 1,
        "the group has {first} and {second}: not of one moment"
    );
    Ok(())
}

fn pair<'a>(rows: &'a [Value], volumes: &[(String, PathBuf); 2]) -> anyhow::Result<[&'a Value; 2]> {
    let of = |name: &str| {
        let found = rows.iter().find(|row| row["volume"] == name);
        found.with_context(|| format!("{name} has none: {rows:?}"))
    };
    Ok([of(&volumes[0].0)?, of(&volumes[1].0)?])
}

/// Keeps the disk busy until it is told to stop.
fn load(dir: &Path, stop: &AtomicBool) {
    let of = format!("of={}", dir.join("load").display());
    while !stop.load(Ordering::Relaxed) {
        let args = ["if=/dev/zero", &of, "bs=64k", "count=100", "conv=fsync"];
        let busy = Command::new("dd").args(args).stderr(Stdio::null()).status();
        if busy.is_err() {
            return;
        }
    }
}

#[test]
fn in_no_group_is_one_volume_ahead_of_the_other() {
    on_btrfs(|dir| {
        let cluster = Cluster::start(dir, &["--agents", "1"])?;
        let volumes = start_writer(&cluster)?;
        let both = format!("{},{}", volumes[0].0, volumes[1].0);
        let take = ["snapshot", "create", "--group", &both, "--role", "tests"];

        let dry = cluster.berth(&[&take[..], &["--dry-run"]].concat())?;
        ensure!(dry.code == 0 && dry.stderr.contains("at one moment"), "{dry:?}");
        ensure!(cluster.items(&["snapshot", "list"])?.is_empty(), "nothing was done");
        let one = cluster.berth(&["snapshot", "create", "--group", &volumes[0].0])?;
        ensure!(one.code == 2 && one.stderr.contains("2 to 16 volumes"), "{one:?}");

        let stop = AtomicBool::new(false);
        let taken = std::thread::scope(|scope| {
            scope.spawn(|| load(dir, &stop));
            let taken = (0..ROUNDS).try_for_each(|round| -> anyhow::Result<()> {
                let rows = cluster.items(&take).with_context(|| format!("round {round}"))?;
                ensure!(rows.len() == 2, "{rows:?}");
                for row in &rows {
                    let as_wanted = row["state"] == "READY" && row["consistency"] == "frozen";
                    ensure!(as_wanted, "{row}");
                }
                let [a, b] = pair(&rows, &volumes)?;
                of_one_moment(a, b).with_context(|| format!("round {round}"))
            });
            stop.store(true, Ordering::Relaxed);
            taken
        });
        taken?;
        goes_on(&volumes)?;
        held_by_a_program(&cluster, &volumes, &take)?;
        let health = cluster.berth(&["service", "show", "writer", "-o", "json"])?;
        ensure!(health.code == 0 && health.stdout.contains("\"restarts\": 0"), "{health:?}");
        cluster.stop()
    });
}

/// The freeze command runs in the task, and one request is one group.
fn held_by_a_program(
    cluster: &Cluster,
    volumes: &[(String, PathBuf); 2],
    take: &[&str],
) -> anyhow::Result<()> {
    let id = "c0ffee00000000000000000000000145";
    let freeze = ["--name", "held", "--freeze", "echo at rest; cat", "--request-id", id];
    let wanted = [take, &freeze[..]].concat();
    let rows = cluster.items(&wanted)?;
    let [a, b] = pair(&rows, volumes)?;
    ensure!(a["consistency"] == "program" && a["group_id"] == id, "{a}");
    of_one_moment(a, b)?;
    let again = cluster.items(&wanted)?;
    let ids =
        |rows: &[Value]| rows.iter().map(|row| row["id"].to_string()).collect::<BTreeSet<_>>();
    ensure!(ids(&again) == ids(&rows), "another group under the same request: {again:?}");
    let listed = cluster.items(&["snapshot", "list", "--group", id])?;
    ensure!(ids(&listed) == ids(&rows), "{listed:?}");
    let log = cluster.berth(&["audit", "list", "-o", "json"])?;
    ensure!(log.stdout.contains("SNAPSHOT_GROUP") && log.stdout.contains(id), "{log:?}");

    let fails = [take, &["--name", "never", "--freeze", "exit 3"][..]].concat();
    let failed = cluster.berth(&fails)?;
    ensure!(failed.code != 0 && failed.stderr.contains("FREEZE_FAILED"), "{failed:?}");
    let listed = cluster.items(&["snapshot", "list"])?;
    let never = listed.iter().filter(|row| row["name"] == "never");
    let states: Vec<_> = never.map(|row| row["state"].to_string()).collect();
    ensure!(states == ["\"FAILED\"", "\"FAILED\""], "{states:?}");
    goes_on(volumes)
}

#[test]
fn whatever_is_killed_a_group_is_there_as_a_whole_or_not_at_all_and_the_task_goes_on() {
    on_btrfs(|dir| {
        let cluster = Cluster::start(dir, &["--agents", "1"])?;
        let volumes = start_writer(&cluster)?;
        let both = format!("{},{}", volumes[0].0, volumes[1].0);
        let take = ["snapshot", "create", "--group", &both, "--role", "tests", "--detach"];
        for round in 0..KILLS {
            wait_until("the group to be accepted", PATIENCE, || {
                let begun = cluster.berth(&take)?;
                ensure!(begun.code == 0, "{begun:?}");
                Ok(())
            })?;
            // At another point of the work each time.
            let wait = Duration::from_millis(u64::try_from(round)? * 12);
            #[expect(clippy::disallowed_methods, reason = "the moment of the kill, not a wait")]
            std::thread::sleep(wait);
            cluster.kill9("agent-1")?;
            if round % 4 == 3 {
                cluster.kill9("master")?;
            }
            wait_until("the agent to be back", PATIENCE, || {
                let agents = cluster.items(&["agent", "list"])?;
                ensure!(agents[0]["state"] == "REGISTERED", "{agents:?}");
                Ok(())
            })?;
            goes_on(&volumes).with_context(|| format!("round {round}"))?;
        }
        let rows = wait_until("every group to end", PATIENCE, || {
            let rows = cluster.items(&["snapshot", "list"])?;
            ensure!(rows.iter().all(|row| row["state"] != "CREATING"), "{rows:?}");
            Ok(rows)
        })?;
        let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for row in &rows {
            groups.entry(row["group_id"].to_string()).or_default().push(row.clone());
        }
        ensure!(groups.len() == KILLS, "{} groups", groups.len());
        let mut whole = BTreeSet::new();
        for members in groups.values() {
            let [a, b] = pair(members, &volumes)?;
            ensure!(a["state"] == b["state"], "a part of a group: {members:?}");
            if a["state"] == "READY" {
                of_one_moment(a, b)?;
                whole.extend([path_of(a)?, path_of(b)?]);
            }
        }
        ensure!(!whole.is_empty(), "no group was taken at all");
        let folder = whole.first().and_then(|path| path.parent()).context("a folder")?;
        let entries = std::fs::read_dir(folder)?;
        let there: Result<BTreeSet<PathBuf>, _> = entries.map(|e| e.map(|e| e.path())).collect();
        let there = there?;
        ensure!(there == whole, "on the disk: {there:?}, in the records: {whole:?}");
        cluster.stop()
    });
}
