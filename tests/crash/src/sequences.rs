//! What is explored: every sequence of operations that makes sense, on machines in a known state.
//!
//! It does not judge. Invariant: everything before the last operation of a sequence is undisturbed.

use crate::activity::{Activity, Answers, Operation, Report, World};
use crate::books::{Books, Stage, Subject};
use crate::explore::Explorer;
use crate::scene::{
    self, archive, carry, machine, put_back, start, write_data, write_source, write_strangers,
};
use crate::setup::Setup;
use crate::sim::{CallSite, FREE, SimFs};
use berth_agent::disk::fs;
use berth_agent::disk::image::Format;
use berth_agent::volume::Volumes;
use berth_agent_core::effect::VolumeOutcome;
use berth_model::units::Bytes;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

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
                let last = so_far
                    .iter()
                    .rev()
                    .find(|(which, step)| *which == index && !matches!(step, Operation::Resize(_)));
                let mut next = match last.map(|(_, operation)| *operation) {
                    None | Some(Operation::Purge) => vec![Operation::Create],
                    Some(Operation::Destroy) => vec![Operation::Restore, Operation::Purge],
                    Some(Operation::SetAccess) => Vec::new(),
                    Some(_live) => vec![Operation::Destroy],
                };
                if next == [Operation::Destroy] && index == 0 {
                    next.extend(sizes(&so_far).map(Operation::Resize));
                }
                for operation in next {
                    let mut longer = so_far.clone();
                    longer.push((index, operation));
                    all.push(longer);
                }
            }
        }
        from = until;
    }
    all.retain(|sequence| !sequence.is_empty());
    if length > 1 {
        all.push(vec![(0, Operation::Create), (0, Operation::SetAccess)]);
    }
    all
}

/// Sizes for the next resize: the first time one of each kind, later one that fits. Where it may be any, the sequence so
/// far decides.
fn sizes(so_far: &[(usize, Operation)]) -> impl Iterator<Item = Bytes> {
    let mut hasher = DefaultHasher::new();
    so_far.hash(&mut hasher);
    let random = hasher.finish();
    let (less, more) = (257 + random % 62, 321 + random % 191);
    let all = [
        // Below what is used; above what is free.
        Bytes::new(1 + random % 99),
        Bytes::new(FREE + (400 << 20)),
        Bytes::new(less * (1 << 20) + random % 4096),
        Bytes::from_mib(more),
    ];
    let again = so_far.iter().any(|(_, step)| matches!(step, Operation::Resize(_)));
    let from = if again { 2 + usize::from(random & 1 == 1) } else { 0 };
    let until = if again { from + 1 } else { 4 };
    all.into_iter().skip(from).take(until - from)
}

/// What becomes of volumes that the ledger does not know: put back by hand or forgotten, in every place.
#[must_use]
pub fn with_orphans() -> Vec<Vec<(usize, Operation)>> {
    use Operation::{Adopt, Create, Destroy, Lose, PurgeOrphan, PutBack};
    let strange = [&[Create, Lose][..], &[Create, Destroy, PutBack], &[Create, Destroy, Lose]];
    let ends = [&[Adopt][..], &[Adopt, Destroy], &[PurgeOrphan], &[PurgeOrphan, Create]];
    let mut all = Vec::new();
    for begun in strange {
        let in_trash = begun == [Create, Destroy, Lose];
        for end in ends.iter().filter(|end| !(in_trash && end.contains(&Adopt))) {
            all.push(begun.iter().chain(*end).map(|step| (0, *step)).collect());
        }
    }
    all
}

/// Every sequence that goes on with at most `length` operations after a first snapshot was taken.
#[must_use]
pub fn with_snapshots(length: usize) -> Vec<Vec<(usize, Operation)>> {
    use Operation::{Clone, Create, Destroy, Forget, Purge, Restore, RollBack, Snapshot};
    let mut all = vec![vec![(0, Create), (0, Snapshot)]];
    let mut from = 0;
    for _round in 0..length {
        let until = all.len();
        for at in from..until {
            let so_far = all[at].clone();
            let did = |wanted: Operation| so_far.contains(&(0, wanted));
            let has_first = !did(Forget(0)) && !did(Purge);
            let life = so_far
                .iter()
                .rev()
                .map(|(_, step)| *step)
                .find(|step| matches!(step, Create | Destroy | Restore | Purge));
            let mut next: Vec<(usize, Operation)> = match life {
                Some(Destroy) => vec![(0, Restore), (0, Purge)],
                Some(Purge) => vec![(0, Create)],
                _live => vec![(0, Snapshot), (0, Destroy)],
            };
            if has_first {
                next.push((0, Forget(0)));
                if matches!(life, Some(Create | Restore)) {
                    next.push((0, RollBack));
                }
                if !so_far.contains(&(1, Clone)) {
                    next.push((1, Clone));
                }
            }
            let second =
                so_far.iter().filter(|(_, step)| matches!(step, Snapshot | RollBack)).count();
            if second > 1 && !did(Forget(1)) && !did(Purge) {
                next.push((0, Forget(1)));
            }
            for step in next {
                let mut longer = so_far.clone();
                longer.push(step);
                all.push(longer);
            }
        }
        from = until;
    }
    all
}

