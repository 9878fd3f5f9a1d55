//! Room that is given out: what live images may still take of the disk, and the check before anything takes more of it.
//!
//! Images that share blocks with snapshots take more room when they are written. That room is nobody else's. Whoever asks for
//! room and then takes it holds [`OnDisk::room_alone`] from the question until the file system shows that it is taken, so
//! nothing is given out twice; what is slow (writing out, copying, mounting) is done before or after. That lock is the
//! innermost: whoever holds it takes no other. This module does not know who asks.

use super::super::driver::Fault;
use super::super::look::{self, Here};
use super::snapshot::FOLDER;
use super::{OnDisk, derive};
use crate::disk::adopt::Handle;
use crate::disk::code_of;
use crate::disk::fs::Node;
use crate::disk::image::device::FILE;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::units::Bytes;
use rustix::io::Errno;
use std::sync::{MutexGuard, PoisonError};

/// Blocks that are copied cost the disk's own tables room as well: this part of the disk, and at least so much.
const RESERVED_PART: u64 = 100;
const RESERVED_LEAST: u64 = 16 << 20;

/// How many bytes of an image others have as well. The search for crashes and errors names who asks.
#[track_caller]
pub(super) fn shared(file: &Node) -> Result<u64, Errno> {
    match file.shared() {
        // Those on which files share blocks all say so.
        Err(Errno::OPNOTSUPP) => Ok(0),
        answer => answer,
    }
}

fn shared_below(parent: &Node, name: &str) -> Result<u64, Errno> {
    match parent.directory(name).and_then(|directory| directory.file(FILE)) {
        Ok(file) => shared(&file),
        // No image, or one that is being made or deleted.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::XDEV) => Ok(0),
        Err(errno) => Err(errno),
    }
}

impl OnDisk {
    /// From asking for room until it is taken nobody else of this agent does the same.
    pub(super) fn room_alone(&self) -> MutexGuard<'_, ()> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the disk has free that is nobody's.
    pub(super) fn nobodys(&self, handle: &Handle) -> Result<u64, Errno> {
        // In this order: what is copied meanwhile counts as taken and as owed.
        let owed = self.owed(handle)?;
        let room = handle.root.room()?;
        let reserved = if owed == 0 { 0 } else { reserved(room.total) };
        Ok(room.free.saturating_sub(owed).saturating_sub(reserved))
    }

    /// Refuses what will share blocks and needs more room than there is; so much of what is owed counts no more.
    pub(super) fn refuse_full(
        &self,
        handle: &Handle,
        (needed, back): (u64, u64),
        what: &str,
    ) -> Result<(), Fault> {
        let asked = self.owed(handle).and_then(|owed| Ok((owed, handle.root.room()?)));
        let (owed, room) = asked.map_err(|errno| self.silent(errno))?;
        let promised = owed.saturating_sub(back).saturating_add(reserved(room.total));
        let free = room.free.saturating_sub(promised);
        if free >= needed { Ok(()) } else { Err(self.full(free, needed, what)) }
    }

    /// Refuses what needs room that live images may still take. Whether there is any the file system says itself.
    pub(super) fn refuse_promised(
        &self,
        handle: &Handle,
        needed: u64,
        what: &str,
    ) -> Result<(), Fault> {
        if needed == 0 || self.owed(handle).map_err(|errno| self.silent(errno))? == 0 {
            return Ok(());
        }
        self.refuse_full(handle, (needed, 0), what)
    }

    /// Refuses a volume its place when there is no room for what it may take more than it has.
    pub(super) fn refuse_full_when_live(&self, handle: &Handle, here: &Here) -> Result<(), Fault> {
        if here.identity.driver.image().is_none() {
            return Ok(());
        }
        let id = here.identity.id;
        let needed = shared(&self.file(here)?).map_err(|errno| self.silent(errno))?;
        if needed == 0 {
            return Ok(());
        }
        self.refuse_full(handle, (needed, 0), &format!("volume {id} may come to take more,"))
    }

    /// What a life of an image that ends when another takes its place owes no more.
    pub(super) fn owed_by(&self, replaced: Option<&Here>) -> Result<u64, Fault> {
        match replaced {
            Some(here) if here.identity.driver.image().is_some() => {
                shared(&self.file(here)?).map_err(|errno| self.silent(errno))
            },
            Some(_) | None => Ok(0),
        }
    }

    /// What the live images, and those that are about to get their place, take more of the disk when everything in them is
    /// written anew.
    fn owed(&self, handle: &Handle) -> Result<u64, Errno> {
        let folder = match handle.root.directory(FOLDER) {
            Ok(folder) => folder,
            // Without it nothing ever shared blocks.
            Err(Errno::NOENT) => return Ok(0),
            Err(errno) => return Err(errno),
        };
        let mut owed = 0_u64;
        // These first: what gets its place meanwhile counts twice then, and never not at all.
        for name in folder.all_names()?.iter().filter(|name| derive::is_aside(name)) {
            owed = owed.saturating_add(shared_below(&folder, name)?);
        }
        for name in handle.volumes.all_names()? {
            let Ok(id) = name.parse::<VolumeId>() else { continue };
            // Without a marker that says otherwise it may be an image.
            if let Ok(Some(identity)) = look::read_marker(&self.disk, handle, id)
                && identity.driver.image().is_none()
            {
                continue;
            }
            owed = owed.saturating_add(shared_below(&handle.volumes, &name)?);
        }
        Ok(owed)
    }

    /// Nobody knows what is free.
    pub(super) fn silent(&self, errno: Errno) -> Fault {
        let text = format!("disk {} does not answer ({errno})", self.disk.root().display());
        Fault::Unclear(Rejection::new(code_of(errno), text))
    }

    fn full(&self, free: u64, needed: u64, what: &str) -> Fault {
        let text = format!(
            "{what} {} on disk {}, which has {} free that is nobody's",
            Bytes::new(needed),
            self.disk.root().display(),
            Bytes::new(free)
        );
        Fault::Failed(Rejection::new(ErrorCode::DiskFull, text).remedy(
            "delete snapshots that nobody needs, empty the trash, or declare the disk smaller than it is to leave room for snapshots",
        ))
    }
}

fn reserved(total: u64) -> u64 {
    (total / RESERVED_PART).max(RESERVED_LEAST)
}
