//! Calls that are refused: the code, the object, the remedy, and that nothing changes; and calls that
//! come twice.

#![expect(clippy::unwrap_used, reason = "a script that cannot be written fails the test")]

mod stage;

use berth_master_core::{Input, Output, query};
use berth_model::error::ErrorCode;
use berth_model::framework::{Call, Event, Filters, Terms};
use berth_model::id::{AgentId, FrameworkId, OfferId, OperationId, ReservationId, VolumeId};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation};
use berth_model::operator::{DiskChoice, Request, VolumeChoice};
use berth_model::resources::{DiskSource, MountMode, Resource, Resources};
use berth_model::task::{Program, TaskInfo, TaskReason, TaskState, TaskStatus};
use berth_model::units::Bytes;
use berth_model::volume::VolumeState;
use stage::{
    Stage, agent_id, answered, create_request, ensured, events, framework_info, messages, mib,
    offered, op, operations, plus, principal, report, res, reserved, role, session, statuses, sum,
    task, task_id, vname, volume,
};
use std::sync::Arc;
use std::time::Duration;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";

#[expect(clippy::too_many_lines, reason = "one table, and one check for all of its rows")]
#[test]
fn operators_are_refused_with_code_object_and_remedy() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    let wish = |change: &dyn Fn(&mut Wish)| {
        let mut wish = Wish::default();
        change(&mut wish);
        wish.request()
    };
    let on = |agent, resources| Request::Reserve { agent, resources };
    let off = |resources| Request::Unreserve { agent: agent_id(1), resources };
    let named = |role, name| Request::DestroyVolume { volume: VolumeChoice::Named { role, name } };
    let ghost = FrameworkId::new("ghost").unwrap();
    for (request, code, part) in [
        (
            wish(&|w| w.size = mib(20_000)),
            ErrorCode::InsufficientResources,
            "9.5 GiB free, 10 GiB missing",
        ),
        (
            wish(&|w| w.size = Bytes::new(5)),
            ErrorCode::InvalidArgument,
            "not a whole number of MiB",
        ),
        (wish(&|w| w.size = mib(0)), ErrorCode::InvalidArgument, "the size is zero"),
        (wish(&|w| w.role = "*"), ErrorCode::InvalidRole, "role *"),
        (wish(&|w| w.path = "a/../b"), ErrorCode::InvalidPath, "\"..\""),
        (wish(&|w| w.path = ""), ErrorCode::InvalidPath, "empty"),
        (
            wish(&|w| w.name = "data"),
            ErrorCode::VolumeExists,
            "on agent 00000000000000000000000000000001 (host-1)",
        ),
        (wish(&|w| w.agent = Some(agent_id(9))), ErrorCode::UnknownAgent, "no agent"),
        (
            wish(&|w| w.disk = DiskChoice::Named(Arc::from("ssd"))),
            ErrorCode::UnknownDisk,
            "no disk ssd on any agent",
        ),
        (
            wish(&|w| {
                w.disk = DiskChoice::Named(Arc::from("ssd"));
                w.agent = Some(agent_id(1));
            }),
            ErrorCode::UnknownDisk,
            "no disk ssd on agent host-1",
        ),
        // The disk's id is 3e9 in hexadecimal; three digits are too few.
        (
            wish(&|w| w.disk = DiskChoice::Named(Arc::from("000"))),
            ErrorCode::UnknownDisk,
            "no disk 000 on any agent",
        ),
        (on(agent_id(9), reserved("cpus:1", "a")), ErrorCode::UnknownAgent, "no agent"),
        (
            on(agent_id(1), reserved("cpus:3", "a")),
            ErrorCode::InsufficientResources,
            "missing cpus:1",
        ),
        (on(agent_id(1), res("cpus:1")), ErrorCode::InvalidResources, "no dynamic reservation"),
        (on(agent_id(1), Resources::new()), ErrorCode::InvalidResources, "no resources"),
        (
            on(agent_id(1), sum([volume("data", "storage", 512, "x")])),
            ErrorCode::InvalidResources,
            "names the volume data",
        ),
        (
            off(reserved("disk:1", "nobody")),
            ErrorCode::InsufficientResources,
            "missing disk(nobody):1",
        ),
        (
            off(reserved("disk:512", "storage")),
            ErrorCode::InsufficientResources,
            "missing disk(storage):512",
        ),
        (
            Request::Release { reservation: ReservationId::from_u128(7) },
            ErrorCode::UnknownReservation,
            "no reservation",
        ),
        (
            Request::Release { reservation: query::reservations(stage.master.state())[0].row.id },
            ErrorCode::ResourcesInUse,
            "wholly in volumes",
        ),
        (
            Request::DestroyVolume { volume: VolumeChoice::Id(VolumeId::from_u128(7)) },
            ErrorCode::UnknownVolume,
            "no volume",
        ),
        (named(None, vname("nope")), ErrorCode::UnknownVolume, "nope"),
        (named(Some(role("web")), vname("data")), ErrorCode::UnknownVolume, "data of role web"),
        (
            Request::RestoreVolume { volume: spec.id },
            ErrorCode::VolumeNotReady,
            "is READY, not in the trash",
        ),
        (
            Request::PurgeVolume { volume: spec.id, wipe: None },
            ErrorCode::VolumeNotReady,
            "is READY, not in the trash",
        ),
        (Request::Teardown { framework: ghost.clone() }, ErrorCode::UnknownFramework, "ghost"),
        (
            Request::KillTask { framework: ghost, task: task_id("t"), grace: None },
            ErrorCode::UnknownTask,
            "ghost/t",
        ),
    ] {
        let before = stage.master.state().clone();
        let (answer, step) = stage.operator(900, request.clone());
        let rejection = answer.unwrap_err();
        assert_eq!(rejection.code, code, "{request:?}: {rejection}");
        assert!(rejection.message.contains(part), "{rejection} lacks {part:?}");
        assert!(!rejection.remedy.is_empty() || !rejection.field.is_empty(), "{rejection:?}");
        assert_eq!((&step.writes[..], step.outputs.len()), (&[][..], 1));
        assert_eq!(stage.master.state(), &before);
    }
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
    let destroy = Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) };
    for request in [destroy, wish(&|_| {}), wish(&|w| w.agent = Some(agent_id(1)))] {
        let (answer, _) = stage.operator(901, request);
        assert_eq!(answer.unwrap_err().code, ErrorCode::AgentUnreachable);
    }
}

