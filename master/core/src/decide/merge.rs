//! What follows from the registry's and the agent's knowledge of one volume: a total table.
//!
//! It knows no books and no messages. The registry holds intent, the agent's ledger what lies on the
//! disk; wherever they cannot be explained by each other, the data is kept and withheld.
//!
//! Rows: the registry's state. Columns: the agent's report of the same generation.
//!
//! | registry    | absent  | CREATING | READY      | FAILED | LOST   | TOMBSTONED | TRASHED    | GONE   | QUARANTINED |
//! |-------------|---------|----------|------------|--------|--------|------------|------------|--------|-------------|
//! | absent      | keep    | adopt    | adopt      | forget | adopt  | adopt      | adopt      | forget | adopt       |
//! | CREATING    | ensure  | ensure   | ready      | failed | lost   | quarantine | quarantine | failed | quarantine  |
//! | READY       | lost    | quarant. | keep       | lost   | lost   | quarantine | quarantine | lost   | quarantine  |
//! | FAILED      | keep    | keep     | quarantine | keep   | keep   | quarantine | quarantine | keep   | quarantine  |
//! | LOST        | keep    | quarant. | ready      | keep   | keep   | quarantine | quarantine | keep   | quarantine  |
//! | TOMBSTONED  | gone    | destroy  | destroy    | gone   | destroy| destroy    | trashed    | gone   | quarantine  |
//! | TRASHED     | gone    | quarant. | quarantine | gone   | gone   | quarantine | keep/purge | gone   | quarantine  |
//! | GONE        | gone    | as for an absent record                                                                |
//! | QUARANTINED | keep, whatever is reported                                                                       |
//!
//! Generations differ: a volume being restored (CREATING, one above the agent's) is `ensure` while the
//! agent has it in the trash, and `failed` when the agent says so of the older one; what is FAILED or
//! GONE there in another life says little about this one, so CREATING is `ensure`, READY `lost`,
//! TOMBSTONED `destroy` and the rest kept; everything else is `quarantine`.

use berth_model::volume::VolumeState;

/// What one side knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) state: VolumeState,
    pub(crate) generation: u64,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing to do.
    Keep,
    /// Have the agent make it (again): idempotent there.
    Ensure,
    /// It is durable.
    Ready,
    /// It could not be made; nothing lies there.
    Failed,
    /// Its data is not where it must be.
    Lost,
    /// Have the agent destroy it (again).
    Destroy,
    /// It is in the trash.
    Trashed,
    /// In the trash as known; a purge under way is asked for again.
    InTrash,
    /// It is gone for good.
    Gone,
    /// The records do not explain what lies there: keep it, withhold it.
    Quarantine,
    /// As `Quarantine`, for a volume without a record.
    Adopt,
    /// Nothing lies there and nobody asks for it: the agent may forget it.
    Forget,
}

/// The table.
pub(crate) fn merge(registry: Option<Known>, agent: Option<Known>) -> Verdict {
    let Some(registry) = registry.filter(|known| known.state != VolumeState::Gone) else {
        return unrecorded(agent, registry.is_some());
    };
    let Some(agent) = agent else { return absent(registry.state) };
    if registry.generation == agent.generation {
        same_generation(registry.state, agent.state)
    } else {
        other_generation(registry, agent)
    }
}

/// The table for a volume that is rolled back: CREATING in the registry, one generation above what the agent had.
///
/// | agent           | absent | CREATING   | READY  | FAILED     | LOST | TOMBSTONED … TRASHED | GONE | QUARANTINED |
/// |-----------------|--------|------------|--------|------------|------|----------------------|------|-------------|
/// | same generation | lost   | ensure     | ready  | quarantine | lost | quarantine           | lost | quarantine  |
/// | one below       | lost   | quarantine | ensure | quarantine | lost | quarantine           | lost | quarantine  |
///
/// Any other generation is `quarantine`.
pub(crate) fn merge_rolling(registry: Known, agent: Option<Known>) -> Verdict {
    use VolumeState::{Creating, Failed, Gone, Lost, Quarantined, Ready, Tombstoned, Trashed};
    let Some(agent) = agent else { return Verdict::Lost };
    let same = agent.generation == registry.generation;
    let below = agent.generation.checked_add(1) == Some(registry.generation);
    match agent.state {
        Creating if same => Verdict::Ensure,
        Ready if same => Verdict::Ready,
        Ready if below => Verdict::Ensure,
        Lost | Gone if same || below => Verdict::Lost,
        Creating | Ready | Failed | Lost | Tombstoned | Trashed | Gone | Quarantined => {
            Verdict::Quarantine
        },
    }
}

