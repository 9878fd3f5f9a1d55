//! The same resources for several frameworks at once: who is offered what and when, who wins, what the loser is told, and
//! what holds in every life whatever happens.
#![expect(clippy::unwrap_used, reason = "a script that cannot be written fails the test")]

mod contest;
mod stage;

use berth_master_core::{Config, FAN_OUT_MAX, Optimistic, Step};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{AcceptMode, Call, Event, Filters, Terms};
use berth_model::id::{FrameworkId, OfferId};
use berth_model::link::FromAgent;
use berth_model::offer::{Offer, Version};
use berth_model::operation::{Action, OfferOperation};
use berth_model::operator::Request;
use berth_model::resources::Resources;
use berth_model::task::TaskState;
use contest::{Contest, moves};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use stage::{
    Stage, agent_id, answered, events, framework_info, offered, op, operations, plus, res,
    reserved, role, session, status, statuses, sum, task, volume,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const MACHINE: &str = "cpus:4;mem:4096;disk:4096;ports:[31000-31009]";

fn fan_out(config: &mut Config, fan_out: u32) {
    config.optimistic.fan_out = fan_out;
}

/// A machine and frameworks of these roles, which subscribe one after the other; the first has number 50.
fn set(
    fan_out_to: u32,
    roles: &[&str],
    change: impl FnOnce(&mut Optimistic),
) -> (Stage, Vec<FrameworkId>) {
    let mut stage = Stage::with(|config| {
        fan_out(config, fan_out_to);
        change(&mut config.optimistic);
    });
    let mut ids = Vec::new();
    for (over, role) in (50..).zip(roles) {
        ids.push(stage.subscribe(over, framework_info(role, &[role])).0);
    }
    (stage, ids)
}

/// Everybody holds the whole machine.
fn shared(roles: &[&str]) -> (Stage, Vec<FrameworkId>, Vec<Offer>) {
    let (mut stage, ids) = set(u32::try_from(roles.len()).unwrap(), roles, |_| {});
    stage.register(1, MACHINE);
    for _ in roles {
        stage.advance(Duration::from_millis(50));
    }
    let offers: Vec<Offer> = ids
        .iter()
        .map(|id| stage.offers().into_iter().find(|o| o.framework == *id).unwrap())
        .collect();
    assert!(offers.iter().all(|offer| offer.optimistic == res(MACHINE)));
    (stage, ids, offers)
}

fn launch(name: &str, resources: &Resources) -> Action {
    Action::Launch(vec![task(name, agent_id(1), resources.clone())])
}

fn accept(
    stage: &mut Stage,
    (id, over): (&FrameworkId, u128),
    offer: &Offer,
    actions: Vec<Action>,
    terms: Terms,
) -> Step {
    let operations = actions
        .into_iter()
        .map(|action| OfferOperation { id: op(stage.fresh()), action })
        .collect();
    let (offers, filters) = (vec![offer.id], Filters::default());
    stage.call(id, over, Call::Accept { offers, operations, filters, terms })
}

fn rescinded(step: &Step) -> Vec<OfferId> {
    let told = events(step).into_iter().filter_map(|event| match event {
        Event::Rescind(id) => Some(id),
        _ => None,
    });
    told.collect()
}

fn refusal(step: &Step) -> Option<Rejection> {
    events(step).into_iter().find_map(|event| match event {
        Event::Answered { result, .. } => result.err(),
        _ => None,
    })
}

#[test]
fn a_smaller_second_accept_wins_what_is_left_and_the_loser_gets_a_fresh_offer_within_a_cycle() {
    let (mut stage, ids, offers) = shared(&["web", "batch", "storage"]);
    let first = launch("first", &res("cpus:3;mem:64"));
    let step = accept(&mut stage, (&ids[0], 50), &offers[0], vec![first], Terms::default());
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    assert_eq!(rescinded(&step), [], "what is under way is judged by what it needs");

    let second = launch("second", &res("cpus:0.8;mem:64"));
    let step = accept(&mut stage, (&ids[1], 51), &offers[1], vec![second], Terms::default());
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);

    let third = launch("third", &res("cpus:0.5;mem:64"));
    let step = accept(&mut stage, (&ids[2], 52), &offers[2], vec![third], Terms::default());
    assert_eq!(operations(&step), [("LAUNCH", "FAILED", Some(ErrorCode::Conflict))]);
    let told = events(&step).into_iter().find_map(|event| match event {
        Event::Status(status) => Some((status.state, status.reason, status.error.unwrap())),
        _ => None,
    });
    let (state, reason, error) = told.unwrap();
    assert_eq!((state, reason), (TaskState::Dropped, berth_model::task::TaskReason::InvalidOffers));
    assert_eq!(
        error.to_string(),
        "Conflict: agent 00000000000000000000000000000001 (host-1): cpus:0.3 of the wanted cpus:0.5; mem:64 \
         is not there any more; role batch was first (seq 3): decide anew on the next offer, which comes by itself"
    );
    let step = stage.advance(Duration::from_secs(1));
    let fresh = offered(&step).into_iter().find(|offer| offer.framework == ids[2]).unwrap();
    assert_eq!(fresh.resources, res("cpus:0.2;mem:3968;disk:4096;ports:[31000-31009]"));
}

