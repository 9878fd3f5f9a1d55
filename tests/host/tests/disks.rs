//! A disk is used only while it is the disk it was; what is wrong with one is told and does not touch the others.

use berth_agent::disk::{Declaration, Disks, DriverChoice, Owner};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_host_tests::host::{
    Effects as _, OWNER, brief, declare, mount_image, mount_new, open, path_source, place, reason,
    run, spec, with_private_mounts,
};
use berth_model::agent::DiskHealth;
use berth_model::error::ErrorCode;
use berth_model::id::{AgentId, ClusterId};
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::fs;
use std::path::{Path, PathBuf};

fn directory_disk(work: &Path, name: &str) -> (PathBuf, Declaration) {
    let root = work.join(name);
    fs::create_dir_all(&root).expect("the root can be made");
    let declared = declare(&root, DriverChoice::Directory);
    (root, declared)
}

/// `ok`, or why not, for each disk.
fn health(volumes: &Volumes) -> Vec<String> {
    let text = |health| match health {
        DiskHealth::Ok => "ok".to_owned(),
        DiskHealth::Faulty(reason) => reason,
    };
    volumes.disks().report().into_iter().map(|disk| text(disk.health)).collect()
}

#[test]
fn a_disk_is_made_once_and_recognised_afterwards() {
    let work = tempfile::tempdir().unwrap();
    let (root, declared) = directory_disk(work.path(), "d1");
    let first = open(work.path(), std::slice::from_ref(&declared), &[]);
    assert_eq!(health(&first), ["ok", "ok"]);
    let (report, ledger) = (first.disks().report(), first.disks().ledger());
    assert_eq!(report.iter().map(|disk| disk.id).collect::<Vec<_>>(), [ledger[0].id, ledger[1].id]);
    assert_eq!(ledger[1].source, path_source(&root));
    assert!(report[1].size > Bytes::default() && report[1].free > Bytes::default());
    for known in [&[][..], &ledger] {
        let again = open(work.path(), std::slice::from_ref(&declared), known);
        assert_eq!(health(&again), ["ok", "ok"]);
        assert_eq!(again.disks().ledger(), ledger);
    }
    let sized = Declaration { size: Some(Bytes::from_mib(100)), ..declared };
    let report = open(work.path(), &[sized], &ledger).disks().report();
    assert_eq!(report[1].size, Bytes::from_mib(100));
}

#[test]
fn a_disk_of_no_declared_size_has_what_was_free_when_it_was_made() {
    with_private_mounts(&["mount"], || {
        let work = tempfile::tempdir().unwrap();
        let point = work.path().join("fs");
        fs::create_dir(&point).unwrap();
        let shown = point.to_string_lossy().into_owned();
        let _mounted = run("mount", &["-t", "tmpfs", "-o", "size=100m", "tmpfs", &shown]);
        fs::write(point.join("others"), vec![1_u8; 60 << 20]).unwrap();
        let (root, declared) = directory_disk(&point, "d1");
        let size = |known: &[_]| {
            let disks = open(work.path(), std::slice::from_ref(&declared), known);
            (disks.disks().report()[1].size, disks.disks().ledger())
        };
        // 40 MiB are free, of which 5 % stay for the file system.
        let (made, ledger) = size(&[]);
        assert_eq!(made, Bytes::from_mib(38));
        // It stays so while the file system fills, and empties.
        fs::write(root.join("volumes/own"), vec![1_u8; 20 << 20]).unwrap();
        assert_eq!(size(&ledger).0, made);
        fs::remove_file(point.join("others")).unwrap();
        assert_eq!(size(&[]).0, made);
        // What an earlier release made declares what it declared.
        fs::remove_file(root.join(".meta/size")).unwrap();
        assert_eq!(size(&ledger).0, Bytes::from_mib(95));
        let _gone = run("umount", &["-l", &shown]);
    });
}

