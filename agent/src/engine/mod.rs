//! The agent's engine: one task owns the deciding code, feeds it what happens, and lets its outputs go after their
//! records are synced.
//!
//! ```text
//! link, containers, answers to effects, time ─▶ Agent::step ─▶ records ─▶ ledger thread, one batch under way
//!                                                            └▶ outputs, kept with their batch ─▶ after its sync, in order
//! ```
//! It decides nothing. Invariant: an output leaves after the records of its own step and of all steps before it.
//! A ledger that cannot be written ends the process: its tasks go on, and recovery is the next start.

mod clock;
mod declare;
mod effects;
mod error;
mod group;
mod ledger;
mod link;
mod places;
mod start;
mod stop;
mod stream;
mod transfer;

pub use error::Error;
pub use stop::{Stop, signals};

use crate::config::AgentConfig;
use berth_agent_core::{Agent, Config, Input, Output, Severity, Step, stamp};
use berth_model::agent::Disk;
use berth_model::id::ClusterId;
use berth_model::link::FromAgent;
use berth_model::record::LedgerRecord;
use berth_proto::convert::to_wire;
use clock::Clock;
use effects::{Effects, Part};
use ledger::{Done, Job, Ledger};
use link::{Connection, Event, Link};
use places::Places;
use start::Opened;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use transfer::Way;

/// How often the disks are looked at.
const DISKS_EVERY: Duration = Duration::from_secs(30);
/// How often the master is told how far imports are.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Records that wait for the batch under way; beyond that the engine takes nothing in.
const BATCH_MAX: usize = 4_096;
/// How long the last messages may take to leave.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Something to do once the batch it belongs to is synced.
#[expect(clippy::large_enum_variant, reason = "nearly all items are outputs")]
enum Item {
    /// A decision.
    Output(Output),
    /// From here on messages go over this connection.
    Opened(Connection),
    /// From here on messages go nowhere.
    Closed,
}

/// What one sync makes durable and what waits for it.
#[derive(Default)]
struct Batch {
    records: Vec<Vec<u8>>,
    /// The cluster was joined in this batch: the disks learn of it before anything else happens.
    joined: Option<ClusterId>,
    items: Vec<Item>,
}

struct Engine {
    core: Agent,
    clock: Clock,
    ledger: Ledger,
    effects: Effects,
    connection: Option<Connection>,
    collecting: Batch,
    under_way: Option<Batch>,
    /// The number of the last durable record.
    seq: u64,
    wants_snapshot: bool,
    /// The disks as the master was last told.
    disks_told: Vec<Disk>,
    stopped: bool,
}

/// Runs an agent until `stop` says so or its ledger fails.
///
/// # Errors
/// The agent cannot start on this work directory, or its ledger cannot be written any more.
pub async fn run(config: AgentConfig, mut stop: mpsc::Receiver<Stop>) -> Result<(), Error> {
    let opened = start::open(&config).await?;
    let Opened { ledger, records, seq, volumes, runtime, mut events, info, clock, work_dir } =
        opened;
    let places = Places { below: config.disk_add_below.clone(), work_dir };
    tracing::info!(
        agent = %info.id, work_dir = %config.work_dir.display(), master = %config.master, ledger_seq = seq,
        "agent starts"
    );
    for limitation in &info.limitations {
        tracing::warn!("{limitation}");
    }
    let (master, idle) = (config.master.clone(), config.transfer_idle);
    let way = Way { master, agent: info.id, idle };
    let adopted = volumes.disks().ledger();
    let disks_told = info.disks.clone();
    let (effects, mut answers) = Effects::new(volumes, runtime, way, places);
    let times = Config {
        trash_retention: config.trash_retention,
        purge_wipe: config.purge_wipe,
        configured: config.disks.iter().map(|disk| disk.source.clone()).collect(),
        ..Config::default()
    };
    let (core, first) = Agent::recover(times, info, records, seq, clock.now());
    let mut engine = Engine {
        core,
        clock,
        ledger,
        effects,
        connection: None,
        collecting: Batch::default(),
        under_way: None,
        seq,
        wants_snapshot: false,
        disks_told,
        stopped: false,
    };
    engine.take(first).await?;
    engine.give(Input::DisksAdopted(adopted)).await?;
    engine.look_at_disks();
    let mut link = Link::start(config.master.clone());
    let mut disk_ticks = interval(DISKS_EVERY);
    disk_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    disk_ticks.tick().await;
    let mut progress_ticks = interval(PROGRESS_EVERY);
    progress_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !engine.stopped {
        let has_room = engine.collecting.records.len() < BATCH_MAX;
        let deadline = engine.core.next_deadline();
        let pause = deadline.map_or(DISKS_EVERY, |at| engine.clock.until(at));
        tokio::select! {
            done = engine.ledger.done() => engine.synced(done?).await?,
            event = link.events.recv(), if has_room => engine.linked(event).await?,
            answer = answers.recv(), if has_room => {
                engine.give(answer.ok_or(Error::Part("effects"))?).await?;
            },
            event = events.recv(), if has_room => {
                let (container, event) = event.ok_or(Error::Part("container runtime"))?;
                engine.give(Input::Container { container, event }).await?;
            },
            asked = stop.recv() => {
                let kill_tasks = asked == Some(Stop::EndTasks);
                tracing::info!(kill_tasks, "agent is asked to stop");
                engine.give(Input::Shutdown { kill_tasks }).await?;
            },
            _tick = disk_ticks.tick() => engine.look_at_disks(),
            _tick = progress_ticks.tick() => engine.tell_progress().await?,
            () = sleep(pause), if has_room => engine.give(Input::Tick).await?,
        }
    }
    let Engine { ledger, effects, connection, .. } = engine;
    // Dropping the sender lets the queue run dry; the stream to the master ends after it.
    drop(connection);
    link.close(LAST_MOMENT).await;
    effects.close().await;
    ledger.close().await;
    tracing::info!("agent stopped");
    Ok(())
}

