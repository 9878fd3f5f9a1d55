//! One disk over time: opened, in place, writable, how full; and why it is withheld.
//!
//! It hands out its handle only while its root path leads to what was verified.

use super::adopt::{self, Expectation, Handle, Refused};
use super::choice::Choice;
use super::declaration::Declaration;
use super::fs::{self, FileSystem};
use super::probe;
use super::{Owner, code_of, is_broken, media, news, unknown_id, wipes};
use berth_model::agent::{self, DiskHealth, Media};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{AgentId, ClusterId, DiskId};
use berth_model::record::LedgerDisk;
use berth_model::resources::DiskSource;
use berth_model::units::{Bytes, MIB};
use berth_model::volume::Enforcement;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One disk.
#[derive(Debug)]
pub struct Disk {
    declaration: Declaration,
    root: PathBuf,
    pub(super) files: Arc<dyn FileSystem>,
    agent: AgentId,
    state: Mutex<State>,
}

/// What is known of a disk now.
#[derive(Debug)]
pub(super) struct State {
    cluster: Option<ClusterId>,
    known: Option<LedgerDisk>,
    id: DiskId,
    pub(super) handle: Option<Arc<Handle>>,
    /// Why the disk is withheld.
    pub(super) fault: Option<Rejection>,
    /// The fault that the log speaks of.
    told: Option<String>,
    /// The fault stays until the agent restarts: a write or a sync failed, so the page cache cannot be trusted.
    broken: bool,
    choice: Option<Choice>,
    size: Bytes,
    free: Bytes,
    /// As found when it was opened last.
    media: Media,
}

impl Disk {
    pub(super) fn new(
        declaration: Declaration,
        root: PathBuf,
        files: Arc<dyn FileSystem>,
        owner: Owner,
        known: Option<LedgerDisk>,
    ) -> Self {
        let state = State {
            cluster: owner.cluster,
            id: known.as_ref().map_or_else(|| unknown_id(owner.agent, &root), |known| known.id),
            known,
            handle: None,
            fault: None,
            told: None,
            broken: false,
            choice: None,
            size: declaration.size.unwrap_or_default(),
            free: Bytes::default(),
            media: Media::Unknown,
        };
        Self { declaration, root, files, agent: owner.agent, state: Mutex::new(state) }
    }

    /// Its id: as written on it, or, while it could not be opened, as the ledger remembers it.
    #[must_use]
    pub fn id(&self) -> DiskId {
        self.state().id
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.declaration.name
    }

    /// Nothing about its size was declared.
    pub(super) fn is_measured(&self) -> bool {
        self.declaration.size.is_none()
    }

    /// How resources name it.
    #[must_use]
    pub fn source(&self) -> &DiskSource {
        &self.declaration.source
    }

    /// Where it is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The agent it belongs to.
    #[must_use]
    pub fn agent(&self) -> AgentId {
        self.agent
    }

    /// As the ledger should remember it; nothing while it was neither recognised nor made.
    #[must_use]
    pub fn remembered(&self) -> Option<LedgerDisk> {
        self.state().known.clone()
    }

