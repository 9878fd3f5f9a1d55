//! A walk through a tree on open handles, in the order of names, that follows no link and enters no mount.
//!
//! It does not know what the visitor does. Invariant: every directory that is entered is left, unless the walk stops.

use super::Stop;
use crate::disk::code_of;
use crate::disk::fs::Node;
use crate::disk::fs::copying::{Entry, EntryKind};
use berth_model::error::{ErrorCode, Rejection};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Each level keeps a directory open, on either side of a copy.
pub(super) const DEPTH_MAX: usize = 200;

/// How many entries a walk visits: of each something is remembered, of a source and its copy about a hundred bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// In all, the top included.
    pub(super) all: usize,
    /// In one directory.
    pub(super) together: usize,
}

impl Default for Most {
    fn default() -> Self {
        Self { all: 4_000_000, together: 1_000_000 }
    }
}

/// An entry that the walk has come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit<'a> {
    /// Its name; empty for the top.
    pub(super) name: &'a OsStr,
    /// Its path below the top.
    pub(super) path: &'a Path,
    /// What it is.
    pub(super) entry: &'a Entry,
}

/// What is done with each entry.
pub(super) trait Visitor {
    /// A directory begins, the top included.
    fn enter(&mut self, here: Visit<'_>, directory: &Node) -> Result<(), Stop>;
    /// Everything in it was visited.
    fn leave(&mut self, here: Visit<'_>, directory: &Node) -> Result<(), Stop>;
    /// Anything else.
    fn leaf(&mut self, here: Visit<'_>, parent: &Node) -> Result<(), Stop>;
    /// Something is mounted there; it is not entered.
    fn mounted(&mut self, here: Visit<'_>) -> Result<(), Stop>;
    /// A directory that is too deep to be entered.
    fn too_deep(&mut self, here: Visit<'_>) -> Result<(), Stop>;
    /// There are more entries than a walk visits.
    fn too_many(&self, path: &Path, what: &str) -> Stop;
    /// An entry, or the names of a directory, cannot be read.
    fn unread(&self, doing: &str, path: &Path, errno: Errno) -> Stop;
}

/// What it means when something of a source cannot be read.
pub(super) fn source_failed(shown: &Path, doing: &str, path: &Path, errno: Errno) -> Stop {
    let at = shown.join(path);
    if matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::INVAL) {
        return changed(&at);
    }
    let code = match code_of(errno) {
        // It is not a disk of the agent's.
        ErrorCode::DiskFaulty | ErrorCode::DiskFull | ErrorCode::DiskReadOnly => {
            ErrorCode::ImportRefused
        },
        code => code,
    };
    let text = format!("{doing} {} failed ({errno})", at.display());
    Stop::Content(Rejection::new(code, text).remedy("see that it can be read, then import again"))
}

/// The source is not what it was.
pub(super) fn changed(at: &Path) -> Stop {
    let text = format!("{} changed while it was copied", at.display());
    let changed = Rejection::new(ErrorCode::SourceChanged, text);
    Stop::Content(changed.remedy("stop what writes there, then import again"))
}

/// An open directory: the one that was given, or one that the walk opened.
enum Held<'a> {
    Top(&'a Node),
    Below(Node),
}

impl Held<'_> {
    fn node(&self) -> &Node {
        match self {
            Self::Top(node) => node,
            Self::Below(node) => node,
        }
    }
}

struct Level<'a> {
    directory: Held<'a>,
    name: OsString,
    entry: Entry,
    names: std::vec::IntoIter<OsString>,
}

fn names_of(
    directory: &Node,
    path: &Path,
    visitor: &dyn Visitor,
    most: Most,
) -> Result<std::vec::IntoIter<OsString>, Stop> {
    let names = directory.names(most.together.saturating_add(1));
    let mut names = names.map_err(|errno| visitor.unread("reading", path, errno))?;
    if names.len() > most.together {
        let what = format!("holds more than {} names side by side", most.together);
        return Err(visitor.too_many(path, &what));
    }
    names.sort_unstable();
    Ok(names.into_iter())
}

/// Visits everything below an open directory, itself first and last.
pub(super) fn walk(top: &Node, visitor: &mut dyn Visitor) -> Result<(), Stop> {
    walk_within(top, visitor, Most::default())
}

/// The same with these bounds.
pub(super) fn walk_within(top: &Node, visitor: &mut dyn Visitor, most: Most) -> Result<(), Stop> {
    let mut visited = 1;
    let mut path = PathBuf::new();
    let entry = top.entry(None).map_err(|errno| visitor.unread("looking at", &path, errno))?;
    let mount = entry.mount;
    let visit = Visit { name: OsStr::new(""), path: &path, entry: &entry };
    visitor.enter(visit, top)?;
    let names = names_of(top, &path, visitor, most)?;
    let directory = Held::Top(top);
    let mut levels = vec![Level { directory, name: OsString::new(), entry, names }];
    while let (depth, Some(level)) = (levels.len(), levels.last_mut()) {
        let Some(name) = level.names.next() else {
            let Some(level) = levels.pop() else { return Ok(()) };
            let visit = Visit { name: &level.name, path: &path, entry: &level.entry };
            visitor.leave(visit, level.directory.node())?;
            path.pop();
            continue;
        };
        visited += 1;
        if visited > most.all {
            let what = format!("is part of more than {} entries", most.all);
            return Err(visitor.too_many(&path, &what));
        }
        path.push(&name);
        let entry = level.directory.node().entry(Some(&name));
        let entry = entry.map_err(|errno| visitor.unread("looking at", &path, errno))?;
        let visit = Visit { name: &name, path: &path, entry: &entry };
        if entry.mount != mount {
            visitor.mounted(visit)?;
            path.pop();
        } else if entry.kind != EntryKind::Directory {
            visitor.leaf(visit, level.directory.node())?;
            path.pop();
        } else if depth >= DEPTH_MAX {
            visitor.too_deep(visit)?;
            path.pop();
        } else {
            let directory = level.directory.node().directory(&name);
            let directory = directory.map_err(|errno| visitor.unread("opening", &path, errno))?;
            visitor.enter(visit, &directory)?;
            let names = names_of(&directory, &path, visitor, most)?;
            levels.push(Level { directory: Held::Below(directory), name, entry, names });
        }
    }
    Ok(())
}
