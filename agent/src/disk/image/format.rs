//! Making file systems with the tools of the machine: no library makes them.
//!
//! What is allocated stays allocated: no tool is let to discard. A tool that is missing is named with its package.

use super::Format;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PLACES: [&str; 6] =
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
/// Makes an empty file system on the device.
///
/// # Errors
/// The tool is missing or says why it failed.
pub fn make(format: Format, device: &str) -> Result<(), String> {
    let (name, package) = match format {
        Format::Xfs => ("mkfs.xfs", "xfsprogs"),
        Format::Ext4 => ("mkfs.ext4", "e2fsprogs"),
        Format::Btrfs => ("mkfs.btrfs", "btrfs-progs"),
    };
    let program = find(name)
        .ok_or_else(|| format!("there is no {name} on this machine: install {package}"))?;
    let options: &[&str] = match format {
        // Nothing is held back for root, which agents and their services often are.
        Format::Ext4 => &["-q", "-b", "4096", "-m", "0", "-E", "nodiscard"],
        Format::Xfs | Format::Btrfs => &["-q", "-K"],
    };
    let output = Command::new(program)
        .args(options)
        .arg(device)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name} cannot be started ({error})"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().map(str::trim).find(|line| !line.is_empty());
    Err(format!("{name} ended with {}: {}", output.status, first.unwrap_or("it said nothing")))
}

/// Where the tool is. Daemons often have no path to the tools of the administrator.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}
