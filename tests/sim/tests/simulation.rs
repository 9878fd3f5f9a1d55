//! The simulation as a test: many seeds without a violation, with every kind of fault in them; and proof that the judges
//! would have noticed.

use berth_sim::mutants::mutants;
use berth_sim::{Breach, Fault, Options, Tally, run_seed};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const SEEDS: u64 = 300;

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn workspace_file(path: &str) -> String {
    let path = package().join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Runs seeds, each for so many events, and answers what happened; a violation ends the test with what to type next.
fn run_all(fan_out: Option<u32>, seeds: impl Iterator<Item = (u64, u64)>) -> Tally {
    let mut tally = Tally::default();
    let mut found = Vec::new();
    for (seed, events) in seeds {
        let outcome = run_seed(seed, &Options { events, fan_out, ..Options::default() });
        tally.add(&outcome.tally);
        let texts = outcome.violations.iter().map(|v| format!("{}: {}", v.rule, v.text));
        found.extend(texts.map(|text| format!("--replay {seed} --events {events}: {text}")));
    }
    assert!(found.is_empty(), "replay with `sim`:\n{}", found.join("\n"));
    tally
}

#[test]
fn no_seed_shows_a_violation_and_every_fault_happens() {
    let tally = run_all(None, (1..=SEEDS).map(|seed| (seed, Options::default().events)));
    let missing: Vec<Fault> =
        Fault::ALL.into_iter().filter(|fault| tally.count(*fault) == 0).collect();
    assert_eq!(missing, Vec::<Fault>::new(), "{:#?}", tally.lines());
    for deed in [
        "operations RESERVE DONE",
        "operations UNRESERVE DONE",
        "operations CREATE DONE",
        "operations DESTROY DONE",
        "operations RESTORE DONE",
        "operations PURGE DONE",
        "operations GROW DONE",
        "operations SHRINK DONE",
        "operations SNAPSHOT DONE",
        "operations DELETE_SNAPSHOT DONE",
        "operations ROLLBACK DONE",
        "operations CLONE DONE",
        "roll backs halfway",
        "operations LAUNCH DONE",
        "operations TEARDOWN DONE",
        "operations CORDON DONE",
        "operations UNCORDON DONE",
        "operations LABEL DONE",
        "containers up",
        "volumes used by several",
        "ledger snapshots",
        "old ledgers shown",
        "conflicts",
    ] {
        assert!(tally.deeds(deed) > 0, "{deed} never happened: {:#?}", tally.lines());
    }
    assert_eq!(tally.deeds("healed"), SEEDS, "every seed settles after its faults");
}

#[test]
fn seeds_that_once_failed_do_not() {
    let text = fs::read_to_string(package().join("regressions.txt")).unwrap();
    let seeds = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let number =
            |text: &str| text.parse().unwrap_or_else(|e| panic!("regressions.txt: {line:?}: {e}"));
        let run = line.split_whitespace().next().unwrap_or_default();
        match run.split_once('@') {
            Some((seed, events)) => (number(seed), number(events)),
            None => (number(run), Options::default().events),
        }
    });
    // They are from before there was a fan-out.
    run_all(Some(1), seeds);
}

#[test]
fn one_seed_gives_one_run() {
    let run = || {
        let outcome = run_seed(7, &Options { trace: true, ..Options::default() });
        (outcome.events, outcome.tally, outcome.trace)
    };
    assert_eq!(run(), run());
}

#[test]
fn every_broken_rule_of_the_shells_is_noticed() {
    for breach in Breach::ALL {
        let options = Options { breach: Some(breach), ..Options::default() };
        let noticed = (1..=SEEDS).any(|seed| !run_seed(seed, &options).violations.is_empty());
        assert!(noticed, "{SEEDS} seeds with {breach:?} show nothing");
    }
}

#[test]
fn every_mutant_still_fits_the_sources() {
    let mut names = BTreeSet::new();
    for mutant in mutants() {
        assert!(names.insert(mutant.name), "two mutants are named {}", mutant.name);
        assert_ne!(mutant.from, mutant.to, "{}", mutant.name);
        let count = workspace_file(mutant.file).matches(mutant.from).count();
        assert_eq!(count, 1, "{}: {}: {:?}", mutant.name, mutant.file, mutant.from);
    }
}

/// The names in `code` marks of a line that are functions of the judges.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter_map(|name| name.strip_suffix("()"))
}

fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            into.push_str(&fs::read_to_string(&path).expect("a text"));
        }
    }
}

#[test]
fn the_judges_named_in_the_guide_exist() {
    let guide = workspace_file("docs/invariants.md");
    let mut text = String::new();
    sources(&package().join("src"), &mut text);
    let names: BTreeSet<&str> = guide.lines().flat_map(named).collect();
    assert!(names.len() > 10, "docs/invariants.md names only {names:?}");
    let missing: Vec<&str> =
        names.into_iter().filter(|name| !text.contains(&format!("fn {name}("))).collect();
    assert_eq!(missing, Vec::<&str>::new(), "named in docs/invariants.md, not in tests/sim/src");
}
