//! Quota when several frameworks hold the same (a fan-out above one): what counts is what is committed, what is offered counts
//! once, and in no life does anything take a role above its limit.
#![expect(clippy::unwrap_used, reason = "a script that cannot be written fails the test")]

mod contest;
mod stage;

use berth_master_core::{Step, query};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{AcceptMode, Call, Event, Filters, Terms};
use berth_model::id::{FrameworkId, OfferId};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation, OperationState};
use berth_model::operator::Request;
use berth_model::quota::{QuotaRequest, parse_amounts};
use berth_model::resources::Resources;
use berth_model::task::{TaskReason, TaskState};
use contest::{Contest, Move, ROLES, moves};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use stage::{
    Stage, agent_id, events, framework_info, op, operations, res, reserved, role, statuses, task,
};
use std::collections::BTreeMap;
use std::time::Duration;

const MACHINE: &str = "cpus:4;mem:4096;disk:4096";

fn set(of: &str, guarantees: &str, limits: &str) -> Request {
    let amounts = |text: &str| match text {
        "" => BTreeMap::new(),
        text => parse_amounts(text).unwrap(),
    };
    let (guarantees, limits) = (amounts(guarantees), amounts(limits));
    Request::Quota(QuotaRequest::Set { role: role(of), guarantees, limits, force: true })
}

/// Done; the offers that it takes back.
fn done(stage: &mut Stage, request: Request) -> Vec<OfferId> {
    let id = stage.fresh();
    let (answer, step) = stage.operator(id, request);
    assert_eq!(answer, Ok(op(id)));
    let told = events(&step).into_iter().filter_map(|event| match event {
        Event::Rescind(id) => Some(id),
        _ => None,
    });
    told.collect()
}

/// Machines, and frameworks of these roles each of which holds all of them; the first one's session is 50.
fn shared(machines: u128, roles: &[&str]) -> (Stage, Vec<FrameworkId>) {
    let mut stage = Stage::with(|config| {
        config.optimistic.fan_out = u32::try_from(roles.len()).unwrap();
    });
    let mut ids = Vec::new();
    for (over, role) in (50..).zip(roles) {
        ids.push(stage.subscribe(over, framework_info(role, &[role])).0);
    }
    for n in 1..=machines {
        stage.register(n, MACHINE);
    }
    for _ in roles {
        stage.advance(Duration::from_millis(50));
    }
    let offers = stage.offers();
    assert_eq!(offers.len(), roles.len() * usize::try_from(machines).unwrap());
    assert!(offers.iter().all(|offer| offer.optimistic == res(MACHINE)));
    (stage, ids)
}

fn offer_of(stage: &Stage, id: &FrameworkId) -> Offer {
    stage.offers().into_iter().find(|offer| offer.framework == *id).unwrap()
}

fn accept(
    stage: &mut Stage,
    (id, over): (&FrameworkId, u128),
    actions: Vec<Action>,
    mode: AcceptMode,
) -> Step {
    let operations = actions
        .into_iter()
        .map(|action| OfferOperation { id: op(stage.fresh()), action })
        .collect();
    let (offers, filters) = (vec![offer_of(stage, id).id], Filters { refuse: Duration::ZERO });
    let terms = Terms { mode, if_seq: None };
    stage.call(id, over, Call::Accept { offers, operations, filters, terms })
}

fn launch(tasks: &[(&str, &str)]) -> Action {
    let tasks = tasks.iter().map(|(name, what)| task(name, agent_id(1), res(what)));
    Action::Launch(tasks.collect())
}

/// What a role consumes of something, and what it is offered.
fn standing(stage: &Stage, of: &str, counted: &str) -> (String, String) {
    let views = query::quotas(stage.master.state());
    let view = views.into_iter().find(|view| view.role == role(of)).unwrap();
    let found = view.uses.into_iter().find(|u| u.counted.to_string() == counted);
    let found = found.map(|u| (u.counted.shown(u.consumed), u.counted.shown(u.offered)));
    found.unwrap_or_default()
}
fn pair(consumed: &str, offered: &str) -> (String, String) {
    (consumed.to_owned(), offered.to_owned())
}
/// What everybody of a role has of unreserved processors, from the tasks themselves, in thousandths.
fn in_tasks(resources: &Resources) -> i64 {
    let plain = resources.filtered(|resource| resource.stack.is_unreserved());
    plain.total(&berth_model::resources::Name::Cpus).milli()
}

