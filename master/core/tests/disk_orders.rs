//! Disks that are added to an agent that runs, and removed: what the master passes on, and what it makes of the answers.

mod stage;

use berth_master_core::{Input, Output, query};
use berth_model::agent::{AgentInfo, Disk};
use berth_model::declaration::{DiskDeclaration, DiskOrder};
use berth_model::disk::DiskRequest;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{DiskId, SnapshotId, SnapshotName, VolumeId, VolumeName};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::operator::Request;
use berth_model::record::RegistryKey;
use berth_model::reservation::Reservation;
use berth_model::resources::{DiskSource, Name, Resource, Resources};
use berth_model::snapshot::{SnapshotReport, SnapshotSpec, SnapshotState};
use berth_model::units::Bytes;
use berth_model::volume::{VolumeSpec, VolumeState};
use stage::{Stage, agent_id, info, messages, op, operations, report, role, session, sum};
use std::sync::Arc;

const MACHINE: &str = "cpus:2;mem:2048;disk:10240";
const X: DiskId = DiskId::from_u128(0x77);

fn source() -> DiskSource {
    DiskSource::Path(Arc::from("/srv/x"))
}
fn declaration(name: &str) -> DiskDeclaration {
    DiskDeclaration { source: source(), name: Arc::from(name), driver: Arc::from(""), size: None }
}
fn add(name: &str) -> Request {
    Request::AddDisk { agent: agent_id(1), disk: Box::new(declaration(name)) }
}
fn remove() -> Request {
    Request::RemoveDisk { disk: X }
}
fn cordon(disk: DiskId) -> Request {
    Request::Disk(DiskRequest::Cordon { disk, reason: String::new() })
}
fn uncordon(disk: DiskId) -> Request {
    Request::Disk(DiskRequest::Uncordon { disk, reason: String::new() })
}

/// The agent with the added disk.
fn larger(added: bool) -> AgentInfo {
    let mut machine = info(agent_id(1), MACHINE);
    let size = Bytes::from_mib(4096);
    let own = machine.disks[0].clone();
    machine.disks.push(Disk { id: X, name: Arc::from("x"), source: source(), size, added, ..own });
    let size = size.to_scalar().expect("whole MiB");
    machine.declared.add(&Resource::disk(source(), size)).expect("it fits");
    machine
}
fn declares(machine: AgentInfo) -> FromAgent {
    FromAgent::Declared(Box::new(machine))
}
fn ends(n: u128, result: Result<(), Rejection>) -> FromAgent {
    FromAgent::DiskOrdered { ledger_seq: 9, operation: op(n), result }
}
fn message(stage: &mut Stage, n: u128, request: Request) -> String {
    stage.operator(n, request).0.expect_err("it is refused").to_string()
}
/// What is free of the disk.
fn free(stage: &Stage) -> Resources {
    let agent = query::agents(stage.master.state()).swap_remove(0);
    agent.total.filtered(|r| r.name == Name::Disk && r.disk_source() == source())
}

