//! Opening the root of what is to be a disk, and asking it once for what every look at it needs.

use super::adopt::faulty;
use super::filesystem::{Position, Room};
use super::fs::{self, FileSystem, Node};
use super::whole;
use berth_model::error::Rejection;
use berth_model::resources::DiskSource;
use rustix::io::Errno;
use std::path::Path;

/// A root that is open.
pub(super) struct Top {
    pub(super) top: Node,
    pub(super) position: Position,
    pub(super) filesystem: String,
    pub(super) room: Room,
}

impl Top {
    pub(super) fn open(
        files: &dyn FileSystem,
        root: &Path,
        source: &DiskSource,
    ) -> Result<Self, Rejection> {
        let shown = root.display();
        let top = fs::open(files, root).map_err(|errno| match errno {
            Errno::NOENT => faulty(format!("the disk's root {shown} does not exist"))
                .remedy("mount the disk or make the directory, then restart the agent or wait"),
            Errno::NOTDIR => faulty(format!("the disk's root {shown} is not a directory")),
            other => faulty(format!("the disk's root {shown} cannot be opened ({other})")),
        })?;
        let unreadable =
            |errno: Errno| faulty(format!("the disk at {shown} does not answer ({errno})"));
        let position = top.position().map_err(unreadable)?;
        let filesystem = top.identity().map_err(unreadable)?;
        let room = top.room().map_err(unreadable)?;
        if matches!(source, DiskSource::Mount(_)) {
            whole::refuse_bare(&top, root)?;
        }
        Ok(Self { top, position, filesystem, room })
    }
}
