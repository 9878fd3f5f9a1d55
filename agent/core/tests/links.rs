//! What an agent does with its connection to the master: cluster, epochs, heartbeats.

mod scene;

use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_agent_core::{Input, Output, Step, stamp};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{ClusterId, SessionId};
use berth_model::link::{Envelope, FromAgent, ToAgent};
use berth_model::record::LedgerRecord;
use berth_model::units::Bytes;
use berth_model::volume::{VolumeSpec, VolumeState};
use scene::*;
use std::time::Duration;

fn disconnect_code(outputs: &[Output]) -> Option<ErrorCode> {
    outputs.iter().find_map(|o| match o {
        Output::Disconnect { reason } => Some(reason.code),
        _ => None,
    })
}

#[test]
fn the_first_contact_stores_cluster_and_epoch_before_anything_is_done() {
    let mut scene = Scene::new();
    scene.give(Input::Connected { session: SessionId::from_u128(1) });
    let step = scene.step(envelope(3, ensure(1, 1, 1)));
    assert_eq!(
        step.records.get(..2),
        Some(&[LedgerRecord::Joined(CLUSTER), LedgerRecord::Epoch { epoch: 3, revision: 300 }][..])
    );
}

#[test]
fn a_lower_epoch_and_another_cluster_are_refused_and_change_nothing() {
    let mut scene = Scene::registered();
    scene.connect(5);
    let before = scene.agent.books().clone();
    let step = scene.step(envelope(4, ensure(1, 1, 1)));
    assert_eq!(step.records, vec![]);
    assert_eq!(disconnect_code(&step.outputs), Some(ErrorCode::StaleEpoch));
    assert_eq!(volume_effects(&step.outputs), vec![]);
    // The connection is over: what still comes from it is not heard.
    assert_eq!(scene.step(envelope(5, ensure(1, 1, 1))), Step::default());
    scene.connect(5);
    let other = Envelope {
        cluster: ClusterId::from_u128(0xBAD),
        epoch: 9,
        revision: 1,
        message: ensure(1, 1, 1),
    };
    let step = scene.step(Input::Master(other));
    assert_eq!(step.records, vec![]);
    assert_eq!(disconnect_code(&step.outputs), Some(ErrorCode::WrongCluster));
    assert_eq!(scene.agent.books(), &before);
}

#[test]
fn the_epoch_is_remembered_across_a_crash() {
    let mut scene = Scene::registered();
    scene.connect(5);
    scene.crash();
    scene.give(Input::Connected { session: SessionId::from_u128(2) });
    let outputs =
        scene.give(envelope(4, ToAgent::Registered { heartbeat: Duration::from_secs(5) }));
    assert_eq!(disconnect_code(&outputs), Some(ErrorCode::StaleEpoch));
}

#[test]
fn a_growing_revision_rides_along_and_is_written_alone_only_in_strides() {
    let mut scene = Scene::registered();
    let say = |revision, message| {
        Input::Master(Envelope { cluster: CLUSTER, epoch: 1, revision, message })
    };
    assert_eq!(scene.step(say(150, ToAgent::Heartbeat)).records, vec![]);
    let records = scene.step(say(160, ensure(1, 1, 1))).records;
    assert_eq!(records.last(), Some(&LedgerRecord::Epoch { epoch: 1, revision: 160 }));
    assert_eq!(scene.step(say(1_159, ToAgent::Heartbeat)).records, vec![]);
    assert_eq!(
        scene.step(say(1_160, ToAgent::Heartbeat)).records,
        vec![LedgerRecord::Epoch { epoch: 1, revision: 1_160 }]
    );
    // An older message of the same epoch does not take it back.
    assert_eq!(scene.step(say(2, ToAgent::Heartbeat)).records, vec![]);
}

#[test]
fn heartbeats_are_sent_and_a_silent_master_is_given_up() {
    let mut scene = Scene::registered();
    for _ in 0..3 {
        let outputs = scene.wait(Duration::from_secs(5));
        assert_eq!(outputs, vec![Output::Send(FromAgent::Heartbeat { ledger_seq: 0 })]);
    }
    let outputs = scene.wait(Duration::from_secs(5));
    assert_eq!(disconnect_code(&outputs), Some(ErrorCode::Unavailable));
    assert_eq!(scene.wait(Duration::from_secs(60)), vec![]);
}

