//! Tasks: what runs, and what became of it.

use super::field::{self, Choice, choice};
use super::resource::{sum, sum_to_wire};
use super::{At, Wire};
use crate::v1;
use berth_model::error::Rejection;
use berth_model::link::OutputStream;
use berth_model::task::{
    Check, Command, Program, StatusSource, TaskInfo, TaskKey, TaskReason, TaskState, TaskStatus,
};
use berth_model::units::Timestamp;
use std::time::Duration;

choice!(
    TaskState,
    v1::TaskState,
    "task state",
    [
        Staging,
        Starting,
        Running,
        Killing,
        Finished,
        Failed,
        Killed,
        Lost,
        Error,
        Dropped,
        Unreachable,
        Gone,
        GoneByOperator,
        Unknown
    ]
);
choice!(
    TaskReason,
    v1::TaskReason,
    "task reason",
    [
        Normal,
        InvalidOffers,
        TaskInvalid,
        Reconciliation,
        VolumeUnavailable,
        LaunchFailed,
        MemoryLimit,
        HealthCheck,
        AgentDisconnected,
        AgentRestarted,
        KillRequested,
        FrameworkRemoved
    ]
);
choice!(StatusSource, v1::StatusSource, "status source", [Master, Agent]);
choice!(OutputStream, v1::OutputStream, "output stream", [Stdout, Stderr]);

impl Wire for Program {
    type Message = v1::Program;

    fn to_wire(&self) -> v1::Program {
        let program = match self {
            Self::Shell(text) => v1::program::Program::Shell(text.clone()),
            Self::Exec(arguments) => {
                v1::program::Program::Exec(v1::Exec { arguments: arguments.clone() })
            },
        };
        v1::Program { program: Some(program) }
    }

    fn from_wire(message: v1::Program, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Program { program } = message;
        match program {
            Some(v1::program::Program::Shell(text)) => {
                Ok(Self::Shell(field::filled(text, &at.field("shell"))?))
            },
            Some(v1::program::Program::Exec(v1::Exec { arguments })) => {
                let at = at.field("exec.arguments");
                field::count(arguments.len(), &at)?;
                if arguments.first().is_none_or(String::is_empty) {
                    return Err(at.invalid("no program is given", "give it as the first argument"));
                }
                Ok(Self::Exec(field::texts(arguments, &at)?))
            },
            None => Err(at.invalid("nothing to run is given", "set one of shell and exec")),
        }
    }
}

impl Wire for Command {
    type Message = v1::Command;

    fn to_wire(&self) -> v1::Command {
        let Self { program, env, user } = self;
        v1::Command { program: Some(program.to_wire()), env: env.clone(), user: user.clone() }
    }

    fn from_wire(message: v1::Command, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Command { program, env, user } = message;
        let env_at = at.field("env");
        let env = field::map(env, &env_at)?;
        if let Some(name) = env.keys().find(|name| name.contains('=')) {
            let problem = format!("the variable {name:?} holds an equals sign");
            return Err(env_at.key(name).invalid(problem, "give name and value apart"));
        }
        let user_at = at.field("user");
        Ok(Self {
            program: field::required(program, &at.field("program"))?,
            env,
            user: user.map(|user| field::filled(user, &user_at)).transpose()?,
        })
    }
}

impl Wire for Check {
    type Message = v1::Check;

    fn to_wire(&self) -> v1::Check {
        let Self { program, every, timeout, failures, grace } = self;
        v1::Check {
            program: Some(program.to_wire()),
            every_ms: field::millis(*every),
            timeout_ms: field::millis(*timeout),
            failures: *failures,
            grace_ms: field::millis(*grace),
        }
    }

    fn from_wire(message: v1::Check, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Check { program, every_ms, timeout_ms, failures, grace_ms } = message;
        if failures == 0 {
            let problem = "zero failures are allowed, so the check could never count as passed";
            return Err(at.field("failures").invalid(problem, "give at least 1"));
        }
        Ok(Self {
            program: field::required(program, &at.field("program"))?,
            every: field::span(every_ms, &at.field("every_ms"))?,
            timeout: field::span(timeout_ms, &at.field("timeout_ms"))?,
            failures,
            grace: Duration::from_millis(grace_ms),
        })
    }
}