#[test]
fn a_faulty_disk_is_withheld_and_the_others_go_on() {
    let work = tempfile::tempdir().unwrap();
    let (_good, good) = directory_disk(work.path(), "good");
    let missing = declare(&work.path().join("missing"), DriverChoice::Auto);
    fs::write(work.path().join("file"), "").unwrap();
    let file = declare(&work.path().join("file"), DriverChoice::Auto);
    let inside = declare(&work.path().join("good/inner"), DriverChoice::Auto);
    let (_flat, btrfs) = directory_disk(work.path(), "flat");
    let btrfs = Declaration { driver: DriverChoice::Btrfs, ..btrfs };
    let volumes = open(work.path(), &[good, missing, file, inside, btrfs], &[]);
    let shown = |name: &str| work.path().join(name).display().to_string();
    let states = health(&volumes);
    assert_eq!(
        states[..5],
        [
            "ok".to_owned(),
            "ok".to_owned(),
            format!(
                "the disk's root {} does not exist: mount the disk or make the directory, then restart the agent or wait",
                shown("missing")
            ),
            format!("the disk's root {} is not a directory", shown("file")),
            format!(
                "disk inner at {} and disk good at {} lie within one another",
                shown("good/inner"),
                shown("good")
            ),
        ]
    );
    let flat = format!(
        "the disk at {} cannot have the btrfs driver: the file system is not btrfs: declare it with driver=auto or driver=directory",
        shown("flat")
    );
    if states[5] == "ok" {
        berth_host_tests::host::skip("the temporary directory is on btrfs");
    } else {
        assert_eq!(states[5], flat);
    }
    let lost = spec(1, &path_source(&work.path().join("missing")));
    assert_eq!(brief(&volumes.create(&lost)), "unclear DISK_FAULTY");
    let good = spec(1, &path_source(&work.path().join("good")));
    assert_eq!(brief(&volumes.create(&good)), "present");

    fs::create_dir(work.path().join("missing")).unwrap();
    assert!(volumes.disks().refresh());
    assert_eq!(health(&volumes)[2], "ok");
    assert_eq!(brief(&volumes.create(&lost)), "present");
    assert!(!volumes.disks().refresh());
}

#[test]
fn another_agents_disk_and_another_clusters_disk_are_withheld() {
    let work = tempfile::tempdir().unwrap();
    let (root, declared) = directory_disk(work.path(), "d1");
    let mine = Owner { cluster: None, ..OWNER };
    let disks = Disks::open(work.path(), std::slice::from_ref(&declared), mine, &[]);
    disks.join(ClusterId::from_u128(0xc));
    let id = disks.report()[1].id;
    let elsewhere = tempfile::tempdir().unwrap();
    let reopened = |owner| {
        let disks = Disks::open(elsewhere.path(), std::slice::from_ref(&declared), owner, &[]);
        disks.report().swap_remove(1).health
    };
    let agent = AgentId::from_u128(0xb);
    assert_eq!(
        reopened(Owner { agent, ..OWNER }),
        DiskHealth::Faulty(format!(
            "the disk {id} at {} belongs to agent {}, this is agent {agent}: attach it to the agent it belongs to",
            root.display(),
            OWNER.agent
        ))
    );
    let cluster = ClusterId::from_u128(0xd);
    assert_eq!(
        reopened(Owner { cluster: Some(cluster), ..OWNER }),
        DiskHealth::Faulty(format!(
            "the disk {id} at {} belongs to cluster {}, this agent to cluster {cluster}",
            root.display(),
            ClusterId::from_u128(0xc)
        ))
    );
    assert_eq!(reopened(OWNER), DiskHealth::Ok);
}

#[test]
fn swapped_and_copied_disks_are_withheld() {
    let work = tempfile::tempdir().unwrap();
    let (one, first) = directory_disk(work.path(), "d1");
    let (two, second) = directory_disk(work.path(), "d2");
    let both = [first, second];
    let made = open(work.path(), &both, &[]);
    let volume = spec(1, &path_source(&one));
    assert_eq!(brief(&made.create(&volume)), "present");
    let ledger = made.disks().ledger();
    drop(made);

    let aside = work.path().join("aside");
    fs::rename(&one, &aside).unwrap();
    fs::rename(&two, &one).unwrap();
    fs::rename(&aside, &two).unwrap();
    let swapped = open(work.path(), &both, &ledger);
    let known = |root: &Path, found: usize, known: usize| {
        format!(
            "at {} lies disk {}, where this agent's ledger knows disk {}: attach each disk at the root it was declared with",
            root.display(),
            ledger[found].id,
            ledger[known].id
        )
    };
    assert_eq!(health(&swapped), ["ok".to_owned(), known(&one, 2, 1), known(&two, 1, 2)]);
    assert_eq!(brief(&swapped.verify(&volume)), "unclear DISK_FAULTY");
    fs::rename(&one, &aside).unwrap();
    fs::rename(&two, &one).unwrap();
    fs::rename(&aside, &two).unwrap();
    assert_eq!(health(&open(work.path(), &both, &ledger)), ["ok", "ok", "ok"]);
}

