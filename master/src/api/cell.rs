//! WatchCell: what is free of each agent for a framework's roles, as a snapshot and then whenever it changes.
//!
//! Nothing waits for a watcher and nothing collects for one: it is woken after steps of the engine and asks what has changed since
//! it last looked. While its reader is slow it does not ask, and what changed several times meanwhile is told once.

use crate::engine::Handle;
use berth_master_core::query::{self, CellChanges, CellWatch};
use berth_model::cell::{CellAgent, CellEvent};
use berth_model::error::Rejection;
use berth_model::id::{AgentId, FrameworkId};
use berth_proto::convert::to_wire;
use berth_proto::status::to_status;
use berth_proto::v1;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

/// How many agents an event holds at most: at some hundred bytes each it stays far below the size of a message.
const PART: usize = 500;
/// A watcher asks no more often than this.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) type Events = mpsc::Receiver<Result<v1::CellEvent, Status>>;

/// Begins to tell.
pub(super) async fn watch(
    handle: Handle,
    framework: FrameworkId,
    place: OwnedSemaphorePermit,
) -> Result<Events, Rejection> {
    let watch = handle.query(move |r| query::watch_cell(r.state, &framework)).await??;
    let (to, events) = mpsc::channel(1);
    let feed = Feed { handle, to, watch, told: BTreeMap::new(), number: 0 };
    tokio::spawn(async move {
        feed.run().await;
        drop(place);
    });
    Ok(events)
}

/// One watcher.
struct Feed {
    handle: Handle,
    to: mpsc::Sender<Result<v1::CellEvent, Status>>,
    watch: CellWatch,
    /// What it was told last of each agent.
    told: BTreeMap<AgentId, CellAgent>,
    number: u64,
}

/// Why a feed ends.
enum End {
    /// Nobody reads any more.
    Left,
    /// The framework's session is over, or the master stops.
    Refused(Rejection),
}

impl From<Rejection> for End {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

impl Feed {
    async fn run(mut self) {
        let to = self.to.clone();
        let end = tokio::select! {
            end = self.tell() => end,
            () = to.closed() => End::Left,
        };
        if let End::Refused(why) = end {
            // Who has gone needs no last word.
            to.send(Err(to_status(&why))).await.ok();
        }
    }

    async fn tell(&mut self) -> End {
        loop {
            let Err(end) = self.tell_all().await else { continue };
            return end;
        }
    }

    /// A snapshot, then what changes until the next snapshot is due.
    async fn tell_all(&mut self) -> Result<(), End> {
        let mut steps = self.handle.steps();
        let mut since = self.snapshot().await?;
        loop {
            let watch = self.watch.clone();
            steps.mark_unchanged();
            let found =
                self.handle.query(move |r| query::cell_changes(r.state, &watch, since)).await??;
            match found {
                CellChanges::All(watch) => {
                    self.watch = watch;
                    return Ok(());
                },
                CellChanges::Agents(mut agents, next) => {
                    since = next;
                    agents.retain(|agent| self.told.get(&agent.id) != Some(agent));
                    if !agents.is_empty() {
                        self.send(agents).await?;
                    }
                },
            }
            tokio::time::sleep(PAUSE).await;
            // The engine has ended: the next question says so.
            steps.changed().await.ok();
        }
    }

    /// Everything; the point of time from which on changes are to be told after it.
    async fn snapshot(&mut self) -> Result<u64, End> {
        self.told.clear();
        let since = self.handle.query(|r| query::cell_point(r.state)).await?;
        let (mut after, mut begins) = (None, true);
        loop {
            let watch = self.watch.clone();
            let read = move |r: &crate::engine::Reading<'_>| {
                query::cell_part(r.state, &watch, after, PART)
            };
            let agents = self.handle.query(read).await??;
            let last = agents.last().map(|agent| agent.id);
            let more = agents.len() == PART;
            self.emit(CellEvent { number: 0, begins, more, agents }).await?;
            if !more {
                return Ok(since);
            }
            (after, begins) = (last, false);
        }
    }

    async fn send(&mut self, agents: Vec<CellAgent>) -> Result<(), End> {
        let parts = agents.len().div_ceil(PART);
        let mut agents = agents.into_iter();
        for part in 1..=parts {
            let some: Vec<CellAgent> = agents.by_ref().take(PART).collect();
            let more = part < parts;
            self.emit(CellEvent { number: 0, begins: false, more, agents: some }).await?;
        }
        Ok(())
    }

    /// Sends an event under its number.
    async fn emit(&mut self, event: CellEvent) -> Result<(), End> {
        self.number += 1;
        for agent in &event.agents {
            self.told.insert(agent.id, agent.clone());
        }
        let event = CellEvent { number: self.number, ..event };
        self.to.send(Ok(to_wire(&event))).await.map_err(|_closed| End::Left)
    }
}
