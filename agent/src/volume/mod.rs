//! Volumes on this host: carries out what the deciding code asks for and hands verified directories to containers.
//!
//! `driver` is the contract, `on_disk` the driver of real disks (plain directories, or btrfs subvolumes with a
//! quota), `fake` the one in memory. This module picks the disk, makes room, and puts results into the words of
//! the deciding code. It does not know who uses a volume, nor what the ledger says.

pub mod content;
pub mod driver;
mod drivers;
mod export;
pub mod fake;
mod group;
pub(crate) mod identity;
mod import;
mod key_place;
pub mod keys;
mod look;
mod on_device;
mod on_disk;
mod room;
mod unknown;
mod usage;

pub(crate) use usage::{survey_tree, tree_size};

use crate::disk::{Added, Disks};
use berth_agent_core::effect::{Place, VolumeEffect, VolumeOutcome};
use berth_model::agent;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{SnapshotId, VolumeId};
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::VolumeSpec;
use driver::{Driver, Fault, Found, Snapshots};
use drivers::{Driver as DiskDriver, Drivers};
use keys::Keys;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// The volumes of one agent. Every method blocks on the disk and may be called from any thread; effects on one
/// volume must not overlap.
#[derive(Debug)]
pub struct Volumes {
    disks: Arc<Disks>,
    /// Of the disks in use.
    drivers: RwLock<Drivers>,
    fakes: BTreeMap<DiskSource, Arc<dyn Driver>>,
    /// One volume at a time may purge others for its room.
    room: Mutex<()>,
    /// What each directory that nobody knows took when it was first seen.
    strange: Mutex<BTreeMap<Arc<str>, Option<Bytes>>>,
    imports: import::Imports,
    exports: export::Exports,
}

impl Volumes {
    /// The volumes on these disks.
    #[must_use]
    pub fn new(disks: Arc<Disks>) -> Self {
        let mut drivers = Drivers::default();
        let directories = disks.all().into_iter().map(Added::Directory);
        let devices = disks.blocks().into_iter().map(Added::Device);
        directories.chain(devices).for_each(|disk| {
            let keys = Arc::clone(&drivers.keys);
            drivers.add(DiskDriver::of(disk, keys));
        });
        Self {
            disks,
            drivers: RwLock::new(drivers),
            fakes: BTreeMap::new(),
            room: Mutex::new(()),
            strange: Mutex::default(),
            imports: import::Imports::default(),
            exports: export::Exports::default(),
        }
    }

    /// Volumes without disks: everything goes to these drivers.
    #[must_use]
    pub fn with_drivers(drivers: BTreeMap<DiskSource, Arc<dyn Driver>>) -> Self {
        let disks = Arc::new(Disks::none());
        Self {
            disks,
            drivers: RwLock::default(),
            fakes: drivers,
            room: Mutex::new(()),
            strange: Mutex::default(),
            imports: import::Imports::default(),
            exports: export::Exports::default(),
        }
    }

    /// The same with another patience while the file system of an image stands still, for tests.
    #[must_use]
    pub fn holding_still(mut self, patience: Duration) -> Self {
        let drivers = self.drivers.get_mut().unwrap_or_else(PoisonError::into_inner);
        for driver in drivers.directories.values_mut().filter_map(Arc::get_mut) {
            driver.set_patience(patience);
        }
        self
    }

    /// The same with these keys of encrypted volumes.
    #[must_use]
    pub fn with_keys(mut self, keys: Keys) -> Self {
        let drivers = self.drivers.get_mut().unwrap_or_else(PoisonError::into_inner);
        drivers.keys = Arc::new(keys);
        for driver in drivers.directories.values_mut().filter_map(Arc::get_mut) {
            driver.set_keys(Arc::clone(&drivers.keys));
        }
        self
    }

    /// Why no key of an encrypted volume is made or destroyed until the agent starts again.
    #[must_use]
    pub fn doubt_of_keys(&self) -> Option<Rejection> {
        self.drivers.read().unwrap_or_else(PoisonError::into_inner).keys.doubt()
    }

    /// The disks under them.
    #[must_use]
    pub fn disks(&self) -> &Arc<Disks> {
        &self.disks
    }

