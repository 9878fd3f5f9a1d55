//! Agents and their disks as the master sees them.

use crate::error::{ErrorCode, Rejection};
use crate::id::{AgentId, DiskId};
use crate::orphan::Orphan;
use crate::resources::{DiskSource, Resources};
use crate::units::Bytes;
use crate::volume::Enforcement;
use crate::wipe::{Wipe, WipeAbility};
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
    /// Which volumes can be wiped how when they are purged. Of what is not in it the agent says nothing.
    pub wipes: Vec<WipeAbility>,
    /// Why volumes cannot be encrypted on it; nothing when they can, or when an agent of an earlier release does not say.
    pub no_encryption: Option<Arc<str>>,
}

impl Disk {
    /// Can a volume that this driver made be wiped so?
    ///
    /// # Errors
    /// It cannot, or the agent does not say that it can: one of an earlier release would delete without wiping.
    pub fn check_wipe(&self, driver: &str, method: Wipe) -> Result<(), Rejection> {
        if method == Wipe::None {
            return Ok(());
        }
        let of_driver = || self.wipes.iter().filter(|ability| &*ability.driver == driver);
        let text = match of_driver().find(|ability| ability.method == method) {
            Some(WipeAbility { refused: None, .. }) => return Ok(()),
            Some(WipeAbility { refused: Some(why), .. }) => why.clone(),
            None => "its agent does not say that it can".to_owned(),
        };
        let able = of_driver().filter(|ability| ability.refused.is_none());
        let able: Vec<String> = able.map(|ability| format!("--wipe {}", ability.method)).collect();
        let remedy = if able.is_empty() {
            "purge it with --wipe none and wipe or destroy the whole device when nothing else is on it".to_owned()
        } else {
            format!("use {}", able.join(" or "))
        };
        let text = format!(
            "volumes of driver {driver} on disk {} cannot be wiped by {method}: {text}",
            self.name
        );
        Err(Rejection::new(ErrorCode::Unsupported, text).remedy(remedy).field("wipe"))
    }
}

/// What an agent declares about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentInfo {
    /// Minted by the agent.
    pub id: AgentId,
    /// For people.
    pub hostname: Arc<str>,
    /// Free key-value pairs.
    pub attributes: Arc<BTreeMap<String, String>>,
    /// Everything declared: unreserved and statically reserved, disks included, before any operation.
    pub declared: Resources,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// What the agent cannot do here, and why (no root, no cgroup …); shown to operators.
    pub limitations: Vec<String>,
    /// The program's version.
    pub version: Arc<str>,
}
