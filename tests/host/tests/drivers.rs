//! Each driver against the suite.

use berth_agent::disk::image::Format;
use berth_agent::disk::{Declaration, DriverChoice, project};
use berth_agent::volume::Volumes;
use berth_agent::volume::driver::Driver;
use berth_agent::volume::fake::Fake;
use berth_host_tests::conformance;
use berth_host_tests::host::{
    Effects as _, attached_below, brief, declare, mount_new, mount_source, open, path_source,
    place, run, skip, spec, unmount_images, with_private_mounts,
};
use berth_model::agent::DiskHealth;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::volume::{Enforcement, VolumeSpec};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
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

/// Mounts a new file system with project quotas, or says why not.
fn mount_with_projects(kind: &str, root: &Path) -> Result<(), String> {
    std::fs::create_dir_all(root).expect("the mount point can be made");
    let image = root.with_extension("image");
    let file = std::fs::File::create(&image).expect("the image can be made");
    file.set_len(512 << 20).expect("the image can be sized");
    let image = image.to_string_lossy();
    let features = ["-O", "project,quota", "-E", "quotatype=prjquota"];
    let features = if kind == "ext4" { &features[..] } else { &[] };
    let _made = run(&format!("mkfs.{kind}"), &[&["-q"], features, &[&*image]].concat());
    let output = Command::new("mount")
        .args(["-o", "loop,prjquota", &image, &root.to_string_lossy()])
        .output()
        .expect("mount runs");
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.split_whitespace().collect();
    Err(format!("{kind} cannot be mounted with project quotas here: {}", said.join(" ")))
}

fn project_quota_keeps_the_promises(kind: &str) {
    with_private_mounts(&[&format!("mkfs.{kind}"), "mount"], || {
        let work = tempfile::tempdir().expect("a temporary directory");
        let root = work.path().join("d1");
        if let Err(why) = mount_with_projects(kind, &root) {
            skip(&why);
            return;
        }
        let volumes = open(work.path(), &[declare(&root, DriverChoice::Auto)], &[]);
        let disk = volumes.disks().report().swap_remove(1);
        assert_eq!(
            (disk.health, &*disk.driver, &*disk.driver_reason),
            (DiskHealth::Ok, "project-quota", "project quota: a write past a limit was stopped")
        );
        let source = path_source(&root);
        conformance::check(&volumes, &source, "project-quota", Enforcement::Quota);
        // A writer without privileges is stopped at the size, and goes on when it has grown.
        let spec = spec(0x900, &source);
        let made = volumes.create(&spec);
        let file = place(&made).join("rows");
        let past = |mib: usize| {
            let block = vec![7_u8; mib << 20];
            let file = std::fs::OpenOptions::new().append(true).create(true).open(&file);
            let file = file.expect("the file opens");
            project::as_anybody(|| Ok(std::io::Write::write_all(&mut &file, &block)))
                .expect("a thread without the privilege")
        };
        let refused = past(80).expect_err("more than its size").raw_os_error();
        assert!(matches!(refused, Some(28 | 122)), "{refused:?}");
        assert_eq!(volumes.resize(&spec, 120), made);
        past(20).expect("it has grown");
        let spec = VolumeSpec { size: Bytes::from_mib(120), ..spec };
        assert_eq!(brief(&volumes.resize(&spec, 60)), "failed VOLUME_TOO_FULL");
        drop(volumes);
        let _gone = run("umount", &["-l", &root.to_string_lossy()]);
    });
}

#[test]
fn the_project_quota_driver_keeps_the_promises_on_xfs() {
    project_quota_keeps_the_promises("xfs");
}

#[test]
fn the_project_quota_driver_keeps_the_promises_on_ext4() {
    project_quota_keeps_the_promises("ext4");
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
