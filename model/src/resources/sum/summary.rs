//! What is found out about a sum once: its totals, and what kinds of things are in it.

use super::{Amount, Held, Key, Resources};
use crate::resources::{Name, Quantities};
use crate::role::Role;
use crate::units::Scalar;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

pub(super) type Entries = BTreeMap<Key, Held>;

/// The entries, and what was found out about them.
#[derive(Default)]
pub(super) struct Body {
    pub(super) entries: Entries,
    pub(super) summary: OnceLock<Summary>,
}

/// What is asked of a sum again and again; computed once, until the sum changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub(super) quantities: Quantities,
    pub(super) has_reserved: bool,
    pub(super) has_unreserved: bool,
    pub(super) has_shared: bool,
}

impl Clone for Body {
    /// For somebody who is about to change it: what was found out stays behind.
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), summary: OnceLock::new() }
    }
}

impl Summary {
    pub(super) fn of(entries: &Entries) -> Self {
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

pub(super) static NOTHING: Body = Body { entries: BTreeMap::new(), summary: OnceLock::new() };

impl Resources {
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
