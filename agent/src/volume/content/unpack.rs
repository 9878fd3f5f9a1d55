//! A new volume with what an archive holds.
//!
//! Entries come in the order of a walk: a directory, then what is in it by name. So a name that comes twice, that leads out
//! of the volume or through a link cannot be told apart from one out of order, and all of them are refused; a directory is
//! made by us, held open, and left for good when the next name is not below it. Invariant: what answers is whole: every
//! byte is in a checksum that was compared before.

use super::archive::{
    self, About, Checksum, Counts, DATA, Head, Kind, MANIFEST, Take, invalid, shown,
};
use super::compare::Comparer;
use super::copy::{Wanted, compared, dress, kept, mark};
use super::incoming::Incoming;
use super::manifest::{self, Arrived};
use super::pack::{entry_of, os};
use super::survey::IDENTITIES;
use super::walk::{DEPTH_MAX, Most, walk};
use super::{Content, Counter, Stop};
use crate::disk::fs::Node;
use crate::disk::fs::copying::{Entry, EntryKind, Look};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::units::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// How much is written at once; a multiple of a block.
pub(super) const CHUNK: usize = 1 << 20;
/// The longest name.
const NAME_MAX: usize = 255;
/// The longest target of a link.
const TARGET_MAX: usize = 4095;
/// What the first names of files with several may take in memory.
const SHARED_MAX: usize = 64 << 20;

/// An archive that a volume is filled with.
#[derive(Debug)]
pub struct Archive {
    from: Incoming,
    size: Bytes,
    counter: Arc<Counter>,
    made: Vec<Wanted>,
}

impl Archive {
    /// An archive for a volume of this size.
    #[must_use]
    pub fn new(from: Incoming, size: Bytes, counter: Arc<Counter>) -> Self {
        Self { from, size, counter, made: Vec::new() }
    }
}

impl Content for Archive {
    fn fill(&mut self, root: &Node) -> Result<(), Stop> {
        let Self { from, size, counter, made } = self;
        let mut unpacker = Unpacker {
            from,
            counter,
            size: *size,
            root,
            about: None,
            levels: Vec::new(),
            shared: BTreeMap::new(),
            shared_bytes: 0,
            checksums: Vec::new(),
            lines: Sha256::new(),
            lines_length: 0,
            counts: Counts::default(),
            taken: 0,
            made,
        };
        unpacker.unpack()
    }

    fn compare(&mut self, root: &Node) -> Result<(), Stop> {
        let mut comparer = Comparer { counter: &self.counter, wanted: self.made.iter() };
        walk(root, &mut comparer)?;
        comparer.end()
    }
}

/// A directory that is being filled.
struct Level {
    /// The volume's own root has none.
    node: Option<Node>,
    head: Head,
    /// The last name in it.
    last: Vec<u8>,
    children: usize,
}

struct Unpacker<'a> {
    from: &'a mut Incoming,
    counter: &'a Counter,
    size: Bytes,
    root: &'a Node,
    about: Option<About>,
    levels: Vec<Level>,
    /// Files that have other names, by their first.
    shared: BTreeMap<Vec<u8>, Entry>,
    shared_bytes: usize,
    checksums: Vec<Checksum>,
    /// Of the manifest's lines as they have to be.
    lines: Sha256,
    lines_length: u64,
    counts: Counts,
    /// What contents and attributes take.
    taken: u64,
    made: &'a mut Vec<Wanted>,
}

pub(super) fn refuse(head: &Head, what: &str) -> Stop {
    Stop::Content(invalid(format!("{} {what}", shown(&head.path))))
}

