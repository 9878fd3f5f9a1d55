//! LAUNCH: checks a task and charges it; it starts when all its volumes are READY.

use super::order::{Conversion, Order, Source};
use super::quota::check_limits;
use super::reserve::unmarked;
use super::uses::{find_volume, uses_of};
use crate::event::{Event, TaskEvent};
use crate::state::{Kill, State, Task, VolumeEntry, Waiting};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework;
use berth_model::id::{AgentId, FrameworkId, TaskId, VolumeId};
use berth_model::link::ToAgent;
use berth_model::resources::{Mount, Resources};
use berth_model::role::Role;
use berth_model::task::{
    Check, Program, StatusSource, TaskInfo, TaskKey, TaskReason, TaskState, TaskStatus,
};
use berth_model::units::Timestamp;
use berth_model::volume::{VolumeState, VolumeUse};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A status that the master makes up; it is not repeated, so it needs no acknowledgement.
#[derive(Clone, Debug)]
pub(crate) struct Word<'a> {
    pub(crate) framework: &'a FrameworkId,
    pub(crate) task: &'a TaskId,
    pub(crate) agent: Option<AgentId>,
    pub(crate) state: TaskState,
    pub(crate) reason: TaskReason,
    pub(crate) message: String,
    pub(crate) error: Option<Rejection>,
}

impl Word<'_> {
    pub(crate) fn status(self, now: Timestamp) -> TaskStatus {
        TaskStatus {
            task: self.task.clone(),
            framework: self.framework.clone(),
            agent: self.agent,
            state: self.state,
            reason: self.reason,
            source: StatusSource::Master,
            message: self.message,
            error: self.error,
            at: now,
            id: None,
            healthy: None,
            ready: None,
            container: None,
            pid: None,
        }
    }
    /// Only told, for a task that is not in the books.
    pub(crate) fn told(self, now: Timestamp) -> Event {
        let framework = self.framework.clone();
        Event::inform(framework, framework::Event::Status(self.status(now)))
    }
    /// Taken into the books and told.
    pub(crate) fn entered(self, now: Timestamp) -> Vec<Event> {
        let key = TaskKey { framework: self.framework.clone(), task: self.task.clone() };
        let status = self.status(now);
        let mut events: Vec<Event> = vec![TaskEvent::Said(Box::new(status.clone())).into()];
        if status.state.is_terminal() {
            events.push(TaskEvent::Told(key).into());
        }
        events.push(Event::inform(status.framework.clone(), framework::Event::Status(status)));
        events
    }
}

/// Checks one task and charges it.
pub(crate) fn launch(
    order: &Order<'_>,
    framework: &FrameworkId,
    task: &TaskInfo,
) -> Result<Conversion, Rejection> {
    let Source::Accepted { running, role, .. } = order.source else {
        return Err(Rejection::new(ErrorCode::Internal, "LAUNCH without offers"));
    };
    check_identity(order, framework, task)?;
    check_command(task)?;
    let resources = unmarked(&task.resources)?;
    if resources.is_empty() {
        return Err(Rejection::new(
            ErrorCode::InvalidResources,
            format!("task {} uses no resources", task.id),
        )
        .remedy("give at least cpus and mem")
        .field("resources"));
    }
    if !running.contains(&resources) {
        let left = format!("task {}: the accepted offers", task.id);
        return Err(order.short(&left, running, &resources));
    }
    // Before the race: another offer would not help.
    check_limits(order.state, order.agent.info.id, role, &resources)?;
    order.check_there(&resources)?;
    let volumes = resources.volumes();
    let found = volumes
        .iter()
        .map(|resource| find_volume(order, task, resource))
        .collect::<Result<Vec<_>, _>>()?;
    let uses = uses_of(task, &found)?;
    let plain = resources.filtered(|r| r.persistence().is_none());
    let waits = found.iter().any(|(entry, _)| entry.volume.state == VolumeState::Creating);
    let mut info = TaskInfo { resources: resources.clone(), ..task.clone() };
    fill_user(order.state, framework, &mut info);
    let staged = Staged { framework, role, plain, uses, waits };
    let events = staged.events(order, info, &found);
    // The offered copy of a shared volume is for as many tasks as this call has.
    let consumed = resources.unshared().into_owned();
    Ok(Conversion { consumed, produced: Resources::new(), events })
}

