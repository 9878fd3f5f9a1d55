//! Values under small numbers, which are used again.

use std::ops::{Index, IndexMut};

/// A number; only the slab that gave it knows what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

impl Slot {
    /// What the first value of a slab gets.
    pub(super) const FIRST: Self = Self(0);
}

/// The values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, value: T) -> Slot {
        let Some(slot) = self.free.pop() else {
            self.places.push(Some(value));
            return Slot(self.places.len() - 1);
        };
        self.places[slot.0] = Some(value);
        slot
    }
    pub(super) fn remove(&mut self, slot: Slot) {
        self.places[slot.0] = None;
        self.free.push(slot);
    }
    /// Two different values at once.
    pub(super) fn two(&mut self, one: Slot, other: Slot) -> (&mut T, &mut T) {
        let found = self.places.get_disjoint_mut([one.0, other.0]);
        let [one, other] = found.expect("two slots in use");
        (one.as_mut().expect("a slot in use"), other.as_mut().expect("a slot in use"))
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.places.iter().enumerate().filter_map(|(at, value)| Some((Slot(at), value.as_ref()?)))
    }
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten()
    }
}

impl<T> Index<Slot> for Slab<T> {
    type Output = T;
    fn index(&self, slot: Slot) -> &T {
        self.places[slot.0].as_ref().expect("a slot in use")
    }
}

impl<T> IndexMut<Slot> for Slab<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        self.places[slot.0].as_mut().expect("a slot in use")
    }
}
