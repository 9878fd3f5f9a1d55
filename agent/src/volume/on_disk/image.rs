//! Volumes that are a file system in a file, once they are made: mounted while they are live, unmounted
//! and detached before they go to the trash.
//!
//! The directory `volumes/<uuid>` is as for every driver and holds one file; what tasks see is mounted at
//! `.mounts/<uuid>` below the disk's root. Invariants: the file is allocated to the volume's size, so no other writer
//! can take its room; a file system is shown only after its own root was found to carry the volume's identity; the file
//! is attached once; nothing is moved or deleted while it is attached.

use super::super::driver::Fault;
use super::super::identity::{self, Identity};
use super::super::look::Here;
use super::OnDisk;
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::fs::image::{Filled, Mounted};
use crate::disk::image::Format;
use crate::disk::image::device::FILE;
use crate::disk::image::point;
use crate::disk::image::trial::no_device;
use crate::disk::remove::volume_attribute;
use crate::disk::{code_of, is_broken};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::VolumeId;
use berth_model::units::Bytes;
use berth_model::usage::Measured;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time between starting a process and its own program.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(1);
/// Whoever looks at new devices (udev does) holds them for a moment.
const DETACH_PATIENCE: Duration = Duration::from_secs(3);

impl OnDisk {
    /// The file system of a live volume, mounted and verified: found, or mounted again after a restart.
    pub(super) fn activate(
        &self,
        handle: &Handle,
        here: &Here,
        kind: Format,
    ) -> Result<Node, Fault> {
        let _alone = self.one_at_a_time();
        self.show(handle, here, kind)
    }

