//! What containers say, and how a task's last status follows from how its command ended.

use super::{Ending, RunPhase};
use crate::agent::Agent;
use crate::effect::{ContainerEffect, ContainerEvent, Exit};
use crate::step::{Output, Severity};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{ContainerId, VolumeId};
use berth_model::record::{LedgerTask, LedgerTaskPhase};
use berth_model::task::{TaskKey, TaskReason, TaskState, TaskStatus};

impl Agent {
    /// Takes in what a container says.
    pub(crate) fn container_event(&mut self, container: ContainerId, event: ContainerEvent) {
        let Some(task) = self.books.task_of(container).cloned() else {
            self.log(Severity::Info, format!("container {container} is not of a known task"));
            return;
        };
        if task.phase == LedgerTaskPhase::Ended {
            return;
        }
        let key = task.key();
        match event {
            ContainerEvent::Running { pid } => self.runs_now(task, pid),
            ContainerEvent::NotStarted(error) => {
                let volumes: Vec<VolumeId> = task.volumes.iter().map(|used| used.volume).collect();
                let of_volume = is_about_volumes(error.code);
                let reason = if of_volume {
                    TaskReason::VolumeUnavailable
                } else {
                    TaskReason::LaunchFailed
                };
                self.not_started(&key, reason, error);
                for volume in volumes.into_iter().filter(|_| of_volume) {
                    self.verify(volume);
                }
            },
            ContainerEvent::Exited(exit) => self.exited(task, exit),
            ContainerEvent::Healthy(healthy) => self.checked_health(task, healthy),
            ContainerEvent::Ready(ready) => {
                if is_plainly_running(&task) && task.status.ready != Some(ready) {
                    let mut task = task;
                    task.status.ready = Some(ready);
                    task.status.message =
                        if ready { "ready" } else { "readiness check failed" }.to_owned();
                    self.update(task);
                }
            },
        }
    }

    fn runs_now(&mut self, mut task: LedgerTask, pid: u32) {
        let container = task.container;
        let Some(run) = self.runs.get_mut(&container) else { return };
        run.phase = RunPhase::Answered;
        let grace = run.grace;
        if task.phase == LedgerTaskPhase::Starting {
            task.phase = LedgerTaskPhase::Running;
            task.status.pid = Some(pid);
            if task.killing {
                self.write_task(task.clone());
            } else {
                task.status.state = TaskState::Running;
                task.status.reason = TaskReason::Normal;
                task.status.message = String::new();
                task.status.ready = Some(task.info.readiness.is_none());
                self.update(task.clone());
            }
        }
        if task.killing {
            let grace = grace.unwrap_or(task.info.kill_grace);
            self.emit(Output::Container(ContainerEffect::Kill { container, grace }));
        }
    }

    fn checked_health(&mut self, mut task: LedgerTask, healthy: bool) {
        if !is_plainly_running(&task) || task.status.healthy == Some(healthy) {
            return;
        }
        if healthy {
            task.status.healthy = Some(true);
            "healthy".clone_into(&mut task.status.message);
            self.update(task);
        } else {
            let ending = Ending {
                reason: TaskReason::HealthCheck,
                message: "the health check failed too often".to_owned(),
                grace: task.info.kill_grace,
                healthy: Some(false),
            };
            self.end_live(&task.key(), ending);
        }
    }

    /// The command never ran.
    pub(super) fn not_started(&mut self, key: &TaskKey, reason: TaskReason, error: Rejection) {
        let Some(mut task) = self.books.tasks().get(key).cloned() else { return };
        let (state, reason) = if task.killing {
            (TaskState::Killed, task.status.reason)
        } else {
            (TaskState::Failed, reason)
        };
        task.status = TaskStatus {
            state,
            reason,
            message: error.to_string(),
            error: Some(error),
            ..task.status
        };
        self.end(task);
    }

    fn exited(&mut self, mut task: LedgerTask, exit: Exit) {
        let (state, reason, message) = last_words(exit);
        let status = &mut task.status;
        if task.killing {
            status.message = format!("{}; {message}", status.message);
            status.state = TaskState::Killed;
        } else {
            status.state = state;
            status.reason = reason;
            status.message = message;
        }
        self.end(task);
    }

    /// The task will not run again. Its status must be in place.
    pub(super) fn end(&mut self, mut task: LedgerTask) {
        task.phase = LedgerTaskPhase::Ended;
        task.status.pid = None;
        task.status.ready = None;
        if let Some(run) = self.runs.get_mut(&task.container) {
            run.phase = RunPhase::Ended;
        }
        let volumes: Vec<VolumeId> = task.volumes.iter().map(|used| used.volume).collect();
        self.update(task);
        for volume in volumes {
            if self.books.user(volume).is_none() {
                self.volume_released(volume);
            }
        }
        if self.stopping && self.books.live().is_empty() {
            self.emit(Output::Stopped);
        }
    }
}

fn is_plainly_running(task: &LedgerTask) -> bool {
    task.phase == LedgerTaskPhase::Running && !task.killing
}

fn is_about_volumes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::VolumeUnavailable
            | ErrorCode::VolumeLost
            | ErrorCode::VolumeNotReady
            | ErrorCode::DiskFaulty
    )
}

fn last_words(exit: Exit) -> (TaskState, TaskReason, String) {
    match exit {
        Exit::Status(0) => {
            (TaskState::Finished, TaskReason::Normal, "command exited with status 0".to_owned())
        },
        Exit::Status(status) => {
            let message = format!("command exited with status {status}");
            (TaskState::Failed, TaskReason::Normal, message)
        },
        Exit::Signal(signal) => {
            let message = format!("command was ended by {}", signal_name(signal));
            (TaskState::Failed, TaskReason::Normal, message)
        },
        Exit::OutOfMemory(limit) => {
            let message = format!("command exceeded its memory limit of {limit}");
            (TaskState::Failed, TaskReason::MemoryLimit, message)
        },
        Exit::Unknown(why) => (TaskState::Lost, TaskReason::AgentRestarted, why),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}
