//! The command line as a tree of types.

mod audit;
mod daemon;
mod disk;
mod explain;
mod orphan;
mod quota;
mod role;
mod snapshot;
mod storage;
mod work;

pub(crate) use audit::{Audit, AuditList, AuditVerify, OfOperation};
pub(crate) use daemon::{Agent, AgentRun, Master, MasterRun, Scheduler, SchedulerRun};
pub(crate) use disk::{
    Disk, DiskAdd, DiskChange, DiskMap, DiskScan, Health, Profile, ProfileCreate,
};
pub(crate) use explain::Explain;
pub(crate) use orphan::{OneOrphan, Orphan};
pub(crate) use quota::{Quota, QuotaSet};
pub(crate) use role::Role;
pub(crate) use snapshot::{
    OneSnapshot, Schedule, ScheduleSet, Snapshot, SnapshotCreate, SnapshotHold, VolumeClone,
    VolumeRollback,
};
pub(crate) use storage::{
    Reservation, ReservationCreate, Trash, Volume, VolumeCreate, VolumeExport, VolumeImport,
    VolumeProtect, VolumeSet,
};
pub(crate) use work::{Apply, Framework, Offer, Operation, Service, Task, Validate};

use crate::output::Show;
use berth_model::id::OperationId;
use clap::{Args, Parser, Subcommand};

/// Berth: a cluster resource manager whose heart is persistent storage.
#[derive(Debug, Parser)]
#[command(name = "berth", version, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster in one terminal
    Dev(crate::dev::Args),
    /// Run the master
    #[command(subcommand)]
    Master(Master),
    /// Run or look at agents
    #[command(subcommand, visible_alias = "agents")]
    Agent(Agent),
    /// Run the service scheduler
    #[command(subcommand)]
    Scheduler(Scheduler),
    /// Look at disks, map them, cordon and label them
    #[command(subcommand, visible_alias = "disks")]
    Disk(Disk),
    /// Named predicates over disks, for placing volumes
    #[command(subcommand, visible_alias = "profiles")]
    Profile(Profile),
    /// Reserve resources for a role
    #[command(subcommand, visible_aliases = ["reservations", "rsv"])]
    Reservation(Reservation),
    /// Create, look at and delete persistent volumes
    #[command(subcommand, visible_aliases = ["volumes", "vol"])]
    Volume(Volume),
    /// Keep the content of volumes as it is
    #[command(subcommand, visible_aliases = ["snapshots", "snap"])]
    Snapshot(Snapshot),
    /// Look at or remove frameworks
    #[command(subcommand, visible_aliases = ["frameworks", "fw"])]
    Framework(Framework),
    /// Look at outstanding offers
    #[command(subcommand, visible_alias = "offers")]
    Offer(Offer),
    /// Look at tasks, their output, or end them
    #[command(subcommand, visible_alias = "tasks")]
    Task(Task),
    /// Look at or wait for operations
    #[command(subcommand, visible_aliases = ["operations", "op"])]
    Operation(Operation),
    /// Look at, restart and delete services
    #[command(subcommand, visible_aliases = ["services", "svc"])]
    Service(Service),
    /// What top-level roles are sure to get and never get more than
    #[command(subcommand, visible_alias = "quotas")]
    Quota(Quota),
    /// Look at roles, and say what they weigh
    #[command(subcommand, visible_alias = "roles")]
    Role(Role),
    /// Bring services to the state of a document
    Apply(Apply),
    /// Check a document without a cluster
    Validate(Validate),
    /// Look at data without a record and records without data; adopt or purge them
    #[command(subcommand, visible_alias = "orphans")]
    Orphan(Orphan),
    /// Say why something is not offered or not placed, and what would change that
    #[command(subcommand)]
    Explain(Explain),
    /// Look at who did what and why, and check that the log is as it was written
    #[command(subcommand)]
    Audit(Audit),
    /// Print a completion script for a shell
    Completion {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Print the version
    Version,
    /// The supervisor of one container (started by the agent)
    #[command(hide = true)]
    Supervise(Internal),
    /// One run of a task's check (started by the agent)
    #[command(hide = true)]
    Check(Internal),
}

