//! Whatever system call a GROW or a SHRINK is killed at: what is left has the size it had or the one that was wanted, with
//! the data in it; asking again gives the one that was wanted, or refuses and leaves the one it had.

use berth_agent::disk::image::Format;
use berth_host_tests::host::{
    attached_below, mount_new, run, skip, unmount_images, with_private_mounts,
};
use berth_host_tests::sweep::{Case, IMAGE_ROWS, ONE, PLAIN_ROWS, Program, Sweep};
use std::fs;
use std::path::Path;

const MIB: u64 = 1 << 20;

const fn program(driver: &'static str) -> Program {
    Program { path: env!("CARGO_BIN_EXE_volume-step"), driver, with_tools: false }
}

/// From and to which size a case goes, in bytes.
fn sizes(case: &Case) -> (u64, u64) {
    let mut words = case.step[0].split(':').skip(1);
    let mut next = || words.next().and_then(|mib| mib.parse::<u64>().ok()).expect("two sizes");
    (next() * MIB, next() * MIB)
}

/// The size that the case ends with.
fn last_size(case: &Case) -> u64 {
    let (from, to) = sizes(case);
    if case.done.ends_with(": present") { to } else { from }
}

/// The size in the volume's marker.
fn marked(work: &Path) -> u64 {
    let marker = work.join("disk/.meta").join(ONE);
    let text = fs::read_to_string(&marker).expect("there is a marker");
    let size = text.lines().find_map(|line| line.strip_prefix("size="));
    size.and_then(|size| size.parse().ok()).expect("a size in it")
}

/// Asserts that the marker, the rows and what holds the writer back are as they may be after a kill: of one of the two
/// sizes.
fn either_size(work: &Path, rows: &str, case: &Case, what: &str) {
    let (from, to) = sizes(case);
    let marked = marked(work);
    assert!(marked == from || marked == to, "{what}: the marker says {marked}");
    assert_eq!(fs::read_to_string(work.join(rows)).unwrap_or_default(), "rows", "{what}");
}

const MARKER: &[&str] = &["openat", "write", "fsync", "renameat"];

const fn case(
    before: &'static [&'static str],
    step: &'static [&'static str],
    done: &'static str,
    after: &'static [&'static str],
    shows: &'static [&'static str],
) -> Case {
    let holds: &[(&str, &str)] = &[(PLAIN_ROWS, "rows")];
    Case { before, step, done, after, shows, holds, calls: MARKER, spares_opening: true }
}

const GROW: Case = case(
    &["create", "1", "write", "rows"],
    &["resize:64:128", "1"],
    "resize:64:128 1: present",
    &["verify:128", "1", "resize:128:128", "1"],
    &["verify:128 1: present", "resize:128:128 1: present"],
);
const SHRINK: Case = case(
    &["create", "1", "write", "rows", "fill", "3"],
    &["resize:64:8", "1"],
    "resize:64:8 1: present",
    &["verify:8", "1", "resize:8:8", "1"],
    &["verify:8 1: present", "resize:8:8 1: present"],
);
const TOO_SMALL: Case = case(
    &["create", "1", "write", "rows", "fill", "3"],
    &["resize:64:2", "1"],
    "resize:64:2 1: failed VOLUME_TOO_FULL",
    &["verify", "1"],
    &["verify 1: present"],
);

#[test]
fn a_resize_of_a_directory_killed_at_any_call_completes() {
    let program = program("directory");
    if !program.can_be_traced() {
        return;
    }
    let sweep = Sweep {
        program,
        rows: PLAIN_ROWS,
        begin: &|| tempfile::tempdir().expect("a temporary directory"),
        killed: &|work, case, what| either_size(work, PLAIN_ROWS, case, what),
        end: &|work, case, what| assert_eq!(marked(work), last_size(case), "{what}"),
        clear: &|_work| {},
    };
    let kills = sweep.run(&[GROW, SHRINK, TOO_SMALL]);
    eprintln!("killed at {kills} system calls, violations 0");
    assert!(kills > 12, "only {kills} calls were reached");
}

/// The limit of the volume's quota group, as the file system's own tool shows it.
fn limit(work: &Path) -> u64 {
    let volume = work.join("disk/volumes").join(ONE);
    let shown = run("btrfs", &["qgroup", "show", "-r", "-f", "--raw", &volume.to_string_lossy()]);
    let last = shown.lines().last().unwrap_or_default();
    let limit = last.split_whitespace().nth(3).and_then(|word| word.parse().ok());
    limit.unwrap_or_else(|| panic!("no limit is shown: {shown}"))
}

