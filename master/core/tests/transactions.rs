//! COMMIT: transactions over several agents without offers. Each kind of conflict, what repetition gives, what all or nothing
//! leaves, and how they race with ACCEPTs.
#![expect(clippy::unwrap_used, reason = "a script that cannot be written fails the test")]

mod stage;

use berth_master_core::{Config, Step};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{AcceptMode, Call, Event, Filters, Terms};
use berth_model::id::{FrameworkId, OfferId, TransactionId};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation};
use berth_model::operator::Request;
use berth_model::quota::{QuotaRequest, parse_amounts};
use berth_model::record::{RegistryKey, RegistryWrite};
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::task::{TaskReason, TaskState};
use berth_model::transaction::{
    ConflictKind, Outcome, PLACEMENTS_MAX, Placement, PlacementResult, Transaction,
};
use stage::{
    Stage, agent_id, events, framework_info, messages, op, operations, plus, res, reserved, role,
    session, statuses, sum, task, volume,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const MACHINE: &str = "cpus:4;mem:4096;disk:4096";
/// The session of the framework that commits; the others follow.
const CELL: u128 = 50;

/// Machines; a framework of role `batch` that wants no offers; frameworks of these roles, each of which holds all.
fn cell(machines: u128, roles: &[&str]) -> (Stage, FrameworkId, Vec<FrameworkId>) {
    let mut stage = Stage::with(|config| {
        config.optimistic.fan_out = u32::try_from(roles.len().max(2)).unwrap();
    });
    let (id, _) = stage.subscribe(CELL, framework_info("cell", &["batch"]));
    stage.call(&id, CELL, Call::Suppress(BTreeSet::new()));
    let others = (CELL + 1..).zip(roles);
    let others: Vec<FrameworkId> =
        others.map(|(over, role)| stage.subscribe(over, framework_info(role, &[role])).0).collect();
    for n in 1..=machines {
        stage.register(n, MACHINE);
    }
    for _ in roles {
        stage.advance(Duration::from_millis(50));
    }
    (stage, id, others)
}

fn txn(n: u128) -> TransactionId {
    TransactionId::from_u128(n)
}

fn launch(n: u128, name: &str, resources: &Resources) -> Action {
    Action::Launch(vec![task(name, agent_id(n), resources.clone())])
}

fn placement(stage: &mut Stage, n: u128, actions: Vec<Action>) -> Placement {
    let operations = actions.into_iter();
    let operations =
        operations.map(|action| OfferOperation { id: op(stage.fresh()), action }).collect();
    let (agent, epoch) = (agent_id(n), stage.epoch);
    Placement { agent, epoch, if_seq: None, role: None, operations }
}

fn of(n: u128, placements: Vec<Placement>, mode: AcceptMode) -> Transaction {
    Transaction { id: txn(n), placements, mode }
}

fn committed(step: &Step) -> Result<Vec<PlacementResult>, Rejection> {
    let mut told = events(step).into_iter().filter_map(|event| match event {
        Event::Committed { call: 1, results, .. } => Some(Ok(results)),
        Event::Answered { result, .. } => Some(Err(result.unwrap_err())),
        _ => None,
    });
    let answer = told.next().expect("an answer");
    assert_eq!(told.next(), None, "one answer");
    answer
}

fn commit(stage: &mut Stage, id: &FrameworkId, transaction: Transaction) -> Step {
    stage.call(id, CELL, Call::Commit(transaction))
}

/// What became of each placement: agent, seq, outcome in one word.
fn words(step: &Step) -> Vec<(u128, u64, &'static str)> {
    let word = |result: PlacementResult| {
        let word = match result.outcome {
            Outcome::Done => "OK",
            Outcome::Conflict { kind, .. } => kind.as_str(),
            Outcome::Refused(error) => error.code.as_str(),
            Outcome::NotDone => "NOT_DONE",
        };
        (result.agent.as_u128(), result.seq, word)
    };
    committed(step).unwrap().into_iter().map(word).collect()
}

fn one(stage: &mut Stage, id: &FrameworkId, n: u128, actions: Vec<Action>) -> Step {
    let number = stage.fresh();
    let placement = placement(stage, n, actions);
    commit(stage, id, of(number, vec![placement], AcceptMode::Incremental))
}

/// Without what is durable: what a restart would forget, and the record of the transaction.
fn books(stage: &Stage) -> String {
    let mut stage_books = format!("{:#?}", stage.master.state());
    let from = stage_books.find("transactions: Transactions").unwrap();
    let until = from + stage_books[from..].find("\n    },").unwrap();
    stage_books.replace_range(from..until, "");
    stage_books
}

fn quota(stage: &mut Stage, of: &str, guarantees: &str, limits: &str) {
    let amounts = |text: &str| match text {
        "" => BTreeMap::new(),
        text => parse_amounts(text).unwrap(),
    };
    let (guarantees, limits, id) = (amounts(guarantees), amounts(limits), stage.fresh());
    let request =
        Request::Quota(QuotaRequest::Set { role: role(of), guarantees, limits, force: true });
    assert_eq!(stage.operator(id, request).0, Ok(op(id)));
}

fn offer_of(stage: &Stage, id: &FrameworkId) -> Offer {
    let offers = stage.offers();
    let found = offers.iter().find(|offer| offer.framework == *id).cloned();
    found.unwrap_or_else(|| panic!("{id} has no offer: {offers:#?}"))
}

fn accept(stage: &mut Stage, (id, over): (&FrameworkId, u128), actions: Vec<Action>) -> Step {
    let operations = actions.into_iter();
    let operations =
        operations.map(|action| OfferOperation { id: op(stage.fresh()), action }).collect();
    let offers = vec![offer_of(stage, id).id];
    let (filters, terms) = (Filters::default(), Terms::default());
    stage.call(id, over, Call::Accept { offers, operations, filters, terms })
}

#[test]
fn a_transaction_takes_from_agents_whose_resources_others_hold_and_their_offers_go() {
    let (mut stage, id, others) = cell(2, &["web", "other"]);
    assert_eq!(stage.offers().len(), 4);
    let first = placement(&mut stage, 1, vec![launch(1, "a", &res("cpus:3;mem:64"))]);
    let second = placement(&mut stage, 2, vec![launch(2, "b", &res("cpus:1;mem:64"))]);
    let step = commit(&mut stage, &id, of(1, vec![first, second], AcceptMode::Incremental));
    assert_eq!(
        committed(&step),
        Ok(vec![
            PlacementResult { agent: agent_id(1), seq: 2, outcome: Outcome::Done },
            PlacementResult { agent: agent_id(2), seq: 2, outcome: Outcome::Done },
        ])
    );
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None), ("LAUNCH", "DONE", None)]);
    assert_eq!(messages(&step).len(), 2, "both tasks are sent to their agents");
    let key = RegistryKey::Transaction(id.clone(), txn(1));
    let is_record = |write: &RegistryWrite| write.key() == key;
    assert!(step.writes.iter().any(is_record), "the answer is durable before it is told");

    let rescinded = |step: &Step| {
        let told = events(step).into_iter().filter_map(|event| match event {
            Event::Rescind(id) => Some(id),
            _ => None,
        });
        told.collect::<BTreeSet<OfferId>>()
    };
    let held: BTreeSet<OfferId> = stage.offers().iter().map(|offer| offer.id).collect();
    assert_eq!(rescinded(&step), BTreeSet::new(), "not before the grace is over");
    assert_eq!(rescinded(&stage.advance(Duration::from_millis(50))), held);
    // What is left can be had by an offer.
    stage.advance(Duration::from_secs(2));
    assert!(others.iter().all(|other| stage.offers().iter().any(|o| o.framework == *other)));
}

