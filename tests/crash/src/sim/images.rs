//! Files with file systems in them: attached, formatted, mounted, given another size.
//!
//! A device stays attached as long as a handle or a mount of it is there. Making a file system is two calls, so that the
//! machine can stop between them. Not modelled: the directories that mount points are, which are made again when
//! they are needed.

use super::calls::{Handle, nothing, shown, text};
use super::change::Change;
use super::device::{Device, Mounted, model_of};
use super::storage::Storage;
use super::tree::{Content, Inode, Medium, Number, ROOT, Tree};
use super::{Call, SimFs, State};
use berth_agent::disk::fs::image::{Block, Filled, Images, Unseen};
use berth_agent::disk::fs::{Calls, Node, Raw, Site};
use berth_agent::disk::image::Format;
use berth_agent::disk::image::lock::Key;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;
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

/// An attribute that no one else uses: by which key the root is encrypted; empty as long as it could be.
pub const LOCK: &str = "zz.encrypted_by";

/// A file system as the tools make it.
fn fresh(format: Format, size: u64, encrypts: bool) -> Tree {
    let mut tree = Tree::default();
    tree.apply(&Change::Limit { number: ROOT, bytes: Some(size) });
    if format == Format::Ext4 {
        let content = Content::Directory(BTreeMap::new());
        let inode = Box::new(Inode::new(content, 0o700, ROOT));
        let name = "lost+found".to_owned();
        tree.apply(&Change::Make { dir: ROOT, name, number: ROOT + 1, inode });
    }
    if encrypts {
        let (name, value) = (LOCK.to_owned(), Vec::new());
        tree.apply(&Change::Attribute { number: ROOT, name, value });
    }
    tree
}

impl State {
    fn device(&mut self, file: Number) -> Result<&mut Device, Errno> {
        self.storage.devices.get_mut(&file).ok_or(Errno::NXIO)
    }

    fn write_blocks(&mut self, file: Number, medium: Medium) {
        let medium = Arc::new(medium);
        self.storage.change(Change::Blocks { number: file, medium, is_journaled: false });
    }
}

/// An attached file, held.
#[derive(Debug)]
struct Held {
    files: SimFs,
    file: Number,
}

