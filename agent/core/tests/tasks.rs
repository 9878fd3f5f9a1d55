//! What an agent does with tasks, step by step.

mod scene;

use berth_agent_core::effect::{ContainerEffect, ContainerEvent, Exit, VolumeOutcome};
use berth_agent_core::{Input, Output};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::StatusId;
use berth_model::link::{FromAgent, OutputStream, ToAgent};
use berth_model::task::{Check, Program, TaskReason, TaskState};
use scene::*;
use std::time::Duration;

impl Scene {
    fn event(&mut self, task: &str, event: ContainerEvent) -> Vec<Output> {
        let container = self.agent.books().tasks()[&key(task)].container;
        self.give(Input::Container { container, event })
    }
    fn acknowledge(&mut self, task: &str, status: Option<StatusId>) -> Vec<Output> {
        let key = key(task);
        self.say(ToAgent::Acknowledge {
            framework: key.framework,
            task: key.task,
            status: status.expect("an update has an id"),
        })
    }
    /// Acknowledges until the task is in `state`.
    fn settle(&mut self, task: &str) {
        while let Some(head) = self
            .agent
            .books()
            .tasks()
            .get(&key(task))
            .and_then(|t| t.unacknowledged.first().cloned())
        {
            self.acknowledge(task, head.id);
        }
    }
    fn running(&mut self, task: &str) {
        self.say(launch(task, vec![]));
        self.event(task, ContainerEvent::Running { pid: 7 });
        self.settle(task);
    }
}

fn kill(task: &str, grace: Option<Duration>) -> ToAgent {
    let key = key(task);
    ToAgent::Kill { framework: key.framework, task: key.task, grace }
}

fn summary(outputs: &[Output]) -> Vec<(TaskState, TaskReason, String)> {
    statuses(outputs).into_iter().map(|s| (s.state, s.reason, s.message)).collect()
}

#[test]
fn a_task_starts_after_its_volume_was_verified_and_its_updates_wait_for_each_other() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    let starting = statuses(&outputs).remove(0);
    assert_eq!((starting.state, container_effects(&outputs)), (TaskState::Starting, vec![]));
    let outputs = scene.answer(&outputs, present());
    let container = scene.agent.books().tasks()[&key("t")].container;
    assert_eq!(
        container_effects(&outputs),
        vec![ContainerEffect::Start {
            container,
            framework: framework(),
            task: Box::new(task("t")),
            volumes: vec![(used(1, 1), spec(1, 1))],
            in_use: std::collections::BTreeSet::new(),
        }]
    );
    assert_eq!(scene.event("t", ContainerEvent::Running { pid: 7 }), vec![]);
    // A repeated launch starts nothing and repeats what is unacknowledged.
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    assert_eq!(outputs, vec![Output::Send(FromAgent::Status(starting.clone()))]);
    let outputs = scene.acknowledge("t", starting.id);
    let running = statuses(&outputs).remove(0);
    assert_eq!(
        (running.state, running.ready, running.pid),
        (TaskState::Running, Some(true), Some(7))
    );
    assert_ne!(running.id, starting.id);
    // An acknowledgement that comes twice changes nothing.
    assert_eq!(scene.step(envelope(1, ToAgent::Heartbeat)).records, vec![]);
    assert_eq!(scene.acknowledge("t", starting.id), vec![]);
}

#[test]
fn launches_on_volumes_that_cannot_be_used_are_refused_and_told_until_acknowledged() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    scene.say(ensure(2, 1, 2));
    let outputs = scene.say(launch("first", vec![used(1, 1)]));
    scene.answer(&outputs, present());
    for (id, volumes, code) in [
        ("unknown", vec![used(9, 1)], ErrorCode::UnknownVolume),
        ("creating", vec![used(2, 1)], ErrorCode::VolumeNotReady),
        ("generation", vec![used(1, 2)], ErrorCode::VolumeNotReady),
        ("in-use", vec![used(1, 1)], ErrorCode::VolumeInUse),
    ] {
        let outputs = scene.say(launch(id, volumes));
        let status = statuses(&outputs).remove(0);
        assert_eq!(
            (status.state, status.reason, status.error.map(|e| e.code)),
            (TaskState::Dropped, TaskReason::VolumeUnavailable, Some(code)),
            "{id}"
        );
        assert_eq!(container_effects(&outputs), vec![]);
        let container = scene.agent.books().tasks()[&key(id)].container;
        let outputs = scene.acknowledge(id, status.id);
        assert_eq!(container_effects(&outputs), vec![ContainerEffect::Release { container }]);
        assert_eq!(scene.agent.books().tasks().get(&key(id)), None);
    }
}