/// A task that passed all checks.
struct Staged<'a> {
    framework: &'a FrameworkId,
    role: &'a Role,
    plain: Resources,
    uses: Vec<VolumeUse>,
    waits: bool,
}

impl Staged<'_> {
    fn events(
        self,
        order: &Order<'_>,
        info: TaskInfo,
        found: &[(&VolumeEntry, Mount)],
    ) -> Vec<Event> {
        let (agent, operation) = (order.agent.info.id, order.asked.id);
        let key = TaskKey { framework: self.framework.clone(), task: info.id.clone() };
        let status = Word {
            framework: self.framework,
            task: &info.id,
            agent: Some(agent),
            state: TaskState::Staging,
            reason: TaskReason::Normal,
            message: String::new(),
            error: None,
        }
        .status(order.asked.now);
        let volumes: BTreeSet<VolumeId> = self.uses.iter().map(|u| u.volume).collect();
        let message = launch_message(self.framework, &info, &self.uses);
        let (labels, name, resources) =
            (info.labels.clone(), info.name.clone(), info.resources.clone());
        let waiting = self.waits.then(|| Box::new(Waiting { info, uses: self.uses, operation }));
        let mut events: Vec<Event> = vec![
            TaskEvent::Added(Box::new(Task {
                status,
                agent,
                name,
                role: self.role.clone(),
                resources,
                plain: self.plain,
                charged: false,
                volumes,
                labels,
                waiting,
                told: false,
                kill: None,
            }))
            .into(),
            TaskEvent::Charged(key.clone()).into(),
        ];
        for (entry, _) in found.iter().filter(|(e, _)| e.volume.state == VolumeState::Ready) {
            let volume = entry.volume.spec.id;
            events.push(TaskEvent::VolumeTaken { task: key.clone(), volume }.into());
        }
        if !self.waits {
            events.push(Event::tell(agent, message));
        }
        events
    }
}

fn launch_message(framework: &FrameworkId, info: &TaskInfo, uses: &[VolumeUse]) -> ToAgent {
    ToAgent::Launch {
        framework: framework.clone(),
        task: Box::new(info.clone()),
        volumes: uses.to_vec(),
    }
}

/// A waiting task whose volumes may be there now: starts it, drops it, or nothing yet.
pub(crate) fn resume(state: &State, key: &TaskKey, now: Timestamp) -> Vec<Event> {
    let Some(task) = state.tasks.get(key) else { return Vec::new() };
    let Some(waiting) = task.waiting.as_deref() else { return Vec::new() };
    let entries: Vec<Option<&VolumeEntry>> =
        task.volumes.iter().map(|id| state.volumes.get(id)).collect();
    let bad = entries.iter().find(|entry| {
        entry.is_none_or(|e| !matches!(e.volume.state, VolumeState::Creating | VolumeState::Ready))
    });
    if let Some(bad) = bad {
        let cause = bad.and_then(|entry| entry.volume.error.clone()).unwrap_or_else(|| {
            Rejection::new(ErrorCode::VolumeUnavailable, "a volume of the task could not be made")
        });
        return drop_waiting(state, key, &cause, TaskReason::VolumeUnavailable, now);
    }
    if entries.iter().flatten().any(|entry| entry.volume.state == VolumeState::Creating) {
        return Vec::new();
    }
    let mut events: Vec<Event> = Vec::new();
    for entry in entries.into_iter().flatten().filter(|entry| entry.has_room_for(key)) {
        let volume = entry.volume.spec.id;
        events.push(TaskEvent::VolumeTaken { task: key.clone(), volume }.into());
    }
    events.push(TaskEvent::Released(key.clone()).into());
    events.extend(super::order::ended(state, waiting.operation, Ok(()), Vec::new(), now));
    events.push(Event::tell(
        task.agent,
        launch_message(&key.framework, &waiting.info, &waiting.uses),
    ));
    events
}

