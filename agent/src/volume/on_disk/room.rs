//! How much room the disk gets back when a volume goes: what it takes alone, what was begun of it included.
//!
//! It differs from what a volume uses: an image is allocated whole however little is in it, and blocks of a subvolume
//! that a snapshot has too stay where they are. Nothing is changed here.

use super::super::driver::Fault;
use super::super::look::{self, Here};
use super::super::usage::measure;
use super::{OnDisk, owed};
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::image::device::FILE;
use crate::disk::probe::DriverKind;
use crate::disk::subvolume;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

impl OnDisk {
    pub(super) fn room_of(&self, spec: &VolumeSpec) -> Result<Bytes, Fault> {
        let handle = self.disk.readable().map_err(Fault::Unclear)?;
        let Some(here) = self.anywhere(&handle, spec)? else { return Ok(begun(&handle, spec)) };
        let measured = match here.identity.driver {
            DriverKind::Image(_) => image(&here.directory).map_err(|errno| errno.to_string()),
            DriverKind::Btrfs => {
                match here.directory.descriptor().and_then(subvolume::exclusive) {
                    Ok(Some(bytes)) => Ok(Bytes::new(bytes)),
                    // It is not accounted: count.
                    Ok(None) | Err(_) => counted(&here),
                }
            },
            DriverKind::Directory
            | DriverKind::ProjectQuota
            | DriverKind::Mount
            | DriverKind::Block => counted(&here),
        };
        measured.map_err(|reason| {
            let text = format!("measuring volume {} failed: {reason}", spec.id);
            Fault::Failed(Rejection::new(ErrorCode::VolumeUnavailable, text))
        })
    }
}

fn counted(here: &Here) -> Result<Bytes, String> {
    measure(&here.directory, here.identity.driver).map(|measured| measured.bytes)
}

/// What an unfinished image takes already.
fn begun(handle: &Handle, spec: &VolumeSpec) -> Bytes {
    let unfinished = handle.volumes.directory(look::unfinished_entry(spec.id));
    unfinished.and_then(|directory| image(&directory)).unwrap_or_default()
}

fn image(directory: &Node) -> Result<Bytes, Errno> {
    let allocated = directory.allocated(FILE)?;
    // What a snapshot has as well stays.
    let shared = owed::shared(&directory.file(FILE)?)?;
    Ok(Bytes::new(allocated.saturating_sub(shared)))
}
