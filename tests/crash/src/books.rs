//! What the ledger of the simulated agent says: volumes, snapshots and the lives that roll backs ended, and what each
//! calls for next.
//!
//! It follows the deciding code: an intent is written down, an effect answers, the result is written down. It does not
//! know disks, and it does not judge.

use crate::activity::Operation;
use crate::scene::{CLUSTER, SOURCE, other_access, spec};
use crate::setup::Setup;
pub use crate::stage::{SnapshotStage, Stage};
use berth_agent_core::effect::{Place, Source, StandStill, VolumeEffect};
use berth_model::id::{ClusterId, OperationId, SnapshotId, SnapshotName, VolumeId};
use berth_model::orphan::{OrphanOrder, OrphanPlace};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::snapshot::SnapshotSpec;
use berth_model::volume::VolumeSpec;
use std::sync::Arc;

/// What a volume's user wrote and synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Data {
    /// The volume it was written into.
    pub by: VolumeId,
    /// Which of the files are there.
    pub files: u16,
}

impl Data {
    /// Nothing was written.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.files == 0
    }
}

/// A volume in the ledger.
#[derive(Clone, Debug)]
pub struct Record {
    /// With the generation it has, or is to have, and the size it has.
    pub spec: VolumeSpec,
    /// How far it is.
    pub stage: Stage,
    /// Its content.
    pub data: Data,
    /// Files that somebody who is no task wrote and did not sync.
    pub loose: u16,
}

/// A snapshot in the ledger.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Of what.
    pub spec: SnapshotSpec,
    /// How far it is.
    pub stage: SnapshotStage,
    /// The content of its moment.
    pub data: Data,
    /// The first one of its group, and whether an attempt of it may have been cut off.
    pub group: Option<(usize, bool)>,
}

/// The life of a volume that a roll back ended.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// As it was.
    pub spec: VolumeSpec,
    /// Its content.
    pub data: Data,
    /// The snapshot with which it goes.
    pub safety: usize,
    /// Its deletion may have begun.
    pub may_be_gone: bool,
}

/// What the ledger says something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A volume.
    Volume(usize),
    /// A snapshot.
    Snapshot(usize),
    /// The group whose first snapshot this is.
    Group(usize),
}

/// What the ledger says.
#[derive(Clone, Debug)]
pub struct Books {
    /// The cluster, once joined.
    pub cluster: Option<ClusterId>,
    /// The disks that were recognised or made.
    pub disks: Vec<LedgerDisk>,
    /// The volumes.
    pub volumes: Vec<Record>,
    /// The snapshots that ever were.
    pub snapshots: Vec<Snapshot>,
    /// Ended lives that are kept.
    pub replaced: Vec<Replaced>,
    /// What is sent for a volume that is made so.
    pub archive: Arc<Vec<u8>>,
}

impl Books {
    /// With this many volumes still to be made on the ROOT disk.
    #[must_use]
    pub fn new(volumes: usize) -> Self {
        let volume = |number: usize| {
            let spec = spec(number, DiskSource::Root);
            let data = Data { by: spec.id, files: 0 };
            Record { spec, stage: Stage::Nothing, data, loose: 0 }
        };
        Self {
            cluster: Some(CLUSTER),
            disks: Vec::new(),
            volumes: (1..=volumes).map(volume).collect(),
            snapshots: Vec::new(),
            replaced: Vec::new(),
            archive: Arc::default(),
        }
    }

    /// Two volumes that do not exist yet, the first one encrypted where that is asked for.
    #[must_use]
    pub fn two(setup: &Setup) -> Self {
        let mut books = Self::new(2);
        books.volumes[0].spec.encrypted = setup.encrypts;
        books
    }

