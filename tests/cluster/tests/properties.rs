//! What operators say of volumes, on the command line, against real processes.

use anyhow::ensure;
use berth_cluster_tests::{Cluster, Run, wait_until};
use std::time::Duration;

fn refused(run: &Run, code: i32, words: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<_> = words.iter().filter(|word| !run.stderr.contains(**word)).collect();
    ensure!(run.code == code && missing.is_empty(), "wanted {code}, missing {missing:?}: {run:?}");
    Ok(())
}

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
    ensure!(dry.code == 0 && dry.stdout.contains("would protect"), "{dry:?}");
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
        refused(&cluster.berth(args)?, 8, &words)?;
    }
    let wide = cluster.berth(&["volume", "list", "-o", "wide"])?;
    let mut lines = wide.stdout.lines();
    let (head, row) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    ensure!(head.trim_end().ends_with("PROTECTED") && row.trim_end().ends_with("yes"), "{wide:?}");

    let ended = cluster.json(&["volume", "unprotect", "a"])?;
    ensure!(ended["protected"] == false, "{ended}");
    let gone = cluster.berth(&["volume", "delete", "a", "--yes"])?;
    ensure!(gone.code == 0, "{gone:?}");
    refused(&cluster.berth(&["volume", "protect", "a"])?, 4, &["VOLUME_NOT_READY", "TRASHED"])?;
    cluster.stop()
}
