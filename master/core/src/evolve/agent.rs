//! Applies what agents say of themselves: connections, disks, observations, timers.

use super::{look_again, stir, stir_all, wake};
use crate::event::AgentEvent;
use crate::state::{Agent, Link, Observed, State, Timer};
use berth_model::agent::Disk;
use berth_model::id::AgentId;
use berth_model::units::Timestamp;

pub(super) fn apply(state: &mut State, now: Timestamp, event: AgentEvent) {
    match event {
        AgentEvent::SafeMode(why) => drop(state.safe_mode.get_or_insert(why)),
        AgentEvent::Met(agent) => drop(state.met.insert(agent)),
        AgentEvent::Opened { agent, session } => {
            relink(state, now, agent, Link::Open(session));
            note(state, agent, |entry| entry.last_seen = Some(now));
            let silent = now.after(state.config.agent_timeout);
            state.timers.arm(silent, Timer::AgentSilent(agent));
            stir(state, now, agent);
            let volumes = state.agents.get(&agent).map(|entry| entry.volumes.clone());
            for volume in volumes.into_iter().flatten() {
                wake(state, now, volume);
            }
        },
        AgentEvent::Heard(agent) => note(state, agent, |entry| entry.last_seen = Some(now)),
        AgentEvent::LedgerHeard { agent, ledger_seq } => {
            note(state, agent, |entry| entry.ledger_heard = entry.ledger_heard.max(ledger_seq));
        },
        AgentEvent::Cut(agent) => {
            unlook(state, agent);
            relink(state, now, agent, Link::Cut);
        },
        AgentEvent::Misfit { agent, why } => {
            change(state, agent, |entry| entry.misfit = why);
            stir(state, now, agent);
        },
        AgentEvent::Disks { agent, disks } => {
            let health = |disks: &[Disk]| -> Vec<_> {
                disks.iter().map(|disk| (disk.id, disk.health.clone())).collect()
            };
            let Some(entry) = state.touch(agent) else { return };
            let changed = health(&entry.info.disks) != health(&disks);
            entry.see_disks(disks);
            state.sort_disks(agent);
            if changed {
                stir(state, now, agent);
            }
        },
        AgentEvent::Looked(agent) => looked(state, now, agent),
        AgentEvent::FanOut { agent, at } => fan_out(state, agent, at),
        AgentEvent::Settled(agent) => drop(state.unsettled.remove(&agent)),
        AgentEvent::Counted => counted(state, now),
        AgentEvent::CutByQuota(agent) => drop(state.cut.insert(agent)),
        AgentEvent::KeptOver(agent) => {
            change(state, agent, |entry| entry.kept.retain(|kept| kept.until > now));
            stir(state, now, agent);
        },
        AgentEvent::NotLooked(agent) => unlook(state, agent),
        AgentEvent::VolumeObserved(report) => {
            if let Some(entry) = state.volumes.get_mut(&report.spec.id) {
                let known = entry.observed.as_ref().and_then(|o| o.used);
                let mut observed = Observed::of(&report);
                observed.used = observed.used.or(known);
                entry.observed = Some(observed);
            }
        },
        AgentEvent::VolumeUnobserved(volume) => {
            if let Some(entry) = state.volumes.get_mut(&volume) {
                entry.observed = None;
            }
        },
        AgentEvent::SnapshotObserved(report) => {
            if let Some(entry) = state.snapshots.get_mut(&report.spec.id) {
                entry.observe(&report);
            }
        },
        AgentEvent::SnapshotUnobserved(snapshot) => {
            if let Some(entry) = state.snapshots.get_mut(&snapshot) {
                entry.observed = None;
            }
        },
        AgentEvent::VolumeMeasured { volume, measured } => {
            let Some(entry) = state.volumes.get_mut(&volume) else { return };
            entry.measured.add(now, measured);
            if let Some(observed) = &mut entry.observed {
                observed.used = Some(measured.bytes);
            }
        },
        AgentEvent::VolumeProgressed { volume, progress } => {
            if let Some(entry) = state.volumes.get_mut(&volume) {
                entry.progress = Some(progress);
            }
        },
        AgentEvent::ReadStarted { read, agent } => drop(state.reads.insert(read, agent)),
        AgentEvent::ReadEnded(read) => drop(state.reads.remove(&read)),
        AgentEvent::Armed { at, timer } => state.timers.arm(at, timer),
        AgentEvent::Fired { at, timer } => state.timers.disarm(at, timer),
    }
}

/// Where quota left more than it would now is looked at again, when its next look is due.
fn counted(state: &mut State, now: Timestamp) {
    state.recount();
    if state.standings.take_eased() {
        for agent in std::mem::take(&mut state.cut) {
            look_again(state, now, agent);
        }
    }
}

fn looked(state: &mut State, now: Timestamp, agent: AgentId) {
    unlook(state, agent);
    state.cut.remove(&agent);
    state.shares.settle(now, state.config.allocation_interval);
    state.recount();
    note(state, agent, |entry| {
        entry.looked = Some(now);
        entry.fanning = false;
    });
}

fn fan_out(state: &mut State, agent: AgentId, at: Timestamp) {
    unlook(state, agent);
    note(state, agent, |entry| {
        entry.look_due = Some(at);
        entry.fanning = true;
    });
    state.timers.arm(at, Timer::Look(agent));
}

fn relink(state: &mut State, now: Timestamp, agent: AgentId, link: Link) {
    let waited = state.awaits_agents();
    let Some(entry) = state.touch(agent) else { return };
    let before = std::mem::replace(&mut entry.link, link);
    if before == Link::Recovering {
        state.recovering -= 1;
        if waited && !state.awaits_agents() {
            stir_all(state, now);
        }
    }
}

/// What it may give changes.
fn change(state: &mut State, agent: AgentId, with: impl FnOnce(&mut Agent)) {
    if let Some(entry) = state.touch(agent) {
        with(entry);
    }
}

/// Something changes that says nothing of what it may give.
fn note(state: &mut State, agent: AgentId, with: impl FnOnce(&mut Agent)) {
    if let Some(entry) = state.agents.get_mut(&agent) {
        with(entry);
    }
}

fn unlook(state: &mut State, agent: AgentId) {
    let Some(due) = state.agents.get_mut(&agent).and_then(|entry| entry.look_due.take()) else {
        return;
    };
    state.timers.disarm(due, Timer::Look(agent));
}
