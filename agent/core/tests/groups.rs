//! What an agent does with groups of snapshots, step by step.

mod scene;

use berth_agent_core::effect::{ContainerEvent, StandStill, VolumeEffect, VolumeOutcome};
use berth_agent_core::{Input, Output};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{GroupId, SnapshotId, SnapshotName};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::record::LedgerRecord;
use berth_model::snapshot::{Consistency, SnapshotSpec, SnapshotState};
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use scene::*;
use std::sync::Arc;
use std::time::Duration;

fn member(number: u128) -> SnapshotSpec {
    SnapshotSpec {
        id: SnapshotId::from_u128(0x9000 + number),
        name: SnapshotName::new("both").expect("a valid name"),
        of: spec(number, 1),
    }
}

fn members() -> Vec<SnapshotSpec> {
    vec![member(1), member(2)]
}

fn group() -> GroupId {
    GroupId::from_u128(50)
}

fn take() -> ToAgent {
    ToAgent::EnsureGroup {
        group: group(),
        members: members(),
        operation: operation(50),
        freeze: None,
    }
}

fn effect(again: bool) -> VolumeEffect {
    VolumeEffect::TakeGroup { members: members(), again, still: StandStill::default() }
}

fn taken(consistency: Consistency) -> VolumeOutcome {
    let host_paths = vec![Arc::from("/s/1"), Arc::from("/s/2")];
    VolumeOutcome::Taken { host_paths, consistency }
}

type Told = (SnapshotState, Option<ErrorCode>, Option<Consistency>);

fn told(outputs: &[Output]) -> Vec<Told> {
    let report = |output: &Output| match output {
        Output::Send(FromAgent::Snapshot { report, .. }) => Some((
            report.state,
            report.error.as_ref().map(|error| error.code),
            report.group.and_then(|group| group.consistency),
        )),
        _ => None,
    };
    outputs.iter().filter_map(report).collect()
}

/// What the ledger says of groups, record by record: the states of all in it.
fn written(scene: &Scene) -> Vec<Vec<SnapshotState>> {
    let states = |record: &LedgerRecord| match record {
        LedgerRecord::Snapshots(all) => Some(all.iter().map(|one| one.state).collect()),
        LedgerRecord::Snapshot(_) => panic!("a member is written without the others"),
        _ => None,
    };
    scene.ledger.iter().filter_map(states).collect()
}

fn two_volumes() -> Scene {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    scene.ready_volume(2);
    scene
}

fn full() -> Rejection {
    Rejection::new(ErrorCode::DiskFull, "no space left")
}

const CREATING: Told = (SnapshotState::Creating, None, None);

#[test]
fn members_enter_and_leave_creating_in_one_record_and_by_one_effect() {
    let mut scene = two_volumes();
    let outputs = scene.say(take());
    assert_eq!(told(&outputs), [CREATING, CREATING]);
    assert_eq!(only_volume_effect(&outputs).1, effect(false));
    let outputs = scene.answer(&outputs, taken(Consistency::Frozen));
    let ready = (SnapshotState::Ready, None, Some(Consistency::Frozen));
    assert_eq!(told(&outputs), [ready, ready]);
    assert_eq!(written(&scene), [[SnapshotState::Creating; 2], [SnapshotState::Ready; 2]]);
    // Asked again: told as it is.
    let outputs = scene.say(take());
    assert_eq!((told(&outputs), volume_effects(&outputs)), (vec![ready, ready], vec![]));
}

#[test]
fn a_failure_fails_all_and_a_volume_that_is_not_ready_begins_nothing() {
    let mut scene = two_volumes();
    let outputs = scene.say(take());
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(full()));
    let failed = (SnapshotState::Failed, Some(ErrorCode::DiskFull), None);
    assert_eq!(told(&outputs), [failed, failed]);
    assert_eq!(written(&scene)[1..], [[SnapshotState::Failed; 2]]);

    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.say(take());
    let failed = (SnapshotState::Failed, Some(ErrorCode::VolumeNotReady), None);
    assert_eq!((told(&outputs), volume_effects(&outputs)), (vec![failed, failed], vec![]));
}