#[test]
fn each_kind_of_conflict_says_what_it_is_and_a_transaction_of_others_goes_on() {
    let (mut stage, id, others) = cell(3, &["web"]);
    let small = |n: u128, name: &str| launch(n, name, &res("cpus:1;mem:64"));
    // Somebody commits three processors of the first machine by his offer.
    let offer = stage.offers().into_iter().find(|o| o.agent == agent_id(1)).unwrap();
    let operations =
        vec![OfferOperation { id: op(900), action: launch(1, "w", &res("cpus:3;mem:64")) }];
    let (filters, terms) = (Filters::default(), Terms::default());
    let call = Call::Accept { offers: vec![offer.id], operations, filters, terms };
    stage.call(&others[0], CELL + 1, call);

    let much = placement(&mut stage, 1, vec![launch(1, "much", &res("cpus:2;mem:64"))]);
    let late = Placement { if_seq: Some(1), ..placement(&mut stage, 1, vec![small(1, "late")]) };
    let now = Placement { if_seq: Some(2), ..placement(&mut stage, 1, vec![small(1, "now")]) };
    let old = Placement { epoch: 7, ..placement(&mut stage, 2, vec![small(2, "old")]) };
    let theirs = launch(2, "theirs", &plus(&res("cpus:1;mem:64"), &reserved("disk:64", "web")));
    let theirs = placement(&mut stage, 2, vec![theirs]);
    let nobody = placement(&mut stage, 9, vec![small(9, "nobody")]);
    let bad = placement(&mut stage, 3, vec![launch(2, "elsewhere", &res("cpus:1;mem:64"))]);
    let good = placement(&mut stage, 3, vec![small(3, "good")]);
    let all = vec![much, late, now, old, theirs, nobody, bad, good];
    let step = commit(&mut stage, &id, of(1, all, AcceptMode::Incremental));
    assert_eq!(
        words(&step),
        [
            (1, 2, "RESOURCES"),
            (1, 2, "STALE"),
            (1, 3, "OK"),
            (2, 1, "STALE"),
            (2, 1, "RESERVED"),
            (9, 0, "UNKNOWN_AGENT"),
            (3, 1, "INVALID_ARGUMENT"),
            (3, 2, "OK"),
        ]
    );
    let texts: Vec<String> = committed(&step)
        .unwrap()
        .iter()
        .filter_map(|result| result.outcome.error().map(Rejection::to_string))
        .collect();
    let agent = |n: u128| format!("agent {} (host-{n})", agent_id(n));
    let again = "look at the agent as it is now and decide anew, under a new transaction id";
    assert_eq!(
        texts,
        [
            format!(
                "Conflict: {}: cpus:1 of the wanted cpus:2; mem:64 is not there for role batch; role web was the last to take some (seq 2): {again}",
                agent(1)
            ),
            format!(
                "Conflict: {}: it has changed since seq 1; role web was first (seq 2) (field if_seq): {again}",
                agent(1)
            ),
            format!(
                "Conflict: {}: the placement is of epoch 7, the master is in epoch 1 (seq 1) (field epoch): {again}",
                agent(2)
            ),
            format!(
                "Conflict: {}: disk(web):64 of the wanted cpus:1; mem:64; disk(web):64 is not there for role batch (seq 1): {again}",
                agent(2)
            ),
            format!(
                "no agent {} (field agent): list the agents with `berth agent list`",
                agent_id(9)
            ),
            format!(
                "task elsewhere names agent {}, the offers are of agent {} (field agent): name the agent of the accepted offers",
                agent_id(2),
                agent_id(3)
            ),
        ]
    );
    let told = statuses(&step);
    let state = |name: &str| told.iter().find(|(task, _, _)| task == name).map(|t| (t.1, t.2));
    let lost = Some((TaskState::Dropped, TaskReason::InvalidOffers));
    for name in ["much", "late", "old", "theirs"] {
        assert_eq!(state(name), lost, "{name}");
    }
    assert_eq!(state("elsewhere"), Some((TaskState::Error, TaskReason::TaskInvalid)));
    assert_eq!(state("good"), None, "its agent will speak of it");
}

