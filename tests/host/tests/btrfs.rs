//! The btrfs driver keeps sizes: a writer past its quota is stopped, and nobody else is.

use berth_agent::disk::DriverChoice;
use berth_agent::volume::Volumes;
use berth_agent_core::effect::VolumeOutcome;
use berth_host_tests::host::{
    Effects as _, brief, declare, generation, mount_new, open, path_source, place, reason, run,
    spec, with_private_mounts,
};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const MIB: usize = 1 << 20;

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

/// Writes until it is stopped: how much went in, and the error.
fn write_until_stopped(path: &Path, most: usize) -> (usize, Option<i32>) {
    let mut file = match fs::File::create(path) {
        Ok(file) => file,
        Err(error) => return (0, error.raw_os_error()),
    };
    let block = vec![0x5a_u8; MIB / 4];
    let mut written = 0;
    while written < most {
        if let Err(error) = file.write_all(&block).and_then(|()| file.sync_all()) {
            return (written, error.raw_os_error());
        }
        written += block.len();
    }
    (written, None)
}

#[test]
fn a_writer_past_its_size_is_stopped_and_the_others_are_not() {
    on_btrfs(|volumes, sized, root| {
        let (small, large) = (sized(1, 8), sized(2, 64));
        let (one, two) = (place(&volumes.create(&small)), place(&volumes.create(&large)));
        let (written, stopped) = write_until_stopped(&one.join("data"), 16 * MIB);
        assert_eq!(stopped, Some(nix::libc::EDQUOT));
        assert!((6 * MIB..=8 * MIB).contains(&written), "{written}");
        assert_eq!(write_until_stopped(&two.join("data"), 16 * MIB), (16 * MIB, None));
        let _synced = run("btrfs", &["filesystem", "sync", &root.to_string_lossy()]);
        match volumes.usage(&small) {
            VolumeOutcome::Used(used) => {
                let used = usize::try_from(used.bytes.get()).unwrap();
                assert!((written..=8 * MIB).contains(&used), "{used} of {written}");
            },
            other => panic!("{other:?}"),
        }

        // The limit goes with the volume through the trash and back, and a full volume can be deleted.
        let again = generation(&small, 2);
        assert_eq!(brief(&volumes.trash(&small)), "present");
        assert_eq!(brief(&volumes.restore(&again)), "present");
        let (more, stopped) = write_until_stopped(&one.join("more"), 16 * MIB);
        assert_eq!(stopped, Some(nix::libc::EDQUOT));
        assert!(more <= 2 * MIB, "{more}");
        assert_eq!(brief(&volumes.trash(&again)), "present");
        assert_eq!(brief(&volumes.purge(&again)), "absent");
        let listed = run("btrfs", &["subvolume", "list", &root.to_string_lossy()]);
        assert!(!listed.contains(&small.id.to_string()), "{listed}");
        assert!(listed.contains(&large.id.to_string()), "{listed}");
        assert_eq!(fs::metadata(two.join("data")).unwrap().len(), (16 * MIB) as u64);
    });
}

#[test]
fn a_volume_grows_under_its_writer_and_shrinks_only_as_far_as_its_data() {
    on_btrfs(|volumes, sized, _root| {
        let (first, second) = (sized(1, 100), sized(1, 200));
        let directory = place(&volumes.create(&first));
        let (written, stopped) = write_until_stopped(&directory.join("data"), 101 * MIB);
        assert_eq!(stopped, Some(nix::libc::EDQUOT), "{written}");
        // The same writer goes on once there is more room.
        let mut writer = fs::OpenOptions::new().append(true).open(directory.join("data")).unwrap();
        let block = vec![0x5a_u8; MIB];
        let once =
            |writer: &mut fs::File| writer.write_all(&block).and_then(|()| writer.sync_all());
        let full = (0..4).find_map(|_| once(&mut writer).err());
        assert_eq!(full.and_then(|e| e.raw_os_error()), Some(nix::libc::EDQUOT));
        assert_eq!(brief(&volumes.resize(&first, 200)), "present");
        for _ in 0..20 {
            once(&mut writer).unwrap();
        }
        let refused = volumes.resize(&second, 64);
        assert_eq!(brief(&refused), "failed VOLUME_TOO_FULL");
        let text = reason(&refused);
        assert!(text.ends_with("more than the wanted 64 MiB"), "{text}");
        assert!(text.contains(" uses 1"), "{text}");
        // Nothing changed: the writer goes on.
        for _ in 0..20 {
            once(&mut writer).unwrap();
        }
        drop(writer);
        fs::remove_file(directory.join("data")).unwrap();
        let _synced = run("btrfs", &["filesystem", "sync", &directory.to_string_lossy()]);
        assert_eq!(brief(&volumes.resize(&second, 16)), "present");
        let (written, stopped) = write_until_stopped(&directory.join("data"), 32 * MIB);
        assert_eq!(stopped, Some(nix::libc::EDQUOT), "{written}");
        assert!(written <= 16 * MIB, "{written}");
    });
}

