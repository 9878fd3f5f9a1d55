//! Volumes that are a file system in a file: sizes hold and change under the writer, restarts find them again, and
//! nothing that somebody uses is moved.

use berth_agent::disk::DriverChoice;
use berth_agent::disk::image::{Format, device, format, point};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_host_tests::host::{
    Effects as _, attached_below, brief, declare, generation, mount_new, open, path_source, place,
    reason, run, skip, spec, unmount_images, with_private_mounts,
};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const MIB: u64 = 1 << 20;

struct Stage {
    work: tempfile::TempDir,
    root: PathBuf,
    kind: Format,
}

impl Stage {
    fn open(&self) -> Volumes {
        let declared = declare(&self.root, DriverChoice::Image(Some(self.kind)));
        open(self.work.path(), &[declared], &[])
    }

    fn sized(&self, number: u128, mib: u64) -> VolumeSpec {
        VolumeSpec { size: Bytes::from_mib(mib), ..spec(number, &path_source(&self.root)) }
    }

    /// Enough for this kind.
    fn usual(&self, number: u128) -> VolumeSpec {
        self.sized(number, self.kind.least().max(100 * MIB) / MIB)
    }
}

/// Runs a test with each kind of image, each in mounts of its own.
fn with_each(test: impl Fn(&Stage) + Send + Sync) {
    for kind in Format::ALL {
        with_private_mounts(&[&format!("mkfs.{kind}"), "mount", "umount"], || {
            let work = tempfile::tempdir().expect("a temporary directory");
            let root = work.path().join("d1");
            fs::create_dir(&root).expect("the root can be made");
            let stage = Stage { work, root, kind };
            test(&stage);
            unmount_images(&stage.root);
            assert_eq!(attached_below(&stage.root), [""; 0], "{kind}");
        });
    }
}

/// Writes until `most` bytes are in or the writer is stopped: how much went in, and the error.
fn write(file: &fs::File, from: u64, most: u64) -> (u64, Option<i32>) {
    let block = vec![0x5a_u8; usize::try_from(MIB).expect("it fits")];
    let mut at = from;
    while at < most {
        if let Err(error) = file.write_all_at(&block, at).and_then(|()| file.sync_data()) {
            return (at, error.raw_os_error());
        }
        at += MIB;
    }
    (at, None)
}

#[test]
fn a_writer_past_its_size_is_stopped_alone_and_goes_on_when_the_volume_has_grown() {
    with_each(|stage| {
        let volumes = stage.open();
        let kind = stage.kind;
        let (small, other) = (stage.usual(1), stage.usual(2));
        let (one, two) = (place(&volumes.create(&small)), place(&volumes.create(&other)));
        assert_eq!(fs::read_dir(&one).unwrap().count(), 0, "a new {kind} is empty");
        let image = stage.root.join(format!("volumes/{}/image", small.id));
        let taken = fs::metadata(&image).unwrap().blocks() * 512;
        assert!(taken >= small.size.get(), "{kind}: {taken} of {} are allocated", small.size);

        let file = fs::File::create(one.join("data")).unwrap();
        let past = small.size.get() + MIB;
        let (written, stopped) = write(&file, 0, past);
        assert_eq!(stopped, Some(nix::libc::ENOSPC), "{kind} after {written}");
        assert!(written >= small.size.get() / 4, "{kind}: only {written}");
        let neighbour = fs::File::create(two.join("data")).unwrap();
        assert_eq!(write(&neighbour, 0, 16 * MIB), (16 * MIB, None), "{kind}");

        let doubled = Bytes::new(small.size.get() * 2);
        let grown = VolumeSpec { size: doubled, ..small.clone() };
        match volumes.resize(&small, doubled.get() / MIB) {
            VolumeOutcome::Failed(reason) if kind == Format::Ext4 => {
                assert_eq!(reason.code.as_str(), "NOT_PRIVILEGED", "{reason}");
                assert!(reason.remedy.contains("CAP_SYS_RESOURCE"), "{reason}");
                assert_eq!(fs::metadata(&image).unwrap().len(), small.size.get());
                assert_eq!(brief(&volumes.verify(&small)), "present");
                skip(&format!("growing ext4: {reason}"));
                return;
            },
            done => assert_eq!(place(&done), one, "{kind}"),
        }
        // The very file that was stopped goes on.
        assert_eq!(write(&file, written, past), (past, None), "{kind}");
        // Asked again, as after a crash before the ledger heard of it, and with the ledger already told.
        assert_eq!(place(&volumes.resize(&small, doubled.get() / MIB)), one);
        assert_eq!(place(&volumes.resize(&grown, doubled.get() / MIB)), one);
        assert!(fs::metadata(&image).unwrap().blocks() * 512 >= doubled.get(), "{kind}");
    });
}

