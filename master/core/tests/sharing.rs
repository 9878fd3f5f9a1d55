//! Shared volumes: who is offered them, who uses them at once, what they count as, and what is refused of them.

mod stage;

use berth_master_core::{Step, query};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Capability, Filters, FrameworkInfo};
use berth_model::id::FrameworkId;
use berth_model::link::{FromAgent, TaskReport, ToAgent};
use berth_model::offer::Offer;
use berth_model::operation::Action;
use berth_model::operator::{Request, VolumeChoice};
use berth_model::resources::{Resource, Resources};
use berth_model::snapshot::Freeze;
use berth_model::task::TaskState;
use berth_model::volume::{VolumeSpec, VolumeState};
use stage::{
    Stage, agent_id, create_request, ensured, framework_info, messages, mib, offered, op,
    operations, plus, report, res, reserved, session, status, statuses, sum, task, total_disk,
    volume,
};
use std::collections::BTreeSet;
use std::time::Duration;

const MACHINE: &str = "cpus:8;mem:8192;disk:10240";

fn sharing(name: &str) -> FrameworkInfo {
    let capabilities = BTreeSet::from([Capability::SharedResources]);
    FrameworkInfo { capabilities, ..framework_info(name, &["storage"]) }
}

fn shared(name: &str, size: u64) -> Resource {
    Resource { shared: true, ..volume(name, "storage", size, "data") }
}

fn shared_request(name: &str, size: u64) -> Request {
    let mut request = create_request(name, "storage", size);
    if let Request::CreateVolume { shared, .. } = &mut request {
        *shared = true;
    }
    request
}

/// A machine with a READY shared volume of 512 MiB.
fn made() -> (Stage, VolumeSpec) {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let (answer, step) = stage.operator(5, shared_request("data", 512));
    assert_eq!(answer, Ok(op(5)));
    let spec = ensured(&step).expect("a message to the agent");
    assert!(spec.shared, "the agent is told");
    stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    (stage, spec)
}

fn holders(stage: &Stage) -> Vec<FrameworkId> {
    let offers = stage.offers().into_iter().filter(|o| !o.resources.shared().is_empty());
    offers.map(|offer| offer.framework).collect()
}

fn holding(step: &Step) -> Offer {
    let mut offers = offered(step).into_iter().filter(|o| !o.resources.shared().is_empty());
    offers.next().expect("an offer of the shared volume")
}

fn launch(stage: &mut Stage, f: &FrameworkId, over: u128, offer: &Offer, ids: &[&str]) -> Step {
    let used = plus(&res("cpus:0.5;mem:64"), &sum([shared("data", 512)]));
    let tasks = ids.iter().map(|id| task(id, agent_id(1), used.clone())).collect();
    stage.accept(f, over, &[offer], vec![Action::Launch(tasks)])
}

fn users(stage: &Stage) -> usize {
    stage.volume("data").users.len()
}

fn destroy(spec: &VolumeSpec) -> Request {
    Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) }
}

fn ends(stage: &mut Stage, framework: &FrameworkId, id: &str) -> Step {
    let said = status(framework, id, agent_id(1), TaskState::Finished, stage.fresh());
    stage.agent_says(1, session(1), FromAgent::Status(said))
}

const LOOK: Duration = Duration::from_millis(1_100);

