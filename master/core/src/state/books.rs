//! One agent's resources, each in exactly one pool.
//!
//! Invariant: total = available + offered + used + withheld, but for the copies of shared volumes. Of such a volume one copy
//! rests in `available` or `withheld` for as long as it exists; each offer and each task has a further copy, which is made
//! for it and vanishes with it. The optimistic part of an offer stays in `available` while it is offered: what is in `offered`
//! is exclusive. It knows no reservation rule; every change is a difference whose cost does not depend on
//! how much else there is.

use berth_model::resources::{Resource, Resources};

/// Where a resource of an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    /// Free, may be offered.
    Available,
    /// In an offer, and in no other.
    Offered,
    /// Charged to a task.
    Used,
    /// Volumes that exist but may not be offered.
    Withheld,
}

/// The pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) total: Resources,
    pub(crate) available: Resources,
    pub(crate) offered: Resources,
    pub(crate) used: Resources,
    pub(crate) withheld: Resources,
    /// The first difference that did not fit; a fault, reported by the invariants.
    pub(crate) broken: Option<String>,
}

/// The sum that is one resource.
pub(crate) fn sum_of(resource: &Resource) -> Resources {
    let mut sum = Resources::new();
    sum.add(resource).expect("one resource is a sum");
    sum
}

impl Books {
    fn pool(&mut self, pool: Pool) -> &mut Resources {
        match pool {
            Pool::Available => &mut self.available,
            Pool::Offered => &mut self.offered,
            Pool::Used => &mut self.used,
            Pool::Withheld => &mut self.withheld,
        }
    }
    fn take(&mut self, pool: Pool, what: &Resources) {
        if let Err(shortfall) = self.pool(pool).checked_sub(what) {
            self.broken.get_or_insert_with(|| format!("{pool:?} lacks {}", shortfall.missing));
        }
    }
    fn give(&mut self, pool: Pool, what: &Resources) {
        if let Err(error) = self.pool(pool).add_all(what) {
            self.broken.get_or_insert_with(|| format!("{pool:?} cannot take {what}: {error}"));
        }
    }
    /// Moves `what` from one pool to another.
    pub(crate) fn shift(&mut self, from: Pool, to: Pool, what: &Resources) {
        self.take(from, what);
        self.give(to, what);
    }
    /// An offer is made; `what` is its exclusive part. What is shared stays available too.
    pub(crate) fn offer(&mut self, what: &Resources) {
        self.take(Pool::Available, &what.unshared());
        self.give(Pool::Offered, what);
    }
    /// An offer has ended.
    pub(crate) fn end_offer(&mut self, what: &Resources) {
        self.take(Pool::Offered, what);
        self.give(Pool::Available, &what.unshared());
    }
    /// A task gets a copy of a shared volume of its own.
    pub(crate) fn copy(&mut self, volume: &Resources) {
        self.give(Pool::Used, volume);
    }
    /// The task's copy vanishes.
    pub(crate) fn drop_copy(&mut self, volume: &Resources) {
        self.take(Pool::Used, volume);
    }
    /// Replaces `consumed` in one pool by `produced` in another.
    pub(crate) fn convert(
        &mut self,
        from: Pool,
        consumed: &Resources,
        to: Pool,
        produced: &Resources,
    ) {
        self.take(from, consumed);
        self.give(to, produced);
        if let Err(shortfall) = self.total.checked_sub(consumed) {
            self.broken.get_or_insert_with(|| format!("total lacks {}", shortfall.missing));
        }
        if let Err(error) = self.total.add_all(produced) {
            self.broken.get_or_insert_with(|| format!("total cannot take {produced}: {error}"));
        }
    }
}
