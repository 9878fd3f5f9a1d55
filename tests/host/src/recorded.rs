//! A block device that remembers every write and every flush, so that a power cut at any moment can be made of it.
//!
//! A file served through FUSE has a loop device on it: what the kernel's file system above writes and flushes comes
//! by here in order. A drive with a volatile cache may lose, after the last flush, any of the writes, and may have
//! written a part of one; before it, none. It knows nothing of what is written.

use crate::host::run;
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyOpen, ReplyWrite,
    Request, Session, SessionACL, WriteFlags,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// The part of a write that a drive writes whole or not at all: its physical sector. ext4 relies on it, and cannot be
/// mounted any more after half a superblock.
const SECTOR: usize = 4096;

/// What came by.
#[derive(Clone, Debug)]
enum Event {
    Write { offset: u64, data: Vec<u8> },
    Flush,
}

#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<Event>>>);

impl Log {
    fn push(&self, event: Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// The one file of the served file system; it is its root.
#[derive(Debug)]
struct Served {
    content: File,
    size: u64,
    log: Log,
}

impl Served {
    fn attributes(&self) -> FileAttr {
        FileAttr {
            ino: INodeNo::ROOT,
            size: self.size,
            blocks: self.size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: FileType::RegularFile,
            perm: 0o600,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Served {
    fn getattr(&self, _: &Request, _: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::from_hours(1), &self.attributes());
    }
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }
    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let left = self.size.saturating_sub(offset);
        let length = usize::try_from(u64::from(size).min(left)).unwrap_or_default();
        let mut data = vec![0; length];
        match self.content.read_exact_at(&mut data, offset) {
            Ok(()) => reply.data(&data),
            Err(_error) => reply.error(Errno::EIO),
        }
    }
    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if self.content.write_all_at(data, offset).is_err() {
            return reply.error(Errno::EIO);
        }
        self.log.push(Event::Write { offset, data: data.to_vec() });
        reply.written(u32::try_from(data.len()).unwrap_or_default());
    }
    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.log.push(Event::Flush);
        reply.ok();
    }
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}

/// The device while it is recorded.
#[derive(Debug)]
pub struct Recording {
    log: Log,
    device: String,
    point: PathBuf,
    session: Option<BackgroundSession>,
}

impl Recording {
    /// Serves the file `content` as a block device. Its name is `point`, which is made; the caller has mounts of its
    /// own.
    ///
    /// # Errors
    /// FUSE or loop devices are refused here.
    pub fn start(content: &Path, point: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(content)?;
        let size = file.metadata()?.len();
        drop(File::create(point)?);
        let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        let options = format!("fd={},rootmode=100000,user_id=0,group_id=0", fuse.as_raw_fd());
        mount(Some("recorded"), point, Some("fuse"), MsFlags::empty(), Some(options.as_str()))?;
        let log = Log::default();
        let served = Served { content: file, size, log: log.clone() };
        let fuse = OwnedFd::from(fuse);
        let session =
            Session::from_fd(served, fuse, SessionACL::Owner, Config::default())?.spawn()?;
        let device = run("losetup", &["-f", "--show", &point.to_string_lossy()]).trim().to_owned();
        Ok(Self { log, device, point: point.to_owned(), session: Some(session) })
    }

    /// The block device.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.device
    }

    /// How much came by up to now: the moment of a power cut.
    #[must_use]
    pub fn now(&self) -> usize {
        self.log.len()
    }

    /// Ends the recording; nothing may be mounted from the device any more.
    ///
    /// # Errors
    /// It is in use.
    pub fn stop(mut self) -> anyhow::Result<Recorded> {
        let _detached = run("losetup", &["-d", &self.device]);
        umount2(&self.point, MntFlags::MNT_DETACH)?;
        // Without its mount the session's loop ends by itself.
        drop(self.session.take());
        let events =
            std::mem::take(&mut *self.log.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Recorded { events })
    }
}

/// All that came by.
#[derive(Debug)]
pub struct Recorded {
    events: Vec<Event>,
}

impl Recorded {
    /// How many writes and flushes there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }
    /// True when nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
    /// How many flushes there were.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Flush)).count()
    }

    /// The moment of the next flush, before it is done; the end when none follows.
    #[must_use]
    pub fn flush_after(&self, moment: usize) -> usize {
        let later = self.events.iter().skip(moment);
        moment + later.take_while(|event| !matches!(event, Event::Flush)).count()
    }

    /// The moment from `moment` on, before a flush or the end, at which most writes are in the drive's cache.
    #[must_use]
    pub fn fullest_after(&self, moment: usize) -> usize {
        let (mut cached, mut fullest) = (0, (0, self.events.len()));
        for (at, event) in self.events.iter().chain([&Event::Flush]).enumerate() {
            match event {
                Event::Write { .. } => cached += 1,
                Event::Flush => {
                    if at >= moment && cached > fullest.0 {
                        fullest = (cached, at);
                    }
                    cached = 0;
                },
            }
        }
        fullest.1
    }

    /// Turns a copy of the content at the start into what a drive holds after a power cut at `moment`. `dice` gives a
    /// number below the one it is given, and so decides what of the drive's cache was written. Returns how many writes
    /// were lost or torn.
    ///
    /// # Errors
    /// The copy cannot be written.
    pub fn cut(
        &self,
        copy: &Path,
        moment: usize,
        mut dice: impl FnMut(usize) -> usize,
    ) -> anyhow::Result<usize> {
        let file = OpenOptions::new().write(true).open(copy)?;
        let before = &self.events[..moment.min(self.events.len())];
        let durable = before.iter().rposition(|event| matches!(event, Event::Flush)).unwrap_or(0);
        let mut lost = 0;
        for (number, event) in before.iter().enumerate() {
            let Event::Write { offset, data } = event else { continue };
            let sectors = data.len().div_ceil(SECTOR);
            let kept = match dice(4) {
                _any if number < durable => sectors,
                0 | 1 => sectors,
                2 => 0,
                _torn => dice(sectors),
            };
            lost += usize::from(kept < sectors);
            file.write_all_at(&data[..data.len().min(kept * SECTOR)], *offset)?;
        }
        Ok(lost)
    }
}
