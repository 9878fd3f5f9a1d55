//! Sessions, offers, refusals, fairness and the removal of frameworks.

mod stage;

use berth_master_core::{Input, Output, query};
use berth_model::error::ErrorCode;
use berth_model::framework::{Call, Event, Filters};
use berth_model::id::FrameworkId;
use berth_model::link::{FromAgent, TaskReport, ToAgent};
use berth_model::offer::Offer;
use berth_model::operation::Action;
use berth_model::operator::Request;
use berth_model::task::{TaskReason, TaskState};
use berth_model::view::Change;
use berth_model::volume::VolumeState;
use stage::{
    Stage, agent_id, answered, closed, events, framework_info, messages, offered, op, plus,
    principal, report, res, reserved, role, session, status, statuses, sum, task, task_id, volume,
};
use std::collections::BTreeSet;
use std::time::Duration;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";
const SECOND: Duration = Duration::from_secs(1);

fn decline(stage: &mut Stage, framework: &FrameworkId, over: u128, offer: &Offer, refuse: u64) {
    let filters = Filters { refuse: Duration::from_secs(refuse) };
    stage.call(framework, over, Call::Decline { offers: vec![offer.id], filters });
}

#[test]
fn a_second_session_takes_over_and_the_first_is_closed() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let (id, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let first = offered(&step).remove(0);
    let (_, step) = stage.resubscribe(51, framework_info("db", &["storage"]), Some(id.clone()));
    assert_eq!(closed(&step), [(session(50), ErrorCode::StaleEpoch)]);
    let told: Vec<_> = events(&step).into_iter().map(|e| matches!(e, Event::Rescind(_))).collect();
    assert!(!told.contains(&true), "the old offers go without a word");
    assert_ne!(offered(&step)[0].id, first.id);

    let step = stage.call(&id, 50, Call::Revive(BTreeSet::new()));
    assert_eq!(closed(&step), [(session(50), ErrorCode::StaleEpoch)]);
    stage.put(Input::FrameworkDisconnected { framework: id.clone(), session: session(50) });
    assert!(query::frameworks(stage.master.state())[0].connected, "an old session ends nothing");
}

#[test]
fn subscribers_that_cannot_be_are_told_why() {
    let mut stage = Stage::new();
    let (id, _) = stage.subscribe(50, framework_info("db", &["storage"]));
    let mut other = framework_info("db", &["storage"]);
    other.principal = Some(principal("mallory"));
    let suppressed = framework_info("db", &["storage"]);
    for (info, framework, suppress, want) in [
        (suppressed, None, Some(role("web")), ErrorCode::InvalidRole),
        (other, Some(id.clone()), None, ErrorCode::InvalidArgument),
    ] {
        let before = stage.master.state().clone();
        let body = Call::Subscribe { info, framework, suppressed: suppress.into_iter().collect() };
        let input = Input::Framework {
            session: session(60),
            framework: None,
            call: 0,
            fingerprint: 0,
            body,
        };
        let step = stage.put(input);
        assert_eq!(closed(&step), [(session(60), want)]);
        assert_eq!(stage.master.state(), &before);
    }
    let step = stage.call(&FrameworkId::new("ghost").unwrap(), 61, Call::Teardown);
    assert_eq!(closed(&step), [(session(61), ErrorCode::NotSubscribed)]);
    let ghost = FrameworkId::new("ghost").unwrap();
    let (taken, _) = stage.resubscribe(62, framework_info("g", &["web"]), Some(ghost.clone()));
    assert_eq!(taken, ghost, "an id nobody has seen is taken as it is");
}

#[test]
fn a_refusal_hides_what_was_refused_until_it_ends_or_more_is_there() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    stage.make_volume(1, session(1), "data", 512);
    let (id, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    decline(&mut stage, &id, 50, &offered(&step)[0], 5);
    assert_eq!(offered(&stage.advance(SECOND)), []);
    assert_eq!(offered(&stage.advance(Duration::from_millis(3_999))), []);
    let step = stage.advance(Duration::from_millis(1));
    let offer = offered(&step).remove(0);
    assert_eq!(offer.resources.volumes().len(), 1);

    decline(&mut stage, &id, 50, &offer, 1_000_000);
    assert_eq!(offered(&stage.advance(SECOND)), []);
    stage.make_volume(1, session(1), "more", 512);
    let step = stage.advance(SECOND);
    assert_eq!(offered(&step).remove(0).resources.volumes().len(), 2, "more breaks through");

    let offer = stage.offers().remove(0);
    decline(&mut stage, &id, 50, &offer, 1_000_000);
    stage.advance(SECOND);
    let step = stage.call(&id, 50, Call::Revive(BTreeSet::new()));
    assert_eq!(offered(&step).len(), 1, "revive forgets refusals");
    let offer = stage.offers().remove(0);
    decline(&mut stage, &id, 50, &offer, 0);
    assert_eq!(stage.offers(), []);
    assert_eq!(offered(&stage.advance(SECOND)).len(), 1, "no refusal, but not twice in a second");
}

