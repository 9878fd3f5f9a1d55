//! Snapshots of images: what they hold, what becomes of them, and that no file system is left frozen.

use berth_agent::disk::DriverChoice;
use berth_agent::disk::image::Format;
use berth_agent::disk::{image::still, marker};
use berth_agent::volume::Volumes;
use berth_host_tests::conformance;
use berth_host_tests::host::{
    Effects as _, attached_below, brief, declare, generation, mount_new, open, path_source, place,
    reason, run, skip, snapshot, spec, unmount_images, with_private_mounts,
};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

    fn size(&self) -> Bytes {
        Bytes::new(self.kind.least().max(64 * MIB))
    }

    fn usual(&self, number: u128) -> VolumeSpec {
        VolumeSpec { size: self.size(), ..spec(number, &path_source(&self.root)) }
    }

    fn image(&self, place: &str) -> PathBuf {
        self.root.join(place).join("image")
    }
}

/// Runs a test on a disk of this kind and size with images of that kind, in mounts of its own.
fn on(host: &str, mib: u64, kind: Format, test: impl FnOnce(&Stage) + Send) {
    let tools = [&format!("mkfs.{host}"), &format!("mkfs.{kind}"), "mount", "umount"];
    with_private_mounts(&tools, || {
        let work = tempfile::tempdir().expect("a temporary directory");
        let root = work.path().join("d1");
        mount_new(host, mib, &root);
        let stage = Stage { work, root, kind };
        test(&stage);
        unmount_images(&stage.root);
        assert_eq!(attached_below(&stage.root), [""; 0], "{kind} on {host}");
        let _gone = run("umount", &["-l", &stage.root.to_string_lossy()]);
    });
}

fn read(directory: &Path) -> String {
    fs::read_to_string(directory.join("rows")).expect("rows can be read")
}

fn write(directory: &Path, text: &str) {
    let mut file = fs::File::create(directory.join("rows")).expect("rows can be written");
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).expect("rows can be written");
}

fn keeps_the_promises(host: &str, kind: Format) {
    on(host, 3000, kind, |stage| {
        let volumes = stage.open();
        let disk = volumes.disks().report().swap_remove(1);
        assert!(!disk.no_snapshots.contains_key(&disk.driver), "{:?}", disk.no_snapshots);
        conformance::check_snapshots_sized(&volumes, &path_source(&stage.root), stage.size());
    });
}

#[test]
fn images_of_xfs_on_xfs_keep_the_promises() {
    keeps_the_promises("xfs", Format::Xfs);
}

#[test]
fn images_of_ext4_on_xfs_keep_the_promises() {
    keeps_the_promises("xfs", Format::Ext4);
}

#[test]
fn images_of_btrfs_on_xfs_keep_the_promises() {
    keeps_the_promises("xfs", Format::Btrfs);
}

#[test]
fn images_of_xfs_on_btrfs_keep_the_promises() {
    keeps_the_promises("btrfs", Format::Xfs);
}

#[test]
fn images_of_ext4_on_btrfs_keep_the_promises() {
    keeps_the_promises("btrfs", Format::Ext4);
}

fn uuid(image: &Path) -> String {
    run("blkid", &["-p", "-s", "UUID", "-o", "value", &image.to_string_lossy()])
}

