//! A volume gets another size: what is reserved, what the agent is told, how it ends, and that the books hold the
//! larger size until then.

mod stage;

use berth_master_core::query;
use berth_model::access::{Access, Mode};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::SessionId;
use berth_model::link::ToAgent;
use berth_model::operation::Action;
use berth_model::operator::{Property, Request, VolumeChoice};
use berth_model::task::TaskState;
use berth_model::units::Bytes;
use berth_model::volume::{Resize, VolumeReport, VolumeSpec, VolumeState};
use stage::{
    Stage, agent_id, framework_info, messages, mib, op, operations, plus, report, res, session,
    status, sum, task, total_disk,
};

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";

fn resize(spec: &VolumeSpec, size: u64) -> Request {
    Request::ResizeVolume { volume: VolumeChoice::Id(spec.id), size: mib(size) }
}

fn sized(spec: &VolumeSpec, size: u64) -> VolumeReport {
    let spec = VolumeSpec { size: mib(size), ..spec.clone() };
    report(&spec, VolumeState::Ready)
}

fn order(spec: &VolumeSpec, size: u64, operation: u128) -> ToAgent {
    ToAgent::ResizeVolume {
        volume: spec.id,
        generation: spec.generation,
        size: mib(size),
        operation: op(operation),
    }
}

/// A machine with one READY volume of 512 MiB.
fn made() -> (Stage, VolumeSpec) {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    (stage, spec)
}

fn rows(stage: &Stage) -> Vec<String> {
    let views = query::reservations(stage.master.state());
    views.iter().map(|view| view.row.resource.to_string()).collect()
}

fn size_of(stage: &Stage) -> (Bytes, Option<Resize>) {
    let volume = stage.volume("data").volume;
    (volume.spec.size, volume.resize)
}

#[test]
fn a_volume_grows_when_its_agent_says_so_and_what_is_missing_is_reserved() {
    let (mut stage, spec) = made();
    let (answer, step) = stage.operator(5, resize(&spec, 2048));
    assert_eq!(answer, Ok(op(5)));
    assert_eq!(messages(&step), [order(&spec, 2048, 5)]);
    assert_eq!(operations(&step), [("GROW", "ACCEPTED", None)]);
    assert_eq!(rows(&stage), ["disk(storage):2048"]);
    let under_way = Resize { from: mib(512), to: mib(2048) };
    assert_eq!(size_of(&stage), (mib(2048), Some(under_way)));
    // Its intent says nothing yet.
    let step = stage.reports(
        1,
        session(1),
        VolumeReport { resizing: Some(mib(2048)), ..sized(&spec, 512) },
    );
    assert_eq!(operations(&step), []);
    let step = stage.reports(1, session(1), sized(&spec, 2048));
    assert_eq!(operations(&step), [("GROW", "DONE", None)]);
    assert_eq!(size_of(&stage), (mib(2048), None));
    assert_eq!(total_disk(&query::agents(stage.master.state())[0].total), 10_240);
}

#[test]
fn what_a_failed_grow_reserved_goes_back() {
    let (mut stage, spec) = made();
    let before = rows(&stage);
    let (answer, _) = stage.operator(5, resize(&spec, 2048));
    assert_eq!(answer, Ok(op(5)));
    let full = Rejection::new(ErrorCode::DiskFull, "no space is left");
    let failed = VolumeReport { operation: Some(op(5)), error: Some(full), ..sized(&spec, 512) };
    let step = stage.reports(1, session(1), failed);
    assert_eq!(operations(&step), [("GROW", "FAILED", Some(ErrorCode::DiskFull))]);
    assert_eq!((size_of(&stage), rows(&stage)), ((mib(512), None), before));
}

