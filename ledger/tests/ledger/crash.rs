//! A crash after every single change to the disk, and another one inside the recovery from it.
//!
//! Bounded and exhaustive in the points, sampled in what a crash leaves. Also used by the mutants with broken disks.

use berth_ledger::disk::sim::{IgnoreSync, Rng, SimDisk};
use berth_ledger::disk::{Call, Disk, Kind};
use berth_ledger::journal::{Error, Journal, Options};

use crate::world::{OWNER, Step, Violation, World};

/// A small life: batches of one and of several sectors, records of zeros, two generations of snapshots, a restart between.
fn script() -> Vec<Step> {
    vec![
        Step::Append(vec![b"a".to_vec(), b"bb".to_vec()]),
        Step::Commit,
        Step::Append(vec![vec![b'c'; 1_300], vec![0; 900]]),
        Step::Commit,
        Step::Snapshot,
        Step::Append(vec![vec![0; 2_000]]),
        Step::Commit,
        Step::Kill,
        Step::Append(vec![b"d".to_vec()]),
        Step::Snapshot,
        Step::Append(vec![b"e".to_vec(), vec![b'f'; 600]]),
        Step::Commit,
    ]
}

/// Runs the script on `disk` until everything stops after `cut` changes.
fn run_until(disk: SimDisk, skipped: Option<Call>, cut: Option<u64>) -> Result<World, Violation> {
    let stop = |world: &World| {
        if let Some(cut) = cut {
            world.disk.disk.stop_after(cut - world.disk.disk.changes());
        }
    };
    let mut world = World::new(disk, skipped);
    stop(&world);
    let mut runs = world.start()?;
    for step in script() {
        runs = runs
            && if matches!(step, Step::Kill) {
                world.kill();
                stop(&world);
                world.start()?
            } else {
                world.apply(&step)?
            };
    }
    Ok(world)
}

/// What is broken, if anything, and when.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mutant {
    /// Syncs left out while the script runs.
    pub in_life: IgnoreSync,
    /// Syncs left out from the first crash on.
    pub in_recovery: IgnoreSync,
    /// A kind of call left out always.
    pub skipped: Option<Call>,
}

/// How many syncs the script makes.
pub fn syncs_of_life() -> u64 {
    let world = run_until(SimDisk::new(0), None, None).expect("no violation");
    world.disk.disk.count(Call::Sync) + world.disk.disk.count(Call::SyncDir)
}

/// Every crash point with `seeds` outcomes each; at each one every crash point of the recovery.
pub fn explore(mutant: Mutant, seeds: u64) -> Result<u64, Violation> {
    let fresh = |seed| {
        let disk = SimDisk::new(seed);
        disk.set_ignore_sync(mutant.in_life);
        disk
    };
    let whole = run_until(fresh(0), mutant.skipped, None)?.disk.disk.changes();
    let mut cases = 0;
    for cut in 0..=whole {
        for seed in 0..seeds {
            let at = |second: u64| {
                move |violation| format!("cut {cut} seed {seed} second {second}: {violation}")
            };
            let mut first = run_until(fresh(seed), mutant.skipped, Some(cut)).map_err(at(0))?;
            let mut rng = Rng::new(seed << 32 | cut);
            // The first outcome is the death of the process alone.
            if seed == 0 {
                first.kill();
            } else {
                first.crash(rng.draw());
            }
            for second in 0.. {
                let mut again = first.fork();
                again.disk.disk.set_ignore_sync(mutant.in_recovery);
                again.disk.disk.stop_after(second);
                let finished = again.start().map_err(at(second))?;
                again.crash(rng.draw());
                again.start().map_err(at(second))?;
                // What an open has answered must outlive the next power loss without further calls.
                again.crash(rng.draw());
                again.start().map_err(at(second))?;
                cases += 1;
                if finished {
                    break;
                }
            }
        }
    }
    Ok(cases)
}

#[test]
fn every_crash_point_recovers_what_was_answered_and_so_does_a_crash_in_recovery() {
    let cases = explore(Mutant::default(), 24).expect("no violation");
    assert!(cases > 5_000, "only {cases} cases were explored");
}

/// A batch that a failed sync left visible and clean, and not on the device: what the next process reads and is
/// told to be durable has to be durable.
pub fn failed_sync_then_kill(skipped: Option<Call>, seed: u64) -> Result<bool, Violation> {
    let mut world = World::new(SimDisk::new(seed), skipped);
    world.start()?;
    world.apply(&Step::Append(vec![b"kept".to_vec()]))?;
    world.apply(&Step::Commit)?;
    world.disk.disk.fail_next(Call::Sync, Kind::Io(Some(5)));
    world.apply(&Step::Append(vec![vec![b'x'; 700]]))?;
    let is_alive = world.apply(&Step::Commit)?;
    assert!(!is_alive, "the injected failure reached nobody");
    let segment = world.disk.list().expect("the disk works").join(" ");
    world.kill();
    world.start()?;
    let is_visible = world.disk.read(&segment).expect("one segment").len() > 1_024;
    world.crash(seed);
    world.start()?;
    Ok(is_visible)
}

#[test]
fn what_a_failed_sync_left_visible_is_written_again_before_open_answers() {
    let visible: Vec<bool> =
        (0..64).map(|seed| failed_sync_then_kill(None, seed).expect("no violation")).collect();
    assert!(visible.contains(&true) && visible.contains(&false), "both kinds occur: {visible:?}");
}

#[test]
fn a_full_disk_stops_the_journal_and_loses_nothing() {
    let disk = SimDisk::new(1);
    let mut journal = Journal::create(disk.clone(), OWNER, Options::default()).unwrap();
    journal.append(&[b"first"]).unwrap();
    assert_eq!(journal.commit(), Ok(1));
    disk.set_capacity_bytes(Some(1_500));
    journal.append(&[vec![1; 2_000]]).unwrap();
    let text = journal.commit().unwrap_err().to_string();
    assert_eq!(
        text,
        "ledger: append to log-00000000000000000001: no space left: free some on that file system, then restart"
    );
    assert_eq!(journal.commit(), Err(Error::Poisoned));
    let (_, recovered) = Journal::open(disk.clone(), OWNER, Options::default()).unwrap();
    assert_eq!(
        (recovered.records, recovered.seq, recovered.torn_bytes),
        (vec![b"first".to_vec()], 1, 476)
    );
}

#[test]
fn a_commit_is_one_append_and_one_sync_however_many_records_it_holds() {
    let disk = SimDisk::new(1);
    let mut journal = Journal::create(disk.clone(), OWNER, Options::default()).unwrap();
    let counts = || (disk.changes(), disk.count(Call::Append), disk.count(Call::Sync));
    let before = counts();
    journal.append(&vec![vec![7; 100]; 256]).unwrap();
    assert_eq!(counts(), before);
    assert_eq!(journal.commit(), Ok(256));
    assert_eq!(counts(), (before.0 + 2, before.1 + 1, before.2 + 1));
    assert_eq!(journal.commit(), Ok(256));
    assert_eq!(counts(), (before.0 + 2, before.1 + 1, before.2 + 1));
}
