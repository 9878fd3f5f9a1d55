//! What the scheduler must not forget: records, and the state that is their fold.
//!
//! It does not decide anything. Invariants: [`State::apply`] cannot fail and ignores what no longer fits, so a replay
//! of any prefix is a state; the JSON form is read back by later releases, fields are only added.

mod apply;
mod place;
mod text;

pub use place::{Place, PlacedVolume, Removal};

use crate::document::Service;
use berth_model::id::{FrameworkId, TaskId, VolumeId};
use berth_model::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Names a pod of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodKey {
    /// The service's name.
    pub service: String,
    /// The pod's name, without an index.
    pub pod: String,
}

impl PodKey {
    /// The pod's only instance, such as `db-0`.
    #[must_use]
    pub fn instance(&self) -> String {
        format!("{}-0", self.pod)
    }
}

impl std::fmt::Display for PodKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}-0", self.service, self.pod)
    }
}

/// Why a run is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// A user asked for it.
    Restart,
    /// The document changed.
    Update,
    /// The service is being deleted.
    Delete,
    /// A one-shot task took too long.
    Timeout,
}

/// One run of one task, from the intent to launch it until its end is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Unique in the life of the scheduler.
    pub number: u64,
    /// The task's name in the pod.
    pub task: String,
    /// The task's id in the cluster.
    #[serde(with = "text")]
    pub id: TaskId,
    /// When the intent was written.
    #[serde(with = "text::time")]
    pub at: Timestamp,
    /// It is known to have run.
    pub started: bool,
    /// It is being ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// The pod's description it was launched with.
    pub config: u64,
}

/// How a run ended, as far as it matters for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Ended by itself with status 0.
    Succeeded,
    /// Ended by itself otherwise, or was killed by somebody else.
    Failed,
    /// Ended because this scheduler wanted it.
    Stopped,
    /// It never ran.
    NeverStarted,
    /// It does not run any more, and nobody knows how it ended.
    Unknown,
}

/// The end of the latest run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which task.
    pub task: String,
    /// When it was heard of.
    #[serde(with = "text::time")]
    pub at: Timestamp,
    /// How.
    pub verdict: Verdict,
    /// In words.
    pub message: String,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodState {
    /// Where it lives.
    pub place: Option<Place>,
    /// The number of its next place.
    pub next_place: u64,
    /// One-shot tasks that succeeded in the life of the service.
    pub done_service: BTreeSet<String>,
    /// One-shot tasks that succeeded on the volumes of this place.
    pub done_volume: BTreeSet<String>,
    /// One-shot tasks that succeeded, with the description they ran for.
    pub done_config: BTreeMap<String, u64>,
    /// The live run.
    pub run: Option<Run>,
    /// How the latest run ended.
    pub ended: Option<Ended>,
    /// Failures in a row.
    pub failures: u32,
    /// Launches of the task that is kept running.
    pub launches: u64,
    /// Launches of one-shot tasks, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tries: BTreeMap<String, u64>,
    /// It has been ready since its service was deployed.
    #[serde(default)]
    pub deployed: bool,
    /// A task with scope service whose outcome nobody knows; it runs again only when a user says so.
    pub held: Option<String>,
    /// Nothing of it is left in the cluster but, when they are kept, its volumes.
    pub released: bool,
}

/// What is wanted of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It shall run.
    Active,
    /// It shall go.
    Deleting {
        /// With its volumes.
        volumes: bool,
    },
    /// It is gone and its volumes stay; a new document of the name takes them up again.
    Kept,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// The document that holds now.
    #[serde(with = "text::document")]
    pub document: Service,
    /// Counts the documents.
    pub version: u64,
    /// What is wanted.
    pub phase: Phase,
    /// By the pod's name.
    pub pods: BTreeMap<String, PodState>,
}

/// Everything durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Who the scheduler is at the master.
    #[serde(with = "text::optional", default)]
    pub framework: Option<FrameworkId>,
    /// The number of the latest run.
    pub runs: u64,
    /// By name.
    pub services: BTreeMap<String, ServiceState>,
}

