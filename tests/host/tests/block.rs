//! BLOCK disks on real devices: a raw device is one volume, known by its header; what others left is not taken.

use berth_agent::disk::block::header::RESERVED;
use berth_agent::disk::image::device::{self, Device};
use berth_agent::disk::{Declaration, DriverChoice};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::VolumeEffect;
use berth_host_tests::conformance;
use berth_host_tests::host::{
    Effects as _, brief, generation, open, reason, run, skip, spec, with_private_mounts,
};
use berth_model::agent::DiskHealth;
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::volume::{Enforcement, VolumeSpec};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// A loop device over a file: the raw device of these tests.
struct Raw {
    file: PathBuf,
    device: Device,
}

impl Raw {
    fn source(&self) -> DiskSource {
        DiskSource::Block(Arc::from(self.device.path().as_str()))
    }

    fn bytes(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let device = File::open(self.device.path()).expect("the device opens");
        device.read_exact_at(&mut bytes, at).expect("it can be read");
        bytes
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        let device = OpenOptions::new().write(true).open(self.device.path());
        let device = device.expect("the device opens");
        device.write_all_at(bytes, at).and_then(|()| device.sync_all()).expect("it is written");
    }
}

struct Stage {
    work: tempfile::TempDir,
}

impl Stage {
    fn raw(&self, name: &str, mib: u64) -> Raw {
        let file = self.work.path().join(name);
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file);
        let backing = open.expect("the file opens");
        if backing.metadata().expect("it is there").len() == 0 {
            backing.set_len(mib * MIB).expect("it can be sized");
        }
        let device = device::attach(backing.as_fd()).expect("a loop device");
        Raw { file, device }
    }

    fn open(&self, raws: &[&Raw], known: &[LedgerDisk]) -> Volumes {
        let declared: Vec<Declaration> = raws
            .iter()
            .enumerate()
            .map(|(number, raw)| Declaration {
                source: raw.source(),
                name: format!("raw{number}"),
                driver: DriverChoice::Auto,
                size: None,
            })
            .collect();
        open(self.work.path(), &declared, known)
    }
}

fn with_devices(test: impl FnOnce(&Stage) + Send) {
    with_private_mounts(&["mkfs.ext4", "mount", "umount"], || {
        let work = tempfile::tempdir().expect("a temporary directory");
        let trial = tempfile::tempfile().expect("a temporary file");
        trial.set_len(MIB).expect("it can be sized");
        if let Err(errno) = device::attach(trial.as_fd()) {
            skip(&format!("there are no loop devices ({errno})"));
            return;
        }
        test(&Stage { work });
    });
}

fn health(volumes: &Volumes, number: usize) -> String {
    match volumes.disks().report().swap_remove(number + 1).health {
        DiskHealth::Ok => "ok".to_owned(),
        DiskHealth::Faulty(reason) => reason,
    }
}

fn whole(volumes: &Volumes, number: u128, raw: &Raw) -> VolumeSpec {
    let size = volumes.disks().report().swap_remove(1).size;
    VolumeSpec { size, ..spec(number, &raw.source()) }
}

#[test]
fn the_block_driver_keeps_the_promises() {
    with_devices(|stage| {
        let raw = stage.raw("raw", 65);
        let volumes = stage.open(&[&raw], &[]);
        let disk = volumes.disks().report().swap_remove(1);
        assert_eq!(
            (disk.health, &*disk.driver, disk.enforcement, disk.size, disk.free),
            (
                DiskHealth::Ok,
                "block",
                Enforcement::Device,
                Bytes::from_mib(64),
                Bytes::from_mib(64)
            )
        );
        let size = Bytes::from_mib(64);
        conformance::check_single(&volumes, &raw.source(), "block", Enforcement::Device, size);
    });
}

