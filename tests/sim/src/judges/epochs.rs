//! Terms: who speaks in which epoch, and what a master may do whose registry is older than the world (I12, I17).

use super::{Judges, volume};
use crate::registry::Registry;
use crate::world::{AgentMachine, MasterProcess, World};
use berth_agent_core::{Output, Step};
use berth_model::id::{AgentId, SessionId};
use berth_model::link::{Envelope, Registration, ToAgent};
use berth_model::operation::{OperationKind, OperationState};
use berth_model::record::{LedgerRecord, RegistryKey, RegistryRecord, RegistryWrite};
use berth_model::volume::VolumeState;
use std::collections::BTreeSet;
use std::fmt::Debug;

/// Whether an agent has shown this term that its registry was rolled back.
#[derive(Debug)]
pub struct RollbackProof {
    stored_epoch: u64,
    loaded_revision: u64,
    met: BTreeSet<AgentId>,
    proven: bool,
}

impl RollbackProof {
    /// Of a term that opens above `stored_epoch`, on a registry of that revision.
    #[must_use]
    pub fn new(stored_epoch: u64, loaded_revision: u64) -> Self {
        Self { stored_epoch, loaded_revision, met: BTreeSet::new(), proven: false }
    }
    /// An agent says what it has seen.
    pub fn register(&mut self, registration: &Registration) {
        let Registration { epoch, revision, info, .. } = registration;
        let own = self.stored_epoch + 1;
        let later = *epoch > own || (*epoch == own && !self.met.contains(&info.id));
        self.proven |= later || (*epoch < own && *revision > self.loaded_revision);
    }
    /// An agent is told this term's epoch.
    fn tell(&mut self, agent: AgentId) {
        self.met.insert(agent);
    }
}

impl Judges {
    /// I12: a term's epoch is above every earlier one and durable before anybody hears of it.
    pub fn master_tells(
        &mut self,
        registry: &Registry,
        life: u64,
        process: &mut MasterProcess,
        ((agent, session), envelope): ((AgentId, SessionId), &Envelope),
    ) {
        process.proof.tell(agent);
        if process.old_ledgers.contains(&session)
            && !matches!(envelope.message, ToAgent::Refused(_))
        {
            let text =
                format!("agent {agent} has an old ledger and is told {:?}", envelope.message);
            self.report("I17 rollback detection", text);
        }
        if envelope.epoch != registry.epoch() {
            let text = format!(
                "agent {agent} is told epoch {}, the registry holds {}",
                envelope.epoch,
                registry.epoch()
            );
            self.report("I12 fencing", text);
        }
        let first = *self.epochs.entry(envelope.epoch).or_insert(life);
        if first != life && !self.rolled_back {
            let text = format!("epoch {} is used by two terms", envelope.epoch);
            self.report("I12 fencing", text);
        }
        // A destroyed volume's end must be durable here before its agent hears of it.
        if let ToAgent::DestroyVolume { volume: id, generation, .. } = &envelope.message
            && volume(registry.records(), *id).is_none_or(|known| {
                known.state != VolumeState::Tombstoned || known.spec.generation != *generation
            })
        {
            let text = format!("agent {agent} is told to destroy {id} before the registry says so");
            self.report("I1 no unauthorised destruction", text);
        }
    }

    /// I12: a message of a lower epoch than the stored one has no effect.
    /// What is obeyed is of an epoch that the same step writes down, or an earlier one did.
    pub fn agent_obeys(&mut self, at: usize, stored: u64, epoch: u64, step: &Step) {
        let acts = step.outputs.iter().any(|output| match output {
            Output::Volume { .. }
            | Output::Container(_)
            | Output::ReadFile { .. }
            | Output::PurgeOrphan { .. }
            | Output::OrderDisk { .. }
            | Output::TryDisk { .. } => true,
            Output::Send(_)
            | Output::Disconnect { .. }
            | Output::Transfer { .. }
            | Output::RefuseTransfer { .. }
            | Output::Log { .. }
            | Output::Stopped => false,
        });
        let written = step.records.iter().fold(stored, |highest, record| match record {
            LedgerRecord::Epoch { epoch, .. } => *epoch,
            LedgerRecord::Joined(_)
            | LedgerRecord::Disk(_)
            | LedgerRecord::Volume(_)
            | LedgerRecord::VolumeForgotten(_)
            | LedgerRecord::Task(_)
            | LedgerRecord::TaskForgotten(_)
            | LedgerRecord::Snapshot(_)
            | LedgerRecord::Snapshots(_)
            | LedgerRecord::SnapshotForgotten(_)
            | LedgerRecord::Orphan(_)
            | LedgerRecord::OrphanForgotten(_)
            | LedgerRecord::DiskOrder(_)
            | LedgerRecord::DiskOrderForgotten(_)
            | LedgerRecord::DiskDeclared(_)
            | LedgerRecord::DiskUndeclared(_) => highest,
        });
        let obeys = acts || !step.records.is_empty();
        if obeys && (epoch < stored || epoch > written) {
            let text = format!("agent {at} has stored epoch {stored} and obeys epoch {epoch}");
            self.report("I12 fencing", text);
        }
    }

