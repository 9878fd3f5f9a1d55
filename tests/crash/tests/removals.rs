//! Disks that are removed: the machine crashes after each call, and whoever asks again gets it done; then the place is nobody's
//! and may be made a disk again.

#![cfg(test)]

use berth_agent::disk::{Declaration, Disks, DriverChoice, Owner};
use berth_crash_tests::errors::ERRORS;
use berth_crash_tests::scene::{CLUSTER, WORK};
use berth_crash_tests::sim::storage::Model;
use berth_crash_tests::sim::{Fault, SimFs, Traits};
use berth_model::id::AgentId;
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

fn declared(source: DiskSource) -> Declaration {
    Declaration { source, name: "x".to_owned(), driver: DriverChoice::Auto, size: None }
}

/// The agent with its ROOT disk and, when the ledger says so, the other.
fn start(files: &SimFs, other: Option<&DiskSource>, known: &[LedgerDisk]) -> Disks {
    let root = Declaration { driver: DriverChoice::Directory, ..Declaration::root() };
    let wanted: Vec<Declaration> =
        [root].into_iter().chain(other.map(|source| declared(source.clone()))).collect();
    let owner = Owner { agent: AgentId::from_u128(0xa), cluster: Some(CLUSTER) };
    Disks::open_on(&files.files(), Path::new(WORK), &wanted, owner, known)
}

/// A machine with the disk added to it, at rest, and what its ledger remembers.
fn machine(model: Model, source: &DiskSource) -> (SimFs, Vec<LedgerDisk>) {
    let traits = Traits {
        model,
        has_attributes: true,
        has_subvolumes: false,
        has_projects: false,
        has_reflinks: false,
    };
    let files = SimFs::new(traits, &["agent", "other"]);
    files.add_device("raw");
    let disks = start(&files, None, &[]);
    disks.add(&declared(source.clone())).expect("it may be added");
    let known = disks.ledger();
    drop(disks);
    files.rest();
    (files, known)
}

fn search(model: Model, source: &DiskSource) -> BTreeSet<(String, u32)> {
    let (files, known) = machine(model, source);
    let copy = files.fork();
    let disks = start(&copy, Some(source), &known);
    copy.record();
    disks.remove(source).expect("nothing is on it");
    let mut crashed = BTreeSet::new();
    for event in copy.events() {
        let Some(storage) = &event.after else { continue };
        crashed.insert((event.site.file.to_owned(), event.site.line));
        let killed = files.with(storage.clone());
        for after in storage.crashes(8).into_iter().map(|tree| files.crashed(tree)).chain([killed])
        {
            let way = format!("{source} after {} {}", event.site, event.arguments);
            let disks = start(&after, Some(source), &known);
            disks.remove(source).unwrap_or_else(|error| panic!("{way}: {error}"));
            drop(disks);
            // The ledger knows nothing of it now: whatever is left says nothing about a disk that was.
            let root: Vec<LedgerDisk> =
                known.iter().filter(|disk| disk.source != *source).cloned().collect();
            let disks = start(&after, None, &root);
            let added = disks.add(&declared(source.clone()));
            let (disk, _) = added
                .and_then(|added| added.told())
                .unwrap_or_else(|error| panic!("{way}: {error}"));
            assert!(known.iter().all(|old| old.id != disk.id), "{way}: it is the old disk");
        }
    }
    crashed
}

/// Whatever call fails: what is made on the disk afterwards is found after a restart, or nothing can be made on it.
#[test]
fn a_removal_that_fails_leaves_a_whole_disk_or_one_that_is_withheld() {
    let source = DiskSource::Path(Arc::from("/other"));
    for model in [Model::Ext4, Model::Xfs, Model::Btrfs] {
        let (files, known) = machine(model, &source);
        for errno in ERRORS {
            let (mut at, mut withheld) = (0, 0);
            loop {
                let copy = files.fork();
                let disks = start(&copy, Some(&source), &known);
                copy.fail(Fault { at, errno });
                let removed = disks.remove(&source);
                let Some(site) = copy.failed() else { break };
                let way = format!("{model:?}: {errno} of {site}, the call {at}");
                disks.refresh();
                let disk = disks.find(&source);
                let in_service = disk.is_some_and(|disk| disk.writable().is_ok());
                let gone = removed.is_ok();
                assert!(!gone || !in_service, "{way}: it is removed and used");
                withheld += usize::from(!gone && !in_service);
                if in_service {
                    let storage = copy.storage();
                    let crashes = storage.crashes(8).into_iter().map(|tree| files.crashed(tree));
                    for after in crashes.chain([files.with(storage.clone())]) {
                        let again = start(&after, Some(&source), &known);
                        let disk = again.find(&source).expect("it is declared");
                        disk.writable().unwrap_or_else(|error| panic!("{way}: {error}"));
                    }
                } else if !gone {
                    disks.remove(&source).unwrap_or_else(|error| panic!("{way}: {error}"));
                }
                at += 1;
            }
            assert!(at > 4 && withheld > 0, "{model:?} {errno}: {at} calls, {withheld} withheld");
        }
    }
}

#[test]
fn a_removal_is_completed_after_any_crash_and_leaves_nobodys_place() {
    let mut crashed = BTreeSet::new();
    for model in [Model::Ext4, Model::Xfs, Model::Btrfs] {
        for source in [DiskSource::Path(Arc::from("/other")), DiskSource::Block(Arc::from("/raw"))]
        {
            crashed.extend(search(model, &source));
        }
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agent/src/disk");
    for name in ["unmake.rs", "block/erase.rs"] {
        let text = std::fs::read_to_string(sources.join(name)).expect("the source is there");
        for (line, text) in (1..).zip(text.lines()) {
            let calls = [".unlink(", ".remove_directory(", ".write_at(", ".sync()"];
            let at = (format!("agent/src/disk/{name}"), line);
            if calls.iter().any(|call| text.contains(call)) {
                assert!(crashed.contains(&at), "never crashed after: {at:?} {text}");
            }
        }
    }
}
