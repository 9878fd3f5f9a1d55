//! The part of the narrow trait that is about overwriting what files and raw devices hold.
//!
//! It does not know why. Invariant: nothing is answered as overwritten that was written elsewhere.

use super::real::{Open, inside, number_of};
use super::{Calls, Node, Site};
use crate::disk::filesystem;
use crate::disk::image::still::{Part, written};
use crate::disk::media::SYS;
use crate::host::pace;
use crate::volume::survey_tree;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, opcode};
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::panic::Location;
use std::path::Path;

/// What bytes are overwritten with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Zeros.
    Zeros,
    /// Random bytes.
    Noise,
}

/// A file that is neither a directory nor a link, device, pipe or socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Regular {
    /// How many names it has, wherever they are.
    pub names: u64,
    /// Its length.
    pub length: u64,
}

/// What there is to overwrite below a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// What the files take from the disk.
    pub bytes: u64,
    /// A file that has a name elsewhere, or that shares blocks with another one; for people.
    pub shared: Option<String>,
}

/// The calls on an open directory, file or device. [`Node`] says what each does.
#[expect(missing_docs, reason = "documented once, at the methods of Node that call them")]
#[expect(clippy::missing_errors_doc, reason = "documented once, at the methods of Node")]
pub trait Wipes {
    fn regular(&self, site: Site, name: &OsStr) -> Result<Option<Regular>, Errno>;
    fn to_overwrite(&self, site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno>;
    fn overwrite(&self, site: Site, at: u64, length: u64, with: Pattern) -> Result<u64, Errno>;
    fn discard(&self, site: Site, at: u64, length: u64) -> Result<(), Errno>;
    fn discards(&self, site: Site) -> Result<bool, Errno>;
    fn in_place(&self, site: Site) -> Result<bool, Errno>;
    fn survey(&self, site: Site) -> Result<Surveyed, String>;
}

#[expect(clippy::missing_errors_doc, reason = "each fails as the system call it stands for")]
impl Node {
    /// The file right below this directory; nothing when it is of another kind.
    #[track_caller]
    pub fn regular(&self, name: impl AsRef<OsStr>) -> Result<Option<Regular>, Errno> {
        self.0.regular(Location::caller(), name.as_ref())
    }

    /// Opens a file right below this directory for overwriting it, whatever its mode.
    #[track_caller]
    pub fn to_overwrite(&self, name: impl AsRef<OsStr>) -> Result<Self, Errno> {
        self.0.to_overwrite(Location::caller(), name.as_ref()).map(Self)
    }

    /// Overwrites what this file or device holds from there on; holes stay holes. Answers how much that was. Not synced.
    /// OPNOTSUPP when the file system keeps what was there before: then nothing is known to be overwritten.
    #[track_caller]
    pub fn overwrite(&self, at: u64, length: u64, with: Pattern) -> Result<u64, Errno> {
        self.0.overwrite(Location::caller(), at, length, with)
    }

    /// Tells this device that nobody needs these bytes any more.
    #[track_caller]
    pub fn discard(&self, at: u64, length: u64) -> Result<(), Errno> {
        self.0.discard(Location::caller(), at, length)
    }

    /// Can this device be told so?
    #[track_caller]
    pub fn discards(&self) -> Result<bool, Errno> {
        self.0.discards(Location::caller())
    }

    /// Is its file system one that overwrites in place?
    #[track_caller]
    pub fn in_place(&self) -> Result<bool, Errno> {
        self.0.in_place(Location::caller())
    }