    /// Carries out an effect. A destroyed volume that is safe in the trash is `Present`, a purged one `Absent`.
    #[must_use]
    pub fn run(&self, effect: &VolumeEffect) -> VolumeOutcome {
        self.end_exports(effect);
        match effect {
            VolumeEffect::TakeGroup { members, again, still: _ } => {
                return self.take_group(members, *again);
            },
            VolumeEffect::EraseGroup { members } => return self.erase_group(members),
            _of_one_volume => {},
        }
        let driver = match self.driver(effect.spec()) {
            Ok(driver) => driver,
            Err(reason) => return VolumeOutcome::Unclear(reason),
        };
        let driver = &*driver;
        let mut purged = Vec::new();
        let result = match effect {
            VolumeEffect::Snapshot { snapshot, freeze: _ } => {
                return of_snapshot(driver, |all| all.take(snapshot).map(Some));
            },
            VolumeEffect::TakeGroup { .. } | VolumeEffect::EraseGroup { .. } => {
                unreachable!("groups are not the business of one driver")
            },
            VolumeEffect::EraseSnapshot { snapshot } => {
                return of_snapshot(driver, |all| all.delete(snapshot).map(|()| None));
            },
            VolumeEffect::VerifySnapshot { snapshot } => {
                return of_snapshot(driver, |all| all.find(snapshot));
            },
            VolumeEffect::RollBack { spec, snapshot, safety } => driver
                .snapshots()
                .map_err(Fault::Failed)
                .and_then(|all| all.roll_back(spec, snapshot, safety)),
            VolumeEffect::Clone { spec, snapshot } => driver
                .snapshots()
                .map_err(Fault::Failed)
                .and_then(|all| all.clone_from(spec, snapshot))
                .map(Some),
            VolumeEffect::Create { spec, purgeable } => self
                .make_room(driver, spec, Place::Live, purgeable, &mut purged)
                .and_then(|()| driver.ensure(spec))
                .map(Some),
            VolumeEffect::Import { spec, from } => self.import(driver, spec, from).map(Some),
            VolumeEffect::Restore { spec, purgeable } => self
                .make_room(driver, spec, Place::Trash, purgeable, &mut purged)
                .and_then(|()| driver.relocate(spec, Place::Live)),
            VolumeEffect::Resize { spec, size, purgeable } => {
                self.resize(driver, spec, *size, purgeable, &mut purged)
            },
            VolumeEffect::SetAccess { spec, access } => driver.set_access(spec, *access),
            VolumeEffect::Trash { spec } => driver.relocate(spec, Place::Trash),
            VolumeEffect::Purge { spec } => driver.erase(spec).map(|()| None),
            VolumeEffect::SurveyWipe { spec, method } => {
                return match driver.survey_wipe(spec, *method) {
                    Ok(Some(bytes)) => VolumeOutcome::Used(Measured::of(bytes)),
                    Ok(None) => VolumeOutcome::Absent,
                    Err(fault) => outcome(fault),
                };
            },
            VolumeEffect::Wipe { spec, method } => return self.wipe(driver, spec, *method),
            VolumeEffect::Verify { spec, place } => driver.observe(spec, *place),
            VolumeEffect::Adopt { spec } => driver.adopt(spec).and_then(|found| match found {
                Some(found) => Ok(Some(found)),
                None => Err(Fault::Failed(nothing_to_adopt(spec))),
            }),
            VolumeEffect::Usage { spec } => {
                return match driver.usage(spec) {
                    Ok(measured) => VolumeOutcome::Used(measured),
                    Err(fault) => outcome(fault),
                };
            },
        };
        match result {
            Ok(Some(found)) => present(found, purged),
            Ok(None) => VolumeOutcome::Absent,
            Err(fault) => outcome(fault),
        }
    }

    /// The directory of a live volume, or its device, verified and open, to be mounted without looking its path up
    /// again.
    ///
    /// # Errors
    /// The volume must not be used: VOLUME_UNAVAILABLE with the evidence.
    pub fn open_verified(&self, spec: &VolumeSpec) -> Result<OwnedFd, Rejection> {
        match (self.directory(&spec.source), self.device(&spec.source)) {
            (Some(driver), _device) => driver.open(spec),
            (None, Some(device)) => device.open(spec),
            (None, None) => Err(undeclared(spec)),
        }
    }

