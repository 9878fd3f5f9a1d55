//! The content of a volume that is made from a snapshot of an image: a file that shares the blocks of the snapshot's, with a
//! file system that has a uuid of its own, the size that is wanted, and the volume's identity on its root.
//!
//! It is made aside like every such content; nothing here gives it its place. Invariant: what fails half way is deleted
//! whole by whoever asked, and the snapshot is never written.

use super::super::identity::{self, Binding, Identity};
use super::super::look::{self, Here};
use super::derive::{Unmade, aside};
use super::snapshot_image::empty_image;
use super::{OnDisk, access, settle_order};
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::image::Format;
use crate::disk::image::device::FILE;
use crate::disk::image::trial::no_device;
use crate::disk::probe::DriverKind;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

impl OnDisk {
    /// Makes the content aside, complete but for its place.
    pub(super) fn make_image_aside(
        &self,
        handle: &Handle,
        folder: &Node,
        spec: &VolumeSpec,
        (source, kind): (&Node, Format),
        replaced: Option<&Here>,
    ) -> Result<Identity, Unmade> {
        let id = spec.id;
        let on_disk = |errno: Errno| {
            let doing = format!("copying a snapshot to the image of volume {id}");
            Unmade { reason: self.file_failed(&doing, errno), errno }
        };
        let unusable = |said: String| {
            let text = format!("making the image of volume {id} from a snapshot failed: {said}");
            let reason = Rejection::new(ErrorCode::VolumeUnavailable, text)
                .remedy("see berth disk list for what this disk can do");
            Unmade { reason, errno: Errno::INVAL }
        };
        let entry = aside(spec);
        let home = look::home(&self.disk, handle);
        let identity = Identity::of(spec, home, DriverKind::Image(kind), Binding::Attribute);
        let made = folder.make_directory(&entry, 0o700).and_then(|()| {
            let directory = folder.directory(&entry)?;
            if !identity::write_attribute(&directory, &identity)? {
                return Err(Errno::NOTSUP);
            }
            Ok((empty_image(&directory)?, source.file(FILE)?))
        });
        let (file, original) = made.map_err(on_disk)?;
        let has = {
            let _alone = self.room_alone();
            let needed = spec.size.get();
            self.owed_by(replaced)
                .and_then(|back| {
                    self.refuse_full(handle, (needed, back), &format!("volume {id} needs"))
                })
                .map_err(|fault| Unmade {
                    reason: fault.rejection().clone(),
                    errno: Errno::NOSPC,
                })?;
            let taken = file.share(&original).and_then(|()| {
                let has = file.length()?;
                // What was never written is allocated in the original and is a hole here.
                file.allocate(needed)?;
                Ok(has)
            });
            taken.map_err(on_disk)?
        };
        let device = file.attach().map_err(|errno| unusable(no_device(errno)))?;
        match kind {
            // The tools want its journal to be empty, which mounting does.
            Format::Xfs | Format::Ext4 => drop(device.mount(kind).map_err(unusable)?),
            // Two of one uuid cannot be mounted at a time, not even for that; it has none.
            Format::Btrfs => {},
        }
        device.renew(kind).map_err(unusable)?;
        let mounted = device.mount(kind).map_err(unusable)?;
        let root = mounted.root();
        let inside = |errno: Errno| {
            let doing = format!("marking the image of volume {id}");
            Unmade { reason: self.image_failed(&doing, errno), errno: Errno::INVAL }
        };
        if has < spec.size.get() {
            root.give_size(kind, spec.size.get()).map_err(inside)?;
        }
        if !identity::write_attribute(root, &identity).map_err(inside)? {
            return Err(unusable("its file system takes no attributes".to_owned()));
        }
        access::give(root, spec.access).map_err(inside)?;
        root.sync_file_system().map_err(inside)?;
        file.sync().and_then(|()| settle_order(folder)).map_err(on_disk)?;
        Ok(identity)
    }
}
