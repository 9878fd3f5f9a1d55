//! What an agent that starts from its ledger holds back until a master has taken it in: whatever makes, starts, moves
//! or deletes something. An old copy of the ledger would do again what is long over.

mod scene;

use berth_agent_core::effect::{
    ContainerEffect, ContainerEvent, Exit, Place, VolumeEffect, VolumeOutcome,
};
use berth_agent_core::{Input, Output, Severity};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::SessionId;
use berth_model::link::{FromAgent, ToAgent};
use berth_model::record::LedgerTaskPhase;
use berth_model::task::TaskState;
use berth_model::volume::VolumeState;
use scene::*;
use std::time::Duration;

impl Scene {
    fn dial(&mut self) -> Vec<Output> {
        self.give(Input::Connected { session: SessionId::from_u128(7) })
    }
    fn state(&self, number: u128) -> VolumeState {
        self.agent.books().volumes()[&volume(number)].state
    }
    /// Nothing but looking, however often a master refuses the agent and however long it takes.
    fn is_refused_for_days(&mut self) {
        for _ in 0..5 {
            let outputs = self.dial();
            assert_eq!(changes(&outputs), vec![]);
            let reason = Rejection::new(ErrorCode::LedgerRolledBack, "an old copy");
            let outputs = self.say(ToAgent::Refused(reason.clone()));
            assert_eq!(outputs, vec![Output::Disconnect { reason }]);
            assert_eq!(changes(&self.wait(Duration::from_hours(12))), vec![]);
        }
    }
    fn trashed(&mut self, number: u128) {
        self.ready_volume(number);
        let outputs = self.say(destroy(number, 1, 100 + number));
        self.answer(&outputs, present());
        assert_eq!(self.state(number), VolumeState::Trashed);
    }
    fn event(&mut self, task: &str, event: ContainerEvent) -> Vec<Output> {
        let container = self.agent.books().tasks()[&key(task)].container;
        self.give(Input::Container { container, event })
    }
}

/// The effects that change something on the host.
fn changes(outputs: &[Output]) -> Vec<Output> {
    let change = |output: &&Output| match output {
        Output::Volume { effect, .. } => {
            !matches!(effect, VolumeEffect::Verify { .. } | VolumeEffect::Usage { .. })
        },
        Output::Container(effect) => !matches!(effect, ContainerEffect::Adopt { .. }),
        Output::PurgeOrphan { .. } | Output::OrderDisk { .. } => true,
        Output::TryDisk { .. } => false,
        Output::Send(_)
        | Output::Disconnect { .. }
        | Output::ReadFile { .. }
        | Output::Log { .. }
        | Output::Transfer { .. }
        | Output::RefuseTransfer { .. }
        | Output::Stopped => false,
    };
    outputs.iter().filter(change).cloned().collect()
}

/// What the registration says of each volume and of each task.
fn registered(outputs: &[Output]) -> Option<(Vec<VolumeState>, Vec<TaskState>)> {
    outputs.iter().find_map(|output| match output {
        Output::Send(FromAgent::Register(r)) => Some((
            r.volumes.iter().map(|v| v.state).collect(),
            r.tasks.iter().map(|t| t.status.state).collect(),
        )),
        _ => None,
    })
}

#[test]
fn a_create_waits_and_is_asked_for_once_although_the_master_repeats_it() {
    let mut scene = Scene::registered();
    scene.say(ensure(1, 1, 1));
    let text = "1 volumes and 0 tasks were begun and wait for the master".to_owned();
    let log = Output::Log { severity: Severity::Info, message: text };
    assert_eq!(scene.crash().outputs, vec![log]);
    scene.is_refused_for_days();
    assert_eq!(registered(&scene.dial()), Some((vec![VolumeState::Creating], vec![])));
    let outputs = scene.taken_in();
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Create { spec: spec(1, 1), purgeable: vec![] });
    let again = scene.say(ensure(1, 1, 1));
    assert_eq!(volume_effects(&again), vec![]);
    assert_eq!(reports(&again)[0].state, VolumeState::Creating);
    scene.answer(&outputs, present());
    assert_eq!(scene.state(1), VolumeState::Ready);
}

#[test]
fn a_create_that_the_master_wants_gone_by_now_is_made_and_then_destroyed() {
    let mut scene = Scene::registered();
    scene.say(ensure(1, 1, 1));
    scene.crash();
    let made = scene.connect(1);
    assert_eq!(volume_effects(&scene.say(destroy(1, 1, 2))), vec![]);
    let (_, effect) = only_volume_effect(&scene.answer(&made, present()));
    assert_eq!(effect, VolumeEffect::Trash { spec: spec(1, 1) });
}

#[test]
fn a_create_does_not_purge_trash_either_while_it_waits() {
    let mut scene = Scene::registered();
    scene.trashed(1);
    scene.say(ensure(2, 1, 2));
    let outputs = scene.crash().outputs;
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Verify { spec: spec(1, 1), place: Place::Trash });
    scene.answer(&outputs, present());
    scene.dial();
    let (_, effect) = only_volume_effect(&scene.taken_in());
    let purgeable = vec![(spec(1, 1), spec(1, 1).size)];
    assert_eq!(effect, VolumeEffect::Create { spec: spec(2, 1), purgeable });
}

