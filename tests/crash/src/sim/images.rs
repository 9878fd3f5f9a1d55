//! Files with file systems in them: attached, formatted, mounted, given another size.
//!
//! A device stays attached as long as a handle or a mount of it is there (`attached`). Making a file system is two calls, so that the
//! machine can stop between them. Not modelled: the directories that mount points are, which are made again when
//! they are needed.

use super::attached::Held;
use super::calls::{Handle, nothing, shown, text};
use super::change::Change;
use super::device::Device;
use super::tree::{Number, ROOT};
use super::{Call, State};
use berth_agent::disk::fs::image::{Block, Filled, Images};
use berth_agent::disk::fs::{Calls, Raw, Site};
use berth_agent::disk::image::Format;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

/// What a file system has in use when it is empty.
const OWN: u64 = 1 << 20;
/// A slow copy ends in the end.
const LONG: Duration = Duration::from_secs(10);

fn number(raw: Raw<'_>) -> Result<Number, Errno> {
    match raw {
        Raw::Number(number) => Ok(number),
        Raw::Descriptor(_) => Err(Errno::XDEV),
    }
}

impl Images for Handle {
    fn file(&self, site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno> {
        let number = self.files.perform(self.image, site, (Call::File, &shown(name)), |state| {
            let number = state.entry(self.number, text(name)?)?;
            if state.entries(number).is_ok() { Err(Errno::ISDIR) } else { Ok(number) }
        })?;
        Ok(self.files.handle(self.image, number))
    }

    fn write_in_place(&self, site: Site) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::WriteInPlace, &nothing), |_state| Ok(()))
    }

    fn allocate(&self, site: Site, bytes: u64) -> Result<(), Errno> {
        let arguments = || bytes.to_string();
        self.files.perform(self.image, site, (Call::Allocate, &arguments), |state| {
            let (length, allocated) = state.storage.seen().lengths(self.number);
            let (length, allocated) = (length.max(bytes), allocated.max(bytes));
            state.storage.change(Change::Length { number: self.number, length, allocated });
            Ok(())
        })
    }

    fn set_length(&self, site: Site, bytes: u64) -> Result<(), Errno> {
        let arguments = || bytes.to_string();
        self.files.perform(self.image, site, (Call::SetLength, &arguments), |state| {
            let (length, allocated) = state.storage.seen().lengths(self.number);
            if bytes < length {
                state.shortens(self.number);
            }
            let (number, allocated) = (self.number, allocated.min(bytes));
            state.storage.change(Change::Length { number, length: bytes, allocated });
            Ok(())
        })
    }

    fn length(&self, site: Site) -> Result<u64, Errno> {
        self.ask(site, Call::Length, |state| Ok(state.storage.seen().lengths(self.number).0))
    }

    fn allocated(&self, site: Site, name: &OsStr) -> Result<u64, Errno> {
        self.ask(site, Call::Allocated, |state| {
            let number = state.entry(self.number, text(name)?)?;
            Ok(state.storage.seen().lengths(number).1)
        })
    }

    fn attach(&self, site: Site) -> Result<Box<dyn Block>, Errno> {
        self.files.perform(self.image, site, (Call::Attach, &nothing), |state| {
            let size = state.storage.seen().lengths(self.number).0;
            let fresh = Device { size, holders: 0, mounted: None };
            state.storage.devices.entry(self.number).or_insert(fresh).holders += 1;
            Ok(())
        })?;
        Ok(Held::boxed(&self.files, self.number))
    }

    fn attached(&self, site: Site) -> Result<Option<Box<dyn Block>>, Errno> {
        let found = self.files.perform(self.image, site, (Call::Attached, &nothing), |state| {
            let found = state.device(self.number);
            Ok(found.map(|device| device.holders += 1).is_ok())
        })?;
        Ok(found.then(|| Held::boxed(&self.files, self.number)))
    }

    fn device(
        &self,
        site: Site,
        file: Raw<'_>,
        format: Format,
    ) -> Result<Option<Box<dyn Block>>, Errno> {
        let file = number(file)?;
        let found = self.files.perform(None, site, (Call::Device, &nothing), |state| {
            if self.image != Some(file) {
                return Ok(false);
            }
            let device = state.device(file)?;
            let is_it = device.mounted.as_ref().is_some_and(|mounted| mounted.format == format);
            device.holders += u32::from(is_it);
            Ok(is_it)
        })?;
        Ok(found.then(|| Held::boxed(&self.files, file)))
    }

    fn in_use(&self, site: Site) -> Result<Filled, Errno> {
        // What is not written out yet takes no room so far.
        self.ask(site, Call::InUse, |state| {
            Ok(Filled { bytes: OWN + state.storage.durable().below(ROOT), inodes: None })
        })
    }

    fn give_size(&self, site: Site, format: Format, bytes: u64) -> Result<(), Errno> {
        let arguments = || bytes.to_string();
        let file = self.image.ok_or(Errno::NOTTY)?;
        let device = self.files.state().device(file).map(|device| device.size)?;
        self.files.perform(self.image, site, (Call::GiveSize, &arguments), |state| {
            let now = state.inode(ROOT)?.limit.unwrap_or_default();
            if bytes > device {
                return Err(Errno::INVAL);
            }
            if bytes < now && format != Format::Btrfs {
                return Ok(());
            }
            if bytes < OWN + state.storage.durable().below(ROOT) {
                return Err(Errno::NOSPC);
            }
            if bytes != now {
                state.storage.change(Change::Limit { number: ROOT, bytes: Some(bytes) });
            }
            Ok(())
        })
    }

    fn shown(&self, site: Site, name: &str) -> Result<Option<Box<dyn Calls>>, Errno> {
        let file = self.ask(site, Call::Shown, |state| Ok(state.storage.shown(name)))?;
        Ok(file.map(|file| self.files.handle(Some(file), ROOT)))
    }

    fn share(&self, site: Site, of: Raw<'_>) -> Result<(), Errno> {
        let of = number(of)?;
        let start = Instant::now();
        let waits = |state: &State| state.copies_are_slow && state.storage.is_frozen(of);
        while waits(&self.files.state()) && start.elapsed() < LONG {
            std::thread::yield_now();
        }
        self.files.perform(self.image, site, (Call::Share, &nothing), |state| {
            if !state.has_reflinks {
                return Err(Errno::OPNOTSUPP);
            }
            // What the kernel knows of a device reaches the file first.
            state.storage.flush(of);
            let (length, _allocated) = state.storage.seen().lengths(of);
            let change = Change::Length { number: self.number, length, allocated: length };
            state.storage.change(change);
            if let Some(medium) = state.storage.seen().medium(of) {
                let is_journaled = false;
                state.storage.change(Change::Blocks { number: self.number, medium, is_journaled });
            }
            Ok(())
        })
    }

    // Room has no end here.
    fn shared(&self, site: Site) -> Result<u64, Errno> {
        self.ask(site, Call::Shared, |_state| Ok(0))
    }

    // Freezing writes everything; whatever is written here may be lost.
    fn write_out(&self, site: Site) -> Result<(), Errno> {
        self.ask(site, Call::WriteOut, |_state| Ok(()))
    }

    fn freeze(&self, site: Site) -> Result<(), Errno> {
        let file = self.image.ok_or(Errno::OPNOTSUPP)?;
        self.files.perform(None, site, (Call::Freeze, &nothing), |state| {
            let mounted = state.device(file)?.mounted.as_mut().ok_or(Errno::STALE)?;
            if mounted.frozen {
                return Err(Errno::BUSY);
            }
            mounted.frozen = true;
            mounted.storage.sync_all();
            state.storage.flush(file);
            Ok(())
        })
    }

    fn thaw(&self, site: Site) -> Result<(), Errno> {
        let file = self.image.ok_or(Errno::OPNOTSUPP)?;
        self.files.perform(None, site, (Call::Thaw, &nothing), |state| {
            let mounted = state.device(file)?.mounted.as_mut().ok_or(Errno::STALE)?;
            if !mounted.frozen {
                return Err(Errno::INVAL);
            }
            mounted.frozen = false;
            Ok(())
        })
    }

    fn unmount(&self, site: Site, name: &str) -> Result<(), Errno> {
        let arguments = || name.to_owned();
        self.files.perform(None, site, (Call::Unmount, &arguments), |state| {
            if let Some(file) = state.storage.shown(name) {
                if state.device(file)?.mounted.as_ref().is_some_and(|mounted| mounted.frozen) {
                    // It would stay frozen where nobody reaches it.
                    return Err(Errno::DEADLK);
                }
                state.storage.unmount(file);
                state.storage.let_go(file, false);
            }
            Ok(())
        })
    }
}
