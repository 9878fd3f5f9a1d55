//! Snapshots from the operator's call to the agent's report, and what holds them or lets them go.

mod stage;

use berth_master_core::Step;
use berth_master_core::query;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{SessionId, SnapshotId, SnapshotName};
use berth_model::link::{Registration, ToAgent};
use berth_model::operator::{Request, VolumeChoice};
use berth_model::schedule::{Keep, SchedulePlan};
use berth_model::snapshot::{Origin, SnapshotReport, SnapshotSpec, SnapshotState};
use berth_model::volume::{VolumeReport, VolumeSpec, VolumeState};
use stage::{Stage, agent_id, info, messages, op, operations, report, session, vname};
use std::sync::Arc;
use std::time::Duration;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";

fn said(spec: &SnapshotSpec, state: SnapshotState) -> SnapshotReport {
    SnapshotReport {
        spec: spec.clone(),
        state,
        operation: None,
        error: None,
        host_path: Arc::from("/srv/.snapshots/x"),
        group: None,
    }
}

fn tells(stage: &mut Stage, over: SessionId, report: SnapshotReport) -> Step {
    stage.reports_snapshot(1, over, report)
}

fn states(stage: &Stage) -> Vec<(String, SnapshotState, bool)> {
    query::snapshots(stage.master.state())
        .into_iter()
        .map(|v| (v.snapshot.spec.name.to_string(), v.snapshot.state, v.snapshot.held))
        .collect()
}

fn take(volume: &VolumeSpec, name: &str) -> Request {
    Request::CreateSnapshot {
        volume: VolumeChoice::Id(volume.id),
        name: Some(SnapshotName::new(name).expect("a valid name")),
        principal: None,
        freeze: None,
    }
}

fn asked(step: &Step) -> SnapshotSpec {
    let found = messages(step).into_iter().find_map(|message| match message {
        ToAgent::EnsureSnapshot { spec, .. } => Some(spec),
        _ => None,
    });
    found.expect("a message to the agent")
}

/// A READY volume with a READY snapshot.
fn kept(stage: &mut Stage) -> (VolumeSpec, SnapshotSpec) {
    stage.register(1, MACHINE);
    let volume = stage.make_volume(1, session(1), "data", 1024);
    let (answer, step) = stage.operator(20, take(&volume, "one"));
    assert_eq!((answer, operations(&step)), (Ok(op(20)), vec![("SNAPSHOT", "ACCEPTED", None)]));
    let snapshot = asked(&step);
    assert_eq!((snapshot.name.as_str(), &snapshot.of), ("one", &volume));
    let step = tells(stage, session(1), said(&snapshot, SnapshotState::Creating));
    assert_eq!(operations(&step), []);
    let step = tells(stage, session(1), said(&snapshot, SnapshotState::Ready));
    assert_eq!(operations(&step), [("SNAPSHOT", "DONE", None)]);
    (volume, snapshot)
}

fn code(answer: Result<berth_model::id::OperationId, Rejection>) -> ErrorCode {
    answer.expect_err("refused").code
}

