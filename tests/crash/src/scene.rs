//! An agent on a simulated file system: its disks, its volumes, and what its ledger says of them.
//!
//! It does what the deciding code does: intent, effect, result, and after a crash whatever the ledger calls for. It
//! does not judge.

use crate::sim::storage::Model;
use crate::sim::{SimFs, Traits};
use berth_agent::disk::{Declaration, Disks, DriverChoice, Owner, fs};
use berth_agent::volume::Volumes;
use berth_agent_core::effect::{Place, VolumeEffect, VolumeOutcome};
use berth_model::id::{AgentId, ClusterId, VolumeId, VolumeName};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::role::Role;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::path::Path;
use std::sync::Arc;

/// The agent's work directory; the ROOT disk is `disk` below it.
pub const WORK: &str = "/agent";
/// The root of another disk.
pub const OTHER: &str = "/other";
/// The cluster.
pub const CLUSTER: ClusterId = ClusterId::from_u128(0xc);
const AGENT: AgentId = AgentId::from_u128(0xa);

/// A kind of file system with the driver on it.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// For people.
    pub name: &'static str,
    /// The file system.
    pub traits: Traits,
    /// The driver that is declared.
    pub driver: DriverChoice,
}

const fn plain(model: Model, has_attributes: bool) -> Traits {
    Traits { model, has_attributes, has_subvolumes: false, has_projects: false }
}

/// Every combination that differs.
pub const SETUPS: [Setup; 8] = [
    Setup {
        name: "directories on ext4",
        traits: plain(Model::Ext4, true),
        driver: DriverChoice::Directory,
    },
    Setup {
        name: "directories on xfs",
        traits: plain(Model::Xfs, true),
        driver: DriverChoice::Directory,
    },
    Setup {
        name: "directories on xfs without attributes",
        traits: plain(Model::Xfs, false),
        driver: DriverChoice::Directory,
    },
    Setup {
        name: "directories on btrfs",
        traits: plain(Model::Btrfs, true),
        driver: DriverChoice::Directory,
    },
    Setup {
        name: "directories on btrfs without attributes",
        traits: plain(Model::Btrfs, false),
        driver: DriverChoice::Directory,
    },
    Setup {
        name: "subvolumes on btrfs",
        traits: Traits { has_subvolumes: true, ..plain(Model::Btrfs, true) },
        driver: DriverChoice::Btrfs,
    },
    Setup {
        name: "project quotas on ext4",
        traits: Traits { has_projects: true, ..plain(Model::Ext4, true) },
        driver: DriverChoice::ProjectQuota,
    },
    Setup {
        name: "project quotas on xfs",
        traits: Traits { has_projects: true, ..plain(Model::Xfs, true) },
        driver: DriverChoice::ProjectQuota,
    },
];

/// What is done to a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Makes it.
    Create,
    /// Puts it into the trash.
    Destroy,
    /// Takes it out of the trash, one generation later.
    Restore,
    /// Deletes it from the trash.
    Purge,
}

/// What the ledger says of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Never made, given up, or purged.
    Nothing,
    /// Being made.
    Creating,
    /// It was wanted back from a deletion that had begun, and there was nothing any more.
    Vanished,
    /// Live.
    Ready,
    /// On its way to the trash.
    Tombstoned,
    /// In the trash.
    Trashed,
    /// On its way out of the trash.
    Restoring,
    /// Being deleted.
    Purging,
    /// What is there was refused; it is left alone.
    Quarantined,
}

/// A volume in the ledger.
#[derive(Clone, Debug)]
pub struct Record {
    /// With the generation it has, or is to have.
    pub spec: VolumeSpec,
    /// How far it is.
    pub stage: Stage,
    /// Its user wrote something into it and synced it.
    pub has_data: bool,
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
}

impl Books {
    /// With this many volumes still to be made on the ROOT disk.
    #[must_use]
    pub fn new(volumes: usize) -> Self {
        let volume = |number: usize| Record {
            spec: spec(number, DiskSource::Root),
            stage: Stage::Nothing,
            has_data: false,
        };
        let volumes = (1..=volumes).map(volume).collect();
        Self { cluster: Some(CLUSTER), disks: Vec::new(), volumes }
    }
}

/// A volume.
///
/// # Panics
/// Never: the names are valid.
#[must_use]
pub fn spec(number: usize, source: DiskSource) -> VolumeSpec {
    VolumeSpec {
        id: VolumeId::from_u128(0xb000 + number as u128),
        generation: 1,
        name: VolumeName::new(&format!("data-{number}")).expect("a valid name"),
        role: Role::new("storage").expect("a valid role"),
        principal: None,
        source,
        size: Bytes::from_mib(64),
    }
}

/// What a volume's user wrote.
#[must_use]
pub fn rows(id: VolumeId) -> String {
    format!("all the rows of {id}")
}

