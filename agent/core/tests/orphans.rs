//! Data that the ledger does not explain, and lost volumes whose data may be back, step by step.

mod scene;

use berth_agent_core::effect::{OrphanOutcome, Place, VolumeEffect, VolumeOutcome};
use berth_agent_core::{Input, Output};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::orphan::{LedgerOrphan, Orphan, OrphanOrder, OrphanPlace, OrphanState};
use berth_model::record::LedgerRecord;
use berth_model::snapshot::Origin;
use berth_model::volume::VolumeState;
use scene::*;
use std::sync::Arc;
use std::time::Duration;

fn order(number: u128) -> OrphanOrder {
    OrphanOrder { spec: spec(number, 1), place: OrphanPlace::Live }
}

fn purge(number: u128, op: u128) -> ToAgent {
    ToAgent::PurgeOrphan { operation: operation(op), order: Box::new(order(number)) }
}

fn adopt(number: u128, op: u128) -> ToAgent {
    let origin = Box::new(Origin::Orphan);
    ToAgent::DeriveVolume { spec: spec(number, 1), operation: operation(op), origin }
}

fn ended(outputs: &[Output]) -> Vec<(u128, Option<ErrorCode>)> {
    let told = |output: &Output| match output {
        Output::Send(FromAgent::OrphanPurged { operation: of, result, .. }) => {
            let number = of.as_u128() - operation(0).as_u128();
            Some((number, result.as_ref().err().map(|error| error.code)))
        },
        _ => None,
    };
    outputs.iter().filter_map(told).collect()
}

fn begun(outputs: &[Output]) -> Vec<OrphanOrder> {
    let begun = |output: &Output| match output {
        Output::PurgeOrphan { order, .. } => Some((**order).clone()),
        _ => None,
    };
    outputs.iter().filter_map(begun).collect()
}

fn over(scene: &mut Scene, op: u128, outcome: OrphanOutcome) -> Vec<Output> {
    scene.give(Input::OrphanPurged { operation: operation(op), outcome })
}

fn shown(number: u128) -> Orphan {
    Orphan {
        path: Arc::from("/disk/volumes/x"),
        place: OrphanPlace::Live,
        spec: Some(spec(number, 1)),
        evidence: Arc::from(""),
        used: None,
        modified: None,
    }
}

#[test]
fn a_purge_is_an_intent_first_and_its_end_is_told_until_the_registry_knows() {
    let mut scene = Scene::registered();
    let mut disks = scene.agent.info().disks.clone();
    disks[0].orphans = vec![shown(1)];
    scene.give(Input::Disks(disks));
    let step = scene.step(envelope(1, purge(1, 7)));
    let record = |state| {
        LedgerRecord::Orphan(Box::new(LedgerOrphan {
            operation: operation(7),
            order: order(1),
            state,
        }))
    };
    assert_eq!(step.records, vec![record(OrphanState::Purging)]);
    assert_eq!(begun(&step.outputs), vec![order(1)]);
    assert_eq!(begun(&scene.say(purge(1, 7))), vec![], "asked again it goes on as it is");
    assert_eq!(begun(&scene.say(purge(2, 8))), vec![], "one at a time");

    // A crash: nothing is touched before a master has taken the agent in, and then both are done.
    assert_eq!(begun(&scene.crash().outputs), vec![]);
    assert_eq!(begun(&scene.connect(1)), vec![order(1)]);
    let error = Rejection::new(ErrorCode::VolumeUnavailable, "the disk does not answer");
    assert_eq!(ended(&over(&mut scene, 7, OrphanOutcome::Unclear(error.clone()))), vec![]);
    assert_eq!(begun(&scene.wait(Duration::from_secs(2))), vec![order(1)], "tried again");
    let step =
        scene.step(Input::OrphanPurged { operation: operation(7), outcome: OrphanOutcome::Gone });
    assert_eq!(step.records, vec![record(OrphanState::Gone)]);
    assert_eq!((ended(&step.outputs), begun(&step.outputs)), (vec![(7, None)], vec![order(2)]));
    let told = over(&mut scene, 8, OrphanOutcome::Failed(error));
    assert_eq!(ended(&told), vec![(8, Some(ErrorCode::VolumeUnavailable))]);

    // The registration does not list them: they are told behind it, also in the next life.
    scene.crash();
    let both = vec![(7, None), (8, Some(ErrorCode::VolumeUnavailable))];
    assert_eq!(ended(&scene.connect(1)), both);
    assert_eq!(ended(&scene.say(purge(1, 7))), vec![(7, None)]);
    scene.say(ToAgent::ForgetOrphan { operation: operation(7) });
    scene.say(ToAgent::ForgetOrphan { operation: operation(8) });
    scene.crash();
    assert_eq!(ended(&scene.connect(1)), vec![]);
    assert!(scene.agent.books().orphans().is_empty());
}

