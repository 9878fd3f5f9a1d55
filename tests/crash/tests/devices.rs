//! BLOCK disks: the machine crashes after each call of each step in the life of a raw device's volume, and again during
//! the recovery; and each call fails once. The volume's bytes are never touched before a purge, and what was begun is done.

#![cfg(test)]

use berth_agent::disk::block::header::RESERVED;
use berth_agent::disk::fs;
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{Place, VolumeEffect, VolumeOutcome};
use berth_crash_tests::scene::{DEVICE, spec, start_with_device};
use berth_crash_tests::sim::storage::{Model, Storage};
use berth_crash_tests::sim::{CallSite, Event, Fault, SimFs, Traits};
use berth_model::access::Access;
use berth_model::agent::DiskHealth;
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const ROWS: &[u8] = b"all the rows";

/// What is done, one after the other; each in the life that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    First,
    Create,
    Trash(u64),
    Restore(u64),
    Purge(u64),
}

const LIFE: [Step; 6] =
    [Step::First, Step::Create, Step::Trash(1), Step::Restore(2), Step::Trash(2), Step::Purge(2)];

fn volume(generation: u64) -> VolumeSpec {
    let source = DiskSource::Block(Arc::from(DEVICE));
    let (size, access) = (Bytes::from_mib(3), Access::default());
    VolumeSpec { generation, size, access, ..spec(1, source) }
}

fn effect(step: Step) -> Option<VolumeEffect> {
    Some(match step {
        Step::First => return None,
        Step::Create => VolumeEffect::Create { spec: volume(1), purgeable: Vec::new() },
        Step::Trash(generation) => VolumeEffect::Trash { spec: volume(generation) },
        Step::Restore(generation) => {
            VolumeEffect::Restore { spec: volume(generation), purgeable: Vec::new() }
        },
        Step::Purge(generation) => VolumeEffect::Purge { spec: volume(generation) },
    })
}

fn machine() -> SimFs {
    let traits = Traits {
        model: Model::Xfs,
        has_attributes: true,
        has_subvolumes: false,
        has_projects: false,
        has_reflinks: false,
    };
    let files = SimFs::new(traits, &["agent"]);
    files.add_device("raw");
    files
}

fn health(volumes: &Volumes) -> DiskHealth {
    volumes.disks().report().swap_remove(1).health
}

fn rows(files: &SimFs) -> Vec<u8> {
    let device = fs::device(files, Path::new(DEVICE)).unwrap();
    device.read_at(RESERVED + 100, ROWS.len()).unwrap()
}

/// The machine before a step, with what the ledger knows of its disks.
fn before(step: usize) -> (SimFs, Vec<LedgerDisk>) {
    let files = machine();
    let mut known = Vec::new();
    for step in &LIFE[..step] {
        let volumes = start_with_device(&files, &known);
        known = volumes.disks().ledger();
        if let Some(effect) = effect(*step) {
            let outcome = volumes.run(&effect);
            assert!(matches!(outcome, VolumeOutcome::Present { .. }), "{step:?}: {outcome:?}");
        }
        if *step == Step::Create {
            let device = fs::device(&files, Path::new(DEVICE)).unwrap();
            device.write_at(RESERVED + 100, ROWS).unwrap();
        }
        files.rest();
    }
    (files, known)
}

/// Does a step on a machine that runs or starts; nothing is the answer of a start.
fn carry_out(files: &SimFs, known: &[LedgerDisk], step: Step) -> Option<VolumeOutcome> {
    let volumes = start_with_device(files, known);
    effect(step).map(|effect| volumes.run(&effect))
}

fn judge(files: &SimFs, step: Step, way: &str) {
    let has_rows = matches!(step, Step::Trash(_) | Step::Restore(_));
    if has_rows {
        assert_eq!(rows(files), ROWS, "{way}");
    }
}

