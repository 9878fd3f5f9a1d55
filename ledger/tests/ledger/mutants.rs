//! Broken journals and lying disks, each of which the checks of this suite must notice.
//!
//! A check that notices none of them would prove nothing by passing.

use berth_ledger::disk::Call;
use berth_ledger::disk::sim::{IgnoreSync, SimDisk};

use crate::crash::{Mutant, explore, failed_sync_then_kill, syncs_of_life};
use crate::properties::{life, run, run_in};
use crate::world::World;

#[test]
fn leaving_out_all_syncs_of_files_or_of_the_folder_is_noticed() {
    for ignore in [IgnoreSync::Files, IgnoreSync::Folder] {
        for mutant in [
            Mutant { in_life: ignore, ..Mutant::default() },
            Mutant { in_recovery: ignore, ..Mutant::default() },
        ] {
            let found = explore(mutant, 24);
            assert!(found.is_err(), "{mutant:?} went unnoticed in {found:?} cases");
        }
    }
}

#[test]
fn the_random_lives_notice_a_commit_without_sync() {
    let is_noticed = (0..200).any(|seed| {
        let disk = SimDisk::new(seed);
        disk.set_ignore_sync(IgnoreSync::Files);
        run(disk, &life(seed)).is_err()
    });
    assert!(is_noticed, "200 lives without a sync show no loss");
}

#[test]
fn leaving_out_a_single_sync_is_noticed_wherever_it_matters() {
    let survivors = |last: u64, mutant: fn(IgnoreSync) -> Mutant| -> Vec<u64> {
        (1..=last).filter(|nth| explore(mutant(IgnoreSync::Nth(*nth)), 24).is_ok()).collect()
    };
    // 9 and 18 make the removal of old files durable, which only saves space. 11 and 12 belong to the open after
    // a kill at which everything was durable already; the recoveries show that they are needed in general.
    let in_life = |ignored| Mutant { in_life: ignored, ..Mutant::default() };
    assert_eq!(survivors(syncs_of_life(), in_life), [9, 11, 12, 18]);
    // The fifth is again that of removals only.
    let in_recovery = |ignored| Mutant { in_recovery: ignored, ..Mutant::default() };
    assert_eq!(survivors(5, in_recovery), [5]);
}

#[test]
fn leaving_out_any_kind_of_change_is_noticed() {
    for call in [Call::Truncate, Call::Sync, Call::SyncDir, Call::Remove] {
        let is_noticed = (0..200)
            .any(|seed| run_in(World::new(SimDisk::new(seed), Some(call)), &life(seed)).is_err());
        assert!(is_noticed, "200 lives without the call to {call} files show nothing");
    }
    let is_noticed =
        (0..64).any(|seed| failed_sync_then_kill(Some(Call::Overwrite), seed).is_err());
    assert!(is_noticed, "64 times pages were trusted after a failed sync, without loss");
}
