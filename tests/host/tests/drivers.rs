//! Each driver against the suite.

use berth_agent::disk::image::Format;
use berth_agent::disk::{Declaration, DriverChoice};
use berth_agent::volume::Volumes;
use berth_agent::volume::driver::Driver;
use berth_agent::volume::fake::Fake;
use berth_host_tests::conformance;
use berth_host_tests::host::{
    attached_below, declare, mount_new, mount_source, open, path_source, run, unmount_images,
    with_private_mounts,
};
use berth_model::agent::DiskHealth;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::volume::Enforcement;
use std::collections::BTreeMap;
use std::sync::Arc;

#[test]
fn the_fake_driver_keeps_the_promises() {
    let fake: Arc<dyn Driver> = Arc::new(Fake::new(Bytes::from_mib(1024)));
    let volumes = Volumes::with_drivers(BTreeMap::from([(DiskSource::Root, fake)]));
    conformance::check(&volumes, &DiskSource::Root, "fake", Enforcement::None);
    conformance::check_snapshots(&volumes, &DiskSource::Root);
}

#[test]
fn the_directory_driver_keeps_the_promises() {
    let work = tempfile::tempdir().unwrap();
    let root = Declaration { driver: DriverChoice::Directory, ..Declaration::root() };
    let volumes = open(work.path(), &[root], &[]);
    conformance::check(&volumes, &DiskSource::Root, "directory", Enforcement::None);
}

#[test]
fn the_btrfs_driver_keeps_the_promises() {
    with_private_mounts(&["mkfs.btrfs", "mount"], || {
        let work = tempfile::tempdir().unwrap();
        let root = work.path().join("d1");
        mount_new("btrfs", 512, &root);
        let volumes = open(work.path(), &[declare(&root, DriverChoice::Auto)], &[]);
        let disk = volumes.disks().report().swap_remove(1);
        assert_eq!(disk.health, DiskHealth::Ok);
        assert_eq!(
            (&*disk.driver, &*disk.driver_reason),
            ("btrfs", "btrfs: a write past a quota was stopped")
        );
        conformance::check(&volumes, &path_source(&root), "btrfs", Enforcement::Quota);
        conformance::check_snapshots(&volumes, &path_source(&root));
    });
}

fn image_keeps_the_promises(kind: Option<Format>, mib: u64, driver: &str) {
    let tool = format!("mkfs.{}", driver.trim_start_matches("image:"));
    with_private_mounts(&[&tool, "umount"], || {
        let work = tempfile::tempdir().expect("a temporary directory");
        let root = work.path().join("d1");
        std::fs::create_dir(&root).expect("the root can be made");
        let volumes = open(work.path(), &[declare(&root, DriverChoice::Image(kind))], &[]);
        let disk = volumes.disks().report().swap_remove(1);
        assert_eq!(disk.health, DiskHealth::Ok);
        let size = Bytes::from_mib(mib);
        let source = path_source(&root);
        conformance::check_sized(&volumes, &source, driver, Enforcement::Device, size);
        if kind == Some(Format::Btrfs) {
            conformance::check_resizing(&volumes, &source, size);
        }
        unmount_images(&root);
        assert_eq!(attached_below(&root), [""; 0]);
    });
}

#[test]
fn the_image_driver_keeps_the_promises_with_xfs() {
    image_keeps_the_promises(Some(Format::Xfs), 300, "image:xfs");
}

#[test]
fn the_image_driver_keeps_the_promises_with_ext4() {
    image_keeps_the_promises(Some(Format::Ext4), 64, "image:ext4");
}

#[test]
fn the_image_driver_keeps_the_promises_with_btrfs() {
    image_keeps_the_promises(Some(Format::Btrfs), 512, "image:btrfs");
}

#[test]
fn the_image_driver_takes_ext4_for_what_is_too_small_for_xfs() {
    image_keeps_the_promises(None, 64, "image:ext4");
}

#[test]
fn the_mount_driver_keeps_the_promises() {
    with_private_mounts(&["mkfs.ext4", "mount", "umount"], || {
        let work = tempfile::tempdir().unwrap();
        let root = work.path().join("d1");
        mount_new("ext4", 512, &root);
        let source = mount_source(&root);
        let declared = Declaration { source: source.clone(), ..declare(&root, DriverChoice::Auto) };
        let volumes = open(work.path(), &[declared], &[]);
        let disk = volumes.disks().report().swap_remove(1);
        assert_eq!((&disk.health, &*disk.driver), (&DiskHealth::Ok, "mount"));
        let size = Bytes::from_mib(64);
        conformance::check_sized(&volumes, &source, "mount", Enforcement::Device, size);
        drop(volumes);
        let _gone = run("umount", &[&root.to_string_lossy()]);
    });
}