#[test]
fn a_volume_shrinks_where_its_file_system_can_and_only_around_its_data() {
    with_each(|stage| {
        let volumes = stage.open();
        let kind = stage.kind;
        let size = Bytes::new(2 * stage.kind.least().max(100 * MIB));
        let large = VolumeSpec { size, ..stage.usual(1) };
        let directory = place(&volumes.create(&large));
        let file = fs::File::create(directory.join("data")).unwrap();
        let half = Bytes::new(size.get() / 2);
        if kind != Format::Btrfs {
            let refused = volumes.resize(&large, half.get() / MIB);
            assert_eq!(brief(&refused), "failed UNSUPPORTED");
            assert!(reason(&refused).contains("does not shrink"), "{refused:?}");
            assert_eq!(brief(&volumes.verify(&large)), "present", "{kind}");
            return;
        }
        let most = half.get() + 20 * MIB;
        assert_eq!(write(&file, 0, most), (most, None));
        let refused = volumes.resize(&large, half.get() / MIB);
        let text = reason(&refused);
        assert_eq!(brief(&refused), "failed VOLUME_TOO_FULL", "{text}");
        assert!(text.contains(" uses 2") && text.contains(&format!("wanted {half}")), "{text}");
        assert_eq!(brief(&volumes.verify(&large)), "present");
        assert_eq!(fs::metadata(directory.join("data")).unwrap().len(), most);

        file.set_len(20 * MIB).unwrap();
        file.sync_all().unwrap();
        let small = VolumeSpec { size: half, ..large.clone() };
        assert_eq!(place(&volumes.resize(&large, half.get() / MIB)), directory);
        assert_eq!(place(&volumes.resize(&large, half.get() / MIB)), directory);
        assert_eq!(brief(&volumes.verify(&small)), "present");
        let image = stage.root.join(format!("volumes/{}/image", large.id));
        assert_eq!(fs::metadata(image).unwrap().len(), half.get());
        let (_written, stopped) = write(&file, 20 * MIB, most);
        assert_eq!(stopped, Some(nix::libc::ENOSPC));
        let mut begin = vec![0_u8; 4096];
        let reader = fs::File::open(directory.join("data")).unwrap();
        reader.read_exact_at(&mut begin, 20 * MIB - 4096).unwrap();
        assert_eq!(begin, vec![0x5a_u8; 4096]);
    });
}

