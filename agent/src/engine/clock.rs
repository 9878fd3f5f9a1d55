//! The agent's only clock: wall time at the start, moved on by a monotonic one, so that it never steps back.

use berth_model::units::Timestamp;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Timestamp,
    since: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the agent's only reading of the wall clock")]
        let now = SystemTime::now();
        let elapsed = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Timestamp::from_ms(0).after(elapsed), since: Instant::now() }
    }
    pub(super) fn now(&self) -> Timestamp {
        self.start.after(self.since.elapsed())
    }
    /// How long until `at`; nothing when that has passed.
    pub(super) fn until(&self, at: Timestamp) -> Duration {
        at.since(self.now())
    }
}
