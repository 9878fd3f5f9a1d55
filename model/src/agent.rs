//! Agents and their disks as the master sees them.

use crate::id::{AgentId, DiskId};
use crate::orphan::Orphan;
use crate::resources::{DiskSource, Resources};
use crate::units::Bytes;
use crate::volume::Enforcement;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Is the disk fit for use?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskHealth {
    /// Verified.
    Ok,
    /// Withheld; the text says why.
    Faulty(String),
}

/// What a disk is made of, as the kernel tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Media {
    /// Not found out: a network or virtual device, or an agent that does not tell.
    #[default]
    Unknown,
    /// It turns.
    Hdd,
    /// It does not turn.
    Ssd,
    /// It does not turn and is attached by NVMe.
    Nvme,
}

impl Media {
    /// Every medium.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Hdd, Self::Ssd, Self::Nvme];

    /// As users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Hdd => "hdd",
            Self::Ssd => "ssd",
            Self::Nvme => "nvme",
        }
    }
}

/// One disk of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Written on the disk itself.
    pub id: DiskId,
    /// For people; unique on the agent.
    pub name: Arc<str>,
    /// How resources name it.
    pub source: DiskSource,
    /// Where it is.
    pub root: Arc<str>,
    /// Which driver makes volumes on it.
    pub driver: Arc<str>,
    /// Why that driver was picked.
    pub driver_reason: Arc<str>,
    /// How sizes are kept there.
    pub enforcement: Enforcement,
    /// What it declares to the cluster.
    pub size: Bytes,
    /// What the file system has free now.
    pub free: Bytes,
    /// Is it fit for use?
    pub health: DiskHealth,
    /// What it is made of.
    pub media: Media,
    /// Directories on it that the agent's ledger does not explain.
    pub orphans: Vec<Orphan>,
    /// The drivers whose volumes can have no snapshots here, each with the reason. Of the others an agent says nothing,
    /// as one of an earlier release does of all.
    pub no_snapshots: BTreeMap<Arc<str>, String>,
    /// An operator added it while the agent ran; it is not in the agent's configuration.
    pub added: bool,
}

/// What an agent declares about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentInfo {
    /// Minted by the agent.
    pub id: AgentId,
    /// For people.
    pub hostname: Arc<str>,
    /// Free key-value pairs.
    pub attributes: BTreeMap<String, String>,
    /// Everything declared: unreserved and statically reserved, disks included, before any operation.
    pub declared: Resources,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// What the agent cannot do here, and why (no root, no cgroup …); shown to operators.
    pub limitations: Vec<String>,
    /// The program's version.
    pub version: Arc<str>,
}
