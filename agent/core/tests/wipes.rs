//! Trash that is wiped before it is deleted: the steps, what a restart at each of them leads to, and what is refused.

mod scene;

use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_agent_core::{Agent, Config, Output, Step};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::record::LedgerVolume;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::VolumeState;
use berth_model::wipe::{LedgerWipe, Wipe, WipeStage, Wiped};
use scene::*;
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(25);

fn trashed() -> Scene {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    in_trash(&mut scene);
    scene
}

fn in_trash(scene: &mut Scene) {
    let outputs = scene.say(destroy(1, 1, 5));
    scene.answer(&outputs, present());
}

fn purge(op: u128, wipe: Option<Wipe>) -> ToAgent {
    ToAgent::PurgeVolume { volume: volume(1), generation: 1, operation: operation(op), wipe }
}

fn books(scene: &Scene) -> LedgerVolume {
    scene.agent.books().volumes()[&volume(1)].clone()
}

fn wipe_of(scene: &Scene) -> Option<LedgerWipe> {
    books(scene).wipe
}

fn effect(outputs: &[Output]) -> VolumeEffect {
    only_volume_effect(outputs).1
}

fn used(bytes: u64) -> VolumeOutcome {
    VolumeOutcome::Used(Measured::of(Bytes::new(bytes)))
}

fn shared() -> Rejection {
    Rejection::new(ErrorCode::Unsupported, "a file shares blocks")
}

/// An agent that wipes whatever leaves its trash.
fn wiping() -> Scene {
    let config = Config { purge_wipe: Wipe::Zero, ..Config::default() };
    let mut scene = Scene::new();
    let (agent, step) = Agent::recover(config, info(), vec![], 0, scene.now);
    assert_eq!(step, Step::default());
    scene.agent = agent;
    scene.connect(1);
    scene.ready_volume(1);
    in_trash(&mut scene);
    scene
}

#[test]
fn each_step_is_in_the_ledger_before_the_next_and_the_last_report_certifies() {
    let mut scene = trashed();
    let (spec, method) = (spec(1, 1), Wipe::Shred);
    let outputs = scene.say(purge(9, Some(method)));
    assert_eq!(effect(&outputs), VolumeEffect::SurveyWipe { spec: spec.clone(), method });
    let at = |stage| Some(LedgerWipe { operation: Some(operation(9)), method, stage });
    assert_eq!(wipe_of(&scene), at(WipeStage::Wanted));

    let outputs = scene.answer(&outputs, used(4096));
    assert_eq!(effect(&outputs), VolumeEffect::Wipe { spec: spec.clone(), method });
    assert_eq!(wipe_of(&scene), at(WipeStage::Begun(Bytes::new(4096))));

    let outputs = scene.answer(&outputs, VolumeOutcome::Wiped);
    assert_eq!(effect(&outputs), VolumeEffect::Purge { spec });
    assert_eq!(wipe_of(&scene), at(WipeStage::Done(Bytes::new(4096))));
    assert_eq!(books(&scene).state, VolumeState::Trashed);

    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    let told = reports(&outputs);
    let wiped = Wiped { method, bytes: Bytes::new(4096), driver: Arc::from("directory") };
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].state, &told[0].wiped), (VolumeState::Gone, &Some(wiped)));
    assert_eq!(told[0].operation, Some(operation(9)));
}

#[test]
fn a_restart_at_each_step_goes_on_with_it_also_without_the_order() {
    for steps in 0..3 {
        let mut scene = trashed();
        let mut outputs = scene.say(purge(9, Some(Wipe::Zero)));
        for outcome in [used(8), VolumeOutcome::Wiped].into_iter().take(steps) {
            outputs = scene.answer(&outputs, outcome);
        }
        let was = effect(&outputs);
        let mut started = scene.crash().outputs;
        // Before a master has taken it in, it only looks.
        let VolumeEffect::Verify { .. } = effect(&started) else { panic!("{started:?}") };
        started = scene.answer(&started, present());
        assert_eq!(volume_effects(&started), []);
        let mut goes_on = scene.connect(1);
        assert_eq!(effect(&goes_on), was, "after {steps} steps");
        for outcome in
            [used(8), VolumeOutcome::Wiped, VolumeOutcome::Absent].into_iter().skip(steps)
        {
            goes_on = scene.answer(&goes_on, outcome);
        }
        let told = reports(&goes_on).pop().unwrap();
        assert_eq!(told.wiped.map(|wiped| wiped.bytes), Some(Bytes::new(8)));
        // Until the master knows, every registration says it.
        scene.crash();
        let registered = scene.give(berth_agent_core::Input::Connected {
            session: berth_model::id::SessionId::from_u128(7),
        });
        let Some(Output::Send(FromAgent::Register(all))) = registered.last() else {
            panic!("{registered:?}")
        };
        assert_eq!(all.volumes.len(), 1);
        assert!(all.volumes[0].wiped.is_some());
    }
}

#[test]
fn what_was_lost_in_between_is_not_certified() {
    let mut scene = trashed();
    let outputs = scene.say(purge(9, Some(Wipe::Zero)));
    let outputs = scene.answer(&outputs, used(8));
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    let told = reports(&outputs).pop().unwrap();
    assert_eq!((told.state, told.wiped), (VolumeState::Gone, None));
    assert_eq!(told.error.map(|error| error.code), Some(ErrorCode::VolumeLost));
}