#[test]
fn a_task_gets_all_of_the_volume_and_nothing_of_the_header() {
    with_devices(|stage| {
        let raw = stage.raw("raw", 17);
        let volumes = stage.open(&[&raw], &[]);
        let (one, two) = (whole(&volumes, 1, &raw), whole(&volumes, 2, &raw));
        assert_eq!(one.size, Bytes::from_mib(16));
        let made = volumes.create(&one);
        assert_eq!(brief(&made), "present");
        let header = raw.bytes(0, 128 << 10);
        let device = File::from(volumes.open_verified(&one).expect("it opens"));
        assert_eq!(rustix::fs::seek(&device, rustix::fs::SeekFrom::End(0)), Ok(16 * MIB));
        device.write_all_at(b"first", 0).expect("it is written");
        device.write_all_at(b"last", 16 * MIB - 4).expect("it is written");
        device.sync_all().expect("it is synced");
        device.write_all_at(b"beyond", 16 * MIB).expect_err("there is no more");
        assert_eq!(raw.bytes(0, 128 << 10), header, "the header is out of reach");
        assert_eq!(raw.bytes(RESERVED, 5), b"first");
        assert_eq!(raw.bytes(17 * MIB - 4, 4), b"last");

        // What is open is in use.
        let again = volumes.open_verified(&one).expect("it opens again");
        let number =
            |file: &dyn std::os::fd::AsFd| rustix::fs::fstat(file.as_fd()).unwrap().st_rdev;
        assert_eq!(number(&device), number(&again), "one device for all");
        assert_eq!(brief(&volumes.trash(&one)), "failed VOLUME_IN_USE");
        drop((device, again));
        let gone = until(|| brief(&volumes.trash(&one)) == "present");
        assert!(gone, "{:?}", volumes.trash(&one));
        assert_eq!(raw.bytes(RESERVED, 5), b"first", "kept in the trash");

        // A second volume has no room before the first is purged.
        let refused = volumes.create(&two);
        assert_eq!(brief(&refused), "failed DISK_FULL");
        assert!(reason(&refused).contains("which has 0 B free"), "{}", reason(&refused));
        let next = generation(&one, 2);
        assert_eq!(brief(&volumes.restore(&next)), "present");
        let device = File::from(volumes.open_verified(&next).expect("it opens"));
        let mut bytes = [0; 5];
        device.read_exact_at(&mut bytes, 0).expect("it is read");
        assert_eq!(&bytes, b"first");
        let stale = volumes.open_verified(&one).expect_err("the first life is over");
        assert!(stale.message.contains("generation 2, expected 1"), "{stale}");
        drop(device);
        assert!(until(|| brief(&volumes.trash(&next)) == "present"));
        let purgeable = vec![(next, Bytes::from_mib(16))];
        let made = volumes.run(&VolumeEffect::Create { spec: two.clone(), purgeable });
        assert_eq!(brief(&made), "present");
        assert_eq!(raw.bytes(RESERVED, 5), [0; 5], "signatures are wiped");
        assert_eq!(raw.bytes(17 * MIB - 4, 4), [0; 4]);
        assert_eq!(brief(&volumes.resize(&two, 8)), "failed UNSUPPORTED");
    });
}