#[test]
fn suppressed_roles_get_nothing_until_they_are_revived() {
    let mut stage = Stage::new();
    let (id, _) = stage.subscribe(50, framework_info("db", &["storage", "web"]));
    let step = stage.call(&id, 50, Call::Suppress([role("storage")].into()));
    assert_eq!(answered(&step), Some(Ok(0)));
    let step = stage.register(1, "cpus:1;mem:64");
    assert_eq!(offered(&step)[0].role, role("web"));
    stage.call(&id, 50, Call::Suppress(BTreeSet::new()));
    assert_eq!(offered(&stage.register(2, "cpus:1;mem:64")), []);
    let step = stage.call(&id, 50, Call::Revive([role("storage")].into()));
    assert_eq!(offered(&step)[0].role, role("storage"));
    let step = stage.call(&id, 50, Call::Suppress([role("other")].into()));
    assert_eq!(answered(&step), Some(Err(ErrorCode::InvalidRole)));
    let step = stage.call(&id, 50, Call::UpdateRoles([role("web")].into()));
    assert_eq!(stage.offers().len(), 1);
    assert!(events(&step).iter().any(|e| matches!(e, Event::Rescind(_))), "{step:?}");
}

#[test]
fn who_has_least_is_next_and_reserved_resources_stay_in_their_role() {
    let mut stage = Stage::new();
    let (poor, _) = stage.subscribe(50, framework_info("poor", &["web"]));
    let (rich, _) = stage.subscribe(51, framework_info("rich", &["storage"]));
    for n in 1..=4 {
        stage.register(n, "cpus:2;mem:2048;disk:100");
    }
    let mut to: Vec<_> = stage.offers().into_iter().map(|o| o.framework).collect();
    to.sort();
    assert_eq!(to, [poor.clone(), poor.clone(), rich.clone(), rich.clone()]);

    let mut stage = Stage::new();
    let (web, _) = stage.subscribe(50, framework_info("web", &["web"]));
    let (db, _) = stage.subscribe(51, framework_info("db", &["storage/db"]));
    let (cold, _) = stage.subscribe(52, framework_info("cold", &["cold"]));
    stage.register(1, "cpus:1;mem:64;disk(storage):10;cpus(web):1");
    let got: Vec<_> =
        stage.offers().into_iter().map(|o| (o.framework, o.resources.to_string())).collect();
    assert_eq!(
        got,
        [
            (cold, "cpus:1; mem:64".to_owned()),
            (db, "disk(static:storage):10".to_owned()),
            (web, "cpus(static:web):1".to_owned()),
        ]
    );
}

fn with_task(stage: &mut Stage, timeout: u64) -> (FrameworkId, berth_model::resources::Resources) {
    stage.register(1, MACHINE);
    stage.make_volume(1, session(1), "data", 512);
    let mut info = framework_info("db", &["storage"]);
    info.failover_timeout = Duration::from_secs(timeout);
    let (id, step) = stage.subscribe(50, info);
    let offer = offered(&step).remove(0);
    let mine = plus(&res("cpus:1;mem:512"), &sum([volume("data", "storage", 512, "data")]));
    let launch = Action::Launch(vec![task("t", agent_id(1), mine.clone())]);
    stage.accept(&id, 50, &[&offer], vec![launch]);
    (id, mine)
}

