//! What is asked after a copy was made: is it what was copied, and is the source what it was?
//!
//! Invariant: nothing is changed here, and what differs is told, never mended.

use super::copy::{Wanted, compared, kept};
use super::survey::print;
use super::walk::{Visit, Visitor, changed, source_failed};
use super::{Counter, Stop};
use crate::disk::fs::Node;
use crate::disk::fs::copying::EntryKind;
use berth_model::error::{ErrorCode, Rejection};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;

/// Compares a copy with what was to be there, its contents read from the disk again.
pub(super) struct Comparer<'a> {
    pub(super) counter: &'a Counter,
    pub(super) wanted: std::slice::Iter<'a, Wanted>,
}

impl<'a> Comparer<'a> {
    fn differs(&self, path: &Path, how: &str) -> Stop {
        // The call did not fail, so nothing follows for the other volumes of the disk.
        let text = format!("the copy differs from what was copied at {}: {how}", path.display());
        let differs = Rejection::new(ErrorCode::CopyDiffers, text);
        Stop::Content(differs.remedy(
            "look into the kernel log, check the disk and its file system, then import again",
        ))
    }

    fn next(&mut self, here: Visit<'_>, target: Option<&OsStr>) -> Result<&'a Wanted, Stop> {
        self.counter.check()?;
        match self.wanted.next() {
            None => Err(self.differs(here.path, "it was not copied")),
            Some(wanted) if wanted.print != kept(here.name, here.entry, target) => {
                Err(self.differs(here.path, "it is not what was copied"))
            },
            Some(wanted) => Ok(wanted),
        }
    }

    fn has_attributes(&self, path: &Path, node: &Node, wanted: &[u64]) -> Result<(), Stop> {
        if wanted.is_empty() {
            return Ok(());
        }
        let unread = |errno| self.unread("reading the attributes of", path, errno);
        let has = compared(&node.attributes().map_err(unread)?);
        if wanted.iter().all(|one| has.contains(one)) {
            return Ok(());
        }
        Err(self.differs(path, "its attributes are not what was copied"))
    }

    /// Everything that was copied was there.
    pub(super) fn end(mut self) -> Result<(), Stop> {
        match self.wanted.next() {
            None => Ok(()),
            Some(_missing) => Err(self.differs(Path::new("the copy"), "something is missing")),
        }
    }
}

impl Visitor for Comparer<'_> {
    fn enter(&mut self, here: Visit<'_>, directory: &Node) -> Result<(), Stop> {
        if here.path.as_os_str().is_empty() {
            return Ok(());
        }
        let wanted = self.next(here, None)?;
        self.has_attributes(here.path, directory, &wanted.attributes)
    }

    fn leave(&mut self, _here: Visit<'_>, _directory: &Node) -> Result<(), Stop> {
        Ok(())
    }

    fn leaf(&mut self, here: Visit<'_>, parent: &Node) -> Result<(), Stop> {
        let unread = |errno| self.unread("reading", here.path, errno);
        let target = match here.entry.kind {
            EntryKind::Link => Some(parent.target(here.name).map_err(unread)?),
            EntryKind::File
            | EntryKind::Directory
            | EntryKind::Pipe
            | EntryKind::Socket
            | EntryKind::Device => None,
        };
        let wanted = self.next(here, target.as_deref())?;
        if wanted.checksum.is_none() && wanted.attributes.is_empty() {
            return Ok(());
        }
        let unread = |errno| self.unread("reading", here.path, errno);
        let file = parent.content(here.name).map_err(unread)?;
        self.has_attributes(here.path, &file, &wanted.attributes)?;
        let Some(checksum) = wanted.checksum else { return Ok(()) };
        let found = file.checksum(&|_bytes| !self.counter.is_stopped());
        match found {
            Ok(found) if found == checksum => Ok(()),
            Ok(_other) => {
                Err(self.differs(here.path, "its checksum is not that of what was copied"))
            },
            Err(Errno::INTR) => Err(Stop::Stopped),
            Err(errno) => Err(self.unread("reading", here.path, errno)),
        }
    }

    fn mounted(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        Err(self.differs(here.path, "something is mounted there"))
    }

    fn too_deep(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        Err(self.differs(here.path, "it was not copied"))
    }

    fn too_many(&self, path: &Path, what: &str) -> Stop {
        self.differs(path, what)
    }

    fn unread(&self, doing: &str, path: &Path, errno: Errno) -> Stop {
        Stop::Volume { doing: format!("{doing} {}", path.display()), errno }
    }
}

/// Looks once more whether everything of the source is what it was.
pub(super) struct Again<'a> {
    pub(super) shown: &'a Path,
    pub(super) counter: &'a Counter,
    pub(super) prints: std::slice::Iter<'a, u64>,
}

impl Again<'_> {
    fn is_same(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        self.counter.check()?;
        if self.prints.next() == Some(&print(here)) {
            return Ok(());
        }
        Err(changed(&self.shown.join(here.path)))
    }
}

impl Visitor for Again<'_> {
    fn enter(&mut self, here: Visit<'_>, _directory: &Node) -> Result<(), Stop> {
        self.is_same(here)
    }
    fn leave(&mut self, _here: Visit<'_>, _directory: &Node) -> Result<(), Stop> {
        Ok(())
    }
    fn leaf(&mut self, here: Visit<'_>, _parent: &Node) -> Result<(), Stop> {
        self.is_same(here)
    }
    fn mounted(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        Err(changed(&self.shown.join(here.path)))
    }
    fn too_deep(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        Err(changed(&self.shown.join(here.path)))
    }
    fn too_many(&self, path: &Path, _what: &str) -> Stop {
        changed(&self.shown.join(path))
    }
    fn unread(&self, doing: &str, path: &Path, errno: Errno) -> Stop {
        source_failed(self.shown, doing, path, errno)
    }
}
