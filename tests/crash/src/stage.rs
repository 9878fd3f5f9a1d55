//! How far the ledger of the simulated agent says that a volume or a snapshot is.

use berth_model::orphan::OrphanPlace;
use berth_model::units::Bytes;

/// What the ledger says of a volume. Snapshots are named by their place in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Never made, given up, or purged.
    Nothing,
    /// Being made.
    Creating,
    /// It was wanted back from a deletion that had begun, and there was nothing any more.
    Vanished,
    /// Live.
    Ready,
    /// On its way to the trash.
    Tombstoned,
    /// In the trash.
    Trashed,
    /// On its way out of the trash.
    Restoring,
    /// Being deleted.
    Purging,
    /// What is there was refused; it is left alone.
    Quarantined,
    /// Live, and about to have this size.
    Resizing(Bytes),
    /// Being put back to a snapshot; what it held is to lie in the safety snapshot.
    RollingBack { snapshot: usize, safety: usize },
    /// Being made from a snapshot.
    Cloning(usize),
    /// Live, and about to have another owner and mode.
    Setting,
    /// Being made with a copy of a directory.
    Importing,
    /// Being made with what somebody sends.
    Receiving,
    /// The ledger does not know it. It was last seen here; what was done to it there may not be synced.
    Orphan(OrphanPlace),
    /// What somebody put under its name is about to be a volume again.
    Adopting,
    /// Being deleted from there without the ledger ever having known it.
    PurgingOrphan(OrphanPlace),
}

impl Stage {
    /// Something was begun.
    #[must_use]
    pub fn is_begun(self) -> bool {
        match self {
            Self::Nothing
            | Self::Vanished
            | Self::Ready
            | Self::Trashed
            | Self::Quarantined
            | Self::Orphan(_) => false,
            Self::Creating
            | Self::Tombstoned
            | Self::Restoring
            | Self::Purging
            | Self::Resizing(_)
            | Self::RollingBack { .. }
            | Self::Cloning(_)
            | Self::Setting
            | Self::Importing
            | Self::Receiving
            | Self::Adopting
            | Self::PurgingOrphan(_) => true,
        }
    }
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SnapshotStage {
    /// Being taken.
    Taking,
    /// There.
    Ready,
    /// Being deleted.
    Deleting,
    /// Not there, or no more.
    Gone,
    /// What is there was refused.
    Quarantined,
}
