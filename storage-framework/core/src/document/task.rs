//! Reading the tasks of a pod: programs, goals, checks.
//!
//! Invariant: defaults are given here and nowhere else, so a read task has no open choices.

use super::node::Node;
use super::read::mode as mode_of;
use super::table::{Place, Problems, Table, entries, join};
use super::template::{Scope as Names, Template};
use super::{Check, Goal, Program, Scope, Task};
use berth_model::resources::MountMode;
use std::collections::BTreeMap;
use std::time::Duration;

/// Long enough for a database to write its buffers.
const STOP_GRACE: Duration = Duration::from_secs(30);

pub(super) fn task(
    name: &str,
    place: &Place<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Task> {
    let mut table = Table::open(place, problems);
    let goal = table
        .need("goal", "running", problems)
        .and_then(|place| place.text(problems).map(|text| (place, text)));
    let goal = match goal {
        Some((place, text)) => read_goal(&place, &text, &mut table, problems),
        None => {
            read_rest_of_goal(&mut table, problems);
            None
        },
    };
    let program = table.need("cmd", "\"exec mariadbd …\"", problems);
    let program = program.and_then(|place| read_program(&place, names, problems));
    let env = table.take("env").map(|place| read_env(&place, names, problems)).unwrap_or_default();
    let health = table.take("health");
    let readiness = table.take("readiness");
    if let Some(Goal::Once { .. }) = goal {
        for check in health.iter().chain(&readiness) {
            problems.add(
                &check.path,
                "a task with goal: once is not checked",
                "remove it; its exit status counts",
            );
        }
    }
    let health = health.and_then(|place| read_check(&place, names, problems));
    let readiness = readiness.and_then(|place| read_check(&place, names, problems));
    let stop_grace =
        table.take("stop").and_then(|place| read_stop(&place, problems)).unwrap_or(STOP_GRACE);
    let volumes = table.take("volumes");
    let modes = volumes.map(|place| read_modes(&place, names, problems)).unwrap_or_default();
    table.refuse(
        &[
            "essential",
            "only",
            "skipIf",
            "skipUnless",
            "resources",
            "config",
            "image",
            "user",
            "retry",
        ],
        problems,
    );
    table.finish(problems);
    Some(Task {
        name: name.to_owned(),
        goal: goal?,
        program: program?,
        env,
        health,
        readiness,
        stop_grace,
        modes,
    })
}

/// How the task sees volumes of its pod.
fn read_modes(
    place: &Place<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> BTreeMap<String, MountMode> {
    let mut modes = BTreeMap::new();
    for (name, node) in entries(place, problems) {
        let path = join(&place.path, name);
        if !names.volumes.contains(&name) {
            let message = format!("the pod has no volume {name:?}");
            problems.add(&path, message, "name one of the pod's volumes");
        }
        let mut table = Table::open(&Place { path, node }, problems);
        let mode = table.need("mode", "RO", problems);
        modes
            .extend(mode.and_then(|place| mode_of(&place, problems)).map(|m| (name.to_owned(), m)));
        table.finish(problems);
    }
    modes
}

fn read_goal(
    place: &Place<'_>,
    text: &str,
    table: &mut Table<'_>,
    problems: &mut Problems,
) -> Option<Goal> {
    match text {
        "running" => {
            for key in ["scope", "timeout"] {
                if let Some(extra) = table.take(key) {
                    problems.add(&extra.path, format!("{key} belongs to goal: once"), "remove it");
                }
            }
            Some(Goal::Running)
        },
        "once" => {
            let timeout = table.take("timeout").and_then(|place| place.duration(problems));
            let scope = table.need("scope", "volume", problems)?;
            let scope = read_scope(&scope, problems)?;
            Some(Goal::Once { scope, timeout })
        },
        "on-demand" | "finish" => {
            problems.unsupported(&place.path, &format!("goal: {text}"), "write running or once");
            read_rest_of_goal(table, problems);
            None
        },
        _ => {
            problems.add(&place.path, format!("unknown goal {text:?}"), "write running or once");
            read_rest_of_goal(table, problems);
            None
        },
    }
}

/// What goes with some goal, when nobody can tell which: mistakes in it are reported all the same.
fn read_rest_of_goal(table: &mut Table<'_>, problems: &mut Problems) {
    if let Some(timeout) = table.take("timeout") {
        timeout.duration(problems);
    }
    if let Some(scope) = table.take("scope") {
        read_scope(&scope, problems);
    }
}

fn read_scope(place: &Place<'_>, problems: &mut Problems) -> Option<Scope> {
    match place.text(problems)?.as_str() {
        "service" => Some(Scope::Service),
        "config" => Some(Scope::Config),
        "volume" => Some(Scope::Volume),
        text => {
            problems.add(
                &place.path,
                format!("unknown scope {text:?}"),
                "write service, volume or config",
            );
            None
        },
    }
}

fn read_program(place: &Place<'_>, names: &Names<'_>, problems: &mut Problems) -> Option<Program> {
    match place.node {
        Node::List(items) if !items.is_empty() => {
            let texts = items.iter().enumerate().map(|(index, node)| {
                let item = Place { path: format!("{}[{index}]", place.path), node };
                let text = item.text(problems)?;
                Template::read(&text, &item.path, names, problems)
            });
            // All are read before one that is wrong makes the list so.
            let texts: Vec<Option<Template>> = texts.collect();
            texts.into_iter().collect::<Option<Vec<_>>>().map(Program::Exec)
        },
        Node::List(_)
        | Node::Null
        | Node::Bool(_)
        | Node::Int(_)
        | Node::Decimal(_)
        | Node::Text(_)
        | Node::Map(_) => {
            let text = place.text(problems)?;
            if text.trim().is_empty() {
                problems.add(
                    &place.path,
                    "the command is empty",
                    "write a command for the shell, or a list of texts",
                );
                return None;
            }
            Template::read(&text, &place.path, names, problems).map(Program::Shell)
        },
    }
}

fn read_env(
    place: &Place<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> BTreeMap<String, Template> {
    let mut env = BTreeMap::new();
    for (name, node) in entries(place, problems) {
        let path = join(&place.path, name);
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            let remedy = "use letters, digits and underscores, not beginning with a digit";
            problems.add(&path, format!("{name:?} is not the name of a variable"), remedy);
        }
        let value = Place { path: path.clone(), node }.text(problems);
        let template = value.and_then(|text| Template::read(&text, &path, names, problems));
        if let Some(template) = template {
            env.insert(name.to_owned(), template);
        }
    }
    env
}

fn read_check(place: &Place<'_>, names: &Names<'_>, problems: &mut Problems) -> Option<Check> {
    let mut table = Table::open(place, problems);
    table.refuse(&["http", "tcp", "skipIf", "settle"], problems);
    let program = table.need("cmd", "\"test -e data/ok\"", problems);
    let program = program.and_then(|place| read_program(&place, names, problems));
    let mut span = |key, default: Duration| {
        table.take(key).map_or(Some(default), |place| place.duration(problems))
    };
    let every = span("every", Duration::from_secs(5));
    let timeout = span("timeout", Duration::from_secs(10));
    let grace = span("grace", Duration::from_secs(30));
    let failures = table.take("failures").map_or(Some(3), |place| place.whole(1, 1_000, problems));
    table.finish(problems);
    Some(Check {
        program: program?,
        every: every?,
        timeout: timeout?,
        failures: failures?,
        grace: grace?,
    })
}

fn read_stop(place: &Place<'_>, problems: &mut Problems) -> Option<Duration> {
    let mut table = Table::open(place, problems);
    if let Some(signal) = table.take("signal") {
        let text = signal.text(problems);
        if text.as_deref().is_some_and(|text| text != "TERM" && text != "SIGTERM") {
            problems.unsupported(&signal.path, "another signal than TERM", "write TERM");
        }
    }
    let grace = table.take("grace").and_then(|place| place.duration(problems));
    table.finish(problems);
    grace
}
