//! What a run is told: how long, and which rule of a shell it breaks on purpose.

/// A rule of the shells' discipline that this run breaks, to show that the judges notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Breach {
    /// The master answers before its registry is synced.
    MasterTellsFirst,
    /// The registry answers without a sync; the last batches go with the power.
    RegistryUnsynced,
    /// The master starts without raising its epoch.
    EpochNotRaised,
    /// The agent speaks before its ledger is synced.
    AgentTellsFirst,
    /// The agent starts effects before its ledger is synced.
    AgentActsFirst,
    /// The agent's ledger leaves out every sync of a file.
    LedgerFilesUnsynced,
    /// The agent's ledger leaves out every sync of the folder.
    LedgerFolderUnsynced,
    /// The volume driver answers without having synced.
    DriverUnsynced,
    /// A snapshot misses the last write before it.
    SnapshotUnflushed,
    /// A resize that failed leaves the size that was wanted.
    ResizeKept,
    /// A roll back says that nothing was done when the life that ends is gone already.
    RollBackDenied,
}

impl Breach {
    /// Every breach.
    pub const ALL: [Self; 11] = [
        Self::MasterTellsFirst,
        Self::RegistryUnsynced,
        Self::EpochNotRaised,
        Self::AgentTellsFirst,
        Self::AgentActsFirst,
        Self::LedgerFilesUnsynced,
        Self::LedgerFolderUnsynced,
        Self::DriverUnsynced,
        Self::SnapshotUnflushed,
        Self::ResizeKept,
        Self::RollBackDenied,
    ];

    /// The breach of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|breach| format!("{breach:?}") == name)
    }
}

/// Settings of one run.
#[derive(Debug, Clone)]
pub struct Options {
    /// After this many events the faults end and healing begins.
    pub events: u64,
    /// Keep what happened as text.
    pub trace: bool,
    /// Break this rule.
    pub breach: Option<Breach>,
    /// To how many frameworks the same is offered; by the seed when it is not said.
    pub fan_out: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { events: 2_500, trace: false, breach: None, fan_out: None }
    }
}