#[test]
fn a_copy_of_a_disk_is_withheld_until_the_operator_confirms_the_move() {
    with_private_mounts(&["mkfs.ext4", "mount"], || {
        let base = tempfile::tempdir().unwrap();
        let work = base.path().join("work");
        mount_new("ext4", 64, &work);
        let (one, first) = directory_disk(&work, "d1");
        let volume = VolumeSpec { size: Bytes::from_mib(1), ..spec(1, &path_source(&one)) };
        let made = open(&work, std::slice::from_ref(&first), &[]);
        assert_eq!(brief(&made.create(&volume)), "present");
        let ledger = made.disks().ledger();
        drop(made);

        let copy = work.join("copy");
        let _copied = run("cp", &["-a", &one.to_string_lossy(), &copy.to_string_lossy()]);
        let both = [first.clone(), declare(&copy, DriverChoice::Directory)];
        let copied = health(&open(&work, &both, &ledger));
        assert_eq!(copied[..2], ["ok", "ok"]);
        assert!(copied[2].contains("is a copy or was moved: its root was inode"), "{copied:?}");

        fs::rename(&one, work.join("original")).unwrap();
        fs::rename(&copy, &one).unwrap();
        let moved = open(&work, std::slice::from_ref(&first), &ledger);
        let said = health(&moved).swap_remove(1);
        assert!(said.contains("is a copy or was moved: its root was inode"), "{said}");
        assert_eq!(brief(&moved.verify(&volume)), "unclear DISK_FAULTY");
        fs::remove_file(one.join(".meta/place")).unwrap();
        let confirmed = open(&work, std::slice::from_ref(&first), &ledger);
        assert_eq!(health(&confirmed)[1], "ok");
        assert_eq!(brief(&confirmed.verify(&volume)), "present");
        drop((moved, confirmed));

        // On another file system the inode may happen to be the same; the file system is not.
        let other = base.path().join("other");
        mount_new("ext4", 64, &other);
        let _copied =
            run("cp", &["-a", &one.to_string_lossy(), &other.join("d1").to_string_lossy()]);
        let _gone = run("umount", &["-l", &work.to_string_lossy()]);
        let _moved = run("mount", &["--bind", &other.to_string_lossy(), &work.to_string_lossy()]);
        let said = health(&open(&work, &[first], &ledger)).swap_remove(1);
        assert!(said.contains("it was adopted on file system"), "{said}");
        for point in [&work, &other] {
            let _gone = run("umount", &["-l", &point.to_string_lossy()]);
        }
    });
}

#[test]
fn a_damaged_marker_and_an_emptied_disk_are_never_made_anew() {
    let work = tempfile::tempdir().unwrap();
    let (root, declared) = directory_disk(work.path(), "d1");
    let declared = [declared];
    let made = open(work.path(), &declared, &[]);
    assert_eq!(brief(&made.create(&spec(1, &path_source(&root)))), "present");
    let ledger = made.disks().ledger();
    let marker = root.join(".meta/disk");
    let whole = fs::read(&marker).unwrap();
    let mut flipped = whole.clone();
    flipped[15] ^= 1;
    fs::write(&marker, flipped).unwrap();
    let said = |known| health(&open(work.path(), &declared, known)).swap_remove(1);
    let shown = root.display();
    assert_eq!(
        said(&ledger),
        format!(
            "the marker {shown}/.meta/disk is damaged: its checksum does not fit its text: restore it from a backup; the volumes are left as they are"
        )
    );
    fs::remove_file(&marker).unwrap();
    assert_eq!(
        said(&ledger),
        format!(
            "{shown} carries no marker, but disk {} was there: it is not mounted, or it was emptied: mount the disk; nothing is written to the bare directory",
            ledger[1].id
        )
    );
    assert_eq!(
        said(&[]),
        format!(
            "{shown} carries no marker, yet volumes holds {}: it is not taken over: restore .meta from a backup, or move the directories away",
            spec(1, &path_source(&root)).id
        )
    );
    fs::write(&marker, whole).unwrap();
    assert_eq!(said(&ledger), "ok");
}

