//! The roles as a tree, and in what order they and their frameworks are next.
//!
//! Each role orders two things: its frameworks that want offers, and its branches. A branch is a role below it, or the role
//! itself as far as its own frameworks are concerned, which so compete with the roles below on equal terms. The order is by
//! share, then by turns, then by name. A branch is in the order only while somebody on it wants offers; accounts go on.
//! An order of one is not kept: who is alone has whatever rank it had, until a second one comes.
//! It knows no cluster: shares come from whoever changes an account.

use super::account::Account;
use super::label::Label;
use super::share::{Share, WEIGHT_ONE};
use super::slab::{Slab, Slot};
use berth_model::id::FrameworkId;
use berth_model::role::Role;
use std::collections::btree_map::{BTreeMap, Entry};
use std::num::NonZeroU64;

/// A place in an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<N> {
    pub(super) share: Share,
    pub(super) served: u64,
    pub(super) label: Label<N>,
}

pub(super) type Order<N, T> = BTreeMap<Rank<N>, T>;

/// What a role chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branch {
    /// Its own frameworks.
    Own,
    /// A role below it.
    Below(Slot),
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) label: Label<Role>,
    pub(super) parent: Slot,
    pub(super) weight: NonZeroU64,
    /// Of it and of all roles below it.
    pub(super) all: Account,
    /// Of its own frameworks.
    pub(super) own: Account,
    pub(super) branches: Order<Role, Branch>,
    pub(super) ready: Order<FrameworkId, Slot>,
    /// Frameworks and roles that hang on it, whether they want offers or not.
    members: usize,
}

/// A framework in a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) label: Label<FrameworkId>,
    pub(super) node: Slot,
    pub(super) account: Account,
    pub(super) wants: bool,
}

/// The roles and their frameworks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) root: Slot,
    pub(super) nodes: Slab<Node>,
    pub(super) seats: Slab<Seat>,
    roles: BTreeMap<Role, Slot>,
    pub(super) frameworks: BTreeMap<Label<FrameworkId>, BTreeMap<Role, Slot>>,
}

impl Default for Tree {
    fn default() -> Self {
        let mut nodes = Slab::default();
        // Nobody has the role of the root: it is above `*` as above every other.
        let root = nodes.insert(Node::new(&Role::star(), None));
        let (seats, roles, frameworks) = (Slab::default(), BTreeMap::new(), BTreeMap::new());
        Self { root, nodes, seats, roles, frameworks }
    }
}

impl Node {
    fn new(role: &Role, parent: Option<Slot>) -> Self {
        Self {
            label: Label::of_role(role),
            parent: parent.unwrap_or(Slot::FIRST),
            weight: WEIGHT_ONE,
            all: Account::default(),
            own: Account::default(),
            branches: Order::new(),
            ready: Order::new(),
            members: 0,
        }
    }
}

impl Account {
    fn rank<N: Clone>(&self, label: &Label<N>) -> Rank<N> {
        Rank { share: self.share, served: self.served, label: label.clone() }
    }
}

/// Changes an account and moves it in the order that it is in, if it is.
fn move_in<N: Clone + Ord, T>(
    order: &mut Order<N, T>,
    label: &Label<N>,
    account: &mut Account,
    change: impl FnOnce(&mut Account) -> Share,
) {
    if order.len() < 2 {
        account.share = change(account);
        return;
    }
    let entry = order.remove_entry(&account.rank(label));
    account.share = change(account);
    if let Some((mut rank, value)) = entry {
        (rank.share, rank.served) = (account.share, account.served);
        order.insert(rank, value);
    }
}

/// Takes somebody out of the order that it is in.
fn take_out<N: Ord, T>(order: &mut Order<N, T>, rank: &Rank<N>) {
    if order.len() == 1 {
        order.clear();
    } else {
        order.remove(rank);
    }
}