#[test]
fn limits_and_headroom_are_kept_by_transactions_and_a_race_with_an_accept_has_one_winner() {
    let (mut stage, id, others) = cell(1, &["batch", "web"]);
    quota(&mut stage, "batch", "", "cpus=2");
    // A rescinded offer is not made again for five seconds.
    stage.advance(Duration::from_secs(6));
    let take = |name: &str, cpus: &str| launch(1, name, &res(&format!("cpus:{cpus};mem:64")));
    // Of the same role, by an offer: it takes what the limit leaves.
    let step = accept(&mut stage, (&others[0], CELL + 1), vec![take("offered", "1.5")]);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    let step = one(&mut stage, &id, 1, vec![take("cell", "1")]);
    assert_eq!(words(&step), [(1, 2, "QUOTA")]);
    let text = committed(&step).unwrap()[0].outcome.error().unwrap().message.clone();
    assert!(text.starts_with("role batch cannot have cpus=1 more: the limit"), "{text}");
    assert_eq!(words(&one(&mut stage, &id, 1, vec![take("less", "0.5")])), [(1, 3, "OK")]);

    // The other way round: the transaction takes it, the ACCEPT loses.
    let (mut stage, id, others) = cell(1, &["batch", "web"]);
    quota(&mut stage, "batch", "", "cpus=2");
    // A rescinded offer is not made again for five seconds.
    stage.advance(Duration::from_secs(6));
    assert_eq!(words(&one(&mut stage, &id, 1, vec![take("cell", "1.5")])), [(1, 2, "OK")]);
    let step = accept(&mut stage, (&others[0], CELL + 1), vec![take("offered", "1")]);
    assert_eq!(operations(&step), [("LAUNCH", "FAILED", Some(ErrorCode::QuotaExceeded))]);

    // What others are guaranteed stays free.
    quota(&mut stage, "web", "cpus=2", "");
    quota(&mut stage, "batch", "", "cpus=4");
    assert_eq!(words(&one(&mut stage, &id, 1, vec![take("more", "1")])), [(1, 2, "HEADROOM")]);
    assert_eq!(words(&one(&mut stage, &id, 1, vec![take("bit", "0.5")])), [(1, 3, "OK")]);
}