    fn show(&self, handle: &Handle, here: &Here, kind: Format) -> Result<Node, Fault> {
        let id = here.identity.id;
        if let Some(reason) = self.unsynced().get(&id) {
            return Err(Fault::Unclear(reason.clone()));
        }
        let file = self.file(here)?;
        let unclear = |errno| self.image_unclear("mounting", id, errno);
        self.thaw_left(handle, id, Some(&file)).map_err(unclear)?;
        let name = id.to_string();
        if let Some(root) = handle.root.shown(&name).map_err(unclear)? {
            return match root.device(&file, kind).map_err(unclear)? {
                Some(_device) => self.verified(&root, &here.identity).map(|()| root),
                None => {
                    Err(foreign(id, &self.shown_at(id), "another file system is mounted there"))
                },
            };
        }
        let device = file.attach().map_err(|errno| unavailable(id, &no_device(errno), errno))?;
        // The file may have another size than when it was attached by somebody else.
        device.read_size().map_err(unclear)?;
        let mounted = device.mount(kind).map_err(|said| {
            let text = format!("volume {id} is not available: {said}");
            Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text).remedy(
                "check its file system by hand (losetup, then fsck or xfs_repair); it is left as it is",
            ))
        })?;
        let mounted = self.opened(mounted, &here.identity)?;
        self.verified(mounted.root(), &here.identity)?;
        // It may have been mounted, and frozen, where nobody sees it; before anything is written.
        self.thaw_at(handle, id, mounted.root()).map_err(unclear)?;
        self.refresh_identity(&mounted, &here.identity).map_err(unclear)?;
        mounted.put(&handle.root, &name).map_err(unclear)
    }

    /// What an encrypted volume's image shows is what its key opens.
    fn opened(&self, mounted: Mounted, identity: &Identity) -> Result<Mounted, Fault> {
        if !identity.encrypted {
            return Ok(mounted);
        }
        let id = identity.id;
        let key = self.keys.find(id).map_err(Fault::Unclear)?;
        mounted.open_with(&key).map_err(|errno| match errno {
            Errno::KEYREJECTED => {
                let text = format!("the key of volume {id} is not the one that it was encrypted by");
                Fault::Unclear(
                    Rejection::new(ErrorCode::VolumeUnavailable, text)
                        .remedy("put the right one back from your copy of the keys; the data are left as they are"),
                )
            },
            Errno::NOENT => foreign(id, &self.shown_at(id), "its file system holds nothing that is encrypted"),
            errno => self.image_unclear("giving the key to the file system of", id, errno),
        })
    }

    /// Unmounts and detaches a volume that is to be moved. One that is in use stays as it is.
    pub(super) fn deactivate(
        &self,
        handle: &Handle,
        here: &Here,
        kind: Format,
    ) -> Result<(), Fault> {
        let _alone = self.one_at_a_time();
        let id = here.identity.id;
        let file = self.file(here)?;
        let name = id.to_string();
        let unclear = |errno| self.image_unclear("unmounting", id, errno);
        self.thaw_left(handle, id, Some(&file)).map_err(unclear)?;
        if let Some(root) = handle.root.shown(&name).map_err(unclear)? {
            if root.device(&file, kind).map_err(unclear)?.is_none() {
                return Err(foreign(
                    id,
                    &self.shown_at(id),
                    "another file system is mounted there",
                ));
            }
            let own = self.shown_at(id);
            let elsewhere: Vec<String> = root
                .mounts()
                .map_err(|error| unavailable(id, &error.to_string(), Errno::IO))?
                .into_iter()
                .filter(|point| *point != own.to_string_lossy())
                .collect();
            if !elsewhere.is_empty() {
                return Err(in_use(id, &format!("mounted at {}", elsewhere.join(", "))));
            }
        }
        match unmount(handle, &name) {
            Ok(()) => {},
            Err(Errno::BUSY) => {
                return Err(in_use(id, &format!("in use at {}", self.shown_at(id).display())));
            },
            Err(errno) => return Err(unclear(errno)),
        }
        if self.is_detached(&file).map_err(unclear)? {
            return Ok(());
        }
        // Somebody holds it where this process does not see it: it is live as it was.
        let number = file.attached().map_err(unclear)?.map(|device| device.number());
        let holders = number.map(holders).unwrap_or_default();
        drop(self.show(handle, here, kind)?);
        Err(in_use(id, &holders))
    }

    /// An image in the trash is deleted only while nobody has it attached.
    pub(super) fn refuse_attached(&self, here: &Here) -> Result<(), Fault> {
        let id = here.identity.id;
        let file = match self.file(here) {
            Ok(file) => file,
            // An interrupted deletion got this far.
            Err(Fault::Foreign(_gone)) => return Ok(()),
            Err(other) => return Err(other),
        };
        let unclear = |errno| self.image_unclear("looking for", id, errno);
        if self.is_detached(&file).map_err(unclear)? {
            return Ok(());
        }
        let number = file.attached().map_err(unclear)?.map(|device| device.number());
        Err(in_use(id, &number.map(holders).unwrap_or_default()))
    }

    /// Where a live image is seen.
    pub(super) fn shown_at(&self, id: VolumeId) -> PathBuf {
        self.disk.root().join(point::PLACE).join(id.to_string())
    }

    /// What a live volume holds, or what one in the trash takes from the disk.
    pub(super) fn image_usage(&self, handle: &Handle, here: &Here) -> Result<Measured, Errno> {
        let name = here.identity.id.to_string();
        let Some(root) = handle.root.shown(&name)? else {
            return here.directory.allocated(FILE).map(|bytes| Measured::of(Bytes::new(bytes)));
        };
        let Filled { bytes, inodes } = root.in_use()?;
        let (inodes, inodes_limit) = inodes.unzip();
        Ok(Measured { bytes: Bytes::new(bytes), inodes, inodes_limit })
    }

    pub(super) fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.mounting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image of a verified directory.
    pub(super) fn file(&self, here: &Here) -> Result<Node, Fault> {
        match here.directory.file(FILE) {
            Ok(file) => Ok(file),
            Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR) => {
                let place = self.disk.root().join("volumes").join(&here.entry).join(FILE);
                Err(foreign(here.identity.id, &place, "it is missing or no file"))
            },
            Err(errno) => Err(self.image_unclear("opening", here.identity.id, errno)),
        }
    }

    /// Does the root of the file system say that it is this volume? Its generation may be an earlier one: it is
    /// written when the volume is mounted.
    fn verified(&self, root: &Node, expected: &Identity) -> Result<(), Fault> {
        let id = expected.id;
        let wrong = |evidence: &str| Err(foreign(id, &self.shown_at(id), evidence));
        let value = volume_attribute(root)
            .map_err(|errno| self.image_unclear("reading the identity of", id, errno))?;
        let Some(value) = value else { return wrong("the file system carries no identity") };
        match identity::read_attribute(&value) {
            Err(error) => wrong(&format!("the file system's identity is damaged: {error}")),
            Ok((found, ..)) if found != id => {
                wrong(&format!("the file system says it is volume {found}"))
            },
            Ok((_id, _generation, agent, disk))
                if (agent, disk) != (expected.home.agent, expected.home.disk) =>
            {
                wrong(&format!("the file system says it belongs to disk {disk} of agent {agent}"))
            },
            Ok((_id, generation, ..)) if generation > expected.generation => {
                wrong(&format!("the file system says it is generation {generation}"))
            },
            Ok(_matching) => Ok(()),
        }
    }

    fn refresh_identity(&self, mounted: &Mounted, identity: &Identity) -> Result<(), Errno> {
        let now = identity.attribute();
        if volume_attribute(mounted.root())?.as_deref() == Some(now.as_bytes()) {
            return Ok(());
        }
        // Not synced: one of an earlier life is as good, and is written again whenever it is mounted.
        identity::write_attribute(mounted.root(), identity).map(drop)
    }

    fn unsynced(&self) -> MutexGuard<'_, BTreeMap<VolumeId, Rejection>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sync of the volume's own file system failed. It is withheld: the next sync would say that all is well.
    pub(super) fn not_synced(&self, id: VolumeId, errno: Errno) -> Fault {
        let text = format!(
            "syncing the file system of volume {id} failed ({errno}): what was written last may be lost"
        );
        let remedy = format!(
            "end its tasks, unmount {}, check the image's file system and the kernel log, then restart the agent",
            self.shown_at(id).display()
        );
        let reason = Rejection::new(ErrorCode::VolumeUnavailable, text).remedy(remedy);
        self.unsynced().insert(id, reason.clone());
        Fault::Unclear(reason)
    }

    /// Waits for the last user of a device that is being given up.
    fn is_detached(&self, file: &Node) -> Result<bool, Errno> {
        let start = Instant::now();
        loop {
            match file.attached()? {
                None => return Ok(true),
                // Closing it may have been what it waited for.
                Some(device) => drop(device),
            }
            if start.elapsed() > DETACH_PATIENCE {
                return Ok(false);
            }
            pause();
        }
    }

    /// What a failed call on the file or its directory means, which lie on the disk.
    pub(super) fn file_failed(&self, doing: &str, errno: Errno) -> Rejection {
        let reason = self.image_failed(doing, errno);
        self.withhold(&reason, errno);
        reason
    }

    /// What a failed call on the device or on the file system in the image means: the disk goes on.
    pub(super) fn image_failed(&self, doing: &str, errno: Errno) -> Rejection {
        let root = self.disk.root().display();
        let text = format!("{doing} on disk {root} failed ({errno})");
        let reason = Rejection::new(code_of(errno), text);
        match errno {
            Errno::NOSPC | Errno::DQUOT => reason.remedy("free space on the disk"),
            Errno::OPNOTSUPP => reason.remedy("declare the disk with another driver"),
            Errno::PERM | Errno::ACCESS => reason.remedy("run the agent as root"),
            errno if is_broken(errno) => reason
                .remedy("look into the kernel log; check the disk, then the image's file system"),
            _other => reason,
        }
    }

    pub(super) fn image_unclear(&self, doing: &str, id: VolumeId, errno: Errno) -> Fault {
        let reason = self.image_failed(&format!("{doing} volume {id}"), errno);
        Fault::Unclear(Rejection { code: ErrorCode::VolumeUnavailable, ..reason })
    }
}