impl Tree {
    /// The role's node, made with those above it when it is new.
    fn node(&mut self, role: &Role) -> Slot {
        if let Some(slot) = self.roles.get(role) {
            return *slot;
        }
        let above = role.as_str().rsplit_once('/').map(|(above, _)| above);
        let above = above.map(|text| Role::new(text).expect("a role's ancestor is a role"));
        let parent = above.map_or(self.root, |above| self.node(&above));
        let slot = self.nodes.insert(Node::new(role, Some(parent)));
        self.nodes[parent].members += 1;
        self.roles.insert(role.clone(), slot);
        slot
    }
    fn seat(&mut self, role: &Role, framework: &FrameworkId) -> Slot {
        let label = Label::of_framework(framework);
        let known = self.frameworks.get(&label).and_then(|seats| seats.get(role));
        if let Some(slot) = known {
            return *slot;
        }
        let node = self.node(role);
        self.nodes[node].members += 1;
        let account = Account::default();
        let seat = Seat { label: label.clone(), node, account, wants: false };
        let slot = self.seats.insert(seat);
        self.frameworks.entry(label).or_default().insert(role.clone(), slot);
        slot
    }

    /// Changes the accounts of a framework in a role, of the role, and of those above it. `change` answers the share.
    pub(super) fn change(
        &mut self,
        (role, framework): (&Role, &FrameworkId),
        change: impl Fn(&mut Account, NonZeroU64) -> Share,
    ) {
        let seat = self.seat(role, framework);
        let seat = &mut self.seats[seat];
        let mut at = seat.node;
        let node = &mut self.nodes[at];
        move_in(&mut node.ready, &seat.label, &mut seat.account, |a| change(a, WEIGHT_ONE));
        move_in(&mut node.branches, &node.label, &mut node.own, |a| change(a, WEIGHT_ONE));
        while at != self.root {
            let parent = self.nodes[at].parent;
            let (node, above) = self.nodes.two(at, parent);
            let weight = node.weight;
            move_in(&mut above.branches, &node.label, &mut node.all, |a| change(a, weight));
            at = parent;
        }
    }
    /// Another weight for a role; `share` answers the share with it.
    pub(super) fn weigh(
        &mut self,
        role: &Role,
        weight: NonZeroU64,
        share: impl Fn(&Account, NonZeroU64) -> Share,
    ) {
        let slot = self.node(role);
        let parent = self.nodes[slot].parent;
        let (node, above) = self.nodes.two(slot, parent);
        node.weight = weight;
        move_in(&mut above.branches, &node.label, &mut node.all, |a| share(a, weight));
        self.prune(slot);
    }
    /// Puts everything in order anew; `share` answers each share.
    pub(super) fn sort(&mut self, share: impl Fn(&Account, NonZeroU64) -> Share) {
        for seat in self.seats.values_mut() {
            seat.account.share = share(&seat.account, WEIGHT_ONE);
        }
        for node in self.nodes.values_mut() {
            node.own.share = share(&node.own, WEIGHT_ONE);
            node.all.share = share(&node.all, node.weight);
        }
        let slots: Vec<Slot> = self.nodes.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let (ready, branches) = self.orders_of(slot);
            let node = &mut self.nodes[slot];
            (node.ready, node.branches) = (ready, branches);
        }
    }
    /// A node's orders by what the accounts say, with the members that they have.
    pub(super) fn orders_of(&self, slot: Slot) -> (Order<FrameworkId, Slot>, Order<Role, Branch>) {
        let node = &self.nodes[slot];
        let ready = node.ready.values().map(|slot| (self.rank_of(*slot), *slot));
        let branches = node.branches.values();
        let branches = branches.map(|branch| (self.branch_rank(node, *branch), *branch));
        (ready.collect(), branches.collect())
    }
    fn rank_of(&self, seat: Slot) -> Rank<FrameworkId> {
        let seat = &self.seats[seat];
        seat.account.rank(&seat.label)
    }
    fn branch_rank(&self, node: &Node, branch: Branch) -> Rank<Role> {
        match branch {
            Branch::Own => node.own.rank(&node.label),
            Branch::Below(slot) => {
                let below = &self.nodes[slot];
                below.all.rank(&below.label)
            },
        }
    }
    /// Whether the orders are the same; those of one are when it is the same one.
    pub(super) fn is_ordered_as(&self, other: &Self) -> bool {
        fn same<N: PartialEq, T: PartialEq>(one: &Order<N, T>, other: &Order<N, T>) -> bool {
            one == other || (one.len() == 1 && one.values().eq(other.values()))
        }
        let mut nodes = self.nodes.iter().zip(other.nodes.iter());
        nodes.all(|((_, node), (_, other))| {
            same(&node.ready, &other.ready) && same(&node.branches, &other.branches)
        })
    }

    /// The roles for which the framework wants offers from now on.
    pub(super) fn want<'a>(
        &mut self,
        framework: &FrameworkId,
        roles: impl Iterator<Item = &'a Role> + Clone,
    ) {
        let seats = self.frameworks.get(&Label::of_framework(framework)).into_iter().flatten();
        let over: Vec<Slot> = seats
            .filter(|(role, slot)| self.seats[**slot].wants && !roles.clone().any(|r| r == *role))
            .map(|(_, slot)| *slot)
            .collect();
        for slot in over {
            self.leave(slot);
        }
        for role in roles {
            let slot = self.seat(role, framework);
            if !self.seats[slot].wants {
                self.enter(slot);
            }
        }
    }
    fn enter(&mut self, slot: Slot) {
        self.seats[slot].wants = true;
        let mut at = self.seats[slot].node;
        self.refresh(at);
        let (seat, node) = (&self.seats[slot], &mut self.nodes[at]);
        let mut new = node.ready.is_empty();
        node.ready.insert(seat.account.rank(&seat.label), slot);
        let mut rank = node.own.rank(&node.label);
        let mut branch = Branch::Own;
        // Whose first one it is comes into the order that it is in itself.
        while new {
            let node = &mut self.nodes[at];
            new = node.branches.is_empty();
            node.branches.insert(rank, branch);
            if at == self.root {
                return;
            }
            (rank, branch) = (node.all.rank(&node.label), Branch::Below(at));
            at = node.parent;
            if new {
                self.refresh(at);
            }
        }
    }
    /// Gives those who are alone in an order the rank that they have now.
    fn refresh(&mut self, at: Slot) {
        let node = &self.nodes[at];
        let ready = node.ready.values().next().filter(|_| node.ready.len() == 1).copied();
        let branch = node.branches.values().next().filter(|_| node.branches.len() == 1).copied();
        let ready = ready.map(|slot| (self.rank_of(slot), slot));
        let branch = branch.map(|branch| (self.branch_rank(node, branch), branch));
        let node = &mut self.nodes[at];
        if let Some(alone) = ready {
            node.ready = Order::from([alone]);
        }
        if let Some(alone) = branch {
            node.branches = Order::from([alone]);
        }
    }
    fn leave(&mut self, slot: Slot) {
        self.seats[slot].wants = false;
        let mut at = self.seats[slot].node;
        let (seat, node) = (&self.seats[slot], &mut self.nodes[at]);
        take_out(&mut node.ready, &seat.account.rank(&seat.label));
        if !node.ready.is_empty() {
            return;
        }
        let mut rank = node.own.rank(&node.label);
        loop {
            let node = &mut self.nodes[at];
            take_out(&mut node.branches, &rank);
            if at == self.root || !node.branches.is_empty() {
                return;
            }
            rank = node.all.rank(&node.label);
            at = node.parent;
        }
    }

    /// Forgets where the framework has nothing, and its turns there.
    pub(super) fn forget(&mut self, framework: &FrameworkId) {
        self.want(framework, std::iter::empty());
        let Entry::Occupied(mut seats) = self.frameworks.entry(Label::of_framework(framework))
        else {
            return;
        };
        let mut left = Vec::new();
        seats.get_mut().retain(|_role, slot| {
            let seat = &self.seats[*slot];
            let empty = seat.account.is_empty();
            if empty {
                left.push(seat.node);
                self.seats.remove(*slot);
            }
            !empty
        });
        if seats.get().is_empty() {
            seats.remove();
        }
        for node in left {
            self.nodes[node].members -= 1;
            self.prune(node);
        }
    }
    /// Drops a role, and then those above it, that nobody has and of which there is nothing to remember.
    fn prune(&mut self, mut at: Slot) {
        loop {
            let node = &self.nodes[at];
            if at == self.root
                || node.members > 0
                || node.weight != WEIGHT_ONE
                || !node.all.is_empty()
            {
                return;
            }
            let parent = node.parent;
            let role = node.label.name.clone();
            self.roles.remove(&role);
            self.nodes.remove(at);
            self.nodes[parent].members -= 1;
            at = parent;
        }
    }
}
