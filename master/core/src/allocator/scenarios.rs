//! What fair sharing means, in scenarios: the least share first, weights, trees, reservations, turns. Figures are thought
//! out by hand.

use super::differential::Bed;
use berth_model::resources::{DiskSource, Resource, parse_resources};
use berth_model::role::Role;
use berth_model::units::Scalar;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// To whom what is free of these agents goes, one after the other.
fn takers(bed: &mut Bed, agents: impl IntoIterator<Item = u8>) -> Vec<String> {
    let mut to = Vec::new();
    for agent in agents {
        to.extend(bed.look(agent).into_iter().map(|(framework, _, _)| framework));
    }
    to
}

fn register(bed: &mut Bed, agents: impl IntoIterator<Item = u8>, declared: &str) {
    for agent in agents {
        bed.register(agent, declared);
    }
}

#[test]
fn each_new_agent_goes_to_the_smallest_dominant_share() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["one"]);
    bed.register(1, "cpus:2;mem:1024");
    assert_eq!(takers(&mut bed, [1]), ["f1"]);
    bed.subscribe(2, &["two"]);
    bed.register(2, "cpus:1;mem:512");
    assert_eq!(takers(&mut bed, [2]), ["f2"], "f1 has two thirds");
    bed.register(3, "cpus:3;mem:2048");
    assert_eq!(takers(&mut bed, [3]), ["f2"], "a sixth against a third");
    bed.register(4, "cpus:4;mem:4096");
    assert_eq!(takers(&mut bed, [4]), ["f1"], "now f2 has four tenths of the cpus, f1 two");
    // Without cpus it is memory that dominates.
    bed.subscribe(3, &["three"]);
    bed.register(5, "mem:51200");
    assert_eq!(takers(&mut bed, [5]), ["f3"]);
    bed.register(6, "cpus:1;mem:512");
    assert_eq!(takers(&mut bed, [6]), ["f2"], "4 of 11 cpus against 6, and most of the memory");
}

#[test]
fn what_is_reserved_to_a_role_counts_as_its_share() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["one"]);
    bed.subscribe(2, &["two"]);
    bed.register(1, "cpus(one):3;mem(one):300");
    assert_eq!(takers(&mut bed, [1]), ["f1"], "nobody else may have it");
    register(&mut bed, [2, 3], "cpus:1;mem:100");
    assert_eq!(takers(&mut bed, [2, 3]), ["f2", "f2"]);
    bed.register(4, "cpus:2;mem:200");
    assert_eq!(takers(&mut bed, [4]), ["f2"], "two against three");
    bed.register(5, "cpus:1;mem:100");
    assert_eq!(takers(&mut bed, [5]), ["f1"], "four against three");
}

#[test]
fn roles_below_one_role_share_what_that_role_has() {
    let mut bed = Bed::new();
    for (framework, role) in [(1, "a"), (2, "b/x"), (3, "b/y"), (4, "b/y/z")] {
        bed.subscribe(framework, &[role]);
    }
    register(&mut bed, 1..=8, "cpus:1;mem:64");
    let to = takers(&mut bed, 1..=8);
    assert_eq!(to, ["f1", "f2", "f1", "f3", "f1", "f2", "f1", "f4"]);
    // The frameworks of b/y compete with the role below it as its equals: half of b for b/y, halved again.
    assert_eq!(to.iter().filter(|id| *id == "f1").count(), 4, "as much as all below b together");
}

#[test]
fn equal_shares_take_turns() {
    let mut bed = Bed::new();
    for framework in 1..=3 {
        bed.subscribe(framework, &["same"]);
    }
    bed.register(1, "cpus:1;mem:64");
    let mut to = Vec::new();
    for _ in 0..6 {
        to.extend(takers(&mut bed, [1]));
        bed.end_all();
    }
    assert_eq!(to, ["f1", "f2", "f3", "f1", "f2", "f3"], "all are given back each time");
}

#[test]
fn weights_of_one_two_and_three_give_shares_of_one_two_and_three() {
    let mut bed = Bed::new();
    for (framework, role, weight) in [(1, "x", 1_000), (2, "y", 2_000), (3, "z", 3_000)] {
        bed.subscribe(framework, &[role]);
        bed.weigh(role, weight);
    }
    register(&mut bed, 1..=12, "cpus:1;mem:64");
    let count =
        |to: &[String]| ["f1", "f2", "f3"].map(|id| to.iter().filter(|to| *to == id).count());
    let to = takers(&mut bed, 1..=12);
    assert_eq!(count(&to), [2, 4, 6]);
    assert_eq!(count(&to[..6]), [1, 2, 3], "at every whole turn");
    // Another weight moves only who has it.
    bed.weigh("x", 6_000);
    bed.end_all();
    bed.pass(SECOND);
    assert_eq!(count(&takers(&mut bed, 1..=11)), [6, 2, 3]);
}

