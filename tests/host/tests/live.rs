//! Disks that come and go while the agent runs, on real directories, mounts and devices.

use berth_agent::disk::image::device;
use berth_agent::disk::{Declaration, DriverChoice};
use berth_agent::volume::Volumes;
use berth_host_tests::host::{
    Effects as _, brief, declare, mount_new, mount_source, open, path_source, run, skip, spec,
    with_private_mounts,
};
use berth_model::agent::DiskHealth;
use berth_model::error::ErrorCode;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("it can be listed");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The code and the text of a refusal.
fn refused<T>(result: Result<T, berth_model::error::Rejection>) -> Option<(ErrorCode, String)> {
    result.err().map(|refused| (refused.code, refused.message))
}

/// A volume is made, used as any, and goes.
fn live_and_die(volumes: &Volumes, source: &DiskSource, number: u128) {
    let size = volumes.disks().report().swap_remove(1).size;
    let spec = VolumeSpec { size: size.min(Bytes::new(64 * MIB)), ..spec(number, source) };
    assert_eq!(brief(&volumes.create(&spec)), "present");
    let full = refused(volumes.remove_disk(source)).map(|(code, _)| code);
    assert_eq!(full, Some(ErrorCode::ResourcesInUse), "a volume is on it");
    assert_eq!(brief(&volumes.trash(&spec)), "present");
    let full = refused(volumes.remove_disk(source)).map(|(code, _)| code);
    assert_eq!(full, Some(ErrorCode::ResourcesInUse), "one is in its trash");
    assert_eq!(brief(&volumes.purge(&spec)), "absent");
}

#[test]
fn a_directory_comes_is_used_and_goes_as_it_was() {
    let work = tempfile::tempdir().expect("a temporary directory");
    let root = work.path().join("srv/d1");
    fs::create_dir_all(&root).expect("a directory");
    fs::write(root.join("notes.txt"), "mine").expect("a file");
    let volumes = open(work.path(), &[], &[]);
    let declared = declare(&root, DriverChoice::Directory);
    let facts = volumes.disks().try_add(&declared).expect("it may be added");
    assert_eq!(
        facts[0],
        format!(
            "{} becomes a disk; its 1 other entries are left alone and are no volumes",
            root.display()
        )
    );
    assert_eq!(names(&root), ["notes.txt"], "a trial writes nothing");

    let (disk, remembered) = volumes.add_disk(&declared).expect("it is added");
    assert_eq!((disk.health, disk.id), (DiskHealth::Ok, remembered.id));
    let again = volumes.add_disk(&declared).expect("asked again it is the same");
    assert_eq!((again.0.id, volumes.disks().report().len()), (disk.id, 2));
    live_and_die(&volumes, &path_source(&root), 1);
    volumes.remove_disk(&path_source(&root)).expect("nothing is on it");
    volumes.remove_disk(&path_source(&root)).expect("asked again it is gone");
    assert_eq!((names(&root), volumes.disks().report().len()), (vec!["notes.txt".to_owned()], 1));
    // It is nobody's now: another agent may have it, and this one gets a new disk.
    let (new, _) = volumes.add_disk(&declared).expect("it is added");
    assert_ne!(new.id, disk.id);
}

