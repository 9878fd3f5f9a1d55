//! Wiping what is in the trash: the machine crashes after each call of it, and again during the recovery. Whatever happens, no
//! name goes of a file that is not overwritten on the disk, no file gets shorter before what was written in it is synced,
//! and what was answered as wiped is.

#![cfg(test)]

use berth_agent::disk::block::header::RESERVED;
use berth_agent::disk::fs;
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_crash_tests::activity::Operation;
use berth_crash_tests::books::Books;
use berth_crash_tests::scene::{DEVICE, KEYS, spec, start, start_with_device};
use berth_crash_tests::sequences::{adopted, carry_out};
use berth_crash_tests::setup::{SETUPS, Setup};
use berth_crash_tests::sim::storage::Model;
use berth_crash_tests::sim::{CallSite, Event, SimFs, Traits};
use berth_model::access::Access;
use berth_model::error::ErrorCode;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::VolumeSpec;
use berth_model::wipe::Wipe;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Sets of unsynced changes up to this size are lost in every combination.
const EXHAUSTIVE: usize = 6;

fn setups() -> impl Iterator<Item = &'static Setup> {
    SETUPS.iter().filter(|setup| setup.traits.model != Model::Btrfs)
}

/// A machine with a volume in the trash, everything durable.
fn trashed(setup: &Setup) -> (SimFs, Books) {
    let (files, mut books) = adopted(setup);
    let volumes = start(&files, setup, &books, false);
    let life = [(0, Operation::Create), (0, Operation::Destroy)];
    carry_out(&files, setup, &volumes, &mut books, &life);
    files.rest();
    (files, books)
}

fn wipe(spec: &VolumeSpec, method: Wipe) -> VolumeEffect {
    VolumeEffect::Wipe { spec: spec.clone(), method }
}

fn survey(spec: &VolumeSpec, method: Wipe) -> VolumeEffect {
    VolumeEffect::SurveyWipe { spec: spec.clone(), method }
}

struct Search<'a> {
    setup: &'a Setup,
    books: &'a Books,
    method: Wipe,
    crashed: BTreeSet<CallSite>,
    leaks: Vec<String>,
    seen: BTreeSet<u64>,
    states: usize,
}

impl Search<'_> {
    fn spec(&self) -> &VolumeSpec {
        &self.books.volumes[0].spec
    }

    /// Wipes on this machine, and crashes after each call.
    fn explore(&mut self, files: &SimFs, depth: u8, way: &str) {
        // The same is left by many crashes.
        if !self.seen.insert(files.storage().fingerprint()) {
            return;
        }
        self.states += 1;
        let files = files.fork();
        let volumes = start(&files, self.setup, self.books, false);
        files.watch_leaks();
        files.record();
        let outcome = volumes.run(&wipe(self.spec(), self.method));
        assert_eq!(outcome, VolumeOutcome::Wiped, "{way}");
        let events = files.events();
        if depth > 0 {
            for event in &events {
                self.after(&files, event, depth, way);
            }
        }
        // What was answered is so, also after a power cut, and what is left is deleted as ever.
        for tree in files.storage().crashes(EXHAUSTIVE) {
            self.ends(&files.crashed(tree), way);
        }
        self.ends(&files, way);
        let id = self.spec().id.to_string();
        assert_eq!(files.storage().seen().file(&format!("{KEYS}/{id}")), None, "{way}: its key");
        // The key is overwritten by writing, before anything else; its name is the volume's.
        let leaks = files.leaks().into_iter().filter(|name| *name != id);
        self.leaks.extend(leaks.map(|name| format!("{way}: {name}")));
    }

    fn after(&mut self, files: &SimFs, event: &Event, depth: u8, way: &str) {
        let Some(storage) = &event.after else { return };
        self.crashed.insert(event.site);
        let way = format!("{way} [after {} {}]", event.site, event.arguments);
        for tree in storage.crashes(EXHAUSTIVE) {
            self.explore(&files.crashed(tree), depth - 1, &way);
        }
        self.explore(&files.with(storage.clone()), depth - 1, &format!("{way} killed"));
    }

    fn ends(&mut self, files: &SimFs, way: &str) {
        let files = files.fork();
        let volumes = start(&files, self.setup, self.books, false);
        files.watch_leaks();
        let outcome = volumes.run(&VolumeEffect::Purge { spec: self.spec().clone() });
        assert_eq!(outcome, VolumeOutcome::Absent, "{way}");
        let id = self.spec().id.to_string();
        let names = files.storage().seen().names("/agent/disk/.trash");
        assert!(!names.iter().any(|name| name.contains(&id)), "{way}: {names:?}");
        // The volume's marker says which volume it was, and nothing of what it held.
        let left = files.leaks().into_iter().filter(|name| *name != id);
        self.leaks.extend(left.map(|name| format!("{way}: left {name}")));
    }
}

