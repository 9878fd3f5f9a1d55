//! The agent as one value: its books, what it learned since it started, and the dispatch of inputs.
//!
//! It decides nothing itself: `link`, `volume`, `task` and `status` do. Invariant: every change of the books goes
//! through [`Agent::write`], so records and state cannot differ.

use crate::books::Books;
use crate::link::Link;
use crate::order::DiskOrders;
use crate::step::{Config, Input, Output, Severity, Step};
use crate::task::Run;
use crate::timer::{Timer, Timers};
use crate::volume::Watch;
use crate::volume::orphan::OrphanWork;
use berth_model::agent::AgentInfo;
use berth_model::id::{ContainerId, VolumeId, derive};
use berth_model::link::FromAgent;
use berth_model::record::{LedgerDisk, LedgerRecord};
use berth_model::task::TaskKey;
use berth_model::units::Timestamp;
use berth_model::volume::VolumeState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The deciding half of an agent.
#[derive(Clone, Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) info: AgentInfo,
    pub(crate) books: Books,
    /// Differs in each life that wrote anything, so minted ids never repeat.
    seed: u128,
    minted: u64,
    pub(crate) now: Timestamp,
    pub(crate) link: Option<Link>,
    /// A master has taken this process in, hence judged its ledger: it is not an old copy. Until then no volume is made,
    /// moved or deleted and no task started, whatever the ledger has begun: an old copy would do again what is long
    /// over. Once is enough for the life of the process: it is the only writer of its ledger, so what was the newest
    /// copy stays so, and losing the master says nothing about it.
    pub(crate) taken_in: bool,
    /// The highest registry revision heard of in the current epoch; the books follow it in strides.
    pub(crate) revision_seen: u64,
    pub(crate) watches: BTreeMap<VolumeId, Watch>,
    /// Volumes whose first verification is not over.
    pub(crate) unverified: BTreeSet<VolumeId>,
    /// When each READY volume is to be measured next.
    pub(crate) to_measure: BTreeSet<(Timestamp, VolumeId)>,
    pub(crate) runs: BTreeMap<ContainerId, Run>,
    /// Ended and forgotten tasks whose output may still be read, latest last.
    pub(crate) released: VecDeque<(TaskKey, ContainerId)>,
    /// Reads of the current connection that are not answered.
    pub(crate) reads: BTreeSet<u64>,
    pub(crate) timers: Timers,
    pub(crate) orphan_work: OrphanWork,
    pub(crate) disk_orders: DiskOrders,
    token: u64,
    pub(crate) stopping: bool,
    out: Step,
}

impl Agent {
    /// An agent from its ledger, empty or recovered, and what there is to do at once: every volume is verified and
    /// every running task adopted. What is half-made or half-destroyed waits until a master has taken the agent in.
    #[must_use]
    pub fn recover(
        config: Config,
        info: AgentInfo,
        records: Vec<LedgerRecord>,
        ledger_seq: u64,
        now: Timestamp,
    ) -> (Self, Step) {
        let books = Books::fold(records);
        let mut agent = Self {
            seed: derive(info.id.as_u128(), ledger_seq),
            revision_seen: books.revision(),
            config,
            info,
            books,
            minted: 0,
            now,
            link: None,
            taken_in: false,
            watches: BTreeMap::new(),
            unverified: BTreeSet::new(),
            to_measure: BTreeSet::new(),
            runs: BTreeMap::new(),
            released: VecDeque::new(),
            reads: BTreeSet::new(),
            timers: Timers::default(),
            orphan_work: OrphanWork::default(),
            disk_orders: DiskOrders::default(),
            token: 0,
            stopping: false,
            out: Step::default(),
        };
        let found = std::mem::take(&mut agent.info.disks);
        agent.info.disks = agent.with_orders(found);
        agent.resume_volumes();
        agent.resume_tasks();
        agent.say_what_waits();
        agent.timers.set(Timer::Register, now.after(agent.config.verify_wait));
        let step = agent.finish();
        (agent, step)
    }

