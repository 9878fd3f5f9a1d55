//! Snapshots: below `.snapshots/` of the disk, each with a marker of its own in `.meta`. On btrfs they are read-only
//! subvolumes; those of images are directories with a file (`snapshot_image`).
//!
//! Layout: `.snapshots/<snapshot>` is a whole snapshot; `.snapshots/.<snapshot>.tmp` one that is being taken;
//! `.snapshots/<snapshot>.going` one that is being deleted; `.snapshots/.<volume>.<generation>.new` the content of a
//! volume that is being made from one (`derive`), with `.going` behind it when it is being deleted. Taking one copies no data, so it costs about the same for any size.
//!
//! Invariants that hold after a crash at any step: (a) what lies under a snapshot's own name is whole and synced, and its
//! marker, which names the very subvolume, was there before it; (b) a marker alone is a lost snapshot, unless it is being
//! deleted; (c) only what a marker or a name of a beginning explains is deleted, after it was looked at on its handle.

use super::super::driver::{Fault, Snapshots};
use super::super::identity;
use super::super::look::{self, Target, look};
use super::{OnDisk, settle, settle_order, settle_where};
use crate::disk::adopt::Handle;
use crate::disk::fs::{Access, Node};
use crate::disk::image::device::FILE;
use crate::disk::keeps;
use crate::disk::marker;
use crate::disk::probe::DriverKind;
use crate::disk::remove::{self, Limits, RemoveError, volume_attribute};
use crate::disk::{is_broken, subvolume};
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{SnapshotId, VolumeId};
use berth_model::snapshot::SnapshotSpec;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::sync::Arc;

/// Holds a disk's snapshots.
pub(super) const FOLDER: &str = ".snapshots";

impl Snapshots for OnDisk {
    fn take(&self, snapshot: &SnapshotSpec) -> Result<Arc<str>, Fault> {
        let handle = self.disk.writable().map_err(Fault::Unclear)?;
        let live = look(&self.disk, &handle, &snapshot.of, Target::live(&snapshot.of));
        // Nothing is made on a disk whose volumes can have none.
        if let Ok(Some(here)) = &live {
            let (driver, choice) = (here.identity.driver, self.disk.choice());
            if let Some(why) = keeps::why_none(choice.as_ref(), driver) {
                return Err(Fault::Failed(unsupported(snapshot, driver, why)));
            }
        }
        let folder = self.folder(&handle, snapshot)?;
        let unclear = self.about(snapshot, "taking");
        if self.whole(&handle, snapshot)?.is_some() {
            // Asked again: what was done before a crash may not have been synced.
            settle_where(&folder).map_err(unclear)?;
            return Ok(self.shown(&snapshot.id.to_string()));
        }
        self.refuse_lost_snapshot(&handle, &folder, snapshot)?;
        self.sweep_beginning(&handle, &folder, snapshot)?;
        let Some(here) = live? else {
            let text = format!(
                "{} cannot be taken: the volume is not at {}",
                label(snapshot),
                look::path(&self.disk, Place::Live, &snapshot.of.id.to_string())
            );
            return Err(Fault::Failed(
                Rejection::new(ErrorCode::VolumeUnavailable, text)
                    .remedy("nothing was taken; look for the volume's data"),
            ));
        };
        if here.identity.encrypted {
            let why = "it is encrypted: a copy would be read by its key alone, and end with it";
            return Err(Fault::Failed(unsupported(snapshot, here.identity.driver, why)));
        }
        let beginning = unfinished(snapshot.id);
        match here.identity.driver.image() {
            Some(kind) => {
                let taken = self.take_image(&handle, &folder, &here, kind, snapshot);
                taken.map_err(|fault| self.swept(&handle, &folder, snapshot, fault))?;
            },
            None => {
                self.refuse_nested(&here.directory, snapshot)?;
                folder
                    .snapshot(&beginning, &here.directory, Access::ReadOnly)
                    .and_then(|()| settle(&folder, DriverKind::Btrfs))
                    .and_then(|()| self.mark(&handle, &folder, &beginning, snapshot, None))
                    .map_err(|errno| self.give_up(&handle, &folder, snapshot, errno))?;
            },
        }
        folder
            .rename(&beginning, &folder, snapshot.id.to_string())
            .map_err(|errno| self.give_up(&handle, &folder, snapshot, errno))?;
        settle_where(&folder).map_err(self.about(snapshot, "taking"))?;
        Ok(self.shown(&snapshot.id.to_string()))
    }

