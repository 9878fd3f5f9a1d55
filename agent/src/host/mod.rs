//! Thin, typed access to the Linux host: processes and their identity, accounts, files written whole, deleting gently.
//!
//! It knows nothing of tasks and volumes. The only unsafe code of the agent is in [`linux`].

pub mod account;
pub mod files;
pub mod limits;
pub mod linux;
pub mod pace;
pub mod process;

pub use account::Account;
pub use process::Identity;

/// Bit of CAP_SYS_ADMIN in a capability set.
const SYS_ADMIN: u64 = 1 << 21;

/// True when this process runs as root and nothing of what mounts need was taken from it.
#[must_use]
pub fn may_mount() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    is_root()
        && effective
            .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
            .is_some_and(|set| set & SYS_ADMIN != 0)
}

/// True when this process may change users.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
