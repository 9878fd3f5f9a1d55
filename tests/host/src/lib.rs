//! What tests on a real host share: disks and volumes to play with, private mounts, the suite that every volume driver
//! passes, the sweep that kills a process at each system call, and a disk that remembers what was written to it.
//!
//! Nothing here touches the machine's own mounts: whoever mounts does so in a mount namespace of its own thread,
//! and everything made there vanishes with it.

pub mod conformance;
pub mod host;
pub mod recorded;
pub mod sweep;
