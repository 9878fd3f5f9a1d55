//! Decisions, one file per family of calls: the state and a call in, events or a refusal out. Nothing
//! here changes anything.

pub(crate) mod access;
pub(crate) mod admit;
pub(crate) mod adopt;
mod away;
pub(crate) mod cell;
pub(crate) mod conflict;
pub(crate) mod create;
pub(crate) mod destroy;
pub(crate) mod disk;
pub(crate) mod disk_order;
pub(crate) mod export;
mod gone;
pub(crate) mod group;
pub(crate) mod held;
mod import;
mod keep;
pub(crate) mod kill;
pub(crate) mod launch;
pub(crate) mod merge;
#[cfg(test)]
mod merge_cells;
mod merge_snapshot;
pub(crate) mod missing;
pub(crate) mod order;
pub(crate) mod orphan;
pub(crate) mod plan;
pub(crate) mod protect;
pub(crate) mod quota;
mod quota_rescind;
pub(crate) mod report;
mod report_derived;
pub(crate) mod report_snapshot;
pub(crate) mod rescind;
pub(crate) mod reserve;
pub(crate) mod resize;
pub(crate) mod room;
pub(crate) mod schedule;
mod sharing;
pub(crate) mod snapshot;
pub(crate) mod subscribe;
pub(crate) mod transfer;
pub(crate) mod trash;
mod uses;
pub(crate) mod weight;
mod wipe;
