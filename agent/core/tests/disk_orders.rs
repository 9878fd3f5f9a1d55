//! Disks that are added while the agent runs, and removed, step by step.

mod scene;

use berth_agent_core::effect::DiskOutcome;
use berth_agent_core::{Agent, Config, Input, Output};
use berth_model::agent::{AgentInfo, Disk};
use berth_model::declaration::{DiskDeclaration, DiskOrder, DiskOrderState, LedgerDiskOrder};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{DiskId, SnapshotId, SnapshotName};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::record::{LedgerDisk, LedgerRecord};
use berth_model::resources::{DiskSource, Resource};
use berth_model::snapshot::SnapshotSpec;
use berth_model::units::Bytes;
use scene::*;
use std::sync::Arc;

const X: DiskId = DiskId::from_u128(0x77);

fn source() -> DiskSource {
    DiskSource::Path(Arc::from("/srv/x"))
}
fn declaration() -> DiskDeclaration {
    let (name, driver) = (Arc::from("x"), Arc::from(""));
    DiskDeclaration { source: source(), name, driver, size: None }
}
fn disk() -> Disk {
    let own = info().disks.swap_remove(0);
    Disk { id: X, name: Arc::from("x"), source: source(), size: Bytes::from_mib(4096), ..own }
}
fn remembered() -> LedgerDisk {
    LedgerDisk { id: X, name: Arc::from("x"), source: source(), filesystem: Arc::from("f") }
}
fn added() -> DiskOutcome {
    DiskOutcome::Added { disk: Box::new(disk()), remembered: remembered() }
}
fn order(op: u128, order: DiskOrder) -> ToAgent {
    ToAgent::OrderDisk { operation: operation(op), order: Box::new(order) }
}
fn add(op: u128) -> ToAgent {
    order(op, DiskOrder::Add(declaration()))
}
fn remove(op: u128) -> ToAgent {
    order(op, DiskOrder::Remove { disk: X, source: source() })
}
fn begun(outputs: &[Output]) -> Vec<DiskOrder> {
    let begun = |output: &Output| match output {
        Output::OrderDisk { order, .. } => Some((**order).clone()),
        _ => None,
    };
    outputs.iter().filter_map(begun).collect()
}
fn ended(outputs: &[Output]) -> Vec<(u128, Option<ErrorCode>)> {
    let told = |output: &Output| match output {
        Output::Send(FromAgent::DiskOrdered { operation: of, result, .. }) => {
            let number = of.as_u128() - operation(0).as_u128();
            Some((number, result.as_ref().err().map(|error| error.code)))
        },
        _ => None,
    };
    outputs.iter().filter_map(told).collect()
}
fn declared(outputs: &[Output]) -> Vec<AgentInfo> {
    let told = |output: &Output| match output {
        Output::Send(FromAgent::Declared(info)) => Some((**info).clone()),
        _ => None,
    };
    outputs.iter().filter_map(told).collect()
}
fn over(op: u128, outcome: DiskOutcome) -> Input {
    Input::DiskOrdered { operation: operation(op), outcome }
}
fn known(op: u128, order: DiskOrder, state: DiskOrderState) -> LedgerRecord {
    LedgerRecord::DiskOrder(Box::new(LedgerDiskOrder { operation: operation(op), order, state }))
}
fn larger() -> AgentInfo {
    let mut larger = info();
    let size = disk().size.to_scalar().expect("whole MiB");
    larger.declared.add(&Resource::disk(source(), size)).expect("it fits");
    larger.disks.push(Disk { added: true, ..disk() });
    larger
}

#[test]
fn a_disk_is_an_intent_first_then_declared_for_good_and_its_end_is_told_until_it_is_known() {
    let mut scene = Scene::registered();
    let step = scene.step(envelope(1, add(7)));
    let wanted = || DiskOrder::Add(declaration());
    assert_eq!(step.records, vec![known(7, wanted(), DiskOrderState::Pending)]);
    assert_eq!(begun(&step.outputs), vec![wanted()]);
    assert_eq!(begun(&scene.say(add(7))), vec![], "asked again it goes on as it is");
    assert_eq!(ended(&scene.say(add(8))), vec![(8, Some(ErrorCode::ResourcesInUse))]);

    // A crash: nothing is touched before a master has taken the agent in.
    assert_eq!(begun(&scene.crash().outputs), vec![]);
    assert_eq!(begun(&scene.connect(1)), vec![wanted()]);
    let step = scene.step(over(7, added()));
    assert_eq!(
        step.records,
        vec![
            LedgerRecord::Disk(remembered()),
            LedgerRecord::DiskDeclared(Box::new(declaration())),
            known(7, wanted(), DiskOrderState::Done),
        ]
    );
    assert_eq!(declared(&step.outputs), vec![larger()]);
    assert_eq!(ended(&step.outputs), vec![(7, None)]);
    // A look at the disks that began before knows nothing of it, and takes nothing away.
    scene.give(Input::Disks(info().disks));
    assert_eq!(scene.agent.info(), &larger());
    assert_eq!(ended(&scene.say(order(9, wanted()))), vec![(9, Some(ErrorCode::DiskExists))]);

    // The registration does not list it: it is told behind it, also in the next life, which declares the disk at once.
    let records = scene.ledger.clone();
    let seq = records.len() as u64;
    let mut at_start = larger();
    at_start.disks[1].added = false;
    let (agent, _step) = Agent::recover(Config::default(), at_start, records, seq, scene.now);
    assert_eq!(agent.info(), &larger(), "the ledger knows that it was added");
    assert_eq!(agent.books().declarations().get(&source()), Some(&declaration()));
    scene.agent = agent;
    assert!(ended(&scene.connect(1)).contains(&(7, None)));
    for op in [7, 8, 9] {
        scene.say(ToAgent::ForgetDiskOrder { operation: operation(op) });
    }
    assert!(scene.agent.books().disk_orders().is_empty());
    assert_eq!(scene.agent.books().declarations().len(), 1);
}