#[test]
fn a_volume_that_fails_its_verification_fails_the_task_and_is_withheld() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    let status = statuses(&outputs).remove(0);
    scene.acknowledge("t", status.id);
    let error = Rejection::new(ErrorCode::DiskFaulty, "the disk is not mounted");
    let outputs = scene.answer(&outputs, VolumeOutcome::Failed(error.clone()));
    let status = statuses(&outputs).remove(0);
    assert_eq!(
        (status.state, status.reason, status.error),
        (TaskState::Failed, TaskReason::VolumeUnavailable, Some(error))
    );
    // It is looked at again, and usable when that succeeds.
    let outputs = scene.wait(Duration::from_secs(1));
    scene.answer(&outputs, present());
    let outputs = scene.say(launch("again", vec![used(1, 1)]));
    assert_eq!(container_effects(&scene.answer(&outputs, present())).len(), 1);
}

#[test]
fn a_start_that_fails_because_of_a_volume_has_the_volume_looked_at() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    scene.answer(&outputs, present());
    scene.settle("t");
    let error = Rejection::new(ErrorCode::VolumeUnavailable, "marker is missing");
    let outputs = scene.event("t", ContainerEvent::NotStarted(error));
    assert_eq!(
        summary(&outputs),
        vec![(TaskState::Failed, TaskReason::VolumeUnavailable, "marker is missing".to_owned())]
    );
    assert_eq!(volume_effects(&outputs).len(), 1);
}

#[test]
fn running_tasks_are_adopted_at_once_and_starting_ones_wait_for_the_master_after_a_crash() {
    let mut scene = Scene::registered();
    scene.running("run");
    scene.say(launch("start", vec![]));
    let books = scene.agent.books().clone();
    let container = |task| books.tasks()[&key(task)].container;
    let outputs = scene.crash().outputs;
    assert_eq!(
        container_effects(&outputs),
        vec![ContainerEffect::Adopt { container: container("run"), health: None, readiness: None }]
    );
    assert_eq!(scene.event("run", ContainerEvent::Running { pid: 7 }), vec![]);
    // The update that was not acknowledged in the earlier life is told again, the running task registers.
    let outputs = scene.connect(1);
    assert_eq!(summary(&outputs), vec![(TaskState::Starting, TaskReason::Normal, String::new())]);
    let registered = outputs.iter().find_map(|o| match o {
        Output::Send(FromAgent::Register(r)) => Some(
            r.tasks.iter().map(|t| (t.status.task.to_string(), t.status.state)).collect::<Vec<_>>(),
        ),
        _ => None,
    });
    assert_eq!(
        registered,
        Some(vec![
            ("run".to_owned(), TaskState::Running),
            ("start".to_owned(), TaskState::Starting)
        ])
    );
    assert_eq!(
        container_effects(&outputs),
        vec![ContainerEffect::Start {
            container: container("start"),
            framework: framework(),
            task: Box::new(task("start")),
            volumes: vec![],
            in_use: std::collections::BTreeSet::new(),
        }]
    );
    // Known from now on, it is not started again by the next master.
    assert_eq!(container_effects(&scene.connect(2)), vec![]);
}

#[test]
fn statuses_are_repeated_with_growing_pauses_until_acknowledged() {
    let mut scene = Scene::registered();
    let first = statuses(&scene.say(launch("t", vec![])));
    for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
        // The master is alive meanwhile.
        for _ in 1..pause {
            scene.now = scene.now.after(Duration::from_secs(1));
            assert_eq!(statuses(&scene.say(ToAgent::Heartbeat)), vec![]);
        }
        assert_eq!(statuses(&scene.wait(Duration::from_secs(1))), first, "after {pause} s");
    }
    // A new connection starts over.
    assert_eq!(statuses(&scene.connect(2)), first);
}

