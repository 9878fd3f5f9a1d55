//! Loop devices: a file, or a part of a raw device, as a block device, by ioctl.
//!
//! A device is always attached so that it goes with its last user: what a crash leaves between attaching and
//! mounting is gone with the process, and unmounting detaches. No file is attached twice: a device is first looked for
//! by the inode of the file behind it. This module does not know what the file holds.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode};
use std::ffi::c_void;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Every image has this name in its volume's directory, so that devices of strangers need not be opened.
pub const FILE: &str = "image";
/// The major number of loop devices.
pub const MAJOR: u32 = 7;

const GET_STATUS: Opcode = 0x4c05;
const SET_CAPACITY: Opcode = 0x4c07;
const CONFIGURE: Opcode = 0x4c0a;
const GET_FREE: Opcode = 0x4c82;
const FLAG_AUTOCLEAR: u32 = 4;
const FLAG_DIRECT_IO: u32 = 16;
/// Others take free devices as well.
const ATTEMPTS: usize = 64;
/// How long a file system that was given up may stay mounted.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Between looking for the device of a file and attaching it nobody else of this agent may do the same.
static ATTACHING: Mutex<()> = Mutex::new(());

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const NO_INFO: Info = Info {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    size_limit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; 64],
    crypt_name: [0; 64],
    encrypt_key: [0; 32],
    init: [0; 2],
};

/// The part of a raw device that a loop device shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// All of a file.
const ALL: Window = Window { offset: 0, bytes: 0 };

/// An attached loop device, held open: while it is held, it stays attached.
#[derive(Debug)]
pub struct Device {
    number: u32,
    node: OwnedFd,
}

impl From<Device> for OwnedFd {
    fn from(device: Device) -> Self {
        device.node
    }
}

