//! What an agent without root does: everything that is possible, and a clear refusal of the rest.
//!
//! Run by root, the test starts itself again as an ordinary user.

#![cfg(test)]

mod container_stage;

use berth_agent_core::effect::Exit;
use berth_model::error::ErrorCode;
use berth_model::resources::MountMode;
use container_stage::{
    Stage, as_user, check, is_alive, is_root, program, shell, volume, volume_folder, with_resources,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

const ORDINARY: u32 = 54321;

#[test]
fn an_ordinary_user_runs_containers() {
    if !is_root() {
        ordinary();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // Copies, because the folder of the build may be closed to others.
    let (deps, examples) = (dir.path().join("deps"), dir.path().join("examples"));
    fs::create_dir(&deps).unwrap();
    fs::create_dir(&examples).unwrap();
    fs::copy(std::env::current_exe().unwrap(), deps.join("test")).unwrap();
    fs::copy(program(), examples.join("container_program")).unwrap();
    let output = Command::new(deps.join("test"))
        .args(["--exact", "an_ordinary_user_runs_containers", "--nocapture"])
        .env("TMPDIR", dir.path())
        .current_dir("/")
        .uid(ORDINARY)
        .gid(ORDINARY)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn ordinary() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut stage = Stage::new();
        assert_eq!(
            stage.runtime.limitations(),
            [
                "the agent does not run as root: volumes are links in the sandbox and only at relative paths, cpu \
                 and memory are not limited, and every task runs as the agent's own user"
            ]
        );
        runs_and_ends(&mut stage).await;
        volumes_are_links(&mut stage).await;
        refusals(&mut stage).await;
        the_kernel_tells_no_more(&mut stage).await;
    });
}

/// Each user has only so many descriptors that tell of changes: without one, a container is still followed.
async fn the_kernel_tells_no_more(stage: &mut Stage) {
    use rustix::fs::inotify;
    let all: Vec<_> = std::iter::from_fn(|| inotify::init(inotify::CreateFlags::CLOEXEC).ok())
        .take(100_000)
        .collect();
    assert_eq!(
        inotify::init(inotify::CreateFlags::CLOEXEC).map(drop),
        Err(rustix::io::Errno::MFILE),
        "after {}",
        all.len()
    );
    let container = stage.launch(shell("exec sleep 1000"));
    let pid = stage.running().await;
    stage.restart();
    stage.adopt(container);
    assert_eq!(stage.running().await, pid);
    stage.kill(container, Duration::from_secs(5));
    assert_eq!(stage.exit().await, Exit::Signal(15));
}

async fn runs_and_ends(stage: &mut Stage) {
    let text = "setsid sh -c 'echo $$ > child; sleep 1000' & while [ ! -s child ]; do sleep 0.02; done; \
                echo up; sleep 1000";
    let mut task = with_resources(shell(text), 100, 16);
    task.readiness = Some(check("test -s child"));
    let container = stage.launch(task);
    let pid = stage.running().await;
    assert_eq!(stage.event().await, berth_agent_core::effect::ContainerEvent::Ready(true));
    stage.until_said(container, "up").await;
    let child = fs::read_to_string(stage.sandbox(container).join("child")).unwrap();
    stage.restart();
    stage.adopt(container);
    assert_eq!(stage.running().await, pid);
    stage.kill(container, Duration::from_secs(5));
    assert_eq!(stage.exit().await, Exit::Signal(15));
    assert!(!is_alive(child.trim().parse().unwrap()));
    // The own user may be named.
    let (exit, said) =
        stage.output_of(as_user(shell("id -u"), &nix::unistd::getuid().to_string())).await;
    assert_eq!((exit, said), (Exit::Status(0), format!("{}\n", nix::unistd::getuid())));
}

async fn volumes_are_links(stage: &mut Stage) {
    let used = volume(stage, 1, "deep/data", MountMode::ReadWrite);
    let container = stage.launch_with(shell("echo kept > deep/data/x"), vec![used]);
    assert_eq!(stage.ended().await, Exit::Status(0));
    let kept = volume_folder(stage, 1).join("x");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept\n");
    assert_eq!(
        fs::read_link(stage.sandbox(container).join("deep/data")).unwrap(),
        volume_folder(stage, 1)
    );
    stage.release(container);
    let folder = stage.run_folder(container);
    container_stage::until("the run is marked", || folder.join("released").exists()).await;
    let later = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    assert_eq!(stage.runtime.collect_garbage(later).unwrap(), [container]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept\n");
}

async fn refusals(stage: &mut Stage) {
    let remedy = "run the agent as root, or use a relative container path with mode RW";
    for (path, mode, what) in [
        ("/srv", MountMode::ReadWrite, "mount volume vol-1 at /srv"),
        ("data", MountMode::ReadOnly, "mount volume vol-1 read-only"),
    ] {
        let used = volume(stage, 1, path, mode);
        stage.launch_with(shell("true"), vec![used]);
        assert_eq!(
            stage.refusal().await,
            (
                ErrorCode::NotPrivileged,
                format!("agent host-1 does not run as root and cannot {what}"),
                remedy.to_owned()
            )
        );
    }
    stage.launch(as_user(shell("true"), "0:0"));
    assert_eq!(
        stage.refusal().await,
        (
            ErrorCode::NotPrivileged,
            "agent host-1 does not run as root and cannot start a task as user 0:0".to_owned(),
            "run the agent as root, or give the task no user".to_owned()
        )
    );
}