struct Search {
    wanted: Option<VolumeOutcome>,
    known: Vec<LedgerDisk>,
    step: Step,
    crashed: BTreeSet<CallSite>,
    states: u64,
}

impl Search {
    /// Crashes after each of these calls, recovers, and crashes again while it recovers.
    fn crash(&mut self, files: &SimFs, events: &[Event], depth: u8, way: &str) {
        for event in events {
            let Some(storage) = &event.after else { continue };
            // What the ROOT disk does at a start is crashed after elsewhere.
            if !event.site.file.contains("/block/") {
                continue;
            }
            self.crashed.insert(event.site);
            let way = format!("{way} after {} {}", event.site, event.arguments);
            for tree in storage.crashes(6) {
                self.recover(&files.crashed(tree), depth, &way);
            }
            self.recover(&files.with(storage.clone()), depth, &format!("{way}, killed"));
        }
    }

    fn recover(&mut self, files: &SimFs, depth: u8, way: &str) {
        self.states += 1;
        judge(files, self.step, way);
        if let Step::Purge(generation) = self.step {
            wanted_back(&files.fork(), &self.known, generation, way);
        }
        let copy = files.fork();
        copy.record();
        let volumes = start_with_device(&copy, &self.known);
        assert_eq!(health(&volumes), DiskHealth::Ok, "{way}");
        let answer = effect(self.step).map(|effect| volumes.run(&effect));
        assert_eq!(answer, self.wanted, "{way}");
        let events = copy.events();
        // What was answered is durable.
        for tree in copy.storage().crashes(6) {
            let after = copy.crashed(tree);
            judge(&after, self.step, way);
            answered(&after, &volumes.disks().ledger(), self.step, way);
        }
        if depth > 0 {
            self.crash(files, &events, depth - 1, way);
        }
    }
}

/// A purge that was interrupted gives the volume back whole or not at all.
fn wanted_back(files: &SimFs, known: &[LedgerDisk], generation: u64, way: &str) {
    let answer = carry_out(files, known, Step::Restore(generation + 1));
    match answer {
        Some(VolumeOutcome::Present { .. }) => assert_eq!(rows(files), ROWS, "{way}"),
        Some(VolumeOutcome::Absent) => {},
        other => panic!("{way}: {other:?}"),
    }
}

fn answered(files: &SimFs, known: &[LedgerDisk], step: Step, way: &str) {
    let volumes = start_with_device(files, known);
    assert_eq!(health(&volumes), DiskHealth::Ok, "{way}");
    let look = |generation, place| {
        let spec = volume(generation);
        let found = volumes.run(&VolumeEffect::Verify { spec, place });
        matches!(found, VolumeOutcome::Present { .. })
    };
    let is_so = match step {
        Step::First => true,
        Step::Create => look(1, Place::Live),
        Step::Trash(generation) => look(generation, Place::Trash),
        Step::Restore(generation) => look(generation, Place::Live),
        Step::Purge(generation) => !look(generation, Place::Trash),
    };
    assert!(is_so, "{way}: {step:?} was answered");
}

#[test]
fn no_crash_loses_a_volume_or_half_a_step() {
    let (mut crashed, mut states) = (BTreeSet::new(), 0);
    for (index, step) in LIFE.into_iter().enumerate() {
        let (files, known) = before(index);
        let copy = files.fork();
        let wanted = carry_out(&copy, &known, step);
        let undisturbed = files.fork();
        undisturbed.record();
        assert_eq!(carry_out(&undisturbed, &known, step), wanted);
        let events = undisturbed.events();
        let mut search = Search { wanted, known, step, crashed: BTreeSet::new(), states: 0 };
        search.crash(&files, &events, 1, &format!("{step:?}"));
        crashed.extend(search.crashed);
        states += search.states;
    }
    eprintln!("states {states}, call sites {}", crashed.len());
    let here: BTreeSet<(String, u32)> =
        crashed.iter().map(|site| (site.file.to_owned(), site.line)).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agent/src/disk/block");
    for name in ["header.rs", "signature.rs"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        for (line, text) in (1..).zip(text.lines()) {
            if text.contains(".write_at(") || text.contains(".sync()") {
                let at = (format!("agent/src/disk/block/{name}"), line);
                assert!(here.contains(&at), "never crashed after: {at:?} {text}");
            }
        }
    }
}

