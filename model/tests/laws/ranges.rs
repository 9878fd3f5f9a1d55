//! Ranges against sets of numbers.

use crate::arbitrary::ranges;
use berth_model::resources::{Range, Ranges, RangesError};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
    ranges.as_slice().iter().flat_map(|r| r.begin..=r.end).collect()
}

fn is_canonical(ranges: &Ranges) -> bool {
    let sorted = ranges.as_slice().windows(2).all(|pair| pair[0].end + 1 < pair[1].begin);
    sorted && ranges.as_slice().iter().all(|r| r.begin <= r.end)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn making_ranges_is_making_a_set(parts in vec((0..30_u64, 0..8_u64), 0..6)) {
        let parts: Vec<Range> =
            parts.into_iter().map(|(begin, more)| Range { begin, end: begin + more }).collect();
        let all: Vec<u64> = parts.iter().flat_map(|r| r.begin..=r.end).collect();
        let set: BTreeSet<u64> = all.iter().copied().collect();
        match Ranges::new(parts) {
            Ok(ranges) => {
                prop_assert_eq!(all.len(), set.len(), "an overlap went unnoticed");
                prop_assert!(is_canonical(&ranges));
                prop_assert_eq!(ranges.count(), set.len() as u64);
                prop_assert_eq!(numbers(&ranges), set);
            },
            Err(RangesError::Overlap { at }) => {
                prop_assert!(all.iter().filter(|n| **n == at).count() > 1);
            },
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn set_operations_agree_with_sets(a in ranges(), b in ranges()) {
        let (na, nb) = (numbers(&a), numbers(&b));
        let left = a.minus(&b);
        prop_assert!(is_canonical(&left));
        prop_assert_eq!(numbers(&left), na.difference(&nb).copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(a.contains(&b), nb.is_subset(&na));
        match a.union(&b) {
            Ok(both) => {
                prop_assert!(is_canonical(&both) && na.is_disjoint(&nb));
                prop_assert_eq!(numbers(&both), na.union(&nb).copied().collect::<BTreeSet<_>>());
            },
            Err(_) => prop_assert!(!na.is_disjoint(&nb)),
        }
    }
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let whole = Ranges::new(vec![Range { begin: 0, end: u64::MAX }]).unwrap();
    let last = Ranges::new(vec![Range { begin: u64::MAX, end: u64::MAX }]).unwrap();
    let rest = Ranges::new(vec![Range { begin: 0, end: u64::MAX - 1 }]).unwrap();
    assert_eq!(whole.minus(&last), rest);
    assert_eq!(rest.union(&last), Ok(whole.clone()));
    assert_eq!(whole.minus(&whole), Ranges::default());
    assert_eq!((whole.count(), last.count()), (u64::MAX, 1));
    assert_eq!(
        Ranges::new(vec![Range { begin: 2, end: 1 }]),
        Err(RangesError::Inverted { begin: 2, end: 1 })
    );
}
