//! What an agent does with snapshots, step by step.

mod scene;

use berth_agent_core::Output;
use berth_agent_core::effect::{Freezing, VolumeEffect, VolumeOutcome};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{SnapshotId, SnapshotName};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::record::LedgerRecord;
use berth_model::snapshot::{Freeze, Origin, SnapshotSpec, SnapshotState};
use berth_model::task::Program;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::{VolumeSpec, VolumeState};
use scene::*;
use std::time::Duration;

fn snapshot(number: u128, of: &VolumeSpec) -> SnapshotSpec {
    SnapshotSpec {
        id: SnapshotId::from_u128(0x9000 + number),
        name: SnapshotName::new(&format!("s-{number}")).expect("a valid name"),
        of: of.clone(),
    }
}

fn take(snapshot: &SnapshotSpec) -> ToAgent {
    ToAgent::EnsureSnapshot { spec: snapshot.clone(), operation: operation(50), freeze: None }
}

fn states(outputs: &[Output]) -> Vec<(SnapshotState, Option<ErrorCode>)> {
    let report = |output: &Output| match output {
        Output::Send(FromAgent::Snapshot { report, .. }) => {
            Some((report.state, report.error.as_ref().map(|error| error.code)))
        },
        _ => None,
    };
    outputs.iter().filter_map(report).collect()
}

fn volumes(outputs: &[Output]) -> Vec<(VolumeState, u64, Option<ErrorCode>)> {
    reports(outputs)
        .into_iter()
        .map(|r| (r.state, r.spec.generation, r.error.map(|error| error.code)))
        .collect()
}

fn full() -> Rejection {
    Rejection::new(ErrorCode::DiskFull, "no space left")
}

/// A READY volume with a READY snapshot.
fn kept() -> (Scene, SnapshotSpec) {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let one = snapshot(1, &spec(1, 1));
    let outputs = scene.say(take(&one));
    assert_eq!(states(&outputs), [(SnapshotState::Creating, None)]);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Snapshot { snapshot: one.clone(), freeze: None });
    let outputs = scene.answer(&outputs, present());
    assert_eq!(states(&outputs), [(SnapshotState::Ready, None)]);
    (scene, one)
}

#[test]
fn a_snapshot_is_written_as_intended_taken_and_written_as_ready() {
    let (mut scene, one) = kept();
    let written: Vec<SnapshotState> = scene
        .ledger
        .iter()
        .filter_map(|record| match record {
            LedgerRecord::Snapshot(snapshot) => Some(snapshot.state),
            _ => None,
        })
        .collect();
    assert_eq!(written, [SnapshotState::Creating, SnapshotState::Ready]);
    let outputs = scene.say(take(&one));
    assert_eq!(states(&outputs), [(SnapshotState::Ready, None)], "asked again");
    assert_eq!(volume_effects(&outputs), []);

    let other = snapshot(2, &spec(1, 7));
    let outputs = scene.say(take(&other));
    assert_eq!(states(&outputs), [(SnapshotState::Failed, Some(ErrorCode::VolumeNotReady))]);
    assert_eq!(volume_effects(&outputs), []);
}

#[test]
fn what_was_begun_waits_for_the_master_and_is_done_again() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let one = snapshot(1, &spec(1, 1));
    scene.say(take(&one));
    let outputs = scene.crash().outputs;
    assert!(matches!(only_volume_effect(&outputs).1, VolumeEffect::Verify { .. }));
    let outputs = scene.answer(&outputs, present());
    assert_eq!(volume_effects(&outputs), [], "no master has taken it in");
    let outputs = scene.connect(1);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Snapshot { snapshot: one, freeze: None });
    let outputs = scene.answer(&outputs, VolumeOutcome::Unclear(full()));
    assert_eq!(states(&outputs), [(SnapshotState::Creating, Some(ErrorCode::DiskFull))]);
    let outputs = scene.wait(Duration::from_secs(1));
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(full()));
    assert_eq!(states(&outputs), [(SnapshotState::Failed, Some(ErrorCode::DiskFull))]);
}

#[test]
fn what_was_begun_is_deleted_when_its_volume_goes_before_it_is_failed() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let one = snapshot(1, &spec(1, 1));
    let outputs = scene.say(take(&one));
    // It may lie on the disk now.
    scene.answer(&outputs, VolumeOutcome::Unclear(full()));
    let outputs = scene.say(destroy(1, 1, 9));
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Trash { spec: spec(1, 1) });
    let outputs = scene.answer(&outputs, present());
    assert_eq!(states(&outputs), [], "nothing is claimed yet");
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::EraseSnapshot { snapshot: one.clone() });
    let outputs = scene.answer(&outputs, VolumeOutcome::Unclear(full()));
    assert_eq!(states(&outputs), [], "told once per reason");
    let outputs = scene.wait(Duration::from_secs(2));
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::EraseSnapshot { snapshot: one });
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(states(&outputs), [(SnapshotState::Failed, Some(ErrorCode::VolumeNotReady))]);
}

