//! Wiping what lies in the trash: looked at first, then overwritten file by file; an image is one file. What is left, an empty
//! directory, is deleted as any other.
//!
//! Invariants: nothing is changed while anything is known that speaks against it; nothing is overwritten that carries a name
//! under which a restore finds it, or that has a name or blocks outside of the volume.

use super::super::driver::Fault;
use super::super::look::{Here, Target, look};
use super::{OnDisk, project};
use crate::disk::probe::DriverKind;
use crate::disk::remove::{self, Limits, volume_attribute};
use crate::disk::wipe::Wiper;
use crate::disk::wipes::{self, Ground};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use berth_model::wipe::Wipe;
use std::ffi::OsStr;

impl OnDisk {
    /// Can it be wiped, and how much is that?
    pub(super) fn look_before_wipe(
        &self,
        spec: &VolumeSpec,
        method: Wipe,
    ) -> Result<Option<Bytes>, Fault> {
        let handle = self.handle()?;
        let Some(here) = look(&self.disk, &handle, spec, Target::trash(spec))? else {
            let going = look(&self.disk, &handle, spec, Target::going(spec))?;
            let begun = || never(spec, method, "its deletion has begun already");
            return going.map_or(Ok(None), |_half| Err(begun()));
        };
        let ground = Ground::of_directory(&handle.root);
        if let Some(why) = wipes::why_not(here.identity.driver, ground, method) {
            return Err(never(spec, method, why));
        }
        self.refuse_busy(&here, spec)?;
        let found = here.directory.survey().map_err(|why| never(spec, method, &why))?;
        match found.shared {
            Some(why) => Err(never(spec, method, &why)),
            None => Ok(Some(Bytes::new(found.bytes))),
        }
    }

    /// Overwrites and empties the volume's directory. False when it is not in the trash.
    pub(super) fn wipe_content(&self, spec: &VolumeSpec, wiper: Wiper<'_>) -> Result<bool, Fault> {
        let handle = self.handle()?;
        let Some(here) = self.in_trash(&handle, spec)? else { return Ok(false) };
        self.refuse_busy(&here, spec)?;
        let unclear = self.unclear(spec, "wiping");
        let found = here.directory.survey().map_err(|why| self.put_off(spec, &why))?;
        if let Some(why) = found.shared {
            return Err(self.put_off(spec, &why));
        }
        wiper.expect(found.bytes);
        if here.identity.driver == DriverKind::ProjectQuota {
            // No limit may outlive the directory that leads to it.
            project::lift(&here.directory, &here.identity).map_err(&unclear)?;
        }
        let volume = volume_attribute(&here.directory).map_err(&unclear)?;
        let going = self.set_going(&handle, &here, spec)?;
        // Nobody reads it from here on, however long the rest takes.
        self.forget_key(&here.identity)?;
        let limits = Limits { entries: u64::MAX, volume };
        remove::wiped(&handle.trash, OsStr::new(&going), &limits, wiper)
            .map_err(|error| self.left_alone(spec, error))?;
        Ok(true)
    }

    fn refuse_busy(&self, here: &Here, spec: &VolumeSpec) -> Result<(), Fault> {
        self.refuse_mounted(here, spec)?;
        match here.identity.driver {
            DriverKind::Image(_) => self.refuse_attached(here),
            DriverKind::Directory
            | DriverKind::Btrfs
            | DriverKind::ProjectQuota
            | DriverKind::Mount
            | DriverKind::Block => Ok(()),
        }
    }

    /// Somebody changed something since it was looked at.
    fn put_off(&self, spec: &VolumeSpec, why: &str) -> Fault {
        let root = self.disk.root().join(".trash");
        let text = format!("wiping volume {} in {} stopped: {why}", spec.id, root.display());
        Fault::Unclear(
            Rejection::new(ErrorCode::VolumeUnavailable, text)
                .remedy("undo that; it goes on by itself"),
        )
    }
}

fn never(spec: &VolumeSpec, method: Wipe, why: &str) -> Fault {
    let text = format!("volume {} ({}) cannot be wiped by {method}: {why}", spec.name, spec.id);
    Fault::Failed(
        Rejection::new(ErrorCode::Unsupported, text)
            .remedy("nothing was changed; remove the cause, or purge it with --wipe none (berth disk show says what its disk can)")
            .field("wipe"),
    )
}
