//! What an agent does with volumes, step by step.

mod scene;

use berth_agent_core::effect::{Place, VolumeEffect, VolumeOutcome};
use berth_agent_core::{Input, Output, Severity, Step};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::SessionId;
use berth_model::link::{FromAgent, ToAgent};
use berth_model::record::{LedgerRecord, LedgerVolume};
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::{Enforcement, VolumeReport, VolumeState};
use scene::*;
use std::sync::Arc;
use std::time::Duration;

fn states(outputs: &[Output]) -> Vec<(VolumeState, Option<ErrorCode>)> {
    reports(outputs).into_iter().map(|r| (r.state, r.error.map(|e| e.code))).collect()
}

fn no_space() -> Rejection {
    Rejection::new(ErrorCode::DiskFull, "no space left")
}

#[test]
fn create_writes_its_intent_then_asks_for_the_effect_then_writes_and_reports_the_result() {
    let mut scene = Scene::registered();
    let intent = LedgerVolume {
        spec: spec(1, 1),
        state: VolumeState::Creating,
        operation: Some(operation(9)),
        restore: false,
        error: None,
        driver: Arc::from(""),
        changed: scene.now,
        resize: None,
        setting: None,
        origin: None,
        wipe: None,
    };
    let report = VolumeReport {
        spec: spec(1, 1),
        state: VolumeState::Creating,
        operation: Some(operation(9)),
        error: None,
        host_path: Arc::from(""),
        driver: Arc::from(""),
        enforcement: Enforcement::None,
        used: None,
        purged: vec![],
        resizing: None,
        setting: None,
        wiped: None,
        refused: false,
        unavailable: None,
    };
    let send = |report| Output::Send(FromAgent::Volume { ledger_seq: 0, report });
    assert_eq!(
        scene.step(envelope(1, ensure(1, 1, 9))),
        Step {
            records: vec![LedgerRecord::Volume(intent.clone())],
            outputs: vec![
                send(report.clone()),
                Output::Volume {
                    token: 1,
                    effect: VolumeEffect::Create { spec: spec(1, 1), purgeable: vec![] },
                },
            ],
        }
    );
    let outcome = Input::Volume { volume: volume(1), token: 1, outcome: present() };
    let driver: Arc<str> = Arc::from("directory");
    let ready = LedgerVolume { state: VolumeState::Ready, driver: driver.clone(), ..intent };
    assert_eq!(
        scene.step(outcome.clone()),
        Step {
            records: vec![LedgerRecord::Volume(ready)],
            outputs: vec![send(VolumeReport {
                state: VolumeState::Ready,
                host_path: Arc::from("/disk/v"),
                driver,
                ..report
            })],
        }
    );
    assert_eq!(scene.step(outcome), Step::default());
    assert_eq!(states(&scene.say(ensure(1, 1, 9))), vec![(VolumeState::Ready, None)]);
}

#[test]
fn a_ready_volume_is_verified_before_registration_and_what_was_begun_is_reported_as_begun() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    scene.say(ensure(2, 1, 2));
    let outputs = scene.crash().outputs;
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Verify { spec: spec(1, 1), place: Place::Live });
    assert_eq!(scene.give(Input::Connected { session: SessionId::from_u128(2) }), vec![]);
    let outputs =
        scene.give(Input::Volume { volume: volume(1), token: 1, outcome: VolumeOutcome::Absent });
    let lost = outputs.iter().find_map(|o| match o {
        Output::Send(FromAgent::Register(r)) => Some(
            r.volumes
                .iter()
                .map(|v| (v.spec.id, v.state, v.error.as_ref().map(|e| e.code)))
                .collect::<Vec<_>>(),
        ),
        _ => None,
    });
    assert_eq!(
        lost,
        Some(vec![
            (volume(1), VolumeState::Lost, Some(ErrorCode::VolumeLost)),
            (volume(2), VolumeState::Creating, None)
        ])
    );
    let (_, effect) = only_volume_effect(&scene.taken_in());
    assert_eq!(effect, VolumeEffect::Create { spec: spec(2, 1), purgeable: vec![] });
    // A lost volume is never made anew.
    assert_eq!(volume_effects(&scene.give(envelope(1, ensure(1, 1, 1)))), vec![]);
    assert_eq!(volume_effects(&scene.give(envelope(1, ensure(1, 1, 77)))), vec![]);
}

