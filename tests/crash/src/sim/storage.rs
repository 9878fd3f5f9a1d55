//! What is seen, what is durable, and what a crash makes of the difference, by the rules of a file system's kind.
//!
//! | | a sync of X makes durable | a crash keeps |
//! |---|---|---|
//! | `Ext4` | every change up to the last one that touches X, and the data written before it | a prefix of the changes; the data written before its end; of what was written next nothing or a part |
//! | `Xfs` | every change of names and attributes up to the last one that touches X; data of X only | a prefix of these; of each file not synced nothing, all, a part, or zeros |
//! | `Btrfs` | the entries, attributes or data of X only; of a move between directories, when X is where it went; nothing of subvolumes | any set of changes in which each has those it builds on; the last data whole, torn or zeros |
//!
//! A sync of the file system makes everything durable. Each model is at most as kind as the file system it is named
//! after. Data whose sync failed is never durable: the page cache calls it clean.
//!
//! A file can be a device with a file system on it, which has a storage of its own. What that makes durable reaches the
//! data of the file and no more: neither its length nor its name. What is pending in it may be in the file or not.

use super::change::{Change, Fate};
use super::device::Device;
use super::fast::Fast;
use super::tree::{Medium, Number, Tree};
use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

/// Whose rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Model {
    /// A journal in order, data before the commit.
    Ext4,
    /// A log in order, data by itself.
    Xfs,
    /// Only what was synced.
    Btrfs,
}

/// A change that is seen and not durable.
#[derive(Clone, Debug, Hash)]
pub(super) struct Pending {
    pub change: Change,
    /// Durable as soon as what it builds on is.
    pub synced: bool,
    /// Its sync failed.
    pub lost: bool,
}

/// Seen and durable state.
#[derive(Clone, Debug)]
pub struct Storage {
    model: Model,
    seen: Tree,
    durable: Tree,
    pub(super) pending: Vec<Pending>,
    /// What each subvolume used when everything was synced last: quotas count no sooner.
    counted: BTreeMap<Number, u64>,
    /// Files that are attached as devices, by their inodes. None outlives the machine.
    pub(super) devices: BTreeMap<Number, Device>,
}

impl Storage {
    /// One on which this tree is durable.
    #[must_use]
    pub fn new(model: Model, tree: Tree) -> Self {
        let counted = tree.all_used();
        let devices = BTreeMap::new();
        Self { model, seen: tree.clone(), durable: tree, pending: Vec::new(), counted, devices }
    }

    /// Whose rules it follows.
    #[must_use]
    pub fn model(&self) -> Model {
        self.model
    }

    /// What programs see.
    #[must_use]
    pub fn seen(&self) -> &Tree {
        &self.seen
    }

    /// What a crash leaves at least.
    pub(super) fn durable(&self) -> &Tree {
        &self.durable
    }

    /// What the quota of a subvolume says.
    #[must_use]
    pub fn counted(&self, subvolume: Number) -> u64 {
        self.counted.get(&subvolume).copied().unwrap_or_default()
    }