#[test]
fn an_offer_that_does_not_fit_is_rescinded_when_its_grace_is_over_and_commits_nothing_then() {
    let (mut stage, ids, offers) = shared(&["web", "batch"]);
    let first = launch("first", &res("cpus:3;mem:64"));
    accept(&mut stage, (&ids[0], 50), &offers[0], vec![first], Terms::default());
    assert_eq!(rescinded(&stage.advance(Duration::from_millis(49))), []);
    let step = stage.advance(Duration::from_millis(1));
    assert_eq!(rescinded(&step), [offers[1].id]);
    // What is left is offered in the same moment.
    let anew: Vec<_> = offered(&step).into_iter().map(|o| (o.framework, o.resources)).collect();
    let left = res("cpus:1;mem:4032;disk:4096;ports:[31000-31009]");
    assert_eq!(anew, [(ids[1].clone(), left)]);
    let late = launch("late", &res("cpus:0.1;mem:64"));
    let step = accept(&mut stage, (&ids[1], 51), &offers[1], vec![late], Terms::default());
    let why = refusal(&step).unwrap();
    assert_eq!(
        why.message,
        format!(
            "Conflict: agent 00000000000000000000000000000001 (host-1): offer {} was rescinded; role web was first (seq 2)",
            offers[1].id
        )
    );
    assert_eq!(why.code, ErrorCode::Conflict);
    assert_eq!(
        statuses(&step),
        [("late".to_owned(), TaskState::Dropped, berth_model::task::TaskReason::InvalidOffers)]
    );
}

#[test]
fn what_still_fits_stays() {
    let (mut stage, ids, offers) = shared(&["web", "batch"]);
    let small = launch("a", &res("cpus:1;mem:64"));
    accept(&mut stage, (&ids[0], 50), &offers[0], vec![small], Terms::default());
    stage.advance(Duration::from_secs(1));
    let held = |stage: &Stage| -> Vec<(FrameworkId, Resources)> {
        stage.offers().into_iter().map(|o| (o.framework, o.resources)).collect()
    };
    let left = res("cpus:3;mem:4032;disk:4096;ports:[31000-31009]");
    stage.advance(Duration::from_secs(5));
    stage.advance(Duration::from_millis(50));
    assert_eq!(held(&stage), [(ids[1].clone(), left.clone()), (ids[0].clone(), left.clone())]);
    // The task ends: each gets what is new, and what it holds stays.
    let ended = status(&ids[0], "a", agent_id(1), TaskState::Finished, 5);
    let step = stage.agent_says(1, session(1), FromAgent::Status(ended));
    assert_eq!(rescinded(&step), []);
    for _ in 0..4 {
        stage.advance(Duration::from_millis(500));
    }
    let mut of_each: BTreeMap<FrameworkId, Vec<Resources>> = BTreeMap::new();
    for (id, resources) in held(&stage) {
        of_each.entry(id).or_default().push(resources);
    }
    let both = vec![left, res("cpus:1;mem:64")];
    assert_eq!(of_each, BTreeMap::from([(ids[0].clone(), both.clone()), (ids[1].clone(), both)]));
}

