//! Schedules of snapshots: when one is taken, what is deleted, and what is not.

mod stage;

use berth_master_core::{Step, query};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{OperationId, SessionId, VolumeId};
use berth_model::link::{Registration, ToAgent};
use berth_model::operator::{Request, VolumeChoice};
use berth_model::record::RegistryRecord;
use berth_model::schedule::{Keep, SchedulePlan, ScheduleResult};
use berth_model::snapshot::{SnapshotReport, SnapshotSpec, SnapshotState};
use berth_model::view::ScheduleView;
use berth_model::volume::{VolumeReport, VolumeSpec, VolumeState};
use stage::{Stage, agent_id, info, messages, op, operations, principal, report, session};
use std::sync::Arc;
use std::time::Duration;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";
const MINUTE: Duration = Duration::from_secs(60);

fn plan(seconds: u64, last: u32) -> SchedulePlan {
    let keep = Keep { last, ..Keep::default() };
    SchedulePlan { every: Duration::from_secs(seconds), keep, freeze: None }
}

fn set(volume: VolumeId, plan: SchedulePlan) -> Request {
    let volume = VolumeChoice::Id(volume);
    Request::SetSchedule { volume, plan, principal: Some(principal("dba")) }
}

fn said(spec: &SnapshotSpec, state: SnapshotState) -> SnapshotReport {
    let (operation, error) = (None, None);
    SnapshotReport {
        spec: spec.clone(),
        state,
        operation,
        error,
        host_path: Arc::from("/x"),
        group: None,
    }
}

fn view(stage: &Stage) -> ScheduleView {
    query::schedules(stage.master.state()).remove(0)
}

/// Names of the volume's snapshots that are in this state, oldest first.
fn named(stage: &Stage, state: SnapshotState) -> Vec<String> {
    let mut views = query::snapshots(stage.master.state());
    views.retain(|view| view.snapshot.state == state);
    let mut names: Vec<String> =
        views.into_iter().map(|view| view.snapshot.spec.name.to_string()).collect();
    names.sort();
    names
}

fn taken(step: &Step) -> Vec<SnapshotSpec> {
    let messages = messages(step).into_iter();
    let spec = |message| match message {
        ToAgent::EnsureSnapshot { spec, .. } => Some(spec),
        _ => None,
    };
    messages.filter_map(spec).collect()
}

fn deleted(step: &Step) -> Vec<SnapshotSpec> {
    let messages = messages(step).into_iter();
    let spec = |message| match message {
        ToAgent::DeleteSnapshot { spec, .. } => Some(spec),
        _ => None,
    };
    messages.filter_map(spec).collect()
}

/// An agent that does what it is told at once; answers what it deleted.
fn obey(stage: &mut Stage, over: SessionId, step: &Step) -> Vec<String> {
    let mut gone = Vec::new();
    let (mut take, mut delete) = (taken(step), deleted(step));
    while !take.is_empty() || !delete.is_empty() {
        let mut next = Vec::new();
        for spec in take.drain(..) {
            next.push(stage.reports_snapshot(1, over, said(&spec, SnapshotState::Ready)));
        }
        for spec in delete.drain(..) {
            gone.push(spec.name.to_string());
            next.push(stage.reports_snapshot(1, over, said(&spec, SnapshotState::Gone)));
        }
        for step in next {
            take.extend(taken(&step));
            delete.extend(deleted(&step));
        }
    }
    gone
}

/// A master that gives no agent up: these scripts let hours pass.
fn patient() -> Stage {
    Stage::with(|config| config.agent_timeout = MINUTE * 100_000)
}

/// A volume with a schedule; the stage's clock stands at 1000 s, 40 s past a multiple of a minute.
fn scheduled(stage: &mut Stage, plan: SchedulePlan) -> VolumeSpec {
    stage.register(1, MACHINE);
    let volume = stage.make_volume(1, session(1), "data", 1024);
    let (answer, step) = stage.operator(20, set(volume.id, plan));
    assert_eq!((answer, operations(&step)), (Ok(op(20)), vec![("SET_SCHEDULE", "DONE", None)]));
    assert_eq!(messages(&step), []);
    volume
}