/// To a snapshot of a volume that has grown since then: what comes back is as large as the volume is now.
pub const GROWN_SINCE: [(usize, Operation); 4] = [
    (0, Operation::Create),
    (0, Operation::Snapshot),
    (0, Operation::Resize(Bytes::from_mib(400))),
    (0, Operation::RollBack),
];

/// Snapshots of two volumes at one moment, once the second has content too, and what may have to be cleared before.
#[must_use]
pub fn groups() -> Vec<Vec<(usize, Operation)>> {
    use Operation::{Create, Forget, Group};
    let begun = vec![(0, Create), (1, Create), (0, Group)];
    vec![
        begun.clone(),
        [begun.clone(), vec![(0, Forget(1))]].concat(),
        [begun, vec![(1, Group)]].concat(),
    ]
}

/// A copy is many calls, and every crash in a row costs as many: more than one in a row only where a start tries little,
/// on one kind of each, the directory and the subvolume. What is begun of the others is taken back by the same code.
fn depth_of_imports(setup: &Setup, bounds: &Bounds) -> u8 {
    let is_deep = ["directories on ext4", "subvolumes on btrfs"].contains(&setup.name);
    if is_deep { bounds.depth } else { 1 }
}

/// What is done with a copy of a directory.
#[must_use]
pub fn imports() -> Vec<Vec<(usize, Operation)>> {
    use Operation::{Create, Destroy, Import, Purge, Receive};
    vec![
        vec![(0, Import)],
        vec![(0, Create), (1, Import)],
        vec![(0, Import), (0, Destroy)],
        vec![(0, Import), (0, Destroy), (0, Purge)],
        vec![(0, Receive)],
    ]
}

/// A machine whose disk is adopted, with strangers on it, all durable.
///
/// # Panics
/// The disk cannot be adopted.
#[must_use]
pub fn adopted(setup: &Setup) -> (SimFs, Books) {
    let files = machine(setup);
    let mut books = Books::two(setup);
    let volumes = start(&files, setup, &books, false);
    books.disks = volumes.disks().ledger();
    assert_eq!(books.disks.len(), 1, "{:?}", volumes.disks().report());
    write_strangers(&files);
    write_source(&files, setup);
    books.archive = Arc::new(archive(&files));
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
    World { files, books, answers: Answers::new() }
}

