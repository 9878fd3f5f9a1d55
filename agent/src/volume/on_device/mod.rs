//! The driver of BLOCK disks: one volume per device, whose life is told by the device's header.
//!
//! Every step is one write of the header, which a crash leaves undone or done; only a purge writes elsewhere, and first
//! says so in the header. Invariants: (a) outside a purge nothing is ever written behind the header; (b) a device that
//! holds anything but zeros where things are recognised gets no new volume; (c) what a task has open is neither moved to
//! the trash nor deleted.

mod life;
mod wipe;

use super::content::Counter;
use super::driver::{Capabilities, Driver, Fault, Found};
use super::identity::{Home, Identity};
use crate::disk::block::header::{self, Header, RESERVED, Stage};
use crate::disk::block::{BlockDisk, Handle};
use crate::disk::image::device::{self, Window};
use crate::disk::probe::DriverKind;
use crate::disk::wipe::Wiper;
use crate::disk::{code_of, is_broken};
use berth_agent_core::effect::Place;
use berth_model::access::Access;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::VolumeSpec;
use berth_model::wipe::Wipe;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The volume of one raw device.
#[derive(Debug)]
pub struct OnDevice {
    disk: Arc<BlockDisk>,
    /// One step at a time.
    turn: Mutex<()>,
}

/// A verified device and what is written on it.
type Open = (Arc<Handle>, Header);

impl OnDevice {
    /// The driver of this device.
    #[must_use]
    pub fn new(disk: Arc<BlockDisk>) -> Self {
        Self { disk, turn: Mutex::new(()) }
    }

    /// The volume's part of the device, for a task.
    ///
    /// # Errors
    /// Why the volume must not be used, with the evidence.
    pub fn open(&self, spec: &VolumeSpec) -> Result<OwnedFd, Rejection> {
        let unavailable = |why: String, remedy: &str| {
            let text = format!("volume {} is not available: {why}", spec.id);
            Rejection::new(ErrorCode::VolumeUnavailable, text).remedy(remedy)
        };
        let withheld =
            |reason: &Rejection| unavailable(reason.message.clone(), &reason.remedy.clone());
        let _turn = self.turn();
        let (handle, header) = self.disk.open().map_err(|reason| withheld(&reason))?;
        let found = self.live(&header, spec, &[spec.generation]);
        let identity = match found.map_err(|fault| withheld(fault.rejection()))? {
            Some(identity) => identity,
            None => {
                let why = format!("it is not on device {}", self.disk.path().display());
                return Err(unavailable(why, "nothing was made in its place; look for the data"));
            },
        };
        let window = Window { offset: RESERVED, bytes: identity.size.get() };
        let raw = handle.device.descriptor();
        let attached = raw.and_then(|raw| device::attach_window(raw, window));
        let device = attached.map_err(|errno| {
            unavailable(
                format!("its part of the device cannot be a loop device ({errno})"),
                "run the agent as root on a kernel with loop devices",
            )
        })?;
        Ok(device.into())
    }

    /// A volume on the device that is not one of `known`.
    pub fn unknown(&self, known: &dyn Fn(&VolumeId) -> bool) -> Option<VolumeSpec> {
        let (_handle, header) = self.disk.open().ok()?;
        let (_stage, identity) = header.volume?;
        (!known(&identity.id)).then(|| identity.spec(self.disk.source().clone()))
    }

