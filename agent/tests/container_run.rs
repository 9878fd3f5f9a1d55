//! Containers from start to end: exits, output, users, adoption after a restart of the agent, killing, sandboxes.

#![cfg(test)]

mod container_stage;

use berth_agent_core::effect::{ContainerEvent, Exit};
use berth_model::error::ErrorCode;
use berth_model::link::OutputStream;
use berth_model::task::Program;
use berth_model::units::Bytes;
use container_stage::{
    Stage, as_user, fresh_container, is_alive, shell, skip_without_root, supervisor, until,
};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_with_a_status_or_by_a_signal() {
    let mut stage = Stage::new();
    assert_eq!(
        stage.output_of(shell("echo out; echo err >&2; exit 3")).await,
        (Exit::Status(3), "out\nerr\n".into())
    );
    assert_eq!(stage.output_of(shell("kill -9 $$")).await, (Exit::Signal(9), String::new()));
    let mut exec = shell("");
    exec.command.program = Program::Exec(vec!["printf".into(), "%s|".into(), "a b".into()]);
    assert_eq!(stage.output_of(exec).await, (Exit::Status(0), "a b|".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_surroundings_are_minimal() {
    let mut stage = Stage::new();
    let mut task =
        shell("pwd; env | sort; ls -l /proc/self/fd | grep -vc pipe:; readlink /proc/self/fd/0");
    task.command.env.insert("COLOUR".into(), "blue".into());
    let container = stage.launch(task);
    assert_eq!(stage.ended().await, Exit::Status(0));
    let sandbox = stage.sandbox(container).display().to_string();
    assert_eq!(
        stage.stdout(container),
        format!(
            "{sandbox}\nBERTH_AGENT_ID=0000000000000000000000000000a9e7\nBERTH_CONTAINER_ID={container}\n\
             BERTH_FRAMEWORK_ID=f-1\nBERTH_SANDBOX={sandbox}\nBERTH_TASK_ID=t-1\nCOLOUR=blue\nHOME={sandbox}\n\
             PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD={sandbox}\n\
             3\n/dev/null\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_refused() {
    let mut stage = Stage::new();
    let mut task = shell("");
    task.command.program = Program::Exec(vec!["/no/such/program".into()]);
    stage.launch(task);
    assert_eq!(
        stage.refusal().await,
        (
            ErrorCode::LaunchFailed,
            "program \"/no/such/program\" cannot be executed: No such file or directory (os error 2)"
                .into(),
            "install it on the agent, or give its full path".into()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_rotated_and_read_by_offsets_from_the_first_byte() {
    let mut stage = Stage::new();
    stage.config.log_limit = Bytes::new(1000);
    stage.config.log_files = 3;
    stage.restart();
    // 700 lines of 9 bytes.
    let container =
        stage.launch(shell("i=0; while [ $i -lt 700 ]; do printf '%08d\\n' $i; i=$((i+1)); done"));
    assert_eq!(stage.ended().await, Exit::Status(0));
    let read = |offset, length| {
        let (at, bytes) =
            stage.runtime.read_log(container, OutputStream::Stdout, offset, length).unwrap();
        (at, String::from_utf8(bytes).unwrap())
    };
    assert_eq!(read(6291, 100), (6291, "00000699\n".into()));
    assert_eq!(read(5400, 18), (5400, "00000600\n00000601\n".into()));
    assert_eq!(read(u64::MAX, 10), (6300, String::new()));
    let (first, text) = read(0, 1 << 20);
    assert_eq!((first, text.len()), (4000, 2300));
    let names: Vec<String> = {
        let logs = fs::read_dir(stage.run_folder(container).join("logs")).unwrap();
        let mut names: Vec<String> =
            logs.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names, ["stderr", "stdout", "stdout.4000", "stdout.5000"]);
    let unknown =
        stage.runtime.read_log(fresh_container(), OutputStream::Stdout, 0, 1).unwrap_err();
    assert_eq!(unknown.code, ErrorCode::UnknownTask);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_names_and_numbers() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let text = "id -u; id -g; id -G; touch mine; stat -c %u:%g . mine; umask; grep NoNewPrivs /proc/self/status";
    for (user, expected) in [
        ("nobody", "65534\n65534\n65534\n65534:65534\n65534:65534\n0022\nNoNewPrivs:\t1\n"),
        ("54321", "54321\n54321\n54321\n54321:54321\n54321:54321\n0022\nNoNewPrivs:\t1\n"),
        ("54321:7", "54321\n7\n7\n54321:7\n54321:7\n0022\nNoNewPrivs:\t1\n"),
    ] {
        let output = stage.output_of(as_user(shell(text), user)).await;
        assert_eq!(output, (Exit::Status(0), expected.to_owned()), "as {user}");
    }
    stage.launch(as_user(shell("true"), "nobody-here"));
    assert_eq!(
        stage.refusal().await,
        (
            ErrorCode::UnknownUser,
            "user \"nobody-here\" cannot be used on agent host-1: no such user".into(),
            "create it on host-1, or give a numeric uid such as 1000".into()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_the_user_cannot_traverse_is_named() {
    if skip_without_root() {
        return;
    }
    let mut stage = Stage::new();
    let closed = stage.dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    stage.config.runs = closed.join("runs");
    stage.restart();
    let container = stage.launch(as_user(shell("true"), "54321"));
    let sandbox = stage.sandbox(container);
    assert_eq!(
        stage.refusal().await,
        (
            ErrorCode::PathNotTraversable,
            format!(
                "directory {} on agent host-1 cannot be traversed by user 54321:54321, so {} is out of reach: \
                 Permission denied (os error 13)",
                closed.display(),
                sandbox.display()
            ),
            format!("chmod o+x {}, or choose a user who may", closed.display())
        )
    );
    // Done as the remedy says, the same start is a new attempt.
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).unwrap();
    stage.start(container, as_user(shell("exit 4"), "54321"), Vec::new());
    assert_eq!(stage.ended().await, Exit::Status(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_adopts_and_ends_what_runs() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("echo up; exec sleep 1000"));
    let pid = stage.running().await;
    stage.until_said(container, "up").await;
    stage.restart();
    stage.adopt(container);
    assert_eq!(stage.running().await, pid);
    // Asked again, the same answer; a start that was done is not done twice.
    stage.start(container, shell("exit 1"), Vec::new());
    assert_eq!(stage.running().await, pid);
    stage.restart();
    stage.start(container, shell("exit 1"), Vec::new());
    assert_eq!(stage.running().await, pid);
    stage.restart();
    stage.kill(container, Duration::from_secs(30));
    assert_eq!(stage.exit().await, Exit::Signal(15));
    stage.kill(container, Duration::from_secs(30));
    assert_eq!(stage.exit().await, Exit::Signal(15));
    stage.restart();
    stage.adopt(container);
    assert_eq!(stage.exit().await, Exit::Signal(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_while_the_agent_is_away_is_told_afterwards() {
    let mut stage = Stage::new();
    let container =
        stage.launch(shell("while [ ! -e go ]; do sleep 0.05; done; echo done; exit 5"));
    stage.running().await;
    stage.restart();
    fs::write(stage.sandbox(container).join("go"), "").unwrap();
    let folder = stage.run_folder(container);
    until("the supervisor ends", || supervisor(&folder).is_none_or(|pid| !is_alive(pid))).await;
    stage.adopt(container);
    assert_eq!(stage.exit().await, Exit::Status(5));
    assert_eq!(stage.stdout(container), "done\n");
    let unknown = fresh_container();
    stage.adopt(unknown);
    assert_eq!(
        stage.exit().await,
        Exit::Unknown(format!("run folder {} is not there", stage.run_folder(unknown).display()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_asked_to_end_and_then_made_to() {
    let mut stage = Stage::new();
    let polite =
        stage.launch(shell("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done"));
    stage.running().await;
    stage.until_said(polite, "up").await;
    stage.kill(polite, Duration::from_secs(30));
    assert_eq!(stage.exit().await, Exit::Status(7));
    let stubborn = stage.launch(shell("trap '' TERM; echo up; while :; do sleep 0.05; done"));
    stage.running().await;
    stage.until_said(stubborn, "up").await;
    stage.kill(stubborn, Duration::from_secs(1000));
    // Asked again by the next life of the agent, with less patience.
    stage.restart();
    stage.kill(stubborn, Duration::from_millis(200));
    assert_eq!(stage.exit().await, Exit::Signal(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_run_outlives_it() {
    let mut stage = Stage::new();
    // Another session, and a parent that is gone: only group and adoption find it.
    let text = "setsid sh -c 'trap \"\" TERM; echo $$ > child; sleep 1000' & while [ ! -s child ]; do sleep 0.02; done";
    let container = stage.launch(shell(text));
    assert_eq!(stage.ended().await, Exit::Status(0));
    let child: u32 =
        fs::read_to_string(stage.sandbox(container).join("child")).unwrap().trim().parse().unwrap();
    assert!(!is_alive(child));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_supervisor_takes_the_command_along() {
    let mut stage = Stage::new();
    let text = "setsid sh -c 'echo $$ > child; sleep 1000' & while [ ! -s child ]; do sleep 0.02; done; echo up; wait";
    let container = stage.launch(shell(text));
    let pid = stage.running().await;
    stage.until_said(container, "up").await;
    let child: u32 =
        fs::read_to_string(stage.sandbox(container).join("child")).unwrap().trim().parse().unwrap();
    let supervisor = supervisor(&stage.run_folder(container)).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(supervisor).unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    assert_eq!(stage.exit().await, Exit::Unknown("its supervisor ended without a word".into()));
    assert_eq!((is_alive(pid), is_alive(child)), (false, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_an_earlier_boot_is_over() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("exit 0"));
    assert_eq!(stage.ended().await, Exit::Status(0));
    // As if the machine had stopped while it ran; the pid belongs to somebody else now.
    let path = stage.run_folder(container).join("state.json");
    let state = serde_json::json!({
        "supervisor": { "pid": std::process::id(), "start_ticks": 1, "boot_id": "another" },
        "phase": { "Running": { "pid": std::process::id() } },
    });
    fs::write(path, state.to_string()).unwrap();
    stage.restart();
    stage.adopt(container);
    assert_eq!(stage.exit().await, Exit::Unknown("the machine was restarted while it ran".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_no_task_explains_are_released_or_told() {
    let mut stage = Stage::new();
    let mut over = Vec::new();
    for _ in 0..2 {
        over.push(stage.launch(shell("true")));
        stage.ended().await;
    }
    let alive = stage.launch(shell("exec sleep 1000"));
    let pid = stage.running().await;
    stage.restart();
    let known = std::collections::BTreeSet::from([over[0]]);
    assert_eq!(stage.runtime.release_unknown(&known).unwrap(), [alive]);
    let released = |container| stage.run_folder(container).join("released").exists();
    assert_eq!([over[0], over[1], alive].map(released), [false, true, false]);
    assert!(is_alive(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_of_released_runs_go_after_their_time() {
    let mut stage = Stage::new();
    let gone = stage.launch(shell("mkdir -p a/b; ln -s / a/root; echo x > a/b/c"));
    stage.ended().await;
    let kept = stage.launch(shell("true"));
    stage.ended().await;
    stage.release(gone);
    let marker = stage.run_folder(gone).join("released");
    until("the run is marked", || marker.exists()).await;
    let released = SystemTime::UNIX_EPOCH
        + Duration::from_secs(u64::try_from(fs::metadata(&marker).unwrap().mtime()).unwrap());
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(stage.runtime.collect_garbage(released + day * 6).unwrap(), []);
    assert_eq!(stage.runtime.collect_garbage(released + day * 8).unwrap(), [gone]);
    assert_eq!((stage.run_folder(gone).exists(), stage.run_folder(kept).exists()), (false, true));
    // Nothing else is left in the folder of runs.
    assert_eq!(fs::read_dir(&stage.config.runs).unwrap().count(), 1);
    // A full disk shortens the time.
    stage.release(kept);
    let marker = stage.run_folder(kept).join("released");
    until("the run is marked", || marker.exists()).await;
    stage.config.free_percent_min = 100;
    stage.restart();
    let folder = stage.run_folder(kept);
    until("the runtime collects by itself", || !folder.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_runs_cannot_be_released() {
    let mut stage = Stage::new();
    let container = stage.launch(shell("exec sleep 1000"));
    stage.running().await;
    stage.release(container);
    stage.kill(container, Duration::from_secs(5));
    assert_eq!(stage.event().await, ContainerEvent::Exited(Exit::Signal(15)));
    assert!(!stage.run_folder(container).join("released").exists());
}
