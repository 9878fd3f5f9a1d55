//! The cell, kept up to date: what is free of each agent for a framework's roles.

use berth_model::cell::{Cell, CellEvent};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::FrameworkId;
use berth_proto::address::Address;
use berth_proto::convert::{MESSAGE_BYTES_MAX, from_wire};
use berth_proto::status::from_status;
use berth_proto::v1;
use berth_proto::v1::scheduler_client::SchedulerClient;
use std::time::Duration;
use tonic::Streaming;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Watches the cell for as long as the framework's session lasts.
#[derive(Debug)]
pub struct CellWatcher {
    events: Streaming<v1::CellEvent>,
    cell: Cell,
}

impl CellWatcher {
    /// Begins to watch; the framework must be subscribed. After an error, or another session, watch anew: the first thing seen is
    /// all there is.
    ///
    /// # Errors
    /// The master cannot be reached, or refuses.
    pub async fn open(master: &Address, framework: &FrameworkId) -> Result<Self, Rejection> {
        let endpoint = master
            .endpoint()?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(20))
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await.map_err(|error| {
            let message = format!("cannot reach the master at {}: {error}", endpoint.uri());
            Rejection::new(ErrorCode::Unavailable, message)
                .remedy("check that the master runs there")
        })?;
        let mut client = SchedulerClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let request = v1::WatchCellRequest { framework_id: framework.to_string() };
        let events = client.watch_cell(request).await.map_err(|status| from_status(&status))?;
        Ok(Self { events: events.into_inner(), cell: Cell::default() })
    }

    /// Waits for news, and shows the cell with them. Cancel-safe: the cell is whole, or the next call waits for the rest.
    ///
    /// # Errors
    /// The stream has ended.
    pub async fn next(&mut self) -> Result<&Cell, Rejection> {
        loop {
            let message = self.events.message().await.map_err(|status| from_status(&status))?;
            let ended = || {
                Rejection::new(ErrorCode::Unavailable, "the master closed the stream of the cell")
            };
            self.cell.apply(from_wire::<CellEvent>(message.ok_or_else(ended)?)?);
            if !self.cell.is_partial {
                return Ok(&self.cell);
            }
        }
    }

    /// As it was last seen.
    #[must_use]
    pub const fn cell(&self) -> &Cell {
        &self.cell
    }
}
