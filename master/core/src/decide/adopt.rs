//! Tasks at the coming and going of their agent. The agents know what runs; the master's knowledge is
//! rebuilt from what they report.

use super::launch::{Word, kill_message};
use super::rescind;
use crate::boundary::Output;
use crate::event::{AgentEvent, Event, TaskEvent};
use crate::state::{Agent, Framework, Kill, State, Task};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework;
use berth_model::id::{AgentId, FrameworkId};
use berth_model::link::TaskReport;
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::task::{TaskKey, TaskReason, TaskState, TaskStatus};
use berth_model::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Takes one reported task in.
pub(crate) fn adopt(state: &State, agent: &Agent, report: &TaskReport) -> Vec<Event> {
    let status = TaskStatus { agent: Some(agent.info.id), ..report.status.clone() };
    let key = TaskKey { framework: status.framework.clone(), task: status.task.clone() };
    let known = state.tasks.get(&key).filter(|task| task.agent == agent.info.id && !task.told);
    let mut events: Vec<Event> = Vec::new();
    let is_live = !status.state.is_terminal();
    if is_elsewhere(state, agent.info.id, &key) {
        // While this agent was away its framework started the task anew: two of one id cannot be told apart.
        let kill = kill_message(&key, Kill { grace: None });
        return is_live.then(|| Event::tell(agent.info.id, kill)).into_iter().collect();
    }
    match known {
        Some(task) if task.status == status => {},
        Some(_) => events.push(TaskEvent::Said(Box::new(status.clone())).into()),
        None => {
            let task = unknown_task(state, agent, report, status.clone());
            events.push(TaskEvent::Added(Box::new(task)).into());
        },
    }
    if is_live {
        events.extend(charges(state, agent, report, &key));
        if let Some(kill) = wanted_end(state, &key) {
            events.push(Event::tell(agent.info.id, kill_message(&key, kill)));
        }
    }
    // The agent repeats what is not acknowledged by itself; this copy only says that the task is back.
    if is_live && known.is_none_or(|task| task.status.state != status.state) {
        let word = TaskStatus { id: None, ..status };
        events.push(Event::inform(key.framework, framework::Event::Status(word)));
    }
    events
}

/// True when a live task of this id is known on another agent.
pub(crate) fn is_elsewhere(state: &State, agent: AgentId, key: &TaskKey) -> bool {
    state.tasks.get(key).is_some_and(|task| task.agent != agent && !task.ended())
}

fn charges(state: &State, agent: &Agent, report: &TaskReport, key: &TaskKey) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let charged = state.tasks.get(key).is_some_and(|task| task.charged && !task.told);
    if !charged && agent.books.available.contains(&plain_of(&report.resources)) {
        events.push(TaskEvent::Charged(key.clone()).into());
    }
    for volume in &report.volumes {
        let entry = state.volumes.get(volume).filter(|e| e.volume.agent == agent.info.id);
        if entry.is_some_and(|e| e.has_room_for(key) && e.placed) {
            let task = key.clone();
            events.push(TaskEvent::VolumeTaken { task, volume: *volume }.into());
        }
    }
    events
}

fn plain_of(resources: &Resources) -> Resources {
    resources.filtered(|r| r.persistence().is_none())
}

fn wanted_end(state: &State, key: &TaskKey) -> Option<Kill> {
    let removed = state.frameworks.get(&key.framework).is_some_and(|f| f.record.removed.is_some());
    let asked = state.tasks.get(key).and_then(|task| task.kill);
    asked.or_else(|| removed.then_some(Kill { grace: None }))
}