/// Shells with completion.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Passed through to the agent's own programs.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Internal {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<std::ffi::OsString>,
}

/// Where the cluster is.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Connect {
    /// The master: HOST:PORT or http://HOST:PORT
    #[arg(long, env = "BERTH_MASTER", default_value = "127.0.0.1:5050", help_heading = "Cluster")]
    pub(crate) master: String,
}

/// Flags of commands that read.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Read {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(flatten)]
    pub(crate) show: Show,
}

/// Flags of lists and lookups by role.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct OfRole {
    /// Only what belongs to this role
    #[arg(short, long, env = "BERTH_ROLE", help_heading = "Cluster")]
    pub(crate) role: Option<String>,
}

/// Flags of commands that change something.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Change {
    /// Wait until it is done (the default)
    #[arg(long, conflicts_with = "detach", help_heading = "Waiting")]
    pub(crate) wait: bool,
    /// How long to wait; the operation goes on afterwards
    #[arg(long, default_value = "5m", value_parser = duration, help_heading = "Waiting")]
    pub(crate) timeout: std::time::Duration,
    /// Do not wait: print the operation's id
    #[arg(long, help_heading = "Waiting")]
    pub(crate) detach: bool,
    /// The operation's id, so that a repeated command does not act twice
    #[arg(long, value_parser = operation_id, help_heading = "Waiting")]
    pub(crate) request_id: Option<OperationId>,
    /// Why; kept with the operation and in the audit log
    // Checked where it is used: a refusal of the command line would repeat all of it.
    #[arg(long, help_heading = "Safety")]
    pub(crate) reason: Option<String>,
}

/// Flags of commands that change something and show it as it is then.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Act {
    #[command(flatten)]
    pub(crate) change: Change,
    #[command(flatten)]
    pub(crate) read: Read,
}

/// As [`Act`], for what can be tried first and asks nobody to confirm it.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Trial {
    /// Show what would be done and do nothing
    #[arg(long, help_heading = "Safety")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) act: Act,
}

/// The volume that is meant.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct OneVolume {
    /// Name, ROLE/NAME, id, or its beginning
    pub(crate) volume: String,
    #[command(flatten)]
    pub(crate) of: OfRole,
}

/// Deadlines beyond it cannot be computed with.
const DURATION_MAX: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);

fn duration(text: &str) -> Result<std::time::Duration, String> {
    let span = berth_model::units::parse_duration(text).map_err(|e| e.to_string())?;
    if span > DURATION_MAX { Err("longer than a year".to_owned()) } else { Ok(span) }
}

fn operation_id(text: &str) -> Result<OperationId, String> {
    text.parse().map_err(|e: berth_model::id::IdError| e.to_string())
}

fn size(text: &str) -> Result<berth_model::units::Bytes, String> {
    let size: berth_model::units::Bytes =
        text.parse().map_err(|e: berth_model::units::UnitError| e.to_string())?;
    size.to_scalar().map_err(|e| e.to_string())?;
    Ok(size)
}

fn role(text: &str) -> Result<berth_model::role::Role, String> {
    berth_model::role::Role::new(text).map_err(|e| e.to_string())
}

fn volume_name(text: &str) -> Result<berth_model::id::VolumeName, String> {
    berth_model::id::VolumeName::new(text).map_err(|e| e.to_string())
}

fn profile_name(text: &str) -> Result<berth_model::id::ProfileName, String> {
    berth_model::id::ProfileName::new(text).map_err(|e| e.to_string())
}

fn snapshot_name(text: &str) -> Result<berth_model::id::SnapshotName, String> {
    berth_model::id::SnapshotName::new(text).map_err(|e| e.to_string())
}

fn container_path(text: &str) -> Result<String, String> {
    berth_model::resources::check_container_path(text).map_err(|e| e.to_string())?;
    Ok(text.to_owned())
}
