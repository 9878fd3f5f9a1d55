//! Jobs and when they come, drawn from a seed: the example of Omega's published simulator on a smaller cell.

use super::cell::Amounts;
use crate::draws::Draws;

/// The cell and what is asked of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) machines: usize,
    /// Of each machine.
    pub(super) capacity: Amounts,
    pub(super) batch_schedulers: usize,
    /// Which part of all cpus is asked for.
    pub(super) load: f64,
    /// Seconds.
    pub(super) horizon: f64,
    /// Seconds at the beginning that do not count for the use of the cell.
    pub(super) warm_up: f64,
    /// A task of the service scheduler uses some disk that is reserved to it.
    pub(super) reserved: bool,
}

/// A service job comes so often, has so many tasks, and they run for so long, in the mean.
pub(super) const SERVICE: (f64, f64, f64) = (100.0, 10.0, 500.0);
/// A batch job has so many tasks, and they run for so long; jobs come as often as the load asks for.
const BATCH: (f64, f64) = (4.0, 100.0);
/// A cpu and two GiB, and a GiB where disk is reserved.
pub(super) const TASK: Amounts = [1_000, 2_048_000, 0];
const DISK: i64 = 1_024_000;

/// A job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Job {
    /// 0 is the service scheduler.
    pub(super) scheduler: usize,
    /// Milliseconds.
    pub(super) comes: u64,
    pub(super) tasks: usize,
    pub(super) runs: u64,
    pub(super) size: Amounts,
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds of a run are positive and few"
)]
pub(super) fn millis(seconds: f64) -> u64 {
    (seconds * 1_000.0).round() as u64
}

/// All jobs of a run, in the order in which they come.
pub(super) fn jobs(shape: &Shape, seed: u64) -> Vec<Job> {
    let mut draws = Draws::new(seed.wrapping_mul(0x1_0000_01b3).wrapping_add(11));
    let cpus = super::as_f64(shape.machines) * cpus(&shape.capacity);
    let (every, tasks, runs) = SERVICE;
    let service = tasks * runs / every;
    let batch = (shape.load * cpus - service).max(0.1 * shape.load * cpus);
    let mut size = TASK;
    size[2] = if shape.reserved { DISK } else { 0 };
    let mut jobs = Vec::new();
    let mut turn = 0;
    let mut draw = |(every, tasks, runs): (f64, f64, f64), service: bool| {
        let mut at = 0.0;
        loop {
            at += draws.exponential(every);
            if at >= shape.horizon {
                break;
            }
            turn += 1;
            let scheduler = if service { 0 } else { 1 + turn % shape.batch_schedulers };
            jobs.push(Job {
                scheduler,
                comes: millis(at),
                tasks: usize::try_from(millis(draws.exponential(tasks)) / 1_000).unwrap_or(0) + 1,
                runs: millis(draws.exponential(runs)).max(1),
                size: if service { size } else { TASK },
            });
        }
    };
    // Rounding up adds half a task.
    draw((every, tasks - 0.5, runs), true);
    draw((BATCH.0 * BATCH.1 / batch, BATCH.0 - 0.5, BATCH.1), false);
    jobs.sort_by_key(|job| (job.comes, job.scheduler));
    jobs
}

#[expect(clippy::cast_precision_loss, reason = "far below 2 to the 53rd")]
pub(super) fn cpus(amounts: &Amounts) -> f64 {
    amounts[0] as f64 / 1_000.0
}
