//! The master's books.
//!
//! It knows no rule of who may do what: `decide` does. Only `evolve` changes it. Invariant: what the
//! registry holds is a function of these tables' durable part, and every derived figure here is kept
//! by differences, so that one operation costs the same on an empty agent and on one with 10,000
//! volumes.

mod agents;
mod audit;
mod books;
mod disks;
mod frameworks;
mod holdings;
mod optimistic;
mod rows;
mod shares;
mod snapshots;
mod standings;
mod tasks;
mod timers;
mod transactions;
mod volumes;

pub(crate) use agents::{Agent, Link};
pub(crate) use audit::{Audit, Refusals};
pub(crate) use books::{Books, Pool, sum_of};
pub(crate) use disks::{Withheld, labels};
pub(crate) use frameworks::{Filter, FilterKey, Framework};
pub(crate) use holdings::{DiskKey, Holding, Holdings, numbers};
pub(crate) use optimistic::{Kept, Loss, Races, Turns, keepable};
pub(crate) use rows::{RowKey, base_of};
pub(crate) use shares::{Shares, Walk};
pub(crate) use snapshots::SnapshotEntry;
pub(crate) use standings::{Counts, Standings};
pub(crate) use tasks::{Kill, Task, Waiting};
pub(crate) use timers::{Timer, Timers};
pub(crate) use transactions::Transactions;
pub(crate) use volumes::{Observed, Place, VolumeEntry, place_of};

use crate::config::Config;
use berth_model::disk::{Cordon, DiskProfile, DiskRecord};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{
    AgentId, DiskId, FrameworkId, OfferId, OperationId, ProfileName, ReservationId, SnapshotId,
    VolumeId, VolumeName,
};
use berth_model::offer::Offer;
use berth_model::operation::OperationRecord;
use berth_model::quota::Quota;
use berth_model::record::ReservationRow;
use berth_model::role::Role;
use berth_model::schedule::SnapshotSchedule;
use berth_model::task::TaskKey;
use berth_model::units::Timestamp;
use berth_model::volume::VolumeState;
use berth_model::weight::{RoleWeight, Weight};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything the master knows. Queries read it; only events change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub(crate) config: Config,
    /// Why destructive calls are refused, when they are.
    pub(crate) safe_mode: Option<String>,
    pub(crate) next_framework: u64,
    pub(crate) next_offer: u64,
    pub(crate) agents: BTreeMap<AgentId, Agent>,
    /// Counts steps that changed what somebody may be shown of an agent: the number of the one under way.
    pub(crate) turn: u64,
    /// The agents by the last such step.
    pub(crate) touched: BTreeSet<(u64, AgentId)>,
    /// How many of them have not come back since the master started.
    pub(crate) recovering: usize,
    /// The agents that were told this epoch by this process.
    pub(crate) met: BTreeSet<AgentId>,
    pub(crate) rows: BTreeMap<ReservationId, Arc<ReservationRow>>,
    pub(crate) volumes: BTreeMap<VolumeId, VolumeEntry>,
    /// The volumes that hold their name, by role and name.
    pub(crate) names: BTreeSet<(Role, VolumeName, VolumeId)>,
    pub(crate) snapshots: BTreeMap<SnapshotId, SnapshotEntry>,
    /// The snapshots of each volume.
    pub(crate) snapshots_by_volume: BTreeSet<(VolumeId, SnapshotId)>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    /// Removed frameworks, oldest first.
    pub(crate) removed: BTreeSet<(Timestamp, FrameworkId)>,
    pub(crate) offers: BTreeMap<OfferId, Offer>,
    /// Optimistic offers that do not fit any more and are rescinded soon.
    pub(crate) losses: BTreeMap<OfferId, Loss>,
    /// Offers that give an agent to one framework alone because it lost too often.
    pub(crate) alone: BTreeSet<OfferId>,
    /// Frameworks that lost too often and are to have an agent alone.
    pub(crate) owed: BTreeSet<FrameworkId>,
    /// Agents with optimistic offers whose books changed in this step.
    pub(crate) unsettled: BTreeSet<AgentId>,
    /// Agents in whose last look quota left somebody less than there is: they are looked at again when it leaves more.
    pub(crate) cut: BTreeSet<AgentId>,
    pub(crate) tasks: BTreeMap<TaskKey, Task>,
    /// Ended tasks that nobody has to be told about any more, oldest first.
    pub(crate) told: BTreeSet<(Timestamp, TaskKey)>,
    pub(crate) operations: BTreeMap<OperationId, Arc<OperationRecord>>,
    /// Ended operations, oldest first.
    pub(crate) ended: BTreeSet<(Timestamp, OperationId)>,
    /// The answers to frameworks' transactions.
    pub(crate) transactions: Transactions,
    pub(crate) filters: BTreeMap<FrameworkId, BTreeMap<(Role, AgentId), Vec<Filter>>>,
    /// Reads under way and who must answer.
    pub(crate) reads: BTreeMap<u64, AgentId>,
    pub(crate) timers: Timers,
    pub(crate) shares: Shares,
    /// What operators said of disks.
    pub(crate) disks: BTreeMap<DiskId, Arc<DiskRecord>>,
    pub(crate) profiles: BTreeMap<ProfileName, Arc<DiskProfile>>,
    /// The schedules of volumes' snapshots.
    pub(crate) schedules: BTreeMap<VolumeId, Arc<SnapshotSchedule>>,
    /// What roles weigh that do not weigh 1.
    pub(crate) weights: BTreeMap<Role, Arc<RoleWeight>>,
    /// The quota of top-level roles.
    pub(crate) quotas: BTreeMap<Role, Arc<Quota>>,
    /// What counts for quota.
    pub(crate) holdings: Holdings,
    /// How roles stand against their quota.
    pub(crate) standings: Standings,
    /// The ends of the audit log.
    pub(crate) audit: Audit,
}