/// The files a user makes, below the volume.
pub const FILES: [&str; 3] = ["base/table", "log", "rows"];

/// The machine before an agent ever ran on it.
#[must_use]
pub fn machine(setup: &Setup) -> SimFs {
    SimFs::new(setup.traits, &["agent", "other"])
}

/// How resources name the other disk.
#[must_use]
pub fn other() -> DiskSource {
    DiskSource::Path(Arc::from(OTHER))
}

/// A process starts: opens the disks. With `both`, the other one is declared as well.
#[must_use]
pub fn start(files: &SimFs, setup: &Setup, books: &Books, both: bool) -> Volumes {
    let mut declared = vec![Declaration { driver: setup.driver, ..Declaration::root() }];
    if both {
        let source = other();
        let driver = setup.driver;
        declared.push(Declaration { source, name: "other".to_owned(), driver, size: None });
    }
    let owner = Owner { agent: AGENT, cluster: books.cluster };
    let disks = Disks::open_on(&files.files(), Path::new(WORK), &declared, owner, &books.disks);
    Volumes::new(Arc::new(disks))
}

/// Writes the intent down.
pub fn begin(record: &mut Record, operation: Operation) {
    record.stage = match operation {
        Operation::Create => Stage::Creating,
        Operation::Destroy => Stage::Tombstoned,
        Operation::Restore => {
            record.spec.generation += 1;
            Stage::Restoring
        },
        Operation::Purge => Stage::Purging,
    };
}

/// What the ledger calls for: whatever was begun, else a look.
#[must_use]
pub fn called_for(record: &Record) -> Option<VolumeEffect> {
    let spec = record.spec.clone();
    match record.stage {
        Stage::Nothing | Stage::Vanished | Stage::Quarantined => None,
        Stage::Creating => Some(VolumeEffect::Create { spec, purgeable: Vec::new() }),
        Stage::Tombstoned => Some(VolumeEffect::Trash { spec }),
        Stage::Restoring => Some(VolumeEffect::Restore { spec, purgeable: Vec::new() }),
        Stage::Purging => Some(VolumeEffect::Purge { spec }),
        Stage::Ready => Some(VolumeEffect::Verify { spec, place: Place::Live }),
        Stage::Trashed => Some(VolumeEffect::Verify { spec, place: Place::Trash }),
    }
}

/// Writes the result down, as the deciding code does.
pub fn conclude(record: &mut Record, outcome: &VolumeOutcome) {
    use VolumeOutcome::{Absent, Failed, Foreign, Present};
    record.stage = match (record.stage, outcome) {
        (Stage::Creating | Stage::Restoring, Present { .. }) => Stage::Ready,
        (Stage::Creating, Failed(_) | Foreign(_))
        | (Stage::Purging | Stage::Tombstoned, Absent) => Stage::Nothing,
        (Stage::Restoring, Absent) => Stage::Vanished,
        (Stage::Restoring, Failed(_)) => {
            record.spec.generation -= 1;
            Stage::Trashed
        },
        (Stage::Restoring | Stage::Tombstoned | Stage::Purging, Foreign(_)) => Stage::Quarantined,
        (Stage::Tombstoned, Present { .. }) => Stage::Trashed,
        (stage, _other) => stage,
    };
    // Whatever is made under this id again is empty.
    record.has_data &= record.stage != Stage::Nothing;
}

/// The volume's user writes files and syncs them.
///
/// # Panics
/// The volume is not there or does not take them.
pub fn write_data(files: &SimFs, record: &mut Record) {
    let path = format!("{WORK}/disk/volumes/{}", record.spec.id);
    let volume = fs::open(files, Path::new(&path)).expect("the volume is there");
    volume.make_directory("base", 0o700).expect("a directory is made");
    let base = volume.directory("base").expect("it is there");
    for (directory, name) in [(&base, "table"), (&volume, "log"), (&volume, "rows")] {
        let file = directory.create(name).expect("a file is made");
        file.write(rows(record.spec.id).as_bytes()).expect("it is written");
        file.sync().expect("it is synced");
    }
    base.sync().and_then(|()| volume.sync()).expect("the names are synced");
    record.has_data = true;
}

/// Somebody else's files next to the volumes.
///
/// # Panics
/// The disk is not there.
pub fn write_strangers(files: &SimFs) {
    for path in STRANGERS {
        let directory = fs::open(files, Path::new(path)).expect("the disk is there");
        directory.make_directory("stranger", 0o700).expect("a directory is made");
        let stranger = directory.directory("stranger").expect("it is there");
        let file = stranger.create("precious").expect("a file is made");
        file.write(b"precious").expect("it is written");
    }
    files.rest();
}

/// Where somebody else's files lie.
pub const STRANGERS: [&str; 4] =
    ["/agent/disk/volumes", "/agent/disk/.trash", "/agent/disk", "/agent"];
