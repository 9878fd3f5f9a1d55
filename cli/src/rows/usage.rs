//! What volumes use.

use super::age;
use crate::output::{Cell, Row};
use berth_model::units::{Bytes, Timestamp};
use berth_model::view::VolumeView;
use serde::Serialize;
use std::time::Duration;

/// What one volume uses and how fast that grows.
#[derive(Debug, Serialize)]
pub(crate) struct UsageRow {
    pub(crate) volume: String,
    pub(crate) role: String,
    pub(crate) id: String,
    pub(crate) size_bytes: u64,
    /// Absent until the volume was measured.
    pub(crate) used_bytes: Option<u64>,
    pub(crate) free_bytes: Option<u64>,
    pub(crate) used_percent: Option<u64>,
    /// Absent where nobody counts them.
    pub(crate) inodes_used: Option<u64>,
    /// Absent where the volume has no limit of its own.
    pub(crate) inodes_limit: Option<u64>,
    /// When it was last measured, by the master's clock.
    pub(crate) measured_ms: Option<u64>,
    /// The time that the change was seen in; absent while that is too short.
    pub(crate) trend_window_ms: Option<u64>,
    pub(crate) trend_change_bytes: Option<i64>,
    pub(crate) trend_bytes_per_day: Option<i64>,
    /// If it goes on like that; absent while it does not grow.
    pub(crate) full_in_ms: Option<u64>,
    pub(crate) enforced: String,
    #[serde(skip)]
    pub(crate) now: Timestamp,
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl UsageRow {
    pub(crate) fn new(view: &VolumeView, now: Timestamp) -> Self {
        let volume = &view.volume;
        let size = volume.resize.map_or(volume.spec.size, |resize| resize.from);
        let used = view.usage.map(|usage| usage.now.bytes).or(view.used).map(Bytes::get);
        let free = used.map(|used| size.get().saturating_sub(used));
        let trend = view.usage.and_then(|usage| usage.trend);
        let full = trend.zip(free).and_then(|(trend, free)| trend.full_in(Bytes::new(free)));
        let percent = |used: u64| u128::from(used) * 100 / u128::from(size.get().max(1));
        Self {
            volume: volume.spec.name.to_string(),
            role: volume.spec.role.to_string(),
            id: volume.spec.id.to_string(),
            size_bytes: size.get(),
            used_bytes: used,
            free_bytes: free,
            used_percent: used.map(|used| u64::try_from(percent(used)).unwrap_or(u64::MAX)),
            inodes_used: view.usage.and_then(|usage| usage.now.inodes),
            inodes_limit: view.usage.and_then(|usage| usage.now.inodes_limit),
            measured_ms: view.usage.map(|usage| usage.measured.ms()),
            trend_window_ms: trend.map(|trend| ms(trend.window)),
            trend_change_bytes: trend.map(|trend| trend.change),
            trend_bytes_per_day: trend.map(|trend| trend.per_day()),
            full_in_ms: full.map(ms),
            enforced: view.enforcement.as_str().to_owned(),
            now,
        }
    }
    /// In how long the volume is full, for tables.
    pub(crate) fn full_in(&self) -> String {
        self.full_in_ms.map_or_else(|| "-".to_owned(), |span| age(Timestamp::from_ms(span), 0))
    }
    /// `+12 MiB/day over 6h`.
    fn trend(&self) -> String {
        let (Some(change), Some(window)) = (self.trend_bytes_per_day, self.trend_window_ms) else {
            return "-".to_owned();
        };
        let sign = if change < 0 { "-" } else { "+" };
        let window = age(Timestamp::from_ms(window), 0);
        format!("{sign}{}/day over {window}", Bytes::new(change.unsigned_abs()))
    }
    fn inodes(&self) -> String {
        match (self.inodes_used, self.inodes_limit) {
            (Some(used), Some(limit)) => format!("{used}/{limit}"),
            (Some(used), None) => used.to_string(),
            (None, _) => "-".to_owned(),
        }
    }
}

impl Row for UsageRow {
    const COLUMNS: &'static [&'static str] = &[
        "VOLUME", "ROLE", "SIZE", "USED", "USE", "INODES", "TREND", "FULL IN", "MEASURED",
        "ENFORCED", "ID",
    ];
    const NARROW: usize = 9;
    fn cells(&self) -> Vec<Cell> {
        let percent = self.used_percent.map_or_else(|| "-".to_owned(), |p| format!("{p}%"));
        let percent = match self.used_percent {
            Some(95..) => Cell::Bad(percent),
            Some(85..) => Cell::Pending(percent),
            Some(_) | None => Cell::text(percent),
        };
        vec![
            Cell::text(&self.volume),
            Cell::text(&self.role),
            Cell::text(Bytes::new(self.size_bytes)),
            Cell::maybe(self.used_bytes.map(Bytes::new)),
            percent,
            Cell::text(self.inodes()),
            Cell::text(self.trend()),
            Cell::text(self.full_in()),
            Cell::text(
                self.measured_ms
                    .map_or_else(|| "-".to_owned(), |at| format!("{} ago", age(self.now, at))),
            ),
            Cell::text(&self.enforced),
            Cell::text(super::short(&self.id)),
        ]
    }
    fn name(&self) -> String {
        format!("{}/{}", self.role, self.volume)
    }
}
