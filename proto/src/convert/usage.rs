//! What volumes use, as the master shows it.

use super::field;
use super::{At, Wire};
use crate::v1;
use berth_model::error::Rejection;
use berth_model::units::{Bytes, Timestamp};
use berth_model::usage::{Measured, Trend};
use berth_model::view::UsageView;
use std::time::Duration;

impl Wire for Trend {
    type Message = v1::usage_view::Trend;

    fn to_wire(&self) -> v1::usage_view::Trend {
        let Self { window, change } = *self;
        v1::usage_view::Trend { window_ms: field::millis(window), change_bytes: change }
    }

    fn from_wire(message: v1::usage_view::Trend, _at: &At<'_>) -> Result<Self, Rejection> {
        let v1::usage_view::Trend { window_ms, change_bytes } = message;
        Ok(Self { window: Duration::from_millis(window_ms), change: change_bytes })
    }
}

impl Wire for UsageView {
    type Message = v1::UsageView;

    fn to_wire(&self) -> v1::UsageView {
        let Self { measured, now, trend } = *self;
        let Measured { bytes, inodes, inodes_limit } = now;
        v1::UsageView {
            measured_ms: measured.ms(),
            bytes: bytes.get(),
            inodes,
            inodes_limit,
            trend: trend.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: v1::UsageView, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::UsageView { measured_ms, bytes, inodes, inodes_limit, trend } = message;
        Ok(Self {
            measured: Timestamp::from_ms(measured_ms),
            now: Measured { bytes: Bytes::new(bytes), inodes, inodes_limit },
            trend: field::optional(trend, &at.field("trend"))?,
        })
    }
}
