//! What is reached by a path, with the place in the source that asks for it. Everything else goes through handles.

use super::{FileSystem, Node, Position};
use rustix::io::Errno;
use std::panic::Location;
use std::path::Path;

/// Opens a directory by its path, links followed.
///
/// # Errors
/// See [`FileSystem::open`].
#[track_caller]
pub fn open(files: &dyn FileSystem, path: &Path) -> Result<Node, Errno> {
    files.open(Location::caller(), path).map(Node)
}

/// Where a directory's path leads.
///
/// # Errors
/// See [`FileSystem::locate`].
#[track_caller]
pub fn locate(files: &dyn FileSystem, path: &Path) -> Result<Position, Errno> {
    files.locate(Location::caller(), path)
}

/// Opens a block device for this process alone, links followed.
///
/// # Errors
/// See [`FileSystem::device`].
#[track_caller]
pub fn device(files: &dyn FileSystem, path: &Path) -> Result<Node, Errno> {
    files.device(Location::caller(), path).map(Node)
}

/// The number of the block device that a path leads to.
///
/// # Errors
/// See [`FileSystem::device_number`].
#[track_caller]
pub fn device_number(files: &dyn FileSystem, path: &Path) -> Result<(u32, u32), Errno> {
    files.device_number(Location::caller(), path)
}