#[test]
fn an_added_disk_is_asked_for_until_the_agent_answers_and_then_offered() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let kept = stage.make_volume(1, session(1), "kept", 512);
    let order = || ToAgent::OrderDisk {
        operation: op(1),
        order: Box::new(DiskOrder::Add(declaration("x"))),
    };
    assert_eq!(messages(&stage.operator(1, add("x")).1), vec![order()]);
    assert_eq!(stage.operator(1, add("x")).0, Ok(op(1)), "asked again it is the same");
    assert_eq!(
        message(&mut stage, 2, add("y")),
        format!("operation {} is to add disk x (PATH:/srv/x): wait for it", op(1))
    );
    // The master and the connection are lost: the registry has the order.
    stage.restart();
    let mut registration = stage.registration(info(agent_id(1), MACHINE), session(2));
    registration.volumes = vec![report(&kept, VolumeState::Ready)];
    let step = stage.register_as(registration);
    assert!(messages(&step).contains(&order()), "{:?}", messages(&step));

    stage.agent_says(1, session(2), declares(larger(true)));
    assert_eq!(free(&stage).to_string(), "disk[PATH:/srv/x]:4096");
    let step = stage.agent_says(1, session(2), ends(1, Ok(())));
    assert_eq!(operations(&step), vec![("ADD_DISK", "DONE", None)]);
    let forget = ToAgent::ForgetDiskOrder { operation: op(1) };
    assert_eq!(messages(&step), vec![forget.clone()]);
    let step = stage.agent_says(1, session(2), ends(1, Ok(())));
    assert_eq!((operations(&step), messages(&step)), (vec![], vec![forget]), "told twice");
    // What was reserved before is reserved still, also in the registry.
    stage.restart();
    let rows = query::reservations(stage.master.state());
    assert_eq!((rows.len(), rows[0].in_volumes.to_string()), (1, "512".to_owned()));
    assert_eq!(query::disks(stage.master.state())[1].disk, larger(true).disks[1]);
}

#[test]
fn two_adds_that_are_under_way_do_not_share_a_name() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    stage.operator(1, add("x")).0.unwrap();
    let elsewhere = DiskSource::Path(Arc::from("/srv/y"));
    let disk = Box::new(DiskDeclaration { source: elsewhere, ..declaration("x") });
    assert_eq!(
        message(&mut stage, 2, Request::AddDisk { agent: agent_id(1), disk }),
        format!("operation {} is to add disk x (PATH:/srv/x): wait for it", op(1))
    );
}

#[test]
fn a_disk_with_a_snapshot_on_it_is_not_removed() {
    let mut stage = Stage::new();
    let mut registration = stage.registration(larger(true), session(1));
    // Of its volume nothing is left but this.
    let of = VolumeSpec {
        id: VolumeId::from_u128(0x55),
        generation: 1,
        name: VolumeName::new("data").unwrap(),
        role: role("ops"),
        principal: None,
        source: source(),
        size: Bytes::from_mib(64),
        access: berth_model::access::Access::default(),
        shared: false,
        encrypted: false,
    };
    let kept = SnapshotSpec {
        id: SnapshotId::from_u128(0x9000),
        name: SnapshotName::new("before").unwrap(),
        of,
    };
    registration.snapshots = vec![SnapshotReport {
        spec: kept.clone(),
        state: SnapshotState::Ready,
        operation: None,
        error: None,
        host_path: Arc::from(""),
        group: None,
    }];
    stage.register_as(registration);
    stage.operator(4, cordon(X)).0.unwrap();
    assert_eq!(
        message(&mut stage, 5, remove()),
        format!(
            "remove disk host-1:x ({X}): snapshot before of volume data ({}) is on it, QUARANTINED: \
             delete the snapshots on it first; end the hold of one that is held",
            kept.id
        )
    );
}

#[test]
fn what_the_books_speak_against_is_refused_and_what_the_agent_refuses_has_failed() {
    let mut stage = Stage::new();
    assert_eq!(stage.operator(1, add("x")).0.unwrap_err().code, ErrorCode::UnknownAgent);
    stage.register(1, MACHINE);
    assert_eq!(
        message(&mut stage, 2, add("root")),
        format!(
            "disk root of agent {} (host-1) lies at /srv (field disk.name): see `berth disk list`",
            agent_id(1)
        )
    );
    stage.operator(3, add("x")).0.unwrap();
    let why = Rejection::new(ErrorCode::DiskFaulty, "it belongs to another agent");
    let step = stage.agent_says(1, session(1), ends(3, Err(why)));
    assert_eq!(operations(&step), vec![("ADD_DISK", "FAILED", Some(ErrorCode::DiskFaulty))]);
    assert_eq!(free(&stage), Resources::new());
    stage.operator(4, add("x")).0.unwrap();
    stage.put(Input::AgentDisconnected { agent: agent_id(1), session: session(1) });
    let refused = stage.operator(5, add("z")).0.unwrap_err();
    assert_eq!(refused.code, ErrorCode::AgentUnreachable);
}

