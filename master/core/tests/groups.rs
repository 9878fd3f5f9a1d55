//! Groups of snapshots from the operator's call to the agent's reports.

mod stage;

use berth_master_core::Step;
use berth_master_core::query;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{GroupId, SnapshotName};
use berth_model::link::{Registration, ToAgent};
use berth_model::operator::{Request, VolumeChoice};
use berth_model::snapshot::{Consistency, Group, SnapshotReport, SnapshotSpec, SnapshotState};
use berth_model::volume::{VolumeSpec, VolumeState};
use stage::{Stage, agent_id, info, messages, op, operations, report, session};
use std::sync::Arc;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";

fn said(spec: &SnapshotSpec, state: SnapshotState) -> SnapshotReport {
    let consistency = (state == SnapshotState::Ready).then_some(Consistency::Frozen);
    let full = || Rejection::new(ErrorCode::DiskFull, "no space left");
    SnapshotReport {
        spec: spec.clone(),
        state,
        operation: Some(op(20)),
        error: (state == SnapshotState::Failed).then(full),
        host_path: Arc::from("/srv/.snapshots/x"),
        group: Some(Group { id: GroupId::from_u128(op(20).as_u128()), consistency }),
    }
}

fn states(stage: &Stage) -> Vec<(SnapshotState, Option<Consistency>)> {
    let views = query::snapshots(stage.master.state()).into_iter();
    views.map(|v| (v.snapshot.state, v.snapshot.group.and_then(|g| g.consistency))).collect()
}

fn take(volumes: &[&VolumeSpec]) -> Request {
    Request::CreateGroup {
        volumes: volumes.iter().map(|spec| VolumeChoice::Id(spec.id)).collect(),
        name: Some(SnapshotName::new("both").expect("a valid name")),
        principal: None,
        freeze: None,
    }
}

fn asked(step: &Step) -> Vec<SnapshotSpec> {
    let found = messages(step).into_iter().find_map(|message| match message {
        ToAgent::EnsureGroup { members, .. } => Some(members),
        _ => None,
    });
    found.unwrap_or_default()
}

fn two(stage: &mut Stage) -> (VolumeSpec, VolumeSpec) {
    stage.register(1, MACHINE);
    let data = stage.make_volume(1, session(1), "data", 1024);
    let log = stage.make_volume(1, session(1), "log", 1024);
    (data, log)
}

fn refusal(stage: &mut Stage, id: u128, request: Request) -> (ErrorCode, String) {
    let before = states(stage);
    let (answer, step) = stage.operator(id, request);
    assert_eq!((asked(&step), states(stage)), (Vec::new(), before), "nothing is changed");
    let error = answer.expect_err("refused");
    (error.code, error.message.to_string())
}

#[test]
fn the_operation_is_done_with_the_last_member_and_says_by_what_they_stood_still() {
    let mut stage = Stage::new();
    let (data, log) = two(&mut stage);
    let (answer, step) = stage.operator(20, take(&[&data, &log]));
    assert_eq!(answer, Ok(op(20)));
    assert_eq!(operations(&step), [("SNAPSHOT_GROUP", "ACCEPTED", None)]);
    let members = asked(&step);
    let of: Vec<_> = members.iter().map(|member| member.of.clone()).collect();
    assert_eq!(of, [data.clone(), log.clone()]);
    let again = stage.operator(20, take(&[&data, &log]));
    assert_eq!((again.0, asked(&again.1)), (Ok(op(20)), Vec::new()), "the same answer");

    let step = stage.reports_snapshot(1, session(1), said(&members[0], SnapshotState::Ready));
    assert_eq!(operations(&step), [], "one is not all");
    let step = stage.reports_snapshot(1, session(1), said(&members[1], SnapshotState::Ready));
    assert_eq!(operations(&step), [("SNAPSHOT_GROUP", "DONE", None)]);
    assert_eq!(states(&stage), [(SnapshotState::Ready, Some(Consistency::Frozen)); 2]);
    let record = query::operation(stage.master.state(), op(20)).expect("it is remembered");
    assert_eq!(record.notes, ["consistency: frozen"]);

    let (code, text) = refusal(&mut stage, 21, take(&[&data, &log]));
    assert_eq!(code, ErrorCode::SnapshotExists, "{text}");
}

#[test]
fn a_failure_of_the_group_fails_the_operation_and_frees_the_name() {
    let mut stage = Stage::new();
    let (data, log) = two(&mut stage);
    let (_, step) = stage.operator(20, take(&[&data, &log]));
    let members = asked(&step);
    stage.reports_snapshot(1, session(1), said(&members[0], SnapshotState::Failed));
    let step = stage.reports_snapshot(1, session(1), said(&members[1], SnapshotState::Failed));
    assert_eq!(operations(&step), [("SNAPSHOT_GROUP", "FAILED", Some(ErrorCode::DiskFull))]);
    assert_eq!(states(&stage), [(SnapshotState::Failed, None); 2]);
    let (answer, _) = stage.operator(22, take(&[&data, &log]));
    assert_eq!(answer, Ok(op(22)));
}

#[test]
fn a_registration_has_it_taken_once_or_ends_it() {
    let mut stage = Stage::new();
    let (data, log) = two(&mut stage);
    let (_, step) = stage.operator(20, take(&[&data, &log]));
    let members = asked(&step);
    let volumes = vec![report(&data, VolumeState::Ready), report(&log, VolumeState::Ready)];
    stage.restart();
    let over = session(stage.fresh());
    let registration = stage.registration(info(agent_id(1), MACHINE), over);
    let known = Registration { volumes: volumes.clone(), ..registration };
    let step = stage.register_as(known);
    let repeated = messages(&step).into_iter();
    let repeated = repeated.filter(|m| matches!(m, ToAgent::EnsureGroup { .. })).count();
    assert_eq!((repeated, asked(&step).len()), (1, 2), "once, with both");

    stage.restart();
    let over = session(stage.fresh());
    let registration = stage.registration(info(agent_id(1), MACHINE), over);
    let snapshots = members.iter().map(|m| said(m, SnapshotState::Ready)).collect();
    let step = stage.register_as(Registration { volumes, snapshots, ..registration });
    assert_eq!(operations(&step), [("SNAPSHOT_GROUP", "DONE", None)]);
}

#[test]
fn a_group_that_cannot_be_of_one_moment_is_refused_by_name() {
    let mut stage = Stage::new();
    let (data, log) = two(&mut stage);
    stage.register(2, MACHINE);
    let far = stage.make_volume(2, session(2), "far", 1024);
    let (code, text) = refusal(&mut stage, 30, take(&[&data, &far]));
    assert_eq!(code, ErrorCode::GroupApart);
    assert!(text.contains("2 agents: data on ") && text.contains(", far on "), "{text}");
    for (id, volumes, why) in [
        (31, vec![&data], "a group has 2 to 16 volumes, not 1"),
        (32, vec![&data, &log, &data], "a volume of the group is named twice"),
    ] {
        let refused = refusal(&mut stage, id, take(&volumes));
        assert_eq!(refused, (ErrorCode::InvalidArgument, why.to_owned()));
    }
}
