//! Applies events to the books. It cannot fail and decides nothing.

mod agent;
mod durable;
mod framework;
mod placing;
mod task;

use crate::event::Event;
use crate::state::{State, Timer};
use berth_model::id::{AgentId, VolumeId};
use berth_model::role::Role;
use berth_model::units::Timestamp;

/// Applies one event.
pub(crate) fn evolve(state: &mut State, now: Timestamp, event: Event) {
    match event {
        Event::Put(record) => durable::put(state, now, record),
        Event::Delete(key) => durable::delete(state, now, &key),
        Event::Agent(event) => agent::apply(state, now, event),
        Event::Framework(event) => framework::apply(state, now, event),
        Event::Task(event) => task::apply(state, now, event),
        Event::Certified(_) => {},
        Event::Refusals { refusals, failures } => {
            state.audit.refusals = refusals;
            state.audit.failures = failures;
        },
        Event::Say(_) | Event::Tell { .. } | Event::Inform { .. } => {},
    }
}

/// The agent's free resources changed: somebody may want them.
fn stir(state: &mut State, now: Timestamp, agent: AgentId) {
    unsettle(state, agent);
    let Some(entry) = state.touch(agent) else { return };
    entry.seq += 1;
    look_again(state, now, agent);
}

/// The agent, if it is connected, is looked at an interval after its last look.
fn look_again(state: &mut State, now: Timestamp, agent: AgentId) {
    let interval = state.config.allocation_interval;
    let Some(entry) = state.agents.get_mut(&agent) else { return };
    if entry.session().is_none() || entry.look_due.is_some() {
        return;
    }
    let due = entry.looked.map_or(now, |looked| looked.after(interval).max(now));
    entry.look_due = Some(due);
    state.timers.arm(due, Timer::Look(agent));
}

/// What is available of the agent may be less: its optimistic offers are compared with it at the end of the step.
fn unsettle(state: &mut State, agent: AgentId) {
    let Some(entry) = state.agents.get(&agent) else { return };
    if entry.optimistic(state).next().is_some() {
        state.unsettled.insert(agent);
    }
}

/// Something was committed or given back on the agent; `taker` is who has more now, when somebody has.
fn commit(state: &mut State, agent: AgentId, taker: Option<Role>) {
    unsettle(state, agent);
    let Some(entry) = state.touch(agent) else { return };
    entry.commits += 1;
    if taker.is_some() {
        entry.taker = taker;
    }
}

/// Something that the volume's schedule depends on changed: it is looked at in this step.
fn wake(state: &mut State, now: Timestamp, volume: VolumeId) {
    if state.schedules.contains_key(&volume) {
        state.timers.arm(now, Timer::Schedule(volume));
    }
}

/// Somebody new wants something, and has said so: every connected agent is looked at without delay.
fn stir_all(state: &mut State, now: Timestamp) {
    let agents: Vec<AgentId> = state.agents.keys().copied().collect();
    for agent in agents {
        let Some(entry) = state.agents.get_mut(&agent).filter(|a| a.session().is_some()) else {
            continue;
        };
        entry.seq += 1;
        look_now(state, now, agent);
    }
}

/// The agent, if it is connected, is looked at in this step, whenever it would have been.
fn look_now(state: &mut State, now: Timestamp, agent: AgentId) {
    let Some(entry) = state.agents.get_mut(&agent).filter(|a| a.session().is_some()) else {
        return;
    };
    if let Some(due) = entry.look_due.replace(now) {
        state.timers.disarm(due, Timer::Look(agent));
    }
    state.timers.arm(now, Timer::Look(agent));
}