#[test]
fn a_registration_does_not_wait_for_a_disk_that_hangs() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    scene.crash();
    assert_eq!(scene.give(Input::Connected { session: SessionId::from_u128(2) }), vec![]);
    let outputs = scene.wait(Duration::from_secs(10));
    assert!(
        matches!(outputs.as_slice(), [Output::Send(FromAgent::Register(r))] if r.volumes.len() == 1),
        "{outputs:?}"
    );
}

#[test]
fn a_create_that_cannot_be_is_failed_with_its_reason_and_the_answer_is_stable() {
    let mut scene = Scene::registered();
    let mut big = spec(1, 1);
    big.size = Bytes::from_mib(11 * 1024);
    let call = ToAgent::EnsureVolume { spec: big, operation: operation(1), restore: false };
    let refused = (VolumeState::Failed, Some(ErrorCode::InsufficientResources));
    assert_eq!(states(&scene.say(call.clone())), vec![refused]);
    assert_eq!(states(&scene.say(call)), vec![refused]);
    let mut odd = spec(2, 1);
    odd.source = berth_model::resources::DiskSource::Path(Arc::from("/nowhere"));
    let call = ToAgent::EnsureVolume { spec: odd, operation: operation(2), restore: false };
    assert_eq!(states(&scene.say(call)), vec![(VolumeState::Failed, Some(ErrorCode::UnknownDisk))]);
    let outputs = scene.say(ensure(3, 1, 3));
    let foreign = Rejection::new(ErrorCode::DirectoryExists, "something is there");
    let outputs = scene.answer(&outputs, VolumeOutcome::Foreign(foreign));
    assert_eq!(states(&outputs), vec![(VolumeState::Failed, Some(ErrorCode::DirectoryExists))]);
    // Another operation is another attempt.
    assert_eq!(volume_effects(&scene.say(ensure(3, 1, 3))), vec![]);
    assert_eq!(volume_effects(&scene.say(ensure(3, 1, 4))).len(), 1);
}

#[test]
fn an_unclear_effect_is_asked_for_again_with_growing_pauses() {
    let mut scene = Scene::registered();
    let io = || VolumeOutcome::Unclear(Rejection::new(ErrorCode::DiskFaulty, "input/output error"));
    let mut outputs = scene.say(ensure(1, 1, 1));
    for (round, pause) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        outputs = scene.answer(&outputs, io());
        let told = vec![(VolumeState::Creating, Some(ErrorCode::DiskFaulty))];
        assert_eq!(states(&outputs), if round == 0 { told } else { vec![] });
        assert_eq!(volume_effects(&scene.wait(Duration::from_millis(pause * 1000 - 1))), vec![]);
        outputs = scene.wait(Duration::from_millis(1));
    }
    // The master was silent all the while; the next registration tells it.
    assert_eq!(scene.answer(&outputs, present()), vec![]);
    let volume = &scene.agent.books().volumes()[&volume(1)];
    assert_eq!((volume.state, &volume.error), (VolumeState::Ready, &None));
}

#[test]
fn destroy_is_refused_while_a_task_uses_the_volume_and_done_in_two_synced_steps_after() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    scene.answer(&outputs, present());
    let outputs = scene.say(destroy(1, 1, 5));
    let report = reports(&outputs).remove(0);
    assert_eq!((report.state, report.operation), (VolumeState::Ready, Some(operation(5))));
    assert_eq!(
        report.error,
        Some(
            Rejection::new(
                ErrorCode::VolumeInUse,
                format!("volume {} is used by task F-1/t", volume(1))
            )
            .remedy("end the task; the volume is destroyed then")
        )
    );
    assert_eq!(scene.agent.books().volumes()[&volume(1)].state, VolumeState::Ready);

    let container = scene.agent.books().tasks()[&key("t")].container;
    let event =
        berth_agent_core::effect::ContainerEvent::Exited(berth_agent_core::effect::Exit::Status(0));
    let late = statuses(&scene.say(launch("late", vec![used(1, 1)]))).remove(0);
    assert_eq!(late.error.map(|e| e.code), Some(ErrorCode::VolumeNotReady));
    let step = scene.step(Input::Container { container, event });
    assert!(
        matches!(step.records.last(), Some(LedgerRecord::Volume(v)) if v.state == VolumeState::Tombstoned)
    );
    let (token, effect) = only_volume_effect(&step.outputs);
    assert_eq!(effect, VolumeEffect::Trash { spec: spec(1, 1) });
    let step = scene.step(Input::Volume { volume: volume(1), token, outcome: present() });
    assert_eq!(states(&step.outputs), vec![(VolumeState::Trashed, None)]);
    assert!(
        matches!(step.records.as_slice(), [LedgerRecord::Volume(v)] if v.state == VolumeState::Trashed)
    );
}

