//! A volume is used only when its directory and its marker both say that it is the one that is meant.

use berth_agent::disk::fs::Node;
use berth_agent::disk::{Declaration, DriverChoice, Owner};
use berth_agent::volume::Volumes;
use berth_host_tests::host::{
    Effects as _, OWNER, brief, generation, open, place, reason, run, spec, with_private_mounts,
};
use berth_model::error::ErrorCode;
use berth_model::id::AgentId;
use berth_model::orphan::OrphanPlace;
use berth_model::resources::DiskSource;
use berth_model::volume::VolumeSpec;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

struct Host {
    work: tempfile::TempDir,
    volumes: Volumes,
}

fn host() -> Host {
    let work = tempfile::tempdir().expect("a temporary directory");
    let root = Declaration { driver: DriverChoice::Directory, ..Declaration::root() };
    let volumes = open(work.path(), &[root], &[]);
    Host { work, volumes }
}

impl Host {
    fn path(&self, below: &str) -> PathBuf {
        self.work.path().join("disk").join(below)
    }
    fn make(&self, number: u128) -> (VolumeSpec, PathBuf) {
        let spec = spec(number, &DiskSource::Root);
        let directory = place(&self.volumes.create(&spec));
        (spec, directory)
    }
    fn marker(&self, spec: &VolumeSpec) -> PathBuf {
        self.path(&format!(".meta/{}", spec.id))
    }
    /// The volume is refused by every way to it, with this evidence, and nothing changes.
    fn refused(&self, spec: &VolumeSpec, evidence: &str) {
        let before = listing(self.work.path());
        for (what, outcome) in [
            ("verify", self.volumes.verify(spec)),
            ("create", self.volumes.create(spec)),
            ("trash", self.volumes.trash(spec)),
        ] {
            let code = if what == "create" { "DIRECTORY_EXISTS" } else { "VOLUME_UNAVAILABLE" };
            assert_eq!(brief(&outcome), format!("foreign {code}"), "{what}: {outcome:?}");
            assert!(reason(&outcome).ends_with(evidence), "{what}: {}", reason(&outcome));
        }
        let opened = self.volumes.open_verified(spec).map(|_handle| ()).expect_err("it is refused");
        assert_eq!(opened.code, ErrorCode::VolumeUnavailable);
        assert!(opened.message.ends_with(evidence), "{}", opened.message);
        assert_eq!(listing(self.work.path()), before);
    }
}

/// Every path below a directory with its content.
fn listing(top: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut open = vec![top.to_path_buf()];
    while let Some(here) = open.pop() {
        for entry in fs::read_dir(&here).expect("a directory of ours") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path.clone());
                found.push((path, None));
            } else {
                let content = fs::read(&path).ok();
                found.push((path, content));
            }
        }
    }
    found.sort();
    found
}

fn inode(handle: &OwnedFd) -> u64 {
    rustix::fs::fstat(handle.as_fd()).expect("an open handle").st_ino
}

#[test]
fn a_new_volume_is_empty_private_and_opened_by_its_verified_handle() {
    let host = host();
    let (spec, directory) = host.make(1);
    assert_eq!(directory, host.path(&format!("volumes/{}", spec.id)));
    assert_eq!(host.volumes.host_path(&spec), Some(directory.clone()));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o7777, 0o700);
    let handle = host.volumes.open_verified(&spec).unwrap();
    assert_eq!(inode(&handle), fs::metadata(&directory).unwrap().ino());
}

#[test]
fn a_flipped_or_missing_marker_is_refused() {
    let host = host();
    let (spec, _directory) = host.make(1);
    let marker = host.marker(&spec);
    let whole = fs::read(&marker).unwrap();
    let mut flipped = whole.clone();
    flipped[20] ^= 0x10;
    fs::write(&marker, &flipped).unwrap();
    host.refused(&spec, "is damaged: its checksum does not fit its text");
    fs::write(&marker, &whole[..whole.len() / 2]).unwrap();
    host.refused(&spec, "is damaged: its checksum does not fit its text");
    fs::remove_file(&marker).unwrap();
    host.refused(&spec, "it has no marker");
    fs::write(&marker, &whole).unwrap();
    assert_eq!(brief(&host.volumes.verify(&spec)), "present");
}

