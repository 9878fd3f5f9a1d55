//! Whatever system call an effect on an image is killed at, asking again completes it, nothing stays attached, and what
//! was in the volume is there.

use berth_host_tests::host::{attached_below, unmount_images, with_private_mounts};
use berth_host_tests::sweep::{Case, IMAGE_ROWS, Program, Sweep, nothing_more};
use std::fs;
use std::path::Path;

/// The tools it starts are not killed.
const PROGRAM: Program =
    Program { path: env!("CARGO_BIN_EXE_volume-step"), driver: "image:ext4", with_tools: false };

const ROWS: &[(&str, &str)] = &[(IMAGE_ROWS, "rows")];

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
        holds: &[],
        // The trial of images is disturbed here only.
        spares_opening: false,
    },
    Case {
        before: &["create", "1", "write", "rows"],
        step: &["trash", "1"],
        done: "trash 1: present",
        after: &["verify", "1", "restore", "2"],
        shows: &["verify 1: absent", "restore 2: present"],
        calls: &["ioctl", "umount2", "unlinkat", "renameat2", "fsync"],
        holds: ROWS,
        spares_opening: true,
    },
    Case {
        before: &["create", "1", "write", "rows", "trash", "1"],
        step: &["restore", "2"],
        done: "restore 2: present",
        after: &["verify", "2", "verify", "1"],
        shows: &["verify 2: present", "verify 1: foreign VOLUME_UNAVAILABLE"],
        calls: &["ioctl", "fsmount", "fsetxattr", "renameat2", "mkdirat", "move_mount"],
        holds: ROWS,
        spares_opening: true,
    },
    Case {
        before: &["create", "1", "write", "rows", "trash", "1"],
        step: &["purge", "1"],
        done: "purge 1: absent",
        after: &["restore", "2", "create", "1"],
        shows: &["restore 2: absent", "create 1: present"],
        calls: &["renameat2", "unlinkat", "fsync"],
        holds: &[],
        spares_opening: true,
    },
    // As after a restart of the machine.
    Case {
        before: &["create", "1", "write", "rows", "unmount", "-"],
        step: &["verify", "1"],
        done: "verify 1: present",
        after: &["create", "1"],
        shows: &["create 1: present"],
        calls: &["ioctl", "fsmount", "mkdirat", "move_mount"],
        holds: ROWS,
        spares_opening: true,
    },
];

fn one_is_there_and_nothing_stays_attached(work: &Path, _case: &Case, what: &str) {
    let disk = work.join("disk");
    assert_eq!(fs::read_dir(disk.join("volumes")).expect("they are there").count(), 1, "{what}");
    unmount_images(&disk);
    assert_eq!(attached_below(work), [""; 0], "{what}");
}

#[test]
fn killed_at_any_call_and_asked_again_every_effect_on_an_image_completes() {
    with_private_mounts(&["mkfs.ext4", "umount"], || {
        if !PROGRAM.can_be_traced() {
            return;
        }
        let sweep = Sweep {
            program: PROGRAM,
            rows: IMAGE_ROWS,
            begin: &|| tempfile::tempdir().expect("a temporary directory"),
            killed: &nothing_more,
            end: &one_is_there_and_nothing_stays_attached,
            clear: &|work| unmount_images(&work.join("disk")),
        };
        let kills = sweep.run(&CASES);
        eprintln!("killed at {kills} system calls, violations 0");
        assert!(kills > 40, "only {kills} calls were reached");
    });
}

/// It grows without a privilege.
const XFS: &str = "image:xfs";

/// Runs the steps; the call of this number fails with an error of the disk.
fn failing(work: &Path, call: &str, count: usize, steps: &[&str]) -> Vec<String> {
    let mut strace = Command::new("strace");
    strace.arg("-o").arg(work.join("trace"));
    strace.arg("-e").arg(format!("inject={call}:error=EIO:when={count}"));
    lines(&strace.arg(STEP).arg(work).arg(XFS).args(steps).output().expect("strace starts"))
}

#[test]
fn after_a_failed_sync_an_image_is_withheld_however_often_it_is_asked_for() {
    if !has("strace") {
        skip("there is no strace on this machine");
        return;
    }
    with_private_mounts(&["mkfs.xfs", "umount"], || {
        let work = tempfile::tempdir().unwrap();
        let never = 60_000;
        let made =
            failing(work.path(), "fsync", never, &["create:300", "1", "resize:300:300", "1"]);
        assert_eq!(made, ["create:300 1: present", "resize:300:300 1: present"]);
        let mut failures = 0;
        for call in ["syncfs", "fsync"] {
            let _started = failing(work.path(), call, never, &[]);
            let trace = fs::read_to_string(work.path().join("trace")).unwrap();
            let before = trace.lines().filter(|line| line.starts_with(call)).count();
            for count in before + 1.. {
                let steps = ["resize:300:300", "1", "resize:300:300", "1", "verify:300", "1"];
                let said = failing(work.path(), call, count, &steps);
                if said[0] == "resize:300:300 1: present" {
                    break;
                }
                failures += 1;
                for line in said {
                    assert!(!line.ends_with("present"), "{call} {count}: {line}");
                }
            }
        }
        assert!(failures >= 3, "only {failures} syncs failed");
        unmount_images(&work.path().join("disk"));
    });
}