#[test]
fn the_next_holder_has_its_turn_later_or_when_an_earlier_one_has_answered() {
    let (mut stage, ids) = set(3, &["web", "batch", "storage", "late"], |_| {});
    let step = stage.register(1, MACHINE);
    let to = |step: &Step| -> Vec<FrameworkId> {
        offered(step).into_iter().map(|offer| offer.framework).collect()
    };
    assert_eq!(to(&step), [ids[1].clone()], "batch is first by name");
    assert_eq!(to(&stage.advance(Duration::from_millis(49))), []);
    assert_eq!(to(&stage.advance(Duration::from_millis(1))), [ids[3].clone()]);
    let offer = stage.offers().remove(0);
    let filters = Filters { refuse: Duration::from_secs(5) };
    let decline = Call::Decline { offers: vec![offer.id], filters };
    let step = stage.call(&ids[1], 51, decline);
    assert_eq!(to(&step), [ids[2].clone()], "its turn comes at once");
    assert_eq!(to(&stage.advance(Duration::from_millis(50))), [ids[0].clone()]);
    // Three hold it: nobody else does.
    assert_eq!(to(&stage.advance(Duration::from_secs(6))), []);
}

#[test]
fn what_is_reserved_goes_to_one() {
    let (mut stage, ids) = set(4, &["storage", "storage", "web"], |_| {});
    let reserved_too = format!("{MACHINE};disk(storage):512;gpus:2");
    stage.register(1, &reserved_too);
    stage.advance(Duration::from_millis(50));
    stage.advance(Duration::from_millis(50));
    let mut exclusive: Vec<(FrameworkId, Resources)> = stage
        .offers()
        .iter()
        .map(|offer| (offer.framework.clone(), offer.exclusive().into_owned()))
        .collect();
    exclusive.sort_by_key(|(id, _)| id.clone());
    assert_eq!(
        exclusive,
        [
            (ids[0].clone(), res("disk(storage):512;gpus:2")),
            (ids[1].clone(), Resources::new()),
            (ids[2].clone(), Resources::new()),
        ]
    );
    assert!(stage.offers().iter().all(|offer| offer.optimistic == res(MACHINE)));
}

#[test]
fn a_role_can_have_a_fan_out_of_its_own() {
    let config = |optimistic: &mut Optimistic| {
        optimistic.fan_out_of = BTreeMap::from([(role("batch"), 1), (role("batch/many"), 99)]);
    };
    let mut optimistic = Optimistic { fan_out: 3, ..Optimistic::default() };
    config(&mut optimistic);
    let of = ["web", "batch", "batch/few", "batch/many", "batch/many/more"];
    assert_eq!(of.map(|text| optimistic.of(&role(text))), [3, 1, 1, FAN_OUT_MAX, FAN_OUT_MAX]);

    let (mut stage, ids) = set(3, &["batch", "web"], config);
    stage.register(1, MACHINE);
    // It is first and has all of it for itself, as in a cluster without a fan-out.
    stage.advance(Duration::from_millis(100));
    let offers = stage.offers();
    assert_eq!(offers.len(), 1);
    assert_eq!((&offers[0].framework, offers[0].is_optimistic()), (&ids[0], false));
}

#[test]
fn what_depends_on_a_conflict_conflicts_and_never_counts_against_the_task() {
    let (mut stage, ids, offers) = shared(&["web", "storage"]);
    let first = launch("first", &res("cpus:1;mem:64;disk:4064"));
    accept(&mut stage, (&ids[0], 50), &offers[0], vec![first], Terms::default());
    let made = sum([volume("data", "storage", 64, "data")]);
    let actions = vec![
        Action::Reserve(reserved("disk:64", "storage")),
        Action::Create(made.iter().collect()),
        launch("db", &plus(&made, &res("cpus:0.5;mem:64"))),
        launch("other", &res("cpus:0.5;mem:64")),
    ];
    let step = accept(&mut stage, (&ids[1], 51), &offers[1], actions, Terms::default());
    let lost = Some(ErrorCode::Conflict);
    assert_eq!(
        operations(&step),
        [
            ("RESERVE", "FAILED", lost),
            ("CREATE", "FAILED", lost),
            ("LAUNCH", "FAILED", lost),
            ("LAUNCH", "DONE", None),
        ]
    );
    let dropped = berth_model::task::TaskReason::InvalidOffers;
    assert_eq!(statuses(&step), [("db".to_owned(), TaskState::Dropped, dropped)]);
}