#[test]
fn an_order_that_was_carried_out_and_not_written_down_is_not_counted_twice() {
    let mut scene = Scene::registered();
    scene.say(add(7));
    // The last batch was torn: what was done is in the ledger, that it is done is not.
    scene.ledger.push(LedgerRecord::Disk(remembered()));
    scene.ledger.push(LedgerRecord::DiskDeclared(Box::new(declaration())));
    let records = scene.ledger.clone();
    let seq = records.len() as u64;
    let (agent, _step) = Agent::recover(Config::default(), larger(), records, seq, scene.now);
    scene.agent = agent;
    assert_eq!(begun(&scene.connect(1)), vec![DiskOrder::Add(declaration())]);
    let step = scene.step(over(7, added()));
    let done = known(7, DiskOrder::Add(declaration()), DiskOrderState::Done);
    assert_eq!(step.records, vec![done]);
    assert_eq!(scene.agent.info(), &larger());
}

#[test]
fn what_fails_leaves_the_agent_as_it_was() {
    let mut scene = Scene::registered();
    scene.say(add(7));
    let error = Rejection::new(ErrorCode::DiskFaulty, "it does not exist");
    let step = scene.step(over(7, DiskOutcome::Failed(error.clone())));
    let failed = known(7, DiskOrder::Add(declaration()), DiskOrderState::Failed(error));
    assert_eq!(step.records, vec![failed]);
    assert_eq!(ended(&step.outputs), vec![(7, Some(ErrorCode::DiskFaulty))]);
    assert_eq!((declared(&step.outputs), scene.agent.info()), (vec![], &info()));
    let root = DiskDeclaration { name: Arc::from("root"), ..declaration() };
    let outputs = scene.say(order(8, DiskOrder::Add(root)));
    assert_eq!(ended(&outputs), vec![(8, Some(ErrorCode::DiskExists))]);
    assert_eq!(begun(&outputs), vec![]);
}

#[test]
fn a_look_that_saw_the_new_disk_first_takes_nothing_from_it() {
    let mut scene = Scene::registered();
    scene.say(add(7));
    let early = vec![info().disks.swap_remove(0), disk()];
    scene.give(Input::Disks(early));
    let step = scene.step(over(7, added()));
    assert_eq!((scene.agent.info(), declared(&step.outputs)), (&larger(), vec![larger()]));
}

#[test]
fn a_look_that_began_before_another_disk_came_to_its_place_plants_nothing() {
    let mut scene = Scene::registered();
    scene.say(add(1));
    let old = DiskId::from_u128(0x78);
    let stale = LedgerDisk { id: old, ..remembered() };
    let first = Disk { id: old, ..disk() };
    scene.give(over(1, DiskOutcome::Added { disk: Box::new(first), remembered: stale.clone() }));
    let order_old = DiskOrder::Remove { disk: old, source: source() };
    scene.say(order(2, order_old));
    scene.give(over(2, DiskOutcome::Removed));
    scene.say(add(3));
    scene.give(over(3, added()));
    let step = scene.step(Input::DisksAdopted(vec![stale]));
    assert_eq!(step.records, vec![]);
    let books = scene.agent.books().disks();
    assert_eq!(books.keys().copied().collect::<Vec<_>>(), vec![X]);
}

#[test]
fn a_disk_that_the_configuration_names_too_is_not_removed_by_an_order() {
    let mut scene = Scene::registered();
    scene.say(add(2));
    scene.give(over(2, added()));
    let records = scene.ledger.clone();
    let seq = records.len() as u64;
    let config = Config { configured: [source()].into(), ..Config::default() };
    let (agent, _step) = Agent::recover(config, larger(), records, seq, scene.now);
    assert!(!agent.info().disks[1].added);
    scene.agent = agent;
    scene.connect(1);
    assert_eq!(ended(&scene.say(remove(3))), vec![(3, Some(ErrorCode::Unsupported))]);
    scene.give(Input::Disks(larger().disks));
    assert!(!scene.agent.info().disks[1].added);
}