    /// Writes the intent down.
    pub fn begin(&mut self, index: usize, operation: Operation) {
        let stage = match operation {
            Operation::Create => Stage::Creating,
            Operation::Destroy => Stage::Tombstoned,
            Operation::Restore => Stage::Restoring,
            Operation::Purge => {
                let id = self.volumes[index].spec.id;
                for life in self.replaced.iter_mut().filter(|life| life.spec.id == id) {
                    life.may_be_gone = true;
                }
                Stage::Purging
            },
            Operation::Resize(size) => Stage::Resizing(size),
            Operation::Snapshot => {
                self.snapshot(index);
                return;
            },
            Operation::Group => {
                let first = self.snapshots.len();
                for index in 0..self.volumes.len() {
                    let number = self.snapshot(index);
                    self.snapshots[number].group = Some((first, false));
                }
                return;
            },
            Operation::Forget(number) => {
                self.forget(number);
                return;
            },
            Operation::RollBack => Stage::RollingBack { snapshot: 0, safety: self.snapshot(index) },
            Operation::Clone => Stage::Cloning(0),
            Operation::SetAccess => Stage::Setting,
            Operation::Import => Stage::Importing,
            Operation::Receive => Stage::Receiving,
            Operation::PutBack => Stage::Orphan(OrphanPlace::Live),
            Operation::Lose if self.volumes[index].stage == Stage::Trashed => {
                Stage::Orphan(OrphanPlace::Trash)
            },
            Operation::Lose => Stage::Orphan(OrphanPlace::Live),
            Operation::Adopt => Stage::Adopting,
            Operation::PurgeOrphan => match self.volumes[index].stage {
                Stage::Orphan(place) => Stage::PurgingOrphan(place),
                known => known,
            },
        };
        let record = &mut self.volumes[index];
        if matches!(stage, Stage::Restoring | Stage::RollingBack { .. }) {
            record.spec.generation += 1;
        }
        record.stage = stage;
    }

    fn snapshot(&mut self, index: usize) -> usize {
        let number = self.snapshots.len();
        let record = &self.volumes[index];
        let name = SnapshotName::new(&format!("moment-{number}")).expect("a valid name");
        let id = SnapshotId::from_u128(0x5000 + number as u128);
        let spec = SnapshotSpec { id, name, of: record.spec.clone() };
        self.snapshots.push(Snapshot {
            spec,
            stage: SnapshotStage::Taking,
            data: record.data,
            group: None,
        });
        number
    }

    fn forget(&mut self, number: usize) {
        self.snapshots[number].stage = SnapshotStage::Deleting;
        for life in self.replaced.iter_mut().filter(|life| life.safety == number) {
            life.may_be_gone = true;
        }
    }

    /// The agent starts anew: of what it was about to take there may be a part.
    pub fn starts(&mut self) {
        for snapshot in &mut self.snapshots {
            if let (SnapshotStage::Taking, Some((_, again))) = (snapshot.stage, &mut snapshot.group)
            {
                *again = true;
            }
        }
    }

    /// The members of a group.
    pub(crate) fn members(&self, first: usize) -> Vec<usize> {
        let all = (0..self.snapshots.len()).filter(|number| {
            self.snapshots[*number].group.is_some_and(|(group, _)| group == first)
        });
        all.collect()
    }

    /// Everything there is, in the order in which effects are asked for.
    #[must_use]
    pub fn subjects(&self) -> Vec<Subject> {
        let mut all = Vec::new();
        for (index, record) in self.volumes.iter().enumerate() {
            if let Stage::RollingBack { safety, .. } = record.stage {
                all.push(Subject::Snapshot(safety));
            }
            all.push(Subject::Volume(index));
        }
        for number in 0..self.snapshots.len() {
            let snapshot = &self.snapshots[number];
            if let (SnapshotStage::Taking, Some((first, _))) = (snapshot.stage, snapshot.group) {
                if !all.contains(&Subject::Group(first)) {
                    all.push(Subject::Group(first));
                }
                continue;
            }
            if !all.contains(&Subject::Snapshot(number)) {
                all.push(Subject::Snapshot(number));
            }
        }
        all
    }

