//! What can happen to the books. `decide` makes events, `evolve` applies them; the durable ones are
//! the registry's writes.

use crate::audit::certificate::Certificate;
use crate::boundary::Output;
use crate::state::{Filter, FilterKey, Kill, Loss, Refusals, Task, Timer};
use berth_model::agent::Disk;
use berth_model::id::{AgentId, FrameworkId, OfferId, SessionId, SnapshotId, VolumeId};
use berth_model::link::ToAgent;
use berth_model::offer::Offer;
use berth_model::operation::OperationRecord;
use berth_model::record::{RegistryKey, RegistryRecord, ReservationRow};
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::snapshot::SnapshotReport;
use berth_model::task::{TaskKey, TaskStatus};
use berth_model::transfer::Progress;
use berth_model::units::Timestamp;
use berth_model::usage::Measured;
use berth_model::volume::{Volume, VolumeReport};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One change of the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Durable: a record is stored. The books follow the difference to the record before.
    Put(RegistryRecord),
    /// Durable: a record is removed.
    Delete(RegistryKey),
    /// Soft, about an agent or what it says.
    Agent(AgentEvent),
    /// Soft, about a framework's session and offers.
    Framework(FrameworkEvent),
    /// Soft, about a task.
    Task(TaskEvent),
    /// For the audit log: a volume was wiped although no operation asked for it.
    Certified(Arc<Certificate>),
    /// Soft: how many refusals the audit log may take in.
    Refusals {
        /// Of operators' requests.
        refusals: Refusals,
        /// Of frameworks' operations.
        failures: Refusals,
    },
    /// Changes nothing here.
    Say(Box<Output>),
    /// A message over the agent's live connection; dropped when there is none, since everything
    /// that matters is repeated when the agent comes back.
    Tell { agent: AgentId, message: Box<ToAgent> },
    /// An event for a framework; dropped when it is not connected.
    Inform { framework: FrameworkId, event: Box<berth_model::framework::Event> },
}

/// About an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AgentEvent {
    /// Destructive calls are refused from now on.
    SafeMode(String),
    /// The agent was told this epoch.
    Met(AgentId),
    Opened {
        agent: AgentId,
        session: SessionId,
    },
    Heard(AgentId),
    /// Its ledger is known to have come this far.
    LedgerHeard {
        agent: AgentId,
        ledger_seq: u64,
    },
    Cut(AgentId),
    Misfit {
        agent: AgentId,
        why: Option<String>,
    },
    Disks {
        agent: AgentId,
        disks: Vec<Disk>,
    },
    /// Its free resources were looked at, with somebody there who wants some.
    Looked(AgentId),
    /// Nobody wants anything: the next look may come at once.
    NotLooked(AgentId),
    /// The next holder of what was just offered is looked for then.
    FanOut {
        agent: AgentId,
        at: Timestamp,
    },
    /// Its optimistic offers were compared with what is available.
    Settled(AgentId),
    /// What agents have free was counted anew for quota, at the end of a step.
    Counted,
    /// In the look at it quota left somebody less than there is.
    CutByQuota(AgentId),
    /// What was kept of it for a role, and whose time is over, is free.
    KeptOver(AgentId),
    VolumeObserved(Box<VolumeReport>),
    /// The agent does not have it.
    VolumeUnobserved(VolumeId),
    SnapshotObserved(Box<SnapshotReport>),
    /// The agent does not have it.
    SnapshotUnobserved(SnapshotId),
    VolumeMeasured {
        volume: VolumeId,
        measured: Measured,
    },
    VolumeProgressed {
        volume: VolumeId,
        progress: Progress,
    },
    ReadStarted {
        read: u64,
        agent: AgentId,
    },
    ReadEnded(u64),
    Armed {
        at: Timestamp,
        timer: Timer,
    },
    Fired {
        at: Timestamp,
        timer: Timer,
    },
}

/// About a framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FrameworkEvent {
    Opened {
        framework: FrameworkId,
        session: SessionId,
        suppressed: BTreeSet<Role>,
    },
    /// With the time at which it is given up.
    Cut {
        framework: FrameworkId,
        until: Timestamp,
    },
    /// It was removed; its session is over.
    Closed(FrameworkId),
    Suppressed {
        framework: FrameworkId,
        roles: BTreeSet<Role>,
    },
    /// Offers again, refusals forgotten.
    Revived {
        framework: FrameworkId,
        roles: BTreeSet<Role>,
    },
    Offered(Box<Offer>),
    /// The offer is void; its resources are available.
    OfferEnded(OfferId),
    /// The offer gives an agent to one framework alone, because it lost too often.
    OfferedAlone(OfferId),
    /// The offer does not fit any more, until the agent's books change again or it is rescinded.
    OfferLost {
        offer: OfferId,
        loss: Loss,
    },
    /// It fits again.
    OfferFits(OfferId),
    /// The offer was rescinded because somebody else committed what it held: an ACCEPT that names it conflicts.
    LossKept {
        framework: FrameworkId,
        offer: OfferId,
        loss: Loss,
    },
    /// An ACCEPT of the framework conflicted; this much it needed in vain.
    RaceLost {
        framework: FrameworkId,
        needed: Resources,
    },
    /// It got what it asked for.
    RaceWon(FrameworkId),
    /// It used nothing of an optimistic offer of this agent.
    GaveBack {
        framework: FrameworkId,
        agent: AgentId,
    },
    /// It answers offers, or does not.
    Slow {
        framework: FrameworkId,
        until: Option<Timestamp>,
    },
    Refused {
        key: FilterKey,
        filter: Filter,
    },
    /// Refusals whose time is over are dropped.
    FilterEnded(FilterKey),
}

/// About a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskEvent {
    /// Known from now on; charged with nothing yet.
    Added(Box<Task>),
    /// Its own resources are charged.
    Charged(TaskKey),
    /// A volume is charged to it.
    VolumeTaken {
        task: TaskKey,
        volume: VolumeId,
    },
    /// It waits no more.
    Released(TaskKey),
    /// Its latest status; a final one frees everything at once.
    Said(Box<TaskStatus>),
    Killing {
        task: TaskKey,
        kill: Kill,
    },
    /// Nobody has to be told about this ended task any more.
    Told(TaskKey),
    Forgotten(TaskKey),
}

impl From<AgentEvent> for Event {
    fn from(event: AgentEvent) -> Self {
        Self::Agent(event)
    }
}
impl From<FrameworkEvent> for Event {
    fn from(event: FrameworkEvent) -> Self {
        Self::Framework(event)
    }
}
impl From<TaskEvent> for Event {
    fn from(event: TaskEvent) -> Self {
        Self::Task(event)
    }
}
impl From<Volume> for Event {
    fn from(volume: Volume) -> Self {
        Self::Put(RegistryRecord::Volume(Arc::new(volume)))
    }
}
impl From<OperationRecord> for Event {
    fn from(record: OperationRecord) -> Self {
        Self::Put(RegistryRecord::Operation(Arc::new(record)))
    }
}
impl From<ReservationRow> for Event {
    fn from(row: ReservationRow) -> Self {
        Self::Put(RegistryRecord::Reservation(Arc::new(row)))
    }
}

impl Event {
    pub(crate) fn say(output: Output) -> Self {
        Self::Say(Box::new(output))
    }
    pub(crate) fn tell(agent: AgentId, message: ToAgent) -> Self {
        Self::Tell { agent, message: Box::new(message) }
    }
    pub(crate) fn inform(framework: FrameworkId, event: berth_model::framework::Event) -> Self {
        Self::Inform { framework, event: Box::new(event) }
    }
}
