//! Applies what concerns tasks, and charges them.

use super::{commit, placing, stir};
use crate::event::TaskEvent;
use crate::state::{Agent, Kept, Pool, State, Task, Timer, keepable, sum_of};
use berth_model::id::VolumeId;
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::task::{TaskKey, TaskState, TaskStatus};
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
    if let Some(agent) = state.touch(task.agent) {
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
    state.tasks.insert(key.clone(), task);
    note_uncharged(state, &key);
}

/// Keeps the agent's list of tasks that its books have no room for.
fn note_uncharged(state: &mut State, key: &TaskKey) {
    let Some(task) = state.tasks.get(key) else { return };
    let (agent, has_room) = (task.agent, task.charged || task.ended());
    let Some(agent) = state.touch(agent) else { return };
    if has_room {
        agent.uncharged.remove(key);
    } else {
        agent.uncharged.insert(key.clone());
    }
}

fn charged(state: &mut State, key: &TaskKey) {
    let Some(task) = state.tasks.get_mut(key).filter(|task| !task.charged) else { return };
    task.charged = true;
    let (agent, role, plain) = (task.agent, task.role.clone(), task.plain.clone());
    if let Some(entry) = state.touch(agent) {
        entry.uncharged.remove(key);
        entry.books.shift(Pool::Available, Pool::Used, &plain);
        entry.seq += 1;
        use_kept(entry, &role, &plain);
    }
    state.shares.charge((&role, &key.framework), agent, &plain);
    state.allocate(agent, &role, &plain);
    commit(state, agent, Some(role));
}

/// What was kept for a role is used by one of its tasks.
fn use_kept(agent: &mut Agent, role: &Role, used: &Resources) {
    let mut used = keepable(used);
    for kept in agent.kept.iter_mut().filter(|kept| kept.role == *role) {
        let taken = kept.resources.common(&used);
        kept.resources = kept.resources.minus(&taken);
        used = used.minus(&taken);
    }
    agent.kept.retain(|kept| !kept.resources.is_empty());
}

/// A failed task that used a volume starts again where its data is: what it had is kept for its role for a while.
fn keep(state: &mut State, now: Timestamp, task: &TaskKey) {
    let config = &state.config.optimistic;
    let Some(task) = state.tasks.get(task).filter(|_| config.is_on()) else { return };
    let failed = matches!(task.status.state, TaskState::Failed | TaskState::Lost);
    let resources = keepable(&task.plain);
    if !failed || task.volumes.is_empty() || resources.is_empty() || config.sticky.is_zero() {
        return;
    }
    let (agent, until) = (task.agent, now.after(config.sticky));
    let kept = Kept { role: task.role.clone(), resources, until };
    if let Some(agent) = state.touch(agent) {
        agent.kept.push(kept);
    }
    state.timers.arm(until, Timer::KeptOver(agent));
}

fn volume_taken(state: &mut State, key: TaskKey, volume: VolumeId) {
    let Some(mut entry) = state.volumes.remove(&volume) else { return };
    if placing::take(state, &entry, &key) {
        if let Some(task) = state.tasks.get(&key) {
            let (who, volume) = ((&task.role, &key.framework), sum_of(&entry.resource()));
            state.shares.charge(who, entry.volume.agent, &volume);
        }
        if let Some(agent) = state.touch(entry.volume.agent) {
            agent.seq += 1;
        }
        commit(state, entry.volume.agent, None);
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
    note_uncharged(state, &key);
}

/// Takes everything from a task that has ended.
fn free(state: &mut State, now: Timestamp, key: &TaskKey) {
    let Some(task) = state.tasks.get_mut(key) else { return };
    let (agent, role) = (task.agent, task.role.clone());
    let (charged, plain) = (std::mem::take(&mut task.charged), task.plain.clone());
    let volumes = task.volumes.clone();
    if charged {
        if let Some(entry) = state.touch(agent) {
            entry.books.shift(Pool::Used, Pool::Available, &plain);
        }
        state.shares.release((&role, &key.framework), agent, &plain);
        keep(state, now, key);
        state.free(agent, &role, &plain);
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
    commit(state, agent, None);
    stir(state, now, agent);
}

fn forgotten(state: &mut State, key: &TaskKey) {
    let Some(task) = state.tasks.remove(key) else { return };
    state.told.remove(&(task.status.at, key.clone()));
    if let Some(agent) = state.touch(task.agent) {
        agent.tasks.remove(key);
        agent.uncharged.remove(key);
    }
    if let Some(framework) = state.frameworks.get_mut(&key.framework) {
        framework.tasks.remove(key);
    }
}