#[test]
fn another_generation_and_another_owner_are_refused() {
    let host = host();
    let (spec, _directory) = host.make(1);
    let other = generation(&spec, 2);
    assert!(
        reason(&host.volumes.verify(&other)).ends_with("its marker says generation 1, expected 2")
    );
    let owner = VolumeSpec { role: berth_model::role::Role::new("other").unwrap(), ..spec.clone() };
    host.refused(&owner, "its marker says role storage/mysql, expected other");
    assert_eq!(brief(&host.volumes.verify(&spec)), "present");
}

#[test]
fn swapped_directories_are_refused() {
    let host = host();
    let ((one, first), (two, second)) = (host.make(1), host.make(2));
    let aside = host.path("volumes/aside");
    fs::rename(&first, &aside).unwrap();
    fs::rename(&second, &first).unwrap();
    fs::rename(&aside, &second).unwrap();
    host.refused(&one, &format!("the directory says it is volume {}", two.id));
    host.refused(&two, &format!("the directory says it is volume {}", one.id));
}

#[test]
fn a_directory_put_in_a_volumes_place_is_refused() {
    let host = host();
    let (spec, directory) = host.make(1);
    fs::rename(&directory, host.path("moved")).unwrap();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("file"), "not the volume").unwrap();
    host.refused(&spec, "the directory carries no identity");

    fs::remove_dir_all(&directory).unwrap();
    symlink(host.path("moved"), &directory).unwrap();
    host.refused(&spec, "it is a link or a file");
    fs::remove_file(&directory).unwrap();
    fs::write(&directory, "a file").unwrap();
    host.refused(&spec, "it is a link or a file");
    fs::remove_file(&directory).unwrap();
    fs::rename(host.path("moved"), &directory).unwrap();
    assert_eq!(brief(&host.volumes.verify(&spec)), "present");
}

#[test]
fn a_missing_volume_is_absent_and_never_made_anew() {
    let host = host();
    let (spec, directory) = host.make(1);
    fs::rename(&directory, host.path("elsewhere")).unwrap();
    assert_eq!(brief(&host.volumes.verify(&spec)), "absent");
    assert_eq!(
        host.volumes.open_verified(&spec).map(|_handle| ()).unwrap_err().message,
        format!("volume {} is not at {}", spec.id, directory.display())
    );
    assert_eq!(brief(&host.volumes.create(&spec)), "failed VOLUME_LOST");
    assert!(!directory.exists());
    assert_eq!(brief(&host.volumes.trash(&spec)), "absent");
    fs::rename(host.path("elsewhere"), &directory).unwrap();
    assert_eq!(brief(&host.volumes.verify(&spec)), "present");
}

#[test]
fn an_existing_directory_is_never_adopted() {
    let host = host();
    let spec = spec(1, &DiskSource::Root);
    let directory = host.path(&format!("volumes/{}", spec.id));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("rows"), "somebody's").unwrap();
    host.refused(&spec, "it has no marker");
    assert_eq!(brief(&host.volumes.purge(&spec)), "absent");
    assert_eq!(fs::read_to_string(directory.join("rows")).unwrap(), "somebody's");

    let unfinished = host.path(&format!("volumes/.{}.tmp", spec.id));
    fs::remove_dir_all(&directory).unwrap();
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("rows"), "somebody's").unwrap();
    assert_eq!(brief(&host.volumes.create(&spec)), "foreign DIRECTORY_EXISTS");
    assert_eq!(fs::read_to_string(unfinished.join("rows")).unwrap(), "somebody's");
}

#[test]
fn what_nobody_knows_is_listed_and_kept() {
    let host = host();
    let (known, _directory) = host.make(1);
    let (forgotten, lost) = host.make(2);
    let (destroyed, _directory) = host.make(3);
    let trashed = place(&host.volumes.trash(&destroyed));
    let stranger = host.path("volumes/backup-of-tuesday");
    fs::create_dir(&stranger).unwrap();
    let mut told = host.volumes.report(&BTreeSet::from([known.id]));
    let list: Vec<_> = told[0]
        .orphans
        .iter()
        .map(|o| (PathBuf::from(&*o.path), o.place, o.spec.clone(), o.evidence.to_string()))
        .collect();
    let (live, trash, none) = (OrphanPlace::Live, OrphanPlace::Trash, String::new());
    let unnamed = "it is not named after a volume".to_owned();
    assert_eq!(
        list,
        vec![
            (lost, live, Some(forgotten), none.clone()),
            (stranger.clone(), live, None, unnamed),
            (trashed.clone(), trash, Some(destroyed), none),
        ]
    );
    assert!(told[0].orphans.iter().all(|o| o.used.is_none() && o.modified.is_some()));
    assert!(host.volumes.measure_orphans(&mut told), "they are counted");
    assert!(told[0].orphans.iter().all(|o| o.used.is_some()), "{told:?}");
    assert!(!host.volumes.measure_orphans(&mut told), "and not a second time");
    assert!(stranger.exists() && trashed.exists());
}

