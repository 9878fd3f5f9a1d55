//! W8, Omega's experiment: one slow service scheduler beside fast batch schedulers, in virtual time.
//!
//! The cell is the real master's core, inputs in and outputs out: its allocator offers, its ACCEPT commits. Beside it runs
//! the algorithm of Omega's published simulator (the oracle) on the same jobs with the same draws. In both the driver counts
//! for itself what is in use on each machine, so that nothing can be committed twice unseen, and the master's invariants are
//! checked on the way.

mod cell;
mod driver;
mod figures;
mod oracle;
mod outcome;
mod real;
mod workload;

use crate::plot::draw;
use crate::report::Figures;
use crate::w4::Effort;
use anyhow::Context;
use cell::{Detection, Gang, Rules};
use driver::{Decides, Run, Think, drive};
use oracle::Oracle;
use outcome::Outcome;
use real::Real;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use workload::Shape;

fn as_f64(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

/// What the documents recommend where schedulers are slow.
const FAN_OUT: u32 = 3;
/// A batch scheduler's think time does not change; for a service scheduler's each task costs so much, in seconds.
const TASK_SECONDS: f64 = 0.005;

/// Who commits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// The master with this fan-out.
    Real(u32),
    Oracle,
}

/// What is run, for every seed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Plan {
    kind: Kind,
    rules: Rules,
    decides: Decides,
    /// Seconds a decision of the service scheduler; nobody takes any time without it.
    think: Option<f64>,
    batch_schedulers: usize,
    load: f64,
    machines: usize,
    /// Cpus of a machine.
    cpus: u32,
    reserved: bool,
}

impl Plan {
    const INCREMENTAL: Rules = Rules { detection: Detection::Fine, gang: Gang::Incremental };
    const COARSE: Rules = Rules { detection: Detection::Coarse, gang: Gang::Incremental };
    const GANG: Rules = Rules { detection: Detection::Fine, gang: Gang::AllOrNothing };
    /// The optimistic master with 8 batch schedulers and 60 s a decision on a cell that is used to 70 %.
    const BASE: Self = Self {
        kind: Kind::Real(FAN_OUT),
        rules: Self::INCREMENTAL,
        decides: Decides::Early,
        think: Some(60.0),
        batch_schedulers: 8,
        load: 0.7,
        machines: 50,
        cpus: 16,
        reserved: false,
    };
    const fn pessimistic(self) -> Self {
        Self { kind: Kind::Real(1), ..self }
    }
    const fn late(self) -> Self {
        Self { decides: Decides::Late, ..self }
    }
    const fn oracle(self) -> Self {
        Self { kind: Kind::Oracle, ..self }
    }
    const fn without_thought(self) -> Self {
        Self { think: None, rules: Self::INCREMENTAL, decides: Decides::Early, ..self }
    }