#[test]
fn a_snapshot_is_accepted_then_ready_then_gone() {
    let mut stage = Stage::new();
    let (volume, snapshot) = kept(&mut stage);
    assert_eq!(states(&stage), [("one".to_owned(), SnapshotState::Ready, false)]);
    let (answer, _) = stage.operator(21, take(&volume, "one"));
    assert_eq!(code(answer), ErrorCode::SnapshotExists);

    let request = Request::DeleteSnapshot { snapshot: snapshot.id };
    let (answer, step) = stage.operator(22, request.clone());
    assert_eq!(answer, Ok(op(22)));
    let message = ToAgent::DeleteSnapshot { spec: snapshot.clone(), operation: op(22) };
    assert_eq!(messages(&step), std::slice::from_ref(&message));
    let (again, _) = stage.operator(23, request.clone());
    assert_eq!(code(again), ErrorCode::SnapshotNotReady);

    // A restart of the master and a new connection of the agent repeat it.
    stage.restart();
    let over = session(stage.fresh());
    let registration = stage.registration(info(agent_id(1), MACHINE), over);
    let step = stage.register_as(Registration {
        volumes: vec![report(&volume, VolumeState::Ready)],
        snapshots: vec![said(&snapshot, SnapshotState::Ready)],
        ..registration
    });
    assert_eq!(messages(&step)[1..], [message]);
    let step = tells(&mut stage, over, said(&snapshot, SnapshotState::Gone));
    assert_eq!(operations(&step), [("DELETE_SNAPSHOT", "DONE", None)]);
    assert_eq!(messages(&step), [ToAgent::ForgetSnapshot { snapshot: snapshot.id }]);
    assert_eq!(states(&stage), []);
    let (answer, _) = stage.operator(24, request);
    assert_eq!(code(answer), ErrorCode::UnknownSnapshot);
}

#[test]
fn one_that_cannot_be_taken_is_failed_with_the_reason_and_its_name_is_free() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let volume = stage.make_volume(1, session(1), "data", 1024);
    let (_, step) = stage.operator(20, take(&volume, "one"));
    let error = Rejection::new(ErrorCode::Unsupported, "driver directory takes no snapshots");
    let failed =
        SnapshotReport { error: Some(error), ..said(&asked(&step), SnapshotState::Failed) };
    let step = tells(&mut stage, session(1), failed);
    assert_eq!(operations(&step), [("SNAPSHOT", "FAILED", Some(ErrorCode::Unsupported))]);
    assert_eq!(states(&stage), [("one".to_owned(), SnapshotState::Failed, false)]);
    let (answer, _) = stage.operator(21, take(&volume, "one"));
    assert_eq!(answer, Ok(op(21)));
    assert_eq!(states(&stage), [("one".to_owned(), SnapshotState::Creating, false)]);
}

#[test]
fn nothing_that_ends_in_the_deletion_of_a_held_snapshot_is_accepted() {
    let mut stage = Stage::new();
    let (volume, snapshot) = kept(&mut stage);
    let hold = |held| Request::HoldSnapshot { snapshot: snapshot.id, held };
    let (_, step) = stage.operator(30, hold(true));
    assert_eq!(operations(&step), [("HOLD_SNAPSHOT", "DONE", None)]);
    assert_eq!(messages(&step), []);
    let delete = Request::DeleteSnapshot { snapshot: snapshot.id };
    let destroy = Request::DestroyVolume { volume: VolumeChoice::Id(volume.id) };
    for (id, request) in [(31, delete.clone()), (32, destroy.clone())] {
        let (answer, step) = stage.operator(id, request);
        assert_eq!((code(answer), step.writes), (ErrorCode::SnapshotHeld, vec![]));
    }
    let (answer, _) = stage.operator(33, hold(false));
    assert_eq!(answer, Ok(op(33)));
    let (answer, _) = stage.operator(34, destroy);
    assert_eq!(answer, Ok(op(34)));
    stage.reports(1, session(1), report(&volume, VolumeState::Trashed));
    let (answer, _) = stage.operator(35, hold(true));
    assert_eq!(code(answer), ErrorCode::VolumeNotReady, "it is bound to go with its volume");
    // On the way out of the trash it may still fall back: the agent, which knows no holds, would purge it there.
    let (answer, _) = stage.operator(36, Request::RestoreVolume { volume: volume.id });
    assert_eq!(answer, Ok(op(36)));
    let (answer, _) = stage.operator(37, hold(true));
    assert_eq!(code(answer), ErrorCode::VolumeNotReady, "it is not out of the trash yet");
}

