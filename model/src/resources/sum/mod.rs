//! A canonical sum of resources: one entry per identity, ordered.
//!
//! Invariant: no entry holds nothing, and an empty sum has no map; two equal sums have equal maps whatever the order of
//! additions. Clones share the map until one of them changes, so that an offer of all that is free copies nothing.

mod amount;
mod sharing;
mod summary;

use amount::Amount;
use summary::{Body, Entries, NOTHING, Summary};

use super::{DiskInfo, Mount, Name, Persistence, Resource, ResourceError, Value};
use crate::id::{Principal, VolumeName};
use crate::reservation::Stack;
use crate::resources::DiskSource;
use crate::role::Role;
use crate::units::Scalar;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Everything that must agree for two amounts to be of the same thing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: Name,
    stack: Stack,
    source: DiskSource,
    volume: Option<VolumeName>,
    /// The full size of what cannot be divided; such entries are counted in copies.
    whole: Option<Scalar>,
    shared: bool,
    revocable: bool,
    provider: Option<Arc<str>>,
    allocation_role: Option<Role>,
}

/// What a volume shows besides its identity; the first added wins.
#[derive(Clone, Default)]
struct View {
    principal: Option<Principal>,
    mount: Option<Mount>,
}

#[derive(Clone)]
struct Held {
    amount: Amount,
    view: View,
}

/// A canonical sum of resources. A clone is cheap.
#[derive(Clone, Default)]
pub struct Resources(Option<Arc<Body>>);

/// One entry of a sum: the resource and how many copies of it there are (1 unless it cannot be divided).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The resource, with its full amount.
    pub resource: Resource,
    /// Copies of a volume or whole disk; 1 for anything divisible.
    pub copies: u64,
}

/// What a sum lacks.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("missing {missing}")]
pub struct Shortfall {
    /// The part of what was wanted that is not there.
    pub missing: Resources,
}

impl Key {
    fn of(resource: &Resource) -> Self {
        Self {
            name: resource.name.clone(),
            stack: resource.stack.clone(),
            source: resource.disk_source(),
            volume: resource.persistence().map(|p| p.name.clone()),
            whole: if resource.is_divisible() { None } else { resource.amount() },
            shared: resource.shared,
            revocable: resource.revocable,
            provider: resource.provider.clone(),
            allocation_role: resource.allocation_role.clone(),
        }
    }
}

