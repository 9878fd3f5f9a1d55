//! File systems in files: what an image is made of, below volumes.
//!
//! `device` attaches files to loop devices, `format` makes the file system, `point` mounts it in a place of the disk's
//! own, `lock` encrypts a directory in it, `grow` changes its size, `still` freezes it, `trial` finds out what of this works
//! here. Nothing here knows volumes.

pub mod device;
pub mod format;
pub mod grow;
pub mod lock;
pub mod point;
pub mod still;
pub mod trial;

use std::fmt;
use std::str::FromStr;

const MIB: u64 = 1 << 20;

/// The kind of file system in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// XFS.
    Xfs,
    /// ext4.
    Ext4,
    /// btrfs.
    Btrfs,
}

impl Format {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Xfs, Self::Ext4, Self::Btrfs];

    /// As the kernel, users and markers call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
            Self::Btrfs => "btrfs",
        }
    }

    /// The smallest image that its tools support and that is worth having, in bytes.
    #[must_use]
    pub const fn least(self) -> u64 {
        match self {
            Self::Xfs => 300 * MIB,
            Self::Ext4 => 16 * MIB,
            // The kernel gives no btrfs a smaller size, though its tools make one.
            Self::Btrfs => 256 * MIB,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or(())
    }
}
