//! Snapshots on btrfs: what they hold, what a roll back and a clone bring back, and what a full or damaged disk does.

use berth_agent::disk::DriverChoice;
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_host_tests::host::{
    Effects as _, brief, declare, generation, mount_new, open, path_source, place, reason, run,
    snapshot, spec, with_private_mounts,
};
use berth_model::error::ErrorCode;
use berth_model::snapshot::SnapshotSpec;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

fn on_btrfs(test: impl FnOnce(&Volumes, &dyn Fn(u128, u64) -> VolumeSpec, &Path) + Send) {
    with_private_mounts(&["mkfs.btrfs", "mount"], || {
        let work = tempfile::tempdir().expect("a temporary directory");
        let root = work.path().join("d1");
        mount_new("btrfs", 512, &root);
        let volumes = open(work.path(), &[declare(&root, DriverChoice::Auto)], &[]);
        let source = path_source(&root);
        let sized =
            |number, mib| VolumeSpec { size: Bytes::from_mib(mib), ..spec(number, &source) };
        test(&volumes, &sized, &root);
        drop(volumes);
        let _gone = run("umount", &[&root.to_string_lossy()]);
    });
}

fn read(directory: &Path) -> String {
    fs::read_to_string(directory.join("rows")).expect("rows can be read")
}

#[test]
fn a_roll_back_brings_the_content_back_and_keeps_what_it_replaces() {
    on_btrfs(|volumes, sized, root| {
        let (first, second) = (sized(1, 32), generation(&sized(1, 32), 2));
        let (one, safety) = (snapshot(11, &first), snapshot(12, &first));
        let live = place(&volumes.create(&first));
        fs::write(live.join("rows"), "committed").unwrap();
        fs::set_permissions(&live, fs::Permissions::from_mode(0o750)).unwrap();
        std::os::unix::fs::chown(&live, Some(4711), Some(4712)).unwrap();
        let kept = place(&volumes.take(&one));
        fs::write(live.join("rows"), "dropped by mistake").unwrap();
        fs::write(live.join("new"), "new").unwrap();
        assert_eq!(read(&kept), "committed");
        let refused = fs::write(kept.join("rows"), "changed").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::libc::EROFS));

        let before = place(&volumes.take(&safety));
        let rolled = place(&volumes.roll_back(&second, &one, &safety));
        assert_eq!((rolled.as_path(), read(&rolled)), (live.as_path(), "committed".to_owned()));
        assert!(!rolled.join("new").exists());
        let found = fs::metadata(&rolled).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (4711, 4712, 0o750));
        assert_eq!(read(&before), "dropped by mistake");
        let replaced = root.join(".trash").join(format!("{}.1", first.id));
        assert_eq!(read(&replaced), "dropped by mistake");
        fs::write(rolled.join("rows"), "goes on").unwrap();
        assert_eq!(read(&kept), "committed", "the snapshot is not the volume");

        // What was replaced goes with the snapshot that has the same content.
        assert_eq!(brief(&volumes.forget(&one)), "absent");
        assert!(replaced.exists());
        assert_eq!(brief(&volumes.forget(&safety)), "absent");
        assert!(!replaced.exists());
        let listed = run("btrfs", &["subvolume", "list", &root.to_string_lossy()]);
        assert_eq!(listed.lines().count(), 1, "{listed}");
        assert_eq!(
            fs::read_dir(root.join(".meta")).unwrap().count(),
            4,
            "disk, place, size, one volume"
        );
        assert_eq!(read(&place(&volumes.verify(&second))), "goes on");
    });
}

