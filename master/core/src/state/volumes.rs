//! One volume: the registry's record and what the agent says of it.

use berth_model::error::Rejection;
use berth_model::resources::Resource;
use berth_model::task::TaskKey;
use berth_model::transfer::Progress;
use berth_model::units::Bytes;
use berth_model::usage::History;
use berth_model::volume::{Enforcement, Volume, VolumeReport, VolumeState};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A volume in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeEntry {
    pub(crate) volume: Arc<Volume>,
    /// Whether its space was taken from the agent's books; false only for a quarantined volume that
    /// does not fit, and for volumes that hold no space.
    pub(crate) placed: bool,
    /// The live tasks it is charged to: at most one unless it is shared.
    pub(crate) users: BTreeSet<TaskKey>,
    /// Tasks that start when it is READY.
    pub(crate) waiting: BTreeSet<TaskKey>,
    /// What its agent last said of it.
    pub(crate) observed: Option<Observed>,
    /// Of its present life, since this process began.
    pub(crate) measured: History,
    /// How far its content is that comes from outside, since this process began.
    pub(crate) progress: Option<Progress>,
}

/// The soft part of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) state: VolumeState,
    pub(crate) generation: u64,
    pub(crate) host_path: Arc<str>,
    pub(crate) driver: Arc<str>,
    pub(crate) enforcement: Enforcement,
    pub(crate) used: Option<Bytes>,
    pub(crate) unavailable: Option<Rejection>,
}

impl Observed {
    pub(crate) fn of(report: &VolumeReport) -> Self {
        Self {
            state: report.state,
            generation: report.spec.generation,
            host_path: Arc::clone(&report.host_path),
            driver: Arc::clone(&report.driver),
            enforcement: report.enforcement,
            used: report.used,
            unavailable: report.unavailable.clone(),
        }
    }
}

impl VolumeEntry {
    pub(crate) fn new(volume: Arc<Volume>) -> Self {
        Self {
            volume,
            placed: false,
            users: BTreeSet::new(),
            waiting: BTreeSet::new(),
            observed: None,
            measured: History::default(),
            progress: None,
        }
    }
    /// Whether several tasks may use it at once.
    pub(crate) fn is_shared(&self) -> bool {
        self.volume.spec.shared
    }
    /// Whether the task could be charged with it beside those that are.
    pub(crate) fn has_room_for(&self, task: &TaskKey) -> bool {
        self.users.is_empty() || self.is_shared() && !self.users.contains(task)
    }
    /// The volume as a resource.
    pub(crate) fn resource(&self) -> Resource {
        self.volume.resource().expect("accepted volumes are whole MiB")
    }
    /// The disk under it.
    pub(crate) fn plain(&self) -> Resource {
        self.volume.plain_resource().expect("accepted volumes are whole MiB")
    }
}

/// Where a volume's space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: the disk under it is free.
    Nowhere,
    /// Taken, not to be offered.
    Withheld,
    /// Free, offered or used.
    Active,
}

/// Where a volume of this state belongs while no task uses it.
pub(crate) fn place_of(state: VolumeState) -> Place {
    match state {
        VolumeState::Ready => Place::Active,
        VolumeState::Creating
        | VolumeState::Lost
        | VolumeState::Tombstoned
        | VolumeState::Quarantined => Place::Withheld,
        VolumeState::Failed | VolumeState::Trashed | VolumeState::Gone => Place::Nowhere,
    }
}
