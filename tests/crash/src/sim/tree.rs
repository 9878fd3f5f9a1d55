//! One state of a file system: inodes by number, and the changes that lead from one state to the next.
//!
//! It knows nothing of syncing. Invariant: every inode but the root has exactly one name.

use super::change::Change;
use berth_agent::disk::image::Format;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An inode's number.
pub type Number = u64;

/// The root of everything.
pub const ROOT: Number = 1;

/// No inode's number.
pub const NOBODY: Number = 0;

/// What an inode holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// A file's bytes; of large writes only how many.
    File { bytes: Vec<u8>, bulk: u64 },
    /// A directory's entries.
    Directory(BTreeMap<String, Number>),
    /// A file that is or was attached as a device.
    Image { length: u64, allocated: u64, medium: Arc<Medium> },
}

/// What lies on a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Medium {
    /// Nothing was ever written.
    Blank,
    /// Something that no file system recognises.
    Torn,
    /// A file system; the limit of its root is its size.
    Whole { format: Format, tree: Tree },
}

impl Medium {
    /// How long the device must be.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Whole { tree, .. } => tree.get(ROOT).and_then(|root| root.limit).unwrap_or(0),
            Self::Blank | Self::Torn => 0,
        }
    }
}

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inode {
    /// What it holds.
    pub content: Content,
    /// Extended attributes.
    pub attributes: BTreeMap<String, Vec<u8>>,
    /// Permissions.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// The subvolume it is in, named by the inode of its root.
    pub subvolume: Number,
    /// The limit, of a subvolume's root.
    pub limit: Option<u64>,
    /// The project, which what is made in a directory inherits; 0 is none.
    pub project: u32,
    /// Nothing may be written in it, of a subvolume's root.
    pub read_only: bool,
    /// The file of which it is another name.
    pub twin: Option<Number>,
}

impl Inode {
    /// A new one.
    #[must_use]
    pub fn new(content: Content, mode: u32, subvolume: Number) -> Self {
        Self {
            content,
            attributes: BTreeMap::new(),
            mode,
            owner: (0, 0),
            subvolume,
            limit: None,
            project: 0,
            read_only: false,
            twin: None,
        }
    }

    /// One that is made in this directory.
    #[must_use]
    pub fn child(&self, content: Content, mode: u32) -> Self {
        Self { project: self.project, ..Self::new(content, mode, self.subvolume) }
    }

    /// Its entries; none of a file.
    #[must_use]
    pub fn entries(&self) -> Option<&BTreeMap<String, Number>> {
        match &self.content {
            Content::Directory(entries) => Some(entries),
            Content::File { .. } | Content::Image { .. } => None,
        }
    }
}

/// A state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tree {
    inodes: BTreeMap<Number, Arc<Inode>>,
    limits: BTreeMap<u32, u64>,
}

impl Default for Tree {
    fn default() -> Self {
        let root = Inode::new(Content::Directory(BTreeMap::new()), 0o755, ROOT);
        Self { inodes: BTreeMap::from([(ROOT, Arc::new(root))]), limits: BTreeMap::new() }
    }
}

impl Tree {
    /// The inode of that number.
    #[must_use]
    pub fn get(&self, number: Number) -> Option<&Inode> {
        self.inodes.get(&number).map(|inode| &**inode)
    }

    /// The highest number in use.
    #[must_use]
    pub fn highest(&self) -> Number {
        self.inodes.last_key_value().map_or(ROOT, |(number, _inode)| *number)
    }

