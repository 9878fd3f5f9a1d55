//! What this machine has that could be declared as a disk: file systems, block devices, and the disks of Berth that lie
//! on them already.
//!
//! It only looks. It needs no agent and no master, so it also works on a machine that is to become one. Invariant: what
//! cannot be read for lack of privilege is left out or said to be unknown, never guessed.

use super::adopt::{DISK, DISK_KIND};
use super::fs::Node;
use super::marker::{self, ReadError};
use super::{filesystem, media, mounts};
use berth_model::agent::Media;
use berth_model::id::{AgentId, ClusterId, DiskId};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

/// More entries right below a mount point are not looked at.
const ENTRIES_MAX: usize = 1_024;

/// A disk of Berth, as its marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its root.
    pub root: PathBuf,
    /// What the marker says, or why it cannot be read.
    pub marker: Result<Owned, String>,
}

/// Whose a disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The disk.
    pub disk: DiskId,
    /// Its agent.
    pub agent: AgentId,
    /// Its cluster, once its agent has joined one.
    pub cluster: Option<ClusterId>,
    /// Its name.
    pub name: String,
}

/// A file system or a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The device, as the kernel names it.
    pub device: String,
    /// What it is made of.
    pub media: Media,
    /// How large.
    pub size: u64,
    /// What this process may still take; absent when it is not mounted.
    pub free: Option<u64>,
    /// Its kind; absent when none is recognised or nothing may be read.
    pub file_system: Option<String>,
    /// Where it is mounted; empty when it is not.
    pub mounted: Vec<String>,
    /// Mounted, and nothing can be written.
    pub read_only: bool,
    /// Devices that are made of it.
    pub holders: Vec<String>,
    /// The disks on it.
    pub disks: Vec<Identity>,
}

/// Looks at this machine; also whether `directories` carry a disk.
///
/// # Errors
/// The mount table cannot be read.
pub fn scan(directories: &[PathBuf]) -> std::io::Result<Vec<Found>> {
    let mut found: BTreeMap<(u32, u32), Found> = BTreeMap::new();
    for mount in mounts::all()? {
        // File systems without a device, such as /proc, cannot hold a disk that outlives a restart.
        if !mount.source.starts_with("/dev/") {
            continue;
        }
        let Ok(stat) = rustix::fs::stat(&mount.source) else { continue };
        let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(root) = rustix::fs::open(&mount.point, flags, Mode::empty()) else { continue };
        let Ok(room) = filesystem::room(root.as_fd()) else { continue };
        let entry = found.entry(number).or_insert_with(|| Found {
            device: mount.source.clone(),
            media: media::of_device(Path::new(media::SYS), number.0, number.1),
            size: room.total,
            free: Some(room.free),
            file_system: Some(mount.kind.clone()),
            mounted: Vec::new(),
            read_only: room.read_only,
            holders: Vec::new(),
            disks: Vec::new(),
        });
        let point = Path::new(&mount.point);
        add(&mut entry.disks, disks_below(point));
        entry.mounted.push(mount.point);
    }
    for device in block_devices(Path::new(media::SYS)) {
        found.entry(device.number).or_insert_with(|| device.into_found());
    }
    let mut all: Vec<Found> = found.into_values().collect();
    all.sort_by(|a, b| (a.mounted.is_empty(), &a.device).cmp(&(b.mounted.is_empty(), &b.device)));
    for directory in directories {
        let own = [directory.clone(), directory.join("disk")];
        let disks: Vec<Identity> = own.iter().filter_map(|root| identity(root)).collect();
        let place = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.clone());
        let holds = |found: &&mut Found| found.mounted.iter().any(|point| place.starts_with(point));
        let depth = |found: &&mut Found| {
            let points = found.mounted.iter().filter(|point| place.starts_with(point));
            points.map(String::len).max()
        };
        if let Some(found) = all.iter_mut().filter(holds).max_by_key(depth) {
            add(&mut found.disks, disks);
        }
    }
    Ok(all)
}

fn add(known: &mut Vec<Identity>, more: Vec<Identity>) {
    for identity in more {
        let is_known = known.iter().any(|other| other.root == identity.root);
        if !is_known {
            known.push(identity);
        }
    }
}

/// The disks whose root is this directory or lies right below it.
fn disks_below(point: &Path) -> Vec<Identity> {
    let mut disks: Vec<Identity> = identity(point).into_iter().collect();
    let entries = std::fs::read_dir(point).into_iter().flatten().take(ENTRIES_MAX);
    let mut below: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    below.sort();
    disks.extend(below.iter().filter_map(|root| identity(root)));
    disks
}

