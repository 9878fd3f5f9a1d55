//! Each call of each activity fails once, with each error: nothing is claimed that is not so, nothing is lost, the
//! other disk goes on, and after a restart, with or without a power cut, what was begun is done.
//!
//! A sync that fails fails once; what it should have written is not written by the next one.

use crate::activity::{Activity, Answers, Operation, Report, World};
use crate::books::Books;
use crate::explore::Explorer;
use crate::scene::{CLUSTER, archive, carry, machine, other, spec, start, write_source};
use crate::sequences::{GROWN_SINCE, carry_out, unjoined};
use crate::setup::Setup;
use crate::sim::storage::Storage;
use crate::sim::{Call, CallSite, Event, Fault, SimFs, changing};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_model::agent::DiskHealth;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The errors; ACCESS is what an agent without root meets in directories that a task has closed.
pub const ERRORS: [Errno; 5] = [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::ACCESS];

/// Calls whose failure changes nothing that anybody relies on: the quota group of what is gone.
const BEST_EFFORT: [Call; 1] = [Call::ForgetQuota];

/// What was seen.
#[derive(Debug, Default)]
pub struct Errors {
    /// Which call failed with which error.
    pub failed: BTreeSet<(CallSite, i32)>,
    /// Failures.
    pub failures: u64,
    /// What followed.
    pub report: Report,
}

struct Case {
    files: SimFs,
    books: Books,
    activity: Activity,
    undisturbed: Answers,
}

impl Case {
    /// Does the operation leave the volume in the stage it is in, undisturbed?
    fn undisturbed_leaves(&self, index: usize) -> bool {
        let mut books = self.books.clone();
        if let Activity::Run(at, operation) = self.activity {
            books.begin(at, operation);
        }
        for (subject, outcome) in &self.undisturbed {
            books.conclude(*subject, outcome);
        }
        self.is_as_before(&books, index)
    }

    fn is_as_before(&self, books: &Books, index: usize) -> bool {
        let (then, now) = (&self.books.volumes[index], &books.volumes[index]);
        (then.stage, &then.spec) == (now.stage, &now.spec)
    }
}

struct Ending {
    outcomes: Answers,
    healthy: bool,
    goes_on: bool,
    /// What the ledger said, each from that call on.
    during: Vec<(usize, Books)>,
    after: Books,
    events: Vec<Event>,
    last: Storage,
}

/// Lets every call fail on this kind of file system, of one place in the source at most so many in each activity; with `ignored`, while syncs from that place do nothing.
#[must_use]
pub fn every_error(
    setup: &Setup,
    ignored: Option<CallSite>,
    places_max: usize,
    violations_max: usize,
) -> Errors {
    let mut errors = Errors::default();
    let mut explorer = Explorer::new(setup, 3, violations_max);
    for case in cases(setup) {
        case.files.ignore(ignored);
        for errno in ERRORS {
            let mut places: BTreeMap<CallSite, usize> = BTreeMap::new();
            for at in 0.. {
                if explorer.report.violations.len() >= violations_max {
                    break;
                }
                if !fail(
                    &mut explorer,
                    &case,
                    Fault { at, errno },
                    (&mut places, places_max),
                    &mut errors,
                ) {
                    break;
                }
            }
        }
    }
    errors.report = explorer.report;
    errors
}

/// The activities, each on a machine that is at rest.
fn cases(setup: &Setup) -> Vec<Case> {
    let first = Books { cluster: None, ..Books::new(0) };
    let mut cases = vec![Case {
        files: machine(setup),
        books: first,
        activity: Activity::First,
        undisturbed: Answers::new(),
    }];
    let World { files, books, .. } = unjoined(setup);
    let undisturbed = Answers::new();
    cases.push(Case { files, books, activity: Activity::Join, undisturbed });
    for steps in steps(setup) {
        let files = machine(setup);
        let mut books = Books::two(setup);
        write_source(&files, setup);
        books.archive = Arc::new(archive(&files));
        let volumes = start(&files, setup, &books, true);
        books.disks = volumes.disks().ledger();
        let Some((last, before)) = steps.split_last() else { continue };
        carry_out(&files, setup, &volumes, &mut books, before);
        files.rest();
        let undisturbed = {
            let (files, mut books) = (files.fork(), books.clone());
            let volumes = start(&files, setup, &books, true);
            books.begin(last.0, last.1);
            let mut during = Vec::new();
            effects(&files, &volumes, &mut books, &mut during)
        };
        cases.push(Case { files, books, activity: Activity::Run(last.0, last.1), undisturbed });
    }
    cases
}

