//! What lies on a simulated disk, and how an effect on it fares.

use berth_agent_core::effect::Place;
use berth_model::access::Access;
use berth_model::id::{AgentId, SnapshotId};
use berth_model::resources::DiskSource;
use berth_model::snapshot::SnapshotSpec;

/// How an effect fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Good,
    /// Nothing is done.
    Fails,
    /// It is done, and the answer says that nobody knows.
    UnclearDone,
    /// It is not done, and the answer says that nobody knows.
    UnclearUndone,
    /// Its first step is done and the rest is not, yet; only a roll back has two.
    Half,
}

/// A volume's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub place: Place,
    /// As its marker says.
    pub agent: AgentId,
    pub generation: u64,
    pub source: DiskSource,
    pub bytes: u64,
    /// What it holds, by the number of the write that made it so; 0 in a fresh one.
    pub content: u64,
    /// Of its root directory.
    pub access: Access,
    /// Everything it held was overwritten.
    pub wiped: bool,
}

/// A snapshot on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub spec: SnapshotSpec,
    pub content: u64,
}

/// A life that a roll back ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    pub slot: Slot,
    /// Has the same content; the life is deleted with it.
    pub safety: SnapshotId,
}
