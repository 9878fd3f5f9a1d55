//! Disks that come and go while the agent runs: what such an order would find, and carrying it out.
//!
//! A disk that is added is verified as at start, and one that was made for an order that fails is unmade. Invariants: a
//! refusal leaves no disk behind, neither here nor on the host; only a disk without a volume, in use or in the trash, is
//! removed. Who is asked for it, and whether the place may be used at all, is decided elsewhere.

use super::adopt::{self, Refused};
use super::block::{BlockDisk, erase};
use super::declaration::{Declaration, DriverChoice};
use super::fs;
use super::{Disk, Disks, Owner, code_of, unmake};
use berth_model::agent;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::units::{Bytes, MIB};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// A disk that was added.
#[derive(Clone, Debug)]
pub enum Added {
    /// With a file system.
    Directory(Arc<Disk>),
    /// A raw device.
    Device(Arc<BlockDisk>),
}

impl Added {
    /// As the master is told, and as the ledger should remember it.
    ///
    /// # Errors
    /// It is withheld already.
    pub fn told(&self) -> Result<(agent::Disk, LedgerDisk), Rejection> {
        let (disk, remembered, fault) = match self {
            Self::Directory(disk) => (disk.report(), disk.remembered(), disk.fault()),
            Self::Device(disk) => (disk.report(), disk.remembered(), disk.fault()),
        };
        match (remembered, fault) {
            (Some(remembered), None) => Ok((disk, remembered)),
            (_, fault) => Err(fault.unwrap_or_else(|| {
                Rejection::new(ErrorCode::DiskFaulty, format!("disk {} is not open", disk.name))
            })),
        }
    }
}

impl Disk {
    /// Why it is withheld, if it is.
    fn fault(&self) -> Option<Rejection> {
        self.state().fault.clone()
    }

    /// What opening it would find; nothing is written.
    fn examine(&self) -> Result<adopt::Looked, Refused> {
        adopt::look(&*self.files, self.root(), &self.expectation(&self.state()))
    }

    /// Makes a disk that was made for nothing a plain directory again.
    fn unmake(&self) -> Result<(), Refused> {
        let state = self.state();
        match &state.handle {
            Some(handle) => unmake::unmake(handle, self.root()),
            None => {
                let handle = adopt::open(&*self.files, self.root(), &self.expectation(&state))?;
                unmake::unmake(&handle, self.root())
            },
        }
    }
}

impl Disks {
    /// What adding this disk would find, a line for each fact. Nothing is written.
    ///
    /// # Errors
    /// Why it would be refused; the driver, which is chosen by trying, is not tried.
    pub fn try_add(&self, wanted: &Declaration) -> Result<Vec<String>, Rejection> {
        let (owner, known) = self.known(&wanted.source);
        match &wanted.source {
            DiskSource::Root => Err(always_there()),
            DiskSource::Path(root) | DiskSource::Mount(root) => {
                let disk = Disk::new(
                    wanted.clone(),
                    PathBuf::from(&**root),
                    Arc::clone(&self.files),
                    owner,
                    known,
                );
                if let Some(conflict) = disk.conflict(&self.all()) {
                    return Err(conflict);
                }
                // A raw device lies in no directory, but it has a name.
                if self.blocks().iter().any(|other| other.name() == wanted.name) {
                    let text = format!("two disks are named {}", wanted.name);
                    return Err(Rejection::new(ErrorCode::InvalidArgument, text));
                }
                if let Ok(position) = fs::locate(&*self.files, disk.root())
                    && let Some(twin) = disk.one_directory(position, &self.all())
                {
                    return Err(twin);
                }
                let looked = disk.examine().map_err(|refused| refused.reason)?;
                let room = looked.room;
                let size = declared(wanted, &looked)?;
                let mut facts = vec![match (looked.is_disk, looked.others) {
                    (true, _) => format!("{root} is a disk of this agent and is taken as it is"),
                    (false, 0) => format!("{root} is empty and becomes a disk"),
                    (false, others) => format!(
                        "{root} becomes a disk; its {others} other entries are left alone and are no volumes"
                    ),
                }];
                facts.push(format!("{} are free on its file system", Bytes::new(room.free)));
                facts.push(match size {
                    Some(size) if wanted.size.is_some() => format!("it declares {size}"),
                    Some(size) => format!("it declares {size}: what is free, less a reserve"),
                    None => "it declares what it declared before".to_owned(),
                });
                facts.push(driver_words(wanted));
                facts.extend(self.warnings(size, &looked));
                Ok(facts)
            },
            DiskSource::Block(device) => {
                let path = PathBuf::from(&**device);
                let disk =
                    BlockDisk::new(wanted.clone(), path, Arc::clone(&self.files), owner, known);
                let (is_disk, room) = disk.examine()?;
                let fact = if is_disk {
                    format!("{device} is a disk of this agent and is taken as it is")
                } else {
                    format!("nothing is on {device}; it becomes a disk")
                };
                Ok(vec![fact, format!("its one volume can have {room}")])
            },
        }
    }

