//! Service documents: from YAML, JSON or TOML into checked, typed values.
//!
//! It knows the format and nothing of the cluster. Invariants: a [`Service`] that was read keeps every rule of the
//! format; what this release does not do is refused by name; nothing is guessed.

mod canonical;
mod node;
mod read;
mod table;
mod task;
mod template;

pub use template::{Part, Template, Variable};

use berth_model::error::{ErrorCode, Rejection};
use berth_model::resources::MountMode;
use berth_model::role::Role;
use berth_model::units::{Bytes, Scalar};
use node::Node;
use std::collections::BTreeMap;
use std::time::Duration;
use table::{Place, Problems};

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2; several documents may follow each other.
    Yaml,
    /// JSON.
    Json,
    /// TOML.
    Toml,
}

impl Format {
    /// By the end of a file's name.
    #[must_use]
    pub fn of_file(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }

    fn guess(text: &str) -> Self {
        if text.trim_start().starts_with('{') {
            Self::Json
        } else if toml::from_str::<Node>(text).is_ok_and(|node| node != Node::Map(Vec::new())) {
            Self::Toml
        } else {
            Self::Yaml
        }
    }
}

/// A stateful service: what `kind: Service` describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Unique in the scheduler.
    pub name: String,
    /// Whose its reservations and volumes are.
    pub role: Role,
    /// In the order of the document; names are unique.
    pub pods: Vec<Pod>,
}

/// A pod: tasks that run one after the other on one machine and share its volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Unique in the service.
    pub name: String,
    /// `name`, `uid` or `uid:gid`.
    pub user: Option<String>,
    /// Processors.
    pub cpu: Scalar,
    /// Whole MiB.
    pub memory: Bytes,
    /// By name.
    pub ports: BTreeMap<String, Port>,
    /// In the order of the document.
    pub volumes: Vec<Volume>,
    /// One-shot tasks in the order they run, then the one that keeps running.
    pub tasks: Vec<Task>,
    /// How long to wait before a failed task is started again.
    pub backoff: Backoff,
}

/// A port of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Any of the agent's.
    Auto,
    /// This one.
    Number(u16),
}

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Unique in the pod.
    pub name: String,
    /// Whole MiB.
    pub size: Bytes,
    /// Where tasks see it: relative to the sandbox, or absolute.
    pub path: String,
    /// On which kind of disk; without one on any that can be divided.
    pub disk: Option<DiskKind>,
    /// How tasks see it that do not say otherwise.
    pub mode: MountMode,
}

/// The kind of disk a volume is to lie on, as offers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    /// The one with the agent's work directory.
    Root,
    /// A directory that was declared to be a disk.
    Path,
    /// A file system of its own, which the volume gets whole.
    Mount,
}

impl DiskKind {
    /// As it is written in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Path => "path",
            Self::Mount => "mount",
        }
    }
}

impl std::fmt::Display for DiskKind {
    /// As resources call it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Root => "ROOT",
            Self::Path => "PATH",
            Self::Mount => "MOUNT",
        })
    }
}

/// When a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// It is kept running.
    Running,
    /// It runs to its end, before the one that is kept running.
    Once {
        /// Once in what.
        scope: Scope,
        /// Killed and counted as failed after this time.
        timeout: Option<Duration>,
    },
}

/// Once in what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In the life of the service.
    Service,
    /// For each fresh set of the pod's volumes.
    Volume,
    /// For each version of the pod's description.
    Config,
}

/// A program of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// For the shell.
    Shell(Template),
    /// A program and its arguments.
    Exec(Vec<Template>),
}

/// A task of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Unique in the pod.
    pub name: String,
    /// When it runs.
    pub goal: Goal,
    /// What it runs.
    pub program: Program,
    /// Its environment.
    pub env: BTreeMap<String, Template>,
    /// Failing it ends the task.
    pub health: Option<Check>,
    /// Passing it makes the service ready.
    pub readiness: Option<Check>,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: Duration,
    /// How it sees volumes, by name, where it says so.
    pub modes: BTreeMap<String, MountMode>,
}

