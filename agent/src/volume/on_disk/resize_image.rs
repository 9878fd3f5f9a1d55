//! GROW and SHRINK of an image: the file, its device and the file system in it, then the marker.
//!
//! Growing allocates first, so that the size holds; shrinking gives back last, so that the file system never ends
//! behind its device. Invariant: the file is never cut shorter than its file system is, whatever an earlier attempt had
//! begun.

use super::super::driver::{Fault, Found};
use super::super::look::Here;
use super::OnDisk;
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::fs::image::Device;
use crate::disk::image::Format;
use crate::disk::{is_broken, marker};
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

/// A mounted image that is given another size.
struct Image<'a> {
    kind: Format,
    root: &'a Node,
    file: &'a Node,
    device: &'a Device,
    /// What its file system takes of the device.
    holds: u64,
}

impl Image<'_> {
    /// Nothing was changed. Said for certain only when it has the size that it had for the ledger.
    fn unchanged(&self, spec: &VolumeSpec, reason: Rejection) -> Fault {
        if self.holds <= spec.size.get() { Fault::Failed(reason) } else { Fault::Unclear(reason) }
    }

    /// Cuts or lengthens the file; what is added is not allocated.
    fn set_length(&self, bytes: u64) -> Result<(), Errno> {
        assert!(bytes >= self.holds, "a file of {} is cut to {bytes}", self.holds);
        self.file.set_length(bytes)
    }
}

impl OnDisk {
    /// Gives a live image another size while it is used.
    pub(super) fn resize_image(
        &self,
        handle: &Handle,
        here: Here,
        spec: &VolumeSpec,
        size: Bytes,
        kind: Format,
    ) -> Result<Found, Fault> {
        let root = self.activate(handle, &here, kind)?;
        let file = self.file(&here)?;
        let unclear = |errno| self.image_unclear("resizing", spec.id, errno);
        let Some(device) = root.device(&file, kind).map_err(unclear)? else {
            return Err(unclear(Errno::NODEV));
        };
        let holds = device.holds(&root, kind).map_err(unclear)?;
        let image = Image { kind, root: &root, file: &file, device: &device, holds };
        if size.get() >= holds {
            self.grow_image(handle, spec, size, &image)?;
        } else {
            self.shrink_image(spec, size, &image)?;
        }
        root.sync_file_system().map_err(|errno| self.not_synced(spec.id, errno))?;
        file.sync().map_err(self.unclear(spec, "resizing"))?;
        let mut identity = here.identity.clone();
        identity.size = size;
        marker::write(&handle.meta, &spec.id.to_string(), &identity.encode())
            .map_err(self.unclear(spec, "resizing"))?;
        Ok(self.found(&Here { identity, ..here }, Place::Live))
    }

    fn grow_image(
        &self,
        handle: &Handle,
        spec: &VolumeSpec,
        size: Bytes,
        image: &Image<'_>,
    ) -> Result<(), Fault> {
        let unclear = |errno| self.image_unclear("growing", spec.id, errno);
        let length = image.file.length().map_err(unclear)?;
        if length > size.get() {
            // An earlier attempt allocated more and got no further.
            image.set_length(size.get()).map_err(self.unclear(spec, "growing"))?;
        }
        // What the file system relies on from then on is durable before.
        let allocated = {
            let _alone = self.room_alone();
            let more = size.get().saturating_sub(length);
            self.refuse_promised(handle, more, &format!("growing volume {} needs", spec.id))
                .map_err(|fault| image.unchanged(spec, fault.rejection().clone()))?;
            image.file.allocate(size.get())
        };
        let lengthened = allocated.and_then(|()| image.file.sync());
        let lengthened = lengthened.inspect_err(|errno| {
            drop(self.reason(spec, "growing", *errno));
        });
        let extended = lengthened
            .and_then(|()| image.device.read_size())
            .and_then(|()| image.root.give_size(image.kind, size.get()));
        let Err(errno) = extended else { return Ok(()) };
        // What was allocated goes back, if the file system is as it was.
        let back = image.device.holds(image.root, image.kind).and_then(|holds| {
            let least = holds.max(image.holds).max(spec.size.get().min(length));
            image.set_length(least).and_then(|()| image.file.sync())?;
            image.device.read_size()
        });
        let (code, remedy) = match (errno, image.kind) {
            (Errno::NOSPC | Errno::DQUOT, _) => (ErrorCode::DiskFull, "free space on the disk"),
            (Errno::PERM, Format::Ext4) => (
                ErrorCode::NotPrivileged,
                "give the agent CAP_SYS_RESOURCE, which ext4 wants for growing while it is mounted",
            ),
            (Errno::PERM, Format::Xfs | Format::Btrfs) => {
                (ErrorCode::NotPrivileged, "run the agent as root")
            },
            (_other, _) => (ErrorCode::VolumeUnavailable, "look into the kernel log"),
        };
        let text = format!(
            "growing volume {} ({}) from {} to {size} failed ({errno})",
            spec.name, spec.id, spec.size
        );
        let reason = Rejection::new(code, text).remedy(remedy);
        Err(match back {
            Ok(()) if !is_broken(errno) => image.unchanged(spec, reason),
            Ok(()) | Err(_) => Fault::Unclear(reason),
        })
    }

    fn shrink_image(&self, spec: &VolumeSpec, size: Bytes, image: &Image<'_>) -> Result<(), Fault> {
        let why = match image.kind {
            Format::Btrfs if size.get() < image.kind.least() => {
                Some(format!("btrfs needs {}", Bytes::new(image.kind.least())))
            },
            Format::Btrfs => None,
            Format::Xfs => Some("XFS does not shrink".to_owned()),
            Format::Ext4 => Some("ext4 does not shrink while it is mounted".to_owned()),
        };
        if let Some(why) = why {
            let text = format!("volume {} ({}) cannot get {size}: {why}", spec.name, spec.id);
            let reason = Rejection::new(ErrorCode::Unsupported, text)
                .remedy("create a volume of the wanted size and copy the data");
            return Err(image.unchanged(spec, reason));
        }
        let unclear = |errno| self.image_unclear("shrinking", spec.id, errno);
        image.root.sync_file_system().map_err(|errno| self.not_synced(spec.id, errno))?;
        let used = Bytes::new(image.root.in_use().map_err(unclear)?.bytes);
        let too_full = || {
            let text = format!(
                "volume {} ({}) uses {used}, more than the wanted {size}, its file system's own data counted",
                spec.name, spec.id
            );
            let reason = Rejection::new(ErrorCode::VolumeTooFull, text);
            image.unchanged(spec, reason.remedy("delete data in it first, or choose a larger size"))
        };
        if used > size {
            return Err(too_full());
        }
        image.root.give_size(image.kind, size.get()).map_err(|errno| match errno {
            Errno::NOSPC => too_full(),
            other => unclear(other),
        })?;
        image.root.sync_file_system().map_err(|errno| self.not_synced(spec.id, errno))?;
        let image = Image { holds: size.get(), ..*image };
        image.set_length(size.get()).map_err(self.unclear(spec, "shrinking"))?;
        image.device.read_size().map_err(unclear)
    }
}
