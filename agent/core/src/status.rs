//! Status updates: numbered, written down, sent oldest first, repeated until acknowledged, also across restarts.
//!
//! Only the oldest unacknowledged update of a task is on its way, so updates arrive in order. Invariant: a status with
//! an id is in the books before it is sent.

use crate::agent::Agent;
use crate::effect::ContainerEffect;
use crate::step::Output;
use crate::timer::Timer;
use crate::volume::backoff;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{StatusId, derive};
use berth_model::link::FromAgent;
use berth_model::record::{LedgerRecord, LedgerTask, LedgerTaskPhase};
use berth_model::task::{StatusSource, TaskKey, TaskReason, TaskState, TaskStatus};

/// How many ended tasks' outputs can still be found by the task's name.
const RELEASED_MAX: usize = 1_000;

impl Agent {
    /// Writes a task whose status changed: the status becomes an update to be acknowledged.
    pub(crate) fn update(&mut self, mut task: LedgerTask) {
        let previous = task.status.id.map_or(task.container.as_u128(), StatusId::as_u128);
        task.status.id = Some(StatusId::from_u128(derive(previous, 0)));
        task.status.at = self.now;
        let update = task.status.clone();
        // The oldest may be on its way; behind it only the latest of a running task counts.
        let replaceable = task.unacknowledged.len() > 1;
        match task.unacknowledged.last_mut().filter(|last| {
            replaceable && last.state == update.state && update.state == TaskState::Running
        }) {
            Some(last) => *last = update,
            None => task.unacknowledged.push(update),
        }
        let key = task.key();
        let first = task.unacknowledged.len() == 1;
        self.write_task(task);
        if first {
            self.send_status(&key);
        }
    }

    pub(crate) fn write_task(&mut self, task: LedgerTask) {
        self.write(LedgerRecord::Task(Box::new(task)));
    }

    /// Sends the oldest unacknowledged update, for the first time on this connection.
    pub(crate) fn send_status(&mut self, key: &TaskKey) {
        if let Some(task) = self.books.tasks().get(key)
            && let Some(run) = self.runs.get_mut(&task.container)
        {
            run.sent = 0;
        }
        self.repeat_status(key);
    }

    pub(crate) fn repeat_status(&mut self, key: &TaskKey) {
        if !self.is_registered() {
            return;
        }
        let Some(task) = self.books.tasks().get(key) else { return };
        let Some(oldest) = task.unacknowledged.first().cloned() else { return };
        let Some(run) = self.runs.get_mut(&task.container) else { return };
        let pause = backoff(self.config.status_retry, self.config.status_retry_max, run.sent);
        run.sent = run.sent.saturating_add(1);
        self.timers.set(Timer::Status(key.clone()), self.now.after(pause));
        self.emit(Output::Send(FromAgent::Status(oldest)));
    }

    /// Says where a known task stands.
    pub(crate) fn answer_status(&mut self, key: &TaskKey) {
        let Some(task) = self.books.tasks().get(key) else { return };
        if task.unacknowledged.is_empty() {
            let status = TaskStatus { id: None, ..task.status.clone() };
            self.tell(FromAgent::Status(status));
        } else {
            self.repeat_status(key);
        }
    }

    pub(crate) fn status_of_unknown(&self, key: &TaskKey) -> TaskStatus {
        let text = format!("agent {} has no task {key}", self.info.id);
        TaskStatus {
            task: key.task.clone(),
            framework: key.framework.clone(),
            agent: Some(self.info.id),
            state: TaskState::Gone,
            reason: TaskReason::Reconciliation,
            source: StatusSource::Agent,
            message: text.clone(),
            error: Some(Rejection::new(ErrorCode::UnknownTask, text)),
            at: self.now,
            id: None,
            healthy: None,
            ready: None,
            container: None,
            pid: None,
        }
    }

    /// The framework has taken a status in.
    pub(crate) fn acknowledge(&mut self, key: &TaskKey, status: StatusId) {
        let Some(task) = self.books.tasks().get(key) else { return };
        if !task.unacknowledged.iter().any(|update| update.id == Some(status)) {
            return;
        }
        let mut task = task.clone();
        task.unacknowledged.retain(|update| update.id != Some(status));
        self.timers.clear(&Timer::Status(key.clone()));
        if task.unacknowledged.is_empty() && task.phase == LedgerTaskPhase::Ended {
            let container = task.container;
            self.write(LedgerRecord::TaskForgotten(key.clone()));
            self.runs.remove(&container);
            self.released.push_back((key.clone(), container));
            if self.released.len() > RELEASED_MAX {
                self.released.pop_front();
            }
            self.emit(Output::Container(ContainerEffect::Release { container }));
        } else {
            self.write_task(task);
            self.send_status(key);
        }
    }
}
