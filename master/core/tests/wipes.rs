//! PURGE with a wipe: what is refused before anything is changed, what is durable, and what the audit log certifies.

mod stage;

use berth_master_core::query;
use berth_model::audit::{AuditEntry, AuditRecord, Phase, Who};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::operation::OperationState;
use berth_model::operator::{Request, VolumeChoice};
use berth_model::record::{RegistryKey, RegistryRecord};
use berth_model::transfer::Progress;
use berth_model::units::Bytes;
use berth_model::volume::{VolumeReport, VolumeSpec, VolumeState};
use berth_model::wipe::{Wipe, WipeAbility, Wiped};
use stage::{Stage, agent_id, create_request, ensured, info, messages, op, report, session};
use std::sync::Arc;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";

fn abilities() -> Vec<WipeAbility> {
    let of = |driver: &str, method, refused: Option<&str>| WipeAbility {
        driver: Arc::from(driver),
        method,
        refused: refused.map(str::to_owned),
    };
    vec![
        of("directory", Wipe::Discard, Some("nobody tells the device")),
        of("directory", Wipe::Zero, None),
        of("directory", Wipe::Shred, None),
        of("btrfs", Wipe::Zero, Some("it never overwrites in place")),
    ]
}

fn told(spec: &VolumeSpec, state: VolumeState) -> VolumeReport {
    VolumeReport { driver: Arc::from("directory"), ..report(spec, state) }
}

/// A volume in the trash of an agent that can wipe.
fn trashed(wipes: Vec<WipeAbility>) -> (Stage, VolumeSpec) {
    let mut stage = Stage::new();
    let mut declared = info(agent_id(1), MACHINE);
    for disk in &mut declared.disks {
        disk.wipes.clone_from(&wipes);
    }
    let registration = stage.registration(declared, session(1));
    stage.register_as(registration);
    let (_, step) = stage.operator(5, create_request("data", "storage", 1024));
    let spec = ensured(&step).expect("it is to be made");
    stage.reports(1, session(1), told(&spec, VolumeState::Ready));
    stage
        .operator(6, Request::DestroyVolume { volume: VolumeChoice::Id(spec.id) })
        .0
        .expect("accepted");
    stage.reports(1, session(1), told(&spec, VolumeState::Trashed));
    (stage, spec)
}

fn purge(spec: &VolumeSpec, wipe: Option<Wipe>) -> Request {
    Request::PurgeVolume { volume: spec.id, wipe }
}

fn wiped(method: Wipe) -> Option<Wiped> {
    Some(Wiped { method, bytes: Bytes::new(8192), driver: Arc::from("directory") })
}

fn entries(stage: &Stage) -> Vec<Arc<AuditEntry>> {
    let of = |record: &RegistryRecord| match record {
        RegistryRecord::Audit(AuditRecord::Entry(entry)) => Some(Arc::clone(entry)),
        _ => None,
    };
    stage.registry.values().filter_map(of).collect()
}

fn state_of(stage: &Stage, n: u128) -> OperationState {
    query::operation(stage.master.state(), op(n)).expect("it is known").state.clone()
}

#[test]
fn the_wish_is_durable_and_the_certificate_is_written_with_the_end() {
    let (mut stage, spec) = trashed(abilities());
    let (answer, step) = stage.operator(7, purge(&spec, Some(Wipe::Shred)));
    assert_eq!(answer, Ok(op(7)));
    let wipe = Some(Wipe::Shred);
    let order = ToAgent::PurgeVolume { volume: spec.id, generation: 1, operation: op(7), wipe };
    assert_eq!(messages(&step), std::slice::from_ref(&order));
    let RegistryRecord::Operation(record) = &stage.registry[&RegistryKey::Operation(op(7))] else {
        panic!("an operation")
    };
    assert_eq!(record.wipe, wipe);

    // Another master says the same.
    stage.restart();
    let mut declared = info(agent_id(1), MACHINE);
    declared.disks[0].wipes = abilities();
    let registration = stage.registration(declared, session(2));
    let volumes = vec![told(&spec, VolumeState::Trashed)];
    let registration = berth_model::link::Registration { volumes, ..registration };
    let step = stage.register_as(registration);
    assert!(messages(&step).contains(&order), "{:?}", messages(&step));

    let progress =
        Progress { bytes: Bytes::new(512), bytes_total: Bytes::new(8192), ..Progress::default() };
    stage.agent_says(1, session(2), FromAgent::Progress(vec![(spec.id, progress)]));
    let shown = query::operation(stage.master.state(), op(7)).unwrap();
    assert_eq!(shown.notes.last().map(String::as_str), Some("512 B of 8 KiB are wiped"));

    let before = entries(&stage).len();
    let gone = VolumeReport { wiped: wiped(Wipe::Shred), ..told(&spec, VolumeState::Gone) };
    stage.reports(1, session(2), gone);
    let entry = entries(&stage)[before].clone();
    assert_eq!((entry.phase, entry.operation), (Phase::Done, Some(op(7))));
    let certificate = format!(
        "volume data ({}, generation 1) on disk ROOT wiped: 8 KiB (8192 bytes) of driver directory overwritten with random bytes, then with zeros (shred), synced before they were given back",
        spec.id
    );
    assert_eq!(entry.notes, ["wipe wanted: shred".to_owned(), certificate]);
    assert!(!stage.registry.contains_key(&RegistryKey::Volume(spec.id)), "in the same batch");
}