#[test]
fn a_resize_on_btrfs_killed_at_any_call_completes() {
    with_private_mounts(&["mkfs.btrfs", "btrfs", "mount", "umount"], || {
        let program = program("btrfs");
        if !program.can_be_traced() {
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("d1");
        mount_new("btrfs", 512, &root);
        let sweep = Sweep {
            program,
            rows: PLAIN_ROWS,
            begin: &|| tempfile::tempdir_in(&root).expect("a work directory"),
            killed: &|work, case, what| {
                either_size(work, PLAIN_ROWS, case, what);
                let ((from, to), limit) = (sizes(case), limit(work));
                assert!(limit == from || limit == to, "{what}: the limit is {limit}");
            },
            end: &|work, case, what| {
                let size = last_size(case);
                assert_eq!((marked(work), limit(work)), (size, size), "{what}");
            },
            clear: &|work| {
                let volume = work.join("disk/volumes").join(ONE);
                let _gone = run("btrfs", &["subvolume", "delete", &volume.to_string_lossy()]);
            },
        };
        const CALLS: &[&str] = &["ioctl", "syncfs", "openat", "write", "fsync", "renameat"];
        let kills = sweep.run(&[GROW, SHRINK, TOO_SMALL].map(|case| Case { calls: CALLS, ..case }));
        eprintln!("killed at {kills} system calls, violations 0");
        assert!(kills > 24, "only {kills} calls were reached");
        let _gone = run("umount", &[&root.to_string_lossy()]);
    });
}

/// The length of the image, and what its file system has for data and its own.
fn image(work: &Path) -> (u64, u64) {
    let file = work.join("disk/volumes").join(ONE).join("image");
    let length = fs::metadata(file).expect("there is an image").len();
    let mounted = work.join(IMAGE_ROWS);
    let inside = rustix::fs::statvfs(mounted.parent().expect("it has one")).expect("it is mounted");
    (length, inside.f_blocks * inside.f_frsize)
}

/// Has the file system this size, of which it keeps up to a quarter for itself?
fn has_size(found: u64, size: u64) -> bool {
    found <= size && found >= size / 4 * 3
}

fn sweep_image(program: Program, cases: &[Case]) -> usize {
    Sweep {
        program,
        rows: IMAGE_ROWS,
        begin: &|| tempfile::tempdir().expect("a temporary directory"),
        killed: &|work, case, what| {
            either_size(work, IMAGE_ROWS, case, what);
            let ((from, to), (length, inside)) = (sizes(case), image(work));
            let right = has_size(inside, from) || has_size(inside, to);
            assert!(right, "{what}: the file system has {inside}");
            assert!(length >= inside, "{what}: {length} bytes for a file system of {inside}");
        },
        end: &|work, case, what| {
            let (size, (length, inside)) = (last_size(case), image(work));
            assert_eq!((marked(work), length), (size, size), "{what}");
            assert!(has_size(inside, size), "{what}: the file system has {inside}");
            // As after a restart of the machine.
            unmount_images(&work.join("disk"));
            assert_eq!(attached_below(work), [""; 0], "{what}");
            let _shown = program.step(work, &["verify", "1"]);
            let rows = fs::read_to_string(work.join(IMAGE_ROWS)).unwrap_or_default();
            assert_eq!(rows, "rows", "{what}, mounted again");
        },
        clear: &|work| unmount_images(&work.join("disk")),
    }
    .run(cases)
}

const fn of_image(case: Case) -> Case {
    let calls: &[&str] =
        &["fallocate", "ftruncate", "ioctl", "syncfs", "write", "fsync", "renameat"];
    Case { holds: &[(IMAGE_ROWS, "rows")], calls, ..case }
}

#[test]
fn a_resize_of_a_btrfs_image_killed_at_any_call_completes() {
    with_private_mounts(&["mkfs.btrfs", "umount"], || {
        let program = program("image:btrfs");
        if !program.can_be_traced() {
            return;
        }
        let grow = of_image(case(
            &["create:256", "1", "write", "rows"],
            &["resize:256:384", "1"],
            "resize:256:384 1: present",
            &["verify:384", "1", "resize:384:384", "1"],
            &["verify:384 1: present", "resize:384:384 1: present"],
        ));
        let shrink = of_image(case(
            &["create:384", "1", "write", "rows", "fill", "20"],
            &["resize:384:256", "1"],
            "resize:384:256 1: present",
            &["verify:256", "1", "resize:256:256", "1"],
            &["verify:256 1: present", "resize:256:256 1: present"],
        ));
        let too_small = of_image(case(
            &["create:512", "1", "write", "rows", "fill", "280"],
            &["resize:512:256", "1"],
            "resize:512:256 1: failed VOLUME_TOO_FULL",
            &["verify:512", "1"],
            &["verify:512 1: present"],
        ));
        let kills = sweep_image(program, &[grow, shrink, too_small]);
        eprintln!("killed at {kills} system calls, violations 0");
        assert!(kills > 30, "only {kills} calls were reached");
    });
}

#[test]
fn a_growing_xfs_image_killed_at_any_call_completes() {
    with_private_mounts(&["mkfs.xfs", "umount"], || {
        let program = program("image:xfs");
        if !program.can_be_traced() {
            return;
        }
        let grow = of_image(case(
            &["create:300", "1", "write", "rows"],
            &["resize:300:400", "1"],
            "resize:300:400 1: present",
            &["verify:400", "1", "resize:400:400", "1"],
            &["verify:400 1: present", "resize:400:400 1: present"],
        ));
        let kills = sweep_image(program, &[grow]);
        eprintln!("killed at {kills} system calls, violations 0");
        assert!(kills > 10, "only {kills} calls were reached");
    });
}

/// Where the kernel refuses it for want of a capability, everything that was begun is given back.
#[test]
fn a_growing_ext4_image_killed_at_any_call_completes_or_stays() {
    with_private_mounts(&["mkfs.ext4", "umount"], || {
        let program = program("image:ext4");
        if !program.can_be_traced() {
            return;
        }
        let grow = of_image(case(
            &["create:64", "1", "write", "rows"],
            &["resize:64:128", "1"],
            "resize:64:128 1: present",
            &["verify:128", "1"],
            &["verify:128 1: present"],
        ));
        let probe = tempfile::tempdir().unwrap();
        let said = program.step(probe.path(), &["create:64", "1", "resize:64:128", "1"]);
        unmount_images(&probe.path().join("disk"));
        let refused = "resize:64:128 1: failed NOT_PRIVILEGED";
        let grow = if said.last().is_some_and(|line| line == refused) {
            skip(&format!(
                "a mounted {} is not grown without CAP_SYS_RESOURCE; it is refused at each call",
                Format::Ext4
            ));
            Case { done: refused, ..grow }
        } else {
            grow
        };
        let kills = sweep_image(program, &[grow]);
        eprintln!("killed at {kills} system calls, violations 0");
        assert!(kills > 5, "only {kills} calls were reached");
    });
}
