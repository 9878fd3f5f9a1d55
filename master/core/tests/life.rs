//! The main path: a machine comes, a volume is made, a task runs on it, everything comes back.

mod stage;

use berth_master_core::{Input, Output};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Event};
use berth_model::id::StatusId;
use berth_model::link::{FromAgent, TaskReport, ToAgent};
use berth_model::operation::Action;
use berth_model::operator::{Request, VolumeChoice};
use berth_model::task::{TaskReason, TaskState};
use berth_model::view::{AgentState, Change};
use berth_model::volume::{VolumeReport, VolumeState};
use stage::{
    Stage, agent_id, answered, create_request, ensured, events, framework_info, messages, mib, op,
    operations, plus, refused, report, res, reserved, session, status, statuses, sum, task,
    task_id, total_disk, vname, volume,
};
use std::time::Duration;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240;ports:[31000-32000]";

#[test]
fn an_operators_volume_is_accepted_then_ready_then_gone() {
    let mut stage = Stage::new();
    let step = stage.register(1, MACHINE);
    assert_eq!(messages(&step), [ToAgent::Registered { heartbeat: Duration::from_secs(15) }]);

    let (answer, step) = stage.operator(5, create_request("data", "storage", 1024));
    assert_eq!(answer, Ok(op(5)));
    assert_eq!(step.writes.len(), 3, "row, volume, operation: {:?}", step.writes);
    assert_eq!(operations(&step), [("CREATE", "ACCEPTED", None)]);
    let spec = ensured(&step).unwrap();
    assert_eq!((spec.name.as_str(), spec.size, spec.generation), ("data", mib(1024), 1));
    assert_eq!(stage.volume("data").volume.state, VolumeState::Creating);

    let step = stage.reports(1, session(1), report(&spec, VolumeState::Creating));
    assert_eq!((messages(&step), operations(&step)), (vec![], vec![]));
    let step = stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    assert_eq!(operations(&step), [("CREATE", "DONE", None)]);
    assert_eq!(step.writes.len(), 3, "volume, operation, sequence: {:?}", step.writes);

    let destroy =
        Request::DestroyVolume { volume: VolumeChoice::Named { role: None, name: vname("data") } };
    let (answer, step) = stage.operator(6, destroy);
    assert_eq!(answer, Ok(op(6)));
    assert_eq!(
        messages(&step),
        [ToAgent::DestroyVolume { volume: spec.id, generation: 1, operation: op(6) }]
    );
    let reservation = berth_master_core::query::reservations(stage.master.state());
    assert_eq!(
        reservation[0].in_volumes,
        mib(1024).to_scalar().unwrap(),
        "until it is in the trash"
    );
    let step = stage.reports(1, session(1), report(&spec, VolumeState::Trashed));
    assert_eq!(operations(&step), [("DESTROY", "DONE", None)]);
    let reservation = berth_master_core::query::reservations(stage.master.state());
    assert!(reservation[0].in_volumes.is_zero());

    let (answer, step) = stage.operator(7, Request::PurgeVolume { volume: spec.id, wipe: None });
    assert_eq!(answer, Ok(op(7)));
    assert_eq!(
        messages(&step),
        [ToAgent::PurgeVolume { volume: spec.id, generation: 1, operation: op(7), wipe: None }]
    );
    let step = stage.reports(1, session(1), report(&spec, VolumeState::Gone));
    assert_eq!(operations(&step), [("PURGE", "DONE", None)]);
    assert_eq!(messages(&step), [ToAgent::ForgetVolume { volume: spec.id, generation: 1 }]);
    assert_eq!(stage.volume_states(), []);

    let row = berth_master_core::query::reservations(stage.master.state())[0].row.id;
    let (answer, _) = stage.operator(8, Request::Release { reservation: row });
    assert_eq!(answer, Ok(op(8)));
    let agents = berth_master_core::query::agents(stage.master.state());
    assert_eq!(agents[0].total, res(MACHINE), "everything undone leaves what was declared");
}