#[test]
fn the_limit_goes_with_the_copy_and_a_full_volume_can_be_kept_and_brought_back() {
    on_btrfs(|volumes, sized, _root| {
        let (first, second) = (sized(2, 16), generation(&sized(2, 16), 2));
        let (one, safety) = (snapshot(21, &first), snapshot(22, &first));
        let live = place(&volumes.create(&first));
        let fill = |name: &str| -> Option<i32> {
            let block = vec![0xa5_u8; 1 << 20];
            let mut file = match fs::File::create(live.join(name)) {
                Ok(file) => file,
                Err(error) => return error.raw_os_error(),
            };
            (0..64).find_map(|_| {
                use std::io::Write as _;
                file.write_all(&block).and_then(|()| file.sync_all()).err()?.raw_os_error()
            })
        };
        assert_eq!(fill("full"), Some(nix::libc::EDQUOT));
        assert_eq!(brief(&volumes.take(&one)), "present");
        assert_eq!(brief(&volumes.take(&safety)), "present");
        assert_eq!(brief(&volumes.roll_back(&second, &one, &safety)), "present");
        assert_eq!(fill("more"), Some(nix::libc::EDQUOT), "the limit holds in the next life");
        let copy = VolumeSpec { size: first.size, ..sized(3, 16) };
        assert_eq!(brief(&volumes.clone_from(&copy, &one)), "present");
        for snapshot in [&one, &safety] {
            assert_eq!(brief(&volumes.forget(snapshot)), "absent", "deleted though full");
        }
        assert_eq!(brief(&volumes.trash(&second)), "present");
        assert_eq!(brief(&volumes.purge(&second)), "absent");
    });
}

#[test]
fn what_lies_in_a_snapshots_place_without_being_it_is_refused_and_kept() {
    on_btrfs(|volumes, sized, root| {
        let volume = sized(4, 8);
        let one = snapshot(41, &volume);
        let live = place(&volumes.create(&volume));
        fs::write(live.join("rows"), "rows").unwrap();
        let kept = place(&volumes.take(&one));
        let shown = kept.to_string_lossy().into_owned();

        let _writable = run("btrfs", &["property", "set", "-f", &shown, "ro", "false"]);
        assert!(reason(&volumes.find(&one)).ends_with("so it may have been changed"));
        assert_eq!(brief(&volumes.forget(&one)), "foreign SNAPSHOT_NOT_READY");
        let _protected = run("btrfs", &["property", "set", &shown, "ro", "true"]);
        assert_eq!(brief(&volumes.find(&one)), "present");

        let aside = root.join(".snapshots/aside");
        fs::rename(&kept, &aside).unwrap();
        assert_eq!(brief(&volumes.find(&one)), "absent");
        assert_eq!(brief(&volumes.take(&one)), "failed SNAPSHOT_LOST", "never taken anew");
        let strange = volumes.unknown_snapshots(&BTreeSet::from([one.id]), &BTreeSet::new());
        assert_eq!(strange, [aside.to_string_lossy()]);
        let live = live.to_string_lossy().into_owned();
        let _other = run("btrfs", &["subvolume", "snapshot", "-r", &live, &shown]);
        let refused = volumes.find(&one);
        assert_eq!(brief(&refused), "foreign SNAPSHOT_NOT_READY", "{refused:?}");
        assert!(reason(&refused).contains("its marker says subvolume"), "{refused:?}");
        assert_eq!(brief(&volumes.forget(&one)), "foreign SNAPSHOT_NOT_READY");
        let _gone = run("btrfs", &["subvolume", "delete", &shown]);
        fs::rename(&aside, &kept).unwrap();
        assert_eq!(read(&place(&volumes.find(&one))), "rows");
    });
}

#[test]
fn a_directory_volume_has_no_snapshot_and_says_why() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("plain");
    fs::create_dir(&root).unwrap();
    let volumes = open(work.path(), &[declare(&root, DriverChoice::Directory)], &[]);
    let volume = spec(5, &path_source(&root));
    assert_eq!(brief(&volumes.create(&volume)), "present");
    match volumes.take(&snapshot(51, &volume)) {
        VolumeOutcome::Failed(reason) => {
            assert_eq!(reason.code, ErrorCode::Unsupported);
            assert!(reason.message.contains("made by driver directory"), "{reason}");
            assert!(reason.remedy.contains("btrfs"), "{reason}");
        },
        other => panic!("{other:?}"),
    }
    assert!(!root.join(".snapshots").exists());
}

/// Makes a file that no deletion gets past, or lets it go.
fn set_stuck(directory: &Path, how: &str) {
    let file = directory.join("stuck");
    if how == "+i" {
        fs::write(&file, "stuck").unwrap();
    }
    if file.exists() {
        let _set = run("chattr", &[how, &file.to_string_lossy()]);
    }
}

