//! The agent's shell: it carries out what `berth-agent-core` decides, on a real host.

pub mod config;
pub mod container;
pub mod disk;
pub mod engine;
pub mod host;
pub mod volume;

pub use config::{AgentConfig, Flags};
