//! Each driver against the suite.

use berth_agent::disk::{Declaration, DriverChoice};
use berth_agent::volume::Volumes;
use berth_agent::volume::driver::Driver;
use berth_agent::volume::fake::Fake;
use berth_host_tests::conformance;
use berth_host_tests::host::{declare, mount_new, open, path_source, with_private_mounts};
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
