//! GROW and SHRINK of an image: the file, its device and the file system in it, then the marker.
//!
//! Growing allocates first, so that the size holds; shrinking gives back last, so that the file system never ends
//! behind its device. Invariant: the file is never cut shorter than its file system is, whatever an earlier attempt had
//! begun.

use super::super::driver::{Fault, Found};
use super::super::look::Here;
use super::OnDisk;
use crate::disk::adopt::Handle;
use crate::disk::image::device::Device;
use crate::disk::image::{Format, grow};
use crate::disk::marker;
use berth_agent_core::effect::Place;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A mounted image that is given another size.
struct Image<'a> {
    kind: Format,
    root: BorrowedFd<'a>,
    file: &'a OwnedFd,
    device: &'a Device,
    /// What its file system takes of the device.
    holds: u64,
}

impl Image<'_> {
    /// Nothing was changed. Said for certain only when it has the size that it had for the ledger.
    fn unchanged(&self, spec: &VolumeSpec, reason: Rejection) -> Fault {
        if self.holds <= spec.size.get() { Fault::Failed(reason) } else { Fault::Unclear(reason) }
    }

    /// Cuts or lengthens file and device; what is added is not allocated.
    fn set_length(&self, bytes: u64) -> Result<(), Errno> {
        assert!(bytes >= self.holds, "a file of {} is cut to {bytes}", self.holds);
        rustix::fs::ftruncate(self.file, bytes)?;
        self.device.read_size()
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
        let Some(device) = self.device_shown(&root, &file, kind).map_err(unclear)? else {
            return Err(unclear(Errno::NODEV));
        };
        let top = root.descriptor().map_err(unclear)?;
        let holds = grow::size(top, &device, kind).map_err(unclear)?;
        let image = Image { kind, root: top, file: &file, device: &device, holds };
        if size.get() >= holds {
            self.grow_image(spec, size, &image)?;
        } else {
            self.shrink_image(spec, size, &image)?;
        }
        rustix::fs::syncfs(image.root).and_then(|()| rustix::fs::fsync(&file)).map_err(unclear)?;
        let mut identity = here.identity.clone();
        identity.size = size;
        marker::write(&handle.meta, &spec.id.to_string(), &identity.encode())
            .map_err(self.unclear(spec, "resizing"))?;
        Ok(self.found(&Here { identity, ..here }, Place::Live))
    }

    fn grow_image(&self, spec: &VolumeSpec, size: Bytes, image: &Image<'_>) -> Result<(), Fault> {
        let unclear = |errno| self.image_unclear("growing", spec.id, errno);
        let length = rustix::fs::fstat(image.file).map_err(unclear)?.st_size;
        let length = u64::try_from(length).unwrap_or(0);
        if length > size.get() {
            // An earlier attempt allocated more and got no further.
            image.set_length(size.get()).map_err(unclear)?;
        }
        let extended = rustix::fs::fallocate(image.file, FallocateFlags::empty(), 0, size.get())
            .and_then(|()| image.device.read_size())
            .and_then(|()| grow::grow(image.root, image.kind, size.get()));
        let Err(errno) = extended else { return Ok(()) };
        // What was allocated goes back, if the file system is as it was.
        let back = grow::size(image.root, image.device, image.kind).and_then(|holds| {
            image.set_length(holds.max(image.holds).max(spec.size.get().min(length)))
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
            Ok(()) => image.unchanged(spec, reason),
            Err(_second) => Fault::Unclear(reason),
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
        rustix::fs::syncfs(image.root).map_err(unclear)?;
        let stat = rustix::fs::fstatvfs(image.root).map_err(unclear)?;
        let blocks = stat.f_blocks.saturating_sub(stat.f_bfree);
        let used = Bytes::new(blocks.saturating_mul(stat.f_frsize));
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
        grow::resize_btrfs(image.root, size.get()).map_err(|errno| match errno {
            Errno::NOSPC => too_full(),
            other => unclear(other),
        })?;
        rustix::fs::syncfs(image.root).map_err(unclear)?;
        let image = Image { holds: size.get(), ..*image };
        image.set_length(size.get()).map_err(unclear)
    }
}