impl Engine {
    async fn linked(&mut self, event: Option<Event>) -> Result<(), Error> {
        match event {
            Some(Event::Opened(session, connection)) => {
                self.collecting.items.push(Item::Opened(connection));
                self.give(Input::Connected { session }).await
            },
            Some(Event::Heard(envelope)) => self.give(Input::Master(*envelope)).await,
            Some(Event::Closed) => {
                self.collecting.items.push(Item::Closed);
                self.give(Input::Disconnected).await
            },
            None => Err(Error::Part("link")),
        }
    }

    fn look_at_disks(&mut self) {
        let known = self.core.books().volumes().keys().copied().collect();
        self.effects.look_at_disks(known);
    }

    async fn tell_progress(&mut self) -> Result<(), Error> {
        let progress = self.effects.progress();
        if progress.is_empty() {
            return Ok(());
        }
        self.give(Input::Progress(progress)).await
    }

    async fn give(&mut self, input: Input) -> Result<(), Error> {
        let input = match input {
            Input::Disks(disks) if !self.worth_telling(&disks) => return Ok(()),
            other => other,
        };
        let step = self.core.step(self.clock.now(), input);
        self.take(step).await
    }

    /// Free space changes all the time; a hundredth of the disk is news.
    fn worth_telling(&mut self, disks: &[Disk]) -> bool {
        let is_news = disks.len() != self.disks_told.len()
            || disks.iter().zip(&self.disks_told).any(|(now, told)| {
                let moved = now.free.get().abs_diff(told.free.get());
                let rest = Disk { free: told.free, ..now.clone() };
                rest != *told || moved > now.size.get() / 100
            });
        if is_news {
            self.disks_told = disks.to_vec();
        }
        is_news
    }

    /// Adds a step to the batch being collected, and starts that batch when none is under way.
    async fn take(&mut self, step: Step) -> Result<(), Error> {
        let Step { records, outputs } = step;
        for record in &records {
            if let LedgerRecord::Joined(cluster) = record {
                self.collecting.joined = Some(*cluster);
            }
            self.collecting.records.push(berth_proto::ledger::encode(record));
        }
        self.collecting.items.extend(outputs.into_iter().map(Item::Output));
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.under_way.is_some() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.collecting);
        if batch.records.is_empty() {
            self.release(batch).await;
            return Ok(());
        }
        let records = std::mem::take(&mut batch.records);
        let snapshot = std::mem::take(&mut self.wants_snapshot)
            .then(|| berth_proto::ledger::encode_snapshot(&self.core.snapshot()));
        self.ledger.commit(Job { records, snapshot })?;
        self.under_way = Some(batch);
        Ok(())
    }

    async fn synced(&mut self, done: Done) -> Result<(), Error> {
        self.seq = done.seq;
        self.wants_snapshot = done.wants_snapshot;
        if let Some(batch) = self.under_way.take() {
            self.release(batch).await;
        }
        self.flush().await
    }

    /// Does what waited for a batch.
    async fn release(&mut self, batch: Batch) {
        if let Some(cluster) = batch.joined {
            self.effects.join(cluster).await;
        }
        for item in batch.items {
            match item {
                Item::Output(output) => self.carry_out(output),
                Item::Opened(connection) => self.connection = Some(connection),
                Item::Closed => self.connection = None,
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send(message) => self.send(message),
            Output::Disconnect { reason } => {
                tracing::warn!(code = %reason.code, "the connection to the master is closed: {reason}");
                self.connection = None;
            },
            Output::Volume { token, effect } => self.effects.volume(token, effect),
            Output::Container(effect) => self.effects.container(effect),
            Output::ReadFile { read, container, stream, offset, length } => {
                self.effects.read(read, Part { container, stream, offset, length });
            },
            Output::Transfer { transfer, order } => self.effects.transfer(transfer, order),
            Output::RefuseTransfer { transfer, reason } => {
                self.effects.refuse_transfer(transfer, reason);
            },
            Output::OrderDisk { operation, order } => self.effects.order_disk(operation, *order),
            Output::TryDisk { read, order } => self.effects.try_disk(read, *order),
            Output::PurgeOrphan { operation, order } => {
                self.effects.purge_orphan(operation, *order);
            },
            Output::Log { severity, message } => match severity {
                Severity::Info => tracing::info!("{message}"),
                Severity::Warning => tracing::warn!("{message}"),
                Severity::Error => tracing::error!("{message}"),
            },
            Output::Stopped => self.stopped = true,
        }
    }

    fn send(&mut self, message: FromAgent) {
        let Some(connection) = &self.connection else { return };
        if !connection.send(to_wire(&stamp(message, self.seq))) {
            tracing::warn!("the master does not take messages any more; the agent dials again");
            self.connection = None;
        }
    }
}