#[test]
fn a_refused_registration_closes_the_connection_with_the_masters_reason() {
    let mut scene = Scene::new();
    scene.give(Input::Connected { session: SessionId::from_u128(1) });
    let reason = Rejection::new(ErrorCode::SessionExists, "agent is connected already");
    let step = scene.step(envelope(1, ToAgent::Refused(reason.clone())));
    assert_eq!(step, Step { records: vec![], outputs: vec![Output::Disconnect { reason }] });
}

#[test]
fn the_shell_stamps_the_ledgers_position() {
    assert_eq!(
        stamp(FromAgent::Heartbeat { ledger_seq: 0 }, 7),
        FromAgent::Heartbeat { ledger_seq: 7 }
    );
    assert_eq!(stamp(FromAgent::Usage(vec![]), 7), FromAgent::Usage(vec![]));
}

#[test]
fn disks_are_told_when_they_change() {
    let mut scene = Scene::registered();
    let mut disks = info().disks;
    assert_eq!(scene.give(Input::Disks(disks.clone())), vec![]);
    disks[0].free = Bytes::from_mib(1);
    assert_eq!(
        scene.give(Input::Disks(disks.clone())),
        vec![Output::Send(FromAgent::Disks(disks))]
    );
}

#[test]
fn what_fails_while_the_registration_is_on_its_way_is_told_after_it() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let size = Bytes::from_mib(2048);
    let resize =
        ToAgent::ResizeVolume { volume: volume(1), generation: 1, size, operation: operation(9) };
    let resizing = scene.say(resize.clone());
    scene.give(Input::Connected { session: SessionId::from_u128(2) });
    let full = Rejection::new(ErrorCode::DiskFull, "no space left");
    let outputs = scene.answer(&resizing, VolumeOutcome::Failed(full.clone()));
    assert_eq!(reports(&outputs), [], "the master has not taken it in");
    let told = reports(&scene.taken_in());
    let last = told.last().expect("the master waits for the end of the operation");
    assert_eq!((last.operation, last.error.clone()), (Some(operation(9)), Some(full)));
    // What the master repeats at the registration was sent before it heard that.
    assert_eq!(volume_effects(&scene.say(resize)), []);
}

#[test]
fn a_resize_that_failed_is_not_begun_again_by_its_own_repetition() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let resize = ToAgent::ResizeVolume {
        volume: volume(1),
        generation: 1,
        size: Bytes::new(spec(1, 1).size.get() * 2),
        operation: operation(9),
    };
    scene.say(resize.clone());
    let outputs = scene.crash().outputs;
    scene.answer(&outputs, present());
    let outputs = scene.connect(1);
    assert!(matches!(only_volume_effect(&outputs).1, VolumeEffect::Resize { .. }));
    let full = Rejection::new(ErrorCode::DiskFull, "no space left");
    let failed = |outputs: &[Output]| {
        let said = reports(outputs);
        said.into_iter().map(|r| (r.operation, r.error.map(|e| e.code))).collect::<Vec<_>>()
    };
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(full));
    assert_eq!(failed(&outputs), [(Some(operation(9)), Some(ErrorCode::DiskFull))]);
    // The master repeated it before it heard of the end, after which the space is somebody else's.
    let outputs = scene.say(resize);
    assert_eq!(volume_effects(&outputs), []);
    assert_eq!(failed(&outputs), [(Some(operation(9)), Some(ErrorCode::DiskFull))]);
}

#[test]
fn a_volume_is_destroyed_after_the_resize_that_its_host_is_at() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let size = Bytes::new(spec(1, 1).size.get() * 2);
    let resize =
        ToAgent::ResizeVolume { volume: volume(1), generation: 1, size, operation: operation(9) };
    let resizing = scene.say(resize);
    let waits = scene.step(envelope(1, destroy(1, 1, 10)));
    assert_eq!(volume_effects(&waits.outputs), []);
    let known = scene.agent.books().volumes()[&volume(1)].clone();
    assert_eq!((known.state, known.resize), (VolumeState::Ready, Some(size)), "no tombstone yet");
    let outputs = scene.answer(&resizing, present());
    let known = scene.agent.books().volumes()[&volume(1)].clone();
    assert_eq!((known.state, known.resize), (VolumeState::Tombstoned, None));
    assert_eq!((known.spec.size, known.operation), (size, Some(operation(10))));
    let spec = VolumeSpec { size, ..spec(1, 1) };
    assert_eq!(only_volume_effect(&outputs).1, VolumeEffect::Trash { spec });
}
