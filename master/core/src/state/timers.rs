//! What is due when.

use super::FilterKey;
use berth_model::id::{AgentId, FrameworkId, OfferId, VolumeId};
use berth_model::units::Timestamp;
use std::collections::BTreeSet;

/// What to do when the time has come. Each looks at the state again: a timer that has become
/// pointless does nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Say to everybody that the master is there.
    Heartbeat,
    /// Has the agent been silent for too long?
    AgentSilent(AgentId),
    /// The agents that are not back are unreachable.
    ReregisterWindow,
    /// Give the framework up.
    FrameworkAway(FrameworkId),
    /// Rescind the offer.
    OfferOld(OfferId),
    /// Somebody else has committed a part of the offer: rescind it.
    OfferLost(OfferId),
    /// What is kept of an agent for a role is free again.
    KeptOver(AgentId),
    /// A refusal ends.
    FilterEnds(FilterKey),
    /// Look at an agent's free resources.
    Look(AgentId),
    /// Look at the schedule of a volume's snapshots.
    Schedule(VolumeId),
}

/// An ordered set of timers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers(BTreeSet<(Timestamp, Timer)>);

impl Timers {
    pub(crate) fn arm(&mut self, at: Timestamp, timer: Timer) {
        self.0.insert((at, timer));
    }
    pub(crate) fn disarm(&mut self, at: Timestamp, timer: Timer) {
        self.0.remove(&(at, timer));
    }
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }
    /// The first timer that is due.
    pub(crate) fn due(&self, now: Timestamp) -> Option<&(Timestamp, Timer)> {
        self.0.first().filter(|(at, _)| *at <= now)
    }
}
