//! What follows from the registry's and the agent's knowledge of one snapshot: a total table, as for volumes.
//!
//! Rows: the registry's state. Columns: the agent's report. `/` parts a snapshot whose volume is there from one whose
//! volume is in the trash or gone: only the latter may have been deleted with its volume.
//!
//! | registry    | absent | CREATING   | READY      | FAILED | LOST   | DELETING   | GONE      | QUARANTINED |
//! |-------------|--------|------------|------------|--------|--------|------------|-----------|-------------|
//! | absent      | keep   | adopt      | adopt      | forget | adopt  | keep       | forget    | adopt       |
//! | CREATING    | ensure | ensure     | ready      | failed | lost   | keep/dying | failed    | quarantine  |
//! | READY       | lost   | quarantine | keep       | lost   | lost   | lost/dying | lost/gone | quarantine  |
//! | FAILED      | keep   | keep       | quarantine | keep   | keep   | keep       | keep      | quarantine  |
//! | LOST        | keep   | quarantine | ready      | keep   | keep   | keep/dying | keep/gone | quarantine  |
//! | DELETING    | gone   | delete     | delete     | gone   | delete | delete     | gone      | quarantine  |
//! | GONE        | as for an absent record                                                                   |
//! | QUARANTINED | keep, whatever is reported                                                                |

use berth_model::snapshot::SnapshotState;

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing to do.
    Keep,
    /// Have the agent take it (again): idempotent there.
    Ensure,
    /// It is durable.
    Ready,
    /// It could not be taken; nothing lies there.
    Failed,
    /// It is not where it must be.
    Lost,
    /// Have the agent delete it (again).
    Delete,
    /// Its agent deletes it with its volume.
    Dying,
    /// It is gone for good.
    Gone,
    /// The records do not explain what lies there.
    Quarantine,
    /// As `Quarantine`, for a snapshot without a record.
    Adopt,
    /// Nothing lies there and nobody asks for it: the agent may forget it.
    Forget,
}

/// The table.
pub(crate) fn merge(
    registry: Option<SnapshotState>,
    agent: Option<SnapshotState>,
    volume_is_there: bool,
) -> Verdict {
    use SnapshotState::{Creating, Deleting, Failed, Gone, Lost, Quarantined, Ready};
    let there = |live: Verdict, gone: Verdict| if volume_is_there { live } else { gone };
    match (registry, agent) {
        (None | Some(Gone), None | Some(Deleting)) => Verdict::Keep,
        (None | Some(Gone), Some(Failed | Gone)) => Verdict::Forget,
        (None | Some(Gone), Some(Creating | Ready | Lost | Quarantined)) => Verdict::Adopt,

        (Some(Quarantined), _) => Verdict::Keep,
        (Some(Creating | Ready | Failed | Lost | Deleting), Some(Quarantined)) => {
            Verdict::Quarantine
        },

        (Some(Creating), None | Some(Creating)) => Verdict::Ensure,
        (Some(Creating | Lost), Some(Ready)) => Verdict::Ready,
        (Some(Creating), Some(Failed | Gone)) => Verdict::Failed,
        (Some(Creating), Some(Lost)) => Verdict::Lost,
        (Some(Creating | Lost), Some(Deleting)) => there(Verdict::Keep, Verdict::Dying),

        (Some(Ready), None | Some(Failed | Lost)) => Verdict::Lost,
        (Some(Ready), Some(Ready)) => Verdict::Keep,
        (Some(Ready), Some(Deleting)) => there(Verdict::Lost, Verdict::Dying),
        (Some(Ready), Some(Gone)) => there(Verdict::Lost, Verdict::Gone),
        (Some(Ready | Lost), Some(Creating)) | (Some(Failed), Some(Ready)) => Verdict::Quarantine,

        (Some(Failed), None | Some(Creating | Failed | Lost | Deleting | Gone))
        | (Some(Lost), None | Some(Failed | Lost)) => Verdict::Keep,
        (Some(Lost), Some(Gone)) => there(Verdict::Keep, Verdict::Gone),

        (Some(Deleting), None | Some(Failed | Gone)) => Verdict::Gone,
        (Some(Deleting), Some(Creating | Ready | Lost | Deleting)) => Verdict::Delete,
    }
}

#[cfg(test)]
mod tests {
    use super::super::merge_cells::cells;
    use super::*;

    #[test]
    fn every_cell() {
        let absent = "Keep Adopt Adopt Forget Adopt Keep Forget Adopt";
        for (registry, there, gone) in [
            (None, absent, absent),
            (Some(SnapshotState::Gone), absent, absent),
            (
                Some(SnapshotState::Creating),
                "Ensure Ensure Ready Failed Lost Keep Failed Quarantine",
                "Ensure Ensure Ready Failed Lost Dying Failed Quarantine",
            ),
            (
                Some(SnapshotState::Ready),
                "Lost Quarantine Keep Lost Lost Lost Lost Quarantine",
                "Lost Quarantine Keep Lost Lost Dying Gone Quarantine",
            ),
            (
                Some(SnapshotState::Failed),
                "Keep Keep Quarantine Keep Keep Keep Keep Quarantine",
                "Keep Keep Quarantine Keep Keep Keep Keep Quarantine",
            ),
            (
                Some(SnapshotState::Lost),
                "Keep Quarantine Ready Keep Keep Keep Keep Quarantine",
                "Keep Quarantine Ready Keep Keep Dying Gone Quarantine",
            ),
            (
                Some(SnapshotState::Deleting),
                "Gone Delete Delete Gone Delete Delete Gone Quarantine",
                "Gone Delete Delete Gone Delete Delete Gone Quarantine",
            ),
            (
                Some(SnapshotState::Quarantined),
                "Keep Keep Keep Keep Keep Keep Keep Keep",
                "Keep Keep Keep Keep Keep Keep Keep Keep",
            ),
        ] {
            for (is_there, want) in [(true, there), (false, gone)] {
                let row = cells(&SnapshotState::ALL, |agent| merge(registry, agent, is_there));
                assert_eq!(row, want, "{registry:?}, volume there: {is_there}");
            }
        }
    }
}