#[test]
fn a_plain_directory_in_place_of_a_subvolume_and_a_nested_subvolume_are_refused() {
    on_btrfs(|volumes, sized, root| {
        let volume = sized(1, 8);
        let directory = place(&volumes.create(&volume));
        let (shown, aside) = (directory.to_string_lossy(), root.join("aside"));
        fs::rename(&directory, &aside).unwrap();
        fs::create_dir(&directory).unwrap();
        let refused = volumes.verify(&volume);
        assert!(
            reason(&refused).ends_with("it is no subvolume, which its marker says it is"),
            "{refused:?}"
        );
        fs::remove_dir(&directory).unwrap();
        let _made = run("btrfs", &["subvolume", "create", &shown]);
        let refused = volumes.verify(&volume);
        assert!(reason(&refused).ends_with("the directory carries no identity"), "{refused:?}");
        let _deleted = run("btrfs", &["subvolume", "delete", &shown]);
        fs::rename(&aside, &directory).unwrap();
        assert_eq!(brief(&volumes.verify(&volume)), "present");

        let nested = directory.join("nested");
        let _made = run("btrfs", &["subvolume", "create", &nested.to_string_lossy()]);
        fs::write(nested.join("rows"), "rows").unwrap();
        let trashed = place(&volumes.trash(&volume));
        let stopped = volumes.purge(&volume);
        assert_eq!(brief(&stopped), "unclear VOLUME_UNAVAILABLE");
        assert!(
            reason(&stopped).contains("nested belongs to another file system or is a subvolume")
        );
        let nested = PathBuf::from(format!("{}.going/nested", trashed.display()));
        assert_eq!(fs::read_to_string(nested.join("rows")).unwrap(), "rows");
        let _deleted = run("btrfs", &["subvolume", "delete", &nested.to_string_lossy()]);
        assert_eq!(brief(&volumes.purge(&volume)), "absent");
    });
}

#[test]
fn an_agent_without_quota_falls_back_to_directories_and_keeps_old_subvolumes() {
    on_btrfs(|volumes, sized, root| {
        let old = sized(1, 8);
        let _directory = place(&volumes.create(&old));
        let _off = run("btrfs", &["quota", "disable", &root.to_string_lossy()]);
        let failed = volumes.create(&sized(2, 8));
        assert!(brief(&failed).starts_with("failed "), "{failed:?}");
        assert_eq!(
            fs::read_dir(root.join("volumes")).unwrap().count(),
            1,
            "what was begun is taken back"
        );
        let work = tempfile::tempdir().unwrap();
        let plain = open(work.path(), &[declare(root, DriverChoice::Directory)], &[]);
        match plain.verify(&old) {
            VolumeOutcome::Present { driver, .. } => assert_eq!(&*driver, "btrfs"),
            other => panic!("{other:?}"),
        }
        assert_eq!(brief(&plain.create(&sized(3, 8))), "present");
        assert_eq!(brief(&plain.trash(&old)), "present");
        assert_eq!(brief(&plain.purge(&old)), "absent");
    });
}