    fn find(&self, snapshot: &SnapshotSpec) -> Result<Option<Arc<str>>, Fault> {
        let handle = self.disk.readable().map_err(Fault::Unclear)?;
        let found = self.whole(&handle, snapshot)?;
        Ok(found.map(|_directory| self.shown(&snapshot.id.to_string())))
    }

    fn delete(&self, snapshot: &SnapshotSpec) -> Result<(), Fault> {
        let handle = self.disk.writable().map_err(Fault::Unclear)?;
        let folder = self.folder(&handle, snapshot)?;
        let unclear = self.about(snapshot, "deleting");
        let going = format!("{}.going", snapshot.id);
        if let Some(directory) = self.whole(&handle, snapshot)? {
            self.refuse_mounted_snapshot(&directory, snapshot)?;
            // Half of a snapshot is worse than none: from here on nobody finds it, whenever the deletion is stopped.
            folder.rename(snapshot.id.to_string(), &folder, &going).map_err(&unclear)?;
        }
        // Also when it was done before: whoever renamed or deleted it may have died before that was synced.
        settle_order(&folder).map_err(&unclear)?;
        if self.at(&handle, &folder, &going, snapshot)?.is_some() {
            self.empty(&folder, &going, &snapshot.of.id, &label(snapshot))?;
        }
        self.sweep_beginning(&handle, &folder, snapshot)?;
        self.erase_replaced_by(&handle, snapshot)?;
        marker::remove(&handle.meta, &snapshot.id.to_string()).map_err(unclear)
    }

    fn roll_back(
        &self,
        spec: &VolumeSpec,
        snapshot: &SnapshotSpec,
        safety: &SnapshotSpec,
    ) -> Result<Option<super::Found>, Fault> {
        self.put_back(spec, snapshot, safety)
    }

    fn clone_from(
        &self,
        spec: &VolumeSpec,
        snapshot: &SnapshotSpec,
    ) -> Result<super::Found, Fault> {
        self.copy(spec, snapshot)
    }
}

impl OnDisk {
    /// The folder of the snapshots, made when it is not there.
    pub(super) fn folder(&self, handle: &Handle, snapshot: &SnapshotSpec) -> Result<Node, Fault> {
        let unclear = self.about(snapshot, "reaching");
        match handle.root.directory(FOLDER) {
            Ok(folder) => return Ok(folder),
            Err(Errno::NOENT) => {},
            Err(errno) => return Err(unclear(errno)),
        }
        match handle.root.make_directory(FOLDER, 0o700) {
            Ok(()) | Err(Errno::EXIST) => {},
            Err(errno) => return Err(unclear(errno)),
        }
        handle.root.directory(FOLDER).map_err(unclear)
    }

    /// A marker whose snapshot is nowhere: it was here once.
    fn refuse_lost_snapshot(
        &self,
        handle: &Handle,
        folder: &Node,
        snapshot: &SnapshotSpec,
    ) -> Result<(), Fault> {
        let unclear = self.about(snapshot, "looking for");
        if self.snapshot_marker(handle, snapshot)?.is_none()
            || folder.exists(unfinished(snapshot.id)).map_err(unclear)?
        {
            return Ok(());
        }
        let text = format!("{} was taken before and is not there now", label(snapshot));
        Err(Fault::Failed(
            Rejection::new(ErrorCode::SnapshotLost, text)
                .remedy("no other was taken in its place; look for it"),
        ))
    }