    /// A number for this state, with what is not durable.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = Fast::default();
        self.durable.hash(&mut hasher);
        self.pending.hash(&mut hasher);
        self.counted.hash(&mut hasher);
        for (file, device) in &self.devices {
            (file, device.size).hash(&mut hasher);
            if let Some(mounted) = &device.mounted {
                (&mounted.name, mounted.frozen, mounted.storage.fingerprint()).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// A number no inode has, seen, durable or between.
    #[must_use]
    pub fn fresh(&self) -> Number {
        let pending = self.pending.iter().map(|pending| pending.change.highest()).max();
        self.seen.highest().max(self.durable.highest()).max(pending.unwrap_or_default()) + 1
    }

    /// A program changes something.
    pub fn change(&mut self, change: Change) {
        self.seen.apply(&change);
        self.pending.push(Pending { change, synced: false, lost: false });
    }

    /// Is it about a subvolume as a whole, which only a sync of the file system makes durable?
    fn is_of_subvolume(&self, change: &Change) -> bool {
        match change {
            Change::Limit { .. } | Change::Snapshot { .. } | Change::Unlock { .. } => true,
            Change::Make { number, inode, .. } => inode.subvolume == *number,
            Change::Remove { number, .. } | Change::Rename { number, .. } => {
                let made = self.pending.iter().find_map(|pending| match &pending.change {
                    Change::Make { number: made, inode, .. } if made == number => Some(&**inode),
                    Change::Snapshot { inodes, .. } => {
                        inodes.iter().find(|(made, _inode)| made == number).map(|(_, inode)| inode)
                    },
                    _other => None,
                });
                let inode = made.or_else(|| self.durable.get(*number));
                inode.is_some_and(|inode| inode.subvolume == *number)
            },
            Change::Attribute { .. }
            | Change::Mode { .. }
            | Change::Owner { .. }
            | Change::Write { .. }
            | Change::Project { .. }
            | Change::LimitProject { .. }
            | Change::Length { .. }
            | Change::Blocks { .. }
            | Change::Overwrite { .. } => false,
        }
    }

    /// A file or directory is synced.
    pub fn sync(&mut self, number: Number) {
        match self.model {
            Model::Ext4 | Model::Xfs => self.sync_log(number),
            Model::Btrfs => self.sync_only(number),
        }
    }

    fn sync_log(&mut self, number: Number) {
        let touches = |change: &Change| {
            change.subject() == number || change.entries().iter().any(|(dir, _)| *dir == number)
        };
        let last = self
            .pending
            .iter()
            .rposition(|pending| !pending.change.is_data() && touches(&pending.change));
        let ordered = self.model == Model::Ext4;
        let mut rest = Vec::new();
        for (index, pending) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            let before = last.is_some_and(|last| index <= last);
            let goes = if pending.change.is_data() {
                pending.change.subject() == number || (ordered && before)
            } else {
                before
            };
            if goes && !pending.lost {
                self.durable.apply(&pending.change);
            } else {
                rest.push(pending);
            }
        }
        self.pending = rest;
    }

    fn sync_only(&mut self, number: Number) {
        for index in 0..self.pending.len() {
            let change = &self.pending[index].change;
            let mine = match change {
                Change::Make { dir, .. } | Change::Remove { dir, .. } => *dir == number,
                Change::Rename { to, .. } => *to == number,
                Change::Attribute { .. }
                | Change::Mode { .. }
                | Change::Owner { .. }
                | Change::Write { .. }
                | Change::Project { .. }
                | Change::Length { .. }
                | Change::Blocks { .. }
                | Change::Overwrite { .. } => change.subject() == number,
                Change::Limit { .. }
                | Change::LimitProject { .. }
                | Change::Snapshot { .. }
                | Change::Unlock { .. } => false,
            };
            if mine && !self.is_of_subvolume(change) {
                self.mark(index);
            }
        }
        self.settle();
    }

    /// Marks a change as synced, with those of the same entries that it follows and what was in a directory that goes.
    fn mark(&mut self, index: usize) {
        if self.pending[index].lost {
            return;
        }
        self.pending[index].synced = true;
        for earlier in (0..index).rev() {
            let (change, before) = (&self.pending[index].change, &self.pending[earlier].change);
            let follows = change.shares_entry(before) || change.empties(before);
            if follows && !self.pending[earlier].synced {
                self.mark(earlier);
            }
        }
    }

    /// What is synced and builds on nothing that is not becomes durable.
    pub(super) fn settle(&mut self) {
        let mut rest: Vec<Pending> = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let held = rest.iter().any(|earlier| pending.change.builds_on(&earlier.change));
            if pending.synced && !held {
                self.durable.apply(&pending.change);
            } else {
                rest.push(pending);
            }
        }
        self.pending = rest;
    }