#[test]
fn snapshots_stay_while_their_volume_is_in_the_trash_and_die_with_its_purge() {
    let mut stage = Stage::new();
    let (volume, snapshot) = kept(&mut stage);
    let _answer =
        stage.operator(40, Request::DestroyVolume { volume: VolumeChoice::Id(volume.id) });
    stage.reports(1, session(1), report(&volume, VolumeState::Trashed));
    assert_eq!(states(&stage), [("one".to_owned(), SnapshotState::Ready, false)]);
    let (_, step) = stage.operator(41, Request::PurgeVolume { volume: volume.id, wipe: None });
    let record = query::operation(stage.master.state(), op(41)).unwrap();
    assert_eq!(record.object, "volume data of role storage with 1 snapshots");
    assert_eq!(messages(&step).len(), 1, "the agent buries them by itself");
    stage.reports(1, session(1), report(&volume, VolumeState::Gone));
    tells(&mut stage, session(1), said(&snapshot, SnapshotState::Deleting));
    assert_eq!(states(&stage), [("one".to_owned(), SnapshotState::Deleting, false)]);
    let step = tells(&mut stage, session(1), said(&snapshot, SnapshotState::Gone));
    assert_eq!(messages(&step), [ToAgent::ForgetSnapshot { snapshot: snapshot.id }]);
    assert_eq!(states(&stage), []);
}

#[test]
fn a_missing_one_is_lost_and_an_unknown_one_is_kept() {
    let mut stage = Stage::new();
    let (volume, snapshot) = kept(&mut stage);
    let unknown = SnapshotSpec {
        id: SnapshotId::from_u128(77),
        name: SnapshotName::new("stray").unwrap(),
        of: volume.clone(),
    };
    let over = session(stage.fresh());
    stage.put(berth_master_core::Input::AgentDisconnected {
        agent: agent_id(1),
        session: session(1),
    });
    let registration = stage.registration(info(agent_id(1), MACHINE), over);
    let step = stage.register_as(Registration {
        volumes: vec![report(&volume, VolumeState::Ready)],
        snapshots: vec![said(&unknown, SnapshotState::Ready)],
        ..registration
    });
    assert_eq!(messages(&step).len(), 1, "nothing is asked of the agent: {:?}", messages(&step));
    let mut now = states(&stage);
    now.sort();
    assert_eq!(
        now,
        [
            ("one".to_owned(), SnapshotState::Lost, false),
            ("stray".to_owned(), SnapshotState::Quarantined, false)
        ]
    );
    let (answer, _) = stage.operator(51, Request::DeleteSnapshot { snapshot: unknown.id });
    assert_eq!(code(answer), ErrorCode::SnapshotNotReady);
    tells(&mut stage, over, said(&snapshot, SnapshotState::Ready));
    assert!(states(&stage).contains(&("one".to_owned(), SnapshotState::Ready, false)), "found");
}

fn derived(step: &Step) -> (VolumeSpec, Origin) {
    let found = messages(step).into_iter().find_map(|message| match message {
        ToAgent::DeriveVolume { spec, origin, .. } => Some((spec, *origin)),
        _ => None,
    });
    found.expect("a message to the agent")
}

