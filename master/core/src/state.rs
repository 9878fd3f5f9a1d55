//! The master's books.

use crate::config::Config;

/// Everything the master knows. Queries read it; only events change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub(crate) config: Config,
}
