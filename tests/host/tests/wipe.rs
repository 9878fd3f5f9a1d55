//! Wiping on real disks: the raw device is read for what was written in the volume, before and after.

use berth_agent::disk::image::device;
use berth_agent::disk::{Declaration, DriverChoice};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_host_tests::host::{
    Effects as _, brief, declare, mount_new, open, path_source, place, reason, run, skip, spec,
    unmount_images, with_private_mounts,
};
use berth_model::resources::DiskSource;
use berth_model::volume::VolumeSpec;
use berth_model::wipe::Wipe;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1 << 20;
/// Long enough that nothing else on a device has it.
const MARK: &[u8; 32] = b"rows-that-nobody-is-to-see-again";

struct Stage {
    work: tempfile::TempDir,
    root: PathBuf,
    driver: DriverChoice,
}

impl Stage {
    fn open(&self) -> Volumes {
        open(self.work.path(), &[declare(&self.root, self.driver)], &[])
    }

    /// How often the mark is found on the device below the disk, everything written out.
    fn marks(&self) -> usize {
        let _synced = run("sync", &["-f", &self.root.to_string_lossy()]);
        marks(&self.root.with_extension("image"))
    }
}

fn marks(device: &Path) -> usize {
    let mut bytes = Vec::new();
    File::open(device).and_then(|mut file| file.read_to_end(&mut bytes)).expect("it can be read");
    // Where blocks begin, as they were written.
    bytes.chunks(1024).filter(|block| block.starts_with(MARK)).count()
}

/// On a disk of this kind, with this driver.
fn on(kind: &str, driver: DriverChoice, test: impl FnOnce(&Stage) + Send) {
    with_private_mounts(&[&format!("mkfs.{kind}"), "mkfs.ext4", "mount", "umount"], || {
        let work = tempfile::tempdir().expect("a temporary directory");
        let root = work.path().join("d1");
        mount_new(kind, 400, &root);
        let stage = Stage { work, root, driver };
        test(&stage);
        unmount_images(&stage.root);
        let _gone = run("umount", &["-l", &stage.root.to_string_lossy()]);
    });
}

/// A file of so many blocks that begin with the mark, synced.
fn write_marks(path: &Path, blocks: usize) {
    fs::create_dir_all(path.parent().expect("it is in a directory")).expect("it is made");
    let mut block = vec![b'.'; 4096];
    block[..MARK.len()].copy_from_slice(MARK);
    let mut file = File::create(path).expect("a file");
    for _block in 0..blocks {
        file.write_all(&block).expect("it is written");
    }
    file.sync_all().expect("it is synced");
}

/// A volume in the trash with marks in files of several kinds; answers with it and how many there are.
fn trashed(stage: &Stage, volumes: &Volumes) -> VolumeSpec {
    let volume = spec(1, &path_source(&stage.root));
    let made = place(&volumes.create(&volume));
    write_marks(&made.join("deep/er/rows"), 600);
    write_marks(&made.join("short"), 1);
    fs::hard_link(made.join("short"), made.join("second name")).expect("a second name");
    let sparse = File::create(made.join("sparse")).expect("a file");
    sparse.set_len(80 * MIB).expect("holes");
    sparse.write_all_at(MARK, 70 * MIB).expect("it is written");
    sparse.sync_all().expect("it is synced");
    drop(sparse);
    std::os::unix::fs::symlink("/etc/hostname", made.join("link")).expect("a link");
    assert_eq!(brief(&volumes.trash(&volume)), "present");
    volume
}

fn wipe(volumes: &Volumes, spec: &VolumeSpec, method: Wipe) -> VolumeOutcome {
    volumes.run(&VolumeEffect::Wipe { spec: spec.clone(), method })
}

fn survey(volumes: &Volumes, spec: &VolumeSpec, method: Wipe) -> VolumeOutcome {
    volumes.run(&VolumeEffect::SurveyWipe { spec: spec.clone(), method })
}

fn every_method(kind: &str, driver: DriverChoice) {
    for method in [Wipe::None, Wipe::Zero, Wipe::Shred] {
        on(kind, driver, |stage| {
            let volumes = stage.open();
            let volume = trashed(stage, &volumes);
            assert!(stage.marks() >= 602, "{} before {method}", stage.marks());
            if method != Wipe::None {
                let found = survey(&volumes, &volume, method);
                let VolumeOutcome::Used(measured) = &found else { panic!("{found:?}") };
                assert!(measured.bytes.get() >= 600 * 4096, "{found:?}");
                assert_eq!(brief(&wipe(&volumes, &volume, method)), "wiped");
                assert_eq!(stage.marks(), 0, "wiped by {method}");
                assert_eq!(brief(&wipe(&volumes, &volume, method)), "wiped", "asked again");
            }
            assert_eq!(brief(&volumes.purge(&volume)), "absent");
            let left = stage.marks();
            // So that this test can fail: deleting alone leaves everything.
            assert_eq!(left == 0, method != Wipe::None, "{left} left after {method}");
            assert_eq!(volumes.unknown_snapshots(&[].into(), &[].into()), [""; 0]);
        });
    }
}

#[test]
fn nothing_of_a_directory_is_left_on_ext4() {
    every_method("ext4", DriverChoice::Directory);
}

#[test]
fn nothing_of_a_directory_is_left_on_xfs() {
    every_method("xfs", DriverChoice::Directory);
}

#[test]
fn nothing_of_an_image_is_left_on_ext4() {
    every_method("ext4", DriverChoice::Image(Some(berth_agent::disk::image::Format::Ext4)));
}

