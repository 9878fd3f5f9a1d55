//! Data without a record and records without data: what the master lets be done, and what it makes of the answers.

mod stage;

use berth_master_core::{Input, query};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::operator::{Request, VolumeChoice};
use berth_model::orphan::{OrphanChoice, OrphanOrder, OrphanPlace};
use berth_model::snapshot::Origin;
use berth_model::volume::{VolumeReport, VolumeState};
use stage::orphan::{orphan, stray};
use stage::{
    Stage, agent_id, create_request, info, messages, op, operations, report, session, vname,
};
use std::sync::Arc;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";
const LIVE: &str = "/srv/volumes/one";
const TRASHED: &str = "/srv/.trash/two";
const STRANGE: &str = "/srv/volumes/strange";

/// An agent that tells of three orphans.
fn stage() -> Stage {
    let mut stage = Stage::new();
    let mut machine = info(agent_id(1), MACHINE);
    machine.disks[0].orphans = vec![
        orphan(LIVE, OrphanPlace::Live, Some(stray(1, "one"))),
        orphan(STRANGE, OrphanPlace::Live, None),
        orphan(TRASHED, OrphanPlace::Trash, Some(stray(2, "two"))),
    ];
    let registration = stage.registration(machine, session(1));
    stage.register_as(registration);
    stage
}

fn data(path: &str) -> OrphanChoice {
    OrphanChoice::Data { agent: agent_id(1), path: Arc::from(path) }
}
fn record(name: &str) -> OrphanChoice {
    OrphanChoice::Record(VolumeChoice::Named { role: None, name: vname(name) })
}
fn adopt(orphan: OrphanChoice) -> Request {
    Request::AdoptOrphan { orphan }
}
fn purge(orphan: OrphanChoice) -> Request {
    Request::PurgeOrphan { orphan }
}

/// What an operator is answered.
fn ask(stage: &mut Stage, n: u128, request: Request) -> Option<ErrorCode> {
    stage.operator(n, request).0.err().map(|error| error.code)
}

fn cut(stage: &mut Stage) {
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
}

fn shown(stage: &Stage) -> Vec<String> {
    let disks = query::disks(stage.master.state());
    disks.iter().flat_map(|view| &view.disk.orphans).map(|o| o.path.to_string()).collect()
}

#[test]
fn an_orphan_is_adopted_with_its_identity_and_a_reservation() {
    let mut stage = stage();
    assert_eq!(shown(&stage), vec![LIVE, STRANGE, TRASHED]);
    let step = stage.operator(1, adopt(data(LIVE))).1;
    assert_eq!(
        messages(&step),
        vec![ToAgent::DeriveVolume {
            spec: stray(1, "one"),
            operation: op(1),
            origin: Box::new(Origin::Orphan),
        }]
    );
    assert_eq!(shown(&stage), vec![STRANGE, TRASHED], "it has a record now");
    let step = stage.reports(1, session(1), report(&stray(1, "one"), VolumeState::Ready));
    assert_eq!(operations(&step), vec![("ADOPT_ORPHAN", "DONE", None)]);
    let view = stage.volume("one");
    assert_eq!((&view.volume.spec, view.volume.state), (&stray(1, "one"), VolumeState::Ready));
    let rows = query::reservations(stage.master.state());
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].in_volumes.to_string(), "512");
    // Said again under the same id it is the same operation.
    assert_eq!(ask(&mut stage, 1, adopt(data(LIVE))), None);
}

#[test]
fn an_adoption_that_fails_gives_its_reservation_back_and_the_orphan_is_one_again() {
    let mut stage = stage();
    stage.operator(1, adopt(data(LIVE))).0.unwrap();
    let error = Rejection::new(ErrorCode::VolumeLost, "it has gone");
    let told = VolumeReport { error: Some(error), ..report(&stray(1, "one"), VolumeState::Failed) };
    let step = stage.reports(1, session(1), told);
    assert_eq!(operations(&step), vec![("ADOPT_ORPHAN", "FAILED", Some(ErrorCode::VolumeLost))]);
    assert!(query::reservations(stage.master.state()).is_empty());
    assert_eq!(shown(&stage), vec![LIVE, STRANGE, TRASHED]);
    assert_eq!(ask(&mut stage, 2, adopt(data(LIVE))), None, "and may be tried again");
}

#[test]
fn a_purge_names_what_was_shown_is_repeated_until_it_is_answered_and_then_forgotten() {
    let mut stage = stage();
    let order = OrphanOrder { spec: stray(2, "two"), place: OrphanPlace::Trash };
    let wanted = || ToAgent::PurgeOrphan { operation: op(1), order: Box::new(order.clone()) };
    assert_eq!(messages(&stage.operator(1, purge(data(TRASHED))).1), vec![wanted()]);
    assert_eq!(
        ask(&mut stage, 2, purge(data(TRASHED))),
        Some(ErrorCode::VolumeNotReady),
        "it is going"
    );
    assert_eq!(
        ask(&mut stage, 3, adopt(data(TRASHED))),
        Some(ErrorCode::VolumeNotReady),
        "it is going"
    );

    // The master and the connection are lost: the registry has the order.
    stage.restart();
    let registration = stage.registration(info(agent_id(1), MACHINE), session(2));
    let step = stage.register_as(registration);
    assert!(messages(&step).contains(&wanted()), "{:?}", messages(&step));
    let told = FromAgent::OrphanPurged { ledger_seq: 9, operation: op(1), result: Ok(()) };
    let step = stage.agent_says(1, session(2), told.clone());
    assert_eq!(operations(&step), vec![("PURGE_ORPHAN", "DONE", None)]);
    let forget = ToAgent::ForgetOrphan { operation: op(1) };
    assert_eq!(messages(&step), vec![forget.clone()]);
    let step = stage.agent_says(1, session(2), told);
    assert_eq!((operations(&step), messages(&step)), (vec![], vec![forget]), "told twice");
}