impl Resources {
    fn held(&self) -> &Entries {
        &self.0.as_deref().unwrap_or(&NOTHING).entries
    }
    fn held_mut(&mut self) -> &mut Entries {
        let body = Arc::make_mut(self.0.get_or_insert_default());
        body.summary.take();
        &mut body.entries
    }
    fn summary(&self) -> &Summary {
        let body = self.0.as_deref().unwrap_or(&NOTHING);
        body.summary.get_or_init(|| Summary::of(&body.entries))
    }
    fn of_entries(entries: Entries) -> Self {
        let body = Body { entries, summary: OnceLock::new() };
        Self((!body.entries.is_empty()).then(|| Arc::new(body)))
    }
    /// The entries that are kept; nothing is copied when all are.
    fn kept(&self, keep: impl Fn(&Key, &Held) -> bool) -> Self {
        if self.held().iter().all(|(key, held)| keep(key, held)) {
            return self.clone();
        }
        let kept = self.held().iter().filter(|(key, held)| keep(key, held));
        Self::of_entries(kept.map(|(key, held)| (key.clone(), held.clone())).collect())
    }
    /// Whether both are clones that nobody has changed.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// A sum of checked resources.
    ///
    /// # Errors
    /// A resource is not valid on its own, or a sum does not fit.
    pub fn from_list(list: impl IntoIterator<Item = Resource>) -> Result<Self, ResourceError> {
        let mut sum = Self::new();
        for resource in list {
            resource.validate()?;
            sum.add(&resource)?;
        }
        Ok(sum)
    }
    /// True when nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held().is_empty()
    }
    /// How many entries (not how much).
    #[must_use]
    pub fn len(&self) -> usize {
        self.held().len()
    }
    /// Adds one resource.
    ///
    /// # Errors
    /// The sum does not fit, or ranges overlap.
    pub fn add(&mut self, resource: &Resource) -> Result<(), ResourceError> {
        let held = Held {
            amount: Amount::of(resource),
            view: View {
                principal: resource.persistence().and_then(|p| p.principal.clone()),
                mount: resource.disk.as_ref().and_then(|d| d.mount.clone()),
            },
        };
        self.add_held(&Key::of(resource), &held)
    }
    /// Adds a sum.
    ///
    /// # Errors
    /// A sum does not fit, or ranges overlap; then `self` is unchanged.
    pub fn add_all(&mut self, other: &Self) -> Result<(), ResourceError> {
        if self.is_empty() {
            self.0.clone_from(&other.0);
            return Ok(());
        }
        for (key, held) in other.held() {
            if let Some(mine) = self.held().get(key) {
                mine.amount.plus(&held.amount, &key.name)?;
            }
        }
        for (key, held) in other.held() {
            self.add_held(key, held)?;
        }
        Ok(())
    }

    fn add_held(&mut self, key: &Key, held: &Held) -> Result<(), ResourceError> {
        if held.amount.is_nothing() {
            return Ok(());
        }
        let entries = self.held_mut();
        match entries.get_mut(key) {
            Some(mine) => mine.amount = mine.amount.plus(&held.amount, &key.name)?,
            None => drop(entries.insert(key.clone(), held.clone())),
        }
        Ok(())
    }

    /// True when all of `wanted` is here.
    #[must_use]
    pub fn contains(&self, wanted: &Self) -> bool {
        self.is_same(wanted)
            || wanted.held().iter().all(|(key, want)| {
                let have = self.held().get(key);
                have.is_some_and(|have| want.amount.minus(&have.amount).is_nothing())
            })
    }
    /// The part of `wanted` that is not here.
    #[must_use]
    pub fn missing(&self, wanted: &Self) -> Self {
        wanted.minus(self)
    }
    /// What is left when `other` is taken away as far as it is here.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        if self.is_same(other) {
            return Self::new();
        }
        if other.is_empty() {
            return self.clone();
        }
        let mut left = BTreeMap::new();
        for (key, held) in self.held() {
            let amount = match other.held().get(key) {
                Some(taken) => held.amount.minus(&taken.amount),
                None => held.amount.clone(),
            };
            if !amount.is_nothing() {
                left.insert(key.clone(), Held { amount, view: held.view.clone() });
            }
        }
        Self::of_entries(left)
    }
    /// Takes `other` away.
    ///
    /// # Errors
    /// Something of it is not here; then `self` is unchanged.
    pub fn checked_sub(&mut self, other: &Self) -> Result<(), Shortfall> {
        if !self.contains(other) {
            return Err(Shortfall { missing: self.missing(other) });
        }
        if self.is_same(other) {
            self.0 = None;
            return Ok(());
        }
        if other.is_empty() {
            return Ok(());
        }
        let entries = self.held_mut();
        for (key, taken) in other.held() {
            let Some(held) = entries.get_mut(key) else { continue };
            held.amount = held.amount.minus(&taken.amount);
            if held.amount.is_nothing() {
                entries.remove(key);
            }
        }
        if entries.is_empty() {
            self.0 = None;
        }
        Ok(())
    }

    /// The entries in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.held().iter().map(|(key, held)| entry(key, held))
    }
    /// The resources in order, a copy of a volume or whole disk each time it occurs.
    pub fn iter(&self) -> impl Iterator<Item = Resource> + '_ {
        self.entries()
            .flat_map(|e| (0..e.copies).map(move |_| e.resource.clone()).collect::<Vec<_>>())
    }
    /// The entries that `keep` accepts.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&Resource) -> bool) -> Self {
        self.kept(|key, held| keep(&entry(key, held).resource))
    }
    /// What a framework of `role` may be offered.
    #[must_use]
    pub fn allocatable_to(&self, role: &Role) -> Self {
        if !self.summary().has_reserved {
            return self.clone();
        }
        self.kept(|key, _held| key.stack.is_allocatable_to(role))
    }
    /// What is in both sums.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        self.minus(&self.minus(other))
    }
    /// The persistent volumes.
    #[must_use]
    pub fn volumes(&self) -> Vec<Resource> {
        self.held()
            .iter()
            .filter(|(key, _)| key.volume.is_some())
            .map(|(key, held)| entry(key, held).resource)
            .collect()
    }
    /// The same with every resource marked for `role`, or unmarked.
    ///
    /// # Errors
    /// Two entries become one and their sum does not fit.
    pub fn allocated_to(&self, role: Option<&Role>) -> Result<Self, ResourceError> {
        let mut marked = Self::new();
        for (key, held) in self.held() {
            let key = Key { allocation_role: role.cloned(), ..key.clone() };
            marked.add_held(&key, held)?;
        }
        Ok(marked)
    }
}

fn entry(key: &Key, held: &Held) -> Entry {
    let (value, copies) = match &held.amount {
        Amount::Scalar(amount) => (Value::Scalar(*amount), 1),
        Amount::Ranges(ranges) => (Value::Ranges(ranges.clone()), 1),
        Amount::Set(items) => (Value::Set(items.clone()), 1),
        Amount::Copies(copies) => (Value::Scalar(key.whole.unwrap_or_default()), *copies),
    };
    let disk = (key.source != DiskSource::Root || key.volume.is_some()).then(|| DiskInfo {
        source: key.source.clone(),
        persistence: key
            .volume
            .clone()
            .map(|name| Persistence { name, principal: held.view.principal.clone() }),
        mount: held.view.mount.clone(),
    });
    let resource = Resource {
        name: key.name.clone(),
        value,
        stack: key.stack.clone(),
        disk,
        shared: key.shared,
        revocable: key.revocable,
        provider: key.provider.clone(),
        allocation_role: key.allocation_role.clone(),
    };
    Entry { resource, copies }
}

impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
            || self.len() == other.len()
                && self
                    .held()
                    .iter()
                    .zip(other.held())
                    .all(|((k1, h1), (k2, h2))| k1 == k2 && h1.amount == h2.amount)
    }
}

impl Eq for Resources {}
