//! KILL, RECONCILE and the removal of frameworks.

use super::launch::{Word, drop_waiting, kill_message};
use crate::event::{Event, FrameworkEvent, TaskEvent};
use crate::state::{Framework, Kill, Link, State};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework;
use berth_model::id::{AgentId, FrameworkId, TaskId};
use berth_model::record::{FrameworkRecord, RegistryRecord};
use berth_model::task::{StatusSource, TaskKey, TaskReason, TaskState, TaskStatus};
use berth_model::units::Timestamp;
use std::sync::Arc;

/// Asks for the end of a task. It is remembered, and repeated when the agent comes back.
pub(crate) fn kill(state: &State, key: &TaskKey, how: Kill, now: Timestamp) -> Vec<Event> {
    let Some(task) = state.tasks.get(key).filter(|task| !task.ended()) else { return Vec::new() };
    if task.waiting.is_some() {
        let cause = Rejection::new(ErrorCode::Unavailable, "ended before it was started");
        return drop_waiting(state, key, &cause, TaskReason::KillRequested, now);
    }
    vec![
        TaskEvent::Killing { task: key.clone(), kill: how }.into(),
        Event::tell(task.agent, kill_message(key, how)),
    ]
}

/// What is known of the tasks; with no task named, of all that have not ended.
pub(crate) fn reconcile(
    state: &State,
    framework: &FrameworkId,
    asked: &[(TaskId, Option<AgentId>)],
    now: Timestamp,
) -> Vec<Event> {
    let answer = |status: TaskStatus| {
        let status = TaskStatus {
            reason: TaskReason::Reconciliation,
            source: StatusSource::Master,
            id: None,
            ..status
        };
        Event::inform(framework.clone(), framework::Event::Status(status))
    };
    if asked.is_empty() {
        let keys = state.frameworks.get(framework).into_iter().flat_map(|f| &f.tasks);
        let tasks = keys.filter_map(|key| state.tasks.get(key)).filter(|task| !task.told);
        return tasks.map(|task| answer(task.status.clone())).collect();
    }
    let mut events = Vec::new();
    for (task, agent) in asked {
        let key = TaskKey { framework: framework.clone(), task: task.clone() };
        if let Some(known) = state.tasks.get(&key) {
            events.push(answer(known.status.clone()));
        } else if let Some(found) = fate(state, *agent) {
            let message = format!("task {key} is not known");
            let word = Word {
                framework,
                task,
                agent: *agent,
                state: found,
                reason: TaskReason::Reconciliation,
                message,
                error: None,
            };
            events.push(answer(word.status(now)));
        }
    }
    events
}

/// What can be said of a task that is not in the books; nothing while its agent may still bring it
/// back.
fn fate(state: &State, agent: Option<AgentId>) -> Option<TaskState> {
    let is_awaited = |link: Link| link == Link::Recovering;
    match agent.map(|id| state.agents.get(&id)) {
        Some(Some(known)) => match known.link {
            Link::Recovering => None,
            Link::Open(_) => Some(TaskState::Gone),
            Link::Cut => Some(TaskState::Unreachable),
        },
        Some(None) => Some(TaskState::Unknown),
        // Without the agent's name, the task may be on any that is not back yet.
        None if state.agents.values().any(|a| is_awaited(a.link)) => None,
        None => Some(TaskState::Unknown),
    }
}

/// Removes a framework: its tasks end, its reservations and volumes stay. A task is charged until its
/// agent says that it has ended, so that nobody gets its volumes while it still writes to them.
pub(crate) fn teardown(state: &State, id: &FrameworkId, now: Timestamp) -> Vec<Event> {
    let Some(framework) = state.frameworks.get(id).filter(|f| f.record.removed.is_none()) else {
        return Vec::new();
    };
    let mut events = drop_offers(framework);
    events.push(Event::Put(RegistryRecord::Framework(Arc::new(FrameworkRecord {
        removed: Some(now),
        ..framework.record.clone()
    }))));
    for key in &framework.tasks {
        let Some(task) = state.tasks.get(key).filter(|task| !task.ended()) else { continue };
        if task.waiting.is_some() {
            let cause =
                Rejection::new(ErrorCode::FrameworkRemoved, format!("framework {id} was removed"));
            let reason = TaskReason::FrameworkRemoved;
            events.extend(drop_waiting(state, key, &cause, reason, now));
        } else {
            let how = Kill { grace: None };
            events.push(TaskEvent::Killing { task: key.clone(), kill: how }.into());
            events.push(Event::tell(task.agent, kill_message(key, how)));
        }
    }
    events
}

/// Takes all offers of a framework back, without a word: its session is over.
pub(crate) fn drop_offers(framework: &Framework) -> Vec<Event> {
    framework.offers.keys().map(|id| FrameworkEvent::OfferEnded(*id).into()).collect()
}