#[test]
fn one_launch_splits_by_task() {
    let (mut stage, ids, offers) = shared(&["web", "batch"]);
    let first = launch("first", &res("cpus:3;mem:64"));
    accept(&mut stage, (&ids[0], 50), &offers[0], vec![first], Terms::default());
    let two = |name| task(name, agent_id(1), res("cpus:0.7;mem:64"));
    let both = vec![Action::Launch(vec![two("a"), two("b")])];
    let step = accept(&mut stage, (&ids[1], 51), &offers[1], both, Terms::default());
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    let dropped = berth_model::task::TaskReason::InvalidOffers;
    assert_eq!(statuses(&step), [("b".to_owned(), TaskState::Dropped, dropped)]);
}

#[test]
fn all_or_nothing_does_nothing_when_a_part_conflicts() {
    let (mut stage, ids, offers) = shared(&["web", "batch", "storage"]);
    let first = launch("first", &res("cpus:3;mem:64"));
    accept(&mut stage, (&ids[0], 50), &offers[0], vec![first], Terms::default());
    let all = Terms { mode: AcceptMode::AllOrNothing, if_seq: None };
    let two = || ["a", "b"].map(|name| launch(name, &res("cpus:0.7;mem:64"))).to_vec();
    let step = accept(&mut stage, (&ids[1], 51), &offers[1], two(), all);
    assert_eq!(answered(&step), Some(Err(ErrorCode::Conflict)));
    assert_eq!(step.writes, []);
    let dropped = berth_model::task::TaskReason::InvalidOffers;
    let of = |name: &str| (name.to_owned(), TaskState::Dropped, dropped);
    assert_eq!(statuses(&step), [of("a"), of("b")]);
    // Of a call that asks for nonsense besides, nothing is done either.
    let mut nonsense = vec![launch("c", &res("cpus:0.1;mem:64"))];
    nonsense.push(launch("d", &Resources::new()));
    let step = accept(&mut stage, (&ids[2], 52), &offers[2], nonsense, all);
    let why = refusal(&step).unwrap();
    assert_eq!(
        (why.code, why.message.as_str()),
        (
            ErrorCode::InvalidResources,
            "nothing is done, since all was asked for: task d uses no resources"
        )
    );
    assert_eq!(statuses(&step), [of("c"), of("d")]);
}

#[test]
fn a_coarse_accept_conflicts_with_every_commit_since_the_offer() {
    let (mut stage, ids, offers) = shared(&["web", "batch"]);
    assert_eq!(offers[1].version, Version { epoch: 1, seq: 1 });
    let coarse = Terms { if_seq: Some(offers[1].version.seq), ..Terms::default() };
    let small = || vec![launch("a", &res("cpus:0.1;mem:64"))];
    let step = accept(&mut stage, (&ids[0], 50), &offers[0], small(), Terms::default());
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    let step = accept(&mut stage, (&ids[1], 51), &offers[1], small(), coarse);
    assert_eq!(answered(&step), Some(Err(ErrorCode::Conflict)));
    let why = refusal(&step).unwrap();
    assert!(
        why.message.contains("it has changed since seq 1; role web was first (seq 2)"),
        "{why}"
    );
    // Offers that come and go are no change.
    let step = stage.advance(Duration::from_secs(1));
    let fresh = offered(&step).into_iter().find(|offer| offer.framework == ids[1]).unwrap();
    assert_eq!(fresh.version.seq, 2);
    stage.advance(Duration::from_millis(50));
    let coarse = Terms { if_seq: Some(2), ..Terms::default() };
    let step = accept(&mut stage, (&ids[1], 51), &fresh, small(), coarse);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
}

