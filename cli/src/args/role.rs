//! Roles: what they weigh.

use super::{Read, Trial, role};
use berth_model::role::Role as RoleName;
use berth_model::weight::Weight;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// List roles in use, or with a weight of their own
    #[command(visible_alias = "ls")]
    List(Read),
    /// The same as a tree, each role below the one it is a part of
    Tree(Read),
    /// Show one role
    #[command(visible_aliases = ["get", "describe"])]
    Show {
        /// The role
        role: String,
        #[command(flatten)]
        read: Read,
    },
    /// Say how much a role counts beside its siblings when resources are offered; --weight 1 takes that back
    Set {
        /// The role, such as storage or storage/mysql
        #[arg(value_parser = role)]
        role: RoleName,
        /// A number from 0.001 to 1000000; twice the weight is twice the share
        #[arg(long, value_parser = weight, allow_negative_numbers = true)]
        weight: Weight,
        #[command(flatten)]
        trial: Box<Trial>,
    },
}

fn weight(text: &str) -> Result<Weight, String> {
    text.parse().map_err(|e: berth_model::weight::WeightError| e.to_string())
}