fn trashed(scene: &mut Scene, number: u128) {
    scene.ready_volume(number);
    let outputs = scene.say(destroy(number, 1, 100 + number));
    scene.answer(&outputs, present());
}

#[test]
fn trash_is_purged_when_its_retention_is_over_also_across_a_restart() {
    let mut scene = Scene::registered();
    trashed(&mut scene, 1);
    scene.wait(Duration::from_hours(20));
    let outputs = scene.crash().outputs;
    scene.answer(&outputs, present());
    assert_eq!(volume_effects(&scene.connect(1)), vec![]);
    assert_eq!(volume_effects(&scene.wait(Duration::from_secs(4 * 3600 - 1))), vec![]);
    let outputs = scene.wait(Duration::from_secs(1));
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Purge { spec: spec(1, 1) });
    scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(scene.agent.books().volumes()[&volume(1)].state, VolumeState::Gone);
    // What is gone is told after the registration, until the master has forgotten it.
    scene.connect(1);
    assert_eq!(states(&scene.connect(1)), vec![(VolumeState::Gone, None)]);
    scene.say(ToAgent::ForgetVolume { volume: volume(1), generation: 1 });
    assert_eq!(scene.agent.books().volumes().len(), 0);
}

#[test]
fn create_may_purge_the_oldest_trash_and_reports_what_it_purged() {
    let mut scene = Scene::registered();
    trashed(&mut scene, 2);
    scene.wait(Duration::from_secs(1));
    trashed(&mut scene, 1);
    let outputs = scene.say(ensure(3, 1, 3));
    let (token, effect) = only_volume_effect(&outputs);
    let size = Bytes::from_mib(1024);
    let purgeable = vec![(spec(2, 1), size), (spec(1, 1), size)];
    assert_eq!(effect, VolumeEffect::Create { spec: spec(3, 1), purgeable });
    // What may be purged cannot be restored at the same time; what another create asks for is something else.
    assert_eq!(volume_effects(&scene.say(ensure(1, 2, 7))), vec![]);
    let outputs = scene.say(ensure(4, 1, 4));
    let (second, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Create { spec: spec(4, 1), purgeable: vec![] });
    // The second one found no room although there is trash: it is asked for again.
    let outcome = VolumeOutcome::Failed(no_space());
    let outputs = scene.give(Input::Volume { volume: volume(4), token: second, outcome });
    assert_eq!(states(&outputs), vec![(VolumeState::Creating, Some(ErrorCode::DiskFull))]);

    let outcome = VolumeOutcome::Present {
        host_path: Arc::from("/disk/v"),
        driver: Arc::from("directory"),
        enforcement: Enforcement::None,
        purged: vec![volume(2)],
    };
    let outputs = scene.give(Input::Volume { volume: volume(3), token, outcome });
    let told: Vec<_> =
        reports(&outputs).into_iter().map(|r| (r.spec.id, r.state, r.purged)).collect();
    assert_eq!(
        told,
        vec![
            (volume(3), VolumeState::Ready, vec![volume(2)]),
            (volume(2), VolumeState::Gone, vec![])
        ]
    );
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Restore { spec: spec(1, 2), purgeable: vec![] });
}

#[test]
fn a_volume_is_restored_with_the_next_generation_and_a_failed_restore_leaves_it_in_the_trash() {
    let mut scene = Scene::registered();
    trashed(&mut scene, 1);
    let outputs = scene.say(ensure(1, 2, 8));
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Restore { spec: spec(1, 2), purgeable: vec![] });
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(no_space()));
    let report = reports(&outputs).remove(0);
    assert_eq!((report.state, report.spec), (VolumeState::Trashed, spec(1, 1)));
    let outputs = scene.say(ensure(1, 2, 9));
    let outputs = scene.answer(&outputs, present());
    let report = reports(&outputs).remove(0);
    assert_eq!((report.state, report.spec), (VolumeState::Ready, spec(1, 2)));
    // Calls about the earlier life change nothing.
    let outputs = scene.say(destroy(1, 1, 10));
    assert_eq!(states(&outputs), vec![(VolumeState::Ready, Some(ErrorCode::VolumeNotReady))]);
    assert_eq!(volume_effects(&outputs), vec![]);
    // Restoring what is not there is a failure, not a new volume.
    assert_eq!(
        states(&scene.say(ensure(5, 2, 11))),
        vec![(VolumeState::Failed, Some(ErrorCode::VolumeLost))]
    );
}

