//! Whatever system call an effect on an image is killed at, asking again completes it, nothing stays attached, and what
//! was in the volume is there.

use berth_host_tests::host::{attached_below, has, skip, unmount_images, with_private_mounts};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const STEP: &str = env!("CARGO_BIN_EXE_volume-step");
const DRIVER: &str = "image:ext4";
const ID: &str = "00000000000000000000000000000001";

fn step(work: &Path, steps: &[&str]) -> Vec<String> {
    lines(&Command::new(STEP).arg(work).arg(DRIVER).args(steps).output().expect("it starts"))
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Runs the steps and kills the process, not the tools it starts, at the call of this number.
fn killed(work: &Path, call: &str, count: usize, steps: &[&str]) -> Output {
    Command::new("strace")
        .arg("-o")
        .arg(work.join("trace"))
        .arg("-e")
        .arg(format!("inject={call}:signal=KILL:when={count}"))
        .arg(STEP)
        .arg(work)
        .arg(DRIVER)
        .args(steps)
        .output()
        .expect("strace starts")
}

struct Case {
    before: &'static [&'static str],
    step: &'static [&'static str],
    done: &'static str,
    after: &'static [&'static str],
    shows: &'static [&'static str],
    /// The calls at which it is killed.
    calls: &'static [&'static str],
    keeps_data: bool,
}

const CASES: [Case; 5] = [
    Case {
        before: &[],
        step: &["create", "1"],
        done: "create 1: present",
        after: &["verify", "1"],
        shows: &["verify 1: present"],
        calls: &[
            "fallocate",
            "ioctl",
            "fsmount",
            "fsetxattr",
            "renameat2",
            "move_mount",
            "unlinkat",
        ],
        keeps_data: false,
    },
    Case {
        before: &["create", "1"],
        step: &["trash", "1"],
        done: "trash 1: present",
        after: &["verify", "1", "restore", "2"],
        shows: &["verify 1: absent", "restore 2: present"],
        calls: &["ioctl", "umount2", "unlinkat", "renameat2", "fsync"],
        keeps_data: true,
    },
    Case {
        before: &["create", "1", "trash", "1"],
        step: &["restore", "2"],
        done: "restore 2: present",
        after: &["verify", "2", "verify", "1"],
        shows: &["verify 2: present", "verify 1: foreign VOLUME_UNAVAILABLE"],
        calls: &["ioctl", "fsmount", "fsetxattr", "renameat2", "mkdirat", "move_mount"],
        keeps_data: true,
    },
    Case {
        before: &["create", "1", "trash", "1"],
        step: &["purge", "1"],
        done: "purge 1: absent",
        after: &["restore", "2", "create", "1"],
        shows: &["restore 2: absent", "create 1: present"],
        calls: &["renameat2", "unlinkat", "fsync"],
        keeps_data: false,
    },
    // As after a restart of the machine.
    Case {
        before: &["create", "1", "unmount", ""],
        step: &["verify", "1"],
        done: "verify 1: present",
        after: &["create", "1"],
        shows: &["create 1: present"],
        calls: &["ioctl", "fsmount", "mkdirat", "move_mount"],
        keeps_data: true,
    },
];

fn rows(work: &Path) -> std::path::PathBuf {
    work.join("disk/.mounts").join(ID).join("rows")
}

fn prepared(case: &Case) -> tempfile::TempDir {
    let work = tempfile::tempdir().expect("a temporary directory");
    let _made = step(work.path(), &[]);
    for pair in case.before.chunks(2) {
        if pair[0] == "unmount" {
            unmount_images(&work.path().join("disk"));
            continue;
        }
        let _done = step(work.path(), pair);
        if pair[0] == "create" {
            fs::write(rows(work.path()), "rows").expect("the volume takes data");
        }
    }
    work
}

/// How often a process makes the call before it comes to its steps: it tries what images the disk can have.
fn calls_before(call: &str) -> usize {
    let work = tempfile::tempdir().expect("a temporary directory");
    let _made = step(work.path(), &[]);
    let _untouched = killed(work.path(), call, 60_000, &[]);
    let trace = fs::read_to_string(work.path().join("trace")).expect("there is a trace");
    trace.lines().filter(|line| line.starts_with(&format!("{call}("))).count()
}

#[test]
fn killed_at_any_call_and_asked_again_every_effect_on_an_image_completes() {
    if !has("strace") {
        skip("there is no strace on this machine");
        return;
    }
    with_private_mounts(&["mkfs.ext4", "umount"], || {
        let probe = tempfile::tempdir().unwrap();
        if !killed(probe.path(), "fallocate", 1000, &[]).status.success() {
            skip("strace may not trace here");
            return;
        }
        let mut kills = 0;
        for (number, case) in CASES.iter().enumerate() {
            for call in case.calls {
                // The trial itself is disturbed in the first case only.
                let first = if number == 0 { 1 } else { calls_before(call) + 1 };
                for count in first.. {
                    let work = prepared(case);
                    let disk = work.path().join("disk");
                    let disturbed = killed(work.path(), call, count, case.step);
                    let what = format!("{:?} killed at {call} {count}", case.step);
                    let ended = disturbed.status.success();
                    if ended {
                        assert_eq!(lines(&disturbed), [case.done], "{what}");
                    } else {
                        kills += 1;
                        assert_eq!(step(work.path(), case.step), [case.done], "{what}");
                        assert_eq!(step(work.path(), case.after), case.shows, "{what}");
                        if case.keeps_data {
                            let kept = fs::read_to_string(rows(work.path())).unwrap_or_default();
                            assert_eq!(kept, "rows", "{what}");
                        }
                        let volumes = fs::read_dir(disk.join("volumes")).unwrap().count();
                        assert_eq!(volumes, 1, "{what}");
                    }
                    unmount_images(&disk);
                    assert_eq!(attached_below(work.path()), [""; 0], "{what}");
                    if ended {
                        break;
                    }
                }
            }
        }
        assert!(kills > 40, "only {kills} calls were reached");
    });
}
