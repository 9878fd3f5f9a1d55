//! Volumes whose size a project quota keeps: which project each has, and its limit.
//!
//! Invariants: (a) no two volumes on a file system share a project, those in the trash and those of other agents included:
//! one is taken only when the file system accounts nothing for it and nobody has limited it, and what carries it is
//! accounted from then on until it is deleted; (b) a project has a limit only while the directory is there from which it
//! can be found again: the limit is set after the directory has the project, and lifted before the directory goes.

use super::super::identity::Identity;
use super::super::look::Here;
use super::OnDisk;
use crate::disk::fs::Node;
use crate::disk::probe::DriverKind;
use berth_model::id::VolumeId;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use rustix::io::Errno;
use std::sync::{Mutex, PoisonError};

/// Small numbers are what people give by hand.
const FIRST: u32 = 0x4000_0000;
const TRIES: u32 = 64;

/// Several disks may lie on one file system.
static CHOOSING: Mutex<()> = Mutex::new(());

/// The projects that a volume may get, the first free one of them.
fn candidates(id: VolumeId) -> impl Iterator<Item = u32> {
    (0..TRIES).map(move |attempt| {
        let salted = id.as_u128().rotate_left(attempt) ^ u128::from(attempt);
        FIRST | (crc32c::crc32c(&salted.to_be_bytes()) & (FIRST - 1))
    })
}

/// After these there are no quotas any more, and so no limit that could hold or be lifted.
fn are_off(errno: Errno) -> bool {
    matches!(errno, Errno::SRCH | Errno::NOSYS | Errno::INVAL)
}

/// Gives an empty directory a project of its own.
pub(super) fn choose(directory: &Node, id: VolumeId) -> Result<u32, Errno> {
    let _one_at_a_time = CHOOSING.lock().unwrap_or_else(PoisonError::into_inner);
    for project in candidates(id) {
        if !directory.account(project)?.is_free() {
            continue;
        }
        directory.set_project(project)?;
        // Another agent on the same file system may have done the same in this moment; then both go on.
        if directory.account(project)?.files == 1 {
            return Ok(project);
        }
    }
    Err(Errno::BUSY)
}

/// Limits a volume to its size, whatever somebody may have done to its directory.
pub(super) fn enforce(directory: &Node, identity: &Identity) -> Result<(), Errno> {
    let Some(project) = identity.project else { return Err(Errno::INVAL) };
    directory.set_project(project)?;
    directory.limit_project(project, Some(identity.size.get()))
}

/// Lifts a volume's limit: it would stop what is written for the volume's own sake.
pub(super) fn lift(directory: &Node, identity: &Identity) -> Result<(), Errno> {
    let Some(project) = identity.project else { return Ok(()) };
    match directory.limit_project(project, None) {
        Err(errno) if are_off(errno) => Ok(()),
        other => other,
    }
}

/// What a volume uses.
pub(super) fn used(here: &Here) -> Result<Measured, Errno> {
    let Some(project) = here.identity.project else { return Err(Errno::INVAL) };
    let account = here.directory.account(project)?;
    let (bytes, inodes) = (Bytes::new(account.bytes), Some(account.files));
    Ok(Measured { bytes, inodes, inodes_limit: None })
}

impl OnDisk {
    /// Lifts the limit that an unfinished directory's project may have. A project that no volume of this id would have
    /// got is somebody else's.
    pub(super) fn release(&self, parent: &Node, entry: &str, id: VolumeId) -> Result<(), Errno> {
        if self.kind() != DriverKind::ProjectQuota {
            return Ok(());
        }
        let project = match parent.directory(entry) {
            Ok(directory) => directory.project()?,
            // Something else is in the way, which the caller finds out.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        if candidates(id).any(|candidate| candidate == project) {
            parent.limit_project(project, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn candidates_are_the_same_each_time_and_no_small_numbers() {
        let id = VolumeId::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let all: Vec<u32> = candidates(id).collect();
        assert_eq!(all, candidates(id).collect::<Vec<_>>());
        assert!(all.iter().all(|project| (FIRST..1 << 31).contains(project)), "{all:x?}");
        let different: BTreeSet<&u32> = all.iter().collect();
        assert!(different.len() > 60, "{all:x?}");
        let zero: BTreeSet<u32> = candidates(VolumeId::from_u128(0)).collect();
        assert!(zero.len() > 60, "{zero:x?}");
    }
}
