//! Whatever system call an effect on a snapshot is killed at, asking again completes it, and no content is lost.

use berth_host_tests::host::{mount_new, run, with_private_mounts};
use berth_host_tests::sweep::{Case, ONE, PLAIN_ROWS, Program, Sweep, nothing_more};
use std::fs;
use std::path::Path;

const PROGRAM: Program =
    Program { path: env!("CARGO_BIN_EXE_volume-step"), driver: "auto", with_tools: true };

const TWO: &str = "00000000000000000000000000000002";

const CALLS: &[&str] =
    &["ioctl", "fsync", "syncfs", "renameat", "renameat2", "unlinkat", "fsetxattr"];

const SNAPSHOT: &str = "disk/.snapshots/00000000000000000000000000000050/rows";
const KEPT: &str = "disk/.snapshots/00000000000000000000000000000051/rows";

const CASES: [Case; 4] = [
    Case {
        before: &["create", "1", "write", "old"],
        step: &["take", "1"],
        done: "take 1: present",
        after: &["find", "1", "verify", "1"],
        shows: &["find 1: present", "verify 1: present"],
        holds: &[(PLAIN_ROWS, "old"), (SNAPSHOT, "old")],
        calls: CALLS,
        spares_opening: false,
    },
    Case {
        before: &["create", "1", "write", "old", "take", "1", "write", "new"],
        step: &["forget", "1"],
        done: "forget 1: absent",
        after: &["find", "1", "verify", "1", "take", "1"],
        shows: &["find 1: absent", "verify 1: present", "take 1: present"],
        holds: &[(PLAIN_ROWS, "new")],
        calls: CALLS,
        spares_opening: false,
    },
    Case {
        before: &["create", "1", "write", "old", "take", "1", "write", "new", "keep", "1"],
        step: &["roll-back", "2"],
        done: "roll-back 2: present",
        after: &["verify", "2", "verify", "1", "find", "1"],
        shows: &["verify 2: present", "verify 1: foreign VOLUME_UNAVAILABLE", "find 1: present"],
        holds: &[
            (PLAIN_ROWS, "old"),
            ("disk/.trash/00000000000000000000000000000001.1/rows", "new"),
            (SNAPSHOT, "old"),
            (KEPT, "new"),
        ],
        calls: CALLS,
        spares_opening: false,
    },
    Case {
        before: &["create", "1", "write", "old", "take", "1", "write", "new"],
        step: &["clone", "1"],
        done: "clone 1: present",
        after: &["verify", "1", "find", "1"],
        shows: &["verify 1: present", "find 1: present"],
        holds: &[
            (PLAIN_ROWS, "new"),
            ("disk/volumes/00000000000000000000000000000002/rows", "old"),
        ],
        calls: CALLS,
        spares_opening: false,
    },
];

/// Gives the space of a finished case back.
fn cleared(work: &Path) {
    let listed = run("btrfs", &["subvolume", "list", "-o", &work.to_string_lossy()]);
    let top = work.parent().expect("it lies on the disk");
    for line in listed.lines() {
        let Some((_, path)) = line.split_once(" path ") else { continue };
        let _gone = run("btrfs", &["subvolume", "delete", &top.join(path).to_string_lossy()]);
    }
}

#[test]
fn killed_at_any_call_and_asked_again_every_effect_on_snapshots_completes() {
    with_private_mounts(&["mkfs.btrfs", "btrfs", "mount"], || {
        if !PROGRAM.can_be_traced() {
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("d1");
        mount_new("btrfs", 512, &root);
        let sweep = Sweep {
            program: PROGRAM,
            rows: PLAIN_ROWS,
            begin: &|| tempfile::tempdir_in(&root).expect("a work directory"),
            killed: &nothing_more,
            end: &nothing_begun_is_left,
            clear: &cleared,
        };
        let kills = sweep.run(&CASES);
        eprintln!("killed at {kills} system calls, violations 0");
        assert!(kills > 40, "only {kills} calls were reached");
        let _gone = run("umount", &[&root.to_string_lossy()]);
    });
}

fn nothing_begun_is_left(work: &Path, _case: &Case, what: &str) {
    assert_eq!(beginnings(work), [""; 0], "{what}");
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