#[test]
fn a_roll_back_is_the_next_life_and_a_failed_one_leaves_the_last() {
    let mut stage = Stage::new();
    let (volume, snapshot) = kept(&mut stage);
    let roll_back =
        Request::RollBackVolume { volume: VolumeChoice::Id(volume.id), snapshot: snapshot.id };
    let (answer, step) = stage.operator(60, roll_back.clone());
    assert_eq!(answer, Ok(op(60)));
    let (next, origin) = derived(&step);
    assert_eq!((next.generation, &next.name), (2, &volume.name));
    let Origin::RollBack { snapshot: to, safety } = origin else { panic!("{origin:?}") };
    assert_eq!((to, &safety.of), (snapshot.clone(), &volume));
    assert!(safety.name.as_str().starts_with("before-rollback-"), "{}", safety.name);
    assert_eq!(stage.volume("data").volume.state, VolumeState::Creating);
    let (busy, _) = stage.operator(61, Request::DeleteSnapshot { snapshot: snapshot.id });
    assert_eq!(code(busy), ErrorCode::SnapshotNotReady, "it is being rolled back to");

    // The agent could not: the volume goes on as it was, and nothing is left of the safety snapshot.
    let error = Rejection::new(ErrorCode::VolumeInUse, "used by a task");
    let refused = VolumeReport {
        operation: Some(op(60)),
        error: Some(error),
        ..report(&volume, VolumeState::Ready)
    };
    // What it says of an earlier operation ends nothing.
    let earlier = VolumeReport { operation: Some(op(59)), ..refused.clone() };
    assert_eq!(operations(&stage.reports(1, session(1), earlier)), []);
    let step = stage.reports(1, session(1), refused);
    assert_eq!(operations(&step), [("ROLLBACK", "FAILED", Some(ErrorCode::VolumeInUse))]);
    let now = stage.volume("data").volume;
    assert_eq!((now.state, now.spec.generation, now.origin), (VolumeState::Ready, 1, None));
    assert_eq!(states(&stage), [("one".to_owned(), SnapshotState::Ready, false)]);

    let (_, step) = stage.operator(62, roll_back);
    let (next, origin) = derived(&step);
    let Origin::RollBack { safety, .. } = origin else { panic!("{origin:?}") };
    let step = tells(&mut stage, session(1), said(&safety, SnapshotState::Ready));
    assert_eq!(operations(&step), [], "the safety snapshot is not the end of it");
    let step = stage.reports(1, session(1), report(&next, VolumeState::Ready));
    assert_eq!(operations(&step), [("ROLLBACK", "DONE", None)]);
    let now = stage.volume("data").volume;
    assert_eq!((now.state, now.spec.generation, now.origin), (VolumeState::Ready, 2, None));
    assert_eq!(states(&stage).len(), 2);
}

#[test]
fn a_roll_back_is_asked_for_again_until_the_agent_has_done_it() {
    let mut stage = Stage::new();
    let (volume, snapshot) = kept(&mut stage);
    let (_, step) = stage.operator(
        70,
        Request::RollBackVolume { volume: VolumeChoice::Id(volume.id), snapshot: snapshot.id },
    );
    let sent = messages(&step);
    let (next, origin) = derived(&step);
    let Origin::RollBack { safety, .. } = origin else { panic!("{origin:?}") };
    stage.restart();
    let over = session(stage.fresh());
    let registration = stage.registration(info(agent_id(1), MACHINE), over);
    let step = stage.register_as(Registration {
        volumes: vec![report(&volume, VolumeState::Ready)],
        snapshots: vec![said(&snapshot, SnapshotState::Ready)],
        ..registration
    });
    assert_eq!(messages(&step)[1..], sent);
    // The safety snapshot fails: so does the roll back, at once.
    let error = Rejection::new(ErrorCode::DiskFull, "no space");
    let failed = SnapshotReport { error: Some(error), ..said(&safety, SnapshotState::Failed) };
    let step = tells(&mut stage, over, failed);
    assert_eq!(operations(&step), [("ROLLBACK", "FAILED", Some(ErrorCode::DiskFull))]);
    assert_eq!(stage.volume("data").volume.state, VolumeState::Ready);
    assert_eq!(next.generation, 2);
}

#[test]
fn a_registry_from_a_backup_rolls_nothing_back() {
    let mut stage = Stage::new();
    let (volume, snapshot) = kept(&mut stage);
    let (_, step) = stage.operator(
        70,
        Request::RollBackVolume { volume: VolumeChoice::Id(volume.id), snapshot: snapshot.id },
    );
    let sent = messages(&step);
    assert_eq!(sent.len(), 1, "{sent:?}");
    stage.restart();
    let over = session(stage.fresh());
    let registration = stage.registration(info(agent_id(1), MACHINE), over);
    let step = stage.register_as(Registration {
        epoch: 99,
        volumes: vec![report(&volume, VolumeState::Ready)],
        snapshots: vec![said(&snapshot, SnapshotState::Ready)],
        ..registration
    });
    assert!(query::clusters(stage.master.state())[0].safe_mode.is_some());
    assert_eq!(messages(&step).len(), 1, "only that it is registered: {step:?}");
}

