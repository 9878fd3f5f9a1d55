//! Whatever system call a volume effect is killed at, asking again completes it; whatever sync fails, nothing is
//! claimed; and nothing is claimed before it is synced.

use berth_host_tests::host::{has, skip};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const STEP: &str = env!("CARGO_BIN_EXE_volume-step");

fn step(work: &Path, steps: &[&str]) -> Vec<String> {
    lines(&Command::new(STEP).arg(work).arg("directory").args(steps).output().expect("it starts"))
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Runs the steps under strace with this injection, or prints the trace with none.
fn traced(work: &Path, injection: Option<&str>, steps: &[&str]) -> Output {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o"]).arg(work.join("trace"));
    match injection {
        Some(injection) => strace.arg("-e").arg(format!("inject={injection}")),
        None => strace.arg("-y"),
    };
    strace.arg(STEP).arg(work).arg("directory").args(steps).output().expect("strace starts")
}

fn can_trace(work: &Path) -> bool {
    if !has("strace") {
        skip("there is no strace on this machine");
        return false;
    }
    let works = traced(work, None, &[]).status.success();
    if !works {
        skip("strace may not trace here");
    }
    works
}

struct Case {
    /// Done before, undisturbed.
    before: &'static [&'static str],
    /// Disturbed, then asked again.
    step: &'static [&'static str],
    /// What it answers when it could be done.
    done: &'static str,
    /// What must be so afterwards.
    after: &'static [&'static str],
    shows: &'static [&'static str],
    /// The volume holds a file that must not get lost.
    keeps_data: bool,
}

const CASES: [Case; 4] = [
    Case {
        before: &[],
        step: &["create", "1"],
        done: "create 1: present",
        after: &["verify", "1"],
        shows: &["verify 1: present"],
        keeps_data: false,
    },
    Case {
        before: &["create", "1"],
        step: &["trash", "1"],
        done: "trash 1: present",
        after: &["verify", "1", "restore", "2"],
        shows: &["verify 1: absent", "restore 2: present"],
        keeps_data: true,
    },
    Case {
        before: &["create", "1", "trash", "1"],
        step: &["restore", "2"],
        done: "restore 2: present",
        after: &["verify", "2", "verify", "1"],
        shows: &["verify 2: present", "verify 1: foreign VOLUME_UNAVAILABLE"],
        keeps_data: true,
    },
    Case {
        before: &["create", "1", "trash", "1"],
        step: &["purge", "1"],
        done: "purge 1: absent",
        after: &["restore", "2", "create", "1"],
        shows: &["restore 2: absent", "create 1: present"],
        keeps_data: false,
    },
];

const DATA: &str = "disk/volumes/00000000000000000000000000000001/rows";

fn prepared(case: &Case) -> tempfile::TempDir {
    let work = tempfile::tempdir().expect("a temporary directory");
    let mut before = case.before.iter();
    // The disk itself is made undisturbed, then each step; data is written as soon as the volume is there.
    let _made = step(work.path(), &[]);
    while let (Some(name), Some(life)) = (before.next(), before.next()) {
        let _done = step(work.path(), &[name, life]);
        if *name == "create" {
            fs::write(work.path().join(DATA), "rows").expect("the volume takes data");
        }
    }
    work
}

#[test]
fn killed_at_any_call_and_asked_again_every_effect_completes() {
    let work = tempfile::tempdir().unwrap();
    if !can_trace(work.path()) {
        return;
    }
    let mut calls = vec![
        "fsync",
        "mkdir",
        "ftruncate",
        "mkdirat",
        "renameat",
        "renameat2",
        "unlinkat",
        "fsetxattr",
        "fchmod",
        "openat2",
        "write",
    ];
    // Calls that only look can be interrupted as well; they take most of the time.
    if std::env::var("BERTH_CRASH").is_ok_and(|effort| effort != "1") {
        calls.extend(["openat", "statx", "newfstatat", "getdents64", "fgetxattr", "close"]);
    }
    let mut kills = 0;
    for case in &CASES {
        for call in &calls {
            for count in 1.. {
                let work = prepared(case);
                let injection = format!("{call}:signal=KILL:when={count}");
                let disturbed = traced(work.path(), Some(&injection), case.step);
                let what = format!("{:?} killed at {call} {count}", case.step);
                if disturbed.status.success() {
                    assert_eq!(lines(&disturbed), [case.done], "{what}");
                    break;
                }
                kills += 1;
                assert_eq!(step(work.path(), case.step), [case.done], "{what}");
                assert_eq!(step(work.path(), case.after), case.shows, "{what}");
                if case.keeps_data {
                    let kept = fs::read_dir(work.path().join("disk/volumes")).unwrap().count();
                    let rows = fs::read_to_string(work.path().join(DATA)).unwrap_or_default();
                    assert_eq!((kept, rows.as_str()), (1, "rows"), "{what}");
                }
            }
        }
    }
    eprintln!("killed at {kills} system calls, violations 0");
    assert!(kills > 40, "only {kills} calls were reached");
}

