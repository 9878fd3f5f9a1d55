//! The agent's process is killed at any moment of a start: asked again, the task has been started exactly once.
//!
//! The agent is this test's own program, started again to do nothing but ask for one start.

#![cfg(test)]

mod container_stage;

use berth_agent_core::effect::Exit;
use berth_model::error::ErrorCode;
use berth_model::id::ContainerId;
use container_stage::{Stage, as_user, fresh_container, is_alive, shell, supervisor, until};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

const RUNS: &str = "BERTH_TEST_RUNS";
const CONTAINER: &str = "BERTH_TEST_CONTAINER";

fn text(output: &std::path::Path) -> String {
    format!("echo run >> {}; exec sleep 1000", output.display())
}

/// Not a test by itself: the agent that is going to be killed.
#[tokio::test(flavor = "multi_thread")]
async fn the_agent_that_is_killed() {
    let (Ok(runs), Ok(container)) = (std::env::var(RUNS), std::env::var(CONTAINER)) else { return };
    let container: ContainerId = container.parse().unwrap();
    let mut stage = Stage::new();
    stage.config.runs = runs.into();
    stage.restart();
    let output = stage.config.runs.with_file_name(container.to_string());
    stage.start(container, shell(&text(&output)), Vec::new());
    println!("\nasked");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_done_once_whenever_the_agent_is_killed() {
    let mut stage = Stage::new();
    let mut early = 0;
    for step in 0..40_u64 {
        let container = fresh_container();
        let output = stage.dir.path().join(container.to_string());
        let mut agent = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_agent_that_is_killed", "--nocapture"])
            .env(RUNS, &stage.config.runs)
            .env(CONTAINER, container.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "asked"));
        // The moment of the kill wanders over the whole start.
        tokio::time::sleep(Duration::from_micros(500 * step)).await;
        agent.kill().unwrap();
        agent.wait().unwrap();
        early += u32::from(!output.exists());
        stage.start(container, shell(&text(&output)), Vec::new());
        let pid = stage.running().await;
        // The shell makes the file before it writes to it.
        until("the command has written", || fs::read(&output).is_ok_and(|run| !run.is_empty()))
            .await;
        assert!(is_alive(pid));
        stage.kill(container, Duration::from_secs(5));
        assert_eq!(stage.exit().await, Exit::Signal(15), "step {step}");
        assert_eq!(fs::read_to_string(&output).unwrap(), "run\n", "step {step}");
        let folder = stage.run_folder(container);
        assert_eq!(supervisor(&folder).filter(|pid| is_alive(*pid)), None);
    }
    eprintln!("killed before the command wrote: {early} of 40");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_asked_for_together_with_the_start_is_not_forgotten() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("exec sleep 1000"));
    stage.kill(container, Duration::from_secs(5));
    assert_eq!(stage.ended().await, Exit::Signal(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_looked_at_is_dead_before_it_is_called_over() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("exec sleep 1000"));
    let pid = stage.running().await;
    let lock = stage.run_folder(container).join("lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    stage.restart();
    stage.adopt(container);
    let exit = stage.exit().await;
    assert!(!is_alive(pid), "called over while it runs: {exit:?}");
    let path = stage.run_folder(container);
    let why = format!("run folder {}: Is a directory (os error 21)", path.display());
    assert_eq!(exit, Exit::Unknown(why));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_refused_the_second_time_leaves_nothing_of_the_first() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("exec sleep 1000"));
    let pid = stage.running().await;
    // The agent died before it wrote down that the task runs, and the user's entry is gone since.
    stage.restart();
    stage.start(container, as_user(shell("exec sleep 1000"), "nobody-here"), Vec::new());
    assert_eq!(stage.running().await, pid);
    let lock = stage.run_folder(container).join("lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    stage.restart();
    stage.start(container, shell("exec sleep 1000"), Vec::new());
    let (code, message, _) = stage.refusal().await;
    assert!(!is_alive(pid), "called not started while it runs: {message}");
    assert_eq!(code, ErrorCode::LaunchFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_containers_run_side_by_side() {
    let mut stage = Stage::new();
    let containers: Vec<ContainerId> = (0..30)
        .map(|number| stage.launch(shell(&format!("echo {number}; exit {number}"))))
        .collect();
    let mut exits = std::collections::BTreeMap::new();
    while exits.len() < containers.len() {
        if let (container, berth_agent_core::effect::ContainerEvent::Exited(exit)) =
            stage.event_of().await
        {
            exits.insert(container, exit);
        }
    }
    for (number, container) in (0..).zip(&containers) {
        assert_eq!(exits.get(container), Some(&Exit::Status(number)));
        assert_eq!(stage.stdout(*container), format!("{number}\n"));
    }
}