#[test]
fn reserve_create_and_launch_in_one_accept_start_when_the_volume_is_ready() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let (framework, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let Some(Event::Subscribed { epoch: 1, .. }) = events(&step).into_iter().next() else {
        panic!("the first event is Subscribed: {:?}", events(&step));
    };
    let offer = stage::offered(&step).remove(0);
    assert_eq!(offer.resources, res(MACHINE));

    let data = volume("data", "storage", 1024, "data");
    let mine = plus(&res("cpus:1;mem:512"), &sum([data.clone()]));
    let step = stage.accept(
        &framework,
        50,
        &[&offer],
        vec![
            Action::Reserve(reserved("disk:1024", "storage")),
            Action::Create(vec![data]),
            Action::Launch(vec![task("t", agent_id(1), mine)]),
        ],
    );
    assert_eq!(answered(&step), Some(Ok(3)));
    assert_eq!(
        operations(&step),
        [("RESERVE", "DONE", None), ("CREATE", "ACCEPTED", None), ("LAUNCH", "ACCEPTED", None)]
    );
    let spec = ensured(&step).unwrap();
    assert_eq!(messages(&step).len(), 1, "no launch before the volume is there");
    assert_eq!(stage.volume("data").users.len(), 1);

    let step = stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    assert_eq!(operations(&step), [("CREATE", "DONE", None), ("LAUNCH", "DONE", None)]);
    let [ToAgent::Launch { task: sent, volumes, .. }] = &messages(&step)[..] else {
        panic!("one launch: {:?}", messages(&step));
    };
    assert_eq!(sent.command.user.as_deref(), Some("nobody"), "the framework's user");
    assert_eq!((volumes[0].volume, volumes[0].generation), (spec.id, 1));
    assert_eq!(&*volumes[0].mount.container_path, "data");

    let running = status(&framework, "t", agent_id(1), TaskState::Running, 77);
    let step = stage.agent_says(1, session(1), FromAgent::Status(running.clone()));
    assert_eq!(events(&step), [Event::Status(running)]);
    let ack = Call::Acknowledge {
        agent: agent_id(1),
        task: task_id("t"),
        status: StatusId::from_u128(77),
    };
    let step = stage.call(&framework, 50, ack);
    assert_eq!(
        messages(&step),
        [ToAgent::Acknowledge {
            framework: framework.clone(),
            task: task_id("t"),
            status: StatusId::from_u128(77)
        }]
    );
    let (answer, _) =
        stage.operator(6, Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) });
    let rejection = answer.unwrap_err();
    assert_eq!(rejection.code, ErrorCode::VolumeInUse);
    assert!(rejection.message.contains("task t of framework abcdef01-0001"), "{rejection}");

    // What the task leaves is offered after its refusal ends; what it frees breaks through at once.
    assert_eq!(stage.offers(), []);
    let finished = status(&framework, "t", agent_id(1), TaskState::Finished, 78);
    stage.agent_says(1, session(1), FromAgent::Status(finished));
    let step = stage.advance(Duration::from_secs(1));
    let offer = stage::offered(&step).remove(0);
    assert_eq!(offer.resources.volumes().len(), 1);
    assert_eq!(total_disk(&offer.resources), 10_240);
    assert_eq!(stage.volume("data").offer, Some(offer.id));
}

#[test]
fn a_failed_create_drops_the_task_and_gives_the_disk_back_reserved() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let (framework, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).remove(0);
    let data = volume("data", "storage", 1024, "data");
    let mine = plus(&res("cpus:1;mem:512"), &sum([data.clone()]));
    let actions = || {
        vec![
            Action::Reserve(reserved("disk:1024", "storage")),
            Action::Create(vec![data.clone()]),
            Action::Launch(vec![task("t", agent_id(1), mine.clone())]),
        ]
    };
    let step = stage.accept(&framework, 50, &[&offer], actions());
    let spec = ensured(&step).unwrap();
    let full = Rejection::new(ErrorCode::DiskFull, "no space is left");
    let failed = VolumeReport { error: Some(full), ..report(&spec, VolumeState::Failed) };
    let step = stage.reports(1, session(1), failed);
    assert_eq!(
        operations(&step),
        [
            ("CREATE", "FAILED", Some(ErrorCode::DiskFull)),
            ("LAUNCH", "FAILED", Some(ErrorCode::DiskFull))
        ]
    );
    assert_eq!(
        statuses(&step),
        [("t".to_owned(), TaskState::Dropped, TaskReason::VolumeUnavailable)]
    );
    assert_eq!(messages(&step), [ToAgent::ForgetVolume { volume: spec.id, generation: 1 }]);
    assert_eq!(stage.volume_states(), [("data".to_owned(), VolumeState::Failed)]);

    // Another attempt under the same name takes the failed record's place.
    let step = stage.advance(Duration::from_secs(6));
    let offer = stage::offered(&step).remove(0);
    let again = actions().split_off(1);
    let step = stage.accept(&framework, 50, &[&offer], again);
    assert_eq!(operations(&step), [("CREATE", "ACCEPTED", None), ("LAUNCH", "ACCEPTED", None)]);
    assert_eq!(stage.volume_states(), [("data".to_owned(), VolumeState::Creating)]);
}