#[test]
fn who_never_answers_loses_the_offer_and_comes_last_until_it_answers() {
    let (mut stage, ids) = set(1, &["a", "b", "c"], |optimistic| {
        optimistic.fan_out = 2;
        optimistic.timeout = Duration::from_secs(10);
    });
    stage.register(1, MACHINE);
    stage.advance(Duration::from_millis(50));
    let holders = |stage: &Stage| -> Vec<FrameworkId> {
        stage.offers().into_iter().map(|offer| offer.framework).collect()
    };
    assert_eq!(holders(&stage), [ids[0].clone(), ids[1].clone()]);
    let step = stage.advance(Duration::from_millis(9_960));
    assert_eq!(rescinded(&step).len(), 1);
    stage.advance(Duration::from_millis(50));
    stage.advance(Duration::from_secs(1));
    stage.advance(Duration::from_millis(50));
    assert_eq!(holders(&stage)[0], ids[2], "c had its turn before a and b");
    assert_eq!(holders(&stage).len(), 2);
}

#[test]
fn an_operator_takes_what_is_only_offered_and_no_filter_hides_the_rest() {
    let (mut stage, ids, offers) = shared(&["web", "batch"]);
    let request = Request::Reserve { agent: agent_id(1), resources: reserved("cpus:2", "storage") };
    let (answer, step) = stage.operator(77, request);
    assert_eq!((answer.is_ok(), rescinded(&step)), (true, vec![]));
    let step = stage.advance(Duration::from_millis(50));
    let mut gone = rescinded(&step);
    gone.sort();
    let mut held: Vec<OfferId> = offers.iter().map(|offer| offer.id).collect();
    held.sort();
    assert_eq!(gone, held);
    let mut fresh = offered(&step);
    for _ in 0..3 {
        fresh.extend(offered(&stage.advance(Duration::from_millis(500))));
    }
    let left = res("cpus:2;mem:4096;disk:4096;ports:[31000-31009]");
    let mut got: Vec<_> = fresh.into_iter().map(|o| (o.framework, o.resources)).collect();
    got.sort_by_key(|(id, _)| id.clone());
    assert_eq!(got, [(ids[0].clone(), left.clone()), (ids[1].clone(), left)]);
}

/// A stateful task has failed on a machine that others want.
#[test]
fn a_failed_task_with_a_volume_finds_its_cpus_and_memory_again() {
    let (mut stage, ids) = set(2, &["storage", "web"], |_| {});
    stage.register(1, MACHINE);
    let offer = stage.offers().remove(0);
    assert_eq!(offer.framework, ids[0]);
    let made = sum([volume("data", "storage", 64, "data")]);
    let actions = vec![
        Action::Reserve(reserved("disk:64", "storage")),
        Action::Create(made.iter().collect()),
        launch("db", &plus(&made, &res("cpus:3;mem:1024"))),
    ];
    let step = accept(&mut stage, (&ids[0], 50), &offer, actions, Terms::default());
    let spec = stage::ensured(&step).unwrap();
    stage.reports(1, session(1), stage::report(&spec, berth_model::volume::VolumeState::Ready));
    stage.advance(Duration::from_secs(1));
    stage.advance(Duration::from_secs(6));
    let failed = status(&ids[0], "db", agent_id(1), TaskState::Failed, 5);
    stage.agent_says(1, session(1), FromAgent::Status(failed));
    for _ in 0..6 {
        stage.advance(Duration::from_millis(500));
    }
    let of = |stage: &Stage, id: &FrameworkId| -> Resources {
        let mut all = Resources::new();
        for offer in stage.offers().iter().filter(|o| o.framework == *id) {
            all.add_all(&offer.resources).unwrap();
        }
        all
    };
    let web = of(&stage, &ids[1]);
    assert!(!web.contains(&res("cpus:1.1")), "{web} is offered although cpus:3 are kept");
    let again = plus(&made, &res("cpus:3;mem:1024"));
    let mut exclusive = Resources::new();
    for offer in stage.offers().iter().filter(|o| o.framework == ids[0]) {
        exclusive.add_all(&offer.exclusive()).unwrap();
    }
    assert_eq!(exclusive, again);
    // The role does not want it: after a minute it is anybody's.
    let mine: Vec<OfferId> =
        stage.offers().into_iter().filter(|o| o.framework == ids[0]).map(|o| o.id).collect();
    let filters = Filters { refuse: Duration::from_secs(600) };
    stage.call(&ids[0], 50, Call::Decline { offers: mine, filters });
    stage.advance(Duration::from_secs(30));
    assert!(!of(&stage, &ids[1]).contains(&res("cpus:1.1")));
    let mut all = Resources::new();
    for _ in 0..90 {
        stage.advance(Duration::from_millis(500));
        all = of(&stage, &ids[1]);
        if all.contains(&res("cpus:4")) {
            return;
        }
    }
    panic!("after a minute web is offered no more than {all}");
}

