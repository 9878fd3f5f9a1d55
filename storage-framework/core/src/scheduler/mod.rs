//! The service scheduler as a value: inputs in, records and outputs out.
//!
//! It knows no socket, file or clock. Invariants: what must survive is in [`State`] and changes only by records; an
//! output may leave only after the records of its step are synced; a pod has at most one live run; a pod with a place
//! is launched nowhere else.

mod ends;
mod events;
mod launch;
mod offers;
mod release;
mod services;
mod settle;
mod view;

pub use view::{PodView, ServiceView, TaskView, VolumeView};

use crate::document::Service;
use crate::record::{PodKey, Record, State};
use berth_model::error::Rejection;
use berth_model::framework::{Call, Event};
use berth_model::id::{AgentId, OperationId, Principal, VolumeName, derive};
use berth_model::role::Role;
use berth_model::task::TaskStatus;
use berth_model::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the scheduler says about itself, and the only source of fresh ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The framework's name.
    pub name: String,
    /// The user of tasks whose pod names none.
    pub user: String,
    /// The owner of its reservations and volumes.
    pub principal: Option<Principal>,
    /// How long the master waits for it to come back.
    pub failover_timeout: Duration,
    /// Where its services can be asked for; empty when nowhere.
    pub url: String,
    /// The host it runs on.
    pub hostname: String,
    /// Another one at each start; operation ids are derived from it.
    pub seed: u128,
}

/// What a user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take these documents, all or none.
    Apply {
        /// Already read; each name once.
        services: Vec<Service>,
        /// Only say what would change.
        dry_run: bool,
    },
    /// End the running tasks and start them again.
    Restart {
        /// Which service.
        service: String,
        /// One instance only, such as `db-0`.
        instance: Option<String>,
    },
    /// End the service.
    Delete {
        /// Which service.
        service: String,
        /// With its volumes.
        volumes: bool,
    },
}

/// What comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection to the master is open.
    Connected,
    /// The connection has ended.
    Disconnected,
    /// The master says something.
    Event(Box<Event>),
    /// A user wants something.
    Command {
        /// Names the reply.
        request: u64,
        /// What.
        command: Command,
    },
    /// Time has passed.
    Tick,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Documents were taken, or would be.
    Applied {
        /// Their names.
        services: Vec<String>,
        /// One line each.
        changes: Vec<String>,
    },
    /// Tasks are being ended and will start again.
    Restarting {
        /// The instances.
        instances: Vec<String>,
    },
    /// The service is being ended.
    Deleting {
        /// The volumes that stay.
        kept_volumes: Vec<String>,
    },
}

/// What goes out, once the records are synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A call to the master.
    Call {
        /// Its number in this session.
        number: u64,
        /// What.
        call: Call,
    },
    /// The answer to a command.
    Reply {
        /// Whose.
        request: u64,
        /// What became of it.
        result: Result<Reply, Rejection>,
    },
}

/// What one input led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To be synced first, in order.
    pub records: Vec<Record>,
    /// To be sent then, in order.
    pub outputs: Vec<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    Subscribing,
    Up,
}

/// A call whose answer matters.
#[derive(Clone, Debug)]
enum Pending {
    Launch { key: PodKey, run: u64, place: u64 },
    Release { key: PodKey, operations: Vec<OperationId> },
    Roles(BTreeSet<Role>),
}

/// A CREATE whose end matters.
#[derive(Clone, Debug)]
struct Creating {
    key: PodKey,
    place: u64,
    volume: String,
    /// The master has taken it on, so no volume of the name existed before.
    accepted: bool,
}

/// What is given back of a pod that is being released, by one operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Given {
    /// A volume, by its name in the cluster.
    Volume(VolumeName),
    /// Plain resources.
    Reserved,
}

/// A DESTROY or UNRESERVE whose end matters.
#[derive(Clone, Debug)]
struct Releasing {
    key: PodKey,
    given: Given,
    /// Nothing is left after it but volumes that are to stay.
    last: bool,
}

