//! Whatever system call an effect on a snapshot is killed at, asking again completes it, and no content is lost.

use berth_host_tests::host::{has, mount_new, run, skip, with_private_mounts};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const STEP: &str = env!("CARGO_BIN_EXE_volume-step");
const ONE: &str = "00000000000000000000000000000001";
const TWO: &str = "00000000000000000000000000000002";

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn step(work: &Path, steps: &[&str]) -> Vec<String> {
    lines(&Command::new(STEP).arg(work).arg("auto").args(steps).output().expect("it starts"))
}

fn killed(work: &Path, injection: &str, steps: &[&str]) -> Output {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e"]).arg(format!("inject={injection}"));
    strace.arg(STEP).arg(work).arg("auto").args(steps).output().expect("strace starts")
}

struct Case {
    /// Done before, undisturbed; the content is `old` for the first snapshot and `new` after it.
    before: &'static [&'static str],
    /// Disturbed, then asked again.
    step: &'static [&'static str],
    done: &'static str,
    /// What must be so afterwards.
    after: &'static [&'static str],
    shows: &'static [&'static str],
    /// Where which content must be, below the disk's root.
    holds: &'static [(&'static str, &'static str)],
}

const SNAPSHOT: &str = ".snapshots/00000000000000000000000000000050";
const KEPT: &str = ".snapshots/00000000000000000000000000000051";

const CASES: [Case; 4] = [
    Case {
        before: &["create", "1"],
        step: &["take", "1"],
        done: "take 1: present",
        after: &["find", "1", "verify", "1"],
        shows: &["find 1: present", "verify 1: present"],
        holds: &[("volumes/00000000000000000000000000000001", "old"), (SNAPSHOT, "old")],
    },
    Case {
        before: &["create", "1", "take", "1"],
        step: &["forget", "1"],
        done: "forget 1: absent",
        after: &["find", "1", "verify", "1", "take", "1"],
        shows: &["find 1: absent", "verify 1: present", "take 1: present"],
        holds: &[("volumes/00000000000000000000000000000001", "new")],
    },
    Case {
        before: &["create", "1", "take", "1", "keep", "1"],
        step: &["roll-back", "2"],
        done: "roll-back 2: present",
        after: &["verify", "2", "verify", "1", "find", "1"],
        shows: &["verify 2: present", "verify 1: foreign VOLUME_UNAVAILABLE", "find 1: present"],
        holds: &[
            ("volumes/00000000000000000000000000000001", "old"),
            (".trash/00000000000000000000000000000001.1", "new"),
            (SNAPSHOT, "old"),
            (KEPT, "new"),
        ],
    },
    Case {
        before: &["create", "1", "take", "1"],
        step: &["clone", "1"],
        done: "clone 1: present",
        after: &["verify", "1", "find", "1"],
        shows: &["verify 1: present", "find 1: present"],
        holds: &[
            ("volumes/00000000000000000000000000000001", "new"),
            ("volumes/00000000000000000000000000000002", "old"),
        ],
    },
];

fn prepared(root: &Path, number: u32, case: &Case) -> PathBuf {
    let work = root.join(format!("w{number}"));
    fs::create_dir(&work).expect("a work directory");
    let rows = work.join("disk/volumes").join(ONE).join("rows");
    let mut before = case.before.iter();
    while let (Some(name), Some(life)) = (before.next(), before.next()) {
        let said = step(&work, &[name, life]);
        assert!(said.iter().all(|line| line.ends_with("present")), "{said:?}");
        match *name {
            "create" => fs::write(&rows, "old").expect("the volume takes data"),
            "take" => fs::write(&rows, "new").expect("the volume takes data"),
            _other => {},
        }
    }
    work
}

/// Gives the space of a finished case back.
fn cleared(work: &Path) {
    let listed = run("btrfs", &["subvolume", "list", "-o", &work.to_string_lossy()]);
    let top = work.parent().expect("it lies on the disk");
    for line in listed.lines() {
        let Some((_, path)) = line.split_once(" path ") else { continue };
        let _gone = run("btrfs", &["subvolume", "delete", &top.join(path).to_string_lossy()]);
    }
    fs::remove_dir_all(work).expect("nothing but directories is left");
}

#[test]
fn killed_at_any_call_and_asked_again_every_effect_on_snapshots_completes() {
    with_private_mounts(&["mkfs.btrfs", "btrfs", "mount"], || {
        if !has("strace") {
            skip("there is no strace on this machine");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("d1");
        mount_new("btrfs", 512, &root);
        let (mut number, mut kills) = (0, 0);
        for case in &CASES {
            for call in
                ["ioctl", "fsync", "syncfs", "renameat", "renameat2", "unlinkat", "fsetxattr"]
            {
                for count in 1.. {
                    number += 1;
                    let work = prepared(&root, number, case);
                    let injection = format!("{call}:signal=KILL:when={count}");
                    let disturbed = killed(&work, &injection, case.step);
                    let what = format!("{:?} killed at {call} {count}", case.step);
                    let over = disturbed.status.success();
                    if over {
                        assert_eq!(lines(&disturbed), [case.done], "{what}");
                    } else {
                        kills += 1;
                        assert_eq!(step(&work, case.step), [case.done], "{what}");
                    }
                    for (place, content) in case.holds {
                        let rows = work.join("disk").join(place).join("rows");
                        assert_eq!(
                            fs::read_to_string(&rows).unwrap_or_default(),
                            *content,
                            "{what}: {place}"
                        );
                    }
                    assert_eq!(step(&work, case.after), case.shows, "{what}");
                    let left = beginnings(&work);
                    assert_eq!(left, [""; 0], "{what}");
                    cleared(&work);
                    if over {
                        break;
                    }
                }
            }
        }
        assert!(kills > 40, "only {kills} calls were reached");
        let _gone = run("umount", &[&root.to_string_lossy()]);
    });
}

/// What is left of things that were begun.
fn beginnings(work: &Path) -> Vec<String> {
    ["volumes", ".snapshots", ".meta"]
        .iter()
        .filter_map(|folder| fs::read_dir(work.join("disk").join(folder)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| {
            name.ends_with(".new")
                || name.ends_with(".going")
                || name.starts_with(&format!(".{ONE}"))
                || name.starts_with(&format!(".{TWO}"))
        })
        .collect()
}