struct Wish {
    name: &'static str,
    role: &'static str,
    size: Bytes,
    agent: Option<AgentId>,
    disk: DiskChoice,
    path: &'static str,
}

impl Default for Wish {
    fn default() -> Self {
        let (size, disk) = (mib(64), DiskChoice::Any);
        Self { name: "new", role: "storage", size, agent: None, disk, path: "data" }
    }
}

impl Wish {
    fn request(self) -> Request {
        Request::CreateVolume {
            name: vname(self.name),
            role: role(self.role),
            principal: None,
            size: self.size,
            agent: self.agent,
            disk: self.disk,
            container_path: Arc::from(self.path),
            access: berth_model::access::Access::default(),
            encrypted: false,
            import: None,
            shared: false,
        }
    }
}

/// A framework of principal `ops` with an offer that holds the volume `data`.
fn set() -> (Stage, FrameworkId, Offer) {
    set_beside(&[])
}

/// The same beside volumes that are not as they should be.
fn set_beside(others: &[(&str, VolumeState)]) -> (Stage, FrameworkId, Offer) {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    stage.make_volume(1, session(1), "data", 512);
    for (name, state) in others.iter().copied() {
        let spec = stage.make_volume(1, session(1), name, 64);
        stage.reports(1, session(1), report(&spec, state));
    }
    let mut info = framework_info("db", &["storage"]);
    info.principal = Some(principal("ops"));
    let (id, step) = stage.subscribe(50, info);
    let offer = offered(&step).remove(0);
    (stage, id, offer)
}

fn by_ops(text: &str, owner: &str) -> Resources {
    let level = || {
        berth_model::reservation::Reservation::dynamic(role(owner))
            .with_principal(Some(principal("ops")))
    };
    sum(res(text).iter().map(|r| r.push(level()).unwrap()))
}