fn search<'a>(setup: &'a Setup, books: &'a Books, method: Wipe) -> Search<'a> {
    let (crashed, leaks) = (BTreeSet::new(), Vec::new());
    Search { setup, books, method, crashed, leaks, seen: BTreeSet::new(), states: 0 }
}

#[test]
fn no_name_goes_before_what_it_led_to_is_overwritten() {
    let mut crashed = BTreeSet::new();
    for setup in setups() {
        let (files, books) = trashed(setup);
        for method in [Wipe::Zero, Wipe::Shred] {
            let spec = &books.volumes[0].spec;
            let volumes = start(&files, setup, &books, false);
            let found = volumes.run(&survey(spec, method));
            assert!(
                matches!(&found, VolumeOutcome::Used(Measured { bytes, .. }) if bytes.get() > 0),
                "{found:?}"
            );
            let mut search = search(setup, &books, method);
            search.explore(&files, 1, setup.name);
            eprintln!("{} {method}: {} states", setup.name, search.states);
            search.leaks.truncate(3);
            assert_eq!(search.leaks, [""; 0]);
            crashed.extend(search.crashed);
        }
    }
    crashed.extend(devices());
    let covered: BTreeSet<(String, u32)> =
        crashed.iter().map(|site| (site.file.to_owned(), site.line)).collect();
    let never: Vec<_> = written_down().into_iter().filter(|at| !covered.contains(at)).collect();
    assert!(never.is_empty(), "in the sources and never crashed after: {never:?}");
}

/// The call sites of the sources of wiping that change something or make it durable.
fn written_down() -> Vec<(String, u32)> {
    const CALLS: [&str; 4] = [".overwrite(", ".discard(", ".sync()", ".set_length("];
    let mut found = Vec::new();
    for file in ["agent/src/disk/wipe.rs", "agent/src/volume/on_disk/wipe.rs"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        let text = std::fs::read_to_string(path).expect("the sources are there");
        for (line, text) in (1..).zip(text.lines()) {
            let named = text.trim_start().starts_with("//") || text.contains("fn ");
            if !named && CALLS.iter().any(|call| text.contains(call)) {
                found.push((file.to_owned(), line));
            }
        }
    }
    assert!(found.len() >= 4, "{found:?}");
    found
}

#[test]
fn without_the_sync_something_is_left() {
    let setup = &SETUPS[0];
    let (files, books) = trashed(setup);
    let mut first = search(setup, &books, Wipe::Zero);
    first.explore(&files, 1, setup.name);
    let is_it = |site: &&CallSite| site.file.ends_with("disk/wipe.rs") && site.call.is_sync();
    let syncs: Vec<CallSite> = first.crashed.iter().filter(is_it).copied().collect();
    assert_eq!(syncs.len(), 1, "{syncs:?}");
    files.ignore(Some(syncs[0]));
    let mut deaf = search(setup, &books, Wipe::Zero);
    deaf.explore(&files, 1, setup.name);
    assert_ne!(deaf.leaks, [""; 0]);
}

