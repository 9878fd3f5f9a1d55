//! Resources as operators write them.

use crate::arbitrary::{plain, plain_disk, role};
use berth_model::reservation::{Reservation, ReservationKind, Stack};
use berth_model::resources::{DiskSource, Resource, Resources, parse_resources};
use proptest::collection::vec;
use proptest::prelude::*;

/// What the text form can say: ROOT disk and the rest, unreserved or statically reserved to one role.
fn writable() -> BoxedStrategy<Resources> {
    let root = plain_disk().prop_filter("ROOT only", |r| r.disk_source() == DiskSource::Root);
    let resource = (prop_oneof![3 => plain(), 1 => root], proptest::option::of(Just("a/b")));
    vec(resource, 1..6)
        .prop_map(|list| {
            let mut sum = Resources::new();
            for (resource, owner) in list {
                let levels = owner.map(|owner| Reservation::fixed(role(owner)));
                let stack = Stack::new(levels.into_iter().collect()).unwrap();
                let _left_out = sum.add(&resource.with_stack(stack)).is_err();
            }
            sum
        })
        .boxed()
}

proptest! {
    #[test]
    fn what_is_printed_can_be_read(sum in writable()) {
        prop_assert_eq!(parse_resources(&sum.to_string()), Ok(sum));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z:;(){},\\[\\]0-9.*-]{0,30}") {
        if let Ok(sum) = parse_resources(&text) {
            prop_assert!(sum.iter().all(|r| r.validate().is_ok()));
        }
    }
}

#[test]
fn operators_texts_are_read() {
    for (text, printed) in [
        ("", "nothing"),
        ("cpus:2;mem:2GiB; disk:10GiB", "cpus:2; mem:2048; disk:10240"),
        ("cpus:0.5;cpus:1.5", "cpus:2"),
        ("cpus(*):1", "cpus:1"),
        ("disk(storage/mysql):1024", "disk(static:storage/mysql):1024"),
        ("ports:[31000-31001, 31002-31005]", "ports:[31000-31005]"),
        ("ports:[80]", "ports:[80-80]"),
        ("zones:{b, a}", "zones:{a,b}"),
    ] {
        assert_eq!(parse_resources(text).unwrap().to_string(), printed, "{text}");
    }
    let owned = parse_resources("disk(storage/mysql):1024").unwrap();
    let disk: Vec<Resource> = owned.iter().collect();
    let top = disk[0].stack.top().unwrap();
    assert_eq!((top.role.as_str(), top.kind), ("storage/mysql", ReservationKind::Static));
}

#[test]
fn texts_that_say_nothing_sound_are_refused_by_item() {
    for (text, want) in [
        ("cpus", "resources item \"cpus\" has no value: write name:amount, such as cpus:2"),
        (
            "cpus:-1",
            "resources item \"cpus:-1\": \"-1\" is not a number (digits, at most one point, not negative)",
        ),
        ("cpus:0", "cpus is 0: give an amount above zero"),
        ("cpus(a:1", "resources item \"cpus(a:1\" has an unclosed parenthesis"),
        (
            "cpus(a/..):1",
            "resources item \"cpus(a/..):1\": role \"a/..\" has the part \"..\", which is not allowed",
        ),
        ("disk:1.5", "resources item \"disk:1.5\": 1572864 bytes is not a whole number of MiB"),
        (
            "disk:1500kB",
            "resources item \"disk:1500kB\": 1500000 bytes is not a whole number of MiB",
        ),
        (
            "mem:5parsecs",
            "resources item \"mem:5parsecs\": \"5parsecs\" has the unknown unit \"parsecs\": use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB",
        ),
        ("ports:5", "ports has an amount of another kind: give ranges of numbers"),
        ("ports:[5-4]", "resources item \"ports:[5-4]\": range [5-4] ends before it begins"),
        ("ports:[1-5,5-6]", "resources item \"ports:[1-5,5-6]\": ranges overlap at 5"),
        ("ports:[1-5];ports:[5-6]", "ports: ranges overlap at 5"),
        (
            "ports:[]",
            "resources item \"ports:[]\": \"\" is not a number (digits, at most one point, not negative)",
        ),
        ("zones:{a,a}", "resources item \"zones:{a,a}\" names an item twice"),
        ("zones:{}", "zones is empty: give at least one range or item"),
        (":5", "a resource has no name: give one such as cpus, mem or disk"),
    ] {
        assert_eq!(parse_resources(text).unwrap_err().to_string(), want, "{text}");
    }
}
