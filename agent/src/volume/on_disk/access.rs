//! Owner and mode of a volume's root directory: the directory that tasks see mounted, which of an image lies inside it.
//!
//! They are set before a new volume gets its name, and travel with it to the trash and back. They hold for the root alone, never
//! for what is in it.

use super::super::driver::{Fault, Found};
use super::super::look::{Here, Target, look};
use super::OnDisk;
use crate::disk::fs::Node;
use crate::disk::is_broken;
use crate::disk::probe::DriverKind;
use berth_agent_core::effect::Place;
use berth_model::access::Access;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

const DOING: &str = "setting the owner or mode of";

/// Sets what is said. The owner goes first: with it the kernel takes set-id bits away.
#[track_caller]
pub(super) fn give(root: &Node, access: Access) -> Result<(), Errno> {
    if let Some(owner) = access.owner {
        root.set_owner(owner.uid(), owner.gid())?;
    }
    match access.mode {
        Some(mode) => root.set_mode(mode.bits()),
        None => Ok(()),
    }
}

/// Sets the limit of a subvolume that was lifted, which only a sync of the file system makes durable.
#[track_caller]
fn limit_again(driver: &OnDisk, here: &Here) -> Result<(), Errno> {
    match here.identity.driver {
        DriverKind::Directory
        | DriverKind::Image(_)
        | DriverKind::Mount
        | DriverKind::ProjectQuota => Ok(()),
        DriverKind::Btrfs => {
            driver.limit(here)?;
            here.directory.sync_file_system()
        },
    }
}

impl OnDisk {
    pub(super) fn give_access(
        &self,
        spec: &VolumeSpec,
        access: Access,
    ) -> Result<Option<Found>, Fault> {
        let handle = self.handle()?;
        let Some(here) = look(&self.disk, &handle, spec, Target::live(spec))? else {
            return Ok(None);
        };
        let unclear = self.unclear(spec, DOING);
        let inside = match here.identity.driver.image() {
            Some(format) => Some(self.activate(&handle, &here, format)?),
            None => None,
        };
        let root = inside.as_ref().unwrap_or(&here.directory);
        let is_subvolume = here.identity.driver == DriverKind::Btrfs;
        if is_subvolume {
            // A full quota would stop this as well.
            here.directory.limit(None).map_err(&unclear)?;
        }
        let first = match access.owner {
            Some(owner) => Access { owner: Some(owner), mode: None },
            None => access,
        };
        if let Err(errno) = give(root, first) {
            limit_again(self, &here).map_err(&unclear)?;
            let reason = self.reason(spec, DOING, errno);
            // That was the first call: nothing has changed.
            return Err(if is_broken(errno) {
                Fault::Unclear(reason)
            } else {
                Fault::Failed(reason)
            });
        }
        give(root, access)
            .and_then(|()| root.sync())
            .and_then(|()| limit_again(self, &here))
            .map_err(unclear)?;
        Ok(Some(self.found(&here, Place::Live)))
    }
}
