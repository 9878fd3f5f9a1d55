//! Which driver makes the volumes of each disk, while disks come and go.

use super::Volumes;
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
#[derive(Debug, Default)]
pub(super) struct Drivers {
    pub(super) directories: BTreeMap<DiskSource, Arc<OnDisk>>,
    pub(super) devices: BTreeMap<DiskSource, Arc<OnDevice>>,
}

impl Drivers {
    pub(super) fn add(&mut self, disk: Added) {
        match disk {
            Added::Directory(disk) => {
                let source = disk.source().clone();
                self.directories.entry(source).or_insert_with(|| {
                    let driver = OnDisk::new(disk);
                    driver.thaw_all_left();
                    Arc::new(driver)
                });
            },
            Added::Device(disk) => {
                let source = disk.source().clone();
                self.devices.entry(source).or_insert_with(|| Arc::new(OnDevice::new(disk)));
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
        self.drivers.write().unwrap_or_else(PoisonError::into_inner).add(added);
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
