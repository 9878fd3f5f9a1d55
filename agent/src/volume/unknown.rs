//! What lies among the volumes without the ledger knowing it: told to people, kept, never offered. It is a volume again
//! or deleted only when somebody asks for that, and only what carries the identity of a volume of this disk.

use super::Volumes;
use super::driver::Fault;
use super::identity::Identity;
use super::look::{self, Target, look};
use crate::disk::Disk;
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use berth_agent_core::effect::{OrphanOutcome, Place};
use berth_model::agent;
use berth_model::id::VolumeId;
use berth_model::orphan::{Orphan, OrphanOrder, OrphanPlace};
use berth_model::units::{Bytes, Timestamp};
use berth_model::volume::VolumeSpec;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

/// More on one disk are not told: the message to the master has its limit, and so has anybody's patience.
const TOLD_MAX: usize = 1_000;

/// Lists what is unknown on one disk, not measured; nothing when the disk cannot be read.
pub fn list(disk: &Disk, known: &BTreeSet<VolumeId>) -> Vec<Orphan> {
    let Ok(handle) = disk.readable() else { return Vec::new() };
    let mut found = Vec::new();
    for place in [OrphanPlace::Live, OrphanPlace::Trash] {
        let parent = look::parent(&handle, on_disk(place));
        for name in parent.all_names().unwrap_or_default() {
            if volume_of(&name).is_some_and(|id| known.contains(&id)) {
                continue;
            }
            let (spec, evidence) = match identify(disk, &handle, place, &name) {
                Ok(spec) => (Some(spec), String::new()),
                Err(evidence) => (None, evidence),
            };
            found.push(Orphan {
                path: Arc::from(look::path(disk, on_disk(place), &name)),
                place,
                spec,
                evidence: Arc::from(evidence),
                used: None,
                modified: parent.directory(&name).ok().and_then(|it| modified(&it)),
            });
            if found.len() == TOLD_MAX {
                return found;
            }
        }
    }
    found
}

/// A whole device that a volume owns which the ledger does not know. Whose it is says only its header, so nothing is done
/// to it.
pub fn on_device(disk: &agent::Disk, spec: &VolumeSpec) -> Orphan {
    let evidence = format!(
        "the header of this device names volume {} ({}) of role {}; orphans on BLOCK disks are only listed: \
         keep the device away from other uses, and copy what you need from it by hand",
        spec.name, spec.id, spec.role
    );
    Orphan {
        path: Arc::clone(&disk.root),
        place: OrphanPlace::Live,
        spec: None,
        evidence: Arc::from(evidence),
        used: None,
        modified: None,
    }
}

/// The bytes that one of them takes, counted; nothing when it cannot be counted.
fn measure(disk: &Disk, orphan: &Orphan) -> Option<u64> {
    let handle = disk.readable().ok()?;
    let name = orphan.path.rsplit('/').next()?;
    let directory = look::parent(&handle, on_disk(orphan.place)).directory(name).ok()?;
    Some(directory.tree_size().ok()?.bytes)
}

fn on_disk(place: OrphanPlace) -> Place {
    match place {
        OrphanPlace::Live => Place::Live,
        OrphanPlace::Trash => Place::Trash,
    }
}

/// The volume that an entry is, or what speaks against it being one of this disk.
fn identify(
    disk: &Disk,
    handle: &Handle,
    place: OrphanPlace,
    name: &str,
) -> Result<VolumeSpec, String> {
    let id = volume_of(name).ok_or_else(|| "it is not named after a volume".to_owned())?;
    let identity: Option<Identity> =
        look::read_marker(disk, handle, id).map_err(|fault| fault.rejection().message.clone())?;
    let spec = identity.ok_or_else(|| "it has no marker".to_owned())?.spec(disk.source().clone());
    let targets = match place {
        OrphanPlace::Live => vec![Target::live(&spec)],
        OrphanPlace::Trash => vec![Target::trash(&spec), Target::going(&spec)],
    };
    let target = targets.into_iter().find(|target| target.entry == name);
    let Some(target) = target else {
        return Err(format!(
            "its marker says volume {id} in generation {}, which has another name here",
            spec.generation
        ));
    };
    match look(disk, handle, &spec, target) {
        Ok(Some(_it)) => Ok(spec),
        Ok(None) => Err("it has gone while it was looked at".to_owned()),
        Err(fault) => Err(fault.rejection().message.clone()),
    }
}

/// When an entry of the directory was last made, renamed or removed; only a real file system tells.
fn modified(directory: &Node) -> Option<Timestamp> {
    let stat = rustix::fs::fstat(directory.descriptor().ok()?).ok()?;
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    let rest = stat.st_mtime_nsec / 1_000_000;
    Some(Timestamp::from_ms(seconds.saturating_mul(1_000).saturating_add(rest)))
}

/// The volume an entry is named after: live, being made, or in the trash.
fn volume_of(name: &str) -> Option<VolumeId> {
    let inner = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp"));
    let name = inner.unwrap_or_else(|| name.split_once('.').map_or(name, |(id, _generation)| id));
    // The canonical form only: another spelling of the same number is another directory.
    name.parse::<VolumeId>().ok().filter(|id| id.to_string() == name)
}

impl Volumes {
    /// Counts what orphans take that were not counted before; walks their trees. True when there is something new.
    #[must_use]
    pub fn measure_orphans(&self, disks: &mut [agent::Disk]) -> bool {
        let sizes = || self.strange.lock().unwrap_or_else(PoisonError::into_inner);
        let told: BTreeSet<Arc<str>> =
            disks.iter().flat_map(|disk| &disk.orphans).map(|o| Arc::clone(&o.path)).collect();
        sizes().retain(|path, _| told.contains(path));
        let mut is_new = false;
        for disk in disks {
            let Some(own) = self.disks.find(&disk.source) else { continue };
            for orphan in &mut disk.orphans {
                if sizes().contains_key(&orphan.path) {
                    continue;
                }
                // Not under the lock: reports do not wait for a walk.
                orphan.used = measure(&own, orphan).map(Bytes::new);
                sizes().insert(Arc::clone(&orphan.path), orphan.used);
                is_new |= orphan.used.is_some();
            }
        }
        is_new
    }

    /// Deletes a directory that the ledger does not know, provided that it is the volume that is meant: into the trash
    /// and out of it, as any volume. Asked again it completes what was begun.
    #[must_use]
    pub fn purge_orphan(&self, order: &OrphanOrder) -> OrphanOutcome {
        let OrphanOrder { spec, place } = order;
        let driver = match self.driver(spec) {
            Ok(driver) => driver,
            Err(reason) => return OrphanOutcome::Failed(reason),
        };
        let purge = || -> Result<(), Fault> {
            if *place == OrphanPlace::Live && driver.observe(spec, Place::Live)?.is_some() {
                driver.relocate(spec, Place::Trash)?;
            }
            driver.erase(spec)
        };
        match purge() {
            Ok(()) => OrphanOutcome::Gone,
            Err(Fault::Foreign(reason) | Fault::Failed(reason)) => OrphanOutcome::Failed(reason),
            Err(Fault::Unclear(reason)) => OrphanOutcome::Unclear(reason),
        }
    }
}