#[test]
fn a_kill_waits_for_the_start_is_told_once_and_can_be_made_sooner() {
    let mut scene = Scene::registered();
    scene.say(launch("t", vec![]));
    let container = scene.agent.books().tasks()[&key("t")].container;
    let outputs = scene.say(kill("t", Some(Duration::from_secs(9))));
    assert_eq!(container_effects(&outputs), vec![]);
    let outputs = scene.event("t", ContainerEvent::Running { pid: 7 });
    let effect = |secs| ContainerEffect::Kill { container, grace: Duration::from_secs(secs) };
    assert_eq!(container_effects(&outputs), vec![effect(9)]);
    let step = scene.step(envelope(1, kill("t", Some(Duration::from_secs(1)))));
    assert_eq!((step.records, container_effects(&step.outputs)), (vec![], vec![effect(1)]));
    scene.settle("t");
    let outputs = scene.event("t", ContainerEvent::Exited(Exit::Signal(15)));
    let message = "asked to end; command was ended by signal 15 (SIGTERM)".to_owned();
    let told = vec![(TaskState::Killed, TaskReason::KillRequested, message)];
    assert_eq!(summary(&outputs), told);
    assert_eq!(summary(&scene.say(kill("t", None))), told);
    let outputs = scene.say(kill("nobody", None));
    assert_eq!(statuses(&outputs)[0].state, TaskState::Gone);
    assert_eq!(statuses(&outputs)[0].id, None);
}

#[test]
fn a_kill_survives_a_crash() {
    let mut scene = Scene::registered();
    scene.running("t");
    scene.say(kill("t", None));
    let container = scene.agent.books().tasks()[&key("t")].container;
    scene.crash();
    let outputs = scene.event("t", ContainerEvent::Running { pid: 7 });
    let grace = Duration::from_secs(5);
    assert_eq!(container_effects(&outputs), vec![ContainerEffect::Kill { container, grace }]);
}

#[test]
fn a_task_that_is_to_end_is_not_started_after_a_crash() {
    let mut scene = Scene::registered();
    scene.say(launch("t", vec![]));
    scene.say(kill("t", None));
    let container = scene.agent.books().tasks()[&key("t")].container;
    let adopt = ContainerEffect::Adopt { container, health: None, readiness: None };
    assert_eq!(container_effects(&scene.crash().outputs), vec![adopt]);
    let gone = ContainerEvent::Exited(Exit::Unknown("nothing is there".to_owned()));
    scene.event("t", gone);
    assert_eq!(scene.agent.books().tasks()[&key("t")].status.state, TaskState::Killed);
}

#[test]
fn a_task_whose_volumes_are_still_verified_is_killed_without_being_started() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    scene.say(kill("t", None));
    assert_eq!(container_effects(&scene.answer(&outputs, present())), vec![]);
    scene.settle("t");
    assert_eq!(scene.agent.books().tasks().len(), 0);
}

#[test]
fn how_a_command_ended_decides_the_last_status() {
    let text = str::to_owned;
    for (exit, state, reason, message) in [
        (
            Exit::Status(0),
            TaskState::Finished,
            TaskReason::Normal,
            text("command exited with status 0"),
        ),
        (
            Exit::Status(3),
            TaskState::Failed,
            TaskReason::Normal,
            text("command exited with status 3"),
        ),
        (
            Exit::Signal(11),
            TaskState::Failed,
            TaskReason::Normal,
            text("command was ended by signal 11 (SIGSEGV)"),
        ),
        (
            Exit::OutOfMemory(berth_model::units::Bytes::from_mib(64)),
            TaskState::Failed,
            TaskReason::MemoryLimit,
            text("command exceeded its memory limit of 64 MiB"),
        ),
        (
            Exit::Unknown(text("no supervisor")),
            TaskState::Lost,
            TaskReason::AgentRestarted,
            text("no supervisor"),
        ),
    ] {
        let mut scene = Scene::registered();
        scene.running("t");
        let outputs = scene.event("t", ContainerEvent::Exited(exit));
        assert_eq!(summary(&outputs), vec![(state, reason, message)]);
        assert_eq!(scene.event("t", ContainerEvent::Running { pid: 8 }), vec![]);
    }
}