#[test]
fn after_a_failed_sync_nothing_is_claimed_and_asking_again_completes() {
    let work = tempfile::tempdir().unwrap();
    if !can_trace(work.path()) {
        return;
    }
    let mut failures = 0;
    for case in &CASES {
        for count in 1.. {
            let work = prepared(case);
            let injection = format!("fsync:error=EIO:when={count}");
            let answer = lines(&traced(work.path(), Some(&injection), case.step)).swap_remove(0);
            if answer == case.done {
                break;
            }
            failures += 1;
            let (name, life) = (case.step[0], case.step[1]);
            assert_eq!(answer, format!("{name} {life}: unclear DISK_FAULTY"), "fsync {count}");
            assert_eq!(step(work.path(), case.step), [case.done], "fsync {count}");
            assert_eq!(step(work.path(), case.after), case.shows, "fsync {count}");
        }
    }
    assert!(failures > 10, "only {failures} syncs were reached");
}

/// What a trace says about order: the name of each call of interest with the last part of its path.
fn order(trace: &str, id: &str) -> Vec<String> {
    let mut seen = Vec::new();
    for line in trace.lines() {
        let Some((call, rest)) =
            line.split_once(' ').and_then(|(_pid, call)| call.trim().split_once('('))
        else {
            continue;
        };
        let relevant = match call {
            "fsync" => {
                let path = rest.split('<').nth(1).and_then(|path| path.split('>').next());
                path.and_then(|path| path.rsplit('/').next()).map(str::to_owned)
            },
            "renameat" | "renameat2" => rest.rsplit('"').nth(1).map(str::to_owned),
            "mkdirat" => rest.split('"').nth(1).map(str::to_owned),
            "unlinkat" if rest.ends_with("= 0") => rest.split('"').nth(1).map(str::to_owned),
            "write" if rest.contains(": ") => Some("answer".to_owned()),
            _other => None,
        };
        if let Some(name) = relevant {
            seen.push(format!("{call} {}", name.replace(id, "ID")));
        }
    }
    seen
}

#[test]
fn everything_is_synced_in_its_order_before_the_answer() {
    let work = tempfile::tempdir().unwrap();
    if !can_trace(work.path()) {
        return;
    }
    let id = "00000000000000000000000000000001";
    let _made = step(work.path(), &[]);
    let traced_order = |steps: &[&str]| {
        let _done = traced(work.path(), None, steps);
        let own = work.path().file_name().unwrap().to_string_lossy().into_owned();
        let seen = order(&fs::read_to_string(work.path().join("trace")).unwrap(), id);
        seen.iter().map(|call| call.replace(&own, "WORK")).collect::<Vec<_>>()
    };
    assert_eq!(
        traced_order(&["create", "1"]),
        [
            "mkdirat disk",
            "fsync WORK",
            "fsync .meta",
            "mkdirat .ID.tmp",
            "fsync .ID.tmp",
            "fsync volumes",
            "fsync .ID.tmp",
            "renameat ID",
            "fsync .meta",
            "renameat2 ID",
            "fsync volumes",
            "write answer",
        ]
    );
    assert_eq!(
        traced_order(&["trash", "1"]),
        [
            "mkdirat disk",
            "fsync WORK",
            "fsync .meta",
            "renameat2 ID.1",
            "fsync volumes",
            "fsync .trash",
            "write answer",
        ]
    );
    assert_eq!(
        traced_order(&["restore", "2"]),
        [
            "mkdirat disk",
            "fsync WORK",
            "fsync .meta",
            "fsync .ID.tmp",
            "renameat ID",
            "fsync .meta",
            "fsync ID.1",
            "renameat2 ID",
            "fsync volumes",
            "fsync .trash",
            "write answer",
        ]
    );
    let _done = step(work.path(), &["trash", "2"]);
    assert_eq!(
        traced_order(&["purge", "2"]),
        [
            "mkdirat disk",
            "fsync WORK",
            "fsync .meta",
            "renameat2 ID.2.going",
            "fsync .trash",
            "unlinkat ID.2.going",
            "fsync .trash",
            "unlinkat ID",
            "fsync .meta",
            "write answer",
        ]
    );
}
