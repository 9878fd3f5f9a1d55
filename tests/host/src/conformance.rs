//! What every volume driver must do, the one in memory included.

use crate::host::{self, Effects as _, brief, generation, place, snapshot};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_model::access::{Access, Mode, Owner};
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::volume::{Enforcement, VolumeSpec};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

/// Runs the whole suite on an empty disk.
///
/// # Panics
/// The driver breaks a promise.
pub fn check(volumes: &Volumes, disk: &DiskSource, driver: &str, enforcement: Enforcement) {
    check_sized(volumes, disk, driver, enforcement, Bytes::from_mib(64));
    check_resizing(volumes, disk, Bytes::from_mib(64));
}

/// What holds also for drivers that cannot give every size, with volumes of this size.
///
/// # Panics
/// The driver breaks a promise.
pub fn check_sized(
    volumes: &Volumes,
    disk: &DiskSource,
    driver: &str,
    enforcement: Enforcement,
    size: Bytes,
) {
    let disk = &Stage { source: disk.clone(), size };
    comes_once(volumes, disk, driver, enforcement);
    goes_and_comes_back(volumes, disk);
    is_only_purged_from_the_trash(volumes, disk);
    needs_room(volumes, disk);
    has_its_owner(volumes, disk);
}

/// What holds also for a disk that is one volume.
///
/// # Panics
/// The driver breaks a promise.
pub fn check_single(
    volumes: &Volumes,
    disk: &DiskSource,
    driver: &str,
    enforcement: Enforcement,
    size: Bytes,
) {
    let disk = &Stage { source: disk.clone(), size };
    comes_once(volumes, disk, driver, enforcement);
    goes_and_comes_back(volumes, disk);
    is_only_purged_from_the_trash(volumes, disk);
}

/// Sizes from a half to three halves of this one, in use or not.
///
/// # Panics
/// The driver breaks a promise.
pub fn check_resizing(volumes: &Volumes, disk: &DiskSource, size: Bytes) {
    let disk = &Stage { source: disk.clone(), size };
    let one = spec(0x500, disk);
    let usual = size.get() >> 20;
    let (large, half) = (usual + usual / 2, usual / 2);
    let sized = |mib| VolumeSpec { size: Bytes::from_mib(mib), ..one.clone() };
    expect("nothing to resize", &volumes.resize(&one, large), "absent");
    let made = volumes.create(&one);
    expect("create", &made, "present");
    for mib in [large, large, half] {
        assert_eq!(volumes.resize(&one, mib), made, "{mib}");
    }
    // What the disk has not got is refused, and the size that was stays, whatever an earlier attempt did.
    let refused = volumes.resize(&one, 1 << 30);
    expect("more than there is", &refused, "failed DISK_FULL");
    assert_eq!(volumes.create(&one), made, "its first size");
    assert_eq!(volumes.resize(&one, half), made);
    let small = sized(half);
    assert_eq!(volumes.verify(&small), made);
    expect("trash", &volumes.trash(&small), "present");
    expect("not live", &volumes.resize(&small, usual), "absent");
    let again = generation(&small, 2);
    expect("restore", &volumes.restore(&again), "present");
    expect("another life", &volumes.resize(&small, usual), "foreign VOLUME_UNAVAILABLE");
    expect("trash", &volumes.trash(&again), "present");
    expect("purge", &volumes.purge(&again), "absent");
}

/// Where volumes are made, and how large.
struct Stage {
    source: DiskSource,
    size: Bytes,
}

fn spec(number: u128, disk: &Stage) -> VolumeSpec {
    VolumeSpec { size: disk.size, ..host::spec(number, &disk.source) }
}

/// What a driver must do that takes snapshots.
///
/// # Panics
/// The driver breaks a promise.
pub fn check_snapshots(volumes: &Volumes, disk: &DiskSource) {
    check_snapshots_sized(volumes, disk, Bytes::from_mib(64));
}

/// The same with volumes of this size.
///
/// # Panics
/// The driver breaks a promise.
pub fn check_snapshots_sized(volumes: &Volumes, disk: &DiskSource, size: Bytes) {
    let disk = &Stage { source: disk.clone(), size };
    are_taken_once(volumes, disk);
    are_rolled_back_to(volumes, disk);
    are_cloned(volumes, disk);
    have_the_owner_of_now(volumes, disk);
}