/// A check of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Exit status 0 means passed.
    pub program: Program,
    /// Pause between two runs.
    pub every: Duration,
    /// A longer run has failed.
    pub timeout: Duration,
    /// Consecutive failures that count.
    pub failures: u32,
    /// Failures this early do not count.
    pub grace: Duration,
}

/// Growing pauses between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the second attempt; doubled each time.
    pub start: Duration,
    /// Never more.
    pub max: Duration,
}

impl Default for Backoff {
    /// A second is short enough for a crash, a minute long enough not to hammer a broken disk.
    fn default() -> Self {
        Self { start: Duration::from_secs(1), max: Duration::from_mins(1) }
    }
}

impl Backoff {
    /// The pause after this many failures in a row.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        match failures.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => self
                .start
                .checked_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
                .map_or(self.max, |pause| pause.min(self.max)),
        }
    }
}

impl Service {
    /// The pod of this name.
    #[must_use]
    pub fn pod(&self, name: &str) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.name == name)
    }
    /// The document in its canonical form: JSON that [`parse`] reads back to an equal value.
    #[must_use]
    pub fn to_json(&self) -> String {
        canonical::json(self)
    }
}

impl Pod {
    /// The task of this name.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }
    /// How one of its tasks sees one of its volumes.
    #[must_use]
    pub fn mode(&self, task: &Task, volume: &str) -> MountMode {
        let own = self.volumes.iter().find(|own| own.name == volume).map(|own| own.mode);
        task.modes.get(volume).copied().or(own).unwrap_or(MountMode::ReadWrite)
    }
    /// A fingerprint of everything a task of this pod can notice; the restart policy is not part of it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        canonical::fingerprint(self)
    }
}

/// Reads a text that holds one service, or several YAML documents.
///
/// # Errors
/// Everything that is wrong, each with the path of the key; never empty.
pub fn parse(text: &str, format: Option<Format>) -> Result<Vec<Service>, Vec<Rejection>> {
    let format = format.unwrap_or_else(|| Format::guess(text));
    let nodes = read_nodes(text, format).map_err(|problem| vec![problem])?;
    let mut problems = Problems::default();
    let mut services: Vec<Service> = Vec::new();
    let several = nodes.len() > 1;
    for (index, node) in nodes.iter().enumerate() {
        let path = if several { format!("document[{index}]") } else { String::new() };
        let Some(service) = read::service(&Place { path: path.clone(), node }, &mut problems)
        else {
            continue;
        };
        if services.iter().any(|other| other.name == service.name) {
            let field = table::join(&path, "name");
            let message = format!("two services are named {:?}", service.name);
            problems.add(&field, message, "give each a name of its own");
        }
        services.push(service);
    }
    let problems = problems.into_list();
    if problems.is_empty() { Ok(services) } else { Err(problems) }
}

fn read_nodes(text: &str, format: Format) -> Result<Vec<Node>, Rejection> {
    let invalid = |language: &str, error: String| {
        Rejection::new(ErrorCode::InvalidDocument, format!("not valid {language}: {error}"))
            .remedy(format!("correct the {language} at the place named"))
    };
    let nodes = match format {
        Format::Json => {
            vec![serde_json::from_str(text).map_err(|e| invalid("JSON", e.to_string()))?]
        },
        Format::Toml => vec![toml::from_str(text).map_err(|e| invalid("TOML", e.to_string()))?],
        Format::Yaml => {
            let options = serde_saphyr::options! {
                duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
                merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
                strict_booleans: true,
                with_snippet: false,
            };
            serde_saphyr::from_multiple_with_options::<Node>(text, options)
                .map_err(|e| invalid("YAML", e.to_string()))?
        },
    };
    let nodes: Vec<Node> = nodes.into_iter().filter(|node| *node != Node::Null).collect();
    if nodes.is_empty() {
        return Err(Rejection::new(ErrorCode::InvalidDocument, "the document is empty")
            .remedy("begin with apiVersion: berth/v1 and kind: Service"));
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests;
