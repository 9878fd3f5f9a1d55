//! Disks that come and go while the agent runs: what such an order would find, and carrying it out.
//!
//! A disk that is added is verified as at start, and one that was made for an order that fails is unmade. Invariants: a
//! refusal leaves no disk behind, neither here nor on the host; only a disk without a volume, in use or in the trash, is
//! removed. Who is asked for it, and whether the place may be used at all, is decided elsewhere.

use super::adopt::{self, Refused};
use super::block::{BlockDisk, erase};
use super::declaration::Declaration;
use super::{Disk, Disks, Owner, code_of, unmake};
use berth_model::agent;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
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
                let looked = disk.examine().map_err(|refused| refused.reason)?;
                let mut facts = vec![match (looked.is_disk, looked.others) {
                    (true, _) => format!("{root} is a disk of this agent and is taken as it is"),
                    (false, 0) => format!("{root} is empty and becomes a disk"),
                    (false, others) => format!(
                        "{root} becomes a disk; its {others} other entries are left alone and are no volumes"
                    ),
                }];
                facts.push(format!("{} are free on its file system", Bytes::new(looked.free)));
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
            let Ok(handle) = disk.readable() else {
                return Ok(vec![format!(
                    "the disk at {shown} is not there: it is forgotten as it is"
                )]);
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

fn always_there() -> Rejection {
    Rejection::new(ErrorCode::InvalidArgument, "the ROOT disk is always there")
}

fn holds_a_volume(disk: &BlockDisk) -> Rejection {
    let text = format!("the device {} carries a volume", disk.path().display());
    Rejection::new(ErrorCode::ResourcesInUse, text).remedy("delete and purge it first")
}
