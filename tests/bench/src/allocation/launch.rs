//! W3 in the core: a scheduler accepts offers with 1 or 100 tasks each, agents say that they run, the scheduler acknowledges.
//!
//! Only the master's steps count, in processor time of this thread; what goes in is made beforehand.

use super::as_f64;
use super::cluster::{Cluster, agent_id, agent_session};
use crate::report::Figures;
use crate::stage;
use crate::statistics::median;
use crate::w4::Effort;
use anyhow::{Context, ensure};
use berth_master_core::{Input, Output};
use berth_model::framework::{AcceptMode, Call, Filters, Terms};
use berth_model::id::{OperationId, StatusId, TaskId};
use berth_model::link::{FromAgent, ToAgent};
use berth_model::offer::Offer;
use berth_model::operation::{Action, OfferOperation};
use berth_model::resources::{Resources, parse_resources};
use berth_model::task::TaskState;
use std::time::Duration;

/// At least so many tasks an agent in a block: the processor time of a thread is not exact to some milliseconds.
const ROUNDS: usize = 20;
/// Agents in the cluster.
const AGENTS: usize = 1_000;
/// At most so many ACCEPTs in a block that ask for all or nothing.
const GANGS: usize = 20;

/// Nanoseconds that this thread has been on a processor.
fn processor_ns() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("read schedstat")?;
    let first = text.split(' ').next().context("schedstat is empty")?;
    first.parse::<f64>().context("schedstat does not begin with a number")
}

/// A cluster with one framework, and numbers for what it sends.
struct Bench {
    cluster: Cluster,
    minted: u128,
    share: Resources,
}

/// The task of an agent.
type Started = (usize, TaskId);

impl Bench {
    fn fresh(&mut self) -> u128 {
        self.minted += 1;
        self.minted
    }
    /// One ACCEPT of each offer, with so many tasks.
    fn accepts(
        &mut self,
        batch: usize,
        mode: AcceptMode,
        most: usize,
    ) -> anyhow::Result<(Vec<Input>, Vec<Started>)> {
        let offers: Vec<Offer> = self.cluster.open.values().take(most).cloned().collect();
        let (mut inputs, mut started) = (Vec::new(), Vec::new());
        for offer in offers {
            self.cluster.open.remove(&offer.id);
            let agent = usize::try_from(offer.agent.as_u128())? - 1;
            let mut tasks = Vec::with_capacity(batch);
            for _task in 0..batch {
                let id = TaskId::new(&format!("task-{}", self.fresh()))?;
                started.push((agent, id.clone()));
                tasks.push(stage::task(id, offer.agent, self.share.clone()));
            }
            let id = OperationId::from_u128(self.fresh());
            let body = Call::Accept {
                offers: vec![offer.id],
                operations: vec![OfferOperation { id, action: Action::Launch(tasks) }],
                filters: Filters { refuse: Duration::ZERO },
                terms: Terms { mode, if_seq: None },
            };
            inputs.push(self.cluster.call(0, body)?);
        }
        Ok((inputs, started))
    }
    /// Says of every task the same.
    fn says(
        &mut self,
        tasks: &[Started],
        state: TaskState,
        acknowledged: bool,
    ) -> anyhow::Result<(Vec<Input>, Vec<Input>)> {
        let (mut said, mut acknowledgements) = (Vec::new(), Vec::new());
        let framework = self.cluster.frameworks[0].0.clone();
        for (n, task) in tasks {
            let id = acknowledged.then(|| StatusId::from_u128(self.fresh()));
            let (agent, at) = (agent_id(*n), self.cluster.now);
            let status = stage::status(framework.clone(), task.clone(), agent, state, id, at);
            let (session, message) = (agent_session(*n), FromAgent::Status(status));
            said.push(Input::Agent { agent, session, message });
            if let Some(status) = id {
                let body = Call::Acknowledge { agent, task: task.clone(), status };
                acknowledgements.push(self.cluster.call(0, body)?);
            }
        }
        Ok((said, acknowledgements))
    }
    /// Microseconds of processor time that the master needs for all of them, and how many tasks agents are told to start.
    fn take(&mut self, inputs: Vec<Input>) -> anyhow::Result<(f64, usize)> {
        let mut steps = Vec::with_capacity(inputs.len());
        let start = processor_ns()?;
        for input in inputs {
            steps.push(self.cluster.master.step(self.cluster.now, input));
        }
        let spent = (processor_ns()? - start) / 1e3;
        let outputs = steps.iter().flat_map(|step| &step.outputs);
        let told = outputs.filter(|output| {
            matches!(output, Output::ToAgent { message: ToAgent::Launch { .. }, .. })
        });
        Ok((spent, told.count()))
    }
    /// Everything ends and is offered again.
    fn clear(&mut self, tasks: &[Started]) -> anyhow::Result<()> {
        for input in self.says(tasks, TaskState::Finished, false)?.0 {
            self.cluster.step(input);
        }
        self.cluster.decline_all()?;
        self.cluster.step(Input::Tick);
        Ok(())
    }
}

/// Runs it.
///
/// # Errors
/// A task was not launched.
pub fn run(effort: Effort) -> anyhow::Result<Figures> {
    let quick = effort.largest < 1_000;
    let agents = if quick { 50 } else { AGENTS };
    let mut figures = Figures::default();
    let share = parse_resources("cpus:0.1;mem:32")?;
    let mut bench = Bench { cluster: Cluster::new(agents, 1)?, minted: 0, share };
    for batch in [1, 100] {
        let (mut launch, mut run, mut confirm) = (Vec::new(), Vec::new(), Vec::new());
        for _block in 0..effort.blocks {
            let rounds = (ROUNDS / batch).max(1);
            let mut spent = [0.0; 3];
            for _round in 0..rounds {
                let (inputs, tasks) = bench.accepts(batch, AcceptMode::Incremental, usize::MAX)?;
                let (accepting, launched) = bench.take(inputs)?;
                ensure!(launched == agents * batch, "{launched} tasks were launched");
                let (said, acknowledgements) = bench.says(&tasks, TaskState::Running, true)?;
                spent[0] += accepting;
                spent[1] += bench.take(said)?.0;
                spent[2] += bench.take(acknowledgements)?.0;
                bench.clear(&tasks)?;
            }
            let per_task = spent.map(|spent| spent / as_f64(rounds * agents * batch));
            for (all, one) in [&mut launch, &mut run, &mut confirm].into_iter().zip(per_task) {
                all.push(one);
            }
        }
        let (launch, run, confirm) = (median(&launch), median(&run), median(&confirm));
        let mut put = |what: &str, value| figures.put(&format!("launch_{batch}.{what}"), value);
        put("accept_us_per_task", launch);
        put("running_us_per_task", run);
        put("acknowledge_us_per_task", confirm);
        put("tasks_per_s_core", 1e6 / launch);
        put("acknowledged_tasks_per_s_core", 1e6 / (launch + run + confirm));
    }
    let mut gangs = Vec::new();
    for _block in 0..effort.blocks.min(3) {
        let count = GANGS.min(agents);
        let (inputs, tasks) = bench.accepts(100, AcceptMode::AllOrNothing, count)?;
        let (spent, launched) = bench.take(inputs)?;
        ensure!(launched == count * 100, "{launched} tasks were launched all or none");
        gangs.push(spent / as_f64(launched));
        bench.clear(&tasks)?;
    }
    figures.put("launch_100.all_or_nothing_us_per_task", median(&gangs));
    Ok(figures)
}
