//! What the kernel says of a block device: from sysfs and from the size of the open device.
//!
//! It reads no content and knows no headers.

use crate::disk::media::{self, SYS};
use berth_model::agent::Media;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// What is known of a device without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its number: which device it is until the machine restarts.
    pub number: (u32, u32),
    /// All of it.
    pub bytes: u64,
    /// What the hardware says it is; empty where it says nothing.
    pub serial: String,
    /// What it is made of.
    pub media: Media,
    /// It cannot be written.
    pub read_only: bool,
}

/// What is known of an open device of this number.
///
/// # Errors
/// It does not answer.
pub fn of(device: BorrowedFd<'_>, number: (u32, u32)) -> Result<Facts, Errno> {
    let (major, minor) = number;
    let sys = Path::new(SYS);
    let flag = std::fs::read_to_string(sys.join(format!("dev/block/{major}:{minor}/ro")));
    Ok(Facts {
        number,
        bytes: rustix::fs::seek(device, SeekFrom::End(0))?,
        serial: serial(sys, number),
        media: media::of_device(sys, major, minor),
        read_only: flag.is_ok_and(|flag| flag.trim() == "1"),
    })
}

/// What the hardware says the device is: its world-wide id, else its serial number; empty where it says nothing.
fn serial(sys: &Path, (major, minor): (u32, u32)) -> String {
    let link = sys.join(format!("dev/block/{major}:{minor}"));
    let Ok(folder) = link.canonicalize() else { return String::new() };
    let whole = if folder.join("partition").exists() {
        folder.parent().map(Path::to_path_buf).unwrap_or_default()
    } else {
        folder
    };
    for name in ["wwid", "device/wwid", "device/serial", "serial"] {
        let text = std::fs::read_to_string(whole.join(name)).unwrap_or_default();
        // One word, so that it fits into a line of a marker whatever a vendor writes.
        let word: Vec<&str> = text.split_whitespace().collect();
        if !word.is_empty() {
            return word.join("_").chars().filter(|c| !c.is_control()).take(128).collect();
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_partition_has_the_serial_number_of_its_device() {
        let base = tempfile::tempdir().unwrap();
        let sys = base.path();
        std::fs::create_dir_all(sys.join("dev/block")).unwrap();
        let whole = sys.join("devices/sda");
        std::fs::create_dir_all(whole.join("device")).unwrap();
        std::fs::create_dir_all(whole.join("sda1")).unwrap();
        std::fs::write(whole.join("sda1/partition"), "1\n").unwrap();
        symlink("../../devices/sda", sys.join("dev/block/8:0")).unwrap();
        symlink("../../devices/sda/sda1", sys.join("dev/block/8:1")).unwrap();
        assert_eq!(serial(sys, (8, 0)), "");
        std::fs::write(whole.join("device/serial"), "  S4EW NX0\n").unwrap();
        assert_eq!(
            (serial(sys, (8, 0)), serial(sys, (8, 1))),
            ("S4EW_NX0".into(), "S4EW_NX0".into())
        );
        std::fs::write(whole.join("wwid"), "eui.0025\n").unwrap();
        assert_eq!(serial(sys, (8, 1)), "eui.0025");
        assert_eq!(serial(sys, (8, 2)), "");
    }
}
