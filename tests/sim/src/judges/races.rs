//! Optimistic offers (I20): how many hold one, and that none stays out once what it holds is gone.

use super::Judges;
use crate::world::{GRACE_MS, World};
use berth_master_core::query;
use berth_model::id::{AgentId, FrameworkId, OfferId};
use berth_model::resources::{Name, Resources};
use std::collections::{BTreeMap, BTreeSet};

/// The master is woken on time, but its clock may differ a little from the world's.
const SLACK_MS: u64 = 1_000;

impl Judges {
    /// I20: at most so many frameworks hold optimistic parts of an agent; nothing reserved, no volume is in one; and what
    /// somebody else has committed is soon in no offer any more.
    pub(super) fn judge_races(&mut self, world: &World) {
        let Some(process) = &world.master.process else { return self.unfit.clear() };
        let state = process.core.state();
        let mut free: BTreeMap<AgentId, Resources> = BTreeMap::new();
        for view in query::agents(state) {
            free.insert(view.info.id, view.total.minus(&view.used).minus(&view.offered));
        }
        let mut holders: BTreeMap<AgentId, BTreeSet<FrameworkId>> = BTreeMap::new();
        let mut unfit: BTreeMap<OfferId, u64> = BTreeMap::new();
        for offer in query::offers(state).into_iter().filter(|o| !o.optimistic.is_empty()) {
            holders.entry(offer.agent).or_default().insert(offer.framework.clone());
            for resource in offer.optimistic.iter() {
                let common =
                    matches!(resource.name, Name::Cpus | Name::Mem | Name::Disk | Name::Ports)
                        && resource.stack.is_unreserved()
                        && resource.persistence().is_none();
                if !common {
                    let text = format!("offer {} holds {resource} optimistically", offer.id);
                    self.report("I20 races", text);
                }
            }
            let there = free.get(&offer.agent).is_some_and(|free| free.contains(&offer.optimistic));
            if there {
                continue;
            }
            let since = self.unfit.get(&offer.id).copied().unwrap_or(world.now);
            unfit.insert(offer.id, since);
            if world.now > since + GRACE_MS + SLACK_MS {
                let text =
                    format!("offer {} has held more than there is since {since} ms", offer.id);
                self.report("I20 races", text);
            }
        }
        self.unfit = unfit;
        for (agent, holders) in holders {
            if holders.len() > world.fan_out as usize {
                let text = format!("{} frameworks hold agent {agent}", holders.len());
                self.report("I20 races", text);
            }
        }
    }
}