#[test]
fn it_goes_to_one_framework_that_understands_it_per_cycle_and_to_each_in_turn() {
    let (mut stage, _) = made();
    let (legacy, _) = stage.subscribe(40, framework_info("legacy", &["storage"]));
    let (a, step) = stage.subscribe(50, sharing("a"));
    assert_eq!(holding(&step).framework, a);
    let (b, step) = stage.subscribe(51, sharing("b"));
    let mut seen = vec![holders(&stage)];
    // A new framework has every agent looked at: the volume goes to it, and is taken from nobody.
    assert_eq!((holding(&step).framework, stage::events(&step).len()), (b.clone(), 2));
    let (c, _) = stage.subscribe(52, sharing("c"));
    for _ in 0..4 {
        let step = stage.advance(LOOK);
        assert!(offered(&step).len() <= 1, "{step:?}");
        seen.push(holders(&stage));
    }
    assert_eq!(seen[0], [a.clone(), b.clone()]);
    assert_eq!(seen.last(), Some(&vec![a, b.clone(), c.clone()]));
    assert!(seen.iter().flatten().all(|holder| *holder != legacy));
    // Whoever declines it is asked again when the refusal is over, not in each cycle.
    let mine = stage.offers().into_iter().find(|o| o.framework == c).unwrap();
    let refuse = Duration::from_secs(30);
    let decline = Call::Decline { offers: vec![mine.id], filters: Filters { refuse } };
    stage.call(&c, 52, decline);
    for _ in 0..5 {
        assert_eq!(offered(&stage.advance(LOOK)), []);
    }
    assert_eq!(offered(&stage.advance(refuse)).len(), 1);
}

#[test]
fn several_tasks_and_frameworks_use_it_at_once_and_it_counts_once() {
    let (mut stage, spec) = made();
    let (a, step) = stage.subscribe(50, sharing("a"));
    let step = launch(&mut stage, &a, 50, &holding(&step), &["t1", "t2"]);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    assert_eq!(messages(&step).len(), 2, "two launches: {step:?}");
    // While it is in use it is offered again, to others too.
    let (b, step) = stage.subscribe(51, sharing("b"));
    let offer = match offered(&step).into_iter().find(|o| o.framework == b) {
        Some(offer) => offer,
        None => holding(&stage.advance(LOOK)),
    };
    assert_eq!(offer.framework, b);
    let ids: Vec<_> = stage.offers().iter().filter(|o| o.framework == a).map(|o| o.id).collect();
    let decline = Call::Decline { offers: ids, filters: Filters::default() };
    stage.call(&a, 50, decline);
    let offer = stage.offers().into_iter().find(|o| o.framework == b).unwrap_or(offer);
    let step = launch(&mut stage, &b, 51, &offer, &["t3"]);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)], "{:?}", statuses(&step));
    assert_eq!(users(&stage), 3);

    let view = query::agents(stage.master.state()).remove(0);
    assert_eq!(total_disk(&view.total), 10_240);
    assert_eq!((total_disk(&view.used), view.used.shared().iter().count()), (512, 3));
    let role =
        query::roles(stage.master.state()).into_iter().find(|r| r.role.as_str() == "storage");
    let of_role = role.unwrap();
    assert_eq!(of_role.used["disk"], mib(512).to_scalar().unwrap());
    assert_eq!(of_role.reserved["disk"], mib(512).to_scalar().unwrap());

    for (left, (framework, id)) in [(2, (&a, "t1")), (1, (&b, "t3"))] {
        let (answer, _) = stage.operator(60 + left, destroy(&spec));
        assert_eq!(answer.map_err(|r| r.code), Err(ErrorCode::VolumeInUse));
        ends(&mut stage, framework, id);
        assert_eq!(users(&stage), usize::try_from(left).unwrap());
    }
    let (answer, _) = stage.operator(70, destroy(&spec));
    let refused = answer.unwrap_err();
    assert_eq!(
        refused.message,
        format!("volume data ({}) is used by task t2 of framework {a}", spec.id)
    );
    ends(&mut stage, &a, "t2");
    // Nobody uses it now; whoever is offered it is told that the offer is void.
    stage.advance(Duration::from_secs(10));
    stage.advance(LOOK);
    assert_eq!(holders(&stage), [a, b]);
    let (answer, step) = stage.operator(71, destroy(&spec));
    assert_eq!(answer, Ok(op(71)));
    let rescinded = stage::events(&step);
    let rescinded =
        rescinded.iter().filter(|e| matches!(e, berth_model::framework::Event::Rescind(_)));
    assert_eq!((rescinded.count(), holders(&stage)), (2, vec![]));
}