/// The disk whose root this directory is.
#[must_use]
pub fn identity(root: &Path) -> Option<Identity> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(root, flags, Mode::empty()).ok()?;
    let found = |marker| Some(Identity { root: root.to_path_buf(), marker });
    let meta = match Node::from(top).directory(".meta") {
        Ok(meta) => meta,
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => {
            return found(Err("its marker may be read by root only".to_owned()));
        },
        Err(_absent) => return None,
    };
    match marker::read(&meta, DISK, DISK_KIND) {
        Ok(None) => None,
        Ok(Some(fields)) => {
            let cluster = fields.get("cluster").map(|_| marker::value(&fields, "cluster"));
            let owned = || {
                Ok::<_, marker::MarkerError>(Owned {
                    disk: marker::value(&fields, "disk")?,
                    agent: marker::value(&fields, "agent")?,
                    cluster: cluster.transpose()?,
                    name: marker::value(&fields, "name")?,
                })
            };
            found(owned().map_err(|error| format!("its marker is damaged: {error}")))
        },
        Err(ReadError::Damaged(error)) => found(Err(format!("its marker is damaged: {error}"))),
        Err(ReadError::Io(errno)) => found(Err(format!("its marker cannot be read ({errno})"))),
    }
}

/// A block device of sysfs.
struct Device {
    number: (u32, u32),
    name: String,
    size: u64,
    holders: Vec<String>,
    media: Media,
}

impl Device {
    fn into_found(self) -> Found {
        let device = format!("/dev/{}", self.name.replace('!', "/"));
        let file_system = superblock(Path::new(&device)).map(str::to_owned);
        Found {
            device,
            media: self.media,
            size: self.size,
            free: None,
            file_system,
            mounted: Vec::new(),
            read_only: false,
            holders: self.holders,
            disks: Vec::new(),
        }
    }
}

/// Every block device and partition with a size; a device that is cut into partitions counts as those.
fn block_devices(sys: &Path) -> Vec<Device> {
    let mut all = Vec::new();
    for whole in entries(&sys.join("block")) {
        let parts: Vec<PathBuf> =
            entries(&whole).into_iter().filter(|part| part.join("partition").exists()).collect();
        let is_whole = parts.is_empty();
        all.extend(parts.iter().filter_map(|part| block_device(sys, part)));
        if is_whole {
            all.extend(block_device(sys, &whole));
        }
    }
    all
}

fn block_device(sys: &Path, folder: &Path) -> Option<Device> {
    let name = folder.file_name()?.to_string_lossy().into_owned();
    let text = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
    let sectors: u64 = text("size")?.trim().parse().ok()?;
    let numbers = text("dev")?;
    let (major, minor) = numbers.trim().split_once(':')?;
    let number = (major.parse().ok()?, minor.parse().ok()?);
    // Memory in disguise does not outlive a restart.
    if sectors == 0 || name.starts_with("ram") || name.starts_with("zram") {
        return None;
    }
    let holders = entries(&folder.join("holders"));
    let named = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
    Some(Device {
        number,
        name,
        size: sectors.saturating_mul(512),
        holders: holders.iter().filter_map(named).collect(),
        media: media::of_device(sys, number.0, number.1),
    })
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut all: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    all.sort();
    all
}

/// The file system, or other use, that the beginning of a device tells of.
fn superblock(device: &Path) -> Option<&'static str> {
    let mut file = File::open(device).ok()?;
    let mut read = |offset: u64, length: usize| {
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(offset)).ok()?;
        file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    };
    kind_of(&mut read)
}