impl State {
    /// Empty books for a term.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            transactions: Transactions::new(config.placements_kept),
            config,
            safe_mode: None,
            next_framework: 1,
            next_offer: 1,
            agents: BTreeMap::new(),
            turn: 1,
            touched: BTreeSet::new(),
            recovering: 0,
            met: BTreeSet::new(),
            rows: BTreeMap::new(),
            volumes: BTreeMap::new(),
            names: BTreeSet::new(),
            snapshots: BTreeMap::new(),
            snapshots_by_volume: BTreeSet::new(),
            frameworks: BTreeMap::new(),
            removed: BTreeSet::new(),
            offers: BTreeMap::new(),
            losses: BTreeMap::new(),
            alone: BTreeSet::new(),
            owed: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            cut: BTreeSet::new(),
            tasks: BTreeMap::new(),
            told: BTreeSet::new(),
            operations: BTreeMap::new(),
            ended: BTreeSet::new(),
            filters: BTreeMap::new(),
            reads: BTreeMap::new(),
            timers: Timers::default(),
            shares: Shares::default(),
            disks: BTreeMap::new(),
            profiles: BTreeMap::new(),
            schedules: BTreeMap::new(),
            weights: BTreeMap::new(),
            quotas: BTreeMap::new(),
            holdings: Holdings::default(),
            standings: Standings::default(),
            audit: Audit::default(),
        }
    }

    /// Why nothing new goes on the disk.
    pub(crate) fn cordon(&self, disk: DiskId) -> Option<&Cordon> {
        self.disks.get(&disk)?.cordon.as_ref()
    }

    /// How much the role counts beside its siblings.
    pub(crate) fn weight(&self, role: &Role) -> Weight {
        self.weights.get(role).map(|known| known.weight).unwrap_or_default()
    }

    /// The agent, or the refusal that says it is unknown.
    pub(crate) fn agent(&self, id: AgentId) -> Result<&Agent, Rejection> {
        self.agents.get(&id).ok_or_else(|| {
            Rejection::new(ErrorCode::UnknownAgent, format!("no agent {id}"))
                .remedy("list the agents with `berth agent list`")
                .field("agent")
        })
    }
    /// The agent if it is connected.
    pub(crate) fn connected_agent(&self, id: AgentId) -> Result<&Agent, Rejection> {
        let agent = self.agent(id)?;
        if agent.session().is_some() {
            return Ok(agent);
        }
        let state = agent.state().as_str();
        Err(Rejection::new(
            ErrorCode::AgentUnreachable,
            format!("agent {id} ({}) is {state}", agent.info.hostname),
        )
        .remedy("start the agent, or wait until it is REGISTERED again"))
    }
    /// The agent if it is connected and has what its books say.
    pub(crate) fn usable_agent(&self, id: AgentId) -> Result<&Agent, Rejection> {
        let agent = self.connected_agent(id)?;
        match self.withheld_because(agent) {
            Some(why) => Err(Rejection::new(
                ErrorCode::InsufficientResources,
                format!("agent {id} ({}) is withheld: {why}", agent.info.hostname),
            )
            .remedy("give the agent back what it declared before, or free what is missing, and restart it")),
            None => Ok(agent),
        }
    }
    /// The volumes that hold this name in this role.
    pub(crate) fn holders<'a>(
        &'a self,
        role: &Role,
        name: &VolumeName,
    ) -> impl Iterator<Item = &'a VolumeEntry> {
        let from = (role.clone(), name.clone(), VolumeId::from_u128(0));
        let to = (role.clone(), name.clone(), VolumeId::from_u128(u128::MAX));
        self.names.range(from..=to).filter_map(|(_, _, id)| self.volumes.get(id))
    }
    /// The volume of an agent that a resource of this role and name means; a quarantined one is never
    /// meant.
    pub(crate) fn volume_on(
        &self,
        agent: AgentId,
        role: &Role,
        name: &VolumeName,
    ) -> Option<&VolumeEntry> {
        self.holders(role, name).find(|entry| {
            entry.volume.agent == agent && entry.volume.state != VolumeState::Quarantined
        })
    }
    /// True when with a guarantee nothing is offered yet: more than one in five agents have not come back to this master, and what is
    /// free of the others says little of what guarantees will find. Over when the window for coming back is.
    pub(crate) fn awaits_agents(&self) -> bool {
        self.standings.guarantees() && self.recovering > self.agents.len() / 5
    }
    /// Why nothing of the agent may be given away although it is connected.
    pub(crate) fn withheld_because(&self, agent: &Agent) -> Option<String> {
        let overcommitted = || "its tasks use more than it has".to_owned();
        agent.misfit.clone().or_else(|| agent.is_overcommitted().then(overcommitted))
    }
    /// Refuses what destroys while the registry may be older than the data.
    pub(crate) fn refuse_in_safe_mode(&self, what: &str) -> Result<(), Rejection> {
        match &self.safe_mode {
            None => Ok(()),
            Some(why) => Err(Rejection::new(
                ErrorCode::SafeMode,
                format!("{what} is refused in safe mode: {why}"),
            )
            .remedy("restore the latest copy of the registry and restart the master")),
        }
    }
}
