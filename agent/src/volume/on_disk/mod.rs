//! The driver of real disks: the sequences of steps by which a volume comes, goes and comes back.
//!
//! Invariants that hold after a crash at any step: (a) a marker that is there means that the volume's directory
//! was there before it: a marker alone is lost data, never a reason to make an empty volume; (b) a directory in
//! `volumes/` under a volume's uuid is complete: limited, bound to its marker, synced; (c) what is deleted lies in
//! the trash, was verified on the handle that is emptied, and its marker goes last; (d) what has lost anything to a
//! deletion carries a name under which no restore finds it.

mod access;
mod derive;
mod derive_image;
mod erase;
mod frozen;
mod image;
mod import;
mod make;
mod make_image;
mod orphan;
mod owed;
mod project;
mod relocate;
mod replaced;
mod resize;
mod resize_image;
mod room;
mod snapshot;
mod snapshot_image;
mod snapshot_look;
mod wipe;

use super::content::{Content, Counter};
use super::driver::{Capabilities, Driver, Fault, Found, Snapshots};
use super::keys::Keys;
use super::look::{self, Here, Target, look};
use super::usage::measure;
use crate::disk::adopt::Handle;
use crate::disk::choice::Choice;
use crate::disk::fs::Node;
use crate::disk::probe::DriverKind;
use crate::disk::rounds::Shared;
use crate::disk::wipe::Wiper;
use crate::disk::{Disk, code_of, is_broken};
use berth_agent_core::effect::Place;
use berth_model::access::Access;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use berth_model::volume::VolumeSpec;
use berth_model::wipe::Wipe;
pub(super) use resize::whole_disk;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Volumes on one real disk.
#[derive(Debug)]
pub struct OnDisk {
    disk: Arc<Disk>,
    /// One image at a time is mounted or unmounted.
    mounting: Mutex<()>,
    /// One at a time asks for room and takes it.
    room: Mutex<()>,
    /// How long the file system of an image stands still at most while it is copied.
    patience: Duration,
    /// Images whose own file system could not be synced: what was written last may be nowhere, whatever a later sync says.
    unsynced: Mutex<BTreeMap<VolumeId, Rejection>>,
    /// Of encrypted volumes.
    keys: Arc<Keys>,
}

impl OnDisk {
    /// The driver of this disk.
    #[must_use]
    pub fn new(disk: Arc<Disk>, keys: Arc<Keys>) -> Self {
        Self {
            disk,
            mounting: Mutex::new(()),
            room: Mutex::new(()),
            patience: frozen::PATIENCE,
            unsynced: Mutex::default(),
            keys,
        }
    }

    /// The same with other keys.
    pub(super) fn set_keys(&mut self, keys: Arc<Keys>) {
        self.keys = keys;
    }

    /// The same with another patience while an image is copied.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// The verified directory of a live volume, for mounting it.
    ///
    /// # Errors
    /// Why the volume must not be used, with the evidence.
    pub fn open(&self, spec: &VolumeSpec) -> Result<OwnedFd, Rejection> {
        let handle = self.disk.writable().map_err(|reason| unavailable(spec, &reason))?;
        match look(&self.disk, &handle, spec, Target::live(spec)) {
            Ok(Some(here)) => {
                let directory = match here.identity.driver.image() {
                    Some(format) => self
                        .activate(&handle, &here, format)
                        .map_err(|fault| unavailable(spec, fault.rejection()))?,
                    None => here.directory,
                };
                descriptor(&directory).map_err(|errno| {
                    let text = format!("opening volume {} failed ({errno})", spec.id);
                    Rejection::new(ErrorCode::VolumeUnavailable, text)
                })
            },
            Ok(None) => {
                let shown = look::path(&self.disk, Place::Live, &spec.id.to_string());
                let reason = format!("volume {} is not at {shown}", spec.id);
                Err(Rejection::new(ErrorCode::VolumeUnavailable, reason)
                    .remedy("nothing was made in its place; look for the data"))
            },
            Err(fault) => Err(unavailable(spec, fault.rejection())),
        }
    }

    /// A live volume can be used: what has a file system of its own is mounted.
    fn ready(&self, handle: &Handle, here: &Here) -> Result<(), Fault> {
        match here.identity.driver.image() {
            Some(format) => self.activate(handle, here, format).map(drop),
            None => Ok(()),
        }
    }

    fn handle(&self) -> Result<Arc<Handle>, Fault> {
        self.disk.writable().map_err(Fault::Unclear)
    }

    fn found(&self, here: &Here, place: Place) -> Found {
        let host_path = match (place, here.identity.driver.image()) {
            (Place::Live, Some(_)) => {
                self.shown_at(here.identity.id).to_string_lossy().into_owned()
            },
            (Place::Live, None) | (Place::Trash, _) => look::path(&self.disk, place, &here.entry),
        };
        Found {
            host_path: Arc::from(host_path.as_str()),
            made_by: capabilities(here.identity.driver),
        }
    }

