//! What the ledger of the simulated agent writes down when an effect has answered.

use crate::books::{Books, Data, Replaced, Subject};
use crate::scene::{imported, other_access};
use crate::stage::{SnapshotStage, Stage};
use berth_agent_core::effect::VolumeOutcome;
use berth_model::orphan::OrphanPlace;
use berth_model::volume::VolumeSpec;

impl Books {
    /// Writes the result down, as the deciding code does.
    pub fn conclude(&mut self, subject: Subject, outcome: &VolumeOutcome) {
        match subject {
            Subject::Volume(index) => self.conclude_volume(index, outcome),
            Subject::Snapshot(number) => self.conclude_snapshot(number, outcome),
            Subject::Group(first) => {
                let stage = match outcome {
                    VolumeOutcome::Taken { .. } => SnapshotStage::Ready,
                    VolumeOutcome::Failed(_) | VolumeOutcome::Foreign(_) => SnapshotStage::Gone,
                    _other => return,
                };
                for number in self.members(first) {
                    self.snapshots[number].stage = stage;
                }
            },
        }
    }

    fn conclude_volume(&mut self, index: usize, outcome: &VolumeOutcome) {
        use VolumeOutcome::{Absent, Failed, Foreign, Present};
        let record = &mut self.volumes[index];
        let id = record.spec.id;
        record.stage = match (record.stage, outcome) {
            (Stage::Creating | Stage::Restoring | Stage::Adopting, Present { .. })
            | (Stage::Resizing(_) | Stage::Setting, Failed(_)) => Stage::Ready,
            (Stage::Setting, Present { .. }) => {
                record.spec.access = other_access();
                Stage::Ready
            },
            (Stage::Resizing(size), Present { .. }) => {
                record.spec.size = size;
                Stage::Ready
            },
            (Stage::Importing | Stage::Receiving, Present { .. }) => {
                record.data = imported();
                Stage::Ready
            },
            (
                Stage::Creating | Stage::Cloning(_) | Stage::Importing | Stage::Receiving,
                Failed(_) | Foreign(_),
            )
            | (Stage::Tombstoned | Stage::PurgingOrphan(_), Absent) => Stage::Nothing,
            (Stage::Adopting, Failed(_) | Foreign(_)) => Stage::Orphan(OrphanPlace::Live),
            (Stage::PurgingOrphan(place), Failed(_)) => Stage::Orphan(place),
            (Stage::Purging, Absent) => {
                self.replaced.retain(|life| life.spec.id != id);
                for snapshot in self.snapshots.iter_mut().filter(|one| one.spec.of.id == id) {
                    if matches!(snapshot.stage, SnapshotStage::Taking | SnapshotStage::Ready) {
                        snapshot.stage = SnapshotStage::Deleting;
                    }
                }
                Stage::Nothing
            },
            (Stage::Tombstoned, Present { .. }) => Stage::Trashed,
            (Stage::Restoring | Stage::RollingBack { .. }, Absent) => Stage::Vanished,
            (Stage::Restoring, Failed(_)) => {
                record.spec.generation -= 1;
                Stage::Trashed
            },
            (Stage::RollingBack { .. }, Failed(_)) => {
                record.spec.generation -= 1;
                Stage::Ready
            },
            (Stage::RollingBack { snapshot, safety }, Present { .. }) => {
                let generation = record.spec.generation - 1;
                let spec = VolumeSpec { generation, ..record.spec.clone() };
                let data = std::mem::replace(&mut record.data, self.snapshots[snapshot].data);
                self.replaced.push(Replaced { spec, data, safety, may_be_gone: false });
                Stage::Ready
            },
            (Stage::Cloning(snapshot), Present { .. }) => {
                record.data = self.snapshots[snapshot].data;
                Stage::Ready
            },
            (
                Stage::Restoring
                | Stage::Tombstoned
                | Stage::Purging
                | Stage::Resizing(_)
                | Stage::Setting
                | Stage::RollingBack { .. },
                Foreign(_),
            ) => Stage::Quarantined,
            (stage, _other) => stage,
        };
        if record.stage == Stage::Nothing {
            // Whatever is made under this id again is empty.
            (record.data, record.loose) = (Data { by: id, files: 0 }, 0);
        }
    }

    fn conclude_snapshot(&mut self, number: usize, outcome: &VolumeOutcome) {
        use VolumeOutcome::{Absent, Failed, Foreign, Present};
        let snapshot = &mut self.snapshots[number];
        match (snapshot.stage, outcome) {
            (SnapshotStage::Taking, Present { .. }) => snapshot.stage = SnapshotStage::Ready,
            (SnapshotStage::Taking, Failed(_) | Foreign(_)) => {
                snapshot.stage = SnapshotStage::Gone;
                for record in &mut self.volumes {
                    if matches!(record.stage, Stage::RollingBack { safety, .. } if safety == number)
                    {
                        record.spec.generation -= 1;
                        record.stage = Stage::Ready;
                    }
                }
            },
            (SnapshotStage::Deleting, Absent) => {
                snapshot.stage = SnapshotStage::Gone;
                self.replaced.retain(|life| life.safety != number);
            },
            (SnapshotStage::Deleting, Foreign(_)) => snapshot.stage = SnapshotStage::Quarantined,
            (_stage, _other) => {},
        }
    }
}
