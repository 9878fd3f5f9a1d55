//! Data without a record, and records without data.

use super::{Act, Read, Trial};
use crate::confirm::TypedName;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Orphan {
    /// List directories that no record explains, and LOST volumes
    #[command(visible_alias = "ls")]
    List {
        /// Only on this agent: host name, id, or its beginning
        #[arg(long)]
        agent: Option<String>,
        #[command(flatten)]
        read: Read,
    },
    /// Show one orphan
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        #[command(flatten)]
        which: OneOrphan,
        #[command(flatten)]
        read: Read,
    },
    /// Make it a volume again: a directory with a reservation for it, a LOST volume when its data is back
    Adopt {
        #[command(flatten)]
        which: OneOrphan,
        #[command(flatten)]
        trial: Trial,
    },
    /// Delete a directory for good, or forget a LOST volume
    Purge {
        #[command(flatten)]
        which: OneOrphan,
        #[command(flatten)]
        confirm: TypedName,
        #[command(flatten)]
        act: Act,
    },
}

/// The orphan that is meant.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct OneOrphan {
    /// Path on the agent, or the volume's name, ROLE/NAME, id, or its beginning
    pub(crate) orphan: String,
    /// Only on this agent: host name, id, or its beginning
    #[arg(long)]
    pub(crate) agent: Option<String>,
}