    /// Where people find it.
    #[must_use]
    pub fn disk(&self) -> &BlockDisk {
        &self.disk
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verified(&self) -> Result<Open, Fault> {
        self.disk.open().map_err(Fault::Unclear)
    }

    fn found(&self) -> Found {
        let host_path = Arc::from(self.disk.path().to_string_lossy().as_ref());
        Found { host_path, made_by: self.capabilities() }
    }

    /// The volume of this id in one of these stages, verified.
    fn at<'a>(
        &self,
        header: &'a Header,
        spec: &VolumeSpec,
        (stages, generations): (&[Stage], &[u64]),
    ) -> Result<Option<&'a Identity>, Fault> {
        let Some((stage, identity)) = &header.volume else { return Ok(None) };
        if identity.id != spec.id || !stages.contains(stage) {
            return Ok(None);
        }
        let home = Home { agent: header.agent, cluster: header.cluster, disk: header.disk };
        match identity.contradiction(spec, home, generations) {
            None => Ok(Some(identity)),
            Some(evidence) => {
                let shown = self.disk.path().display();
                let text = format!("{shown} does not hold volume {}: {evidence}", spec.id);
                Err(Fault::Foreign(
                    Rejection::new(ErrorCode::VolumeUnavailable, text)
                        .remedy("it is left as it is; attach the volume's own device"),
                ))
            },
        }
    }

    fn live<'a>(
        &self,
        header: &'a Header,
        spec: &VolumeSpec,
        generations: &[u64],
    ) -> Result<Option<&'a Identity>, Fault> {
        self.at(header, spec, (&[Stage::Live], generations))
    }

    /// A volume in the trash in another life is not the one that is meant, and nothing is wrong with it.
    fn in_trash<'a>(
        &self,
        header: &'a Header,
        spec: &VolumeSpec,
        stages: &[Stage],
    ) -> Result<Option<&'a Identity>, Fault> {
        match &header.volume {
            Some((_stage, identity)) if identity.generation != spec.generation => Ok(None),
            _other => self.at(header, spec, (stages, &[spec.generation])),
        }
    }

    /// Writes the header, or says what its failure means.
    fn set(&self, handle: &Handle, header: &Header, doing: &str) -> Result<(), Fault> {
        header::write(&handle.device, header).map_err(|errno| self.failed(doing, errno))
    }

    /// Syncs a header that says already what is wanted: whoever wrote it may have died before it was synced.
    fn settle(&self, handle: &Handle) -> Result<Found, Fault> {
        header::settle(&handle.device).map_err(|errno| self.failed("syncing", errno))?;
        Ok(self.found())
    }

    fn failed(&self, doing: &str, errno: Errno) -> Fault {
        let text = format!("{doing} the device {} failed ({errno})", self.disk.path().display());
        let reason = Rejection::new(code_of(errno), text);
        if is_broken(errno) {
            self.disk.set_broken(reason.clone().remedy(
                "look into the kernel log, replace or repair the device, then restart the agent",
            ));
        }
        Fault::Unclear(reason)
    }

    fn refuse_used(&self, handle: &Handle, spec: &VolumeSpec) -> Result<(), Fault> {
        let raw = match handle.device.descriptor() {
            Ok(raw) => raw,
            // A simulated device has no users.
            Err(_simulated) => return Ok(()),
        };
        match device::is_below_any(raw) {
            Ok(false) => Ok(()),
            Ok(true) => {
                let text =
                    format!("volume {} is open in a task, or attached to a loop device", spec.id);
                Err(Fault::Failed(Rejection::new(ErrorCode::VolumeInUse, text).remedy(
                    "end its task (losetup -l shows devices); until then it is left as it is",
                )))
            },
            Err(errno) => Err(self.failed("looking for users of", errno)),
        }
    }
}

impl Driver for OnDevice {
    fn capabilities(&self) -> Capabilities {
        let kind = DriverKind::Block;
        Capabilities { name: kind.as_str(), enforcement: kind.enforcement() }
    }

    fn ensure(&self, spec: &VolumeSpec) -> Result<Found, Fault> {
        let _turn = self.turn();
        let (handle, header) = self.disk.open().map_err(Fault::Unclear)?;
        if !spec.access.is_empty() {
            return Err(Fault::Failed(without_access(spec)));
        }
        let shown = self.disk.path().display();
        match &header.volume {
            None => self.make(&handle, &header, spec)?,
            Some((stage, identity)) if identity.id != spec.id => {
                let place = match stage {
                    Stage::Live => "live",
                    Stage::Trash | Stage::Going => "in the trash",
                };
                let text = format!("the device {shown} has volume {}, {place}", identity.id);
                return Err(Fault::Failed(Rejection::new(ErrorCode::DiskFull, text).remedy(
                    "a BLOCK disk holds one volume: purge that one, or use another disk",
                )));
            },
            Some((Stage::Trash | Stage::Going, _same)) => {
                let text =
                    format!("volume {} was made on {shown} before and was destroyed", spec.id);
                return Err(Fault::Failed(
                    Rejection::new(ErrorCode::VolumeLost, text)
                        .remedy("no empty one was made in its place; restore it from the trash"),
                ));
            },
            Some((Stage::Live, identity)) if identity.size != spec.size => {
                let text = format!(
                    "{shown} is volume {} with {}, expected {}",
                    spec.id, identity.size, spec.size
                );
                return Err(Fault::Foreign(
                    Rejection::new(ErrorCode::DirectoryExists, text).remedy("it is left as it is"),
                ));
            },
            Some((Stage::Live, _same)) => {
                self.live(&header, spec, &[spec.generation])?;
            },
        }
        self.settle(&handle)
    }