#[test]
fn no_error_of_any_call_loses_a_volume_or_is_called_success() {
    let mut failures = 0;
    for (index, step) in LIFE.into_iter().enumerate() {
        let (files, known) = before(index);
        let wanted = carry_out(&files.fork(), &known, step);
        for errno in [Errno::IO, Errno::NOSPC, Errno::ROFS, Errno::ACCESS] {
            for at in 0.. {
                let copy = files.fork();
                copy.fail(Fault { at, errno });
                let answer = carry_out(&copy, &known, step);
                let Some(site) = copy.failed() else { break };
                failures += 1;
                let way = format!("{step:?}: {site} fails with {errno}");
                judge(&copy, step, &way);
                if step != Step::First {
                    let refused = matches!(
                        answer,
                        Some(VolumeOutcome::Failed(_) | VolumeOutcome::Unclear(_))
                    );
                    assert!(refused || answer == wanted, "{way}: {answer:?}");
                }
                let storage: Storage = copy.storage();
                let again = copy.with(storage);
                let volumes = start_with_device(&again, &known);
                assert_eq!(health(&volumes), DiskHealth::Ok, "{way}");
                let answer = effect(step).map(|effect| volumes.run(&effect));
                assert_eq!(answer, wanted, "{way}");
                judge(&again, step, &way);
            }
        }
    }
    eprintln!("failures {failures}");
    assert!(failures > 100, "{failures}");
}

#[test]
fn a_device_that_holds_anything_is_neither_taken_over_nor_given_to_a_volume() {
    let write = |files: &SimFs, at: u64, bytes: &[u8]| {
        let device = fs::device(files, Path::new(DEVICE)).unwrap();
        device.write_at(at, bytes).unwrap();
    };
    for (at, bytes, what) in [
        (0, &b"XFSB"[..], "an XFS file system"),
        (0x438, b"\x53\xef", "an ext2, ext3 or ext4 file system"),
        (0x10040, b"_BHRfS_M", "a btrfs file system"),
        (0x200, b"EFI PART", "a GPT partition table"),
        (0x218, b"LVM2 001", "an LVM physical volume"),
        (0x1000, b"\xfc\x4e\x2b\xa9", "a member of a software RAID"),
        (777, b"x", "data of an unknown kind (first at byte 777)"),
        ((4 << 20) - 1, b"x", "data of an unknown kind near its end (first at byte 4194303)"),
    ] {
        let files = machine();
        write(&files, at, bytes);
        let before = files.storage().fingerprint();
        let volumes = start_with_device(&files, &[]);
        let text = match health(&volumes) {
            DiskHealth::Faulty(text) => text,
            DiskHealth::Ok => panic!("{what}"),
        };
        let said = format!("the device /raw holds {what}: it is not taken over: declare another");
        assert!(text.starts_with(&said), "{text}");
        let device = fs::device(&files, Path::new(DEVICE)).unwrap();
        assert_eq!(device.read_at(at, bytes.len()).unwrap(), bytes);
        assert_ne!(before, 0);

        if at < RESERVED {
            let (files, known) = before_create();
            write(&files, RESERVED + at, bytes);
            let volumes = start_with_device(&files, &known);
            let create = VolumeEffect::Create { spec: volume(1), purgeable: Vec::new() };
            match volumes.run(&create) {
                VolumeOutcome::Failed(reason) => {
                    let said = format!("the device /raw holds {what}: no volume is made on it");
                    assert_eq!(reason.message, said);
                },
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}

fn before_create() -> (SimFs, Vec<LedgerDisk>) {
    before(1)
}