/// What is done to the first volume, or to the second; the last step is the one that fails.
fn steps(setup: &Setup) -> Vec<Vec<(usize, Operation)>> {
    use Operation::{
        Adopt, Clone, Create, Destroy, Forget, Import, Lose, Purge, PurgeOrphan, PutBack, Receive,
        Resize, Restore, RollBack, SetAccess, Snapshot,
    };
    let mut all = vec![
        vec![(0, Create)],
        vec![(0, Create), (0, Destroy)],
        vec![(0, Create), (0, Destroy), (0, Restore)],
        vec![(0, Create), (0, Destroy), (0, Purge)],
        vec![(0, Create), (0, Resize(Bytes::from_mib(397)))],
        vec![(0, Create), (0, Resize(Bytes::from_mib(301)))],
        vec![(0, Create), (0, Resize(Bytes::new(17)))],
        vec![(0, Create), (0, SetAccess)],
        vec![(0, Import)],
        vec![(0, Receive)],
        vec![(0, Create), (0, Destroy), (0, PutBack), (0, Adopt)],
        vec![(0, Create), (0, Lose), (0, PurgeOrphan)],
    ];
    if setup.has_snapshots() {
        let taken = [(0, Create), (0, Snapshot)];
        let rolled = [(0, Create), (0, Snapshot), (0, RollBack)];
        all.extend([
            taken.to_vec(),
            rolled.to_vec(),
            [&taken[..], &[(0, Forget(0))]].concat(),
            [&taken[..], &[(1, Clone)]].concat(),
            [&rolled[..], &[(0, Forget(1))]].concat(),
            [&rolled[..], &[(0, Destroy), (0, Purge)]].concat(),
            GROWN_SINCE.to_vec(),
        ]);
    }
    all
}

/// Carries out what was begun.
fn effects(
    files: &SimFs,
    volumes: &Volumes,
    books: &mut Books,
    during: &mut Vec<(usize, Books)>,
) -> Answers {
    let mut outcomes = Answers::new();
    for subject in books.subjects() {
        if !books.is_begun(subject) {
            continue;
        }
        let Some(outcome) = carry(files, volumes, books, subject) else { continue };
        during.push((files.recorded(), books.clone()));
        outcomes.insert(subject, outcome);
    }
    outcomes
}

/// Runs the case with one failure. False when it was over before.
fn fail(
    explorer: &mut Explorer<'_>,
    case: &Case,
    fault: Fault,
    (places, places_max): (&mut BTreeMap<CallSite, usize>, usize),
    errors: &mut Errors,
) -> bool {
    let files = case.files.fork();
    let (ending, site) = run(explorer.setup(), case, &files, fault);
    let Some(site) = site else { return false };
    let so_far = places.entry(site).or_default();
    *so_far += 1;
    if *so_far > places_max {
        return true;
    }
    errors.failures += 1;
    errors.failed.insert((site, fault.errno.raw_os_error()));
    let way = format!("{:?}, {site} fails with {:?}", case.activity, fault.errno);
    let is_answered = !ending.outcomes.is_empty() && ending.outcomes == case.undisturbed;
    if site.call.is_sync() && is_answered {
        explorer.complain(&way, &format!("claimed after a failed sync: {:?}", ending.outcomes));
    }
    let is_promise = site.call == Call::Shared && !site.file.ends_with("/room.rs");
    if is_promise && is_answered {
        explorer.complain(&way, "room is given out without knowing what others may take");
    }
    let in_doubt = fault.errno == Errno::IO && site.call.is_change();
    // What fails in an image concerns its volume; its disk goes on.
    let of_disk = !files.failed_in_image();
    let must_be_withheld = in_doubt && of_disk && (site.call.is_sync() || !is_answered);
    if must_be_withheld && ending.healthy && !BEST_EFFORT.contains(&site.call) {
        explorer.complain(&way, &format!("the disk is not withheld after {:?}", ending.outcomes));
    }
    if !ending.goes_on {
        explorer.complain(&way, "the other disk does not go on");
    }
    follow(explorer, case, &files, &ending, &way);
    true
}