#[test]
fn where_overwriting_does_not_reach_the_blocks_nothing_is_changed() {
    for setup in SETUPS.iter().filter(|setup| setup.traits.model == Model::Btrfs) {
        let (files, books) = trashed(setup);
        let volumes = start(&files, setup, &books, false);
        let before = files.storage().fingerprint();
        for method in [Wipe::Discard, Wipe::Zero, Wipe::Shred] {
            let outcome = volumes.run(&survey(&books.volumes[0].spec, method));
            let VolumeOutcome::Failed(reason) = outcome else { panic!("{outcome:?}") };
            assert_eq!(reason.code, ErrorCode::Unsupported);
        }
        assert_eq!(files.storage().fingerprint(), before, "{}", setup.name);
    }
}

#[test]
fn a_deletion_that_has_begun_without_is_not_called_a_wipe() {
    let setup = &SETUPS[0];
    let (files, books) = trashed(setup);
    let spec = &books.volumes[0].spec;
    let volumes = start(&files, setup, &books, false);
    files.record();
    let _gone = volumes.run(&VolumeEffect::Purge { spec: spec.clone() });
    let events = files.events();
    let begun = events.iter().find(|event| event.arguments.contains(".going")).unwrap();
    let halfway = files.with(begun.after.clone().unwrap());
    let volumes = start(&halfway, setup, &books, false);
    let outcome = volumes.run(&survey(spec, Wipe::Zero));
    assert!(matches!(outcome, VolumeOutcome::Failed(_)), "{outcome:?}");
}

const ROWS: &[u8] = b"all the rows";

fn device_spec() -> VolumeSpec {
    let source = DiskSource::Block(Arc::from(DEVICE));
    VolumeSpec { size: Bytes::from_mib(3), access: Access::default(), ..spec(1, source) }
}

fn rows(files: &SimFs) -> Vec<u8> {
    let device = fs::device(files, Path::new(DEVICE)).unwrap();
    device.read_at(RESERVED + (2 << 20), ROWS.len()).unwrap()
}

/// Crashes after each call of wiping a raw device; what is answered is durable. Answers with the calls.
fn devices() -> BTreeSet<CallSite> {
    let traits = Traits {
        model: Model::Xfs,
        has_attributes: true,
        has_subvolumes: false,
        has_projects: false,
        has_reflinks: false,
    };
    let files = SimFs::new(traits, &["agent"]);
    files.add_device("raw");
    let volumes = start_with_device(&files, &[]);
    let known = volumes.disks().ledger();
    let spec = device_spec();
    let made = volumes.run(&VolumeEffect::Create { spec: spec.clone(), purgeable: Vec::new() });
    assert!(matches!(made, VolumeOutcome::Present { .. }), "{made:?}");
    fs::device(&files, Path::new(DEVICE)).unwrap().write_at(RESERVED + (2 << 20), ROWS).unwrap();
    let trashed = volumes.run(&VolumeEffect::Trash { spec: spec.clone() });
    assert!(matches!(trashed, VolumeOutcome::Present { .. }), "{trashed:?}");
    files.rest();
    let mut crashed = BTreeSet::new();
    for method in [Wipe::Discard, Wipe::Zero, Wipe::Shred] {
        let files = files.fork();
        assert_eq!(rows(&files), ROWS);
        let volumes = start_with_device(&files, &known);
        let found = volumes.run(&survey(&spec, method));
        assert_eq!(found, VolumeOutcome::Used(Measured::of(spec.size)));
        files.record();
        assert_eq!(volumes.run(&wipe(&spec, method)), VolumeOutcome::Wiped);
        let events = files.events();
        for tree in files.storage().crashes(EXHAUSTIVE) {
            assert_eq!(rows(&files.crashed(tree)), [0; ROWS.len()], "{method} answered");
        }
        for event in events {
            let Some(storage) = &event.after else { continue };
            crashed.insert(event.site);
            for tree in storage.crashes(EXHAUSTIVE) {
                let files = files.crashed(tree);
                let volumes = start_with_device(&files, &known);
                assert_eq!(
                    volumes.run(&wipe(&spec, method)),
                    VolumeOutcome::Wiped,
                    "{}",
                    event.site
                );
                let purge = VolumeEffect::Purge { spec: spec.clone() };
                assert_eq!(volumes.run(&purge), VolumeOutcome::Absent);
                assert_eq!(rows(&files), [0; ROWS.len()], "{method} after {}", event.site);
            }
        }
    }
    crashed
}
