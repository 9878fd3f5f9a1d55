//! Quota of roles.

use super::{Act, Read, Trial, role};
use crate::confirm::Confirm;
use berth_model::quota::{Amounts, parse_amounts};
use berth_model::role::Role;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Quota {
    /// Say what a top-level role is sure to get and what it never gets more than, all roles below it included; replaces the
    /// quota it has
    Set(Box<QuotaSet>),
    /// Show the quota of one role, or of all that have one
    #[command(visible_aliases = ["list", "ls", "get", "describe"])]
    Show {
        /// A top-level role (default: all)
        role: Option<String>,
        #[command(flatten)]
        read: Read,
    },
    /// Show what top-level roles have beside what they are guaranteed and limited to
    Usage {
        /// A top-level role (default: all)
        role: Option<String>,
        #[command(flatten)]
        read: Read,
    },
    /// Take the quota of a role away: no guarantee and no limit any more
    #[command(visible_aliases = ["delete", "rm"])]
    Unset {
        /// A top-level role, such as storage
        #[arg(value_parser = role)]
        role: Role,
        #[command(flatten)]
        confirm: Confirm,
        #[command(flatten)]
        act: Box<Act>,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct QuotaSet {
    /// A top-level role, such as storage
    #[arg(value_parser = role)]
    pub(crate) role: Role,
    // Not a comment of documentation: the brackets would be a link there.
    #[arg(
        long,
        value_name = "AMOUNTS",
        value_parser = amounts,
        help = "What it is sure to get: cpus=4,mem=8GiB,disk[ssd]=1TiB, where ssd is a profile of disks"
    )]
    pub(crate) guarantee: Vec<Amounts>,
    /// What it never gets more than, written in the same way; what is not named has no limit
    #[arg(long, value_name = "AMOUNTS", value_parser = amounts)]
    pub(crate) limit: Vec<Amounts>,
    /// Although the role has more than a limit, or the cluster less than all roles are guaranteed
    #[arg(long, help_heading = "Safety")]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) trial: Trial,
}

fn amounts(text: &str) -> Result<Amounts, String> {
    parse_amounts(text).map_err(|e| e.to_string())
}