    fn relocate(&self, spec: &VolumeSpec, to: Place) -> Result<Option<Found>, Fault> {
        let _turn = self.turn();
        let (handle, header) = self.verified()?;
        let before = spec.generation.saturating_sub(1);
        match to {
            Place::Trash => {
                if self.in_trash(&header, spec, &[Stage::Trash])?.is_some() {
                    return self.settle(&handle).map(Some);
                }
                if self.live(&header, spec, &[spec.generation])?.is_none() {
                    return Ok(None);
                }
                self.refuse_used(&handle, spec)?;
                self.set(&handle, &header.at_stage(Stage::Trash), "marking")?;
            },
            Place::Live => {
                if self.live(&header, spec, &[spec.generation])?.is_some() {
                    return self.settle(&handle).map(Some);
                }
                let last = VolumeSpec { generation: before, ..spec.clone() };
                if self.at(&header, &last, (&[Stage::Going], &[before])).ok().flatten().is_some() {
                    self.settle(&handle)?;
                    self.finish(&handle, &header)?;
                    return Ok(None);
                }
                if self.in_trash(&header, &last, &[Stage::Trash])?.is_none() {
                    return Ok(None);
                }
                let mut next = header.at_stage(Stage::Live);
                if let Some((_stage, identity)) = &mut next.volume {
                    identity.generation = spec.generation;
                }
                self.set(&handle, &next, "marking")?;
            },
        }
        Ok(Some(self.found()))
    }

    fn resize(&self, spec: &VolumeSpec, size: Bytes) -> Result<Option<Found>, Fault> {
        let (_handle, header) = self.verified()?;
        match self.live(&header, spec, &[spec.generation])? {
            None => Ok(None),
            Some(_volume) if size == spec.size => Ok(Some(self.found())),
            Some(_volume) => Err(super::on_disk::whole_disk(spec, size)),
        }
    }

    fn set_access(&self, spec: &VolumeSpec, access: Access) -> Result<Option<Found>, Fault> {
        let (_handle, header) = self.verified()?;
        match self.live(&header, spec, &[spec.generation])? {
            None => Ok(None),
            Some(_volume) if access.is_empty() => Ok(Some(self.found())),
            Some(_volume) => Err(Fault::Failed(without_access(spec))),
        }
    }

    fn erase(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        let _turn = self.turn();
        let (handle, header) = self.verified()?;
        let Some((found, identity)) = &header.volume else {
            return self.settle(&handle).map(drop);
        };
        if identity.id != spec.id {
            return Ok(());
        }
        if *found == Stage::Live || identity.generation != spec.generation {
            let text = format!(
                "volume {} is on {} in generation {}, {}, not in the trash with generation {}",
                spec.id,
                self.disk.path().display(),
                identity.generation,
                if *found == Stage::Live { "live" } else { "in the trash" },
                spec.generation
            );
            let reason = Rejection::new(ErrorCode::VolumeUnavailable, text);
            return Err(Fault::Foreign(reason.remedy("it is left as it is")));
        }
        self.at(&header, spec, (&[Stage::Trash, Stage::Going], &[spec.generation]))?;
        self.refuse_used(&handle, spec)?;
        if *found == Stage::Trash {
            // Half of a volume is worse than none: from here on no restore finds it, whenever the deletion is stopped.
            self.set(&handle, &header.at_stage(Stage::Going), "marking")?;
        } else {
            self.settle(&handle)?;
        }
        self.finish(&handle, &header)
    }

    fn survey_wipe(&self, spec: &VolumeSpec, method: Wipe) -> Result<Option<Bytes>, Fault> {
        self.look_before_wipe(spec, method)
    }

    fn wipe(&self, spec: &VolumeSpec, method: Wipe, counter: &Counter) -> Result<bool, Fault> {
        self.wipe_content(spec, Wiper::new(method, counter))
    }

    fn observe(&self, spec: &VolumeSpec, place: Place) -> Result<Option<Found>, Fault> {
        let (_handle, header) = self.verified()?;
        let found = match place {
            Place::Live => self.live(&header, spec, &[spec.generation])?,
            Place::Trash => self.in_trash(&header, spec, &[Stage::Trash, Stage::Going])?,
        };
        Ok(found.map(|_identity| self.found()))
    }

    /// Orphans on BLOCK disks are listed and not adopted.
    fn adopt(&self, spec: &VolumeSpec) -> Result<Option<Found>, Fault> {
        self.observe(spec, Place::Live)
    }

    fn usage(&self, spec: &VolumeSpec) -> Result<Measured, Fault> {
        let (_handle, header) = self.verified()?;
        match &header.volume {
            // What of it is in use only the task knows.
            Some((_stage, identity)) if identity.id == spec.id => Ok(Measured::of(identity.size)),
            _other => {
                let shown = self.disk.path().display();
                let text = format!("volume {} is not on device {shown}", spec.id);
                Err(Fault::Failed(Rejection::new(ErrorCode::VolumeUnavailable, text)))
            },
        }
    }

    fn free(&self) -> Result<Bytes, Fault> {
        let (handle, header) = self.verified()?;
        Ok(if header.volume.is_some() { Bytes::default() } else { handle.room() })
    }
}

fn without_access(spec: &VolumeSpec) -> Rejection {
    let text =
        format!("volume {} ({}) is a raw device, without owner and mode", spec.name, spec.id);
    Rejection::new(ErrorCode::Unsupported, text)
        .remedy("leave them out: the task's user gets a device of its own")
}
