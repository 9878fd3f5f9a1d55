//! What a scheduler of the experiment sees of a cell and can do to it: the real master and the oracle are both that.

use std::collections::BTreeSet;

/// Cpus, memory in MiB, and disk in MiB that is reserved to the service scheduler, in thousandths.
pub(super) type Amounts = [i64; 3];

/// What fits into what.
pub(super) fn fits(wanted: &Amounts, room: &Amounts) -> bool {
    wanted.iter().zip(room).all(|(wanted, room)| wanted <= room)
}

/// What a scheduler may use of one machine, as far as it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) free: Amounts,
    /// The machine's state that it was read from.
    pub(super) seq: u64,
}

/// One task on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) machine: usize,
    pub(super) task: u64,
    /// The machine's state that the decision was made on.
    pub(super) seq: u64,
}

/// When a placement conflicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detection {
    /// When there is no room for it any more.
    Fine,
    /// When anything was placed on the machine since the decision began.
    Coarse,
}

/// What becomes of the others when one conflicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gang {
    /// They are placed.
    Incremental,
    /// None is placed: of the same machine in the real cell, whose ACCEPT is of one machine; of the job in the oracle.
    AllOrNothing,
}

/// How a cell commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) detection: Detection,
    pub(super) gang: Gang,
}

/// Machines that several schedulers place tasks on. Times are milliseconds from the start and never step back.
pub(super) trait Cell {
    /// The scheduler has work: it wants to see what is free.
    fn want(&mut self, at: u64, scheduler: usize) -> anyhow::Result<()>;
    /// It has made a decision and has more to make; a kind one gives back what it holds and does not need.
    fn pause(&mut self, at: u64, scheduler: usize) -> anyhow::Result<()>;
    /// It has no work.
    fn rest(&mut self, at: u64, scheduler: usize) -> anyhow::Result<()>;
    /// What it may use now, machine by machine; nothing where there is nothing.
    fn seen(&self, scheduler: usize) -> Vec<Room>;
    /// Places tasks of one size; true for each that is placed.
    fn commit(
        &mut self,
        at: u64,
        scheduler: usize,
        size: &Amounts,
        placements: &[Placement],
    ) -> anyhow::Result<Vec<bool>>;
    /// A task has ended.
    fn end(&mut self, at: u64, scheduler: usize, machine: usize, task: u64) -> anyhow::Result<()>;
    /// When something happens by itself.
    fn due(&self) -> Option<u64>;
    /// It happens.
    fn tick(&mut self, at: u64) -> anyhow::Result<()>;
    /// The schedulers that came to see something new since this was asked.
    fn woken(&mut self) -> BTreeSet<usize>;
    /// Nothing is wrong inside.
    fn check(&self) -> anyhow::Result<()>;
}