#[test]
fn another_agents_volumes_are_refused() {
    let host = host();
    let (spec, directory) = host.make(1);
    let other = Owner { agent: AgentId::from_u128(0xb), ..OWNER };
    let elsewhere = tempfile::tempdir().unwrap();
    let there = Volumes::new(std::sync::Arc::new(berth_agent::disk::Disks::open(
        elsewhere.path(),
        &[],
        other,
        &[],
    )));
    let theirs = place(&there.create(&spec));
    let their_marker = elsewhere.path().join("disk/.meta").join(spec.id.to_string());
    fs::rename(&directory, host.path("aside")).unwrap();
    let _copied = run("cp", &["-a", &theirs.to_string_lossy(), &directory.to_string_lossy()]);
    let own_disk = host.volumes.disks().report()[0].id;
    let their_disk = there.disks().report()[0].id;
    host.refused(
        &spec,
        &format!("the directory says it belongs to disk {their_disk} of agent {}", other.agent),
    );
    fs::copy(their_marker, host.marker(&spec)).unwrap();
    host.refused(
        &spec,
        &format!("its marker says agent {}, expected {}", other.agent, OWNER.agent),
    );
    assert_ne!(own_disk, their_disk);
}

#[test]
fn a_mounted_volume_is_neither_trashed_nor_purged_and_mounts_are_not_entered() {
    with_private_mounts(&["mount"], || {
        let host = host();
        let precious = host.work.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("rows"), "rows").unwrap();
        let (spec, directory) = host.make(1);
        let (shown, inner) = (precious.to_string_lossy(), directory.join("inner"));
        fs::create_dir(&inner).unwrap();

        let _mounted = run("mount", &["--bind", &shown, &inner.to_string_lossy()]);
        let text = format!("volume {} is mounted at {}", spec.id, inner.display());
        let refused = host.volumes.trash(&spec);
        assert_eq!((brief(&refused).as_str(), reason(&refused)), ("failed VOLUME_IN_USE", &*text));
        let _gone = run("umount", &[&inner.to_string_lossy()]);

        let outside = host.work.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let _mounted =
            run("mount", &["--bind", &directory.to_string_lossy(), &outside.to_string_lossy()]);
        let text = format!("volume {} is mounted at {}", spec.id, outside.display());
        let refused = host.volumes.trash(&spec);
        assert_eq!((brief(&refused).as_str(), reason(&refused)), ("failed VOLUME_IN_USE", &*text));
        let _gone = run("umount", &[&outside.to_string_lossy()]);

        let trashed = place(&host.volumes.trash(&spec));
        let inner = trashed.join("inner");
        let _mounted = run("mount", &["--bind", &shown, &inner.to_string_lossy()]);
        let refused = host.volumes.purge(&spec);
        assert_eq!(brief(&refused), "failed VOLUME_IN_USE", "{refused:?}");
        assert!(trashed.exists());
        // The deleter does not rely on the look before: it stops at the mount by itself.
        let trash = fs::File::open(host.path(".trash")).unwrap();
        let name = std::ffi::CString::new(format!("{}.1", spec.id)).unwrap();
        let open = Node::from(OwnedFd::from(fs::File::open(&trashed).unwrap()));
        let value = berth_agent::disk::remove::volume_attribute(&open);
        let limits =
            berth_agent::disk::remove::Limits { entries: u64::MAX, volume: value.unwrap() };
        let stopped = berth_agent::disk::remove::remove_tree(trash.as_fd(), &name, &limits);
        assert_eq!(
            stopped.unwrap_err().to_string(),
            format!("{}.1/inner is a mount point: unmount it first; it was left alone", spec.id)
        );
        assert_eq!(fs::read_to_string(precious.join("rows")).unwrap(), "rows");
        let _gone = run("umount", &[&inner.to_string_lossy()]);
        assert_eq!(brief(&host.volumes.purge(&spec)), "absent");
        assert_eq!(fs::read_to_string(precious.join("rows")).unwrap(), "rows");
    });
}

