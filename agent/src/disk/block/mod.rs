//! BLOCK disks: raw devices and partitions, each for one volume, without a file system of Berth's.
//!
//! `header` is what Berth writes on one, `signature` tells what somebody else has written, `facts` is what the kernel
//! knows, `verify` decides whether it is the disk it should be. A device is used only while its path leads to the one whose header was verified, and it is held
//! exclusively: nobody can mount it or a part of it meanwhile. This module does not know volumes' states.

pub mod erase;
pub mod facts;
pub mod header;
pub mod signature;
mod verify;

pub use facts::Facts;

use super::declaration::Declaration;
use super::fs::{FileSystem, Node};
use super::{Disk, Owner, news, unknown_id, wipes};
use berth_model::agent::{self, DiskHealth, Media};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, ClusterId, DiskId};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::units::Bytes;
use berth_model::volume::Enforcement;
use header::{Header, RESERVED};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MIB: u64 = 1 << 20;

/// A verified device, held open exclusively.
#[derive(Debug)]
pub struct Handle {
    /// Open for reading and writing.
    pub device: Node,
    /// As found when it was opened.
    pub facts: Facts,
}

impl Handle {
    /// What the one volume can have, in whole MiB.
    #[must_use]
    pub fn room(&self) -> Bytes {
        Bytes::from_mib(self.facts.bytes.saturating_sub(RESERVED) / MIB)
    }

    /// Where the volume's part ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        RESERVED + self.room().get()
    }
}

#[derive(Debug)]
struct State {
    cluster: Option<ClusterId>,
    known: Option<LedgerDisk>,
    id: DiskId,
    handle: Option<Arc<Handle>>,
    fault: Option<Rejection>,
    told: Option<String>,
    /// The fault stays until the agent restarts.
    broken: bool,
    size: Bytes,
    free: Bytes,
    media: Media,
}

/// A device as it was declared, and what is known of it. Every method may be called from any thread.
#[derive(Debug)]
pub struct BlockDisk {
    declaration: Declaration,
    path: PathBuf,
    files: Arc<dyn FileSystem>,
    agent: AgentId,
    state: Mutex<State>,
}

impl BlockDisk {
    pub(super) fn new(
        declaration: Declaration,
        path: PathBuf,
        files: Arc<dyn FileSystem>,
        owner: Owner,
        known: Option<LedgerDisk>,
    ) -> Self {
        let state = State {
            cluster: owner.cluster,
            id: known.as_ref().map_or_else(|| unknown_id(owner.agent, &path), |known| known.id),
            known,
            handle: None,
            fault: None,
            told: None,
            broken: false,
            size: Bytes::default(),
            free: Bytes::default(),
            media: Media::Unknown,
        };
        Self { declaration, path, files, agent: owner.agent, state: Mutex::new(state) }
    }

    /// How resources name it.
    #[must_use]
    pub fn source(&self) -> &DiskSource {
        &self.declaration.source
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.declaration.name
    }

    /// Where its device is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id on it, once it was verified.
    #[must_use]
    pub fn verified(&self) -> Option<DiskId> {
        let state = self.state();
        state.handle.as_ref().map(|_verified| state.id)
    }

    /// As the ledger should remember it; nothing while it was neither recognised nor made.
    #[must_use]
    pub fn remembered(&self) -> Option<LedgerDisk> {
        self.state().known.clone()
    }

    /// The verified device with its header, provided that its path still leads to it.
    ///
    /// # Errors
    /// Why it is withheld.
    pub fn open(&self) -> Result<(Arc<Handle>, Header), Rejection> {
        let mut state = self.state();
        let header = self.look(&mut state);
        match (&state.fault, &state.handle, header) {
            (None, Some(handle), Some(header)) => Ok((Arc::clone(handle), header)),
            (fault, _handle, _header) => Err(fault.clone().unwrap_or_else(|| self.absent())),
        }
    }

    /// A write or a sync failed in a way that leaves unclear what is on the device: it is withheld from now on.
    pub fn set_broken(&self, reason: Rejection) {
        let mut state = self.state();
        state.broken = true;
        state.fault = Some(reason);
        self.tell(&mut state);
    }

