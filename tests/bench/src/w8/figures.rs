//! What is run and what is said of it.

use super::outcome::{Class, Outcome};
use super::{FAN_OUT, Kind, Outcomes, Plan, Scale, as_f64};
use crate::plot::{Curve, Plot};
use crate::report::Figures;

/// At what the number of batch schedulers is swept: seconds a decision of the service scheduler.
const BETWEEN: f64 = 10.0;

type Named = Vec<(String, Plan)>;

/// The three ways, over think time.
fn by_think(scale: Scale) -> Named {
    let mut plans = Named::new();
    for think in scale.thinks {
        let at = Plan { think: Some(*think), ..Plan::BASE };
        for (name, plan) in
            [("pessimistic", at.pessimistic()), ("optimistic", at), ("late", at.late())]
        {
            plans.push((format!("{name}.{think}_s"), plan));
        }
    }
    plans
}

/// What counts as a conflict, over batch schedulers.
fn by_schedulers(scale: Scale) -> Named {
    let mut plans = Named::new();
    for count in scale.batch_schedulers {
        let at = Plan { batch_schedulers: *count, think: Some(BETWEEN), ..Plan::BASE };
        plans.push((format!("fine.{count}_schedulers"), at));
        plans.push((format!("coarse.{count}_schedulers"), Plan { rules: Plan::COARSE, ..at }));
    }
    let most = scale.batch_schedulers.last().copied().unwrap_or(1);
    let wide =
        Plan { kind: Kind::Real(16), batch_schedulers: most, think: Some(BETWEEN), ..Plan::BASE };
    plans.push((format!("fan_out_16.{most}_schedulers"), wide));
    plans
}

/// Other loads, terms and cells, at 60 s.
fn others(scale: Scale) -> Named {
    let mut plans = Named::new();
    for load in scale.loads {
        let at = Plan { load: *load, ..Plan::BASE };
        let percent = (load * 100.0).round();
        for (name, plan) in
            [("pessimistic", at.pessimistic()), ("optimistic", at), ("late", at.late())]
        {
            plans.push((format!("{name}.load_{percent}_percent"), plan));
        }
    }
    plans.push(("coarse.60_s".to_owned(), Plan { rules: Plan::COARSE, ..Plan::BASE }));
    plans.push(("all_or_nothing.60_s".to_owned(), Plan { rules: Plan::GANG, ..Plan::BASE }));
    plans.push(("hybrid.60_s".to_owned(), Plan { reserved: true, ..Plan::BASE }));
    let small = Plan { machines: 200, cpus: 4, ..Plan::BASE };
    plans.push(("small_machines.60_s".to_owned(), small));
    plans
}

fn named(scale: Scale) -> Named {
    let mut all = by_think(scale);
    all.extend(by_schedulers(scale));
    all.extend(others(scale));
    all
}

/// Has the oracle the same?
fn has_oracle(plan: &Plan) -> bool {
    plan.kind != Kind::Real(1) && !plan.reserved
}

/// Everything that has to be run.
pub(super) fn plans(scale: Scale) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    for (_, plan) in named(scale) {
        let oracle = has_oracle(&plan).then(|| plan.oracle());
        for plan in [Some(plan), Some(baseline(plan)), oracle].into_iter().flatten() {
            if !plans.contains(&plan) {
                plans.push(plan);
            }
        }
    }
    plans
}

/// The same jobs when nobody has to think.
fn baseline(plan: Plan) -> Plan {
    Plan { kind: Kind::Real(FAN_OUT), ..plan.without_thought() }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2 to the 53rd")]
fn sum<T>(outcomes: &[T], of: impl Fn(&T) -> u64) -> f64 {
    outcomes.iter().map(of).sum::<u64>() as f64
}

fn mean<T>(outcomes: &[T], of: impl Fn(&T) -> f64) -> f64 {
    ratio(outcomes.iter().map(of).sum(), as_f64(outcomes.len()))
}

fn class<'a>(outcome: &'a Outcome, kind: &str) -> &'a Class {
    if kind == "service" { &outcome.service } else { &outcome.batch }
}

/// Which part of the tasks that were placed by a scheduler conflicted.
fn conflicts(outcomes: &[Outcome]) -> f64 {
    let failed = sum(outcomes, |one| one.service.conflicts + one.batch.conflicts);
    ratio(failed, sum(outcomes, |one| one.service.attempted + one.batch.attempted))
}

fn useful(outcomes: &[Outcome], of: fn(&Class) -> f64) -> f64 {
    let part = mean(outcomes, |one| of(&one.service) + of(&one.batch));
    ratio(part, mean(outcomes, |one| one.service.think + one.batch.think))
}

