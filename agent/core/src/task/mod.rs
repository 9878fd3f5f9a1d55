//! Tasks: launch, kill, and what their containers say.
//!
//! Rules: a task is written down before its supervisor is started; a known task is never started a second time; a
//! task starts only after each of its volumes was verified, and no two live tasks use one volume that is not shared; nothing is started
//! before a master has taken the agent in; a container is asked for one thing at a time until it answered. Invariant: each
//! task in the books has a run here, and the run's phase is `Ended` exactly when the task's is.

mod event;
mod resume;

use crate::agent::Agent;
use crate::effect::ContainerEffect;
use crate::step::{Output, Severity};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{ContainerId, FrameworkId, VolumeId};
use berth_model::link::FromAgent;
use berth_model::record::{LedgerTask, LedgerTaskPhase};
use berth_model::resources::check_container_path;
use berth_model::task::{StatusSource, TaskInfo, TaskKey, TaskReason, TaskState, TaskStatus};
use berth_model::volume::{VolumeSpec, VolumeState, VolumeUse};
use std::collections::BTreeSet;
use std::time::Duration;

/// How far a run has come in this life of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RunPhase {
    /// These volumes are being looked at.
    Verifying(BTreeSet<VolumeId>),
    /// The start waits until a master has taken the agent in.
    Held,
    /// Start or adoption is under way.
    Asked,
    /// It runs.
    Answered,
    /// It is over.
    Ended,
}

/// What the agent knows about a run beyond the books.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    phase: RunPhase,
    /// The grace of a kill that waits for the start's answer.
    grace: Option<Duration>,
    /// How often the oldest unacknowledged status was sent.
    pub(crate) sent: u32,
}

impl Run {
    fn new(phase: RunPhase) -> Self {
        Self { phase, grace: None, sent: 0 }
    }
    /// Does its start wait for a master?
    pub(crate) fn is_held(&self) -> bool {
        self.phase == RunPhase::Held
    }
}

/// Why a task is not started.
struct Refusal {
    state: TaskState,
    reason: TaskReason,
    error: Rejection,
}

/// Why and how a live task is ended.
struct Ending {
    reason: TaskReason,
    message: String,
    grace: Duration,
    healthy: Option<bool>,
}

impl Agent {
    fn start_effect(&self, task: &LedgerTask) -> ContainerEffect {
        let volumes: Vec<(VolumeUse, VolumeSpec)> = task
            .volumes
            .iter()
            .filter_map(|used| {
                let volume = self.books.volumes().get(&used.volume)?;
                Some((used.clone(), volume.spec.clone()))
            })
            .collect();
        let in_use = task.volumes.iter().map(|used| used.volume);
        ContainerEffect::Start {
            container: task.container,
            framework: task.framework.clone(),
            task: Box::new(task.info.clone()),
            volumes,
            in_use: in_use.filter(|volume| self.is_in_use(*volume, &task.key())).collect(),
        }
    }

    /// Has another task been started on the volume?
    fn is_in_use(&self, volume: VolumeId, besides: &TaskKey) -> bool {
        let others = self.books.users(volume).filter(|user| *user != besides);
        others.filter_map(|user| self.books.tasks().get(user)).any(|other| {
            self.runs.get(&other.container).is_some_and(|run| match run.phase {
                RunPhase::Asked | RunPhase::Answered => true,
                RunPhase::Verifying(_) | RunPhase::Held | RunPhase::Ended => false,
            })
        })
    }

