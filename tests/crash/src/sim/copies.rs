//! Copies of trees on the simulated file system.
//!
//! A link is a file whose content is where it leads, told by its mode, and so is a pipe. A second name of a file is a file of
//! its own that knows with which it is one: what a crash does to names is the same, and nobody writes to either. There
//! are no times.

use super::calls::{Handle, nothing, shown, text};
use super::change::Change;
use super::tree::{Content, Inode, Number};
use super::{Call, State};
use berth_agent::disk::fs::copying::{
    Attribute, Copied, Copies, CopyError, Entry, EntryKind, Look, Parts, Told,
};
use berth_agent::disk::fs::{Calls, Raw, Site};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};

const LINK: u32 = 0o120_000;
const PIPE: u32 = 0o010_000;
const KIND: u32 = 0o170_000;

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(17, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
}

fn bytes_of(inode: &Inode) -> Result<&[u8], Errno> {
    match &inode.content {
        Content::File { bytes, .. } => Ok(bytes),
        Content::Directory(_) => Err(Errno::ISDIR),
        Content::Image { .. } => Err(Errno::FBIG),
    }
}

fn kind_of(inode: &Inode) -> EntryKind {
    match (&inode.content, inode.mode & KIND) {
        (Content::Directory(_), _) => EntryKind::Directory,
        (_, LINK) => EntryKind::Link,
        (_, PIPE) => EntryKind::Pipe,
        (Content::File { .. } | Content::Image { .. }, _) => EntryKind::File,
    }
}

impl State {
    /// A part of a file; nothing of what is none.
    pub(super) fn read_file(&self, number: Number, at: u64, length: usize) -> Option<Vec<u8>> {
        let bytes = bytes_of(self.inode(number).ok()?).ok()?;
        let begin = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        Some(bytes[begin..].iter().copied().take(length).collect())
    }

    fn at(&self, number: Number, name: Option<&OsStr>) -> Result<Number, Errno> {
        name.map_or(Ok(number), |name| self.entry(number, text(name)?))
    }
}

impl Copies for Handle {
    fn entry(&self, site: Site, name: Option<&OsStr>) -> Result<Entry, Errno> {
        self.ask(site, Call::Entry, |state| {
            let number = state.at(self.number, name)?;
            let inode = state.inode(number)?;
            let length = bytes_of(inode).map_or(0, |bytes| bytes.len() as u64);
            Ok(Entry {
                kind: kind_of(inode),
                mode: inode.mode & !KIND,
                uid: inode.owner.0,
                gid: inode.owner.1,
                length,
                allocated: length,
                // Any file may have another.
                names: 2,
                device: (0, 1),
                mount: 1,
                inode: inode.twin.unwrap_or(number),
                modified: (0, 0),
                changed: (0, 0),
            })
        })
    }

    fn content(&self, site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno> {
        let number = self.ask(site, Call::Content, |state| {
            let number = state.entry(self.number, text(name)?)?;
            let is_file = kind_of(state.inode(number)?) == EntryKind::File;
            if is_file { Ok(number) } else { Err(Errno::INVAL) }
        })?;
        Ok(self.files.handle(self.image, number))
    }

    fn target(&self, site: Site, name: &OsStr) -> Result<OsString, Errno> {
        self.ask(site, Call::Target, |state| {
            let inode = state.inode(state.entry(self.number, text(name)?)?)?;
            let target = String::from_utf8(bytes_of(inode)?.to_vec());
            target.map(OsString::from).map_err(|_no_text| Errno::ILSEQ)
        })
    }

    fn attributes(&self, site: Site) -> Result<Vec<Attribute>, Errno> {
        self.ask(site, Call::Attributes, |state| {
            let all = &state.inode(self.number)?.attributes;
            Ok(all.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
        })
    }

    fn fill_from(&self, site: Site, from: Raw<'_>, told: Told<'_>) -> Result<Copied, CopyError> {
        let Raw::Number(from) = from else { return Err(CopyError::From(Errno::XDEV)) };
        // What is copied lies on the disk, also when the copy goes into an image.
        let bytes = {
            let state = self.files.state();
            let inode = state.inode(from).map_err(CopyError::From)?;
            bytes_of(inode).map_err(CopyError::From)?.to_vec()
        };
        let copied = Copied { length: bytes.len() as u64, checksum: Some(sum(&bytes)) };
        let filled = self.files.perform(self.image, site, (Call::Fill, &nothing), |state| {
            state.writable(self.number)?;
            state.storage.change(Change::Write { number: self.number, bytes, bulk: 0 });
            Ok(())
        });
        filled.map_err(CopyError::To)?;
        if told(copied.length) { Ok(copied) } else { Err(CopyError::Stopped) }
    }

    fn fill_with(&self, site: Site, length: u64, parts: Parts<'_>) -> Result<Copied, CopyError> {
        let mut bytes = Vec::new();
        while let Some((at, part)) = parts()? {
            let at = usize::try_from(at).map_err(|_large| CopyError::To(Errno::FBIG))?;
            bytes.resize(at, 0);
            bytes.extend(part);
        }
        bytes.resize(usize::try_from(length).map_err(|_large| CopyError::To(Errno::FBIG))?, 0);
        let copied = Copied { length, checksum: Some(sum(&bytes)) };
        let filled = self.files.perform(self.image, site, (Call::Fill, &nothing), |state| {
            state.writable(self.number)?;
            state.storage.change(Change::Write { number: self.number, bytes, bulk: 0 });
            Ok(())
        });
        filled.map_err(CopyError::To)?;
        Ok(copied)
    }

    fn checksum(&self, site: Site, _told: Told<'_>) -> Result<u32, Errno> {
        self.ask(site, Call::Checksum, |state| Ok(sum(bytes_of(state.inode(self.number)?)?)))
    }

    fn make_link(&self, site: Site, name: &OsStr, target: &OsStr) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::MakeLink, &shown(name)), |state| {
            let bytes = text(target)?.as_bytes().to_vec();
            let content = Content::File { bytes, bulk: 0 };
            state.make(self.number, text(name)?, content, LINK | 0o777).map(drop)
        })
    }

    fn make_name(&self, site: Site, name: &OsStr, of: (Raw<'_>, &OsStr)) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::MakeName, &shown(name)), |state| {
            let Raw::Number(directory) = of.0 else { return Err(Errno::XDEV) };
            let seen = state.storage.seen();
            let first = seen.walk(directory, text(of.1)?).ok_or(Errno::NOENT)?;
            let mut twin = state.inode(first)?.clone();
            twin.twin = Some(first);
            let (dir, name) = (self.number, text(name)?.to_owned());
            if state.entries(dir)?.contains_key(&name) {
                return Err(Errno::EXIST);
            }
            let number = state.storage.fresh();
            state.storage.change(Change::Make { dir, name, number, inode: Box::new(twin) });
            Ok(())
        })
    }

    fn make_pipe(&self, site: Site, name: &OsStr) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::MakePipe, &shown(name)), |state| {
            let content = Content::File { bytes: Vec::new(), bulk: 0 };
            state.make(self.number, text(name)?, content, PIPE | 0o600).map(drop)
        })
    }

    fn dress(&self, site: Site, name: Option<&OsStr>, look: &Look) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::Dress, &nothing), |state| {
            let number = state.at(self.number, name)?;
            state.writable(number)?;
            let kind = state.inode(number)?.mode & KIND;
            state.storage.change(Change::Owner { number, owner: (look.uid, look.gid) });
            if let Some(mode) = look.mode {
                state.storage.change(Change::Mode { number, mode: kind | mode });
            }
            Ok(())
        })
    }
}