#[test]
fn a_mount_over_a_volume_hides_it_and_is_refused() {
    with_private_mounts(&["mount"], || {
        let host = host();
        let (spec, directory) = host.make(1);
        let _mounted = run("mount", &["-t", "tmpfs", "none", &directory.to_string_lossy()]);
        // That may pass: it is no evidence against the volume, which would be quarantined for it.
        let outcomes =
            [host.volumes.verify(&spec), host.volumes.create(&spec), host.volumes.trash(&spec)];
        for outcome in outcomes {
            assert_eq!(brief(&outcome), "unclear VOLUME_UNAVAILABLE", "{outcome:?}");
            let wanted = format!("something is mounted at {}: ", directory.display());
            assert!(reason(&outcome).starts_with(&wanted), "{}", reason(&outcome));
        }
        let opened = host.volumes.open_verified(&spec).map(|_handle| ()).expect_err("refused");
        assert_eq!(opened.code, ErrorCode::VolumeUnavailable);
        let _gone = run("umount", &[&directory.to_string_lossy()]);
        assert_eq!(brief(&host.volumes.verify(&spec)), "present");
    });
}

/// Where a volume lies whose deletion was begun.
fn going(trashed: &Path) -> PathBuf {
    PathBuf::from(format!("{}.going", trashed.display()))
}

#[test]
fn what_a_stopped_deletion_left_is_never_restored() {
    let host = host();
    let (spec, directory) = host.make(1);
    for number in 0..100 {
        fs::write(directory.join(number.to_string()), "rows").unwrap();
    }
    // The deleter stops at what looks like a disk.
    fs::create_dir_all(directory.join("sub/.meta")).unwrap();
    fs::write(directory.join("sub/.meta/disk"), "").unwrap();
    let trashed = place(&host.volumes.trash(&spec));
    assert_eq!(brief(&host.volumes.purge(&spec)), "unclear VOLUME_UNAVAILABLE");
    assert_eq!(brief(&host.volumes.restore(&generation(&spec, 2))), "unclear VOLUME_UNAVAILABLE");
    let left = host.volumes.verify_trash(&spec);
    assert_eq!(place(&left), going(&trashed));
    assert!(!directory.exists() && !trashed.exists());
    fs::remove_dir_all(going(&trashed).join("sub")).unwrap();
    assert_eq!(brief(&host.volumes.restore(&generation(&spec, 2))), "absent");
    assert_eq!(fs::read_dir(host.path(".trash")).unwrap().count(), 0);
    assert!(!directory.exists() && !host.marker(&spec).exists());
}

#[test]
fn purge_follows_no_link_and_reports_what_cannot_go() {
    let host = host();
    let (spec, directory) = host.make(1);
    let outside = host.work.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("rows"), "rows").unwrap();
    symlink(&outside, directory.join("link")).unwrap();
    fs::create_dir(directory.join("sub")).unwrap();
    fs::write(directory.join("sub/locked"), "x").unwrap();
    let trashed = place(&host.volumes.trash(&spec));
    let locked = trashed.join("sub/locked");
    let immutable = std::process::Command::new("chattr").arg("+i").arg(&locked).output();
    if immutable.is_ok_and(|output| output.status.success()) {
        let stopped = host.volumes.purge(&spec);
        assert_eq!(brief(&stopped), "unclear VOLUME_UNAVAILABLE");
        assert!(reason(&stopped).contains("sub/locked is immutable or append-only"), "{stopped:?}");
        let locked = going(&trashed).join("sub/locked");
        assert!(locked.exists());
        let _changed = run("chattr", &["-i", &locked.to_string_lossy()]);
    } else {
        berth_host_tests::host::skip("files cannot be made immutable here");
    }
    assert_eq!(brief(&host.volumes.purge(&spec)), "absent");
    assert!(!trashed.exists() && !host.marker(&spec).exists());
    assert_eq!(fs::read_to_string(outside.join("rows")).unwrap(), "rows");
}
