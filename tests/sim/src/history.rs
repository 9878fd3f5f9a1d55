//! What clients asked and were told: the outside view against which the judges hold the durable states.
//!
//! It does not know how the system works. Invariant: nothing is ever taken back from it.

use berth_model::framework::Call;
use berth_model::id::{AgentId, DiskId, OfferId, OperationId, SnapshotId, VolumeId, VolumeName};
use berth_model::operation::{Action, OfferOperation, OperationState};
use berth_model::operator::{Request, VolumeChoice};
use berth_model::orphan::OrphanChoice;
use berth_model::role::Role;
use std::collections::{BTreeMap, BTreeSet};

/// What an operation was to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Action { agent: AgentId, action: Action },
    Request(Request),
}

/// The life of one operation id, seen from outside.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Everything that was ever asked under this id.
    pub wishes: Vec<Wish>,
    pub sends: u64,
    pub refusals: u64,
    pub accepted: bool,
    /// The end that a client was told.
    pub end: Option<OperationState>,
}

impl Asked {
    /// Every time it was sent the answer was no.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.accepted && self.end.is_none() && self.refusals == self.sends && self.sends > 0
    }
}

/// The history.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub operations: BTreeMap<OperationId, Asked>,
    destroyed_ids: BTreeSet<VolumeId>,
    destroyed_names: BTreeSet<(Option<Role>, VolumeName)>,
    pub restored: BTreeSet<VolumeId>,
    /// Snapshots whose deletion was asked for.
    pub deleted_snapshots: BTreeSet<SnapshotId>,
    /// Whose resources the offers to the service scheduler were.
    pub offers: BTreeMap<OfferId, AgentId>,
    /// Disks whose removal was asked for.
    pub removed_disks: BTreeSet<DiskId>,
    /// Answers that contradict earlier ones.
    pub contradictions: Vec<String>,
}

impl History {
    /// A client sends an operator's request.
    pub fn submitted(&mut self, id: OperationId, request: &Request) {
        match request {
            Request::DestroyVolume { volume: VolumeChoice::Id(volume) }
            | Request::PurgeVolume { volume, .. }
            | Request::PurgeOrphan { orphan: OrphanChoice::Record(VolumeChoice::Id(volume)) } => {
                self.destroyed_ids.insert(*volume);
            },
            Request::DestroyVolume { volume: VolumeChoice::Named { role, name } }
            | Request::PurgeOrphan {
                orphan: OrphanChoice::Record(VolumeChoice::Named { role, name }),
            } => {
                self.destroyed_names.insert((role.clone(), name.clone()));
            },
            Request::RestoreVolume { volume } => drop(self.restored.insert(*volume)),
            Request::DeleteSnapshot { snapshot } => {
                self.deleted_snapshots.insert(*snapshot);
            },
            Request::Reserve { .. }
            | Request::Unreserve { .. }
            | Request::Release { .. }
            | Request::CreateVolume { .. }
            | Request::ResizeVolume { .. }
            | Request::Teardown { .. }
            | Request::KillTask { .. }
            | Request::Disk(_)
            | Request::Profile(_)
            | Request::CreateSnapshot { .. }
            | Request::CreateGroup { .. }
            | Request::HoldSnapshot { .. }
            | Request::RollBackVolume { .. }
            | Request::CloneVolume { .. }
            | Request::Property { .. }
            | Request::AdoptOrphan { .. }
            | Request::PurgeOrphan { orphan: OrphanChoice::Data { .. } }
            | Request::SetSchedule { .. }
            | Request::DeleteSchedule { .. }
            | Request::AddDisk { .. }
            | Request::ExportVolume { .. }
            | Request::SetWeight { .. }
            | Request::Quota(_) => {},
            Request::RemoveDisk { disk } => drop(self.removed_disks.insert(*disk)),
        }
        self.wished(id, Wish::Request(request.clone()));
    }

    /// A framework sends a call.
    pub fn called(&mut self, agent: Option<AgentId>, call: &Call) {
        match (agent, call) {
            (Some(agent), Call::Accept { operations, .. }) => self.wanted(agent, operations),
            (_, Call::Commit(transaction)) => {
                for placement in &transaction.placements {
                    self.wanted(placement.agent, &placement.operations);
                }
            },
            (_, _) => {},
        }
    }

    fn wanted(&mut self, agent: AgentId, operations: &[OfferOperation]) {
        for OfferOperation { id, action } in operations {
            if let Action::Destroy(volumes) = action {
                for volume in volumes {
                    let role = volume.stack.owner().cloned();
                    let name = volume.persistence().map(|p| p.name.clone());
                    self.destroyed_names.extend(name.map(|name| (role, name)));
                }
            }
            self.wished(*id, Wish::Action { agent, action: action.clone() });
        }
    }

    fn wished(&mut self, id: OperationId, wish: Wish) {
        let asked = self.operations.entry(id).or_default();
        asked.sends += 1;
        if !asked.wishes.contains(&wish) {
            asked.wishes.push(wish);
        }
    }

    /// A client was told that the operation is accepted.
    pub fn accepted(&mut self, id: OperationId) {
        self.operations.entry(id).or_default().accepted = true;
    }
    /// A client was told no.
    pub fn refused(&mut self, id: OperationId) {
        self.operations.entry(id).or_default().refusals += 1;
    }
    /// A client was told how an operation stands.
    pub fn told(&mut self, id: OperationId, state: &OperationState) {
        let asked = self.operations.entry(id).or_default();
        match &asked.end {
            // Several streams tell of one operation, and the slower one may still say ACCEPTED.
            Some(end) if state.is_final() && end.as_str() != state.as_str() => {
                let text = format!("operation {id} was {} and is {}", end.as_str(), state.as_str());
                self.contradictions.push(text);
            },
            Some(_) => {},
            None if state.is_final() => asked.end = Some(state.clone()),
            None => asked.accepted = true,
        }
    }

    /// Did anybody ask for the end of this volume?
    #[must_use]
    pub fn destroy_was_asked(&self, id: VolumeId, role: &Role, name: &VolumeName) -> bool {
        self.destroyed_ids.contains(&id)
            || self.destroyed_names.contains(&(Some(role.clone()), name.clone()))
            || self.destroyed_names.contains(&(None, name.clone()))
    }
}
