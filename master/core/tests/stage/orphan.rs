//! Orphans as an agent tells of them.

use super::{mib, role, vname};
use berth_model::access::Access;
use berth_model::id::VolumeId;
use berth_model::orphan::{Orphan, OrphanPlace};
use berth_model::resources::DiskSource;
use berth_model::volume::VolumeSpec;
use std::sync::Arc;

/// A volume as a marker describes it.
pub fn stray(number: u128, name: &str) -> VolumeSpec {
    VolumeSpec {
        id: VolumeId::from_u128(0xabc0 + number),
        generation: 3,
        name: vname(name),
        role: role("ops"),
        principal: None,
        source: DiskSource::Root,
        size: mib(512),
        access: Access::default(),
        shared: false,
        encrypted: false,
    }
}

/// What lies at that path.
pub fn orphan(path: &str, place: OrphanPlace, spec: Option<VolumeSpec>) -> Orphan {
    let evidence = if spec.is_some() { "" } else { "it has no marker" };
    Orphan {
        path: Arc::from(path),
        place,
        spec,
        evidence: Arc::from(evidence),
        used: Some(mib(1)),
        modified: None,
    }
}