#[test]
fn a_ready_one_is_looked_at_after_a_start_and_a_missing_one_is_lost_and_never_taken_anew() {
    let (mut scene, one) = kept();
    let outputs = scene.crash().outputs;
    let outputs = scene.answer(&outputs, present());
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::VerifySnapshot { snapshot: one.clone() });
    scene.answer(&outputs, VolumeOutcome::Absent);
    let outputs = scene.connect(1);
    let registered = outputs.iter().find_map(|output| match output {
        Output::Send(FromAgent::Register(r)) => Some(r.snapshots.clone()),
        _ => None,
    });
    let found: Vec<SnapshotState> = registered.unwrap().iter().map(|s| s.state).collect();
    assert_eq!(found, [SnapshotState::Lost]);
    let outputs = scene.say(take(&one));
    assert_eq!((states(&outputs).len(), volume_effects(&outputs)), (1, vec![]));

    // It is found again after another start.
    let outputs = scene.crash().outputs;
    let outputs = scene.answer(&outputs, present());
    scene.answer(&outputs, present());
    let state = scene.agent.books().snapshots()[&one.id].state;
    assert_eq!(state, SnapshotState::Ready);
}

#[test]
fn a_snapshot_is_deleted_when_asked_and_forgotten_when_the_master_knows() {
    let (mut scene, one) = kept();
    let delete = ToAgent::DeleteSnapshot { spec: one.clone(), operation: operation(51) };
    let outputs = scene.say(delete.clone());
    assert_eq!(states(&outputs), [(SnapshotState::Deleting, None)]);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::EraseSnapshot { snapshot: one.clone() });
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(states(&outputs), [(SnapshotState::Gone, None)]);
    assert_eq!(states(&scene.say(delete)), [(SnapshotState::Gone, None)], "asked again");
    scene.say(ToAgent::ForgetSnapshot { snapshot: one.id });
    assert!(scene.agent.books().snapshots().is_empty());
}

#[test]
fn snapshots_outlive_the_trash_and_die_with_the_purge() {
    let (mut scene, one) = kept();
    let outputs = scene.say(destroy(1, 1, 60));
    scene.answer(&outputs, present());
    assert_eq!(scene.agent.books().snapshots()[&one.id].state, SnapshotState::Ready);
    let purge = ToAgent::PurgeVolume {
        volume: volume(1),
        generation: 1,
        operation: operation(61),
        wipe: None,
    };
    let outputs = scene.say(purge);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Purge { spec: spec(1, 1) });
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(states(&outputs), [(SnapshotState::Deleting, None)]);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::EraseSnapshot { snapshot: one.clone() });
    scene.say(ToAgent::ForgetVolume { volume: volume(1), generation: 1 });
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(states(&outputs), [(SnapshotState::Gone, None)]);
    assert!(scene.agent.books().volumes().is_empty(), "forgotten when the effect was over");
}

#[test]
fn a_volume_whose_data_is_lost_takes_no_snapshot_with_it() {
    let (mut scene, one) = kept();
    let outputs = scene.say(destroy(1, 1, 60));
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(volumes(&outputs), [(VolumeState::Gone, 1, Some(ErrorCode::VolumeLost))]);
    assert_eq!(scene.agent.books().snapshots()[&one.id].state, SnapshotState::Ready);
}

fn roll_back(one: &SnapshotSpec, safety: &SnapshotSpec) -> ToAgent {
    ToAgent::DeriveVolume {
        spec: spec(1, 2),
        operation: operation(70),
        origin: Box::new(Origin::RollBack { snapshot: one.clone(), safety: safety.clone() }),
    }
}

