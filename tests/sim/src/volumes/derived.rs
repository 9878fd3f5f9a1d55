//! Snapshots, roll backs and clones on the modelled disks.
//!
//! A roll back has two steps, as the drivers have: the life that ends goes away, then the copy takes its place. Invariant:
//! in between a repeated roll back completes it and nothing else changes it; a snapshot's content never changes.

use super::{Replaced, Slot, Taken, Volumes, foreign, is_the_one, present};
use berth_agent_core::effect::{Place, StandStill, VolumeOutcome};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, SnapshotId};
use berth_model::snapshot::{Consistency, SnapshotSpec};
use berth_model::volume::VolumeSpec;
use std::sync::Arc;

/// A roll back as it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct RollBack<'a> {
    pub spec: &'a VolumeSpec,
    pub snapshot: &'a SnapshotSpec,
    pub safety: &'a SnapshotSpec,
}

impl Volumes {
    pub(super) fn take(&mut self, agent: AgentId, snapshot: &SnapshotSpec) -> VolumeOutcome {
        let of = &snapshot.of;
        match (self.snapshots.get(&snapshot.id), self.seen.get(&of.id)) {
            (Some(found), _) if found.spec == *snapshot => present(of, Vec::new()),
            (Some(_), _) => foreign(of),
            (None, Some(slot))
                if slot.place == Place::Live && is_the_one(slot, agent, of.generation) =>
            {
                let taken = Taken { spec: snapshot.clone(), content: slot.content };
                self.snapshots.insert(snapshot.id, taken);
                present(of, Vec::new())
            },
            (None, Some(_) | None) => {
                let text = format!("volume {} is not live", of.id);
                VolumeOutcome::Failed(Rejection::new(ErrorCode::VolumeUnavailable, text))
            },
        }
    }

    /// A snapshot goes, and with it the life that it was taken of for a roll back.
    pub(super) fn erase(&mut self, snapshot: &SnapshotSpec) -> VolumeOutcome {
        if self.snapshots.get(&snapshot.id).is_some_and(|found| found.spec != *snapshot) {
            return foreign(&snapshot.of);
        }
        self.snapshots.remove(&snapshot.id);
        self.replaced.retain(|_, replaced| replaced.safety != snapshot.id);
        VolumeOutcome::Absent
    }

    /// All of them or none, as the drivers have it.
    pub(super) fn take_group(
        &mut self,
        agent: AgentId,
        members: &[SnapshotSpec],
        again: bool,
        still: &StandStill,
    ) -> VolumeOutcome {
        if again {
            let erased = self.erase_group(members);
            if erased != VolumeOutcome::Absent {
                return erased;
            }
        }
        for (member, done) in members.iter().zip(0..) {
            let taken = self.take(agent, member);
            if !matches!(taken, VolumeOutcome::Present { .. }) {
                self.erase_group(&members[..done]);
                return taken;
            }
        }
        let consistency =
            if still.tasks.is_empty() { Consistency::Unused } else { Consistency::Frozen };
        let host_paths = members.iter().map(|member| Arc::from(member.id.to_string())).collect();
        VolumeOutcome::Taken { host_paths, consistency }
    }

    /// As far as an attempt comes that is cut off.
    pub fn take_some(&mut self, agent: AgentId, members: &[SnapshotSpec], some: usize) {
        for member in members.iter().take(some) {
            self.take(agent, member);
        }
    }

    pub(super) fn erase_group(&mut self, members: &[SnapshotSpec]) -> VolumeOutcome {
        for member in members {
            if let foreign @ VolumeOutcome::Foreign(_) = self.erase(member) {
                return foreign;
            }
        }
        VolumeOutcome::Absent
    }

    pub(super) fn find(&self, snapshot: &SnapshotSpec) -> VolumeOutcome {
        match self.snapshots.get(&snapshot.id) {
            Some(found) if found.spec == *snapshot => present(&snapshot.of, Vec::new()),
            Some(_) => foreign(&snapshot.of),
            None => VolumeOutcome::Absent,
        }
    }

    fn holds(&self, snapshot: &SnapshotSpec) -> Option<u64> {
        let found = self.snapshots.get(&snapshot.id)?;
        (found.spec == *snapshot).then_some(found.content)
    }

    /// What is left is in the trash, the copy is not yet in its place.
    #[must_use]
    pub fn is_half(&self, roll: RollBack<'_>) -> bool {
        let last = (roll.spec.id, roll.spec.generation.saturating_sub(1));
        !self.seen.contains_key(&roll.spec.id) && self.replaced.contains_key(&last)
    }

    /// The first step: the life that ends goes away. Everything is as it was when it cannot.
    pub fn put_aside(&mut self, agent: AgentId, roll: RollBack<'_>) -> Result<(), VolumeOutcome> {
        let RollBack { spec, snapshot, safety } = roll;
        let last = spec.generation.saturating_sub(1);
        if self.is_half(roll) {
            return Ok(());
        }
        let Some(slot) = self.seen.get(&spec.id).filter(|slot| slot.place == Place::Live) else {
            return Err(VolumeOutcome::Absent);
        };
        if !is_the_one(slot, agent, last) {
            return Err(foreign(spec));
        }
        if let Some(lost) = [snapshot, safety].iter().find(|one| self.holds(one).is_none()) {
            return Err(VolumeOutcome::Failed(is_lost(lost.id)));
        }
        let replaced = Replaced { slot: slot.clone(), safety: safety.id };
        self.replaced.insert((spec.id, last), replaced);
        self.seen.remove(&spec.id);
        Ok(())
    }

    pub(super) fn roll_back(&mut self, agent: AgentId, roll: RollBack<'_>) -> VolumeOutcome {
        let RollBack { spec, snapshot, .. } = roll;
        let is_over = self.seen.get(&spec.id).is_some_and(|slot| {
            slot.place == Place::Live && is_the_one(slot, agent, spec.generation)
        });
        if is_over {
            return present(spec, Vec::new());
        }
        if let Err(refusal) = self.put_aside(agent, roll) {
            return refusal;
        }
        let Some(content) = self.holds(snapshot) else {
            return VolumeOutcome::Unclear(is_lost(snapshot.id));
        };
        self.seen.insert(spec.id, live(agent, spec, content));
        present(spec, Vec::new())
    }

    pub(super) fn copy(
        &mut self,
        agent: AgentId,
        spec: &VolumeSpec,
        snapshot: &SnapshotSpec,
    ) -> VolumeOutcome {
        if let Some(slot) = self.seen.get(&spec.id) {
            let same = slot.place == Place::Live && is_the_one(slot, agent, spec.generation);
            return if same { present(spec, Vec::new()) } else { foreign(spec) };
        }
        let Some(content) = self.holds(snapshot) else {
            return VolumeOutcome::Failed(is_lost(snapshot.id));
        };
        self.seen.insert(spec.id, live(agent, spec, content));
        present(spec, Vec::new())
    }
}

fn live(agent: AgentId, spec: &VolumeSpec, content: u64) -> Slot {
    Slot {
        place: Place::Live,
        agent,
        generation: spec.generation,
        source: spec.source.clone(),
        bytes: spec.size.get(),
        content,
        access: spec.access,
        wiped: false,
    }
}

fn is_lost(id: SnapshotId) -> Rejection {
    Rejection::new(ErrorCode::SnapshotLost, format!("snapshot {id} is not there"))
}