#[test]
fn a_restart_finds_the_mounts_and_a_reboot_makes_them_again() {
    with_each(|stage| {
        let kind = stage.kind;
        let first = stage.usual(1);
        let volumes = stage.open();
        let directory = place(&volumes.create(&first));
        fs::write(directory.join("rows"), "rows").unwrap();
        let image = stage.root.join(format!("volumes/{}/image", first.id));
        let image = image.to_string_lossy().into_owned();
        let attached = || attached_below(&stage.root);
        assert_eq!(attached(), [image.as_str()]);
        let options = run("findmnt", &["-n", "-o", "OPTIONS", &directory.to_string_lossy()]);
        assert!(options.contains("nosuid") && options.contains("nodev"), "{kind}: {options}");

        drop(volumes);
        let volumes = stage.open();
        assert_eq!(place(&volumes.verify(&first)), directory);
        drop(volumes.open_verified(&first).unwrap());
        assert_eq!(attached(), [image.as_str()], "{kind} is attached once");

        drop(volumes);
        unmount_images(&stage.root);
        assert_eq!(attached(), [""; 0]);
        assert!(!directory.join("rows").exists(), "the bare mount point is empty");
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0);
        let volumes = stage.open();
        // A launch does not wait for anybody to have looked at the volume.
        drop(volumes.open_verified(&first).unwrap());
        assert_eq!(fs::read_to_string(directory.join("rows")).unwrap(), "rows");
        unmount_images(&stage.root);
        assert_eq!(place(&volumes.verify(&first)), directory);
        assert_eq!(fs::read_to_string(directory.join("rows")).unwrap(), "rows");
        assert_eq!(attached(), [image.as_str()]);

        // Attached by hand it is not attached once more.
        unmount_images(&stage.root);
        let by_hand = run("losetup", &["--show", "-f", &image]);
        assert_eq!(place(&volumes.verify(&first)), directory);
        assert_eq!(attached(), [image.as_str()]);
        let refused = volumes.trash(&first);
        assert_eq!(brief(&refused), "failed VOLUME_IN_USE");
        assert!(reason(&refused).contains(by_hand.trim()), "{refused:?}");
        let _detached = run("losetup", &["-d", by_hand.trim()]);
        assert_eq!(brief(&volumes.trash(&first)), "present");
        assert_eq!(attached(), [""; 0]);
        assert!(!directory.exists());
        let second = generation(&first, 2);
        assert_eq!(place(&volumes.restore(&second)), directory);
        assert_eq!(fs::read_to_string(directory.join("rows")).unwrap(), "rows");
    });
}