    /// Was something begun?
    #[must_use]
    pub fn is_begun(&self, subject: Subject) -> bool {
        match subject {
            Subject::Volume(index) => self.volumes[index].stage.is_begun(),
            Subject::Group(first) => {
                let mut members = self.members(first).into_iter();
                members.any(|number| self.snapshots[number].stage == SnapshotStage::Taking)
            },
            Subject::Snapshot(number) => matches!(
                self.snapshots[number].stage,
                SnapshotStage::Taking | SnapshotStage::Deleting
            ),
        }
    }

    /// What the ledger calls for: whatever was begun, else a look.
    #[must_use]
    pub fn called_for(&self, subject: Subject) -> Option<VolumeEffect> {
        let index = match subject {
            Subject::Volume(index) => index,
            Subject::Snapshot(number) => return self.snapshots[number].called_for(),
            Subject::Group(first) => {
                let of = |number: &usize| self.snapshots[*number].spec.clone();
                let members = self.members(first).iter().map(of).collect();
                let again = self.snapshots[first].group.is_some_and(|(_, again)| again);
                let still = StandStill::default();
                return Some(VolumeEffect::TakeGroup { members, again, still });
            },
        };
        let record = &self.volumes[index];
        let spec = record.spec.clone();
        let purgeable = Vec::new();
        let of = |number: usize| self.snapshots[number].spec.clone();
        match record.stage {
            Stage::Nothing
            | Stage::Vanished
            | Stage::Quarantined
            | Stage::Orphan(_)
            | Stage::PurgingOrphan(_) => None,
            Stage::Adopting => Some(VolumeEffect::Adopt { spec }),
            Stage::Creating => Some(VolumeEffect::Create { spec, purgeable }),
            Stage::Tombstoned => Some(VolumeEffect::Trash { spec }),
            Stage::Restoring => Some(VolumeEffect::Restore { spec, purgeable }),
            Stage::Purging => Some(VolumeEffect::Purge { spec }),
            Stage::Ready => Some(VolumeEffect::Verify { spec, place: Place::Live }),
            Stage::Trashed => Some(VolumeEffect::Verify { spec, place: Place::Trash }),
            Stage::Resizing(size) => Some(VolumeEffect::Resize { spec, size, purgeable }),
            Stage::RollingBack { safety, .. }
                if self.snapshots[safety].stage != SnapshotStage::Ready =>
            {
                None
            },
            Stage::RollingBack { snapshot, safety } => {
                let (snapshot, safety) = (of(snapshot), of(safety));
                Some(VolumeEffect::RollBack { spec, snapshot, safety })
            },
            Stage::Cloning(snapshot) => Some(VolumeEffect::Clone { spec, snapshot: of(snapshot) }),
            Stage::Importing => {
                let from = Source::Directory { path: SOURCE.into() };
                Some(VolumeEffect::Import { spec, from })
            },
            Stage::Receiving => {
                let from = Source::Stream { operation: OperationId::from_u128(7) };
                Some(VolumeEffect::Import { spec, from })
            },
            Stage::Setting => Some(VolumeEffect::SetAccess { spec, access: other_access() }),
        }
    }

    /// The orphan that is to be deleted.
    #[must_use]
    pub fn order(&self, subject: Subject) -> Option<OrphanOrder> {
        let Subject::Volume(index) = subject else { return None };
        let record = &self.volumes[index];
        let Stage::PurgingOrphan(place) = record.stage else { return None };
        Some(OrphanOrder { spec: record.spec.clone(), place })
    }
}

impl Snapshot {
    fn called_for(&self) -> Option<VolumeEffect> {
        let snapshot = self.spec.clone();
        match self.stage {
            SnapshotStage::Taking => Some(VolumeEffect::Snapshot { snapshot, freeze: None }),
            SnapshotStage::Ready => Some(VolumeEffect::VerifySnapshot { snapshot }),
            SnapshotStage::Deleting => Some(VolumeEffect::EraseSnapshot { snapshot }),
            SnapshotStage::Gone | SnapshotStage::Quarantined => None,
        }
    }
}