#[test]
fn what_is_deleted_is_struck_off_the_list_and_what_is_known_never_gets_on_it() {
    let mut scene = Scene::registered();
    scene.ready_volume(2);
    let mut disks = scene.agent.info().disks.clone();
    disks[0].orphans = vec![shown(1), shown(2)];
    scene.give(Input::Disks(disks));
    assert_eq!(scene.agent.info().disks[0].orphans, vec![shown(1)], "volume 2 is in the ledger");
    scene.say(purge(1, 7));
    let told = over(&mut scene, 7, OrphanOutcome::Gone);
    let disks = told.iter().find_map(|output| match output {
        Output::Send(FromAgent::Disks(disks)) => Some(disks.clone()),
        _ => None,
    });
    assert_eq!(disks.map(|disks| disks[0].orphans.clone()), Some(vec![]));
}

#[test]
fn a_volume_of_the_ledger_is_no_orphan() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.say(purge(1, 7));
    assert_eq!(begun(&outputs), vec![]);
    assert_eq!(ended(&outputs), vec![(7, Some(ErrorCode::VolumeExists))]);
}

#[test]
fn an_orphan_is_adopted_by_looking_and_never_made() {
    let mut scene = Scene::registered();
    let outputs = scene.say(adopt(1, 7));
    assert_eq!(only_volume_effect(&outputs).1, VolumeEffect::Adopt { spec: spec(1, 1) });
    let outputs = scene.answer(&outputs, present());
    assert_eq!(reports(&outputs)[0].state, VolumeState::Ready);
    assert_eq!(reports(&scene.say(adopt(1, 7)))[0].state, VolumeState::Ready, "asked again");

    // Begun, then a crash: looked at again, and only then.
    scene.say(adopt(2, 8));
    assert!(volume_effects(&scene.crash().outputs).iter().all(|(_, e)| e.spec().id == volume(1)));
    scene.wait(Duration::from_secs(11));
    let outputs = scene.connect(1);
    let effects = volume_effects(&outputs);
    let adopts: Vec<_> = effects.iter().filter(|(_, e)| e.spec().id == volume(2)).collect();
    assert_eq!(adopts.len(), 1, "{outputs:?}");
    assert_eq!(adopts[0].1, VolumeEffect::Adopt { spec: spec(2, 1) });
    let error = Rejection::new(ErrorCode::VolumeLost, "gone");
    let outcome = VolumeOutcome::Failed(error);
    let outputs = scene.give(Input::Volume { volume: volume(2), token: adopts[0].0, outcome });
    assert_eq!(reports(&outputs)[0].state, VolumeState::Failed);
}

#[test]
fn what_is_being_deleted_is_not_adopted() {
    let mut scene = Scene::registered();
    scene.say(purge(1, 7));
    let outputs = scene.say(adopt(1, 8));
    assert_eq!(volume_effects(&outputs), vec![]);
    let told = &reports(&outputs)[0];
    let code = told.error.as_ref().map(|error| error.code);
    assert_eq!((told.state, code), (VolumeState::Failed, Some(ErrorCode::VolumeNotReady)));
}

#[test]
fn a_lost_volume_is_looked_for_again_when_somebody_asks() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let step = scene.crash();
    scene.answer(&step.outputs, VolumeOutcome::Absent);
    scene.connect(1);
    let again =
        |op| ToAgent::VerifyVolume { volume: volume(1), generation: 1, operation: operation(op) };
    let outputs = scene.say(again(7));
    let looks = VolumeEffect::Verify { spec: spec(1, 1), place: Place::Live };
    assert_eq!(only_volume_effect(&outputs).1, looks);
    let told = reports(&scene.answer(&outputs, VolumeOutcome::Absent)).remove(0);
    let code = told.error.as_ref().map(|error| error.code);
    assert_eq!((told.state, told.operation), (VolumeState::Lost, Some(operation(7))));
    assert_eq!(code, Some(ErrorCode::VolumeLost));
    let outputs = scene.say(again(8));
    let told = reports(&scene.answer(&outputs, present())).remove(0);
    assert_eq!((told.state, told.error), (VolumeState::Ready, None));
    assert_eq!(reports(&scene.say(again(8)))[0].state, VolumeState::Ready);
}
