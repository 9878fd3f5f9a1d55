//! GROW and SHRINK: the limit and the size in the marker change, the data stays where it is, in use or not.
//!
//! Invariant: a refusal leaves the volume with the size of `spec`, whatever an earlier attempt had begun. A limit is never
//! set below what is used and left there: some file systems accept that, and then every write fails.

use super::super::driver::{Fault, Found};
use super::super::look::{Here, Target, look};
use super::{OnDisk, settle, used};
use crate::disk::adopt::Handle;
use crate::disk::marker;
use crate::disk::probe::DriverKind;
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

impl OnDisk {
    pub(super) fn give_size(&self, spec: &VolumeSpec, size: Bytes) -> Result<Option<Found>, Fault> {
        let handle = self.handle()?;
        let Some(mut here) = look(&self.disk, &handle, spec, Target::live(spec))? else {
            return Ok(None);
        };
        match here.identity.driver {
            DriverKind::Directory | DriverKind::Btrfs | DriverKind::ProjectQuota => {},
            DriverKind::Image(kind) => {
                return self.resize_image(&handle, here, spec, size, kind).map(Some);
            },
            DriverKind::Mount | DriverKind::Block if size == spec.size => {
                return Ok(Some(self.found(&here, Place::Live)));
            },
            DriverKind::Mount | DriverKind::Block => return Err(whole_disk(spec, size)),
        }
        let unclear = self.unclear(spec, "resizing");
        if size < spec.size {
            self.check_fits(&handle, &mut here, spec, size)?;
        }
        self.set_size(&handle, &mut here, size).map_err(&unclear)?;
        if size < spec.size {
            // A writer may have been faster than the limit.
            self.check_fits(&handle, &mut here, spec, size)?;
        }
        Ok(Some(self.found(&here, Place::Live)))
    }

    /// Refuses a size below what is used; the volume has the size of `spec` then.
    fn check_fits(
        &self,
        handle: &Handle,
        here: &mut Here,
        spec: &VolumeSpec,
        size: Bytes,
    ) -> Result<(), Fault> {
        let unclear = self.unclear(spec, "resizing");
        if here.identity.driver == DriverKind::Btrfs {
            // What was written last counts only once it is committed.
            settle(&here.directory, DriverKind::Btrfs).map_err(&unclear)?;
        }
        let reason = match used(here) {
            Ok(found) if found.bytes <= size => return Ok(()),
            Ok(Measured { bytes: used, .. }) => {
                let text = format!(
                    "volume {} ({}) uses {used}, more than the wanted {size}",
                    spec.name, spec.id
                );
                Rejection::new(ErrorCode::VolumeTooFull, text)
                    .remedy("delete data in it first, or choose a larger size")
            },
            Err(why) => {
                let text = format!("volume {} cannot be measured: {why}", spec.id);
                Rejection::new(ErrorCode::VolumeUnavailable, text)
                    .remedy("a volume is made smaller only when its use is known")
            },
        };
        self.set_size(handle, here, spec.size).map_err(unclear)?;
        Err(Fault::Failed(reason))
    }

    fn set_size(&self, handle: &Handle, here: &mut Here, size: Bytes) -> Result<(), Errno> {
        here.identity.size = size;
        self.limit(here)?;
        match here.identity.driver {
            DriverKind::Directory
            | DriverKind::ProjectQuota
            | DriverKind::Image(_)
            | DriverKind::Mount
            | DriverKind::Block => {},
            DriverKind::Btrfs => settle(&here.directory, DriverKind::Btrfs)?,
        }
        let id = here.identity.id.to_string();
        marker::write(&handle.meta, &id, &here.identity.encode())
    }
}

/// A volume that has a whole disk keeps its size.
pub(in super::super) fn whole_disk(spec: &VolumeSpec, size: Bytes) -> Fault {
    let text = format!(
        "volume {} ({}) cannot get {size}: it has the whole disk {}",
        spec.name, spec.id, spec.source
    );
    Fault::Failed(
        Rejection::new(ErrorCode::Unsupported, text)
            .remedy("create a volume on another disk and copy the data"),
    )
}