impl Wire for TaskInfo {
    type Message = v1::TaskInfo;

    fn to_wire(&self) -> v1::TaskInfo {
        let Self { id, name, agent, resources, command, health, readiness, kill_grace, labels } =
            self;
        v1::TaskInfo {
            task_id: id.to_string(),
            name: name.clone(),
            agent_id: agent.to_string(),
            resources: sum_to_wire(resources),
            command: Some(command.to_wire()),
            health: health.as_ref().map(Wire::to_wire),
            readiness: readiness.as_ref().map(Wire::to_wire),
            kill_grace_ms: field::millis(*kill_grace),
            labels: labels.clone(),
        }
    }

    fn from_wire(message: v1::TaskInfo, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::TaskInfo {
            task_id,
            name,
            agent_id,
            resources,
            command,
            health,
            readiness,
            kill_grace_ms,
            labels,
        } = message;
        let resources_at = at.field("resources");
        field::count(resources.len(), &resources_at)?;
        Ok(Self {
            id: field::id(&task_id, &at.field("task_id"))?,
            name: field::text(name, &at.field("name"))?,
            agent: field::id(&agent_id, &at.field("agent_id"))?,
            resources: sum(resources, &resources_at)?,
            command: field::required(command, &at.field("command"))?,
            health: field::optional(health, &at.field("health"))?,
            readiness: field::optional(readiness, &at.field("readiness"))?,
            kill_grace: Duration::from_millis(kill_grace_ms),
            labels: field::map(labels, &at.field("labels"))?,
        })
    }
}

impl Wire for TaskStatus {
    type Message = v1::TaskStatus;

    fn to_wire(&self) -> v1::TaskStatus {
        let Self {
            task,
            framework,
            agent,
            state,
            reason,
            source,
            message,
            error,
            at,
            id,
            healthy,
            ready,
            container,
            pid,
        } = self;
        v1::TaskStatus {
            task_id: task.to_string(),
            framework_id: framework.to_string(),
            agent_id: agent.as_ref().map(ToString::to_string),
            state: state.number(),
            reason: reason.number(),
            source: source.number(),
            message: message.clone(),
            error: error.as_ref().map(Wire::to_wire),
            at_ms: at.ms(),
            status_id: id.as_ref().map(ToString::to_string),
            healthy: *healthy,
            ready: *ready,
            container_id: container.as_ref().map(ToString::to_string),
            pid: *pid,
        }
    }

    fn from_wire(message: v1::TaskStatus, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::TaskStatus {
            task_id,
            framework_id,
            agent_id,
            state,
            reason,
            source,
            message,
            error,
            at_ms,
            status_id,
            healthy,
            ready,
            container_id,
            pid,
        } = message;
        Ok(Self {
            task: field::id(&task_id, &at.field("task_id"))?,
            framework: field::id(&framework_id, &at.field("framework_id"))?,
            agent: field::optional_id(agent_id.as_deref(), &at.field("agent_id"))?,
            state: TaskState::read(state, &at.field("state"))?,
            reason: TaskReason::read(reason, &at.field("reason"))?,
            source: StatusSource::read(source, &at.field("source"))?,
            message,
            error: field::optional(error, &at.field("error"))?,
            at: Timestamp::from_ms(at_ms),
            id: field::optional_id(status_id.as_deref(), &at.field("status_id"))?,
            healthy,
            ready,
            container: field::optional_id(container_id.as_deref(), &at.field("container_id"))?,
            pid,
        })
    }
}

impl Wire for TaskKey {
    type Message = v1::TaskKey;

    fn to_wire(&self) -> v1::TaskKey {
        let Self { framework, task } = self;
        v1::TaskKey { framework_id: framework.to_string(), task_id: task.to_string() }
    }

    fn from_wire(message: v1::TaskKey, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::TaskKey { framework_id, task_id } = message;
        Ok(Self {
            framework: field::id(&framework_id, &at.field("framework_id"))?,
            task: field::id(&task_id, &at.field("task_id"))?,
        })
    }
}
