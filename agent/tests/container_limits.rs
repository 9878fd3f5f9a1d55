//! Limits of cpu and memory, and checks of health and readiness, in real control groups and namespaces.

#![cfg(test)]

mod container_stage;

use berth_agent_core::effect::{ContainerEffect, ContainerEvent, Exit};
use berth_model::resources::MountMode;
use berth_model::units::Bytes;
use container_stage::{
    Stage, as_user, check, is_alive, shell, skip_without_root, until, volume, volume_folder,
    with_resources,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The directory of a process' group in a v1 hierarchy, when that controller is mounted.
fn group(pid: u32, controller: &str) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        (parts.next()?.split(',').any(|have| have == controller)).then(|| parts.next())?
    })?;
    let folder = Path::new("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/'));
    folder.exists().then_some(folder)
}

fn text(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn cpu_and_memory_are_limited_in_groups_that_go_with_the_container() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let container = stage.launch(with_resources(shell("exec sleep 1000"), 500, 64));
    let pid = stage.running().await;
    let (Some(cpu), Some(memory)) = (group(pid, "cpu"), group(pid, "memory")) else {
        eprintln!("SKIPPED: no v1 controllers for cpu and memory");
        stage.kill(container, Duration::ZERO);
        stage.exit().await;
        return;
    };
    assert_eq!(stage.runtime.limitations(), Vec::<String>::new());
    assert!(cpu.ends_with(format!("berth/{container}")), "{}", cpu.display());
    assert!(memory.ends_with(format!("berth/{container}")), "{}", memory.display());
    assert_eq!(
        (
            text(cpu.join("cpu.shares")),
            text(cpu.join("cpu.cfs_quota_us")),
            text(cpu.join("cpu.cfs_period_us")),
            text(memory.join("memory.limit_in_bytes")),
        ),
        ("512".into(), "50000".into(), "100000".into(), (64 << 20).to_string())
    );
    stage.kill(container, Duration::from_secs(5));
    assert_eq!(stage.exit().await, Exit::Signal(15));
    assert_eq!((cpu.exists(), memory.exists()), (false, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_memory_is_told_as_such() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    if !stage.runtime.limitations().is_empty() {
        eprintln!("SKIPPED: {:?}", stage.runtime.limitations());
        return;
    }
    // The hog is a child: that its parent then ends with a status does not hide the reason.
    let hog = "head -c 200M /dev/zero | tail -c 200M > /dev/null; exit 9";
    let container = stage.launch(with_resources(shell(hog), 1000, 32));
    assert_eq!(stage.ended().await, Exit::OutOfMemory(Bytes::from_mib(32)));
    stage.restart();
    stage.adopt(container);
    assert_eq!(stage.exit().await, Exit::OutOfMemory(Bytes::from_mib(32)));
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_run_in_the_container_and_tell_changes_only() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let used = volume(&stage, 1, "data", MountMode::ReadWrite);
    let mut task = as_user(shell("touch data/ready; exec sleep 1000"), "54321");
    // Seen in the volume, which is mounted in the container only, and as the task's user.
    task.readiness =
        Some(check("test $(id -u) = 54321 && test -e data/ready && test $PWD = $BERTH_SANDBOX"));
    let container = stage.launch_with(task, vec![used]);
    let pid = stage.running().await;
    assert_eq!(stage.event().await, ContainerEvent::Ready(true));
    let flag = volume_folder(&stage, 1).join("ready");
    fs::remove_file(&flag).unwrap();
    assert_eq!(stage.event().await, ContainerEvent::Ready(false));
    fs::write(&flag, "").unwrap();
    assert_eq!(stage.event().await, ContainerEvent::Ready(true));
    // After a restart of the agent the checks go on.
    stage.restart();
    let mut health = check("test -e data/ready");
    health.failures = 3;
    stage.runtime.run(ContainerEffect::Adopt { container, health: None, readiness: Some(health) });
    assert_eq!(stage.running().await, pid);
    assert_eq!(stage.event().await, ContainerEvent::Ready(true));
    stage.kill(container, Duration::from_secs(5));
    assert_eq!(stage.exit().await, Exit::Signal(15));
}

/// An agent may itself run in a chroot, whose root is not the root of its mount namespace.
#[test]
fn checks_run_in_the_container_of_an_agent_in_a_chroot() {
    let mut probe = std::process::Command::new("unshare");
    if !probe.args(["--mount", "true"]).status().is_ok_and(|s| s.success()) {
        eprintln!("SKIPPED: no mount namespace can be made here");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let script = "mount --make-rprivate / && mount --rbind / \"$0\" && exec chroot \"$0\" \"$@\"";
    let outcome = std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(root.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "checks_run_in_the_container_and_tell_changes_only", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&outcome.stdout);
    let errors = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_after_the_grace_and_slow_checks_are_killed() {
    let mut stage = Stage::new();
    let mut task = shell("exec sleep 1000");
    let mut health = check("echo x >> runs; echo $$ > slow; sleep 1000");
    health.timeout = Duration::from_millis(300);
    health.failures = 2;
    task.health = Some(health);
    let container = stage.launch(task);
    stage.running().await;
    assert_eq!(stage.event().await, ContainerEvent::Healthy(false));
    let runs = fs::read_to_string(stage.sandbox(container).join("runs")).unwrap();
    assert_eq!(runs, "x\nx\n");
    stage.kill(container, Duration::from_secs(5));
    assert_eq!(stage.exit().await, Exit::Signal(15));
    let slow: u32 = text(stage.sandbox(container).join("slow")).parse().unwrap();
    until("the check is dead", || !is_alive(slow)).await;

    let mut task = shell("exec sleep 1000");
    let mut health = check("echo x >> runs; test $(wc -l < runs) -ge 4");
    health.failures = 1;
    health.grace = Duration::from_secs(1000);
    task.health = Some(health);
    let container = stage.launch(task);
    stage.running().await;
    // Three failures within the grace count for nothing; the first success is told.
    assert_eq!(stage.event().await, ContainerEvent::Healthy(true));
    stage.kill(container, Duration::from_secs(5));
    assert_eq!(stage.exit().await, Exit::Signal(15));
}
