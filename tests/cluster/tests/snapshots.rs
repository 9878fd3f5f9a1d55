//! Snapshots on the command line: on btrfs all of their life, on a plain directory the refusal at once.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Cluster, wait_until};
use berth_host_tests::host::{mount_new, run, with_private_mounts};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_directory_volume_is_refused_a_snapshot_and_a_schedule_at_once() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
    if on_btrfs(dir.path())? {
        // What lies there is not a plain directory; the other test has it.
        return Ok(());
    }
    let cluster = Cluster::start(dir.path(), &["--agents", "1"])?;
    let disk = cluster.items(&["disk", "list"])?.swap_remove(0);
    ensure!(disk["snapshots"] == "no: a directory has one content", "{disk}");
    cluster.json(&["volume", "create", "a", "--role", "tests", "--size", "64MiB"])?;
    let words = ["UNSUPPORTED", "driver directory", "a directory has one content"];
    let take = ["snapshot", "create", "a", "--role", "tests", "--name", "one"];
    let set = ["snapshot", "schedule", "set", "a", "--every", "1h", "--keep", "3"];
    for call in [&take[..], &set[..]] {
        cluster.berth(call)?.refused(2, &words)?;
    }
    ensure!(cluster.items(&["snapshot", "list"])?.is_empty(), "there is no record");
    ensure!(cluster.items(&["snapshot", "schedule", "list"])?.is_empty(), "there is no schedule");
    cluster.stop()
}

fn on_btrfs(dir: &Path) -> anyhow::Result<bool> {
    let kind = run("stat", &["-f", "-c", "%T", dir.to_str().context("path")?]);
    Ok(kind.trim() == "btrfs")
}

#[test]
fn a_snapshot_is_taken_held_rolled_back_to_cloned_and_dies_with_its_volume() {
    with_private_mounts(&["mkfs.btrfs", "mount"], || {
        let base = tempfile::tempdir().expect("a temporary directory");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(base.path(), open).expect("it is ours");
        let root = base.path().join("cluster");
        mount_new("btrfs", 1024, &root);
        if let Err(error) = life(&root) {
            panic!("{error:#}");
        }
        let _gone = run("umount", &["-l", &root.to_string_lossy()]);
    });
}