#[test]
fn a_copy_whose_deletion_had_begun_never_becomes_a_volume() {
    on_btrfs(|volumes, sized, root| {
        let (first, second) = (sized(6, 32), generation(&sized(6, 32), 2));
        let (one, safety) = (snapshot(61, &first), snapshot(62, &first));
        let live = place(&volumes.create(&first));
        // The deletion begins with what was made last.
        set_stuck(&live, "+i");
        fs::write(live.join("rows"), "committed").unwrap();
        let kept = place(&volumes.take(&one));
        let before = place(&volumes.take(&safety));
        let obstacle = root.join(".trash").join(format!("{}.1", first.id));
        fs::create_dir(&obstacle).unwrap();
        let refused = volumes.roll_back(&second, &one, &safety);
        assert_eq!(brief(&refused).split(' ').next(), Some("unclear"), "{refused:?}");
        assert_eq!(brief(&volumes.verify(&first)), "present", "it was not moved");
        fs::remove_dir(&obstacle).unwrap();
        let rolled = place(&volumes.roll_back(&second, &one, &safety));
        assert_eq!(read(&rolled), "committed");

        let copy = sized(7, 32);
        let half = root.join(".snapshots").join(format!(".{}.1.new", copy.id));
        let [source, aside] = [&kept, &half].map(|path| path.to_string_lossy().into_owned());
        let _half = run("btrfs", &["subvolume", "snapshot", &source, &aside]);
        fs::remove_file(half.join("rows")).unwrap();
        assert_eq!(read(&place(&volumes.clone_from(&copy, &one))), "committed");

        // What could not be deleted goes with the volume.
        for folder in [root.join("volumes"), root.join(".snapshots"), root.join(".trash")] {
            for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry != kept && entry != before {
                    set_stuck(&entry, "-i");
                }
            }
        }
        for volume in [&second, &copy] {
            assert_eq!(brief(&volumes.trash(volume)), "present");
            assert_eq!(brief(&volumes.purge(volume)), "absent");
        }
        let listed = run("btrfs", &["subvolume", "list", &root.to_string_lossy()]);
        assert_eq!(listed.lines().count(), 2, "the two snapshots: {listed}");
    });
}

#[test]
fn a_roll_back_that_failed_leaves_no_claim_on_the_volume() {
    on_btrfs(|volumes, sized, root| {
        let (first, second) = (sized(8, 32), generation(&sized(8, 32), 2));
        let (one, safety) = (snapshot(81, &first), snapshot(82, &first));
        let live = place(&volumes.create(&first));
        fs::write(live.join("rows"), "rows").unwrap();
        assert_eq!(brief(&volumes.take(&one)), "present");
        assert_eq!(brief(&volumes.take(&safety)), "present");
        let obstacle = root.join(".trash").join(format!("{}.1", first.id));
        fs::create_dir(&obstacle).unwrap();
        let refused = volumes.roll_back(&second, &one, &safety);
        assert_eq!(brief(&refused).split(' ').next(), Some("failed"), "{refused:?}");
        fs::remove_dir(&obstacle).unwrap();
        let marker = root.join(".meta").join(format!("{}.1", first.id));
        assert!(!marker.exists(), "nothing was replaced");

        // One that an earlier release left there is no reason to delete a volume that was destroyed afterwards.
        let tree = run("btrfs", &["inspect-internal", "rootid", &live.to_string_lossy()]);
        stale_marker(&marker, &first, &safety, root, tree.trim());
        assert_eq!(brief(&volumes.trash(&first)), "present");
        assert!(!marker.exists(), "what is in the trash is the volume itself");
        stale_marker(&marker, &first, &safety, root, tree.trim());
        assert_eq!(brief(&volumes.forget(&safety)), "absent");
        assert_eq!(read(&obstacle), "rows");
        assert_eq!(read(&place(&volumes.restore(&second))), "rows");
    });
}

