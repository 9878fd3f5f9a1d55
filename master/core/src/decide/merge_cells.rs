//! For the tests of the merge tables: one row of a table as text, a cell per state that an agent can report.

use std::fmt::Debug;

/// The verdicts on nothing reported and on each state, in the order of the table's columns.
pub(super) fn cells<S: Copy, V: Debug>(states: &[S], verdict: impl Fn(Option<S>) -> V) -> String {
    let columns = std::iter::once(None).chain(states.iter().copied().map(Some));
    columns.map(|state| format!("{:?}", verdict(state))).collect::<Vec<_>>().join(" ")
}
