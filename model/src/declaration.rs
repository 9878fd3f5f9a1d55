//! Disks that operators add to an agent while it runs, and take away from it again.
//!
//! The master passes the order on; the agent decides, because only it sees its disks. Invariant: a declaration names a
//! PATH, MOUNT or BLOCK disk; ROOT is always there.

use crate::error::Rejection;
use crate::id::{DiskId, OperationId};
use crate::resources::DiskSource;
use crate::units::Bytes;
use std::fmt;
use std::sync::Arc;

/// A disk as an operator declares it to a running agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskDeclaration {
    /// PATH with its root, MOUNT with its mount point, or BLOCK with its device.
    pub source: DiskSource,
    /// For people; unique on the agent.
    pub name: Arc<str>,
    /// Which driver makes volumes on a PATH disk; empty where the agent chooses.
    pub driver: Arc<str>,
    /// What to declare to the cluster; found out when absent.
    pub size: Option<Bytes>,
}

/// What an agent is to do with its disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOrder {
    /// Use another one.
    Add(DiskDeclaration),
    /// Use this one no more.
    Remove {
        /// Which, as written on it.
        disk: DiskId,
        /// How resources name it.
        source: DiskSource,
    },
}

impl DiskOrder {
    /// How resources name the disk.
    #[must_use]
    pub const fn source(&self) -> &DiskSource {
        match self {
            Self::Add(DiskDeclaration { source, .. }) | Self::Remove { source, .. } => source,
        }
    }
    /// Would the two be about one disk, or make two of one name?
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let same_name = match (self, other) {
            (Self::Add(one), Self::Add(other)) => one.name == other.name,
            (Self::Add(_) | Self::Remove { .. }, _) => false,
        };
        same_name || self.source() == other.source()
    }
}

impl fmt::Display for DiskOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(disk) => write!(f, "add disk {} ({})", disk.name, disk.source),
            Self::Remove { disk, source } => write!(f, "remove disk {disk} ({source})"),
        }
    }
}

/// How far an agent has come with an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOrderState {
    /// The intent.
    Pending,
    /// Done.
    Done,
    /// It was left alone, and why.
    Failed(Rejection),
}

/// An order as an agent's ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerDiskOrder {
    /// On whose behalf; names it.
    pub operation: OperationId,
    /// What is to be done.
    pub order: DiskOrder,
    /// How far it has come.
    pub state: DiskOrderState,
}
