//! The cell as one framework sees it: a snapshot in parts, and what changed since a point of time.
//!
//! Points are counted in steps of the master that changed what some agent may give; each agent remembers the last one that
//! did, so a question about changes costs as much as there are, whoever asks and how often.

use crate::decide::cell::room;
use crate::state::{Agent, Framework, State};
use berth_model::cell::{CellAgent, CellRole};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, FrameworkId, SessionId};
use berth_model::offer::Version;
use berth_model::resources::Resource;
use berth_model::role::Role;
use std::collections::BTreeSet;
use std::ops::Bound;

/// Who watches the cell: a framework during one of its sessions, with the roles it had then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellWatch {
    framework: FrameworkId,
    session: SessionId,
    roles: BTreeSet<Role>,
}

/// Agents that may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellChanges {
    /// These, as they are now, and the point from which on to ask next.
    Agents(Vec<CellAgent>, u64),
    /// More than half of the cell, or the framework's roles: a snapshot says it better. It is for this watch from now on.
    All(CellWatch),
}

/// However small the cell is, so many changes are told one by one.
const FEW: usize = 64;

/// Begins to watch.
///
/// # Errors
/// The framework is unknown, was removed, or has no session.
pub fn watch_cell(state: &State, id: &FrameworkId) -> Result<CellWatch, Rejection> {
    let Some(framework) = state.frameworks.get(id) else {
        let text = format!("no framework {id}");
        return Err(Rejection::new(ErrorCode::UnknownFramework, text)
            .remedy("subscribe first; the id is in the first event")
            .field("framework_id"));
    };
    if framework.record.removed.is_some() {
        let text = format!("framework {id} was removed");
        return Err(Rejection::new(ErrorCode::FrameworkRemoved, text)
            .remedy("subscribe without an id to begin anew"));
    }
    let Some(session) = framework.session else { return Err(over(id)) };
    let roles = framework.record.info.roles.clone();
    Ok(CellWatch { framework: id.clone(), session, roles })
}

/// The point of time at which the state is.
#[must_use]
pub fn cell_point(state: &State) -> u64 {
    state.turn
}

/// At most `limit` agents after this one, in order; fewer when there are no more.
///
/// # Errors
/// The framework's session is over.
pub fn cell_part(
    state: &State,
    watch: &CellWatch,
    after: Option<AgentId>,
    limit: usize,
) -> Result<Vec<CellAgent>, Rejection> {
    let framework = watching(state, watch)?;
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let agents = state.agents.range((from, Bound::Unbounded)).take(limit);
    Ok(agents.map(|(_, agent)| seen(state, agent, framework, &watch.roles)).collect())
}

/// What changed at this point of time or later.
///
/// # Errors
/// The framework's session is over.
pub fn cell_changes(
    state: &State,
    watch: &CellWatch,
    since: u64,
) -> Result<CellChanges, Rejection> {
    let framework = watching(state, watch)?;
    let roles = &framework.record.info.roles;
    let many = (state.agents.len() / 2).max(FEW);
    let touched = state.touched.range((since, AgentId::from_u128(0))..);
    if *roles != watch.roles || touched.clone().take(many + 1).count() > many {
        return Ok(CellChanges::All(CellWatch { roles: roles.clone(), ..watch.clone() }));
    }
    let agents = touched.filter_map(|(_, id)| state.agents.get(id));
    let agents = agents.map(|agent| seen(state, agent, framework, &watch.roles)).collect();
    Ok(CellChanges::Agents(agents, state.turn))
}

fn watching<'a>(state: &'a State, watch: &CellWatch) -> Result<&'a Framework, Rejection> {
    let framework = state.frameworks.get(&watch.framework);
    let live = framework.filter(|f| f.session == Some(watch.session));
    live.ok_or_else(|| over(&watch.framework))
}

fn over(id: &FrameworkId) -> Rejection {
    let text = format!("framework {id} has no session, or another one by now");
    Rejection::new(ErrorCode::NotSubscribed, text).remedy("subscribe, then watch the cell again")
}

fn seen(state: &State, agent: &Agent, framework: &Framework, roles: &BTreeSet<Role>) -> CellAgent {
    let away = match agent.session() {
        None => format!("the agent is {}", agent.state().as_str()),
        Some(_) => state.withheld_because(agent).unwrap_or_default(),
    };
    let role = |role: &Role| {
        let room = room(state, agent, framework, role);
        let is_free = |resource: &Resource| resource.stack.is_unreserved();
        CellRole {
            role: role.clone(),
            unreserved: room.filtered(is_free),
            reserved: room.filtered(|resource| !is_free(resource)),
        }
    };
    CellAgent {
        id: agent.info.id,
        hostname: agent.info.hostname.clone(),
        attributes: agent.info.attributes.clone(),
        version: Version { epoch: state.config.epoch, seq: agent.commits },
        away,
        roles: roles.iter().map(role).collect(),
    }
}
