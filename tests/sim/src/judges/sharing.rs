//! Who is offered shared volumes (I4): frameworks that understand them, one of them in a cycle.

use super::Judges;
use crate::framework::Framework;
use berth_master_core::Output;
use berth_model::framework::Event;
use berth_model::id::{AgentId, FrameworkId, VolumeName};
use berth_model::resources::Resource;
use berth_model::role::Role;
use std::collections::BTreeMap;

/// Which volume it is, as an offer names it: a name is held once in its role.
fn name_of(resource: &Resource) -> Option<(Role, VolumeName)> {
    let role = resource.stack.owner()?;
    Some((role.clone(), resource.persistence()?.name.clone()))
}

impl Judges {
    /// I4: looks at what one step of the master offers.
    pub fn master_offers(&mut self, frameworks: &[Framework], outputs: &[Output]) {
        let mut offered: BTreeMap<(AgentId, u64, Role, VolumeName), FrameworkId> = BTreeMap::new();
        let events = outputs.iter().filter_map(|output| match output {
            Output::ToFramework { event: Event::Offers(offers), .. } => Some(offers),
            _ => None,
        });
        for offer in events.flatten() {
            let to = &offer.framework;
            let knows = frameworks.iter().find(|framework| framework.id.as_ref() == Some(to));
            for resource in offer.resources.iter().filter(|resource| resource.shared) {
                let Some((role, name)) = name_of(&resource) else { continue };
                if knows.is_some_and(|framework| !framework.shares) {
                    let text = format!("{name} is offered to {to}, which knows no shared volumes");
                    self.report("I4 no double allocation", text);
                }
                // A step may have several looks at an agent, as when its clock jumps: each has a `seq` of its own.
                let key = (offer.agent, offer.seq, role, name.clone());
                if let Some(other) = offered.insert(key, to.clone()) {
                    let text = format!("{name} is offered to {other} and {to} in one cycle");
                    self.report("I4 no double allocation", text);
                }
            }
        }
    }
}
