//! Exports: what is accepted, which agent is asked for what, and that each has an end.

mod stage;

use berth_master_core::{Input, Output, query};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{SnapshotId, SnapshotName, TransferId};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::operation::Action;
use berth_model::operator::{Request, VolumeChoice};
use berth_model::snapshot::{Origin, SnapshotReport, SnapshotSpec, SnapshotState};
use berth_model::transfer::{Import, Progress, TransferOrder, TransferWish};
use berth_model::volume::{VolumeSpec, VolumeState};
use stage::{
    Stage, agent_id, create_request, framework_info, messages, mib, op, operations, plus, report,
    res, session, sum, task, volume,
};
use std::sync::Arc;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";

fn export(of: &VolumeSpec, snapshot: Option<SnapshotId>) -> Request {
    Request::ExportVolume { volume: VolumeChoice::Id(of.id), snapshot }
}

fn kept() -> (Stage, VolumeSpec, SnapshotSpec) {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let volume = stage.make_volume(1, session(1), "data", 1024);
    let name = Some(SnapshotName::new("one").expect("a valid name"));
    let choice = VolumeChoice::Id(volume.id);
    let take = Request::CreateSnapshot { volume: choice, name, principal: None, freeze: None };
    let (_answer, step) = stage.operator(20, take);
    let mut all = messages(&step).into_iter();
    let Some(ToAgent::EnsureSnapshot { spec, .. }) = all.next() else { panic!("{step:?}") };
    let ready = SnapshotReport {
        spec: spec.clone(),
        state: SnapshotState::Ready,
        operation: None,
        error: None,
        host_path: Arc::from("/srv/.snapshots/x"),
        group: None,
    };
    stage.reports_snapshot(1, session(1), ready);
    (stage, volume, spec)
}

fn wanted(stage: &mut Stage, n: u128) -> Result<Vec<ToAgent>, ErrorCode> {
    let wish = TransferWish::Export { operation: op(n) };
    let step = stage.put(Input::Transfer { transfer: TransferId::from_u128(9), wish });
    assert_eq!(step.writes, vec![]);
    match step.outputs.as_slice() {
        [Output::TransferRefused { reason, .. }] => Err(reason.code),
        _told => Ok(messages(&step)),
    }
}

type Told = Vec<(&'static str, &'static str, Option<ErrorCode>)>;

fn ends(stage: &mut Stage, n: u128, result: Result<&str, ErrorCode>) -> Told {
    let result = result.map(str::to_owned).map_err(|code| Rejection::new(code, "it broke"));
    operations(&stage.put(Input::ExportEnded { operation: op(n), result }))
}

fn notes(stage: &Stage, n: u128) -> Vec<String> {
    query::operation(stage.master.state(), op(n)).expect("it is known").notes.clone()
}

#[test]
fn an_export_is_accepted_sent_once_somebody_takes_it_and_ends() {
    let (mut stage, volume, snapshot) = kept();
    let (answer, step) = stage.operator(30, export(&volume, Some(snapshot.id)));
    assert_eq!((answer, operations(&step)), (Ok(op(30)), vec![("EXPORT", "ACCEPTED", None)]));
    assert_eq!(messages(&step), vec![], "nobody takes it yet");
    let transfer = TransferId::from_u128(9);
    let order = TransferOrder::Export {
        volume: Box::new(volume.clone()),
        snapshot: Some(Box::new(snapshot)),
    };
    assert_eq!(wanted(&mut stage, 30), Ok(vec![ToAgent::Transfer { transfer, order }]));
    let progress = Progress { bytes: mib(3), bytes_total: mib(9), entries: 4, entries_total: 10 };
    let told = FromAgent::Progress(vec![(volume.id, progress)]);
    stage.put(Input::Agent { agent: agent_id(1), session: session(1), message: told });
    assert_eq!(notes(&stage, 30), vec!["3 MiB of 9 MiB and 4 of 10 entries are copied"]);
    assert_eq!(ends(&mut stage, 30, Ok("sent")), vec![("EXPORT", "DONE", None)]);
    assert_eq!(notes(&stage, 30), vec!["sent"]);
    assert_eq!(ends(&mut stage, 30, Err(ErrorCode::TransferFailed)), vec![], "it has ended");
    assert_eq!(wanted(&mut stage, 30), Err(ErrorCode::TransferFailed), "once");
    assert_eq!(wanted(&mut stage, 31), Err(ErrorCode::UnknownOperation));
    assert_eq!(wanted(&mut stage, 20), Err(ErrorCode::UnknownOperation), "a snapshot is no export");
    assert_eq!(ends(&mut stage, 20, Ok("sent")), vec![]);
}

#[test]
fn an_export_that_a_master_was_sending_has_failed_for_the_next_one() {
    let (mut stage, volume, _snapshot) = kept();
    stage.operator(30, export(&volume, None)).0.expect("it is accepted");
    let step = stage.restart();
    let failed = ("EXPORT", "FAILED", Some(ErrorCode::TransferFailed));
    assert_eq!(operations(&step), vec![failed]);
    assert_eq!(wanted(&mut stage, 30), Err(ErrorCode::TransferFailed));
}

#[test]
fn what_cannot_be_exported_is_refused_with_what_to_do() {
    let (mut stage, data, snapshot) = kept();
    let other = stage.make_volume(1, session(1), "other", 64);
    let refused = stage.operator(40, export(&other, Some(snapshot.id))).0.unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnknownSnapshot);
    assert_eq!(refused.message, "snapshot one is not one of volume other");
    let absent = Some(SnapshotId::from_u128(77));
    let refused = stage.operator(41, export(&data, absent)).0.unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnknownSnapshot);
    // In use.
    let (framework, step) = stage.subscribe(50, framework_info("db", &["storage"]));
    let offer = stage::offered(&step).remove(0);
    let mine = plus(&res("cpus:1;mem:64"), &sum([volume("other", "storage", 64, "data")]));
    let launch = Action::Launch(vec![task("t", agent_id(1), mine)]);
    stage.accept(&framework, 50, &[&offer], vec![launch]);
    assert_eq!(stage.volume("other").users.len(), 1);
    let refused = stage.operator(42, export(&other, None)).0.unwrap_err();
    assert_eq!(refused.code, ErrorCode::VolumeInUse);
    assert!(refused.remedy.contains("berth volume export other --snapshot N"), "{refused}");
    stage.operator(43, export(&data, None)).0.expect("nobody uses it");
}

#[test]
fn an_import_from_a_stream_needs_no_agent_and_has_an_origin() {
    let (mut stage, _data, _snapshot) = kept();
    let mut request = create_request("copy", "storage", 64);
    if let Request::CreateVolume { import, .. } = &mut request {
        *import = Some(Import::Stream);
    }
    let (answer, step) = stage.operator(60, request);
    assert_eq!((answer, operations(&step)), (Ok(op(60)), vec![("IMPORT", "ACCEPTED", None)]));
    let messages = messages(&step);
    let [ToAgent::DeriveVolume { spec, operation, origin }] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    assert_eq!((*operation, &**origin), (op(60), &Origin::Stream));
    let step = stage.reports(1, session(1), report(spec, VolumeState::Ready));
    assert_eq!(operations(&step), vec![("IMPORT", "DONE", None)]);
}