#[test]
fn a_framework_that_stays_away_too_long_is_torn_down() {
    let mut stage = Stage::new();
    let (id, mine) = with_task(&mut stage, 60);
    stage.put(Input::FrameworkDisconnected { framework: id.clone(), session: session(50) });
    assert_eq!(messages(&stage.advance(Duration::from_secs(59))), []);
    let step = stage.advance(SECOND);
    let kill = ToAgent::Kill { framework: id.clone(), task: task_id("t"), grace: None };
    assert_eq!(messages(&step), [kill]);
    assert_eq!(stage.volume("data").users.len(), 1, "until the agent says that the task has ended");
    let killed = status(&id, "t", agent_id(1), TaskState::Killed, 9);
    let step = stage.agent_says(1, session(1), FromAgent::Status(killed.clone()));
    let ack = ToAgent::Acknowledge {
        framework: id.clone(),
        task: task_id("t"),
        status: killed.id.unwrap(),
    };
    assert_eq!(messages(&step), [ack], "nobody else acknowledges");
    assert_eq!(stage.volume("data").users, []);
    assert_eq!(stage.volume("data").volume.state, VolumeState::Ready);
    assert_eq!(query::reservations(stage.master.state()).len(), 1);

    let body = Call::Subscribe {
        info: framework_info("db", &["storage"]),
        framework: Some(id.clone()),
        suppressed: BTreeSet::new(),
    };
    let input =
        Input::Framework { session: session(70), framework: None, call: 0, fingerprint: 0, body };
    assert_eq!(closed(&stage.put(input)), [(session(70), ErrorCode::FrameworkRemoved)]);

    // A machine that comes back late with a task of the removed framework is told to end it.
    stage.restart();
    let late = TaskReport {
        status: status(&id, "late", agent_id(1), TaskState::Running, 10),
        resources: mine,
        volumes: vec![],
        name: "late".to_owned(),
        container: berth_model::id::ContainerId::from_u128(8),
    };
    let spec = stage.volume("data").volume.spec;
    let step = stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], vec![late]);
    let kill = ToAgent::Kill { framework: id, task: task_id("late"), grace: None };
    assert!(messages(&step).contains(&kill), "{:?}", messages(&step));
}

#[test]
fn the_time_to_come_back_begins_anew_with_each_master() {
    let mut stage = Stage::new();
    let (id, _) = with_task(&mut stage, 60);
    stage.put(Input::FrameworkDisconnected { framework: id.clone(), session: session(50) });
    stage.advance(Duration::from_secs(59));
    stage.restart();
    stage.advance(Duration::from_secs(59));
    assert_eq!(query::frameworks(stage.master.state())[0].removed, None);
    let (_, step) = stage.resubscribe(51, framework_info("db", &["storage"]), Some(id.clone()));
    assert_eq!(closed(&step), []);
    stage.advance(Duration::from_secs(61));
    assert_eq!(query::frameworks(stage.master.state())[0].removed, None, "it is back");

    let mut stage = Stage::new();
    let (id, _) = with_task(&mut stage, 0);
    let step =
        stage.put(Input::FrameworkDisconnected { framework: id.clone(), session: session(50) });
    let gone = Output::Changed(Change::Framework { framework: id, connected: false });
    assert!(step.outputs.contains(&gone));
    assert_ne!(query::frameworks(stage.master.state())[0].removed, None, "zero means at once");
}

#[test]
fn teardown_keeps_reservations_and_volumes_and_ends_the_session() {
    let mut stage = Stage::new();
    let (id, _) = with_task(&mut stage, 60);
    let (answer, step) = stage.operator(900, Request::Teardown { framework: id.clone() });
    assert_eq!(answer, Ok(op(900)));
    assert_eq!(closed(&step), [(session(50), ErrorCode::FrameworkRemoved)]);
    assert_eq!(stage.volume_states(), [("data".to_owned(), VolumeState::Ready)]);
    let (answer, _) = stage.operator(901, Request::Teardown { framework: id });
    assert_eq!(answer.unwrap_err().code, ErrorCode::FrameworkRemoved);
}

