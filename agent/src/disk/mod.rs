//! The agent's disks: where volumes lie, how a disk is recognised, and the deleter that stays inside one tree.
//!
//! A disk is fit for use only while its root path leads to the directory whose markers were verified. What is
//! wrong with one disk is told as its health, and once in the log, and never stops the agent or the other disks. This module does not
//! know volumes' states; it knows directories, markers and file systems.

pub mod adopt;
pub mod block;
pub mod choice;
pub mod declaration;
pub mod filesystem;
pub mod fs;
mod health;
pub mod image;
pub mod keeps;
mod live;
pub mod marker;
pub mod media;
pub mod mounts;
mod nested;
mod news;
mod place;
pub mod probe;
pub mod project;
pub mod remove;
pub mod rounds;
mod same;
pub mod scan;
pub mod subvolume;
mod top;
mod unmake;
pub mod whole;
pub mod wipe;
pub mod wipes;

pub use block::BlockDisk;
pub use declaration::{Declaration, DriverChoice};
pub use health::Disk;
pub use live::Added;

use berth_model::agent::{self, DiskHealth};
use berth_model::error::ErrorCode;
use berth_model::id::{AgentId, ClusterId, DiskId, derive, fingerprint};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use fs::FileSystem;
use fs::real::Host;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Whose disks these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The agent.
    pub agent: AgentId,
    /// Its cluster, once it has joined one.
    pub cluster: Option<ClusterId>,
}

/// All disks of an agent. Every method may be called from any thread.
#[derive(Debug)]
pub struct Disks {
    all: RwLock<All>,
    files: Arc<dyn FileSystem>,
    /// One is added or removed at a time.
    turn: Mutex<()>,
}

/// The disks in use, and what is known for those to come.
#[derive(Debug)]
struct All {
    disks: Vec<Arc<Disk>>,
    blocks: Vec<Arc<BlockDisk>>,
    owner: Owner,
    /// What the ledger remembered when the agent started.
    known: Vec<LedgerDisk>,
}

impl Disks {
    /// Opens the ROOT disk below `work_dir` and the declared ones. What cannot be used is kept as FAULTY with the
    /// reason; `known` is what the ledger remembers.
    #[must_use]
    pub fn open(
        work_dir: &Path,
        declarations: &[Declaration],
        owner: Owner,
        known: &[LedgerDisk],
    ) -> Self {
        Self::open_on(
            &(Arc::new(Host) as Arc<dyn FileSystem>),
            work_dir,
            declarations,
            owner,
            known,
        )
    }

    /// As [`Disks::open`], on whatever file system.
    #[must_use]
    pub fn open_on(
        files: &Arc<dyn FileSystem>,
        work_dir: &Path,
        declarations: &[Declaration],
        owner: Owner,
        known: &[LedgerDisk],
    ) -> Self {
        let mut wanted = declarations.to_vec();
        if !wanted.iter().any(|declared| declared.source == DiskSource::Root) {
            wanted.insert(0, Declaration::root());
        }
        let mut disks: Vec<Arc<Disk>> = Vec::new();
        let mut devices = Vec::new();
        for declaration in wanted {
            let own = known.iter().find(|known| known.source == declaration.source);
            let root = match &declaration.source {
                DiskSource::Root => work_dir.join("disk"),
                DiskSource::Path(root) | DiskSource::Mount(root) => PathBuf::from(&**root),
                DiskSource::Block(device) => {
                    let path = PathBuf::from(&**device);
                    devices.push((declaration.clone(), path, own.cloned()));
                    continue;
                },
            };
            let disk = Disk::new(declaration, root, Arc::clone(files), owner, own.cloned());
            let conflict = disk.conflict(&disks);
            disk.start(conflict);
            if let Some(conflict) = disk.same_disk(&disks, known) {
                disk.set_fault(conflict);
            }
            disks.push(Arc::new(disk));
        }
        news::shared(&disks);
        let mut blocks: Vec<Arc<BlockDisk>> = Vec::new();
        for (declaration, path, own) in devices {
            let block = BlockDisk::new(declaration, path, Arc::clone(files), owner, own);
            block.start(&disks, &blocks, known);
            blocks.push(Arc::new(block));
        }
        let all = All { disks, blocks, owner, known: known.to_vec() };
        Self { all: RwLock::new(all), files: Arc::clone(files), turn: Mutex::default() }
    }

