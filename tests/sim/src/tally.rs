//! Which faults happened how often: a run without faults proves nothing.

use std::collections::BTreeMap;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The master's process died.
    MasterKilled,
    /// The master's process died while a batch was on its way to the registry.
    MasterKilledInCommit,
    /// The registry refused a commit.
    CommitFailed,
    /// The registry was replaced by an older copy.
    RegistryRolledBack,
    /// An agent's process died.
    AgentKilled,
    /// An agent's machine lost power.
    PowerLost,
    /// An agent's process or machine went while its ledger was being written.
    AgentLostInCommit,
    /// An agent's ledger disk failed.
    LedgerDiskFailed,
    /// An agent was stopped in an orderly way.
    AgentStopped,
    /// An agent came back with an older copy of its ledger.
    LedgerRolledBack,
    /// A framework's process died.
    FrameworkKilled,
    /// A message was lost, and its connection with it.
    ConnectionReset,
    /// A link was cut in one or both directions.
    Partition,
    /// A message of an earlier epoch reached an agent.
    StaleMessage,
    /// A call was sent again under its operation's id.
    Retry,
    /// An operation's id was used for another request.
    IdReused,
    /// A disk had no room for a volume.
    DiskFull,
    /// A disk answered with an error.
    DiskError,
    /// A volume's directory was removed by hand.
    VolumeVanished,
    /// A volume's marker was replaced by that of another one.
    MarkerChanged,
    /// A clock jumped forward.
    ClockJump,
    /// A call that must be refused.
    BadInput,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 22] = [
        Self::MasterKilled,
        Self::MasterKilledInCommit,
        Self::CommitFailed,
        Self::RegistryRolledBack,
        Self::AgentKilled,
        Self::PowerLost,
        Self::AgentLostInCommit,
        Self::LedgerDiskFailed,
        Self::AgentStopped,
        Self::LedgerRolledBack,
        Self::FrameworkKilled,
        Self::ConnectionReset,
        Self::Partition,
        Self::StaleMessage,
        Self::Retry,
        Self::IdReused,
        Self::DiskFull,
        Self::DiskError,
        Self::VolumeVanished,
        Self::MarkerChanged,
        Self::ClockJump,
        Self::BadInput,
    ];
}

/// Counts of faults and of what went on between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    faults: BTreeMap<Fault, u64>,
    deeds: BTreeMap<String, u64>,
}

impl Tally {
    /// One more of this kind.
    pub fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_insert(0) += 1;
    }
    /// One more deed, such as a volume that became READY.
    pub fn deed(&mut self, deed: &str) {
        *self.deeds.entry(deed.to_owned()).or_insert(0) += 1;
    }
    /// How often a fault happened.
    #[must_use]
    pub fn count(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).copied().unwrap_or(0)
    }
    /// How often something was done.
    #[must_use]
    pub fn deeds(&self, deed: &str) -> u64 {
        self.deeds.get(deed).copied().unwrap_or(0)
    }
    /// Everything counted, by name.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let faults = self.faults.iter().map(|(fault, count)| format!("{fault:?} {count}"));
        faults.chain(self.deeds.iter().map(|(deed, count)| format!("{deed} {count}"))).collect()
    }
    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_insert(0) += count;
        }
        for (deed, count) in &other.deeds {
            *self.deeds.entry(deed.clone()).or_insert(0) += count;
        }
    }
}
