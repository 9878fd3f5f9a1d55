//! A machine's disks as its volume driver sees them: directories with markers, some of them in the trash.
//!
//! The driver here keeps the contract of `VolumeEffect` and nothing else. Changes are seen at once and are durable only
//! after a sync; when the power goes, each unsynced change is there or not. Invariant: a slot that was synced changes
//! only by an effect, by hand, or by the writes of its task.

mod derived;
mod power;
mod slot;
mod wiped;

pub use derived::RollBack;
pub use slot::{Fate, Replaced, Slot, Taken};

use berth_agent_core::effect::{Place, Source, VolumeEffect, VolumeOutcome};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, OperationId, SnapshotId, VolumeId};
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::{Enforcement, VolumeSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The disks of one machine.
#[derive(Debug, Clone, Default)]
pub struct Volumes {
    pub seen: BTreeMap<VolumeId, Slot>,
    pub durable: BTreeMap<VolumeId, Slot>,
    pub capacity: BTreeMap<DiskSource, u64>,
    pub snapshots: BTreeMap<SnapshotId, Taken>,
    pub snapshots_durable: BTreeMap<SnapshotId, Taken>,
    pub replaced: BTreeMap<(VolumeId, u64), Replaced>,
    pub replaced_durable: BTreeMap<(VolumeId, u64), Replaced>,
}

impl Volumes {
    /// Does the effect as far as the machine sees it.
    pub fn apply(&mut self, agent: AgentId, effect: &VolumeEffect) -> VolumeOutcome {
        match effect {
            VolumeEffect::Create { spec, purgeable } => self.create(agent, spec, purgeable),
            VolumeEffect::Restore { spec, purgeable } => self.restore(agent, spec, purgeable),
            VolumeEffect::Import { spec, from } => {
                let is_new = !self.seen.contains_key(&spec.id);
                let outcome = self.create(agent, spec, &[]);
                if let Some(slot) = self.seen.get_mut(&spec.id).filter(|_| is_new) {
                    slot.content = match from {
                        Source::Directory { path } => imported(path),
                        Source::Stream { operation } => streamed(*operation),
                    };
                }
                outcome
            },
            VolumeEffect::Resize { spec, size, purgeable } => {
                self.resize(agent, spec, *size, purgeable)
            },
            VolumeEffect::Trash { spec } => self.trash(agent, spec),
            VolumeEffect::Purge { spec } => self.purge(agent, spec),
            VolumeEffect::SurveyWipe { spec, .. } => self.survey(agent, spec),
            VolumeEffect::Wipe { spec, .. } => self.wipe(agent, spec),
            VolumeEffect::Verify { spec, place } => self.verify(agent, spec, *place),
            VolumeEffect::Adopt { spec } => match self.verify(agent, spec, Place::Live) {
                VolumeOutcome::Absent => {
                    let text = format!("volume {} is not there", spec.id);
                    VolumeOutcome::Failed(Rejection::new(ErrorCode::VolumeLost, text))
                },
                found => found,
            },
            VolumeEffect::Usage { spec } => match self.seen.get(&spec.id) {
                Some(_) => VolumeOutcome::Used(Measured::of(Bytes::from_mib(1))),
                None => VolumeOutcome::Absent,
            },
            VolumeEffect::RollBack { spec, snapshot, safety } => {
                self.roll_back(agent, RollBack { spec, snapshot, safety })
            },
            VolumeEffect::Clone { spec, snapshot } => self.copy(agent, spec, snapshot),
            VolumeEffect::Snapshot { snapshot, freeze: _ } => self.take(agent, snapshot),
            VolumeEffect::TakeGroup { members, again, still } => {
                self.take_group(agent, members, *again, still)
            },
            VolumeEffect::EraseGroup { members } => self.erase_group(members),
            VolumeEffect::EraseSnapshot { snapshot } => self.erase(snapshot),
            VolumeEffect::VerifySnapshot { snapshot } => self.find(snapshot),
            VolumeEffect::SetAccess { spec, access } => match self.seen.get_mut(&spec.id) {
                Some(slot) if slot.place != Place::Live => VolumeOutcome::Absent,
                Some(slot) if is_the_one(slot, agent, spec.generation) => {
                    slot.access = *access;
                    present(spec, Vec::new())
                },
                Some(_) => foreign(spec),
                None => VolumeOutcome::Absent,
            },
        }
    }

    /// Is there nothing left to do? Then a failing disk is no reason to say that nothing remains of it.
    #[must_use]
    pub fn is_made(&self, agent: AgentId, effect: &VolumeEffect) -> bool {
        match effect {
            VolumeEffect::Create { spec, .. }
            | VolumeEffect::Restore { spec, .. }
            | VolumeEffect::RollBack { spec, .. }
            | VolumeEffect::Import { spec, .. }
            | VolumeEffect::Clone { spec, .. } => self.seen.get(&spec.id).is_some_and(|slot| {
                slot.place == Place::Live && is_the_one(slot, agent, spec.generation)
            }),
            VolumeEffect::Resize { spec, size, .. } => {
                self.seen.get(&spec.id).is_some_and(|slot| {
                    is_the_one(slot, agent, spec.generation) && slot.bytes == size.get()
                })
            },
            VolumeEffect::SetAccess { spec, access } => {
                self.seen.get(&spec.id).is_some_and(|slot| {
                    is_the_one(slot, agent, spec.generation) && slot.access == *access
                })
            },
            VolumeEffect::Snapshot { snapshot, .. } => {
                self.snapshots.get(&snapshot.id).is_some_and(|found| found.spec == *snapshot)
            },
            VolumeEffect::Trash { .. }
            | VolumeEffect::Purge { .. }
            | VolumeEffect::SurveyWipe { .. }
            | VolumeEffect::Wipe { .. }
            | VolumeEffect::Verify { .. }
            | VolumeEffect::Usage { .. }
            | VolumeEffect::TakeGroup { .. }
            | VolumeEffect::EraseGroup { .. }
            | VolumeEffect::EraseSnapshot { .. }
            | VolumeEffect::VerifySnapshot { .. }
            | VolumeEffect::Adopt { .. } => false,
        }
    }

    fn create(
        &mut self,
        agent: AgentId,
        spec: &VolumeSpec,
        purgeable: &[(VolumeSpec, Bytes)],
    ) -> VolumeOutcome {
        if let Some(slot) = self.seen.get(&spec.id) {
            let same = slot.place == Place::Live && is_the_one(slot, agent, spec.generation);
            return if same { present(spec, Vec::new()) } else { foreign(spec) };
        }
        let purged = match self.make_room(agent, spec, spec.size.get(), purgeable) {
            Ok(purged) => purged,
            Err(refusal) => return refusal,
        };
        let slot = Slot {
            place: Place::Live,
            agent,
            generation: spec.generation,
            source: spec.source.clone(),
            bytes: spec.size.get(),
            content: 0,
            access: spec.access,
            wiped: false,
        };
        self.seen.insert(spec.id, slot);
        present(spec, purged)
    }

    fn restore(
        &mut self,
        agent: AgentId,
        spec: &VolumeSpec,
        _purgeable: &[(VolumeSpec, Bytes)],
    ) -> VolumeOutcome {
        match self.seen.get_mut(&spec.id) {
            None => VolumeOutcome::Absent,
            Some(slot) if slot.place == Place::Live && is_the_one(slot, agent, spec.generation) => {
                present(spec, Vec::new())
            },
            Some(slot)
                if slot.place == Place::Trash
                    && is_the_one(slot, agent, spec.generation.saturating_sub(1)) =>
            {
                slot.place = Place::Live;
                slot.generation = spec.generation;
                slot.bytes = spec.size.get();
                present(spec, Vec::new())
            },
            Some(_) => foreign(spec),
        }
    }

    /// Below the first tenth of its size a volume is taken to be full of data.
    fn resize(
        &mut self,
        agent: AgentId,
        spec: &VolumeSpec,
        size: Bytes,
        purgeable: &[(VolumeSpec, Bytes)],
    ) -> VolumeOutcome {
        let Some(slot) = self.seen.get(&spec.id) else { return VolumeOutcome::Absent };
        if slot.place != Place::Live {
            return VolumeOutcome::Absent;
        }
        if !is_the_one(slot, agent, spec.generation) {
            return foreign(spec);
        }
        let more = size.get().saturating_sub(slot.bytes);
        let room = if size.get() < spec.size.get() / 10 {
            let text = format!("volume {} uses more than {size}", spec.id);
            Err(VolumeOutcome::Failed(Rejection::new(ErrorCode::VolumeTooFull, text)))
        } else {
            self.make_room(agent, spec, more, purgeable)
        };
        let (bytes, outcome) = match room {
            Ok(purged) => (size.get(), present(spec, purged)),
            // Whatever an earlier attempt did is taken back.
            Err(refusal) => (spec.size.get(), refusal),
        };
        if let Some(slot) = self.seen.get_mut(&spec.id) {
            slot.bytes = bytes;
        }
        outcome
    }

    /// A change that fails leaves what was, whatever an earlier attempt did.
    pub fn take_back(&mut self, effect: &VolumeEffect) {
        if let VolumeEffect::TakeGroup { members, .. } = effect {
            self.erase_group(members);
            return;
        }
        let Some(slot) = self.seen.get_mut(&effect.spec().id) else { return };
        match effect {
            VolumeEffect::Resize { spec, .. } => slot.bytes = spec.size.get(),
            VolumeEffect::SetAccess { spec, .. } => slot.access = spec.access,
            VolumeEffect::Create { .. }
            | VolumeEffect::Restore { .. }
            | VolumeEffect::Trash { .. }
            | VolumeEffect::Purge { .. }
            | VolumeEffect::SurveyWipe { .. }
            | VolumeEffect::Wipe { .. }
            | VolumeEffect::Verify { .. }
            | VolumeEffect::Usage { .. }
            | VolumeEffect::Snapshot { .. }
            | VolumeEffect::TakeGroup { .. }
            | VolumeEffect::EraseGroup { .. }
            | VolumeEffect::EraseSnapshot { .. }
            | VolumeEffect::VerifySnapshot { .. }
            | VolumeEffect::RollBack { .. }
            | VolumeEffect::Clone { .. }
            | VolumeEffect::Import { .. }
            | VolumeEffect::Adopt { .. } => {},
        }
    }

    fn trash(&mut self, agent: AgentId, spec: &VolumeSpec) -> VolumeOutcome {
        match self.seen.get_mut(&spec.id) {
            None => VolumeOutcome::Absent,
            Some(slot) if is_the_one(slot, agent, spec.generation) => {
                slot.place = Place::Trash;
                present(spec, Vec::new())
            },
            Some(_) => foreign(spec),
        }
    }

    fn purge(&mut self, agent: AgentId, spec: &VolumeSpec) -> VolumeOutcome {
        match self.seen.get(&spec.id) {
            Some(slot) if slot.place == Place::Trash => {
                if !is_the_one(slot, agent, spec.generation) {
                    return foreign(spec);
                }
                self.seen.remove(&spec.id);
                self.replaced.retain(|(id, _), _| *id != spec.id);
                VolumeOutcome::Absent
            },
            Some(_) | None => VolumeOutcome::Absent,
        }
    }

    fn verify(&self, agent: AgentId, spec: &VolumeSpec, place: Place) -> VolumeOutcome {
        match self.seen.get(&spec.id) {
            None => VolumeOutcome::Absent,
            Some(slot) if slot.place != place => VolumeOutcome::Absent,
            Some(slot) if is_the_one(slot, agent, spec.generation) => present(spec, Vec::new()),
            Some(_) => foreign(spec),
        }
    }

    fn make_room(
        &mut self,
        agent: AgentId,
        spec: &VolumeSpec,
        needed: u64,
        purgeable: &[(VolumeSpec, Bytes)],
    ) -> Result<Vec<VolumeId>, VolumeOutcome> {
        let mut purged = Vec::new();
        let mut candidates = purgeable.iter();
        while self.free(&spec.source) < needed {
            let Some((trash, _)) = candidates.next() else {
                let text = format!("disk {} has no room for volume {}", spec.source, spec.id);
                return Err(VolumeOutcome::Failed(Rejection::new(ErrorCode::DiskFull, text)));
            };
            let in_trash = self.seen.get(&trash.id).is_some_and(|slot| {
                slot.place == Place::Trash && is_the_one(slot, agent, trash.generation)
            });
            if in_trash {
                self.seen.remove(&trash.id);
                self.replaced.retain(|(id, _), _| *id != trash.id);
                purged.push(trash.id);
            }
        }
        Ok(purged)
    }

    /// Bytes that no directory takes.
    #[must_use]
    pub fn free(&self, source: &DiskSource) -> u64 {
        let used: u64 =
            self.seen.values().filter(|slot| slot.source == *source).map(|slot| slot.bytes).sum();
        self.capacity.get(source).copied().unwrap_or(0).saturating_sub(used)
    }

    /// A task writes and syncs; answers what was there before.
    pub fn write(&mut self, id: VolumeId, content: u64) -> Option<u64> {
        let before = self.seen.get(&id).map(|slot| slot.content);
        for slots in [&mut self.seen, &mut self.durable] {
            if let Some(slot) = slots.get_mut(&id) {
                slot.content = content;
            }
        }
        before
    }
}

/// The first content that a task writes; later ones are higher, what volumes are made with is lower.
pub const FIRST_WRITE: u64 = 1 << 20;

/// What a volume holds that was made of what is sent under this id.
#[must_use]
pub fn streamed(operation: OperationId) -> u64 {
    1_000 + u64::try_from(operation.as_u128() % 1_000).unwrap_or_default()
}

/// What a copy of a directory holds.
#[must_use]
pub fn imported(path: &str) -> u64 {
    path.len() as u64
}

/// Does the marker name this agent and generation?
#[must_use]
pub fn is_the_one(slot: &Slot, agent: AgentId, generation: u64) -> bool {
    slot.agent == agent && slot.generation == generation
}

fn present(spec: &VolumeSpec, purged: Vec<VolumeId>) -> VolumeOutcome {
    VolumeOutcome::Present {
        host_path: Arc::from(spec.id.to_string()),
        driver: Arc::from("modelled"),
        enforcement: Enforcement::None,
        purged,
    }
}

fn foreign(spec: &VolumeSpec) -> VolumeOutcome {
    let text = format!("what lies at volume {} is not generation {}", spec.id, spec.generation);
    VolumeOutcome::Foreign(Rejection::new(ErrorCode::DirectoryExists, text))
}