#[test]
fn two_of_one_role_that_hold_the_same_processors_stay_within_its_limit_together() {
    let (mut stage, ids) = shared(1, &["web", "web"]);
    // Both hold all four: that is four, and nothing is consumed.
    assert_eq!(done(&mut stage, set("web", "", "cpus=3")).len(), 2, "none of them fits");
    stage.advance(Duration::from_secs(6));
    for _ in &ids {
        stage.advance(Duration::from_millis(50));
    }
    assert_eq!(stage.offers().len(), 2);
    assert_eq!(standing(&stage, "web", "cpus"), pair("0", "3"));
    let views = query::roles(stage.master.state());
    let offered = views.iter().find(|view| view.role == role("web")).unwrap().offered["cpus"];
    assert_eq!(offered.to_string(), "3");

    let (first, second) = ((&ids[0], 50), (&ids[1], 51));
    let step =
        accept(&mut stage, first, vec![launch(&[("a", "cpus:2;mem:64")])], AcceptMode::Incremental);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    assert_eq!(standing(&stage, "web", "cpus").0, "2");

    // Two are there for the second one as well, but with them the role would have four.
    let two = vec![launch(&[("b", "cpus:1;mem:64"), ("c", "cpus:1;mem:64")])];
    let step = accept(&mut stage, second, two.clone(), AcceptMode::AllOrNothing);
    let refusal: Rejection = events(&step)
        .into_iter()
        .find_map(|event| match event {
            Event::Answered { result, .. } => result.err(),
            _ => None,
        })
        .unwrap();
    assert_eq!(refusal.code, ErrorCode::QuotaExceeded);
    assert_eq!(
        refusal.message,
        "nothing is done, since all was asked for: role web cannot have cpus=1 more: the limit of role web is 3, it has 3 (web has 3), and 1 would be too much"
    );
    let dropped = |name: &str| (name.to_owned(), TaskState::Dropped, TaskReason::InvalidOffers);
    assert_eq!(statuses(&step), [dropped("b"), dropped("c")]);
    assert_eq!(standing(&stage, "web", "cpus").0, "2", "the trial leaves no trace");

    stage.advance(Duration::from_secs(1));
    stage.advance(Duration::from_millis(50));
    let step = accept(&mut stage, second, two, AcceptMode::Incremental);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    // The offer was made after that, and has one.
    assert_eq!(statuses(&step), [("c".to_owned(), TaskState::Error, TaskReason::TaskInvalid)]);
    assert_eq!(standing(&stage, "web", "cpus").0, "3");

    // Of what is reserved to it, it has no more either.
    stage.advance(Duration::from_secs(1));
    stage.advance(Duration::from_millis(50));
    let action = Action::Reserve(reserved("cpus:0.5", "web"));
    let step = accept(&mut stage, first, vec![action], AcceptMode::Incremental);
    assert_eq!(operations(&step), [("RESERVE", "FAILED", Some(ErrorCode::QuotaExceeded))]);
}

#[test]
fn who_is_late_and_over_the_limit_is_told_of_the_limit() {
    let (mut stage, ids) = shared(1, &["web", "web/api"]);
    done(&mut stage, set("web", "", "cpus=4"));
    let all = |name| vec![launch(&[(name, "cpus:4;mem:64")])];
    let step = accept(&mut stage, (&ids[0], 50), all("a"), AcceptMode::Incremental);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    // Another offer would not help it: that is no lost race.
    let step = accept(&mut stage, (&ids[1], 51), all("b"), AcceptMode::Incremental);
    assert_eq!(operations(&step), [("LAUNCH", "FAILED", Some(ErrorCode::QuotaExceeded))]);
}

#[test]
fn offers_of_the_same_count_once_for_what_has_to_go() {
    let (mut stage, ids) = shared(2, &["web", "web", "batch"]);
    let held = |stage: &Stage, id: &FrameworkId| {
        stage.offers().iter().filter(|offer| offer.framework == *id).count()
    };
    // Eight are held, each by two of the role.
    assert_eq!(done(&mut stage, set("web", "", "cpus=8")), []);
    assert_eq!(done(&mut stage, set("web", "", "cpus=5")).len(), 2, "both offers of one machine");
    assert_eq!([0, 1, 2].map(|at| held(&stage, &ids[at])), [1, 1, 2]);

    // Nothing is in no offer. Of that machine only batch has to go for four to be free; what is free in the books is not enough.
    assert_eq!(done(&mut stage, set("ops", "cpus=3", "")).len(), 1);
    assert_eq!([0, 1, 2].map(|at| held(&stage, &ids[at])), [1, 1, 1]);
    // Of the other machine everybody has to go.
    assert_eq!(done(&mut stage, set("ops", "cpus=5", "")).len(), 3);
}

