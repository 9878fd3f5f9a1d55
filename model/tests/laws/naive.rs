//! The algebra again, in the plainest way: a sum is a map from single units to how many there are.
//!
//! A unit is a thousandth of a scalar, one number of a range, one item of a set, one whole volume or
//! disk. Identities are texts made from every part that counts.

use crate::arbitrary::{pair, resource, sum};
use berth_model::resources::{Resource, Resources, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Units = BTreeMap<(String, String), i64>;

fn identity(r: &Resource) -> String {
    let Resource { name, value: _, stack, disk, shared, revocable, provider, allocation_role } = r;
    let source = r.disk_source();
    let volume = disk.as_ref().and_then(|d| d.persistence.as_ref()).map(|p| p.name.clone());
    let stack: Vec<String> =
        stack.levels().iter().map(|l| format!("{:?} {l} {:?}", l.kind, l.labels())).collect();
    format!(
        "{name} {stack:?} {source} {volume:?} {shared} {revocable} {provider:?} {allocation_role:?}"
    )
}

fn units(list: impl IntoIterator<Item = Resource>) -> Units {
    let mut units = Units::new();
    for resource in list {
        let mut count = |unit: String, n: i64| {
            *units.entry((identity(&resource), unit)).or_default() += n;
        };
        let whole = resource.persistence().is_some()
            || resource.disk_source().to_string().starts_with("MOUNT")
            || resource.disk_source().to_string().starts_with("BLOCK");
        match &resource.value {
            Value::Scalar(amount) if whole => count(format!("whole {amount}"), 1),
            Value::Scalar(amount) => count("thousandth".to_owned(), amount.milli()),
            Value::Ranges(ranges) => {
                for range in ranges.as_slice() {
                    (range.begin..=range.end).for_each(|n| count(n.to_string(), 1));
                }
            },
            Value::Set(items) => items.iter().for_each(|item| count(item.to_string(), 1)),
        }
    }
    units
}

fn minus(a: &Units, b: &Units) -> Units {
    let left = |(unit, have): (&(String, String), &i64)| {
        let n = have - b.get(unit).copied().unwrap_or(0);
        (n > 0).then(|| (unit.clone(), n))
    };
    a.iter().filter_map(left).collect()
}

fn of(sum: &Resources) -> Units {
    units(sum.iter())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn adding_is_counting_units(list in vec(resource(), 0..12)) {
        let counted = units(list.clone());
        // A number or item twice is the only reason to refuse: scalars here are small.
        let twice = counted.iter().any(|((_, unit), n)| {
            *n > 1 && unit != "thousandth" && !unit.starts_with("whole")
        });
        match Resources::from_list(list) {
            Ok(sum) => {
                prop_assert!(!twice);
                prop_assert_eq!(of(&sum), counted);
            },
            Err(_) => prop_assert!(twice),
        }
    }

    #[test]
    fn subtracting_is_counting_units((a, b) in (sum(), sum())) {
        let (na, nb) = (of(&a), of(&b));
        prop_assert_eq!(of(&a.minus(&b)), minus(&na, &nb));
        prop_assert_eq!(of(&a.missing(&b)), minus(&nb, &na));
        prop_assert_eq!(a.contains(&b), minus(&nb, &na).is_empty());
        prop_assert_eq!(a == b, na == nb);
    }

    #[test]
    fn joining_is_counting_units((a, b) in pair()) {
        let mut joined = a.clone();
        joined.add_all(&b).unwrap();
        prop_assert_eq!(of(&joined), units(a.iter().chain(b.iter())));
    }
}
