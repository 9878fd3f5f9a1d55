//! Which driver makes volumes on a disk, found by trying rather than by the file system's name.

use super::adopt::{Handle, Refused};
use super::fs::Node;
use super::remove::{self, Limits, RemoveError};
use super::{DriverChoice, is_broken};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::volume::Enforcement;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;

const MIB: usize = 1 << 20;
const PIECE: usize = 128 << 10;

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
pub fn choose(wanted: DriverChoice, handle: &Handle, root: &Path) -> Result<Choice, Refused> {
    let directory = |reason: String| Ok(Choice { driver: DriverKind::Directory, reason });
    if wanted == DriverChoice::Directory {
        return directory("declared".to_owned());
    }
    match try_btrfs(handle) {
        Ok(()) => {
            let reason = match wanted {
                DriverChoice::Btrfs => "declared",
                DriverChoice::Auto | DriverChoice::Directory => {
                    "btrfs: a write past a quota was stopped"
                },
            };
            Ok(Choice { driver: DriverKind::Btrfs, reason: reason.to_owned() })
        },
        // A disk that cannot be written is no reason for another driver.
        Err(Failed { reason, is_broken: true }) => Err(Refused {
            reason: Rejection::new(
                ErrorCode::DiskFaulty,
                format!("the disk at {} is broken: {reason}", root.display()),
            )
            .remedy("look into the kernel log, then restart the agent"),
            is_broken: true,
        }),
        Err(failed) if wanted == DriverChoice::Btrfs => Err(Rejection::new(
            ErrorCode::DiskFaulty,
            format!(
                "the disk at {} cannot have the btrfs driver: {}",
                root.display(),
                failed.reason
            ),
        )
        .remedy("declare it with driver=auto or driver=directory")
        .into()),
        Err(failed) => directory(format!("sizes are not enforced: {}", failed.reason)),
    }
}

/// Why the trial did not succeed.
struct Failed {
    reason: String,
    /// Not the driver but the disk is at fault.
    is_broken: bool,
}

impl Failed {
    fn by(errno: Errno, reason: String) -> Self {
        Self { reason, is_broken: is_broken(errno) }
    }
}

impl From<&str> for Failed {
    fn from(reason: &str) -> Self {
        Self { reason: reason.to_owned(), is_broken: false }
    }
}

/// Can this disk have subvolumes whose quota stops a writer?
fn try_btrfs(handle: &Handle) -> Result<(), Failed> {
    match handle.root.is_btrfs() {
        Ok(true) => {},
        Ok(false) => return Err("the file system is not btrfs".into()),
        Err(errno) => {
            let reason = format!("the file system does not answer ({errno})");
            return Err(Failed::by(errno, reason));
        },
    }
    let meta = &handle.meta;
    meta.enable_quota().map_err(|errno| match errno {
        Errno::PERM => "btrfs, but switching quotas on needs root".into(),
        other => Failed::by(other, format!("btrfs, but switching quotas on failed ({other})")),
    })?;
    let name = ".probe";
    let clear = || {
        remove::tree(meta, OsStr::new(name), &Limits::unlimited()).map_err(|error| {
            let is_broken = matches!(&error, RemoveError::Io { source, .. } if is_broken(*source));
            Failed { reason: format!("btrfs, but clearing {name} failed: {error}"), is_broken }
        })
    };
    clear()?;
    let stopped = write_past_limit(meta, name);
    clear()?;
    match stopped {
        Ok(()) => Err("btrfs, but a quota did not stop a writer".into()),
        Err(Errno::DQUOT) => Ok(()),
        Err(errno) => Err(Failed::by(errno, format!("btrfs, but trying a quota failed ({errno})"))),
    }
}

fn write_past_limit(meta: &Node, name: &str) -> Result<(), Errno> {
    meta.make_subvolume(name)?;
    let probe = meta.directory(name)?;
    let group = probe.subvolume()?;
    probe.limit(Some(MIB as u64))?;
    let file = probe.create("file")?;
    // Noise, which a compressing file system cannot swallow: it compresses pieces of at most this size by themselves.
    let mut piece = Vec::with_capacity(PIECE);
    let mut noise = 1_u64;
    while piece.len() < PIECE {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        piece.extend_from_slice(&noise.to_le_bytes());
    }
    let block = piece.repeat(MIB / PIECE);
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
