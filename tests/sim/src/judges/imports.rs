//! Imports: a volume holds what the directory held that a client named, and nothing else (I6).
//!
//! What was wanted is read from what clients asked for and from the registry, never from the effects.

use super::Judges;
use super::lineage::{machine_of, was_asked};
use crate::volumes::{imported, streamed};
use crate::world::World;
use berth_model::id::{OperationId, VolumeId};
use berth_model::operator::Request;
use berth_model::snapshot::Origin;
use berth_model::transfer::Import;

/// What a volume of this origin is to hold; nothing where that is said elsewhere.
pub(super) fn brought(origin: &Origin, operation: OperationId) -> u64 {
    match origin {
        Origin::Directory { path } => imported(path),
        Origin::Stream => streamed(operation),
        Origin::Clone { .. } | Origin::RollBack { .. } | Origin::Orphan => 0,
    }
}

impl Judges {
    /// What a new volume that no snapshot is behind is to hold; nothing unless a client wanted something.
    pub(super) fn imported(&mut self, world: &World, id: VolumeId) -> u64 {
        let Some((operation, content)) = self.descent.imports.get(&id).copied() else { return 0 };
        let asked = was_asked(world, operation, |request| match request {
            Request::CreateVolume { import: Some(Import::Directory { path }), .. } => {
                imported(path) == content
            },
            Request::CreateVolume { import: Some(Import::Stream), .. } => {
                streamed(operation) == content
            },
            _other => false,
        });
        if !asked {
            let text = format!("volume {id} holds a directory and nobody asked");
            self.report("I6 durability", text);
        }
        content
    }

    /// Why the volume does not hold what the directory held.
    pub(super) fn lacks_import(&self, world: &World, operation: OperationId) -> Option<String> {
        let mut all = self.descent.imports.iter();
        let Some((id, (_, content))) = all.find(|(_, (of, _))| *of == operation) else {
            return Some("the registry never had it".to_owned());
        };
        let machine = machine_of(world, *id)?;
        let slot = machine.volumes.durable.get(id)?;
        let other_life = slot.generation > 1;
        let right = world.descends(slot.content, *content);
        (!(right || other_life || self.is_excused(machine, *id)))
            .then(|| format!("volume {id} is {slot:?}, the directory held {content}"))
    }
}