#[test]
fn a_volume_shrinks_and_what_it_gives_back_stays_reserved() {
    let (mut stage, spec) = made();
    let (answer, step) = stage.operator(5, resize(&spec, 128));
    assert_eq!(answer, Ok(op(5)));
    assert_eq!(messages(&step), [order(&spec, 128, 5)]);
    // Until it is over, nobody gets what the volume may still write to.
    let under_way = Resize { from: mib(512), to: mib(128) };
    assert_eq!(size_of(&stage), (mib(512), Some(under_way)));
    let view = &query::reservations(stage.master.state())[0];
    assert_eq!(Bytes::from_scalar(view.in_volumes), mib(512));
    let step = stage.reports(1, session(1), sized(&spec, 128));
    assert_eq!(operations(&step), [("SHRINK", "DONE", None)]);
    assert_eq!(size_of(&stage), (mib(128), None));
    let view = &query::reservations(stage.master.state())[0];
    assert_eq!(rows(&stage), ["disk(storage):512"]);
    assert_eq!(Bytes::from_scalar(view.in_volumes), mib(128));
}

#[test]
fn a_size_below_what_is_used_is_refused_by_the_agent_that_measures_it() {
    let (mut stage, spec) = made();
    // What was measured some minutes ago decides nothing: it may have been deleted since.
    let used = VolumeReport { used: Some(mib(300)), ..sized(&spec, 512) };
    stage.reports(1, session(1), used);
    let (answer, _) = stage.operator(5, resize(&spec, 256));
    assert_eq!(answer, Ok(op(5)));
    let full = Rejection::new(ErrorCode::VolumeTooFull, "uses 300 MiB, more than 256 MiB");
    let failed = VolumeReport { operation: Some(op(5)), error: Some(full), ..sized(&spec, 512) };
    let step = stage.reports(1, session(1), failed);
    assert_eq!(operations(&step), [("SHRINK", "FAILED", Some(ErrorCode::VolumeTooFull))]);
    assert_eq!(size_of(&stage), (mib(512), None));
}

#[test]
fn a_volume_that_is_lost_while_its_size_changes_can_be_deleted() {
    let (mut stage, spec) = made();
    let (answer, _) = stage.operator(5, resize(&spec, 1024));
    assert_eq!(answer, Ok(op(5)));
    let step = stage.reports(1, session(1), report(&spec, VolumeState::Lost));
    assert_eq!(operations(&step), [("GROW", "FAILED", Some(ErrorCode::VolumeLost))]);
    // The disk was only away: the agent is brought to what the books hold, under an operation that is over.
    let step = stage.reports(1, session(1), sized(&spec, 512));
    assert_eq!((operations(&step), size_of(&stage)), (vec![], (mib(1024), None)));
    stage.restart();
    let step = stage.back(1, MACHINE, vec![sized(&spec, 512)], vec![]);
    assert!(messages(&step).contains(&order(&spec, 1024, 5)), "{step:?}");
    let over = stage.session_of(1, &step);
    stage.reports(1, over, report(&spec, VolumeState::Lost));
    let delete = Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) };
    let (answer, step) = stage.operator(6, delete);
    assert_eq!(answer, Ok(op(6)));
    assert_eq!(operations(&step), [("DESTROY", "ACCEPTED", None)]);
}

#[test]
fn a_grow_says_what_was_purged_for_its_room() {
    let (mut stage, spec) = made();
    let old = stage.make_volume(1, session(1), "old", 128);
    let delete = Request::DestroyVolume { volume: VolumeChoice::Id(old.id) };
    let (answer, _) = stage.operator(5, delete);
    assert_eq!(answer, Ok(op(5)));
    stage.reports(1, session(1), report(&old, VolumeState::Trashed));
    let (answer, _) = stage.operator(6, resize(&spec, 1024));
    assert_eq!(answer, Ok(op(6)));
    let grown = VolumeReport { purged: vec![old.id], ..sized(&spec, 1024) };
    stage.reports(1, session(1), grown);
    let record = query::operation(stage.master.state(), op(6)).expect("the operation");
    let note = format!("purged trashed volume old of role storage ({}) to make room", old.id);
    assert_eq!(record.notes, [note]);
    assert_eq!(stage.volume_states(), [("data".to_owned(), VolumeState::Ready)]);
}

