//! What operators say of volumes, on the command line, against real processes.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Cluster, wait_until};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

fn start(dir: &tempfile::TempDir) -> anyhow::Result<Cluster> {
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Cluster::start(dir.path(), &["--agents", "1"])
}

#[test]
fn a_protected_volume_is_refused_its_end_also_after_a_crash_of_the_master() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let cluster = start(&dir)?;
    let made = cluster.json(&["volume", "create", "a", "--role", "tests", "--size", "64MiB"])?;
    ensure!(made["protected"] == false, "{made}");
    let dry = cluster.berth(&["volume", "protect", "a", "--dry-run"])?;
    ensure!(dry.code == 0 && dry.stderr.contains("would protect"), "{dry:?}");
    ensure!(cluster.json(&["volume", "show", "a"])?["protected"] == false, "a dry run changes it");
    let set = cluster.json(&["volume", "protect", "a"])?;
    ensure!(set["protected"] == true && set["state"] == "READY", "{set}");

    cluster.kill9("master")?;
    wait_until("the agent to be back", Duration::from_secs(60), || {
        let agents = cluster.items(&["agent", "list"])?;
        ensure!(agents[0]["state"] == "REGISTERED", "{agents:?}");
        Ok(())
    })?;
    let words = ["VOLUME_PROTECTED", "volume a (", "is protected", "berth volume unprotect"];
    for args in [
        &["volume", "delete", "a", "--yes"][..],
        &["volume", "delete", "a", "--dry-run"],
        &["volume", "resize", "a", "--size", "32MiB"],
    ] {
        cluster.berth(args)?.refused(8, &words)?;
    }
    let wide = cluster.berth(&["volume", "list", "-o", "wide"])?;
    let mut lines = wide.stdout.lines();
    let (head, row) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let at = head.find("PROTECTED").context("no such column")?;
    ensure!(row.get(at..).is_some_and(|rest| rest.starts_with("yes")), "{wide:?}");

    let ended = cluster.json(&["volume", "unprotect", "a"])?;
    ensure!(ended["protected"] == false, "{ended}");
    let gone = cluster.berth(&["volume", "delete", "a", "--yes"])?;
    ensure!(gone.code == 0, "{gone:?}");
    cluster.berth(&["volume", "protect", "a"])?.refused(4, &["VOLUME_NOT_READY", "TRASHED"])?;
    cluster.stop()
}

#[test]
fn owner_and_mode_are_set_at_once_and_later_and_survive_trash_and_restart() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can give directories away");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let cluster = start(&dir)?;
    let make = ["volume", "create", "a", "--role", "tests", "--size", "64MiB"];
    let owned = ["--owner", "4001:4002", "--mode", "0750"];
    let made = cluster.json(&[&make[..], &owned].concat())?;
    let path = made["host_path"].as_str().context("no host_path")?.to_owned();
    is_owned(&path, (4001, 4002, 0o750))?;
    ensure!(made["owner"] == "4001:4002" && made["mode"] == "0750", "{made}");

    cluster.berth(&["volume", "set", "a"])?.refused(2, &["--owner, --mode"])?;
    cluster.berth(&["volume", "set", "a", "--owner", "mysql"])?.refused(2, &["is no number"])?;
    let dry = cluster.berth(&["volume", "set", "a", "--mode", "2770", "--dry-run"])?;
    ensure!(dry.code == 0 && dry.stderr.contains("mode 0750"), "{dry:?}");
    let set = cluster.json(&["volume", "set", "a", "--mode", "2770"])?;
    ensure!(set["owner"] == "4001:4002" && set["mode"] == "2770", "{set}");
    is_owned(&path, (4001, 4002, 0o2770))?;

    cluster.kill9("agent-1")?;
    cluster.kill9("master")?;
    wait_until("the volume to be seen again", Duration::from_secs(60), || {
        let shown = cluster.json(&["volume", "show", "a"])?;
        ensure!(shown["host_path"] == path.as_str(), "{shown}");
        ensure!(shown["owner"] == "4001:4002" && shown["mode"] == "2770", "{shown}");
        Ok(())
    })?;
    let gone = cluster.berth(&["volume", "delete", "a", "--yes"])?;
    ensure!(gone.code == 0, "{gone:?}");
    let back = cluster.json(&["volume", "trash", "restore", "a"])?;
    ensure!(back["mode"] == "2770", "{back}");
    is_owned(&path, (4001, 4002, 0o2770))?;
    cluster.stop()
}

fn is_owned(path: &str, wanted: (u32, u32, u32)) -> anyhow::Result<()> {
    let facts = std::fs::metadata(path).with_context(|| format!("look at {path}"))?;
    let found = (facts.uid(), facts.gid(), facts.mode() & 0o7777);
    ensure!(found == wanted, "{path} has {found:?}, not {wanted:?}");
    Ok(())
}