#[test]
fn a_restore_waits() {
    let mut scene = Scene::registered();
    scene.trashed(1);
    scene.say(ensure(1, 2, 8));
    assert_eq!(volume_effects(&scene.crash().outputs), vec![]);
    scene.is_refused_for_days();
    assert_eq!(registered(&scene.dial()), Some((vec![VolumeState::Creating], vec![])));
    let (_, effect) = only_volume_effect(&scene.taken_in());
    assert_eq!(effect, VolumeEffect::Restore { spec: spec(1, 2), purgeable: vec![] });
    assert_eq!(volume_effects(&scene.say(ensure(1, 2, 8))), vec![]);
}

#[test]
fn a_restore_that_failed_is_not_done_again_for_the_repetition_that_crossed_its_failure() {
    let mut scene = Scene::registered();
    scene.trashed(1);
    scene.say(ensure(1, 2, 8));
    scene.crash();
    let outputs = scene.connect(1);
    let full = Rejection::new(ErrorCode::DiskFull, "no space left");
    let told = reports(&scene.answer(&outputs, VolumeOutcome::Failed(full.clone())));
    assert_eq!((told[0].state, told[0].error.clone()), (VolumeState::Trashed, Some(full)));
    // The master sent this when it took the agent in, and has not heard of the failure yet.
    let again = scene.say(ensure(1, 2, 8));
    assert_eq!((volume_effects(&again), reports(&again)), (vec![], told));
    // Another operation is another attempt, and so is the same one for a master that never heard.
    assert_eq!(volume_effects(&scene.say(ensure(1, 2, 9))).len(), 1);
    let mut other = Scene::registered();
    other.trashed(1);
    let outputs = other.say(ensure(1, 2, 8));
    let full = Rejection::new(ErrorCode::DiskFull, "no space left");
    other.answer(&outputs, VolumeOutcome::Failed(full));
    other.connect(2);
    assert_eq!(volume_effects(&other.give(envelope(2, ensure(1, 2, 8)))).len(), 1);
}

#[test]
fn a_destruction_waits_and_is_asked_for_once_although_the_master_repeats_it() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    scene.say(destroy(1, 1, 2));
    assert_eq!(volume_effects(&scene.crash().outputs), vec![]);
    scene.is_refused_for_days();
    assert_eq!(registered(&scene.dial()), Some((vec![VolumeState::Tombstoned], vec![])));
    let outputs = scene.taken_in();
    let (_, effect) = only_volume_effect(&outputs);
    assert_eq!(effect, VolumeEffect::Trash { spec: spec(1, 1) });
    assert_eq!(volume_effects(&scene.say(destroy(1, 1, 2))), vec![]);
    scene.answer(&outputs, present());
    assert_eq!(scene.state(1), VolumeState::Trashed);
}

#[test]
fn trash_whose_retention_is_over_is_looked_at_but_not_purged() {
    let mut scene = Scene::registered();
    scene.trashed(1);
    scene.now = scene.now.after(Duration::from_hours(100));
    let outputs = scene.crash().outputs;
    // The retention is found to be over while somebody looks.
    scene.give(Input::Tick);
    assert_eq!(changes(&scene.answer(&outputs, present())), vec![]);
    scene.is_refused_for_days();
    assert_eq!(registered(&scene.dial()), Some((vec![VolumeState::Trashed], vec![])));
    let (_, effect) = only_volume_effect(&scene.taken_in());
    assert_eq!(effect, VolumeEffect::Purge { spec: spec(1, 1) });
}

#[test]
fn trash_that_cannot_be_looked_at_is_looked_at_again_while_its_purge_waits() {
    let mut scene = Scene::registered();
    scene.trashed(1);
    scene.now = scene.now.after(Duration::from_hours(100));
    let outputs = scene.crash().outputs;
    let fault = Rejection::new(ErrorCode::DiskFaulty, "input/output error");
    scene.answer(&outputs, VolumeOutcome::Unclear(fault));
    let (_, effect) = only_volume_effect(&scene.wait(Duration::from_secs(1)));
    assert_eq!(effect, VolumeEffect::Verify { spec: spec(1, 1), place: Place::Trash });
}

#[test]
fn a_start_waits_and_happens_once_although_the_master_repeats_the_launch() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    scene.answer(&outputs, present());
    let outputs = scene.crash().outputs;
    assert_eq!(container_effects(&outputs), vec![]);
    scene.answer(&outputs, present());
    scene.is_refused_for_days();
    let told = (vec![VolumeState::Ready], vec![TaskState::Starting]);
    assert_eq!(registered(&scene.dial()), Some(told));
    let container = scene.agent.books().tasks()[&key("t")].container;
    let start = ContainerEffect::Start {
        container,
        framework: framework(),
        task: Box::new(task("t")),
        volumes: vec![(used(1, 1), spec(1, 1))],
        in_use: std::collections::BTreeSet::new(),
    };
    assert_eq!(container_effects(&scene.taken_in()), vec![start]);
    let again = scene.say(launch("t", vec![used(1, 1)]));
    assert_eq!((container_effects(&again), volume_effects(&again)), (vec![], vec![]));
}