fn read_only(mut volume: Resource) -> Resource {
    volume.disk.as_mut().unwrap().mount.as_mut().unwrap().mode = MountMode::ReadOnly;
    volume
}

fn fails_in_an_accept(action: Action, code: ErrorCode, part: &str) {
    let others = [("lost", VolumeState::Lost), ("strange", VolumeState::Quarantined)];
    let (mut stage, id, offer) = set_beside(&others);
    let before = query::agents(stage.master.state())[0].total.clone();
    let step = stage.accept(&id, 50, &[&offer], vec![action.clone()]);
    assert_eq!(answered(&step), Some(Ok(1)), "{action:?}");
    let failed = events(&step).into_iter().find_map(|event| match event {
        Event::Operation(record) => Some(record),
        _ => None,
    });
    let berth_model::operation::OperationState::Failed(rejection) = failed.unwrap().state else {
        panic!("{action:?} did not fail");
    };
    assert_eq!(rejection.code, code, "{action:?}: {rejection}");
    assert!(rejection.message.contains(part), "{rejection} lacks {part:?}");
    assert_eq!(query::agents(stage.master.state())[0].total, before, "{action:?}");
    assert_eq!(messages(&step), []);
}

#[test]
fn operations_of_an_accept_fail_one_by_one_with_their_reason() {
    let unreserved = Resource::disk(DiskSource::Root, mib(64).to_scalar().unwrap());
    let bare = unreserved.clone().with_volume(
        volume("x", "storage", 64, "p").persistence().unwrap().clone(),
        volume("x", "storage", 64, "p").disk.unwrap().mount.unwrap(),
    );
    let fraction = Resource {
        value: berth_model::resources::Value::Scalar("64.5".parse().unwrap()),
        ..volume("x", "storage", 64, "p")
    };
    for (action, code, part) in [
        (
            Action::Reserve(by_ops("cpus:3", "storage")),
            ErrorCode::InsufficientResources,
            "missing cpus:1",
        ),
        (
            Action::Reserve(by_ops("cpus:1", "web")),
            ErrorCode::InvalidRole,
            "RESERVE for role web from offers to role storage",
        ),
        (
            Action::Reserve(reserved("cpus:1", "storage")),
            ErrorCode::InvalidResources,
            "in the name of none by a framework of ops",
        ),
        (Action::Reserve(res("cpus:1")), ErrorCode::InvalidResources, "no dynamic reservation"),
        (
            Action::Unreserve(sum([volume("data", "storage", 512, "d")])),
            ErrorCode::InvalidResources,
            "names the volume data",
        ),
        (Action::Create(vec![]), ErrorCode::InvalidResources, "names no volume"),
        (Action::Create(vec![bare]), ErrorCode::NotReserved, "unreserved disk"),
        (Action::Create(vec![unreserved]), ErrorCode::InvalidResources, "no volume name"),
        (Action::Create(vec![fraction]), ErrorCode::InvalidResources, "whole MiB"),
        (
            Action::Create(vec![volume("x", "storage", 64, "p")]),
            ErrorCode::InsufficientResources,
            "missing disk(storage):64",
        ),
        (
            Action::Create(vec![volume("x", "storage", 64, "../p")]),
            ErrorCode::InvalidPath,
            "\"..\"",
        ),
        (
            Action::Create(vec![read_only(volume("x", "storage", 64, "p"))]),
            ErrorCode::InvalidPath,
            "read-only",
        ),
        (
            Action::Create(vec![volume("data", "storage", 64, "p")]),
            ErrorCode::VolumeExists,
            "volume data of role storage exists",
        ),
        (
            Action::Create(vec![volume("x", "storage", 64, "p"), volume("x", "storage", 32, "q")]),
            ErrorCode::VolumeExists,
            "twice",
        ),
        (Action::Destroy(vec![]), ErrorCode::InvalidResources, "names no volume"),
        (
            Action::Destroy(vec![volume("nope", "storage", 64, "p")]),
            ErrorCode::UnknownVolume,
            "nope",
        ),
        // Frameworks take UNKNOWN_VOLUME for the word that nothing is left of it.
        (
            Action::Destroy(vec![volume("lost", "storage", 64, "p")]),
            ErrorCode::VolumeNotReady,
            "volume lost of role storage is LOST and not in the accepted offers",
        ),
        (
            Action::Destroy(vec![volume("strange", "storage", 64, "p")]),
            ErrorCode::VolumeNotReady,
            "volume strange of role storage is QUARANTINED and not in the accepted offers",
        ),
    ] {
        fails_in_an_accept(action, code, part);
    }
}

