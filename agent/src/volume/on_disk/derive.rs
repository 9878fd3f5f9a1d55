//! Volumes made from snapshots: CLONE makes a new one, ROLLBACK puts a copy in the place of a live one.
//!
//! The new content is made aside (`.snapshots/.<volume>.<generation>.new`), gets its identity and its limit, and is
//! renamed into place. What an earlier attempt left aside is never used: it is put away under a name of its own
//! (`….new.going`) before anything of it is deleted, so that no half of a copy is taken for one. In a roll back the life that
//! ends goes to the trash before, with a marker of its own, `.meta/<volume>.<generation>`, that names the safety snapshot
//! which has the same content. It is deleted with that snapshot or with its volume, never before.
//!
//! Invariants that hold after a crash at any step: (a) as long as the live directory is there it is whole, in one life or
//! the other; (b) when it is not there, the trash has the life that ended and the roll back can be completed; (c) until
//! the live directory is moved, a failure leaves the volume as it was.

use super::super::driver::{Fault, Found};
use super::super::identity::{self, Binding, Identity};
use super::super::look::{self, Here, Target, look};
use super::snapshot::{FOLDER, label};
use super::{OnDisk, access, settle, settle_order};
use crate::disk::adopt::Handle;
use crate::disk::fs::{Access, Node};
use crate::disk::image::Format;
use crate::disk::probe::DriverKind;
use crate::disk::remove::volume_attribute;
use crate::disk::{is_broken, marker};
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::snapshot::SnapshotSpec;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

/// Why a content could not be made aside.
pub(super) struct Unmade {
    pub(super) reason: Rejection,
    /// One that speaks of the disk when the disk is at fault.
    pub(super) errno: Errno,
}

impl OnDisk {
    /// CLONE.
    pub(super) fn copy(&self, spec: &VolumeSpec, snapshot: &SnapshotSpec) -> Result<Found, Fault> {
        let handle = self.disk.writable().map_err(|reason| self.refused(spec, reason))?;
        let folder = self.folder(&handle, snapshot)?;
        let target = Target::live(spec);
        match look(&self.disk, &handle, spec, target.clone()) {
            Ok(Some(here)) => {
                self.limit(&here).map_err(self.unclear(spec, "limiting"))?;
                return self.arrived(&handle, &folder, spec, target);
            },
            Ok(None) => {},
            Err(Fault::Foreign(reason)) => {
                let reason = Rejection { code: ErrorCode::DirectoryExists, ..reason };
                return Err(Fault::Foreign(reason.remedy("it is not adopted; move it away")));
            },
            Err(other) => return Err(other),
        }
        let unclear = self.unclear(spec, "cloning");
        let id = spec.id.to_string();
        let begun = is_begun(&folder, spec).map_err(&unclear)?;
        if !begun && handle.meta.exists(&id).map_err(&unclear)? {
            let text = format!("volume {id} was made before and is not there now");
            let lost = Rejection::new(ErrorCode::VolumeLost, text);
            return Err(Fault::Failed(lost.remedy("nothing was made in its place; look for it")));
        }
        let Some(source) = self.whole(&handle, snapshot)? else {
            self.clear(&handle, &folder, spec)?;
            return Err(Fault::Failed(lost(snapshot)));
        };
        let image = self.image_of(&handle, snapshot)?;
        self.put_away(&folder, spec)?;
        let made = self.make_aside(&handle, &folder, spec, (&source, image), None);
        // A deletion takes its name first: while it has its name, all of it was there to be copied.
        if made.is_ok() && self.whole(&handle, snapshot)?.is_none() {
            self.clear(&handle, &folder, spec)?;
            return Err(Fault::Failed(lost(snapshot)));
        }
        let made = made.and_then(|identity| {
            marker::write(&handle.meta, &id, &identity.encode())
                .and_then(|()| folder.rename(aside(spec), &handle.volumes, &target.entry))
                .map_err(|errno| Unmade { reason: self.reason(spec, "cloning", errno), errno })
        });
        if let Err(Unmade { reason, errno }) = made {
            return Err(match self.clear(&handle, &folder, spec) {
                Ok(()) if errno == Errno::EXIST => {
                    Fault::Foreign(Rejection { code: ErrorCode::DirectoryExists, ..reason })
                },
                Ok(()) if !is_broken(errno) => Fault::Failed(reason),
                Ok(()) | Err(_) => Fault::Unclear(reason),
            });
        }
        self.arrived(&handle, &folder, spec, target)
    }