#[test]
fn a_gang_over_three_agents_starts_whole_or_leaves_no_trace() {
    let (mut stage, id, _) = cell(3, &["web"]);
    let gang = |stage: &mut Stage, cpus: [&str; 3], tag: &str| {
        // Out of order: they are checked in the order of their agents.
        let list = [3_u128, 1, 2].into_iter().zip(cpus).map(|(n, cpus)| {
            let disk = reserved("disk:64", "batch");
            let volume = volume(&format!("{tag}-{n}"), "batch", 64, "data");
            let needs = plus(&res(&format!("cpus:{cpus};mem:64")), &sum([volume.clone()]));
            let task = task(&format!("{tag}-{n}"), agent_id(n), needs);
            let actions = vec![
                Action::Reserve(disk),
                Action::Create(vec![volume]),
                Action::Launch(vec![task]),
            ];
            placement(stage, n, actions)
        });
        list.collect::<Vec<_>>()
    };
    let before = (books(&stage), stage.registry.clone());
    let placements = gang(&mut stage, ["1", "5", "1"], "big");
    let ids = placements.iter().flat_map(|p| &p.operations).count();
    let step = commit(&mut stage, &id, of(1, placements, AcceptMode::AllOrNothing));
    assert_eq!(words(&step), [(3, 1, "NOT_DONE"), (1, 1, "RESOURCES"), (2, 1, "NOT_DONE")]);
    let keys: Vec<RegistryKey> = step.writes.iter().map(RegistryWrite::key).collect();
    let key = RegistryKey::Transaction(id.clone(), txn(1));
    assert_eq!(keys, std::slice::from_ref(&key), "only the answer is written");
    assert_eq!(messages(&step), []);
    stage.registry.remove(&key);
    assert!((books(&stage), stage.registry.clone()) == before, "no trace");
    let failed = events(&step).into_iter().filter_map(|event| match event {
        Event::Operation(record) => Some(record.state.as_str()),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), vec!["FAILED"; ids], "each is answered once");
    assert_eq!(statuses(&step).len(), 3);

    let placements = gang(&mut stage, ["1", "4", "2"], "fits");
    let step = commit(&mut stage, &id, of(2, placements, AcceptMode::AllOrNothing));
    assert_eq!(
        words(&step).iter().map(|w| (w.0, w.2)).collect::<Vec<_>>(),
        [(3, "OK"), (1, "OK"), (2, "OK")]
    );
    assert_eq!(messages(&step).len(), 3, "the volumes are made, the tasks wait for them");
    assert_eq!(stage.volume_states().len(), 3);
}

