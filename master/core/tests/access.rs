//! Owner and mode of a volume from the operator's call to the agent's report, and what does not go together with it.

mod stage;

use berth_master_core::query;
use berth_model::access::{Access, Mode, Owner};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::ToAgent;
use berth_model::operator::{Property, Request, VolumeChoice};
use berth_model::volume::{VolumeReport, VolumeSpec, VolumeState};
use stage::{
    Stage, create_request, ensured, messages, mib, op, operations, report, session, volume_id,
};

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";

fn access(id: u32, mode: u32) -> Access {
    Access { owner: Owner::new(id, id).ok(), mode: Mode::new(mode).ok() }
}

fn set(spec: &VolumeSpec, access: Access) -> Request {
    Request::Property { volume: VolumeChoice::Id(spec.id), property: Property::Access(access) }
}

fn order(spec: &VolumeSpec, access: Access, operation: u128) -> ToAgent {
    let (volume, generation, operation) = (spec.id, spec.generation, op(operation));
    ToAgent::SetAccess { volume, generation, access, operation }
}

fn made() -> (Stage, VolumeSpec) {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    (stage, spec)
}

/// What the registry has, and what it had while that is being changed.
fn found(stage: &Stage) -> (Access, Option<Access>) {
    let volume = stage.volume("data").volume;
    (volume.spec.access, volume.access_before)
}

fn with(spec: &VolumeSpec, access: Access) -> VolumeReport {
    report(&VolumeSpec { access, ..spec.clone() }, VolumeState::Ready)
}

#[test]
fn a_volume_is_created_with_it_and_a_clone_has_it_too() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let mut request = create_request("data", "storage", 64);
    let wanted = access(999, 0o750);
    if let Request::CreateVolume { access, .. } = &mut request {
        *access = wanted;
    }
    let (answer, step) = stage.operator(20, request);
    assert_eq!(answer, Ok(op(20)));
    let spec = ensured(&step).expect("a message to the agent");
    assert_eq!(spec.access, wanted);
    stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    let take = Request::CreateSnapshot {
        volume: VolumeChoice::Id(spec.id),
        name: None,
        principal: None,
        freeze: None,
    };
    let (answer, _) = stage.operator(21, take);
    assert_eq!(answer, Ok(op(21)));
    let snapshot = query::snapshots(stage.master.state())[0].snapshot.spec.clone();
    assert_eq!(snapshot.of.access, wanted);
}

#[test]
fn it_is_accepted_told_repeated_and_done_when_the_agent_says_so() {
    let (mut stage, spec) = made();
    let first = access(70, 0o750);
    let (answer, step) = stage.operator(30, set(&spec, first));
    assert_eq!((answer, operations(&step)), (Ok(op(30)), vec![("SET_ACCESS", "ACCEPTED", None)]));
    assert_eq!(messages(&step), [order(&spec, first, 30)]);
    assert_eq!(found(&stage), (first, Some(Access::default())));
    // One change at a time, and no other beside it.
    for request in [
        set(&spec, access(1, 0o700)),
        Request::ResizeVolume { volume: VolumeChoice::Id(spec.id), size: mib(1024) },
        Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) },
    ] {
        let id = stage.fresh();
        let (answer, step) = stage.operator(id, request);
        let refused = answer.expect_err("refused");
        assert_eq!((refused.code, step.writes), (ErrorCode::VolumeNotReady, vec![]));
        assert!(refused.to_string().contains("wait for that operation"), "{refused}");
    }
    // Both restart; the agent has the intent or not.
    stage.restart();
    let old = report(&spec, VolumeState::Ready);
    let begun = VolumeReport { setting: Some(first), operation: Some(op(30)), ..old.clone() };
    let step = stage.back(1, MACHINE, vec![begun], Vec::new());
    assert_eq!(messages(&step)[1..], [order(&spec, first, 30)], "it may fail before it can say so");
    stage.restart();
    let step = stage.back(1, MACHINE, vec![old], Vec::new());
    assert_eq!(messages(&step)[1..], [order(&spec, first, 30)]);
    let over = stage.session_of(1, &step);
    let step = stage.reports(1, over, with(&spec, first));
    assert_eq!(operations(&step), [("SET_ACCESS", "DONE", None)]);
    assert_eq!(found(&stage), (first, None));

    // What is not mentioned stays; what is so already is done at once.
    let mode = Access { owner: None, mode: Mode::new(0o700).ok() };
    let (_, step) = stage.operator(31, set(&spec, mode));
    let second = access(70, 0o700);
    assert_eq!(messages(&step), [order(&spec, second, 31)]);
    stage.reports(1, over, with(&spec, second));
    let (_, step) = stage.operator(32, set(&spec, mode));
    assert_eq!((operations(&step), messages(&step)), (vec![("SET_ACCESS", "DONE", None)], vec![]));
}