    /// What a failed call on a volume means. After an error that puts earlier writes in doubt the disk is withheld.
    fn reason(&self, spec: &VolumeSpec, doing: &str, errno: Errno) -> Rejection {
        self.why(&format!("{doing} volume {}", spec.id), errno)
    }

    /// What a failed call on the disk means. After an error that puts earlier writes in doubt the disk is withheld.
    fn why(&self, doing: &str, errno: Errno) -> Rejection {
        let root = self.disk.root().display();
        let text = format!("{doing} on disk {root} failed ({errno})");
        let reason = Rejection::new(code_of(errno), text);
        let reason = match errno {
            Errno::NOSPC | Errno::DQUOT => reason.remedy("free space on the disk"),
            Errno::ROFS => reason.remedy("find out why it is read-only, then remount it writable"),
            Errno::PERM | Errno::ACCESS => reason.remedy("run the agent as root"),
            Errno::SRCH => reason.remedy("mount the disk with project quotas (-o prjquota) again"),
            _other => reason,
        };
        self.withhold(&reason, errno);
        reason
    }

    /// After an error that puts earlier writes in doubt the disk is withheld.
    fn withhold(&self, reason: &Rejection, errno: Errno) {
        if is_broken(errno) {
            self.disk.set_broken(reason.clone().remedy(
                "look into the kernel log, replace or repair the disk, then restart the agent",
            ));
        }
    }

    fn unclear(&self, spec: &VolumeSpec, doing: &'static str) -> impl Fn(Errno) -> Fault {
        move |errno| Fault::Unclear(self.reason(spec, doing, errno))
    }

    /// The disk is withheld. Only when nothing of the volume is on it can that be said for certain.
    fn refused(&self, spec: &VolumeSpec, reason: Rejection) -> Fault {
        let clean = self.disk.readable().ok().and_then(|handle| self.is_clean(&handle, spec).ok());
        if clean == Some(true) { Fault::Failed(reason) } else { Fault::Unclear(reason) }
    }

    fn is_clean(&self, handle: &Handle, spec: &VolumeSpec) -> Result<bool, Errno> {
        let id = spec.id.to_string();
        let mine = |name: &String| name.contains(&id);
        let any = handle.volumes.all_names()?.iter().any(mine)
            || handle.trash.all_names()?.iter().any(mine)
            || handle.meta.exists(&id)?;
        Ok(!any)
    }

    /// The volume in the trash, whole or as what an interrupted deletion left of it.
    fn in_trash(&self, handle: &Handle, spec: &VolumeSpec) -> Result<Option<Here>, Fault> {
        match look(&self.disk, handle, spec, Target::trash(spec))? {
            Some(here) => Ok(Some(here)),
            None => look(&self.disk, handle, spec, Target::going(spec)),
        }
    }

    fn anywhere(&self, handle: &Handle, spec: &VolumeSpec) -> Result<Option<Here>, Fault> {
        match look(&self.disk, handle, spec, Target::live(spec))? {
            Some(here) => Ok(Some(here)),
            None => self.in_trash(handle, spec),
        }
    }

    /// What makes a volume of this size.
    fn kind_for(&self, spec: &VolumeSpec) -> Result<DriverKind, Fault> {
        let usual = || Choice::plain(DriverKind::Directory, String::new());
        let choice = self.disk.choice().unwrap_or_else(usual);
        match spec.encrypted {
            // Without the keys nothing that is begun could be taken back.
            true => self.keys.check().and_then(|()| choice.encrypting(spec.size.get())),
            false => choice.for_size(spec.size.get()),
        }
        .map_err(Fault::Failed)
    }

    fn kind(&self) -> DriverKind {
        self.disk.choice().map_or(DriverKind::Directory, |choice| choice.driver)
    }

    /// Sets the volume's limit, which a crash may have left lifted.
    fn limit(&self, here: &Here) -> Result<(), Errno> {
        match here.identity.driver {
            DriverKind::Directory
            | DriverKind::Image(_)
            | DriverKind::Mount
            | DriverKind::Block => Ok(()),
            DriverKind::Btrfs => here.directory.limit(Some(here.identity.size.get())),
            DriverKind::ProjectQuota => project::enforce(&here.directory, &here.identity),
        }
    }
}

impl Driver for OnDisk {
    fn capabilities(&self) -> Capabilities {
        capabilities(self.kind())
    }

    fn ensure(&self, spec: &VolumeSpec) -> Result<Found, Fault> {
        self.make(spec, None)
    }

    fn import(&self, spec: &VolumeSpec, content: &mut dyn Content) -> Result<Found, Fault> {
        self.make(spec, Some(content))
    }

    fn relocate(&self, spec: &VolumeSpec, to: Place) -> Result<Option<Found>, Fault> {
        let handle = self.handle()?;
        match to {
            Place::Trash => self.to_trash(&handle, spec),
            Place::Live => self.out_of_trash(&handle, spec),
        }
    }

    fn resize(&self, spec: &VolumeSpec, size: Bytes) -> Result<Option<Found>, Fault> {
        self.give_size(spec, size)
    }

    fn set_access(&self, spec: &VolumeSpec, access: Access) -> Result<Option<Found>, Fault> {
        self.give_access(spec, access)
    }