/// Gives a waiting task up before its agent ever heard of it.
pub(crate) fn drop_waiting(
    state: &State,
    key: &TaskKey,
    cause: &Rejection,
    reason: TaskReason,
    now: Timestamp,
) -> Vec<Event> {
    let Some(task) = state.tasks.get(key) else { return Vec::new() };
    let Some(waiting) = task.waiting.as_deref() else { return Vec::new() };
    let killed = matches!(reason, TaskReason::KillRequested | TaskReason::FrameworkRemoved);
    let mut events: Vec<Event> = vec![TaskEvent::Released(key.clone()).into()];
    let word = Word {
        framework: &key.framework,
        task: &key.task,
        agent: Some(task.agent),
        state: if killed { TaskState::Killed } else { TaskState::Dropped },
        reason,
        message: cause.message.clone(),
        error: (!killed).then(|| cause.clone()),
    };
    events.extend(word.entered(now));
    let end = super::order::ended(state, waiting.operation, Err(cause.clone()), Vec::new(), now);
    events.extend(end);
    events
}

fn check_identity(
    order: &Order<'_>,
    framework: &FrameworkId,
    task: &TaskInfo,
) -> Result<(), Rejection> {
    let agent = order.agent.info.id;
    if task.agent != agent {
        return Err(Rejection::new(
            ErrorCode::InvalidArgument,
            format!("task {} names agent {}, the offers are of agent {agent}", task.id, task.agent),
        )
        .remedy("name the agent of the accepted offers")
        .field("agent"));
    }
    let key = TaskKey { framework: framework.clone(), task: task.id.clone() };
    let Some(known) = order.state.tasks.get(&key).filter(|known| !known.told) else {
        return Ok(());
    };
    let remedy = if known.ended() {
        "acknowledge its last status first, or choose another id"
    } else {
        "choose another id, or end that task first"
    };
    Err(Rejection::new(
        ErrorCode::TaskExists,
        format!("task {key} exists and is {}", known.status.state),
    )
    .remedy(remedy)
    .field("id"))
}

fn check_command(task: &TaskInfo) -> Result<(), Rejection> {
    let invalid = |field: &str, what: &str| {
        Err(Rejection::new(ErrorCode::InvalidArgument, format!("task {}: {what}", task.id))
            .remedy("give a shell text, or a program with its arguments")
            .field(field))
    };
    if is_empty(&task.command.program) {
        return invalid("command", "its command is empty");
    }
    if task.command.env.keys().any(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return invalid("command.env", "an environment variable has no proper name");
    }
    let unusable = |check: &Check| {
        is_empty(&check.program)
            || check.every.is_zero()
            || check.timeout.is_zero()
            || check.failures == 0
    };
    if task.health.as_ref().is_some_and(unusable) {
        return invalid("health", "its health check lacks a command, interval, timeout or count");
    }
    if task.readiness.as_ref().is_some_and(unusable) {
        return invalid(
            "readiness",
            "its readiness check lacks a command, interval, timeout or count",
        );
    }
    Ok(())
}

fn is_empty(program: &Program) -> bool {
    match program {
        Program::Shell(text) => text.trim().is_empty(),
        Program::Exec(arguments) => arguments.first().is_none_or(String::is_empty),
    }
}

/// Tasks run as their framework's user unless they name one.
fn fill_user(state: &State, framework: &FrameworkId, info: &mut TaskInfo) {
    let user = state.frameworks.get(framework).map(|f| Arc::clone(&f.record.info.user));
    if let Some(user) = user.filter(|user| info.command.user.is_none() && !user.is_empty()) {
        info.command.user = Some(user.to_string());
    }
}

/// Asks for the end of a task that its agent knows.
pub(crate) fn kill_message(key: &TaskKey, kill: Kill) -> ToAgent {
    ToAgent::Kill { framework: key.framework.clone(), task: key.task.clone(), grace: kill.grace }
}
