//! Whatever system call an effect on a snapshot of an image is killed at, asking again completes it, no content is lost, and
//! no file system stays frozen.

use berth_agent::disk::image::still;
use berth_host_tests::host::{attached_below, mount_new, run, unmount_images, with_private_mounts};
use berth_host_tests::sweep::{Case, IMAGE_ROWS, ONE, Program, Sweep, nothing_more};
use rustix::io::Errno;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;

/// The tools it starts are not killed.
const PROGRAM: Program =
    Program { path: env!("CARGO_BIN_EXE_volume-step"), driver: "image:ext4", with_tools: false };

const TWO: &str = "00000000000000000000000000000002";
const COPY_ROWS: &str = "disk/.mounts/00000000000000000000000000000002/rows";

const CASES: [Case; 4] = [
    Case {
        before: &["create", "1", "write", "old"],
        step: &["take", "1"],
        done: "take 1: present",
        after: &["find", "1", "verify", "1"],
        shows: &["find 1: present", "verify 1: present"],
        holds: &[(IMAGE_ROWS, "old")],
        calls: &["ioctl", "fsync", "renameat2"],
        spares_opening: true,
    },
    Case {
        before: &["create", "1", "write", "old", "take", "1", "write", "new"],
        step: &["forget", "1"],
        done: "forget 1: absent",
        after: &["find", "1", "verify", "1", "take", "1"],
        shows: &["find 1: absent", "verify 1: present", "take 1: present"],
        holds: &[(IMAGE_ROWS, "new")],
        calls: &["renameat2", "unlinkat"],
        spares_opening: true,
    },
    Case {
        before: &["create", "1", "write", "old", "take", "1", "write", "new", "keep", "1"],
        step: &["roll-back", "2"],
        done: "roll-back 2: present",
        after: &["verify", "2", "verify", "1", "find", "1"],
        shows: &["verify 2: present", "verify 1: foreign VOLUME_UNAVAILABLE", "find 1: present"],
        holds: &[(IMAGE_ROWS, "old")],
        calls: &["umount2", "fsmount", "renameat2", "move_mount"],
        spares_opening: true,
    },
    Case {
        before: &["create", "1", "write", "old", "take", "1", "write", "new"],
        step: &["clone", "1"],
        done: "clone 1: present",
        after: &["verify", "1", "find", "1"],
        shows: &["verify 1: present", "find 1: present"],
        holds: &[(IMAGE_ROWS, "new"), (COPY_ROWS, "old")],
        calls: &["ioctl", "renameat2"],
        spares_opening: true,
    },
];

#[test]
fn killed_at_any_call_and_asked_again_every_effect_on_snapshots_of_images_completes() {
    with_private_mounts(&["mkfs.xfs", "mkfs.ext4", "mount", "umount"], || {
        if !PROGRAM.can_be_traced() {
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("d1");
        mount_new("xfs", 2000, &root);
        let sweep = Sweep {
            program: PROGRAM,
            rows: IMAGE_ROWS,
            begin: &|| tempfile::tempdir_in(&root).expect("a work directory"),
            killed: &nothing_more,
            end: &nothing_begun_is_left,
            clear: &|work| unmount_images(&work.join("disk")),
        };
        let kills = sweep.run(&CASES);
        eprintln!("killed at {kills} system calls, violations 0");
        assert!(kills > 30, "only {kills} calls were reached");
        let _gone = run("umount", &["-l", &root.to_string_lossy()]);
    });
}

/// Two life times of one volume: the file system of the live one is not frozen, and nothing is written down about that.
fn nothing_begun_is_left(work: &Path, _case: &Case, what: &str) {
    let disk = work.join("disk");
    for id in [ONE, TWO] {
        let Ok(root) = fs::File::open(disk.join(".mounts").join(id)) else { continue };
        assert_eq!(still::thaw(root.as_fd()), Err(Errno::INVAL), "{what}: {id} was frozen");
    }
    let left: Vec<String> = ["volumes", ".snapshots", ".meta"]
        .iter()
        .filter_map(|folder| fs::read_dir(disk.join(folder)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| {
            name.starts_with("frozen.")
                || name.ends_with(".new")
                || name.ends_with(".going")
                || name.starts_with(&format!(".{ONE}"))
                || name.starts_with(&format!(".{TWO}"))
        })
        .collect();
    assert_eq!(left, [""; 0], "{what}");
    unmount_images(&disk);
    assert_eq!(attached_below(work), [""; 0], "{what}");
}