fn have_the_owner_of_now(volumes: &Volumes, disk: &Stage) {
    let first = VolumeSpec { access: access(71, 0o750), ..spec(0x800, disk) };
    let now = access(72, 0o2770);
    expect("create", &volumes.create(&first), "present");
    let changed = VolumeSpec { access: now, ..first.clone() };
    let (one, safety) = (snapshot(0x801, &first), snapshot(0x802, &changed));
    expect("take", &volumes.take(&one), "present");
    expect("set", &volumes.set_access(&first, now), "present");
    expect("take", &volumes.take(&safety), "present");
    let second = generation(&changed, 2);
    owns(&volumes.roll_back(&second, &one, &safety), now);
    let copy = VolumeSpec { access: first.access, ..spec(0x803, disk) };
    owns(&volumes.clone_from(&copy, &one), first.access);
    for (volume, text) in [(&second, "the volume"), (&copy, "the clone")] {
        expect(text, &volumes.trash(volume), "present");
        expect(text, &volumes.purge(volume), "absent");
    }
    expect("delete", &volumes.forget(&one), "absent");
    expect("delete", &volumes.forget(&safety), "absent");
}

/// Without privilege the owner stays; the mode can be set all the same.
fn access(id: u32, mode: u32) -> Access {
    let owner = Owner::new(id, id + 1).ok().filter(|_| rustix::process::geteuid().is_root());
    Access { owner, mode: Mode::new(mode).ok() }
}

/// The directory that tasks see has this owner and mode, where there is one.
fn owns(outcome: &VolumeOutcome, access: Access) {
    expect("it is there", outcome, "present");
    let Ok(facts) = std::fs::metadata(place(outcome)) else { return };
    let found = Access {
        owner: access.owner.and_then(|_| Owner::new(facts.uid(), facts.gid()).ok()),
        mode: Mode::new(facts.mode() & 0o7777).ok(),
    };
    assert_eq!(found, access);
}

/// Owner and mode: from the beginning, after a change, and after the way through the trash.
fn has_its_owner(volumes: &Volumes, disk: &Stage) {
    let one = VolumeSpec { access: access(1234, 0o750), ..spec(0x900, disk) };
    expect("nothing to set", &volumes.set_access(&one, one.access), "absent");
    owns(&volumes.create(&one), one.access);
    let next = access(4321, 0o2770);
    for _twice in 0..2 {
        owns(&volumes.set_access(&one, next), next);
    }
    let elsewhere = generation(&one, 2);
    let refused = volumes.set_access(&elsewhere, next);
    expect("another life", &refused, "foreign VOLUME_UNAVAILABLE");
    let one = VolumeSpec { access: next, ..one };
    expect("trash", &volumes.trash(&one), "present");
    expect("not live", &volumes.set_access(&one, next), "absent");
    let again = generation(&one, 2);
    owns(&volumes.restore(&again), next);
    expect("trash", &volumes.trash(&again), "present");
    expect("purge", &volumes.purge(&again), "absent");
}

fn are_taken_once(volumes: &Volumes, disk: &Stage) {
    let volume = spec(0x500, disk);
    let (one, two) = (snapshot(0x501, &volume), snapshot(0x502, &volume));
    expect("nothing is there", &volumes.find(&one), "absent");
    expect("of nothing", &volumes.take(&one), "failed VOLUME_UNAVAILABLE");
    expect("deleting nothing", &volumes.forget(&one), "absent");
    expect("create", &volumes.create(&volume), "present");
    let taken = volumes.take(&one);
    expect("take", &taken, "present");
    assert_eq!(volumes.take(&one), taken, "asked again");
    assert_eq!(volumes.find(&one), taken);
    let other = snapshot(0x501, &generation(&volume, 2));
    expect("another life", &volumes.find(&other), "foreign SNAPSHOT_NOT_READY");
    expect("another life", &volumes.forget(&other), "foreign SNAPSHOT_NOT_READY");
    expect("take the next", &volumes.take(&two), "present");
    expect("delete", &volumes.forget(&two), "absent");
    expect("asked again", &volumes.forget(&two), "absent");
    expect("it is gone", &volumes.find(&two), "absent");
    assert_eq!(volumes.find(&one), taken, "the other is untouched");
    expect("the volume goes", &volumes.trash(&volume), "present");
    expect("no snapshot of trash", &volumes.take(&two), "failed VOLUME_UNAVAILABLE");
    expect("and its data", &volumes.purge(&volume), "absent");
    assert_eq!(volumes.find(&one), taken, "its snapshots are the agent's business");
    expect("delete", &volumes.forget(&one), "absent");
}

