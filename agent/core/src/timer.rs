//! What is to be done later, by time.
//!
//! It knows no clock. Invariant: each timer is set at most once.

use berth_model::id::VolumeId;
use berth_model::task::TaskKey;
use berth_model::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Something to do later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Register although not every volume was verified.
    Register,
    /// Tell the master that this agent is alive.
    Heartbeat,
    /// Give up a master that says nothing.
    Silence,
    /// Repeat a status that was not acknowledged.
    Status(TaskKey),
    /// Ask again for an effect that failed.
    Retry(VolumeId),
    /// The retention of a trashed volume is over.
    Retention(VolumeId),
    /// Measure the next volume.
    Usage,
    /// Try again to delete an orphan.
    Orphan,
}

/// The timers that are set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    at: BTreeMap<Timer, Timestamp>,
    order: BTreeSet<(Timestamp, Timer)>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Timestamp) {
        self.clear(&timer);
        self.order.insert((at, timer.clone()));
        self.at.insert(timer, at);
    }
    pub(crate) fn clear(&mut self, timer: &Timer) {
        if let Some((timer, at)) = self.at.remove_entry(timer) {
            self.order.remove(&(at, timer));
        }
    }
    pub(crate) fn is_set(&self, timer: &Timer) -> bool {
        self.at.contains_key(timer)
    }
    /// The earliest point at which something is to be done.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }
    /// Takes the earliest timer that is due.
    pub(crate) fn due(&mut self, now: Timestamp) -> Option<Timer> {
        self.order.first().filter(|(at, _)| *at <= now)?;
        let (_, timer) = self.order.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_set_again_fires_once_at_the_new_time() {
        let at = Timestamp::from_ms;
        let mut timers = Timers::default();
        timers.set(Timer::Usage, at(5));
        timers.set(Timer::Heartbeat, at(7));
        timers.set(Timer::Usage, at(9));
        assert_eq!(timers.next(), Some(at(7)));
        assert_eq!(timers.due(at(6)), None);
        let fired: Vec<Timer> = std::iter::from_fn(|| timers.due(at(20))).collect();
        assert_eq!(fired, vec![Timer::Heartbeat, Timer::Usage]);
        assert_eq!(timers.next(), None);
    }
}
