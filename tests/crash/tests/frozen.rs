//! Copies of images that take too long: the file system goes on, and what was copied is thrown away.

#![cfg(test)]

use berth_agent_core::effect::VolumeOutcome;
use berth_crash_tests::activity::Operation;
use berth_crash_tests::books::Subject;
use berth_crash_tests::scene::start;
use berth_crash_tests::sequences::{adopted, carry_out};
use berth_crash_tests::setup::SETUPS;
use berth_model::error::ErrorCode;
use std::time::Duration;

#[test]
fn a_copy_that_takes_too_long_is_thrown_away_and_nobody_waits_for_it() {
    let setups = SETUPS.iter().filter(|setup| setup.format().is_some() && setup.has_snapshots());
    let mut count = 0;
    for setup in setups {
        count += 1;
        let (files, mut books) = adopted(setup);
        let volumes = start(&files, setup, &books, false).holding_still(Duration::from_millis(1));
        carry_out(&files, setup, &volumes, &mut books, &[(0, Operation::Create)]);
        books.begin(0, Operation::Snapshot);
        let effect = books.called_for(Subject::Snapshot(0)).expect("it is being taken");
        files.set_slow_copies(true);
        let outcome = volumes.run(&effect);
        let VolumeOutcome::Failed(reason) = outcome else { panic!("{}: {outcome:?}", setup.name) };
        assert_eq!(reason.code, ErrorCode::FreezeFailed, "{}", reason.message);
        let storage = files.storage();
        assert!(!storage.is_any_frozen());
        assert_eq!(storage.seen().names("/agent/disk/.snapshots"), [""; 0]);
        let marks = storage.seen().names("/agent/disk/.meta");
        assert!(!marks.iter().any(|name| name.starts_with("frozen.")), "{marks:?}");
        files.set_slow_copies(false);
        let volumes = start(&files, setup, &books, false);
        let outcome = volumes.run(&effect);
        assert!(matches!(outcome, VolumeOutcome::Present { .. }), "{}: {outcome:?}", setup.name);
        assert!(!files.storage().is_any_frozen());
    }
    assert!(count > 1);
}