#[test]
fn a_repeated_transaction_is_given_the_recorded_answer_also_by_the_next_master() {
    let (mut stage, id, _) = cell(2, &["web"]);
    let good = placement(&mut stage, 1, vec![launch(1, "a", &res("cpus:3;mem:64"))]);
    let bad = placement(&mut stage, 2, vec![launch(2, "b", &res("cpus:9;mem:64"))]);
    let transaction = of(1, vec![good, bad], AcceptMode::Incremental);
    let first = committed(&commit(&mut stage, &id, transaction.clone())).unwrap();
    assert_eq!(first.iter().map(|r| r.outcome.is_done()).collect::<Vec<_>>(), [true, false]);

    // What did not fit fits now, and is not done all the same.
    stage.register(2, "cpus:16;mem:4096;disk:4096");
    let step = commit(&mut stage, &id, transaction.clone());
    assert_eq!(committed(&step), Ok(first.clone()));
    assert_eq!((step.writes.len(), messages(&step).len()), (0, 0));

    let other = Transaction { mode: AcceptMode::AllOrNothing, ..transaction.clone() };
    let error = committed(&commit(&mut stage, &id, other)).unwrap_err();
    let text = format!("transaction id {} belongs to another transaction", txn(1));
    assert_eq!((error.code, error.message), (ErrorCode::RequestIdReused, text));

    // Under another id the same operations are refused.
    let other = Transaction { id: txn(2), ..transaction.clone() };
    let error = committed(&commit(&mut stage, &id, other)).unwrap_err();
    assert_eq!((error.code, error.field.as_str()), (ErrorCode::RequestIdReused, "operations"));

    stage.restart();
    stage.resubscribe(60, framework_info("cell", &["batch"]), Some(id.clone()));
    let step = stage.call(&id, 60, Call::Commit(transaction.clone()));
    assert_eq!(committed(&step), Ok(first), "its epoch is over, and it was decided before");
    assert_eq!((step.writes.len(), messages(&step).len()), (0, 0));

    // The id is the framework's own.
    let (rival, _) = stage.subscribe(61, framework_info("rival", &["web"]));
    let step = stage.call(
        &rival,
        61,
        Call::Commit(Transaction { id: txn(1), ..of(1, Vec::new(), AcceptMode::Incremental) }),
    );
    assert_eq!(committed(&step).unwrap_err().field, "placements");
}

#[test]
fn only_so_many_answers_are_kept_and_none_of_a_framework_that_was_removed() {
    let mut stage = Stage::with(|config: &mut Config| config.placements_kept = 3);
    let (id, _) = stage.subscribe(CELL, framework_info("cell", &["batch"]));
    stage.register(1, MACHINE);
    let kept = |stage: &Stage| {
        let keys = stage.registry.keys().filter_map(|key| match key {
            RegistryKey::Transaction(_, id) => Some(id.as_u128()),
            _ => None,
        });
        keys.collect::<Vec<_>>()
    };
    let mut first = None;
    for n in 1..=5 {
        let placement = placement(&mut stage, 7, vec![launch(7, "x", &res("cpus:1;mem:64"))]);
        let transaction = of(n, vec![placement], AcceptMode::Incremental);
        first.get_or_insert(transaction.clone());
        commit(&mut stage, &id, transaction);
        stage.advance(Duration::from_millis(1));
    }
    assert_eq!(kept(&stage), [3, 4, 5]);
    let many = (0..4).map(|_| placement(&mut stage, 7, vec![launch(7, "x", &res("cpus:1"))]));
    let many = many.collect();
    commit(&mut stage, &id, of(6, many, AcceptMode::Incremental));
    assert_eq!(kept(&stage), [6], "the last one stays whatever its size");
    let step = commit(&mut stage, &id, first.unwrap());
    assert_eq!(words(&step), [(7, 0, "UNKNOWN_AGENT")], "forgotten: decided anew");
    stage.call(&id, CELL, Call::Teardown);
    assert_eq!(kept(&stage), []);
}