#[test]
fn a_weight_of_a_role_counts_for_all_below_it() {
    let mut bed = Bed::new();
    bed.weigh("heavy", 3_000);
    for (framework, role) in [(1, "heavy/p"), (2, "heavy/q/r"), (3, "light")] {
        bed.subscribe(framework, &[role]);
    }
    register(&mut bed, 1..=8, "cpus:1;mem:64");
    let to = takers(&mut bed, 1..=8);
    assert_eq!(["f1", "f2", "f3"].map(|id| to.iter().filter(|to| *to == id).count()), [3, 3, 2]);
}

#[test]
fn the_first_in_order_gets_all_of_an_agent() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["one"]);
    bed.subscribe(2, &["two"]);
    register(&mut bed, 1..=2, "cpus:2;mem:1024;disk:4096");
    let whole = "cpus:2;disk:4096;mem:1024".to_owned();
    let both = [bed.look(1), bed.look(2)].map(|offers| offers.into_iter().next().unwrap());
    assert_eq!(both.clone().map(|(to, _, _)| to), ["f1", "f2"]);
    assert_eq!(bed.look(1), [], "nothing is left");
    let sorted = |text: &str| {
        let mut parts: Vec<String> = text.split([';', ' ']).map(str::to_owned).collect();
        parts.retain(|part| !part.is_empty());
        parts.sort();
        parts
    };
    assert_eq!(both.map(|(_, _, what)| sorted(&what)), [sorted(&whole), sorted(&whole)]);
}

#[test]
fn the_order_in_which_agents_and_frameworks_come_does_not_matter() {
    let next = |agents_first: bool| {
        let mut bed = Bed::new();
        if !agents_first {
            bed.subscribe(1, &["one"]);
        }
        register(&mut bed, 1..=3, "cpus:1;mem:64");
        bed.subscribe(1, &["one"]);
        takers(&mut bed, 1..=3);
        // It comes again and declares the same: nothing counts twice.
        register(&mut bed, 1..=3, "cpus:1;mem:64");
        bed.subscribe(2, &["two"]);
        register(&mut bed, 4..=5, "cpus:1;mem:64");
        let to = takers(&mut bed, 4..=5);
        (to, format!("{:?}", bed.state.shares.figures()))
    };
    assert_eq!(next(true), next(false));
    assert_eq!(next(true).0, ["f2", "f2"]);
}

#[test]
fn an_agent_that_is_lost_gives_the_shares_back() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["one"]);
    bed.register(1, "cpus:4;mem:64");
    assert_eq!(takers(&mut bed, [1]), ["f1"]);
    bed.subscribe(2, &["two"]);
    register(&mut bed, 2..=3, "cpus:1;mem:64");
    assert_eq!(takers(&mut bed, [2]), ["f2"]);
    bed.cut(1);
    assert_eq!(takers(&mut bed, [3]), ["f1"], "it has nothing any more");
    assert_eq!(bed.look(1), [], "an agent that is not there");
}

#[test]
fn one_who_can_take_nothing_does_not_stop_the_others() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["one"]);
    bed.subscribe(2, &["two"]);
    bed.subscribe(3, &["three"]);
    bed.register(1, "disk(two):512;cpus(three):1");
    let to = bed.look(1).into_iter().map(|(to, _, what)| (to, what)).collect::<Vec<_>>();
    assert_eq!(to.iter().map(|(to, _)| to.as_str()).collect::<Vec<_>>(), ["f3", "f2"], "{to:?}");
}

#[test]
fn a_parents_reservation_is_offered_to_a_child_and_not_the_other_way() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["b"]);
    bed.subscribe(2, &["a/x/y"]);
    bed.register(1, "disk(a):512");
    assert_eq!(takers(&mut bed, [1]), ["f2"]);
    bed.subscribe(3, &["a"]);
    bed.register(2, "disk(a/x):512");
    assert_eq!(takers(&mut bed, [2]), ["f2"], "although a has less");
}

#[test]
fn what_belongs_to_somebody_unknown_counts_once_it_is_known() {
    let mut bed = Bed::new();
    // An agent came with what runs for a framework that has not come yet.
    let (who, what) = (Role::new("old").unwrap(), "cpus:3;mem:64");
    bed.register(1, "cpus:8;mem:1024");
    bed.charge(&who, 9, 1, what);
    bed.subscribe(1, &["new"]);
    register(&mut bed, 2..=5, "cpus:1;mem:64");
    bed.subscribe(9, &["old"]);
    assert_eq!(
        takers(&mut bed, 2..=5),
        ["f1", "f1", "f1", "f9"],
        "three cpus each, and no turn yet"
    );
}

