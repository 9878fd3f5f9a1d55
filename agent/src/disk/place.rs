//! Where a disk was adopted: file system and inode, so that a whole copy of a disk is told from the disk.
//!
//! Invariant: only a disk of which nothing says where it was gets a place written.

use super::adopt::{Expectation, PLACE, Refused, faulty, read_meta};
use super::fs::Node;
use super::marker as marker_file;
use berth_model::error::Rejection;
use std::path::Path;

const PLACE_KIND: &str = "berth-place";

/// A whole copy of a disk has the right marker and the wrong place.
pub(super) fn check(
    root: &Node,
    expected: &Expectation<'_>,
    (filesystem, inode): (&str, u64),
    path: &Path,
) -> Result<(), Refused> {
    if moved(root, expected, (filesystem, inode), path)? {
        return Ok(());
    }
    // Removed by the operator, or by a crash before the disk was ever used: this place is the right one.
    let meta = root
        .directory(".meta")
        .and_then(|meta| marker_file::write(&meta, PLACE, &marker((filesystem, inode))));
    meta.map_err(|errno| {
        let text = format!("writing {}/.meta/place failed ({errno})", path.display());
        Refused::by(errno, &text)
    })
}

/// Refuses a disk that lies elsewhere than it was adopted; false when nothing says where that was.
pub(super) fn moved(
    root: &Node,
    expected: &Expectation<'_>,
    (filesystem, inode): (&str, u64),
    path: &Path,
) -> Result<bool, Rejection> {
    let shown = path.display();
    let Some(fields) = read_meta(root, PLACE, PLACE_KIND, path)? else { return Ok(false) };
    let damaged = |error| faulty(format!("the marker {shown}/.meta/place is damaged: {error}"));
    let then: String = marker_file::value(&fields, "filesystem").map_err(damaged)?;
    let inode_then: u64 = marker_file::value(&fields, "inode").map_err(damaged)?;
    let moved = if then.is_empty() || filesystem.is_empty() {
        // Without an identity of the file system an inode says nothing.
        None
    } else if then != filesystem {
        Some(format!("it was adopted on file system {then} and lies on {filesystem} now"))
    } else if inode_then != inode {
        Some(format!("its root was inode {inode_then} and is inode {inode} now"))
    } else {
        None
    };
    match moved {
        None => Ok(true),
        Some(evidence) => Err(faulty(format!(
            "the disk {} at {shown} is a copy or was moved: {evidence}",
            expected.known.map_or(expected.fresh, |known| known.id)
        ))
        .remedy(format!(
            "if it was moved or restored on purpose, and the original is gone, remove {shown}/.meta/place and restart the agent"
        ))),
    }
}

/// What is written of a place.
pub(super) fn marker((filesystem, inode): (&str, u64)) -> String {
    let fields = [("filesystem", filesystem.to_owned()), ("inode", inode.to_string())];
    marker_file::encode(PLACE_KIND, &fields)
}
