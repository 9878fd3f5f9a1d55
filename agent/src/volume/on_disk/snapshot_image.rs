//! Snapshots of images: `.snapshots/<snapshot>` is a directory with a file that shares the blocks of the volume's image.
//!
//! The file system in the image stands still while the file is copied, so the copy is as after an unmount. A block is copied
//! when it is written next, and takes room then: a snapshot may come to take as much as its volume. That room must be there
//! when it is taken (`owed`), so that no task meets a full disk below its own file system. This module does not know who
//! asks for snapshots.

use super::super::driver::Fault;
use super::super::look::Here;
use super::snapshot::{label, unfinished};
use super::{OnDisk, owed, settle_order};
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::image::Format;
use crate::disk::image::device::FILE;
use berth_model::snapshot::SnapshotSpec;
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
        let unclear = self.about(snapshot, "taking");
        let beginning = unfinished(snapshot.id);
        let made = folder.make_directory(&beginning, 0o700).and_then(|()| {
            let directory = folder.directory(&beginning)?;
            empty_image(&directory)
        });
        let copy = made.map_err(&unclear)?;
        // Most of it is written while nobody waits, neither its writers nor whoever mounts others.
        root.write_out().map_err(|errno| self.not_still(here.identity.id, errno))?;
        {
            let _alone = self.one_at_a_time();
            let _room = self.room_alone();
            let asked = live.length().and_then(|length| Ok((length, owed::shared(&live)?)));
            let what = format!("{} may come to take", label(snapshot));
            self.refuse_full(handle, asked.map_err(&unclear)?, &what)?;
            self.while_still(handle, &root, here.identity.id, || copy.share(&live))?;
        }
        copy.sync()
            .and_then(|()| settle_order(folder))
            .and_then(|()| self.mark(handle, folder, &beginning, snapshot, Some(kind)))
            .map_err(unclear)
    }
}