#[test]
fn who_loses_three_times_in_a_row_has_a_machine_for_itself_for_a_while() {
    let (mut stage, ids) = set(2, &["batch", "web"], |_| {});
    stage.register(1, MACHINE);
    let mut number = 0;
    let mut won = None;
    for _ in 0..200 {
        stage.advance(Duration::from_millis(50));
        let of =
            |stage: &Stage, at: usize| stage.offers().into_iter().find(|o| o.framework == ids[at]);
        if let Some(offer) = of(&stage, 1).filter(|offer| !offer.is_optimistic()) {
            won = Some(offer);
            break;
        }
        let (Some(first), Some(second)) = (of(&stage, 0), of(&stage, 1)) else { continue };
        number += 1;
        // A small task wins each race against one that wants the whole machine.
        let small = launch(&format!("s{number}"), &res("cpus:0.1;mem:32"));
        accept(&mut stage, (&ids[0], 50), &first, vec![small], Terms::default());
        let large = launch(&format!("l{number}"), &res("cpus:4;mem:64"));
        let step = accept(&mut stage, (&ids[1], 51), &second, vec![large], Terms::default());
        assert_eq!(operations(&step), [("LAUNCH", "FAILED", Some(ErrorCode::Conflict))]);
        let gone = status(&ids[0], &format!("s{number}"), agent_id(1), TaskState::Finished, 5);
        stage.agent_says(1, session(1), FromAgent::Status(gone));
    }
    let offer = won.expect("an offer of its own");
    assert_eq!(number, 3);
    assert_eq!(offer.resources, res(MACHINE));
    let large = launch("large", &res("cpus:4;mem:64"));
    let step = accept(&mut stage, (&ids[1], 51), &offer, vec![large], Terms::default());
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
}

/// Gives back what it was offered and wants it again at once, so that the refusal hides nothing; answers who is offered something.
fn declines_and_revives(stage: &mut Stage, id: &FrameworkId, over: u128) -> Vec<FrameworkId> {
    let own = stage.offers().into_iter().filter(|offer| offer.framework == *id);
    let offers: Vec<OfferId> = own.map(|offer| offer.id).collect();
    let filters = Filters { refuse: Duration::from_secs(2) };
    let declined = stage.call(id, over, Call::Decline { offers, filters });
    let revived = stage.call(id, over, Call::Revive(BTreeSet::new()));
    let steps = [declined, revived, stage.advance(Duration::from_millis(100))];
    steps.iter().flat_map(offered).map(|offer| offer.framework).collect()
}

#[test]
fn who_gives_an_offer_back_does_not_keep_the_others_waiting() {
    let (mut stage, ids) = set(2, &["storage", "web", "batch", "late"], |_| {});
    stage.register(1, MACHINE);
    stage.advance(Duration::from_millis(50));
    let of =
        |stage: &Stage, id: &FrameworkId| stage.offers().into_iter().find(|o| o.framework == *id);
    // One has something, so the others come before it.
    let offer = of(&stage, &ids[2]).expect("batch is first by name");
    let small = launch("a", &res("cpus:1;mem:64"));
    accept(&mut stage, (&ids[2], 52), &offer, vec![small], Terms::default());
    stage.advance(Duration::from_secs(6));
    let mut seen: BTreeMap<FrameworkId, u32> = ids.iter().map(|id| (id.clone(), 0)).collect();
    for _ in 0..30 {
        for (id, over) in ids.iter().zip(50..) {
            for to in declines_and_revives(&mut stage, id, over) {
                *seen.entry(to).or_default() += 1;
            }
        }
    }
    assert!(seen.values().all(|times| *times >= 20), "30 rounds: {seen:?}");
}