#[test]
fn tasks_that_cannot_start_are_errors_and_the_others_start() {
    let basis = || res("cpus:0.5;mem:64");
    let changed = |change: &dyn Fn(&mut TaskInfo)| {
        let mut info = task("t", agent_id(1), basis());
        change(&mut info);
        info
    };
    let twice = |a: &str, b: &str| {
        let two = [volume("data", "storage", 512, a), volume("more", "storage", 64, b)];
        changed(&|t| t.resources = plus(&basis(), &sum(two.clone())))
    };
    for (info, code, part) in [
        (
            changed(&|t| t.agent = agent_id(2)),
            ErrorCode::InvalidArgument,
            "the offers are of agent",
        ),
        (changed(&|t| t.id = task_id("live")), ErrorCode::TaskExists, "is TASK_STAGING"),
        (changed(&|t| t.resources = Resources::new()), ErrorCode::InvalidResources, "no resources"),
        (
            changed(&|t| t.resources = res("cpus:9")),
            ErrorCode::InsufficientResources,
            "missing cpus:7.5",
        ),
        (
            changed(&|t| t.resources = plus(&basis(), &sum([volume("nope", "storage", 64, "d")]))),
            ErrorCode::InsufficientResources,
            "nope",
        ),
        (
            changed(&|t| t.command.program = Program::Shell(" ".to_owned())),
            ErrorCode::InvalidArgument,
            "command is empty",
        ),
        (
            changed(&|t| drop(t.command.env.insert("A=B".to_owned(), String::new()))),
            ErrorCode::InvalidArgument,
            "environment",
        ),
        (
            changed(&|t| t.resources = plus(&basis(), &sum([volume("data", "storage", 512, "/")]))),
            ErrorCode::InvalidPath,
            "container path is /",
        ),
        (twice("data", "data"), ErrorCode::InvalidPath, "over the volume at data"),
        (twice("data", "data/inner"), ErrorCode::InvalidPath, "over the volume at data"),
    ] {
        let (mut stage, id, _) = set();
        stage.make_volume(1, session(1), "more", 64);
        stage.advance(Duration::from_secs(6));
        let offer = stage.offers();
        let offer: Vec<&Offer> = offer.iter().collect();
        let live = Action::Launch(vec![task("live", agent_id(1), basis())]);
        let step = stage.accept(&id, 50, &offer, vec![live, Action::Launch(vec![info.clone()])]);
        let launched =
            messages(&step).iter().filter(|m| matches!(m, ToAgent::Launch { .. })).count();
        assert_eq!(launched, 1, "{info:?}");
        let error = events(&step).into_iter().find_map(|event| match event {
            Event::Status(status) => status.error,
            _ => None,
        });
        if code == ErrorCode::TaskExists {
            assert_eq!(error, None, "the live task is not spoken of");
        } else {
            let rejection = error.unwrap();
            assert_eq!(rejection.code, code, "{rejection}");
            assert!(rejection.message.contains(part), "{rejection} lacks {part:?}");
            assert_eq!(
                statuses(&step),
                [(info.id.to_string(), TaskState::Error, TaskReason::TaskInvalid)]
            );
        }
        assert_eq!(operations(&step)[1], ("LAUNCH", "FAILED", Some(code)));
    }
}

