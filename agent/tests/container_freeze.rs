//! Bringing a task to rest: the program runs where the task does, holds until it is let go, and never longer than that.

#![cfg(test)]

mod container_stage;

use berth_model::error::ErrorCode;
use berth_model::snapshot::Freeze;
use berth_model::task::Program;
use container_stage::{Stage, is_alive, shell, until};
use std::fs;
use std::time::Duration;

fn freeze(text: &str, timeout: Duration) -> Freeze {
    Freeze { program: Program::Shell(text.to_owned()), timeout }
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_task_is_at_rest_until_it_is_let_go() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("exec sleep 1000"));
    stage.running().await;
    let program = "echo $$ > pid; echo at rest; cat >/dev/null; echo gone > let-go";
    let frozen = stage.runtime.freeze(container, &freeze(program, LONG)).await.unwrap();
    let sandbox = stage.sandbox(container);
    let pid: u32 = fs::read_to_string(sandbox.join("pid")).unwrap().trim().parse().unwrap();
    assert!(is_alive(pid));
    assert!(!sandbox.join("let-go").exists());
    frozen.thaw().await.unwrap();
    assert_eq!(fs::read_to_string(sandbox.join("let-go")).unwrap(), "gone\n");
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn an_agent_that_is_gone_lets_go_as_well() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("exec sleep 1000"));
    stage.running().await;
    let program = "touch held; echo at rest; cat >/dev/null; rm held";
    let frozen = stage.runtime.freeze(container, &freeze(program, LONG)).await.unwrap();
    let held = stage.sandbox(container).join("held");
    assert!(held.exists());
    drop(frozen);
    until("the program lets go", || !held.exists()).await;
}

#[tokio::test]
async fn a_program_that_is_late_is_given_the_time_to_let_go() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("exec sleep 1000"));
    stage.running().await;
    let program = "touch held; sleep 3; echo at rest; cat >/dev/null; rm held";
    let late = freeze(program, Duration::from_secs(2));
    let refused = stage.runtime.freeze(container, &late).await.unwrap_err();
    assert!(refused.message.contains("it said nothing in 2000 ms"), "{refused}");
    assert!(!stage.sandbox(container).join("held").exists(), "it held, and let go");
}

#[tokio::test]
async fn what_a_program_that_ended_too_early_started_is_ended_with_it() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("exec sleep 1000"));
    stage.running().await;
    let program = "sleep 1000 >/dev/null 2>&1 & echo $! > pid; echo at rest";
    let frozen = stage.runtime.freeze(container, &freeze(program, LONG)).await.unwrap();
    until("it has ended", || frozen.has_ended()).await;
    let pid = fs::read_to_string(stage.sandbox(container).join("pid")).unwrap();
    let pid: u32 = pid.trim().parse().unwrap();
    assert!(is_alive(pid));
    let refused = frozen.thaw().await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::FreezeFailed);
    until("what it started is gone", || !is_alive(pid)).await;
}

#[tokio::test]
async fn a_program_that_does_not_hold_is_told_with_its_complaint() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("exec sleep 1000"));
    stage.running().await;
    for (program, timeout, what) in [
        ("echo no such table >&2; exit 3", LONG, "no such table"),
        ("exec sleep 1000", Duration::from_millis(200), "it said nothing in 200 ms"),
        ("printf 'no end of line'", LONG, "it ended without a line"),
    ] {
        let refused = stage.runtime.freeze(container, &freeze(program, timeout)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::FreezeFailed, "{refused}");
        assert!(refused.message.contains(what), "{refused}");
    }
    let early = freeze("echo at rest; exec true", LONG);
    let frozen = stage.runtime.freeze(container, &early).await.unwrap();
    // Whether it has ended is seen when it is let go; give it the time to end.
    until("it has ended", || frozen.has_ended()).await;
    let refused = frozen.thaw().await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::FreezeFailed);
    assert!(refused.message.contains("ended before the snapshot was taken"), "{refused}");
}
