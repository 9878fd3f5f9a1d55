//! The driver `project-quota` on simulated ext4 and XFS: sizes are kept for each volume by itself, grow and shrink under a
//! writer, go and come back with the volume, and no project is ever used twice.
//!
//! No kernel is asked here: what one does is probed by the agent on the disk itself.

#![cfg(test)]

use berth_agent::disk::fs::{self, Node};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{Place, VolumeEffect, VolumeOutcome};
use berth_crash_tests::books::Books;
use berth_crash_tests::scene::{WORK, machine, spec, start};
use berth_crash_tests::setup::{SETUPS, Setup};
use berth_crash_tests::sim::SimFs;
use berth_model::agent::DiskHealth;
use berth_model::error::ErrorCode;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::{Enforcement, VolumeSpec};
use rustix::io::Errno;
use std::path::Path;

const MIB: usize = 1 << 20;

fn with_projects() -> impl Iterator<Item = &'static Setup> {
    SETUPS.iter().filter(|setup| setup.traits.has_projects)
}

fn fresh(setup: &Setup) -> (SimFs, Volumes) {
    let files = machine(setup);
    let volumes = start(&files, setup, &Books::new(0), false);
    (files, volumes)
}

fn volume(number: usize) -> VolumeSpec {
    VolumeSpec { size: Bytes::from_mib(64), ..spec(number, DiskSource::Root) }
}

fn create(volumes: &Volumes, spec: &VolumeSpec) -> VolumeOutcome {
    volumes.run(&VolumeEffect::Create { spec: spec.clone(), purgeable: Vec::new() })
}

fn resize(volumes: &Volumes, spec: &VolumeSpec, mib: u64) -> VolumeOutcome {
    let size = Bytes::from_mib(mib);
    volumes.run(&VolumeEffect::Resize { spec: spec.clone(), size, purgeable: Vec::new() })
}

fn assert_present(outcome: &VolumeOutcome) {
    match outcome {
        VolumeOutcome::Present { driver, enforcement, .. } => {
            assert_eq!((&**driver, *enforcement), ("project-quota", Enforcement::Quota));
        },
        other => panic!("{other:?}"),
    }
}

fn open(files: &SimFs, spec: &VolumeSpec) -> Node {
    let path = format!("{WORK}/disk/volumes/{}", spec.id);
    fs::open(files, Path::new(&path)).unwrap()
}

fn project_of(files: &SimFs, spec: &VolumeSpec) -> u32 {
    open(files, spec).project().unwrap()
}

/// Writes whole MiB until it is stopped or has written so many; answers how many.
fn write(file: &Node, most: usize) -> usize {
    let block = vec![7; MIB];
    let mut written = 0;
    while written < most {
        match file.write(&block) {
            Ok(()) => written += 1,
            Err(errno) => {
                assert_eq!(errno, Errno::DQUOT);
                break;
            },
        }
    }
    written
}

#[test]
fn a_size_is_kept_for_that_volume_alone_and_grows_and_shrinks_under_its_writer() {
    for setup in with_projects() {
        let (files, volumes) = fresh(setup);
        let (full, other) = (volume(1), volume(2));
        assert_present(&create(&volumes, &full));
        assert_present(&create(&volumes, &other));
        let file = open(&files, &full).create("rows").unwrap();
        assert_eq!(write(&file, 80), 64);
        assert_eq!(write(&open(&files, &other).create("rows").unwrap(), 10), 10);
        assert_present(&resize(&volumes, &full, 100));
        assert_eq!(write(&file, 80), 36);
        let full = VolumeSpec { size: Bytes::from_mib(100), ..full };
        match resize(&volumes, &full, 99) {
            VolumeOutcome::Failed(reason) => {
                assert_eq!(reason.code, ErrorCode::VolumeTooFull);
                let text = format!(
                    "volume data-1 ({}) uses 100 MiB, more than the wanted 99 MiB",
                    full.id
                );
                assert_eq!(reason.message, text);
            },
            other => panic!("{other:?}"),
        }
        let account = open(&files, &full).account(project_of(&files, &full)).unwrap();
        assert_eq!(account.limit, Some(100 << 20), "as it was");
        let used = volumes.run(&VolumeEffect::Usage { spec: full.clone() });
        let (bytes, inodes) = (Bytes::from_mib(100), Some(account.files));
        let measured = Measured { bytes, inodes, inodes_limit: None };
        assert_eq!(used, VolumeOutcome::Used(measured));
        assert_present(&resize(&volumes, &other, 11));
        let other_file = open(&files, &other).create("more").unwrap();
        assert_eq!(write(&other_file, 80), 1);
    }
}

