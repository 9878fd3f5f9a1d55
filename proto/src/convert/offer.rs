//! Offers.

use super::field;
use super::resource::{sum, sum_to_wire};
use super::{At, Wire};
use crate::v1;
use berth_model::error::Rejection;
use berth_model::offer::{Offer, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Wire for Offer {
    type Message = v1::Offer;

    fn to_wire(&self) -> v1::Offer {
        let Self {
            id,
            framework,
            role,
            agent,
            hostname,
            attributes,
            resources,
            seq,
            optimistic,
            version,
        } = self;
        v1::Offer {
            offer_id: id.to_string(),
            framework_id: framework.to_string(),
            role: role.to_string(),
            agent_id: agent.to_string(),
            hostname: hostname.to_string(),
            attributes: BTreeMap::clone(attributes),
            resources: sum_to_wire(resources),
            seq: *seq,
            optimistic: sum_to_wire(optimistic),
            version: Some(version.to_wire()),
        }
    }

    fn from_wire(message: v1::Offer, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Offer {
            offer_id,
            framework_id,
            role,
            agent_id,
            hostname,
            attributes,
            resources,
            seq,
            optimistic,
            version,
        } = message;
        let optimistic_at = at.field("optimistic");
        let resources = sum(resources, &at.field("resources"))?;
        let optimistic = sum(optimistic, &optimistic_at)?;
        if !resources.contains(&optimistic) {
            let text = format!("{optimistic} is not all in the offer, which holds {resources}");
            return Err(optimistic_at.invalid(text, "name a part of the resources"));
        }
        Ok(Self {
            id: field::id(&offer_id, &at.field("offer_id"))?,
            framework: field::id(&framework_id, &at.field("framework_id"))?,
            role: field::role(&role, &at.field("role"))?,
            agent: field::id(&agent_id, &at.field("agent_id"))?,
            hostname: Arc::from(hostname),
            attributes: Arc::new(attributes),
            resources,
            seq,
            optimistic,
            // A master of an earlier release has no fan-out and counts nothing.
            version: field::optional(version, &at.field("version"))?.unwrap_or_default(),
        })
    }
}

impl Wire for Version {
    type Message = v1::OfferVersion;

    fn to_wire(&self) -> v1::OfferVersion {
        let Self { epoch, seq } = *self;
        v1::OfferVersion { epoch, seq }
    }

    fn from_wire(message: v1::OfferVersion, _at: &At<'_>) -> Result<Self, Rejection> {
        let v1::OfferVersion { epoch, seq } = message;
        Ok(Self { epoch, seq })
    }
}