fn are_rolled_back_to(volumes: &Volumes, disk: &Stage) {
    let first = spec(0x600, disk);
    let (second, third) = (generation(&first, 2), generation(&first, 3));
    let (one, safety) = (snapshot(0x601, &first), snapshot(0x602, &first));
    expect("of nothing", &volumes.roll_back(&second, &one, &safety), "absent");
    expect("create", &volumes.create(&first), "present");
    let refused = volumes.roll_back(&second, &one, &safety);
    expect("to nothing", &refused, "failed SNAPSHOT_LOST");
    expect("take", &volumes.take(&one), "present");
    let refused = volumes.roll_back(&second, &one, &safety);
    expect("without safety", &refused, "failed SNAPSHOT_LOST");
    expect("it is untouched", &volumes.verify(&first), "present");
    expect("take", &volumes.take(&safety), "present");
    let rolled = volumes.roll_back(&second, &one, &safety);
    expect("roll back", &rolled, "present");
    assert_eq!(volumes.roll_back(&second, &one, &safety), rolled, "asked again");
    assert_eq!(volumes.verify(&second), rolled);
    expect("the first life is over", &volumes.verify(&first), "foreign VOLUME_UNAVAILABLE");
    let again = snapshot(0x603, &second);
    expect("take", &volumes.take(&again), "present");
    expect("and on", &volumes.roll_back(&third, &one, &again), "present");
    expect("the volume goes", &volumes.trash(&third), "present");
    expect("with all its lives", &volumes.purge(&third), "absent");
    for snapshot in [&one, &safety, &again] {
        expect("the snapshots stay", &volumes.find(snapshot), "present");
        expect("delete", &volumes.forget(snapshot), "absent");
    }
    expect("nothing of it remains", &volumes.create(&first), "present");
}

fn are_cloned(volumes: &Volumes, disk: &Stage) {
    let (volume, copy) = (spec(0x700, disk), spec(0x701, disk));
    let one = snapshot(0x702, &volume);
    expect("of nothing", &volumes.clone_from(&copy, &one), "failed SNAPSHOT_LOST");
    expect("nothing of it remains", &volumes.verify(&copy), "absent");
    expect("create", &volumes.create(&volume), "present");
    expect("take", &volumes.take(&one), "present");
    let cloned = volumes.clone_from(&copy, &one);
    expect("clone", &cloned, "present");
    assert_eq!(volumes.clone_from(&copy, &one), cloned, "asked again");
    assert_eq!(volumes.verify(&copy), cloned);
    expect("delete", &volumes.forget(&one), "absent");
    assert_eq!(volumes.verify(&copy), cloned, "it lives without its origin");
    expect("the clone goes", &volumes.trash(&copy), "present");
    expect("and its data", &volumes.purge(&copy), "absent");
    expect("the volume goes on", &volumes.verify(&volume), "present");
}

fn expect(what: &str, outcome: &VolumeOutcome, want: &str) {
    assert_eq!(brief(outcome), want, "{what}: {outcome:?}");
}

fn comes_once(volumes: &Volumes, disk: &Stage, driver: &str, enforcement: Enforcement) {
    let one = spec(0x100, disk);
    expect("nothing is there", &volumes.verify(&one), "absent");
    expect("nothing to measure", &volumes.usage(&one), "failed VOLUME_UNAVAILABLE");
    let made = volumes.create(&one);
    match &made {
        VolumeOutcome::Present { host_path, driver: by, enforcement: kept, purged } => {
            let end = if driver == "block" { "/dev/loop" } else { &one.id.to_string() };
            assert!(host_path.contains(end), "{host_path}");
            assert_eq!((&**by, *kept, purged.as_slice()), (driver, enforcement, &[][..]));
        },
        other => panic!("create: {other:?}"),
    }
    assert_eq!(volumes.create(&one), made, "asked again");
    assert_eq!(volumes.verify(&one), made);
    expect("it is not in the trash", &volumes.verify_trash(&one), "absent");
    expect("it can be measured", &volumes.usage(&one), "used");
    let larger = VolumeSpec { size: Bytes::new(one.size.get() + (1 << 20)), ..one.clone() };
    expect("another size", &volumes.create(&larger), "foreign DIRECTORY_EXISTS");
    assert_eq!(volumes.verify(&larger), made, "the size is no identity");
    assert_eq!(volumes.verify(&one), made, "unchanged");

    let nowhere = DiskSource::Path(Arc::from("/nowhere"));
    let elsewhere = VolumeSpec { source: nowhere, ..one.clone() };
    expect("no such disk", &volumes.create(&elsewhere), "unclear UNKNOWN_DISK");
    clear(volumes, &one);
}

