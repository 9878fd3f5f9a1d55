//! System calls for which no safe wrapper exists. Nothing else in the agent is unsafe.
//!
//! It knows no policy; each function is one call.

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Flags a detached mount is given before it becomes visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountAccess {
    /// nosuid, nodev.
    ReadWrite,
    /// nosuid, nodev, read-only.
    ReadOnly,
}

/// Sets the flags of the mount `tree` refers to.
///
/// # Errors
/// As `mount_setattr(2)`.
pub fn restrict_mount(tree: BorrowedFd<'_>, access: MountAccess) -> io::Result<()> {
    let read_only = match access {
        MountAccess::ReadWrite => 0,
        MountAccess::ReadOnly => libc::MOUNT_ATTR_RDONLY,
    };
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | read_only,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    #[expect(unsafe_code, reason = "neither nix nor rustix wraps mount_setattr")]
    // SAFETY: the descriptor is borrowed and stays open, the path is a static C string, and the kernel only
    // reads `attributes`, whose size is passed along.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Marks every descriptor from 3 on so that the next program does not inherit it. Nothing is closed here.
///
/// # Errors
/// As `close_range(2)`.
pub fn keep_descriptors_private() -> io::Result<()> {
    #[expect(unsafe_code, reason = "neither nix nor rustix wraps close_range")]
    // SAFETY: with CLOSE_RANGE_CLOEXEC the call closes nothing, so no owner of a descriptor is affected.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A descriptor to wait on until it can be read. To be called within a tokio runtime.
///
/// # Errors
/// The descriptor is of a kind that cannot be waited on.
pub fn waitable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    #[expect(unsafe_code, reason = "tokio wants it said that the descriptor stays the same")]
    // SAFETY: an OwnedFd gives out one descriptor, which stays open until it is dropped, and has no way to
    // exchange it.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registered?)
}
