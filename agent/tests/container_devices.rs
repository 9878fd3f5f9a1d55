//! Raw devices in containers: the task's user has the node, nobody else sees it, and the device goes with the task.

#![cfg(test)]

mod container_stage;

use berth_agent::disk::image::device::{self, Device};
use berth_agent_core::effect::Exit;
use berth_model::resources::MountMode;
use container_stage::{Stage, as_user, device_of, shell, skip_without_root, volume};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

/// A file as a device, or the reason why there is none is told.
fn attach(stage: &Stage) -> Option<(File, Device)> {
    let path = stage.dir.path().join(device::FILE);
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
    file.set_len(1 << 20).unwrap();
    match device::attach(file.as_fd()) {
        Ok(device) => Some((file, device)),
        Err(errno) => {
            eprintln!("SKIPPED: no loop devices here ({errno})");
            None
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_the_tasks_own_for_as_long_as_the_task_runs() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let Some((file, attached)) = attach(&stage) else { return };
    let path = attached.path();
    let owner = |path: &str| {
        let facts = fs::metadata(path).unwrap();
        (facts.uid(), facts.gid(), facts.mode())
    };
    let before = owner(&path);
    let volumes = vec![
        device_of(volume(&stage, 1, "raw/data", MountMode::ReadWrite), &stage, &path),
        volume(&stage, 2, "plain", MountMode::ReadWrite),
    ];
    let text = "stat -c '%F %u %a' raw/data; printf first | dd of=raw/data conv=notrunc 2>/dev/null; \
        dd if=raw/data bs=5 count=1 2>/dev/null; echo; touch plain/x; echo up; \
        while [ ! -e go ]; do sleep 0.02; done; \
        printf again | dd of=raw/data conv=notrunc,fsync 2>/dev/null; echo $?";
    let container = stage.launch_with(as_user(shell(text), "54321"), volumes);
    stage.running().await;
    stage.until_said(container, "up").await;
    // Only the supervisor has it now.
    drop(attached);
    let place = fs::metadata(stage.sandbox(container).join("raw/data")).unwrap();
    assert!(place.is_file() && place.len() == 0, "from outside it is an empty file");
    assert_eq!(owner(&path), before, "the host's own node is as it was");
    let outside = fs::read_dir(stage.run_folder(container).join("devices")).unwrap().count();
    assert_eq!(outside, 0);
    fs::write(stage.sandbox(container).join("go"), "").unwrap();
    assert_eq!(stage.exit().await, Exit::Status(0));
    let said = stage.stdout(container);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["block special file 54321 600", "first", "up", "0"]
    );
    let mut bytes = [0; 5];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"again");
    let end = Instant::now() + Duration::from_secs(30);
    while device::find(file.as_fd()).unwrap().is_some() {
        assert!(Instant::now() < end, "the device outlives its task");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_given_whole_and_in_the_place_of_an_empty_file() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let Some((_file, attached)) = attach(&stage) else { return };
    let full = stage.dir.path().join("full");
    fs::write(&full, "something").unwrap();
    let missing = stage.dir.path().join("missing");
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    for (number, path, mode, wanted) in [
        (
            1,
            "data".to_owned(),
            MountMode::ReadOnly,
            ("UNSUPPORTED", "it cannot be given read-only"),
        ),
        (2, text(&full), MountMode::ReadWrite, ("INVALID_PATH", "the place of an empty file only")),
        (3, text(&missing), MountMode::ReadWrite, ("MOUNT_POINT_MISSING", "no such file on agent")),
    ] {
        let used = device_of(volume(&stage, number, &path, mode), &stage, &attached.path());
        stage.launch_with(shell("true"), vec![used]);
        let (code, message, _remedy) = stage.refusal().await;
        assert_eq!(code.as_str(), wanted.0, "{message}");
        assert!(message.contains(wanted.1), "{message}");
    }
    assert_eq!(fs::read_to_string(&full).unwrap(), "something");
}
