//! What lies below a directory that is to be imported, and what speaks against it. Changes nothing.
//!
//! Devices, mount points, and whatever carries the identity of a volume or a disk are refused: a copy that silently lacks
//! them would be no copy, and a device in a volume is a way to the host's own. Sockets are left out, since nothing is in
//! them; that is counted.

use super::walk::{DEPTH_MAX, Most, Visit, Visitor, source_failed, walk_within};
use super::{Counter, Stop, open_by};
use crate::disk::fs::Node;
use crate::disk::fs::copying::EntryKind;
use crate::disk::remove::{VOLUME_XATTR, VOLUME_XATTR_UNPRIVILEGED};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::fingerprint;
use berth_model::transfer::{OwnerCount, Survey};
use berth_model::units::Bytes;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// How many of a kind are told.
const TOLD_MAX: usize = 16;
/// What carries one of these is, or was, a volume.
pub(super) const IDENTITIES: [&str; 2] = [VOLUME_XATTR, VOLUME_XATTR_UNPRIVILEGED];
/// The smallest thing that a file system gives out.
const BLOCK: u64 = 4096;

/// A device number and an inode.
pub(super) type Key = ((u32, u32), u64);

/// What a walk found, as the copy needs it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// For people.
    pub(super) survey: Survey,
    /// What each entry was, in the order of the walk: it must be the same when it is copied and after that.
    pub(super) prints: Vec<u64>,
    /// Every file and directory.
    pub(super) keys: BTreeSet<Key>,
}

/// Everything of an entry that changes when the entry changes.
pub(super) fn print(here: Visit<'_>) -> u64 {
    let entry = here.entry;
    let text = format!(
        "{:?} {:?} {:o} {} {} {} {:?} {:?} {:?}",
        here.name,
        entry.kind,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.length,
        (entry.device, entry.inode),
        entry.modified,
        entry.changed,
    );
    fingerprint(text.as_bytes())
}

struct Look<'a> {
    shown: &'a Path,
    counter: &'a Counter,
    /// What is looked at is a volume, and bears its own identity.
    is_volume: bool,
    seen: Seen,
    owners: BTreeMap<(u32, u32), u64>,
    /// Files of several names.
    linked: BTreeSet<Key>,
}

impl Look<'_> {
    fn refuse(&mut self, path: &Path, what: &str, remedy: &str) {
        let refusals = &mut self.seen.survey.refusals;
        if refusals.len() < TOLD_MAX {
            let text = format!("{} {what}", self.shown.join(path).display());
            refusals.push(Rejection::new(ErrorCode::ImportRefused, text).remedy(remedy));
        }
    }

    fn count(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        self.counter.check()?;
        self.seen.prints.push(print(here));
        *self.owners.entry((here.entry.uid, here.entry.gid)).or_default() += 1;
        Ok(())
    }

    fn attributes(&mut self, here: Visit<'_>, node: &Node) -> Result<(), Stop> {
        let all = match node.attributes() {
            Ok(all) => all,
            Err(Errno::ILSEQ) => {
                let what = "has an extended attribute whose name is no text";
                self.refuse(here.path, what, "remove the attribute");
                return Ok(());
            },
            Err(errno) => return Err(self.unread("reading the attributes of", here.path, errno)),
        };
        let survey = &mut self.seen.survey;
        survey.attributes += u64::from(!all.is_empty());
        let is_acl = |name: &str| name.starts_with("system.posix_acl");
        survey.acls += u64::from(all.iter().any(|(name, _value)| is_acl(name)));
        let is_own = self.is_volume && here.path.as_os_str().is_empty();
        let is_identity = |name: &str| IDENTITIES.contains(&name);
        if !is_own && all.iter().any(|(name, _value)| is_identity(name)) {
            self.refuse(
                here.path,
                "carries the identity of a volume",
                "adopt, clone or export that volume; of a copy that nobody needs remove the attribute",
            );
        }
        Ok(())
    }
}

impl Visitor for Look<'_> {
    fn enter(&mut self, here: Visit<'_>, directory: &Node) -> Result<(), Stop> {
        self.count(here)?;
        self.seen.survey.directories += 1;
        self.seen.survey.bytes = add(self.seen.survey.bytes, BLOCK);
        self.seen.keys.insert((here.entry.device, here.entry.inode));
        if directory.exists(".meta").unwrap_or(false)
            && directory.kind(crate::disk::remove::DISK_MARKER).is_ok()
        {
            self.refuse(here.path, "carries the marker of a disk", "import its volumes one by one");
        }
        self.attributes(here, directory)
    }

    fn leave(&mut self, _here: Visit<'_>, _directory: &Node) -> Result<(), Stop> {
        Ok(())
    }

    fn leaf(&mut self, here: Visit<'_>, parent: &Node) -> Result<(), Stop> {
        self.count(here)?;
        let entry = here.entry;
        if entry.kind == EntryKind::Device {
            self.refuse(here.path, "is a device", "remove it: a volume holds no devices");
        }
        let survey = &mut self.seen.survey;
        match entry.kind {
            EntryKind::File | EntryKind::Directory => {},
            EntryKind::Link => survey.links += 1,
            EntryKind::Pipe => survey.pipes += 1,
            EntryKind::Socket => survey.sockets += 1,
            EntryKind::Device => survey.devices += 1,
        }
        if entry.kind != EntryKind::File {
            return Ok(());
        }
        let key = (entry.device, entry.inode);
        if entry.names > 1 && !self.linked.insert(key) {
            survey.hard_links += 1;
            return Ok(());
        }
        survey.files += 1;
        survey.bytes = add(survey.bytes, entry.allocated.min(entry.length.next_multiple_of(BLOCK)));
        survey.length = add(survey.length, entry.length);
        survey.sparse += u64::from(entry.allocated < entry.length / BLOCK * BLOCK);
        self.seen.keys.insert(key);
        let file = parent.content(here.name);
        let file = file.map_err(|errno| self.unread("opening", here.path, errno))?;
        self.attributes(here, &file)
    }

    fn mounted(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        self.count(here)?;
        let shown = self.shown.join(here.path).display().to_string();
        if self.seen.survey.mounts.len() < TOLD_MAX {
            self.seen.survey.mounts.push(shown);
        }
        let remedy = "unmount it, or import the directories beside it one by one";
        self.refuse(here.path, "is a mount point, which is not crossed", remedy);
        Ok(())
    }

    fn too_deep(&mut self, here: Visit<'_>) -> Result<(), Stop> {
        self.count(here)?;
        let what = format!("lies more than {DEPTH_MAX} directories deep");
        self.refuse(here.path, &what, "import it by its own path, or pack it before");
        Ok(())
    }

    fn too_many(&self, path: &Path, what: &str) -> Stop {
        let text = format!("{} {what}", self.shown.join(path).display());
        let refused = Rejection::new(ErrorCode::ImportRefused, text);
        Stop::Content(
            refused.remedy("import the directories below it one by one, or pack them before"),
        )
    }

    fn unread(&self, doing: &str, path: &Path, errno: Errno) -> Stop {
        source_failed(self.shown, doing, path, errno)
    }
}

