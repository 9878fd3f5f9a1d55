//! Where a pod lives, and what of its removal is still to come.
//!
//! It knows one pod. Invariant: what removed volumes left reserved is counted until it was given back.

use super::text;
use berth_model::id::{AgentId, VolumeId, VolumeName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A volume of a placed pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedVolume {
    /// Its name in the cluster.
    #[serde(with = "text")]
    pub name: VolumeName,
    /// Its id, once the master has said it.
    #[serde(with = "text::optional", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<VolumeId>,
    /// How far its removal has come.
    #[serde(default, skip_serializing_if = "Removal::is_none")]
    pub removal: Removal,
}

/// How far the removal of a placed volume has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// Nobody has asked for it.
    #[default]
    None,
    /// DESTROY was about to be asked for.
    Asked {
        /// What it leaves reserved to the pod, in MiB.
        mib: u64,
    },
    /// The master has it no more.
    Gone,
}

impl Removal {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Where a pod lives. It is written before the volumes are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Counts the places of the pod; it is a label of the reservations, which tells one place from another.
    pub number: u64,
    /// The only machine that has, or will have, the data.
    #[serde(with = "text")]
    pub agent: AgentId,
    /// Its name.
    pub hostname: String,
    /// The numbers behind the pod's ports.
    pub ports: BTreeMap<String, u64>,
    /// By the name in the document.
    pub volumes: BTreeMap<String, PlacedVolume>,
    /// How often volumes were asked for here. Above 1, a refusal says nothing about the earlier attempts.
    pub attempts: u32,
    /// The volumes are known to exist.
    pub confirmed: bool,
    /// MiB of disk that removed volumes have left reserved here, and that are still to be given back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub owed_mib: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it may leave out so")]
fn is_zero(mib: &u64) -> bool {
    *mib == 0
}

impl Place {
    /// True when none of its volumes is left.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.volumes.values().all(|volume| volume.removal == Removal::Gone)
    }

    /// MiB that volumes which are being removed, or were, may still leave behind.
    #[must_use]
    pub fn due_mib(&self) -> u64 {
        let asked = self.volumes.values().map(|volume| match volume.removal {
            Removal::Asked { mib } => mib,
            Removal::None | Removal::Gone => 0,
        });
        asked.fold(self.owed_mib, u64::saturating_add)
    }

    /// Disk is seen before the word that the volume on it is gone when that word was lost.
    pub(super) fn return_disk(&mut self, mib: u64) {
        let now = self.owed_mib.min(mib);
        self.owed_mib -= now;
        let mut rest = mib - now;
        for volume in self.volumes.values_mut() {
            if let Removal::Asked { mib } = &mut volume.removal {
                let part = (*mib).min(rest);
                *mib -= part;
                rest -= part;
            }
        }
    }
}