    fn erase(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        self.purge(spec)
    }

    fn survey_wipe(&self, spec: &VolumeSpec, method: Wipe) -> Result<Option<Bytes>, Fault> {
        self.look_before_wipe(spec, method)
    }

    fn wipe(&self, spec: &VolumeSpec, method: Wipe, counter: &Counter) -> Result<bool, Fault> {
        self.wipe_content(spec, Wiper::new(method, counter))
    }

    fn observe(&self, spec: &VolumeSpec, place: Place) -> Result<Option<Found>, Fault> {
        let handle = self.handle()?;
        let here = match place {
            Place::Live => {
                let here = look(&self.disk, &handle, spec, Target::live(spec))?;
                here.as_ref().map_or(Ok(()), |here| self.ready(&handle, here))?;
                here
            },
            Place::Trash => self.in_trash(&handle, spec)?,
        };
        Ok(here.map(|here| self.found(&here, place)))
    }

    fn adopt(&self, spec: &VolumeSpec) -> Result<Option<Found>, Fault> {
        self.take_back_in(spec)
    }

    fn usage(&self, spec: &VolumeSpec) -> Result<Measured, Fault> {
        let handle = self.disk.readable().map_err(Fault::Unclear)?;
        let Some(here) = self.anywhere(&handle, spec)? else {
            let text = format!("volume {} is not on disk {}", spec.id, self.disk.root().display());
            return Err(Fault::Failed(Rejection::new(ErrorCode::VolumeUnavailable, text)));
        };
        let measured = match here.identity.driver.image() {
            Some(_) => self.image_usage(&handle, &here).map_err(|errno| errno.to_string()),
            None => used(&here),
        };
        measured.map_err(|reason| {
            let text = format!("measuring volume {} failed: {reason}", spec.id);
            Fault::Failed(Rejection::new(ErrorCode::VolumeUnavailable, text))
        })
    }

    fn taken(&self, spec: &VolumeSpec) -> Result<Bytes, Fault> {
        self.room_of(spec)
    }

    fn free(&self) -> Result<Bytes, Fault> {
        let handle = self.disk.readable().map_err(Fault::Unclear)?;
        self.nobodys(&handle).map(Bytes::new).map_err(|errno| self.silent(errno))
    }

    // Which volumes can have one depends on what made each, so it is refused when one is taken.
    fn snapshots(&self) -> Result<&dyn Snapshots, Rejection> {
        Ok(self)
    }
}

fn capabilities(kind: DriverKind) -> Capabilities {
    Capabilities { name: kind.as_str(), enforcement: kind.enforcement() }
}

fn unavailable(spec: &VolumeSpec, reason: &Rejection) -> Rejection {
    let text = format!("volume {} is not available: {}", spec.id, reason.message);
    Rejection::new(ErrorCode::VolumeUnavailable, text).remedy(reason.remedy.clone())
}

/// Makes the entries of a directory durable, on behalf of the place that calls it. Subvolumes and their limits are part
/// of the file system's transaction, which only a sync of the file system commits.
#[track_caller]
fn settle(directory: &Node, kind: DriverKind) -> Result<(), Errno> {
    match kind {
        // A limit of a project is in the journal before what is synced here.
        DriverKind::Directory
        | DriverKind::ProjectQuota
        | DriverKind::Image(_)
        | DriverKind::Mount
        | DriverKind::Block => directory.sync(),
        DriverKind::Btrfs => directory.sync_file_system(),
    }
}

/// As [`settle`], for a directory that may hold subvolumes where there are any.
#[track_caller]
fn settle_where(directory: &Node) -> Result<(), Errno> {
    if directory.is_btrfs()? { directory.sync_file_system() } else { directory.sync() }
}

/// Before something that must not be durable without what was done in this directory: on btrfs names become durable in any
/// order. Elsewhere they do in the order in which they were changed.
#[track_caller]
fn settle_order(directory: &Node) -> Result<(), Errno> {
    if directory.is_btrfs()? { directory.sync_file_system() } else { Ok(()) }
}

/// What [`settle`] syncs, for those who do so together.
fn settled(kind: DriverKind) -> Shared {
    match kind {
        DriverKind::Directory
        | DriverKind::ProjectQuota
        | DriverKind::Image(_)
        | DriverKind::Mount
        | DriverKind::Block => Shared::Volumes,
        DriverKind::Btrfs => Shared::FileSystem,
    }
}

/// What a volume without a file system of its own uses, or why that cannot be told.
fn used(here: &Here) -> Result<Measured, String> {
    match here.identity.driver {
        DriverKind::ProjectQuota => {
            project::used(here).map_err(|errno| format!("the quota does not answer ({errno})"))
        },
        kind @ (DriverKind::Directory
        | DriverKind::Btrfs
        | DriverKind::Image(_)
        | DriverKind::Mount
        | DriverKind::Block) => measure(&here.directory, kind),
    }
}

fn descriptor(directory: &Node) -> Result<OwnedFd, Errno> {
    let copy = directory.descriptor()?.try_clone_to_owned();
    copy.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
