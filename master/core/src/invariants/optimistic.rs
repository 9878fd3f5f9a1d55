//! Optimistic offers: what may be in them, how many hold it, and that each is there or known not to be.

use super::Findings;
use crate::state::{Agent, Races, State};
use berth_model::id::{AgentId, FrameworkId, OfferId};
use berth_model::offer::Offer;
use berth_model::resources::{Resource, Resources};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(findings: &mut Findings, state: &State, id: AgentId, agent: &Agent) {
    let offers: Vec<&Offer> = agent
        .offers
        .iter()
        .filter_map(|id| state.offers.get(id))
        .filter(|o| o.is_optimistic())
        .collect();
    let holders: BTreeSet<&FrameworkId> = offers.iter().map(|offer| &offer.framework).collect();
    let most = state.config.optimistic.most() as usize;
    findings.require(offers.is_empty() || most > 1, "one-holder-without-fan-out", id, || {
        format!("{} optimistic offers", offers.len())
    });
    findings.require(holders.len() <= most, "holders-within-fan-out", id, || {
        format!("{holders:?} with a fan-out of {most}")
    });
    let mut held: BTreeMap<&FrameworkId, Resources> = BTreeMap::new();
    for offer in offers {
        let part = &offer.optimistic;
        let proper = offer.resources.contains(part)
            && part.iter().all(|resource| Resource::can_be_optimistic(&resource));
        findings.require(proper, "optimistic-kinds", offer.id, || part.to_string());
        let kept = agent.kept_from(state, &offer.role);
        let room = agent.books.available.minus(&kept);
        let mut all = held.get(&offer.framework).cloned().unwrap_or_default();
        let apart = all.add_all(part).is_ok();
        findings.require(apart, "own-offers-apart", offer.id, || part.to_string());
        let there = room.contains(&all);
        let known = state.losses.contains_key(&offer.id);
        findings.require(there != known, "optimistic-offers-are-there", offer.id, || {
            format!("{} holds {all} of {room}, known as lost: {known}", offer.framework)
        });
        if there {
            held.insert(&offer.framework, all);
        }
    }
    let over: Vec<String> = agent
        .kept
        .iter()
        .filter(|kept| kept.resources.is_empty())
        .map(|k| k.role.to_string())
        .collect();
    findings.require(over.is_empty(), "kept-is-something", id, || format!("{over:?}"));
}

pub(super) fn indices(findings: &mut Findings, state: &State) {
    findings
        .require(state.unsettled.is_empty(), "settled", "all", || format!("{:?}", state.unsettled));
    let touched: BTreeSet<(u64, AgentId)> =
        state.agents.iter().map(|(id, agent)| (agent.touched, *id)).collect();
    findings.require(touched == state.touched, "touched-indexed", "all", || format!("{touched:?}"));
    let faults = state.transactions.faults();
    findings.require(faults.is_empty(), "transactions-indexed", "all", || format!("{faults:?}"));
    let dead: Vec<&OfferId> = state
        .losses
        .keys()
        .chain(&state.alone)
        .filter(|id| !state.offers.contains_key(id))
        .collect();
    findings.require(dead.is_empty(), "notes-of-live-offers", "all", || format!("{dead:?}"));
    let owed: BTreeSet<FrameworkId> = state
        .frameworks
        .iter()
        .filter(|(_, framework)| framework.races.lost >= Races::PATIENCE)
        .map(|(id, _)| id.clone())
        .collect();
    findings.require(owed == state.owed, "owed-indexed", "all", || format!("{owed:?}"));
    let most = (state.agents.len() / 20).max(1);
    findings
        .require(state.alone.len() <= most, "few-alone", "all", || format!("{:?}", state.alone));
}