#[test]
fn a_roll_back_and_a_clone_bring_the_content_back_with_file_systems_of_their_own() {
    for kind in Format::ALL {
        on("xfs", 4000, kind, |stage| {
            let volumes = stage.open();
            let (first, second) = (stage.usual(1), generation(&stage.usual(1), 2));
            let copy = stage.usual(2);
            let (one, safety) = (snapshot(11, &first), snapshot(12, &first));
            let live = place(&volumes.create(&first));
            write(&live, "committed");
            let kept = place(&volumes.take(&one));
            assert_eq!(kept, stage.root.join(".snapshots").join(one.id.to_string()));
            write(&live, "dropped by mistake");

            // Both are there at the same time, each mounted.
            let cloned = place(&volumes.clone_from(&copy, &one));
            assert_eq!(
                (read(&live), read(&cloned)),
                ("dropped by mistake".into(), "committed".into())
            );
            let images = [
                stage.image(&format!("volumes/{}", first.id)),
                stage.image(&format!("volumes/{}", copy.id)),
                kept.join("image"),
            ];
            let uuids: Vec<String> = images.iter().map(|image| uuid(image)).collect();
            assert!(!uuids[0].is_empty());
            assert_eq!(uuids[0], uuids[2], "a snapshot is as the volume was");
            assert_ne!(uuids[0], uuids[1], "a clone is not");

            // A volume that has grown since keeps its size.
            let mut larger = (first.size.get() / MIB) + 128;
            match brief(&volumes.resize(&first, larger)).as_str() {
                "present" => {},
                said => {
                    assert_eq!((said, kind), ("failed NOT_PRIVILEGED", Format::Ext4));
                    skip("ext4 does not grow without CAP_SYS_RESOURCE");
                    larger = first.size.get() / MIB;
                },
            }
            let (first, second) = (
                VolumeSpec { size: Bytes::from_mib(larger), ..first },
                VolumeSpec { size: Bytes::from_mib(larger), ..second },
            );
            let before = snapshot(12, &first);
            assert_eq!(safety.id, before.id);
            assert_eq!(brief(&volumes.take(&before)), "present");
            let rolled = place(&volumes.roll_back(&second, &one, &before));
            assert_eq!((rolled.as_path(), read(&rolled)), (live.as_path(), "committed".into()));
            let length = fs::metadata(&images[0]).unwrap().len();
            assert_eq!(length, larger * MIB);
            let room = rustix::fs::statvfs(&rolled).unwrap();
            let room = room.f_blocks * room.f_frsize / MIB;
            assert!(room > larger * 3 / 4, "{kind}: {room} of {larger} MiB");
            write(&rolled, "goes on");
            assert_eq!(read(&cloned), "committed");

            // After a restart of the machine everything is where it was.
            drop(volumes);
            unmount_images(&stage.root);
            let volumes = stage.open();
            assert_eq!(read(&place(&volumes.verify(&second))), "goes on");
            assert_eq!(read(&place(&volumes.verify(&copy))), "committed");
            assert_eq!(brief(&volumes.find(&one)), "present");
            assert_eq!(brief(&volumes.find(&before)), "present");
            let replaced = stage.root.join(".trash").join(format!("{}.1", first.id));
            assert!(replaced.join("image").exists());
            assert_eq!(brief(&volumes.forget(&before)), "absent");
            assert!(!replaced.exists(), "it goes with the snapshot that has its content");
        });
    }
}

#[test]
fn a_snapshot_is_of_one_moment_while_a_task_writes() {
    on("xfs", 3000, Format::Ext4, |stage| {
        let volumes = stage.open();
        let volume = stage.usual(1);
        let live = place(&volumes.create(&volume));
        let over = AtomicBool::new(false);
        let one = snapshot(11, &volume);
        let copy = stage.usual(2);
        std::thread::scope(|scope| {
            // Each number goes to the first file, then to the second: at any moment the first is at most one ahead.
            let writer = scope.spawn(|| {
                let mut files = ["a", "b"].map(|name| fs::File::create(live.join(name)).unwrap());
                let mut written = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    written += 1;
                    for file in &mut files {
                        writeln!(file, "{written}").unwrap();
                        file.sync_data().unwrap();
                    }
                }
                written
            });
            while fs::metadata(live.join("b")).map_or(0, |facts| facts.len()) < 100 {
                std::thread::yield_now();
            }
            assert_eq!(brief(&volumes.take(&one)), "present");
            over.store(true, Ordering::Relaxed);
            assert!(writer.join().unwrap() > 10);
        });
        let cloned = place(&volumes.clone_from(&copy, &one));
        let last = |name: &str| -> u64 {
            let text = fs::read_to_string(cloned.join(name)).unwrap();
            text.lines().last().unwrap().parse().unwrap()
        };
        let (a, b) = (last("a"), last("b"));
        assert!(a == b || a == b + 1, "{a} and {b}");
        assert!(b > 1);
    });
}

/// What the agent writes down before it freezes a volume.
fn intent(stage: &Stage, volume: &VolumeSpec) -> PathBuf {
    let path = stage.root.join(".meta").join(format!("frozen.{}", volume.id));
    let text = marker::encode("berth-frozen", &[("volume", volume.id.to_string())]);
    fs::write(&path, text).expect("the intent can be written");
    path
}

fn is_frozen(live: &Path) -> bool {
    let root = fs::File::open(live).expect("it opens");
    match still::freeze(root.as_fd()) {
        Ok(()) => {
            still::thaw(root.as_fd()).expect("it thaws");
            false
        },
        Err(errno) => {
            assert_eq!(errno, Errno::BUSY);
            true
        },
    }
}