#[test]
fn what_failed_is_destroyed_by_its_framework_without_being_offered() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let (framework, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).remove(0);
    let data = volume("data", "storage", 1024, "data");
    let actions =
        vec![Action::Reserve(reserved("disk:1024", "storage")), Action::Create(vec![data.clone()])];
    let step = stage.accept(&framework, 50, &[&offer], actions);
    let spec = ensured(&step).unwrap();
    let busy = Rejection::new(ErrorCode::DiskFull, "no space is left");
    let trying = VolumeReport {
        error: Some(busy.clone()),
        operation: Some(stage.volume("data").volume.operation),
        ..report(&spec, VolumeState::Creating)
    };
    let step = stage.reports(1, session(1), trying.clone());
    let noted: Vec<String> = step
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Changed(Change::Operation(record)) => Some(record.notes.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(noted, [format!("not yet done: {busy}")], "why it is not made yet is said");
    assert_eq!(operations(&stage.reports(1, session(1), trying)), [], "once");
    let failed = VolumeReport { error: Some(busy), ..report(&spec, VolumeState::Failed) };
    stage.reports(1, session(1), failed);
    assert_eq!(stage.volume_states(), [("data".to_owned(), VolumeState::Failed)]);

    let step = stage.advance(Duration::from_secs(6));
    let offer = stage::offered(&step).remove(0);
    assert!(!offer.resources.contains(&sum([data.clone()])), "{}", offer.resources);
    let step = stage.accept(&framework, 50, &[&offer], vec![Action::Destroy(vec![data])]);
    assert_eq!(operations(&step), [("DESTROY", "DONE", None)]);
    assert_eq!(stage.volume_states(), []);
}

#[test]
fn everything_comes_back_after_the_master_dies() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 1024);
    let (framework, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).remove(0);
    let mine = plus(&res("cpus:1;mem:512"), &sum([volume("data", "storage", 1024, "data")]));
    let step = stage.accept(
        &framework,
        50,
        &[&offer],
        vec![Action::Launch(vec![task("t", agent_id(1), mine.clone())])],
    );
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
    let running = status(&framework, "t", agent_id(1), TaskState::Running, 77);
    stage.agent_says(1, session(1), FromAgent::Status(running.clone()));

    stage.restart();
    let agents = berth_master_core::query::agents(stage.master.state());
    assert_eq!((agents[0].state, agents[0].last_seen), (AgentState::Recovering, None));
    let (_, step) =
        stage.resubscribe(51, framework_info("db", &["storage"]), Some(framework.clone()));
    assert_eq!(stage::offered(&step), []);
    let ask = Call::Reconcile(vec![(task_id("t"), Some(agent_id(1)))]);
    let step = stage.call(&framework, 51, ask.clone());
    assert_eq!(statuses(&step), [], "no answer while the agent may bring the task back");

    let known = TaskReport {
        status: running,
        resources: mine,
        volumes: vec![spec.id],
        name: "t".to_owned(),
        container: berth_model::id::ContainerId::from_u128(7),
    };
    let step = stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], vec![known]);
    assert_eq!(statuses(&step), [("t".to_owned(), TaskState::Running, TaskReason::Normal)]);
    let offer = stage::offered(&step).remove(0);
    assert_eq!(offer.id.epoch, 2);
    assert!(offer.resources.volumes().is_empty(), "the volume is in use");
    let step = stage.call(&framework, 51, ask);
    assert_eq!(statuses(&step), [("t".to_owned(), TaskState::Running, TaskReason::Reconciliation)]);
    assert_eq!(stage.volume("data").users.len(), 1);
}