#[test]
fn what_the_volume_shares_is_not_wiped_and_nothing_is_changed() {
    on("xfs", DriverChoice::Directory, |stage| {
        let volumes = stage.open();
        let volume = spec(1, &path_source(&stage.root));
        let made = place(&volumes.create(&volume));
        write_marks(&made.join("rows"), 4);
        let copy = stage.root.join("copy");
        let _copied = run(
            "cp",
            &["--reflink=always", &made.join("rows").to_string_lossy(), &copy.to_string_lossy()],
        );
        assert_eq!(brief(&volumes.trash(&volume)), "present");
        let outcome = survey(&volumes, &volume, Wipe::Zero);
        assert_eq!(brief(&outcome), "failed UNSUPPORTED");
        assert!(reason(&outcome).ends_with("rows shares blocks with another file"), "{outcome:?}");
        // Should it be asked for all the same, nothing is overwritten.
        assert_eq!(brief(&wipe(&volumes, &volume, Wipe::Zero)), "unclear VOLUME_UNAVAILABLE");
        fs::remove_file(&copy).expect("the copy goes");

        let elsewhere = stage.root.join("elsewhere");
        let entry = format!(".trash/{}.1/rows", volume.id);
        fs::hard_link(stage.root.join(entry), &elsewhere).expect("a second name");
        // XFS gives the blocks of the copy back when it has time.
        let outcome = loop {
            let outcome = survey(&volumes, &volume, Wipe::Zero);
            if !reason(&outcome).contains("shares blocks") {
                break outcome;
            }
            rustix::fs::syncfs(File::open(&stage.root).expect("open")).expect("sync");
        };
        assert_eq!(brief(&outcome), "failed UNSUPPORTED");
        assert!(reason(&outcome).contains("has 2 names"), "{outcome:?}");
        assert_eq!(brief(&volumes.verify_trash(&volume)), "present");
        let read = fs::read(&elsewhere).expect("it is there");
        assert!(read.starts_with(MARK), "what is outside is as it was");
        fs::remove_file(&elsewhere).expect("it goes");
        assert_eq!(brief(&survey(&volumes, &volume, Wipe::Zero)), "used");
    });
}

#[test]
fn btrfs_and_discards_of_files_are_refused() {
    on("btrfs", DriverChoice::Auto, |stage| {
        let volumes = stage.open();
        let volume = spec(1, &path_source(&stage.root));
        assert_eq!(brief(&volumes.create(&volume)), "present");
        assert_eq!(brief(&volumes.trash(&volume)), "present");
        let disk = volumes.disks().report().swap_remove(1);
        for method in [Wipe::Discard, Wipe::Zero, Wipe::Shred] {
            assert_eq!(brief(&survey(&volumes, &volume, method)), "failed UNSUPPORTED");
            assert!(disk.check_wipe(&disk.driver, method).is_err(), "the report says the same");
        }
    });
    on("ext4", DriverChoice::Directory, |stage| {
        let volumes = stage.open();
        let volume = trashed(stage, &volumes);
        assert_eq!(brief(&survey(&volumes, &volume, Wipe::Discard)), "failed UNSUPPORTED");
        let disk = volumes.disks().report().swap_remove(1);
        assert!(disk.check_wipe(&disk.driver, Wipe::Discard).is_err());
        assert_eq!(disk.check_wipe(&disk.driver, Wipe::Shred), Ok(()));
    });
}

#[test]
fn nothing_of_a_raw_device_is_left() {
    with_private_mounts(&["mount"], || {
        for method in [Wipe::None, Wipe::Discard, Wipe::Zero, Wipe::Shred] {
            let work = tempfile::tempdir().expect("a temporary directory");
            let path = work.path().join("raw");
            // More than two parts.
            let backing = File::options().read(true).write(true).create_new(true).open(&path);
            let backing = backing.expect("a file");
            backing.set_len(150 * MIB).expect("it can be sized");
            let raw = match device::attach(backing.as_fd()) {
                Ok(raw) => raw,
                Err(errno) => return skip(&format!("there are no loop devices ({errno})")),
            };
            let source = DiskSource::Block(Arc::from(raw.path().as_str()));
            let (name, driver) = ("raw".to_owned(), DriverChoice::Auto);
            let declared = Declaration { source: source.clone(), name, driver, size: None };
            let volumes = open(work.path(), &[declared], &[]);
            let disk = volumes.disks().report().swap_remove(1);
            let volume = VolumeSpec { size: disk.size, ..spec(1, &source) };
            assert_eq!(brief(&volumes.create(&volume)), "present");
            let device = File::options().write(true).open(raw.path()).expect("it opens");
            for at in [4, 60, 100, 140] {
                device.write_all_at(MARK, at * MIB).expect("it is written");
            }
            device.sync_all().expect("it is synced");
            drop(device);
            assert_eq!(brief(&volumes.trash(&volume)), "present");
            assert_eq!(marks(&path), 4);
            if method != Wipe::None {
                if let Err(refused) = disk.check_wipe("block", method) {
                    assert_eq!(method, Wipe::Discard, "{refused}");
                    skip("the loop device takes no discards");
                    continue;
                }
                assert_eq!(brief(&survey(&volumes, &volume, method)), "used");
                assert_eq!(brief(&wipe(&volumes, &volume, method)), "wiped");
                assert_eq!(marks(&path), 0, "wiped by {method}");
                assert_eq!(brief(&wipe(&volumes, &volume, method)), "wiped", "asked again");
            }
            assert_eq!(brief(&volumes.purge(&volume)), "absent");
            assert_eq!(marks(&path) == 0, method != Wipe::None, "{method}");
            let next = VolumeSpec { size: disk.size, ..spec(2, &source) };
            assert_eq!(brief(&volumes.create(&next)), "present", "the device is free again");
        }
    });
}
