//! What a loss of power leaves on the modelled disks: each change that was not synced is there or not.
//!
//! What is one change on a real disk is one here: a volume's directory and the lives of it that were put aside go
//! together, and the copy of a roll back comes last. Invariant: what was synced before the loss and not changed since is
//! there.

use super::{Replaced, Volumes};
use crate::dice::Dice;
use berth_model::id::{SnapshotId, VolumeId};
use std::collections::{BTreeMap, BTreeSet};

type Lives = BTreeMap<(VolumeId, u64), Replaced>;

fn lives_of(lives: &Lives, id: VolumeId) -> Vec<((VolumeId, u64), Replaced)> {
    lives.range((id, 0)..=(id, u64::MAX)).map(|(key, life)| (*key, life.clone())).collect()
}

impl Volumes {
    /// Everything seen becomes durable.
    pub fn sync(&mut self) {
        self.durable.clone_from(&self.seen);
        self.snapshots_durable.clone_from(&self.snapshots);
        self.replaced_durable.clone_from(&self.replaced);
    }

    /// The power went: what was not synced is there or not.
    pub fn power_loss(&mut self, dice: &mut Dice) {
        let ids: BTreeSet<VolumeId> = self
            .seen
            .keys()
            .chain(self.durable.keys())
            .copied()
            .chain(self.replaced.keys().chain(self.replaced_durable.keys()).map(|(id, _)| *id))
            .collect();
        for id in ids {
            self.lose_volume(id, dice);
        }
        let ids: BTreeSet<SnapshotId> =
            self.snapshots.keys().chain(self.snapshots_durable.keys()).copied().collect();
        for id in ids {
            let kept = self.snapshots_durable.get(&id);
            if self.snapshots.get(&id) == kept || !dice.flip() {
                continue;
            }
            match kept {
                Some(kept) => drop(self.snapshots.insert(id, kept.clone())),
                None => drop(self.snapshots.remove(&id)),
            }
        }
        // A life that was put aside is deleted before the snapshot that has its content.
        let snapshots = &self.snapshots;
        self.replaced.retain(|_, life| snapshots.contains_key(&life.safety));
        self.sync();
    }

    fn lose_volume(&mut self, id: VolumeId, dice: &mut Dice) {
        let (seen, kept) = (lives_of(&self.replaced, id), lives_of(&self.replaced_durable, id));
        let same_slot = self.seen.get(&id) == self.durable.get(&id);
        if same_slot && seen == kept {
            return;
        }
        // A roll back of which nothing was synced may have got as far as its first step.
        let is_rolled = seen.len() > kept.len() && self.seen.contains_key(&id);
        match dice.below(if is_rolled { 3 } else { 2 }) {
            0 => {},
            1 => {
                match self.durable.get(&id) {
                    Some(slot) => drop(self.seen.insert(id, slot.clone())),
                    None => drop(self.seen.remove(&id)),
                }
                self.replaced.retain(|(of, _), _| *of != id);
                self.replaced.extend(kept);
            },
            _ => drop(self.seen.remove(&id)),
        }
    }
}