    /// Where a live volume lies on the host; for people, never for mounting.
    #[must_use]
    pub fn host_path(&self, spec: &VolumeSpec) -> Option<PathBuf> {
        if let Some(device) = self.device(&spec.source) {
            return Some(device.disk().path().to_path_buf());
        }
        let disk = self.disks.find(&spec.source)?;
        Some(PathBuf::from(look::path(&disk, Place::Live, &spec.id.to_string())))
    }

    /// The disks as the master is told, with what lies among their volumes without being one of `known` (the ledger's
    /// volumes): nobody's directories, and volumes that the ledger does not know. They are kept. What was not measured
    /// before has no size yet.
    #[must_use]
    pub fn report(&self, known: &BTreeSet<VolumeId>) -> Vec<agent::Disk> {
        let mut disks = self.disks.report();
        let sizes = self.strange.lock().unwrap_or_else(PoisonError::into_inner);
        for disk in &mut disks {
            let device = self.device(&disk.source);
            if let Some(spec) =
                device.as_ref().and_then(|own| own.unknown(&|id| known.contains(id)))
            {
                disk.orphans = vec![unknown::on_device(disk, &spec)];
            }
            let Some(own) = self.disks.find(&disk.source) else { continue };
            disk.orphans = unknown::list(&own, known);
            for orphan in &mut disk.orphans {
                orphan.used = sizes.get(&orphan.path).copied().flatten();
            }
        }
        disks
    }

    /// What lies among the snapshots of the disks without being one of `known`, nor of one of the known volumes. It is
    /// kept.
    #[must_use]
    pub fn unknown_snapshots(
        &self,
        known: &BTreeSet<SnapshotId>,
        volumes: &BTreeSet<VolumeId>,
    ) -> Vec<String> {
        let is_known = |name: &str| {
            name.parse().is_ok_and(|id| known.contains(&id))
                || name.parse().is_ok_and(|id| volumes.contains(&id))
        };
        let drivers = self.drivers.read().unwrap_or_else(PoisonError::into_inner);
        let all = drivers.directories.values();
        all.flat_map(|driver| driver.unknown_snapshots(&is_known)).collect()
    }

    fn driver(&self, spec: &VolumeSpec) -> Result<Arc<dyn Driver>, Rejection> {
        if let Some(driver) = self.directory(&spec.source) {
            return Ok(driver);
        }
        if let Some(device) = self.device(&spec.source) {
            return Ok(device);
        }
        self.fakes.get(&spec.source).cloned().ok_or_else(|| undeclared(spec))
    }
}

/// The outcome of an effect on a snapshot, which has a place and nothing else to tell.
fn of_snapshot(
    driver: &dyn Driver,
    act: impl FnOnce(&dyn Snapshots) -> Result<Option<Arc<str>>, Fault>,
) -> VolumeOutcome {
    let made_by = driver.capabilities();
    match driver.snapshots().map_err(Fault::Failed).and_then(act) {
        Ok(Some(host_path)) => present(Found { host_path, made_by }, Vec::new()),
        Ok(None) => VolumeOutcome::Absent,
        Err(fault) => outcome(fault),
    }
}

fn present(found: Found, purged: Vec<VolumeId>) -> VolumeOutcome {
    VolumeOutcome::Present {
        host_path: found.host_path,
        driver: Arc::from(found.made_by.name),
        enforcement: found.made_by.enforcement,
        purged,
    }
}

fn outcome(fault: Fault) -> VolumeOutcome {
    match fault {
        Fault::Foreign(reason) => VolumeOutcome::Foreign(reason),
        Fault::Failed(reason) => VolumeOutcome::Failed(reason),
        Fault::Unclear(reason) => VolumeOutcome::Unclear(reason),
    }
}

fn nothing_to_adopt(spec: &VolumeSpec) -> Rejection {
    let text = format!("volume {} is not on disk {} any more", spec.id, spec.source);
    Rejection::new(ErrorCode::VolumeLost, text).remedy("nothing was made in its place")
}

fn undeclared(spec: &VolumeSpec) -> Rejection {
    let text = format!("disk {} of volume {} is not declared on this agent", spec.source, spec.id);
    Rejection::new(ErrorCode::UnknownDisk, text).remedy("start the agent with the disk declared")
}