#[test]
fn nothing_is_written_to_a_naked_mount_point() {
    with_private_mounts(&["mkfs.ext4", "mount"], || {
        let work = tempfile::tempdir().unwrap();
        let root = work.path().join("d1");
        mount_new("ext4", 64, &root);
        let image = root.with_extension("image").display().to_string();
        let source = path_source(&root);
        let volume = VolumeSpec { size: Bytes::from_mib(8), ..spec(1, &source) };
        let second = VolumeSpec { size: Bytes::from_mib(8), ..spec(2, &source) };
        let declared = [declare(&root, DriverChoice::Auto)];
        let volumes = open(work.path(), &declared, &[]);
        let report = volumes.disks().report().swap_remove(1);
        let tried = "sizes are not enforced: the file system is not btrfs; project quotas";
        let tried_too = "sizes are not enforced: the file system is not btrfs; the kernel";
        assert_eq!(&*report.driver, "directory");
        assert!(
            report.driver_reason.starts_with(tried) || report.driver_reason.starts_with(tried_too),
            "{}",
            report.driver_reason
        );
        let directory = place(&volumes.create(&volume));
        fs::write(directory.join("rows"), "rows").unwrap();

        // Lazily, because the agent holds the disk open; nothing may be written below it from now on.
        let _gone = run("umount", &["-l", &root.to_string_lossy()]);
        for outcome in [volumes.create(&second), volumes.verify(&volume), volumes.trash(&volume)] {
            assert_eq!(brief(&outcome), "unclear DISK_FAULTY", "{outcome:?}");
            assert!(reason(&outcome).contains("it is not mounted"), "{outcome:?}");
        }
        assert_eq!(
            volumes.open_verified(&volume).map(|_handle| ()).unwrap_err().code,
            ErrorCode::VolumeUnavailable
        );
        assert!(volumes.disks().refresh() || health(&volumes)[1].contains("is not mounted"));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        let ledger = volumes.disks().ledger();
        drop(volumes);
        let restarted = open(work.path(), &declared, &ledger);
        assert!(health(&restarted)[1].contains("it is not mounted"), "{:?}", health(&restarted));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);

        mount_image(&image, &root);
        assert!(restarted.disks().refresh());
        assert_eq!(health(&restarted), ["ok", "ok"]);
        assert_eq!(brief(&restarted.verify(&volume)), "present");
        assert_eq!(fs::read_to_string(directory.join("rows")).unwrap(), "rows");
        let _gone = run("umount", &["-l", &root.to_string_lossy()]);
    });
}

#[test]
fn a_read_only_disk_refuses_and_heals() {
    with_private_mounts(&["mkfs.ext4", "mount"], || {
        let work = tempfile::tempdir().unwrap();
        let root = work.path().join("d1");
        mount_new("ext4", 64, &root);
        let source = path_source(&root);
        let small = |number| VolumeSpec { size: Bytes::from_mib(8), ..spec(number, &source) };
        let volumes = open(work.path(), &[declare(&root, DriverChoice::Auto)], &[]);
        assert_eq!(brief(&volumes.create(&small(1))), "present");
        let shown = root.to_string_lossy();
        let _remounted = run("mount", &["-o", "remount,ro", &shown]);
        assert_eq!(brief(&volumes.create(&small(2))), "failed DISK_READ_ONLY");
        assert_eq!(brief(&volumes.trash(&small(1))), "unclear DISK_READ_ONLY");
        let said = health(&volumes).swap_remove(1);
        assert_eq!(
            said,
            format!(
                "the disk at {shown} is mounted read-only: find out why in the kernel log, then remount it writable"
            )
        );
        let _remounted = run("mount", &["-o", "remount,rw", &shown]);
        assert!(volumes.disks().refresh());
        assert_eq!(brief(&volumes.create(&small(2))), "present");
        drop(volumes);
        let _gone = run("umount", &[&shown]);
    });
}