#[test]
fn a_roll_back_takes_its_safety_snapshot_first() {
    let (mut scene, one) = kept();
    let safety = snapshot(2, &spec(1, 1));
    let outputs = scene.say(roll_back(&one, &safety));
    assert_eq!(volumes(&outputs), [(VolumeState::Creating, 2, None)]);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Snapshot { snapshot: safety.clone(), freeze: None });
    // A crash here begins with the same effect again.
    let outputs = scene.crash().outputs;
    scene.answer(&outputs, present());
    let outputs = scene.connect(1);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Snapshot { snapshot: safety.clone(), freeze: None });
    let outputs = scene.answer(&outputs, present());
    let (_, effect) = only_volume_effect(&outputs);
    let want = VolumeEffect::RollBack { spec: spec(1, 2), snapshot: one, safety };
    assert_eq!(effect, want);
    let outputs = scene.answer(&outputs, present());
    assert_eq!(volumes(&outputs), [(VolumeState::Ready, 2, None)]);
    let now = &scene.agent.books().volumes()[&volume(1)];
    assert_eq!((now.state, now.origin.clone()), (VolumeState::Ready, None));
}

#[test]
fn a_roll_back_that_fails_leaves_the_volume_in_its_life_and_says_so_again() {
    let (mut scene, one) = kept();
    let safety = snapshot(2, &spec(1, 1));
    let outputs = scene.say(roll_back(&one, &safety));
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(full()));
    assert_eq!(states(&outputs), [(SnapshotState::Failed, Some(ErrorCode::DiskFull))]);
    assert_eq!(volumes(&outputs), [(VolumeState::Ready, 1, Some(ErrorCode::DiskFull))]);
    let (_, effect) = only_volume_effect(&outputs);
    assert!(matches!(effect, VolumeEffect::Verify { .. }), "{effect:?}");
    let outputs = scene.say(roll_back(&one, &safety));
    assert_eq!(volumes(&outputs), [(VolumeState::Ready, 1, Some(ErrorCode::DiskFull))]);
    assert_eq!(volume_effects(&outputs), []);
}

#[test]
fn a_volume_in_use_is_not_rolled_back_and_the_task_is_named() {
    let (mut scene, one) = kept();
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    scene.answer(&outputs, present());
    let outputs = scene.say(roll_back(&one, &snapshot(2, &spec(1, 1))));
    let refused = reports(&outputs).remove(0);
    let error = refused.error.unwrap();
    assert_eq!((refused.state, error.code), (VolumeState::Ready, ErrorCode::VolumeInUse));
    assert!(error.message.contains("is used by task F-1/t"), "{error}");
    assert_eq!(volume_effects(&outputs), []);
}

#[test]
fn the_task_that_uses_the_volume_is_frozen_and_an_unused_volume_needs_none() {
    let (mut scene, _one) = kept();
    let freeze =
        Freeze { program: Program::Shell("lock".to_owned()), timeout: Duration::from_secs(5) };
    let ask = |number| ToAgent::EnsureSnapshot {
        spec: snapshot(number, &spec(1, 1)),
        operation: operation(number),
        freeze: Some(freeze.clone()),
    };
    let outputs = scene.say(ask(3));
    let (_, effect) = only_volume_effect(&outputs);
    assert!(matches!(effect, VolumeEffect::Snapshot { freeze: None, .. }), "{effect:?}");
    scene.answer(&outputs, present());
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    scene.answer(&outputs, present());
    let container = scene.agent.books().tasks()[&key("t")].container;
    let (_, effect) = only_volume_effect(&scene.say(ask(4)));
    let want = Some(Freezing { container, freeze: freeze.clone() });
    assert_eq!(effect, VolumeEffect::Snapshot { snapshot: snapshot(4, &spec(1, 1)), freeze: want });
}

#[test]
fn a_clone_keeps_its_snapshot_until_it_is_made() {
    let (mut scene, one) = kept();
    let outputs = scene.say(ToAgent::DeriveVolume {
        spec: spec(2, 1),
        operation: operation(80),
        origin: Box::new(Origin::Clone { snapshot: one.clone() }),
    });
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Clone { spec: spec(2, 1), snapshot: one.clone() });
    let delete = ToAgent::DeleteSnapshot { spec: one.clone(), operation: operation(81) };
    let deleting = scene.say(delete);
    assert_eq!(volume_effects(&deleting), [], "a volume is being made from it");
    let outputs = scene.answer(&outputs, present());
    assert_eq!(volumes(&outputs), [(VolumeState::Ready, 1, None)]);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::EraseSnapshot { snapshot: one });
}

