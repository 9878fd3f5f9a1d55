//! DESTROY into the trash, and back out of it with the next generation.

use super::super::driver::{Fault, Found};
use super::super::identity::{self, Binding};
use super::super::look::{self, Here, Target, look};
use super::{OnDisk, project, settle};
use crate::disk::adopt::Handle;
use crate::disk::marker;
use crate::disk::probe::DriverKind;
use berth_agent_core::effect::Place;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

impl OnDisk {
    /// Gives a volume in the trash its next generation. Asked again after a crash it completes what was begun.
    fn promote(&self, handle: &Handle, here: &Here, spec: &VolumeSpec) -> Result<(), Errno> {
        let mut identity = here.identity.clone();
        identity.generation = spec.generation;
        identity.home = look::home(&self.disk, handle);
        marker::write(&handle.meta, &spec.id.to_string(), &identity.encode())?;
        if identity.binding == Binding::Attribute {
            // A full quota would stop the attribute as well; the limit is set again by `limit`.
            match identity.driver {
                DriverKind::Directory
                | DriverKind::Image(_)
                | DriverKind::Mount
                | DriverKind::Block => {},
                DriverKind::Btrfs => here.directory.limit(None)?,
                DriverKind::ProjectQuota => project::lift(&here.directory, &identity)?,
            }
            identity::write_attribute(&here.directory, &identity)?;
        }
        here.directory.sync()
    }

    fn rename(
        &self,
        handle: &Handle,
        here: &Here,
        from: Place,
        target: &Target,
    ) -> Result<(), Errno> {
        let (old, new) = (look::parent(handle, from), look::parent(handle, target.place));
        old.rename(&here.entry, new, &target.entry)
    }

    fn sync_both(&self, handle: &Handle, kind: DriverKind) -> Result<(), Errno> {
        settle(&handle.volumes, kind)?;
        handle.trash.sync()
    }

    pub(super) fn to_trash(
        &self,
        handle: &Handle,
        spec: &VolumeSpec,
    ) -> Result<Option<Found>, Fault> {
        let target = Target::trash(spec);
        let unclear = self.unclear(spec, "moving to the trash");
        if let Some(here) = look(&self.disk, handle, spec, target.clone())? {
            self.sync_both(handle, here.identity.driver).map_err(unclear)?;
            return Ok(Some(self.found(&here, Place::Trash)));
        }
        let (here, from) = match look(&self.disk, handle, spec, Target::live(spec))? {
            Some(here) => (here, Place::Live),
            // A restore that was interrupted left it in the trash under its last generation.
            None => match self.interrupted_restore(handle, spec)? {
                Some(here) => (here, Place::Trash),
                None => return Ok(None),
            },
        };
        self.refuse_mounted(&here, spec)?;
        if let Some(format) = here.identity.driver.image() {
            self.deactivate(handle, &here, format)?;
        }
        self.disclaim(handle, &target.entry, spec.id)?;
        self.rename(handle, &here, from, &target).map_err(&unclear)?;
        self.sync_both(handle, here.identity.driver).map_err(&unclear)?;
        let here = look(&self.disk, handle, spec, target)?;
        Ok(here.map(|here| self.found(&here, Place::Trash)))
    }

    fn interrupted_restore(
        &self,
        handle: &Handle,
        spec: &VolumeSpec,
    ) -> Result<Option<Here>, Fault> {
        let here = self.last_life(handle, spec)?;
        if let Some(here) = &here {
            self.disclaim(handle, &here.entry, spec.id)?;
            self.promote(handle, here, spec).map_err(self.unclear(spec, "restoring"))?;
        }
        Ok(here)
    }

    /// The volume in the trash that can go on.
    fn last_life(&self, handle: &Handle, spec: &VolumeSpec) -> Result<Option<Here>, Fault> {
        let Some(last) = spec.generation.checked_sub(1).filter(|last| *last > 0) else {
            return Ok(None);
        };
        // What a roll back replaced lies there under the same name and is no life to go on with.
        if self.is_replaced(handle, spec.id, last)? {
            return Ok(None);
        }
        look(&self.disk, handle, spec, Target::previous(spec))
    }

    /// What is left of the last life when its deletion had begun goes too: after a restore that found nothing, nobody
    /// would ask for it again.
    fn finish_deletion(&self, handle: &Handle, spec: &VolumeSpec) -> Result<(), Fault> {
        let Some(generation) = spec.generation.checked_sub(1) else { return Ok(()) };
        let last = VolumeSpec { generation, ..spec.clone() };
        match look(&self.disk, handle, &last, Target::going(&last))? {
            Some(_rest) => self.purge(&last),
            None => Ok(()),
        }
    }

    /// A volume whose key is not there stays in the trash, where it is.
    fn refuse_locked(&self, here: &Here, spec: &VolumeSpec) -> Result<(), Fault> {
        if !here.identity.encrypted {
            return Ok(());
        }
        let is_begun = here.identity.generation == spec.generation;
        self.keys.find(spec.id).map(drop).map_err(|why| match is_begun {
            true => Fault::Unclear(why),
            false => Fault::Failed(why),
        })
    }

    pub(super) fn out_of_trash(
        &self,
        handle: &Handle,
        spec: &VolumeSpec,
    ) -> Result<Option<Found>, Fault> {
        let target = Target::live(spec);
        let unclear = self.unclear(spec, "restoring");
        if let Some(here) = look(&self.disk, handle, spec, target.clone())? {
            self.limit(&here).map_err(&unclear)?;
            self.sync_both(handle, here.identity.driver).map_err(unclear)?;
            self.ready(handle, &here)?;
            return Ok(Some(self.found(&here, Place::Live)));
        }
        // What it shares may be taken again from when it is live.
        let alone = self.room_alone();
        if let Some(here) = self.last_life(handle, spec)? {
            self.refuse_full_when_live(handle, &here)?;
            self.refuse_locked(&here, spec)?;
        }
        let Some(here) = self.interrupted_restore(handle, spec)? else {
            drop(alone);
            self.finish_deletion(handle, spec)?;
            // A deletion may have been interrupted when nothing was left and not yet synced.
            settle(&handle.trash, self.kind()).map_err(&unclear)?;
            return Ok(None);
        };
        self.limit(&here).map_err(&unclear)?;
        self.rename(handle, &here, Place::Trash, &target).map_err(&unclear)?;
        drop(alone);
        self.sync_both(handle, here.identity.driver).map_err(&unclear)?;
        let here = look(&self.disk, handle, spec, target)?;
        here.as_ref().map_or(Ok(()), |here| self.ready(handle, here))?;
        Ok(here.map(|here| self.found(&here, Place::Live)))
    }
}