#[test]
fn while_agents_come_the_totals_are_followed_in_steps_and_then_exactly() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["one"]);
    bed.subscribe(2, &["two"]);
    bed.register(1, "cpus:100;mem:64");
    bed.register(2, "mem:3136");
    assert_eq!(takers(&mut bed, [1, 2]), ["f1", "f2"]);
    // All cpus against 98 of 100 parts of the memory: f2 is next, and stays so while little changes in one interval.
    bed.register(3, "cpus:5");
    assert_eq!(takers(&mut bed, [3]), ["f2"], "5 of 105 cpus, below a sixteenth");
    bed.end_of(3);
    bed.pass(SECOND);
    assert_eq!(takers(&mut bed, [3]), ["f1"], "100 of 105 are less than 98 of 100 parts");
    bed.end_of(3);
    bed.register(4, "mem:3200");
    assert_eq!(takers(&mut bed, [4]), ["f2"], "twice the memory is seen at once");
}

/// What every framework is offered of these agents, in one look at each.
fn parts(bed: &mut Bed, agents: impl IntoIterator<Item = u8>) -> Vec<String> {
    let offers: Vec<_> = agents.into_iter().flat_map(|agent| bed.look(agent)).collect();
    offers.into_iter().map(|(to, _, part)| format!("{to} {part}")).collect()
}

#[test]
fn a_guarantee_comes_before_shares_and_takes_no_more_than_it_lacks() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["a"]);
    bed.subscribe(2, &["sure"]);
    bed.quota("sure", "cpus=3,mem=1000MiB", "");
    register(&mut bed, 1..=3, "cpus:2;mem:800;disk:50");
    // Its share grows, and still it is first until it has 3 processors. What it is not guaranteed comes with its offer.
    assert_eq!(parts(&mut bed, [1]), ["f2 cpus:2; mem:800; disk:50"]);
    let rest = ["f2 cpus:1; mem:200; disk:50", "f1 cpus:1; mem:600"];
    assert_eq!(parts(&mut bed, [2]), rest);
    assert_eq!(parts(&mut bed, [3]), ["f1 cpus:2; mem:800; disk:50"], "by share");
}

#[test]
fn what_guarantees_lack_is_left_free_while_nobody_asks_for_it() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["a"]);
    bed.quota("sure", "cpus=3", "");
    bed.quota("more", "cpus=2,disk=70MiB", "");
    register(&mut bed, 1..=3, "cpus:2;mem:800;disk:50");
    let got = ["f1 cpus:1; mem:800; disk:50", "f1 mem:800; disk:30", "f1 mem:800"];
    assert_eq!(parts(&mut bed, 1..=3), got, "5 of 6 processors and 70 of 150 stay");
    // A machine that comes is headroom, one that goes is none.
    bed.register(4, "cpus:2;mem:800;disk:50");
    assert_eq!(parts(&mut bed, [4]), ["f1 cpus:2; mem:800; disk:50"]);
    bed.cut(3);
    bed.end_of(4);
    bed.pass(SECOND);
    assert_eq!(parts(&mut bed, [4]), ["f1 mem:800"]);
    // Whoever is guaranteed it gets it, wherever it is.
    bed.subscribe(2, &["sure/below"]);
    assert_eq!(parts(&mut bed, [1, 2]), ["f2 cpus:1", "f2 cpus:2"]);
}

#[test]
fn offers_are_cut_to_a_limit_and_the_rest_goes_to_the_next() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["a/x"]);
    bed.subscribe(2, &["a/y"]);
    bed.subscribe(3, &["b"]);
    bed.weigh("a", 1_000_000);
    bed.quota("a", "", "cpus=1.5,disk=70MiB");
    register(&mut bed, 1..=2, "cpus:4;mem:800;disk:50");
    let first = ["f1 cpus:1.5; mem:800; disk:50", "f3 cpus:2.5"];
    assert_eq!(parts(&mut bed, [1]), first);
    // f2 is next, but role a may not have all of it.
    let second = ["f2 mem:800; disk:20", "f3 cpus:4; disk:30"];
    assert_eq!(parts(&mut bed, [2]), second);
}

#[test]
fn a_limit_does_not_cut_a_whole_disk_and_not_what_is_the_roles_own() {
    let mut bed = Bed::new();
    bed.subscribe(1, &["a"]);
    bed.quota("a", "", "disk=90MiB");
    let mut declared = parse_resources("cpus:1;mem:100").unwrap();
    for (place, size) in [("/one", 100_000), ("/two", 80_000)] {
        let source = DiskSource::Mount(Arc::from(place));
        declared.add(&Resource::disk(source, Scalar::from_milli(size))).unwrap();
    }
    bed.register_with(1, declared);
    assert_eq!(parts(&mut bed, [1]), ["f1 cpus:1; mem:100; disk[MOUNT:/two]:80"]);
    bed.register(2, "cpus:1;mem:100;disk(a):500;disk:10");
    assert_eq!(parts(&mut bed, [2]), ["f1 cpus:1; mem:100; disk(static:a):500"], "580 of 90");
}
