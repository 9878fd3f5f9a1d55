//! How many files a process may hold open.
//!
//! A daemon holds one per connection, disk, volume in use and supervisor, so it takes all that the host allows it. Tasks get
//! what it was started with: programs that still use select(2) rely on a low soft limit (see setrlimit(2), and systemd.exec(5),
//! LimitNOFILE=).

use rustix::process::{Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::io;
use std::sync::OnceLock;

/// The limits this process was started with, once they are raised.
static INHERITED: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit of this process to its hard limit, and says how many that is (nothing: unlimited).
///
/// # Errors
/// The kernel refuses.
pub fn raise_open_files() -> io::Result<Option<u64>> {
    let inherited = *INHERITED.get_or_init(|| getrlimit(Resource::Nofile));
    setrlimit(Resource::Nofile, Rlimit { current: inherited.maximum, ..inherited })?;
    Ok(inherited.maximum)
}

/// Gives another process the limits that this one was started with.
///
/// # Errors
/// It is gone, or the kernel refuses.
pub fn give_inherited(pid: u32) -> io::Result<()> {
    let (Some(inherited), Some(pid)) = (INHERITED.get(), super::process::pid(pid)) else {
        return Ok(());
    };
    prlimit(Some(pid), Resource::Nofile, *inherited)?;
    Ok(())
}