    /// What of the room a disk is to declare is not there, or is another's too.
    fn warnings(&self, size: Option<Bytes>, looked: &adopt::Looked) -> Vec<String> {
        let room = looked.room;
        let mut warnings = Vec::new();
        if let Some(size) = size.filter(|size| size.get() > room.free) {
            let free = Bytes::new(room.free);
            warnings.push(format!("warning: it declares {size}, of which {free} are free"));
        }
        let all = self.all();
        let shares = |disk: &&Arc<Disk>| {
            disk.readable().is_ok_and(|handle| match looked.filesystem.as_str() {
                "" => handle.position.device == looked.position.device,
                own => handle.filesystem == own,
            })
        };
        let sharing: Vec<&Arc<Disk>> = all.iter().filter(shares).collect();
        let sizes = sharing.iter().map(|disk| disk.report().size.get());
        let sum = sizes.fold(size.unwrap_or_default().get(), u64::saturating_add);
        if !sharing.is_empty() && (sum > room.total || sharing.iter().any(|d| d.is_measured())) {
            let names: Vec<&str> = sharing.iter().map(|disk| disk.name()).collect();
            warnings.push(format!(
                "warning: it lies on one file system with {}, so its room counts more than once: give each of them a size, together not above {}",
                names.join(", "),
                Bytes::new(room.total)
            ));
        }
        warnings
    }

    /// Uses one more disk. Asked again it answers as before.
    ///
    /// # Errors
    /// Why it is not used; nothing was left behind.
    pub fn add(&self, wanted: &Declaration) -> Result<Added, Rejection> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(disk) = self.find(&wanted.source) {
            return Ok(Added::Directory(disk));
        }
        if let Some(disk) = self.blocks().into_iter().find(|own| *own.source() == wanted.source) {
            return Ok(Added::Device(disk));
        }
        self.try_add(wanted)?;
        let (owner, known) = self.known(&wanted.source);
        let files = Arc::clone(&self.files);
        match &wanted.source {
            DiskSource::Root => Err(always_there()),
            DiskSource::Path(root) | DiskSource::Mount(root) => {
                let disk = Disk::new(wanted.clone(), PathBuf::from(&**root), files, owner, known);
                let disk = Arc::new(disk);
                let was_there = disk.examine().is_ok_and(|looked| looked.is_disk);
                let others = self.all();
                disk.start(None);
                if let Some(conflict) = disk.same_disk(&others, &self.read().known) {
                    return Err(conflict);
                }
                if let Some(reason) = disk.fault() {
                    if !was_there {
                        // What is left of it is taken as it is the next time.
                        disk.unmake().ok();
                    }
                    return Err(reason);
                }
                let mut all = self.write();
                all.disks.push(Arc::clone(&disk));
                super::news::shared(&all.disks);
                Ok(Added::Directory(disk))
            },
            DiskSource::Block(device) => {
                let path = PathBuf::from(&**device);
                let disk = Arc::new(BlockDisk::new(wanted.clone(), path, files, owner, known));
                let (disks, blocks) = (self.all(), self.blocks());
                disk.start(&disks, &blocks, &self.read().known);
                if let Some(reason) = disk.fault() {
                    return Err(reason);
                }
                self.write().blocks.push(Arc::clone(&disk));
                Ok(Added::Device(disk))
            },
        }
    }

    /// What removing this disk would find.
    ///
    /// # Errors
    /// Something is on it.
    pub fn try_remove(&self, source: &DiskSource) -> Result<Vec<String>, Rejection> {
        if let Some(disk) = self.find(source) {
            let shown = disk.root().display();
            let handle = match disk.readable() {
                Ok(handle) => handle,
                Err(reason) if fs::locate(&*self.files, disk.root()).is_ok() => {
                    return Ok(vec![
                        format!("the disk at {shown} is withheld: {reason}"),
                        format!(
                            "warning: it is forgotten as it is: its marks stay in {shown}/.meta, and no agent makes a new disk there while they do"
                        ),
                    ]);
                },
                Err(_absent) => {
                    return Ok(vec![format!(
                        "the disk at {shown} is not there: it is forgotten as it is"
                    )]);
                },
            };
            unmake::refuse_full(&handle, disk.root())?;
            return Ok(vec![format!("nothing is on it; {shown} is a plain directory after that")]);
        }
        let blocks = self.blocks();
        let Some(disk) = blocks.iter().find(|own| own.source() == source) else {
            return Ok(vec![format!("{source} is not in use")]);
        };
        let shown = disk.path().display();
        match disk.open() {
            Ok((_handle, header)) if header.volume.is_some() => Err(holds_a_volume(disk)),
            Ok(_empty) => Ok(vec![format!("nothing is on it; its header on {shown} is erased")]),
            Err(_absent) => {
                Ok(vec![format!("the device {shown} is not there: it is forgotten as it is")])
            },
        }
    }

    /// Uses a disk no more; it may be made a disk again, by whomever. Asked again it completes what was begun.
    ///
    /// # Errors
    /// Something is on it, or it cannot be written; it is used further.
    pub fn remove(&self, source: &DiskSource) -> Result<(), Rejection> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.try_remove(source)?;
        if let Some(disk) = self.find(source)
            && let Ok(handle) = disk.readable()
        {
            unmake::unmake(&handle, disk.root()).map_err(|Refused { reason, is_broken }| {
                if is_broken {
                    // Its identity may be gone already: what would be made on it now could not be found after a restart.
                    disk.set_broken(reason.clone());
                }
                reason
            })?;
        }
        if let Some(disk) = self.blocks().into_iter().find(|own| own.source() == source)
            && let Ok((handle, _header)) = disk.open()
        {
            erase::header(&handle.device).map_err(|errno| {
                let text =
                    format!("erasing the header of {} failed ({errno})", disk.path().display());
                Rejection::new(code_of(errno), text)
            })?;
        }
        let mut all = self.write();
        all.disks.retain(|own| own.source() != source);
        all.blocks.retain(|own| own.source() != source);
        all.known.retain(|known| known.source != *source);
        Ok(())
    }

    fn known(&self, source: &DiskSource) -> (Owner, Option<LedgerDisk>) {
        let all = self.read();
        (all.owner, all.known.iter().find(|known| known.source == *source).cloned())
    }
}

