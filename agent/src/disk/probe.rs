//! Which driver makes volumes on a disk, found by trying rather than by the file system's name.

use super::adopt::{Handle, Refused};
use super::choice::Choice;
use super::fs::Node;
use super::image::{Format, trial};
use super::remove::{self, Limits, RemoveError};
use super::{DriverChoice, is_broken, project};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
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
    /// Directories whose project has a quota, on XFS and ext4.
    ProjectQuota,
    /// A file system in a file on a loop device.
    Image(Format),
    /// The directory of the one volume of a disk that is a whole file system.
    Mount,
    /// A raw device.
    Block,
}

impl DriverKind {
    /// As users see it, and as markers hold it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Btrfs => "btrfs",
            Self::ProjectQuota => "project-quota",
            Self::Image(Format::Xfs) => "image:xfs",
            Self::Image(Format::Ext4) => "image:ext4",
            Self::Image(Format::Btrfs) => "image:btrfs",
            Self::Mount => "mount",
            Self::Block => "block",
        }
    }

    /// How sizes are kept.
    #[must_use]
    pub const fn enforcement(self) -> Enforcement {
        match self {
            Self::Directory => Enforcement::None,
            Self::Btrfs | Self::ProjectQuota => Enforcement::Quota,
            Self::Image(_) | Self::Mount | Self::Block => Enforcement::Device,
        }
    }

    /// The kind of file system, of an image.
    #[must_use]
    pub const fn image(self) -> Option<Format> {
        match self {
            Self::Image(format) => Some(format),
            Self::Directory | Self::Btrfs | Self::ProjectQuota | Self::Mount | Self::Block => None,
        }
    }
}

impl std::str::FromStr for DriverKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        super::keeps::drivers().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// Picks the driver for a disk.
///
/// # Errors
/// The declaration asks for what the disk cannot do.
pub fn choose(
    wanted: DriverChoice,
    source: &DiskSource,
    handle: &Handle,
    root: &Path,
) -> Result<Choice, Refused> {
    let directory = |reason: String| Ok(Choice::plain(DriverKind::Directory, reason));
    if let DiskSource::Mount(_) = source {
        let reason = "a MOUNT disk is one volume, as large as its file system";
        return Ok(Choice::plain(DriverKind::Mount, reason));
    }
    let trials: &[(DriverKind, Trial)] = match wanted {
        DriverChoice::Directory => return directory("declared".to_owned()),
        DriverChoice::Image(format) => return images(format, handle, root),
        DriverChoice::Btrfs => &[(DriverKind::Btrfs, try_btrfs)],
        DriverChoice::ProjectQuota => &[(DriverKind::ProjectQuota, try_project)],
        DriverChoice::Auto => {
            &[(DriverKind::Btrfs, try_btrfs), (DriverKind::ProjectQuota, try_project)]
        },
    };
    let mut said = Vec::new();
    for (driver, attempt) in trials {
        match attempt(handle) {
            Ok(_reason) if wanted != DriverChoice::Auto => {
                return Ok(Choice::plain(*driver, "declared"));
            },
            Ok(reason) => return Ok(Choice::plain(*driver, reason)),
            // A disk that cannot be written is no reason for another driver.
            Err(Failed { reason, is_broken: true }) => return Err(broken(root, &reason)),
            Err(failed) => said.push(failed.reason),
        }
    }
    let said = said.join("; ");
    let code = if is_full(handle) { ErrorCode::DiskFull } else { ErrorCode::DiskFaulty };
    let refusal = |driver: DriverKind, remedy: &str| {
        let shown = root.display();
        let text =
            format!("the disk at {shown} cannot have the {} driver: {said}", driver.as_str());
        Rejection::new(code, text).remedy(remedy)
    };
    let later = "free space on it or install what is missing, then restart the agent";
    match (trials, untried(handle)) {
        ([(driver, _attempt)], _) if has_something(handle) => {
            Ok(Choice::kept(*driver, refusal(*driver, later)))
        },
        ([(driver, _attempt)], _) => {
            Err(refusal(*driver, "declare it with driver=auto or driver=directory").into())
        },
        // A weaker driver would make volumes without their limits.
        (_several, Some(driver)) => Ok(Choice::kept(driver, refusal(driver, later))),
        (_several, None) => directory(format!("sizes are not enforced: {said}")),
    }
}

