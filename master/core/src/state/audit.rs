//! What the master keeps in memory of the audit log: its two ends and the marks between, not its entries.

use berth_model::audit::{AuditHead, AuditMark};
use berth_model::units::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long until one more may be.
const REFUSAL_EVERY: Duration = Duration::from_secs(10);

/// The log as the master knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Absent before the first entry.
    pub(crate) head: Option<AuditHead>,
    /// Ends of segments that are there, by their last entry.
    pub(crate) marks: BTreeMap<u64, AuditMark>,
    /// What was found wrong at the start.
    pub(crate) fault: Option<String>,
    /// Requests of operators that were refused.
    pub(crate) refusals: Refusals,
    /// Operations of frameworks that failed at once: they have a share of their own, so neither hides the other.
    pub(crate) failures: Refusals,
}

/// How many refusals may be written now. A client in a loop must neither fill the disk nor drive other entries out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    taken: u64,
    since: Timestamp,
    /// How many were left out since the last one that was written.
    unwritten: u64,
}

impl Refusals {
    /// Counts a refusal. Answers, when it may be written, how many before it were not.
    pub(crate) fn take(&mut self, burst: u64, now: Timestamp) -> Option<u64> {
        if burst == 0 {
            return None;
        }
        let step = u64::try_from(REFUSAL_EVERY.as_millis()).unwrap_or(u64::MAX);
        let given = now.ms().saturating_sub(self.since.ms()) / step;
        self.taken = self.taken.saturating_sub(given);
        self.since = if self.taken == 0 {
            now
        } else {
            Timestamp::from_ms(self.since.ms().saturating_add(given.saturating_mul(step)))
        };
        if self.taken >= burst {
            self.unwritten += 1;
            return None;
        }
        self.taken += 1;
        Some(std::mem::take(&mut self.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_written_at_a_bounded_rate_and_counted_beyond_it() {
        let mut refusals = Refusals::default();
        let at = Timestamp::from_ms;
        let burst = (0..500).filter_map(|_| refusals.take(100, at(1_000_000))).count();
        assert_eq!(burst, 100);
        assert_eq!(refusals.take(100, at(1_009_999)), None);
        assert_eq!(refusals.take(100, at(1_010_000)), Some(401));
        assert_eq!(refusals.take(100, at(1_010_000)), None);
        // A clock that goes back gives nothing and takes nothing.
        assert_eq!(refusals.take(100, at(5)), None);
        let day = (0..86_400).filter_map(|s| refusals.take(100, at(1_010_000 + s * 1_000))).count();
        assert!((8_600..=8_740).contains(&day), "{day} refusals of a day were written");
    }
}
