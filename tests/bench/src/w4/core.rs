//! W4 without sockets: one client, 256 clients, growing numbers of existing volumes.

use super::raw::{Bytes, Raw};
use super::stack::Stack;
use super::{EXISTING, Effort};
use crate::report::Figures;
use crate::statistics::{median, theil_sen};
use anyhow::Context;
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) const CLIENTS: usize = 256;

fn as_f64(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

/// Seconds for `rounds` rounds of `clients` operations; the volumes are removed again, untimed.
fn ours(stack: &mut Stack, rounds: usize, clients: usize) -> anyhow::Result<f64> {
    let start = Instant::now();
    let made = stack.create(clients, rounds)?;
    let spent = start.elapsed();
    stack.remove(&made)?;
    Ok(spent.as_secs_f64())
}

/// A stack with that many volumes.
fn filled(dir: &Path, existing: usize) -> anyhow::Result<Stack> {
    let dir = dir.join(format!("core-{existing}"));
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let mut stack = Stack::new(&dir)?;
    stack.create(CLIENTS, existing / CLIENTS)?;
    stack.create(existing % CLIENTS, 1)?;
    Ok(stack)
}

/// What operations cost besides time.
struct Costs {
    /// Per operation.
    bytes: Bytes,
    /// Per operation.
    syncs: f64,
}

fn costs(stack: &mut Stack, clients: usize, rounds: usize) -> anyhow::Result<Costs> {
    let before = stack.counters;
    let made = stack.create(clients, rounds)?;
    let after = stack.counters;
    stack.remove(&made)?;
    let operations = clients * rounds;
    Ok(Costs {
        bytes: Bytes {
            registry: (after.registry_bytes - before.registry_bytes) / operations,
            ledger: (after.ledger_bytes - before.ledger_bytes) / operations,
        },
        syncs: as_f64(after.syncs - before.syncs) / as_f64(operations),
    })
}

pub(super) fn measure(dir: &Path, effort: Effort, figures: &mut Figures) -> anyhow::Result<()> {
    let sizes: Vec<usize> = EXISTING.into_iter().filter(|n| *n <= effort.largest).collect();
    let mut stacks = Vec::new();
    for existing in &sizes {
        stacks.push(filled(dir, *existing)?);
    }
    let mut raw = Raw::new(dir)?;
    let alone = costs(&mut stacks[0], 1, effort.singles)?;
    let crowd = costs(&mut stacks[0], CLIENTS, effort.rounds)?;
    for (name, costs) in [("1_client", &alone), ("256_clients", &crowd)] {
        let Costs { bytes: Bytes { registry, ledger }, syncs } = costs;
        figures.put(&format!("core.{name}.registry_bytes_per_operation"), as_f64(*registry));
        figures.put(&format!("core.{name}.ledger_bytes_per_operation"), as_f64(*ledger));
        figures.put(&format!("core.{name}.syncs_per_operation"), *syncs);
    }

    let singles = as_f64(effort.singles);
    let grouped = as_f64(effort.rounds * CLIENTS);
    let mut one = vec![Vec::new(); sizes.len()];
    let mut many = vec![Vec::new(); sizes.len()];
    let (mut raw_one, mut raw_many) = (Vec::new(), Vec::new());
    let (mut ratio_one, mut ratio_many, mut gain) = (Vec::new(), Vec::new(), Vec::new());
    for block in 0..effort.blocks {
        let seconds = |spent: Duration| spent.as_secs_f64();
        // raw, ours, ours, raw: a drift of the machine hits both.
        let mut r1 = singles / seconds(raw.time(effort.singles, 1, alone.bytes)?);
        let mut rn = grouped / seconds(raw.time(effort.rounds, CLIENTS, crowd.bytes)?);
        for step in 0..sizes.len() {
            // Another order in each block, so that no size always comes first.
            let at = (block + step) % sizes.len();
            let o1 = singles / ours(&mut stacks[at], effort.singles, 1)?;
            let on = grouped / ours(&mut stacks[at], effort.rounds, CLIENTS)?;
            one[at].push(o1);
            many[at].push(on);
        }
        r1 = f64::midpoint(r1, singles / seconds(raw.time(effort.singles, 1, alone.bytes)?));
        rn = f64::midpoint(rn, grouped / seconds(raw.time(effort.rounds, CLIENTS, crowd.bytes)?));
        raw_one.push(r1);
        raw_many.push(rn);
        ratio_one.push(one[0][block] / r1);
        ratio_many.push(many[0][block] / rn);
        gain.push(many[0][block] / one[0][block]);
    }
    figures.put("core.1_client.operations_per_s", median(&one[0]));
    figures.put("core.1_client.raw_operations_per_s", median(&raw_one));
    figures.put("core.1_client.ratio_to_raw", median(&ratio_one));
    figures.put("core.256_clients.operations_per_s", median(&many[0]));
    figures.put("core.256_clients.raw_operations_per_s", median(&raw_many));
    figures.put("core.256_clients.ratio_to_raw", median(&ratio_many));
    figures.put("core.256_clients.gain_over_1_client", median(&gain));
    let points = |rates: &[Vec<f64>]| -> Vec<(f64, f64)> {
        sizes.iter().zip(rates).map(|(n, r)| (as_f64((*n).max(1)), 1.0 / median(r))).collect()
    };
    for (n, rates) in sizes.iter().zip(&many) {
        figures
            .put(&format!("core.256_clients.{n}_existing.us_per_operation"), 1e6 / median(rates));
    }
    for (n, rates) in sizes.iter().zip(&one) {
        figures.put(&format!("core.1_client.{n}_existing.us_per_operation"), 1e6 / median(rates));
    }
    figures.put("core.1_client.slope_in_existing_volumes", theil_sen(&points(&one)));
    figures.put("core.256_clients.slope_in_existing_volumes", theil_sen(&points(&many)));
    Ok(())
}
