//! What has lost its other half: data on a disk that no record explains, and records whose data is not there.
//!
//! The first are soft: agents find them by looking, and say so with their disks. The second are LOST volumes.
//! Invariant: an orphan without an identity is shown and never touched.

use crate::error::Rejection;
use crate::id::{AgentId, OperationId};
use crate::operator::VolumeChoice;
use crate::units::{Bytes, Timestamp};
use crate::volume::VolumeSpec;
use std::sync::Arc;

/// Where on its disk a directory lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrphanPlace {
    /// Among the disk's volumes.
    Live,
    /// In the disk's trash.
    Trash,
}

impl OrphanPlace {
    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "volumes",
            Self::Trash => "trash",
        }
    }
}

/// A directory among the volumes of a disk, or in its trash, that the agent's ledger does not explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Where it lies on the agent; names it.
    pub path: Arc<str>,
    /// In which part of the disk.
    pub place: OrphanPlace,
    /// The volume it is, proven by its marker and the identity on the directory itself.
    pub spec: Option<VolumeSpec>,
    /// What speaks against it being a volume of this agent; empty when it is one.
    pub evidence: Arc<str>,
    /// What it takes; absent until it was measured.
    pub used: Option<Bytes>,
    /// When something in its top directory last changed.
    pub modified: Option<Timestamp>,
}

/// What an agent is to delete: exactly this volume, in this place, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrphanOrder {
    /// As its marker said when it was asked for.
    pub spec: VolumeSpec,
    /// Where.
    pub place: OrphanPlace,
}

/// Which orphan is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrphanChoice {
    /// Data without a record.
    Data {
        /// On which agent.
        agent: AgentId,
        /// Where it lies.
        path: Arc<str>,
    },
    /// A record without data.
    Record(VolumeChoice),
}

/// How far an agent has come with the deletion of an orphan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrphanState {
    /// The intent.
    Purging,
    /// Nothing of it is left.
    Gone,
    /// It was left alone, and why.
    Failed(Rejection),
}

/// The deletion of an orphan as an agent's ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerOrphan {
    /// On whose behalf; names it.
    pub operation: OperationId,
    /// What is to be deleted.
    pub order: OrphanOrder,
    /// How far it has come.
    pub state: OrphanState,
}
