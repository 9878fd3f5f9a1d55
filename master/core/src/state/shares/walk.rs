//! Everybody who wants offers, one after the other: the tree in pre-order, on each level whoever has the least first.
//!
//! It stops where its caller stops, and can be told that only what is reserved is left: then it goes where somebody may use
//! that, and nowhere else.

use super::slab::Slot;
use super::tree::{Branch, Rank, Tree};
use berth_model::id::FrameworkId;
use berth_model::role::Role;
use std::collections::{BTreeSet, btree_map};

/// The way through the tree.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    tree: &'a Tree,
    /// From the root to where it stands.
    path: Vec<(Slot, btree_map::Iter<'a, Rank<Role>, Branch>)>,
    /// The frameworks of the role where it stands.
    ready: Option<(&'a Role, btree_map::Keys<'a, Rank<FrameworkId>, Slot>)>,
    owners: Option<BTreeSet<Role>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        let path = vec![(tree.root, tree.nodes[tree.root].branches.iter())];
        Self { tree, path, ready: None, owners: None }
    }
    /// From now on only those who may use what is reserved to these.
    pub(crate) fn only_of(&mut self, owners: BTreeSet<&Role>) {
        self.owners = Some(owners.into_iter().cloned().collect());
    }
    /// Who is next.
    pub(crate) fn step(&mut self) -> Option<(&'a Role, &'a FrameworkId)> {
        loop {
            if let Some((role, frameworks)) = &mut self.ready {
                let role = *role;
                if let Some(rank) = frameworks.next()
                    && may_use(self.owners.as_ref(), role)
                {
                    return Some((role, &rank.label.name));
                }
                self.ready = None;
            }
            let (at, branches) = self.path.last_mut()?;
            match branches.next() {
                None => drop(self.path.pop()),
                Some((_, Branch::Own)) => {
                    let node = &self.tree.nodes[*at];
                    self.ready = Some((&node.label.name, node.ready.keys()));
                },
                Some((rank, Branch::Below(below))) => {
                    if leads_to(self.owners.as_ref(), &rank.label.name) {
                        self.path.push((*below, self.tree.nodes[*below].branches.iter()));
                    }
                },
            }
        }
    }
}

fn may_use(owners: Option<&BTreeSet<Role>>, role: &Role) -> bool {
    owners.is_none_or(|owners| owners.iter().any(|owner| role.may_use(owner)))
}

/// Whether the role or one below it may use it.
fn leads_to(owners: Option<&BTreeSet<Role>>, role: &Role) -> bool {
    may_use(owners, role)
        || owners.is_some_and(|owners| owners.iter().any(|owner| owner.is_below(role)))
}