fn run(setup: &Setup, case: &Case, files: &SimFs, fault: Fault) -> (Ending, Option<CallSite>) {
    let mut books = case.books.clone();
    let both = matches!(case.activity, Activity::Run(..));
    let mut outcomes = Answers::new();
    let mut during = vec![(0, books.clone())];
    let volumes;
    if let Activity::Run(index, operation) = case.activity {
        volumes = start(files, setup, &books, both);
        files.rest();
        books.begin(index, operation);
        during = vec![(0, books.clone())];
        files.fail(fault);
        files.record();
        outcomes = effects(files, &volumes, &mut books, &mut during);
    } else if case.activity == Activity::Join {
        volumes = start(files, setup, &books, both);
        files.rest();
        files.fail(fault);
        files.record();
        volumes.disks().join(CLUSTER);
        books.cluster = Some(CLUSTER);
    } else {
        files.fail(fault);
        files.record();
        volumes = start(files, setup, &books, both);
        books.disks = volumes.disks().ledger();
    }
    let site = files.failed();
    let (events, last) = (files.events(), files.storage());
    let healthy = is_healthy(&volumes);
    let goes_on = !both || goes_on(&volumes);
    for books in during.iter_mut().map(|(_from, books)| books).chain([&mut books]) {
        books.disks.retain(|disk| disk.source == DiskSource::Root);
    }
    (Ending { outcomes, healthy, goes_on, during, after: books, events, last }, site)
}

/// Neither the disk nor the keys are withheld.
fn is_healthy(volumes: &Volumes) -> bool {
    volumes.doubt_of_keys().is_none()
        && volumes.disks().report().first().is_some_and(|disk| disk.health == DiskHealth::Ok)
}

/// The other disk takes a volume.
fn goes_on(volumes: &Volumes) -> bool {
    let effect = VolumeEffect::Create { spec: spec(9, other()), purgeable: Vec::new() };
    matches!(volumes.run(&effect), VolumeOutcome::Present { .. })
}

/// Crashes after each call that came after the failure, and at the end; then an agent starts and completes it.
fn follow(explorer: &mut Explorer<'_>, case: &Case, files: &SimFs, ending: &Ending, way: &str) {
    explorer.report.recorded.extend(changing(&ending.events));
    let failed = ending.events.iter().position(|event| event.error.is_some()).unwrap_or_default();
    let at = |call: usize| {
        let books = ending.during.iter().rev().find(|(from, _books)| *from <= call);
        books.map_or(&ending.after, |(_from, books)| books)
    };
    let after = ending.events.iter().enumerate().skip(failed).filter_map(|(call, event)| {
        event.after.as_ref().map(|storage| (Some(event.site), storage, at(call)))
    });
    for (site, storage, books) in after.chain([(None, &ending.last, &ending.after)]) {
        explorer.report.points += 1;
        explorer.report.crashed.extend(site);
        explorer.crash_at(files, storage, books, &case.undisturbed, way);
        if let Some(books) = again(case, books) {
            explorer.crash_at(files, storage, &books, &case.undisturbed, way);
        }
    }
}

/// The ledger when what was given up is asked for once more, if anything was.
fn again(case: &Case, books: &Books) -> Option<Books> {
    let Activity::Run(index, operation) = case.activity else { return None };
    // These take another snapshot, which answers under another number.
    let others = matches!(
        operation,
        Operation::Snapshot | Operation::Group | Operation::Forget(_) | Operation::RollBack
    );
    if others || !case.is_as_before(books, index) || case.undisturbed_leaves(index) {
        return None;
    }
    let mut books = books.clone();
    books.begin(index, operation);
    Some(books)
}
