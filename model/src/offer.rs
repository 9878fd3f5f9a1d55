//! Offers: resources of one agent shown to one framework for one of its roles.

use crate::id::{AgentId, FrameworkId, OfferId};
use crate::resources::Resources;
use crate::role::Role;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One offer. Valid only in its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Names the epoch too.
    pub id: OfferId,
    /// To whom.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: Role,
    /// Whose resources.
    pub agent: AgentId,
    /// The agent's host.
    pub hostname: Arc<str>,
    /// The agent's attributes.
    pub attributes: Arc<BTreeMap<String, String>>,
    /// What is offered; no allocation role inside, `role` above holds for all.
    pub resources: Resources,
    /// The agent's change counter when the offer was made; with the epoch it names a state of its books.
    pub seq: u64,
}
