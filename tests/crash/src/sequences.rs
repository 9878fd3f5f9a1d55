//! What is explored: every sequence of operations that makes sense, on machines in a known state.
//!
//! It does not judge. Invariant: everything before the last operation of a sequence is undisturbed.

use crate::explore::{Activity, Explorer, World};
use crate::scene::{
    self, Books, Operation, Setup, Stage, begin, called_for, conclude, machine, start, write_data,
    write_strangers,
};
use crate::sim::{CallSite, SimFs};
use berth_agent::disk::fs;
use berth_agent::volume::Volumes;
use std::path::Path;

/// Every sequence of at most `length` operations on two volumes that makes sense, the first volume first.
#[must_use]
pub fn sequences(length: usize) -> Vec<Vec<(usize, Operation)>> {
    let mut all: Vec<Vec<(usize, Operation)>> = vec![Vec::new()];
    let mut from = 0;
    for _round in 0..length {
        let until = all.len();
        for at in from..until {
            let so_far = all[at].clone();
            for index in 0..2 {
                let begun = so_far.iter().any(|(which, _)| *which == 0);
                if index == 1 && !begun {
                    continue;
                }
                let last = so_far.iter().rev().find(|(which, _)| *which == index);
                let next: &[Operation] = match last.map(|(_, operation)| *operation) {
                    None | Some(Operation::Purge) => &[Operation::Create],
                    Some(Operation::Create | Operation::Restore) => &[Operation::Destroy],
                    Some(Operation::Destroy) => &[Operation::Restore, Operation::Purge],
                };
                for operation in next {
                    let mut longer = so_far.clone();
                    longer.push((index, *operation));
                    all.push(longer);
                }
            }
        }
        from = until;
    }
    all.retain(|sequence| !sequence.is_empty());
    all
}

/// A machine whose disk is adopted, with strangers on it, all durable.
///
/// # Panics
/// The disk cannot be adopted.
#[must_use]
pub fn adopted(setup: &Setup) -> (SimFs, Books) {
    let files = machine(setup);
    let mut books = Books::new(2);
    let volumes = start(&files, setup, &books, false);
    books.disks = volumes.disks().ledger();
    assert_eq!(books.disks.len(), 1, "{:?}", volumes.disks().report());
    write_strangers(&files);
    (files, books)
}

/// A machine whose disk is adopted by an agent that has not joined a cluster.
#[must_use]
pub fn unjoined(setup: &Setup) -> World {
    let files = machine(setup);
    let mut books = Books { cluster: None, ..Books::new(0) };
    let volumes = start(&files, setup, &books, false);
    books.disks = volumes.disks().ledger();
    files.rest();
    World { files, books, answer: None }
}

/// Carries operations out, undisturbed.
///
/// # Panics
/// There is nothing to be done.
pub fn carry_out(
    files: &SimFs,
    volumes: &Volumes,
    books: &mut Books,
    sequence: &[(usize, Operation)],
) {
    for (index, operation) in sequence {
        let record = &mut books.volumes[*index];
        begin(record, *operation);
        let outcome = volumes.run(&called_for(record).expect("it was begun"));
        conclude(record, &outcome);
        if record.stage == Stage::Ready && !record.has_data {
            write_data(files, record);
        }
    }
}

/// Explores the last operation of the sequence by an agent that runs on a fork of this machine.
pub fn explore_sequence(
    explorer: &mut Explorer<'_>,
    setup: &Setup,
    (files, books): &(SimFs, Books),
    sequence: &[(usize, Operation)],
    depth: u8,
) {
    let Some((last, before)) = sequence.split_last() else { return };
    let (files, mut books) = (files.fork(), books.clone());
    let volumes = start(&files, setup, &books, false);
    files.rest();
    carry_out(&files, &volumes, &mut books, before);
    let world = World { files, books, answer: None };
    let activity = Activity::Run(last.0, last.1);
    explorer.explore(world, Some(volumes), activity, depth, &format!("{before:?}"));
}

/// How far to search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Sets of unsynced changes up to this size are lost in every combination.
    pub exhaustive: usize,
    /// Operations in a row.
    pub length: usize,
    /// Crashes in a row, one more when a volume is destroyed.
    pub depth: u8,
    /// Violations to look for.
    pub violations: usize,
}

/// Everything on one kind of file system; with `ignored`, while syncs from that place do nothing.
#[must_use]
pub fn all_of(setup: &Setup, bounds: &Bounds, ignored: Option<CallSite>) -> crate::explore::Report {
    let deaf = |files: SimFs| {
        files.ignore(ignored);
        files
    };
    // Every start on btrfs tries a quota, which multiplies what is not synced.
    let less = if setup.traits.has_subvolumes { 3 } else { 0 };
    let exhaustive = bounds.exhaustive - less.min(bounds.exhaustive);
    let mut explorer = Explorer::new(setup, exhaustive, bounds.violations);
    let books = Books { cluster: None, ..Books::new(0) };
    let world = World { files: deaf(machine(setup)), books, answer: None };
    explorer.explore(world, None, Activity::First, bounds.depth, "");
    let world = unjoined(setup);
    explorer.explore(
        World { files: deaf(world.files), ..world },
        None,
        Activity::Join,
        bounds.depth,
        "",
    );
    let (files, books) = adopted(setup);
    let base = (deaf(files), books);
    for sequence in sequences(bounds.length) {
        let destroys = matches!(sequence.last(), Some((_, Operation::Destroy)));
        let depth = bounds.depth + u8::from(destroys);
        explore_sequence(&mut explorer, setup, &base, &sequence, depth);
        if explorer.report.violations.len() >= bounds.violations {
            break;
        }
    }
    explorer.report
}

/// Deletes a volume with directories so deep that the deleter moves them up, with one crash after each call.
///
/// # Panics
/// The volume cannot be made.
#[must_use]
pub fn deep(setup: &Setup) -> crate::explore::Report {
    const DEPTH: usize = 66;
    let (files, mut books) = adopted(setup);
    let volumes = start(&files, setup, &books, false);
    carry_out(&files, &volumes, &mut books, &[(0, Operation::Create)]);
    let path = format!("{}/disk/volumes/{}", scene::WORK, books.volumes[0].spec.id);
    let mut here = fs::open(&files, Path::new(&path)).expect("the volume is there");
    for _level in 0..DEPTH {
        here.make_directory("deeper", 0o700).expect("a directory is made");
        here = here.directory("deeper").expect("it is there");
    }
    carry_out(&files, &volumes, &mut books, &[(0, Operation::Destroy)]);
    files.rest();
    let mut explorer = Explorer::new(setup, 0, 10);
    let world = World { files, books, answer: None };
    let purge = Activity::Run(0, Operation::Purge);
    explorer.explore(world, Some(volumes), purge, 1, "deep");
    explorer.report
}