/// The marker of a life of `volume` that a roll back ended, as the driver writes it.
fn stale_marker(path: &Path, volume: &VolumeSpec, safety: &SnapshotSpec, root: &Path, tree: &str) {
    let own = fs::read_to_string(root.join(".meta").join(volume.id.to_string())).unwrap();
    let taken = |key: &str| {
        let line = own.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_once('=').unwrap().1.to_owned()
    };
    let fields = [
        ("volume", volume.id.to_string()),
        ("generation", volume.generation.to_string()),
        ("agent", taken("agent")),
        ("disk", taken("disk")),
        ("safety", safety.id.to_string()),
        ("subvolume", tree.to_owned()),
    ];
    fs::write(path, berth_agent::disk::marker::encode("berth-replaced", &fields)).unwrap();
}

#[test]
fn a_lost_volume_is_not_taken_for_what_its_roll_back_replaced() {
    on_btrfs(|volumes, sized, root| {
        let (first, second) = (sized(9, 32), generation(&sized(9, 32), 2));
        let (one, safety) = (snapshot(91, &first), snapshot(92, &first));
        let live = place(&volumes.create(&first));
        fs::write(live.join("rows"), "old").unwrap();
        assert_eq!(brief(&volumes.take(&one)), "present");
        assert_eq!(brief(&volumes.take(&safety)), "present");
        assert_eq!(brief(&volumes.roll_back(&second, &one, &safety)), "present");
        fs::rename(&live, root.join("moved-away")).unwrap();
        assert_eq!(brief(&volumes.trash(&second)), "absent", "it is lost");
        assert_eq!(brief(&volumes.restore(&second)), "absent");
        let replaced = root.join(".trash").join(format!("{}.1", first.id));
        assert_eq!(read(&replaced), "old", "left as it is");
        assert_eq!(brief(&volumes.forget(&safety)), "absent");
        assert!(!replaced.exists());
    });
}

#[test]
fn trash_whose_blocks_a_snapshot_keeps_is_not_purged_for_room_that_it_does_not_have() {
    on_btrfs(|volumes, sized, root| {
        let first = sized(10, 128);
        let one = snapshot(101, &first);
        let live = place(&volumes.create(&first));
        fs::write(live.join("rows"), vec![0xa5_u8; 100 << 20]).unwrap();
        let _synced = run("sync", &["-f", &live.to_string_lossy()]);
        assert_eq!(brief(&volumes.take(&one)), "present");
        assert_eq!(brief(&volumes.trash(&first)), "present");
        let stat = rustix::fs::statvfs(root).unwrap();
        let free = stat.f_bavail * stat.f_frsize >> 20;
        let create = VolumeEffect::Create {
            spec: sized(11, free + 50),
            purgeable: vec![(first.clone(), first.size)],
        };
        assert_eq!(brief(&volumes.run(&create)), "failed DISK_FULL");
        assert_eq!(
            brief(&volumes.verify_trash(&first)),
            "present",
            "nothing was gained by its end"
        );
        assert_eq!(brief(&volumes.forget(&one)), "absent");
        let _synced = run("btrfs", &["subvolume", "sync", &root.to_string_lossy()]);
        assert_eq!(brief(&volumes.run(&create)), "present", "now it is what has the room");
        assert_eq!(brief(&volumes.verify_trash(&first)), "absent");
    });
}

#[test]
fn a_volume_with_a_subvolume_in_it_has_no_snapshot_that_would_miss_it() {
    on_btrfs(|volumes, sized, _root| {
        let volume = sized(12, 32);
        let one = snapshot(121, &volume);
        let live = place(&volumes.create(&volume));
        fs::create_dir(live.join("deep")).unwrap();
        let inner = live.join("deep/tables").to_string_lossy().into_owned();
        let _made = run("btrfs", &["subvolume", "create", &inner]);
        let refused = volumes.take(&one);
        assert_eq!(brief(&refused), "failed UNSUPPORTED");
        assert!(reason(&refused).contains("tables in the volume is a subvolume"), "{refused:?}");
        assert_eq!(brief(&volumes.find(&one)), "absent");
        let _gone = run("btrfs", &["subvolume", "delete", &inner]);
        assert_eq!(brief(&volumes.take(&one)), "present");
    });
}
