//! The chain of the audit log: how the hash of an entry is computed, and whether stored entries are as they were written.
//!
//! It knows nothing of where entries are kept. The hash is over a domain, the hash before, and each field with its number and
//! length, absent ones left out: a field that is added later changes no hash that was computed without it.

pub(crate) mod certificate;
pub(crate) mod chain;
mod changes;
pub(crate) mod gather;
mod purged;
pub(crate) mod refusal;
pub(crate) mod resume;
pub(crate) mod words;

pub use chain::{Verifier, beginning, entry_hash};
