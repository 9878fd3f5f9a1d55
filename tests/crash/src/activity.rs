//! What is searched and what was seen: activities on machines, their runs, and the report.
//!
//! It carries nothing out.

use crate::books::{Books, Subject};
use crate::sim::{CallSite, SimFs};
use berth_agent_core::effect::VolumeOutcome;
use berth_model::units::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What is done to a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Makes it.
    Create,
    /// Puts it into the trash.
    Destroy,
    /// Takes it out of the trash, one generation later.
    Restore,
    /// Deletes it from the trash, with its snapshots.
    Purge,
    /// Gives it another size.
    Resize(Bytes),
    /// Takes a snapshot of it.
    Snapshot,
    /// Takes snapshots of all volumes, as a group.
    Group,
    /// Deletes the snapshot of this number.
    Forget(usize),
    /// Puts it back to its first snapshot; what it holds now goes into a safety snapshot.
    RollBack,
    /// Makes it with the content of the first snapshot.
    Clone,
    /// Gives its root another owner and mode.
    SetAccess,
    /// Makes it with a copy of a directory.
    Import,
    /// Makes it with what an export of that directory holds, which is sent again whenever it is asked for.
    Receive,
    /// The ledger forgets it, as an older copy of the ledger would. No agent does that.
    Lose,
    /// The ledger forgets it, and somebody moves it by hand out of the trash to where it was, writes to it, and syncs nothing.
    PutBack,
    /// Makes what the ledger does not know a volume again.
    Adopt,
    /// Deletes what the ledger does not know.
    PurgeOrphan,
}

/// What a process does from its start, or a running one next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activity {
    /// The first start on this machine: the disk is made.
    First,
    /// The agent joins its cluster: the disk's marker is written again.
    Join,
    /// Something is done to a volume.
    Run(usize, Operation),
    /// A start, and whatever the ledger calls for.
    Recover,
    /// The same, but what was being purged is wanted back.
    WantedBack,
}

/// What effects answer undisturbed.
pub type Answers = BTreeMap<Subject, VolumeOutcome>;

/// A machine before an activity.
#[derive(Debug)]
pub struct World {
    /// Its file system.
    pub files: SimFs,
    /// Its ledger.
    pub books: Books,
    /// What the operation that was interrupted answers undisturbed.
    pub answers: Answers,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Runs of an activity.
    pub runs: u64,
    /// Calls after which the machine crashed.
    pub points: u64,
    /// States after a crash that were judged.
    pub states: u64,
    /// Those that were followed by a start.
    pub recoveries: u64,
    /// Call sites that change something, as recorded.
    pub recorded: BTreeSet<CallSite>,
    /// Those after which the machine crashed.
    pub crashed: BTreeSet<CallSite>,
    /// What was wrong, with the way there.
    pub violations: Vec<String>,
}

impl Report {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.points += other.points;
        self.states += other.states;
        self.recoveries += other.recoveries;
        self.recorded.extend(other.recorded);
        self.crashed.extend(other.crashed);
        self.violations.extend(other.violations);
    }
}

/// What an activity did.
pub(crate) struct Run {
    pub complaints: Vec<String>,
    /// What the ledger said, each from that call on.
    pub during: Vec<(usize, Books)>,
    pub after: Books,
    pub answers: Answers,
}

impl Run {
    /// What the ledger says at that call.
    pub fn at(&self, call: usize) -> &Books {
        let before = self.during.iter().rev().find(|(from, _books)| *from <= call);
        before.map_or(&self.after, |(_from, books)| books)
    }
}