    /// Starts a task, unless it is known already: then its status is the answer.
    pub(crate) fn launch(
        &mut self,
        framework: FrameworkId,
        info: TaskInfo,
        volumes: Vec<VolumeUse>,
    ) {
        let key = TaskKey { framework: framework.clone(), task: info.id.clone() };
        if self.books.tasks().contains_key(&key) {
            self.answer_status(&key);
            return;
        }
        let refusal = self.check_launch(&info, &volumes).err();
        let container = self.mint_container();
        let mut task = LedgerTask {
            status: TaskStatus {
                task: info.id.clone(),
                framework: framework.clone(),
                agent: Some(self.info.id),
                state: TaskState::Starting,
                reason: TaskReason::Normal,
                source: StatusSource::Agent,
                message: String::new(),
                error: None,
                at: self.now,
                id: None,
                healthy: None,
                ready: None,
                container: Some(container),
                pid: None,
            },
            framework,
            info,
            volumes,
            container,
            phase: LedgerTaskPhase::Starting,
            killing: false,
            unacknowledged: Vec::new(),
        };
        if let Some(Refusal { state, reason, error }) = refusal {
            self.log(Severity::Warning, format!("task {key} is not started: {error}"));
            task.phase = LedgerTaskPhase::Ended;
            task.status = TaskStatus {
                state,
                reason,
                message: error.to_string(),
                error: Some(error),
                ..task.status
            };
            self.runs.insert(container, Run::new(RunPhase::Ended));
            self.update(task);
            return;
        }
        let uses: BTreeSet<VolumeId> = task.volumes.iter().map(|used| used.volume).collect();
        self.runs.insert(container, Run::new(RunPhase::Verifying(uses.clone())));
        self.update(task);
        if uses.is_empty() {
            self.start(&key);
        }
        for volume in uses {
            self.verify(volume);
        }
    }

    fn start(&mut self, key: &TaskKey) {
        let Some(task) = self.books.tasks().get(key) else { return };
        let container = task.container;
        let effect = self.taken_in.then(|| self.start_effect(task));
        if let Some(run) = self.runs.get_mut(&container) {
            run.phase = if effect.is_some() { RunPhase::Asked } else { RunPhase::Held };
        }
        if let Some(effect) = effect {
            self.emit(Output::Container(effect));
        }
    }

    fn check_launch(&self, info: &TaskInfo, volumes: &[VolumeUse]) -> Result<(), Refusal> {
        if info.agent != self.info.id {
            let text =
                format!("task {} is for agent {}, not for {}", info.id, info.agent, self.info.id);
            return Err(Refusal {
                state: TaskState::Error,
                reason: TaskReason::TaskInvalid,
                error: Rejection::new(ErrorCode::InvalidArgument, text).field("task.agent"),
            });
        }
        if self.stopping {
            let text = format!("agent {} is stopping", self.info.id);
            return Err(Refusal {
                state: TaskState::Dropped,
                reason: TaskReason::LaunchFailed,
                error: Rejection::new(ErrorCode::Unavailable, text),
            });
        }
        let mut seen = BTreeSet::new();
        for used in volumes {
            let checked = if seen.insert(used.volume) {
                self.check_use(used)
            } else {
                let text = format!("task {} uses volume {} twice", info.id, used.volume);
                Err(Rejection::new(ErrorCode::VolumeInUse, text))
            };
            checked.map_err(|error| Refusal {
                state: TaskState::Dropped,
                reason: TaskReason::VolumeUnavailable,
                error,
            })?;
        }
        Ok(())
    }

    fn check_use(&self, used: &VolumeUse) -> Result<(), Rejection> {
        let id = used.volume;
        let refuse = |code, text: String| Err(Rejection::new(code, text));
        let Some(volume) = self.books.volumes().get(&id) else {
            let text = format!("agent {} has no volume {id}", self.info.id);
            return refuse(ErrorCode::UnknownVolume, text);
        };
        match volume.state {
            VolumeState::Ready => {},
            VolumeState::Lost => {
                return refuse(ErrorCode::VolumeLost, format!("volume {id} is {}", volume.state));
            },
            VolumeState::Creating
            | VolumeState::Failed
            | VolumeState::Tombstoned
            | VolumeState::Trashed
            | VolumeState::Gone
            | VolumeState::Quarantined => {
                return refuse(
                    ErrorCode::VolumeNotReady,
                    format!("volume {id} is {}", volume.state),
                );
            },
        }
        if volume.spec.generation != used.generation {
            let text = format!(
                "volume {id} is in generation {}, the task wants generation {}",
                volume.spec.generation, used.generation
            );
            return refuse(ErrorCode::VolumeNotReady, text);
        }
        if self.is_condemned(id) {
            let text = format!("volume {id} is to be destroyed as soon as it is unused");
            return refuse(ErrorCode::VolumeNotReady, text);
        }
        if let Some(task) = self.books.user(id).filter(|_| !volume.spec.shared) {
            return refuse(ErrorCode::VolumeInUse, format!("volume {id} is used by task {task}"));
        }
        if let Err(error) = check_container_path(&used.mount.container_path) {
            return refuse(
                ErrorCode::InvalidPath,
                format!("volume {id} cannot be mounted: {error}"),
            );
        }
        Ok(())
    }

