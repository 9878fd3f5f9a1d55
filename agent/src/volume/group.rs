//! Snapshots of several volumes, on any of the disks: all of them or none.
//!
//! It is not known here what may write to the volumes meanwhile. Invariant: after `Failed` nothing of the group is there;
//! after `Unclear` there may be parts, which the next attempt deletes before it takes any.

use super::Volumes;
use berth_agent_core::effect::{VolumeEffect, VolumeOutcome};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::snapshot::{Consistency, SnapshotSpec};

impl Volumes {
    pub(super) fn take_group(&self, members: &[SnapshotSpec], again: bool) -> VolumeOutcome {
        if again && let Err(reason) = self.erase_all(members) {
            return VolumeOutcome::Unclear(reason);
        }
        let mut host_paths = Vec::new();
        for (member, done) in members.iter().zip(0..) {
            let take = VolumeEffect::Snapshot { snapshot: member.clone(), freeze: None };
            // What was begun of this one, besides those before it.
            let (reason, begun) = match self.run(&take) {
                VolumeOutcome::Present { host_path, .. } => {
                    host_paths.push(host_path);
                    continue;
                },
                VolumeOutcome::Failed(reason) | VolumeOutcome::Foreign(reason) => (reason, done),
                VolumeOutcome::Unclear(reason) => (reason, done + 1),
                VolumeOutcome::Absent
                | VolumeOutcome::Used(_)
                | VolumeOutcome::Taken { .. }
                | VolumeOutcome::Wiped => {
                    let text = format!("the answer to take snapshot {} makes no sense", member.id);
                    (Rejection::new(ErrorCode::Internal, text), done + 1)
                },
            };
            return match self.erase_all(members.get(..begun).unwrap_or(members)) {
                Ok(()) => VolumeOutcome::Failed(reason),
                Err(_left) => VolumeOutcome::Unclear(reason),
            };
        }
        // The caller knows by what they stood still.
        VolumeOutcome::Taken { host_paths, consistency: Consistency::Unused }
    }

    pub(super) fn erase_group(&self, members: &[SnapshotSpec]) -> VolumeOutcome {
        match self.erase_all(members) {
            Ok(()) => VolumeOutcome::Absent,
            Err(reason) => VolumeOutcome::Unclear(reason),
        }
    }

    fn erase_all(&self, members: &[SnapshotSpec]) -> Result<(), Rejection> {
        let mut first = Ok(());
        for member in members {
            let erased = self.run(&VolumeEffect::EraseSnapshot { snapshot: member.clone() });
            let reason = match erased {
                VolumeOutcome::Absent => continue,
                VolumeOutcome::Failed(reason)
                | VolumeOutcome::Foreign(reason)
                | VolumeOutcome::Unclear(reason) => reason,
                VolumeOutcome::Present { .. }
                | VolumeOutcome::Used(_)
                | VolumeOutcome::Taken { .. }
                | VolumeOutcome::Wiped => {
                    let text =
                        format!("the answer to delete snapshot {} makes no sense", member.id);
                    Rejection::new(ErrorCode::Internal, text)
                },
            };
            first = first.and(Err(reason));
        }
        first
    }
}
