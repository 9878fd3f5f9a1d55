//! Attached files: formatted, mounted where nobody sees it, encrypted, shown.

use super::calls::nothing;
use super::change::Change;
use super::device::{Device, Mounted, model_of};
use super::storage::Storage;
use super::tree::{Content, Inode, Medium, Number, ROOT, Tree};
use super::{Call, SimFs, State};
use berth_agent::disk::fs::image::{Block, Unseen};
use berth_agent::disk::fs::{Node, Raw, Site};
use berth_agent::disk::image::Format;
use berth_agent::disk::image::lock::Key;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    pub(super) fn device(&mut self, file: Number) -> Result<&mut Device, Errno> {
        self.storage.devices.get_mut(&file).ok_or(Errno::NXIO)
    }

    fn write_blocks(&mut self, file: Number, medium: Medium) {
        let medium = Arc::new(medium);
        self.storage.change(Change::Blocks { number: file, medium, is_journaled: false });
    }
}

/// An attached file, held.
#[derive(Debug)]
pub(super) struct Held {
    files: SimFs,
    file: Number,
}

impl Held {
    pub(super) fn boxed(files: &SimFs, file: Number) -> Box<dyn Block> {
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
