//! The names of the simulated folder and the changes to them that are not synced yet.
//!
//! It knows files by number only. Invariant: undoing all pending changes in reverse gives the durable names.

use std::collections::{BTreeMap, BTreeSet};

use super::rng::Rng;

#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    names: BTreeMap<String, u64>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Create { name: String },
    Replace { from: String, to: String, replaced: Option<u64> },
    Remove { name: String, file: u64 },
}

impl Folder {
    pub(super) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.names.get(name).copied()
    }

    pub(super) fn create(&mut self, name: &str, file: u64) {
        self.names.insert(name.to_owned(), file);
        self.pending.push(Change::Create { name: name.to_owned() });
    }

    /// False when there is no `from`.
    pub(super) fn replace(&mut self, from: &str, to: &str) -> bool {
        let Some(file) = self.names.remove(from) else { return false };
        let replaced = self.names.insert(to.to_owned(), file);
        let (from, to) = (from.to_owned(), to.to_owned());
        self.pending.push(Change::Replace { from, to, replaced });
        true
    }

    /// False when there is no such name.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let Some(file) = self.names.remove(name) else { return false };
        self.pending.push(Change::Remove { name: name.to_owned(), file });
        true
    }

    pub(super) fn sync(&mut self) {
        self.pending.clear();
    }

    /// Power loss: newest first, each change is undone or kept; one that a kept later change builds on is kept.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let undo_per_mille = [0, 500, 500, 1_000][rng.up_to(3)];
        let mut kept: BTreeSet<String> = BTreeSet::new();
        for change in std::mem::take(&mut self.pending).into_iter().rev() {
            let touched = change.names();
            let undone =
                touched.iter().all(|name| !kept.contains(*name)) && rng.chance(undo_per_mille);
            if undone {
                self.undo(change);
            } else {
                kept.extend(touched.into_iter().map(str::to_owned));
            }
        }
    }

    fn undo(&mut self, change: Change) {
        match change {
            Change::Create { name } => {
                self.names.remove(&name);
            },
            Change::Replace { from, to, replaced } => {
                let file = self.names.remove(&to).expect("no later change of this name was kept");
                self.names.insert(from, file);
                if let Some(replaced) = replaced {
                    self.names.insert(to, replaced);
                }
            },
            Change::Remove { name, file } => {
                self.names.insert(name, file);
            },
        }
    }
}

impl Change {
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Create { name } | Self::Remove { name, .. } => vec![name],
            Self::Replace { from, to, .. } => vec![from, to],
        }
    }
}
