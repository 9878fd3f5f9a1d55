//! A canonical sum of resources: one entry per identity, ordered.
//!
//! Invariant: no entry holds nothing, and an empty sum has no map; two equal sums have equal maps whatever the order of
//! additions. Clones share the map until one of them changes, so that an offer of all that is free copies nothing.

mod sharing;

use super::{DiskInfo, Mount, Name, Persistence, Quantities, Resource, ResourceError, Value};
use crate::id::{Principal, VolumeName};
use crate::reservation::Stack;
use crate::resources::{DiskSource, Ranges};
use crate::role::Role;
use crate::units::Scalar;
use std::collections::{BTreeMap, BTreeSet};
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

#[derive(Clone, PartialEq, Eq)]
enum Amount {
    Scalar(Scalar),
    Ranges(Ranges),
    Set(BTreeSet<Arc<str>>),
    Copies(u64),
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

type Entries = BTreeMap<Key, Held>;

/// The entries, and what was found out about them.
#[derive(Default)]
struct Body {
    entries: Entries,
    summary: OnceLock<Summary>,
}

/// What is asked of a sum again and again; computed once, until the sum changes.
#[derive(Clone, Debug, Default)]
struct Summary {
    quantities: Quantities,
    has_reserved: bool,
    has_unreserved: bool,
    has_shared: bool,
}

impl Clone for Body {
    /// For somebody who is about to change it: what was found out stays behind.
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), summary: OnceLock::new() }
    }
}

impl Summary {
    fn of(entries: &Entries) -> Self {
        let mut summary = Self::default();
        for (key, held) in entries {
            summary.quantities.put(&key.name, quantity(key, held).milli());
            let free = key.stack.is_unreserved();
            summary.has_unreserved |= free;
            summary.has_reserved |= !free;
            summary.has_shared |= key.shared;
        }
        summary
    }
}

static NOTHING: Body = Body { entries: BTreeMap::new(), summary: OnceLock::new() };

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

impl Amount {
    fn of(resource: &Resource) -> Self {
        match &resource.value {
            _ if !resource.is_divisible() => Self::Copies(1),
            Value::Scalar(amount) => Self::Scalar(*amount),
            Value::Ranges(ranges) => Self::Ranges(ranges.clone()),
            Value::Set(items) => Self::Set(items.clone()),
        }
    }

    fn is_nothing(&self) -> bool {
        match self {
            Self::Scalar(amount) => !amount.is_positive(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(items) => items.is_empty(),
            Self::Copies(copies) => *copies == 0,
        }
    }

    fn plus(&self, other: &Self, name: &Name) -> Result<Self, ResourceError> {
        let overflow = || ResourceError::Overflow { name: name.to_string() };
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => {
                a.checked_add(*b).map(Self::Scalar).ok_or_else(overflow)
            },
            (Self::Ranges(a), Self::Ranges(b)) => a
                .union(b)
                .map(Self::Ranges)
                .map_err(|source| ResourceError::Ranges { name: name.to_string(), source }),
            (Self::Set(a), Self::Set(b)) => match a.intersection(b).next() {
                None => Ok(Self::Set(a.union(b).cloned().collect())),
                Some(item) => {
                    Err(ResourceError::Item { name: name.to_string(), item: item.to_string() })
                },
            },
            (Self::Copies(a), Self::Copies(b)) => {
                a.checked_add(*b).map(Self::Copies).ok_or_else(overflow)
            },
            // The same name with values of two kinds: agents declare one kind per name.
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_) | Self::Copies(_), _) => {
                Err(overflow())
            },
        }
    }

    fn minus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => Self::Scalar(a.saturating_sub(*b)),
            (Self::Ranges(a), Self::Ranges(b)) => Self::Ranges(a.minus(b)),
            (Self::Set(a), Self::Set(b)) => Self::Set(a.difference(b).cloned().collect()),
            (Self::Copies(a), Self::Copies(b)) => Self::Copies(a.saturating_sub(*b)),
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_) | Self::Copies(_), _) => self.clone(),
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
    /// Whether any of it is reserved to nobody.
    #[must_use]
    pub fn has_unreserved(&self) -> bool {
        self.summary().has_unreserved
    }
    /// Whether any of it is reserved to somebody.
    #[must_use]
    pub fn has_reserved(&self) -> bool {
        self.summary().has_reserved
    }
    /// To whom what is reserved of it belongs.
    #[must_use]
    pub fn owners(&self) -> BTreeSet<&Role> {
        self.held().keys().filter_map(|key| key.stack.owner()).collect()
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
    /// The total of a scalar; shared volumes count once, ranges and sets count their members.
    #[must_use]
    pub fn total(&self, name: &Name) -> Scalar {
        self.summary().quantities.get(name)
    }
    /// The totals of all names, as [`Self::total`] counts.
    #[must_use]
    pub fn quantities(&self) -> &Quantities {
        &self.summary().quantities
    }
    /// The same as a map.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<Name, Scalar> {
        self.quantities().iter().collect()
    }
}

fn quantity(key: &Key, held: &Held) -> Scalar {
    let whole = |n: u64| Scalar::from_units(n).unwrap_or_default();
    match (&held.amount, key.whole) {
        (Amount::Scalar(amount), _) => *amount,
        (Amount::Ranges(ranges), _) => whole(ranges.count()),
        (Amount::Set(items), _) => whole(items.len() as u64),
        (Amount::Copies(_), Some(size)) if key.shared => size,
        (Amount::Copies(copies), Some(size)) => i64::try_from(*copies)
            .ok()
            .and_then(|n| size.milli().checked_mul(n))
            .map(Scalar::from_milli)
            .unwrap_or(size),
        (Amount::Copies(copies), None) => whole(*copies),
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