/// What the disk is going to declare; nothing where it declares what it did before.
fn declared(wanted: &Declaration, looked: &adopt::Looked) -> Result<Option<Bytes>, Rejection> {
    match wanted.size {
        Some(size) if size.get() > looked.room.total => Err(Rejection::new(
            ErrorCode::InvalidArgument,
            format!(
                "disk {} is to declare {size}, and its whole file system has {}",
                wanted.name,
                Bytes::new(looked.room.total)
            ),
        )
        .remedy(format!("declare less: {} are free there now", Bytes::new(looked.room.free)))
        .field("disk.size")),
        Some(size) => Ok(Some(size)),
        None if looked.is_disk => Ok(None),
        None => Ok(Some(Bytes::from_mib(adopt::usable(looked.room.free) / MIB))),
    }
}

fn driver_words(wanted: &Declaration) -> String {
    match (&wanted.source, wanted.driver) {
        (DiskSource::Mount(_), _) => "its driver is mount: one volume has all of it".to_owned(),
        (_, DriverChoice::Auto) => {
            "its driver is chosen by trying when it is added (auto)".to_owned()
        },
        (_, choice) => format!("its driver is to be {choice}, which is tried when it is added"),
    }
}

fn always_there() -> Rejection {
    Rejection::new(ErrorCode::InvalidArgument, "the ROOT disk is always there")
}