#[test]
fn a_roll_back_whose_safety_snapshot_failed_is_not_begun_again_when_the_master_repeats_it() {
    let (mut scene, one) = kept();
    let safety = snapshot(2, &spec(1, 1));
    let outputs = scene.say(roll_back(&one, &safety));
    scene.answer(&outputs, VolumeOutcome::Failed(full()));
    // Whether the master heard of it before the agent crashed is not known.
    let mut outputs = scene.crash().outputs;
    while !volume_effects(&outputs).is_empty() {
        outputs = scene.answer(&outputs, present());
    }
    scene.connect(1);
    let outputs = scene.say(roll_back(&one, &safety));
    assert_eq!(volumes(&outputs), [(VolumeState::Ready, 1, Some(ErrorCode::DiskFull))]);
    assert_eq!(volume_effects(&outputs), []);
    let now = &scene.agent.books().volumes()[&volume(1)];
    assert_eq!((now.state, now.spec.generation), (VolumeState::Ready, 1));
}

#[test]
fn a_roll_back_that_had_its_safety_snapshot_is_ended_by_the_driver_alone() {
    let (mut scene, one) = kept();
    let safety = snapshot(2, &spec(1, 1));
    let outputs = scene.say(roll_back(&one, &safety));
    let outputs = scene.answer(&outputs, present());
    let want =
        VolumeEffect::RollBack { spec: spec(1, 2), snapshot: one.clone(), safety: safety.clone() };
    assert_eq!(only_volume_effect(&outputs).1, want);
    // After a crash the safety snapshot is not there: whether the volume was moved before that, only the disk shows.
    let mut outputs = scene.crash().outputs;
    while let [(_, effect)] = volume_effects(&outputs).as_slice() {
        let gone = *effect == VolumeEffect::VerifySnapshot { snapshot: safety.clone() };
        outputs = scene.answer(&outputs, if gone { VolumeOutcome::Absent } else { present() });
    }
    assert_eq!(scene.agent.books().snapshots()[&safety.id].state, SnapshotState::Lost);
    let outputs = scene.connect(1);
    assert_eq!(only_volume_effect(&outputs).1, want);
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(full()));
    assert_eq!(volumes(&outputs), [(VolumeState::Ready, 1, Some(ErrorCode::DiskFull))]);
}

#[test]
fn nothing_is_cloned_from_a_snapshot_that_is_being_deleted() {
    let (mut scene, one) = kept();
    let delete = ToAgent::DeleteSnapshot { spec: one.clone(), operation: operation(81) };
    let erasing = scene.say(delete);
    let outputs = scene.say(ToAgent::DeriveVolume {
        spec: spec(2, 1),
        operation: operation(80),
        origin: Box::new(Origin::Clone { snapshot: one.clone() }),
    });
    assert_eq!(volumes(&outputs), [(VolumeState::Failed, 1, Some(ErrorCode::SnapshotNotReady))]);
    assert_eq!(volume_effects(&outputs), []);
    let outputs = scene.answer(&erasing, VolumeOutcome::Absent);
    assert_eq!(volume_effects(&outputs), []);
}

#[test]
fn a_volume_that_comes_again_waits_for_the_effect_on_its_snapshot() {
    let (mut scene, one) = kept();
    let outputs = scene.say(destroy(1, 1, 60));
    scene.answer(&outputs, present());
    let purge = ToAgent::PurgeVolume {
        volume: volume(1),
        generation: 1,
        operation: operation(61),
        wipe: None,
    };
    let outputs = scene.say(purge);
    let erasing = scene.answer(&outputs, VolumeOutcome::Absent);
    let (_, effect) = only_volume_effect(&erasing);
    assert_eq!(effect, VolumeEffect::EraseSnapshot { snapshot: one });
    let outputs = scene.say(ensure(1, 2, 62));
    assert_eq!(volumes(&outputs), [(VolumeState::Failed, 2, Some(ErrorCode::VolumeLost))]);
    assert_eq!(volume_effects(&outputs), [], "one effect on a volume at a time");
    let outputs = scene.answer(&erasing, VolumeOutcome::Absent);
    assert_eq!(states(&outputs), [(SnapshotState::Gone, None)]);
    assert_eq!(volume_effects(&outputs), []);
}

/// Answers a measurement that came first.
fn measured(scene: &mut Scene, outputs: Vec<Output>) -> Vec<Output> {
    match only_volume_effect(&outputs) {
        (_, VolumeEffect::Usage { .. }) => {
            scene.answer(&outputs, VolumeOutcome::Used(Measured::of(Bytes::from_mib(1))))
        },
        _other => outputs,
    }
}

fn at_rest(snapshot: &SnapshotSpec) -> ToAgent {
    let program = Program::Shell("lock".to_owned());
    let freeze = Some(Freeze { program, timeout: Duration::from_secs(5) });
    ToAgent::EnsureSnapshot { spec: snapshot.clone(), operation: operation(50), freeze }
}