#[test]
fn a_full_disk_purges_the_oldest_trash_that_is_needed_and_no_more() {
    with_private_mounts(&["mkfs.ext4", "mount"], || {
        let work = tempfile::tempdir().unwrap();
        let root = work.path().join("d1");
        mount_new("ext4", 96, &root);
        let source = path_source(&root);
        let sized =
            |number, mib| VolumeSpec { size: Bytes::from_mib(mib), ..spec(number, &source) };
        let volumes = open(work.path(), &[declare(&root, DriverChoice::Auto)], &[]);
        let trash: Vec<VolumeSpec> = (1..=3).map(|number| sized(number, 20)).collect();
        for volume in &trash {
            let directory = place(&volumes.create(volume));
            fs::write(directory.join("data"), vec![7_u8; 20 << 20]).unwrap();
            assert_eq!(brief(&volumes.trash(volume)), "present");
        }
        let purgeable: Vec<_> =
            trash.iter().map(|volume| (volume.clone(), Bytes::default())).collect();
        let _used = run("sync", &["-f", &root.to_string_lossy()]);
        let create =
            |spec| volumes.run(&VolumeEffect::Create { spec, purgeable: purgeable.clone() });
        match create(sized(4, 40)) {
            VolumeOutcome::Present { purged, .. } => assert_eq!(purged, [trash[0].id, trash[1].id]),
            other => panic!("{other:?}"),
        }
        assert_eq!(brief(&volumes.verify_trash(&trash[1])), "absent");
        assert_eq!(brief(&volumes.verify_trash(&trash[2])), "present");
        let full = create(sized(5, 90));
        assert_eq!(brief(&full), "failed DISK_FULL");
        assert!(reason(&full).contains("needs 90 MiB on disk PATH:"), "{full:?}");
        assert!(reason(&full).ends_with("20 MiB in its trash"), "{full:?}");
        assert_eq!(brief(&volumes.verify_trash(&trash[2])), "present");

        drop(volumes);
        let _gone = run("umount", &[&root.to_string_lossy()]);
    });
}

#[test]
fn what_does_not_fit_on_a_full_disk_is_taken_back_whole() {
    with_private_mounts(&["mount"], || {
        let work = tempfile::tempdir().unwrap();
        let root = work.path().join("d1");
        fs::create_dir(&root).unwrap();
        let shown = root.to_string_lossy().into_owned();
        let _mounted = run("mount", &["-t", "tmpfs", "-o", "size=8m,nr_inodes=40", "d1", &shown]);
        let volumes = open(work.path(), &[declare(&root, DriverChoice::Auto)], &[]);
        assert_eq!(health(&volumes), ["ok", "ok"]);
        let tiny = VolumeSpec { size: Bytes::from_mib(1), ..spec(6, &path_source(&root)) };
        let fillers = (0..40).take_while(|n| fs::write(root.join(format!("f{n}")), "").is_ok());
        assert!(fillers.count() > 20);
        let names = |below: &str| {
            let entries = fs::read_dir(root.join(below)).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
        };
        let before = names(".meta");
        // First not even the directory fits; with each file less, one step more is done and taken back.
        let mut refusals = 0;
        let outcome = loop {
            let outcome = volumes.create(&tiny);
            if brief(&outcome) != "failed DISK_FULL" {
                break outcome;
            }
            assert_eq!((names("volumes"), names(".meta")), (vec![], before.clone()));
            fs::remove_file(root.join(format!("f{refusals}"))).unwrap();
            refusals += 1;
        };
        assert_eq!(brief(&outcome), "present", "{outcome:?}");
        assert!(refusals >= 2, "{refusals}");
        drop(volumes);
        let _gone = run("umount", &[&shown]);
    });
}

#[test]
fn disks_that_cannot_be_told_apart_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let (_one, first) = directory_disk(work.path(), "d1");
    let (_two, second) = directory_disk(work.path(), "d2");
    let relative = Declaration { source: DiskSource::Path("srv/d3".into()), ..second.clone() };
    let volumes = open(
        work.path(),
        &[
            first.clone(),
            Declaration { name: first.name.clone(), ..second },
            Declaration { name: "other".into(), ..first.clone() },
            Declaration { name: "relative".into(), ..relative },
            Declaration { source: DiskSource::Mount("srv/m".into()), name: "m".into(), ..first },
        ],
        &[],
    );
    let shown = work.path().join("d1").display().to_string();
    assert_eq!(
        health(&volumes),
        [
            "ok".to_owned(),
            "ok".to_owned(),
            "two disks are named d1".to_owned(),
            format!("disk other at {shown} and disk d1 at {shown} lie within one another"),
            "disk relative: its root srv/d3 is not absolute".to_owned(),
            "disk m: its root srv/m is not absolute".to_owned(),
        ]
    );
}