#[test]
fn what_cannot_be_used_is_refused_and_left_as_it_was() {
    let work = tempfile::tempdir().expect("a temporary directory");
    let other = tempfile::tempdir().expect("a temporary directory");
    let volumes = open(work.path(), &[], &[]);
    let roots = ["own", "foreign", "quota", "full"].map(|name| work.path().join("srv").join(name));
    for root in &roots {
        fs::create_dir_all(root).expect("a directory");
    }
    let [own, foreign, quota, full] = &roots;
    // A disk whose marker was damaged since it was made.
    let theirs = open(other.path(), &[declare(foreign, DriverChoice::Directory)], &[]);
    let marker = foreign.join(".meta/disk");
    drop(theirs);
    let text = fs::read_to_string(&marker).expect("a marker");
    fs::write(&marker, text.replace("berth", "berht")).expect("written");
    fs::create_dir_all(full.join("volumes/somebodys")).expect("a directory");
    let missing = work.path().join("srv/none");
    let (code, text) = refused(volumes.add_disk(&declare(&missing, DriverChoice::Auto)))
        .expect("there is no such directory");
    assert_eq!(code, ErrorCode::DiskFaulty, "{text}");
    let (_, text) = refused(volumes.add_disk(&declare(foreign, DriverChoice::Auto)))
        .expect("its marker is damaged");
    assert!(text.contains(".meta/disk is damaged"), "{text}");
    let (_, text) = refused(volumes.add_disk(&declare(full, DriverChoice::Auto)))
        .expect("what is there is unknown");
    assert!(text.contains("volumes holds somebodys"), "{text}");
    let (_, text) = refused(volumes.add_disk(&declare(work.path(), DriverChoice::Auto)))
        .expect("the work directory");
    assert!(text.contains("lie within one another"), "{text}");
    // A bare directory is no MOUNT disk.
    let bare = Declaration { source: mount_source(own), ..declare(own, DriverChoice::Auto) };
    let (_, text) = refused(volumes.add_disk(&bare)).expect("nothing is mounted there");
    assert!(text.contains("is not a mount point"), "{text}");
    // A driver that cannot work there: what was made for the trial is taken away again.
    let image = declare(quota, DriverChoice::ProjectQuota);
    if let Some((_, text)) = refused(volumes.add_disk(&image)) {
        assert_eq!(names(quota), [""; 0], "{text}");
    } else {
        skip("project quotas are switched on here");
    }
    assert_eq!(names(own), [""; 0]);
    assert_eq!(volumes.disks().report().len(), 1, "{:?}", volumes.disks().report());
}

#[test]
fn whole_file_systems_and_raw_devices_come_and_go() {
    with_private_mounts(&["mkfs.ext4", "mount", "umount"], || {
        let work = tempfile::tempdir().expect("a temporary directory");
        let volumes = open(work.path(), &[], &[]);
        let point = work.path().join("srv/m1");
        fs::create_dir_all(&point).expect("a directory");
        mount_new("ext4", 64, &point);
        let mount =
            Declaration { source: mount_source(&point), ..declare(&point, DriverChoice::Auto) };
        fs::write(point.join("theirs"), "x").expect("a file");
        let (code, text) = refused(volumes.add_disk(&mount)).expect("it is somebody's");
        assert_eq!(code, ErrorCode::DirectoryExists, "{text}");
        fs::remove_file(point.join("theirs")).expect("removed");
        volumes.add_disk(&mount).expect("it is added");
        live_and_die(&volumes, &mount.source, 1);
        volumes.remove_disk(&mount.source).expect("nothing is on it");
        assert_eq!(names(&point), ["lost+found"]);
        drop(run("umount", &[&point.display().to_string()]));

        let backing = tempfile::tempfile().expect("a temporary file");
        backing.set_len(33 * MIB).expect("it can be sized");
        let device = match device::attach(backing.as_fd()) {
            Ok(device) => device,
            Err(errno) => return skip(&format!("there are no loop devices ({errno})")),
        };
        let block = Declaration {
            source: DiskSource::Block(Arc::from(device.path().as_str())),
            name: "raw".to_owned(),
            driver: DriverChoice::Auto,
            size: None,
        };
        drop(run("mkfs.ext4", &["-q", device.path().as_str()]));
        let (_, text) = refused(volumes.add_disk(&block)).expect("it carries a file system");
        assert!(text.contains("it is not taken over"), "{text}");
        drop(run("wipefs", &["-q", "-a", device.path().as_str()]));
        drop(run(
            "dd",
            &["if=/dev/zero", &format!("of={}", device.path()), "bs=1M", "count=33", "status=none"],
        ));
        let facts = volumes.disks().try_add(&block).expect("nothing is on it");
        assert_eq!(facts[1], "its one volume can have 32 MiB");
        let (disk, _) = volumes.add_disk(&block).expect("it is added");
        assert_eq!(disk.size.get(), 32 * MIB);
        let whole = VolumeSpec { size: disk.size, ..spec(2, &block.source) };
        assert_eq!(brief(&volumes.create(&whole)), "present");
        let (code, _) = refused(volumes.remove_disk(&block.source)).expect("a volume is on it");
        assert_eq!(code, ErrorCode::ResourcesInUse);
        assert_eq!(brief(&volumes.trash(&whole)), "present");
        assert_eq!(brief(&volumes.purge(&whole)), "absent");
        volumes.remove_disk(&block.source).expect("nothing is on it");
        let (new, _) = volumes.add_disk(&block).expect("it is nobody's");
        assert_ne!(new.id, disk.id);
    });
}
