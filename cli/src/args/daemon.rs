//! The daemons, and lists of agents.

use super::Read;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum Master {
    /// Run the master until SIGTERM
    Run(MasterRun),
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct MasterRun {
    /// Where the registry is kept
    #[arg(long)]
    pub(crate) work_dir: Option<PathBuf>,
    /// Where to listen
    #[arg(long)]
    pub(crate) listen: Option<String>,
    /// To how many frameworks the same free cpus, memory, disk and ports are offered at once, 1 to 16; ROLE=K for a role; may be
    /// repeated (default: 1)
    #[arg(long, value_name = "K|ROLE=K")]
    pub(crate) offer_fanout: Vec<String>,
    /// How much later the next of them is offered it, unless an earlier one has answered (default: 50ms)
    #[arg(long, value_name = "DURATION")]
    pub(crate) offer_stagger: Option<String>,
    /// How long such an offer may stay unanswered before it is rescinded (default: 30s)
    #[arg(long, value_name = "DURATION")]
    pub(crate) optimistic_offer_timeout: Option<String>,
    /// How long what is left of such an offer can still be had after somebody else took a part of it (default: 50ms)
    #[arg(long, value_name = "DURATION")]
    pub(crate) optimistic_offer_grace: Option<String>,
    /// How long the cpus and memory of a failed task that used a volume are kept for its role; with a fan-out only (default: 60s)
    #[arg(long, value_name = "DURATION")]
    pub(crate) sticky_ttl: Option<String>,
    /// Settings as a TOML file; flags win
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Run an agent until SIGTERM; its tasks go on without it
    Run(AgentRun),
    /// List agents
    #[command(visible_alias = "ls")]
    List(Read),
    /// Show one agent
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// Id, its beginning, or the host's name
        agent: String,
        #[command(flatten)]
        read: Read,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct AgentRun {
    /// The master: HOST:PORT or http://HOST:PORT
    #[arg(long)]
    pub(crate) master: Option<String>,
    /// Where the ledger, the sandboxes and the ROOT disk are kept
    #[arg(long)]
    pub(crate) work_dir: Option<PathBuf>,
    /// The name shown for this machine (default: its host name)
    #[arg(long)]
    pub(crate) hostname: Option<String>,
    // Not a doc comment: the brackets would be read as links.
    #[arg(
        long,
        help = "A disk: root=DIR[,name=NAME][,type=path|mount|block|root][,driver=auto|directory|btrfs|project-quota|image[:xfs|:ext4|:btrfs]][,size=SIZE]; may be repeated"
    )]
    pub(crate) disk: Vec<String>,
    /// Where `berth disk add` may add disks while the agent runs: strictly below this directory; may be repeated, `none`
    /// forbids it (default: /srv, /mnt and /media)
    #[arg(long)]
    pub(crate) disk_add_below: Vec<String>,
    /// A key=value pair shown in offers; may be repeated
    #[arg(long)]
    pub(crate) attribute: Vec<String>,
    /// What the agent declares, such as cpus:2;mem:2GiB;disk:10GiB;ports:[31000-32000] (default: what is found)
    #[arg(long)]
    pub(crate) resources: Option<String>,
    /// A directory of this machine that may be imported into volumes, with all that is below it; may be repeated (default: none)
    #[arg(long, value_name = "DIR")]
    pub(crate) import_from: Vec<PathBuf>,
    /// Where the keys of encrypted volumes are kept (default: keys below the work directory)
    #[arg(long, value_name = "DIR")]
    pub(crate) key_dir: Option<PathBuf>,
    /// Settings as a TOML file; flags win
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scheduler {
    /// Run the service scheduler until SIGTERM
    Run(SchedulerRun),
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SchedulerRun {
    /// The master: HOST:PORT or http://HOST:PORT
    #[arg(long)]
    pub(crate) master: String,
    /// Where its ledger is kept
    #[arg(long)]
    pub(crate) work_dir: PathBuf,
    /// Where to listen for `berth service` and `berth apply`
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) listen: String,
}
