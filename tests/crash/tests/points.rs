//! Crash after every call, in every way, and again during the recovery: nothing is lost, nothing is left over.

#![cfg(test)]

use berth_agent::disk::DriverChoice;
use berth_crash_tests::activity::Report;
use berth_crash_tests::errors::{ERRORS, every_error};
use berth_crash_tests::sequences::{Bounds, all_of, deep};
use berth_crash_tests::setup::{SETUPS, Setup};
use berth_crash_tests::sim::CallSite;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How far to search, by the variable BERTH_CRASH: 1 in every test run, more for longer ones.
fn effort() -> u8 {
    std::env::var("BERTH_CRASH").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The kinds of file system to search on; with BERTH_CRASH_ON only those whose name contains it.
fn setups() -> impl Iterator<Item = &'static Setup> {
    let wanted = only().unwrap_or_default();
    SETUPS.iter().filter(move |setup| setup.name.contains(&wanted))
}

fn only() -> Option<String> {
    std::env::var("BERTH_CRASH_ON").ok().filter(|name| !name.is_empty())
}

fn bounds() -> Bounds {
    let (exhaustive, length, depth) = match effort() {
        0 | 1 => (6, 3, 2),
        2 => (8, 4, 3),
        _more => (12, 5, 4),
    };
    Bounds { exhaustive, length, depth, violations: 10 }
}

/// Removing a disk and wiping a volume are searched by themselves, in `removals.rs` and `wipes.rs`, which demand the same of
/// these files.
const SEARCHED_ELSEWHERE: [&str; 3] =
    ["agent/src/disk/unmake.rs", "agent/src/disk/wipe.rs", "agent/src/volume/on_disk/wipe.rs"];

/// The call sites of the disks' and the drivers' sources that change something or make it durable, by file and line.
fn written_down() -> BTreeMap<(String, u32), String> {
    const CALLS: [&str; 43] = [
        "settle(",
        ".make_directory(",
        ".create(",
        ".write(",
        ".unlink(",
        ".remove_directory(",
        ".rename(",
        ".replace(",
        ".sync()",
        ".sync_file_system()",
        ".set_attribute(",
        ".set_mode(",
        ".set_owner(",
        "give(",
        ".unlock(",
        ".make_subvolume(",
        ".limit(",
        ".forget_quota(",
        ".set_project(",
        ".limit_project(",
        ".snapshot(",
        ".make_writable(",
        ".write_in_place(",
        ".allocate(",
        ".set_length(",
        ".attach(",
        ".give_size(",
        ".unmount(",
        ".read_size(",
        ".format(",
        ".mount(",
        ".put(",
        ".fill_from(",
        ".make_link(",
        ".make_name(",
        ".make_pipe(",
        ".dress(",
        "settle_where(",
        "settle_order(",
        ".share(",
        ".freeze(",
        ".thaw(",
        ".renew(",
    ];
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agent/src");
    let mut found = BTreeMap::new();
    for folder in ["disk", "disk/image", "volume", "volume/content", "volume/on_disk"] {
        for entry in std::fs::read_dir(sources.join(folder)).expect("the sources are there") {
            let path = entry.expect("the sources are there").path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let name = path.file_name().expect("the sources are there").to_string_lossy();
            let text = std::fs::read_to_string(&path).expect("the sources are there");
            let code = text.split("#[cfg(test)]").next().expect("the sources are there");
            let mut passes_its_caller_on = false;
            for (line, text) in (1..).zip(code.lines()) {
                // What such a function calls comes from the place that calls the function.
                passes_its_caller_on |= text == "#[track_caller]";
                if passes_its_caller_on {
                    passes_its_caller_on = text != "}";
                    continue;
                }
                let call = CALLS.iter().find(|call| text.contains(**call));
                // The driver's own methods, texts, archives and what is done before there are disks have some of these
                // names.
                const OTHERS: [&str; 6] =
                    ["self.", "driver.", ".replace('", ".replace(\"", "out.put(", "DirBuilder::"];
                let own = OTHERS.iter().any(|other| text.contains(other));
                let named = text.trim_start().starts_with("//") || text.contains("fn ");
                if call.is_some() && !own && !named {
                    let at = (format!("agent/src/{folder}/{name}"), line);
                    found.insert(at, text.trim().to_owned());
                }
            }
        }
    }
    found
}

fn in_sources(site: &CallSite) -> (String, u32) {
    (site.file.to_owned(), site.line)
}

/// At how many places of a trace a call of one place in the source fails: all, but one where every start makes trials.
fn places(setup: &Setup) -> usize {
    if setup.driver == DriverChoice::Directory || effort() > 1 { usize::MAX } else { 1 }
}