impl Unpacker<'_> {
    fn take(&mut self, length: usize) -> Result<Vec<u8>, Stop> {
        self.from.take(length, self.counter)
    }

    fn zeros(&mut self, length: usize) -> Result<(), Stop> {
        if self.take(length)?.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        Err(Stop::Content(invalid("there is something between its entries")))
    }

    fn head(&mut self) -> Result<Head, Stop> {
        let (from, counter) = (&mut *self.from, self.counter);
        let head = archive::read(&mut |length| from.take(length, counter))?;
        head.ok_or_else(|| Stop::Content(invalid("it ends without its manifest")))
    }

    fn unpack(&mut self) -> Result<(), Stop> {
        self.about()?;
        let before = loop {
            let before = self.from.checksum();
            let head = self.head()?;
            if head.path == MANIFEST {
                while !self.levels.is_empty() {
                    self.leave()?;
                }
                self.manifest(&head, &before)?;
                break before;
            }
            self.entry(head)?;
        };
        debug_assert_ne!(before, self.from.checksum(), "the manifest was read after it");
        self.zeros(2 * archive::BLOCK)?;
        self.from.end(self.counter)
    }

    /// The first entry, and whether what it announces can be taken in at all.
    fn about(&mut self) -> Result<(), Stop> {
        let head = self.head()?;
        if head != Head::own(archive::ABOUT, head.size) || head.size > archive::ABOUT_MAX {
            return Err(Stop::Content(invalid("its first entry is not that of an export")));
        }
        let text = self.take(usize::try_from(head.size).unwrap_or_default())?;
        self.zeros(head.padding())?;
        let about = About::parse(&text).map_err(Stop::Content)?;
        let too_much = |what: String| {
            let refused = Rejection::new(ErrorCode::ImportRefused, what);
            Err(Stop::Content(refused.remedy("ask for a larger volume")))
        };
        if about.bytes > self.size.get() {
            return too_much(format!(
                "the export of volume {} takes {}, which does not fit into a volume of {}",
                about.name,
                Bytes::new(about.bytes),
                self.size
            ));
        }
        if about.entries > Most::default().all as u64 {
            return too_much(format!("the export holds {} entries", about.entries));
        }
        self.counter.expect(about.bytes, about.entries);
        self.about = Some(about);
        Ok(())
    }

    fn entry(&mut self, head: Head) -> Result<(), Stop> {
        self.counts.entries += 1;
        self.counter.add_entry()?;
        if self.about.as_ref().is_none_or(|about| self.counts.entries > about.entries) {
            return Err(refuse(&head, "is more than it says to hold"));
        }
        if head.mode > 0o7777 {
            return Err(refuse(&head, "has a mode that is none"));
        }
        if head.attributes.iter().any(|(name, _value)| IDENTITIES.contains(&name.as_str())) {
            return Err(refuse(&head, "carries the identity of a volume"));
        }
        let attributes: usize =
            head.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.charge(&head, attributes as u64)?;
        let is_bare = head.size == 0 && head.sparse.is_none() && !head.is_shared;
        if head.kind != Kind::File && !is_bare {
            return Err(refuse(&head, "has a content, which its kind has not"));
        }
        if matches!(head.kind, Kind::Link | Kind::Name) == head.target.is_empty() {
            return Err(refuse(&head, "leads nowhere, or somewhere although it is no link"));
        }
        if self.counts.entries == 1 {
            return self.top(head);
        }
        let name = self.place(&head)?;
        match head.kind {
            Kind::Directory => self.directory(head, &name),
            Kind::File => self.file(&head, &name),
            Kind::Name => self.other_name(&head, &name),
            Kind::Link | Kind::Pipe => self.special(&head, &name),
        }
    }

    /// What is taken so far never exceeds the volume, whatever keeps its size.
    fn charge(&mut self, head: &Head, bytes: u64) -> Result<(), Stop> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken <= self.size.get() {
            return Ok(());
        }
        let text =
            format!("{} does not fit any more into a volume of {}", shown(&head.path), self.size);
        let refused = Rejection::new(ErrorCode::ImportRefused, text);
        Err(Stop::Content(refused.remedy("ask for a larger volume")))
    }

    fn top(&mut self, head: Head) -> Result<(), Stop> {
        if head.path != DATA || head.kind != Kind::Directory {
            return Err(refuse(&head, "stands where the root directory should"));
        }
        self.levels.push(Level { node: None, head, last: Vec::new(), children: 0 });
        Ok(())
    }

    /// Goes to the directory of an entry; answers its name in it.
    fn place(&mut self, head: &Head) -> Result<Vec<u8>, Stop> {
        let is_below =
            |level: &Level| head.path.starts_with(&level.head.path) && head.path != level.head.path;
        while self.levels.last().is_some_and(|level| !is_below(level)) {
            self.leave()?;
        }
        let Some(level) = self.levels.last_mut() else {
            return Err(refuse(head, "is not in the volume"));
        };
        let name = &head.path[level.head.path.len()..];
        let name = match (head.kind, name.strip_suffix(b"/")) {
            (Kind::Directory, Some(name)) => name,
            (Kind::Directory, None) | (_, Some(_)) => {
                return Err(refuse(head, "is named as something else than it is"));
            },
            (_, None) => name,
        };
        let is_name = !matches!(name, b"" | b"." | b"..")
            && name.len() <= NAME_MAX
            && !name.iter().any(|byte| matches!(byte, b'/' | 0));
        if !is_name || name <= level.last.as_slice() {
            let what = "is no name, comes twice, out of order or without its directory";
            return Err(refuse(head, what));
        }
        level.last = name.to_vec();
        level.children += 1;
        if level.children > Most::default().together {
            return Err(refuse(head, "is one of too many side by side"));
        }
        Ok(level.last.clone())
    }

    fn parent(&self) -> &Node {
        self.levels.last().and_then(|level| level.node.as_ref()).unwrap_or(self.root)
    }

    fn failed(head: &Head, doing: &str) -> impl Fn(rustix::io::Errno) -> Stop + use<> {
        Stop::volume(format!("{doing} the copy of {}", shown(&head.path)))
    }

    fn directory(&mut self, head: Head, name: &[u8]) -> Result<(), Stop> {
        if self.levels.len() >= DEPTH_MAX {
            return Err(refuse(&head, &format!("lies more than {DEPTH_MAX} directories deep")));
        }
        let failed = Self::failed(&head, "making");
        let parent = self.parent();
        parent.make_directory(os(name), 0o700).map_err(&failed)?;
        let node = parent.directory(os(name)).map_err(failed)?;
        let mut wanted = Wanted::new(kept(os(name), &entry_of(&head, 0), None));
        wanted.attributes = compared(&head.attributes);
        self.made.push(wanted);
        self.levels.push(Level { node: Some(node), head, last: Vec::new(), children: 0 });
        Ok(())
    }

    /// A directory is full: only now it gets its times, and may forbid what was done in it.
    fn leave(&mut self) -> Result<(), Stop> {
        let Some(Level { node, head, .. }) = self.levels.pop() else { return Ok(()) };
        let node = node.as_ref().unwrap_or(self.root);
        let at = Path::new(os(&head.path));
        dress(at, (node, None), &Look::of(&entry_of(&head, 0)))?;
        mark(at, node, head.attributes.iter())
    }

    fn file(&mut self, head: &Head, name: &[u8]) -> Result<(), Stop> {
        let (before, parts, length) = match head.sparse {
            None => (Vec::new(), vec![(0, head.size)], head.size),
            Some(length) => {
                let (from, counter) = (&mut *self.from, self.counter);
                let take: Take<'_> = &mut |length| from.take(length, counter);
                let (before, parts) = manifest::parts(take, head, length)?;
                (before, parts, length)
            },
        };
        let bytes: u64 = parts.iter().map(|(_at, length)| length).sum();
        self.charge(head, bytes)?;
        let to = self.parent().create(os(name)).map_err(Self::failed(head, "making"))?;
        let mut sum = Sha256::new_with_prefix(&before);
        let (from, counter) = (&mut *self.from, self.counter);
        let take: Take<'_> = &mut |length| from.take(length, counter);
        let failed = Self::failed(head, "writing");
        let copied = manifest::fill(take, (&to, counter), (parts, length), &mut sum, failed)?;
        self.zeros(head.padding())?;
        let checksum = sum.finalize().into();
        let line = archive::line(&head.path, head.sparse.is_some(), &checksum);
        self.lines_length += line.len() as u64;
        self.lines.update(&line);
        self.checksums.push(checksum);
        self.counts.files += 1;
        self.counts.bytes += bytes;
        let (at, entry) = (Path::new(os(&head.path)), entry_of(head, length));
        dress(at, (&to, None), &Look::of(&entry))?;
        mark(at, &to, head.attributes.iter())?;
        if head.is_shared {
            self.shared_bytes += head.path.len() + size_of::<Entry>();
            if self.shared_bytes > SHARED_MAX {
                return Err(refuse(head, "is one of too many files with several names"));
            }
            self.shared.insert(head.path.clone(), entry);
        }
        let (print, attributes) = (kept(os(name), &entry, None), compared(&head.attributes));
        self.made.push(Wanted { print, checksum: Some(copied), attributes });
        Ok(())
    }

    fn other_name(&mut self, head: &Head, name: &[u8]) -> Result<(), Stop> {
        let Some(entry) = self.shared.get(&head.target).copied() else {
            return Err(refuse(head, "is another name of a file that is not there"));
        };
        if !head.attributes.is_empty() {
            return Err(refuse(head, "has attributes, which its kind has not"));
        }
        let first = &head.target[DATA.len()..];
        let made = self.parent().make_name(os(name), (self.root, os(first)));
        made.map_err(Self::failed(head, "making"))?;
        self.made.push(Wanted::new(kept(os(name), &entry, None)));
        Ok(())
    }

    fn special(&mut self, head: &Head, name: &[u8]) -> Result<(), Stop> {
        if !head.attributes.is_empty() || head.target.len() > TARGET_MAX || head.target.contains(&0)
        {
            return Err(refuse(head, "has what its kind has not"));
        }
        let entry = entry_of(head, head.target.len() as u64);
        let target = (entry.kind == EntryKind::Link).then(|| os(&head.target));
        let parent = self.parent();
        let made = match target {
            Some(target) => parent.make_link(os(name), target),
            None => parent.make_pipe(os(name)),
        };
        made.map_err(Self::failed(head, "making"))?;
        dress(Path::new(os(&head.path)), (parent, Some(os(name))), &Look::of(&entry))?;
        self.made.push(Wanted::new(kept(os(name), &entry, target)));
        Ok(())
    }

    fn manifest(&mut self, head: &Head, before: &Checksum) -> Result<(), Stop> {
        if self.about.as_ref().is_none_or(|about| about.entries != self.counts.entries) {
            return Err(refuse(head, "comes before all entries have come"));
        }
        let (from, counter) = (&mut *self.from, self.counter);
        let take: Take<'_> = &mut |length| from.take(length, counter);
        let arrived = Arrived {
            checksums: &self.checksums,
            lines: std::mem::take(&mut self.lines).finalize().into(),
            length: self.lines_length,
            tail: archive::tail(self.counts, before),
        };
        manifest::compare(take, head, &arrived)?;
        self.zeros(head.padding())
    }
}