    /// Removes what a crash or a failure left of taking this snapshot.
    fn sweep_beginning(
        &self,
        handle: &Handle,
        folder: &Node,
        snapshot: &SnapshotSpec,
    ) -> Result<(), Fault> {
        let entry = unfinished(snapshot.id);
        let unclear = self.about(snapshot, "clearing the beginnings of");
        if !folder.exists(&entry).map_err(&unclear)? {
            return Ok(());
        }
        marker::remove(&handle.meta, &snapshot.id.to_string()).map_err(unclear)?;
        self.empty(folder, &entry, &snapshot.of.id, &label(snapshot))
    }

    /// A subvolume in the volume would be missing in a snapshot of it.
    fn refuse_nested(&self, volume: &Node, snapshot: &SnapshotSpec) -> Result<(), Fault> {
        let nested = volume.nested().map_err(self.about(snapshot, "looking at the volume of"))?;
        let Some(name) = nested else { return Ok(()) };
        let text = format!(
            "{} cannot be taken: {name} in the volume is a subvolume of its own, which would be missing in it",
            label(snapshot)
        );
        Err(Fault::Failed(
            Rejection::new(ErrorCode::Unsupported, text)
                .remedy("make a plain directory of it: copy what it holds, then delete it"),
        ))
    }

    /// After a failure that the fault tells of: what was begun goes. Said for certain only when it did.
    fn swept(
        &self,
        handle: &Handle,
        folder: &Node,
        snapshot: &SnapshotSpec,
        fault: Fault,
    ) -> Fault {
        let swept = self.sweep_beginning(handle, folder, snapshot);
        match (fault, swept) {
            (Fault::Failed(reason), Err(_left)) => Fault::Unclear(reason),
            (fault, _swept) => fault,
        }
    }

    fn give_up(
        &self,
        handle: &Handle,
        folder: &Node,
        snapshot: &SnapshotSpec,
        errno: Errno,
    ) -> Fault {
        let reason = self.about(snapshot, "taking")(errno);
        match (reason, self.sweep_beginning(handle, folder, snapshot)) {
            (Fault::Unclear(reason), Ok(())) if !is_broken(errno) => Fault::Failed(reason),
            (reason, _swept) => reason,
        }
    }

