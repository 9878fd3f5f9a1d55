//! Streams: an export needs what the ledger has whole and nobody uses; an import from one is asked for under its operation.

mod scene;

use berth_agent_core::Output;
use berth_agent_core::effect::{Source, VolumeEffect};
use berth_model::error::ErrorCode;
use berth_model::id::{SnapshotId, SnapshotName, TransferId};
use berth_model::link::ToAgent;
use berth_model::snapshot::{Origin, SnapshotSpec};
use berth_model::transfer::TransferOrder;
use scene::*;

fn ask(scene: &mut Scene, order: TransferOrder) -> Result<TransferOrder, ErrorCode> {
    let transfer = TransferId::from_u128(3);
    let step = scene.step(envelope(1, ToAgent::Transfer { transfer, order }));
    assert_eq!(step.records, vec![], "it changes nothing");
    match step.outputs.as_slice() {
        [Output::Transfer { transfer: of, order }] if *of == transfer => Ok(order.clone()),
        [Output::RefuseTransfer { transfer: of, reason }] if *of == transfer => Err(reason.code),
        other => panic!("{other:?}"),
    }
}

fn export(number: u128, generation: u64) -> TransferOrder {
    TransferOrder::Export { volume: Box::new(spec(number, generation)), snapshot: None }
}

#[test]
fn a_volume_is_exported_when_it_is_ready_and_nobody_uses_it() {
    let mut scene = Scene::registered();
    assert_eq!(ask(&mut scene, export(1, 1)), Err(ErrorCode::VolumeNotReady));
    scene.ready_volume(1);
    assert_eq!(ask(&mut scene, export(1, 1)), Ok(export(1, 1)));
    assert_eq!(ask(&mut scene, export(1, 2)), Err(ErrorCode::VolumeNotReady));
    scene.say(launch("t", vec![used(1, 1)]));
    assert_eq!(ask(&mut scene, export(1, 1)), Err(ErrorCode::VolumeInUse));
    let name = SnapshotName::new("one").unwrap();
    let snapshot = SnapshotSpec { id: SnapshotId::from_u128(4), name, of: spec(1, 1) };
    let order =
        TransferOrder::Export { volume: Box::new(spec(1, 1)), snapshot: Some(Box::new(snapshot)) };
    assert_eq!(ask(&mut scene, order), Err(ErrorCode::SnapshotNotReady));
}

#[test]
fn an_import_from_a_stream_is_asked_for_again_after_a_crash_under_the_same_id() {
    let mut scene = Scene::registered();
    let origin = Box::new(Origin::Stream);
    let message = ToAgent::DeriveVolume { spec: spec(1, 1), operation: operation(7), origin };
    let from = Source::Stream { operation: operation(7) };
    let wanted = VolumeEffect::Import { spec: spec(1, 1), from };
    assert_eq!(only_volume_effect(&scene.say(message)).1, wanted);
    assert_eq!(
        volume_effects(&scene.crash().outputs),
        vec![],
        "nothing before a master has taken it in"
    );
    assert_eq!(only_volume_effect(&scene.connect(1)).1, wanted);
}