fn unrecorded(agent: Option<Known>, is_gone: bool) -> Verdict {
    match agent.map(|known| known.state) {
        None if is_gone => Verdict::Gone,
        None => Verdict::Keep,
        Some(VolumeState::Failed | VolumeState::Gone) => Verdict::Forget,
        Some(
            VolumeState::Creating
            | VolumeState::Ready
            | VolumeState::Lost
            | VolumeState::Tombstoned
            | VolumeState::Trashed
            | VolumeState::Quarantined,
        ) => Verdict::Adopt,
    }
}

fn absent(registry: VolumeState) -> Verdict {
    match registry {
        VolumeState::Creating => Verdict::Ensure,
        VolumeState::Ready => Verdict::Lost,
        VolumeState::Failed | VolumeState::Lost | VolumeState::Quarantined => Verdict::Keep,
        VolumeState::Tombstoned | VolumeState::Trashed | VolumeState::Gone => Verdict::Gone,
    }
}

fn same_generation(registry: VolumeState, agent: VolumeState) -> Verdict {
    use VolumeState::{Creating, Failed, Gone, Lost, Quarantined, Ready, Tombstoned, Trashed};
    match (registry, agent) {
        (Quarantined, _) => Verdict::Keep,
        (_, Quarantined) => Verdict::Quarantine,

        (Creating, Creating) => Verdict::Ensure,
        (Creating | Lost, Ready) => Verdict::Ready,
        (Creating, Failed | Gone) => Verdict::Failed,
        (Creating, Lost) => Verdict::Lost,
        (Creating, Tombstoned | Trashed) => Verdict::Quarantine,

        (Ready, Ready) => Verdict::Keep,
        (Ready, Failed | Lost | Gone) => Verdict::Lost,
        (Ready, Creating | Tombstoned | Trashed) => Verdict::Quarantine,

        (Failed, Creating | Failed | Lost | Gone) => Verdict::Keep,
        (Failed, Ready | Tombstoned | Trashed) => Verdict::Quarantine,

        (Lost, Failed | Lost | Gone) => Verdict::Keep,
        (Lost, Creating | Tombstoned | Trashed) => Verdict::Quarantine,

        (Tombstoned, Creating | Ready | Lost | Tombstoned) => Verdict::Destroy,
        (Tombstoned, Trashed) => Verdict::Trashed,
        (Tombstoned | Trashed, Failed | Gone) | (Trashed, Lost) => Verdict::Gone,

        (Trashed, Trashed) => Verdict::InTrash,
        (Trashed, Creating | Ready | Tombstoned) => Verdict::Quarantine,

        // A record never stays GONE; it reads as absent before this table.
        (Gone, Creating | Ready | Failed | Lost | Tombstoned | Trashed | Gone) => Verdict::Adopt,
    }
}

fn other_generation(registry: Known, agent: Known) -> Verdict {
    let restoring = registry.state == VolumeState::Creating
        && agent.generation.checked_add(1) == Some(registry.generation);
    match agent.state {
        VolumeState::Trashed if restoring => Verdict::Ensure,
        VolumeState::Failed if restoring => Verdict::Failed,
        VolumeState::Failed | VolumeState::Gone => other_life(registry.state),
        VolumeState::Creating
        | VolumeState::Ready
        | VolumeState::Lost
        | VolumeState::Tombstoned
        | VolumeState::Trashed
        | VolumeState::Quarantined => match registry.state {
            VolumeState::Quarantined => Verdict::Keep,
            VolumeState::Creating
            | VolumeState::Ready
            | VolumeState::Failed
            | VolumeState::Lost
            | VolumeState::Tombstoned
            | VolumeState::Trashed
            | VolumeState::Gone => Verdict::Quarantine,
        },
    }
}

