//! Making file systems, and giving them another uuid, with the tools of the machine: no library does it.
//!
//! What is allocated stays allocated: no tool is let to discard. A tool that is missing is named with its package.

use super::Format;
use super::device::Device;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// e2fsck has corrected something, which is what it was asked for.
const CORRECTED: i32 = 1;
const PLACES: [&str; 6] =
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// Makes an empty file system on the device; with `encrypts`, one of ext4 in which directories can be encrypted.
///
/// # Errors
/// The tool is missing or says why it failed.
pub fn make(format: Format, device: &str, encrypts: bool) -> Result<(), String> {
    let (name, package) = match format {
        Format::Xfs => ("mkfs.xfs", XFS),
        Format::Ext4 => ("mkfs.ext4", EXT4),
        Format::Btrfs => ("mkfs.btrfs", BTRFS),
    };
    let options: &[&str] = match format {
        // Nothing is held back for root, which agents and their services often are. With a seed of its own for checksums
        // another uuid does not mean to write all of them anew.
        Format::Ext4 if encrypts => {
            &["-q", "-b", "4096", "-m", "0", "-E", "nodiscard", "-O", "metadata_csum_seed,encrypt"]
        },
        Format::Ext4 => {
            &["-q", "-b", "4096", "-m", "0", "-E", "nodiscard", "-O", "metadata_csum_seed"]
        },
        // Sectors that also suit a device whose file shares blocks.
        Format::Xfs => &["-q", "-K", "-s", "size=4096"],
        Format::Btrfs => &["-q", "-K"],
    };
    run((name, package), options, device, 0).map(drop)
}

/// Gives the file system on the device, mounted nowhere and clean, a uuid that no other has.
///
/// It may have been mounted until this moment: who gave that up waits here until the kernel has as well.
///
/// # Errors
/// It stays mounted; a tool is missing or says why it failed.
pub fn renew(format: Format, device: &Device) -> Result<(), String> {
    device.await_unmounted()?;
    let device = &device.path();
    match format {
        Format::Xfs => {
            let words = ["-x", "-p", "xfs_admin", "-c", "uuid generate"];
            let said = run(("xfs_db", XFS), &words, device, 0)?;
            // It ends well whatever becomes of it.
            let lines: Vec<&str> = said.lines().map(str::trim).collect();
            match said.contains("new UUID") {
                true => Ok(()),
                false => Err(format!("xfs_db gave no uuid: {}", lines.join(" "))),
            }
        },
        Format::Ext4 => {
            let tool = ("tune2fs", EXT4);
            run(tool, &["-U", "random"], device, 0).or_else(|_unchecked| {
                // One without that seed has to be checked before.
                run(("e2fsck", EXT4), &["-f", "-p"], device, CORRECTED)?;
                run(tool, &["-U", "random"], device, 0)
            })?;
            Ok(())
        },
        Format::Btrfs => run(("btrfstune", BTRFS), &["-f", "-m"], device, 0).map(drop),
    }
}

const XFS: &str = "xfsprogs";
const EXT4: &str = "e2fsprogs";
const BTRFS: &str = "btrfs-progs";

/// Runs a tool of a package on the device; exit codes up to `fine` are success. What it printed.
fn run(
    (name, package): (&str, &str),
    options: &[&str],
    device: &str,
    fine: i32,
) -> Result<String, String> {
    let program = find(name)
        .ok_or_else(|| format!("there is no {name} on this machine: install {package}"))?;
    let output = Command::new(program)
        .args(options)
        .arg(device)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name} cannot be started ({error})"))?;
    if output.status.code().is_some_and(|code| code <= fine) {
        let all = [output.stdout, output.stderr].concat();
        return Ok(String::from_utf8_lossy(&all).into_owned());
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