#[test]
fn a_commit_leaves_what_others_are_guaranteed_though_each_offer_by_itself_did() {
    let (mut stage, ids) = shared(1, &["web", "batch"]);
    // Of four, one has to stay free; each of both is offered three.
    assert_eq!(done(&mut stage, set("ops", "cpus=1", "")).len(), 2, "nothing was left");
    stage.advance(Duration::from_secs(6));
    stage.advance(Duration::from_millis(50));
    let offered = |id: &FrameworkId| in_tasks(&offer_of(&stage, id).resources);
    assert_eq!([offered(&ids[0]), offered(&ids[1])], [3_000; 2]);
    let (first, second) = ((&ids[0], 50), (&ids[1], 51));
    let one = |name: &str, cpus: &str| vec![launch(&[(name, &format!("cpus:{cpus};mem:64"))])];
    // There are three left, and the offer holds three: it is no conflict over what is there.
    let step = accept(&mut stage, first, one("a", "1"), AcceptMode::Incremental);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    let step = accept(&mut stage, second, one("b", "2.5"), AcceptMode::Incremental);
    let dropped = ("b".to_owned(), TaskState::Dropped, TaskReason::InvalidOffers);
    assert_eq!(operations(&step), [("LAUNCH", "FAILED", Some(ErrorCode::Conflict))]);
    assert_eq!(statuses(&step), [dropped]);
    let failed =
        query::operations(stage.master.state()).into_iter().find_map(|record| {
            match &record.state {
                OperationState::Failed(error) => Some(error.message.clone()),
                _ => None,
            }
        });
    assert_eq!(
        failed.unwrap(),
        format!(
            "Conflict: agent {}: cpus=2.5 for role batch would leave 0.5 free in the cluster, and roles lack 1 of what they are guaranteed",
            agent_id(1)
        )
    );
    // The next offer holds what may be taken, and whoever is guaranteed the rest gets it.
    stage.advance(Duration::from_secs(1));
    stage.advance(Duration::from_millis(50));
    assert_eq!(in_tasks(&offer_of(&stage, &ids[1]).resources), 2_000);
    let step = accept(&mut stage, second, one("c", "2"), AcceptMode::Incremental);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    let (ops, _) = stage.subscribe(60, framework_info("ops", &["ops"]));
    let offer = offer_of(&stage, &ops);
    assert_eq!(
        (in_tasks(&offer.resources), in_tasks(&offer.exclusive())),
        (1_000, 0),
        "web holds it"
    );
    // Once web's offer, which does not fit any more, is gone, it is kept for ops alone.
    stage.advance(Duration::from_secs(1));
    let filters = Filters { refuse: Duration::ZERO };
    stage.call(&ops, 60, Call::Decline { offers: vec![offer.id], filters });
    stage.advance(Duration::from_secs(1));
    assert_eq!(in_tasks(&offer_of(&stage, &ops).exclusive()), 1_000);
}

#[test]
fn the_headroom_goes_to_whom_it_is_kept_for_while_others_hold_the_rest() {
    let (mut stage, ids) = shared(1, &["web", "batch"]);
    done(&mut stage, set("ops", "cpus=1", ""));
    stage.advance(Duration::from_secs(6));
    stage.advance(Duration::from_millis(50));
    let held = |id| in_tasks(&offer_of(&stage, id).resources);
    assert_eq!([held(&ids[0]), held(&ids[1])], [3_000; 2], "both hold the same three of four");
    let (ops, _) = stage.subscribe(60, framework_info("ops", &["ops"]));
    assert_eq!(in_tasks(&offer_of(&stage, &ops).exclusive()), 1_000, "the fourth, at once");
}

/// Lives in which two frameworks of one role and two others race, with limits for the role and another one.
fn limited(fan_out: u32) -> Contest {
    let mut contest = Contest::new(|config| config.optimistic.fan_out = fan_out);
    for (of, limits) in [("web", "cpus=4,mem=6GiB"), ("storage", "disk=1152MiB,cpus=5")] {
        done(&mut contest.stage, set(of, "", limits));
    }
    contest
}

/// Plays a life; after each move, adds up from the tasks what the role has.
fn play(contest: &mut Contest, life: &[Move]) -> u64 {
    let mut refused = 0;
    for one in life {
        let step = contest.make(one);
        let state = contest.stage.master.state();
        let mut has: BTreeMap<&str, i64> = BTreeMap::new();
        for task in query::tasks(state).iter().filter(|task| !task.status.state.is_terminal()) {
            let who = contest.players.iter().position(|p| p.id == task.status.framework).unwrap();
            *has.entry(ROLES[who]).or_default() += in_tasks(&task.resources);
        }
        for (of, limit) in [("web", 4_000), ("storage", 5_000)] {
            let has = has.get(of).copied().unwrap_or(0);
            assert!(has <= limit, "role {of} has {has} thousandths of a processor: {one:?}");
        }
        for view in query::quotas(state) {
            for u in view.uses {
                let fits = u.limit.is_none_or(|limit| u.consumed <= limit);
                assert!(fits, "role {} has {}={}", view.role, u.counted, u.consumed);
            }
        }
        refused += events(&step).iter().filter(|event| is_over(event)).count() as u64;
    }
    refused
}

fn is_over(event: &Event) -> bool {
    let Event::Operation(record) = event else { return false };
    matches!(&record.state, OperationState::Failed(error) if error.code == ErrorCode::QuotaExceeded)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn nobody_gets_a_role_above_its_limit(life in moves(), fan_out in 1_u32..=4) {
        play(&mut limited(fan_out), &life);
    }
}

/// The lives above are worth something only if limits stop somebody in them. Offers keep within limits, so only races get there.
#[test]
fn limits_stop_somebody_in_these_lives() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut refused = 0;
    for round in 0..200 {
        let life = moves().new_tree(&mut runner).unwrap().current();
        refused += play(&mut limited(3 + round % 2), &life);
    }
    assert!(refused > 5, "only {refused} refusals");
}