#[test]
fn an_agent_that_is_lost_keeps_its_tasks_until_it_says_otherwise() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 1024);
    let (framework, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).remove(0);
    let mine = plus(&res("cpus:1;mem:512"), &sum([volume("data", "storage", 1024, "data")]));
    let tasks = vec![
        task("runs", agent_id(1), mine.clone()),
        task("stages", agent_id(1), res("cpus:0.5;mem:64")),
    ];
    stage.accept(&framework, 50, &[&offer], vec![Action::Launch(tasks)]);
    let running = status(&framework, "runs", agent_id(1), TaskState::Running, 77);
    stage.agent_says(1, session(1), FromAgent::Status(running.clone()));

    let step = stage.advance(Duration::from_secs(80));
    assert!(step.outputs.contains(&Output::CloseAgent { agent: agent_id(1), session: session(1) }));
    let lost = |t: &str| (t.to_owned(), TaskState::Unreachable, TaskReason::AgentDisconnected);
    assert_eq!(statuses(&step), [lost("runs"), lost("stages")]);
    assert!(events(&step).contains(&Event::AgentLost(agent_id(1))));
    assert_eq!(stage.offers(), []);
    let step =
        stage.call(&framework, 50, Call::Kill { task: task_id("runs"), agent: None, grace: None });
    assert_eq!(messages(&step), [], "remembered until the agent is back");

    let known = TaskReport {
        status: running,
        resources: mine,
        volumes: vec![spec.id],
        name: "runs".to_owned(),
        container: berth_model::id::ContainerId::from_u128(7),
    };
    let step = stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], vec![known]);
    assert_eq!(
        statuses(&step),
        [
            ("runs".to_owned(), TaskState::Running, TaskReason::Normal),
            ("stages".to_owned(), TaskState::Dropped, TaskReason::AgentRestarted),
        ]
    );
    let again = ToAgent::Kill { framework: framework.clone(), task: task_id("runs"), grace: None };
    assert!(messages(&step).contains(&again));

    let over = stage.session_of(1, &step);
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: over });
    let step = stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], vec![]);
    assert_eq!(statuses(&step), [("runs".to_owned(), TaskState::Gone, TaskReason::AgentRestarted)]);
    assert_eq!(stage.volume("data").users, []);
}

#[test]
fn who_must_not_come_in_is_refused_with_the_reason() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    stage.make_volume(1, session(1), "data", 1024);
    let mut other = stage.registration(stage::info(agent_id(2), MACHINE), session(2));
    other.cluster = Some(berth_model::id::ClusterId::from_u128(3));
    assert_eq!(refused(&stage.register_as(other)), Some(ErrorCode::WrongCluster));
    let second = stage.registration(stage::info(agent_id(1), MACHINE), session(9));
    assert_eq!(refused(&stage.register_as(second)), Some(ErrorCode::SessionExists));
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
    let mut old = stage.registration(stage::info(agent_id(1), MACHINE), session(9));
    old.ledger_seq = 0;
    assert_eq!(refused(&stage.register_as(old)), Some(ErrorCode::LedgerRolledBack));
    assert_eq!(stage.volume_states(), [("data".to_owned(), VolumeState::Ready)]);
}

#[test]
fn an_agent_from_the_future_puts_the_master_into_safe_mode() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 1024);
    let mut ahead = stage.registration(stage::info(agent_id(2), MACHINE), session(2));
    ahead.epoch = 7;
    assert_eq!(refused(&stage.register_as(ahead)), None);
    let cluster = berth_master_core::query::clusters(stage.master.state()).remove(0);
    assert!(cluster.safe_mode.unwrap().contains("has seen epoch 7"));
    let before = stage.master.state().clone();
    for (id, request) in [
        (60, Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) }),
        (61, Request::PurgeVolume { volume: spec.id, wipe: None }),
        (62, Request::Unreserve { agent: agent_id(1), resources: reserved("disk:1", "storage") }),
    ] {
        let (answer, step) = stage.operator(id, request);
        assert_eq!(answer.unwrap_err().code, ErrorCode::SafeMode);
        assert_eq!(step.writes, []);
    }
    assert_eq!(stage.master.state(), &before);
}

#[test]
fn less_than_is_reserved_is_kept_and_withheld() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 8192);
    let (_, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    assert_eq!(stage::offered(&step).len(), 1);
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
    let small = "cpus:2;mem:2048;disk:4096;ports:[31000-32000]";
    let step = stage.back(1, small, vec![report(&spec, VolumeState::Ready)], vec![]);
    assert_eq!(stage::offered(&step), []);
    let agent = berth_master_core::query::agents(stage.master.state()).remove(0);
    assert_eq!(
        agent.info.limitations,
        ["it no longer declares disk:4096, which is reserved or in use"]
    );
    let (answer, _) = stage.operator(70, create_request("more", "storage", 1));
    assert_eq!(answer.unwrap_err().code, ErrorCode::AgentUnreachable);
    let over = stage.session_of(1, &step);
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: over });
    stage.advance(Duration::from_secs(2));
    let step = stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], vec![]);
    assert_eq!(stage::offered(&step).len(), 1, "the whole declaration is offered again");
}

