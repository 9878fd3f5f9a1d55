//! Overwriting what files and devices hold. A file keeps its length; of an image only whether anything of it is left is
//! known, so that it is blank once its beginning was overwritten last.

use super::calls::{Handle, nothing, shown, text};
use super::change::Change;
use super::raw::SIZE;
use super::storage::Model;
use super::tree::{Content, Medium, Number};
use super::{Call, SimFs, State};
use berth_agent::disk::fs::wiping::{Pattern, Regular, Surveyed, Wipes};
use berth_agent::disk::fs::{Calls, Site};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::sync::Arc;

const NOISE: u8 = 0xa5;

impl SimFs {
    /// From now on every name that goes of a file of which anything is left on the disk is remembered.
    pub fn watch_leaks(&self) {
        self.state().leaks = Some(Vec::new());
    }

    /// What was remembered.
    #[must_use]
    pub fn leaks(&self) -> Vec<String> {
        self.state().leaks.clone().unwrap_or_default()
    }
}

impl State {
    /// A name of this file goes: is what is durable of it overwritten?
    pub(super) fn goes(&mut self, number: Number, name: &str) {
        let Some(leaks) = &mut self.leaks else { return };
        let left = match self.storage.durable().get(number).map(|inode| &inode.content) {
            Some(Content::File { bytes, .. }) => bytes.iter().any(|byte| *byte != 0),
            Some(Content::Image { medium, .. }) => **medium != Medium::Blank,
            Some(Content::Directory(_)) | None => false,
        };
        if left {
            leaks.push(name.to_owned());
        }
    }

    /// This file gets shorter: is what was written in it durable?
    pub(super) fn shortens(&mut self, number: Number) {
        let Some(leaks) = &mut self.leaks else { return };
        let mut pending = self.storage.pending.iter();
        if pending.any(|one| one.change.is_data() && one.change.subject() == number) {
            leaks.push(format!("the end of inode {number}"));
        }
    }

    fn overwrite(
        &mut self,
        number: Number,
        (at, length): (u64, u64),
        byte: u8,
    ) -> Result<u64, Errno> {
        match &self.inode(number)?.content {
            Content::Directory(_) => Err(Errno::ISDIR),
            Content::Image { .. } => {
                let medium = if at == 0 && byte == 0 { Medium::Blank } else { Medium::Torn };
                let medium = Arc::new(medium);
                self.storage.change(Change::Blocks { number, medium, is_journaled: false });
                Ok(length)
            },
            Content::File { bytes, .. } => {
                let end = (at + length).min(bytes.len() as u64);
                let count = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
                if count > 0 {
                    let bytes = vec![byte; count];
                    self.storage.change(Change::Overwrite { number, at, bytes });
                }
                Ok(count as u64)
            },
        }
    }
}

impl Wipes for Handle {
    fn regular(&self, site: Site, name: &OsStr) -> Result<Option<Regular>, Errno> {
        self.ask(site, Call::Regular, |state| {
            let number = state.entry(self.number, text(name)?)?;
            if state.entries(number).is_ok() {
                return Ok(None);
            }
            let (length, _allocated) = state.storage.seen().lengths(number);
            Ok(Some(Regular { names: 1, length }))
        })
    }

    fn to_overwrite(&self, site: Site, name: &OsStr) -> Result<Box<dyn Calls>, Errno> {
        let opened = (Call::ToOverwrite, &shown(name) as &dyn Fn() -> String);
        let number = self
            .files
            .perform(self.image, site, opened, |state| state.entry(self.number, text(name)?))?;
        Ok(self.files.handle(self.image, number))
    }

    fn overwrite(&self, site: Site, at: u64, length: u64, with: Pattern) -> Result<u64, Errno> {
        let arguments = || format!("{length} at {at} with {with:?}");
        let byte = if with == Pattern::Zeros { 0 } else { NOISE };
        self.files.perform(self.image, site, (Call::Overwrite, &arguments), |state| {
            state.writable(self.number)?;
            state.overwrite(self.number, (at, length), byte)
        })
    }

    fn discard(&self, site: Site, at: u64, length: u64) -> Result<(), Errno> {
        self.files.perform(self.image, site, (Call::Overwrite, &nothing), |state| {
            state.overwrite(self.number, (at, length.min(SIZE)), 0).map(drop)
        })
    }

    fn discards(&self, site: Site) -> Result<bool, Errno> {
        self.ask(site, Call::Discards, |_state| Ok(true))
    }

    fn in_place(&self, site: Site) -> Result<bool, Errno> {
        self.ask(site, Call::InPlace, |state| Ok(state.storage.model() != Model::Btrfs))
    }

    fn survey(&self, site: Site) -> Result<Surveyed, String> {
        let counted = self.ask(site, Call::Survey, |state| {
            Ok(Surveyed { bytes: state.storage.seen().below(self.number), shared: None })
        });
        counted.map_err(|errno| errno.to_string())
    }
}