/// One change of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// All of it: what a snapshot holds.
    Whole(Box<State>),
    /// The master's name for this framework.
    Framework {
        /// Its id.
        #[serde(with = "text")]
        id: FrameworkId,
    },
    /// The master has removed the framework; its tasks have ended.
    FrameworkLost {
        /// When it was heard of.
        #[serde(with = "text::time")]
        at: Timestamp,
    },
    /// A new or changed document, or one of a service whose volumes were kept.
    Applied {
        /// The document.
        #[serde(with = "text::document")]
        document: Service,
    },
    /// A run is about to be asked for, here.
    Launching {
        /// Whose.
        key: PodKey,
        /// Where.
        place: Place,
        /// What.
        run: Run,
    },
    /// A volume's id.
    VolumeNamed {
        /// Whose.
        key: PodKey,
        /// In which place.
        place: u64,
        /// By the name in the document.
        volume: String,
        /// Its id.
        #[serde(with = "text")]
        id: VolumeId,
    },
    /// A volume of a pod that is being deleted is about to be destroyed.
    Destroying {
        /// Whose.
        key: PodKey,
        /// In which place.
        place: u64,
        /// By the name in the document.
        volume: String,
        /// What it will leave reserved to the pod, in MiB.
        mib: u64,
    },
    /// A volume is gone, which the master has said.
    VolumeGone {
        /// Whose.
        key: PodKey,
        /// In which place.
        place: u64,
        /// By the name in the document.
        volume: String,
    },
    /// Disk that removed volumes have left is about to be given back.
    DiskReturned {
        /// Whose.
        key: PodKey,
        /// In which place.
        place: u64,
        /// How much, in MiB.
        mib: u64,
    },
    /// The run has been seen alive; its volumes exist.
    Started {
        /// Whose.
        key: PodKey,
        /// Which run.
        run: u64,
    },
    /// The run of the task that is kept running has become ready, for the first time in this deployment.
    Ready {
        /// Whose.
        key: PodKey,
        /// Which run.
        run: u64,
    },
    /// The run shall end.
    Stopping {
        /// Whose.
        key: PodKey,
        /// Which run.
        run: u64,
        /// Why.
        why: Stop,
    },
    /// The run has ended.
    Ended {
        /// Whose.
        key: PodKey,
        /// Which run.
        run: u64,
        /// How.
        ended: Ended,
    },
    /// Nothing was made in this place; the next one has another number and other names when `renamed`.
    Voided {
        /// Whose.
        key: PodKey,
        /// Which place.
        place: u64,
        /// The names may be taken by what failed.
        renamed: bool,
    },
    /// A user wants another attempt now.
    Retry {
        /// Whose.
        key: PodKey,
    },
    /// The service shall go.
    Deleting {
        /// Which.
        service: String,
        /// With its volumes.
        volumes: bool,
    },
    /// Nothing of the pod is left on its machine but, when they are kept, its volumes.
    Released {
        /// Whose.
        key: PodKey,
    },
    /// The service is gone; its volumes stay.
    Kept {
        /// Which.
        service: String,
    },
    /// The service is gone and nothing of it stays.
    Forgotten {
        /// Which.
        service: String,
    },
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("read a record of the scheduler's ledger: written by a later release, or damaged")]
pub struct Unreadable(#[source] serde_json::Error);

impl Record {
    /// What happened, to which service or pod: for logs.
    #[must_use]
    pub fn summary(&self) -> (&'static str, String) {
        match self {
            Self::Whole(_) => ("snapshot", String::new()),
            Self::Framework { id } => ("framework named", id.to_string()),
            Self::FrameworkLost { at: _ } => ("framework removed", String::new()),
            Self::Applied { document } => ("document applied", document.name.clone()),
            Self::Launching { key, place, run } => {
                ("launching", format!("{key}: {} on {} ({})", run.id, place.hostname, place.agent))
            },
            Self::VolumeNamed { key, place: _, volume, id } => {
                ("volume created", format!("{key}: {volume} is {id}"))
            },
            Self::Destroying { key, place: _, volume, mib: _ } => {
                ("destroying volume", format!("{key}: {volume}"))
            },
            Self::VolumeGone { key, place: _, volume } => {
                ("volume gone", format!("{key}: {volume}"))
            },
            Self::DiskReturned { key, place: _, mib } => {
                ("giving disk back", format!("{key}: {mib} MiB"))
            },
            Self::Started { key, run } => ("started", format!("{key}: run {run}")),
            Self::Ready { key, run } => ("ready", format!("{key}: run {run}")),
            Self::Stopping { key, run, why } => ("stopping", format!("{key}: run {run}: {why:?}")),
            Self::Ended { key, run, ended } => {
                ("ended", format!("{key}: run {run}: {:?}: {}", ended.verdict, ended.message))
            },
            Self::Voided { key, place, renamed: _ } => {
                ("place given up", format!("{key}: {place}"))
            },
            Self::Retry { key } => ("retrying", key.to_string()),
            Self::Deleting { service, volumes: true } => ("deleting with volumes", service.clone()),
            Self::Deleting { service, volumes: false } => ("deleting", service.clone()),
            Self::Released { key } => ("released", key.to_string()),
            Self::Kept { service } => ("deleted, volumes kept", service.clone()),
            Self::Forgotten { service } => ("deleted", service.clone()),
        }
    }

    /// As bytes for the ledger.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("records are tables with text keys")
    }

    /// From bytes of the ledger.
    ///
    /// # Errors
    /// Nothing is guessed: what is not a record is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(bytes).map_err(Unreadable)
    }
}

impl State {
    /// The pod's state.
    #[must_use]
    pub fn pod(&self, key: &PodKey) -> Option<&PodState> {
        self.services.get(&key.service)?.pods.get(&key.pod)
    }

    /// Every pod of every service, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<PodKey> {
        let keys = self.services.iter().flat_map(|(service, state)| {
            state.pods.keys().map(|pod| PodKey { service: service.clone(), pod: pod.clone() })
        });
        keys.collect()
    }
}
