//! Room for what a volume is to have: what is free, and where that is too little, what the trash of its disk holds.

use super::Volumes;
use super::driver::{Driver, Fault, Found};
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::sync::PoisonError;

impl Volumes {
    /// A volume needs its whole size free, except what it already takes itself. When it is not, the oldest trash
    /// of the same disk goes, provided that this helps.
    pub(super) fn make_room(
        &self,
        driver: &dyn Driver,
        spec: &VolumeSpec,
        own: Place,
        purgeable: &[(VolumeSpec, Bytes)],
        purged: &mut Vec<VolumeId>,
    ) -> Result<(), Fault> {
        // Asked again: it is there already. What speaks against it is found, with its consequence, by the driver.
        if !matches!(driver.observe(spec, Place::Live), Ok(None)) {
            return Ok(());
        }
        // What was begun of it is taken back or gone on with.
        let taken = match own {
            Place::Live => driver.taken(spec),
            Place::Trash => driver.taken(&before(spec)),
        };
        let taken = taken.unwrap_or_default();
        let needed = spec.size.checked_sub(taken).unwrap_or_default();
        match self.free_up(driver, spec, needed, purgeable, purged) {
            // It was here once and is in the trash: the driver says what follows from that.
            Err(Fault::Failed(_no_room))
                if own == Place::Live
                    && matches!(driver.observe(spec, Place::Trash), Ok(Some(_))) =>
            {
                Ok(())
            },
            other => other,
        }
    }

    /// What is added needs to be free. A refusal leaves the size as it was, whatever an earlier attempt had begun.
    pub(super) fn resize(
        &self,
        driver: &dyn Driver,
        spec: &VolumeSpec,
        size: Bytes,
        purgeable: &[(VolumeSpec, Bytes)],
        purged: &mut Vec<VolumeId>,
    ) -> Result<Option<Found>, Fault> {
        let mut more = size.checked_sub(spec.size).unwrap_or_default();
        if driver.free()? < more {
            // An attempt that was cut off may have allocated some of it already.
            let has = driver.taken(spec).unwrap_or_default().max(spec.size);
            more = size.checked_sub(has).unwrap_or_default();
        }
        match self.free_up(driver, spec, more, purgeable, purged) {
            Ok(()) => driver.resize(spec, size),
            Err(Fault::Failed(reason)) => match driver.resize(spec, spec.size) {
                Ok(Some(_as_before)) => Err(Fault::Failed(reason)),
                other => other,
            },
            Err(fault) => Err(fault),
        }
    }

    /// Purges the oldest trash of the volume's disk until so much is free, provided that this helps.
    fn free_up(
        &self,
        driver: &dyn Driver,
        spec: &VolumeSpec,
        needed: Bytes,
        purgeable: &[(VolumeSpec, Bytes)],
        purged: &mut Vec<VolumeId>,
    ) -> Result<(), Fault> {
        let _one_at_a_time = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = driver.free()?;
        if free >= needed {
            return Ok(());
        }
        let candidates: Vec<(&VolumeSpec, Bytes)> = purgeable
            .iter()
            .filter(|(trash, _used)| trash.source == spec.source && trash.id != spec.id)
            .map(|(trash, used)| (trash, driver.taken(trash).unwrap_or(*used)))
            .collect();
        let hidden: u64 = candidates.iter().map(|(_trash, used)| used.get()).sum();
        if Bytes::new(free.get().saturating_add(hidden)) >= needed {
            for (trash, _used) in candidates {
                // What cannot go stays in the trash and is told when it is purged for its own sake.
                if driver.erase(trash).is_err() {
                    continue;
                }
                purged.push(trash.id);
                free = driver.free()?;
                if free >= needed {
                    return Ok(());
                }
            }
        }
        let text = format!(
            "volume {} needs {needed} on disk {}, which has {free} free and {} in its trash",
            spec.id,
            spec.source,
            Bytes::new(hidden)
        );
        Err(Fault::Failed(
            Rejection::new(ErrorCode::DiskFull, text)
                .remedy("free space on the disk, or create a smaller volume"),
        ))
    }
}

fn before(spec: &VolumeSpec) -> VolumeSpec {
    VolumeSpec { generation: spec.generation.saturating_sub(1), ..spec.clone() }
}
