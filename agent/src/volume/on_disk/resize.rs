//! GROW and SHRINK of an image: the file, its device and the file system in it, then the marker.
//!
//! Growing allocates first, so that the size holds; shrinking gives back last, so that the file system never ends
//! behind its device. Asked again after a crash at any step it completes; what cannot be done leaves the volume at the
//! size it had.

use super::super::driver::{Fault, Found};
use super::super::look::{self, Here, Target, look};
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
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// A mounted image that is given another size.
struct Image<'a> {
    kind: Format,
    root: BorrowedFd<'a>,
    file: &'a OwnedFd,
    device: &'a Device,
}

impl OnDisk {
    /// Gives a live image another size while it is used. `spec` is as the ledger has it, `size` what is wanted.
    ///
    /// # Errors
    /// See [`Fault`]. A shrink below what the volume holds is refused with both numbers.
    pub fn resize_image(&self, spec: &VolumeSpec, size: Bytes) -> Result<Found, Fault> {
        let handle = self.disk.writable().map_err(Fault::Unclear)?;
        let Some(here) = self.live_in_either_size(&handle, spec, size)? else {
            let text = format!("volume {} is not on disk {}", spec.id, self.disk.root().display());
            return Err(Fault::Unclear(Rejection::new(ErrorCode::VolumeUnavailable, text)));
        };
        let Some(kind) = here.identity.driver.image() else {
            return Err(refused(spec, "its driver keeps no file system of its own"));
        };
        if size.get() < kind.least() {
            let least = Bytes::new(kind.least());
            return Err(refused(spec, &format!("{size} is asked, {kind} needs {least}")));
        }
        let root = self.activate(&handle, &here, kind)?;
        let file = self.file(&here)?;
        let unclear = |errno| self.image_unclear("resizing", spec.id, errno);
        let Some(device) = self.device_shown(&root, &file, kind).map_err(unclear)? else {
            return Err(unclear(Errno::NODEV));
        };
        let image = Image { kind, root: root.as_fd(), file: &file, device: &device };
        if size >= spec.size {
            self.grow_image(spec, size, &image)?;
        } else {
            self.shrink_image(spec, size, &image)?;
        }
        rustix::fs::syncfs(image.root).and_then(|()| rustix::fs::fsync(&file)).map_err(unclear)?;
        let mut identity = here.identity.clone();
        identity.size = size;
        marker::write(handle.meta.as_fd(), &spec.id.to_string(), &identity.encode())
            .map_err(self.unclear(spec, "resizing"))?;
        Ok(self.found(&Here { identity, ..here }, Place::Live))
    }

    /// A crash may have come before or after the marker got the new size.
    fn live_in_either_size(
        &self,
        handle: &Handle,
        spec: &VolumeSpec,
        size: Bytes,
    ) -> Result<Option<Here>, Fault> {
        let marked = look::read_marker(&self.disk, handle, spec.id)?.map(|identity| identity.size);
        let spec =
            if marked == Some(size) { VolumeSpec { size, ..spec.clone() } } else { spec.clone() };
        look(&self.disk, handle, &spec, Target::live(&spec))
    }

    fn grow_image(&self, spec: &VolumeSpec, size: Bytes, image: &Image<'_>) -> Result<(), Fault> {
        let extended = rustix::fs::fallocate(image.file, FallocateFlags::empty(), 0, size.get())
            .and_then(|()| image.device.read_size())
            .and_then(|()| grow::grow(image.root, image.kind, size.get()));
        let Err(errno) = extended else { return Ok(()) };
        // What was allocated goes back; the file system still has its old size.
        let back = rustix::fs::ftruncate(image.file, spec.size.get())
            .and_then(|()| image.device.read_size());
        let root = self.disk.root().display();
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
            "growing volume {} on disk {root} from {} to {size} failed ({errno})",
            spec.id, spec.size
        );
        let reason = Rejection::new(code, text).remedy(remedy);
        Err(match back {
            Ok(()) => Fault::Failed(reason),
            Err(_second) => Fault::Unclear(reason),
        })
    }

    fn shrink_image(&self, spec: &VolumeSpec, size: Bytes, image: &Image<'_>) -> Result<(), Fault> {
        let unclear = |errno| self.image_unclear("shrinking", spec.id, errno);
        match image.kind {
            Format::Btrfs => {},
            Format::Xfs => return Err(refused(spec, "XFS does not shrink")),
            Format::Ext4 => return Err(refused(spec, "ext4 does not shrink while it is mounted")),
        }
        let (_path, now) = grow::btrfs_device(image.root).map_err(unclear)?;
        if now > size.get() {
            rustix::fs::syncfs(image.root).map_err(unclear)?;
            let stat = rustix::fs::fstatvfs(image.root).map_err(unclear)?;
            let blocks = stat.f_blocks.saturating_sub(stat.f_bfree);
            let used = Bytes::new(blocks.saturating_mul(stat.f_frsize));
            if used > size {
                return Err(holds_more(spec, size, used));
            }
            grow::resize_btrfs(image.root, size.get()).map_err(|errno| match errno {
                Errno::NOSPC => holds_more(spec, size, used),
                other => unclear(other),
            })?;
            rustix::fs::syncfs(image.root).map_err(unclear)?;
        }
        rustix::fs::ftruncate(image.file, size.get())
            .and_then(|()| image.device.read_size())
            .map_err(unclear)
    }
}

fn holds_more(spec: &VolumeSpec, size: Bytes, used: Bytes) -> Fault {
    let text = format!(
        "volume {} cannot shrink from {} to {size}: it holds {used}, its file system's own data included",
        spec.id, spec.size
    );
    Fault::Failed(
        Rejection::new(ErrorCode::InvalidArgument, text)
            .remedy("delete data in it, or ask for a larger size")
            .field("size"),
    )
}

fn refused(spec: &VolumeSpec, why: &str) -> Fault {
    let text = format!("volume {} stays at {}: {why}", spec.id, spec.size);
    Fault::Failed(
        Rejection::new(ErrorCode::Unsupported, text)
            .remedy("create a volume of the wanted size and copy the data"),
    )
}
