//! A driver without a disk: volumes are entries of a table. For benchmarks of what lies above the drivers and for
//! simulation; it keeps every promise of the trait and passes the same suite as the real ones.

use super::driver::{Capabilities, Driver, Fault, Found, Snapshots};
use berth_agent_core::effect::Place;
use berth_model::access::Access;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{SnapshotId, VolumeId};
use berth_model::snapshot::SnapshotSpec;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::{Enforcement, VolumeSpec};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Volumes in memory.
#[derive(Debug)]
pub struct Fake {
    free: Mutex<Bytes>,
    volumes: Mutex<BTreeMap<VolumeId, (Place, VolumeSpec)>>,
    snapshots: Mutex<BTreeMap<SnapshotId, SnapshotSpec>>,
}

impl Fake {
    /// An empty one that claims to have this much free, whatever is made on it.
    #[must_use]
    pub fn new(free: Bytes) -> Self {
        Self { free: Mutex::new(free), volumes: Mutex::default(), snapshots: Mutex::default() }
    }

    fn volumes(&self) -> MutexGuard<'_, BTreeMap<VolumeId, (Place, VolumeSpec)>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(place: Place, spec: &VolumeSpec) -> Found {
        let path = match place {
            Place::Live => format!("fake:/volumes/{}", spec.id),
            Place::Trash => format!("fake:/.trash/{}.{}", spec.id, spec.generation),
        };
        Found { host_path: Arc::from(path.as_str()), made_by: CAPABILITIES }
    }
}

const CAPABILITIES: Capabilities = Capabilities { name: "fake", enforcement: Enforcement::None };

/// Size and access are no identity.
fn is_same(found: &VolumeSpec, spec: &VolumeSpec) -> bool {
    VolumeSpec { size: spec.size, access: spec.access, ..found.clone() } == *spec
}

fn foreign(spec: &VolumeSpec, found: &VolumeSpec) -> Fault {
    let text = format!(
        "volume {} is there as generation {} of {}, expected generation {} of {}",
        spec.id, found.generation, found.size, spec.generation, spec.size
    );
    Fault::Foreign(Rejection::new(ErrorCode::VolumeUnavailable, text))
}

impl Driver for Fake {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn ensure(&self, spec: &VolumeSpec) -> Result<Found, Fault> {
        let mut volumes = self.volumes();
        match volumes.get(&spec.id) {
            Some((Place::Live, found)) if found == spec => Ok(Self::found(Place::Live, spec)),
            Some((Place::Live, found)) => {
                let reason = foreign(spec, found).rejection().clone();
                Err(Fault::Foreign(Rejection { code: ErrorCode::DirectoryExists, ..reason }))
            },
            Some((Place::Trash, _)) => {
                let text = format!("volume {} was made before and is not live now", spec.id);
                Err(Fault::Failed(Rejection::new(ErrorCode::VolumeLost, text)))
            },
            None => {
                volumes.insert(spec.id, (Place::Live, spec.clone()));
                Ok(Self::found(Place::Live, spec))
            },
        }
    }

    fn relocate(&self, spec: &VolumeSpec, to: Place) -> Result<Option<Found>, Fault> {
        let mut volumes = self.volumes();
        let Some((place, found)) = volumes.get_mut(&spec.id) else { return Ok(None) };
        if is_same(found, spec) {
            let moves = *place == to || to == Place::Trash;
            *place = if moves { to } else { *place };
            return Ok(moves.then(|| Self::found(to, spec)));
        }
        let next = VolumeSpec { generation: found.generation.saturating_add(1), ..found.clone() };
        match (*place, to) {
            (Place::Trash, Place::Live) if is_same(&next, spec) => {
                *place = Place::Live;
                *found = next;
                Ok(Some(Self::found(to, spec)))
            },
            (Place::Trash, _) => Ok(None),
            (Place::Live, _) => Err(foreign(spec, found)),
        }
    }

    fn resize(&self, spec: &VolumeSpec, size: Bytes) -> Result<Option<Found>, Fault> {
        let mut volumes = self.volumes();
        match volumes.get_mut(&spec.id) {
            Some((Place::Live, found)) if is_same(found, spec) => {
                found.size = size;
                Ok(Some(Self::found(Place::Live, spec)))
            },
            Some((Place::Live, found)) => Err(foreign(spec, found)),
            Some((Place::Trash, _)) | None => Ok(None),
        }
    }

    fn set_access(&self, spec: &VolumeSpec, access: Access) -> Result<Option<Found>, Fault> {
        let mut volumes = self.volumes();
        match volumes.get_mut(&spec.id) {
            Some((Place::Live, found)) if is_same(found, spec) => {
                found.access = access;
                Ok(Some(Self::found(Place::Live, spec)))
            },
            Some((Place::Live, found)) => Err(foreign(spec, found)),
            Some((Place::Trash, _)) | None => Ok(None),
        }
    }