#[test]
fn a_trial_is_the_agents_and_records_nothing() {
    let mut stage = Stage::new();
    stage.register(1, MACHINE);
    let step = stage.put(Input::TryDisk { read: 7, request: add("x") });
    let order = Box::new(DiskOrder::Add(declaration("x")));
    assert_eq!(messages(&step), vec![ToAgent::TryDisk { read: 7, order }]);
    assert_eq!(step.writes, vec![]);
    let data = Ok(b"it is empty".to_vec());
    let told = FromAgent::FileData { read: 7, offset: 0, data: data.clone() };
    let step = stage.agent_says(1, session(1), told);
    assert_eq!(step.outputs, vec![Output::FileData { read: 7, offset: 0, data }]);
    assert!(query::operations(stage.master.state()).is_empty());
    let step = stage.put(Input::TryDisk { read: 8, request: remove() });
    let [Output::FileData { read: 8, data: Err(refused), .. }] = step.outputs.as_slice() else {
        panic!("{:?}", step.outputs)
    };
    assert_eq!(refused.code, ErrorCode::UnknownDisk);
}

#[test]
fn a_disk_is_removed_only_while_it_is_cordoned_and_nothing_is_on_it() {
    let mut stage = Stage::new();
    let registration = stage.registration(larger(false), session(1));
    stage.register_as(registration);
    let refused = stage.operator(1, remove()).0.unwrap_err();
    assert_eq!(
        (refused.code, refused.message),
        (
            ErrorCode::Unsupported,
            format!("disk host-1:x ({X}) is in its agent's configuration, not added to it")
        )
    );
    stage.agent_says(1, session(1), declares(larger(true)));
    let place = format!("remove disk host-1:x ({X})");
    assert_eq!(
        message(&mut stage, 2, remove()),
        format!(
            "{place}: it is not cordoned: cordon it first (berth disk cordon), so that nothing new goes on it meanwhile"
        )
    );
    let size = Bytes::from_mib(100).to_scalar().unwrap();
    let level = Reservation::dynamic(role("ops"));
    let resources = sum([Resource::disk(source(), size).push(level).unwrap()]);
    let reserve = Request::Reserve { agent: agent_id(1), resources: resources.clone() };
    stage.operator(3, reserve.clone()).0.unwrap();
    stage.operator(4, cordon(X)).0.unwrap();
    let refused = message(&mut stage, 5, remove());
    assert!(refused.starts_with(&format!("{place}: reservation ")), "{refused}");
    let release = Request::Unreserve { agent: agent_id(1), resources };
    stage.operator(6, release).0.unwrap();

    let order = Box::new(DiskOrder::Remove { disk: X, source: source() });
    let step = stage.operator(7, remove()).1;
    assert_eq!(messages(&step), vec![ToAgent::OrderDisk { operation: op(7), order }]);
    // Until that has ended nothing new can get onto it.
    let refused = message(&mut stage, 8, uncordon(X));
    assert_eq!(refused, format!("disk {X} is being removed by operation {}: wait for it", op(7)));
    assert_eq!(stage.operator(9, reserve).0.unwrap_err().code, ErrorCode::DiskCordoned);

    stage.agent_says(1, session(1), declares(info(agent_id(1), MACHINE)));
    let step = stage.agent_says(1, session(1), ends(7, Ok(())));
    assert_eq!(operations(&step), vec![("REMOVE_DISK", "DONE", None)]);
    stage.restart();
    assert_eq!(query::disks(stage.master.state()).len(), 1);
    let said = stage.registry.keys().filter(|key| matches!(key, RegistryKey::Disk(_)));
    assert_eq!(said.count(), 0, "what was said of it is forgotten");
}
