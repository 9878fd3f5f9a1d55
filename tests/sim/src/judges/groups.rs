//! Groups of snapshots: all of a group is there or none of it, after every crash, and no task writes while it is taken.

use super::Judges;
use crate::world::{AgentMachine, World};
use berth_agent_core::effect::StandStill;
use berth_model::id::{GroupId, SnapshotId};
use berth_model::snapshot::{SnapshotSpec, SnapshotState};
use std::collections::BTreeMap;

impl Judges {
    /// I6: in no ledger is a part of a group that is on its way, or of one that failed; what failed is on no disk.
    pub(super) fn judge_groups(&mut self, world: &World) {
        let mut found = Vec::new();
        for machine in world.agents.iter().filter(|m| !m.strayed && m.newest.is_none()) {
            let ledger = &machine.ledger.durable;
            let mut groups: BTreeMap<GroupId, Vec<(SnapshotId, SnapshotState)>> = BTreeMap::new();
            for (id, (group, volume)) in &ledger.groups {
                if let Some(state) =
                    ledger.snapshot(*id).filter(|_| !self.vandalised.contains(volume))
                {
                    groups.entry(*group).or_default().push((*id, state));
                }
            }
            for (group, members) in groups {
                let is_in = |wanted| members.iter().any(|(_, state)| *state == wanted);
                let (ready, failed) = (is_in(SnapshotState::Ready), is_in(SnapshotState::Failed));
                if ready && (failed || is_in(SnapshotState::Creating)) {
                    found.push(format!("group {group} is there in part: {members:?}"));
                }
                let left = members.iter().find(|(id, state)| {
                    *state == SnapshotState::Failed
                        && machine.volumes.snapshots_durable.contains_key(id)
                });
                if let Some((id, _)) = left {
                    found.push(format!("group {group} failed and snapshot {id} is on the disk"));
                }
            }
        }
        for text in found {
            self.report("I6 durability", text);
        }
    }

    /// I6: whoever runs with one of the volumes is stopped while the group is taken.
    pub(super) fn group_begins(
        &mut self,
        at: usize,
        machine: &AgentMachine,
        members: &[SnapshotSpec],
        still: &StandStill,
    ) {
        for member in members {
            self.group_anew(machine, member.id, member.of.id);
        }
        let volumes: Vec<_> = members.iter().map(|member| member.of.id).collect();
        let writer = machine.containers.iter().find(|(id, container)| {
            container.is_running()
                && container.volumes.iter().any(|(volume, _)| volumes.contains(volume))
                && !still.tasks.contains(id)
        });
        if let Some((_, writer)) = writer.filter(|_| !machine.strayed) {
            let text = format!("agent {at} takes a group while task {} writes", writer.key);
            self.report("I6 durability", text);
        }
    }
}