fn kind_of(read: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>) -> Option<&'static str> {
    let signs: [(&str, u64, &[u8]); 8] = [
        ("BLOCK disk of Berth", 0, b"berth-block "),
        ("xfs", 0, b"XFSB"),
        ("ext4", 0x438, &[0x53, 0xef]),
        ("btrfs", 0x1_0040, b"_BHRfS_M"),
        ("LVM", 0x218, b"LVM2 001"),
        ("LUKS", 0, b"LUKS\xba\xbe"),
        ("swap", 0xff6, b"SWAPSPACE2"),
        ("partition table", 0x1fe, &[0x55, 0xaa]),
    ];
    signs
        .into_iter()
        .find(|(_, offset, sign)| read(*offset, sign.len()).as_deref() == Some(*sign))
        .map(|(kind, _, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Declaration, Disks, DriverChoice, Owner};
    use berth_model::resources::DiskSource;
    use std::sync::Arc;

    #[test]
    fn disks_of_berth_are_recognised_with_their_owners() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("d1");
        std::fs::create_dir(&root).unwrap();
        assert_eq!(identity(&root), None);
        let declaration = Declaration {
            source: DiskSource::Path(Arc::from(root.to_string_lossy().as_ref())),
            name: "d1".to_owned(),
            driver: DriverChoice::Directory,
            size: None,
        };
        let agent = AgentId::from_u128(7);
        let cluster = ClusterId::from_u128(9);
        let owner = Owner { agent, cluster: Some(cluster) };
        let disks = Disks::open(base.path(), &[declaration], owner, &[]);
        let disk = disks.all()[1].id();
        let owned = Owned { disk, agent, cluster: Some(cluster), name: "d1".to_owned() };
        let wanted = Identity { root: root.clone(), marker: Ok(owned) };
        assert_eq!(identity(&root), Some(wanted.clone()));
        let below = disks_below(base.path());
        assert_eq!(
            below.iter().map(|found| &found.root).collect::<Vec<_>>(),
            [&root, &base.path().join("disk")]
        );
        // The whole machine: what is named is found, on the file system it lies on, if that has a device.
        let found = scan(std::slice::from_ref(&root)).unwrap();
        let directory = File::open(&root).unwrap();
        if mounts::source(directory.as_fd()).is_some_and(|source| source.starts_with("/dev/")) {
            let disks: Vec<&Identity> = found.iter().flat_map(|found| &found.disks).collect();
            assert!(disks.contains(&&wanted), "{found:#?}");
        } else {
            eprintln!("SKIPPED: the temporary directory lies on no block device");
        }
        std::fs::write(root.join(".meta/disk"), "berth-disk 1\n").unwrap();
        let damaged = identity(&root).unwrap().marker.unwrap_err();
        assert!(damaged.starts_with("its marker is damaged: "), "{damaged}");
    }

    #[test]
    fn block_devices_come_with_their_partitions_sizes_and_holders() {
        let base = tempfile::tempdir().unwrap();
        let sys = base.path();
        let device = |path: &str, number: &str, sectors: &str| {
            let folder = sys.join("block").join(path);
            std::fs::create_dir_all(folder.join("queue")).unwrap();
            std::fs::write(folder.join("queue/rotational"), "1\n").unwrap();
            std::fs::write(folder.join("dev"), format!("{number}\n")).unwrap();
            std::fs::write(folder.join("size"), format!("{sectors}\n")).unwrap();
            std::fs::create_dir_all(sys.join("dev/block")).unwrap();
            std::os::unix::fs::symlink(&folder, sys.join("dev/block").join(number)).unwrap();
            folder
        };
        device("sda", "8:0", "2048");
        let part = device("sda/sda1", "8:1", "1024");
        std::fs::write(part.join("partition"), "1\n").unwrap();
        std::fs::create_dir_all(part.join("holders/dm-0")).unwrap();
        device("sdb", "8:16", "4096");
        device("loop0", "7:0", "0");
        device("zram0", "253:0", "4096");
        let found: Vec<_> = block_devices(sys)
            .into_iter()
            .map(|device| (device.name, device.number, device.size, device.holders, device.media))
            .collect();
        assert_eq!(
            found,
            [
                ("sda1".to_owned(), (8, 1), 524_288, vec!["dm-0".to_owned()], Media::Hdd),
                ("sdb".to_owned(), (8, 16), 2_097_152, vec![], Media::Hdd),
            ]
        );
    }

    #[test]
    fn file_systems_are_told_apart_by_their_first_bytes() {
        for (offset, sign, wanted) in [
            (0, &b"XFSB"[..], Some("xfs")),
            (0x438, &[0x53, 0xef], Some("ext4")),
            (0x1_0040, b"_BHRfS_M", Some("btrfs")),
            (0x218, b"LVM2 001", Some("LVM")),
            (0xff6, b"SWAPSPACE2", Some("swap")),
            (0x1fe, &[0x55, 0xaa], Some("partition table")),
            (17, b"XFSB", None),
        ] {
            let mut image = vec![0; 1 << 17];
            image[offset..offset + sign.len()].copy_from_slice(sign);
            let mut read = |at: u64, length: usize| {
                let at = usize::try_from(at).unwrap();
                image.get(at..at + length).map(<[u8]>::to_vec)
            };
            assert_eq!(kind_of(&mut read), wanted, "{offset}");
        }
    }
}