#[test]
fn something_foreign_is_quarantined_and_never_deleted() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.crash().outputs;
    let error = Rejection::new(ErrorCode::VolumeUnavailable, "marker names another volume");
    scene.answer(&outputs, VolumeOutcome::Foreign(error));
    scene.connect(1);
    for message in [destroy(1, 1, 4), ensure(1, 1, 5)] {
        let outputs = scene.say(message);
        assert_eq!(volume_effects(&outputs), vec![]);
        assert_eq!(states(&outputs)[0].0, VolumeState::Quarantined);
    }
    scene.say(ToAgent::ForgetVolume { volume: volume(1), generation: 1 });
    assert_eq!(scene.agent.books().volumes().len(), 1);
}

#[test]
fn ready_volumes_are_measured_one_at_a_time() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    scene.ready_volume(2);
    let outputs = scene.wait(Duration::from_secs(2));
    let (token, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Usage { spec: spec(1, 1) });
    let used = Measured { bytes: Bytes::new(4096), inodes: Some(3), inodes_limit: None };
    let outcome = VolumeOutcome::Used(used);
    let outputs = scene.give(Input::Volume { volume: volume(1), token, outcome });
    assert_eq!(outputs, vec![Output::Send(FromAgent::Usage(vec![(volume(1), used)]))]);
    let (_, effect) = only_volume_effect(&scene.wait(Duration::from_secs(1)));
    assert_eq!(effect, VolumeEffect::Usage { spec: spec(2, 1) });
}

#[test]
fn a_volume_that_vanished_while_nobody_used_it_is_found_lost_by_its_measurement() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let (token, effect) = only_volume_effect(&scene.wait(Duration::from_secs(2)));
    assert_eq!(effect, VolumeEffect::Usage { spec: spec(1, 1) });
    let error = Rejection::new(ErrorCode::VolumeUnavailable, "volume 1 is not on its disk");
    let outcome = VolumeOutcome::Failed(error);
    let outputs = scene.give(Input::Volume { volume: volume(1), token, outcome });
    assert_eq!(states(&outputs), vec![], "a failed measurement alone proves nothing");
    let (token, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Verify { spec: spec(1, 1), place: Place::Live });
    let outcome = VolumeOutcome::Absent;
    let outputs = scene.give(Input::Volume { volume: volume(1), token, outcome });
    assert_eq!(states(&outputs), vec![(VolumeState::Lost, Some(ErrorCode::VolumeLost))]);
    let later = volume_effects(&scene.wait(Duration::from_secs(3600)));
    assert_eq!(later, vec![], "what is lost is not measured");
}

/// A READY volume whose measurement meets something else in its place.
fn strangely_measured() -> (Scene, Vec<Output>) {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.wait(Duration::from_secs(2));
    let outputs = scene.answer(&outputs, foreign());
    assert_eq!(states(&outputs), vec![]);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Verify { spec: spec(1, 1), place: Place::Live });
    let outputs = scene.answer(&outputs, foreign());
    assert_eq!(states(&outputs), vec![(VolumeState::Ready, None)], "once may pass");
    let outputs = scene.wait(Duration::from_secs(1));
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Verify { spec: spec(1, 1), place: Place::Live });
    (scene, outputs)
}

fn foreign() -> VolumeOutcome {
    let text = "the directory says it is volume 2";
    VolumeOutcome::Foreign(Rejection::new(ErrorCode::VolumeUnavailable, text))
}

#[test]
fn a_disturbance_that_passes_quarantines_nothing() {
    let (mut scene, outputs) = strangely_measured();
    let outputs = scene.answer(&outputs, present());
    assert_eq!(states(&outputs), vec![(VolumeState::Ready, None)]);
    assert_eq!(reports(&outputs)[0].unavailable, None, "it can be used again");
    assert_eq!(scene.agent.books().volumes()[&volume(1)].state, VolumeState::Ready);
    // The next one begins anew.
    let outputs = scene.wait(Duration::from_secs(300));
    let outputs = scene.answer(&outputs, foreign());
    let outputs = scene.answer(&outputs, foreign());
    assert_eq!(states(&outputs), vec![], "nobody hears it: the master was silent too long");
    assert_eq!(scene.agent.books().volumes()[&volume(1)].state, VolumeState::Ready);
}

