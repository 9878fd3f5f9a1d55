//! A tree that is made like another: owners, modes, times, extended attributes, links and names of files with several.
//!
//! Not copied: times of access and of change, which belong to the copy, inode flags, attributes of links and pipes, and
//! properties of btrfs. Invariant: what is written is written through handles below the root that was given.

use super::survey::{IDENTITIES, Key, print};
use super::walk::{Visit, Visitor, changed, source_failed};
use super::{Counter, Stop};
use crate::disk::fs::Node;
use crate::disk::fs::copying::{Attribute, CopyError, Entry, EntryKind, Look, Told};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::fingerprint;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Properties of one file system, which mean nothing on another.
pub(super) const NOT_COPIED: &str = "btrfs.";

/// Whose values every file system gives back as they were set. Others it may put differently or leave to the mode (ACLs),
/// or the kernel adds to them (labels).
const COMPARED: [&str; 2] = ["user.", "trusted."];

/// What the copy of an entry must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of everything that a copy keeps but its content.
    pub(super) print: u64,
    /// Of its content, when it was read.
    pub(super) checksum: Option<u32>,
    /// Those attributes that are compared, a number for each.
    pub(super) attributes: Box<[u64]>,
}

impl Wanted {
    pub(super) fn new(print: u64) -> Self {
        Self { print, checksum: None, attributes: Box::default() }
    }
}

/// A number for each attribute that is compared.
pub(super) fn compared(attributes: &[Attribute]) -> Box<[u64]> {
    let of_attribute =
        |(name, value): &Attribute| fingerprint(&[name.as_bytes(), value.as_slice()].join(&0));
    let is_compared = |name: &str| COMPARED.iter().any(|start| name.starts_with(start));
    attributes.iter().filter(|(name, _value)| is_compared(name)).map(of_attribute).collect()
}

/// Everything of an entry that its copy has as well.
pub(super) fn kept(name: &OsStr, entry: &Entry, target: Option<&OsStr>) -> u64 {
    let length = if entry.kind == EntryKind::Directory { 0 } else { entry.length };
    let Look { uid, gid, mode, modified } = Look::of(entry);
    // Not every file system keeps parts of a second.
    let text = format!(
        "{name:?} {:?} {mode:?} {uid} {gid} {length} {} {target:?}",
        entry.kind, modified.0
    );
    fingerprint(text.as_bytes())
}

/// Gives the copy of what is at `shown` owner, mode and time. Every file system knows a span of time only, and takes its end
/// for what lies outside.
pub(super) fn dress(
    shown: &Path,
    (to, name): (&Node, Option<&OsStr>),
    wanted: &Look,
) -> Result<(), Stop> {
    let failed = Stop::volume(format!("dressing the copy of {}", shown.display()));
    to.dress(name, wanted).map_err(&failed)?;
    let has = to.entry(name).map_err(failed)?;
    if has.modified.0 == wanted.modified.0 {
        return Ok(());
    }
    let text = format!(
        "{} was changed {} seconds after 1970, a time that the volume's file system does not know (it took {})",
        shown.display(),
        wanted.modified.0,
        has.modified.0
    );
    let refused = Rejection::new(ErrorCode::ImportRefused, text);
    Err(Stop::Content(refused.remedy("set its time with touch, or choose another disk")))
}

/// Gives the copy of what is at `shown` these attributes.
pub(super) fn mark<'a>(
    shown: &Path,
    to: &Node,
    attributes: impl Iterator<Item = &'a Attribute>,
) -> Result<(), Stop> {
    for (name, value) in attributes {
        match to.set_attribute(name, value) {
            Ok(()) => {},
            Err(Errno::NOTSUP) => {
                let text = format!(
                    "{} has the attribute {name}, which the volume's file system does not take",
                    shown.display()
                );
                let refused = Rejection::new(ErrorCode::ImportRefused, text);
                let remedy = "choose another disk, or remove the attribute";
                return Err(Stop::Content(refused.remedy(remedy)));
            },
            Err(errno) => {
                let failed = Stop::volume(format!("marking the copy of {}", shown.display()));
                return Err(failed(errno));
            },
        }
    }
    Ok(())
}