    fn erase(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        let mut volumes = self.volumes();
        match volumes.get(&spec.id) {
            Some((Place::Trash, found)) if is_same(found, spec) => {
                volumes.remove(&spec.id);
                Ok(())
            },
            Some((_place, found)) => Err(foreign(spec, found)),
            None => Ok(()),
        }
    }

    fn observe(&self, spec: &VolumeSpec, place: Place) -> Result<Option<Found>, Fault> {
        match self.volumes().get(&spec.id) {
            Some((at, found)) if *at == place && is_same(found, spec) => {
                Ok(Some(Self::found(place, spec)))
            },
            Some((Place::Live, found)) if place == Place::Live => Err(foreign(spec, found)),
            Some(_) | None => Ok(None),
        }
    }

    fn adopt(&self, spec: &VolumeSpec) -> Result<Option<Found>, Fault> {
        self.observe(spec, Place::Live)
    }

    fn usage(&self, spec: &VolumeSpec) -> Result<Measured, Fault> {
        match self.volumes().get(&spec.id) {
            Some((_place, found)) if is_same(found, spec) => Ok(Measured::default()),
            Some(_) | None => {
                let text = format!("volume {} is not on this disk", spec.id);
                Err(Fault::Failed(Rejection::new(ErrorCode::VolumeUnavailable, text)))
            },
        }
    }

    fn free(&self) -> Result<Bytes, Fault> {
        Ok(*self.free.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn snapshots(&self) -> Result<&dyn Snapshots, Rejection> {
        Ok(self)
    }
}

impl Fake {
    fn taken(&self) -> MutexGuard<'_, BTreeMap<SnapshotId, SnapshotSpec>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn source(&self, snapshot: &SnapshotSpec) -> Result<(), Fault> {
        match self.find(snapshot)? {
            Some(_path) => Ok(()),
            None => {
                let text = format!("snapshot {} is not there", snapshot.id);
                Err(Fault::Failed(Rejection::new(ErrorCode::SnapshotLost, text)))
            },
        }
    }
}

impl Snapshots for Fake {
    fn take(&self, snapshot: &SnapshotSpec) -> Result<Arc<str>, Fault> {
        if let Some(path) = self.find(snapshot)? {
            return Ok(path);
        }
        match self.volumes().get(&snapshot.of.id) {
            Some((Place::Live, found)) if is_same(found, &snapshot.of) => {},
            Some((Place::Live, found)) => return Err(foreign(&snapshot.of, found)),
            Some((Place::Trash, _)) | None => {
                let text = format!("volume {} is not live", snapshot.of.id);
                return Err(Fault::Failed(Rejection::new(ErrorCode::VolumeUnavailable, text)));
            },
        }
        self.taken().insert(snapshot.id, snapshot.clone());
        Ok(Arc::from(format!("fake:/.snapshots/{}", snapshot.id).as_str()))
    }

    fn find(&self, snapshot: &SnapshotSpec) -> Result<Option<Arc<str>>, Fault> {
        match self.taken().get(&snapshot.id) {
            Some(found) if found == snapshot => {
                Ok(Some(Arc::from(format!("fake:/.snapshots/{}", snapshot.id).as_str())))
            },
            Some(_another) => {
                let text = format!("snapshot {} is of another volume or life", snapshot.id);
                Err(Fault::Foreign(Rejection::new(ErrorCode::SnapshotNotReady, text)))
            },
            None => Ok(None),
        }
    }

    fn delete(&self, snapshot: &SnapshotSpec) -> Result<(), Fault> {
        if self.find(snapshot)?.is_some() {
            self.taken().remove(&snapshot.id);
        }
        Ok(())
    }

    fn roll_back(
        &self,
        spec: &VolumeSpec,
        snapshot: &SnapshotSpec,
        safety: &SnapshotSpec,
    ) -> Result<Option<Found>, Fault> {
        let known = self.volumes().get(&spec.id).cloned();
        let Some((Place::Live, found)) = known else { return Ok(None) };
        let next = VolumeSpec { generation: found.generation.saturating_add(1), ..found.clone() };
        if found != *spec {
            self.source(snapshot)?;
            self.source(safety)?;
            if !is_same(&next, spec) {
                return Err(foreign(spec, &found));
            }
            let next = VolumeSpec { access: spec.access, ..next };
            self.volumes().insert(spec.id, (Place::Live, next));
        }
        Ok(Some(Self::found(Place::Live, spec)))
    }

    fn clone_from(&self, spec: &VolumeSpec, snapshot: &SnapshotSpec) -> Result<Found, Fault> {
        if self.volumes().get(&spec.id).is_none() {
            self.source(snapshot)?;
        }
        self.ensure(spec)
    }
}