#[test]
fn what_an_attempt_that_nobody_saw_the_end_of_took_is_deleted_before_another_is_taken_at_rest() {
    let (mut scene, _one) = kept();
    let two = snapshot(2, &spec(1, 1));
    let outputs = scene.say(at_rest(&two));
    assert!(matches!(only_volume_effect(&outputs).1, VolumeEffect::Snapshot { .. }));
    let mut outputs = scene.crash().outputs;
    while !volume_effects(&outputs).is_empty() {
        outputs = scene.answer(&outputs, present());
    }
    let outputs = scene.connect(1);
    let erase = VolumeEffect::EraseSnapshot { snapshot: two.clone() };
    assert_eq!(only_volume_effect(&outputs).1, erase);
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(states(&outputs), []);
    assert!(matches!(only_volume_effect(&outputs).1, VolumeEffect::Snapshot { .. }));
    // Neither is it known what lies there when an attempt ended without a clear answer.
    scene.answer(&outputs, VolumeOutcome::Unclear(full()));
    let outputs = scene.wait(Duration::from_secs(1));
    assert_eq!(only_volume_effect(&outputs).1, erase);
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    let outputs = measured(&mut scene, outputs);
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(full()));
    assert_eq!(states(&outputs), [(SnapshotState::Failed, Some(ErrorCode::DiskFull))]);
}

#[test]
fn a_snapshot_that_cannot_be_taken_any_more_is_deleted_or_is_all_that_is_left() {
    for (live, asked, outcome, state) in [
        (VolumeOutcome::Absent, "verify", present(), SnapshotState::Ready),
        (VolumeOutcome::Absent, "verify", VolumeOutcome::Absent, SnapshotState::Failed),
        (present(), "erase", VolumeOutcome::Absent, SnapshotState::Failed),
    ] {
        let mut scene = Scene::registered();
        scene.ready_volume(1);
        let two = snapshot(2, &spec(1, 1));
        let taking = scene.say(take(&two));
        if live != VolumeOutcome::Absent {
            // A DESTROY comes first after the crash, written and not yet done.
            scene.say(destroy(1, 1, 60));
        }
        drop(taking);
        let outputs = scene.crash().outputs;
        if !volume_effects(&outputs).is_empty() {
            scene.answer(&outputs, live.clone());
        }
        let mut outputs = scene.connect(1);
        if let (_, VolumeEffect::Trash { .. }) = only_volume_effect(&outputs) {
            outputs = scene.answer(&outputs, live);
        }
        let want = match asked {
            "verify" => VolumeEffect::VerifySnapshot { snapshot: two.clone() },
            _erase => VolumeEffect::EraseSnapshot { snapshot: two.clone() },
        };
        assert_eq!(only_volume_effect(&outputs).1, want);
        scene.answer(&outputs, outcome);
        assert_eq!(scene.agent.books().snapshots()[&two.id].state, state, "{asked}");
    }
}

#[test]
fn a_snapshot_that_cannot_be_deleted_does_not_stop_the_others() {
    let (mut scene, one) = kept();
    let two = snapshot(2, &spec(1, 1));
    let delete = ToAgent::DeleteSnapshot { spec: one.clone(), operation: operation(51) };
    let outputs = scene.say(delete);
    scene.answer(&outputs, VolumeOutcome::Failed(full()));
    assert_eq!(volume_effects(&scene.say(take(&two))), [], "it waits for the next try");
    let outputs = scene.wait(Duration::from_secs(1));
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Snapshot { snapshot: two, freeze: None });
    let outputs = scene.answer(&outputs, present());
    let outputs = measured(&mut scene, outputs);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::EraseSnapshot { snapshot: one });
}

#[test]
fn the_snapshots_of_trash_that_a_failed_effect_purged_die_with_it() {
    let (mut scene, one) = kept();
    let outputs = scene.say(destroy(1, 1, 60));
    scene.answer(&outputs, present());
    let outputs = scene.say(ensure(2, 1, 61));
    let (_, effect) = only_volume_effect(&outputs);
    assert!(matches!(&effect, VolumeEffect::Create { purgeable, .. } if purgeable.len() == 1));
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(full()));
    let (_, effect) = only_volume_effect(&outputs);
    assert!(matches!(effect, VolumeEffect::Verify { .. }), "{effect:?}");
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    assert_eq!(volumes(&outputs), [(VolumeState::Gone, 1, None)]);
    assert_eq!(states(&outputs), [(SnapshotState::Deleting, None)]);
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::EraseSnapshot { snapshot: one });
}