pub(super) struct Copier<'a> {
    pub(super) shown: &'a Path,
    pub(super) counter: &'a Counter,
    /// What each entry was at the survey.
    pub(super) prints: std::slice::Iter<'a, u64>,
    pub(super) root: &'a Node,
    /// Is told of the bytes of contents, and answers whether to go on.
    told: Told<'a>,
    /// The directories from the root to where the walk is, without the root, each with its place in `made`.
    levels: Vec<(Node, usize)>,
    /// Where a file of several names has its first.
    first: BTreeMap<Key, PathBuf>,
    /// What was made, in the order of the walk.
    pub(super) made: Vec<Wanted>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        shown: &'a Path,
        counter: &'a Counter,
        prints: &'a [u64],
        root: &'a Node,
        told: Told<'a>,
    ) -> Self {
        let prints = prints.iter();
        let (levels, first, made) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { shown, counter, prints, root, told, levels, first, made }
    }

    fn to(&self) -> &Node {
        self.levels.last().map_or(self.root, |(node, _at)| node)
    }

    /// It is what it was at the survey.
    fn is_same(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        self.counter.add_entry()?;
        if self.prints.next() == Some(&print(here)) {
            return Ok(());
        }
        Err(changed(&self.shown.join(here.path)))
    }

    fn failed(&self, doing: &str, path: &Path) -> impl Fn(Errno) -> Stop + use<> {
        Stop::volume(format!("{doing} the copy of {}", self.shown.join(path).display()))
    }

    fn dress(&self, path: &Path, to: (&Node, Option<&OsStr>), entry: &Entry) -> Result<(), Stop> {
        dress(&self.shown.join(path), to, &Look::of(entry))
    }

    /// Copies the attributes; answers with those that are compared.
    fn attributes(&self, path: &Path, from: &Node, to: &Node) -> Result<Box<[u64]>, Stop> {
        let all = from.attributes();
        let all = all.map_err(|errno| self.unread("reading the attributes of", path, errno))?;
        // The survey saw none: a copy with the identity of a volume would be taken for one ever after.
        if all.iter().any(|(name, _value)| IDENTITIES.contains(&name.as_str())) {
            return Err(changed(&self.shown.join(path)));
        }
        let copied = all.iter().filter(|(name, _value)| !name.starts_with(NOT_COPIED));
        mark(&self.shown.join(path), to, copied)?;
        Ok(compared(&all))
    }

    fn file(&mut self, here: Visit<'_>, parent: &Node) -> Result<(), Stop> {
        let Visit { name, path, entry } = here;
        let key = (entry.device, entry.inode);
        let failed = self.failed("making", path);
        if let Some(first) = self.first.get(&key) {
            let to = self.to();
            to.make_name(name, (self.root, first.as_os_str())).map_err(failed)?;
            // It is told apart from its first name by nothing; that one was compared.
            self.made.push(Wanted::new(kept(name, entry, None)));
            return Ok(());
        }
        let from = parent.content(name);
        let from = from.map_err(|errno| self.unread("opening", path, errno))?;
        let parent = self.to();
        let to = parent.create(name).map_err(failed)?;
        let copied = to.fill_from(&from, self.told).map_err(|error| match error {
            CopyError::From(errno) => self.unread("reading", path, errno),
            CopyError::To(errno) => self.failed("writing", path)(errno),
            CopyError::Stopped => Stop::Stopped,
        })?;
        let now = from.entry(None);
        let now = now.map_err(|errno| self.unread("looking at", path, errno))?;
        if now != *entry || copied.length != entry.length {
            return Err(changed(&self.shown.join(path)));
        }
        self.dress(path, (&to, None), entry)?;
        let attributes = self.attributes(path, &from, &to)?;
        if entry.names > 1 {
            self.first.insert(key, path.to_owned());
        }
        let (print, checksum) = (kept(name, entry, None), copied.checksum);
        self.made.push(Wanted { print, checksum, attributes });
        Ok(())
    }
}

impl Visitor for Copier<'_> {
    fn enter(&mut self, here: Visit<'_>, _directory: &Node) -> Result<(), Stop> {
        self.is_same(here)?;
        if here.path.as_os_str().is_empty() {
            return Ok(());
        }
        let failed = self.failed("making", here.path);
        let to = self.to();
        to.make_directory(here.name, 0o700).map_err(&failed)?;
        let made = to.directory(here.name).map_err(failed)?;
        self.levels.push((made, self.made.len()));
        self.made.push(Wanted::new(kept(here.name, here.entry, None)));
        Ok(())
    }

    fn leave(&mut self, here: Visit<'_>, directory: &Node) -> Result<(), Stop> {
        let level = self.levels.pop();
        let to = level.as_ref().map_or(self.root, |(node, _at)| node);
        self.dress(here.path, (to, None), here.entry)?;
        let attributes = self.attributes(here.path, directory, to)?;
        let made = level.as_ref().and_then(|(_node, at)| self.made.get_mut(*at));
        if let Some(wanted) = made {
            wanted.attributes = attributes;
        }
        Ok(())
    }

    fn leaf(&mut self, here: Visit<'_>, parent: &Node) -> Result<(), Stop> {
        self.is_same(here)?;
        let Visit { name, path, entry } = here;
        let failed = self.failed("making", path);
        let target = match entry.kind {
            EntryKind::File => return self.file(here, parent),
            EntryKind::Link => {
                let target = parent.target(name);
                let target = target.map_err(|errno| self.unread("reading", path, errno))?;
                let to = self.to();
                to.make_link(name, &target).map_err(&failed)?;
                Some(target)
            },
            EntryKind::Pipe => {
                let to = self.to();
                to.make_pipe(name).map_err(&failed)?;
                None
            },
            EntryKind::Socket => return Ok(()),
            // Refused by the survey.
            EntryKind::Device | EntryKind::Directory => {
                return Err(changed(&self.shown.join(path)));
            },
        };
        self.dress(path, (self.to(), Some(name)), entry)?;
        self.made.push(Wanted::new(kept(name, entry, target.as_deref())));
        Ok(())
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
