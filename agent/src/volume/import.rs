//! What takes long: volumes with content from outside and volumes that are wiped. Where content may come from, how far each
//! is, and its end when the agent stops.

use super::Volumes;
use super::content::{self, Archive, Counter, Directory, Incoming, Sources};
use super::driver::{Driver, Fault, Found};
use berth_agent_core::effect::{Place, Source, VolumeOutcome};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::transfer::{Progress, Survey};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use berth_model::wipe::Wipe;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An import takes no room from others.
const NO_ROOM: &str = "an import purges no trash by itself: delete trash of that disk for good (berth volume trash list, berth volume trash purge), \
                       choose another disk, or ask for a smaller volume";

/// What imports share.
#[derive(Debug)]
pub(super) struct Imports {
    sources: Sources,
    under_way: Mutex<BTreeMap<VolumeId, Arc<Counter>>>,
    /// What nobody reads yet.
    arriving: Mutex<BTreeMap<VolumeId, Incoming>>,
    stopped: Arc<AtomicBool>,
}

impl Default for Imports {
    fn default() -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let (under_way, arriving) = (Mutex::default(), Mutex::default());
        Self { sources: Sources::none(), under_way, arriving, stopped }
    }
}

impl Imports {
    fn arriving(&self) -> MutexGuard<'_, BTreeMap<VolumeId, Incoming>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, id: VolumeId) -> UnderWay<'_> {
        let counter = Arc::new(Counter::new(Arc::clone(&self.stopped)));
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(id, Arc::clone(&counter));
        UnderWay { imports: self, id, counter }
    }
}

/// An import is told of as long as this exists, however it ends.
struct UnderWay<'a> {
    imports: &'a Imports,
    id: VolumeId,
    counter: Arc<Counter>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let under_way = self.imports.under_way.lock();
        under_way.unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Volumes {
    /// The same, where these directories of the machine may be imported; the agent's own are left out: `own` and its
    /// disks.
    #[must_use]
    pub fn importing(mut self, allowed: Vec<PathBuf>, mut own: Vec<PathBuf>) -> Self {
        own.extend(self.disks.all().iter().map(|disk| disk.root().to_path_buf()));
        self.imports.sources = Sources::host(allowed, own);
        self
    }

    /// The same with other sources, for tests.
    #[must_use]
    pub fn with_sources(mut self, sources: Sources) -> Self {
        self.imports.sources = sources;
        self
    }

    /// How far the volumes are that get their content from outside now, and those that are exported.
    #[must_use]
    pub fn progress(&self) -> Vec<(VolumeId, Progress)> {
        let under_way = self.imports.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let imported = under_way.iter().map(|(id, counter)| (*id, counter.progress()));
        imported.chain(self.exported()).collect()
    }

    /// Ends what takes long; it is begun again by the next agent.
    pub fn stop(&self) {
        self.imports.stopped.store(true, Ordering::Relaxed);
    }

    /// Says whether what takes long is to end.
    #[must_use]
    pub fn stopped(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.imports.stopped)
    }

    /// True once [`Volumes::stop`] was called.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.imports.stopped.load(Ordering::Relaxed)
    }

    /// What an import of this directory would meet.
    ///
    /// # Errors
    /// It must not be read, or it cannot.
    pub fn survey(&self, path: &str, size: Bytes) -> Result<Survey, Rejection> {
        let (source, shown) = self.imports.sources.open(path)?;
        let counter = Counter::new(Arc::clone(&self.imports.stopped));
        content::survey(&source, &shown, size, &counter)
    }

    /// Overwrites what a volume in the trash holds, and tells meanwhile how far that is.
    pub(super) fn wipe(
        &self,
        driver: &dyn Driver,
        spec: &VolumeSpec,
        method: Wipe,
    ) -> VolumeOutcome {
        let under_way = self.imports.begin(spec.id);
        match driver.wipe(spec, method, &under_way.counter) {
            Ok(true) => VolumeOutcome::Wiped,
            Ok(false) => VolumeOutcome::Absent,
            Err(fault) => super::outcome(fault),
        }
    }

    /// Nothing is purged for it: what speaks against it is found out on the way, and trash that it held would be held
    /// for hours.
    pub(super) fn import(
        &self,
        driver: &dyn Driver,
        spec: &VolumeSpec,
        from: &Source,
    ) -> Result<Found, Fault> {
        // Taken in any case: what nobody reads is hung up on.
        let incoming = self.imports.arriving().remove(&spec.id);
        self.make_room(driver, spec, Place::Live, &[], &mut Vec::new()).map_err(purge_first)?;
        let under_way = self.imports.begin(spec.id);
        let counter = Arc::clone(&under_way.counter);
        match from {
            Source::Directory { path } => {
                let mut content = Directory::new(&self.imports.sources, path, spec.size, counter);
                driver.import(spec, &mut content)
            },
            Source::Stream { operation: _ } => {
                let incoming = incoming.unwrap_or_else(Incoming::broken);
                driver.import(spec, &mut Archive::new(incoming, spec.size, counter))
            },
        }
    }

    /// What this volume is to have arrives here; said before the effect that makes it.
    pub fn arrives(&self, volume: VolumeId, incoming: Incoming) {
        self.imports.arriving().insert(volume, incoming);
    }
}

fn purge_first(fault: Fault) -> Fault {
    match fault {
        Fault::Failed(reason) if reason.code == ErrorCode::DiskFull => {
            Fault::Failed(Rejection { remedy: NO_ROOM.to_owned(), ..reason })
        },
        other => other,
    }
}