#[test]
fn what_contradicts_a_volume_twice_quarantines_it() {
    let (mut scene, outputs) = strangely_measured();
    let outputs = scene.answer(&outputs, foreign());
    let wanted = (VolumeState::Quarantined, Some(ErrorCode::VolumeUnavailable));
    assert_eq!(states(&outputs), vec![wanted]);
}

#[test]
fn a_wish_to_destroy_ends_with_the_connection() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    scene.answer(&outputs, present());
    scene.say(destroy(1, 1, 5));
    scene.connect(2);
    let container = scene.agent.books().tasks()[&key("t")].container;
    let event =
        berth_agent_core::effect::ContainerEvent::Exited(berth_agent_core::effect::Exit::Status(0));
    scene.give(Input::Container { container, event });
    assert_eq!(scene.agent.books().volumes()[&volume(1)].state, VolumeState::Ready);
}

#[test]
fn a_destroy_that_comes_while_the_volume_is_made_is_done_after_that() {
    let mut scene = Scene::registered();
    let outputs = scene.say(ensure(1, 1, 1));
    assert_eq!(
        states(&scene.say(destroy(1, 1, 2))),
        vec![(VolumeState::Creating, Some(ErrorCode::VolumeNotReady))]
    );
    let outputs = scene.answer(&outputs, present());
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Trash { spec: spec(1, 1) });
}

#[test]
fn a_lost_volume_whose_data_is_back_is_used_again_after_a_restart() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.crash().outputs;
    scene.answer(&outputs, VolumeOutcome::Absent);
    let state = |scene: &Scene| scene.agent.books().volumes()[&volume(1)].state;
    assert_eq!(state(&scene), VolumeState::Lost);
    let outputs = scene.crash().outputs;
    scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(state(&scene), VolumeState::Lost);
    let outputs = scene.crash().outputs;
    scene.answer(&outputs, present());
    assert_eq!(state(&scene), VolumeState::Ready);
}

#[test]
fn a_quarantined_volume_is_forgotten_when_nothing_of_it_is_left() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.crash().outputs;
    let error = Rejection::new(ErrorCode::VolumeUnavailable, "marker names another volume");
    scene.answer(&outputs, VolumeOutcome::Foreign(error));
    let outputs = scene.crash().outputs;
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Verify { spec: spec(1, 1), place: Place::Trash });
    assert_eq!(scene.give(Input::Connected { session: SessionId::from_u128(3) }), vec![]);
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    assert!(
        outputs
            .iter()
            .any(|o| matches!(o, Output::Send(FromAgent::Register(r)) if r.volumes.is_empty()))
    );
    assert_eq!(scene.agent.books().volumes().len(), 0);
}

#[test]
fn what_is_gone_is_gone_in_every_generation() {
    let mut scene = Scene::registered();
    trashed(&mut scene, 1);
    let outputs = scene.say(ensure(1, 2, 8));
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(states(&outputs), vec![(VolumeState::Failed, Some(ErrorCode::VolumeLost))]);
    let operation = operation(9);
    let outputs =
        scene.say(ToAgent::PurgeVolume { volume: volume(1), generation: 1, operation, wipe: None });
    let told: Vec<_> =
        reports(&outputs).into_iter().map(|r| (r.state, r.spec.generation, r.operation)).collect();
    assert_eq!(told, vec![(VolumeState::Gone, 1, Some(operation))]);
}

#[test]
fn a_purge_that_fails_is_told_once_and_asked_for_again() {
    let mut scene = Scene::registered();
    trashed(&mut scene, 1);
    let call = ToAgent::PurgeVolume {
        volume: volume(1),
        generation: 1,
        operation: operation(9),
        wipe: None,
    };
    let outputs = scene.say(call);
    let busy = Rejection::new(ErrorCode::DiskReadOnly, "read-only");
    let outputs = scene.answer(&outputs, VolumeOutcome::Unclear(busy.clone()));
    let report = reports(&outputs).remove(0);
    assert_eq!(
        (report.state, report.operation, report.error),
        (VolumeState::Trashed, Some(operation(9)), Some(busy.clone()))
    );
    assert_eq!(scene.agent.books().volumes()[&volume(1)].error, None);
    let outputs = scene.wait(Duration::from_secs(1));
    let outputs = scene.answer(&outputs, VolumeOutcome::Unclear(busy));
    assert_eq!(reports(&outputs), vec![]);
    let outputs = scene.wait(Duration::from_secs(2));
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(states(&outputs), vec![(VolumeState::Gone, None)]);
}

