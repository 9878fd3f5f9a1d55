//! The changes that lead from one state of a file system to the next, and which of them need which others.
//!
//! It does not carry them out, and knows nothing of syncing.

use super::tree::{Inode, Medium, NOBODY, Number, ROOT};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A change of the tree, as it can be durable or not by itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A new inode under a new name.
    Make { dir: Number, name: String, number: Number, inode: Box<Inode> },
    /// A name and its inode are gone.
    Remove { dir: Number, name: String, number: Number },
    /// An entry moves; what had the new name is gone.
    Rename { from: Number, name: String, to: Number, new: String, number: Number },
    /// An extended attribute is set.
    Attribute { number: Number, name: String, value: Vec<u8> },
    /// Permissions are set.
    Mode { number: Number, mode: u32 },
    /// User and group are set.
    Owner { number: Number, owner: (u32, u32) },
    /// Bytes at the end of a file.
    Write { number: Number, bytes: Vec<u8>, bulk: u64 },
    /// A subvolume's limit.
    Limit { number: Number, bytes: Option<u64> },
    /// A directory gets a project.
    Project { number: Number, project: u32 },
    /// A project's limit.
    LimitProject { project: u32, bytes: Option<u64> },
    /// A subvolume with the content that another has: its inodes, the root's first. It was copied from `of`.
    Snapshot { dir: Number, name: String, inodes: Vec<(Number, Inode)>, of: BTreeSet<Number> },
    /// A subvolume may be written again.
    Unlock { number: Number },
    /// A file gets another length, and as much of it is allocated.
    Length { number: Number, length: u64, allocated: u64 },
    /// What lies on the device that a file is; with `is_journaled` all of it or what was there before.
    Blocks { number: Number, medium: Arc<Medium>, is_journaled: bool },
}

impl Change {
    /// The entries it makes, takes or moves.
    #[must_use]
    pub fn entries(&self) -> Vec<(Number, &str)> {
        match self {
            Self::Make { dir, name, .. }
            | Self::Remove { dir, name, .. }
            | Self::Snapshot { dir, name, .. } => vec![(*dir, name)],
            Self::Rename { from, name, to, new, .. } => vec![(*from, name), (*to, new)],
            Self::Attribute { .. }
            | Self::Mode { .. }
            | Self::Owner { .. }
            | Self::Write { .. }
            | Self::Limit { .. }
            | Self::Project { .. }
            | Self::LimitProject { .. }
            | Self::Unlock { .. }
            | Self::Length { .. }
            | Self::Blocks { .. } => Vec::new(),
        }
    }

    /// The inode it is about.
    #[must_use]
    pub fn subject(&self) -> Number {
        match self {
            Self::Make { number, .. }
            | Self::Remove { number, .. }
            | Self::Rename { number, .. }
            | Self::Attribute { number, .. }
            | Self::Mode { number, .. }
            | Self::Owner { number, .. }
            | Self::Write { number, .. }
            | Self::Limit { number, .. }
            | Self::Project { number, .. }
            | Self::Unlock { number }
            | Self::Length { number, .. }
            | Self::Blocks { number, .. } => *number,
            Self::LimitProject { .. } => NOBODY,
            Self::Snapshot { inodes, .. } => {
                inodes.first().map_or(ROOT, |(number, _inode)| *number)
            },
        }
    }

    /// The highest number it gives an inode.
    #[must_use]
    pub fn highest(&self) -> Number {
        match self {
            Self::Snapshot { inodes, .. } => {
                inodes.iter().map(|(number, _inode)| *number).max().unwrap_or(ROOT)
            },
            other => other.subject(),
        }
    }

    fn makes(&self, wanted: Number) -> bool {
        match self {
            Self::Make { number, .. } => *number == wanted,
            Self::Snapshot { inodes, .. } => {
                inodes.iter().any(|(number, _inode)| *number == wanted)
            },
            _other => false,
        }
    }

    /// Is it about content, not names and attributes?
    #[must_use]
    pub fn is_data(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Blocks { .. })
    }

    /// Does it need `earlier` to have happened?
    #[must_use]
    pub fn builds_on(&self, earlier: &Self) -> bool {
        if self.shares_entry(earlier) {
            return true;
        }
        let inside = self.entries().iter().any(|(dir, _name)| earlier.makes(*dir));
        if inside || earlier.makes(self.subject()) || self.empties(earlier) {
            return true;
        }
        match (self, earlier) {
            (Self::Write { number, .. }, Self::Write { number: before, .. })
            | (Self::Blocks { number, .. }, Self::Blocks { number: before, .. })
            | (Self::Length { number, .. }, Self::Length { number: before, .. }) => {
                number == before
            },
            // One transaction has both, or only what was copied.
            (Self::Snapshot { of, .. }, _) => {
                of.contains(&earlier.subject())
                    || earlier.entries().iter().any(|(dir, _name)| of.contains(dir))
            },
            _other => false,
        }
    }

    /// Does a directory go in which `earlier` changed something? It goes when it is empty.
    #[must_use]
    pub fn empties(&self, earlier: &Self) -> bool {
        let Self::Remove { number, .. } = self else { return false };
        earlier.entries().iter().any(|(dir, _name)| dir == number)
    }

    /// Do both concern one entry?
    #[must_use]
    pub fn shares_entry(&self, other: &Self) -> bool {
        let theirs = other.entries();
        self.entries().iter().any(|entry| theirs.contains(entry))
    }
}

/// What becomes of written bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    None,
    Whole,
    Torn,
    Zeros,
}

impl Fate {
    pub(super) fn of(self, change: &Change) -> Option<Change> {
        if let Change::Blocks { number, is_journaled, .. } = change {
            let medium = match self {
                Self::Whole => return Some(change.clone()),
                Self::Torn if !is_journaled => Medium::Torn,
                Self::Zeros if !is_journaled => Medium::Blank,
                Self::None | Self::Torn | Self::Zeros => return None,
            };
            let medium = Arc::new(medium);
            return Some(Change::Blocks { number: *number, medium, is_journaled: false });
        }
        let Change::Write { number, bytes, bulk } = change else { return Some(change.clone()) };
        let bytes = match self {
            Self::None => return None,
            Self::Whole => bytes.clone(),
            Self::Torn => bytes.get(..bytes.len() / 2).unwrap_or_default().to_vec(),
            Self::Zeros => vec![0; bytes.len()],
        };
        Some(Change::Write { number: *number, bytes, bulk: *bulk })
    }
}