fn life(dir: &Path) -> anyhow::Result<()> {
    let cluster = Cluster::start(dir, &["--agents", "1"])?;
    let made = cluster.json(&["volume", "create", "a", "--role", "tests", "--size", "64MiB"])?;
    let path = made["host_path"].as_str().context("no host_path")?.to_owned();
    let rows = Path::new(&path).join("rows");
    std::fs::write(&rows, "good")?;
    let one = cluster.json(&["snapshot", "create", "a", "--role", "tests", "--name", "one"])?;
    ensure!(one["state"] == "READY" && one["volume_generation"] == 1, "{one}");
    std::fs::write(&rows, "bad")?;

    // One request id, one snapshot: another one is not held under it, and nothing says that it was.
    let id = "c0ffee00000000000000000000000003";
    must(&cluster, &["snapshot", "create", "a", "--role", "tests", "--name", "two"])?;
    for _ in 0..2 {
        must(&cluster, &["snapshot", "hold", "one", "--request-id", id])?;
    }
    let other = cluster.berth(&["snapshot", "hold", "two", "--request-id", id])?;
    other.refused(4, &["REQUEST_ID_REUSED"])?;
    ensure!(cluster.json(&["snapshot", "show", "two"])?["held"] == false, "two is held");
    must(&cluster, &["snapshot", "delete", "two", "--yes", "--confirm", "two"])?;

    let delete = ["volume", "delete", "a", "--yes"];
    cluster.berth(&delete)?.refused(4, &["SNAPSHOT_HELD", "berth snapshot release"])?;
    must(&cluster, &["snapshot", "release", "a@one"])?;

    // Killed and restarted daemons know it still.
    cluster.kill9("agent-1")?;
    cluster.kill9("master")?;
    wait_until("the agent to be back", Duration::from_secs(60), || {
        let agents = cluster.items(&["agent", "list"])?;
        ensure!(agents[0]["state"] == "REGISTERED", "{agents:?}");
        Ok(())
    })?;
    let dry = cluster.berth(&["volume", "rollback", "a", "--to", "one", "--dry-run"])?;
    ensure!(dry.code == 0 && std::fs::read_to_string(&rows)? == "bad", "{dry:?}");
    cluster.berth(&["volume", "rollback", "a", "--to", "one"])?.refused(8, &["--yes"])?;
    let rolled = cluster.json(&["volume", "rollback", "a", "--to", "one", "--yes"])?;
    ensure!(rolled["state"] == "READY" && rolled["generation"] == 2, "{rolled}");
    ensure!(std::fs::read_to_string(&rows)? == "good", "the content is back");
    let listed = cluster.items(&["snapshot", "list", "--volume", "a"])?;
    let safety = listed.iter().find(|s| s["name"] != "one").context("no safety snapshot")?;
    let kept = Path::new(safety["host_path"].as_str().context("no path")?).join("rows");
    ensure!(std::fs::read_to_string(&kept)? == "bad", "what was replaced is kept");

    let copy = cluster.json(&["volume", "clone", "a", "b", "--snapshot", "one"])?;
    ensure!(copy["state"] == "READY" && copy["size_bytes"] == 64 << 20, "{copy}");
    let copied = Path::new(copy["host_path"].as_str().context("no path")?).join("rows");
    ensure!(std::fs::read_to_string(&copied)? == "good", "the clone has the content");

    cloned_without_a_snapshot(&cluster)?;
    let told = cluster.berth(&delete)?;
    ensure!(told.code == 0 && told.stderr.contains("2 snapshots"), "{told:?}");
    ensure!(cluster.items(&["snapshot", "list"])?.len() == 2, "the trash keeps them");
    must(&cluster, &["volume", "trash", "purge", "a", "--yes", "--confirm", "a"])?;
    wait_until("the snapshots to go", Duration::from_secs(60), || {
        let left = cluster.items(&["snapshot", "list"])?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })?;
    let left: Vec<Value> = cluster.items(&["volume", "list"])?;
    ensure!(left.len() == 1 && left[0]["name"] == "b", "{left:?}");
    ensure!(std::fs::read_to_string(&copied)? == "good", "the clone lives without its origin");
    cluster.stop()
}

#[test]
fn snapshots_by_the_clock_are_taken_and_the_oldest_goes() {
    with_private_mounts(&["mkfs.btrfs", "mount"], || {
        let base = tempfile::tempdir().expect("a temporary directory");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(base.path(), open).expect("it is ours");
        let root = base.path().join("cluster");
        mount_new("btrfs", 1024, &root);
        if let Err(error) = by_the_clock(&root) {
            panic!("{error:#}");
        }
        let _gone = run("umount", &["-l", &root.to_string_lossy()]);
    });
}

