//! The algorithm of Omega's published simulator: one table of machines, a copy of it for each decision, and a commit that
//! looks at what is left (fine) or at whether the machine has changed (coarse).
//!
//! It shares nothing with the master. A machine changes, as there, when something is placed on it, not when a task ends.

use super::cell::{Amounts, Cell, Detection, Gang, Placement, Room, Rules, fits};
use super::workload::Shape;
use std::collections::{BTreeMap, BTreeSet};

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Oracle {
    machines: Vec<Room>,
    running: BTreeMap<u64, Amounts>,
    rules: Rules,
    schedulers: usize,
    /// A task has ended: who found nothing may look again.
    ended: bool,
}

impl Oracle {
    pub(super) fn new(shape: &Shape, rules: Rules) -> Self {
        let machines = vec![Room { free: shape.capacity, seq: 0 }; shape.machines];
        let schedulers = shape.batch_schedulers + 1;
        Self { machines, running: BTreeMap::new(), rules, schedulers, ended: false }
    }
    fn place(&mut self, size: &Amounts, placement: &Placement) -> bool {
        let machine = &mut self.machines[placement.machine];
        let there = match self.rules.detection {
            Detection::Fine => fits(size, &machine.free),
            Detection::Coarse => machine.seq == placement.seq && fits(size, &machine.free),
        };
        if there {
            machine.free.iter_mut().zip(size).for_each(|(free, taken)| *free -= taken);
            self.running.insert(placement.task, *size);
        }
        there
    }
}

impl Cell for Oracle {
    fn want(&mut self, _at: u64, _scheduler: usize) -> anyhow::Result<()> {
        Ok(())
    }
    fn pause(&mut self, _at: u64, _scheduler: usize) -> anyhow::Result<()> {
        Ok(())
    }
    fn rest(&mut self, _at: u64, _scheduler: usize) -> anyhow::Result<()> {
        Ok(())
    }
    fn seen(&self, _scheduler: usize) -> Vec<Room> {
        self.machines.clone()
    }
    fn commit(
        &mut self,
        at: u64,
        scheduler: usize,
        size: &Amounts,
        placements: &[Placement],
    ) -> anyhow::Result<Vec<bool>> {
        let mut placed: Vec<bool> = placements.iter().map(|one| self.place(size, one)).collect();
        if self.rules.gang == Gang::AllOrNothing && placed.contains(&false) {
            for (one, placed) in placements.iter().zip(&mut placed) {
                if std::mem::take(placed) {
                    self.end(at, scheduler, one.machine, one.task)?;
                }
            }
        }
        // Tasks of one decision do not conflict with each other.
        for (one, _) in placements.iter().zip(&placed).filter(|(_, placed)| **placed) {
            self.machines[one.machine].seq += 1;
        }
        Ok(placed)
    }
    fn end(
        &mut self,
        _at: u64,
        _scheduler: usize,
        machine: usize,
        task: u64,
    ) -> anyhow::Result<()> {
        let size = self.running.remove(&task).unwrap_or_default();
        self.ended = true;
        self.machines[machine].free.iter_mut().zip(size).for_each(|(free, given)| *free += given);
        Ok(())
    }
    fn due(&self) -> Option<u64> {
        None
    }
    fn tick(&mut self, _at: u64) -> anyhow::Result<()> {
        Ok(())
    }
    fn woken(&mut self) -> BTreeSet<usize> {
        if std::mem::take(&mut self.ended) {
            (0..self.schedulers).collect()
        } else {
            BTreeSet::new()
        }
    }
    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.machines.iter().all(|machine| machine.free.iter().all(|free| *free >= 0)),
            "the oracle placed more than there is"
        );
        Ok(())
    }
}
