//! CREATE: made under an unfinished name, limited, bound to its marker and synced, then renamed into place.

use super::super::driver::{Fault, Found};
use super::super::identity::{self, Binding, Identity};
use super::super::look::{self, Target, look};
use super::{OnDisk, exists, settle};
use crate::disk::adopt::{self, Handle};
use crate::disk::probe::DriverKind;
use crate::disk::{filesystem, is_broken, marker, subvolume, whole};
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::DiskSource;
use berth_model::volume::VolumeSpec;
use rustix::fs::{AtFlags, Mode, RenameFlags};
use rustix::io::Errno;
use std::os::fd::AsFd as _;

impl OnDisk {
    /// Makes sure that the volume is live.
    pub(super) fn make(&self, spec: &VolumeSpec) -> Result<Found, Fault> {
        let handle = self.disk.writable().map_err(|reason| self.refused(spec, reason))?;
        let target = Target::live(spec);
        match look(&self.disk, &handle, spec, target.clone()) {
            Ok(Some(here)) if here.identity.size != spec.size => {
                let shown = look::path(&self.disk, Place::Live, &here.entry);
                let text = format!(
                    "{shown} is volume {} with {}, expected {}",
                    spec.id, here.identity.size, spec.size
                );
                return Err(Fault::Foreign(
                    Rejection::new(ErrorCode::DirectoryExists, text)
                        .remedy("it is left as it is; resize the volume that is there"),
                ));
            },
            Ok(Some(here)) => {
                // Asked again: what was done before a crash may not have been synced.
                self.limit(&here)
                    .and_then(|()| settle(handle.volumes.as_fd(), here.identity.driver))
                    .and_then(|()| rustix::fs::fsync(&handle.meta))
                    .map_err(self.unclear(spec, "syncing"))?;
                self.ready(&handle, &here)?;
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
        if let DiskSource::Mount(_) = self.disk.source() {
            whole::refuse_foreign(handle.root.as_fd(), self.disk.root()).map_err(Fault::Failed)?;
        }
        let kind = self.kind_for(spec)?;
        self.prepare(&handle, spec, kind).map_err(|errno| self.take_back(&handle, spec, errno))?;
        if let Some(format) = kind.image() {
            self.fill(&handle, spec, format)?;
        }
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
        settle(parent, kind).map_err(self.unclear(spec, "making"))?;
        let here = look(&self.disk, &handle, spec, target)?.ok_or_else(|| {
            let text = format!("volume {} vanished while it was made", spec.id);
            Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text))
        })?;
        self.ready(&handle, &here)?;
        Ok(self.found(&here, Place::Live))
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

    /// Removes what a crash or a failure left of making this volume. Only emptiness is removed,
    /// and an image that never got its name: nobody was given it.
    pub(super) fn sweep(&self, handle: &Handle, spec: &VolumeSpec) -> Result<(), Fault> {
        let entry = look::unfinished_entry(spec.id);
        let parent = handle.volumes.as_fd();
        let unclear = self.unclear(spec, "clearing the beginnings of");
        if !exists(parent, &entry).map_err(&unclear)? {
            return Ok(());
        }
        let marked = look::read_marker(&self.disk, handle, spec.id).ok().flatten();
        if marked.is_some_and(|identity| identity.driver.image().is_some()) {
            Self::unbuild(parent, &entry).map_err(&unclear)?;
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
    fn prepare(&self, handle: &Handle, spec: &VolumeSpec, kind: DriverKind) -> Result<(), Errno> {
        let entry = look::unfinished_entry(spec.id);
        let parent = handle.volumes.as_fd();
        match kind {
            DriverKind::Directory | DriverKind::Image(_) | DriverKind::Mount => {
                rustix::fs::mkdirat(parent, entry.as_str(), Mode::RWXU)?;
            },
            DriverKind::Btrfs => subvolume::create(parent, &entry)?,
        }
        let directory = adopt::directory(parent, &entry)?;
        let (position, around) =
            (filesystem::position(directory.as_fd())?, filesystem::position(handle.root.as_fd())?);
        if position.mount != around.mount
            || (kind != DriverKind::Btrfs && position.device != around.device)
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
}