impl Device {
    /// The device of this number, if it is attached to this very file.
    ///
    /// # Errors
    /// The device or the file does not answer.
    pub fn of_number(number: u32, file: BorrowedFd<'_>) -> Result<Option<Self>, Errno> {
        let device = match open_node(number, OFlags::RDONLY) {
            Ok(node) => Self { number, node },
            // It went away meanwhile.
            Err(Errno::NOENT | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        match device.info() {
            Ok(info) if (info.device, info.inode) == backing(file)? => Ok(Some(device)),
            Ok(_other) => Ok(None),
            Err(Errno::NXIO) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> String {
        node_path(self.number)
    }

    /// One KiB of what is on it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, at: u64) -> Result<[u8; 1024], Errno> {
        let mut block = [0; 1024];
        let length = rustix::io::pread(&self.node, &mut block, at)?;
        if length == block.len() { Ok(block) } else { Err(Errno::IO) }
    }

    /// Takes over the size of the file after it was changed.
    ///
    /// # Errors
    /// The device does not answer.
    #[expect(unsafe_code, reason = "an ioctl without argument")]
    pub fn read_size(&self) -> Result<(), Errno> {
        // SAFETY: LOOP_SET_CAPACITY has no argument.
        unsafe { ioctl::ioctl(&self.node, ioctl::NoArg::<SET_CAPACITY>::new()) }
    }

    /// Waits until no file system on it is mounted. Closing the last handle on a mount ends it only where nobody else has
    /// that handle, and between fork and exec each process that begins has all of them.
    ///
    /// # Errors
    /// It is still in use after [`PATIENCE`], or does not answer.
    pub fn await_unmounted(&self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            // A mounted file system claims its device, which refuses every other claim (open(2), O_EXCL on block devices).
            match open_node(self.number, OFlags::RDONLY | OFlags::EXCL) {
                Ok(_claimed) => return Ok(()),
                Err(Errno::BUSY) if Instant::now() < until => pause(),
                Err(Errno::BUSY) => {
                    let seconds = PATIENCE.as_secs();
                    return Err(format!("{} is still mounted after {seconds} s", self.path()));
                },
                Err(errno) => return Err(format!("{} cannot be opened ({errno})", self.path())),
            }
        }
    }

    #[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
    fn info(&self) -> Result<Info, Errno> {
        let mut info = NO_INFO;
        // SAFETY: LOOP_GET_STATUS64 writes one `struct loop_info64`, which Info mirrors.
        unsafe {
            ioctl::ioctl(&self.node, ioctl::Updater::<GET_STATUS, Info>::new(&mut info))?;
        }
        Ok(info)
    }
}

/// The device that is attached to this file, if there is one.
///
/// # Errors
/// Devices cannot be listed, or one does not answer.
pub fn find(file: BorrowedFd<'_>) -> Result<Option<Device>, Errno> {
    let entries = match std::fs::read_dir("/sys/block") {
        Ok(entries) => entries,
        Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    };
    for entry in entries.flatten() {
        let Some(number) = number_of(&entry) else { continue };
        let behind = std::fs::read_to_string(entry.path().join("loop/backing_file"));
        let ours = behind.is_ok_and(|path| {
            let path = path.trim_end().trim_end_matches(" (deleted)");
            Path::new(path).file_name().is_some_and(|name| name == FILE)
        });
        if ours && let Some(device) = Device::of_number(number, file)? {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

/// The file as a device: the one it is already, or a new one that goes with its last user.
///
/// # Errors
/// There are no loop devices, or the privilege is missing.
pub fn attach(file: BorrowedFd<'_>) -> Result<Device, Errno> {
    let _alone = ATTACHING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = find(file)? {
        return Ok(device);
    }
    attach_new(file, ALL)
}

/// This part of a raw device as a device: the one it is already, or a new one that goes with its last user.
///
/// # Errors
/// There are no loop devices, or the privilege is missing.
pub fn attach_window(raw: BorrowedFd<'_>, window: Window) -> Result<Device, Errno> {
    let _alone = ATTACHING.lock().unwrap_or_else(PoisonError::into_inner);
    for number in above(raw)? {
        let device = Device { number, node: open_node(number, OFlags::RDWR)? };
        match device.info() {
            Ok(info) if (info.offset, info.size_limit) == (window.offset, window.bytes) => {
                return Ok(device);
            },
            // It went away meanwhile, or somebody shows another part.
            Ok(_) | Err(Errno::NXIO) => {},
            Err(errno) => return Err(errno),
        }
    }
    // Without the exclusive claim of this handle, which the loop device would keep beyond this process.
    let path = format!("/proc/self/fd/{}", raw.as_raw_fd());
    let plain = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    attach_new(plain.as_fd(), window)
}

/// Is any part of the raw device a loop device?
///
/// # Errors
/// The loop devices cannot be listed.
pub fn is_below_any(raw: BorrowedFd<'_>) -> Result<bool, Errno> {
    above(raw).map(|found| !found.is_empty())
}

/// The loop devices that have this raw device behind them.
fn above(raw: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let own = rustix::fs::fstat(raw)?.st_rdev;
    let behind = |entry: &std::fs::DirEntry| {
        let path = std::fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
        let stat = rustix::fs::stat(path.trim_end()).ok()?;
        let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
        (is_device && stat.st_rdev == own).then(|| number_of(entry))?
    };
    let entries = std::fs::read_dir("/sys/block")
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(entries.flatten().filter_map(|entry| behind(&entry)).collect())
}

fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread that may block waits for another process"
    )]
    std::thread::sleep(LOOK_AGAIN);
}

fn number_of(entry: &std::fs::DirEntry) -> Option<u32> {
    entry.file_name().to_str()?.strip_prefix("loop")?.parse().ok()
}

fn attach_new(file: BorrowedFd<'_>, window: Window) -> Result<Device, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let control = rustix::fs::open("/dev/loop-control", flags, Mode::empty())?;
    let mut refused = Errno::BUSY;
    for _attempt in 0..ATTEMPTS {
        let number = free_number(control.as_fd())?;
        let node = open_node(number, OFlags::RDWR)?;
        match configure(node.as_fd(), file, window) {
            Ok(()) if window != ALL => return Ok(Device { number, node }),
            Ok(()) => {
                // Whoever trims the file system would take away what is allocated for it.
                let discard = format!("/sys/block/loop{number}/queue/discard_max_bytes");
                std::fs::write(discard, "0").ok();
                return Ok(Device { number, node });
            },
            // Somebody else was faster.
            Err(Errno::BUSY) => refused = Errno::BUSY,
            Err(errno) => return Err(errno),
        }
    }
    Err(refused)
}

/// Of an XFS with small sectors: those. A file that shares blocks with another is read and written in larger ones, and the
/// device would have these, on which such an XFS cannot be mounted. Of everything else 0: what suits the file.
fn sector_size(file: BorrowedFd<'_>) -> u32 {
    let mut start = [0; 104];
    let length = rustix::io::pread(file, &mut start, 0).unwrap_or_default();
    let small = 512_u16.to_be_bytes();
    let is_small = length == start.len() && start.starts_with(b"XFSB") && start.ends_with(&small);
    if is_small { 512 } else { 0 }
}

#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
fn configure(node: BorrowedFd<'_>, file: BorrowedFd<'_>, window: Window) -> Result<(), Errno> {
    let mut info = NO_INFO;
    (info.offset, info.size_limit) = (window.offset, window.bytes);
    info.flags = FLAG_AUTOCLEAR | FLAG_DIRECT_IO;
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_negative| Errno::BADF)?;
    let block_size = if window == ALL { sector_size(file) } else { 0 };
    let config = Config { fd, block_size, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config`, which Config mirrors.
    unsafe { ioctl::ioctl(node, ioctl::Setter::<CONFIGURE, Config>::new(config)) }
}

/// LOOP_CTL_GET_FREE: the number is what the call returns.
struct GetFree;

#[expect(unsafe_code, reason = "an ioctl without argument whose result is its return value")]
// SAFETY: the call reads and writes no memory of the process.
unsafe impl Ioctl for GetFree {
    type Output = u32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _unused: *mut c_void) -> Result<u32, Errno> {
        u32::try_from(out).map_err(|_negative| Errno::RANGE)
    }
}

#[expect(unsafe_code, reason = "an ioctl without argument")]
fn free_number(control: BorrowedFd<'_>) -> Result<u32, Errno> {
    // SAFETY: LOOP_CTL_GET_FREE has no argument.
    unsafe { ioctl::ioctl(control, GetFree) }
}

fn open_node(number: u32, mode: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::open(node_path(number), mode | OFlags::CLOEXEC, Mode::empty())
}

fn node_path(number: u32) -> String {
    format!("/dev/loop{number}")
}

/// Device and inode of a file, as the kernel gives them for the file behind a loop device.
fn backing(file: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    let (major, minor) = (u64::from(stat.stx_dev_major), u64::from(stat.stx_dev_minor));
    let device = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
    Ok((device, stat.stx_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_the_sizes_the_kernel_declares() {
        assert_eq!((size_of::<Info>(), size_of::<Config>()), (232, 304));
    }
}