#[test]
fn what_does_not_reach_the_blocks_is_refused_before_anything_is_changed() {
    let refused = |wipes: Vec<WipeAbility>, method: Wipe| -> Rejection {
        let (mut stage, spec) = trashed(wipes);
        let before = stage.registry.clone();
        let (answer, step) = stage.operator(7, purge(&spec, Some(method)));
        assert_eq!(messages(&step), []);
        assert_eq!(stage.registry, before);
        answer.unwrap_err()
    };
    let discard = refused(abilities(), Wipe::Discard);
    assert_eq!(discard.code, ErrorCode::Unsupported);
    assert!(discard.message.ends_with("volumes of driver directory on disk root cannot be wiped by discard: nobody tells the device"), "{discard}");
    assert_eq!(discard.remedy, "use --wipe zero or --wipe shred");
    // An agent of an earlier release would delete without wiping.
    let silent = refused(Vec::new(), Wipe::Zero);
    assert!(silent.message.ends_with("its agent does not say that it can"), "{silent}");
    assert!(silent.remedy.starts_with("purge it with --wipe none"), "{silent}");
    // Without a wipe it is deleted as ever.
    let (mut stage, spec) = trashed(Vec::new());
    assert_eq!(stage.operator(7, purge(&spec, Some(Wipe::None))).0, Ok(op(7)));
}

#[test]
fn an_end_without_the_wipe_is_no_success() {
    for (asked, done, is_done) in [
        (Some(Wipe::Zero), None, false),
        (Some(Wipe::Shred), wiped(Wipe::Zero), false),
        (Some(Wipe::Zero), wiped(Wipe::Shred), true),
        (None, wiped(Wipe::Zero), true),
        (None, None, true),
    ] {
        let (mut stage, spec) = trashed(abilities());
        stage.operator(7, purge(&spec, asked)).0.unwrap();
        let gone = VolumeReport { wiped: done, ..told(&spec, VolumeState::Gone) };
        stage.reports(1, session(1), gone);
        let state = state_of(&stage, 7);
        assert_eq!(state == OperationState::Done, is_done, "{asked:?}: {state:?}");
    }
}

#[test]
fn a_refusal_by_the_agent_ends_the_operation_and_keeps_the_volume() {
    let (mut stage, spec) = trashed(abilities());
    stage.operator(7, purge(&spec, Some(Wipe::Zero))).0.unwrap();
    let error = Some(Rejection::new(ErrorCode::Unsupported, "a file shares blocks"));
    let report =
        VolumeReport { operation: Some(op(7)), error, ..told(&spec, VolumeState::Trashed) };
    // Told to go on trying, it is under way.
    stage.reports(1, session(1), report.clone());
    assert_eq!(state_of(&stage, 7), OperationState::Accepted);
    // An earlier one says nothing of this.
    let earlier = VolumeReport { operation: Some(op(6)), refused: true, ..report.clone() };
    stage.reports(1, session(1), earlier);
    assert_eq!(state_of(&stage, 7), OperationState::Accepted);
    stage.reports(1, session(1), VolumeReport { refused: true, ..report });
    assert!(matches!(state_of(&stage, 7), OperationState::Failed(_)));
    let trashed = query::volumes(stage.master.state()).len();
    assert_eq!(trashed, 1);
    assert_eq!(stage.operator(8, purge(&spec, Some(Wipe::None))).0, Ok(op(8)));
}

#[test]
fn a_retention_that_wipes_is_certified_without_an_operation() {
    let (mut stage, spec) = trashed(abilities());
    let before = entries(&stage).len();
    let gone = VolumeReport { wiped: wiped(Wipe::Zero), ..told(&spec, VolumeState::Gone) };
    stage.reports(1, session(1), gone);
    let new = entries(&stage).split_off(before);
    assert_eq!(new.len(), 1);
    assert_eq!((new[0].phase, &new[0].who, new[0].operation), (Phase::Done, &Who::Berth, None));
    assert_eq!(new[0].volumes, [spec.id]);
    assert!(new[0].notes[0].contains("wiped: 8 KiB"), "{:?}", new[0].notes);
    // Unwiped, nothing is certified.
    let (mut stage, spec) = trashed(abilities());
    let before = entries(&stage).len();
    stage.reports(1, session(1), told(&spec, VolumeState::Gone));
    assert_eq!(entries(&stage).len(), before);
}