fn goes_and_comes_back(volumes: &Volumes, disk: &Stage) {
    let first = spec(0x200, disk);
    let (second, third) = (generation(&first, 2), generation(&first, 3));
    expect("restore of nothing", &volumes.restore(&second), "absent");
    expect("trash of nothing", &volumes.trash(&first), "absent");
    expect("create", &volumes.create(&first), "present");
    let trashed = volumes.trash(&first);
    expect("trash", &trashed, "present");
    assert_eq!(volumes.trash(&first), trashed, "asked again");
    assert_eq!(volumes.verify_trash(&first), trashed);
    expect("it is no longer live", &volumes.verify(&first), "absent");
    expect("it is not made anew", &volumes.create(&first), "failed VOLUME_LOST");
    expect("restore of a life that never was", &volumes.restore(&third), "absent");
    let restored = volumes.restore(&second);
    expect("restore", &restored, "present");
    assert_eq!(volumes.restore(&second), restored, "asked again");
    assert_eq!(volumes.verify(&second), restored);
    expect("the trash is empty", &volumes.verify_trash(&first), "absent");
    expect("the first life is over", &volumes.verify(&first), "foreign VOLUME_UNAVAILABLE");
    expect("nor can it be trashed", &volumes.trash(&first), "foreign VOLUME_UNAVAILABLE");
    expect("the second life goes on", &volumes.verify(&second), "present");
    clear(volumes, &second);
}

fn is_only_purged_from_the_trash(volumes: &Volumes, disk: &Stage) {
    let first = spec(0x300, disk);
    let second = generation(&first, 2);
    expect("create", &volumes.create(&first), "present");
    expect("a live one", &volumes.purge(&first), "foreign VOLUME_UNAVAILABLE");
    expect("it is untouched", &volumes.verify(&first), "present");
    expect("trash", &volumes.trash(&first), "present");
    expect("restore", &volumes.restore(&second), "present");
    expect("trash", &volumes.trash(&second), "present");
    expect("another life", &volumes.purge(&first), "foreign VOLUME_UNAVAILABLE");
    expect("it is untouched", &volumes.verify_trash(&second), "present");
    expect("purge", &volumes.purge(&second), "absent");
    expect("asked again", &volumes.purge(&second), "absent");
    expect("it is gone", &volumes.verify_trash(&second), "absent");
    expect("restore of what is gone", &volumes.restore(&generation(&first, 3)), "absent");
    expect("nothing of it remains", &volumes.create(&first), "present");
    clear(volumes, &first);
}

/// The disk is as if the volume had never been there.
fn clear(volumes: &Volumes, live: &VolumeSpec) {
    expect("trash", &volumes.trash(live), "present");
    expect("purge", &volumes.purge(live), "absent");
}

fn needs_room(volumes: &Volumes, disk: &Stage) {
    let huge = VolumeSpec { size: Bytes::from_mib(1 << 40), ..spec(0x400, disk) };
    let (kept, trashed) = (spec(0x401, disk), spec(0x402, disk));
    expect("create", &volumes.create(&trashed), "present");
    expect("trash", &volumes.trash(&trashed), "present");
    expect("create", &volumes.create(&kept), "present");
    let asked = volumes.run(&VolumeEffect::Create {
        spec: huge.clone(),
        purgeable: vec![(trashed.clone(), Bytes::from_mib(1))],
    });
    expect("more than there is", &asked, "failed DISK_FULL");
    expect("trash that would not help stays", &volumes.verify_trash(&trashed), "present");
    expect("nothing of it remains", &volumes.verify(&huge), "absent");
}
