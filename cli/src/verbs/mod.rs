//! What each command does: look up what is meant, ask the cluster, print rows.

pub(crate) mod audit;
pub(crate) mod daemon;
pub(crate) mod disk;
mod disk_add;
pub(crate) mod document;
pub(crate) mod explain;
mod group;
mod impact;
pub(crate) mod list;
pub(crate) mod operation;
pub(crate) mod orphan;
pub(crate) mod profile;
pub(crate) mod property;
pub(crate) mod quota;
pub(crate) mod reservation;
pub(crate) mod role;
pub(crate) mod scan;
pub(crate) mod schedule;
pub(crate) mod service;
pub(crate) mod snapshot;
pub(crate) mod stream;
pub(crate) mod task;
pub(crate) mod transfer;
pub(crate) mod volume;
mod waiting;