#[test]
fn tasks_that_wait_for_it_all_start_or_are_all_dropped() {
    for (end, tasks) in [(VolumeState::Ready, 2), (VolumeState::Failed, 0)] {
        let mut stage = Stage::new();
        stage.register(1, MACHINE);
        let (a, step) = stage.subscribe(50, sharing("a"));
        let offer = offered(&step).remove(0);
        let used = plus(&res("cpus:0.5;mem:64"), &sum([shared("data", 512)]));
        let two = ["t1", "t2"].map(|id| task(id, agent_id(1), used.clone())).to_vec();
        let step = stage.accept(
            &a,
            50,
            &[&offer],
            vec![
                Action::Reserve(reserved("disk:512", "storage")),
                Action::Create(vec![shared("data", 512)]),
                Action::Launch(two),
            ],
        );
        let spec = ensured(&step).unwrap();
        assert_eq!((messages(&step).len(), users(&stage)), (1, 2));
        let step = stage.reports(1, session(1), report(&spec, end));
        let launches = messages(&step);
        let launches = launches.iter().filter(|m| matches!(m, ToAgent::Launch { .. })).count();
        assert_eq!((launches, users(&stage)), (tasks, tasks));
    }
}

#[test]
fn a_framework_destroys_it_and_the_offers_of_others_are_void() {
    let (mut stage, spec) = made();
    let (a, step) = stage.subscribe(50, sharing("a"));
    let mine = holding(&step);
    let (b, _) = stage.subscribe(51, sharing("b"));
    assert_eq!(holders(&stage), [a.clone(), b]);
    let step = stage.accept(&a, 50, &[&mine], vec![Action::Destroy(vec![shared("data", 512)])]);
    assert_eq!(operations(&step), [("DESTROY", "ACCEPTED", None)]);
    assert_eq!(holders(&stage), []);
    stage.reports(1, session(1), report(&spec, VolumeState::Trashed));
    assert_eq!(total_disk(&query::agents(stage.master.state())[0].total), 10_240);
    // It leaves the trash as it went there.
    let (answer, step) = stage.operator(9, Request::RestoreVolume { volume: spec.id });
    assert_eq!(answer, Ok(op(9)));
    assert_eq!(ensured(&step).map(|s| (s.shared, s.generation)), Some((true, 2)));
}

#[test]
fn a_task_that_runs_keeps_the_rest_of_the_call_from_destroying_it() {
    let (mut stage, _) = made();
    let (a, step) = stage.subscribe(50, sharing("a"));
    let used = plus(&res("cpus:0.5;mem:64"), &sum([shared("data", 512)]));
    let twice = plus(&used, &sum([shared("data", 512)]));
    let step = stage.accept(
        &a,
        50,
        &[&holding(&step)],
        vec![
            Action::Launch(vec![task("t", agent_id(1), used)]),
            Action::Launch(vec![task("greedy", agent_id(1), twice)]),
            Action::Destroy(vec![shared("data", 512)]),
        ],
    );
    assert_eq!(
        operations(&step),
        [
            ("LAUNCH", "DONE", None),
            ("LAUNCH", "FAILED", Some(ErrorCode::InsufficientResources)),
            ("DESTROY", "FAILED", Some(ErrorCode::VolumeInUse)),
        ]
    );
}

#[test]
fn its_users_are_known_again_after_the_master_or_the_agent_was_away() {
    let (mut stage, spec) = made();
    let (a, step) = stage.subscribe(50, sharing("a"));
    launch(&mut stage, &a, 50, &holding(&step), &["t1", "t2"]);
    let used = plus(&res("cpus:0.5;mem:64"), &sum([shared("data", 512)]));
    let reports = |stage: &mut Stage| -> Vec<TaskReport> {
        let of = |id: &&str| TaskReport {
            status: status(&a, id, agent_id(1), TaskState::Running, stage.fresh()),
            resources: used.clone(),
            volumes: vec![spec.id],
            name: (*id).to_owned(),
            container: berth_model::id::ContainerId::from_u128(7),
        };
        ["t1", "t2"].iter().map(of).collect()
    };
    for master_dies in [false, true] {
        if master_dies {
            stage.restart();
        }
        let tasks = reports(&mut stage);
        stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], tasks);
        assert_eq!(users(&stage), 2);
        let (answer, _) = stage.operator(90 + u128::from(master_dies), destroy(&spec));
        assert_eq!(answer.map_err(|r| r.code), Err(ErrorCode::VolumeInUse));
    }
    // It is offered while both use it.
    stage.resubscribe(60, sharing("a"), Some(a.clone()));
    stage.advance(LOOK);
    assert_eq!(holders(&stage), std::slice::from_ref(&a));
    let view = query::agents(stage.master.state()).remove(0);
    assert_eq!(total_disk(&view.used), 512);
}