fn holds_a_volume(disk: &BlockDisk) -> Rejection {
    let text = format!("the device {} carries a volume", disk.path().display());
    Rejection::new(ErrorCode::ResourcesInUse, text).remedy("delete and purge it first")
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::agent::DiskHealth;
    use berth_model::id::AgentId;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    const OWNER: Owner = Owner { agent: AgentId::from_u128(1), cluster: None };

    fn wanted(root: &Path, size: Option<Bytes>) -> Declaration {
        Declaration {
            source: DiskSource::Path(Arc::from(root.to_string_lossy().as_ref())),
            name: root.file_name().unwrap().to_string_lossy().into_owned(),
            driver: DriverChoice::Directory,
            size,
        }
    }

    #[test]
    fn a_link_to_a_disk_is_said_to_lead_there_and_nobody_is_told_to_remove_it() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let (root, link) = (base.join("d2"), base.join("link"));
        std::fs::create_dir(&root).unwrap();
        symlink(&root, &link).unwrap();
        let size = Some(Bytes::from_mib(1));
        let disks = Disks::open(&base, &[wanted(&root, size)], OWNER, &[]);
        let text = format!(
            "{} leads to disk d2 at {}: it is one directory",
            link.display(),
            root.display()
        );
        let told = |refused: Rejection| (refused.code, refused.message.clone(), refused.remedy);
        let remedy = "declare a disk once, by one path; nothing is to be removed".to_owned();
        let same = (ErrorCode::DiskExists, text, remedy);
        assert_eq!(disks.try_add(&wanted(&link, size)).map_err(told), Err(same.clone()));
        assert_eq!(disks.add(&wanted(&link, size)).map(drop).map_err(told), Err(same.clone()));
        // Configured twice: the one that came first is used.
        let both = [wanted(&root, size), wanted(&link, size)];
        let disks = Disks::open(&base, &both, OWNER, &disks.ledger());
        let health: Vec<DiskHealth> = disks.report().into_iter().map(|disk| disk.health).collect();
        assert_eq!(health[..2], [DiskHealth::Ok, DiskHealth::Ok]);
        let DiskHealth::Faulty(fault) = &health[2] else { panic!("both are used") };
        assert!(fault.starts_with(&same.1), "{fault}");
        // Reached by the link alone, while the ledger knows it at its root.
        let ledger = disks.ledger();
        let disks = Disks::open(&base, &[wanted(&link, size)], OWNER, &ledger);
        let DiskHealth::Faulty(fault) = disks.report()[1].health.clone() else { panic!("used") };
        assert!(fault.contains("leads to disk d2") && !fault.contains("remove the"), "{fault}");
        // Moved away from where the ledger knows it: it may be the only one.
        let moved = base.join("moved");
        std::fs::rename(&root, &moved).unwrap();
        let disks = Disks::open(&base, &[wanted(&moved, size)], OWNER, &ledger);
        let DiskHealth::Faulty(fault) = disks.report()[1].health.clone() else { panic!("used") };
        assert!(
            fault.contains("which is not there") && fault.contains("remove nothing"),
            "{fault}"
        );
    }

    #[test]
    fn a_trial_says_what_is_declared_with_which_driver_and_whose_room_it_is() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("d1");
        std::fs::create_dir(&root).unwrap();
        let disks = Disks::open(base.path(), &[], OWNER, &[]);
        let huge = Bytes::from_mib(1 << 40);
        let refused = disks.try_add(&wanted(&root, Some(huge))).unwrap_err();
        assert_eq!(
            (refused.code, refused.field.as_str()),
            (ErrorCode::InvalidArgument, "disk.size")
        );
        assert!(refused.message.starts_with("disk d1 is to declare 1048576 TiB"), "{refused}");
        assert_eq!(disks.add(&wanted(&root, Some(huge))).unwrap_err().code, refused.code);
        assert!(std::fs::read_dir(&root).unwrap().next().is_none(), "it was written to");
        let facts = disks.try_add(&wanted(&root, Some(Bytes::from_mib(1)))).unwrap();
        assert_eq!(facts[0], format!("{} is empty and becomes a disk", root.display()));
        assert_eq!(
            facts[2..4],
            [
                "it declares 1 MiB".to_owned(),
                "its driver is to be directory, which is tried when it is added".to_owned(),
            ]
        );
        // ROOT takes its size from the same file system.
        let shared = "warning: it lies on one file system with root, so its room counts more than once: give each of them a size";
        assert!(facts[4].starts_with(shared), "{facts:?}");
        let auto = Declaration { driver: DriverChoice::Auto, ..wanted(&root, None) };
        let facts = disks.try_add(&auto).unwrap();
        assert!(facts[2].ends_with(": what is free, less a reserve"), "{facts:?}");
        assert_eq!(facts[3], "its driver is chosen by trying when it is added (auto)");
    }

    #[test]
    fn a_withheld_disk_that_is_removed_keeps_its_marks_and_that_is_said() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let root = base.join("d1");
        std::fs::create_dir(&root).unwrap();
        let declared = wanted(&root, Some(Bytes::from_mib(1)));
        let disks = Disks::open(&base, std::slice::from_ref(&declared), OWNER, &[]);
        std::fs::rename(&root, base.join("away")).unwrap();
        let forgotten =
            format!("the disk at {} is not there: it is forgotten as it is", root.display());
        assert_eq!(disks.try_remove(&declared.source), Ok(vec![forgotten]));
        std::fs::rename(base.join("away"), &root).unwrap();
        std::fs::write(root.join(".meta/disk"), "damaged").unwrap();
        let disks = Disks::open(&base, std::slice::from_ref(&declared), OWNER, &disks.ledger());
        let facts = disks.try_remove(&declared.source).unwrap();
        assert!(facts[0].contains("is withheld: the marker"), "{facts:?}");
        assert!(facts[1].starts_with("warning: it is forgotten as it is: its marks stay in"));
        disks.remove(&declared.source).unwrap();
        assert_eq!(std::fs::read_to_string(root.join(".meta/disk")).unwrap(), "damaged");
    }
}