fn unknown_task(state: &State, agent: &Agent, report: &TaskReport, status: TaskStatus) -> Task {
    let resources =
        report.resources.allocated_to(None).unwrap_or_else(|_e| report.resources.clone());
    let framework = state.frameworks.get(&status.framework);
    Task {
        agent: agent.info.id,
        name: report.name.clone(),
        role: role_of(framework, &resources),
        plain: plain_of(&resources),
        charged: false,
        volumes: report.volumes.iter().copied().collect::<BTreeSet<_>>(),
        labels: BTreeMap::new(),
        waiting: None,
        told: false,
        kill: None,
        resources,
        status,
    }
}

/// The role that the task was launched for, as far as it can be told: reports do not carry it.
fn role_of(framework: Option<&Framework>, resources: &Resources) -> Role {
    let owner = resources.entries().find_map(|entry| entry.resource.stack.owner().cloned());
    let mut roles = framework.into_iter().flat_map(|f| &f.record.info.roles);
    let fits = |role: &&Role| owner.as_ref().is_none_or(|owner| role.may_use(owner));
    roles.find(fits).cloned().or(owner).unwrap_or_else(Role::star)
}

/// Tasks that the master believed on the agent and that it does not report.
pub(crate) fn missing(
    state: &State,
    agent: &Agent,
    reported: &BTreeSet<TaskKey>,
    now: Timestamp,
) -> Vec<Event> {
    let mut events = Vec::new();
    for key in agent.tasks.difference(reported) {
        let Some(task) = state.tasks.get(key) else { continue };
        if task.waiting.is_some() || task.told {
            continue;
        }
        if task.ended() {
            // It was acknowledged at the agent; nobody repeats it any more.
            events.push(TaskEvent::Told(key.clone()).into());
            continue;
        }
        // A launch that never reached the agent was seen by nobody.
        let staging = task.status.container.is_none();
        let word = Word {
            framework: &key.framework,
            task: &key.task,
            agent: Some(agent.info.id),
            state: if staging { TaskState::Dropped } else { TaskState::Gone },
            reason: TaskReason::AgentRestarted,
            message: format!("agent {} came back without the task", agent.info.id),
            error: None,
        };
        events.extend(word.entered(now));
    }
    events
}

/// The agent cannot be reached any more.
pub(crate) fn lost(state: &State, id: AgentId, now: Timestamp) -> Vec<Event> {
    let Some(agent) = state.agents.get(&id) else { return Vec::new() };
    let mut events: Vec<Event> = agent
        .offers
        .iter()
        .filter_map(|id| state.offers.get(id))
        .flat_map(rescind::rescind)
        .collect();
    events.push(AgentEvent::Cut(id).into());
    for key in &agent.tasks {
        let Some(task) = state.tasks.get(key).filter(|task| !task.ended()) else { continue };
        let word = Word {
            framework: &key.framework,
            task: &key.task,
            agent: Some(id),
            state: TaskState::Unreachable,
            reason: TaskReason::AgentDisconnected,
            message: format!("agent {id} ({}) is unreachable", agent.info.hostname),
            error: None,
        };
        let status = TaskStatus {
            container: task.status.container,
            healthy: task.status.healthy,
            ready: task.status.ready,
            pid: task.status.pid,
            ..word.status(now)
        };
        events.push(TaskEvent::Said(Box::new(status.clone())).into());
        events.push(Event::inform(key.framework.clone(), framework::Event::Status(status)));
    }
    let told = |(id, f): (&FrameworkId, &Framework)| f.session.is_some().then(|| id.clone());
    for framework in state.frameworks.iter().filter_map(told) {
        events.push(Event::inform(framework, framework::Event::AgentLost(id)));
    }
    for (read, _) in state.reads.iter().filter(|(_, agent)| **agent == id) {
        let unreachable = Rejection::new(
            ErrorCode::AgentUnreachable,
            format!("agent {id} ({}) is unreachable", agent.info.hostname),
        )
        .remedy("try again when the agent is back");
        events.push(AgentEvent::ReadEnded(*read).into());
        let data = Err(unreachable);
        events.push(Event::say(Output::FileData { read: *read, offset: 0, data }));
    }
    events
}