    fn arrived(
        &self,
        handle: &Handle,
        folder: &Node,
        spec: &VolumeSpec,
        target: Target,
    ) -> Result<Found, Fault> {
        settle_order(&handle.volumes).map_err(self.unclear(spec, "syncing"))?;
        // The volume is there; what cannot be deleted now goes with its purge.
        self.clear_aside(folder, spec).ok();
        if !folder.is_btrfs().map_err(self.unclear(spec, "syncing"))? {
            // It came from there. Also what somebody deleted who died before that was synced.
            folder.sync().map_err(self.unclear(spec, "syncing"))?;
        }
        let here = look(&self.disk, handle, spec, target)?.ok_or_else(|| {
            let text = format!("volume {} vanished while it was made", spec.id);
            Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text))
        })?;
        self.ready(handle, &here)?;
        Ok(self.found(&here, Place::Live))
    }

    /// Makes the content aside, complete but for its place, which may be that of another life.
    fn make_aside(
        &self,
        handle: &Handle,
        folder: &Node,
        spec: &VolumeSpec,
        (source, image): (&Node, Option<Format>),
        replaced: Option<&Here>,
    ) -> Result<Identity, Unmade> {
        match image {
            Some(kind) => self.make_image_aside(handle, folder, spec, (source, kind), replaced),
            None => self.make_subvolume_aside(handle, folder, spec, source).map_err(|errno| {
                let reason = self.reason(spec, "making from a snapshot", errno);
                Unmade { reason, errno }
            }),
        }
    }

    fn make_subvolume_aside(
        &self,
        handle: &Handle,
        folder: &Node,
        spec: &VolumeSpec,
        source: &Node,
    ) -> Result<Identity, Errno> {
        let entry = aside(spec);
        let home = look::home(&self.disk, handle);
        let identity = Identity::of(spec, home, DriverKind::Btrfs, Binding::Attribute);
        folder.snapshot(&entry, source, Access::Writable)?;
        let directory = folder.directory(&entry)?;
        // It has the limit of the volume that the snapshot is of, which may be reached: that would stop the attribute.
        directory.limit(None)?;
        // Its identity is that volume's too.
        if !identity::write_attribute(&directory, &identity)? {
            return Err(Errno::NOTSUP);
        }
        access::give(&directory, spec.access)?;
        directory.limit(Some(spec.size.get()))?;
        settle(folder, DriverKind::Btrfs)?;
        Ok(identity)
    }

    /// Removes what was made aside of a new volume.
    fn clear(&self, handle: &Handle, folder: &Node, spec: &VolumeSpec) -> Result<(), Fault> {
        let unclear = self.unclear(spec, "clearing the beginnings of");
        if !is_begun(folder, spec).map_err(&unclear)? {
            return Ok(());
        }
        marker::remove(&handle.meta, &spec.id.to_string()).map_err(unclear)?;
        self.clear_aside(folder, spec)
    }

    /// Gives what lies aside the name under which it is deleted, and under which nobody takes it for a whole copy.
    fn put_away(&self, folder: &Node, spec: &VolumeSpec) -> Result<(), Fault> {
        let unclear = self.unclear(spec, "clearing the beginnings of");
        if !folder.exists(aside(spec)).map_err(&unclear)? {
            return Ok(());
        }
        self.empty_aside(folder, &going(spec), spec)?;
        folder.rename(aside(spec), folder, going(spec)).map_err(unclear)
    }

    fn clear_aside(&self, folder: &Node, spec: &VolumeSpec) -> Result<(), Fault> {
        self.put_away(folder, spec)?;
        self.empty_aside(folder, &going(spec), spec)
    }

    fn empty_aside(&self, folder: &Node, entry: &str, spec: &VolumeSpec) -> Result<(), Fault> {
        let unclear = self.unclear(spec, "clearing the beginnings of");
        let directory = match folder.directory(entry) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(unclear(errno)),
        };
        // Cut off before it got its own identity it has that of the snapshot's volume. Its name says what it is.
        let value = volume_attribute(&directory).map_err(unclear)?;
        let named = value.as_deref().and_then(|value| identity::read_attribute(value).ok());
        let id = named.map_or(spec.id, |(id, _generation, _agent, _disk)| id);
        self.empty(folder, entry, &id, &format!("the beginnings of volume {}", spec.id))
    }

    /// Deletes what was ever put aside of a volume that is being purged.
    pub(super) fn clear_all_aside(&self, handle: &Handle, spec: &VolumeSpec) -> Result<(), Fault> {
        let unclear = self.unclear(spec, "clearing the beginnings of");
        let folder = match handle.root.directory(FOLDER) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(unclear(errno)),
        };
        let own = format!(".{}.", spec.id);
        let names = folder.all_names().map_err(unclear)?;
        names
            .iter()
            .filter(|name| name.starts_with(&own))
            .try_for_each(|name| self.empty_aside(&folder, name, spec))
    }

    /// ROLLBACK: a copy of the snapshot as the volume of `spec`, whose last life goes to the trash. Nothing when the
    /// volume is not there.
    pub(super) fn put_back(
        &self,
        spec: &VolumeSpec,
        snapshot: &SnapshotSpec,
        safety: &SnapshotSpec,
    ) -> Result<Option<Found>, Fault> {
        let handle = self.disk.writable().map_err(Fault::Unclear)?;
        let folder = self.folder(&handle, snapshot)?;
        let last = VolumeSpec { generation: spec.generation.saturating_sub(1), ..spec.clone() };
        let gone = Target::trash(&last).entry;
        let replaced = handle.trash.exists(&gone).map_err(self.unclear(spec, "rolling back"))?;
        let live = match look(&self.disk, &handle, &last, either(spec, &last))? {
            Some(here) if here.identity.generation == spec.generation => {
                self.limit(&here).map_err(self.unclear(spec, "limiting"))?;
                return self.arrived(&handle, &folder, spec, Target::live(spec)).map(Some);
            },
            Some(here) => Some(here),
            None if replaced => None,
            None => return Ok(None),
        };
        // Until the live directory is moved, a failure leaves everything as it was, the claim on it taken back.
        let failed = |fault: Fault| match (fault, &live) {
            (
                Fault::Unclear(reason) | Fault::Foreign(reason) | Fault::Failed(reason),
                Some(here),
            ) => {
                let is_as_before = marker::remove(&handle.meta, &gone).is_ok()
                    && self.clear_aside(&folder, spec).is_ok()
                    && self.ready(&handle, here).is_ok();
                if is_as_before { Fault::Failed(reason) } else { Fault::Unclear(reason) }
            },
            (fault, _) => fault,
        };
        let source = self
            .whole(&handle, snapshot)
            .and_then(|found| found.ok_or_else(|| Fault::Unclear(lost(snapshot))));
        let source = source.map_err(failed)?;
        if live.is_some() && self.whole(&handle, safety).map_err(failed)?.is_none() {
            return Err(failed(Fault::Unclear(lost(safety))));
        }
        let image = self.image_of(&handle, snapshot).map_err(failed)?;
        if let Some(here) = &live {
            self.refuse_mounted(here, spec).map_err(failed)?;
        }
        self.put_away(&folder, spec).map_err(failed)?;
        let unclear = self.unclear(spec, "rolling back");
        let identity = self
            .make_aside(&handle, &folder, spec, (&source, image), live.as_ref())
            .map_err(|unmade| failed(Fault::Unclear(unmade.reason)))?;
        if let Some(here) = &live {
            if let Some(format) = here.identity.driver.image() {
                self.deactivate(&handle, here, format).map_err(failed)?;
            }
            self.mark_replaced(&handle, &here.directory, &last, safety)
                .and_then(|()| handle.volumes.rename(&here.entry, &handle.trash, &gone))
                .map_err(|errno| failed(unclear(errno)))?;
            settle_order(&handle.volumes).map_err(&unclear)?;
        }
        let target = Target::live(spec);
        marker::write(&handle.meta, &spec.id.to_string(), &identity.encode())
            .and_then(|()| folder.rename(aside(spec), &handle.volumes, &target.entry))
            .map_err(unclear)?;
        self.arrived(&handle, &folder, spec, target).map(Some)
    }
}

/// The live volume in either life.
fn either(spec: &VolumeSpec, last: &VolumeSpec) -> Target {
    Target { generations: vec![last.generation, spec.generation], ..Target::live(spec) }
}

pub(super) fn aside(spec: &VolumeSpec) -> String {
    format!(".{}.{}.new", spec.id, spec.generation)
}

/// Is it the name of what is made aside, of whichever volume?
pub(super) fn is_aside(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".new")
}

fn going(spec: &VolumeSpec) -> String {
    format!("{}.going", aside(spec))
}

fn is_begun(folder: &Node, spec: &VolumeSpec) -> Result<bool, Errno> {
    Ok(folder.exists(aside(spec))? || folder.exists(going(spec))?)
}

fn lost(snapshot: &SnapshotSpec) -> Rejection {
    Rejection::new(ErrorCode::SnapshotLost, format!("{} is not there", label(snapshot)))
        .remedy("nothing was made in its place; look for it on the agent's disk")
}