    /// What there is to overwrite below this directory; else why that cannot be told, for people.
    #[track_caller]
    pub fn survey(&self) -> Result<Surveyed, String> {
        self.0.survey(Location::caller())
    }
}

/// Written at once.
const PIECE: usize = 1 << 20;
/// `BLKDISCARD`, whose argument is where and how much.
const DISCARD: Opcode = opcode::none(0x12, 119);

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn fill(piece: &mut [u8], with: Pattern) -> Result<(), Errno> {
    match with {
        Pattern::Zeros => piece.fill(0),
        Pattern::Noise => {
            let source = std::fs::File::open("/dev/urandom");
            let filled = source.and_then(|mut source| source.read_exact(piece));
            filled.map_err(|error| errno(&error))?;
        },
    }
    Ok(())
}

#[expect(unsafe_code, reason = "an ioctl whose argument is an array of two numbers")]
fn tell_discard(device: BorrowedFd<'_>, at: u64, length: u64) -> Result<(), Errno> {
    let mut range = [at, length];
    // SAFETY: BLKDISCARD reads two numbers of 64 bits.
    unsafe { ioctl::ioctl(device, ioctl::Updater::<DISCARD, [u64; 2]>::new(&mut range)) }
}

impl Open {
    fn is_device(&self) -> Result<bool, Errno> {
        let mode = rustix::fs::fstat(&self.0)?.st_mode;
        Ok(FileType::from_raw_mode(mode) == FileType::BlockDevice)
    }

    fn write_over(&self, part: Part, with: Pattern) -> Result<(), Errno> {
        let mut piece = vec![0; PIECE];
        let (mut at, end) = (part.logical, part.logical.saturating_add(part.length));
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let now = piece.get_mut(..length).ok_or(Errno::RANGE)?;
            fill(now, with)?;
            self.0.write_all_at(now, at).map_err(|error| errno(&error))?;
            at += length as u64;
            pace::deleted();
        }
        Ok(())
    }
}

impl Wipes for Open {
    fn regular(&self, _site: Site, name: &OsStr) -> Result<Option<Regular>, Errno> {
        let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(is_file.then_some(Regular { names: stat.st_nlink, length }))
    }

    fn to_overwrite(&self, _site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || rustix::fs::openat2(&self.0, name, flags, Mode::empty(), inside());
        let file = match open() {
            // Without root, a file of our own may be unwritable for ourselves.
            Err(Errno::ACCESS) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let handle = rustix::fs::openat2(&self.0, name, flags, Mode::empty(), inside())?;
                let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
                rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
                open()?
            },
            other => other?,
        };
        Ok(Box::new(Self::from(file)))
    }

    fn overwrite(&self, _site: Site, at: u64, length: u64, with: Pattern) -> Result<u64, Errno> {
        if self.is_device()? {
            self.write_over(Part { logical: at, physical: 0, length }, with)?;
            return Ok(length);
        }
        let end = u64::try_from(rustix::fs::fstat(&self.0)?.st_size).unwrap_or(0);
        let end = end.min(at.saturating_add(length));
        let before = written(self.0.as_fd(), at, end)?;
        for part in &before {
            self.write_over(*part, with)?;
        }
        if !before.is_empty() {
            rustix::fs::fdatasync(&self.0)?;
            let after = written(self.0.as_fd(), at, end)?;
            if !before.iter().all(|part| part.is_within(&after)) {
                return Err(Errno::OPNOTSUPP);
            }
        }
        Ok(before.iter().map(|part| part.length).sum())
    }

    fn discard(&self, _site: Site, at: u64, length: u64) -> Result<(), Errno> {
        tell_discard(self.0.as_fd(), at, length)?;
        pace::deleted();
        Ok(())
    }

    fn discards(&self, _site: Site) -> Result<bool, Errno> {
        let (major, minor) = number_of(&rustix::fs::fstat(&self.0)?)?;
        let device = Path::new(SYS).join(format!("dev/block/{major}:{minor}"));
        // Of a partition the whole device says it.
        let most = ["queue/discard_max_bytes", "../queue/discard_max_bytes"]
            .into_iter()
            .find_map(|name| std::fs::read_to_string(device.join(name)).ok());
        Ok(most.is_some_and(|most| most.trim() != "0"))
    }

    fn in_place(&self, _site: Site) -> Result<bool, Errno> {
        filesystem::overwrites_in_place(self.0.as_fd())
    }

    fn survey(&self, _site: Site) -> Result<Surveyed, String> {
        survey_tree(self.0.as_fd())
    }
}