#[test]
fn stale_offers_void_the_call_and_drop_its_tasks() {
    let (mut stage, id, offer) = set();
    let stale = OfferId { epoch: 0, number: 3 };
    let accept = |offers: Vec<OfferId>| Call::Accept {
        offers,
        operations: vec![OfferOperation {
            id: op(77),
            action: Action::Launch(vec![task("t", agent_id(1), res("cpus:1;mem:32"))]),
        }],
        filters: Filters::default(),
        terms: Terms::default(),
    };
    for offers in [vec![], vec![offer.id, offer.id], vec![stale], vec![offer.id, stale]] {
        let step = stage.call(&id, 50, accept(offers));
        assert_eq!(answered(&step), Some(Err(ErrorCode::StaleOffer)));
        assert_eq!(
            statuses(&step),
            [("t".to_owned(), TaskState::Dropped, TaskReason::InvalidOffers)]
        );
        assert_eq!((messages(&step), &step.writes[..]), (vec![], &[][..]));
    }
    let step = stage.advance(Duration::from_secs(1));
    let offer = offered(&step).remove(0);
    let step = stage.call(&id, 50, accept(vec![offer.id]));
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)], "a refused call used no id up");
    let step = stage.call(&id, 50, accept(vec![offer.id]));
    assert_eq!((answered(&step), statuses(&step)), (Some(Ok(1)), vec![]), "a repetition");
}

#[test]
fn a_request_that_comes_twice_acts_once_even_after_a_restart() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let request = create_request("data", "storage", 512);
    let (answer, step) = stage.operator(5, request.clone());
    let spec = ensured(&step).unwrap();
    assert_eq!(answer, Ok(op(5)));
    let (answer, step) = stage.operator(5, request.clone());
    assert_eq!((answer, &step.writes[..]), (Ok(op(5)), &[][..]));
    assert_eq!(step.outputs.len(), 1);
    stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    stage.restart();
    let (answer, step) = stage.operator(5, request);
    assert_eq!((answer, &step.writes[..]), (Ok(op(5)), &[][..]));
    let (answer, _) = stage.operator(5, create_request("other", "storage", 512));
    assert_eq!(answer.unwrap_err().code, ErrorCode::RequestIdReused);
    assert_eq!(stage.volume_states(), [("data".to_owned(), VolumeState::Ready)]);
}

#[test]
fn an_accept_that_comes_twice_acts_once_and_another_under_its_id_is_refused() {
    let (mut stage, id, offer) = set();
    let accept = |offers: Vec<OfferId>, text: &str| Call::Accept {
        offers,
        operations: vec![OfferOperation {
            id: op(77),
            action: Action::Reserve(by_ops(text, "storage")),
        }],
        filters: Filters { refuse: Duration::ZERO },
        terms: Terms::default(),
    };
    let step = stage.call(&id, 50, accept(vec![offer.id], "cpus:1"));
    assert_eq!(operations(&step), [("RESERVE", "DONE", None)]);
    stage.advance(Duration::from_secs(1));
    let next = stage.offers().remove(0);
    let step = stage.call(&id, 50, accept(vec![next.id], "cpus:2"));
    assert_eq!(answered(&step), Some(Err(ErrorCode::RequestIdReused)));
    assert_eq!(stage.offers(), std::slice::from_ref(&next), "nothing changed");
    let step = stage.call(&id, 50, accept(vec![next.id], "cpus:1"));
    assert_eq!((answered(&step), &step.writes[..]), (Some(Ok(1)), &[][..]));
    let total = query::agents(stage.master.state())[0].total.clone();
    assert!(total.contains(&by_ops("cpus:1", "storage")) && total.contains(&res("cpus:1")));
    assert_eq!(stage.offers(), [], "the offers of the repetition are used as well");
}

#[test]
fn only_so_many_ended_operations_are_remembered() {
    let mut stage = Stage::with(|config| config.operations_kept = 3);
    stage.register(1, MACHINE);
    for n in 0..6 {
        let resources = reserved("cpus:0.1", "storage");
        let (answer, _) = stage.operator(n, Request::Reserve { agent: agent_id(1), resources });
        assert_eq!(answer, Ok(op(n)));
        stage.advance(Duration::from_millis(1));
    }
    let kept: Vec<OperationId> =
        query::operations(stage.master.state()).into_iter().map(|o| o.id).collect();
    assert_eq!(kept, [op(3), op(4), op(5)]);
    let recorded = stage
        .registry
        .keys()
        .filter(|k| matches!(k, berth_model::record::RegistryKey::Operation(_)));
    assert_eq!(recorded.count(), 3);
}