#[test]
fn nothing_on_a_faulty_disk_is_offered() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    stage.make_volume(1, session(1), "data", 512);
    let (_, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).remove(0);
    assert_eq!(offer.resources.volumes().len(), 1);
    let mut disks = stage::info(agent_id(1), MACHINE).disks;
    disks[0].health = berth_model::agent::DiskHealth::Faulty("EIO".to_owned());
    let step = stage.agent_says(1, session(1), FromAgent::Disks(disks));
    assert_eq!(events(&step), [Event::Rescind(offer.id)]);
    let step = stage.advance(Duration::from_secs(1));
    let rest = stage::offered(&step).remove(0).resources;
    assert_eq!(rest, res("cpus:2;mem:2048;ports:[31000-32000]"));
    let (answer, _) = stage.operator(70, create_request("more", "storage", 64));
    assert_eq!(answer.unwrap_err().code, ErrorCode::DiskFaulty);
    let healthy = stage::info(agent_id(1), MACHINE).disks;
    stage.agent_says(1, session(1), FromAgent::Disks(healthy));
    let step = stage.advance(Duration::from_secs(1));
    assert_eq!(stage::offered(&step)[0].resources.volumes().len(), 1);
}

#[test]
fn tasks_that_use_more_than_there_is_keep_their_agent_out_of_offers_until_one_ends() {
    let mut stage = Stage::new();
    let (framework, _) = stage.subscribe(50, framework_info("db", &["storage"]));
    let running = |name: &str, cpus: &str| TaskReport {
        status: status(&framework, name, agent_id(1), TaskState::Running, 1),
        resources: res(cpus),
        volumes: vec![],
        name: name.to_owned(),
        container: berth_model::id::ContainerId::from_u128(7),
    };
    let tasks = vec![running("a", "cpus:1.5"), running("b", "cpus:1.5")];
    let step = stage.back(1, MACHINE, vec![], tasks);
    assert_eq!(stage::offered(&step), []);
    let (answer, _) = stage.operator(
        70,
        Request::Reserve { agent: agent_id(1), resources: reserved("mem:1", "storage") },
    );
    assert_eq!(answer.unwrap_err().code, ErrorCode::InsufficientResources);
    let over = stage.session_of(1, &step);
    let ended = status(&framework, "a", agent_id(1), TaskState::Finished, 2);
    stage.agent_says(1, over, FromAgent::Status(ended));
    let step = stage.advance(Duration::from_secs(1));
    let rest = stage::offered(&step).remove(0).resources;
    assert_eq!(rest, res("cpus:0.5;mem:2048;disk:10240;ports:[31000-32000]"));
}

#[test]
fn tombstones_are_told_again_and_followed_through() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    let destroy = Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) };
    let (answer, _) = stage.operator(5, destroy);
    assert_eq!(answer, Ok(op(5)));
    stage.restart();
    let step = stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], vec![]);
    let again = ToAgent::DestroyVolume { volume: spec.id, generation: 1, operation: op(5) };
    assert!(messages(&step).contains(&again));
    let over = stage.session_of(1, &step);
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: over });
    let step = stage.back(1, MACHINE, vec![report(&spec, VolumeState::Trashed)], vec![]);
    assert_eq!(operations(&step), [("DESTROY", "DONE", None)]);
    let over = stage.session_of(1, &step);
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: over });
    stage.back(1, MACHINE, vec![], vec![]);
    assert_eq!(stage.volume_states(), [], "gone with the retention of its agent");
    let notes = &berth_master_core::query::operations(stage.master.state())[0].notes;
    assert_eq!(
        notes[..],
        [format!("volume data ({}) was deleted from the trash by its agent", spec.id)]
    );
}

#[test]
fn an_unfinished_create_is_asked_for_again_with_the_same_operation() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let (_, step) = stage.operator(5, create_request("data", "storage", 512));
    let spec = ensured(&step).unwrap();
    stage.restart();
    let step = stage.back(1, MACHINE, vec![], vec![]);
    let again = ToAgent::EnsureVolume { spec: spec.clone(), operation: op(5), restore: false };
    assert!(messages(&step).contains(&again), "{:?}", messages(&step));
    let over = stage.session_of(1, &step);
    let step = stage.reports(1, over, report(&spec, VolumeState::Ready));
    assert_eq!(operations(&step), [("CREATE", "DONE", None)]);
}
