//! Shared volumes on an agent: several tasks use one at once, and each end gives back one use.

mod scene;

use berth_agent_core::effect::{ContainerEffect, ContainerEvent, Exit, VolumeOutcome};
use berth_agent_core::{Input, Output};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{SnapshotId, SnapshotName, VolumeId};
use berth_model::link::ToAgent;
use berth_model::snapshot::{Freeze, SnapshotSpec, SnapshotState};
use berth_model::task::{Program, TaskState};
use berth_model::volume::{VolumeSpec, VolumeState};
use scene::*;
use std::collections::BTreeSet;
use std::time::Duration;

fn shared() -> VolumeSpec {
    VolumeSpec { shared: true, ..spec(1, 1) }
}

/// An agent with a READY shared volume 1.
fn scene() -> Scene {
    let mut scene = Scene::registered();
    let wanted = ToAgent::EnsureVolume { spec: shared(), operation: operation(1), restore: false };
    let outputs = scene.say(wanted);
    scene.answer(&outputs, present());
    assert!(scene.agent.books().volumes()[&volume(1)].spec.shared);
    scene
}

fn event(scene: &mut Scene, id: &str, event: ContainerEvent) -> Vec<Output> {
    let container = scene.agent.books().tasks()[&key(id)].container;
    scene.give(Input::Container { container, event })
}

fn users(scene: &Scene) -> Vec<String> {
    scene.agent.books().users(volume(1)).map(|key| key.task.to_string()).collect()
}

/// Launches a task on it and answers with the volumes whose owner stays as it is.
fn launch_one(scene: &mut Scene, id: &str) -> BTreeSet<VolumeId> {
    let outputs = scene.say(launch(id, vec![used(1, 1)]));
    let outputs = scene.answer(&outputs, present());
    let [ContainerEffect::Start { in_use, volumes, .. }] = &container_effects(&outputs)[..] else {
        panic!("one start: {outputs:?}");
    };
    assert_eq!(volumes, &[(used(1, 1), shared())]);
    in_use.clone()
}

#[test]
fn tasks_use_it_at_once_and_the_last_end_lets_it_go() {
    let mut scene = scene();
    assert_eq!(launch_one(&mut scene, "a"), BTreeSet::new(), "the first one may own it");
    assert_eq!(
        launch_one(&mut scene, "b"),
        BTreeSet::from([volume(1)]),
        "it stays the first one's"
    );
    event(&mut scene, "a", ContainerEvent::Running { pid: 1 });
    event(&mut scene, "b", ContainerEvent::Running { pid: 2 });
    assert_eq!(users(&scene), ["a", "b"]);

    // The uses are those of the ledger.
    let verifies = scene.crash().outputs;
    scene.answer(&verifies, present());
    assert_eq!(users(&scene), ["a", "b"]);
    scene.connect(1);
    event(&mut scene, "a", ContainerEvent::Running { pid: 1 });

    let outputs = scene.say(destroy(1, 1, 9));
    let refused = reports(&outputs).remove(0).error.map(|error| error.code);
    assert_eq!(refused, Some(ErrorCode::VolumeInUse));
    let outputs = event(&mut scene, "a", ContainerEvent::Exited(Exit::Status(0)));
    assert_eq!((users(&scene), volume_effects(&outputs)), (vec!["b".to_owned()], vec![]));
    assert_eq!(scene.agent.books().volumes()[&volume(1)].state, VolumeState::Ready);
    // Nobody new gets in while it is to be destroyed.
    let outputs = scene.say(launch("c", vec![used(1, 1)]));
    assert_eq!(statuses(&outputs)[0].state, TaskState::Dropped);
    event(&mut scene, "b", ContainerEvent::Exited(Exit::Status(0)));
    assert_eq!(users(&scene), Vec::<String>::new());
    assert_eq!(scene.agent.books().volumes()[&volume(1)].state, VolumeState::Tombstoned);
}

#[test]
fn one_look_at_the_volume_is_for_all_who_wait_for_it() {
    for (outcome, starts) in [
        (present(), 2),
        (VolumeOutcome::Failed(Rejection::new(ErrorCode::DiskFaulty, "not mounted")), 0),
        (VolumeOutcome::Absent, 0),
    ] {
        let mut scene = scene();
        let first = scene.say(launch("a", vec![used(1, 1)]));
        let second = scene.say(launch("b", vec![used(1, 1)]));
        assert_eq!(volume_effects(&second), vec![], "one look at a time");
        let outputs = scene.answer(&first, outcome);
        assert_eq!(container_effects(&outputs).len(), starts);
        let live: Vec<bool> = ["a", "b"]
            .map(|id| !scene.agent.books().tasks()[&key(id)].status.state.is_terminal())
            .to_vec();
        assert_eq!((live, users(&scene).len()), (vec![starts > 0; 2], starts));
    }
}

#[test]
fn a_volume_that_is_not_shared_keeps_to_one_task() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    scene.say(launch("a", vec![used(1, 1)]));
    let outputs = scene.say(launch("b", vec![used(1, 1)]));
    let status = statuses(&outputs).remove(0);
    assert_eq!(status.error.map(|error| error.code), Some(ErrorCode::VolumeInUse));
    assert_eq!(users(&scene), ["a"]);
}

#[test]
fn its_tasks_are_not_brought_to_rest_by_the_command_of_one() {
    let mut scene = scene();
    launch_one(&mut scene, "a");
    let spec = SnapshotSpec {
        id: SnapshotId::from_u128(5),
        name: SnapshotName::new("s").unwrap(),
        of: shared(),
    };
    let freeze = Freeze {
        program: Program::Shell("echo frozen; read x".to_owned()),
        timeout: Duration::from_secs(5),
    };
    let asked = ToAgent::EnsureSnapshot { spec, operation: operation(7), freeze: Some(freeze) };
    let outputs = scene.say(asked);
    assert_eq!(volume_effects(&outputs), vec![]);
    let snapshot = &scene.agent.books().snapshots()[&SnapshotId::from_u128(5)];
    assert_eq!(
        (snapshot.state, snapshot.error.as_ref().map(|error| error.code)),
        (SnapshotState::Failed, Some(ErrorCode::VolumeShared))
    );
}
