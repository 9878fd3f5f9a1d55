//! Schedulers in virtual time: a job comes, its scheduler looks, thinks, and places what it decided.
//!
//! The rules are those of Omega's published simulator: the decision is made on what was seen when it began; machines are
//! picked at random among all, one task at a time; what was not placed is tried again a second later, behind the other jobs;
//! a job is given up after 100 tries without a single task placed, or after 1,000. The oracle and the master see the same
//! jobs and draws.

use super::cell::{Amounts, Cell, Placement, Room, fits};
use super::outcome::{Class, Outcome};
use super::workload::{Job, Shape, cpus, jobs, millis};
use crate::draws::Draws;
use anyhow::ensure;
use std::collections::{BTreeMap, VecDeque};

/// Milliseconds until a job that is not all placed is tried again.
const AGAIN: u64 = 1_000;
/// A job has to be all placed by the end of the run if it came this much before, in milliseconds.
const OVERDUE: u64 = 600_000;
/// Decisions after which everything is checked.
const CHECKED: u64 = 500;

/// How long a decision takes: seconds for the job and for each of its tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Think {
    pub(super) job: f64,
    pub(super) task: f64,
}

impl Think {
    pub(super) const NONE: Self = Self { job: 0.0, task: 0.0 };
    /// Of a batch scheduler, in the published example.
    pub(super) const BATCH: Self = Self { job: 0.01, task: 0.005 };
    fn takes(self, tasks: usize) -> u64 {
        millis(self.job + self.task * super::as_f64(tasks))
    }
}

/// On what a decision is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decides {
    /// On what was seen when it began, as in Omega.
    Early,
    /// On what is seen when the thinking is over: a scheduler that follows its offers meanwhile.
    Late,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) shape: Shape,
    pub(super) service: Think,
    pub(super) batch: Think,
    pub(super) decides: Decides,
    pub(super) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    TaskEnds { task: u64 },
    Decided { scheduler: usize },
    Comes { job: usize },
    Again { job: usize },
}

/// A job on its way.
#[derive(Clone, Debug)]
struct Pending {
    job: Job,
    left: usize,
    tries: u32,
    started: bool,
}

/// A decision under way.
#[derive(Debug)]
struct Decision {
    job: usize,
    seen: Vec<Room>,
    takes: u64,
}

#[derive(Debug)]
struct Scheduler {
    queue: VecDeque<usize>,
    decision: Option<Decision>,
    /// Jobs that are tried again in a moment.
    soon: usize,
    wants: bool,
    draws: Draws,
    pool: Vec<usize>,
}

/// The run as it stands.
struct Driver<'a, C> {
    cell: &'a mut C,
    run: Run,
    now: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    count: u64,
    jobs: Vec<Pending>,
    schedulers: Vec<Scheduler>,
    running: BTreeMap<u64, (usize, usize, Amounts)>,
    /// Of each machine, to be sure that nobody commits anything twice.
    used: Vec<Amounts>,
    next_task: u64,
    outcome: Outcome,
    in_use: f64,
    since: u64,
    used_seconds: f64,
}

/// Lets all jobs of a run happen in a cell.
pub(super) fn drive<C: Cell>(cell: &mut C, run: Run) -> anyhow::Result<Outcome> {
    let jobs = jobs(&run.shape, run.seed);
    let scheduler = |n: usize| Scheduler {
        queue: VecDeque::new(),
        decision: None,
        soon: 0,
        wants: false,
        draws: Draws::new(run.seed.wrapping_mul(1_000).wrapping_add(n as u64)),
        pool: (0..run.shape.machines).collect(),
    };
    let mut driver = Driver {
        cell,
        run,
        now: 0,
        agenda: BTreeMap::new(),
        count: 0,
        jobs: Vec::new(),
        schedulers: (0..=run.shape.batch_schedulers).map(scheduler).collect(),
        running: BTreeMap::new(),
        used: vec![[0; 3]; run.shape.machines],
        next_task: 1,
        outcome: Outcome::default(),
        in_use: 0.0,
        since: millis(run.shape.warm_up),
        used_seconds: 0.0,
    };
    for job in jobs {
        let number = driver.jobs.len();
        driver.jobs.push(Pending { job, left: job.tasks, tries: 0, started: false });
        driver.at(job.comes, Happening::Comes { job: number });
        driver.class(job.scheduler).jobs += 1;
    }
    driver.all()
}

