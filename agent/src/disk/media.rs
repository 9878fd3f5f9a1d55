//! What a disk is made of, from what the kernel tells of the block device under it.
//!
//! It reads sysfs and never the device. Invariant: what cannot be told for sure is unknown; a virtual device is never
//! taken for what its own flags say, because they say nothing about where the bytes go.

use super::mounts;
use berth_model::agent::Media;
use rustix::fs::FileType;
use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Where the kernel tells of its devices.
pub const SYS: &str = "/sys";
/// Devices whose bytes are elsewhere.
const VIRTUAL: [&str; 8] = ["loop", "ram", "zram", "nbd", "rbd", "drbd", "sr", "fd"];
/// No stack of devices is deeper.
const DEPTH_MAX: u32 = 8;

/// The medium under an open directory.
#[must_use]
pub fn of_directory(directory: BorrowedFd<'_>) -> Media {
    device_of(directory)
        .map_or(Media::Unknown, |(major, minor)| of_device(Path::new(SYS), major, minor))
}

/// The block device of the file system; btrfs has numbers of its own, so the mount table is asked there.
fn device_of(directory: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let stat = rustix::fs::fstat(directory).ok()?;
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    if major != 0 {
        return Some((major, minor));
    }
    let source = mounts::source(directory)?;
    let stat = rustix::fs::stat(&source).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice)
        .then(|| (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)))
}

/// The medium of a block device.
#[must_use]
pub fn of_device(sys: &Path, major: u32, minor: u32) -> Media {
    let link = sys.join(format!("dev/block/{major}:{minor}"));
    link.canonicalize().map_or(Media::Unknown, |device| of_folder(&device, 0))
}

/// The medium of the device that this folder of sysfs is about.
fn of_folder(folder: &Path, depth: u32) -> Media {
    let whole = if folder.join("partition").exists() { folder.parent() } else { Some(folder) };
    let Some(device) = whole.filter(|_| depth < DEPTH_MAX) else { return Media::Unknown };
    let name = device.file_name().unwrap_or_default().to_string_lossy();
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if VIRTUAL.contains(&kind) {
        return Media::Unknown;
    }
    if name.starts_with("nvme") {
        return Media::Nvme;
    }
    let below = slaves(device);
    if !below.is_empty() {
        let media: BTreeSet<Media> =
            below.iter().map(|slave| of_folder(slave, depth + 1)).collect();
        return match media.len() {
            1 => media.first().copied().unwrap_or_default(),
            _ => Media::Unknown,
        };
    }
    match std::fs::read_to_string(device.join("queue/rotational")).as_deref().map(str::trim) {
        Ok("0") => Media::Ssd,
        Ok("1") => Media::Hdd,
        Ok(_) | Err(_) => Media::Unknown,
    }
}

/// The devices that a stacked one is made of.
fn slaves(device: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(device.join("slaves")).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.path().canonicalize().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn media_are_told_apart_by_what_lies_at_the_bottom() {
        let base = tempfile::tempdir().unwrap();
        let sys = base.path();
        std::fs::create_dir_all(sys.join("dev/block")).unwrap();
        let device = |path: &str, number: &str, rotational: &str| {
            let folder = sys.join("devices").join(path);
            std::fs::create_dir_all(folder.join("queue")).unwrap();
            std::fs::write(folder.join("queue/rotational"), format!("{rotational}\n")).unwrap();
            symlink(&folder, sys.join("dev/block").join(number)).unwrap();
            folder
        };
        let part = |disk: &Path, name: &str, number: &str| {
            let folder = disk.join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("partition"), "1\n").unwrap();
            symlink(&folder, sys.join("dev/block").join(number)).unwrap();
            folder
        };
        let stacked = |name: &str, number: &str, on: &[&Path]| {
            let folder = device(name, number, "1");
            std::fs::create_dir_all(folder.join("slaves")).unwrap();
            for slave in on {
                symlink(slave, folder.join("slaves").join(slave.file_name().unwrap())).unwrap();
            }
        };
        let sda = device("sda", "8:0", "1");
        let sda1 = part(&sda, "sda1", "8:1");
        let sdb = device("sdb", "8:16", "0");
        let nvme = device("nvme0n1", "259:0", "0");
        let nvme_part = part(&nvme, "nvme0n1p2", "259:2");
        device("loop3", "7:3", "0");
        device("zram0", "253:0", "0");
        device("vdx", "254:9", "maybe");
        stacked("dm-0", "252:0", &[&nvme_part]);
        stacked("md0", "9:0", &[&sda1, &sdb]);
        stacked("dm-1", "252:1", &[&sys.join("devices/dm-0")]);
        for ((major, minor), wanted) in [
            ((8, 0), Media::Hdd),
            ((8, 1), Media::Hdd),
            ((8, 16), Media::Ssd),
            ((259, 0), Media::Nvme),
            ((259, 2), Media::Nvme),
            ((7, 3), Media::Unknown),
            ((253, 0), Media::Unknown),
            ((254, 9), Media::Unknown),
            ((252, 0), Media::Nvme),
            ((252, 1), Media::Nvme),
            ((9, 0), Media::Unknown),
            ((1, 1), Media::Unknown),
        ] {
            assert_eq!(of_device(sys, major, minor), wanted, "{major}:{minor}");
        }
    }
}