#[test]
fn what_somebody_holds_in_several_offers_counts_in_full() {
    let apart = |optimistic: &mut Optimistic| {
        optimistic.fan_out_of.insert(role("late"), 1);
    };
    let (mut stage, ids) = set(2, &["web"], apart);
    stage.register(1, MACHINE);
    let offer = stage.offers().remove(0);
    accept(
        &mut stage,
        (&ids[0], 50),
        &offer,
        vec![launch("a", &res("cpus:1;mem:1024"))],
        Terms::default(),
    );
    stage.advance(Duration::from_secs(6));
    let ended = status(&ids[0], "a", agent_id(1), TaskState::Finished, 5);
    stage.agent_says(1, session(1), FromAgent::Status(ended));
    stage.advance(Duration::from_secs(2));
    let held: Vec<Resources> = stage.offers().into_iter().map(|offer| offer.optimistic).collect();
    let rest = res("cpus:3;mem:3072;disk:4096;ports:[31000-31009]");
    assert_eq!(held, [rest, res("cpus:1;mem:1024")], "in two offers, everything");
    stage.subscribe(51, framework_info("late", &["late"]));
    stage.advance(Duration::from_secs(2));
    let all: Vec<FrameworkId> = stage.offers().into_iter().map(|offer| offer.framework).collect();
    assert_eq!(all, [ids[0].clone(), ids[0].clone()], "nothing is left for one alone");
}

/// A cluster in which everything is set as tightly as the number says.
fn contest(fan_out_to: u32, tight: bool) -> Contest {
    Contest::new(|config| {
        fan_out(config, fan_out_to);
        if tight {
            config.optimistic.stagger = Duration::ZERO;
            config.optimistic.grace = Duration::ZERO;
        } else {
            config.optimistic.grace = Duration::from_millis(500);
        }
        config.optimistic.fan_out_of.insert(role("batch"), 1 + fan_out_to / 2);
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// The stage checks the invariants after every input, and the contest the answers to every ACCEPT: what is committed is
    /// there (O1), an exclusive part has one holder (O2), each task and operation is answered once (O6), what was rescinded
    /// commits nothing (O7), a call for all or nothing that is refused leaves no trace (O8).
    #[test]
    fn races_are_decided_by_what_is_there(
        life in moves(), fan_out_to in 1_u32..=4, tight in any::<bool>()
    ) {
        let mut contest = contest(fan_out_to, tight);
        contest.play(&life);
    }
}

/// The lives above are worth something only if they reach what matters.
#[test]
fn contests_reach_conflicts_of_every_kind() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for round in 0..120 {
        let life = moves().new_tree(&mut runner).unwrap().current();
        let mut contest = contest(2 + round % 3, round % 4 == 0);
        contest.play(&life);
        for (what, times) in &contest.seen {
            *seen.entry(what).or_default() += times;
        }
    }
    for what in ["conflict", "answered", "refused", "all refused"] {
        assert!(seen.get(what).copied().unwrap_or(0) > 20, "{what} is rare: {seen:?}");
    }
}

/// A fan-out of one makes nothing optimistic, whatever else is set.
#[test]
fn without_a_fan_out_no_other_setting_matters() {
    for seed in 0..20 {
        let trace = |change: &dyn Fn(&mut Optimistic)| {
            let mut contest = Contest::new(|config| change(&mut config.optimistic));
            contest.play(&contest::life(seed, 150));
            contest.trace
        };
        let plain = trace(&|_| {});
        let odd = trace(&|optimistic| {
            optimistic.stagger = Duration::ZERO;
            optimistic.grace = Duration::ZERO;
            optimistic.timeout = Duration::from_millis(10);
            optimistic.sticky = Duration::from_secs(3600);
            optimistic.fan_out_of.insert(role("web"), 1);
        });
        assert_eq!(plain, odd);
        let two = trace(&|optimistic| optimistic.fan_out = 2);
        assert_ne!(plain, two, "and with one of two the lives differ");
    }
}
