//! Which driver makes volumes on a disk, found by trying rather than by the file system's name.

use super::DriverChoice;
use super::adopt::Handle;
use super::fs::Node;
use super::remove::{self, Limits};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::volume::Enforcement;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;

const MIB: usize = 1 << 20;

/// How volumes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// Plain directories.
    Directory,
    /// Subvolumes with a quota.
    Btrfs,
}

impl DriverKind {
    /// As users see it, and as markers hold it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Btrfs => "btrfs",
        }
    }

    /// How sizes are kept.
    #[must_use]
    pub const fn enforcement(self) -> Enforcement {
        match self {
            Self::Directory => Enforcement::None,
            Self::Btrfs => Enforcement::Quota,
        }
    }
}

impl std::str::FromStr for DriverKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Directory, Self::Btrfs].into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// A driver and why it was picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// For volumes made from now on; what is there keeps the driver it was made with.
    pub driver: DriverKind,
    /// For people.
    pub reason: String,
}

/// Picks the driver for a disk.
///
/// # Errors
/// The declaration asks for what the disk cannot do.
pub fn choose(wanted: DriverChoice, handle: &Handle, root: &Path) -> Result<Choice, Rejection> {
    let directory = |reason: String| Ok(Choice { driver: DriverKind::Directory, reason });
    match wanted {
        DriverChoice::Directory => directory("declared".to_owned()),
        DriverChoice::Btrfs => match try_btrfs(handle) {
            Ok(()) => Ok(Choice { driver: DriverKind::Btrfs, reason: "declared".to_owned() }),
            Err(reason) => Err(Rejection::new(
                ErrorCode::DiskFaulty,
                format!("the disk at {} cannot have the btrfs driver: {reason}", root.display()),
            )
            .remedy("declare it with driver=auto or driver=directory")),
        },
        DriverChoice::Auto => match try_btrfs(handle) {
            Ok(()) => Ok(Choice {
                driver: DriverKind::Btrfs,
                reason: "btrfs: a write past a quota was stopped".to_owned(),
            }),
            Err(reason) => directory(format!("sizes are not enforced: {reason}")),
        },
    }
}

/// Can this disk have subvolumes whose quota stops a writer?
fn try_btrfs(handle: &Handle) -> Result<(), String> {
    match handle.root.is_btrfs() {
        Ok(true) => {},
        Ok(false) => return Err("the file system is not btrfs".to_owned()),
        Err(errno) => return Err(format!("the file system does not answer ({errno})")),
    }
    let meta = &handle.meta;
    meta.enable_quota().map_err(|errno| match errno {
        Errno::PERM => "btrfs, but switching quotas on needs root".to_owned(),
        other => format!("btrfs, but switching quotas on failed ({other})"),
    })?;
    let name = ".probe";
    let clear = || {
        remove::tree(meta, OsStr::new(name), &Limits::unlimited())
            .map_err(|error| format!("btrfs, but clearing {name} failed: {error}"))
    };
    clear()?;
    let stopped = write_past_limit(meta, name);
    clear()?;
    match stopped {
        Ok(()) => Err("btrfs, but a quota did not stop a writer".to_owned()),
        Err(Errno::DQUOT) => Ok(()),
        Err(errno) => Err(format!("btrfs, but trying a quota failed ({errno})")),
    }
}

fn write_past_limit(meta: &Node, name: &str) -> Result<(), Errno> {
    meta.make_subvolume(name)?;
    let probe = meta.directory(name)?;
    let group = probe.subvolume()?;
    probe.limit(Some(MIB as u64))?;
    let file = probe.create("file")?;
    // Not zeros, which a compressing file system would swallow.
    let mut block = Vec::with_capacity(MIB);
    let mut noise = 1_u64;
    while block.len() < MIB {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        block.extend_from_slice(&noise.to_le_bytes());
    }
    let written = (0..3).try_for_each(|_round| {
        file.write(&block)?;
        file.sync()
    });
    probe.unlink("file")?;
    meta.remove_directory(name)?;
    // A group that stays behind is empty and harms nobody.
    meta.forget_quota(group).ok();
    written
}
