//! What the master shows of its books: the rows behind lists, tables and `-o json`.

use crate::agent::{AgentInfo, Disk};
use crate::disk::Cordon;
use crate::error::Rejection;
use crate::framework::FrameworkInfo;
use crate::id::{AgentId, ClusterId, FrameworkId, OfferId, ProfileName};
use crate::quota::{Counted, Quota};
use crate::record::ReservationRow;
use crate::resources::Resources;
use crate::role::Role;
use crate::task::{TaskKey, TaskStatus};
use crate::units::{Bytes, Scalar, Timestamp};
use crate::usage::{Measured, Trend};
use crate::volume::{Enforcement, Volume};
use crate::weight::Weight;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The cluster in one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Its id.
    pub cluster: ClusterId,
    /// The current term.
    pub epoch: u64,
    /// The registry's revision.
    pub revision: u64,
    /// The master's version.
    pub version: Arc<str>,
    /// Why destructive calls are refused, when they are.
    pub safe_mode: Option<String>,
    /// Agents connected.
    pub agents_registered: u64,
    /// Agents known.
    pub agents_total: u64,
    /// Frameworks connected.
    pub frameworks_connected: u64,
}

/// Is the agent there?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentState {
    /// Connected and merged.
    Registered,
    /// Known from the registry; has not come back since the master started.
    Recovering,
    /// Was connected and is not.
    Unreachable,
}

impl AgentState {
    /// The state as users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "REGISTERED",
            Self::Recovering => "RECOVERING",
            Self::Unreachable => "UNREACHABLE",
        }
    }
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentView {
    /// As it declared itself.
    pub info: AgentInfo,
    /// Is it there?
    pub state: AgentState,
    /// Everything it has, reservations and volumes applied.
    pub total: Resources,
    /// In use by tasks.
    pub used: Resources,
    /// In offers.
    pub offered: Resources,
    /// When it was last heard; absent when not since the master started.
    pub last_seen: Option<Timestamp>,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskView {
    /// As its agent last told.
    pub disk: Disk,
    /// Whose it is.
    pub agent: AgentId,
    /// The agent's host.
    pub hostname: Arc<str>,
    /// Is the agent there? What it told may be old when not.
    pub agent_state: AgentState,
    /// Present while it is cordoned.
    pub cordon: Option<Cordon>,
    /// What operators wrote on it.
    pub labels: BTreeMap<String, String>,
    /// The profiles it satisfies.
    pub profiles: Vec<ProfileName>,
    /// The disk in the books: unreserved, reserved, volumes.
    pub total: Resources,
}

/// A row of reservations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationView {
    /// The row.
    pub row: ReservationRow,
    /// The part of it that volumes have taken.
    pub in_volumes: Scalar,
    /// The part of it that tasks use (volumes not counted).
    pub in_tasks: Scalar,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeView {
    /// The registry's record.
    pub volume: Volume,
    /// The agent's host, when known.
    pub hostname: Arc<str>,
    /// The disk's name, when known.
    pub disk: Arc<str>,
    /// Where the data lies on the agent; empty when not reported.
    pub host_path: Arc<str>,
    /// The driver that made it; empty when not reported.
    pub driver: Arc<str>,
    /// How its size is kept.
    pub enforcement: Enforcement,
    /// Bytes used, when measured.
    pub used: Option<Bytes>,
    /// The tasks that use it.
    pub users: Vec<TaskKey>,
    /// The offer it is in.
    pub offer: Option<OfferId>,
    /// What the agent last said of it; absent until it does.
    pub observed: Option<crate::volume::VolumeState>,
    /// What was measured since the master started; absent before the first time.
    pub usage: Option<UsageView>,
    /// Why it cannot be used at the moment, as its agent says.
    pub unavailable: Option<Rejection>,
}

/// What a volume uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageView {
    /// When it was last measured.
    pub measured: Timestamp,
    /// What was found.
    pub now: Measured,
    /// How that has changed; absent while the measurements are too close to each other.
    pub trend: Option<Trend>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotView {
    /// The registry's record.
    pub snapshot: crate::snapshot::Snapshot,
    /// The agent's host, when known.
    pub hostname: Arc<str>,
    /// The disk's name, when known.
    pub disk: Arc<str>,
    /// Where it lies on the agent; empty when not reported.
    pub host_path: Arc<str>,
    /// What the agent last said of it; absent until it does.
    pub observed: Option<crate::snapshot::SnapshotState>,
}

/// The schedule of a volume's snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleView {
    /// The registry's record.
    pub schedule: crate::schedule::SnapshotSchedule,
    /// The volume's name.
    pub name: crate::id::VolumeName,
    /// The volume's role.
    pub role: Role,
    /// The agent's host, when known.
    pub hostname: Arc<str>,
    /// The time of the next snapshot; absent while nothing is taken.
    pub next: Option<Timestamp>,
    /// Why nothing is taken now: the volume is in the trash, or its agent is not there.
    pub obstacle: Option<Rejection>,
    /// Its snapshots that are READY.
    pub kept: u64,
    /// The time for which the newest of them was taken.
    pub newest: Option<Timestamp>,
    /// The volume's state; a schedule rests while that is in the trash.
    pub volume_state: crate::volume::VolumeState,
}

