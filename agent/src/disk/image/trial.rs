//! Which images a disk can have, found by making one of each kind, mounting it, writing to it and growing it.

use super::device::{self, Device};
use super::{Format, MIB, format, grow, point};
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// By how much the image of the trial grows; more than what the file systems round away.
const MORE: u64 = 32 * MIB;

/// What a disk can do with one kind of image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ability {
    /// The kind.
    pub format: Format,
    /// Why it cannot grow while it is mounted; nothing when it can.
    pub fixed: Option<String>,
}

/// Tries one kind of image in the directory `meta`, where nothing of it remains.
///
/// # Errors
/// What does not work, and why.
pub fn attempt(meta: BorrowedFd<'_>, format: Format) -> Result<Ability, String> {
    let failed = |doing: &str, errno: Errno| format!("{doing} failed ({errno})");
    // Named like every image, in a directory of its own.
    let clear = || {
        remove(meta, &format!("{PLACE}/{}", device::FILE), AtFlags::empty())
            .and_then(|()| remove(meta, PLACE, AtFlags::REMOVEDIR))
            .map_err(|errno| failed("clearing an image", errno))
    };
    clear()?;
    let tried = try_in(meta, format);
    clear()?;
    tried
}

const PLACE: &str = ".probe-image";

fn remove(meta: BorrowedFd<'_>, path: &str, flags: AtFlags) -> Result<(), Errno> {
    match rustix::fs::unlinkat(meta, path, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn try_in(meta: BorrowedFd<'_>, format: Format) -> Result<Ability, String> {
    let failed = |doing: &'static str| move |errno: Errno| format!("{doing} failed ({errno})");
    rustix::fs::mkdirat(meta, PLACE, Mode::RWXU).map_err(failed("making an image"))?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let path = format!("{PLACE}/{}", device::FILE);
    let file = rustix::fs::openat(meta, path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(failed("making an image"))?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, MIB)
        .map_err(failed("allocating an image"))?;
    rustix::fs::ftruncate(&file, format.least()).map_err(failed("sizing an image"))?;
    let device = device::attach(file.as_fd()).map_err(no_device)?;
    format::make(format, &device.path())?;
    let mounted = point::mount(&device, format)?;
    let root = mounted.root().descriptor().map_err(failed("opening an image"))?;
    let written = rustix::fs::openat(root, "try", flags, Mode::RUSR).and_then(|try_file| {
        rustix::io::write(&try_file, &[0x5a; 4096]).and_then(|_length| rustix::fs::fsync(&try_file))
    });
    written.map_err(failed("writing into an image"))?;
    let fixed = match extend(&file, &device, root, format) {
        Ok(()) => None,
        Err(Errno::PERM) if format == Format::Ext4 => {
            Some("growing it while mounted needs CAP_SYS_RESOURCE".to_owned())
        },
        Err(errno) => Some(format!("growing it while mounted failed ({errno})")),
    };
    Ok(Ability { format, fixed })
}

fn extend(
    file: &OwnedFd,
    device: &Device,
    root: BorrowedFd<'_>,
    format: Format,
) -> Result<(), Errno> {
    let bytes = format.least() + MORE;
    rustix::fs::ftruncate(file, bytes)?;
    device.read_size()?;
    grow::grow(root, format, bytes)
}

/// Why there is no loop device, with what helps.
#[must_use]
pub fn no_device(errno: Errno) -> String {
    match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => {
            format!("there are no loop devices on this machine ({errno}): load the module loop")
        },
        Errno::PERM | Errno::ACCESS => {
            format!("loop devices may not be used ({errno}): run the agent as root")
        },
        other => format!("attaching a loop device failed ({other})"),
    }
}
