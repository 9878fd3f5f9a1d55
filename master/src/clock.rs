//! The master's only clock: wall time at the start, moved on by a monotonic one, so that it never steps back.

use berth_model::units::Timestamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Timestamp,
    since: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the master's only reading of the wall clock"
        )]
        let now = SystemTime::now();
        let elapsed = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = Timestamp::from_ms(0).after(elapsed);
        Self { start, since: Instant::now() }
    }
    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.start.after(self.since.elapsed())
    }
}
