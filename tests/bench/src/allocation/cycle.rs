//! W1: every agent is free and is looked at; one role, no filters, whoever has the least gets all of an agent.

use super::as_f64;
use super::cluster::{Cluster, agent_id, offered};
use super::naive::Naive;
use crate::report::Figures;
use crate::statistics::{median, theil_sen};
use crate::w4::Effort;
use anyhow::{Context, ensure};
use berth_master_core::Input;
use berth_master_core::allocator::Trial;
use berth_model::offer::Offer;
use std::time::Instant;

/// Agents and frameworks, and whether the naive one runs beside; it would take a minute a block on the largest.
const SIZES: [(usize, usize, bool); 8] = [
    (10_000, 1_000, true),
    (1_000, 1_000, true),
    (5_000, 1_000, true),
    (20_000, 1_000, false),
    (50_000, 1_000, false),
    (10_000, 10, true),
    (10_000, 100, true),
    (10_000, 6_000, false),
];
const QUICK: [(usize, usize, bool); 2] = [(200, 20, true), (100, 20, true)];

/// Which framework got which agent, by their numbers.
fn outcome<'a>(
    cluster: &Cluster,
    offers: impl Iterator<Item = &'a Offer>,
) -> anyhow::Result<Vec<usize>> {
    let mut to = Vec::new();
    for offer in offers {
        to.push((offer.agent, cluster.number(&offer.framework)?));
    }
    to.sort_unstable();
    let in_order = to.iter().enumerate().all(|(n, (agent, _))| *agent == agent_id(n));
    ensure!(in_order, "an agent was not offered, or twice");
    Ok(to.into_iter().map(|(_, framework)| framework).collect())
}

/// Seconds of one block.
struct Block {
    naive: Option<f64>,
    cycle: f64,
    step: f64,
}

/// Naive, ours, ours, naive, from the same state; then the master itself does it.
fn block(cluster: &mut Cluster, naive: &mut Option<Naive>) -> anyhow::Result<Block> {
    cluster.decline_all()?;
    let seconds = |start: Instant| start.elapsed().as_secs_f64();
    let mut slow = Vec::new();
    let mut run_naive = || {
        let Some(mut one) = naive.clone() else { return Vec::new() };
        let start = Instant::now();
        let made = one.cycle();
        slow.push(seconds(start));
        made.into_iter().map(|(to, _)| to).collect::<Vec<usize>>()
    };
    let expected = run_naive();
    let mut fast = Vec::new();
    let mut decided = Vec::new();
    for _twice in 0..2 {
        let mut trial = Trial::new(cluster.master.state(), cluster.now);
        let start = Instant::now();
        let made = trial.cycle();
        fast.push(seconds(start));
        decided = outcome(cluster, made.iter())?;
    }
    let again = run_naive();
    let (step, spent) = cluster.timed(Input::Tick);
    let done = outcome(cluster, offered(&step))?;
    ensure!(done == decided, "the master did not do what the trial said");
    if let Some(naive) = naive {
        ensure!(expected == decided && again == decided, "the naive allocator decided otherwise");
        naive.cycle();
        naive.take_all_back();
    }
    Ok(Block {
        naive: (!slow.is_empty()).then(|| median(&slow)),
        cycle: median(&fast),
        step: spent,
    })
}

/// Runs it.
///
/// # Errors
/// The allocators do not agree, or the master did not do as it said.
pub fn run(effort: Effort) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let quick = effort.largest < 1_000;
    let sizes = if quick { &QUICK[..] } else { &SIZES[..] };
    let mut points = Vec::new();
    for (agents, frameworks, with_naive) in sizes.iter().copied() {
        let mut cluster = Cluster::new(agents, frameworks).context("set up a cluster")?;
        let turns = cluster.turns()?;
        let mut naive = with_naive.then(|| Naive::new(agents, &turns));
        let blocks = if agents * frameworks > 10_000_000 { 5 } else { effort.blocks };
        let (mut cycles, mut steps, mut ratios, mut slow) = (vec![], vec![], vec![], vec![]);
        for _block in 0..blocks {
            let Block { naive, cycle, step } = block(&mut cluster, &mut naive)?;
            cycles.push(cycle * 1e3);
            steps.push(step * 1e3);
            if let Some(naive) = naive {
                slow.push(naive * 1e3);
                ratios.push(naive / cycle);
            }
        }
        let name = format!("plain.{agents}x{frameworks}");
        figures.put(&format!("{name}.cycle_ms_p50"), median(&cycles));
        figures.put(&format!("{name}.master_step_ms_p50"), median(&steps));
        if !ratios.is_empty() {
            figures.put(&format!("{name}.naive_ms_p50"), median(&slow));
            figures.put_ratio(&format!("{name}.naive_to_cycle"), &ratios);
            let whole: Vec<f64> = slow.iter().zip(&steps).map(|(n, s)| n / s).collect();
            figures.put_ratio(&format!("{name}.naive_to_master_step"), &whole);
        }
        let (cycle, step) = (median(&cycles), median(&steps));
        points.push(Point { agents, frameworks, cycle, step });
    }
    slopes(&points, &mut figures);
    Ok(figures)
}

/// The medians of one size.
struct Point {
    agents: usize,
    frameworks: usize,
    cycle: f64,
    step: f64,
}

/// How times grow, along the row and the column of the first size.
fn slopes(points: &[Point], figures: &mut Figures) {
    let Some(Point { agents, frameworks, .. }) = points.first() else { return };
    let (row, column): (Vec<&Point>, Vec<&Point>) = (
        points.iter().filter(|point| point.frameworks == *frameworks).collect(),
        points.iter().filter(|point| point.agents == *agents).collect(),
    );
    let mut put = |name: &str, times: Vec<(f64, f64)>| {
        if times.len() > 1 {
            figures.put(name, theil_sen(&times));
        }
    };
    let of_agents = |time: fn(&Point) -> f64| {
        row.iter().map(|point| (as_f64(point.agents), time(point))).collect::<Vec<_>>()
    };
    put("plain.slope_agents", of_agents(|point| point.cycle));
    put("plain.master_step.slope_agents", of_agents(|point| point.step));
    let of_frameworks = |time: fn(&Point) -> f64| {
        column.iter().map(|point| (as_f64(point.frameworks), time(point))).collect::<Vec<_>>()
    };
    put("plain.slope_frameworks", of_frameworks(|point| point.cycle));
    put("plain.master_step.slope_frameworks", of_frameworks(|point| point.step));
}
