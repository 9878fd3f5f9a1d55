//! Applies what concerns tasks, and charges them.

use super::{placing, stir};
use crate::event::TaskEvent;
use crate::state::{Pool, State, Task, sum_of};
use berth_model::id::VolumeId;
use berth_model::task::{TaskKey, TaskStatus};
use berth_model::units::Timestamp;

pub(super) fn apply(state: &mut State, now: Timestamp, event: TaskEvent) {
    match event {
        TaskEvent::Added(task) => added(state, *task),
        TaskEvent::Charged(key) => charged(state, &key),
        TaskEvent::VolumeTaken { task, volume } => volume_taken(state, task, volume),
        TaskEvent::Released(key) => {
            let volumes = match state.tasks.get_mut(&key) {
                Some(task) => {
                    task.waiting = None;
                    task.volumes.clone()
                },
                None => return,
            };
            for volume in volumes {
                if let Some(entry) = state.volumes.get_mut(&volume) {
                    entry.waiting.remove(&key);
                }
            }
        },
        TaskEvent::Said(status) => said(state, now, *status),
        TaskEvent::Killing { task, kill } => {
            if let Some(task) = state.tasks.get_mut(&task) {
                task.kill = Some(kill);
            }
        },
        TaskEvent::Told(key) => {
            if let Some(task) = state.tasks.get_mut(&key) {
                task.told = true;
                let at = task.status.at;
                state.told.insert((at, key));
            }
        },
        TaskEvent::Forgotten(key) => forgotten(state, &key),
    }
}

fn key_of(status: &TaskStatus) -> TaskKey {
    TaskKey { framework: status.framework.clone(), task: status.task.clone() }
}

fn added(state: &mut State, task: Task) {
    let key = key_of(&task.status);
    forgotten(state, &key);
    if let Some(agent) = state.agents.get_mut(&task.agent) {
        agent.tasks.insert(key.clone());
    }
    if let Some(framework) = state.frameworks.get_mut(&key.framework) {
        framework.tasks.insert(key.clone());
    }
    if task.waiting.is_some() {
        for volume in &task.volumes {
            if let Some(entry) = state.volumes.get_mut(volume) {
                entry.waiting.insert(key.clone());
            }
        }
    }
    state.tasks.insert(key, task);
}

fn charged(state: &mut State, key: &TaskKey) {
    let Some(task) = state.tasks.get_mut(key).filter(|task| !task.charged) else { return };
    task.charged = true;
    if let Some(agent) = state.agents.get_mut(&task.agent) {
        agent.books.shift(Pool::Available, Pool::Used, &task.plain);
        agent.seq += 1;
    }
    state.shares.charge((&task.role, &key.framework), task.agent, &task.plain);
}

fn volume_taken(state: &mut State, key: TaskKey, volume: VolumeId) {
    let Some(mut entry) = state.volumes.remove(&volume) else { return };
    if placing::take(state, &entry, &key) {
        if let Some(task) = state.tasks.get(&key) {
            let (who, volume) = ((&task.role, &key.framework), sum_of(&entry.resource()));
            state.shares.charge(who, entry.volume.agent, &volume);
        }
        if let Some(agent) = state.agents.get_mut(&entry.volume.agent) {
            agent.seq += 1;
        }
        entry.users.insert(key);
    }
    state.volumes.insert(volume, entry);
}

fn said(state: &mut State, now: Timestamp, status: TaskStatus) {
    let key = key_of(&status);
    let Some(task) = state.tasks.get_mut(&key) else { return };
    let ends = status.state.is_terminal();
    task.status = status;
    if ends {
        free(state, now, &key);
    }
}

/// Takes everything from a task that has ended.
fn free(state: &mut State, now: Timestamp, key: &TaskKey) {
    let Some(task) = state.tasks.get_mut(key) else { return };
    let (agent, role) = (task.agent, task.role.clone());
    let (charged, plain) = (std::mem::take(&mut task.charged), task.plain.clone());
    let volumes = task.volumes.clone();
    if charged {
        if let Some(entry) = state.agents.get_mut(&agent) {
            entry.books.shift(Pool::Used, Pool::Available, &plain);
        }
        state.shares.release((&role, &key.framework), agent, &plain);
    }
    for volume in volumes {
        let Some(mut entry) = state.volumes.remove(&volume) else { continue };
        entry.waiting.remove(key);
        if entry.users.contains(key) {
            placing::give_back(state, &entry);
            entry.users.remove(key);
            let (who, volume) = ((&role, &key.framework), sum_of(&entry.resource()));
            state.shares.release(who, entry.volume.agent, &volume);
        }
        state.volumes.insert(volume, entry);
    }
    stir(state, now, agent);
}

fn forgotten(state: &mut State, key: &TaskKey) {
    let Some(task) = state.tasks.remove(key) else { return };
    state.told.remove(&(task.status.at, key.clone()));
    if let Some(agent) = state.agents.get_mut(&task.agent) {
        agent.tasks.remove(key);
    }
    if let Some(framework) = state.frameworks.get_mut(&key.framework) {
        framework.tasks.remove(key);
    }
}