#[test]
fn a_task_that_is_out_of_sight_is_not_shown_as_ready() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let (framework, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let offer = offered(&step).remove(0);
    let tasks = vec![task("t", agent_id(1), res("cpus:1;mem:64"))];
    stage.accept(&framework, 50, &[&offer], vec![Action::Launch(tasks)]);
    let checked = Some(true);
    let running = stage::status(&framework, "t", agent_id(1), TaskState::Running, 77);
    let running = TaskStatus { ready: checked, healthy: checked, ..running };
    let killing = TaskStatus { state: TaskState::Killing, ..running.clone() };
    let shown = |stage: &Stage| {
        let status = query::tasks(stage.master.state()).remove(0).status;
        (status.state, status.ready, status.healthy)
    };
    for (says, want) in [
        (running, (TaskState::Running, checked, checked)),
        (killing, (TaskState::Killing, None, None)),
    ] {
        stage.agent_says(1, session(1), FromAgent::Status(says));
        assert_eq!(shown(&stage), want);
    }
    stage.advance(Duration::from_secs(80));
    assert_eq!(shown(&stage), (TaskState::Unreachable, None, None));
}

#[test]
fn output_is_read_from_the_tasks_agent_or_refused() {
    let (mut stage, id, offer) = set();
    let launch = Action::Launch(vec![task("t", agent_id(1), res("cpus:1;mem:32"))]);
    stage.accept(&id, 50, &[&offer], vec![launch]);
    let read = |read, name: &str| Input::ReadFile {
        read,
        framework: id.clone(),
        task: task_id(name),
        stream: berth_model::link::OutputStream::Stdout,
        offset: 3,
        length: 10,
    };
    let answer = |step: &berth_master_core::Step| {
        step.outputs.iter().find_map(|o| match o {
            Output::FileData { read, offset, data } => {
                Some((*read, *offset, data.clone().map_err(|r| r.code)))
            },
            _ => None,
        })
    };
    assert_eq!(answer(&stage.put(read(1, "x"))), Some((1, 0, Err(ErrorCode::UnknownTask))));
    let step = stage.put(read(2, "t"));
    assert_eq!(messages(&step).len(), 1);
    let data = FromAgent::FileData { read: 2, offset: 3, data: Ok(b"hello".to_vec()) };
    let step = stage.agent_says(1, session(1), data);
    assert_eq!(answer(&step), Some((2, 3, Ok(b"hello".to_vec()))));
    stage.put(read(3, "t"));
    let step = stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
    assert_eq!(answer(&step), Some((3, 0, Err(ErrorCode::AgentUnreachable))));
}

#[test]
fn a_launch_that_waits_can_be_killed_and_ends_with_its_master() {
    for restart in [false, true] {
        let (mut stage, id, offer) = set();
        let more = volume("more", "storage", 64, "more");
        let mine = plus(&res("cpus:1;mem:32"), &sum([with_stack(more.clone())]));
        let actions = vec![
            Action::Reserve(by_ops("disk:64", "storage")),
            Action::Create(vec![with_stack(more)]),
            Action::Launch(vec![task("t", agent_id(1), mine)]),
        ];
        let step = stage.accept(&id, 50, &[&offer], actions);
        assert_eq!(operations(&step)[2], ("LAUNCH", "ACCEPTED", None));
        if restart {
            let step = stage.restart();
            assert_eq!(operations(&step), [("LAUNCH", "FAILED", Some(ErrorCode::Unavailable))]);
            continue;
        }
        let kill = Call::Kill { task: task_id("t"), agent: None, grace: None };
        let step = stage.call(&id, 50, kill);
        assert_eq!(
            statuses(&step),
            [("t".to_owned(), TaskState::Killed, TaskReason::KillRequested)]
        );
        assert_eq!(messages(&step), []);
        let spec = stage.volume("more").volume.spec;
        let step = stage.reports(1, session(1), report(&spec, VolumeState::Ready));
        assert_eq!(messages(&step), [], "a killed task does not start later");
    }
}

/// The volume on disk that `ops` reserved.
fn with_stack(volume: Resource) -> Resource {
    let stack = by_ops("disk:1", "storage").iter().next().unwrap().stack;
    volume.with_stack(stack)
}
