//! What the master can be told to do differently, with defaults and their reasons.

use berth_model::id::ClusterId;
use berth_model::role::Role;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Settings of one term. The shell reads the registry, raises the epoch and fills this in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The installation; from the registry, or minted by the shell for an empty one.
    pub cluster: ClusterId,
    /// This term: one more than the registry's. The first step writes it.
    pub epoch: u64,
    /// The registry's revision as it was loaded. An agent that has seen a higher one of an earlier term
    /// proves that the registry was rolled back.
    pub revision: u64,
    /// The program's version, for views.
    pub version: Arc<str>,
    /// How often both sides say that they are there (Mesos: 15 s).
    pub heartbeat: Duration,
    /// An agent that is silent for this long is unreachable: five missed heartbeats.
    pub agent_timeout: Duration,
    /// How long after its start the master waits for the agents it knows before it calls them
    /// unreachable: ten minutes, enough for a reboot.
    pub reregister_window: Duration,
    /// After this time an unanswered offer is rescinded; never by default, as in Mesos.
    pub offer_timeout: Option<Duration>,
    /// The shortest time between two looks at one agent's free resources: 1 s bounds the work and is
    /// also the shortest life of a refusal.
    pub allocation_interval: Duration,
    /// Offers of the same resources to several frameworks at once; none by default.
    pub optimistic: Optimistic,
    /// How many ended operations are remembered for queries and for repeated requests.
    pub operations_kept: usize,
    /// How many placements of a framework's transactions are remembered, with their answers, for repeated COMMITs; its last
    /// transaction is whatever its size.
    pub placements_kept: usize,
    /// How many ended and acknowledged tasks are remembered, for lists and for reading their output.
    pub tasks_kept: usize,
    /// How many removed frameworks are remembered, so that their ids stay refused and their tasks on
    /// agents that come back late are ended.
    pub frameworks_kept: usize,
    /// How many entries the audit log keeps at least; beyond it the oldest segment goes.
    pub audit_entries: u64,
    /// Segments whose last entry is older than this go, however few are left; never by default.
    pub audit_age: Option<Duration>,
    /// How many entries a segment of the audit log has: they go together.
    pub audit_segment: u64,
    /// How many refusals may be written at once; later one more every ten seconds, the others are counted. None: no refusal
    /// is written.
    pub audit_refusals: u64,
    /// The number of the last entry that is stored, readable or not: what comes is numbered behind it.
    pub audit_last: u64,
    /// What the shell could not read of the audit log. It stops nothing, but it is said.
    pub audit_fault: Option<String>,
}

/// How the same free resources are offered to several frameworks. With a fan-out of one for all, nothing here has any effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Optimistic {
    /// How many frameworks may hold the same resources: 1 to [`FAN_OUT_MAX`]. One by default, as in Mesos.
    pub fan_out: u32,
    /// The same for a role and those below it; the nearest counts.
    pub fan_out_of: BTreeMap<Role, u32>,
    /// The next holder is offered them this much later, unless an earlier one has answered: whose turn it is has a head start.
    pub stagger: Duration,
    /// An offer with an optimistic part that is not answered in this time is rescinded.
    pub timeout: Duration,
    /// What an optimistic offer still holds may be committed for so long after somebody else has committed a part of it: the
    /// time that an ACCEPT is under way. Then it is rescinded.
    pub grace: Duration,
    /// For so long the cpus and memory of a failed task that used a volume are kept for its role on that agent.
    pub sticky: Duration,
    /// For so long a framework that lost several times in a row has an agent for itself.
    pub alone: Duration,
}

/// The largest fan-out.
pub const FAN_OUT_MAX: u32 = 16;

impl Default for Optimistic {
    fn default() -> Self {
        Self {
            fan_out: 1,
            fan_out_of: BTreeMap::new(),
            stagger: Duration::from_millis(50),
            timeout: Duration::from_secs(30),
            grace: Duration::from_millis(50),
            sticky: Duration::from_secs(60),
            alone: Duration::from_secs(5),
        }
    }
}

impl Optimistic {
    /// How many frameworks may hold what a framework of this role is offered.
    #[must_use]
    pub fn of(&self, role: &Role) -> u32 {
        let fitting = self.fan_out_of.iter().filter(|(of, _)| role.may_use(of));
        let nearest = fitting.max_by_key(|(of, _)| of.as_str().len());
        nearest.map_or(self.fan_out, |(_, fan_out)| *fan_out).clamp(1, FAN_OUT_MAX)
    }
    /// The largest of all.
    #[must_use]
    pub fn most(&self) -> u32 {
        let of_roles = self.fan_out_of.values().copied();
        of_roles.chain([self.fan_out]).max().unwrap_or(1).clamp(1, FAN_OUT_MAX)
    }
    /// True when anything may be offered to more than one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.most() > 1
    }
}

impl Config {
    /// The defaults for a cluster and a term.
    #[must_use]
    pub fn new(cluster: ClusterId, epoch: u64, revision: u64) -> Self {
        Self {
            cluster,
            epoch,
            revision,
            version: Arc::from(env!("CARGO_PKG_VERSION")),
            heartbeat: Duration::from_secs(15),
            agent_timeout: Duration::from_secs(75),
            reregister_window: Duration::from_secs(600),
            offer_timeout: None,
            allocation_interval: Duration::from_secs(1),
            optimistic: Optimistic::default(),
            operations_kept: 10_000,
            placements_kept: 10_000,
            tasks_kept: 1_000,
            frameworks_kept: 1_000,
            audit_entries: 1_000_000,
            audit_age: None,
            audit_segment: 256,
            audit_refusals: 100,
            audit_last: 0,
            audit_fault: None,
        }
    }
}
