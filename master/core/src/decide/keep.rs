//! Which snapshots of a schedule fall out of its rules.
//!
//! Knows nothing of states and holds: the caller gives the good ones and deletes what may be deleted. Laws, tested below: the
//! newest is never named; naming twice names nothing new; a rule that keeps more names less; what is named once stays
//! named as newer ones come.

use berth_model::id::SnapshotId;
use berth_model::schedule::Keep;
use berth_model::units::Timestamp;
use std::collections::BTreeSet;

/// A snapshot, and the time it was taken for.
pub(crate) type Taken = (Timestamp, SnapshotId);

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// The epoch was a Thursday: three days later weeks begin on Monday.
const THURSDAY_MS: u64 = 3 * DAY_MS;

/// Those that no rule keeps.
pub(crate) fn falls_out(keep: &Keep, taken: &BTreeSet<Taken>) -> BTreeSet<Taken> {
    let mut kept: BTreeSet<Taken> = taken.last().copied().into_iter().collect();
    // Two of one time are one for the rules of time, and two for the rule that counts.
    let last = usize::try_from(keep.last).unwrap_or(usize::MAX);
    kept.extend(taken.iter().rev().take(last));
    let hour = |at: Timestamp| at.ms() / HOUR_MS;
    let day = |at: Timestamp| at.ms() / DAY_MS;
    let week = |at: Timestamp| (at.ms() + THURSDAY_MS) / (7 * DAY_MS);
    newest_of_spans(keep.hourly, hour, taken, &mut kept);
    newest_of_spans(keep.daily, day, taken, &mut kept);
    newest_of_spans(keep.weekly, week, taken, &mut kept);
    taken.difference(&kept).copied().collect()
}

/// Keeps the newest of each of the `count` newest spans in which one was taken.
fn newest_of_spans(
    count: u32,
    span: impl Fn(Timestamp) -> u64,
    taken: &BTreeSet<Taken>,
    kept: &mut BTreeSet<Taken>,
) {
    let (mut left, mut latest) = (count, None);
    for one in taken.iter().rev() {
        let of = span(one.0);
        if latest == Some(of) {
            continue;
        }
        if left == 0 {
            return;
        }
        left -= 1;
        latest = Some(of);
        kept.insert(*one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(hours: u64) -> Taken {
        (Timestamp::from_ms(hours * HOUR_MS), SnapshotId::from_u128(u128::from(hours)))
    }

    fn named(keep: Keep, hours: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let taken = hours.into_iter().map(at).collect();
        falls_out(&keep, &taken).iter().map(|(at, _)| at.ms() / HOUR_MS).collect()
    }

    #[test]
    fn each_rule_keeps_the_newest_of_its_spans() {
        let none = Keep::default();
        let last = Keep { last: 2, ..none };
        assert_eq!(named(last, [1, 2, 3, 4]), [1, 2]);
        // Days end at 24 and 48.
        let daily = Keep { daily: 2, ..none };
        assert_eq!(named(daily, [1, 22, 23, 25, 47, 50]), [1, 22, 23, 25]);
        let both = Keep { last: 2, daily: 2, ..none };
        assert_eq!(named(both, [1, 22, 23, 45, 46, 47]), [1, 22, 45]);
        // Monday, the fifth of January 1970, began 96 hours after the epoch.
        let weekly = Keep { weekly: 5, ..none };
        assert_eq!(named(weekly, [0, 95, 96, 97, 300]), [0, 96]);
        // Time that passed without snapshots deletes nothing.
        let hourly = Keep { hourly: 3, ..none };
        assert_eq!(named(hourly, [1, 1_000, 50_000]), Vec::<u64>::new());
    }

    fn keeps() -> impl Strategy<Value = Keep> {
        (0_u32..5, 0_u32..5, 0_u32..5, 0_u32..4).prop_map(|(last, hourly, daily, weekly)| Keep {
            last,
            hourly,
            daily,
            weekly,
        })
    }

    fn takens() -> impl Strategy<Value = BTreeSet<Taken>> {
        let quarter = |(quarters, id): (u64, u8)| {
            (Timestamp::from_ms(quarters * HOUR_MS / 4), SnapshotId::from_u128(u128::from(id)))
        };
        proptest::collection::btree_set((0_u64..3_000, 0_u8..4).prop_map(quarter), 0..60)
    }

    proptest! {
        #[test]
        fn the_laws_hold(keep in keeps(), more in keeps(), taken in takens(), cut in 0_u64..3_000) {
            let out = falls_out(&keep, &taken);
            prop_assert!(out.is_subset(&taken));
            prop_assert!(taken.last().is_none_or(|newest| !out.contains(newest)));

            let rest: BTreeSet<Taken> = taken.difference(&out).copied().collect();
            prop_assert_eq!(falls_out(&keep, &rest), BTreeSet::new());

            let larger = Keep {
                last: keep.last + more.last,
                hourly: keep.hourly + more.hourly,
                daily: keep.daily + more.daily,
                weekly: keep.weekly + more.weekly,
            };
            prop_assert!(falls_out(&larger, &taken).is_subset(&out));

            let cut = Timestamp::from_ms(cut * HOUR_MS / 4);
            let early: BTreeSet<Taken> = taken.iter().filter(|(at, _)| *at <= cut).copied().collect();
            prop_assert!(falls_out(&keep, &early).is_subset(&out));
        }
    }
}