    /// The whole file system is synced.
    pub fn sync_all(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            if pending.lost {
                self.pending.push(pending);
            } else {
                self.durable.apply(&pending.change);
            }
        }
        self.counted = self.durable.all_used();
    }

    /// A sync of this file or directory fails: its data is never written any more.
    pub fn lose(&mut self, number: Number) {
        for pending in &mut self.pending {
            if pending.change.is_data() && pending.change.subject() == number {
                pending.lost = true;
            }
        }
    }

    /// Every state that a crash may leave; of large sets of changes those with all, none, all but one and only one.
    #[must_use]
    pub fn crashes(&self, exhaustive_max: usize) -> Vec<Tree> {
        let mut found = BTreeMap::new();
        let mut keep = |tree: Tree| {
            let mut hasher = Fast::default();
            tree.hash(&mut hasher);
            found.entry(hasher.finish()).or_insert(tree);
        };
        match self.model {
            Model::Ext4 | Model::Xfs => self.prefixes(&mut keep),
            Model::Btrfs => self.subsets(exhaustive_max, &mut keep),
        }
        let mut trees: Vec<Tree> = found.into_values().collect();
        for (file, device) in &self.devices {
            let Some(mounted) = &device.mounted else { continue };
            if mounted.storage.pending.is_empty() {
                continue;
            }
            // What it did not make durable may be in the file all the same.
            let (now, inner) = (mounted.medium(), mounted.storage.crashes(exhaustive_max));
            trees = trees
                .into_iter()
                .flat_map(|tree| {
                    if tree.medium(*file).is_none_or(|medium| *medium != now) {
                        return vec![tree];
                    }
                    let with = |inner: &Tree| {
                        let medium = Medium::Whole { format: mounted.format, tree: inner.clone() };
                        let mut tree = tree.clone();
                        let medium = Arc::new(medium);
                        tree.apply(&Change::Blocks { number: *file, medium, is_journaled: true });
                        tree
                    };
                    inner.iter().map(with).collect()
                })
                .collect();
        }
        trees
    }

    fn prefixes(&self, keep: &mut dyn FnMut(Tree)) {
        let ends = (0..=self.pending.len())
            .filter(|end| *end == 0 || !self.pending[end - 1].change.is_data());
        for end in ends {
            let fates: &[Fate] = match self.model {
                Model::Ext4 => &[Fate::None, Fate::Torn],
                Model::Xfs | Model::Btrfs => &[Fate::None, Fate::Whole, Fate::Torn, Fate::Zeros],
            };
            for fate in fates {
                let mut tree = self.durable.clone();
                for (index, pending) in self.pending.iter().enumerate() {
                    let is_data = pending.change.is_data();
                    if pending.lost || (!is_data && index >= end) {
                        continue;
                    }
                    if !is_data || (self.model == Model::Ext4 && index < end) {
                        tree.apply(&pending.change);
                    } else if let Some(change) = fate.of(&pending.change) {
                        tree.apply(&change);
                    }
                }
                keep(tree);
            }
        }
    }

    fn subsets(&self, exhaustive_max: usize, keep: &mut dyn FnMut(Tree)) {
        let free: Vec<usize> = (0..self.pending.len())
            .filter(|index| !self.pending[*index].synced && !self.pending[*index].lost)
            .collect();
        let mut chosen: Vec<Vec<usize>> = Vec::new();
        if free.len() <= exhaustive_max {
            for bits in 0..1_u32 << free.len() {
                let picked = free.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
                chosen.push(picked.map(|(_bit, index)| *index).collect());
            }
        } else {
            chosen.extend([Vec::new(), free.clone()]);
            for one in &free {
                chosen.push(free.iter().copied().filter(|index| index != one).collect());
                chosen.push(self.with_foundations(*one));
            }
        }
        for kept in chosen {
            let last = kept.iter().rev().find(|index| self.pending[**index].change.is_data());
            let fates: &[Fate] = if last.is_some() {
                &[Fate::Whole, Fate::Torn, Fate::Zeros]
            } else {
                &[Fate::Whole]
            };
            for fate in fates {
                keep(self.subset(&kept, last.copied(), *fate));
            }
        }
    }

    /// A change and all that it builds on.
    fn with_foundations(&self, index: usize) -> Vec<usize> {
        let mut kept = vec![index];
        for earlier in (0..index).rev() {
            let wanted = kept
                .iter()
                .any(|later| self.pending[*later].change.builds_on(&self.pending[earlier].change));
            if wanted {
                kept.push(earlier);
            }
        }
        kept
    }

    fn subset(&self, kept: &[usize], last: Option<usize>, fate: Fate) -> Tree {
        let mut tree = self.durable.clone();
        let mut gone: Vec<&Change> = Vec::new();
        for (index, pending) in self.pending.iter().enumerate() {
            let wanted = (pending.synced || kept.contains(&index)) && !pending.lost;
            if !wanted || gone.iter().any(|earlier| pending.change.builds_on(earlier)) {
                gone.push(&pending.change);
            } else if last == Some(index) {
                if let Some(change) = fate.of(&pending.change) {
                    tree.apply(&change);
                }
            } else {
                tree.apply(&pending.change);
            }
        }
        tree
    }
}
