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

/// Says in the environment of a program of ours what the limits are that this process was started with.
const PASSED_ON: &str = "BERTH_OPEN_FILES";

/// For the environment of a program of ours that [takes it](take_passed_on): nothing while the limits are those.
#[must_use]
pub fn passed_on() -> Option<(&'static str, String)> {
    let Rlimit { current, maximum } = INHERITED.get()?;
    let text = |limit: &Option<u64>| limit.map_or_else(|| "-".to_owned(), |n| n.to_string());
    Some((PASSED_ON, format!("{} {}", text(current), text(maximum))))
}

/// Takes on the limits that the starter of this process was started with, if it says so.
///
/// # Errors
/// What it says is malformed, or the kernel refuses.
pub fn take_passed_on() -> io::Result<()> {
    let Some(text) = std::env::var_os(PASSED_ON) else { return Ok(()) };
    let text = text.to_string_lossy().into_owned();
    let malformed = || io::Error::other(format!("{PASSED_ON} says {text:?}"));
    let limit = |text: &str| match text {
        "-" => Ok(None),
        number => number.parse().map(Some).map_err(|_malformed| malformed()),
    };
    let (current, maximum) = text.split_once(' ').ok_or_else(malformed)?;
    setrlimit(Resource::Nofile, Rlimit { current: limit(current)?, maximum: limit(maximum)? })?;
    Ok(())
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