/// What the disk may be able to have when there is room to try it.
fn untried(handle: &Handle) -> Option<DriverKind> {
    if !is_full(handle) {
        return None;
    }
    if handle.root.is_btrfs() == Ok(true) {
        return Some(DriverKind::Btrfs);
    }
    handle.root.account(PROJECT).ok().map(|_account| DriverKind::ProjectQuota)
}

/// Is there anything on the disk that would be withheld with it?
fn has_something(handle: &Handle) -> bool {
    let snapshots = handle.root.directory(".snapshots");
    let holds = |node: &Node| node.names(1).map_or(true, |names| !names.is_empty());
    holds(&handle.volumes) || holds(&handle.trash) || snapshots.is_ok_and(|node| holds(&node))
}

/// Is there too little room for a trial?
fn is_full(handle: &Handle) -> bool {
    handle.root.room().is_ok_and(|room| room.free < 8 * MIB as u64)
}

/// Tries a driver; answers with what was seen.
type Trial = fn(&Handle) -> Result<&'static str, Failed>;

fn broken(root: &Path, reason: &str) -> Refused {
    let text = format!("the disk at {} is broken: {reason}", root.display());
    let reason = Rejection::new(ErrorCode::DiskFaulty, text)
        .remedy("look into the kernel log, then restart the agent");
    Refused { reason, is_broken: true }
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

/// Tries the images that were asked for; without a kind, XFS and, for what is too small for it, ext4.
fn images(wanted: Option<Format>, handle: &Handle, root: &Path) -> Result<Choice, Refused> {
    let candidates = match wanted {
        Some(format) => vec![format],
        None => vec![Format::Xfs, Format::Ext4],
    };
    let (mut able, mut said) = (Vec::new(), Vec::new());
    for format in candidates {
        match trial::attempt(&handle.meta, format) {
            Ok(ability) => {
                let least = Bytes::new(format.least());
                said.push(match &ability.fixed {
                    None => format!("{format} from {least} on"),
                    Some(why) => format!("{format} from {least} on, but {why}"),
                });
                able.push(format);
            },
            Err(failed) if failed.is_broken => return Err(broken(root, &failed.reason)),
            Err(failed) => said.push(format!("not {format}: {}", failed.reason)),
        }
    }
    let Some(first) = able.first() else {
        return Err(Rejection::new(
            ErrorCode::DiskFaulty,
            format!("the disk at {} cannot have images: {}", root.display(), said.join("; ")),
        )
        .remedy("install what is missing, or declare it with driver=auto")
        .into());
    };
    let unshared = match trial::share(&handle.meta) {
        Ok(unshared) => unshared,
        Err(failed) if failed.is_broken => return Err(broken(root, &failed.reason)),
        Err(failed) => Some(failed.reason),
    };
    let reason = format!("declared; {}", said.join("; "));
    Ok(Choice { driver: DriverKind::Image(*first), reason, formats: able, refusal: None, unshared })
}

/// Can this disk have subvolumes whose quota stops a writer?
fn try_btrfs(handle: &Handle) -> Result<&'static str, Failed> {
    match handle.root.is_btrfs() {
        Ok(true) => {},
        Ok(false) => return Err("the file system is not btrfs".into()),
        Err(errno) => {
            let reason = format!("the file system does not answer ({errno})");
            return Err(Failed::by(errno, reason));
        },
    }
    handle.meta.enable_quota().map_err(|errno| match errno {
        Errno::PERM => "btrfs, but switching quotas on needs root".into(),
        other => Failed::by(other, format!("btrfs, but switching quotas on failed ({other})")),
    })?;
    match with_probe("btrfs", &handle.meta, write_past_limit)? {
        Ok(()) => Err("btrfs, but a quota did not stop a writer".into()),
        Err(Errno::DQUOT) => Ok("btrfs: a write past a quota was stopped"),
        Err(errno) => Err(Failed::by(errno, format!("btrfs, but trying a quota failed ({errno})"))),
    }
}