/// Computes every figure.
pub(super) fn put(outcomes: &Outcomes, scale: Scale, table: &mut Figures) -> anyhow::Result<()> {
    for (name, plan) in named(scale) {
        let (all, zero) = (outcomes.of(plan)?, outcomes.of(baseline(plan))?);
        put_run(&name, all, zero, table);
        if has_oracle(&plan) {
            let oracle = outcomes.of(plan.oracle())?;
            table.put(&format!("{name}.oracle_conflicts"), conflicts(oracle));
            table.put(&format!("{name}.oracle_useful_work"), useful(oracle, |class| class.useful));
            let to = ratio(conflicts(all), conflicts(oracle));
            table.put(&format!("{name}.conflicts_to_oracle"), to);
        }
    }
    for count in scale.batch_schedulers {
        let of = |way: &str| table.get(&format!("{way}.{count}_schedulers.conflicts"));
        let (coarse, fine) = (of("coarse").unwrap_or(0.0), of("fine").unwrap_or(0.0));
        table.put(&format!("coarse_to_fine.{count}_schedulers.conflicts"), ratio(coarse, fine));
    }
    Ok(())
}

fn put_run(name: &str, all: &[Outcome], zero: &[Outcome], table: &mut Figures) {
    let mut put = |what: &str, value: f64| table.put(&format!("{name}.{what}"), value);
    let to_zero = all.iter().zip(zero).map(|(one, zero)| one.utilisation / zero.utilisation);
    put("utilisation", mean(all, |one| one.utilisation));
    put("utilisation_to_zero_think", ratio(to_zero.sum(), as_f64(all.len())));
    put("useful_work", useful(all, |class| class.useful));
    put("useful_work_of_whole_decisions", useful(all, |class| class.clean));
    put("conflicts", conflicts(all));
    put("abandoned_jobs", sum(all, |one| one.service.abandoned + one.batch.abandoned));
    for kind in ["service", "batch"] {
        let of: Vec<&Class> = all.iter().map(|one| class(one, kind)).collect();
        let mut put = |what: &str, value: f64| put(&format!("{kind}_{what}"), value);
        put("busy", mean(&of, |one| one.busy));
        let (failed, tried) = (sum(&of, |one| one.conflicts), sum(&of, |one| one.attempted));
        put("conflicts", ratio(failed, tried));
        let failed = sum(&of, |one| one.conflicting_decisions);
        put("conflicting_decisions", ratio(failed, sum(&of, |one| one.decisions)));
        put("wait_s_mean", mean(&of, |one| one.wait().0));
        put("wait_s_p90", mean(&of, |one| one.wait().1));
        let late = sum(&of, |one| one.overdue);
        put("overdue_jobs", ratio(late, sum(&of, |one| one.jobs)));
    }
}

/// The curves: name and plot.
pub(super) fn plots(table: &Figures, scale: Scale) -> Vec<(&'static str, Plot)> {
    let think = |way: &str, figure: &str, label: &str| Curve {
        name: label.to_owned(),
        points: (scale.thinks.iter())
            .filter_map(|s| Some((*s, table.get(&format!("{way}.{s}_s.{figure}"))?)))
            .collect(),
    };
    let plot = |title: &str, y: &str, y_max: f64, curves: Vec<Curve>| Plot {
        title: title.to_owned(),
        x: "think time of the service scheduler, seconds a decision".to_owned(),
        y: y.to_owned(),
        y_max,
        curves,
    };
    let ways = [
        ("pessimistic", "pessimistic (fan-out 1)"),
        ("optimistic", "optimistic, decided early"),
        ("late", "optimistic, decided late"),
    ];
    let three = |figure: &str| ways.iter().map(|(way, label)| think(way, figure, label)).collect();
    let waits: Vec<Curve> = three("batch_wait_s_mean");
    let top = waits.iter().flat_map(|curve| curve.points.iter().map(|(_, y)| *y));
    let top = top.fold(1.0, f64::max) * 1.1;
    let mut busy: Vec<Curve> = three("service_busy");
    busy.iter_mut().for_each(|curve| curve.name.insert_str(0, "service, "));
    let schedulers = |way: &str| Curve {
        name: format!("{way} detection"),
        points: (scale.batch_schedulers.iter())
            .filter_map(|n| {
                Some((as_f64(*n), table.get(&format!("{way}.{n}_schedulers.conflicts"))?))
            })
            .collect(),
    };
    let by_count = ["fine", "coarse"].map(schedulers).to_vec();
    let most = by_count.iter().flat_map(|curve| curve.points.iter().map(|(_, y)| *y));
    let most = most.fold(0.001, f64::max) * 1.1;
    vec![
        ("wait", plot("How long batch jobs wait", "seconds, mean", top, waits)),
        ("useful-work", plot("Useful work", "part of the think time", 1.1, three("useful_work"))),
        ("busy", plot("How busy the service scheduler is", "part of the time", 1.1, busy)),
        (
            "conflicts",
            Plot {
                x: "batch schedulers".to_owned(),
                ..plot("Conflicts", "part of the tasks placed", most, by_count)
            },
        ),
    ]
}
