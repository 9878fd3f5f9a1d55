//! Raw devices: files of a fixed size, of which only what was written is kept.

use super::calls::Handle;
use super::change::Change;
use super::tree::{Content, Inode, Number, ROOT};
use super::{Call, SimFs, State};
use berth_agent::disk::block::Facts;
use berth_agent::disk::fs::Site;
use berth_agent::disk::fs::raw::Bytes;
use berth_model::agent::Media;
use rustix::io::Errno;
use std::path::Path;

/// How large each is.
pub const SIZE: u64 = 4 << 20;

impl SimFs {
    /// An empty device below the root.
    pub fn add_device(&self, name: &str) {
        let mut state = self.state();
        let number = state.storage.fresh();
        let inode = Box::new(Inode::new(Content::File { bytes: Vec::new(), bulk: 0 }, 0o600, ROOT));
        state.storage.change(Change::Make { dir: ROOT, name: name.to_owned(), number, inode });
        state.storage.sync_all();
    }
}

impl State {
    pub(super) fn raw_device_at(&self, path: &Path) -> Result<Number, Errno> {
        let path = path.to_str().ok_or(Errno::INVAL)?;
        let number = self.storage.seen().walk(ROOT, path).ok_or(Errno::NOENT)?;
        self.raw_device(number).map(|_bytes| number)
    }

    fn raw_device(&self, number: Number) -> Result<&[u8], Errno> {
        match &self.inode(number)?.content {
            Content::File { bytes, .. } => Ok(bytes),
            Content::Directory(_) | Content::Image { .. } => Err(Errno::NOTBLK),
        }
    }

    fn read_device(&self, number: Number, at: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let bytes = self.raw_device(number)?;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let known = bytes.get(at..).unwrap_or_default();
        let mut read = known.get(..length.min(known.len())).unwrap_or_default().to_vec();
        let all = usize::try_from(SIZE).unwrap_or(usize::MAX);
        read.resize(length.min(all.saturating_sub(at)), 0);
        Ok(read)
    }

    fn write_device(&mut self, number: Number, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.raw_device(number)?;
        if at + bytes.len() as u64 > SIZE {
            return Err(Errno::NOSPC);
        }
        self.storage.change(Change::Overwrite { number, at, bytes: bytes.to_vec() });
        Ok(())
    }
}

impl Bytes for Handle {
    fn facts(&self, site: Site) -> Result<Facts, Errno> {
        let number = (9, u32::try_from(self.number).unwrap_or(u32::MAX));
        self.ask(site, Call::Facts, |_state| {
            let (serial, media) = (String::new(), Media::Unknown);
            Ok(Facts { number, bytes: SIZE, serial, media, read_only: false })
        })
    }

    fn read_at(&self, site: Site, at: u64, length: usize) -> Result<Vec<u8>, Errno> {
        self.ask(site, Call::ReadAt, |state| match state.read_file(self.number, at, length) {
            Some(bytes) => Ok(bytes),
            None => state.read_device(self.number, at, length),
        })
    }

    fn write_at(&self, site: Site, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let shown = || format!("{} at {at}", bytes.len());
        self.files.perform(None, site, (Call::WriteAt, &shown), |state| {
            state.write_device(self.number, at, bytes)
        })
    }
}