#[test]
fn what_a_dead_agent_left_frozen_goes_on_at_the_next_start_and_what_others_froze_stays() {
    for kind in Format::ALL {
        on("xfs", 3000, kind, |stage| {
            let volumes = stage.open();
            let (ours, theirs) = (stage.usual(1), stage.usual(2));
            let (one, two) = (place(&volumes.create(&ours)), place(&volumes.create(&theirs)));
            drop(volumes);
            let freeze =
                |live: &Path| still::freeze(fs::File::open(live).unwrap().as_fd()).unwrap();
            freeze(&one);
            freeze(&two);
            let intent = intent(stage, &ours);
            let volumes = stage.open();
            assert!(!intent.exists());
            assert!(!is_frozen(&one));
            assert!(is_frozen(&two), "nobody asked for that");
            write(&one, "rows");
            // What somebody else froze is not taken, and stays as it was.
            let refused = volumes.take(&snapshot(21, &theirs));
            assert_eq!(brief(&refused), "failed FREEZE_FAILED", "{refused:?}");
            assert!(is_frozen(&two));
            still::thaw(fs::File::open(&two).unwrap().as_fd()).unwrap();
            assert_eq!(brief(&volumes.take(&snapshot(21, &theirs))), "present");
            assert!(!is_frozen(&two), "a snapshot thaws");
            // One that became known later: whoever wants the volume thaws it.
            freeze(&one);
            let intent = self::intent(stage, &ours);
            assert_eq!(brief(&volumes.trash(&ours)), "present");
            assert!(!intent.exists());
            assert_eq!(read(&place(&volumes.restore(&generation(&ours, 2)))), "rows");
        });
    }
}

#[test]
fn what_was_left_frozen_where_nobody_sees_it_goes_on_when_it_is_mounted_again() {
    for kind in Format::ALL {
        on("xfs", 3000, kind, |stage| {
            let volumes = stage.open();
            let volume = stage.usual(1);
            let live = place(&volumes.create(&volume));
            drop(volumes);
            // A task holds it in its own mount namespace; here an open file does.
            let held = fs::File::open(&live).expect("it opens");
            still::freeze(held.as_fd()).expect("it freezes");
            let intent = intent(stage, &volume);
            let _gone = run("umount", &["-l", &live.to_string_lossy()]);
            let volumes = stage.open();
            assert!(intent.exists(), "nothing was thawed");
            let again = place(&volumes.verify(&volume));
            assert!(!intent.exists());
            assert!(!is_frozen(&again), "{kind}");
            write(&again, "rows");
            drop(held);
            // Nothing is left to be thawed when nothing is attached.
            drop(volumes);
            unmount_images(&stage.root);
            let intent = self::intent(stage, &volume);
            let volumes = stage.open();
            assert!(!intent.exists());
            assert_eq!(read(&place(&volumes.verify(&volume))), "rows");
        });
    }
}

#[test]
fn room_is_given_out_once_however_many_ask_at_a_time() {
    on("xfs", 1500, Format::Ext4, |stage| {
        let volumes = stage.open();
        let size = Bytes::from_mib(256);
        let of = |number| VolumeSpec { size, ..stage.usual(number) };
        let all = [of(1), of(2), of(3)];
        for volume in &all {
            let live = place(&volumes.create(volume));
            let file = fs::File::create(live.join("rows")).unwrap();
            (&file).write_all(&vec![0x5a; 180 << 20]).and_then(|()| file.sync_all()).unwrap();
        }
        // Two snapshots have room.
        let looks_free = || {
            let room = rustix::fs::statvfs(&stage.root).expect("the disk answers");
            room.f_bavail * room.f_frsize / MIB
        };
        assert!((540..740).contains(&looks_free()), "{} MiB", looks_free());
        for round in 0..3 {
            let one = |index: usize| snapshot(100 * round + 11 + index as u128, &all[index]);
            let copy = of(50);
            let fresh = VolumeSpec { size: Bytes::from_mib(300), ..stage.usual(60) };
            let outcomes: Vec<String> = std::thread::scope(|scope| {
                let snapshots: Vec<_> = (0..3)
                    .map(|index| {
                        let (volumes, one) = (&volumes, one(index));
                        scope.spawn(move || brief(&volumes.take(&one)))
                    })
                    .collect();
                let created = scope.spawn(|| brief(&volumes.create(&fresh)));
                snapshots.into_iter().chain([created]).map(|one| one.join().unwrap()).collect()
            });
            let given = outcomes.iter().filter(|outcome| *outcome == "present").count();
            let refused = outcomes.iter().filter(|outcome| *outcome == "failed DISK_FULL").count();
            assert_eq!((given, refused), (2, 2), "{round}: {outcomes:?}");
            // What the others do not get, a clone gets neither.
            let taken = (0..3).find(|index| outcomes[*index] == "present").unwrap();
            let cloned = brief(&volumes.clone_from(&copy, &one(taken)));
            assert_eq!(cloned, "failed DISK_FULL");
            for index in 0..3 {
                assert_eq!(brief(&volumes.forget(&one(index))), "absent");
            }
            if outcomes[3] == "present" {
                assert_eq!(brief(&volumes.trash(&fresh)), "present");
                assert_eq!(brief(&volumes.purge(&fresh)), "absent");
            }
        }
    });
}