/// Carries operations out, undisturbed.
pub fn carry_out(
    files: &SimFs,
    setup: &Setup,
    volumes: &Volumes,
    books: &mut Books,
    sequence: &[(usize, Operation)],
) {
    for (index, operation) in sequence {
        books.begin(*index, *operation);
        if *operation == Operation::PutBack {
            put_back(files, setup, &mut books.volumes[*index]);
        }
        for subject in books.subjects() {
            if books.is_begun(subject) {
                carry(files, volumes, books, subject);
            }
        }
        let record = &mut books.volumes[*index];
        // What a snapshot has differs from what its volume has from then on.
        let differs = matches!(
            operation,
            Operation::Snapshot | Operation::Group | Operation::RollBack | Operation::Clone
        );
        if record.stage == Stage::Ready && (record.data.is_empty() || differs) {
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
    carry_out(&files, setup, &volumes, &mut books, before);
    let world = World { files, books, answers: Answers::new() };
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
pub fn all_of(setup: &Setup, bounds: &Bounds, ignored: Option<CallSite>) -> Report {
    let deaf = |files: SimFs| {
        files.ignore(ignored);
        files
    };
    // Every start on btrfs tries a quota or an image, which multiplies what is not synced.
    let less = if setup.traits.has_subvolumes || setup.format().is_some() { 3 } else { 0 };
    let exhaustive = bounds.exhaustive - less.min(bounds.exhaustive);
    let mut explorer = Explorer::new(setup, exhaustive, bounds.violations);
    let books = Books { cluster: None, ..Books::new(0) };
    let world = World { files: deaf(machine(setup)), books, answers: Answers::new() };
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
        // A start with images makes one of each kind: every crash in a row costs as many as there are calls in that.
        let less = u8::from(setup.format().is_some()).min(bounds.depth - 1);
        let depth = bounds.depth + u8::from(destroys) - less;
        explore_sequence(&mut explorer, setup, &base, &sequence, depth);
        if explorer.report.violations.len() >= bounds.violations {
            break;
        }
    }
    for sequence in imports() {
        explore_sequence(&mut explorer, setup, &base, &sequence, depth_of_imports(setup, bounds));
    }
    for sequence in with_orphans() {
        explore_sequence(&mut explorer, setup, &base, &sequence, bounds.depth.min(2));
    }
    if setup.format() == Some(Format::Btrfs) {
        unsynced_counts(&mut explorer, setup, &base);
    }
    if setup.has_snapshots() {
        // Longer ones find the same code behind images: what differs for them is within one operation, and its recovery.
        let is_image = setup.format().is_some();
        let length = bounds.length - if is_image { 2 } else { 1 };
        for sequence in with_snapshots(length).into_iter().chain([GROWN_SINCE.to_vec()]) {
            let deep = sequence.len() > bounds.length || (is_image && sequence.len() > 2);
            let depth = bounds.depth - u8::from(deep && bounds.depth > 1);
            explore_sequence(&mut explorer, setup, &base, &sequence, depth);
            if explorer.report.violations.len() >= bounds.violations {
                break;
            }
        }
        for sequence in groups() {
            let deep = is_image || sequence.len() > 3;
            let depth = if deep { 1 } else { bounds.depth.min(2) };
            explore_sequence(&mut explorer, setup, &base, &sequence, depth);
        }
    }
    explorer.report
}

/// What a user wrote and did not sync yet counts when the volume is made smaller.
fn unsynced_counts(explorer: &mut Explorer<'_>, setup: &Setup, (files, books): &(SimFs, Books)) {
    const MIB: usize = 1 << 20;
    let (files, mut books) = (files.fork(), books.clone());
    let volumes = start(&files, setup, &books, false);
    carry_out(&files, setup, &volumes, &mut books, &[(0, Operation::Create)]);
    let path = format!("{}/disk/.mounts/{}", scene::WORK, books.volumes[0].spec.id);
    let written = fs::open(&files, Path::new(&path)).and_then(|root| {
        let file = root.create("scratch")?;
        (0..300).try_for_each(|_round| file.write(&[7; MIB]))
    });
    books.begin(0, Operation::Resize(Bytes::from_mib(270)));
    let outcome = books.called_for(Subject::Volume(0)).map(|effect| volumes.run(&effect));
    if written.is_err() || !matches!(outcome, Some(VolumeOutcome::Failed(_))) {
        explorer.complain("300 MiB not synced, then 270 MiB wanted", &format!("{outcome:?}"));
    }
}

/// Deletes a volume with directories so deep that the deleter moves them up, with one crash after each call.
///
/// # Panics
/// The volume cannot be made.
#[must_use]
pub fn deep(setup: &Setup) -> Report {
    const DEPTH: usize = 66;
    let (files, mut books) = adopted(setup);
    let volumes = start(&files, setup, &books, false);
    carry_out(&files, setup, &volumes, &mut books, &[(0, Operation::Create)]);
    let path = format!("{}/disk/volumes/{}", scene::WORK, books.volumes[0].spec.id);
    let mut here = fs::open(&files, Path::new(&path)).expect("the volume is there");
    for _level in 0..DEPTH {
        here.make_directory(scene::DEEPER, 0o700).expect("a directory is made");
        here = here.directory(scene::DEEPER).expect("it is there");
    }
    carry_out(&files, setup, &volumes, &mut books, &[(0, Operation::Destroy)]);
    files.rest();
    let mut explorer = Explorer::new(setup, 0, 10);
    let world = World { files, books, answers: Answers::new() };
    let purge = Activity::Run(0, Operation::Purge);
    explorer.explore(world, Some(volumes), purge, 1, "deep");
    explorer.report
}
