//! Which process is meant: a pid alone may have been given to another one since.
//!
//! It knows `/proc` and nothing of containers. A handle opened here belongs to the process that was recorded,
//! or is not given out.

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::time::Duration;

/// A process for all its life and no other: pid, start time, and the boot it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// The boot it was started in.
    pub boot_id: String,
}

/// The id of the current boot.
///
/// # Errors
/// `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// A pid as rustix wants it; nothing for 0 and for numbers that are no pid.
#[must_use]
pub fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// Fields of `/proc/PID/stat`, counted as in proc(5) from 1; the command's name may hold anything, so counting
/// starts after its closing parenthesis.
fn stat_field(pid: u32, field: usize) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let tail = text.rsplit_once(')').map_or("", |(_, tail)| tail);
    tail.split_whitespace()
        .nth(field - 3)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has no field {field}")))
}

impl Identity {
    /// The identity of this process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// The identity of the process that has `pid` now.
    ///
    /// # Errors
    /// There is none, or `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start_ticks: stat_field(pid, 22)?, boot_id: boot_id()? })
    }

    /// A handle on the process, or nothing when it is gone.
    ///
    /// # Errors
    /// `/proc` cannot be read, or descriptors are used up.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(number) = pid(self.pid) else { return Ok(None) };
        if boot_id()? != self.boot_id {
            return Ok(None);
        }
        // Handle first, look after: between the two the pid cannot be given away unnoticed.
        let handle = match pidfd_open(number, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match stat_field(self.pid, 22) {
            Ok(ticks) if ticks == self.start_ticks => Ok(Some(handle)),
            Ok(_) => Ok(None),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How long the process has been running.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn age(&self) -> io::Result<Duration> {
        let text = fs::read_to_string("/proc/uptime")?;
        let (whole, rest) = text
            .split_whitespace()
            .next()
            .and_then(|word| word.split_once('.'))
            .unwrap_or_default();
        let hundredths: u64 = format!("{whole}{rest}").parse().map_err(io::Error::other)?;
        let up = Duration::from_millis(hundredths.saturating_mul(10));
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        let started =
            Duration::from_millis(self.start_ticks.saturating_mul(1000) / ticks_per_second);
        Ok(up.saturating_sub(started))
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Kills every process whose environment holds `entry` (`NAME=value`), and says how many there were. A process
/// is held by a handle while its environment is read, so no other one is hit.
///
/// # Errors
/// `/proc` cannot be read.
pub fn kill_marked(entry: &str) -> io::Result<usize> {
    let mut killed = 0;
    for found in fs::read_dir("/proc")? {
        let name = found?.file_name();
        let Some(number) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if number == std::process::id() {
            continue;
        }
        let Some(handle) = pid(number).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok()) else {
            continue;
        };
        let Ok(environment) = fs::read(format!("/proc/{number}/environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|have| have == entry.as_bytes())
            && pidfd_send_signal(&handle, Signal::KILL).is_ok()
        {
            killed += 1;
        }
    }
    Ok(killed)
}
