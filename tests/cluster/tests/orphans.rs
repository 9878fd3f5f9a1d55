//! Orphans on real daemons: data that loses its record and gets it back, records that lose their data, and kills in between.

use anyhow::{Context, ensure};
use berth_cluster_tests::{Pair, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The only orphan.
fn orphan(pair: &Pair, kind: &str) -> anyhow::Result<Value> {
    wait_until(&format!("one orphan, a {kind}"), PATIENCE, || {
        let all = pair.items(&["orphan", "list"])?;
        ensure!(all.len() == 1 && all[0]["kind"] == kind, "{all:?}");
        Ok(all[0].clone())
    })
    .with_context(|| pair.log_tails())
}

fn no_orphan(pair: &Pair) -> anyhow::Result<()> {
    wait_until("no orphan", PATIENCE, || {
        let all = pair.items(&["orphan", "list"])?;
        ensure!(all.is_empty(), "{all:?}");
        Ok(())
    })
}

/// A volume with a file in it.
fn volume(pair: &Pair, name: &str) -> anyhow::Result<PathBuf> {
    pair.must(&["volume", "create", name, "--role", "tests", "--size", "8MiB"])?;
    let volumes = pair.items(&["volume", "list"])?;
    let made = volumes.iter().find(|volume| volume["name"] == name).context("it was made")?;
    let path = PathBuf::from(made["host_path"].as_str().context("host_path")?);
    std::fs::write(path.join("rows"), "good")?;
    Ok(path)
}

/// The agent's process stands still; its connection stays open.
fn halt(pair: &Pair) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(pair.agent_pid()?).context("pid")?);
    kill(pid, Signal::SIGSTOP).context("stop the agent")
}

/// Restarts the agent around a change of its disk.
fn around(pair: &mut Pair, change: impl FnOnce() -> std::io::Result<()>) -> anyhow::Result<()> {
    pair.kill_agent()?;
    change()?;
    pair.start_agent()?;
    pair.wait_registered()
}

/// Data without a record: the record of the lost volume is forgotten, then the data comes back.
fn orphaned(pair: &mut Pair, name: &str, aside: &Path) -> anyhow::Result<PathBuf> {
    let path = volume(pair, name)?;
    around(pair, || std::fs::rename(&path, aside))?;
    let lost = orphan(pair, "record")?;
    ensure!(lost["volume"] == name && lost["error"]["code"] == "VOLUME_LOST", "{lost}");
    pair.must(&["orphan", "purge", name, "--yes", "--confirm", name])?;
    no_orphan(pair)?;
    around(pair, || std::fs::rename(aside, &path))?;
    let found = orphan(pair, "data")?;
    ensure!(found["path"] == path.display().to_string() && found["volume"] == name, "{found}");
    Ok(path)
}

#[test]
fn data_without_a_record_is_adopted_and_a_record_whose_data_is_back_lives_again()
-> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let aside = dir.path().join("aside");
    let mut pair = Pair::new(dir.path())?;
    pair.start()?;
    let path = orphaned(&mut pair, "data", &aside)?;
    let told = wait_until("the orphan to be measured", PATIENCE, || {
        let told = orphan(&pair, "data")?;
        ensure!(told["used_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{told}");
        Ok(told)
    })?;
    ensure!(told["role"] == "tests" && told["size_bytes"] == 8 << 20, "{told}");

    let dry = pair.must(&["orphan", "adopt", "data", "--dry-run"])?;
    ensure!(dry.stderr.contains("would make a volume again"), "{dry:?}");
    // The agent stands still and both die before it hears of it: the intent is in the registry.
    let id = "0123456789abcdef0123456789abcdef";
    halt(&pair)?;
    pair.must(&["orphan", "adopt", "data", "--detach", "--request-id", id])?;
    pair.kill_both()?;
    pair.start()?;
    pair.must(&["operation", "wait", id])?;
    no_orphan(&pair)?;
    let shown = pair.items(&["volume", "list"])?;
    ensure!(shown.len() == 1 && shown[0]["state"] == "READY", "{shown:?}");
    ensure!(std::fs::read_to_string(path.join("rows"))? == "good", "the content is there");
    ensure!(pair.items(&["reservation", "list"])?.len() == 1, "it is reserved");

    // It is as good as any volume: it survives a kill of both, goes to the trash and comes back.
    pair.kill_both()?;
    pair.start()?;
    pair.must(&["volume", "delete", "data", "--yes"])?;
    pair.must(&["volume", "trash", "restore", "data"])?;
    ensure!(std::fs::read_to_string(path.join("rows"))? == "good", "the content is there");

    // A record without data: looked for in vain, then found, without a restart.
    around(&mut pair, || std::fs::rename(&path, &aside))?;
    orphan(&pair, "record")?;
    pair.berth(&["orphan", "adopt", "data"])?.refused(1, &["has come back yet", "VOLUME_LOST"])?;
    std::fs::rename(&aside, &path)?;
    pair.must(&["orphan", "adopt", "data"])?;
    no_orphan(&pair)?;
    ensure!(std::fs::read_to_string(path.join("rows"))? == "good", "the content is there");
    Ok(())
}

#[test]
fn data_without_a_record_is_purged_once_whatever_dies_and_strangers_are_left_alone()
-> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let aside = dir.path().join("aside");
    let mut pair = Pair::new(dir.path())?;
    pair.start()?;
    let path = orphaned(&mut pair, "data", &aside)?;
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside)?;
    std::fs::write(outside.join("precious"), "kept")?;
    std::os::unix::fs::symlink(&outside, path.join("link"))?;

    pair.berth(&["orphan", "purge", "data", "--yes"])?.refused(8, &["--confirm data"])?;
    ensure!(path.exists(), "nothing happened without the name");

    // The agent stands still and both die before it hears of it: the intent is in the registry.
    let id = "0123456789abcdef0123456789abcdef";
    let purge =
        ["orphan", "purge", "data", "--yes", "--confirm", "data", "--detach", "--request-id", id];
    halt(&pair)?;
    pair.must(&purge)?;
    ensure!(path.exists(), "the agent stands still");
    pair.kill_both()?;
    pair.start()?;
    pair.must(&["operation", "wait", id])?;
    ensure!(!path.exists(), "{} is still there", path.display());
    ensure!(outside.join("precious").exists(), "a link was followed");
    no_orphan(&pair)?;
    // Said again under its id it is not done again, whatever lies there now.
    pair.must(&purge)?;
    let operations = pair.items(&["operation", "list"])?;
    let purges = operations.iter().filter(|of| of["id"] == id).count();
    ensure!(purges == 1, "{operations:?}");

    let stranger = path.parent().context("parent")?.join("stranger");
    around(&mut pair, || {
        std::fs::create_dir(&stranger)?;
        std::fs::write(stranger.join("somebody-elses"), "data")
    })?;
    let told = orphan(&pair, "data")?;
    ensure!(told["volume"].is_null() && told["evidence"] != "", "{told}");
    let shown = stranger.display().to_string();
    for verb in ["adopt", "purge"] {
        pair.berth(&["orphan", verb, &shown])?.refused(4, &["ORPHAN_UNIDENTIFIED", "kept"])?;
    }
    ensure!(stranger.join("somebody-elses").exists(), "what is nobody's is kept");
    Ok(())
}
