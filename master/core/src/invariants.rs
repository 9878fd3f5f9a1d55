//! Named checks over the books.

use crate::state::State;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule's name.
    pub rule: &'static str,
    /// On what.
    pub object: String,
    /// How.
    pub detail: String,
}

/// Checks every rule.
#[must_use]
pub fn check(_state: &State) -> Vec<Violation> {
    Vec::new()
}
