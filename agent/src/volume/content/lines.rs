//! The lines of the manifest, written in another walk: so the checksums are all that is remembered of a volume's files, and
//! what changed since the walk before is noticed.

use super::archive::{Checksum, Head, line};
use super::pack::{Out, inside};
use super::survey::{Key, print};
use super::walk::{Visit, Visitor, changed, source_failed};
use super::{Counter, Stop};
use crate::disk::fs::Node;
use crate::disk::fs::copying::EntryKind;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;

/// What the manifest says of the files.
#[derive(Debug, Default)]
pub(super) struct Packing {
    /// In the order of the walk, and whether they have holes.
    checksums: Vec<(Checksum, bool)>,
    /// How long the lines are.
    pub(super) lines: u64,
}

impl Packing {
    pub(super) fn add(&mut self, head: &Head, checksum: Checksum) {
        self.lines += line(&head.path, head.sparse.is_some(), &checksum).len() as u64;
        self.checksums.push((checksum, head.sparse.is_some()));
    }
}

pub(super) struct Lines<'a, 'b> {
    shown: &'a Path,
    counter: &'a Counter,
    prints: std::slice::Iter<'a, u64>,
    out: &'a mut Out<'b>,
    checksums: std::slice::Iter<'a, (Checksum, bool)>,
    /// Files of several names that had their first.
    linked: BTreeSet<Key>,
}

impl<'a, 'b> Lines<'a, 'b> {
    pub(super) fn new(
        shown: &'a Path,
        counter: &'a Counter,
        prints: &'a [u64],
        out: &'a mut Out<'b>,
        packing: &'a Packing,
    ) -> Self {
        let (prints, checksums) = (prints.iter(), packing.checksums.iter());
        Self { shown, counter, prints, out, checksums, linked: BTreeSet::new() }
    }

    fn is_same(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        self.counter.check()?;
        if self.prints.next() == Some(&print(here)) {
            return Ok(());
        }
        Err(changed(&self.shown.join(here.path)))
    }

    /// Nothing is missing.
    pub(super) fn end(mut self) -> Result<(), Stop> {
        match (self.prints.next(), self.checksums.next()) {
            (None, None) => Ok(()),
            _gone => Err(changed(self.shown)),
        }
    }
}

impl Visitor for Lines<'_, '_> {
    fn enter(&mut self, here: Visit<'_>, _directory: &Node) -> Result<(), Stop> {
        self.is_same(here)
    }

    fn leave(&mut self, _here: Visit<'_>, _directory: &Node) -> Result<(), Stop> {
        Ok(())
    }

    fn leaf(&mut self, here: Visit<'_>, _parent: &Node) -> Result<(), Stop> {
        self.is_same(here)?;
        let key = (here.entry.device, here.entry.inode);
        let is_known = here.entry.names > 1 && !self.linked.insert(key);
        if here.entry.kind != EntryKind::File || is_known {
            return Ok(());
        }
        let Some((checksum, is_sparse)) = self.checksums.next() else {
            return Err(changed(&self.shown.join(here.path)));
        };
        self.out.put(&line(&inside(here.path, false), *is_sparse, checksum))
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
