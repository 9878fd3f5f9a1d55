//! Tasks: what a framework wants to run, and what became of it.

use crate::error::Rejection;
use crate::id::{AgentId, ContainerId, FrameworkId, StatusId, TaskId};
use crate::resources::Resources;
use crate::units::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A text for `/bin/sh -c`.
    Shell(String),
    /// A program and its arguments, without a shell.
    Exec(Vec<String>),
}

/// A command with its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What is executed, in the sandbox.
    pub program: Program,
    /// Added to the agent's minimal environment.
    pub env: BTreeMap<String, String>,
    /// `name`, `uid` or `uid:gid`; absent means the agent's own user.
    pub user: Option<String>,
}

/// A check the agent runs beside the task, in its mount namespace, as its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Exit status 0 means passed.
    pub program: Program,
    /// Pause between two runs.
    pub every: Duration,
    /// A run that takes longer has failed and is killed.
    pub timeout: Duration,
    /// Consecutive failures until the task counts as unhealthy or not ready.
    pub failures: u32,
    /// Failures within this time after the start do not count.
    pub grace: Duration,
}

/// A task as a framework launches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// Unique among the framework's live tasks.
    pub id: TaskId,
    /// For people.
    pub name: String,
    /// Where; must be the agent of the accepted offers.
    pub agent: AgentId,
    /// What it uses; volumes among them are mounted.
    pub resources: Resources,
    /// What it runs.
    pub command: Command,
    /// Failing it kills the task.
    pub health: Option<Check>,
    /// Passing it sets [`TaskStatus::ready`].
    pub readiness: Option<Check>,
    /// From SIGTERM to SIGKILL.
    pub kill_grace: Duration,
    /// For people and tools.
    pub labels: BTreeMap<String, String>,
}

/// States of a task, with the numbers' meaning of Mesos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Accepted, not yet known to the agent's supervisor.
    Staging,
    /// Being started.
    Starting,
    /// Running.
    Running,
    /// Asked to end.
    Killing,
    /// Ended by itself with status 0.
    Finished,
    /// Ended by itself with another status or a signal, or could not be started.
    Failed,
    /// Ended because it was asked to.
    Killed,
    /// Its fate is unknown and it does not run.
    Lost,
    /// Its description was refused.
    Error,
    /// Refused before it reached its supervisor.
    Dropped,
    /// Its agent is unreachable; it may still run.
    Unreachable,
    /// Its agent is back without it.
    Gone,
    /// Its agent was declared gone.
    GoneByOperator,
    /// Nobody knows it.
    Unknown,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 14] = [
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Lost,
        Self::Error,
        Self::Dropped,
        Self::Unreachable,
        Self::Gone,
        Self::GoneByOperator,
        Self::Unknown,
    ];

    /// True when the task will not run again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Staging
            | Self::Starting
            | Self::Running
            | Self::Killing
            | Self::Unreachable
            | Self::Unknown => false,
            Self::Finished
            | Self::Failed
            | Self::Killed
            | Self::Lost
            | Self::Error
            | Self::Dropped
            | Self::Gone
            | Self::GoneByOperator => true,
        }
    }

    /// The state as users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Lost => "TASK_LOST",
            Self::Error => "TASK_ERROR",
            Self::Dropped => "TASK_DROPPED",
            Self::Unreachable => "TASK_UNREACHABLE",
            Self::Gone => "TASK_GONE",
            Self::GoneByOperator => "TASK_GONE_BY_OPERATOR",
            Self::Unknown => "TASK_UNKNOWN",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StatusSource {
    /// The master, from its books.
    Master,
    /// The agent, from its ledger or a supervisor.
    Agent,
}

/// Why a state was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskReason {
    /// Nothing special: started, ended by itself.
    Normal,
    /// The accepted offers were no longer valid.
    InvalidOffers,
    /// The description was refused.
    TaskInvalid,
    /// An answer to a reconcile call; carries no acknowledgement.
    Reconciliation,
    /// A volume was missing, failed its identity check, or its CREATE failed.
    VolumeUnavailable,
    /// The supervisor or its surroundings could not be set up.
    LaunchFailed,
    /// It used more memory than it has.
    MemoryLimit,
    /// Its health check failed too often.
    HealthCheck,
    /// Its agent is not connected.
    AgentDisconnected,
    /// Its agent came back without it.
    AgentRestarted,
    /// Somebody asked for its end.
    KillRequested,
    /// Its framework was torn down.
    FrameworkRemoved,
}

impl TaskReason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Normal,
        Self::InvalidOffers,
        Self::TaskInvalid,
        Self::Reconciliation,
        Self::VolumeUnavailable,
        Self::LaunchFailed,
        Self::MemoryLimit,
        Self::HealthCheck,
        Self::AgentDisconnected,
        Self::AgentRestarted,
        Self::KillRequested,
        Self::FrameworkRemoved,
    ];

    /// The reason as users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::InvalidOffers => "INVALID_OFFERS",
            Self::TaskInvalid => "TASK_INVALID",
            Self::Reconciliation => "RECONCILIATION",
            Self::VolumeUnavailable => "VOLUME_UNAVAILABLE",
            Self::LaunchFailed => "LAUNCH_FAILED",
            Self::MemoryLimit => "MEMORY_LIMIT",
            Self::HealthCheck => "HEALTH_CHECK",
            Self::AgentDisconnected => "AGENT_DISCONNECTED",
            Self::AgentRestarted => "AGENT_RESTARTED",
            Self::KillRequested => "KILL_REQUESTED",
            Self::FrameworkRemoved => "FRAMEWORK_REMOVED",
        }
    }
}

impl fmt::Display for TaskReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One statement about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// Which task.
    pub task: TaskId,
    /// Whose.
    pub framework: FrameworkId,
    /// Where; absent when nobody knows.
    pub agent: Option<AgentId>,
    /// Its state.
    pub state: TaskState,
    /// Why.
    pub reason: TaskReason,
    /// Who says so.
    pub source: StatusSource,
    /// In words: exit status, signal, refusal.
    pub message: String,
    /// The refusal, when there is one.
    pub error: Option<Rejection>,
    /// When.
    pub at: Timestamp,
    /// Present when the update is repeated until it is acknowledged.
    pub id: Option<StatusId>,
    /// Of the health check; absent without one or before its first result.
    pub healthy: Option<bool>,
    /// Of the readiness check; `Some(true)` from RUNNING on when there is none.
    pub ready: Option<bool>,
    /// The run this is about.
    pub container: Option<ContainerId>,
    /// Process id of the task on its agent, while it runs.
    pub pid: Option<u32>,
}

/// A framework's task, everywhere in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// Whose.
    pub framework: FrameworkId,
    /// Which.
    pub task: TaskId,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.framework, self.task)
    }
}