    /// I17: before a master has taken this process in, it does nothing but look at volumes and adopt what runs.
    pub fn agent_changes(&mut self, at: usize, machine: &AgentMachine, what: &dyn Debug) {
        if machine.process.as_ref().is_some_and(|process| !process.taken_in) {
            let text = format!("agent {at} was not taken in and begins {what:?}");
            self.report("I17 rollback detection", text);
        }
    }

    /// I12: what an agent has stored of epochs never goes down.
    pub(super) fn judge_ledgers(&mut self, world: &World) {
        for (at, machine) in world.agents.iter().enumerate() {
            let fold = &machine.ledger.durable;
            if machine.newest.is_none() && !machine.strayed {
                let before = self.ledger_epochs.insert(at, fold.epoch).unwrap_or(0);
                if fold.epoch < before {
                    let text = format!("agent {at} stored epoch {before} and then {}", fold.epoch);
                    self.report("I12 fencing", text);
                }
            }
            self.remember_ends(at, machine);
        }
    }

    /// I17: once an agent has proven that the registry is older than the world, nothing is destroyed or unreserved.
    pub fn master_decides(
        &mut self,
        registry: &Registry,
        was_proven: bool,
        writes: &[RegistryWrite],
    ) {
        // A CREATE, RESTORE or GROW that fails gives back what it had reserved; nobody is deprived of anything.
        let gives_back = writes.iter().any(|write| match write {
            RegistryWrite::Put(RegistryRecord::Volume(new)) => new.state == VolumeState::Failed,
            RegistryWrite::Put(RegistryRecord::Operation(ended)) => {
                matches!(ended.kind, OperationKind::Restore | OperationKind::Grow)
                    && matches!(ended.state, OperationState::Failed(_))
            },
            RegistryWrite::Put(_) | RegistryWrite::Delete(_) => false,
        });
        for write in writes {
            let destroyed = match write {
                RegistryWrite::Put(RegistryRecord::Volume(new)) => {
                    let fresh = new.state == VolumeState::Tombstoned
                        && self.tombs_decided.insert(new.spec.id);
                    let old = volume(registry.records(), new.spec.id);
                    fresh && old.is_none_or(|old| old.state != VolumeState::Tombstoned)
                },
                RegistryWrite::Put(RegistryRecord::Reservation(new)) => {
                    let key = RegistryKey::Reservation(new.id);
                    match registry.records().get(&key) {
                        Some(RegistryRecord::Reservation(old)) => {
                            new.resource.amount() < old.resource.amount() && !gives_back
                        },
                        Some(_) | None => false,
                    }
                },
                RegistryWrite::Delete(RegistryKey::Reservation(_)) => !gives_back,
                RegistryWrite::Put(
                    RegistryRecord::Meta { .. }
                    | RegistryRecord::Agent(_)
                    | RegistryRecord::AgentSeq { .. }
                    | RegistryRecord::Framework(_)
                    | RegistryRecord::Operation(_)
                    | RegistryRecord::Disk(_)
                    | RegistryRecord::Profile(_)
                    | RegistryRecord::Snapshot(_)
                    | RegistryRecord::Schedule(_)
                    | RegistryRecord::Weight(_)
                    | RegistryRecord::Quota(_)
                    | RegistryRecord::Transaction(_)
                    | RegistryRecord::Audit(_),
                )
                | RegistryWrite::Delete(
                    RegistryKey::Meta
                    | RegistryKey::Agent(_)
                    | RegistryKey::AgentSeq(_)
                    | RegistryKey::Volume(_)
                    | RegistryKey::Framework(_)
                    | RegistryKey::Operation(_)
                    | RegistryKey::Disk(_)
                    | RegistryKey::Profile(_)
                    | RegistryKey::Snapshot(_)
                    | RegistryKey::Schedule(_)
                    | RegistryKey::Weight(_)
                    | RegistryKey::Quota(_)
                    | RegistryKey::Transaction(..)
                    | RegistryKey::Audit(_),
                ) => false,
            };
            if destroyed && was_proven {
                let text = format!("a registry known to be old takes {write:?}");
                self.report("I17 rollback detection", text);
            }
        }
    }
}

impl RollbackProof {
    /// Has an agent proven it?
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven
    }
}