fn add(bytes: Bytes, more: u64) -> Bytes {
    Bytes::new(bytes.get().saturating_add(more))
}

/// Looks at everything below the directory.
pub(super) fn look(
    source: &Node,
    shown: &Path,
    size: Bytes,
    counter: &Counter,
) -> Result<Seen, Stop> {
    look_within(source, (shown, size), counter, (Most::default(), false))
}

/// The same of a volume that is to be exported.
pub(super) fn look_at_volume(source: &Node, shown: &Path, counter: &Counter) -> Result<Seen, Stop> {
    look_within(source, (shown, Bytes::new(u64::MAX)), counter, (Most::default(), true))
}

fn look_within(
    source: &Node,
    (shown, size): (&Path, Bytes),
    counter: &Counter,
    (most, is_volume): (Most, bool),
) -> Result<Seen, Stop> {
    let mut look = Look {
        shown,
        counter,
        is_volume,
        seen: Seen::default(),
        owners: BTreeMap::new(),
        linked: BTreeSet::new(),
    };
    walk_within(source, &mut look, most)?;
    let Look { mut seen, owners, .. } = look;
    let mut owners: Vec<OwnerCount> =
        owners.into_iter().map(|((uid, gid), entries)| OwnerCount { uid, gid, entries }).collect();
    owners.sort_by_key(|owner| (std::cmp::Reverse(owner.entries), owner.uid, owner.gid));
    owners.truncate(TOLD_MAX);
    let survey = &mut seen.survey;
    survey.owners = owners;
    survey.path = Arc::from(shown.display().to_string());
    survey.size = size;
    if survey.bytes > size {
        let text = format!(
            "{} takes {}, which does not fit into a volume of {size}",
            shown.display(),
            survey.bytes
        );
        survey
            .refusals
            .push(Rejection::new(ErrorCode::ImportRefused, text).remedy("ask for a larger volume"));
    }
    Ok(seen)
}

/// Finds out who has something of it open. Whoever may write is a reason to refuse.
pub(super) fn ask_who(seen: &mut Seen) {
    let who = open_by::find(&seen.keys);
    if let Some(writer) = who.iter().find(|who| who.writes) {
        let text = format!(
            "{} is open for writing by process {} ({})",
            writer.path, writer.pid, writer.command
        );
        let refused = Rejection::new(ErrorCode::ImportRefused, text);
        seen.survey.refusals.push(refused.remedy("stop that process, then import again"));
    }
    seen.survey.open_by = who.into_iter().take(TOLD_MAX).collect();
}

/// What an import of this directory would meet.
///
/// # Errors
/// It cannot be looked at.
pub fn survey(
    source: &Node,
    shown: &Path,
    size: Bytes,
    counter: &Counter,
) -> Result<Survey, Rejection> {
    let seen = look(source, shown, size, counter);
    let mut seen = seen.map_err(|stop| match stop {
        Stop::Content(reason) => reason,
        Stop::Volume { doing, errno } => {
            Rejection::new(ErrorCode::Internal, format!("{doing} failed ({errno})"))
        },
        Stop::Stopped => Rejection::new(ErrorCode::Unavailable, "the agent is stopping"),
    })?;
    ask_who(&mut seen);
    Ok(seen.survey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    #[test]
    fn what_holds_more_entries_than_can_be_remembered_is_refused() {
        let base = tempfile::tempdir().unwrap();
        for name in ["a", "a/1", "a/2", "b"] {
            std::fs::create_dir(base.path().join(name)).unwrap();
        }
        let source = Node::from(OwnedFd::from(std::fs::File::open(base.path()).unwrap()));
        let size = Bytes::from_mib(1);
        let counter = Counter::default();
        let of = |all, together| {
            look_within(&source, (base.path(), size), &counter, (Most { all, together }, false))
        };
        assert_eq!(of(5, 2).unwrap().survey.directories, 5);
        for (all, together, said) in [(4, 2, "more than 4 entries"), (5, 1, "more than 1 names")] {
            let Err(Stop::Content(refused)) = of(all, together) else {
                panic!("{all} and {together} were not kept to")
            };
            assert_eq!(refused.code, ErrorCode::ImportRefused);
            assert!(refused.message.contains(said), "{refused}");
        }
    }
}