/// A framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkView {
    /// Its id.
    pub id: FrameworkId,
    /// What it says about itself.
    pub info: FrameworkInfo,
    /// Is a session open?
    pub connected: bool,
    /// When it was first seen.
    pub registered: Timestamp,
    /// When it was removed.
    pub removed: Option<Timestamp>,
    /// Its live tasks.
    pub tasks: u64,
    /// Its outstanding offers.
    pub offers: u64,
    /// What its tasks use.
    pub used: Resources,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// Its latest status.
    pub status: TaskStatus,
    /// For people.
    pub name: String,
    /// What it uses.
    pub resources: Resources,
    /// The agent's host, when known.
    pub hostname: Arc<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A role in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleView {
    /// Which.
    pub role: Role,
    /// Frameworks subscribed to it.
    pub frameworks: Vec<FrameworkId>,
    /// What is reserved to it.
    pub reserved: BTreeMap<Arc<str>, Scalar>,
    /// What its tasks use.
    pub used: BTreeMap<Arc<str>, Scalar>,
    /// Its live volumes.
    pub volumes: u64,
    /// How much it counts beside its siblings.
    pub weight: Weight,
    /// What its tasks have of what is unreserved.
    pub allocated: BTreeMap<Arc<str>, Scalar>,
    /// What it is offered, reserved or not.
    pub offered: BTreeMap<Arc<str>, Scalar>,
    /// What counts for quota: reserved or allocated, of it and all roles below it.
    pub consumed: BTreeMap<Arc<str>, Scalar>,
}

/// The quota of a top-level role beside what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaView {
    /// Which.
    pub role: Role,
    /// Absent when it has neither guarantee nor limit.
    pub quota: Option<Quota>,
    /// Of each resource that it has or that its quota counts.
    pub uses: Vec<QuotaUse>,
}

/// What a top-level role has of one resource, with all roles below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUse {
    /// Of what.
    pub counted: Counted,
    /// What it is sure to get.
    pub guarantee: Option<Scalar>,
    /// What it never gets more than.
    pub limit: Option<Scalar>,
    /// Reserved, or in tasks.
    pub consumed: Scalar,
    /// Offered and not consumed.
    pub offered: Scalar,
    /// What there is in the cluster.
    pub capacity: Scalar,
}

/// Something that changed, for watchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An operation was accepted or ended.
    Operation(Arc<crate::operation::OperationRecord>),
    /// A volume entered a state.
    Volume(Arc<Volume>),
    /// A task's status.
    Task(Arc<TaskStatus>),
    /// An agent's state.
    Agent {
        /// Which.
        agent: AgentId,
        /// Its new state.
        state: AgentState,
    },
    /// A framework's session opened or closed, or it was removed.
    Framework {
        /// Which.
        framework: FrameworkId,
        /// Is a session open?
        connected: bool,
    },
    /// A snapshot entered a state.
    Snapshot(Arc<crate::snapshot::Snapshot>),
}