/// An operation of a release that failed.
#[derive(Clone, Debug)]
struct Refused {
    why: String,
    /// Not asked for again before: each attempt is one of the operations the master remembers.
    until: Timestamp,
}

/// What a restart may forget.
#[derive(Debug)]
struct Soft {
    link: Link,
    calls: u64,
    operations: u64,
    pending: BTreeMap<u64, Pending>,
    creating: BTreeMap<OperationId, Creating>,
    /// The roles the master knows of.
    roles: BTreeSet<Role>,
    roles_told: Option<Timestamp>,
    /// Roles whose offers are wanted, and when the master was last told.
    revived: BTreeMap<Role, Timestamp>,
    /// Pods that wanted offers when the master was last told.
    wanting: BTreeSet<PodKey>,
    /// Roles whose offers were refused and not wanted since.
    suppressed: BTreeSet<Role>,
    /// The latest status of live runs.
    statuses: BTreeMap<u64, TaskStatus>,
    /// Runs the master has spoken of in this session.
    heard: BTreeSet<u64>,
    reconciled: Timestamp,
    killed: BTreeMap<u64, Timestamp>,
    unreachable: BTreeSet<AgentId>,
    /// Why offers did not fit, by host name.
    refusals: BTreeMap<PodKey, BTreeMap<String, String>>,
    /// Since when the machine of a pod that is being released shows nothing of it.
    empty_since: BTreeMap<PodKey, Timestamp>,
    /// Why the latest call to release was refused as a whole.
    release_errors: BTreeMap<PodKey, String>,
    releasing: BTreeMap<OperationId, Releasing>,
    release_refused: BTreeMap<PodKey, BTreeMap<Given, Refused>>,
}

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    config: Config,
    state: State,
    soft: Soft,
    now: Timestamp,
    step: Step,
}

impl Scheduler {
    /// From the records that were synced, in order; none for a new scheduler.
    #[must_use]
    pub fn recover(config: Config, records: &[Record], now: Timestamp) -> Self {
        let mut state = State::default();
        for record in records {
            state.apply(record);
        }
        let soft = Soft {
            link: Link::Down,
            calls: 0,
            operations: 0,
            pending: BTreeMap::new(),
            creating: BTreeMap::new(),
            roles: BTreeSet::new(),
            roles_told: None,
            revived: BTreeMap::new(),
            wanting: BTreeSet::new(),
            suppressed: BTreeSet::new(),
            statuses: BTreeMap::new(),
            heard: BTreeSet::new(),
            reconciled: now,
            killed: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            refusals: BTreeMap::new(),
            empty_since: BTreeMap::new(),
            release_errors: BTreeMap::new(),
            releasing: BTreeMap::new(),
            release_refused: BTreeMap::new(),
        };
        Self { config, state, soft, now, step: Step::default() }
    }

    /// Takes one input.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Step {
        self.now = now;
        match input {
            Input::Connected => self.connected(),
            Input::Disconnected => self.disconnected(),
            Input::Event(event) => self.event(*event),
            Input::Command { request, command } => {
                let result = self.command(command);
                self.step.outputs.push(Output::Reply { request, result });
            },
            Input::Tick => {},
        }
        self.settle();
        std::mem::take(&mut self.step)
    }

    /// Everything durable.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// One record that stands for all records so far.
    #[must_use]
    pub fn snapshot(&self) -> Record {
        Record::Whole(Box::new(self.state.clone()))
    }

    /// True while the master takes calls of this scheduler.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        self.soft.link == Link::Up
    }

    fn record(&mut self, record: Record) {
        self.state.apply(&record);
        self.step.records.push(record);
    }

    fn call(&mut self, call: Call) -> u64 {
        self.soft.calls += 1;
        let number = self.soft.calls;
        self.step.outputs.push(Output::Call { number, call });
        number
    }

    fn operation_id(&mut self) -> OperationId {
        self.soft.operations += 1;
        OperationId::from_u128(derive(self.config.seed, self.soft.operations))
    }
}