    fn run(self, seed: u64, scale: Scale) -> anyhow::Result<Outcome> {
        let cpus = i64::from(self.cpus) * 1_000;
        let disk = if self.reserved { 1_024_000 * 64 } else { 0 };
        let shape = Shape {
            machines: self.machines / scale.smaller,
            // Four GiB a cpu, as in the published example.
            capacity: [cpus, cpus * 4_096, disk],
            batch_schedulers: self.batch_schedulers,
            load: self.load,
            horizon: scale.horizon,
            warm_up: scale.horizon / 4.0,
            reserved: self.reserved,
        };
        let (service, batch) = match self.think {
            Some(job) => (Think { job, task: TASK_SECONDS }, Think::BATCH),
            None => (Think::NONE, Think::NONE),
        };
        let run = Run { shape, service, batch, decides: self.decides, seed };
        let outcome = match self.kind {
            Kind::Real(fan_out) => drive(&mut Real::new(&shape, self.rules, fan_out)?, run),
            Kind::Oracle => drive(&mut Oracle::new(&shape, self.rules), run),
        };
        outcome.with_context(|| format!("{self:?} with seed {seed}"))
    }
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Scale {
    seeds: u64,
    /// Seconds.
    horizon: f64,
    /// Machines are so many times fewer.
    smaller: usize,
    thinks: &'static [f64],
    batch_schedulers: &'static [usize],
    loads: &'static [f64],
}

impl Scale {
    const FULL: Self = Self {
        seeds: 5,
        horizon: 3_600.0,
        smaller: 1,
        thinks: &[0.01, 0.1, 1.0, 10.0, 20.0, 40.0, 60.0, 100.0],
        batch_schedulers: &[1, 2, 4, 8, 16, 32],
        loads: &[0.2, 0.4, 0.6, 0.8],
    };
    const QUICK: Self = Self {
        seeds: 2,
        horizon: 900.0,
        smaller: 5,
        thinks: &[1.0, 60.0],
        batch_schedulers: &[2, 8],
        loads: &[0.4],
    };
}

/// The outcomes of each plan, seed by seed.
struct Outcomes(Vec<(Plan, Vec<Outcome>)>);

impl Outcomes {
    fn of(&self, plan: Plan) -> anyhow::Result<&[Outcome]> {
        let found = self.0.iter().find(|(known, _)| *known == plan);
        Ok(&found.with_context(|| format!("{plan:?} was not run"))?.1)
    }
}

/// Runs all plans on all processors; the order in which they finish changes nothing.
fn run_all(plans: Vec<Plan>, scale: Scale) -> anyhow::Result<Outcomes> {
    let jobs: Vec<(usize, u64)> =
        (0..plans.len()).flat_map(|plan| (1..=scale.seeds).map(move |seed| (plan, seed))).collect();
    let next = Mutex::new(jobs.into_iter());
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let job = next.lock().map_or(None, |mut jobs| jobs.next());
            let Some((plan, seed)) = job else { break };
            let outcome = plans[plan].run(seed, scale);
            if let Ok(mut done) = done.lock() {
                done.insert((plan, seed), outcome);
            }
        }
    };
    std::thread::scope(|scope| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        for _thread in 0..processors {
            scope.spawn(work);
        }
    });
    let mut outcomes: Vec<(Plan, Vec<Outcome>)> =
        plans.into_iter().map(|plan| (plan, Vec::new())).collect();
    let done = done.into_inner().ok().context("a run panicked")?;
    for ((plan, _), outcome) in done {
        outcomes[plan].1.push(outcome?);
    }
    Ok(Outcomes(outcomes))
}

/// Runs it and draws the curves beside its figures.
///
/// # Errors
/// Something was committed twice, or the master's books broke.
pub fn run(effort: Effort) -> anyhow::Result<(Figures, Vec<PathBuf>)> {
    let scale = if effort.largest < 1_000 { Scale::QUICK } else { Scale::FULL };
    let outcomes = run_all(figures::plans(scale), scale)?;
    let mut table = Figures::default();
    figures::put(&outcomes, scale, &mut table)?;
    let folder = crate::report::folder()?;
    let mut drawn = Vec::new();
    for (name, plot) in figures::plots(&table, scale) {
        let path = folder.join(format!("w8-{name}.svg"));
        draw(&plot, &path)?;
        drawn.push(path);
    }
    Ok((table, drawn))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: Scale = Scale { seeds: 1, ..Scale::QUICK };

    #[test]
    fn a_tiny_run_has_its_figures_and_the_shape_of_the_experiment() {
        let outcomes = run_all(figures::plans(TINY), TINY).unwrap();
        let mut table = Figures::default();
        figures::put(&outcomes, TINY, &mut table).unwrap();
        let get = |name: &str| table.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert!(get("optimistic.60_s.utilisation_to_zero_think") > 0.5);
        assert!(
            get("pessimistic.60_s.batch_wait_s_mean") > get("late.60_s.batch_wait_s_mean"),
            "{}",
            table.table()
        );
        assert!(get("coarse.8_schedulers.conflicts") >= get("fine.8_schedulers.conflicts"));
        assert_eq!(figures::plots(&table, TINY).len(), 4);
    }

    #[test]
    fn the_oracle_conflicts_where_two_want_the_same() {
        use cell::{Cell, Placement};
        let shape = Shape {
            machines: 1,
            capacity: [2_000, 8_192_000, 0],
            batch_schedulers: 1,
            load: 0.5,
            horizon: 1.0,
            warm_up: 0.0,
            reserved: false,
        };
        let commit = |rules: Rules, tasks: &[u64]| {
            let mut oracle = Oracle::new(&shape, rules);
            let seen = oracle.seen(0)[0].seq;
            let place = |task: &u64| Placement { machine: 0, task: *task, seq: seen };
            oracle.commit(0, 1, &workload::TASK, &[place(&9)]).unwrap();
            let placements: Vec<Placement> = tasks.iter().map(place).collect();
            oracle.commit(0, 0, &workload::TASK, &placements).unwrap()
        };
        assert_eq!(commit(Plan::INCREMENTAL, &[1, 2]), [true, false]);
        assert_eq!(commit(Plan::GANG, &[1, 2]), [false, false]);
        assert_eq!(commit(Plan::COARSE, &[1]), [false]);
    }
}
