//! Data that comes into volumes from outside, or leaves them: what may be taken in, what an agent says of it before, how far
//! it is.
//!
//! Invariant: nothing here is part of a volume; what was surveyed may have changed when it is copied.

use crate::error::{ErrorCode, Rejection};
use crate::id::{AgentId, OperationId};
use crate::snapshot::SnapshotSpec;
use crate::units::Bytes;
use crate::volume::VolumeSpec;
use std::sync::Arc;

/// Longest path that the kernel takes.
const PATH_MAX: usize = 4095;

/// Where the content of a new volume comes from, as an operator says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// A directory of the agent's machine, which stays as it is.
    Directory {
        /// Absolute, see [`check_directory`].
        path: Arc<str>,
    },
    /// An export, which somebody sends under the id of the operation.
    Stream,
}

/// Checks that a path names a directory without detours.
///
/// # Errors
/// It is not absolute, too long, the root, or has `.`, `..` or empty parts.
pub fn check_directory(path: &str) -> Result<(), Rejection> {
    let wrong = |why: &str| {
        let text = format!("{path:?} is no directory to import: {why}");
        Rejection::new(ErrorCode::InvalidPath, text)
            .remedy("give the absolute path of a directory on the agent, such as /srv/data")
            .field("path")
    };
    let Some(rest) = path.strip_prefix('/') else { return Err(wrong("it is not absolute")) };
    if path.len() > PATH_MAX || path.contains('\0') {
        return Err(wrong("the kernel takes no such path"));
    }
    match rest.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some("") => Err(wrong("it has an empty part")),
        Some(part) => Err(wrong(&format!("it has the part {part}"))),
        None => Ok(()),
    }
}

/// How far the content of a volume that is being made has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Content that is there.
    pub bytes: Bytes,
    /// What there will be, as far as it is known.
    pub bytes_total: Bytes,
    /// Files, directories, links and pipes that are there.
    pub entries: u64,
    /// What there will be, as far as it is known.
    pub entries_total: u64,
}

impl Progress {
    /// For people, of a volume that is being wiped.
    #[must_use]
    pub fn wiped(&self) -> String {
        format!("{} of {} are wiped", self.bytes, self.bytes_total)
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { bytes, bytes_total, entries, entries_total } = self;
        if *entries_total == 0 {
            return format!("{bytes} and {entries} entries are copied");
        }
        format!("{bytes} of {bytes_total} and {entries} of {entries_total} entries are copied")
    }
}

/// What somebody asks the master to have from an agent over a stream of its own; nothing changes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferWish {
    /// What an import of a directory would meet.
    Survey {
        /// On whose machine.
        agent: AgentId,
        /// Which directory.
        path: Arc<str>,
        /// How large the volume is to be.
        size: Bytes,
    },
    /// What this operation exports.
    Export {
        /// Which.
        operation: OperationId,
    },
}

/// What somebody wants of an agent over a stream of its own; nothing changes by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferOrder {
    /// What an import of this directory would meet.
    Survey {
        /// Which directory.
        path: Arc<str>,
        /// How large the volume is to be.
        size: Bytes,
    },
    /// What is in a volume, or in a snapshot of it, as an archive.
    Export {
        /// Which volume.
        volume: Box<VolumeSpec>,
        /// Which of its snapshots; the volume itself when absent.
        snapshot: Option<Box<SnapshotSpec>>,
    },
}

/// How many entries belong to a user and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerCount {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// How many.
    pub entries: u64,
}

/// A process that has something of a directory open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBy {
    /// Its number.
    pub pid: u32,
    /// Its program.
    pub command: String,
    /// One of the paths.
    pub path: String,
    /// It may write.
    pub writes: bool,
}

/// What an agent found below a directory that is to be imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Which directory.
    pub path: Arc<str>,
    /// What a copy takes, holes left out.
    pub bytes: Bytes,
    /// The lengths of all files, holes included.
    pub length: Bytes,
    /// Files; one with several names counts once.
    pub files: u64,
    /// Directories, itself included.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Named pipes.
    pub pipes: u64,
    /// Sockets, which are left out.
    pub sockets: u64,
    /// Devices.
    pub devices: u64,
    /// Names of files beyond the first of each.
    pub hard_links: u64,
    /// Files with holes.
    pub sparse: u64,
    /// Entries with extended attributes.
    pub attributes: u64,
    /// Entries with access control lists.
    pub acls: u64,
    /// Whose it is, the most frequent first, at most sixteen.
    pub owners: Vec<OwnerCount>,
    /// Mount points below it, at most sixteen.
    pub mounts: Vec<String>,
    /// Processes that have something of it open, at most sixteen.
    pub open_by: Vec<OpenBy>,
    /// The size that was asked for.
    pub size: Bytes,
    /// Why an import would be refused now; empty when it would not.
    pub refusals: Vec<Rejection>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_absolute_and_without_detours() {
        for good in ["/srv", "/srv/data", "/srv/..data", "/srv/a b"] {
            assert_eq!(check_directory(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("srv", "it is not absolute"),
            ("", "it is not absolute"),
            ("/", "it has an empty part"),
            ("/srv/", "it has an empty part"),
            ("/srv//data", "it has an empty part"),
            ("/srv/./data", "it has the part ."),
            ("/srv/../etc", "it has the part .."),
            ("/srv\0", "the kernel takes no such path"),
        ] {
            let refused = check_directory(bad).unwrap_err();
            assert_eq!(refused.message, format!("{bad:?} is no directory to import: {why}"));
        }
        assert!(check_directory(&format!("/{}", "a".repeat(5_000))).is_err());
    }
}