impl Held {
    fn boxed(files: &SimFs, file: Number) -> Box<dyn Block> {
        Box::new(Self { files: files.clone(), file })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.files.state();
        if let Ok(device) = state.device(self.file) {
            device.holders = device.holders.saturating_sub(1);
        }
        state.storage.let_go(self.file, false);
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

impl Block for Held {
    fn number(&self) -> u32 {
        u32::try_from(self.file).unwrap_or(u32::MAX)
    }

    fn read_size(&self, site: Site) -> Result<(), Errno> {
        self.files.perform(None, site, (Call::ReadSize, &nothing), |state| {
            let size = state.storage.seen().lengths(self.file).0;
            state.device(self.file)?.size = size;
            Ok(())
        })
    }

    fn format(&self, site: Site, format: Format, encrypts: bool) -> Result<(), String> {
        let begins = || "begins".to_owned();
        let made = self
            .files
            .perform(None, site, (Call::Format, &begins), |state| {
                state.write_blocks(self.file, Medium::Torn);
                Ok(())
            })
            .and_then(|()| {
                self.files.perform(None, site, (Call::Format, &nothing), |state| {
                    let size = state.device(self.file)?.size;
                    let tree = fresh(format, size, encrypts);
                    state.write_blocks(self.file, Medium::Whole { format, tree });
                    Ok(())
                })
            });
        made.map_err(|errno| format!("making {format} failed ({errno})"))
    }

    fn renew(&self, site: Site, format: Format) -> Result<(), String> {
        let begins = || "begins".to_owned();
        let renewed = self
            .files
            .perform(None, site, (Call::Renew, &begins), |state| {
                if state.device(self.file)?.mounted.is_some() {
                    return Err(Errno::BUSY);
                }
                let medium = state.storage.seen().medium(self.file).ok_or(Errno::INVAL)?;
                state.write_blocks(self.file, Medium::Torn);
                Ok(medium)
            })
            .and_then(|medium| {
                self.files.perform(None, site, (Call::Renew, &nothing), |state| {
                    match &*medium {
                        Medium::Whole { format: found, .. } if *found == format => {},
                        Medium::Whole { .. } | Medium::Blank | Medium::Torn => {
                            return Err(Errno::INVAL);
                        },
                    }
                    state.write_blocks(self.file, (*medium).clone());
                    Ok(())
                })
            });
        renewed.map_err(|errno| format!("giving {format} another uuid failed ({errno})"))
    }

    fn mount(&self, site: Site, format: Format) -> Result<Box<dyn Unseen>, String> {
        let mounted = self.files.perform(None, site, (Call::Mount, &nothing), |state| {
            let medium = state.storage.seen().medium(self.file).ok_or(Errno::INVAL)?;
            let device = state.device(self.file)?;
            match &*medium {
                Medium::Whole { format: found, tree }
                    if *found == format && medium.size() <= device.size =>
                {
                    let storage = Box::new(Storage::new(model_of(format), tree.clone()));
                    let frozen = false;
                    device.mounted = Some(Mounted { format, storage, name: None, frozen });
                    Ok(())
                },
                Medium::Whole { .. } | Medium::Blank | Medium::Torn => Err(Errno::INVAL),
            }
        });
        mounted.map_err(|errno| format!("mounting {format} failed ({errno})"))?;
        let root = Node::from(self.files.handle(Some(self.file), ROOT));
        Ok(Box::new(Hidden { files: self.files.clone(), file: self.file, root }))
    }

    fn holds(&self, site: Site, _root: Raw<'_>, _format: Format) -> Result<u64, Errno> {
        self.files.perform(Some(self.file), site, (Call::Holds, &nothing), |state| {
            Ok(state.inode(ROOT)?.limit.unwrap_or_default())
        })
    }
}

/// A mount that nobody sees.
#[derive(Debug)]
struct Hidden {
    files: SimFs,
    file: Number,
    root: Node,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let mut state = self.files.state();
        let name =
            state.device(self.file).ok().and_then(|device| device.mounted.as_ref()?.name.as_ref());
        if name.is_none() {
            state.storage.unmount(self.file);
            state.storage.let_go(self.file, false);
        }
    }
}

impl Unseen for Hidden {
    fn root(&self) -> &Node {
        &self.root
    }

    // The directory in it that is encrypted stands for the root: nothing else is ever in that.
    fn encrypt(self: Box<Self>, site: Site, key: &Key) -> Result<Box<dyn Unseen>, Errno> {
        self.files.perform(Some(self.file), site, (Call::Encrypt, &nothing), |state| {
            match state.inode(ROOT)?.attributes.get(LOCK) {
                None => return Err(Errno::OPNOTSUPP),
                Some(by) if !by.is_empty() => return Err(Errno::EXIST),
                Some(_nobody) => {},
            }
            let lost = state.inode(ROOT)?.entries().and_then(|all| all.get("lost+found")).copied();
            if let Some(number) = lost {
                let name = "lost+found".to_owned();
                state.storage.change(Change::Remove { dir: ROOT, name, number });
            }
            let (name, value) = (LOCK.to_owned(), key.bytes().to_vec());
            state.storage.change(Change::Attribute { number: ROOT, name, value });
            Ok(())
        })?;
        Ok(self)
    }

    fn open_with(self: Box<Self>, site: Site, key: &Key) -> Result<Box<dyn Unseen>, Errno> {
        self.files.perform(
            Some(self.file),
            site,
            (Call::OpenWith, &nothing),
            |state| match state.inode(ROOT)?.attributes.get(LOCK) {
                None => Err(Errno::NOENT),
                Some(by) if by.is_empty() => Err(Errno::NOENT),
                Some(by) if by == key.bytes() => Ok(()),
                Some(_other) => Err(Errno::KEYREJECTED),
            },
        )?;
        Ok(self)
    }

    fn put(self: Box<Self>, site: Site, _disk: Raw<'_>, name: &str) -> Result<Node, Errno> {
        let arguments = || name.to_owned();
        self.files.perform(None, site, (Call::Put, &arguments), |state| {
            if state.storage.shown(name).is_some() {
                return Err(Errno::BUSY);
            }
            let mounted = state.device(self.file)?.mounted.as_mut().ok_or(Errno::STALE)?;
            mounted.name = Some(name.to_owned());
            Ok(())
        })?;
        Ok(Node::from(self.files.handle(Some(self.file), ROOT)))
    }
}