    /// Follows a path of names from a directory.
    #[must_use]
    pub fn walk(&self, from: Number, path: &str) -> Option<Number> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .try_fold(from, |here, name| self.get(here)?.entries()?.get(name).copied())
    }

    /// The inode at a path from the root.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Inode> {
        self.get(self.walk(ROOT, path)?)
    }

    /// The names in the directory at a path; none where there is no directory.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = self.at(path).and_then(Inode::entries);
        entries.map(|entries| entries.keys().cloned().collect()).unwrap_or_default()
    }

    /// The bytes of the file at a path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match &self.at(path)?.content {
            Content::File { bytes, .. } => Some(bytes),
            Content::Directory(_) | Content::Image { .. } => None,
        }
    }

    /// The bytes that a subvolume holds.
    #[must_use]
    pub fn used(&self, subvolume: Number) -> u64 {
        let inside = self.inodes.values().filter(|inode| inode.subvolume == subvolume);
        inside
            .map(|inode| match &inode.content {
                Content::File { bytes, bulk } => bytes.len() as u64 + bulk,
                Content::Image { allocated, .. } => *allocated,
                Content::Directory(_) => 0,
            })
            .sum()
    }

    /// The bytes, the inodes and the limit of a project.
    #[must_use]
    pub fn account(&self, project: u32) -> (u64, u64, Option<u64>) {
        let inside = self.inodes.values().filter(|inode| inode.project == project);
        let (bytes, count) = inside.fold((0, 0), |(bytes, count), inode| {
            let more = match &inode.content {
                Content::File { bytes, bulk } => bytes.len() as u64 + bulk,
                Content::Image { allocated, .. } => *allocated,
                Content::Directory(_) => 0,
            };
            (bytes + more, count + 1)
        });
        (bytes, count, self.limits.get(&project).copied())
    }

    /// The projects that have a limit.
    pub fn limited(&self) -> impl Iterator<Item = u32> {
        self.limits.keys().copied()
    }

    /// The bytes of the files below a directory.
    #[must_use]
    pub fn below(&self, directory: Number) -> u64 {
        match self.get(directory).map(|inode| &inode.content) {
            Some(Content::File { bytes, bulk }) => bytes.len() as u64 + bulk,
            Some(Content::Image { allocated, .. }) => *allocated,
            Some(Content::Directory(entries)) => {
                entries.values().map(|number| self.below(*number)).sum()
            },
            None => 0,
        }
    }

    /// The bytes that each subvolume holds.
    #[must_use]
    pub fn all_used(&self) -> BTreeMap<Number, u64> {
        let mut used = BTreeMap::new();
        for inode in self.inodes.values() {
            if let Content::File { bytes, bulk } = &inode.content {
                *used.entry(inode.subvolume).or_default() += bytes.len() as u64 + bulk;
            }
        }
        used
    }

    /// A copy of what a subvolume holds, numbered from `first` on; also the numbers of what was copied.
    #[must_use]
    pub fn copy(&self, root: Number, first: Number) -> (Vec<(Number, Inode)>, BTreeSet<Number>) {
        let inside = |inode: &Inode| inode.subvolume == root;
        let mut order = vec![root];
        order.extend(
            self.inodes
                .iter()
                .filter(|(number, inode)| **number != root && inside(inode))
                .map(|(number, _inode)| *number),
        );
        let new: BTreeMap<Number, Number> = order.iter().copied().zip(first..).collect();
        let copied = order.iter().filter_map(|number| {
            let mut inode = self.get(*number)?.clone();
            inode.subvolume = first;
            if let Content::Directory(entries) = &mut inode.content {
                entries.retain(|_name, number| new.contains_key(number));
                for number in entries.values_mut() {
                    *number = new[number];
                }
            }
            Some((new[number], inode))
        });
        (copied.collect(), new.keys().copied().collect())
    }

    fn edit(&mut self, number: Number) -> Option<&mut Inode> {
        self.inodes.get_mut(&number).map(Arc::make_mut)
    }

    fn entries(&mut self, number: Number) -> Option<&mut BTreeMap<String, Number>> {
        match &mut self.edit(number)?.content {
            Content::Directory(entries) => Some(entries),
            Content::File { .. } | Content::Image { .. } => None,
        }
    }

    /// What lies in a file that is an image.
    #[must_use]
    pub fn medium(&self, number: Number) -> Option<Arc<Medium>> {
        match &self.get(number)?.content {
            Content::Image { medium, .. } => Some(Arc::clone(medium)),
            Content::File { .. } | Content::Directory(_) => None,
        }
    }

    /// The length of a file, and what of it is allocated.
    #[must_use]
    pub fn lengths(&self, number: Number) -> (u64, u64) {
        match self.get(number).map(|inode| &inode.content) {
            Some(Content::Image { length, allocated, .. }) => (*length, *allocated),
            Some(Content::File { bytes, bulk }) => {
                (bytes.len() as u64 + bulk, bytes.len() as u64 + bulk)
            },
            Some(Content::Directory(_)) | None => (0, 0),
        }
    }

    fn set_image(&mut self, number: Number, length: u64, allocated: u64, medium: Arc<Medium>) {
        if let Some(inode) = self.edit(number) {
            inode.content = Content::Image { length, allocated, medium };
        }
    }

    fn overwrite(&mut self, number: Number, at: u64, new: &[u8]) {
        if let Some(Inode { content: Content::File { bytes, .. }, .. }) = self.edit(number) {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            bytes.resize(bytes.len().max(at + new.len()), 0);
            bytes[at..at + new.len()].copy_from_slice(new);
        }
    }

    /// Carries a change out. What it is about and is not there (any more) stays away.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Make { dir, name, number, inode } => {
                if let Some(entries) = self.entries(*dir) {
                    entries.insert(name.clone(), *number);
                    self.inodes.insert(*number, Arc::new((**inode).clone()));
                }
            },
            Change::Remove { dir, name, number } => {
                if let Some(entries) = self.entries(*dir) {
                    entries.remove(name);
                }
                self.inodes.remove(number);
            },
            Change::Rename { from, name, to, new, number } => {
                if self.entries(*from).is_some_and(|entries| entries.remove(name).is_some())
                    && let Some(replaced) =
                        self.entries(*to).and_then(|entries| entries.insert(new.clone(), *number))
                {
                    self.inodes.remove(&replaced);
                }
            },
            Change::Attribute { number, name, value } => {
                if let Some(inode) = self.edit(*number) {
                    inode.attributes.insert(name.clone(), value.clone());
                }
            },
            Change::Owner { number, owner } => {
                if let Some(inode) = self.edit(*number) {
                    inode.owner = *owner;
                }
            },
            Change::Mode { number, mode } => {
                if let Some(inode) = self.edit(*number) {
                    inode.mode = *mode;
                }
            },
            Change::Write { number, bytes: more, bulk: size } => {
                if let Some(Inode { content: Content::File { bytes, bulk }, .. }) =
                    self.edit(*number)
                {
                    bytes.extend_from_slice(more);
                    *bulk += size;
                }
            },
            Change::Limit { number, bytes } => {
                if let Some(inode) = self.edit(*number) {
                    inode.limit = *bytes;
                }
            },
            Change::Overwrite { number, at, bytes } => self.overwrite(*number, *at, bytes),
            Change::Project { number, project } => {
                if let Some(inode) = self.edit(*number) {
                    inode.project = *project;
                }
            },
            Change::LimitProject { project, bytes } => match bytes {
                Some(bytes) => {
                    self.limits.insert(*project, *bytes);
                },
                None => {
                    self.limits.remove(project);
                },
            },
            Change::Snapshot { dir, name, inodes, .. } => {
                let root = change.subject();
                if let Some(entries) = self.entries(*dir) {
                    entries.insert(name.clone(), root);
                    for (number, inode) in inodes {
                        self.inodes.insert(*number, Arc::new(inode.clone()));
                    }
                }
            },
            Change::Unlock { number } => {
                if let Some(inode) = self.edit(*number) {
                    inode.read_only = false;
                }
            },
            Change::Length { number, length, allocated } => {
                let mut medium = self.medium(*number).unwrap_or_else(|| Arc::new(Medium::Blank));
                if medium.size() > *length {
                    // What was cut off does not come back when the file is made longer again.
                    medium = Arc::new(Medium::Torn);
                }
                self.set_image(*number, *length, *allocated, medium);
            },
            Change::Blocks { number, medium, .. } => {
                let (length, allocated) = self.lengths(*number);
                self.set_image(*number, length, allocated, Arc::clone(medium));
            },
        }
    }
}
