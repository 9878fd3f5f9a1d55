//! Frameworks and their offers.

use super::age;
use crate::output::{Cell, Row};
use berth_model::id::{AgentId, FrameworkId};
use berth_model::offer::Offer;
use berth_model::units::Timestamp;
use berth_model::view::FrameworkView;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A framework.
#[derive(Debug, Serialize)]
pub(crate) struct FrameworkRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) roles: Vec<String>,
    pub(crate) user: String,
    pub(crate) principal: Option<String>,
    pub(crate) hostname: String,
    pub(crate) url: String,
    pub(crate) capabilities: Vec<String>,
    pub(crate) failover_timeout: String,
    pub(crate) tasks: u64,
    pub(crate) offers: u64,
    pub(crate) used: String,
    pub(crate) registered_ms: u64,
    pub(crate) removed_ms: Option<u64>,
    #[serde(skip)]
    pub(crate) now: Timestamp,
}

impl FrameworkRow {
    pub(crate) fn new(view: &FrameworkView, now: Timestamp) -> Self {
        let state = match (view.removed, view.connected) {
            (Some(_), _) => "REMOVED",
            (None, true) => "CONNECTED",
            (None, false) => "DISCONNECTED",
        };
        Self {
            id: view.id.to_string(),
            name: view.info.name.to_string(),
            state: state.to_owned(),
            roles: view.info.roles.iter().map(ToString::to_string).collect(),
            user: view.info.user.to_string(),
            principal: view.info.principal.as_ref().map(ToString::to_string),
            hostname: view.info.hostname.to_string(),
            url: view.info.url.to_string(),
            capabilities: view.info.capabilities.iter().map(ToString::to_string).collect(),
            failover_timeout: berth_model::units::format_duration(view.info.failover_timeout),
            tasks: view.tasks,
            offers: view.offers,
            used: view.used.to_string(),
            registered_ms: view.registered.ms(),
            removed_ms: view.removed.map(Timestamp::ms),
            now,
        }
    }
}

impl Row for FrameworkRow {
    const COLUMNS: &'static [&'static str] =
        &["FRAMEWORK", "NAME", "STATE", "ROLES", "TASKS", "OFFERS", "AGE", "URL", "USED"];
    const NARROW: usize = 7;
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.id),
            Cell::text(&self.name),
            match self.state.as_str() {
                "CONNECTED" => Cell::Good(self.state.clone()),
                "DISCONNECTED" => Cell::Bad(self.state.clone()),
                _ => Cell::text(&self.state),
            },
            Cell::text(if self.roles.is_empty() { "-".to_owned() } else { self.roles.join(",") }),
            Cell::text(self.tasks),
            Cell::text(self.offers),
            Cell::text(age(self.now, self.registered_ms)),
            Cell::text(if self.url.is_empty() { "-" } else { &self.url }),
            Cell::text(&self.used),
        ]
    }
    fn name(&self) -> String {
        self.id.clone()
    }
}

/// An offer.
#[derive(Debug, Serialize)]
pub(crate) struct OfferRow {
    pub(crate) id: String,
    pub(crate) framework_id: String,
    pub(crate) role: String,
    pub(crate) agent_id: String,
    pub(crate) hostname: String,
    pub(crate) resources: String,
    pub(crate) seq: u64,
    /// The part of the resources that others may hold too.
    pub(crate) optimistic: String,
    /// How many frameworks hold optimistic parts of the agent; one when nobody shares it.
    pub(crate) holders: usize,
    pub(crate) version: OfferVersion,
}

/// The state of the agent that an offer shows.
#[derive(Debug, Serialize)]
pub(crate) struct OfferVersion {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

impl OfferRow {
    /// One row for each; who holds what is told from all of them together.
    pub(crate) fn all(offers: &[Offer]) -> Vec<Self> {
        let mut holders: BTreeMap<AgentId, BTreeSet<&FrameworkId>> = BTreeMap::new();
        for offer in offers.iter().filter(|offer| offer.is_optimistic()) {
            holders.entry(offer.agent).or_default().insert(&offer.framework);
        }
        let count = |offer: &Offer| holders.get(&offer.agent).map_or(1, BTreeSet::len);
        let of = |offer: &Offer| if offer.is_optimistic() { count(offer) } else { 1 };
        offers.iter().map(|offer| Self::of(offer, of(offer))).collect()
    }

    fn of(offer: &Offer, holders: usize) -> Self {
        Self {
            id: offer.id.to_string(),
            framework_id: offer.framework.to_string(),
            role: offer.role.to_string(),
            agent_id: offer.agent.to_string(),
            hostname: offer.hostname.to_string(),
            resources: offer.resources.to_string(),
            seq: offer.seq,
            optimistic: offer.optimistic.to_string(),
            holders,
            version: OfferVersion { epoch: offer.version.epoch, seq: offer.version.seq },
        }
    }
}

impl Row for OfferRow {
    const COLUMNS: &'static [&'static str] =
        &["OFFER", "FRAMEWORK", "ROLE", "HOST", "HOLDERS", "RESOURCES", "OPTIMISTIC"];
    const NARROW: usize = 6;
    fn cells(&self) -> Vec<Cell> {
        let holders = self.holders.to_string();
        let (id, framework, role) = (&self.id, &self.framework_id, &self.role);
        [id, framework, role, &self.hostname, &holders, &self.resources, &self.optimistic]
            .map(Cell::text)
            .into()
    }
    fn name(&self) -> String {
        self.id.clone()
    }
}