    /// Empties and removes a subvolume that has the attribute of `volume`, whatever its generation.
    pub(super) fn empty(
        &self,
        parent: &Node,
        entry: &str,
        volume: &VolumeId,
        what: &str,
    ) -> Result<(), Fault> {
        let failed = |errno: Errno| Fault::Unclear(self.why(&format!("deleting {what}"), errno));
        let directory = match parent.directory(entry) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed(errno)),
        };
        let attribute = volume_attribute(&directory).map_err(failed)?;
        let named = attribute.as_deref().and_then(|value| identity::read_attribute(value).ok());
        // One without an attribute was cut off while it was being made, so it carries nobody's name.
        if named.is_some_and(|(id, _generation, _agent, _disk)| id != *volume) {
            let text = format!("{what} is not deleted: it carries the identity of another volume");
            return Err(Fault::Foreign(Rejection::new(ErrorCode::SnapshotNotReady, text)));
        }
        let group = tree_of(&directory).map_err(failed)?;
        if group.is_some() {
            directory.make_writable().map_err(failed)?;
            // A full quota would stop deletions as well.
            directory.limit(None).ok();
        }
        drop(directory);
        let limits = Limits { entries: u64::MAX, volume: attribute };
        remove::tree(parent, OsStr::new(entry), &limits).map_err(|error| match error {
            RemoveError::Io { source, .. } if is_broken(source) => failed(source),
            error => {
                let text = format!("deleting {what} stopped: {error}");
                Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text))
            },
        })?;
        settle_where(parent).map_err(failed)?;
        if let Some(group) = group {
            // A group that stays behind is empty and harms nobody.
            parent.forget_quota(group).ok();
        }
        Ok(())
    }

    fn refuse_mounted_snapshot(
        &self,
        directory: &Node,
        snapshot: &SnapshotSpec,
    ) -> Result<(), Fault> {
        let mut mounted = directory.mounts().map_err(|error| {
            let text = format!("looking for mounts of {} failed: {error}", label(snapshot));
            Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text))
        })?;
        if let Ok(file) = directory.file(FILE)
            && let Some(device) = file.attached().map_err(self.about(snapshot, "looking for"))?
        {
            mounted.push(format!("/dev/loop{}", device.number()));
        }
        if mounted.is_empty() {
            return Ok(());
        }
        let text = format!("{} is mounted at {}", label(snapshot), mounted.join(", "));
        Err(Fault::Failed(
            Rejection::new(ErrorCode::VolumeInUse, text)
                .remedy("unmount it; until then it is left as it is"),
        ))
    }

    /// What a failed call on a snapshot means. After an error that puts earlier writes in doubt the disk is withheld.
    pub(super) fn about(
        &self,
        snapshot: &SnapshotSpec,
        doing: &'static str,
    ) -> impl Fn(Errno) -> Fault {
        let (volume, what) = (snapshot.of.clone(), format!("{doing} {} of", label(snapshot)));
        move |errno| Fault::Unclear(self.reason(&volume, &what, errno))
    }

    /// The path of a snapshot, for people and for reports.
    pub(super) fn shown(&self, entry: &str) -> Arc<str> {
        Arc::from(self.disk.root().join(FOLDER).join(entry).to_string_lossy().as_ref())
    }

    /// What lies among the snapshots without being one of `known`: kept, and told to people.
    pub(in super::super) fn unknown_snapshots(&self, known: &dyn Fn(&str) -> bool) -> Vec<String> {
        let Ok(handle) = self.disk.readable() else { return Vec::new() };
        let Ok(folder) = handle.root.directory(FOLDER) else { return Vec::new() };
        let names = folder.all_names().unwrap_or_default();
        let whose = |name: &str| -> String {
            name.trim_start_matches('.').split('.').next().unwrap_or_default().to_owned()
        };
        names
            .into_iter()
            .filter(|name| !known(&whose(name)))
            .map(|name| self.shown(&name).to_string())
            .collect()
    }
}

/// For people.
pub(super) fn label(snapshot: &SnapshotSpec) -> String {
    format!("snapshot {} ({}) of volume {}", snapshot.name, snapshot.id, snapshot.of.name)
}

/// By what a marker knows a directory again: the number of its subvolume, or its inode.
pub(super) fn trace_of(directory: &Node) -> Result<(&'static str, String), Errno> {
    Ok(match tree_of(directory)? {
        Some(tree) => ("subvolume", tree.to_string()),
        None => ("inode", directory.position()?.inode.to_string()),
    })
}

pub(super) fn unfinished(id: SnapshotId) -> String {
    format!(".{id}.tmp")
}

/// The number of the subvolume whose root the directory is; nothing when it is no such root.
pub(super) fn tree_of(directory: &Node) -> Result<Option<u64>, Errno> {
    if !directory.is_btrfs()? || directory.position()?.inode != subvolume::ROOT_INODE {
        return Ok(None);
    }
    directory.subvolume().map(Some)
}

fn unsupported(snapshot: &SnapshotSpec, driver: DriverKind, why: &str) -> Rejection {
    let text = format!(
        "{} cannot be taken: the volume was made by driver {}, and {why}",
        label(snapshot),
        driver.as_str()
    );
    Rejection::new(ErrorCode::Unsupported, text).remedy(
        "for volumes that need snapshots use a disk on btrfs with quotas, or images on XFS or btrfs",
    )
}