fn with_errors() -> Report {
    let mut total = Report::default();
    let (mut failed, mut failures) = (BTreeSet::new(), 0);
    for setup in setups() {
        let errors = every_error(setup, None, places(setup), 10);
        eprintln!(
            "{}: {} failures, {} crash points, {} states",
            setup.name, errors.failures, errors.report.points, errors.report.states
        );
        failed.extend(errors.failed);
        failures += errors.failures;
        for violation in errors.report.violations.iter().take(3) {
            eprintln!("  {violation}");
        }
        total.add(errors.report);
    }
    let sites: BTreeSet<CallSite> = failed.iter().map(|(site, _errno)| *site).collect();
    eprintln!(
        "call sites {} x errors {} = {}, failures {failures}, violations {}",
        sites.len(),
        ERRORS.len(),
        failed.len(),
        total.violations.len()
    );
    assert_eq!(failed.len(), sites.len() * ERRORS.len());
    total
}

#[test]
fn nothing_is_lost_by_any_crash_or_error_and_every_call_had_both() {
    let mut total = Report::default();
    for setup in setups() {
        let report = all_of(setup, &bounds(), None);
        eprintln!(
            "{}: {} runs, {} crash points, {} states, {} recoveries, {} violations",
            setup.name,
            report.runs,
            report.points,
            report.states,
            report.recoveries,
            report.violations.len()
        );
        for violation in report.violations.iter().take(3) {
            eprintln!("  {violation}");
        }
        total.add(report);
    }
    if only().is_none() {
        total.add(deep(&SETUPS[0]));
    }
    total.add(with_errors());
    eprintln!(
        "crash points {}, states {}, recoveries {}, violations {}, call sites {}",
        total.points,
        total.states,
        total.recoveries,
        total.violations.len(),
        total.crashed.len()
    );
    assert_eq!(total.violations, [""; 0]);
    if only().is_some() {
        return;
    }
    let uncovered: Vec<_> = total.recorded.difference(&total.crashed).collect();
    assert!(uncovered.is_empty(), "recorded and never crashed after: {uncovered:#?}");
    let covered: BTreeSet<_> = total.crashed.iter().map(in_sources).collect();
    let never: Vec<_> = written_down()
        .into_iter()
        .filter(|(at, _text)| !covered.contains(at) && !SEARCHED_ELSEWHERE.contains(&at.0.as_str()))
        .collect();
    assert!(never.is_empty(), "in the sources and never crashed after: {never:#?}");
}

/// Trials promise nothing: they make a file system count or write.
fn is_trial(file: &str) -> bool {
    file.ends_with("probe.rs") || file.ends_with("trial.rs")
}

/// A key is overwritten, and that synced, before its name goes: what the blocks of a file hold that has no name any more is
/// not modelled. (That a key is durable before its volume is written is: `make` syncs through `marker.rs`.)
fn is_unseen(file: &str) -> bool {
    file == "agent/src/volume/keys.rs"
}

#[test]
fn without_any_single_sync_something_is_lost() {
    let mut syncs: BTreeMap<CallSite, Vec<&Setup>> = BTreeMap::new();
    let few = Bounds { exhaustive: 4, length: 3, depth: 1, violations: 1 };
    for setup in setups() {
        for site in all_of(setup, &few, None).recorded {
            if site.call.is_sync() && !is_trial(site.file) && !is_unseen(site.file) {
                syncs.entry(site).or_default().push(setup);
            }
        }
    }
    let mut alive = Vec::new();
    for (site, setups) in &syncs {
        let by_crashes = |setup: &Setup, depth: u8| {
            let bounds = Bounds { depth, ..few };
            all_of(setup, &bounds, Some(*site)).violations.into_iter().next()
        };
        let by_errors = |setup: &Setup| {
            every_error(setup, Some(*site), 2, 1).report.violations.into_iter().next()
        };
        let deeply = |setup: &Setup| by_crashes(setup, 2).or_else(|| by_errors(setup));
        // The search is short where a start tries nothing.
        let (short, long): (Vec<&Setup>, Vec<&Setup>) =
            setups.iter().partition(|setup| setup.driver == DriverChoice::Directory);
        let killed = (short.iter().find_map(|setup| by_crashes(setup, 1)))
            .or_else(|| short.iter().find_map(|setup| deeply(setup)))
            .or_else(|| long.iter().find_map(|setup| by_crashes(setup, 1)))
            .or_else(|| long.iter().find_map(|setup| deeply(setup)));
        match killed {
            Some(violation) => eprintln!("without {site}: {violation}"),
            None => alive.push(site),
        }
    }
    eprintln!("syncs {}, needed {}", syncs.len(), syncs.len() - alive.len());
    assert!(alive.is_empty(), "nothing is lost without: {alive:#?}");
}