fn by_the_clock(dir: &Path) -> anyhow::Result<()> {
    const SCHEDULE: [&str; 3] = ["snapshot", "schedule", "show"];
    let cluster = Cluster::start(dir, &["--agents", "1"])?;
    must(&cluster, &["volume", "create", "data", "--role", "tests", "--size", "64MiB"])?;
    let mine = cluster.json(&["snapshot", "create", "data", "--name", "mine"])?;
    ensure!(mine["state"] == "READY" && mine["scheduled_ms"].is_null(), "{mine}");
    let show = [&SCHEDULE[..], &["data"]].concat();
    cluster.berth(&show)?.refused(3, &["UNKNOWN_SCHEDULE", "berth snapshot schedule list"])?;
    let set = ["snapshot", "schedule", "set", "data", "--every"];
    let fast = [&set[..], &["1s", "--keep", "1"]].concat();
    cluster.berth(&fast)?.refused(2, &["INVALID_ARGUMENT", "10s"])?;
    let none = [&set[..], &["1h"]].concat();
    cluster.berth(&none)?.refused(2, &["--keep"])?;
    let good = [&set[..], &["10s", "--keep", "1"]].concat();
    let dry = cluster.berth(&[&good[..], &["--dry-run"]].concat())?;
    ensure!(dry.code == 0 && dry.stderr.contains("keep 1 last"), "{dry:?}");
    ensure!(cluster.items(&["snapshot", "schedule", "list"])?.is_empty(), "nothing was done");
    let made = cluster.json(&good)?;
    ensure!(made["state"] == "OK" && made["every_ms"] == 10_000, "{made}");

    let mut seen = std::collections::BTreeSet::new();
    wait_until("the second to replace the first", Duration::from_secs(60), || {
        let listed = cluster.items(&["snapshot", "list", "--volume", "data"])?;
        let by_clock = listed.iter().filter(|row| !row["scheduled_ms"].is_null());
        let ready: Vec<&str> = by_clock
            .filter(|row| row["state"] == "READY")
            .filter_map(|row| row["name"].as_str())
            .collect();
        seen.extend(ready.iter().map(|name| (*name).to_owned()));
        ensure!(listed.iter().any(|row| row["name"] == "mine"), "that of a person stays");
        ensure!(seen.len() > 1 && ready.len() == 1, "seen {seen:?}, there {ready:?}");
        Ok(())
    })?;
    let row = cluster.json(&show)?;
    ensure!(row["last_error"].is_null() && !row["newest_ms"].is_null(), "{row}");

    must(&cluster, &["volume", "delete", "data", "--yes"])?;
    let row = cluster.json(&show)?;
    ensure!(row["state"] == "PAUSED" && row["next_ms"].is_null(), "{row}");
    cluster.berth(&good)?.refused(4, &["VOLUME_NOT_READY", "berth volume trash restore"])?;
    must(&cluster, &["snapshot", "schedule", "delete", "data", "--yes"])?;
    ensure!(cluster.items(&["snapshot", "schedule", "list"])?.is_empty(), "it is gone");
    ensure!(!cluster.items(&["snapshot", "list"])?.is_empty(), "what it took stays");
    cluster.stop()
}

/// A refused clone takes no snapshot, a repeated one no second; what it made is deleted again.
fn cloned_without_a_snapshot(cluster: &Cluster) -> anyhow::Result<()> {
    let names = || -> anyhow::Result<Vec<String>> {
        let all = cluster.items(&["snapshot", "list", "--volume", "a"])?;
        Ok(all.iter().filter_map(|s| s["name"].as_str().map(str::to_owned)).collect())
    };
    let before = names()?;
    cluster.berth(&["volume", "clone", "a", "b"])?.refused(4, &["VOLUME_EXISTS"])?;
    ensure!(names()? == before, "a refused clone left a snapshot: {:?}", names()?);
    let id = "c0ffee00000000000000000000000004";
    for _ in 0..2 {
        must(cluster, &["volume", "clone", "a", "c", "--request-id", id])?;
    }
    let taken: Vec<String> = names()?.into_iter().filter(|name| !before.contains(name)).collect();
    let [taken] = taken.as_slice() else { anyhow::bail!("one snapshot, not {taken:?}") };
    must(cluster, &["volume", "delete", "c", "--yes"])?;
    must(cluster, &["volume", "trash", "purge", "c", "--yes", "--confirm", "c"])?;
    must(cluster, &["snapshot", "delete", taken, "--yes", "--confirm", taken])
}

fn must(cluster: &Cluster, args: &[&str]) -> anyhow::Result<()> {
    let run = cluster.berth(args)?;
    ensure!(run.code == 0, "berth {} ended with {}: {}", args.join(" "), run.code, run.stderr);
    Ok(())
}