    /// The declaration is wrong, or the device is another disk's copy.
    pub(super) fn set_fault(&self, reason: Rejection) {
        self.state().handle = None;
        self.set_broken(reason);
    }

    /// Looks at the device for the first time, after those that were declared before.
    pub(super) fn start(&self, disks: &[Arc<Disk>], others: &[Arc<Self>], known: &[LedgerDisk]) {
        let named = |name: &str| name == self.name();
        let path = Path::new(&self.path);
        if disks.iter().any(|disk| named(disk.name())) || others.iter().any(|o| named(o.name())) {
            let text = format!("two disks are named {}", self.name());
            return self.set_fault(Rejection::new(ErrorCode::InvalidArgument, text));
        }
        if !path.is_absolute() || path.to_string_lossy().chars().any(char::is_control) {
            let text = format!("disk {}: its device {path:?} is no absolute path", self.name());
            return self.set_fault(Rejection::new(ErrorCode::InvalidArgument, text));
        }
        self.refresh();
        let Some(id) = self.verified() else { return };
        let twin = others.iter().find(|other| other.verified() == Some(id));
        let elsewhere = known.iter().find(|known| known.id == id && known.source != *self.source());
        let other = match (twin, elsewhere) {
            (Some(twin), _known) => twin.path.display().to_string(),
            (None, Some(known)) => known.source.to_string(),
            (None, None) => return,
        };
        let text = format!(
            "the device {} carries the identity {id} of the disk at {other}: one is a copy of the other",
            path.display()
        );
        self.set_fault(
            faulty(text)
                .remedy("declare each disk once, at the path it had before; remove the copy"),
        );
    }

    pub(super) fn refresh(&self) {
        self.look(&mut self.state());
    }

    pub(super) fn join(&self, cluster: ClusterId) {
        let mut state = self.state();
        state.cluster = Some(cluster);
        self.look(&mut state);
    }

    /// Why it is withheld, if it is.
    pub(super) fn fault(&self) -> Option<Rejection> {
        self.state().fault.clone()
    }

    pub(super) fn health(&self) -> DiskHealth {
        match &self.state().fault {
            None => DiskHealth::Ok,
            Some(reason) => DiskHealth::Faulty(reason.to_string()),
        }
    }

    pub(super) fn report(&self) -> agent::Disk {
        let health = self.health();
        let state = self.state();
        agent::Disk {
            id: state.id,
            name: Arc::from(self.declaration.name.as_str()),
            source: self.declaration.source.clone(),
            root: Arc::from(self.path.to_string_lossy().as_ref()),
            driver: Arc::from("block"),
            driver_reason: Arc::from("a BLOCK disk is one volume, which is given as a device"),
            enforcement: Enforcement::Device,
            size: state.size,
            free: state.free,
            health,
            media: state.media,
            orphans: Vec::new(),
            no_snapshots: crate::disk::keeps::no_snapshots(None),
            wipes: wipes::of_device(state.handle.as_ref().map(|handle| &handle.device)),
            added: false,
            no_encryption: crate::disk::keeps::no_encryption(None).map(Arc::from),
        }
    }

    fn tell(&self, state: &mut State) {
        let fault = state.fault.as_ref();
        news::health((self.name(), &self.path), &mut state.told, fault);
    }

    /// Is the device in place? Opens and verifies it when it is not open.
    fn look(&self, state: &mut State) -> Option<Header> {
        if state.broken {
            return None;
        }
        let found = self.verify(state);
        let header = match found {
            Ok(header) => {
                state.fault = None;
                Some(header)
            },
            Err((reason, is_broken)) => {
                state.handle = None;
                state.broken = is_broken;
                state.fault = Some(reason);
                None
            },
        };
        self.tell(state);
        header
    }

    fn absent(&self) -> Rejection {
        faulty(format!("the device {} is not open", self.path.display()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn faulty(message: String) -> Rejection {
    Rejection::new(ErrorCode::DiskFaulty, message)
}
