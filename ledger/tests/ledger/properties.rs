//! Random lives of a journal: appends, commits, snapshots, deaths, power losses, errors.
//!
//! The law is the observer's: see [`crate::world`].

use berth_ledger::disk::sim::{Rng, SimDisk};
use proptest::prelude::*;

use crate::world::{Payload, Step, Violation, World};

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..60),
        2 => prop::collection::vec(any::<u8>(), 400..1_100),
        1 => (0_usize..2_500).prop_map(|length| vec![0; length]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(payload(), 0..5).prop_map(Step::Append),
        6 => Just(Step::Commit),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::Crash),
        2 => (0_u64..16).prop_map(Step::StopAfter),
        1 => prop_oneof![Just(0), Just(30), Just(200)].prop_map(Step::Failures),
    ]
}

/// A random life without the shrinking: for searches that stop at the first find.
pub fn life(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    (0..60)
        .map(|_| match rng.up_to(9) {
            0..=3 => Step::Append(vec![vec![b'p'; rng.up_to(1_200)]; rng.up_to(3)]),
            4..=6 => Step::Commit,
            7 => Step::Snapshot,
            8 => Step::StopAfter(rng.draw() % 16),
            _ => Step::Crash(rng.draw()),
        })
        .collect()
}

pub fn run(disk: SimDisk, steps: &[Step]) -> Result<(), Violation> {
    run_in(World::new(disk, None), steps)
}

pub fn run_in(mut world: World, steps: &[Step]) -> Result<(), Violation> {
    world.start()?;
    for (at, step) in steps.iter().enumerate() {
        let failed = |violation| format!("step {at}: {violation}");
        if !world.apply(step).map_err(failed)? {
            // The process died of the error. Somebody starts it again, once; then only a later step may.
            let is_power_loss = world.disk.disk.is_stopped() && at % 4 > 0;
            let restart = if is_power_loss { Step::Crash(at as u64) } else { Step::Kill };
            world.apply(&restart).map_err(failed)?;
        }
    }
    world.apply(&Step::Failures(0))?;
    let recovers = world.apply(&Step::Crash(1))? && world.apply(&Step::Kill)?;
    let works = recovers
        && world.apply(&Step::Append(vec![b"after all".to_vec()]))?
        && world.apply(&Step::Commit)?
        && world.apply(&Step::Crash(2))?;
    if works { Ok(()) } else { Err("a healed disk does not serve".to_owned()) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_was_answered_for_is_there_after_any_life(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..50),
    ) {
        if let Err(violation) = run(SimDisk::new(seed), &steps) {
            prop_assert!(false, "{violation}");
        }
    }
}