#[test]
fn a_start_whose_volume_was_lost_meanwhile_is_only_looked_for() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    let outputs = scene.say(launch("t", vec![used(1, 1)]));
    scene.answer(&outputs, present());
    let outputs = scene.crash().outputs;
    scene.answer(&outputs, VolumeOutcome::Absent);
    let container = scene.agent.books().tasks()[&key("t")].container;
    let adopt = ContainerEffect::Adopt { container, health: None, readiness: None };
    assert_eq!(container_effects(&scene.connect(1)), vec![adopt]);
}

#[test]
fn a_waiting_start_is_not_needed_when_its_supervisor_speaks() {
    let mut scene = Scene::registered();
    scene.say(launch("t", vec![]));
    scene.crash();
    scene.event("t", ContainerEvent::Running { pid: 7 });
    assert_eq!(scene.agent.books().tasks()[&key("t")].phase, LedgerTaskPhase::Running);
    assert_eq!(container_effects(&scene.connect(1)), vec![]);
}

#[test]
fn a_shutdown_that_ends_tasks_looks_for_what_an_earlier_life_may_have_started() {
    let mut scene = Scene::registered();
    scene.say(launch("t", vec![]));
    scene.crash();
    let container = scene.agent.books().tasks()[&key("t")].container;
    let adopt = ContainerEffect::Adopt { container, health: None, readiness: None };
    let outputs = scene.give(Input::Shutdown { kill_tasks: true });
    assert_eq!(
        (container_effects(&outputs), outputs.contains(&Output::Stopped)),
        (vec![adopt], false)
    );
    let mut other = Scene::registered();
    other.say(launch("t", vec![]));
    other.crash();
    other.give(Input::Shutdown { kill_tasks: true });
    // It runs: it is ended. It was never started: nothing is left to do.
    let container = other.agent.books().tasks()[&key("t")].container;
    let kill = ContainerEffect::Kill { container, grace: Duration::from_secs(5) };
    let outputs = other.event("t", ContainerEvent::Running { pid: 7 });
    assert_eq!(container_effects(&outputs), vec![kill]);
    let nobody = ContainerEvent::Exited(Exit::Unknown("no supervisor".to_owned()));
    assert!(scene.event("t", nobody).contains(&Output::Stopped));
    assert_eq!(scene.agent.books().tasks()[&key("t")].status.state, TaskState::Killed);
}

#[test]
fn a_shutdown_that_keeps_tasks_does_not_wait_for_a_start() {
    let mut scene = Scene::registered();
    scene.say(launch("t", vec![]));
    scene.crash();
    assert_eq!(scene.give(Input::Shutdown { kill_tasks: false }), vec![Output::Stopped]);
}

#[test]
fn what_a_master_asks_for_before_it_took_the_agent_in_is_written_down_and_waits_too() {
    let mut scene = Scene::new();
    scene.dial();
    assert_eq!(changes(&scene.say(ensure(1, 1, 1))), vec![]);
    assert_eq!(changes(&scene.say(launch("t", vec![]))), vec![]);
    assert_eq!(scene.state(1), VolumeState::Creating);
    let outputs = scene.taken_in();
    let (volumes, containers) = (volume_effects(&outputs), container_effects(&outputs));
    assert_eq!((volumes.len(), containers.len()), (1, 1), "{outputs:?}");
}

#[test]
fn a_registered_that_answers_no_registration_judges_nothing() {
    let mut scene = Scene::registered();
    scene.ready_volume(1);
    scene.say(ensure(2, 1, 2));
    let outputs = scene.crash().outputs;
    // The registration waits for the look at volume 1.
    assert_eq!(registered(&scene.dial()), None);
    assert_eq!(scene.taken_in(), vec![]);
    assert!(registered(&scene.answer(&outputs, present())).is_some());
    assert_eq!(volume_effects(&scene.taken_in()).len(), 1);
}

#[test]
fn an_agent_that_was_taken_in_once_goes_on_without_a_master() {
    let mut scene = Scene::registered();
    scene.trashed(1);
    let failed = VolumeOutcome::Unclear(Rejection::new(ErrorCode::DiskFaulty, "i/o"));
    let outputs = scene.say(ensure(2, 1, 2));
    scene.answer(&outputs, failed);
    scene.give(Input::Disconnected);
    let outputs = scene.wait(Duration::from_secs(1));
    let (_, effect) = only_volume_effect(&outputs);
    let purgeable = vec![(spec(1, 1), spec(1, 1).size)];
    assert_eq!(effect, VolumeEffect::Create { spec: spec(2, 1), purgeable });
    scene.answer(&outputs, present());
    let (_, effect) = only_volume_effect(&changes(&scene.wait(Duration::from_hours(24))));
    assert_eq!(effect, VolumeEffect::Purge { spec: spec(1, 1) });
}
