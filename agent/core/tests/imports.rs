//! Volumes with a copy of a directory: the intent, what a crash makes of it, and its ends.

mod scene;

use berth_agent_core::Output;
use berth_agent_core::effect::{Source, VolumeEffect, VolumeOutcome};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::TransferId;
use berth_model::link::ToAgent;
use berth_model::snapshot::Origin;
use berth_model::transfer::TransferOrder;
use berth_model::units::Bytes;
use berth_model::volume::VolumeState;
use scene::*;
use std::sync::Arc;

fn import(number: u128, op: u128) -> ToAgent {
    let origin = Box::new(Origin::Directory { path: Arc::from("/srv/data") });
    ToAgent::DeriveVolume { spec: spec(number, 1), operation: operation(op), origin }
}

fn wanted(number: u128) -> VolumeEffect {
    let path = Arc::from("/srv/data");
    VolumeEffect::Import { spec: spec(number, 1), from: Source::Directory { path } }
}

fn effects(outputs: &[Output]) -> Vec<VolumeEffect> {
    volume_effects(outputs).into_iter().map(|(_token, effect)| effect).collect()
}

fn states(scene: &Scene) -> Vec<VolumeState> {
    scene.agent.books().volumes().values().map(|volume| volume.state).collect()
}

#[test]
fn an_import_is_an_intent_first_and_is_begun_again_after_a_crash() {
    let mut scene = Scene::registered();
    let outputs = scene.say(import(1, 7));
    assert_eq!(effects(&outputs), vec![wanted(1)]);
    assert_eq!(states(&scene), vec![VolumeState::Creating]);
    assert_eq!(effects(&scene.say(import(1, 7))), vec![], "said again it goes on as it is");
    assert_eq!(effects(&scene.crash().outputs), vec![], "nothing before a master has taken it in");
    let outputs = scene.connect(1);
    assert_eq!(effects(&outputs), vec![wanted(1)]);
    scene.answer(&outputs, present());
    assert_eq!(states(&scene), vec![VolumeState::Ready]);
    let known = scene.agent.books().volumes().values().next().unwrap();
    assert_eq!(known.origin, None, "it is a volume like any other");
}

#[test]
fn an_import_that_fails_leaves_nothing_and_one_that_is_unclear_is_asked_for_again() {
    let mut scene = Scene::registered();
    let outputs = scene.say(import(1, 7));
    let error = Rejection::new(ErrorCode::Unavailable, "the agent is stopping");
    scene.answer(&outputs, VolumeOutcome::Unclear(error));
    assert_eq!(states(&scene), vec![VolumeState::Creating]);
    let outputs = scene.wait(std::time::Duration::from_secs(2));
    assert_eq!(effects(&outputs), vec![wanted(1)]);
    let error = Rejection::new(ErrorCode::SourceChanged, "it changed");
    scene.answer(&outputs, VolumeOutcome::Failed(error.clone()));
    let known = scene.agent.books().volumes().values().next().unwrap();
    assert_eq!((known.state, known.error.clone()), (VolumeState::Failed, Some(error)));
    assert_eq!(effects(&scene.say(import(1, 8))), vec![wanted(1)], "another attempt is new");
}

#[test]
fn an_import_waits_for_no_room() {
    let mut scene = Scene::registered();
    scene.ready_volume(2);
    let outputs = scene.say(destroy(2, 1, 6));
    scene.answer(&outputs, present());
    let outputs = scene.say(import(1, 7));
    let full = Rejection::new(ErrorCode::DiskFull, "no space left");
    scene.answer(&outputs, VolumeOutcome::Failed(full.clone()));
    let known = scene.agent.books().volumes()[&volume(1)].clone();
    assert_eq!((known.state, known.error), (VolumeState::Failed, Some(full)));
    assert_eq!(
        states(&scene),
        vec![VolumeState::Failed, VolumeState::Trashed],
        "nothing is purged"
    );
}

#[test]
fn a_transfer_is_passed_on_and_changes_nothing() {
    let mut scene = Scene::registered();
    let transfer = TransferId::from_u128(3);
    let order = TransferOrder::Survey { path: Arc::from("/srv"), size: Bytes::from_mib(1) };
    let step = scene.step(envelope(1, ToAgent::Transfer { transfer, order: order.clone() }));
    assert_eq!(step.records, vec![]);
    assert_eq!(step.outputs, vec![Output::Transfer { transfer, order }]);
}