#[test]
fn a_lost_record_is_looked_for_again_or_forgotten() {
    let mut stage = stage();
    let lost = stage.make_volume(1, session(1), "data", 512);
    stage.reports(1, session(1), report(&lost, VolumeState::Lost));
    let step = stage.operator(11, adopt(record("data"))).1;
    let verify = |n| ToAgent::VerifyVolume { volume: lost.id, generation: 1, operation: op(n) };
    assert_eq!(messages(&step), vec![verify(11)]);
    assert_eq!(ask(&mut stage, 12, purge(record("data"))), Some(ErrorCode::VolumeNotReady));
    assert_eq!(ask(&mut stage, 13, adopt(record("data"))), Some(ErrorCode::VolumeNotReady));

    // The agent comes back in between: it is asked again, and says no.
    cut(&mut stage);
    let mut registration = stage.registration(info(agent_id(1), MACHINE), session(2));
    registration.volumes = vec![report(&lost, VolumeState::Lost)];
    let step = stage.register_as(registration);
    assert!(messages(&step).contains(&verify(11)), "{:?}", messages(&step));
    let answer = |n| VolumeReport {
        operation: Some(op(n)),
        error: Some(Rejection::new(ErrorCode::VolumeLost, "still not there")),
        ..report(&lost, VolumeState::Lost)
    };
    let step = stage.reports(1, session(2), answer(11));
    assert_eq!(operations(&step), vec![("ADOPT_ORPHAN", "FAILED", Some(ErrorCode::VolumeLost))]);
    assert_eq!(stage.volume("data").volume.state, VolumeState::Lost);

    stage.operator(14, adopt(record("data"))).0.unwrap();
    let step = stage.reports(1, session(2), report(&lost, VolumeState::Ready));
    assert_eq!(operations(&step), vec![("ADOPT_ORPHAN", "DONE", None)]);
    assert_eq!(stage.volume("data").volume.state, VolumeState::Ready);
    assert_eq!(
        ask(&mut stage, 15, purge(record("data"))),
        Some(ErrorCode::VolumeNotReady),
        "it is there"
    );

    stage.reports(1, session(2), report(&lost, VolumeState::Lost));
    let step = stage.operator(16, purge(record("data"))).1;
    assert_eq!(
        messages(&step),
        vec![ToAgent::DestroyVolume { volume: lost.id, generation: 1, operation: op(16) }]
    );
    let step = stage.reports(1, session(2), report(&lost, VolumeState::Gone));
    assert_eq!(operations(&step), vec![("PURGE_ORPHAN", "DONE", None)]);
    assert_eq!(stage.volume_states(), vec![]);
}

#[test]
fn a_lost_record_whose_agent_has_forgotten_it_can_only_be_forgotten() {
    let mut stage = stage();
    let lost = stage.make_volume(1, session(1), "data", 512);
    stage.reports(1, session(1), report(&lost, VolumeState::Lost));
    stage.operator(11, adopt(record("data"))).0.unwrap();
    cut(&mut stage);
    let registration = stage.registration(info(agent_id(1), MACHINE), session(2));
    let step = stage.register_as(registration);
    assert_eq!(operations(&step), vec![("ADOPT_ORPHAN", "FAILED", Some(ErrorCode::VolumeLost))]);
    assert_eq!(ask(&mut stage, 12, adopt(record("data"))), Some(ErrorCode::VolumeLost));
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut stage = stage();
    stage.make_volume(1, session(1), "data", 512);
    stage.operator(50, create_request("one", "ops", 16)).0.unwrap();
    let before = format!("{:?}", stage.master.state());
    for (request, code, part) in [
        (adopt(data("/nowhere")), ErrorCode::UnknownOrphan, "/nowhere"),
        (purge(data("/nowhere")), ErrorCode::UnknownOrphan, "/nowhere"),
        (adopt(data(STRANGE)), ErrorCode::OrphanUnidentified, "it has no marker"),
        (purge(data(STRANGE)), ErrorCode::OrphanUnidentified, "it has no marker"),
        (adopt(data(TRASHED)), ErrorCode::Unsupported, "lies in the trash"),
        (adopt(data(LIVE)), ErrorCode::VolumeExists, "volume one of role ops exists"),
        (adopt(record("data")), ErrorCode::VolumeNotReady, "is READY, no record without data"),
        (purge(record("data")), ErrorCode::VolumeNotReady, "is READY, no record without data"),
        (adopt(record("ghost")), ErrorCode::UnknownVolume, "no volume ghost"),
        (
            purge(OrphanChoice::Data { agent: agent_id(9), path: Arc::from(LIVE) }),
            ErrorCode::UnknownAgent,
            "no agent",
        ),
    ] {
        let number = stage.fresh();
        let (answer, step) = stage.operator(number, request.clone());
        let error = answer.unwrap_err();
        assert_eq!(error.code, code, "{request:?}");
        assert!(error.message.contains(part), "{request:?}: {error}");
        assert!(!error.remedy.is_empty(), "{request:?}: {error}");
        assert!(step.writes.is_empty(), "{request:?} wrote {:?}", step.writes);
    }
    assert_eq!(format!("{:?}", stage.master.state()), before);
}
