//! Which driver makes the volumes of each disk, while disks come and go.

use super::Volumes;
use super::keys::Keys;
use super::on_device::OnDevice;
use super::on_disk::OnDisk;
use crate::disk::{Added, Declaration};
use berth_model::agent;
use berth_model::error::Rejection;
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// What makes volumes on each disk.
#[derive(Debug)]
pub(super) struct Drivers {
    pub(super) directories: BTreeMap<DiskSource, Arc<OnDisk>>,
    pub(super) devices: BTreeMap<DiskSource, Arc<OnDevice>>,
    /// Of encrypted volumes.
    pub(super) keys: Arc<Keys>,
}

impl Default for Drivers {
    fn default() -> Self {
        Self {
            directories: BTreeMap::new(),
            devices: BTreeMap::new(),
            keys: Arc::new(Keys::none()),
        }
    }
}

impl Drivers {
    pub(super) fn add(&mut self, driver: Driver) {
        match driver {
            Driver::Directory(source, driver) => {
                self.directories.entry(source).or_insert(driver);
            },
            Driver::Device(source, driver) => {
                self.devices.entry(source).or_insert(driver);
            },
        }
    }
    fn has(&self, source: &DiskSource) -> bool {
        self.directories.contains_key(source) || self.devices.contains_key(source)
    }
}

/// What makes volumes on one disk.
#[derive(Debug)]
pub(super) enum Driver {
    Directory(DiskSource, Arc<OnDisk>),
    Device(DiskSource, Arc<OnDevice>),
}

impl Driver {
    /// Lets go on what an agent that is no more left frozen, which may take as long as the disk likes: to be called without a lock.
    pub(super) fn of(disk: Added, keys: Arc<Keys>) -> Self {
        match disk {
            Added::Directory(disk) => {
                let source = disk.source().clone();
                let driver = OnDisk::new(disk, keys);
                driver.thaw_all_left();
                Self::Directory(source, Arc::new(driver))
            },
            Added::Device(disk) => {
                let source = disk.source().clone();
                Self::Device(source, Arc::new(OnDevice::new(disk)))
            },
        }
    }
}

impl Volumes {
    /// Uses one more disk; see [`Disks::add`](crate::disk::Disks::add).
    ///
    /// # Errors
    /// Why it is not used.
    pub fn add_disk(&self, wanted: &Declaration) -> Result<(agent::Disk, LedgerDisk), Rejection> {
        let added = self.disks.add(wanted)?;
        let told = added.told()?;
        let source = &wanted.source;
        let keys = {
            let drivers = self.drivers.read().unwrap_or_else(PoisonError::into_inner);
            (!drivers.has(source)).then(|| Arc::clone(&drivers.keys))
        };
        if let Some(keys) = keys {
            let driver = Driver::of(added, keys);
            self.drivers.write().unwrap_or_else(PoisonError::into_inner).add(driver);
        }
        Ok(told)
    }

    /// Uses a disk no more; see [`Disks::remove`](crate::disk::Disks::remove).
    ///
    /// # Errors
    /// Why it is used further.
    pub fn remove_disk(&self, source: &DiskSource) -> Result<(), Rejection> {
        self.disks.remove(source)?;
        let mut drivers = self.drivers.write().unwrap_or_else(PoisonError::into_inner);
        drivers.directories.remove(source);
        drivers.devices.remove(source);
        Ok(())
    }

    pub(super) fn directory(&self, source: &DiskSource) -> Option<Arc<OnDisk>> {
        let drivers = self.drivers.read().unwrap_or_else(PoisonError::into_inner);
        drivers.directories.get(source).cloned()
    }

    pub(super) fn device(&self, source: &DiskSource) -> Option<Arc<OnDevice>> {
        let drivers = self.drivers.read().unwrap_or_else(PoisonError::into_inner);
        drivers.devices.get(source).cloned()
    }
}