#[test]
fn a_snapshot_is_taken_at_each_multiple_and_the_oldest_goes() {
    let mut stage = patient();
    let volume = scheduled(&mut stage, plan(60, 2));
    assert_eq!(view(&stage).next.map(|at| at.ms()), Some(1_020_000));
    let step = stage.advance(Duration::from_millis(19_999));
    assert_eq!(messages(&step), []);

    let step = stage.advance(Duration::from_millis(1));
    assert_eq!(operations(&step), [("SNAPSHOT", "ACCEPTED", None)]);
    let spec = taken(&step).remove(0);
    assert_eq!((spec.name.as_str(), &spec.of), ("scheduled-19700101-001700", &volume));
    let snapshot = query::snapshots(stage.master.state()).remove(0).snapshot;
    assert_eq!(snapshot.scheduled.map(|at| at.ms()), Some(1_020_000));
    assert_eq!(snapshot.principal, Some(principal("dba")));
    // Nothing more happens while it is under way, even when the next time comes.
    assert_eq!(messages(&stage.advance(MINUTE)), []);
    // Then the latest time is taken at once.
    let step = stage.reports_snapshot(1, session(1), said(&spec, SnapshotState::Ready));
    let names: Vec<String> = taken(&step).iter().map(|spec| spec.name.to_string()).collect();
    assert_eq!(names, ["scheduled-19700101-001800"]);
    assert_eq!(obey(&mut stage, session(1), &step), Vec::<String>::new());
    let step = stage.advance(MINUTE);
    assert_eq!(obey(&mut stage, session(1), &step), ["scheduled-19700101-001700"]);
    let left = ["scheduled-19700101-001800", "scheduled-19700101-001900"];
    assert_eq!(named(&stage, SnapshotState::Ready), left);
    let view = view(&stage);
    assert_eq!((view.kept, view.newest.map(|at| at.ms())), (2, Some(1_140_000)));
    assert!(matches!(view.schedule.last.unwrap().result, ScheduleResult::Taken(_)));
}

#[test]
fn times_missed_while_no_master_ran_become_one() {
    let mut stage = patient();
    let volume = scheduled(&mut stage, plan(60, 5));
    stage.now = stage.now.after(MINUTE * 100);
    let step = stage.restart();
    // The agent is not there yet: nothing is taken and nothing has failed.
    assert_eq!((taken(&step).len(), view(&stage).schedule.last), (0, None));
    let obstacle = view(&stage).obstacle.map(|why| why.code);
    assert_eq!((obstacle, view(&stage).next), (Some(ErrorCode::AgentUnreachable), None));
    let over = session(stage.fresh());
    let registration = stage.registration(info(agent_id(1), MACHINE), over);
    let volumes = vec![report(&volume, VolumeState::Ready)];
    let step = stage.register_as(Registration { volumes, ..registration });
    assert_eq!(taken(&step).len(), 1);
    obey(&mut stage, over, &step);
    assert_eq!(named(&stage, SnapshotState::Ready), ["scheduled-19700101-015600"]);
    // The same time is not taken again by the next master.
    stage.restart();
    let over = session(stage.fresh());
    let snapshots = query::snapshots(stage.master.state());
    let registration = stage.registration(info(agent_id(1), MACHINE), over);
    let step = stage.register_as(Registration {
        volumes: vec![report(&volume, VolumeState::Ready)],
        snapshots: vec![said(&snapshots[0].snapshot.spec, SnapshotState::Ready)],
        ..registration
    });
    assert_eq!(taken(&step), []);
}

#[test]
fn held_ones_and_those_of_people_stay_and_so_does_the_last_good_one() {
    let mut stage = patient();
    let volume = scheduled(&mut stage, plan(60, 1));
    let (_, step) = stage.operator(
        21,
        Request::CreateSnapshot {
            volume: VolumeChoice::Id(volume.id),
            name: None,
            principal: None,
            freeze: None,
        },
    );
    let mine = taken(&step).remove(0);
    obey(&mut stage, session(1), &step);
    let step = stage.advance(MINUTE);
    obey(&mut stage, session(1), &step);
    let first = query::snapshots(stage.master.state())
        .into_iter()
        .find(|view| view.snapshot.scheduled.is_some())
        .unwrap();
    let hold = |held| Request::HoldSnapshot { snapshot: first.snapshot.spec.id, held };
    stage.operator(22, hold(true)).0.unwrap();
    let step = stage.advance(MINUTE);
    assert_eq!(obey(&mut stage, session(1), &step), Vec::<String>::new());
    // Released, it goes without waiting for the next time.
    let (_, step) = stage.operator(23, hold(false));
    assert_eq!(obey(&mut stage, session(1), &step), [first.snapshot.spec.name.to_string()]);

    // The next ones fail: the good one stays, the reason is shown, and the time is tried again.
    let error = Rejection::new(ErrorCode::DiskFull, "no space");
    let mut step = stage.advance(MINUTE);
    for _ in 0..6 {
        let spec = taken(&step).remove(0);
        let error = Some(error.clone());
        let failed = SnapshotReport { error: error.clone(), ..said(&spec, SnapshotState::Failed) };
        let after = stage.reports_snapshot(1, session(1), failed);
        assert_eq!((taken(&after), deleted(&after)), (vec![], vec![]));
        let last = view(&stage).schedule.last.unwrap();
        assert_eq!(Some(last.result), error.map(ScheduleResult::Failed));
        assert_eq!(named(&stage, SnapshotState::Ready).len(), 2);
        // By turns the same time again, in half of the time between two, and the next time.
        step = stage.advance(Duration::from_secs(30));
        assert_eq!(taken(&step).len(), 1);
        assert!(named(&stage, SnapshotState::Failed).len() <= 1, "what failed does not pile up");
    }
    let spec = taken(&step).remove(0);
    let step = stage.reports_snapshot(1, session(1), said(&spec, SnapshotState::Ready));
    obey(&mut stage, session(1), &step);
    let mut left = vec![mine.name.to_string(), spec.name.to_string()];
    left.sort();
    assert_eq!(named(&stage, SnapshotState::Ready), left);
    assert_eq!(named(&stage, SnapshotState::Failed), Vec::<String>::new());
}

