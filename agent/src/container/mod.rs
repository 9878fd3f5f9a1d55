//! Containers: a supervisor process per task that outlives the agent, the surroundings it makes, and what the agent
//! learns from it.
//!
//! [`Runtime`] carries out [`ContainerEffect`](berth_agent_core::effect::ContainerEffect)s and reports events.
//! It decides nothing, keeps no ledger and knows no master. Whatever it needs after a restart lies in the run
//! folder of each container ([`record`] has the layout). Volumes come as verified directory handles from
//! outside and are mounted only in the container's own mount namespace.
//!
//! The program must dispatch two hidden subcommands before it starts any thread: `supervise RUN_FOLDER` to
//! [`supervise_main`] and `check RUN_FOLDER ROLE …` to [`exec_check_main`].

mod cgroup;
mod checks;
mod devices;
mod enter;
mod freeze;
mod garbage;
mod handover;
mod inbox;
mod life;
mod logs;
mod mounts;
mod places;
mod prepare;
mod record;
mod runtime;
mod still;
mod supervise;
mod watch;

pub use enter::exec_check_main;
pub use freeze::Frozen;
pub use runtime::Runtime;
pub use still::Still;
pub use supervise::supervise_main;

use berth_model::error::Rejection;
use berth_model::id::AgentId;
use berth_model::units::Bytes;
use berth_model::volume::VolumeSpec;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// Gives the directory handle of a volume whose identity was verified on that very handle.
pub type VolumeSource = dyn Fn(&VolumeSpec) -> Result<OwnedFd, Rejection> + Send + Sync;

/// How containers are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// One folder per container below it. Nothing else may be kept here.
    pub runs: PathBuf,
    /// The program that dispatches the hidden subcommands.
    pub program: PathBuf,
    /// Told to the tasks.
    pub agent: AgentId,
    /// The name of this machine in messages.
    pub host: String,
    /// Size of one file of output.
    pub log_limit: Bytes,
    /// Files per output, the one being written included; at least two.
    pub log_files: u32,
    /// How long the sandbox of a finished run is kept.
    pub retention: Duration,
    /// Sandboxes of finished runs go earlier, oldest first, while less than this share of their file system, in
    /// percent, is free.
    pub free_percent_min: u8,
}

impl Config {
    /// The usual values.
    #[must_use]
    pub fn new(runs: PathBuf, agent: AgentId) -> Self {
        let host = nix::unistd::gethostname()
            .map_or_else(|_error| agent.to_string(), |name| name.to_string_lossy().into_owned());
        Self {
            runs,
            // The running program itself, even when its file is replaced by an upgrade.
            program: PathBuf::from("/proc/self/exe"),
            agent,
            host,
            log_limit: Bytes::from_mib(10),
            log_files: 2,
            retention: Duration::from_secs(7 * 24 * 3600),
            free_percent_min: 5,
        }
    }
}