fn other_life(registry: VolumeState) -> Verdict {
    match registry {
        VolumeState::Creating => Verdict::Ensure,
        VolumeState::Ready => Verdict::Lost,
        VolumeState::Tombstoned => Verdict::Destroy,
        VolumeState::Failed
        | VolumeState::Lost
        | VolumeState::Trashed
        | VolumeState::Gone
        | VolumeState::Quarantined => Verdict::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::super::merge_cells::cells;
    use super::*;

    fn row(registry: Option<VolumeState>, own: u64, reported: u64) -> String {
        let registry = registry.map(|state| Known { state, generation: own });
        cells(&VolumeState::ALL, |agent| {
            let agent = agent.map(|state| Known { state, generation: reported });
            merge(registry, agent)
        })
    }

    #[test]
    fn every_cell_of_one_generation() {
        for (registry, want) in [
            (None, "Keep Adopt Adopt Forget Adopt Adopt Adopt Forget Adopt"),
            (
                Some(VolumeState::Creating),
                "Ensure Ensure Ready Failed Lost Quarantine Quarantine Failed Quarantine",
            ),
            (
                Some(VolumeState::Ready),
                "Lost Quarantine Keep Lost Lost Quarantine Quarantine Lost Quarantine",
            ),
            (
                Some(VolumeState::Failed),
                "Keep Keep Quarantine Keep Keep Quarantine Quarantine Keep Quarantine",
            ),
            (
                Some(VolumeState::Lost),
                "Keep Quarantine Ready Keep Keep Quarantine Quarantine Keep Quarantine",
            ),
            (
                Some(VolumeState::Tombstoned),
                "Gone Destroy Destroy Gone Destroy Destroy Trashed Gone Quarantine",
            ),
            (
                Some(VolumeState::Trashed),
                "Gone Quarantine Quarantine Gone Gone Quarantine InTrash Gone Quarantine",
            ),
            (Some(VolumeState::Gone), "Gone Adopt Adopt Forget Adopt Adopt Adopt Forget Adopt"),
            (Some(VolumeState::Quarantined), "Keep Keep Keep Keep Keep Keep Keep Keep Keep"),
        ] {
            assert_eq!(row(registry, 3, 3), want, "{registry:?}");
        }
    }

    #[test]
    fn every_cell_of_a_roll_back() {
        let registry = Known { state: VolumeState::Creating, generation: 3 };
        let q = "Quarantine";
        for (generation, want) in [
            (3, format!("Lost Ensure Ready {q} Lost {q} {q} Lost {q}")),
            (2, format!("Lost {q} Ensure {q} Lost {q} {q} Lost {q}")),
            (1, format!("Lost {}", [q; 8].join(" "))),
            (4, format!("Lost {}", [q; 8].join(" "))),
        ] {
            let row = cells(&VolumeState::ALL, |state| {
                merge_rolling(registry, state.map(|state| Known { state, generation }))
            });
            assert_eq!(row, want, "agent in generation {generation}");
        }
    }

    #[test]
    fn every_cell_of_two_generations() {
        let q = "Quarantine";
        for (registry, reported, want) in [
            (VolumeState::Creating, 2, format!("Ensure {q} {q} Failed {q} {q} Ensure Ensure {q}")),
            (VolumeState::Creating, 4, format!("Ensure {q} {q} Ensure {q} {q} {q} Ensure {q}")),
            (VolumeState::Ready, 2, format!("Lost {q} {q} Lost {q} {q} {q} Lost {q}")),
            (VolumeState::Failed, 2, format!("Keep {q} {q} Keep {q} {q} {q} Keep {q}")),
            (VolumeState::Lost, 2, format!("Keep {q} {q} Keep {q} {q} {q} Keep {q}")),
            (VolumeState::Tombstoned, 4, format!("Gone {q} {q} Destroy {q} {q} {q} Destroy {q}")),
            (VolumeState::Trashed, 4, format!("Gone {q} {q} Keep {q} {q} {q} Keep {q}")),
            (VolumeState::Quarantined, 2, ["Keep"; 9].join(" ")),
        ] {
            assert_eq!(row(Some(registry), 3, reported), want, "{registry:?} 3 and {reported}");
        }
    }
}