    /// One of the volumes of starting tasks was found to be the right one.
    pub(crate) fn volume_verified(&mut self, volume: VolumeId) {
        for (key, container) in self.users_of(volume) {
            let Some(run) = self.runs.get_mut(&container) else { continue };
            let RunPhase::Verifying(left) = &mut run.phase else { continue };
            left.remove(&volume);
            if left.is_empty() {
                self.start(&key);
            }
        }
    }

    /// One of the volumes of starting tasks cannot be used.
    pub(crate) fn volume_failed(&mut self, volume: VolumeId, error: &Rejection) {
        for (key, container) in self.users_of(volume) {
            let run = self.runs.get(&container);
            if run.is_some_and(|run| matches!(run.phase, RunPhase::Verifying(_))) {
                self.not_started(&key, TaskReason::VolumeUnavailable, error.clone());
            }
        }
    }

    fn users_of(&self, volume: VolumeId) -> Vec<(TaskKey, ContainerId)> {
        let users = self.books.users(volume);
        let of = |key: &TaskKey| Some((key.clone(), self.books.tasks().get(key)?.container));
        users.filter_map(of).collect()
    }

    /// Ends a task on somebody's behalf; asked for again with a shorter grace, it ends sooner.
    pub(crate) fn kill(&mut self, key: &TaskKey, grace: Option<Duration>) {
        let Some(task) = self.books.tasks().get(key) else {
            let status = self.status_of_unknown(key);
            self.tell(FromAgent::Status(status));
            return;
        };
        if task.phase == LedgerTaskPhase::Ended {
            self.answer_status(key);
            return;
        }
        let ending = Ending {
            reason: TaskReason::KillRequested,
            message: "asked to end".to_owned(),
            grace: grace.unwrap_or(task.info.kill_grace),
            healthy: None,
        };
        self.end_live(key, ending);
    }

    fn end_live(&mut self, key: &TaskKey, ending: Ending) {
        let Some(mut task) = self.books.tasks().get(key).cloned() else { return };
        let container = task.container;
        let Some(run) = self.runs.get_mut(&container) else { return };
        if matches!(run.phase, RunPhase::Verifying(_)) {
            let (reason, message) = (ending.reason, "ended before it was started".to_owned());
            task.status = TaskStatus { state: TaskState::Killed, reason, message, ..task.status };
            self.end(task);
            return;
        }
        let grace = ending.grace;
        let (held, answered) = (run.is_held(), run.phase == RunPhase::Answered);
        run.grace = Some(run.grace.map_or(grace, |earlier| earlier.min(grace)));
        if !task.killing {
            task.killing = true;
            task.status.state = TaskState::Killing;
            task.status.reason = ending.reason;
            task.status.message = ending.message;
            task.status.healthy = ending.healthy.or(task.status.healthy);
            self.update(task);
        }
        if answered {
            self.emit(Output::Container(ContainerEffect::Kill { container, grace }));
        } else if held {
            self.adopt_held(key);
        }
    }

    /// The process is asked to end.
    pub(crate) fn shut_down(&mut self, kill_tasks: bool) {
        self.stopping = true;
        if !kill_tasks || self.books.live().is_empty() {
            self.emit(Output::Stopped);
            return;
        }
        let keys: Vec<TaskKey> = self.books.live().iter().cloned().collect();
        for key in keys {
            let Some(task) = self.books.tasks().get(&key) else { continue };
            let ending = Ending {
                reason: TaskReason::KillRequested,
                message: "the agent stops its tasks".to_owned(),
                grace: task.info.kill_grace,
                healthy: None,
            };
            self.end_live(&key, ending);
        }
    }
}