/// Waits: a device goes with its last user, which the kernel sees to in its own time.
fn until(condition: impl Fn() -> bool) -> bool {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while std::time::Instant::now() < end {
        if condition() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
fn what_others_left_on_a_device_is_named_and_never_overwritten() {
    with_devices(|stage| {
        let raw = stage.raw("raw", 16);
        let _made = run("mkfs.ext4", &["-q", &raw.device.path()]);
        let before = fs::read(&raw.file).expect("the file is read");
        let shown = raw.device.path();
        let told = health(&stage.open(&[&raw], &[]), 0);
        let wanted =
            format!("the device {shown} holds an ext2, ext3 or ext4 file system: it is not");
        assert!(told.starts_with(&wanted), "{told}");
        let point = stage.work.path().join("mnt");
        fs::create_dir(&point).expect("it is made");
        let _mounted = run("mount", &[&shown, &point.to_string_lossy()]);
        let told = health(&stage.open(&[&raw], &[]), 0);
        let wanted = format!("the device {shown} is in use: it, or a part of it, is mounted");
        assert!(told.starts_with(&wanted), "{told}");
        let _gone = run("umount", &[&point.to_string_lossy()]);
        assert_eq!(fs::read(&raw.file).expect("the file is read")[..1024], before[..1024]);

        // The same on the part of a disk's volume.
        let clean = stage.raw("clean", 16);
        let volumes = stage.open(&[&clean], &[]);
        assert_eq!(health(&volumes, 0), "ok");
        clean.write(RESERVED, b"XFSB");
        let refused = volumes.create(&whole(&volumes, 1, &clean));
        assert_eq!(brief(&refused), "failed DIRECTORY_EXISTS");
        assert!(reason(&refused).contains("holds an XFS file system"), "{}", reason(&refused));
        assert_eq!(clean.bytes(RESERVED, 4), b"XFSB");
    });
}

#[test]
fn a_device_that_is_not_the_disk_it_was_is_withheld_and_the_others_go_on() {
    with_devices(|stage| {
        let (one, two) = (stage.raw("one", 16), stage.raw("two", 16));
        let volumes = stage.open(&[&one, &two], &[]);
        assert_eq!((health(&volumes, 0), health(&volumes, 1)), ("ok".into(), "ok".into()));
        let volume = whole(&volumes, 1, &one);
        assert_eq!(brief(&volumes.create(&volume)), "present");
        let known = volumes.disks().ledger();
        let ids: Vec<_> = volumes.disks().report().iter().map(|disk| disk.id).collect();
        drop(volumes);

        // Known again, with its volume.
        let volumes = stage.open(&[&one, &two], &known);
        let again: Vec<_> = volumes.disks().report().iter().map(|disk| disk.id).collect();
        assert_eq!(again, ids);
        assert_eq!(brief(&volumes.verify(&volume)), "present");
        let report = volumes.report(&std::collections::BTreeSet::new());
        let orphans: Vec<_> = report.iter().flat_map(|disk| &disk.orphans).collect();
        assert_eq!(orphans.len(), 1);
        assert_eq!(orphans[0].spec, None, "it is only listed");
        drop(volumes);

        // Swapped: the ledger knows each by its path.
        let (head_one, head_two) = (one.bytes(0, 128 << 10), two.bytes(0, 128 << 10));
        one.write(0, &head_two);
        two.write(0, &head_one);
        let volumes = stage.open(&[&one, &two], &known);
        for number in [0, 1] {
            let told = health(&volumes, number);
            assert!(told.contains("where this agent's ledger knows disk"), "{told}");
        }
        assert_eq!(health_of_root(&volumes), DiskHealth::Ok);
        assert_eq!(brief(&volumes.verify(&volume)), "unclear DISK_FAULTY");
        drop(volumes);

        // A copy beside the original.
        one.write(0, &head_one);
        let volumes = stage.open(&[&one, &two], &[]);
        let told = health(&volumes, 1);
        assert!(told.contains("one is a copy of the other"), "{told}");
        assert_eq!(health(&volumes, 0), "ok");
        drop(volumes);

        // One whose header is damaged, and one whose header is gone.
        let mut damaged = head_one.clone();
        damaged[100] ^= 1;
        damaged[(64 << 10) + 100] ^= 1;
        one.write(0, &damaged);
        two.write(0, &vec![0; 128 << 10]);
        let volumes = stage.open(&[&one, &two], &known);
        let (first, second) = (health(&volumes, 0), health(&volumes, 1));
        assert!(
            first.contains("the header of /dev/loop") && first.contains("is damaged"),
            "{first}"
        );
        assert!(second.contains("carries no header, but disk"), "{second}");
        assert_eq!(one.bytes(0, 128 << 10), damaged, "left as it is");
        assert_eq!(two.bytes(0, 128 << 10), vec![0; 128 << 10], "left as it is");
        drop(volumes);

        // One damaged copy is no harm: the other counts.
        let mut half = head_one;
        half[100] ^= 1;
        one.write(0, &half);
        let volumes = stage.open(&[&one], &known);
        assert_eq!(health(&volumes, 0), "ok");
    });
}

fn health_of_root(volumes: &Volumes) -> DiskHealth {
    volumes.disks().report().swap_remove(0).health
}

#[test]
fn what_is_no_device_is_faulty_with_the_reason() {
    with_devices(|stage| {
        let file = stage.work.path().join("file");
        fs::write(&file, vec![0; 4 << 20]).expect("it is written");
        for (path, wanted) in [
            (file.display().to_string(), "is no block device: declare a directory with type=path"),
            (
                "/dev/nothing-of-that-name".to_owned(),
                "there is no device /dev/nothing-of-that-name",
            ),
        ] {
            let declared = Declaration {
                source: DiskSource::Block(Arc::from(path.as_str())),
                name: "raw".to_owned(),
                driver: DriverChoice::Auto,
                size: None,
            };
            let volumes = open(stage.work.path(), &[declared], &[]);
            let told = health(&volumes, 0);
            assert!(told.contains(wanted), "{told}");
        }
    });
}
