//! Rules about the repository that no compiler checks, each a function from text to violations.
//!
//! A rule does not know where text comes from, so each one is shown, by a unit test next to it, to find what it is for;
//! `tests/repository.rs` applies all of them to the files of this repository. A rule reports every violation at once.

pub mod code;
pub mod documents;
pub mod length;
pub mod manifests;
pub mod purity;
pub mod repository;
pub mod source;
pub mod traits;

/// What is wrong, where, and what to do about it.
pub type Violation = String;