impl<C: Cell> Driver<'_, C> {
    fn at(&mut self, at: u64, what: Happening) {
        self.count += 1;
        self.agenda.insert((at, self.count), what);
    }
    fn class(&mut self, scheduler: usize) -> &mut Class {
        if scheduler == 0 { &mut self.outcome.service } else { &mut self.outcome.batch }
    }
    fn think(&self, scheduler: usize) -> Think {
        if scheduler == 0 { self.run.service } else { self.run.batch }
    }

    fn all(mut self) -> anyhow::Result<Outcome> {
        let end = millis(self.run.shape.horizon);
        let mut decisions = 0;
        loop {
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let next = next.into_iter().chain(self.cell.due()).min();
            let Some(next) = next.filter(|next| *next < end) else { break };
            self.now = next.max(self.now);
            if self.cell.due().is_some_and(|due| due <= self.now) {
                self.cell.tick(self.now)?;
            } else if let Some((_, what)) = self.agenda.pop_first() {
                if matches!(what, Happening::Decided { .. }) {
                    decisions += 1;
                    if decisions % CHECKED == 0 {
                        self.cell.check()?;
                    }
                }
                self.happen(what)?;
            }
            for scheduler in self.cell.woken() {
                self.start(scheduler)?;
            }
        }
        self.cell.check()?;
        self.now = end;
        self.count_use();
        self.finish(end);
        Ok(self.outcome)
    }

    fn happen(&mut self, what: Happening) -> anyhow::Result<()> {
        match what {
            Happening::Comes { job } => {
                let scheduler = self.jobs[job].job.scheduler;
                self.queue(scheduler, job)
            },
            Happening::Again { job } => {
                let scheduler = self.jobs[job].job.scheduler;
                self.schedulers[scheduler].soon -= 1;
                self.queue(scheduler, job)
            },
            Happening::Decided { scheduler } => self.decided(scheduler),
            Happening::TaskEnds { task } => {
                let Some((scheduler, machine, size)) = self.running.remove(&task) else {
                    return Ok(());
                };
                self.count_use();
                self.in_use -= cpus(&size);
                self.used[machine].iter_mut().zip(size).for_each(|(used, freed)| *used -= freed);
                self.cell.end(self.now, scheduler, machine, task)
            },
        }
    }

    fn queue(&mut self, scheduler: usize, job: usize) -> anyhow::Result<()> {
        self.schedulers[scheduler].queue.push_back(job);
        if !self.schedulers[scheduler].wants {
            self.schedulers[scheduler].wants = true;
            self.cell.want(self.now, scheduler)?;
        }
        self.start(scheduler)
    }

    /// Begins a decision when there is something to decide on.
    fn start(&mut self, scheduler: usize) -> anyhow::Result<()> {
        let mine = &mut self.schedulers[scheduler];
        let Some(job) = mine.queue.front().copied().filter(|_| mine.decision.is_none()) else {
            return Ok(());
        };
        let seen = self.cell.seen(scheduler);
        if seen.iter().all(|room| room.free[0] == 0) {
            return Ok(());
        }
        mine.queue.pop_front();
        let pending = &mut self.jobs[job];
        let (first, came, left) = (!pending.started, pending.job.comes, pending.left);
        pending.started = true;
        let takes = self.think(scheduler).takes(left);
        self.schedulers[scheduler].decision = Some(Decision { job, seen, takes });
        if first {
            let waited = seconds(self.now - came);
            self.class(scheduler).waits.push(waited);
        }
        self.at(self.now + takes, Happening::Decided { scheduler });
        Ok(())
    }

    fn decided(&mut self, scheduler: usize) -> anyhow::Result<()> {
        let Some(Decision { job, seen, takes }) = self.schedulers[scheduler].decision.take() else {
            return Ok(());
        };
        let seen = match self.run.decides {
            Decides::Early => seen,
            Decides::Late => self.cell.seen(scheduler),
        };
        let (size, wanted) = (self.jobs[job].job.size, self.jobs[job].left);
        let placements = self.place(scheduler, seen, &size, wanted);
        let placed = if placements.is_empty() {
            Vec::new()
        } else {
            self.cell.commit(self.now, scheduler, &size, &placements)?
        };
        ensure!(placed.len() == placements.len(), "a placement was not answered");
        for (placement, _) in placements.iter().zip(&placed).filter(|(_, placed)| **placed) {
            self.run_task(scheduler, job, placement)?;
        }
        let done = placed.iter().filter(|placed| **placed).count();
        self.class(scheduler).count(wanted, placements.len(), done, seconds(takes));
        self.jobs[job].left -= done;
        self.jobs[job].tries += 1;
        let Pending { job: Job { tasks, .. }, left, tries, .. } = self.jobs[job];
        if left > 0 && (tries > 100 && left == tasks || tries > 1_000) {
            self.class(scheduler).abandoned += 1;
        } else if left > 0 {
            self.schedulers[scheduler].soon += 1;
            self.at(self.now + AGAIN, Happening::Again { job });
        }
        let mine = &mut self.schedulers[scheduler];
        if mine.queue.is_empty() && mine.soon == 0 {
            mine.wants = false;
            self.cell.rest(self.now, scheduler)?;
        } else {
            self.cell.pause(self.now, scheduler)?;
        }
        self.start(scheduler)
    }

    /// Machines for the tasks: any that has room for one, picked at random, again and again.
    fn place(
        &mut self,
        scheduler: usize,
        mut seen: Vec<Room>,
        size: &Amounts,
        wanted: usize,
    ) -> Vec<Placement> {
        let mine = &mut self.schedulers[scheduler];
        let mut candidates = mine.pool.len();
        let mut placements = Vec::new();
        while placements.len() < wanted && candidates > 0 {
            let at = mine.draws.below(candidates);
            let machine = mine.pool[at];
            let room = &mut seen[machine];
            if fits(size, &room.free) {
                room.free.iter_mut().zip(size).for_each(|(free, taken)| *free -= taken);
                placements.push(Placement { machine, task: self.next_task, seq: room.seq });
                self.next_task += 1;
            } else {
                candidates -= 1;
                mine.pool.swap(at, candidates);
            }
        }
        placements
    }

    fn run_task(&mut self, scheduler: usize, job: usize, at: &Placement) -> anyhow::Result<()> {
        let Job { size, runs, .. } = self.jobs[job].job;
        let used = &mut self.used[at.machine];
        used.iter_mut().zip(size).for_each(|(used, taken)| *used += taken);
        ensure!(
            fits(used, &self.run.shape.capacity),
            "machine {} has {used:?} in use: something was committed twice",
            at.machine
        );
        self.count_use();
        self.in_use += cpus(&size);
        self.running.insert(at.task, (scheduler, at.machine, size));
        self.at(self.now + runs, Happening::TaskEnds { task: at.task });
        Ok(())
    }

    fn count_use(&mut self) {
        if self.now > self.since {
            self.used_seconds += self.in_use * seconds(self.now - self.since);
            self.since = self.now;
        }
    }

    fn finish(&mut self, end: u64) {
        let shape = self.run.shape;
        let all = super::as_f64(shape.machines) * cpus(&shape.capacity);
        self.outcome.utilisation = self.used_seconds / (all * (shape.horizon - shape.warm_up));
        let left: Vec<usize> = self
            .jobs
            .iter()
            .filter(|pending| pending.left > 0 && pending.job.comes + OVERDUE < end)
            .map(|pending| pending.job.scheduler)
            .collect();
        for scheduler in left {
            self.class(scheduler).overdue += 1;
        }
        // Who still waits for his first decision has waited until now.
        let waiting: Vec<(usize, u64)> = self
            .jobs
            .iter()
            .filter(|pending| !pending.started)
            .map(|pending| (pending.job.scheduler, pending.job.comes))
            .collect();
        for (scheduler, came) in waiting {
            self.class(scheduler).waits.push(seconds(end - came));
        }
        let busy =
            |class: &Class, count: usize| class.think / (shape.horizon * super::as_f64(count));
        let (service, batch) =
            (busy(&self.outcome.service, 1), busy(&self.outcome.batch, shape.batch_schedulers));
        self.outcome.service.busy = service.min(1.0);
        self.outcome.batch.busy = batch.min(1.0);
    }
}

fn seconds(millis: u64) -> f64 {
    u32::try_from(millis).map_or(f64::MAX, f64::from) / 1_000.0
}