/// Can this disk have directories whose project's quota stops a writer?
fn try_project(handle: &Handle) -> Result<&'static str, Failed> {
    let missing = |why: &str| Failed::from(why);
    let before = handle.root.account(PROJECT).map_err(|errno| match errno {
        Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP => {
            missing("the kernel or the file system has no project quotas")
        },
        Errno::SRCH => missing(
            "project quotas are off (they are on when XFS, or ext4 with the features project and quota, is mounted with -o prjquota)",
        ),
        Errno::PERM => missing("project quotas need root"),
        other => Failed::by(other, format!("project quotas do not answer ({other})")),
    })?;
    // A file system that is full by itself would look like one with a limit.
    if is_full(handle) {
        return Err("there is too little room to try a project quota".into());
    }
    if before.limit.is_some() {
        // Of a trial that was interrupted.
        handle.root.limit_project(PROJECT, None).map_err(|errno| {
            Failed::by(errno, format!("lifting the limit of a trial failed ({errno})"))
        })?;
    }
    match with_probe("project quotas", &handle.meta, write_past_project)? {
        Ok(()) => Err("a project quota did not stop a writer".into()),
        Err(Errno::DQUOT | Errno::NOSPC) => Ok("project quota: a write past a limit was stopped"),
        Err(errno) => Err(Failed::by(errno, format!("trying a project quota failed ({errno})"))),
    }
}

/// The project of the trial. It has no files and no limit but during one.
const PROJECT: u32 = 0x3fff_ffff;
const PROBE: &str = ".probe";

/// How a writer fared that went past its limit.
type Written = Result<(), Errno>;

/// Lets a writer go past its limit in a place that is cleared before and, unless the trial itself failed, after.
fn with_probe(
    what: &str,
    meta: &Node,
    attempt: fn(&Node) -> Result<Written, Errno>,
) -> Result<Written, Failed> {
    let clear = || {
        remove::tree(meta, OsStr::new(PROBE), &Limits::unlimited()).map_err(|error| {
            let is_broken = matches!(&error, RemoveError::Io { source, .. } if is_broken(*source));
            Failed { reason: format!("{what}, but clearing {PROBE} failed: {error}"), is_broken }
        })
    };
    clear()?;
    let written = attempt(meta)
        .map_err(|errno| Failed::by(errno, format!("{what}, but a trial failed ({errno})")))?;
    clear()?;
    Ok(written)
}

fn write_past_limit(meta: &Node) -> Result<Written, Errno> {
    meta.make_subvolume(PROBE)?;
    let probe = meta.directory(PROBE)?;
    let group = probe.subvolume()?;
    probe.limit(Some(MIB as u64))?;
    let file = probe.create("file")?;
    let written = write_much(&file);
    probe.unlink("file")?;
    meta.remove_directory(PROBE)?;
    // A group that stays behind is empty and harms nobody.
    meta.forget_quota(group).ok();
    Ok(written)
}

fn write_past_project(meta: &Node) -> Result<Written, Errno> {
    meta.make_directory(PROBE, 0o700)?;
    let probe = meta.directory(PROBE)?;
    probe.set_project(PROJECT)?;
    probe.limit_project(PROJECT, Some(MIB as u64))?;
    let file = probe.create("file")?;
    let written = project::as_anybody(|| write_much(&file));
    // Before the directory from which it is known that there is one.
    meta.limit_project(PROJECT, None)?;
    Ok(written)
}

/// Three times the limit.
fn write_much(file: &Node) -> Result<(), Errno> {
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
    (0..3).try_for_each(|_round| {
        file.write(&block)?;
        file.sync()
    })
}
