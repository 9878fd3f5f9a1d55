//! The driver of real disks: the sequences of steps by which a volume comes, goes and comes back.
//!
//! Invariants that hold after a crash at any step: (a) a marker that is there means that the volume's directory
//! was there before it: a marker alone is lost data, never a reason to make an empty volume; (b) a directory in
//! `volumes/` under a volume's uuid is complete: limited, bound to its marker, synced; (c) what is deleted lies in
//! the trash, was verified on the handle that is emptied, and its marker goes last.

use super::driver::{Capabilities, Driver, Fault, Found};
use super::identity::{self, Binding, Identity};
use super::look::{self, Here, Target, look};
use crate::disk::adopt::{self, Handle};
use crate::disk::probe::DriverKind;
use crate::disk::remove::{Limits, RemoveError, remove_tree, volume_attribute};
use crate::disk::{Disk, code_of, filesystem, is_broken, marker, mounts, subvolume};
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use rustix::fs::{AtFlags, Mode, RenameFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Volumes on one real disk.
#[derive(Debug)]
pub struct OnDisk {
    disk: Arc<Disk>,
}

impl OnDisk {
    /// The driver of this disk.
    #[must_use]
    pub fn new(disk: Arc<Disk>) -> Self {
        Self { disk }
    }

    /// The verified directory of a live volume, for mounting it.
    ///
    /// # Errors
    /// Why the volume must not be used, with the evidence.
    pub fn open(&self, spec: &VolumeSpec) -> Result<OwnedFd, Rejection> {
        let handle = self.disk.writable().map_err(|reason| unavailable(spec, &reason))?;
        match look(&self.disk, &handle, spec, Target::live(spec)) {
            Ok(Some(here)) => Ok(here.directory),
            Ok(None) => {
                let shown = look::path(&self.disk, Place::Live, &spec.id.to_string());
                let reason = format!("volume {} is not at {shown}", spec.id);
                Err(Rejection::new(ErrorCode::VolumeUnavailable, reason)
                    .remedy("nothing was made in its place; look for the data"))
            },
            Err(fault) => Err(unavailable(spec, fault.rejection())),
        }
    }

    fn handle(&self) -> Result<Arc<Handle>, Fault> {
        self.disk.writable().map_err(Fault::Unclear)
    }

    fn found(&self, here: &Here, place: Place) -> Found {
        Found {
            host_path: Arc::from(look::path(&self.disk, place, &here.entry).as_str()),
            made_by: capabilities(here.identity.driver),
        }
    }

    /// What a failed call means. After an error that puts earlier writes in doubt the disk is withheld.
    fn reason(&self, spec: &VolumeSpec, doing: &str, errno: Errno) -> Rejection {
        let root = self.disk.root().display();
        let text = format!("{doing} volume {} on disk {root} failed ({errno})", spec.id);
        let reason = Rejection::new(code_of(errno), text);
        let reason = match errno {
            Errno::NOSPC | Errno::DQUOT => reason.remedy("free space on the disk"),
            Errno::ROFS => reason.remedy("find out why it is read-only, then remount it writable"),
            Errno::PERM | Errno::ACCESS => reason.remedy("run the agent as root"),
            _other => reason,
        };
        if is_broken(errno) {
            self.disk.set_broken(reason.clone().remedy(
                "look into the kernel log, replace or repair the disk, then restart the agent",
            ));
        }
        reason
    }

    fn unclear(&self, spec: &VolumeSpec, doing: &'static str) -> impl Fn(Errno) -> Fault {
        move |errno| Fault::Unclear(self.reason(spec, doing, errno))
    }

    /// The disk is withheld. Only when nothing of the volume is on it can that be said for certain.
    fn refused(&self, spec: &VolumeSpec, reason: Rejection) -> Fault {
        let clean = self.disk.readable().ok().and_then(|handle| self.is_clean(&handle, spec).ok());
        if clean == Some(true) { Fault::Failed(reason) } else { Fault::Unclear(reason) }
    }

    fn is_clean(&self, handle: &Handle, spec: &VolumeSpec) -> Result<bool, Errno> {
        let id = spec.id.to_string();
        let mine = |name: &String| name.contains(&id);
        let any = adopt::names(handle.volumes.as_fd())?.iter().any(mine)
            || adopt::names(handle.trash.as_fd())?.iter().any(mine)
            || exists(handle.meta.as_fd(), &id)?;
        Ok(!any)
    }

    /// A marker whose directory is nowhere: the volume was here once.
    fn refuse_lost(&self, handle: &Handle, spec: &VolumeSpec) -> Result<(), Fault> {
        let id = spec.id.to_string();
        let check = || -> Result<bool, Errno> {
            Ok(exists(handle.meta.as_fd(), &id)?
                && !exists(handle.volumes.as_fd(), &look::unfinished_entry(spec.id))?)
        };
        if !check().map_err(self.unclear(spec, "looking for"))? {
            return Ok(());
        }
        let text = format!(
            "volume {id} was made on disk {} before and is not there now",
            self.disk.root().display()
        );
        Err(Fault::Failed(
            Rejection::new(ErrorCode::VolumeLost, text)
                .remedy("no empty one was made in its place; look for the data"),
        ))
    }

    /// Removes what a crash or a failure left of making this volume. Only emptiness is removed.
    fn sweep(&self, handle: &Handle, spec: &VolumeSpec) -> Result<(), Fault> {
        let entry = look::unfinished_entry(spec.id);
        let parent = handle.volumes.as_fd();
        let unclear = self.unclear(spec, "clearing the beginnings of");
        if !exists(parent, &entry).map_err(&unclear)? {
            return Ok(());
        }
        marker::remove(handle.meta.as_fd(), &spec.id.to_string()).map_err(&unclear)?;
        match rustix::fs::unlinkat(parent, entry.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => rustix::fs::fsync(parent).map_err(unclear),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => {
                let shown = look::path(&self.disk, Place::Live, &entry);
                Err(Fault::Foreign(
                    Rejection::new(
                        ErrorCode::DirectoryExists,
                        format!("{shown} is in the way of volume {} and is not empty", spec.id),
                    )
                    .remedy("look what it is and move it away"),
                ))
            },
            Err(errno) => Err(unclear(errno)),
        }
    }

    /// Makes the volume under its unfinished name; afterwards everything but the name is durable.
    fn prepare(&self, handle: &Handle, spec: &VolumeSpec) -> Result<(), Errno> {
        let kind = self.kind();
        let entry = look::unfinished_entry(spec.id);
        let parent = handle.volumes.as_fd();
        match kind {
            DriverKind::Directory => rustix::fs::mkdirat(parent, entry.as_str(), Mode::RWXU)?,
            DriverKind::Btrfs => subvolume::create(parent, &entry)?,
        }
        let directory = adopt::directory(parent, &entry)?;
        let (position, around) =
            (filesystem::position(directory.as_fd())?, filesystem::position(handle.root.as_fd())?);
        if position.mount != around.mount
            || (kind == DriverKind::Directory && position.device != around.device)
        {
            return Err(Errno::XDEV);
        }
        if kind == DriverKind::Btrfs {
            subvolume::limit(directory.as_fd(), Some(spec.size.get()))?;
        }
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
        let home = look::home(&self.disk, handle);
        let mut identity = Identity::of(spec, home, kind, Binding::Attribute);
        if !identity::write_attribute(directory.as_fd(), &identity)? {
            identity.binding = Binding::Inode(position.inode);
        }
        rustix::fs::fsync(&directory)?;
        settle(parent, kind)?;
        marker::write(handle.meta.as_fd(), &spec.id.to_string(), &identity.encode())
    }

    /// After a failure before the volume got its name: take everything back, or say that it could not be.
    fn take_back(&self, handle: &Handle, spec: &VolumeSpec, errno: Errno) -> Fault {
        let reason = self.reason(spec, "making", errno);
        if is_broken(errno) {
            return Fault::Unclear(reason);
        }
        match self.sweep(handle, spec) {
            Ok(()) if errno == Errno::EXIST => {
                Fault::Foreign(Rejection { code: ErrorCode::DirectoryExists, ..reason })
            },
            Ok(()) => Fault::Failed(reason),
            Err(_second) => Fault::Unclear(reason),
        }
    }

    fn kind(&self) -> DriverKind {
        self.disk.choice().map_or(DriverKind::Directory, |choice| choice.driver)
    }

    fn refuse_mounted(&self, here: &Here, spec: &VolumeSpec) -> Result<(), Fault> {
        let mounted = mounts::touching(here.directory.as_fd()).map_err(|error| {
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

    /// Gives a volume in the trash its next generation. Asked again after a crash it completes what was begun.
    fn promote(&self, handle: &Handle, here: &Here, spec: &VolumeSpec) -> Result<(), Errno> {
        let mut identity = here.identity.clone();
        identity.generation = spec.generation;
        identity.home = look::home(&self.disk, handle);
        marker::write(handle.meta.as_fd(), &spec.id.to_string(), &identity.encode())?;
        if identity.binding == Binding::Attribute {
            if identity.driver == DriverKind::Btrfs {
                // A full quota would stop the attribute as well; the limit is set again by `limit`.
                subvolume::limit(here.directory.as_fd(), None)?;
            }
            identity::write_attribute(here.directory.as_fd(), &identity)?;
        }
        rustix::fs::fsync(&here.directory)
    }

    /// Sets the volume's limit, which a crash may have left lifted.
    fn limit(&self, here: &Here) -> Result<(), Errno> {
        match here.identity.driver {
            DriverKind::Directory => Ok(()),
            DriverKind::Btrfs => {
                subvolume::limit(here.directory.as_fd(), Some(here.identity.size.get()))
            },
        }
    }

    fn rename(
        &self,
        handle: &Handle,
        here: &Here,
        from: Place,
        target: &Target,
    ) -> Result<(), Errno> {
        let (old, new) = (look::parent(handle, from), look::parent(handle, target.place));
        let flags = RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(old, here.entry.as_str(), new, target.entry.as_str(), flags)
    }

    fn sync_both(&self, handle: &Handle, kind: DriverKind) -> Result<(), Errno> {
        settle(handle.volumes.as_fd(), kind)?;
        rustix::fs::fsync(&handle.trash)
    }

    fn to_trash(&self, handle: &Handle, spec: &VolumeSpec) -> Result<Option<Found>, Fault> {
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
        if spec.generation < 2 {
            return Ok(None);
        }
        let here = look(&self.disk, handle, spec, Target::previous(spec))?;
        if let Some(here) = &here {
            self.promote(handle, here, spec).map_err(self.unclear(spec, "restoring"))?;
        }
        Ok(here)
    }

    fn out_of_trash(&self, handle: &Handle, spec: &VolumeSpec) -> Result<Option<Found>, Fault> {
        let target = Target::live(spec);
        let unclear = self.unclear(spec, "restoring");
        if let Some(here) = look(&self.disk, handle, spec, target.clone())? {
            self.limit(&here).map_err(&unclear)?;
            self.sync_both(handle, here.identity.driver).map_err(unclear)?;
            return Ok(Some(self.found(&here, Place::Live)));
        }
        let Some(here) = self.interrupted_restore(handle, spec)? else { return Ok(None) };
        self.limit(&here).map_err(&unclear)?;
        self.rename(handle, &here, Place::Trash, &target).map_err(&unclear)?;
        self.sync_both(handle, here.identity.driver).map_err(&unclear)?;
        let here = look(&self.disk, handle, spec, target)?;
        Ok(here.map(|here| self.found(&here, Place::Live)))
    }

    /// Empties and removes a verified directory in the trash.
    fn delete(&self, handle: &Handle, here: &Here, spec: &VolumeSpec) -> Result<(), Fault> {
        self.refuse_mounted(here, spec)?;
        let trash = handle.trash.as_fd();
        let unclear = self.unclear(spec, "purging");
        let volume = volume_attribute(here.directory.as_fd()).map_err(&unclear)?;
        let group = match here.identity.driver {
            DriverKind::Directory => None,
            DriverKind::Btrfs => {
                // A full quota would stop deletions as well.
                subvolume::limit(here.directory.as_fd(), None).ok();
                Some(subvolume::id(here.directory.as_fd()).map_err(&unclear)?)
            },
        };
        let name = CString::new(here.entry.as_str()).expect("entries hold digits and dots");
        let limits = Limits { entries: u64::MAX, volume };
        remove_tree(trash, &name, &limits).map_err(|error| self.left_alone(spec, error))?;
        rustix::fs::fsync(trash).map_err(&unclear)?;
        if let Some(group) = group {
            rustix::fs::syncfs(trash).map_err(&unclear)?;
            // A group that stays behind is empty and harms nobody.
            subvolume::forget(trash, group).ok();
        }
        Ok(())
    }

    fn left_alone(&self, spec: &VolumeSpec, error: RemoveError) -> Fault {
        if let RemoveError::Io { source, .. } = &error
            && is_broken(*source)
        {
            return Fault::Unclear(self.reason(spec, "purging", *source));
        }
        let code = match &error {
            RemoveError::Io { source, .. } => code_of(*source),
            RemoveError::Mounted { .. } => ErrorCode::VolumeInUse,
            RemoveError::NotADirectory { .. }
            | RemoveError::OtherFileSystem { .. }
            | RemoveError::Volume { .. }
            | RemoveError::Disk { .. }
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

impl Driver for OnDisk {
    fn capabilities(&self) -> Capabilities {
        capabilities(self.kind())
    }

    fn ensure(&self, spec: &VolumeSpec) -> Result<Found, Fault> {
        let handle = self.disk.writable().map_err(|reason| self.refused(spec, reason))?;
        let target = Target::live(spec);
        match look(&self.disk, &handle, spec, target.clone()) {
            Ok(Some(here)) => {
                // Asked again: what was done before a crash may not have been synced.
                self.limit(&here)
                    .and_then(|()| settle(handle.volumes.as_fd(), here.identity.driver))
                    .and_then(|()| rustix::fs::fsync(&handle.meta))
                    .map_err(self.unclear(spec, "syncing"))?;
                return Ok(self.found(&here, Place::Live));
            },
            Ok(None) => {},
            Err(Fault::Foreign(reason)) => {
                let reason = Rejection { code: ErrorCode::DirectoryExists, ..reason };
                return Err(Fault::Foreign(reason.remedy("it is not adopted; move it away")));
            },
            Err(other) => return Err(other),
        }
        self.refuse_lost(&handle, spec)?;
        self.sweep(&handle, spec)?;
        self.prepare(&handle, spec).map_err(|errno| self.take_back(&handle, spec, errno))?;
        let (parent, flags) = (handle.volumes.as_fd(), RenameFlags::NOREPLACE);
        let unfinished = look::unfinished_entry(spec.id);
        rustix::fs::renameat_with(
            parent,
            unfinished.as_str(),
            parent,
            target.entry.as_str(),
            flags,
        )
        .map_err(|errno| self.take_back(&handle, spec, errno))?;
        settle(parent, self.kind()).map_err(self.unclear(spec, "making"))?;
        let here = look(&self.disk, &handle, spec, target)?.ok_or_else(|| {
            let text = format!("volume {} vanished while it was made", spec.id);
            Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text))
        })?;
        Ok(self.found(&here, Place::Live))
    }

    fn relocate(&self, spec: &VolumeSpec, to: Place) -> Result<Option<Found>, Fault> {
        let handle = self.handle()?;
        match to {
            Place::Trash => self.to_trash(&handle, spec),
            Place::Live => self.out_of_trash(&handle, spec),
        }
    }

    fn erase(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        let handle = self.handle()?;
        let unclear = self.unclear(spec, "purging");
        if let Some(here) = look(&self.disk, &handle, spec, Target::trash(spec))? {
            self.delete(&handle, &here, spec)?;
        }
        self.sweep(&handle, spec)?;
        let Some(identity) = look::read_marker(&self.disk, &handle, spec.id)? else {
            return Ok(());
        };
        // The marker goes when nothing is left that it explains: neither a live volume nor another life in the trash.
        let id = spec.id.to_string();
        let other = adopt::names(handle.trash.as_fd())
            .map_err(&unclear)?
            .into_iter()
            .find(|name| name.starts_with(&id))
            .map(|name| look::path(&self.disk, Place::Trash, &name));
        let live = exists(handle.volumes.as_fd(), &id).map_err(&unclear)?;
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
            marker::remove(handle.meta.as_fd(), &id).map_err(unclear)?;
        }
        Ok(())
    }

    fn observe(&self, spec: &VolumeSpec, place: Place) -> Result<Option<Found>, Fault> {
        let handle = self.handle()?;
        let target = match place {
            Place::Live => Target::live(spec),
            Place::Trash => Target::trash(spec),
        };
        let here = look(&self.disk, &handle, spec, target)?;
        Ok(here.map(|here| self.found(&here, place)))
    }

    fn usage(&self, spec: &VolumeSpec) -> Result<Bytes, Fault> {
        let handle = self.disk.readable().map_err(Fault::Unclear)?;
        let here = match look(&self.disk, &handle, spec, Target::live(spec))? {
            Some(here) => Some(here),
            None => look(&self.disk, &handle, spec, Target::trash(spec))?,
        };
        let Some(here) = here else {
            let text = format!("volume {} is not on disk {}", spec.id, self.disk.root().display());
            return Err(Fault::Failed(Rejection::new(ErrorCode::VolumeUnavailable, text)));
        };
        super::usage::measure(here.directory.as_fd(), here.identity.driver).map_err(|reason| {
            let text = format!("measuring volume {} failed: {reason}", spec.id);
            Fault::Failed(Rejection::new(ErrorCode::VolumeUnavailable, text))
        })
    }

    fn free(&self) -> Result<Bytes, Fault> {
        let handle = self.disk.readable().map_err(Fault::Unclear)?;
        let room = filesystem::room(handle.root.as_fd()).map_err(|errno| {
            let text = format!("disk {} does not answer ({errno})", self.disk.root().display());
            Fault::Unclear(Rejection::new(code_of(errno), text))
        })?;
        Ok(Bytes::new(room.free))
    }
}

fn capabilities(kind: DriverKind) -> Capabilities {
    Capabilities { name: kind.as_str(), enforcement: kind.enforcement() }
}

fn unavailable(spec: &VolumeSpec, reason: &Rejection) -> Rejection {
    let text = format!("volume {} is not available: {}", spec.id, reason.message);
    Rejection::new(ErrorCode::VolumeUnavailable, text).remedy(reason.remedy.clone())
}

/// Makes the entries of a directory durable. Subvolumes and their limits are part of the file system's
/// transaction, which only a sync of the file system commits.
fn settle(directory: BorrowedFd<'_>, kind: DriverKind) -> Result<(), Errno> {
    rustix::fs::fsync(directory)?;
    match kind {
        DriverKind::Directory => Ok(()),
        DriverKind::Btrfs => rustix::fs::syncfs(directory),
    }
}

fn exists(directory: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