    fn say_what_waits(&mut self) {
        let volumes = self.books.volumes().values();
        let begun = |state| matches!(state, VolumeState::Creating | VolumeState::Tombstoned);
        let volumes = volumes.filter(|volume| begun(volume.state)).count();
        let tasks = self.runs.values().filter(|run| run.is_held()).count();
        if (volumes, tasks) != (0, 0) {
            let text =
                format!("{volumes} volumes and {tasks} tasks were begun and wait for the master");
            self.log(Severity::Info, text);
        }
    }

    /// Takes one input in.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Step {
        self.now = self.now.max(now);
        match input {
            Input::Connected { session } => self.connected(session),
            Input::Disconnected => self.disconnected(),
            Input::Master(envelope) => self.hear(envelope),
            Input::Volume { volume, token, outcome } => self.conclude(volume, token, outcome),
            Input::Container { container, event } => self.container_event(container, event),
            Input::OrphanPurged { operation, outcome } => self.orphan_purged(operation, outcome),
            Input::Disks(disks) => {
                let disks = self.with_orders(self.without_known(disks));
                if disks != self.info.disks {
                    self.info.disks = disks;
                    self.tell_disks();
                }
            },
            Input::DisksAdopted(disks) => self.remember_disks(disks),
            Input::DiskOrdered { operation, outcome } => self.disk_ordered(operation, outcome),
            Input::FileData { read, offset, data } => {
                if self.reads.remove(&read) {
                    self.tell(FromAgent::FileData { read, offset, data });
                }
            },
            Input::Progress(volumes) => self.tell(FromAgent::Progress(volumes)),
            Input::Tick => {},
            Input::Shutdown { kill_tasks } => self.shut_down(kill_tasks),
        }
        while let Some(timer) = self.timers.due(self.now) {
            self.fire(timer);
        }
        self.finish()
    }

    /// Records that fold to the same state.
    #[must_use]
    pub fn snapshot(&self) -> Vec<LedgerRecord> {
        self.books.records()
    }

    /// When [`Input::Tick`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// What the ledger says.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// What the agent declares about itself.
    #[must_use]
    pub fn info(&self) -> &AgentInfo {
        &self.info
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Register => {
                self.unverified.clear();
                self.register();
            },
            Timer::Heartbeat => self.beat(),
            Timer::Silence => self.give_up_master(),
            Timer::Status(key) => self.repeat_status(&key),
            Timer::Retry(volume) => self.retry(volume),
            Timer::Retention(volume) => self.retention_over(volume),
            Timer::Usage => self.measure_next(),
            Timer::Orphan => self.continue_orphans(),
        }
    }

    fn remember_disks(&mut self, disks: Vec<LedgerDisk>) {
        for disk in disks {
            if self.books.disks().get(&disk.id) != Some(&disk) && !self.is_outdated(&disk) {
                self.write(LedgerRecord::Disk(disk));
            }
        }
    }

    /// The step so far; a registry revision that was heard of rides along with other records.
    fn finish(&mut self) -> Step {
        let behind = self.revision_seen.saturating_sub(self.books.revision());
        if behind > 0 && (!self.out.records.is_empty() || behind >= self.config.revision_stride) {
            let (epoch, revision) = (self.books.epoch(), self.revision_seen);
            self.write(LedgerRecord::Epoch { epoch, revision });
        }
        std::mem::take(&mut self.out)
    }

    /// Changes the books. Errors are bounded here, so that no record can be too long to be written.
    pub(crate) fn write(&mut self, record: LedgerRecord) {
        let record = record.bounded();
        self.books.apply(record.clone());
        self.out.records.push(record);
    }

    pub(crate) fn emit(&mut self, output: Output) {
        self.out.outputs.push(output);
    }

    pub(crate) fn log(&mut self, severity: Severity, message: String) {
        self.emit(Output::Log { severity, message });
    }

    /// A number for an effect.
    pub(crate) fn next_token(&mut self) -> u64 {
        self.token = self.token.saturating_add(1);
        self.token
    }

    pub(crate) fn mint_container(&mut self) -> ContainerId {
        self.minted = self.minted.saturating_add(1);
        ContainerId::from_u128(derive(self.seed, self.minted))
    }
}