#[test]
fn what_is_being_made_from_a_snapshot_keeps_its_room() {
    on("xfs", 1500, Format::Ext4, |stage| {
        let volumes = stage.open();
        let volume = VolumeSpec { size: Bytes::from_mib(256), ..stage.usual(1) };
        let one = snapshot(11, &volume);
        let live = place(&volumes.create(&volume));
        let file = fs::File::create(live.join("rows")).unwrap();
        (&file).write_all(&vec![0x5a; 180 << 20]).and_then(|()| file.sync_all()).unwrap();
        let kept = place(&volumes.take(&one));
        let room = rustix::fs::statvfs(&stage.root).expect("the disk answers");
        let free = room.f_bavail * room.f_frsize / MIB;
        let rest = VolumeSpec { size: Bytes::from_mib(free - 300), ..stage.usual(2) };
        // An agent was stopped between sharing the blocks and giving the clone its place.
        let aside = stage.root.join(".snapshots").join(format!(".{}.1.new", stage.usual(3).id));
        fs::create_dir(&aside).unwrap();
        let copy = fs::File::create(aside.join("image")).unwrap();
        rustix::fs::ioctl_ficlone(&copy, fs::File::open(kept.join("image")).unwrap()).unwrap();
        assert_eq!(brief(&volumes.create(&rest)), "failed DISK_FULL");
        fs::remove_dir_all(&aside).unwrap();
        assert_eq!(brief(&volumes.create(&rest)), "present");
    });
}

#[test]
fn a_disk_that_shares_no_blocks_says_so_and_takes_none() {
    on("ext4", 600, Format::Ext4, |stage| {
        let volumes = stage.open();
        let disk = volumes.disks().report().swap_remove(1);
        let why = disk.no_snapshots.get(&disk.driver).cloned().unwrap_or_default();
        assert!(why.contains("cannot share blocks between files"), "{why}");
        let volume = stage.usual(1);
        let live = place(&volumes.create(&volume));
        let refused = volumes.take(&snapshot(11, &volume));
        assert_eq!(brief(&refused), "failed UNSUPPORTED");
        assert!(reason(&refused).contains(&why), "{refused:?}");
        assert!(!is_frozen(&live));
        assert!(!stage.root.join(".snapshots").exists());
    });
}

