//! Thin, typed access to the Linux host: processes and their identity, accounts, files written whole.
//!
//! It knows nothing of tasks and volumes. The only unsafe code of the agent is in [`linux`].

pub mod account;
pub mod files;
pub mod linux;
pub mod process;

pub use account::Account;
pub use process::Identity;

/// True when this process may mount, limit and change users.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
