//! Why something is not offered, or not where it should be.

use super::Read;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Explain {
    /// Say of every agent whether a framework is offered it, and if not, the first thing that left it out
    #[command(visible_alias = "fw")]
    Framework {
        /// Id, its beginning, or the name
        framework: String,
        /// In one of its roles only
        #[arg(short, long)]
        role: Option<String>,
        #[command(flatten)]
        read: Read,
    },
}