#[test]
fn a_clone_is_a_volume_of_its_own_with_room_reserved() {
    let mut stage = Stage::new();
    let (volume, snapshot) = kept(&mut stage);
    let clone = |name: &str| Request::CloneVolume {
        snapshot: snapshot.id,
        name: vname(name),
        role: None,
        principal: None,
        container_path: Arc::from("data"),
    };
    let (taken, _) = stage.operator(80, clone("data"));
    assert_eq!(code(taken), ErrorCode::VolumeExists);
    let (answer, step) = stage.operator(81, clone("copy"));
    assert_eq!(answer, Ok(op(81)));
    let (spec, origin) = derived(&step);
    assert_eq!(origin, Origin::Clone { snapshot: snapshot.clone() });
    assert_eq!((spec.generation, spec.size, &spec.role), (1, volume.size, &volume.role));
    assert_ne!(spec.id, volume.id);
    let _answer =
        stage.operator(82, Request::DestroyVolume { volume: VolumeChoice::Id(volume.id) });
    stage.reports(1, session(1), report(&volume, VolumeState::Trashed));
    let (answer, _) = stage.operator(83, Request::PurgeVolume { volume: volume.id, wipe: None });
    assert_eq!(code(answer), ErrorCode::SnapshotNotReady, "a volume is being made from it");
    let step = stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    assert_eq!(operations(&step), [("CLONE", "DONE", None)]);
    let (answer, _) = stage.operator(84, Request::PurgeVolume { volume: volume.id, wipe: None });
    assert_eq!(answer, Ok(op(84)));
}

#[test]
fn a_volume_whose_disk_keeps_none_is_refused_a_snapshot_and_a_schedule_at_once() {
    let mut stage = Stage::new();
    let mut told = info(agent_id(1), MACHINE);
    let why = "a plain directory has one content";
    told.disks[0].no_snapshots.insert(Arc::from("directory"), why.to_owned());
    let over = session(1);
    let registration = stage.registration(told, over);
    stage.register_as(registration);
    let volume = stage.make_volume(1, over, "data", 1024);
    let text = format!(
        "volume data ({}) can have no snapshots: it was made by driver directory on disk ROOT of agent {}, and {why}",
        volume.id,
        agent_id(1)
    );
    let plan = SchedulePlan {
        every: Duration::from_secs(60),
        keep: Keep { last: 1, ..Keep::default() },
        freeze: None,
    };
    let schedule =
        Request::SetSchedule { volume: VolumeChoice::Id(volume.id), plan, principal: None };
    for (id, request) in [(20, take(&volume, "one")), (21, schedule.clone())] {
        let (answer, step) = stage.operator(id, request);
        let refused = answer.expect_err("refused");
        assert_eq!((refused.code, refused.message.as_str()), (ErrorCode::Unsupported, &*text));
        assert_eq!((step.writes, states(&stage)), (vec![], vec![]));
    }
    // What made the volume counts, not what the disk makes now, and an agent that says nothing is believed to keep them.
    let mut told = info(agent_id(1), MACHINE);
    told.disks[0].no_snapshots.insert(Arc::from("image:xfs"), why.to_owned());
    stage.restart();
    let over = session(stage.fresh());
    let volumes = vec![report(&volume, VolumeState::Ready)];
    let registration = Registration { volumes, ..stage.registration(told, over) };
    stage.register_as(registration);
    for (id, request) in [(22, take(&volume, "one")), (23, schedule)] {
        assert_eq!(stage.operator(id, request).0, Ok(op(id)));
    }
}