#[test]
fn what_is_in_use_is_neither_moved_nor_deleted() {
    with_each(|stage| {
        let kind = stage.kind;
        let volume = stage.usual(1);
        let volumes = stage.open();
        let directory = place(&volumes.create(&volume));
        let refused = |outcome: VolumeOutcome, evidence: &str| {
            assert_eq!(brief(&outcome), "failed VOLUME_IN_USE", "{kind}");
            assert!(reason(&outcome).contains(evidence), "{evidence}: {outcome:?}");
            assert_eq!(brief(&volumes.verify(&volume)), "present", "{kind} is live as it was");
        };
        let open_file = fs::File::create(directory.join("rows")).unwrap();
        refused(volumes.trash(&volume), &format!("in use at {}", directory.display()));
        drop(open_file);

        let elsewhere = stage.work.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let (from, to) = (directory.to_string_lossy(), elsewhere.to_string_lossy());
        let _bound = run("mount", &["--bind", &from, &to]);
        refused(volumes.trash(&volume), &format!("mounted at {to}"));

        // In a namespace of another process that keeps its mounts to itself.
        let mut holder = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", "echo in; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let mut output = std::io::BufReader::new(holder.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let _unbound = run("umount", &[&to]);
        refused(volumes.trash(&volume), &format!("namespace of process {}", holder.id()));
        holder.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(holder.wait().unwrap().success());
        assert_eq!(brief(&volumes.trash(&volume)), "present");
        // A namespace whose mounts follow this one's, as those of tasks do, holds nothing: see `Disk`.
        let trashed = place(&volumes.verify_trash(&volume)).join("image");
        let device = run("losetup", &["--show", "-f", &trashed.to_string_lossy()]);
        let stopped = volumes.purge(&volume);
        assert_eq!(brief(&stopped), "failed VOLUME_IN_USE", "{stopped:?}");
        assert!(trashed.exists());
        let _detached = run("losetup", &["-d", device.trim()]);
        assert_eq!(brief(&volumes.purge(&volume)), "absent");
    });
}

#[test]
fn a_namespace_that_follows_this_one_does_not_hold_the_volumes_of_others() {
    with_each(|stage| {
        let volumes = stage.open();
        let volume = stage.usual(1);
        let _directory = place(&volumes.create(&volume));
        let mut task = Command::new("unshare")
            .args(["-m", "--propagation", "slave", "sh", "-c", "echo in; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let mut output = std::io::BufReader::new(task.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert_eq!(brief(&volumes.trash(&volume)), "present", "{}", stage.kind);
        drop(task.stdin.take());
        task.wait().unwrap();
    });
}

#[test]
fn another_file_system_in_place_of_the_volume_is_refused() {
    with_each(|stage| {
        let kind = stage.kind;
        let (one, two) = (stage.usual(1), stage.usual(2));
        let volumes = stage.open();
        let (here, there) = (place(&volumes.create(&one)), place(&volumes.create(&two)));
        fs::write(there.join("rows"), "of two").unwrap();
        let image = |spec: &VolumeSpec| stage.root.join(format!("volumes/{}/image", spec.id));
        let refused = |evidence: &str| {
            let outcome = volumes.verify(&one);
            assert_eq!(brief(&outcome), "foreign VOLUME_UNAVAILABLE", "{kind}");
            assert!(reason(&outcome).ends_with(evidence), "{evidence}: {outcome:?}");
            let launch = volumes.open_verified(&one).unwrap_err();
            assert_eq!(launch.code.as_str(), "VOLUME_UNAVAILABLE");
        };
        // Something else is mounted in its place.
        unmount_images(&stage.root);
        let _other = volumes.verify(&two);
        fs::create_dir_all(&here).unwrap();
        let shown = here.to_string_lossy().into_owned();
        let _wrong = run("mount", &["-t", "tmpfs", "tmpfs", &shown]);
        refused("another file system is mounted there");
        let _gone = run("umount", &[&shown]);

        // The image of another volume lies in its directory.
        unmount_images(&stage.root);
        let aside = stage.root.join("aside");
        fs::rename(image(&one), &aside).unwrap();
        refused("it is missing or no file");
        fs::hard_link(image(&two), image(&one)).unwrap();
        refused(&format!("the file system says it is volume {}", two.id));
        fs::remove_file(image(&one)).unwrap();
        fs::rename(&aside, image(&one)).unwrap();
        assert_eq!(place(&volumes.verify(&one)), here, "{kind}");
        assert_eq!(fs::read_dir(&here).unwrap().count(), 0);
        assert_eq!(brief(&volumes.verify(&two)), "present");
        assert_eq!(fs::read_to_string(there.join("rows")).unwrap(), "of two");
    });
}

#[test]
fn usage_is_what_is_in_it_and_in_the_trash_what_it_takes() {
    with_each(|stage| {
        let volumes = stage.open();
        let volume = stage.usual(1);
        let directory = place(&volumes.create(&volume));
        let used = || match volumes.usage(&volume) {
            VolumeOutcome::Used(found) => found.bytes.get(),
            other => panic!("{other:?}"),
        };
        let empty = used();
        let file = fs::File::create(directory.join("data")).unwrap();
        assert_eq!(write(&file, 0, 8 * MIB), (8 * MIB, None));
        drop(file);
        let _synced = run("sync", &["-f", &directory.to_string_lossy()]);
        let kind = stage.kind;
        assert!((8 * MIB..9 * MIB).contains(&(used() - empty)), "{kind}: {} - {empty}", used());
        assert_eq!(brief(&volumes.trash(&volume)), "present");
        assert!(used() >= volume.size.get(), "{kind}: {}", used());
    });
}

#[test]
fn what_cannot_be_made_is_said_and_leaves_nothing() {
    with_each(|stage| {
        let volumes = stage.open();
        let kind = stage.kind;
        let tiny = stage.sized(1, 8);
        let refused = volumes.create(&tiny);
        assert_eq!(brief(&refused), "failed INVALID_ARGUMENT", "{kind}");
        assert!(reason(&refused).contains("8 MiB cannot be made on this disk"), "{refused:?}");
        // What a process that was stopped had begun.
        let volume = stage.usual(2);
        assert_eq!(brief(&volumes.create(&volume)), "present");
        unmount_images(&stage.root);
        let entry = stage.root.join(format!("volumes/{}", volume.id));
        let unfinished: &Path = &stage.root.join(format!("volumes/.{}.tmp", volume.id));
        fs::rename(&entry, unfinished).unwrap();
        assert_eq!(brief(&volumes.create(&volume)), "present", "{kind}");
        assert!(!unfinished.exists());
        assert_eq!(fs::read_dir(stage.root.join(".meta")).unwrap().count(), 4, "{kind}");
    });
}

/// On a disk of 1 GiB.
fn on_a_small_disk(test: impl FnOnce(&Stage) + Send) {
    with_private_mounts(&["mkfs.xfs", "mkfs.ext4", "mount", "umount"], || {
        let work = tempfile::tempdir().expect("a temporary directory");
        let root = work.path().join("d1");
        mount_new("ext4", 1024, &root);
        let stage = Stage { work, root, kind: Format::Xfs };
        test(&stage);
        unmount_images(&stage.root);
        assert_eq!(attached_below(&stage.root), [""; 0]);
        let _gone = run("umount", &[&stage.root.to_string_lossy()]);
    });
}

#[test]
fn what_an_attempt_that_was_cut_off_allocated_is_not_demanded_again() {
    on_a_small_disk(|stage| {
        let volumes = stage.open();
        let (old, new) = (stage.sized(1, 300), stage.sized(2, 500));
        assert_eq!(brief(&volumes.create(&old)), "present");
        assert_eq!(brief(&volumes.trash(&old)), "present");
        assert_eq!(brief(&volumes.create(&new)), "present");
        drop(volumes);
        // As if it had died before the volume got its name.
        unmount_images(&stage.root);
        let all = stage.root.join("volumes");
        fs::rename(all.join(new.id.to_string()), all.join(format!(".{}.tmp", new.id))).unwrap();
        let volumes = stage.open();
        let purgeable = vec![(old.clone(), old.size)];
        let create = VolumeEffect::Create { spec: new.clone(), purgeable };
        match volumes.run(&create) {
            VolumeOutcome::Present { purged, .. } => assert_eq!(purged, []),
            other => panic!("{other:?}"),
        }
        assert_eq!(brief(&volumes.verify_trash(&old)), "present");

        // Grown, and died before the ledger heard of it.
        assert_eq!(brief(&volumes.purge(&old)), "absent");
        for _ask in 0..2 {
            assert_eq!(brief(&volumes.resize(&new, 800)), "present");
        }
    });
}

#[test]
fn another_uuid_waits_for_who_still_has_the_file_system_mounted() {
    with_each(|stage| {
        let kind = stage.kind;
        let path = stage.work.path().join("image");
        let file = fs::File::options().create_new(true).read(true).write(true).open(path).unwrap();
        file.set_len(kind.least()).unwrap();
        let device = device::attach(file.as_fd()).expect("the file is attached");
        format::make(kind, &device.path(), false).expect("a file system is made");
        let uuid = || run("blkid", &["-p", "-s", "UUID", "-o", "value", &device.path()]);
        let before = uuid();
        let mounted = point::mount(&device, kind).expect("it can be mounted");
        // What each process has of this one between fork and exec.
        let root = mounted.root().descriptor().expect("its root is open");
        let inherited = root.try_clone_to_owned().expect("it can be duplicated");
        fs::write(format!("/proc/self/fd/{}/dirt", inherited.as_raw_fd()), "x").unwrap();
        drop(mounted);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                #[expect(clippy::disallowed_methods, reason = "how long it is held, not a wait")]
                std::thread::sleep(Duration::from_millis(300));
                drop(inherited);
            });
            assert_eq!(format::renew(kind, &device), Ok(()), "{kind}");
        });
        assert_ne!(uuid(), before, "{kind}");
        let again = point::mount(&device, kind).expect("it can be mounted again");
        let root = again.root().descriptor().expect("its root is open");
        let kept = fs::read_to_string(format!("/proc/self/fd/{}/dirt", root.as_raw_fd())).unwrap();
        assert_eq!(kept, "x");
    });
}