/// Unmounts what nobody uses. A process that is just being started holds the handles of its parent for a moment.
fn unmount(handle: &Handle, name: &str) -> Result<(), Errno> {
    let start = Instant::now();
    loop {
        match handle.root.unmount(name) {
            Err(Errno::BUSY) if start.elapsed() < UNMOUNT_PATIENCE => pause(),
            done => return done,
        }
    }
}

fn pause() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a thread that may block waits for another process"
    )]
    std::thread::sleep(Duration::from_millis(10));
}

fn foreign(id: VolumeId, place: &std::path::Path, evidence: &str) -> Fault {
    let text = format!("{} is not volume {id}: {evidence}", place.display());
    Fault::Foreign(
        Rejection::new(ErrorCode::VolumeUnavailable, text)
            .remedy("it is left as it is; put the volume's own image back in its place"),
    )
}

fn unavailable(id: VolumeId, why: &str, errno: Errno) -> Fault {
    let code = match errno {
        Errno::PERM | Errno::ACCESS => ErrorCode::NotPrivileged,
        _other => ErrorCode::VolumeUnavailable,
    };
    Fault::Unclear(Rejection::new(code, format!("volume {id} is not available: {why}")))
}

fn in_use(id: VolumeId, how: &str) -> Fault {
    Fault::Failed(
        Rejection::new(ErrorCode::VolumeInUse, format!("volume {id} is {how}"))
            .remedy("unmount it there; until then it is left as it is"),
    )
}

/// Who has a loop device mounted where this process does not see it.
fn holders(number: u32) -> String {
    let source = format!("/dev/loop{number}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let table = std::fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
        if table.lines().any(|line| line.split(' ').any(|word| word == source)) {
            found.push(pid.to_string());
            if found.len() == 5 {
                break;
            }
        }
    }
    if found.is_empty() {
        return format!("still attached as {source}");
    }
    format!("mounted in the mount namespace of process {}", found.join(", "))
}
