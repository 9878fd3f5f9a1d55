//! W2: everything is given away; one agent becomes free, and the next offer of it is decided.
//!
//! Beside it, in the same blocks, an ordered map with as many entries as there are agents: one removed, one inserted.

use super::as_f64;
use super::cluster::{Cluster, agent_id, offered};
use super::naive::Naive;
use crate::draws::Draws;
use crate::report::Figures;
use crate::statistics::{median, quantile, theil_sen};
use crate::w4::Effort;
use anyhow::{Context, ensure};
use berth_master_core::Input;
use berth_master_core::allocator::Trial;
use berth_model::offer::Offer;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const FRAMEWORKS: usize = 1_000;
const SIZES: [usize; 4] = [1_000, 5_000, 10_000, 50_000];
/// How many events are looked at by the naive one as well.
const CHECKED: usize = 200;

fn only(offers: Vec<Offer>) -> anyhow::Result<Offer> {
    ensure!(offers.len() == 1, "{} offers of a free agent", offers.len());
    offers.into_iter().next().context("an offer")
}

/// Everything given away in a trial: who has which agent.
fn give_all(cluster: &mut Cluster) -> anyhow::Result<(Trial<'_>, Vec<Offer>)> {
    cluster.decline_all()?;
    let mut trial = Trial::new(cluster.master.state(), cluster.now);
    let held = trial.cycle();
    Ok((trial, held))
}

/// Ours and the naive one, event for event.
fn check(agents: usize, draws: &mut Draws) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(agents, FRAMEWORKS.min(agents))?;
    let mut naive = Naive::new(agents, &cluster.turns()?);
    let names = cluster.frameworks.clone();
    let number = |offer: &Offer| names.iter().position(|(id, _)| *id == offer.framework);
    let (mut trial, mut held) = give_all(&mut cluster)?;
    for ((expected, _), offer) in naive.cycle().into_iter().zip(&held) {
        ensure!(number(offer) == Some(expected), "naively it goes to framework {expected}");
    }
    for _event in 0..CHECKED {
        let at = draws.below(held.len());
        trial.take_back(&held[at]);
        naive.take_back(number(&held[at]).context("a framework")?, at);
        held[at] = only(trial.look(agent_id(at)))?;
        let (expected, _) = naive.look(at);
        let to = number(&held[at]);
        ensure!(to == Some(expected), "agent {at} went to {to:?}, naively to {expected}");
    }
    Ok(())
}

/// Microseconds of events, one by one.
#[derive(Default)]
struct Times {
    raw: Vec<f64>,
    decided: Vec<f64>,
    master: Vec<f64>,
}

/// An ordered map of so many entries.
struct Raw {
    map: BTreeMap<(u64, u64), usize>,
    keys: Vec<(u64, u64)>,
    next: u64,
}

impl Raw {
    fn new(entries: usize) -> Self {
        let mut raw = Self { map: BTreeMap::new(), keys: Vec::new(), next: 0 };
        for at in 0..entries {
            let key = raw.fresh();
            raw.map.insert(key, at);
            raw.keys.push(key);
        }
        raw
    }
    fn fresh(&mut self) -> (u64, u64) {
        self.next += 1;
        (self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15), self.next)
    }
    fn pair(&mut self, at: usize) -> bool {
        let key = self.fresh();
        let removed = self.map.remove(&std::mem::replace(&mut self.keys[at], key));
        self.map.insert(key, at);
        removed == Some(at)
    }
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

fn raw_events(raw: &mut Raw, draws: &mut Draws, events: usize) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(events);
    for _event in 0..events {
        let at = draws.below(raw.keys.len());
        let start = Instant::now();
        let found = raw.pair(at);
        times.push(micros(start));
        ensure!(found, "the raw map lost an entry");
    }
    Ok(times)
}

fn decided_events(
    trial: &mut Trial<'_>,
    held: &mut [Offer],
    draws: &mut Draws,
    events: usize,
) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(events);
    for _event in 0..events {
        let at = draws.below(held.len());
        let start = Instant::now();
        trial.take_back(&held[at]);
        let made = trial.look(agent_id(at));
        times.push(micros(start));
        held[at] = only(made)?;
    }
    Ok(times)
}

/// DECLINE of an offer that is older than an interval: the same step makes the next one.
fn master_events(
    cluster: &mut Cluster,
    draws: &mut Draws,
    events: usize,
) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(events);
    for _event in 0..events {
        let at = draws.below(cluster.open.len());
        let offer = cluster.open.values().nth(at).context("an open offer")?;
        let (id, framework) = (offer.id, cluster.number(&offer.framework)?);
        let input = cluster.decline(framework, vec![id])?;
        cluster.now = cluster.now.after(Duration::from_secs(1));
        let (step, spent) = cluster.timed(input);
        ensure!(offered(&step).count() == 1, "the freed agent is not offered once");
        times.push(spent * 1e6);
    }
    Ok(times)
}

/// Runs it.
///
/// # Errors
/// The allocators do not agree, or a freed agent was not offered.
pub fn run(effort: Effort) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let mut draws = Draws::new(7);
    let quick = effort.largest < 1_000;
    let sizes = if quick { &[100, 200][..] } else { &SIZES[..] };
    let (events, whole) = if quick { (200, 20) } else { (10_000, 200) };
    check(sizes[0], &mut draws)?;
    let mut points = Vec::new();
    for agents in sizes.iter().copied() {
        let mut cluster = Cluster::new(agents, FRAMEWORKS.min(agents))?;
        let mut raw = Raw::new(agents);
        let (mut all, mut ratios) = (Times::default(), Vec::new());
        {
            let (mut trial, mut held) = give_all(&mut cluster)?;
            for _block in 0..effort.blocks {
                // Raw, ours, ours, raw.
                let mut slow = raw_events(&mut raw, &mut draws, events)?;
                let ours = decided_events(&mut trial, &mut held, &mut draws, 2 * events)?;
                slow.extend(raw_events(&mut raw, &mut draws, events)?);
                ratios.push(median(&ours) / median(&slow));
                all.raw.extend(slow);
                all.decided.extend(ours);
            }
        }
        let step = cluster.step(Input::Tick);
        ensure!(offered(&step).count() == agents, "not everything was offered");
        for _block in 0..effort.blocks {
            all.master.extend(master_events(&mut cluster, &mut draws, whole)?);
        }
        let name = format!("event.{agents}_agents");
        figures.put(&format!("{name}.us_p50"), median(&all.decided));
        figures.put(&format!("{name}.us_p99"), quantile(&all.decided, 0.99));
        figures.put(&format!("{name}.raw_pair_us_p50"), median(&all.raw));
        figures.put_ratio(&format!("{name}.ratio_to_raw_pair"), &ratios);
        figures.put(&format!("{name}.master_us_p50"), median(&all.master));
        figures.put(&format!("{name}.master_us_p99"), quantile(&all.master, 0.99));
        points.push((as_f64(agents), median(&all.decided), median(&all.master)));
    }
    let slope = |of: fn(&(f64, f64, f64)) -> f64| {
        theil_sen(&points.iter().map(|point| (point.0, of(point))).collect::<Vec<_>>())
    };
    figures.put("event.slope_agents", slope(|(_, decided, _)| *decided));
    figures.put("event.master.slope_agents", slope(|(_, _, master)| *master));
    Ok(figures)
}