#[test]
fn what_the_agent_cannot_do_leaves_what_was() {
    let (mut stage, spec) = made();
    stage.operator(30, set(&spec, access(70, 0o750))).0.expect("accepted");
    let error = Rejection::new(ErrorCode::NotPrivileged, "not permitted");
    let still = VolumeReport {
        setting: Some(access(70, 0o750)),
        operation: Some(op(30)),
        error: Some(error.clone()),
        ..report(&spec, VolumeState::Ready)
    };
    let step = stage.reports(1, session(1), still);
    assert_eq!(operations(&step), [("SET_ACCESS", "ACCEPTED", None)], "noted, not over");
    let failed = VolumeReport {
        operation: Some(op(30)),
        error: Some(error),
        ..report(&spec, VolumeState::Ready)
    };
    let step = stage.reports(1, session(1), failed);
    let code = Some(ErrorCode::NotPrivileged);
    assert_eq!(operations(&step), [("SET_ACCESS", "FAILED", code)]);
    assert_eq!(found(&stage), (Access::default(), None));
}

#[test]
fn a_volume_that_is_lost_meanwhile_can_be_deleted() {
    let (mut stage, spec) = made();
    stage.operator(30, set(&spec, access(70, 0o750))).0.expect("accepted");
    let step = stage.reports(1, session(1), report(&spec, VolumeState::Lost));
    assert_eq!(operations(&step), [("SET_ACCESS", "FAILED", Some(ErrorCode::VolumeLost))]);
    let delete = Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) };
    let (answer, step) = stage.operator(31, delete);
    assert_eq!((answer, operations(&step)), (Ok(op(31)), vec![("DESTROY", "ACCEPTED", None)]));
}

#[test]
fn nothing_to_set_an_absent_volume_and_an_absent_agent_are_refused() {
    let (mut stage, spec) = made();
    let ghost = VolumeSpec { id: volume_id(7), ..spec.clone() };
    let refused = |stage: &mut Stage, request| {
        let id = stage.fresh();
        stage.operator(id, request).0.expect_err("refused").code
    };
    let nothing = set(&spec, Access::default());
    assert_eq!(refused(&mut stage, nothing), ErrorCode::InvalidArgument);
    let absent = set(&ghost, access(1, 0o700));
    assert_eq!(refused(&mut stage, absent), ErrorCode::UnknownVolume);
    stage.restart();
    let away = set(&spec, access(1, 0o700));
    assert_eq!(refused(&mut stage, away), ErrorCode::AgentUnreachable);
}

#[test]
fn an_agent_from_an_older_copy_is_brought_to_what_the_registry_has() {
    let (mut stage, spec) = made();
    let wanted = access(70, 0o750);
    stage.operator(30, set(&spec, wanted)).0.expect("accepted");
    stage.reports(1, session(1), with(&spec, wanted));
    stage.restart();
    let step = stage.back(1, MACHINE, vec![report(&spec, VolumeState::Ready)], Vec::new());
    assert_eq!(messages(&step)[1..], [order(&spec, wanted, 30)]);
    assert_eq!(found(&stage), (wanted, None));
}
