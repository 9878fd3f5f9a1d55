//! CREATE: made under an unfinished name, limited, bound to its marker and synced, then renamed into place. Volumes that
//! are made at the same time share the syncs of the directories that they share.

use super::super::content::Content;
use super::super::driver::{Fault, Found};
use super::super::identity::{self, Binding, Identity};
use super::super::look::{self, Target, look};
use super::{OnDisk, access, project, settle, settled};
use crate::disk::adopt::Handle;
use crate::disk::probe::DriverKind;
use crate::disk::rounds::{Member, Shared};
use crate::disk::{is_broken, marker, whole};
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::DiskSource;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

impl OnDisk {
    /// Makes sure that the volume is live, empty or with this content.
    pub(super) fn make(
        &self,
        spec: &VolumeSpec,
        content: Option<&mut dyn Content>,
    ) -> Result<Found, Fault> {
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
                // Asked again: its name may not have been synced before a crash. Everything else was, before it got it.
                self.limit(&here)
                    .and_then(|()| settle(&handle.volumes, here.identity.driver))
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
            whole::refuse_foreign(&handle.root, self.disk.root()).map_err(Fault::Failed)?;
        }
        let kind = self.kind_for(spec)?;
        let mut member = handle.rounds.enter();
        self.prepare(&handle, spec, (kind, &member))
            .map_err(|errno| self.take_back(&handle, spec, errno))?;
        if kind.image().is_some() || content.is_some() {
            // This may take long, and nobody is to wait for it.
            drop(member);
            match (kind.image(), content) {
                (Some(format), content) => self.fill(&handle, spec, format, content)?,
                (None, Some(content)) => self.put_in(&handle, spec, content)?,
                (None, None) => {},
            }
            member = handle.rounds.enter();
        }
        let parent = &handle.volumes;
        parent
            .rename(look::unfinished_entry(spec.id), parent, &target.entry)
            .map_err(|errno| self.take_back(&handle, spec, errno))?;
        member
            .sync(settled(kind), || Ok(()), || settle(parent, kind))
            .map_err(self.unclear(spec, "making"))?;
        drop(member);
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
            Ok(handle.meta.exists(&id)?
                && !handle.volumes.exists(look::unfinished_entry(spec.id))?)
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

    /// Removes what a crash or a failure left of making this volume. Only emptiness is removed, and what never got its
    /// name: an image, and the beginnings of a copy below the volume's own identity. Nobody was given them.
    pub(super) fn sweep(&self, handle: &Handle, spec: &VolumeSpec) -> Result<(), Fault> {
        let entry = look::unfinished_entry(spec.id);
        let parent = &handle.volumes;
        let unclear = self.unclear(spec, "clearing the beginnings of");
        if !parent.exists(&entry).map_err(&unclear)? {
            return Ok(());
        }
        let marked = look::read_marker(&self.disk, handle, spec.id).ok().flatten();
        if let Some(identity) = marked {
            if identity.driver.image().is_some() {
                Self::unbuild(parent, &entry).map_err(&unclear)?;
            }
            self.forget_key(&identity)?;
        }
        self.empty_copy(handle, spec)?;
        self.release(parent, &entry, spec.id).map_err(&unclear)?;
        marker::remove(&handle.meta, &spec.id.to_string()).map_err(&unclear)?;
        match parent.remove_directory(&entry) {
            Ok(()) | Err(Errno::NOENT) => settle(parent, self.kind()).map_err(unclear),
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
    fn prepare(
        &self,
        handle: &Handle,
        spec: &VolumeSpec,
        (kind, member): (DriverKind, &Member<'_>),
    ) -> Result<(), Errno> {
        let entry = look::unfinished_entry(spec.id);
        let parent = &handle.volumes;
        match kind {
            DriverKind::Directory
            | DriverKind::ProjectQuota
            | DriverKind::Image(_)
            | DriverKind::Mount
            | DriverKind::Block => {
                parent.make_directory(&entry, 0o700)?;
            },
            DriverKind::Btrfs => parent.make_subvolume(&entry)?,
        }
        let directory = parent.directory(&entry)?;
        let (position, around) = (directory.position()?, handle.root.position()?);
        if position.mount != around.mount
            || (kind != DriverKind::Btrfs && position.device != around.device)
        {
            return Err(Errno::XDEV);
        }
        let home = look::home(&self.disk, handle);
        let mut identity = Identity::of(spec, home, kind, Binding::Attribute);
        match kind {
            DriverKind::Directory
            | DriverKind::Image(_)
            | DriverKind::Mount
            | DriverKind::Block => {},
            DriverKind::Btrfs => directory.limit(Some(spec.size.get()))?,
            DriverKind::ProjectQuota => {
                identity.project = Some(project::choose(&directory, spec.id)?);
                project::enforce(&directory, &identity)?;
            },
        }
        directory.set_mode(0o700)?;
        if kind.image().is_none() {
            access::give(&directory, spec.access)?;
        }
        if !identity::write_attribute(&directory, &identity)? {
            identity.binding = Binding::Inode(position.inode);
        }
        // All of them are written before anybody's sync, so that one transaction of the file system has room for all.
        let id = spec.id.to_string();
        let marker = marker::begin(&handle.meta, &id, &identity.encode())?;
        let own = || directory.sync().and_then(|()| marker.sync());
        member.sync(settled(kind), own, || settle(parent, kind))?;
        marker.name()?;
        member.sync(Shared::Meta, || Ok(()), || handle.meta.sync())
    }

    /// After a failure before the volume got its name: take everything back, or say that it could not be.
    pub(super) fn take_back(&self, handle: &Handle, spec: &VolumeSpec, errno: Errno) -> Fault {
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
