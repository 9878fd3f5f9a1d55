//! Snapshots of images: `.snapshots/<snapshot>` is a directory with a file that shares the blocks of the volume's image.
//!
//! The file system in the image stands still while the file is copied, so the copy is as after an unmount. A block is copied
//! when it is written next, and takes room then: a snapshot may come to take as much as its volume. That room must be there
//! when it is taken, and what the live images may still take of it is not given to anybody else, so that no task meets a
//! full disk below its own file system. This module does not know who asks for snapshots.

use super::super::driver::{Driver as _, Fault};
use super::super::look::{self, Here};
use super::snapshot::{FOLDER, label, unfinished};
use super::{OnDisk, settle_order};
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::image::Format;
use crate::disk::image::device::FILE;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::snapshot::SnapshotSpec;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

/// An empty file for an image in this directory.
pub(super) fn empty_image(directory: &Node) -> Result<Node, Errno> {
    let file = directory.create(FILE)?;
    if directory.is_btrfs()? {
        // As every image is written; only such files share blocks with one another.
        file.write_in_place()?;
    }
    Ok(file)
}

impl OnDisk {
    /// Copies the image of a live volume under the unfinished name of its snapshot, marks it and syncs it.
    pub(super) fn take_image(
        &self,
        handle: &Handle,
        folder: &Node,
        here: &Here,
        kind: Format,
        snapshot: &SnapshotSpec,
    ) -> Result<(), Fault> {
        let root = self.activate(handle, here, kind)?;
        let live = self.file(here)?;
        let needed = live.length().map_err(self.about(snapshot, "taking"))?;
        let shared = live.shared().unwrap_or_default();
        self.refuse_full(needed, shared, &format!("{} may come to take", label(snapshot)))?;
        let unclear = self.about(snapshot, "taking");
        let beginning = unfinished(snapshot.id);
        let made = folder.make_directory(&beginning, 0o700).and_then(|()| {
            let directory = folder.directory(&beginning)?;
            empty_image(&directory)
        });
        let copy = made.map_err(unclear)?;
        {
            let _alone = self.one_at_a_time();
            self.while_still(handle, &root, here.identity.id, || copy.share(&live))?;
        }
        copy.sync()
            .and_then(|()| settle_order(folder))
            .and_then(|()| self.mark(handle, folder, &beginning, snapshot, Some(kind)))
            .map_err(self.about(snapshot, "taking"))
    }

    /// Refuses what needs more room than there is; so much of what is owed counts no more.
    pub(super) fn refuse_full(&self, needed: u64, owed: u64, what: &str) -> Result<(), Fault> {
        let free = self.free()?;
        if free.get().saturating_add(owed) >= needed {
            return Ok(());
        }
        let text = format!(
            "{what} {} on disk {}, which has {free} free that is nobody's",
            Bytes::new(needed),
            self.disk.root().display()
        );
        Err(Fault::Failed(Rejection::new(ErrorCode::DiskFull, text).remedy(
            "delete snapshots that nobody needs, empty the trash, or declare the disk smaller than it is to leave room for snapshots",
        )))
    }

    /// Refuses a roll back of an image for whose next life there is no room.
    pub(super) fn refuse_full_for_life(&self, here: &Here, spec: &VolumeSpec) -> Result<(), Fault> {
        if here.identity.driver.image().is_none() {
            return Ok(());
        }
        // What its last life shares counts no more in the trash.
        let shared = self.file(here)?.shared().unwrap_or_default();
        let what = format!("the next life of volume {} needs", spec.id);
        self.refuse_full(spec.size.get(), shared, &what)
    }

    /// What the live images take more of the disk when everything in them is written anew.
    pub(super) fn owed(&self, handle: &Handle) -> Result<u64, Errno> {
        // Without it nothing ever shared blocks.
        if !handle.root.exists(FOLDER)? {
            return Ok(0);
        }
        let mut owed = 0_u64;
        for name in handle.volumes.all_names()? {
            let Ok(id) = name.parse::<VolumeId>() else { continue };
            let Ok(Some(identity)) = look::read_marker(&self.disk, handle, id) else { continue };
            if identity.driver.image().is_none() {
                continue;
            }
            let image = handle.volumes.directory(&name).and_then(|directory| directory.file(FILE));
            owed = owed.saturating_add(image.and_then(|file| file.shared()).unwrap_or_default());
        }
        Ok(owed)
    }
}