#[test]
fn the_room_that_a_snapshot_may_come_to_take_is_there_and_stays_there() {
    on("xfs", 2500, Format::Xfs, |stage| {
        let volumes = stage.open();
        let volume = stage.usual(1);
        let live = place(&volumes.create(&volume));
        let looks_free = || {
            // XFS gives back what was deleted in its own time, and before it stands still.
            let root = fs::File::open(&stage.root).expect("it opens");
            still::freeze(root.as_fd()).and_then(|()| still::thaw(root.as_fd())).expect("it thaws");
            let room = rustix::fs::statvfs(&stage.root).expect("the disk answers");
            room.f_bavail * room.f_frsize / MIB
        };
        let fits = |mib: u64| {
            let probe = VolumeSpec { size: Bytes::from_mib(mib), ..stage.usual(9) };
            let before = looks_free();
            match brief(&volumes.create(&probe)).as_str() {
                "present" => {
                    assert_eq!(brief(&volumes.trash(&probe)), "present");
                    assert_eq!(brief(&volumes.purge(&probe)), "absent");
                    // The file goes when its device has let go of it, which another process may delay.
                    let until = Instant::now() + Duration::from_secs(20);
                    while looks_free() < before {
                        assert!(Instant::now() < until, "{} of {before} MiB", looks_free());
                        std::thread::yield_now();
                    }
                    true
                },
                other => {
                    assert_eq!(other, "failed DISK_FULL");
                    false
                },
            }
        };
        let file = fs::OpenOptions::new().create(true).append(true).open(live.join("rows"));
        let file = file.unwrap();
        let fill = |most: u32| {
            let block = vec![0x5a_u8; 1 << 20];
            for mib in 0..most {
                (&file).write_all(&block).unwrap_or_else(|error| panic!("{mib} MiB: {error}"));
            }
            file.sync_all().unwrap();
        };
        fill(180);
        assert!(fits(looks_free() - 20));
        // Nobody gets the room of the snapshot, however empty the disk looks; and a second one costs nothing more.
        for number in [11, 12] {
            assert_eq!(brief(&volumes.take(&snapshot(number, &volume))), "present");
            assert!(!fits(looks_free() - 170));
            assert!(fits(looks_free() - 300));
        }
        // So everything in the volume can be written anew, on a disk that is full but for that.
        let rest = VolumeSpec { size: Bytes::from_mib(looks_free() - 300), ..stage.usual(8) };
        assert_eq!(brief(&volumes.create(&rest)), "present");
        file.set_len(0).unwrap();
        fill(180);
        assert_eq!(brief(&volumes.trash(&rest)), "present");
        assert_eq!(brief(&volumes.purge(&rest)), "absent");
        // Another volume's room is refused to a snapshot.
        let other = VolumeSpec { size: Bytes::from_mib(looks_free() - 350), ..stage.usual(3) };
        assert_eq!(brief(&volumes.create(&other)), "present");
        let refused = volumes.take(&snapshot(31, &other));
        assert_eq!(brief(&refused), "failed DISK_FULL", "{refused:?}");
        assert_eq!(
            brief(&volumes.clone_from(&stage.usual(4), &snapshot(12, &volume))),
            "failed DISK_FULL"
        );
        assert_eq!(brief(&volumes.forget(&snapshot(11, &volume))), "absent");
        assert_eq!(brief(&volumes.forget(&snapshot(12, &volume))), "absent");
    });
}

#[test]
fn what_lies_in_a_snapshots_place_without_being_it_is_refused_and_kept() {
    on("xfs", 3000, Format::Ext4, |stage| {
        let volumes = stage.open();
        let volume = stage.usual(4);
        let one = snapshot(41, &volume);
        let live = place(&volumes.create(&volume));
        write(&live, "rows");
        let kept = place(&volumes.take(&one));
        let aside = stage.root.join(".snapshots/aside");
        fs::rename(&kept, &aside).unwrap();
        assert_eq!(brief(&volumes.find(&one)), "absent");
        assert_eq!(brief(&volumes.take(&one)), "failed SNAPSHOT_LOST", "never taken anew");
        fs::create_dir(&kept).unwrap();
        fs::copy(aside.join("image"), kept.join("image")).unwrap();
        let refused = volumes.find(&one);
        assert!(reason(&refused).contains("its marker says inode"), "{refused:?}");
        assert_eq!(brief(&volumes.forget(&one)), "foreign SNAPSHOT_NOT_READY");
        fs::remove_dir_all(&kept).unwrap();
        fs::rename(&aside, &kept).unwrap();
        assert_eq!(brief(&volumes.find(&one)), "present");
        // One that was cut or lengthened was changed.
        let image = fs::OpenOptions::new().write(true).open(kept.join("image")).unwrap();
        let length = image.metadata().unwrap().len();
        image.set_len(length + 1).unwrap();
        assert!(reason(&volumes.find(&one)).contains("so it was changed"));
        image.set_len(length).unwrap();
        // Somebody looks into it.
        let point = stage.work.path().join("look");
        fs::create_dir(&point).unwrap();
        let (image, shown) = (kept.join("image"), point.to_string_lossy().into_owned());
        let _mounted = run("mount", &["-o", "loop,ro,noload", &image.to_string_lossy(), &shown]);
        assert_eq!(read(&point), "rows");
        assert_eq!(brief(&volumes.forget(&one)), "failed VOLUME_IN_USE");
        let _gone = run("umount", &[&shown]);
        assert_eq!(brief(&volumes.forget(&one)), "absent");
        assert_eq!(fs::read_dir(stage.root.join(".snapshots")).unwrap().count(), 0);
    });
}