#[test]
fn checks_show_in_updates_and_a_failed_health_check_ends_the_task() {
    let mut scene = Scene::registered();
    let check = Check {
        program: Program::Shell("true".to_owned()),
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        failures: 3,
        grace: Duration::ZERO,
    };
    let mut info = task("t");
    info.health = Some(check.clone());
    info.readiness = Some(check);
    scene.say(ToAgent::Launch { framework: framework(), task: Box::new(info), volumes: vec![] });
    scene.event("t", ContainerEvent::Running { pid: 7 });
    scene.settle("t");
    let flags = |outputs: &[Output]| {
        let all = statuses(outputs);
        all.iter().map(|s| (s.state, s.healthy, s.ready)).collect::<Vec<_>>()
    };
    let outputs = scene.event("t", ContainerEvent::Ready(true));
    assert_eq!(flags(&outputs), vec![(TaskState::Running, None, Some(true))]);
    assert_eq!(scene.event("t", ContainerEvent::Ready(true)), vec![]);
    scene.settle("t");
    let outputs = scene.event("t", ContainerEvent::Healthy(true));
    assert_eq!(flags(&outputs), vec![(TaskState::Running, Some(true), Some(true))]);
    scene.settle("t");
    let outputs = scene.event("t", ContainerEvent::Healthy(false));
    assert_eq!(flags(&outputs), vec![(TaskState::Killing, Some(false), Some(true))]);
    assert_eq!(container_effects(&outputs).len(), 1);
    scene.settle("t");
    let outputs = scene.event("t", ContainerEvent::Exited(Exit::Status(0)));
    assert_eq!(
        summary(&outputs),
        vec![(
            TaskState::Killed,
            TaskReason::HealthCheck,
            "the health check failed too often; command exited with status 0".to_owned()
        )]
    );
}

#[test]
fn updates_behind_an_unacknowledged_one_do_not_pile_up() {
    let mut scene = Scene::registered();
    scene.say(launch("t", vec![]));
    scene.event("t", ContainerEvent::Running { pid: 7 });
    for round in 0..50 {
        scene.event("t", ContainerEvent::Ready(round % 2 == 1));
    }
    let states: Vec<_> = scene.agent.books().tasks()[&key("t")]
        .unacknowledged
        .iter()
        .map(|s| (s.state, s.ready))
        .collect();
    assert_eq!(states, vec![(TaskState::Starting, None), (TaskState::Running, Some(true))]);
}

#[test]
fn shutdown_leaves_tasks_running_or_ends_them_first() {
    let mut scene = Scene::registered();
    scene.running("t");
    let mut other = Scene::registered();
    other.running("t");
    assert_eq!(scene.give(Input::Shutdown { kill_tasks: false }), vec![Output::Stopped]);
    let outputs = other.give(Input::Shutdown { kill_tasks: true });
    assert_eq!(container_effects(&outputs).len(), 1);
    assert!(!outputs.contains(&Output::Stopped));
    let refused = statuses(&other.say(launch("late", vec![])));
    assert_eq!(
        (refused[0].state, refused[0].reason),
        (TaskState::Dropped, TaskReason::LaunchFailed)
    );
    let outputs = other.event("t", ContainerEvent::Exited(Exit::Signal(15)));
    assert!(outputs.contains(&Output::Stopped));
}

#[test]
fn the_output_of_a_forgotten_task_can_still_be_read() {
    let mut scene = Scene::registered();
    scene.running("t");
    let container = scene.agent.books().tasks()[&key("t")].container;
    scene.event("t", ContainerEvent::Exited(Exit::Status(0)));
    scene.settle("t");
    let read = |read, task: &str| ToAgent::ReadFile {
        read,
        framework: framework(),
        task: key(task).task,
        stream: OutputStream::Stdout,
        offset: 0,
        length: 10,
    };
    let (stream, offset, length) = (OutputStream::Stdout, 0, 10);
    assert_eq!(
        scene.say(read(1, "t")),
        vec![Output::ReadFile { read: 1, container, stream, offset, length }]
    );
    let answer = Input::FileData { read: 1, offset: 0, data: Ok(b"hello".to_vec()) };
    let data = FromAgent::FileData { read: 1, offset: 0, data: Ok(b"hello".to_vec()) };
    assert_eq!(scene.give(answer.clone()), vec![Output::Send(data)]);
    assert_eq!(scene.give(answer), vec![]);
    let outputs = scene.say(read(2, "unknown"));
    assert!(matches!(
        outputs.as_slice(),
        [Output::Send(FromAgent::FileData { read: 2, data: Err(e), .. })] if e.code == ErrorCode::UnknownTask
    ));
}