    /// No disk at all.
    #[must_use]
    pub fn none() -> Self {
        let owner = Owner { agent: AgentId::from_u128(0), cluster: None };
        let all = All { disks: Vec::new(), blocks: Vec::new(), owner, known: Vec::new() };
        Self { all: RwLock::new(all), files: Arc::new(Host), turn: Mutex::default() }
    }

    /// The disks as the master is told.
    #[must_use]
    pub fn report(&self) -> Vec<agent::Disk> {
        let (disks, blocks) = (self.all(), self.blocks());
        let blocks = blocks.iter().map(|disk| disk.report());
        disks.iter().map(|disk| disk.report()).chain(blocks).collect()
    }

    /// The disks as the ledger should remember them: those that were recognised or made.
    #[must_use]
    pub fn ledger(&self) -> Vec<LedgerDisk> {
        let (disks, blocks) = (self.all(), self.blocks());
        let blocks = blocks.iter().filter_map(|disk| disk.remembered());
        disks.iter().filter_map(|disk| disk.remembered()).chain(blocks).collect()
    }

    /// Looks again at every disk: is it in place, writable, how much is free? A disk that has come back is used
    /// again; one that failed a write or a sync stays FAULTY until the agent restarts. True when health changed.
    pub fn refresh(&self) -> bool {
        let before = self.health();
        for disk in self.all() {
            disk.refresh();
        }
        for disk in self.blocks() {
            disk.refresh();
        }
        before != self.health()
    }

    fn health(&self) -> Vec<DiskHealth> {
        let (disks, blocks) = (self.all(), self.blocks());
        let blocks = blocks.iter().map(|disk| disk.health());
        disks.iter().map(|disk| disk.health()).chain(blocks).collect()
    }

    /// The agent has joined a cluster: from now on the disks' markers name it.
    pub fn join(&self, cluster: ClusterId) {
        self.write().owner.cluster = Some(cluster);
        for disk in self.all() {
            disk.join(cluster);
        }
        for disk in self.blocks() {
            disk.join(cluster);
        }
    }

    /// The disk with a file system that resources name so.
    #[must_use]
    pub fn find(&self, source: &DiskSource) -> Option<Arc<Disk>> {
        self.read().disks.iter().find(|disk| disk.source() == source).cloned()
    }

    /// The raw devices.
    #[must_use]
    pub fn blocks(&self) -> Vec<Arc<BlockDisk>> {
        self.read().blocks.clone()
    }

    /// Every disk with a file system, in the order of declaration, ROOT first unless declared elsewhere.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Disk>> {
        self.read().disks.clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, All> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, All> {
        self.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a disk is called that could not be opened yet and that the ledger does not know.
fn unknown_id(agent: AgentId, root: &Path) -> DiskId {
    let seed = u64::from(crc32c::crc32c(root.as_os_str().as_encoded_bytes()));
    DiskId::from_u128(derive(agent.as_u128(), fingerprint(&seed.to_be_bytes())))
}

/// The code for a failed call on a disk.
#[must_use]
pub fn code_of(errno: Errno) -> ErrorCode {
    match errno {
        Errno::NOSPC | Errno::DQUOT => ErrorCode::DiskFull,
        Errno::ROFS => ErrorCode::DiskReadOnly,
        Errno::PERM | Errno::ACCESS => ErrorCode::NotPrivileged,
        other if is_broken(other) => ErrorCode::DiskFaulty,
        _other => ErrorCode::VolumeUnavailable,
    }
}

/// After these nothing that was written before can be relied on.
#[must_use]
pub fn is_broken(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::IO | Errno::UCLEAN | Errno::NXIO | Errno::NODEV | Errno::STALE | Errno::REMOTEIO
    )
}