#[test]
fn what_makes_no_sense_is_refused_and_the_same_size_is_done_at_once() {
    let (mut stage, spec) = made();
    let (answer, step) = stage.operator(5, resize(&spec, 512));
    assert_eq!((answer, operations(&step)), (Ok(op(5)), vec![("GROW", "DONE", None)]));
    let code = |answer: Result<_, Rejection>| answer.unwrap_err().code;
    let (answer, _) = stage.operator(6, resize(&spec, 20_480));
    assert_eq!(code(answer), ErrorCode::InsufficientResources);
    let odd = Request::ResizeVolume { volume: VolumeChoice::Id(spec.id), size: Bytes::new(5) };
    let (answer, _) = stage.operator(7, odd);
    assert_eq!(code(answer), ErrorCode::InvalidArgument);

    let (answer, _) = stage.operator(8, resize(&spec, 1024));
    assert_eq!(answer, Ok(op(8)));
    let delete = Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) };
    for (id, request) in [(9, resize(&spec, 2048)), (10, delete)] {
        let (answer, _) = stage.operator(id, request);
        let refused = answer.unwrap_err();
        let text = format!(
            "volume data ({}) is being resized from 512 MiB to 1 GiB by operation {}",
            spec.id,
            op(8)
        );
        assert_eq!((refused.code, refused.message), (ErrorCode::VolumeNotReady, text));
    }
}

#[test]
fn an_agent_that_comes_back_is_told_again_until_it_has_the_size() {
    let (mut stage, spec) = made();
    let (answer, _) = stage.operator(5, resize(&spec, 1024));
    assert_eq!(answer, Ok(op(5)));
    stage.restart();
    // It never heard of it.
    let step = stage.back(1, MACHINE, vec![sized(&spec, 512)], vec![]);
    assert!(messages(&step).contains(&order(&spec, 1024, 5)), "{step:?}");
    stage.restart();
    // It is at it, and may fail before it can say so.
    let at_it = VolumeReport { resizing: Some(mib(1024)), ..sized(&spec, 512) };
    let step = stage.back(1, MACHINE, vec![at_it], vec![]);
    assert!(messages(&step).contains(&order(&spec, 1024, 5)), "{step:?}");
    stage.restart();
    // It was done while the master was away.
    let step = stage.back(1, MACHINE, vec![sized(&spec, 1024)], vec![]);
    assert_eq!(operations(&step), [("GROW", "DONE", None)]);
    assert_eq!(size_of(&stage), (mib(1024), None));
    stage.restart();
    // A size that nobody asked for is an older ledger's: the registry's counts.
    let step = stage.back(1, MACHINE, vec![sized(&spec, 512)], vec![]);
    assert!(messages(&step).contains(&order(&spec, 1024, 5)), "{step:?}");
}

#[test]
fn a_task_keeps_its_volume_while_that_grows_and_is_charged_with_the_new_size() {
    let (mut stage, spec) = made();
    let (framework, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).remove(0);
    let resource = stage.volume("data").volume.resource().unwrap();
    let needs = plus(&res("cpus:1;mem:64"), &sum([resource]));
    let launch = Action::Launch(vec![task("t", agent_id(1), needs)]);
    stage.accept(&framework, 50, &[&offer], vec![launch]);
    assert_eq!(stage.volume("data").users.len(), 1);
    let (answer, step) = stage.operator(5, resize(&spec, 1024));
    assert_eq!(answer, Ok(op(5)));
    assert_eq!(messages(&step), [order(&spec, 1024, 5)]);
    let used = |stage: &Stage| total_disk(&query::agents(stage.master.state())[0].used);
    assert_eq!(used(&stage), 1024);
    stage.reports(1, session(1), sized(&spec, 1024));
    end(&mut stage, session(1), status(&framework, "t", agent_id(1), TaskState::Finished, 77));
    assert_eq!((used(&stage), size_of(&stage)), (0, (mib(1024), None)));
}

