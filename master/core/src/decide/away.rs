//! Disks of agents that are not there: nothing is placed on them, and they are known all the same.

use super::room::{Wish, chosen};
use crate::state::State;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::operator::DiskChoice;

/// Refuses a disk whose agent is not there: it is known all the same.
pub(super) fn away(state: &State, wish: &Wish<'_>) -> Result<(), Rejection> {
    if matches!(wish.disk, DiskChoice::Any | DiskChoice::Profile(_)) {
        return Ok(());
    }
    let known =
        state.agents.values().filter(|agent| wish.agent.is_none_or(|id| agent.info.id == id));
    for agent in known.filter(|agent| agent.session().is_none()) {
        if let Some(source) = chosen(state, agent, wish.disk, None).first() {
            let (info, is) = (&agent.info, agent.state().as_str());
            return Err(Rejection::new(
                ErrorCode::AgentUnreachable,
                format!(
                    "volume {}: disk {source} is of agent {} ({}), which is {is}",
                    wish.name, info.id, info.hostname
                ),
            )
            .remedy("start the agent, or wait until it is REGISTERED again")
            .field("disk"));
        }
    }
    Ok(())
}
