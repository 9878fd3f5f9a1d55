//! Project quotas of XFS and ext4, by ioctl and quotactl: a directory's project, what a project uses, how much it may.
//!
//! New files and directories have the project of the directory they are made in. Limits are hard ones, in whole KiB. Both
//! file systems answer the generic commands. It does not know volumes. A limit is part of the file system's journal, so
//! whatever is synced after it makes it durable as well.

use nix::libc;
use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, opcode};
use rustix::thread::CapabilitySet;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// `FS_XFLAG_PROJINHERIT`.
const INHERIT: u32 = 0x200;
/// `QCMD(Q_GETQUOTA, PRJQUOTA)`.
const GET: libc::c_ulong = 0x8000_0702;
/// `QCMD(Q_SETQUOTA, PRJQUOTA)`.
const SET: libc::c_ulong = 0x8000_0802;
/// `QIF_BLIMITS`: of all fields, those of the limits in bytes are set.
const BYTE_LIMITS: u32 = 1;
const KIB: u64 = 1024;

/// What the kernel accounts for a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Bytes in use, those included that are not written out yet.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
    /// At most so many bytes.
    pub limit: Option<u64>,
}

impl Account {
    /// Does nothing on the file system have the project, and has nobody limited it?
    #[must_use]
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    unused: [u8; 8],
}

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Quota {
    hard: u64,
    soft: u64,
    bytes: u64,
    files_hard: u64,
    files_soft: u64,
    files: u64,
    time: u64,
    files_time: u64,
    valid: u32,
}

const GET_ATTRIBUTES: Opcode = opcode::read::<Attributes>(b'X', 31);
const SET_ATTRIBUTES: Opcode = opcode::write::<Attributes>(b'X', 32);

#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
fn attributes(object: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    // SAFETY: FS_IOC_FSGETXATTR writes one `struct fsxattr`, which Attributes mirrors.
    unsafe { ioctl::ioctl(object, ioctl::Getter::<GET_ATTRIBUTES, Attributes>::new()) }
}

/// The project of a directory; 0 when it has none.
///
/// # Errors
/// The file system has no projects (NOTTY, OPNOTSUPP).
pub fn of(directory: BorrowedFd<'_>) -> Result<u32, Errno> {
    attributes(directory).map(|found| found.project)
}

/// Gives a directory a project, for itself and what is made in it from now on; 0 takes it away.
///
/// # Errors
/// The file system has no projects (NOTTY, OPNOTSUPP), or the privilege is missing (PERM).
#[expect(unsafe_code, reason = "an ioctl whose argument is declared above")]
pub fn set(directory: BorrowedFd<'_>, project: u32) -> Result<(), Errno> {
    let found = attributes(directory)?;
    let flags = if project == 0 { found.flags & !INHERIT } else { found.flags | INHERIT };
    let wanted = Attributes { flags, project, ..found };
    // SAFETY: FS_IOC_FSSETXATTR reads one `struct fsxattr`, which Attributes mirrors.
    unsafe { ioctl::ioctl(directory, ioctl::Setter::<SET_ATTRIBUTES, Attributes>::new(wanted)) }
}

/// Carries out a command of `quotactl_fd(2)` on the file system of an open directory.
#[expect(unsafe_code, reason = "a system call whose argument is declared above")]
fn quotactl(
    directory: BorrowedFd<'_>,
    command: libc::c_ulong,
    project: u32,
    quota: &mut Quota,
) -> Result<(), Errno> {
    let quota: *mut Quota = quota;
    // SAFETY: Q_GETQUOTA writes and Q_SETQUOTA reads one `struct if_dqblk`, which Quota mirrors; the descriptor is open
    // as long as it is borrowed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            directory.as_raw_fd(),
            command,
            libc::c_ulong::from(project),
            quota,
        )
    };
    if done == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// What a project uses and may use.
///
/// # Errors
/// The kernel has no quotas (NOSYS), those of projects are off (SRCH), or the privilege is missing (PERM).
pub fn account(directory: BorrowedFd<'_>, project: u32) -> Result<Account, Errno> {
    let mut quota = Quota::default();
    match quotactl(directory, GET, project, &mut quota) {
        // Nothing was ever accounted for it.
        Err(Errno::NOENT) => return Ok(Account::default()),
        other => other?,
    }
    let limit = (quota.hard > 0).then(|| quota.hard.saturating_mul(KIB));
    Ok(Account { bytes: quota.bytes, files: quota.files, limit })
}

/// Limits a project, or lifts its limit.
///
/// # Errors
/// As [`account`].
pub fn limit(directory: BorrowedFd<'_>, project: u32, bytes: Option<u64>) -> Result<(), Errno> {
    // Zero is no limit to the kernel.
    let hard = bytes.map_or(0, |bytes| (bytes / KIB).max(1));
    let mut quota = Quota { hard, valid: BYTE_LIMITS, ..Quota::default() };
    quotactl(directory, SET, project, &mut quota)
}

/// Runs `work` in a thread that limits hold also where they do not hold for root: ext4 lets everybody pass who has
/// CAP_SYS_RESOURCE.
pub fn as_anybody<T: Send>(work: impl FnOnce() -> Result<T, Errno> + Send) -> Result<T, Errno> {
    let limited = || {
        let mut own = rustix::thread::capabilities(None)?;
        own.effective.remove(CapabilitySet::SYS_RESOURCE);
        rustix::thread::set_capabilities(None, own)?;
        work()
    };
    std::thread::scope(|scope| scope.spawn(limited).join().unwrap_or(Err(Errno::IO)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn requests_have_the_numbers_and_sizes_the_kernel_declares() {
        assert_eq!((GET_ATTRIBUTES, SET_ATTRIBUTES), (0x801c_581f, 0x401c_5820));
        assert_eq!(size_of::<Quota>(), 72);
    }

    #[test]
    fn a_thread_without_the_privilege_is_only_that_thread() {
        let own = || rustix::thread::capabilities(None).unwrap().effective;
        let before = own();
        let inside = as_anybody(|| Ok(own())).unwrap();
        assert!(!inside.contains(CapabilitySet::SYS_RESOURCE));
        assert_eq!(own(), before);
        assert_eq!(as_anybody(|| Err::<(), _>(Errno::DQUOT)), Err(Errno::DQUOT));
    }

    #[test]
    fn a_file_system_without_quotas_of_projects_says_so() {
        // The directory of processes has neither projects nor quotas on any kernel.
        let directory = std::fs::File::open("/proc").unwrap();
        of(directory.as_fd()).unwrap_err();
        account(directory.as_fd(), 7).unwrap_err();
        limit(directory.as_fd(), 7, Some(1 << 20)).unwrap_err();
        set(directory.as_fd(), 7).unwrap_err();
    }
}