#[test]
fn a_framework_grows_and_shrinks_what_it_was_offered() {
    let (mut stage, spec) = made();
    let (answer, _) = stage.operator(
        4,
        Request::Reserve { agent: agent_id(1), resources: stage::reserved("disk:256", "storage") },
    );
    assert_eq!(answer, Ok(op(4)));
    let (framework, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).remove(0);
    let volume = stage.volume("data").volume.resource().unwrap();
    let addition = stage::reserved("disk:256", "storage").iter().next().unwrap();
    let other = stage::reserved("disk:256", "web").iter().next().unwrap();
    let wrong = Action::Grow { volume: Box::new(volume.clone()), addition: Box::new(other) };
    let all = Action::Shrink { volume: Box::new(volume.clone()), subtract: mib(512) };
    let grow = Action::Grow { volume: Box::new(volume), addition: Box::new(addition) };
    let step = stage.accept(&framework, 50, &[&offer], vec![wrong, all, grow]);
    assert_eq!(
        operations(&step),
        [
            ("GROW", "FAILED", Some(ErrorCode::InvalidResources)),
            ("SHRINK", "FAILED", Some(ErrorCode::InvalidResources)),
            ("GROW", "ACCEPTED", None)
        ]
    );
    let step = stage.reports(1, session(1), sized(&spec, 768));
    assert_eq!(operations(&step), [("GROW", "DONE", None)]);
    assert_eq!(rows(&stage), ["disk(storage):768"]);

    stage.advance(std::time::Duration::from_secs(10));
    let offer = stage.offers().remove(0);
    let volume = offer.resources.volumes().remove(0);
    assert_eq!(volume.size(), mib(768));
    let shrink = Action::Shrink { volume: Box::new(volume), subtract: mib(512) };
    let step = stage.accept(&framework, 50, &[&offer], vec![shrink]);
    assert_eq!(operations(&step), [("SHRINK", "ACCEPTED", None)]);
    stage.reports(1, session(1), sized(&spec, 256));
    stage.advance(std::time::Duration::from_secs(10));
    let offer = stage.offers().remove(0);
    assert_eq!(offer.resources.volumes().remove(0).size(), mib(256));
    assert_eq!(rows(&stage), ["disk(storage):768"]);
}

fn end(stage: &mut Stage, over: SessionId, status: berth_model::task::TaskStatus) {
    stage.agent_says(1, over, berth_model::link::FromAgent::Status(status));
}

#[test]
fn what_its_agent_cannot_use_now_is_not_changed_and_the_reason_is_said() {
    let (mut stage, spec) = made();
    let why =
        Rejection::new(ErrorCode::VolumeUnavailable, "its key is not there").remedy("find it");
    let seen = VolumeReport { unavailable: Some(why.clone()), ..sized(&spec, 512) };
    stage.reports(1, session(1), seen);
    assert_eq!(stage.volume("data").unavailable, Some(why));
    let property = Property::Access(Access { mode: Mode::new(0o750).ok(), owner: None });
    let volume = VolumeChoice::Id(spec.id);
    for request in [resize(&spec, 2048), resize(&spec, 64), Request::Property { volume, property }]
    {
        let (answer, step) = stage.operator(7, request.clone());
        let refused = answer.unwrap_err();
        let text = "volume data cannot be used now: its key is not there";
        assert_eq!(
            (refused.code, refused.message.as_str(), refused.remedy.as_str()),
            (ErrorCode::VolumeUnavailable, text, "find it")
        );
        assert_eq!(operations(&step), [], "{request:?} was taken in");
    }
    stage.reports(1, session(1), sized(&spec, 512));
    assert_eq!(stage.volume("data").unavailable, None);
    assert_eq!(stage.operator(7, resize(&spec, 2048)).0, Ok(op(7)));
}
