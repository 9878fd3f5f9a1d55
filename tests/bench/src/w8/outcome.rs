//! What came of a run.

use super::as_f64;
use crate::statistics::quantile;

/// What came of it, for the service scheduler and for the batch schedulers together.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) service: Class,
    pub(super) batch: Class,
    /// Mean part of all cpus that tasks used after the warm-up.
    pub(super) utilisation: f64,
}

/// What came of the jobs of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    pub(super) decisions: u64,
    pub(super) conflicting_decisions: u64,
    pub(super) attempted: u64,
    pub(super) conflicts: u64,
    pub(super) think: f64,
    pub(super) useful: f64,
    /// Useful only where nothing of the decision conflicted, as in Omega's papers.
    pub(super) clean: f64,
    /// Mean part of the time that a scheduler thinks.
    pub(super) busy: f64,
    /// Seconds from a job's coming to its first decision's beginning.
    pub(super) waits: Vec<f64>,
    pub(super) abandoned: u64,
    /// Jobs that came ten minutes before the end and were not all placed.
    pub(super) overdue: u64,
    pub(super) jobs: u64,
}

impl Class {
    pub(super) fn wait(&self) -> (f64, f64) {
        if self.waits.is_empty() {
            return (0.0, 0.0);
        }
        let mean = self.waits.iter().sum::<f64>() / as_f64(self.waits.len());
        (mean, quantile(&self.waits, 0.9))
    }
    /// A decision on tasks that were wanted, some of them attempted, some of these placed.
    pub(super) fn count(&mut self, wanted: usize, attempted: usize, placed: usize, took: f64) {
        let conflicts = attempted - placed;
        self.decisions += 1;
        self.conflicting_decisions += u64::from(conflicts > 0);
        self.attempted += attempted as u64;
        self.conflicts += conflicts as u64;
        self.think += took;
        self.useful += took * as_f64(placed) / as_f64(wanted);
        self.clean += if conflicts == 0 && placed > 0 { took } else { 0.0 };
    }
}