#[test]
fn transactions_that_make_no_sense_are_refused_and_change_nothing() {
    let (mut stage, id, _) = cell(1, &["web"]);
    let action = || launch(1, "a", &res("cpus:1;mem:64"));
    let good = placement(&mut stage, 1, vec![action()]);
    let twice = vec![good.clone(), good.clone()];
    let empty = Placement { operations: Vec::new(), ..good.clone() };
    let not_mine = Placement { role: Some(role("web")), ..good.clone() };
    let many = vec![good.clone(); PLACEMENTS_MAX + 1];
    let cases: [(Vec<Placement>, ErrorCode, &str); 5] = [
        (Vec::new(), ErrorCode::InvalidArgument, "placements"),
        (many, ErrorCode::InvalidArgument, "placements"),
        (vec![empty], ErrorCode::InvalidArgument, "placements[0].operations"),
        (twice, ErrorCode::InvalidArgument, "operations"),
        (vec![not_mine], ErrorCode::InvalidRole, "placements[0].role"),
    ];
    let before = books(&stage);
    for (placements, code, field) in cases {
        let step = commit(&mut stage, &id, of(1, placements, AcceptMode::AllOrNothing));
        let error = committed(&step).unwrap_err();
        assert_eq!((error.code, error.field.as_str()), (code, field));
        assert_eq!(step.writes, []);
        assert_eq!(books(&stage), before);
    }
    // With several roles it has to say for which.
    let (both, _) = stage.subscribe(70, framework_info("both", &["a", "b"]));
    stage.call(&both, 70, Call::Suppress(BTreeSet::new()));
    let step =
        stage.call(&both, 70, Call::Commit(of(1, vec![good.clone()], AcceptMode::Incremental)));
    let error = committed(&step).unwrap_err();
    assert_eq!(error.message, format!("the placement on agent {} names no role", agent_id(1)));
    let named: Option<Role> = Some(role("b"));
    let placement = Placement { role: named, ..good };
    let call = Call::Commit(of(1, vec![placement], AcceptMode::Incremental));
    assert_eq!(words(&stage.call(&both, 70, call)), [(1, 2, "OK")]);
}

#[test]
fn an_agent_that_is_away_and_what_is_offered_to_one_alone_cannot_be_taken() {
    // Without a fan-out everything free is in somebody's offer.
    let mut stage = Stage::new();
    let (web, _) = stage.subscribe(51, framework_info("web", &["web"]));
    stage.register(1, MACHINE);
    let (id, _) = stage.subscribe(CELL, framework_info("cell", &["batch"]));
    stage.call(&id, CELL, Call::Suppress(BTreeSet::new()));
    let take = || vec![launch(1, "a", &res("cpus:1;mem:64"))];
    assert_eq!(words(&one(&mut stage, &id, 1, take())), [(1, 1, "RESOURCES")]);
    let offers = vec![offer_of(&stage, &web).id];
    let filters = Filters { refuse: Duration::from_secs(60) };
    stage.call(&web, 51, Call::Decline { offers, filters });
    assert_eq!(words(&one(&mut stage, &id, 1, take())), [(1, 2, "OK")]);
    let agent = agent_id(1);
    stage.put(berth_master_core::Input::AgentDisconnected { agent, session: session(1) });
    assert_eq!(words(&one(&mut stage, &id, 1, take())), [(1, 2, "AGENT_UNREACHABLE")]);
}

#[test]
fn conflicts_have_these_names() {
    use ConflictKind::{Headroom, Quota, Reserved, Resources, Stale};
    let all = [Resources, Quota, Headroom, Stale, Reserved].map(ConflictKind::as_str);
    assert_eq!(all, ["RESOURCES", "QUOTA", "HEADROOM", "STALE", "RESERVED"]);
}
