//! PURGE: what lies in the trash is verified, is not mounted, and is deleted by handle; its marker goes last.

use super::super::driver::Fault;
use super::super::look::{self, Here, Target};
use super::{OnDisk, project, settle};
use crate::disk::adopt::Handle;
use crate::disk::probe::DriverKind;
use crate::disk::remove::{self, Limits, RemoveError, volume_attribute};
use crate::disk::{code_of, is_broken, marker};
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::volume::VolumeSpec;
use std::ffi::OsStr;

impl OnDisk {
    /// Deletes the volume from the trash, its marker last.
    pub(super) fn purge(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        let handle = self.handle()?;
        let unclear = self.unclear(spec, "purging");
        let group = match self.in_trash(&handle, spec)? {
            Some(here) => {
                self.erase_all_replaced(&handle, spec)?;
                self.delete_tree(&handle, &here, spec)?
            },
            None => None,
        };
        self.sweep(&handle, spec)?;
        self.clear_all_aside(&handle, spec)?;
        let id = spec.id.to_string();
        let Some(identity) = look::read_marker(&self.disk, &handle, spec.id)? else {
            return marker::remove(&handle.meta, &id).map_err(unclear);
        };
        // Also when it was not there: whoever deleted it may have died before that was synced.
        settle(&handle.trash, identity.driver).map_err(&unclear)?;
        if let Some(group) = group {
            // A group that stays behind is empty and harms nobody.
            handle.trash.forget_quota(group).ok();
        }
        // The marker goes when nothing is left that it explains: neither a live volume nor another life in the trash.
        let other = handle
            .trash
            .all_names()
            .map_err(&unclear)?
            .into_iter()
            .find(|name| name.starts_with(&id))
            .map(|name| look::path(&self.disk, Place::Trash, &name));
        let live = handle.volumes.exists(&id).map_err(&unclear)?;
        let live = live.then(|| look::path(&self.disk, Place::Live, &id));
        if let Some(shown) = other.or(live) {
            let text = format!(
                "volume {id} is at {shown} with generation {}, not in the trash with generation {}",
                identity.generation, spec.generation
            );
            let reason = Rejection::new(ErrorCode::VolumeUnavailable, text);
            return Err(Fault::Foreign(reason.remedy("it is left as it is")));
        }
        if identity.generation <= spec.generation {
            self.forget_key(&identity)?;
            marker::remove(&handle.meta, &id).map_err(unclear)?;
        }
        Ok(())
    }

    pub(super) fn refuse_mounted(&self, here: &Here, spec: &VolumeSpec) -> Result<(), Fault> {
        let mounted = here.directory.mounts().map_err(|error| {
            let text = format!("looking for mounts of volume {} failed: {error}", spec.id);
            Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text))
        })?;
        if mounted.is_empty() {
            return Ok(());
        }
        let text = format!("volume {} is mounted at {}", spec.id, mounted.join(", "));
        Err(Fault::Failed(
            Rejection::new(ErrorCode::VolumeInUse, text)
                .remedy("unmount it; until then it is left as it is"),
        ))
    }

    /// Empties and removes a verified directory in the trash, not synced yet. Answers with its quota group.
    fn delete_tree(
        &self,
        handle: &Handle,
        here: &Here,
        spec: &VolumeSpec,
    ) -> Result<Option<u64>, Fault> {
        self.refuse_mounted(here, spec)?;
        let trash = &handle.trash;
        let unclear = self.unclear(spec, "purging");
        let volume = volume_attribute(&here.directory).map_err(&unclear)?;
        let group = match here.identity.driver {
            DriverKind::Directory | DriverKind::Mount | DriverKind::Block => None,
            DriverKind::Image(_) => {
                self.refuse_attached(here)?;
                None
            },
            DriverKind::Btrfs => {
                // A full quota would stop deletions as well.
                here.directory.limit(None).ok();
                Some(here.directory.subvolume().map_err(&unclear)?)
            },
            DriverKind::ProjectQuota => {
                // As above, and no limit may outlive the directory that leads to it.
                project::lift(&here.directory, &here.identity).map_err(&unclear)?;
                None
            },
        };
        let going = self.set_going(handle, here, spec)?;
        // Nobody reads what is deleted from here on.
        self.forget_key(&here.identity)?;
        let limits = Limits { entries: u64::MAX, volume };
        remove::tree(trash, OsStr::new(&going), &limits)
            .map_err(|error| self.left_alone(spec, error))?;
        Ok(group)
    }

    /// Half of a volume is worse than none: from here on no restore finds it, whenever the deletion is stopped.
    pub(super) fn set_going(
        &self,
        handle: &Handle,
        here: &Here,
        spec: &VolumeSpec,
    ) -> Result<String, Fault> {
        let unclear = self.unclear(spec, "purging");
        let (trash, going) = (&handle.trash, Target::going(spec).entry);
        if here.entry != going {
            trash.rename(&here.entry, trash, &going).map_err(&unclear)?;
        }
        settle(trash, here.identity.driver).map_err(&unclear)?;
        Ok(going)
    }

    pub(super) fn left_alone(&self, spec: &VolumeSpec, error: RemoveError) -> Fault {
        if let RemoveError::Io { source, .. } = &error
            && is_broken(*source)
        {
            return Fault::Unclear(self.reason(spec, "purging", *source));
        }
        let code = match &error {
            RemoveError::Io { source, .. } => code_of(*source),
            RemoveError::Mounted { .. } => ErrorCode::VolumeInUse,
            RemoveError::CalledOff { .. } => ErrorCode::Unavailable,
            RemoveError::NotADirectory { .. }
            | RemoveError::OtherFileSystem { .. }
            | RemoveError::Volume { .. }
            | RemoveError::Disk { .. }
            | RemoveError::Elsewhere { .. }
            | RemoveError::Immutable { .. } => ErrorCode::VolumeUnavailable,
        };
        let text = format!(
            "purging volume {} from {} stopped: {error}",
            spec.id,
            self.disk.root().join(".trash").display()
        );
        Fault::Unclear(Rejection::new(code, text))
    }
}