#[test]
fn a_lost_one_is_offered_to_nobody_and_its_users_keep_their_copies() {
    let (mut stage, spec) = made();
    let (a, step) = stage.subscribe(50, sharing("a"));
    launch(&mut stage, &a, 50, &holding(&step), &["t1", "t2"]);
    stage.subscribe(51, sharing("b"));
    stage.advance(LOOK);
    assert!(!holders(&stage).is_empty());
    stage.reports(1, session(1), report(&spec, VolumeState::Lost));
    stage.advance(Duration::from_secs(10));
    assert_eq!((holders(&stage), users(&stage)), (vec![], 2));
    ends(&mut stage, &a, "t1");
    assert_eq!(users(&stage), 1);
    stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    stage.advance(LOOK);
    assert!(!holders(&stage).is_empty(), "it is back");
    ends(&mut stage, &a, "t2");
    assert_eq!(users(&stage), 0);
    assert_eq!(total_disk(&query::agents(stage.master.state())[0].used), 0);
}

fn code<T>(answer: Result<T, Rejection>) -> Option<ErrorCode> {
    answer.err().map(|refused| refused.code)
}

#[test]
fn what_is_refused_of_shared_volumes_says_why() {
    let (mut stage, spec) = made();
    let choice = || VolumeChoice::Id(spec.id);
    let grow = Request::ResizeVolume { volume: choice(), size: mib(1024) };
    let shrink = Request::ResizeVolume { volume: choice(), size: mib(256) };
    let freeze = Freeze {
        program: berth_model::task::Program::Shell("echo frozen; read x".to_owned()),
        timeout: Duration::from_secs(5),
    };
    let snapshot = |freeze: Option<Freeze>| Request::CreateSnapshot {
        volume: choice(),
        name: None,
        principal: None,
        freeze,
    };
    for request in [grow, shrink, snapshot(Some(freeze))] {
        let (answer, step) = stage.operator(10, request);
        assert_eq!(code(answer), Some(ErrorCode::VolumeShared));
        assert_eq!(step.writes, []);
    }
    let (answer, _) = stage.operator(11, snapshot(None));
    assert_eq!(answer, Ok(op(11)));

    // Frameworks: the capability, and what is offered.
    let (legacy, step) = stage.subscribe(40, framework_info("legacy", &["storage"]));
    let offer = offered(&step).remove(0);
    assert_eq!(offer.resources.shared(), Resources::new());
    let create = vec![
        Action::Reserve(reserved("disk:64", "storage")),
        Action::Create(vec![shared("other", 64)]),
        Action::Destroy(vec![shared("data", 512)]),
    ];
    let step = stage.accept(&legacy, 40, &[&offer], create);
    assert_eq!(
        operations(&step),
        [
            ("RESERVE", "DONE", None),
            ("CREATE", "FAILED", Some(ErrorCode::MissingCapability)),
            ("DESTROY", "FAILED", Some(ErrorCode::VolumeNotReady)),
        ]
    );
    let (a, step) = stage.subscribe(50, sharing("a"));
    let offer = holding(&step);
    let addition = reserved("disk:64", "storage").iter().next().unwrap();
    let data = || Box::new(shared("data", 512));
    let resize = vec![
        Action::Grow { volume: data(), addition: Box::new(addition) },
        Action::Shrink { volume: data(), subtract: mib(64) },
    ];
    let step = stage.accept(&a, 50, &[&offer], resize);
    let shared = Some(ErrorCode::VolumeShared);
    assert_eq!(operations(&step), [("GROW", "FAILED", shared), ("SHRINK", "FAILED", shared)]);
}