#[test]
fn the_size_goes_and_comes_back_with_the_volume_and_nothing_of_it_outlives_it() {
    for setup in with_projects() {
        let (files, volumes) = fresh(setup);
        let first = volume(1);
        assert_present(&create(&volumes, &first));
        let project = project_of(&files, &first);
        let file = open(&files, &first).create("rows").unwrap();
        assert_eq!(write(&file, 80), 64);
        assert_present(&volumes.run(&VolumeEffect::Trash { spec: first.clone() }));
        // A full volume gets its next generation all the same.
        let second = VolumeSpec { generation: 2, ..first };
        let restore = VolumeEffect::Restore { spec: second.clone(), purgeable: Vec::new() };
        assert_present(&volumes.run(&restore));
        assert_eq!(project_of(&files, &second), project);
        assert_eq!(write(&file, 1), 0);
        assert_present(&volumes.run(&VolumeEffect::Trash { spec: second.clone() }));
        let trashed = VolumeEffect::Verify { spec: second.clone(), place: Place::Trash };
        assert_present(&volumes.run(&trashed));
        let root = fs::open(&files, Path::new(WORK)).unwrap();
        assert_eq!(root.account(project).unwrap().limit, Some(64 << 20));
        assert_eq!(volumes.run(&VolumeEffect::Purge { spec: second }), VolumeOutcome::Absent);
        assert!(root.account(project).unwrap().is_free());
    }
}

#[test]
fn a_project_that_anybody_uses_or_has_limited_is_not_taken() {
    for setup in with_projects() {
        let (files, volumes) = fresh(setup);
        assert_present(&create(&volumes, &volume(1)));
        let first_choice = project_of(&files, &volume(1));

        let (files, volumes) = fresh(setup);
        let root = fs::open(&files, Path::new("/other")).unwrap();
        root.limit_project(first_choice, Some(1 << 30)).unwrap();
        assert_present(&create(&volumes, &volume(1)));
        let second_choice = project_of(&files, &volume(1));
        assert_ne!(second_choice, first_choice);
        assert_eq!(root.account(first_choice).unwrap().limit, Some(1 << 30), "left as it was");

        let (files, volumes) = fresh(setup);
        let root = fs::open(&files, Path::new("/other")).unwrap();
        root.make_directory("stranger", 0o700).unwrap();
        root.directory("stranger").unwrap().set_project(first_choice).unwrap();
        assert_present(&create(&volumes, &volume(1)));
        assert_eq!(project_of(&files, &volume(1)), second_choice);
        assert_eq!(root.account(first_choice).unwrap().limit, None, "left as it was");
    }
}

#[test]
fn auto_takes_project_quotas_where_they_stop_a_writer_and_says_why_elsewhere() {
    use berth_agent::disk::DriverChoice;
    for setup in with_projects() {
        let auto = Setup { driver: DriverChoice::Auto, ..*setup };
        let (_files, volumes) = fresh(&auto);
        let disk = volumes.disks().report().swap_remove(0);
        assert_eq!(
            (&disk.health, &*disk.driver, &*disk.driver_reason, disk.enforcement),
            (
                &DiskHealth::Ok,
                "project-quota",
                "project quota: a write past a limit was stopped",
                Enforcement::Quota
            )
        );
    }
    let without = Setup { driver: DriverChoice::Auto, ..SETUPS[0] };
    let disk = fresh(&without).1.disks().report().swap_remove(0);
    assert_eq!(
        (&*disk.driver, &*disk.driver_reason),
        (
            "directory",
            "sizes are not enforced: the file system is not btrfs; the kernel or the file system has no project quotas"
        )
    );
    let declared = Setup { driver: DriverChoice::ProjectQuota, ..without };
    let disk = fresh(&declared).1.disks().report().swap_remove(0);
    assert_eq!(
        disk.health,
        DiskHealth::Faulty(
            "the disk at /agent/disk cannot have the project-quota driver: the kernel or the file system has no project quotas: declare it with driver=auto or driver=directory"
                .to_owned()
        )
    );
}
