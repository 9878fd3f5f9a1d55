//! Volumes in containers: where they are mounted, who sees them, and what is refused.

#![cfg(test)]

mod container_stage;

use berth_agent_core::effect::Exit;
use berth_model::error::ErrorCode;
use berth_model::resources::MountMode;
use container_stage::{Stage, as_user, shell, skip_without_root, until, volume, volume_folder};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

fn mount_table() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

fn of_us(table: &str, stage: &Stage) -> Vec<String> {
    let own = stage.dir.path().display().to_string();
    table.lines().filter(|line| line.contains(&own)).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_mounted_at_relative_and_absolute_paths_for_the_task_only() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let point = stage.dir.path().join("var/lib/db");
    fs::create_dir_all(&point).unwrap();
    fs::write(point.join("naked"), "below the mount point").unwrap();
    let volumes = vec![
        volume(&stage, 1, "data", MountMode::ReadWrite),
        volume(&stage, 2, "deep/er/logs", MountMode::ReadWrite),
        volume(&stage, 3, point.to_str().unwrap(), MountMode::ReadWrite),
        volume(&stage, 4, "frozen", MountMode::ReadOnly),
    ];
    fs::write(volume_folder(&stage, 4).join("old"), "old\n").unwrap();
    fs::create_dir(volume_folder(&stage, 1).join("inner")).unwrap();
    let text = format!(
        "echo 1 > data/x; echo 2 > deep/er/logs/x; ls -A {point}; echo 3 > {point}/x; cat frozen/old; \
         echo 4 > frozen/x; grep -o -e ' {point} [^ ]*' -e '/frozen [^ ]*' /proc/self/mountinfo; \
         stat -c %u data data/inner deep; touch here; echo up; while [ ! -e go ]; do sleep 0.02; done",
        point = point.display()
    );
    let container = stage.launch_with(as_user(shell(&text), "54321"), volumes);
    stage.running().await;
    stage.until_said(container, "up").await;
    let sandbox = stage.sandbox(container);
    // From outside there are empty directories, and no mount.
    assert_eq!(of_us(&mount_table(), &stage), Vec::<String>::new());
    for place in ["data", "deep/er/logs", "frozen"] {
        assert_eq!(fs::read_dir(sandbox.join(place)).unwrap().count(), 0, "{place}");
    }
    assert_eq!(fs::read_dir(&point).unwrap().count(), 1);
    for (number, content) in [(1, "1\n"), (2, "2\n"), (3, "3\n")] {
        let written = fs::read_to_string(volume_folder(&stage, number).join("x")).unwrap();
        assert_eq!(written, content, "volume {number}");
    }
    assert!(!volume_folder(&stage, 4).join("x").exists());
    // The root of a volume is given to the task's user, its content is not.
    let owners = [1, 2, 3, 4].map(|n| fs::metadata(volume_folder(&stage, n)).unwrap().uid());
    assert_eq!(owners, [54321, 54321, 54321, 0]);
    fs::write(sandbox.join("go"), "").unwrap();
    assert_eq!(stage.exit().await, Exit::Status(0));
    let said = stage.stdout(container);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "old",
            &format!(" {} rw,nosuid,nodev,relatime", point.display()),
            "/frozen ro,nosuid,nodev,relatime",
            "54321",
            "0",
            "54321",
            "up"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_sandbox_cannot_reach_a_volume() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let kept = volume(&stage, 1, "data", MountMode::ReadWrite);
    let container = stage.launch_with(
        shell("echo precious > data/x; ln -s $PWD/data link; echo up; exec sleep 1000"),
        vec![kept],
    );
    stage.running().await;
    stage.until_said(container, "up").await;
    let path = volume_folder(&stage, 1).join("x");
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
    // Not even when somebody notes a living run as released.
    fs::write(stage.run_folder(container).join("released"), "").unwrap();
    assert_eq!(stage.runtime.collect_garbage(later).unwrap(), []);
    // A walk over the sandbox from outside, as any cleaner of the host might do, sees no volume.
    fs::remove_dir_all(stage.sandbox(container).join("data")).ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious\n");
    stage.kill(container, Duration::from_secs(5));
    assert_eq!(stage.exit().await, Exit::Signal(15));
    stage.release(container);
    // A volume left in a sandbox by whatever mistake keeps the whole run.
    let stray = stage.sandbox(container).join("stray");
    fs::create_dir(&stray).unwrap();
    fs::write(stray.join("y"), "precious\n").unwrap();
    let marker = berth_agent::disk::remove::VOLUME_XATTR_UNPRIVILEGED;
    let folder = fs::File::open(&stray).unwrap();
    match rustix::fs::fsetxattr(&folder, marker, b"v", rustix::fs::XattrFlags::empty()) {
        Ok(()) => {
            assert_eq!(stage.runtime.collect_garbage(later).unwrap(), []);
            assert_eq!(fs::read_to_string(stray.join("y")).unwrap(), "precious\n");
            fs::remove_dir_all(&stray).unwrap();
        },
        Err(error) => eprintln!("SKIPPED: no extended attributes here: {error}"),
    }
    assert_eq!(stage.runtime.collect_garbage(later).unwrap(), [container]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn places_not_fit_for_a_volume_are_refused() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let base = stage.dir.path().to_owned();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    symlink("/", base.join("link")).unwrap();
    fs::write(base.join("file"), "").unwrap();
    let missing = text(&base.join("missing/place"));
    let relative_remedy = "give a path without links and mounts, or one relative to the sandbox";
    let link = text(&base.join("link/tmp"));
    let file = text(&base.join("file/x"));
    let runs = text(&stage.config.runs.join("x"));
    let cases = [
        (
            missing.clone(),
            ErrorCode::MountPointMissing,
            format!("volume vol-1 cannot be mounted at {missing}: no such directory on agent host-1"),
            format!("mkdir -p {missing} on agent host-1, or use a relative container path"),
        ),
        (
            "/proc".to_owned(),
            ErrorCode::InvalidPath,
            "volume vol-1 cannot be mounted at /proc: something is mounted there already".to_owned(),
            relative_remedy.to_owned(),
        ),
        (
            link.clone(),
            ErrorCode::InvalidPath,
            format!("volume vol-1 cannot be mounted at {link}: a part of the path is a symbolic link"),
            relative_remedy.to_owned(),
        ),
        (
            file.clone(),
            ErrorCode::InvalidPath,
            format!("volume vol-1 cannot be mounted at {file}: a part of the path is not a directory"),
            relative_remedy.to_owned(),
        ),
        (
            runs.clone(),
            ErrorCode::InvalidPath,
            format!("volume vol-1 cannot be mounted at {runs}: the agent's own files are there"),
            "give another path, or one relative to the sandbox".to_owned(),
        ),
        (
            "a/../b".to_owned(),
            ErrorCode::InvalidPath,
            "volume vol-1 cannot be mounted: container path \"a/../b\" has the part \"..\": write it without \
             empty, . or .. parts"
                .to_owned(),
            "give a path such as data or /var/lib/mysql".to_owned(),
        ),
    ];
    for (path, code, message, remedy) in cases {
        let used = volume(&stage, 1, &path, MountMode::ReadWrite);
        stage.launch_with(shell("true"), vec![used]);
        assert_eq!(stage.refusal().await, (code, message, remedy));
    }
    assert!(!base.join("missing").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_laid_in_the_sandbox_is_not_followed() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let elsewhere = stage.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    // A first attempt that is refused leaves its sandbox, which belongs to the task's user.
    let used = volume(&stage, 1, "/proc", MountMode::ReadWrite);
    let container = stage.launch_with(shell("true"), vec![used]);
    assert_eq!(stage.refusal().await.0, ErrorCode::InvalidPath);
    symlink(&elsewhere, stage.sandbox(container).join("data")).unwrap();
    for path in ["data", "data/x"] {
        let used = volume(&stage, 1, path, MountMode::ReadWrite);
        stage.start(container, shell("true"), vec![used]);
        assert_eq!(
            stage.refusal().await,
            (
                ErrorCode::InvalidPath,
                format!(
                    "volume vol-1 cannot be mounted at {path}: a part of the path is a symbolic link"
                ),
                "give a path without links and mounts, or one relative to the sandbox".to_owned()
            )
        );
    }
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handle_that_was_verified_is_mounted_even_when_its_path_changes() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let used = volume(&stage, 1, "data", MountMode::ReadWrite);
    fs::write(volume_folder(&stage, 1).join("name"), "the real one\n").unwrap();
    // The folder is exchanged between verification and mount: the source does it as its last step.
    let (real, aside) = (volume_folder(&stage, 1), stage.dir.path().join("aside"));
    let source = move |_spec: &berth_model::volume::VolumeSpec| {
        let handle = fs::File::open(&real).unwrap();
        fs::rename(&real, &aside).unwrap();
        fs::create_dir(&real).unwrap();
        Ok(std::os::fd::OwnedFd::from(handle))
    };
    let (runtime, events) =
        berth_agent::container::Runtime::new(stage.config.clone(), std::sync::Arc::new(source));
    stage.runtime = runtime;
    stage.events = events;
    let container = stage.launch_with(shell("cat data/name"), vec![used]);
    assert_eq!(stage.ended().await, Exit::Status(0));
    assert_eq!(stage.stdout(container), "the real one\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_fails_its_check_starts_nothing() {
    let mut stage = Stage::new();
    let used = volume(&stage, 1, "data", MountMode::ReadWrite);
    fs::remove_dir(volume_folder(&stage, 1)).unwrap();
    let container = stage.launch_with(shell("true"), vec![used]);
    let path = volume_folder(&stage, 1);
    assert_eq!(
        stage.refusal().await,
        (
            ErrorCode::VolumeUnavailable,
            format!("{}: No such file or directory (os error 2)", path.display()),
            String::new()
        )
    );
    assert!(!stage.run_folder(container).join("sandbox").exists());
    let (mut used, spec) = volume(&stage, 1, "data", MountMode::ReadWrite);
    used.generation = 2;
    stage.launch_with(shell("true"), vec![(used, spec)]);
    assert_eq!(
        stage.refusal().await,
        (
            ErrorCode::VolumeUnavailable,
            "volume vol-1 is in generation 1, the task asks for generation 2".to_owned(),
            "wait for a new offer of the volume".to_owned()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_place_the_user_cannot_reach_is_named() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let closed = stage.dir.path().join("closed");
    fs::create_dir_all(closed.join("place")).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let place = closed.join("place");
    let used = volume(&stage, 1, place.to_str().unwrap(), MountMode::ReadWrite);
    stage.launch_with(as_user(shell("true"), "54321"), vec![used]);
    assert_eq!(
        stage.refusal().await,
        (
            ErrorCode::PathNotTraversable,
            format!(
                "directory {} on agent host-1 cannot be traversed by user 54321:54321, so {} is out of reach: \
                 Permission denied (os error 13)",
                closed.display(),
                place.display()
            ),
            format!("chmod o+x {}, or choose a user who may", closed.display())
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_stays_mounted_while_the_agent_is_away() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let used = volume(&stage, 1, "data", MountMode::ReadWrite);
    let container = stage.launch_with(
        shell("i=0; while :; do i=$((i+1)); echo $i > data/n; sleep 0.02; done"),
        vec![used],
    );
    let pid = stage.running().await;
    let count = volume_folder(&stage, 1).join("n");
    let read = || fs::read_to_string(&count).unwrap_or_default().trim().parse::<u32>().unwrap_or(0);
    until("the task writes", || read() > 0).await;
    stage.restart();
    let before = read();
    until("the task writes on", || read() > before).await;
    stage.adopt(container);
    assert_eq!(stage.running().await, pid);
    stage.kill(container, Duration::from_secs(5));
    assert_eq!(stage.exit().await, Exit::Signal(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_was_set_is_left_alone() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let (used, spec) = volume(&stage, 1, "data", MountMode::ReadWrite);
    let owner = berth_model::access::Owner::new(600, 601).ok();
    let spec = berth_model::volume::VolumeSpec {
        access: berth_model::access::Access { owner, mode: None },
        ..spec
    };
    let folder = volume_folder(&stage, 1);
    rustix::fs::chown(
        &folder,
        Some(rustix::fs::Uid::from_raw(600)),
        Some(rustix::fs::Gid::from_raw(601)),
    )
    .unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o2775)).unwrap();
    let container = stage.launch_with(
        as_user(shell("stat -c '%u:%g %a' data; echo > data/x"), "54321"),
        vec![(used, spec)],
    );
    assert_ne!(stage.ended().await, Exit::Status(0), "another user may only look");
    assert_eq!(stage.stdout(container), "600:601 2775\n");
    let facts = fs::metadata(&folder).unwrap();
    assert_eq!((facts.uid(), facts.gid(), facts.mode() & 0o7777), (600, 601, 0o2775));
    assert!(!folder.join("x").exists());
}