#[test]
fn a_refused_wipe_changes_nothing_and_is_not_begun_again_by_a_repetition() {
    let mut scene = trashed();
    let before = books(&scene);
    let outputs = scene.say(purge(9, Some(Wipe::Zero)));
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(shared()));
    assert_eq!(books(&scene), before);
    assert_eq!(volume_effects(&outputs), []);
    let told = reports(&outputs).pop().unwrap();
    assert_eq!(
        (told.refused, told.operation, told.error),
        (true, Some(operation(9)), Some(shared()))
    );
    let outputs = scene.say(purge(9, Some(Wipe::Zero)));
    assert_eq!(volume_effects(&outputs), []);
    assert!(reports(&outputs)[0].refused);
    // Another order is another attempt.
    let outputs = scene.say(purge(10, Some(Wipe::None)));
    assert_eq!(effect(&outputs), VolumeEffect::Purge { spec: spec(1, 1) });
}

#[test]
fn a_wipe_that_is_refused_after_the_retention_is_not_followed_by_a_deletion_without_one() {
    let mut scene = trashed();
    let outputs = scene.say(purge(9, Some(Wipe::Zero)));
    let used = Rejection::new(ErrorCode::VolumeInUse, "it is mounted");
    scene.answer(&outputs, VolumeOutcome::Failed(used));
    let again = scene.wait(DAY);
    let survey = VolumeEffect::SurveyWipe { spec: spec(1, 1), method: Wipe::Zero };
    assert_eq!(effect(&again), survey, "its retention is over, and the wish stands");
    let outputs = scene.answer(&again, VolumeOutcome::Failed(shared()));
    // Whoever wanted it wiped has time to remove the cause: it is only looked at.
    let VolumeEffect::Verify { .. } = effect(&outputs) else { panic!("{outputs:?}") };
    scene.answer(&outputs, present());
    assert_eq!((books(&scene).state, wipe_of(&scene)), (VolumeState::Trashed, None));
    assert_eq!(volume_effects(&scene.wait(Duration::from_hours(23))), []);
    assert_eq!(effect(&scene.wait(DAY)), VolumeEffect::Purge { spec: spec(1, 1) });
}

#[test]
fn a_volume_in_use_is_wiped_later() {
    let mut scene = trashed();
    let outputs = scene.say(purge(9, Some(Wipe::Zero)));
    let busy = Rejection::new(ErrorCode::VolumeInUse, "it is mounted");
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(busy));
    assert!(!reports(&outputs)[0].refused);
    let outputs = scene.wait(Duration::from_mins(1));
    assert_eq!(effect(&outputs), VolumeEffect::SurveyWipe { spec: spec(1, 1), method: Wipe::Zero });
}

#[test]
fn nothing_that_is_being_wiped_is_had_back_or_deleted_for_room() {
    let mut scene = trashed();
    let outputs = scene.say(purge(9, Some(Wipe::Zero)));
    scene.answer(&outputs, used(8));
    let told = reports(&scene.say(ensure(1, 2, 20)));
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].state, told[0].refused), (VolumeState::Trashed, true));
    let outputs = scene.say(ensure(2, 1, 21));
    let VolumeEffect::Create { purgeable, .. } = effect(&outputs) else { panic!("{outputs:?}") };
    assert_eq!(purgeable, []);
}

#[test]
fn a_retention_wipes_as_configured_and_waits_where_that_cannot_be() {
    let mut scene = wiping();
    let outputs = scene.wait(DAY);
    let (spec, method) = (spec(1, 1), Wipe::Zero);
    assert_eq!(effect(&outputs), VolumeEffect::SurveyWipe { spec: spec.clone(), method });
    assert_eq!(wipe_of(&scene), None, "what is only looked at is no intent");
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(shared()));
    assert_eq!(books(&scene).state, VolumeState::Trashed);
    assert_eq!(volume_effects(&outputs), []);
    assert_eq!(
        volume_effects(&scene.wait(Duration::from_mins(59))),
        [],
        "it is not read all the time"
    );
    let outputs = scene.wait(Duration::from_mins(1));
    let outputs = scene.answer(&outputs, used(3));
    assert_eq!(effect(&outputs), VolumeEffect::Wipe { spec, method });
    let stage = WipeStage::Begun(Bytes::new(3));
    assert_eq!(wipe_of(&scene), Some(LedgerWipe { operation: None, method, stage }));
    // An order that comes now goes on with what has begun.
    scene.connect(1);
    assert_eq!(volume_effects(&scene.say(purge(9, Some(Wipe::Shred)))), []);
    let outputs = scene.answer(&outputs, VolumeOutcome::Wiped);
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    let told = reports(&outputs).pop().unwrap();
    assert_eq!(told.operation, Some(operation(9)));
    assert_eq!(told.wiped.map(|wiped| wiped.method), Some(Wipe::Zero));
}

#[test]
fn an_order_says_otherwise_than_the_configuration() {
    let mut scene = wiping();
    let outputs = scene.say(purge(9, Some(Wipe::None)));
    assert_eq!(effect(&outputs), VolumeEffect::Purge { spec: spec(1, 1) });
    let told = reports(&scene.answer(&outputs, VolumeOutcome::Absent)).pop().unwrap();
    assert_eq!((told.state, told.wiped), (VolumeState::Gone, None));

    let mut scene = wiping();
    let outputs = scene.say(purge(9, None));
    assert_eq!(effect(&outputs), VolumeEffect::SurveyWipe { spec: spec(1, 1), method: Wipe::Zero });
}

#[test]
fn trash_that_has_to_be_wiped_makes_no_room() {
    let mut scene = wiping();
    let outputs = scene.say(ensure(2, 1, 21));
    let VolumeEffect::Create { purgeable, .. } = effect(&outputs) else { panic!("{outputs:?}") };
    assert_eq!(purgeable, []);
    let full = Rejection::new(ErrorCode::DiskFull, "no room");
    let told = reports(&scene.answer(&outputs, VolumeOutcome::Failed(full))).pop().unwrap();
    assert_eq!(told.state, VolumeState::Failed, "nothing is going to make room");
}
