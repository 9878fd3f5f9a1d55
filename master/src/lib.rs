//! The master's shell: registry, engine and API around `berth-master-core`.

pub mod registry;
