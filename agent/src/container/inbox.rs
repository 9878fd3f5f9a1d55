//! Orders for one container that wait to be carried out.
//!
//! It does not carry them out. Asking again replaces what was asked before, so it cannot grow, and nothing that was
//! asked is lost.

use super::prepare::Start;
use berth_model::task::Check;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The checks of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub health: Option<Check>,
    pub readiness: Option<Check>,
}

/// What was asked for since the last look. Asking again replaces, so it cannot grow.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub start: Option<Start>,
    pub adopt: Option<Checks>,
    pub kill: Option<Duration>,
    pub release: bool,
}

impl Orders {
    fn is_empty(&self) -> bool {
        self.start.is_none() && self.adopt.is_none() && self.kill.is_none() && !self.release
    }
}

/// Where orders are left for a life.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    orders: Mutex<Orders>,
    news: Notify,
}

impl Inbox {
    pub fn put(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_one();
    }

    pub fn is_empty(&self) -> bool {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// May be dropped and called again: orders are taken only when they are returned.
    pub async fn next(&self) -> Orders {
        loop {
            let orders =
                std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner));
            if !orders.is_empty() {
                return orders;
            }
            self.news.notified().await;
        }
    }
}