#[test]
fn two_orders_under_way_do_not_share_a_name() {
    let mut scene = Scene::registered();
    scene.say(add(1));
    let elsewhere = DiskSource::Path(Arc::from("/srv/y"));
    let other = DiskDeclaration { source: elsewhere, ..declaration() };
    let outputs = scene.say(order(2, DiskOrder::Add(other)));
    assert_eq!(ended(&outputs), vec![(2, Some(ErrorCode::ResourcesInUse))]);
}

#[test]
fn a_disk_with_a_snapshot_on_it_is_not_forgotten() {
    let mut scene = Scene::registered();
    scene.say(add(2));
    scene.give(over(2, added()));
    let mut on_it = spec(1, 1);
    on_it.source = source();
    let spec = SnapshotSpec {
        id: SnapshotId::from_u128(0x9000),
        name: SnapshotName::new("before").expect("valid"),
        of: on_it.clone(),
    };
    let ensure =
        ToAgent::EnsureVolume { spec: on_it.clone(), operation: operation(3), restore: false };
    let outputs = scene.say(ensure);
    scene.answer(&outputs, present());
    let take = ToAgent::EnsureSnapshot { spec, operation: operation(4), freeze: None };
    let outputs = scene.say(take);
    scene.answer(&outputs, present());
    // The volume goes, and its record with it; what was kept of it is there still.
    let mut records = scene.ledger.clone();
    records.push(LedgerRecord::VolumeForgotten(on_it.id));
    let seq = records.len() as u64;
    let (agent, _step) = Agent::recover(Config::default(), larger(), records, seq, scene.now);
    scene.agent = agent;
    scene.connect(1);
    let outputs = scene.say(remove(5));
    let refused = outputs.iter().find_map(|output| match output {
        Output::Send(FromAgent::DiskOrdered { result: Err(error), .. }) => Some(error),
        _ => None,
    });
    let text = format!(
        "remove disk x: snapshot before ({}) of volume data-1 is on it, READY",
        SnapshotId::from_u128(0x9000)
    );
    let refused = refused.expect("it is refused");
    assert_eq!((refused.code, &refused.message), (ErrorCode::ResourcesInUse, &text));
}

#[test]
fn a_failed_order_has_a_bounded_size_whatever_its_error_quotes() {
    let mut scene = Scene::registered();
    scene.say(add(7));
    let long = Rejection::new(ErrorCode::InvalidArgument, "x".repeat(64 << 20));
    let step = scene.step(over(7, DiskOutcome::Failed(long.clone())));
    let failed = DiskOrderState::Failed(long.bounded());
    assert_eq!(step.records, vec![known(7, DiskOrder::Add(declaration()), failed)]);
    let sent = step.outputs.iter().find_map(|output| match output {
        Output::Send(FromAgent::DiskOrdered { result: Err(error), .. }) => Some(error),
        _ => None,
    });
    assert!(sent.unwrap().message.len() <= berth_model::error::RECORDED_MAX);
}

#[test]
fn a_disk_is_removed_only_while_the_ledger_knows_nothing_on_it() {
    let mut scene = Scene::registered();
    assert_eq!(ended(&scene.say(remove(1))), vec![(1, Some(ErrorCode::Unsupported))]);
    scene.say(add(2));
    scene.give(over(2, added()));
    let mut on_it = spec(1, 1);
    on_it.source = source();
    let ensure = |spec| ToAgent::EnsureVolume { spec, operation: operation(3), restore: false };
    let outputs = scene.say(ensure(on_it.clone()));
    scene.answer(&outputs, present());
    assert_eq!(ended(&scene.say(remove(4))), vec![(4, Some(ErrorCode::ResourcesInUse))]);
    // In the trash it is on it still.
    let outputs = scene.say(destroy(1, 1, 5));
    scene.answer(&outputs, present());
    assert_eq!(ended(&scene.say(remove(6))), vec![(6, Some(ErrorCode::ResourcesInUse))]);
    let purge = ToAgent::PurgeVolume {
        volume: volume(1),
        generation: 1,
        operation: operation(7),
        wipe: None,
    };
    let outputs = scene.say(purge);
    scene.answer(&outputs, berth_agent_core::effect::VolumeOutcome::Absent);

    let step = scene.step(envelope(1, remove(8)));
    let wanted = || DiskOrder::Remove { disk: X, source: source() };
    assert_eq!(step.records, vec![known(8, wanted(), DiskOrderState::Pending)]);
    let step = scene.step(over(8, DiskOutcome::Removed));
    assert_eq!(
        step.records,
        vec![LedgerRecord::DiskUndeclared(source()), known(8, wanted(), DiskOrderState::Done),]
    );
    assert_eq!(declared(&step.outputs), vec![info()]);
    // A look that began before still tells of it.
    scene.give(Input::Disks(vec![info().disks.swap_remove(0), disk()]));
    let records = scene.step(Input::DisksAdopted(vec![remembered()])).records;
    assert_eq!((scene.agent.info(), records), (&info(), vec![]));
    assert!(
        scene.agent.books().disks().is_empty() && scene.agent.books().declarations().is_empty()
    );
}
