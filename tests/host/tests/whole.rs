//! MOUNT disks: a whole file system is one volume. What is not mounted is not used, what others left is not taken.

use berth_agent::disk::{Declaration, DriverChoice};
use berth_agent::volume::Volumes;
use berth_host_tests::host::{
    Effects as _, brief, declare, mount_image, mount_new, mount_source, open, place, reason, run,
    snapshot, spec, with_private_mounts,
};
use berth_model::agent::DiskHealth;
use berth_model::record::LedgerDisk;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

struct Stage {
    work: tempfile::TempDir,
    root: PathBuf,
}

impl Stage {
    fn open(&self, known: &[LedgerDisk]) -> Volumes {
        let declared = Declaration {
            source: mount_source(&self.root),
            ..declare(&self.root, DriverChoice::Auto)
        };
        open(self.work.path(), &[declared], known)
    }

    fn whole(&self, volumes: &Volumes, number: u128) -> VolumeSpec {
        let size = volumes.disks().report().swap_remove(1).size;
        VolumeSpec { size, ..spec(number, &mount_source(&self.root)) }
    }
}

fn with_file_system(test: impl FnOnce(&Stage) + Send) {
    with_private_mounts(&["mkfs.ext4", "mount", "umount"], || {
        let work = tempfile::tempdir().expect("a temporary directory");
        let root = work.path().join("d1");
        let stage = Stage { work, root };
        mount_new("ext4", 128, &stage.root);
        test(&stage);
        let _gone = run("umount", &["-l", &stage.root.to_string_lossy()]);
    });
}

fn health(volumes: &Volumes) -> String {
    match volumes.disks().report().swap_remove(1).health {
        DiskHealth::Ok => "ok".to_owned(),
        DiskHealth::Faulty(reason) => reason,
    }
}

/// Everything below a directory, with its size.
fn below(directory: &Path) -> Vec<(PathBuf, u64)> {
    fs::read_dir(directory)
        .expect("it can be listed")
        .flatten()
        .map(|entry| (entry.path(), entry.metadata().expect("it can be looked at").size()))
        .collect()
}

#[test]
fn the_whole_file_system_is_one_volume_and_the_next_needs_the_trash_to_go() {
    with_file_system(|stage| {
        let volumes = stage.open(&[]);
        assert_eq!(health(&volumes), "ok");
        let first = stage.whole(&volumes, 1);
        assert!(first.size >= Bytes::from_mib(90), "{}", first.size);
        let directory = place(&volumes.create(&first));
        // As much as is declared goes in.
        let most = usize::try_from(first.size.get()).unwrap();
        fs::write(directory.join("rows"), vec![0x5a_u8; most]).unwrap();
        let refused = volumes.resize(&first, 1);
        assert_eq!(brief(&refused), "failed UNSUPPORTED");
        assert_eq!(brief(&volumes.trash(&first)), "present");
        let second = VolumeSpec { id: spec(2, &first.source).id, ..first.clone() };
        assert_eq!(brief(&volumes.create(&second)), "failed DISK_FULL");
        let effect = berth_agent_core::effect::VolumeEffect::Create {
            spec: second,
            purgeable: vec![(first.clone(), first.size)],
        };
        assert_eq!(brief(&volumes.run(&effect)), "present");
        assert_eq!(brief(&volumes.verify_trash(&first)), "absent");
    });
}

#[test]
fn what_is_not_mounted_is_faulty_and_stays_empty() {
    with_file_system(|stage| {
        let volumes = stage.open(&[]);
        let first = stage.whole(&volumes, 1);
        let directory = place(&volumes.create(&first));
        fs::write(directory.join("rows"), "rows").unwrap();
        let ledger = volumes.disks().ledger();
        let shown = stage.root.to_string_lossy().into_owned();
        let evidence =
            format!("{shown} is not a mount point: the disk's file system is not mounted");

        // Lazily, because the agent holds the disk open.
        let _gone = run("umount", &["-l", &shown]);
        let second = VolumeSpec { id: spec(2, &first.source).id, ..first.clone() };
        for outcome in [volumes.create(&second), volumes.verify(&first), volumes.trash(&first)] {
            assert_eq!(brief(&outcome), "unclear DISK_FAULTY", "{outcome:?}");
            assert_eq!(reason(&outcome), evidence);
        }
        let launch = volumes.open_verified(&first).unwrap_err();
        assert_eq!(launch.code.as_str(), "VOLUME_UNAVAILABLE");
        assert!(launch.message.ends_with(&evidence), "{launch}");
        assert!(health(&volumes).starts_with(&evidence));
        drop(volumes);
        // Whether the agent knew the disk before or not.
        for known in [&ledger[..], &[]] {
            let restarted = stage.open(known);
            assert!(health(&restarted).starts_with(&evidence), "{}", health(&restarted));
            assert_eq!(below(&stage.root), []);
        }
        let restarted = stage.open(&ledger);
        mount_image(&stage.root.with_extension("image").to_string_lossy(), &stage.root);
        assert!(restarted.disks().refresh());
        assert_eq!(health(&restarted), "ok");
        assert_eq!(brief(&restarted.verify(&first)), "present");
        assert_eq!(fs::read_to_string(directory.join("rows")).unwrap(), "rows");
    });
}

#[test]
fn what_others_left_is_not_taken_over() {
    with_file_system(|stage| {
        fs::write(stage.root.join("photos"), "of others").unwrap();
        let volumes = stage.open(&[]);
        let text = health(&volumes);
        assert!(text.contains("holds photos: it is not taken over"), "{text}");
        assert_eq!(below(&stage.root).len(), 2, "photos and lost+found");
        fs::remove_file(stage.root.join("photos")).unwrap();
        assert!(volumes.disks().refresh());
        let first = stage.whole(&volumes, 1);
        // It came after the disk was made one.
        fs::write(stage.root.join("photos"), "of others").unwrap();
        let refused = volumes.create(&first);
        assert_eq!(brief(&refused), "failed DIRECTORY_EXISTS");
        assert!(reason(&refused).contains("holds photos"), "{refused:?}");
        assert_eq!(fs::read_to_string(stage.root.join("photos")).unwrap(), "of others");
        fs::remove_file(stage.root.join("photos")).unwrap();
        assert_eq!(brief(&volumes.create(&first)), "present");
    });
}

#[test]
fn a_snapshot_that_is_refused_leaves_the_disk_fit_for_the_next_volume() {
    with_file_system(|stage| {
        let volumes = stage.open(&[]);
        let first = stage.whole(&volumes, 1);
        assert_eq!(brief(&volumes.create(&first)), "present");
        let one = snapshot(11, &first);
        assert_eq!(brief(&volumes.take(&one)), "failed UNSUPPORTED");
        assert_eq!(brief(&volumes.forget(&one)), "absent");
        assert_eq!(brief(&volumes.trash(&first)), "present");
        assert_eq!(brief(&volumes.purge(&first)), "absent");
        assert_eq!(brief(&volumes.create(&stage.whole(&volumes, 2))), "present");
    });
}
