//! What lies among the volumes without the ledger knowing it: told to people, kept, never offered, never deleted.

use super::identity::{self, Identity};
use crate::disk::{Disk, marker};
use berth_model::id::VolumeId;
use berth_model::volume::VolumeSpec;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Something nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Where it lies.
    pub path: PathBuf,
    /// The volume that its marker describes, when it has one: the ledger does not know that volume.
    pub spec: Option<VolumeSpec>,
}

/// Lists what is unknown on one disk; nothing when the disk cannot be read.
pub fn list(disk: &Disk, known: &BTreeSet<VolumeId>) -> Vec<Unknown> {
    let Ok(handle) = disk.readable() else { return Vec::new() };
    let mut found = Vec::new();
    for (parent, place) in [(&handle.volumes, "volumes"), (&handle.trash, ".trash")] {
        for name in parent.all_names().unwrap_or_default() {
            let id = volume_of(&name);
            if id.is_some_and(|id| known.contains(&id)) {
                continue;
            }
            let identity = id.and_then(|id| {
                let fields = marker::read(&handle.meta, &id.to_string(), identity::KIND).ok()??;
                Identity::decode(&fields).ok()
            });
            found.push(Unknown {
                path: disk.root().join(place).join(&name),
                spec: identity.map(|identity| identity.spec(disk.source().clone())),
            });
        }
    }
    found
}

/// The volume an entry is named after: live, being made, or in the trash.
fn volume_of(name: &str) -> Option<VolumeId> {
    let inner = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp"));
    let name = inner.unwrap_or_else(|| name.split_once('.').map_or(name, |(id, _generation)| id));
    // The canonical form only: another spelling of the same number is another directory.
    name.parse::<VolumeId>().ok().filter(|id| id.to_string() == name)
}
