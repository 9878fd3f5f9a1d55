//! An agent may hold as many files open as its host allows; its tasks get the limits it was started with. In a test program of its
//! own, since the limit is the process's.

#![cfg(test)]

mod container_stage;

use berth_agent::host::limits::raise_open_files;
use berth_agent_core::effect::{ContainerEvent, Exit};
use berth_model::task::{Check, Program};
use container_stage::{Stage, shell};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_raised_limit_of_open_files_is_not_passed_on_to_tasks() {
    let before = Rlimit { current: Some(200), maximum: Some(1000) };
    setrlimit(Resource::Nofile, before).expect("limits may be lowered");
    assert_eq!(raise_open_files().expect("the soft limit may be raised"), Some(1000));
    let raised = Rlimit { current: Some(1000), maximum: Some(1000) };
    assert_eq!(getrlimit(Resource::Nofile), raised);
    let mut stage = Stage::new();
    let output = stage.output_of(shell("ulimit -Sn; ulimit -Hn")).await;
    assert_eq!(output, (Exit::Status(0), "200\n1000\n".into()));
    // Checks are children of the agent itself.
    let mut task = shell("exec sleep 1000");
    let limits = "test \"$(ulimit -Sn; ulimit -Hn)\" = \"$(printf '200\\n1000')\"";
    let check = Check {
        program: Program::Shell(limits.to_owned()),
        every: Duration::from_millis(100),
        timeout: Duration::from_secs(10),
        grace: Duration::ZERO,
        failures: 1,
    };
    task.readiness = Some(check);
    let container = stage.launch(task);
    stage.running().await;
    assert_eq!(stage.event().await, ContainerEvent::Ready(true));
    stage.kill(container, Duration::from_secs(5));
    stage.exit().await;
}
