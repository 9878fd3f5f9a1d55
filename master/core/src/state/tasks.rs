//! One task as the master knows it: soft, rebuilt from the agents' registrations.

use berth_model::id::{AgentId, OperationId, VolumeId};
use berth_model::resources::Resources;
use berth_model::role::Role;
use berth_model::task::{TaskInfo, TaskStatus};
use berth_model::volume::VolumeUse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A task in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) status: TaskStatus,
    pub(crate) agent: AgentId,
    pub(crate) name: String,
    /// The role whose offers it was launched from.
    pub(crate) role: Role,
    /// Everything it uses, volumes included.
    pub(crate) resources: Resources,
    /// Without its volumes; this is charged at once.
    pub(crate) plain: Resources,
    /// Whether `plain` is charged.
    pub(crate) charged: bool,
    pub(crate) volumes: BTreeSet<VolumeId>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Present while it waits for volumes to be made.
    pub(crate) waiting: Option<Box<Waiting>>,
    /// It has ended and nobody has to be told about it any more.
    pub(crate) told: bool,
    /// Somebody asked for its end; repeated when the agent comes back.
    pub(crate) kill: Option<Kill>,
}

/// A launch that is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) info: TaskInfo,
    pub(crate) uses: Vec<VolumeUse>,
    pub(crate) operation: OperationId,
}

/// How a task is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) grace: Option<Duration>,
}

impl Task {
    /// True when it will not run again.
    pub(crate) fn ended(&self) -> bool {
        self.status.state.is_terminal()
    }
}