    /// The cluster its volumes' markers are to name.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.state().cluster
    }

    /// The driver for new volumes; nothing while the disk was never usable.
    #[must_use]
    pub fn choice(&self) -> Option<Choice> {
        self.state().choice.clone()
    }

    /// The verified disk, provided that its root path still leads to it and it may be written.
    ///
    /// # Errors
    /// Why the disk is withheld.
    pub fn writable(&self) -> Result<Arc<Handle>, Rejection> {
        let mut state = self.state();
        self.look(&mut state);
        match (&state.fault, &state.handle) {
            (None, Some(handle)) => Ok(Arc::clone(handle)),
            (fault, _handle) => Err(fault.clone().unwrap_or_else(|| self.absent())),
        }
    }

    /// The verified disk for looking only: also when it is read-only or broken.
    ///
    /// # Errors
    /// The disk is not there or is another one.
    pub fn readable(&self) -> Result<Arc<Handle>, Rejection> {
        let mut state = self.state();
        self.look(&mut state);
        match (&state.handle, &state.fault) {
            (Some(handle), _fault) => Ok(Arc::clone(handle)),
            (None, fault) => Err(fault.clone().unwrap_or_else(|| self.absent())),
        }
    }

    /// A write or a sync failed in a way that leaves unclear what is on the disk: it is withheld from now on.
    pub fn set_broken(&self, reason: Rejection) {
        let mut state = self.state();
        state.broken = true;
        state.fault = Some(reason);
        self.tell(&mut state);
    }

    pub(super) fn set_fault(&self, reason: Rejection) {
        let mut state = self.state();
        state.handle = None;
        state.broken = true;
        state.fault = Some(reason);
        self.tell(&mut state);
    }

    /// Logs the fault, or its end, once.
    fn tell(&self, state: &mut State) {
        let named = (self.name(), self.root());
        news::health(named, &mut state.told, state.fault.as_ref());
    }

    /// Faults that opening cannot heal: the declaration itself is wrong.
    pub(super) fn conflict(&self, others: &[Arc<Self>]) -> Option<Rejection> {
        let own = &self.declaration;
        let wrong = |message: String| Some(Rejection::new(ErrorCode::InvalidArgument, message));
        let texts = [own.name.as_str(), &self.root.to_string_lossy()].concat();
        if own.name.is_empty() || texts.chars().any(char::is_control) {
            return wrong(format!(
                "disk {:?} at {:?}: a name and a root are needed, without control characters",
                own.name, self.root
            ));
        }
        match &own.source {
            DiskSource::Path(root) | DiskSource::Mount(root)
                if !Path::new(&**root).is_absolute() =>
            {
                return wrong(format!("disk {}: its root {root} is not absolute", own.name));
            },
            DiskSource::Path(_)
            | DiskSource::Mount(_)
            | DiskSource::Block(_)
            | DiskSource::Root => {},
        }
        for other in others {
            if other.declaration.name == own.name {
                return wrong(format!("two disks are named {}", own.name));
            }
            if other.root.starts_with(&self.root) || self.root.starts_with(&other.root) {
                return wrong(format!(
                    "disk {} at {} and disk {} at {} lie within one another",
                    own.name,
                    self.root.display(),
                    other.declaration.name,
                    other.root.display()
                ));
            }
        }
        None
    }

    pub(super) fn start(&self, conflict: Option<Rejection>) {
        match conflict {
            Some(conflict) => self.set_fault(conflict),
            None => self.look(&mut self.state()),
        }
    }

    pub(super) fn refresh(&self) {
        let mut state = self.state();
        self.look(&mut state);
    }

    /// Is the disk in place? Opens it when it is not open, and reads how much is free.
    fn look(&self, state: &mut State) {
        if state.broken {
            return;
        }
        state.handle = state.handle.take().filter(|handle| self.leads_to(handle));
        state.fault = match self.open(state) {
            Ok(()) => self.measure(state).err(),
            Err(reason) => Some(reason),
        };
        self.tell(state);
    }

    fn open(&self, state: &mut State) -> Result<(), Rejection> {
        if state.handle.is_some() {
            return Ok(());
        }
        let (handle, choice) = self.adopt(state).map_err(|refused| {
            state.broken |= refused.is_broken;
            refused.reason
        })?;
        state.choice = Some(choice);
        state.id = handle.id;
        state.media = handle.root.descriptor().map_or(Media::Unknown, media::of_directory);
        state.known = Some(LedgerDisk {
            id: handle.id,
            name: Arc::from(self.declaration.name.as_str()),
            source: self.declaration.source.clone(),
            filesystem: Arc::from(handle.filesystem.as_str()),
        });
        state.handle = Some(Arc::new(handle));
        if let Some(cluster) = state.cluster {
            self.write_cluster(state, cluster);
        }
        Ok(())
    }

    fn adopt(&self, state: &State) -> Result<(Handle, Choice), Refused> {
        if let (DiskSource::Root, None, Some(work_dir)) =
            (&self.declaration.source, &state.known, self.root.parent())
        {
            adopt::make_root(&*self.files, work_dir)?;
        }
        let handle = adopt::open(&*self.files, &self.root, &self.expectation(state))?;
        let choice = match &state.choice {
            Some(choice) if choice.refusal.is_none() => choice.clone(),
            Some(_) | None => {
                let Declaration { driver, source, .. } = &self.declaration;
                probe::choose(*driver, source, &handle, &self.root)?
            },
        };
        Ok((handle, choice))
    }

    pub(super) fn expectation<'a>(&'a self, state: &'a State) -> Expectation<'a> {
        Expectation {
            agent: self.agent,
            cluster: state.cluster,
            name: &self.declaration.name,
            source: &self.declaration.source,
            known: state.known.as_ref(),
            fresh: DiskId::from_u128(uuid::Uuid::new_v4().as_u128()),
        }
    }

    fn measure(&self, state: &mut State) -> Result<(), Rejection> {
        let Some(handle) = &state.handle else { return Err(self.absent()) };
        let room = handle.root.room().map_err(|errno| {
            let message = format!("the disk at {} does not answer ({errno})", self.root.display());
            Rejection::new(ErrorCode::DiskFaulty, message)
        })?;
        state.free = Bytes::new(room.free);
        // Made by an earlier release: what was declared of it then is declared further.
        let adopted = handle.adopted.unwrap_or_else(|| adopt::usable(room.total));
        state.size = self.declaration.size.unwrap_or(Bytes::from_mib(adopted / MIB));
        if room.read_only { Err(adopt::read_only_fault(&self.root)) } else { Ok(()) }
    }

    fn leads_to(&self, handle: &Handle) -> bool {
        fs::locate(&*self.files, &self.root).is_ok_and(|position| position == handle.position)
    }

    pub(super) fn join(&self, cluster: ClusterId) {
        let mut state = self.state();
        state.cluster = Some(cluster);
        self.write_cluster(&mut state, cluster);
    }

    fn write_cluster(&self, state: &mut State, cluster: ClusterId) {
        let Some(handle) = state.handle.clone() else { return };
        if handle.cluster == Some(cluster) {
            return;
        }
        let written = adopt::join(&handle, &self.expectation(state), cluster);
        match written {
            // A read-only disk is reported as such; the marker is written when it is opened again.
            Ok(()) | Err(Errno::ROFS) => {},
            Err(errno) => {
                let message =
                    format!("writing {}/.meta/disk failed ({errno})", self.root.display());
                state.broken |= is_broken(errno);
                state.fault = Some(Rejection::new(code_of(errno), message));
                self.tell(state);
            },
        }
    }

    fn absent(&self) -> Rejection {
        let message = format!("the disk at {} is not open", self.root.display());
        Rejection::new(ErrorCode::DiskFaulty, message)
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
        let choice = state.choice.as_ref();
        agent::Disk {
            id: state.id,
            name: Arc::from(self.declaration.name.as_str()),
            source: self.declaration.source.clone(),
            root: Arc::from(self.root.to_string_lossy().as_ref()),
            driver: Arc::from(choice.map_or("", |choice| choice.driver.as_str())),
            driver_reason: Arc::from(choice.map_or("", |choice| choice.reason.as_str())),
            enforcement: choice.map_or(Enforcement::None, |choice| choice.driver.enforcement()),
            size: state.size,
            free: state.free,
            health,
            media: state.media,
            orphans: Vec::new(),
            no_snapshots: super::keeps::no_snapshots(choice),
            wipes: wipes::of_directory(state.handle.as_ref().map(|handle| &handle.root)),
            added: false,
            no_encryption: super::keeps::no_encryption(choice).map(Arc::from),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
