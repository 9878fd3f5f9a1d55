//! What frameworks that commit without offers see of the cluster: each agent with what is free there for their roles.
//!
//! It comes as a snapshot in parts, then as changes: an agent is always told as a whole, so an event is a fact and not a
//! difference. Invariant: whoever applies the events in order has, after each that ends a part, what a fresh snapshot would show.

use crate::id::AgentId;
use crate::offer::Version;
use crate::resources::Resources;
use crate::role::Role;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a framework sees of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellAgent {
    /// Which.
    pub id: AgentId,
    /// Its host.
    pub hostname: Arc<str>,
    /// Its attributes, as offers carry them.
    pub attributes: Arc<BTreeMap<String, String>>,
    /// The state that is shown: the epoch for placements, and the `seq` for `if_seq`.
    pub version: Version,
    /// Why nothing of it can be had now; empty when it can.
    pub away: String,
    /// One for each of the framework's roles, in order.
    pub roles: Vec<CellRole>,
}

/// What of an agent is free for one of the framework's roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellRole {
    /// Which.
    pub role: Role,
    /// What is nobody's. Others may be offered it, or see it, at the same time.
    pub unreserved: Resources,
    /// What is reserved to the role or to those above it, with volumes.
    pub reserved: Resources,
}

/// News of the cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellEvent {
    /// Counts the events of one stream, from 1.
    pub number: u64,
    /// A snapshot begins: what was known before is void.
    pub begins: bool,
    /// Further parts of the same follow.
    pub more: bool,
    /// Agents as they are now.
    pub agents: Vec<CellAgent>,
}

/// The cell as the events so far tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The agents.
    pub agents: BTreeMap<AgentId, CellAgent>,
    /// The last event.
    pub number: u64,
    /// More is to come before this is all.
    pub is_partial: bool,
}

impl Cell {
    /// Takes in the next event of a stream.
    pub fn apply(&mut self, event: CellEvent) {
        let CellEvent { number, begins, more, agents } = event;
        if begins {
            self.agents.clear();
        }
        self.agents.extend(agents.into_iter().map(|agent| (agent.id, agent)));
        self.number = number;
        self.is_partial = more;
    }
}
