//! CREATE of an image: the file, the file system in it and the volume's identity on its root, all in the unfinished
//! directory that gets its name afterwards.
//!
//! Invariant: what fails or is stopped half way is taken back whole; nobody was given what is in it.

use super::super::content::{Content, Stop};
use super::super::driver::Fault;
use super::super::identity::{self, Binding, Identity};
use super::super::look;
use super::{OnDisk, access, import};
use crate::disk::adopt::Handle;
use crate::disk::fs::Node;
use crate::disk::image::Format;
use crate::disk::image::device::FILE;
use crate::disk::image::lock::NOT_IN_KERNEL;
use crate::disk::image::trial::no_device;
use crate::disk::probe::DriverKind;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::volume::VolumeSpec;
use rustix::io::Errno;

impl OnDisk {
    /// Makes the image of a volume that has its unfinished directory, or takes everything back.
    pub(super) fn fill(
        &self,
        handle: &Handle,
        spec: &VolumeSpec,
        kind: Format,
        content: Option<&mut dyn Content>,
    ) -> Result<(), Fault> {
        let home = look::home(&self.disk, handle);
        let identity = Identity::of(spec, home, DriverKind::Image(kind), Binding::Attribute);
        let entry = look::unfinished_entry(spec.id);
        let made = handle
            .volumes
            .directory(&entry)
            .map_err(|errno| Stop::Content(self.file_failed("opening an unfinished volume", errno)))
            .and_then(|directory| self.build(handle, &directory, spec, &identity, (kind, content)));
        let Err(stop) = made else { return Ok(()) };
        let swept = self.sweep(handle, spec);
        Err(match (stop, swept) {
            (Stop::Content(reason), Ok(())) => Fault::Failed(reason),
            (Stop::Content(reason), Err(_second)) => Fault::Unclear(reason),
            (Stop::Volume { doing, errno }, swept) => {
                let reason = match errno {
                    Errno::NOSPC | Errno::DQUOT => import::too_small(spec, &doing),
                    errno => self.image_failed(&doing, errno),
                };
                if swept.is_ok() { Fault::Failed(reason) } else { Fault::Unclear(reason) }
            },
            (Stop::Stopped, _swept) => Fault::Unclear(import::stopping(spec)),
        })
    }

    /// Makes the image in this directory, marked and synced.
    fn build(
        &self,
        handle: &Handle,
        directory: &Node,
        spec: &VolumeSpec,
        identity: &Identity,
        (kind, content): (Format, Option<&mut dyn Content>),
    ) -> Result<(), Stop> {
        let (id, size) = (identity.id, identity.size.get());
        let failed = |doing: &str| {
            let doing = format!("{doing} the image of volume {id}");
            move |errno| Stop::Content(self.image_failed(&doing, errno))
        };
        let on_disk = |doing: &str| {
            let doing = format!("{doing} the image of volume {id}");
            move |errno| Stop::Content(self.file_failed(&doing, errno))
        };
        let file = directory.create(FILE).map_err(on_disk("making"))?;
        if directory.is_btrfs().map_err(on_disk("making"))? {
            // Otherwise what is allocated would not be what is written to.
            file.write_in_place().map_err(on_disk("making"))?;
        }
        {
            let _alone = self.room_alone();
            self.refuse_promised(handle, size, &format!("volume {id} needs"))
                .map_err(|fault| Stop::Content(fault.rejection().clone()))?;
            file.allocate(size).map_err(on_disk("allocating"))?;
        }
        let unusable = |said: String| {
            let text = format!("making the image of volume {id} failed: {said}");
            let unusable = Rejection::new(ErrorCode::VolumeUnavailable, text);
            Stop::Content(unusable.remedy("see berth disk list for what this disk can do"))
        };
        let device = file.attach().map_err(|errno| unusable(no_device(errno)))?;
        device.format(kind, identity.encrypted).map_err(unusable)?;
        let mounted = device.mount(kind).map_err(unusable)?;
        let mounted = if identity.encrypted {
            let key = self.keys.make(id).map_err(Stop::Content)?;
            mounted.encrypt(&key).map_err(|errno| unusable(not_encrypted(errno)))?
        } else {
            mounted
        };
        let root = mounted.root();
        // A new volume is empty; the check of ext4 makes its directory for finds when it needs one.
        match root.remove_directory("lost+found") {
            Ok(()) | Err(Errno::NOENT) => {},
            Err(errno) => return Err(failed("emptying")(errno)),
        }
        root.set_mode(0o700).map_err(failed("setting the mode of"))?;
        if !identity::write_attribute(root, identity).map_err(failed("marking"))? {
            return Err(unusable("its file system takes no attributes".to_owned()));
        }
        match content {
            Some(content) => self.put_into(root, spec, content)?,
            None => access::give(root, spec.access)
                .and_then(|()| root.sync_file_system())
                .map_err(failed("giving its access to, and syncing"))?,
        }
        file.sync().and_then(|()| directory.sync()).map_err(on_disk("syncing"))
    }

    /// The key of an encrypted volume goes; that of a volume that is not is not looked for.
    pub(super) fn forget_key(&self, identity: &Identity) -> Result<(), Fault> {
        if identity.encrypted {
            self.keys.destroy(identity.id).map_err(Fault::Unclear)
        } else {
            Ok(())
        }
    }

    /// Removes what was begun of an image in an unfinished directory.
    pub(super) fn unbuild(parent: &Node, entry: &str) -> Result<(), Errno> {
        let directory = match parent.directory(entry) {
            Ok(directory) => directory,
            // Something else is in the way, which the caller finds out.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        match directory.unlink(FILE) {
            // It is gone before the marker goes, which says that an image may be there.
            Ok(()) | Err(Errno::NOENT) => directory.sync(),
            Err(Errno::ISDIR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// Why an image could not be encrypted.
fn not_encrypted(errno: Errno) -> String {
    match errno {
        Errno::OPNOTSUPP | Errno::NOTTY => NOT_IN_KERNEL.to_owned(),
        other => format!("encrypting its root failed ({other})"),
    }
}