#[test]
fn what_an_attempt_that_was_cut_off_took_is_deleted_before_another() {
    let mut scene = two_volumes();
    scene.say(take());
    let mut outputs = scene.crash().outputs;
    let looks = volume_effects(&outputs);
    assert_eq!(looks.len(), 2, "both volumes are looked at: {looks:?}");
    for (token, look) in looks {
        let volume = look.spec().id;
        outputs = scene.give(Input::Volume { volume, token, outcome: present() });
    }
    assert_eq!(volume_effects(&outputs), [], "no master has taken it in");
    let outputs = scene.connect(1);
    assert_eq!(only_volume_effect(&outputs).1, effect(true));
    // Neither is it known what lies there after an unclear end.
    let outputs = scene.answer(&outputs, VolumeOutcome::Unclear(full()));
    let waits = (SnapshotState::Creating, Some(ErrorCode::DiskFull), None);
    assert_eq!(told(&outputs), [waits, waits]);
    let outputs = scene.wait(Duration::from_secs(1));
    assert_eq!(only_volume_effect(&outputs).1, effect(true));
    scene.answer(&outputs, taken(Consistency::Unused));
    let last = written(&scene).pop().expect("records");
    assert_eq!(last, [SnapshotState::Ready; 2]);
}

#[test]
fn a_volume_that_goes_fails_the_group_after_its_attempt_is_deleted() {
    let mut scene = two_volumes();
    let outputs = scene.say(take());
    scene.answer(&outputs, VolumeOutcome::Unclear(full()));
    let outputs = scene.say(destroy(2, 1, 60));
    let outputs = scene.answer(&outputs, present());
    assert_eq!(told(&outputs), [], "nothing is claimed yet");
    let outputs = scene.wait(Duration::from_secs(1));
    let outputs = match only_volume_effect(&outputs) {
        (_, VolumeEffect::Usage { .. }) => {
            scene.answer(&outputs, VolumeOutcome::Used(Measured::of(Bytes::from_mib(1))))
        },
        _other => outputs,
    };
    assert_eq!(only_volume_effect(&outputs).1, VolumeEffect::EraseGroup { members: members() });
    let outputs = scene.answer(&outputs, VolumeOutcome::Absent);
    let failed = (SnapshotState::Failed, Some(ErrorCode::VolumeNotReady), None);
    assert_eq!(told(&outputs), [failed, failed]);
}

#[test]
fn nothing_is_taken_while_a_task_starts_and_a_task_that_runs_is_stopped() {
    let mut scene = two_volumes();
    let outputs = scene.say(launch("t", vec![used(2, 1)]));
    let outputs = scene.answer(&outputs, present());
    assert_eq!(container_effects(&outputs).len(), 1, "it starts");
    let outputs = scene.say(take());
    let waits = (SnapshotState::Creating, Some(ErrorCode::VolumeInUse), None);
    assert_eq!(told(&outputs), [CREATING, CREATING, waits, waits]);
    assert_eq!(volume_effects(&outputs), []);
    let container = scene.agent.books().tasks()[&key("t")].container;
    scene.give(Input::Container { container, event: ContainerEvent::Running { pid: 7 } });
    let outputs = scene.wait(Duration::from_secs(1));
    let still = StandStill { tasks: vec![container], freeze: None };
    let wanted = VolumeEffect::TakeGroup { members: members(), again: false, still };
    let effects: Vec<_> = volume_effects(&outputs).into_iter().map(|(_, e)| e).collect();
    assert_eq!(effects, [wanted]);
    // No task begins on either volume while the effect has their slots.
    let begins = scene.say(launch("u", vec![used(1, 1)]));
    assert_eq!((volume_effects(&begins), container_effects(&begins)), (vec![], vec![]));
    let outputs = scene.answer(&outputs, taken(Consistency::Frozen));
    let looks: Vec<_> = volume_effects(&outputs).into_iter().map(|(_, e)| e).collect();
    assert!(matches!(looks[..], [VolumeEffect::Verify { .. }]), "{looks:?}");
}
