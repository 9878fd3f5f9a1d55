//! A protected volume: what is refused, what is not, that it is durable, and how it ends.

mod stage;

use berth_master_core::query;
use berth_model::error::ErrorCode;
use berth_model::operation::Action;
use berth_model::operator::{Property, Request, VolumeChoice};
use berth_model::record::RegistryRecord;
use berth_model::snapshot::{SnapshotReport, SnapshotState};
use berth_model::volume::{Volume, VolumeSpec, VolumeState};
use stage::{
    Stage, framework_info, messages, mib, op, operations, report, res, session, sum, vname,
};
use std::sync::Arc;
use std::time::Duration;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";

fn protect(volume: &VolumeSpec, protected: bool) -> Request {
    Request::Property {
        volume: VolumeChoice::Id(volume.id),
        property: Property::Protected(protected),
    }
}

fn destroy(volume: &VolumeSpec) -> Request {
    Request::DestroyVolume { volume: VolumeChoice::Id(volume.id) }
}

fn resize(volume: &VolumeSpec, size: u64) -> Request {
    Request::ResizeVolume { volume: VolumeChoice::Id(volume.id), size: mib(size) }
}

/// A machine with a READY volume of 512 MiB that is protected.
fn protected() -> (Stage, VolumeSpec) {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let spec = stage.make_volume(1, session(1), "data", 512);
    let before = stage.volume("data").volume;
    let (answer, step) = stage.operator(50, protect(&spec, true));
    assert_eq!((answer, operations(&step)), (Ok(op(50)), vec![("PROTECT", "DONE", None)]));
    assert_eq!(messages(&step), [], "the agent has no part in it");
    assert_eq!(stage.volume("data").volume, Volume { protected: true, ..before });
    (stage, spec)
}

/// Asks, is refused, and nothing has changed; `Check` says the same.
fn is_refused(stage: &mut Stage, request: &Request, kind: &str) {
    let id = stage.fresh();
    let before = stage.master.state().clone();
    let dry = stage.master.check(stage.now, request).expect_err("refused");
    let (answer, step) = stage.operator(id, request.clone());
    let refused = answer.expect_err("refused");
    assert_eq!(refused, dry);
    assert_eq!((refused.code, step.writes), (ErrorCode::VolumeProtected, vec![]));
    assert_eq!(stage.master.state(), &before);
    let text = refused.to_string();
    for part in ["volume data", "of role storage is protected", kind, "berth volume unprotect"] {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}

#[test]
fn what_takes_data_is_refused_until_it_is_unprotected() {
    let (mut stage, spec) = protected();
    let take = Request::CreateSnapshot {
        volume: VolumeChoice::Id(spec.id),
        name: None,
        principal: None,
        freeze: None,
    };
    let (answer, _) = stage.operator(51, take);
    assert_eq!(answer, Ok(op(51)), "a snapshot takes nothing");
    let snapshot = query::snapshots(stage.master.state())[0].snapshot.spec.clone();
    let ready = SnapshotReport {
        spec: snapshot.clone(),
        state: SnapshotState::Ready,
        operation: None,
        error: None,
        host_path: Arc::from("/srv/.snapshots/x"),
        group: None,
    };
    stage.reports_snapshot(1, session(1), ready);
    let roll_back =
        Request::RollBackVolume { volume: VolumeChoice::Id(spec.id), snapshot: snapshot.id };
    for restarted in [false, true] {
        if restarted {
            stage.restart();
            let reports = vec![report(&spec, VolumeState::Ready)];
            stage.back(1, MACHINE, reports, Vec::new());
        }
        is_refused(&mut stage, &destroy(&spec), "DESTROY is refused");
        is_refused(&mut stage, &resize(&spec, 256), "SHRINK is refused");
        is_refused(&mut stage, &roll_back, "ROLLBACK is refused");
    }
    let (answer, step) = stage.operator(60, resize(&spec, 1024));
    assert_eq!((answer, operations(&step)), (Ok(op(60)), vec![("GROW", "ACCEPTED", None)]));

    let (mut stage, spec) = protected();
    let (answer, step) = stage.operator(61, protect(&spec, false));
    assert_eq!((answer, operations(&step)), (Ok(op(61)), vec![("UNPROTECT", "DONE", None)]));
    let (answer, _) = stage.operator(62, destroy(&spec));
    assert_eq!(answer, Ok(op(62)));
}

#[test]
fn a_framework_is_refused_as_well_and_told_how_to_go_on() {
    let (mut stage, _) = protected();
    let (id, _) = stage.subscribe(70, framework_info("f", &["storage"]));
    stage.advance(Duration::from_secs(2));
    let offer = stage.offers().into_iter().next().expect("an offer");
    let volume = offer
        .resources
        .iter()
        .find(|r| r.persistence().is_some_and(|p| p.name == vname("data")))
        .expect("the volume is offered all the same");
    let shrink = Action::Shrink { volume: Box::new(volume.clone()), subtract: mib(64) };
    let step = stage.accept(&id, 70, &[&offer], vec![shrink, Action::Destroy(vec![volume])]);
    let refused = Some(ErrorCode::VolumeProtected);
    assert_eq!(operations(&step), [("SHRINK", "FAILED", refused), ("DESTROY", "FAILED", refused)]);
    assert_eq!(messages(&step), []);
    assert_eq!(stage.volume("data").volume.state, VolumeState::Ready);
    let launch = stage::task("t", offer.agent, stage::plus(&res("cpus:1;mem:32"), &sum([])));
    stage.advance(Duration::from_secs(10));
    let offer = stage.offers().into_iter().next().expect("it is offered again");
    let step = stage.accept(&id, 70, &[&offer], vec![Action::Launch(vec![launch])]);
    assert_eq!(operations(&step), [("LAUNCH", "DONE", None)]);
}

#[test]
fn only_what_is_there_can_be_protected_and_a_purge_is_refused_whatever_the_registry_holds() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let id = stage.fresh();
    let (_, step) = stage.operator(id, stage::create_request("data", "storage", 64));
    let spec = stage::ensured(&step).expect("a message");
    let refused = |stage: &mut Stage, part: &str| {
        let id = stage.fresh();
        let (answer, step) = stage.operator(id, protect(&spec, true));
        let rejection = answer.expect_err("refused");
        assert_eq!((rejection.code, step.writes), (ErrorCode::VolumeNotReady, vec![]));
        assert!(rejection.to_string().contains(part), "no {part:?} in: {rejection}");
    };
    refused(&mut stage, "is CREATING");
    stage.reports(1, session(1), report(&spec, VolumeState::Ready));
    let (answer, _) = stage.operator(60, destroy(&spec));
    assert_eq!(answer, Ok(op(60)));
    refused(&mut stage, "is TOMBSTONED");
    stage.reports(1, session(1), report(&spec, VolumeState::Trashed));
    refused(&mut stage, "is TRASHED");

    // No sequence of calls leads there; a registry put back by hand could.
    for record in stage.registry.values_mut() {
        if let RegistryRecord::Volume(volume) = record {
            Arc::make_mut(volume).protected = true;
        }
    }
    stage.restart();
    stage.back(1, MACHINE, vec![report(&spec, VolumeState::Trashed)], Vec::new());
    is_refused(
        &mut stage,
        &Request::PurgeVolume { volume: spec.id, wipe: None },
        "PURGE is refused",
    );
}
