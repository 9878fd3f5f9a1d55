//! Stopping a task by the kernel: nobody in the container runs until it is let go, whoever dies meanwhile.

#![cfg(test)]

mod container_stage;

use berth_model::error::ErrorCode;
use berth_model::id::ContainerId;
use container_stage::{Stage, shell, until};
use rustix::process::{Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};

const COUNTS: &str = "i=0; while :; do i=$((i + 1)); echo $i > count.new; mv count.new count; done";

/// A task that counts, and where; nothing where tasks cannot be stopped.
async fn counting() -> Option<(Stage, ContainerId, PathBuf)> {
    let mut stage = Stage::new();
    let container = stage.launch(shell(COUNTS));
    stage.running().await;
    let count = stage.sandbox(container).join("count");
    until("it counts", || count.exists()).await;
    if group(&stage, container).is_none() {
        eprintln!(
            "SKIPPED: this machine gives containers no cgroup v2, by which tasks are stopped"
        );
        return None;
    }
    Some((stage, container, count))
}

/// The folder of the control group that can be frozen.
fn group(stage: &Stage, container: ContainerId) -> Option<PathBuf> {
    let spec = fs::read_to_string(stage.run_folder(container).join("spec.json")).unwrap();
    let mut parts = spec.split('"').map(PathBuf::from);
    parts.find(|path| path.is_absolute() && path.join("cgroup.freeze").exists())
}

fn number(count: &Path) -> u64 {
    fs::read_to_string(count).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

async fn goes_on(count: &Path) {
    let before = number(count);
    until("it counts on", || number(count) > before + 10).await;
}

#[tokio::test]
async fn nobody_runs_until_it_is_let_go() {
    let Some((mut stage, container, count)) = counting().await else { return };
    let other = stage.launch(shell(COUNTS));
    stage.running().await;
    let witness = stage.sandbox(other).join("count");
    until("the other one counts", || witness.exists()).await;
    let still = stage.runtime.stand_still(container).await.unwrap().expect("it runs");
    let events = fs::read_to_string(group(&stage, container).unwrap().join("cgroup.events"));
    assert!(events.unwrap().contains("frozen 1"));
    let marker = stage.run_folder(container).join("still");
    assert!(marker.exists(), "whoever starts next knows");
    let before = number(&count);
    // Another one, beside it, takes many steps meanwhile.
    for _again in 0..10 {
        goes_on(&witness).await;
    }
    assert_eq!(number(&count), before);
    still.end().await.unwrap();
    goes_on(&count).await;
    assert!(!marker.exists());
}

#[tokio::test]
async fn an_agent_that_is_gone_and_a_holder_that_is_killed_let_go() {
    let Some((stage, container, count)) = counting().await else { return };
    let still = stage.runtime.stand_still(container).await.unwrap().expect("it runs");
    drop(still);
    goes_on(&count).await;

    let still = stage.runtime.stand_still(container).await.unwrap().expect("it runs");
    let run = stage.run_folder(container).display().to_string();
    let holder = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains(&run) && line.contains(" still ")).then_some(pid)
    });
    let holder = i32::try_from(holder.expect("a process holds it")).unwrap();
    kill_process(rustix::process::Pid::from_raw(holder).unwrap(), Signal::KILL).unwrap();
    let mut said = None;
    let ended = still.end();
    said.replace(ended.await);
    // Ended by somebody else, or at the very moment: in the first case it is told.
    if let Some(Err(refused)) = said {
        assert_eq!(refused.code, ErrorCode::FreezeFailed);
        assert!(refused.message.contains("went on before everything was taken"), "{refused}");
    }
    goes_on(&count).await;
}

#[tokio::test]
async fn what_an_agent_left_standing_still_goes_on_at_the_next_start_and_nothing_else_does() {
    let Some((mut stage, container, count)) = counting().await else { return };
    let frozen = group(&stage, container).unwrap().join("cgroup.freeze");
    let marker = stage.run_folder(container).join("still");
    // As when agent and holder were killed together.
    fs::write(&marker, "").unwrap();
    fs::write(&frozen, "1").unwrap();
    stage.restart();
    stage.runtime.thaw_left().unwrap();
    goes_on(&count).await;
    assert!(!marker.exists());
    // What somebody else froze stays so.
    fs::write(&frozen, "1").unwrap();
    stage.runtime.thaw_left().unwrap();
    assert_eq!(fs::read_to_string(&frozen).unwrap().trim(), "1");
    fs::write(&frozen, "0").unwrap();
}

#[tokio::test]
async fn a_container_that_has_ended_stands_still_already() {
    let mut stage = Stage::new();
    assert!(stage.runtime.stand_still(ContainerId::from_u128(7)).await.unwrap().is_none());
    let container = stage.launch(shell("true"));
    stage.ended().await;
    stage.release(container);
    match stage.runtime.stand_still(container).await {
        Ok(still) => drop(still),
        // Without a group there is nothing to stop it by.
        Err(refused) => assert_eq!(refused.code, ErrorCode::FreezeFailed, "{refused}"),
    }
}
