//! Sums: order does not matter, nothing is lost, nothing is made.

use crate::arbitrary::{added, level, list, pair, role, sum};
use berth_model::resources::{Resource, ResourceError, Resources, Shortfall, Value};
use berth_model::units::Scalar;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn plus(a: &Resources, b: &Resources) -> Resources {
    let mut sum = a.clone();
    sum.add_all(b).unwrap();
    sum
}

/// Totals where every copy counts, unlike those of shared volumes.
fn weight(sum: &Resources) -> BTreeMap<String, i64> {
    let mut weight = BTreeMap::new();
    for resource in sum.iter() {
        let amount = match &resource.value {
            Value::Scalar(amount) => amount.milli(),
            Value::Ranges(ranges) => i64::try_from(ranges.count()).unwrap() * 1_000,
            Value::Set(items) => i64::try_from(items.len()).unwrap() * 1_000,
        };
        *weight.entry(resource.name.to_string()).or_default() += amount;
    }
    weight
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_order_of_additions_does_not_matter(
        (list, shuffled) in list().prop_flat_map(|l| (Just(l.clone()), Just(l).prop_shuffle())),
    ) {
        match (Resources::from_list(list), Resources::from_list(shuffled)) {
            (Ok(a), Ok(b)) => {
                prop_assert_eq!(a.totals(), b.totals());
                prop_assert_eq!(a, b);
            },
            (Err(_), Err(_)) => {},
            (a, b) => panic!("{a:?} but {b:?}"),
        }
    }

    #[test]
    fn sums_are_canonical(sum in sum()) {
        let entries: Vec<_> = sum.entries().collect();
        prop_assert_eq!(entries.len(), sum.len());
        for (index, entry) in entries.iter().enumerate() {
            prop_assert_eq!(entry.resource.validate(), Ok(()));
            prop_assert!(entry.copies == 1 || !entry.resource.is_divisible());
            // No two entries are of one thing: subtracting one leaves the others.
            let one = added(&vec![entry.resource.clone(); usize::try_from(entry.copies).unwrap()]);
            let mut rest = sum.clone();
            rest.checked_sub(&one).unwrap();
            let mut want = entries.clone();
            want.remove(index);
            prop_assert_eq!(rest.entries().collect::<Vec<_>>(), want);
        }
        prop_assert_eq!(Resources::from_list(sum.iter()), Ok(sum));
    }

    #[test]
    fn adding_commutes_and_taking_away_undoes_it((a, b) in pair()) {
        let both = plus(&a, &b);
        prop_assert_eq!(&both, &plus(&b, &a));
        prop_assert!(both.contains(&a) && both.contains(&b));
        prop_assert_eq!(both.minus(&b), a.clone());
        let mut left = both.clone();
        prop_assert_eq!(left.checked_sub(&b), Ok(()));
        prop_assert_eq!(left, a);
    }

    #[test]
    fn adding_is_associative((a, b) in pair(), c in sum()) {
        let (mut bc, mut abc) = (b.clone(), plus(&a, &b));
        prop_assume!(bc.add_all(&c).is_ok() && abc.add_all(&c).is_ok());
        prop_assert_eq!(plus(&a, &bc), abc);
    }

    #[test]
    fn what_is_left_and_what_was_taken_make_the_whole(a in sum(), b in sum()) {
        let left = a.minus(&b);
        let taken = a.minus(&left);
        prop_assert!(a.contains(&left) && a.contains(&taken) && b.contains(&taken));
        prop_assert_eq!(plus(&left, &taken), a.clone());
        prop_assert!(plus(&taken, &a.missing(&b)) == b);
        prop_assert_eq!(a.contains(&b), a.missing(&b).is_empty());
        prop_assert!(a.contains(&a) && a.contains(&Resources::new()));
        prop_assert_eq!(a.minus(&a), Resources::new());
        prop_assert_eq!(a.minus(&Resources::new()), a);
    }

    #[test]
    fn containing_is_transitive((a, b) in pair(), c in sum()) {
        let ab = plus(&a, &b);
        prop_assert!(!a.contains(&c) || ab.contains(&c));
        prop_assert!(!(a.contains(&c) && c.contains(&a)) || a == c);
    }

    #[test]
    fn taking_away_is_all_or_nothing(a in sum(), b in sum()) {
        let mut left = a.clone();
        match left.checked_sub(&b) {
            Ok(()) => {
                prop_assert!(a.contains(&b));
                prop_assert_eq!(plus(&left, &b), a);
            },
            Err(Shortfall { missing }) => {
                prop_assert!(!a.contains(&b) && !missing.is_empty());
                prop_assert_eq!(missing, b.minus(&a));
                prop_assert_eq!(left.entries().collect::<Vec<_>>(), a.entries().collect::<Vec<_>>());
            },
        }
    }

    #[test]
    fn a_refused_addition_changes_nothing(a in sum(), b in sum()) {
        let mut joined = a.clone();
        if joined.add_all(&b).is_err() {
            prop_assert_eq!(joined.entries().collect::<Vec<_>>(), a.entries().collect::<Vec<_>>());
        }
        for resource in b.iter() {
            let mut more = a.clone();
            if more.add(&resource).is_err() {
                prop_assert_eq!(&more, &a);
            }
        }
    }

    #[test]
    fn totals_are_conserved((a, b) in pair()) {
        let mut want = weight(&a);
        for (name, amount) in weight(&b) {
            *want.entry(name).or_default() += amount;
        }
        prop_assert_eq!(weight(&plus(&a, &b)), want);

        // Reserving, making volumes of disk and back move amounts, and neither make nor lose any.
        let plain: Vec<Resource> = a.iter().filter(|r| r.persistence().is_none()).collect();
        let pushed: Vec<Resource> =
            plain.iter().map(|r| r.push(level("a/b/c")).unwrap_or_else(|_| r.clone())).collect();
        prop_assert_eq!(weight(&added(&pushed)), weight(&added(&plain)));
        let unshared: Vec<Resource> = a.iter().filter(|r| !r.shared).collect();
        let stripped: Vec<Resource> = unshared.iter().map(Resource::strip_volume).collect();
        prop_assert_eq!(added(&stripped).totals(), added(&unshared).totals());
    }

    #[test]
    fn parts_of_a_sum_make_the_whole(a in sum()) {
        for name in ["a", "a/b", "c"] {
            let role = role(name);
            let mine = a.allocatable_to(&role);
            let others = a.filtered(|r| !r.stack.is_allocatable_to(&role));
            prop_assert!(mine.iter().all(|r| r.stack.is_allocatable_to(&role)));
            prop_assert_eq!(plus(&mine, &others), a.clone());
        }
        let volumes = a.filtered(|r| r.persistence().is_some());
        let entries: Vec<Resource> = volumes.entries().map(|e| e.resource).collect();
        prop_assert_eq!(a.volumes(), entries);
    }

    #[test]
    fn what_is_shared_and_the_rest_make_the_whole_and_more_copies_are_no_more((a, b) in pair()) {
        prop_assert_eq!(plus(&a.shared(), &a.unshared()), a.clone());
        prop_assert!(a.shared().iter().all(|r| r.shared) && a.unshared().iter().all(|r| !r.shared));
        prop_assert_eq!(plus(&a, &b).shared(), plus(&a.shared(), &b.shared()));
        let once = a.once();
        prop_assert_eq!((once.totals(), once.once()), (a.totals(), once.clone()));
        prop_assert!(a.contains(&once) && once.len() == a.len());
        prop_assert!(once.shared().entries().all(|entry| entry.copies == 1));
        // A further copy of everything shared is counted with the first, and is given back alone.
        let copied = plus(&a, &once.shared());
        prop_assert_eq!((copied.totals(), copied.once()), (a.totals(), once.clone()));
        prop_assert_eq!(copied.minus(&once.shared()), a.clone());
        for entry in a.shared().entries() {
            let all = added(&vec![entry.resource.clone(); usize::try_from(entry.copies).unwrap()]);
            let left = a.minus(&all);
            prop_assert!(left.entries().all(|other| other.resource != entry.resource));
            prop_assert_eq!(left.len() + 1, a.len());
        }
    }

    #[test]
    fn marking_for_a_role_is_undone_by_unmarking(a in sum()) {
        let marked = a.allocated_to(Some(&role("a"))).unwrap();
        prop_assert!(marked.iter().all(|r| r.allocation_role == Some(role("a"))));
        prop_assert_eq!(marked.totals(), a.totals());
        prop_assert_eq!(marked == a, a.is_empty());
        prop_assert_eq!(marked.allocated_to(None), Ok(a));
    }
}

