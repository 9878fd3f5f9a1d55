//! Each call of each activity fails once, with each error: nothing is claimed that is not so, nothing is lost, the
//! other disk goes on, and after a restart, with or without a power cut, what was begun is done.
//!
//! A sync that fails fails once; what it should have written is not written by the next one.

use crate::explore::{Activity, Explorer, Report, World};
use crate::scene::{
    Books, CLUSTER, Operation, Setup, Stage, begin, called_for, conclude, machine, other, spec,
    start,
};
use crate::sequences::{carry_out, unjoined};
use crate::sim::storage::Storage;
use crate::sim::{Call, CallSite, Event, Fault, SimFs, changing};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_model::agent::DiskHealth;
use berth_model::resources::DiskSource;
use rustix::io::Errno;
use std::collections::BTreeSet;

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
    undisturbed: Option<VolumeOutcome>,
}

struct Ending {
    outcome: Option<VolumeOutcome>,
    healthy: bool,
    goes_on: bool,
    during: Books,
    after: Books,
    events: Vec<Event>,
    last: Storage,
}

/// Lets every call fail on this kind of file system; with `ignored`, while syncs from that place do nothing.
#[must_use]
pub fn every_error(setup: &Setup, ignored: Option<CallSite>, violations_max: usize) -> Errors {
    let mut errors = Errors::default();
    let mut explorer = Explorer::new(setup, 3, violations_max);
    for case in cases(setup) {
        case.files.ignore(ignored);
        for errno in ERRORS {
            for at in 0.. {
                if explorer.report.violations.len() >= violations_max {
                    break;
                }
                if !fail(&mut explorer, &case, Fault { at, errno }, &mut errors) {
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
    use Operation::{Create, Destroy, Purge, Restore};
    let first = Books { cluster: None, ..Books::new(0) };
    let mut cases = vec![Case {
        files: machine(setup),
        books: first,
        activity: Activity::First,
        undisturbed: None,
    }];
    let World { files, books, .. } = unjoined(setup);
    cases.push(Case { files, books, activity: Activity::Join, undisturbed: None });
    for sequence in
        [&[Create][..], &[Create, Destroy], &[Create, Destroy, Restore], &[Create, Destroy, Purge]]
    {
        let files = machine(setup);
        let mut books = Books::new(1);
        let volumes = start(&files, setup, &books, true);
        books.disks = volumes.disks().ledger();
        let steps: Vec<(usize, Operation)> = sequence.iter().map(|step| (0, *step)).collect();
        let Some((last, before)) = steps.split_last() else { continue };
        carry_out(&files, &volumes, &mut books, before);
        files.rest();
        let copy = files.fork();
        let undisturbed = {
            let mut books = books.clone();
            let volumes = start(&copy, setup, &books, true);
            begin(&mut books.volumes[0], last.1);
            called_for(&books.volumes[0]).map(|effect| volumes.run(&effect))
        };
        cases.push(Case { files, books, activity: Activity::Run(0, last.1), undisturbed });
    }
    cases
}

/// Runs the case with one failure. False when it was over before.
fn fail(explorer: &mut Explorer<'_>, case: &Case, fault: Fault, errors: &mut Errors) -> bool {
    let files = case.files.fork();
    let (ending, site) = run(explorer.setup(), case, &files, fault);
    let Some(site) = site else { return false };
    errors.failures += 1;
    errors.failed.insert((site, fault.errno.raw_os_error()));
    let way = format!("{:?}, {site} fails with {:?}", case.activity, fault.errno);
    let is_answered = ending.outcome.is_some() && ending.outcome == case.undisturbed;
    if site.call.is_sync() && is_answered {
        explorer.complain(&way, &format!("claimed after a failed sync: {:?}", ending.outcome));
    }
    let in_doubt = fault.errno == Errno::IO && site.call.is_change();
    let must_be_withheld = in_doubt && (site.call.is_sync() || !is_answered);
    if must_be_withheld && ending.healthy && !BEST_EFFORT.contains(&site.call) {
        explorer.complain(&way, &format!("the disk is not withheld after {:?}", ending.outcome));
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
    let mut outcome = None;
    let mut during = books.clone();
    let volumes;
    if let Activity::Run(index, operation) = case.activity {
        volumes = start(files, setup, &books, both);
        files.rest();
        let record = &mut books.volumes[index];
        begin(record, operation);
        files.fail(fault);
        files.record();
        if let Some(effect) = called_for(record) {
            let answer = volumes.run(&effect);
            during = books.clone();
            conclude(&mut books.volumes[index], &answer);
            outcome = Some(answer);
        }
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
    books.disks.retain(|disk| disk.source == DiskSource::Root);
    during.disks.retain(|disk| disk.source == DiskSource::Root);
    (Ending { outcome, healthy, goes_on, during, after: books, events, last }, site)
}

fn is_healthy(volumes: &Volumes) -> bool {
    volumes.disks().report().first().is_some_and(|disk| disk.health == DiskHealth::Ok)
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
    let after = ending.events.iter().skip(failed).filter_map(|event| {
        event.after.as_ref().map(|storage| (Some(event.site), storage, &ending.during))
    });
    for (site, storage, books) in after.chain([(None, &ending.last, &ending.after)]) {
        explorer.report.points += 1;
        explorer.report.crashed.extend(site);
        explorer.crash_at(files, storage, books, case.undisturbed.as_ref(), way);
        if let Some(books) = again(case, books) {
            explorer.crash_at(files, storage, &books, case.undisturbed.as_ref(), way);
        }
    }
}

/// The ledger when what was given up is asked for once more, if anything was.
fn again(case: &Case, books: &Books) -> Option<Books> {
    let Activity::Run(index, operation) = case.activity else { return None };
    let mut books = books.clone();
    let given_up = matches!(
        (books.volumes[index].stage, operation),
        (Stage::Nothing, Operation::Create) | (Stage::Trashed, Operation::Restore)
    );
    begin(&mut books.volumes[index], operation);
    given_up.then_some(books)
}
