//! What a volume uses, and how fast that grows.
//!
//! A history is bounded: it forgets what is older than a day and thins out the rest, so the same measurements always leave
//! the same samples. No floats: a trend is bytes over the time they were measured in.

use crate::units::{Bytes, Timestamp};
use std::time::Duration;

/// One measurement of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// In use.
    pub bytes: Bytes,
    /// Files, directories and links in use; absent where nobody counts them.
    pub inodes: Option<u64>,
    /// How many there can be; absent where there is no limit of the volume's own.
    pub inodes_limit: Option<u64>,
}

impl Measured {
    /// Where only bytes are known.
    #[must_use]
    pub const fn of(bytes: Bytes) -> Self {
        Self { bytes, inodes: None, inodes_limit: None }
    }
}

/// How use changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trend {
    /// Between the two measurements.
    pub window: Duration,
    /// By so many bytes; negative when it shrank.
    pub change: i64,
}

impl Trend {
    /// How long until `free` bytes are used if that goes on; absent when it does not grow.
    #[must_use]
    pub fn full_in(&self, free: Bytes) -> Option<Duration> {
        let growth = u128::try_from(self.change).ok().filter(|growth| *growth > 0)?;
        let ms = u128::from(free.get()) * self.window.as_millis() / growth;
        Some(Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX)))
    }
    /// The change in a day at this rate.
    #[must_use]
    pub fn per_day(&self) -> i64 {
        let window = i128::try_from(self.window.as_millis()).unwrap_or(i128::MAX).max(1);
        let change = i128::from(self.change) * 86_400_000 / window;
        i64::try_from(change).unwrap_or(if change < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Forgotten when older.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);
/// A shorter time says nothing of the next days.
const WINDOW_MIN: Duration = Duration::from_secs(10 * 60);
/// Thinned out when there are more.
const SAMPLES_MAX: usize = 32;

/// The measurements of one volume, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    samples: Vec<(Timestamp, Bytes)>,
    latest: Option<(Timestamp, Measured)>,
}

impl History {
    /// Takes a measurement in. One that is not newer than the latest begins anew: the clock was set back.
    pub fn add(&mut self, at: Timestamp, measured: Measured) {
        if self.latest.is_some_and(|(latest, _)| latest >= at) {
            self.samples.clear();
        }
        self.latest = Some((at, measured));
        self.samples.push((at, measured.bytes));
        self.samples.retain(|(then, _)| at.since(*then) <= WINDOW_MAX);
        if self.samples.len() > SAMPLES_MAX {
            // The oldest stays, for the window; the newest as well.
            let last = self.samples.len() - 1;
            let mut index = 0..;
            self.samples.retain(|_| index.next().is_some_and(|i| i % 2 == 0 || i == last));
        }
    }
    /// The latest measurement.
    #[must_use]
    pub const fn latest(&self) -> Option<(Timestamp, Measured)> {
        self.latest
    }
    /// From the oldest to the latest; absent while they are too close to each other.
    #[must_use]
    pub fn trend(&self) -> Option<Trend> {
        let ((first, before), (last, after)) = (*self.samples.first()?, *self.samples.last()?);
        let window = last.since(first);
        let change = i128::from(after.get()) - i128::from(before.get());
        let change = i64::try_from(change).ok()?;
        (window >= WINDOW_MIN).then_some(Trend { window, change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn measured(minutes: impl IntoIterator<Item = (u64, u64)>) -> History {
        let mut history = History::default();
        for (minute, mib) in minutes {
            let at = Timestamp::from_ms(minute * MINUTE);
            history.add(at, Measured::of(Bytes::from_mib(mib)));
        }
        history
    }

    #[test]
    fn a_trend_needs_ten_minutes_and_says_its_window() {
        assert_eq!(measured([(0, 10)]).trend(), None);
        assert_eq!(measured([(0, 10), (9, 20)]).trend(), None);
        let trend = measured([(0, 10), (5, 100), (20, 30)]).trend().unwrap();
        let window = Duration::from_secs(20 * 60);
        assert_eq!(trend, Trend { window, change: 20 << 20 });
        // One MiB a minute: 1440 a day, and 70 are free.
        assert_eq!(trend.per_day(), 1_440 << 20);
        assert_eq!(trend.full_in(Bytes::from_mib(70)), Some(Duration::from_secs(70 * 60)));
        assert_eq!(trend.full_in(Bytes::from_mib(0)), Some(Duration::ZERO));
        for change in [0, -5] {
            assert_eq!(Trend { window, change }.full_in(Bytes::from_mib(70)), None);
        }
        let slow = Trend { window, change: 1 };
        assert_eq!(slow.full_in(Bytes::new(u64::MAX)), Some(Duration::from_millis(u64::MAX)));
    }

    #[test]
    fn history_is_bounded_and_keeps_its_ends() {
        let history = measured((0..10_000).map(|n| (n * 5, n)));
        assert!(history.samples.len() <= SAMPLES_MAX, "{}", history.samples.len());
        let trend = history.trend().unwrap();
        assert!(trend.window > WINDOW_MAX / 2, "{trend:?}");
        assert_eq!(trend.per_day(), 288 << 20, "one MiB in five minutes");
        let latest = history.latest().unwrap();
        assert_eq!(
            latest,
            (Timestamp::from_ms(9_999 * 5 * MINUTE), Measured::of(Bytes::from_mib(9_999)))
        );
    }

    #[test]
    fn a_clock_that_was_set_back_begins_anew() {
        let history = measured([(100, 10), (200, 20), (50, 30)]);
        assert_eq!((history.samples.len(), history.trend()), (1, None));
    }
}