#[test]
fn a_volume_is_not_forgotten_while_somebody_looks_for_it() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.crash().outputs;
    scene.answer(&outputs, VolumeOutcome::Absent);
    let outputs = scene.crash().outputs;
    scene.wait(Duration::from_secs(10));
    scene.connect(1);
    assert_eq!(scene.say(ToAgent::ForgetVolume { volume: volume(1), generation: 1 }), vec![]);
    assert_eq!(volume_effects(&scene.say(ensure(1, 1, 1))), vec![]);
    scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(scene.agent.books().volumes().len(), 0);
}

#[test]
fn a_purge_that_was_asked_for_is_not_tried_again_for_the_next_master() {
    let mut scene = Scene::registered();
    trashed(&mut scene, 1);
    let call = ToAgent::PurgeVolume {
        volume: volume(1),
        generation: 1,
        operation: operation(9),
        wipe: None,
    };
    let outputs = scene.say(call);
    let busy = Rejection::new(ErrorCode::DiskReadOnly, "read-only");
    scene.answer(&outputs, VolumeOutcome::Unclear(busy));
    scene.connect(2);
    let later = volume_effects(&scene.wait(Duration::from_mins(5)));
    let purges = later.iter().filter(|(_, e)| matches!(e, VolumeEffect::Purge { .. }));
    assert_eq!(purges.count(), 0);
}

#[test]
fn retention_goes_on_when_the_master_that_asked_for_a_purge_is_gone() {
    let mut scene = Scene::registered();
    trashed(&mut scene, 1);
    let outputs = scene.wait(Duration::from_hours(24));
    let busy = Rejection::new(ErrorCode::DiskReadOnly, "read-only");
    scene.answer(&outputs, VolumeOutcome::Unclear(busy.clone()));
    // The master was silent for so long that it was given up.
    scene.connect(1);
    let call = ToAgent::PurgeVolume {
        volume: volume(1),
        generation: 1,
        operation: operation(9),
        wipe: None,
    };
    let outputs = scene.say(call);
    scene.answer(&outputs, VolumeOutcome::Unclear(busy));
    scene.connect(2);
    let (_, effect) = only_volume_effect(&scene.wait(Duration::from_mins(5)));
    assert_eq!(effect, VolumeEffect::Purge { spec: spec(1, 1) });
}

#[test]
fn a_restore_that_was_asked_for_is_answered_when_the_volume_was_purged_for_another() {
    let mut scene = Scene::registered();
    trashed(&mut scene, 1);
    let outputs = scene.say(ensure(3, 1, 3));
    assert_eq!(volume_effects(&scene.say(ensure(1, 2, 7))), vec![]);
    let outcome = VolumeOutcome::Present {
        host_path: Arc::from("/disk/v"),
        driver: Arc::from("directory"),
        enforcement: Enforcement::None,
        purged: vec![volume(1)],
    };
    let outputs = scene.answer(&outputs, outcome);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Restore { spec: spec(1, 2), purgeable: vec![] });
    let report = reports(&scene.answer(&outputs, VolumeOutcome::Absent)).remove(0);
    assert_eq!(
        (report.state, report.operation, report.error.map(|e| e.code)),
        (VolumeState::Failed, Some(operation(7)), Some(ErrorCode::VolumeLost))
    );
}

#[test]
fn what_the_operator_got_wrong_is_a_warning_in_the_agents_log_and_a_fault_is_an_error() {
    for (code, wanted) in [
        (ErrorCode::InvalidArgument, Severity::Warning),
        (ErrorCode::Unsupported, Severity::Warning),
        (ErrorCode::DiskFaulty, Severity::Error),
    ] {
        let mut scene = Scene::registered();
        let outputs = scene.say(ensure(1, 1, 9));
        let outputs = scene.answer(&outputs, VolumeOutcome::Failed(Rejection::new(code, "no")));
        let logged: Vec<_> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Log { severity, .. } => Some(*severity),
                _other => None,
            })
            .collect();
        assert_eq!(logged, [wanted], "{code}: {outputs:?}");
    }
}