#[test]
fn a_volume_in_the_trash_pauses_its_schedule_and_its_end_ends_it() {
    let mut stage = patient();
    let volume = scheduled(&mut stage, plan(60, 1));
    let step = stage.advance(MINUTE);
    obey(&mut stage, session(1), &step);
    let choice = VolumeChoice::Id(volume.id);
    stage.operator(30, Request::DestroyVolume { volume: choice.clone() }).0.unwrap();
    stage.reports(1, session(1), report(&volume, VolumeState::Trashed));
    let step = stage.advance(MINUTE * 10);
    assert_eq!((taken(&step), deleted(&step)), (vec![], vec![]));
    let paused = view(&stage);
    assert_eq!(paused.next, None);
    let why = paused.obstacle.unwrap();
    assert_eq!(why.code, ErrorCode::VolumeNotReady);
    assert!(why.remedy.contains("berth volume trash restore"), "{}", why.remedy);
    let refused = stage.operator(31, set(volume.id, plan(60, 1))).0.unwrap_err();
    assert_eq!((refused.code, refused.field.as_str()), (ErrorCode::VolumeNotReady, "volume"));

    stage.operator(32, Request::RestoreVolume { volume: volume.id }).0.unwrap();
    let back = VolumeSpec { generation: 2, ..volume };
    let step = stage.reports(1, session(1), report(&back, VolumeState::Ready));
    assert_eq!(taken(&step).len(), 1, "the time that is open is taken at once");
    obey(&mut stage, session(1), &step);

    stage.operator(33, Request::DestroyVolume { volume: choice }).0.unwrap();
    stage.reports(1, session(1), report(&back, VolumeState::Trashed));
    stage.operator(34, Request::PurgeVolume { volume: back.id, wipe: None }).0.unwrap();
    let gone = VolumeReport { ..report(&back, VolumeState::Gone) };
    stage.reports(1, session(1), gone);
    assert_eq!(query::schedules(stage.master.state()), []);
    let left = stage.registry.values().any(|record| matches!(record, RegistryRecord::Schedule(_)));
    assert!(!left, "its record goes with the volume");
}

#[test]
fn a_schedule_is_replaced_and_taken_away_and_what_it_took_stays() {
    let mut stage = patient();
    let volume = scheduled(&mut stage, plan(60, 3));
    let step = stage.advance(MINUTE);
    obey(&mut stage, session(1), &step);
    stage.operator(40, set(volume.id, plan(3_600, 3))).0.unwrap();
    assert_eq!(messages(&stage.advance(MINUTE * 10)), []);
    assert_eq!(view(&stage).next.map(|at| at.ms()), Some(3_600_000));
    let delete = Request::DeleteSchedule { volume: VolumeChoice::Id(volume.id) };
    let (answer, step) = stage.operator(41, delete.clone());
    assert_eq!((answer, operations(&step)), (Ok(op(41)), vec![("DELETE_SCHEDULE", "DONE", None)]));
    assert_eq!(messages(&stage.advance(MINUTE * 1_000)), []);
    assert_eq!(named(&stage, SnapshotState::Ready), ["scheduled-19700101-001700"]);
    let refused = stage.operator(42, delete).0.unwrap_err();
    let text = "volume data of role storage has no schedule";
    assert_eq!((refused.code, refused.message.as_str()), (ErrorCode::UnknownSchedule, text));
    let unknown: OperationId = op(43);
    let (answer, _) = stage.operator(43, set(VolumeId::from_u128(7), plan(60, 1)));
    assert_eq!(answer.unwrap_err().code, ErrorCode::UnknownVolume, "{unknown}");
    for (id, wrong, field) in [(44, plan(9, 1), "every_ms"), (45, plan(60, 0), "keep")] {
        let refused = stage.operator(id, set(volume.id, wrong)).0.unwrap_err();
        assert_eq!((refused.code, refused.field.as_str()), (ErrorCode::InvalidArgument, field));
    }
}
