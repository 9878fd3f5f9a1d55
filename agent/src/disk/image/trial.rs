//! Which images a disk can have, found by making one of each kind, mounting it, writing to it and growing it.

use super::{Format, MIB, device};
use crate::disk::fs::Node;
use crate::disk::fs::image::Device;
use crate::disk::is_broken;
use rustix::io::Errno;

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

/// Why one kind of image cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// For people.
    pub reason: String,
    /// Not the kind but the disk is at fault.
    pub is_broken: bool,
}

impl From<String> for Failed {
    fn from(reason: String) -> Self {
        Self { reason, is_broken: false }
    }
}

/// A call on the disk failed, not one in the image.
fn of_disk(doing: &'static str) -> impl Fn(Errno) -> Failed {
    move |errno| Failed { reason: format!("{doing} failed ({errno})"), is_broken: is_broken(errno) }
}

/// Tries one kind of image in the directory `meta`, where nothing of it remains.
///
/// # Errors
/// What does not work, and why.
pub fn attempt(meta: &Node, format: Format) -> Result<Ability, Failed> {
    let clear = || clear(meta).map_err(of_disk("clearing an image"));
    clear()?;
    let tried = try_in(meta, format);
    clear()?;
    tried
}

/// Named like every image, in a directory of its own.
const PLACE: &str = ".probe-image";
const COPY: &str = "copy";

fn clear(meta: &Node) -> Result<(), Errno> {
    let directory = match meta.directory(PLACE) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    for name in [device::FILE, COPY] {
        match directory.unlink(name) {
            Ok(()) | Err(Errno::NOENT) => {},
            Err(errno) => return Err(errno),
        }
    }
    meta.remove_directory(PLACE)
}

/// Tries whether files can share their blocks, which snapshots of images need. Why not; nothing when they can.
///
/// # Errors
/// The trial itself failed.
pub fn share(meta: &Node) -> Result<Option<String>, Failed> {
    let clear = || clear(meta).map_err(of_disk("clearing a trial of shared blocks"));
    clear()?;
    let of_trial = of_disk("trying shared blocks");
    let prepared = meta.make_directory(PLACE, 0o700).and_then(|()| {
        let directory = meta.directory(PLACE)?;
        let file = directory.create(device::FILE)?;
        let copy = directory.create(COPY)?;
        if directory.is_btrfs()? {
            file.write_in_place()?;
            copy.write_in_place()?;
        }
        file.allocate(MIB).map(|()| (file, copy))
    });
    let tried = prepared.map(|(file, copy)| copy.share(&file)).map_err(of_trial)?;
    clear()?;
    match tried {
        Ok(()) => Ok(None),
        Err(errno) if is_broken(errno) => Err(of_disk("sharing blocks")(errno)),
        Err(errno) => Ok(Some(format!(
            "the file system of the disk cannot share blocks between files ({errno}); XFS (as it is made by default) and btrfs can"
        ))),
    }
}

fn try_in(meta: &Node, format: Format) -> Result<Ability, Failed> {
    meta.make_directory(PLACE, 0o700).map_err(of_disk("making an image"))?;
    let file = meta
        .directory(PLACE)
        .and_then(|directory| directory.create(device::FILE))
        .map_err(of_disk("making an image"))?;
    file.allocate(MIB).map_err(of_disk("allocating an image"))?;
    file.set_length(format.least()).map_err(of_disk("sizing an image"))?;
    let device = file.attach().map_err(no_device)?;
    device.format(format, false)?;
    let mounted = device.mount(format)?;
    let root = mounted.root();
    root.create("try")
        .and_then(|try_file| try_file.write(&[0x5a; 4096]).and_then(|()| try_file.sync()))
        .map_err(|errno| format!("writing into an image failed ({errno})"))?;
    file.set_length(format.least() + MORE).map_err(of_disk("sizing an image"))?;
    let fixed = match extend(&device, root, format) {
        Ok(()) => None,
        Err(Errno::PERM) if format == Format::Ext4 => {
            Some("growing it while mounted needs CAP_SYS_RESOURCE".to_owned())
        },
        Err(errno) => Some(format!("growing it while mounted failed ({errno})")),
    };
    Ok(Ability { format, fixed })
}

fn extend(device: &Device, root: &Node, format: Format) -> Result<(), Errno> {
    device.read_size()?;
    root.give_size(format, format.least() + MORE)
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
