//! With a fan-out of one nothing is optimistic: the same life has the same trace as before optimistic offers existed.
//!
//! The figures below were taken from the master as it was before; they change only when what an exclusive offer is
//! changes, and then the reason belongs into the commit.

mod contest;
mod stage;

use berth_model::id::fingerprint;
use contest::{Contest, life};

const LIVES: u64 = 40;
const LENGTH: usize = 250;

/// Fingerprints of the traces of lives 0 to 39.
const BEFORE: &str = include_str!("classic/traces.txt");

fn traces() -> Vec<String> {
    let trace = |seed| {
        let mut contest = Contest::new(|_| {});
        contest.play(&life(seed, LENGTH));
        let text = contest.trace.join("\n");
        format!("{seed} {} lines {:016x}", contest.trace.len(), fingerprint(text.as_bytes()))
    };
    (0..LIVES).map(trace).collect()
}

#[test]
fn a_fan_out_of_one_changes_nothing() {
    let now = traces();
    assert_eq!(now.join("\n"), BEFORE.trim_end());
}