#[test]
fn sums_that_do_not_fit_are_refused_and_change_nothing() {
    use berth_model::resources::Name;
    let most = Resource::scalar(Name::Cpus, Scalar::from_milli(i64::MAX));
    let ports: Resources = berth_model::resources::parse_resources("ports:[1-5]").unwrap();
    let mut sum = Resources::from_list([most.clone()]).unwrap();
    sum.add_all(&ports).unwrap();
    let before = sum.clone();
    let overflow = ResourceError::Overflow { name: "cpus".to_owned() };
    assert_eq!(sum.add(&most), Err(overflow));
    assert_eq!(
        sum.add_all(&berth_model::resources::parse_resources("cpus:0.001;mem:5").unwrap())
            .map_err(|e| e.to_string()),
        Err("cpus overflows: the sum does not fit".to_owned())
    );
    assert_eq!(
        sum.add_all(&ports).map_err(|e| e.to_string()),
        Err("ports: ranges overlap at 1".to_owned())
    );
    let zones = Resource::of(Name::new("zones"), Value::Set(["x".into()].into()));
    sum.add(&zones).unwrap();
    assert_eq!(
        sum.add(&zones).map_err(|e| e.to_string()),
        Err("zones has the item \"x\" twice: give each item once".to_owned())
    );
    sum.checked_sub(&Resources::from_list([zones]).unwrap()).unwrap();
    assert_eq!(sum, before);
}