#[test]
fn reconcile_says_what_is_known_and_nothing_more() {
    let mut stage = Stage::new();
    let (id, _) = with_task(&mut stage, 60);
    let ask = |list: &[(&str, Option<u128>)]| {
        Call::Reconcile(list.iter().map(|(t, a)| (task_id(t), a.map(agent_id))).collect())
    };
    let all = ask(&[("t", None), ("x", Some(1)), ("y", Some(8)), ("z", None)]);
    let step = stage.call(&id, 50, all);
    let said = |t: &str, state| (t.to_owned(), state, TaskReason::Reconciliation);
    assert_eq!(
        statuses(&step),
        [
            said("t", TaskState::Staging),
            said("x", TaskState::Gone),
            said("y", TaskState::Unknown),
            said("z", TaskState::Unknown),
        ]
    );
    assert_eq!(statuses(&stage.call(&id, 50, ask(&[]))), [said("t", TaskState::Staging)]);
    let kill = Call::Kill { task: task_id("x"), agent: None, grace: None };
    assert_eq!(statuses(&stage.call(&id, 50, kill)), [said("x", TaskState::Unknown)]);
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
    assert_eq!(
        statuses(&stage.call(&id, 50, ask(&[("x", Some(1))]))),
        [said("x", TaskState::Unreachable)]
    );
    stage.restart();
    stage.resubscribe(51, framework_info("db", &["storage"]), Some(id.clone()));
    assert_eq!(statuses(&stage.call(&id, 51, ask(&[("x", Some(1)), ("x", None)]))), []);
    let step = stage.advance(Duration::from_secs(600));
    assert!(events(&step).contains(&Event::AgentLost(agent_id(1))), "the window is over");
    assert_eq!(
        statuses(&stage.call(&id, 51, ask(&[("x", Some(1))]))),
        [said("x", TaskState::Unreachable)]
    );
}

#[test]
fn an_operator_takes_back_the_fewest_offers() {
    let mut stage = Stage::new();
    let (web, _) = stage.subscribe(50, framework_info("web", &["apps"]));
    let (db, _) = stage.subscribe(51, framework_info("db", &["storage"]));
    stage.register(1, "cpus:1;mem:64;disk:100;disk(storage):100");
    assert_eq!(stage.offers().len(), 2);
    let resources = reserved("disk:60", "other");
    let (answer, step) = stage.operator(900, Request::Reserve { agent: agent_id(1), resources });
    assert_eq!(answer, Ok(op(900)));
    let rescinded: Vec<_> = step
        .outputs
        .iter()
        .filter_map(|o| match o {
            Output::ToFramework { framework, event: Event::Rescind(_), .. } => {
                Some(framework.clone())
            },
            _ => None,
        })
        .collect();
    let holder = stage.offers().remove(0).framework;
    assert_eq!(rescinded.len(), 1);
    assert_ne!(rescinded[0], holder);
    assert!([web, db].contains(&holder));
    // What is left of it goes to the other framework; the one that lost it has a refusal of five seconds.
    let next: Vec<_> =
        offered(&stage.advance(SECOND)).into_iter().map(|o| (o.framework, o.resources)).collect();
    assert_eq!(next, [(holder.clone(), res("cpus:1; mem:64; disk:40"))]);
    assert_eq!(stage.offers().iter().filter(|o| o.framework != holder).count(), 0);
}

#[test]
fn of_two_tasks_of_one_id_the_one_that_came_back_late_is_ended() {
    let mut stage = Stage::new();
    let (id, mine) = with_task(&mut stage, 600);
    let spec = stage.volume("data").volume.spec;
    stage.restart();
    let (_, step) = stage.resubscribe(51, framework_info("db", &["storage"]), Some(id.clone()));
    assert_eq!(offered(&step), []);
    let offer = offered(&stage.register(2, MACHINE)).remove(0);
    let again = Action::Launch(vec![task("t", agent_id(2), res("cpus:1;mem:512"))]);
    let step = stage.accept(&id, 51, &[&offer], vec![again]);
    assert_eq!(messages(&step).len(), 1, "nobody knew of the other one: {step:?}");
    let old = TaskReport {
        status: status(&id, "t", agent_id(1), TaskState::Running, 10),
        resources: mine,
        volumes: vec![spec.id],
        name: "t".to_owned(),
        container: berth_model::id::ContainerId::from_u128(8),
    };
    let step = stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], vec![old]);
    let kill = ToAgent::Kill { framework: id.clone(), task: task_id("t"), grace: None };
    assert!(messages(&step).contains(&kill));
    let over = stage.session_of(1, &step);
    let killed = status(&id, "t", agent_id(1), TaskState::Killed, 11);
    let step = stage.agent_says(1, over, FromAgent::Status(killed));
    assert_eq!((statuses(&step), messages(&step).len()), (vec![], 1), "acknowledged, not told");
    let tasks = query::tasks(stage.master.state());
    assert_eq!((tasks.len(), tasks[0].status.agent), (1, Some(agent_id(2))));
}
