//! The master's shell: registry, engine and API around `berth-master-core`.

pub mod api;
mod clock;
mod config;
pub mod engine;
pub mod registry;
pub mod relay;
mod serve;

pub use config::{ConfigError, MasterConfig, MasterFlags};
pub use serve::{ServeError, run};
