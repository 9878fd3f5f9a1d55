//! The canonical form of a service: what is kept, compared and fingerprinted.
//!
//! Invariant: `parse(json(service)) == [service]`, for every service that was read.

use super::node::Node;
use super::{Check, Goal, Pod, Port, Program, Scope, Service, Task, Volume};
use berth_model::id::fingerprint as hash;
use berth_model::resources::MountMode;
use berth_model::units::{Bytes, format_duration};
use std::time::Duration;

pub(super) fn json(service: &Service) -> String {
    write(&map([
        ("apiVersion", Node::text("berth/v1")),
        ("kind", Node::text("Service")),
        ("name", Node::text(&service.name)),
        ("role", Node::text(service.role.as_str())),
        ("pods", named(service.pods.iter().map(|pod| (&pod.name, pod_node(pod, true))))),
    ]))
}

pub(super) fn fingerprint(pod: &Pod) -> u64 {
    hash(write(&pod_node(pod, false)).as_bytes())
}

fn write(node: &Node) -> String {
    serde_json::to_string(node)
        .expect("texts, whole numbers, lists and tables with text keys are valid JSON")
}

fn map<const N: usize>(entries: [(&str, Node); N]) -> Node {
    let present = entries.into_iter().filter(|(_, node)| *node != Node::Null);
    Node::Map(present.map(|(key, node)| (key.to_owned(), node)).collect())
}

fn named<'a>(entries: impl Iterator<Item = (&'a String, Node)>) -> Node {
    let entries: Vec<(String, Node)> = entries.map(|(key, node)| (key.clone(), node)).collect();
    if entries.is_empty() { Node::Null } else { Node::Map(entries) }
}

fn size(size: Bytes) -> Node {
    let mib = size.whole_mib().expect("sizes of documents are whole MiB");
    Node::text(format!("{mib}MiB"))
}

fn span(span: Duration) -> Node {
    Node::text(format_duration(span))
}

fn pod_node(pod: &Pod, with_restart: bool) -> Node {
    let ports = pod.ports.iter().map(|(name, port)| match port {
        Port::Auto => (name, Node::text("auto")),
        Port::Number(number) => (name, Node::Int(i128::from(*number))),
    });
    let resources = map([
        ("cpu", Node::text(pod.cpu.to_string())),
        ("memory", size(pod.memory)),
        ("ports", named(ports)),
    ]);
    let backoff = map([("start", span(pod.backoff.start)), ("max", span(pod.backoff.max))]);
    let restart = if with_restart { map([("backoff", backoff)]) } else { Node::Null };
    map([
        ("user", pod.user.as_ref().map_or(Node::Null, Node::text)),
        ("resources", resources),
        ("volumes", named(pod.volumes.iter().map(|volume| (&volume.name, volume_node(volume))))),
        ("tasks", named(pod.tasks.iter().map(|task| (&task.name, task_node(task))))),
        ("restart", restart),
    ])
}

fn volume_node(volume: &Volume) -> Node {
    map([
        ("size", size(volume.size)),
        ("path", Node::text(&volume.path)),
        ("disk", volume.disk.map_or(Node::Null, |kind| Node::text(kind.as_str()))),
        // What every volume was before there was a choice is not written, so that nothing seems to have changed.
        ("mode", if volume.mode == MountMode::ReadWrite { Node::Null } else { mode(volume.mode) }),
    ])
}

fn mode(mode: MountMode) -> Node {
    Node::text(match mode {
        MountMode::ReadWrite => "RW",
        MountMode::ReadOnly => "RO",
    })
}

fn task_node(task: &Task) -> Node {
    let (goal, scope, timeout) = match task.goal {
        Goal::Running => ("running", Node::Null, Node::Null),
        Goal::Once { scope, timeout } => {
            let scope = match scope {
                Scope::Service => "service",
                Scope::Volume => "volume",
                Scope::Config => "config",
            };
            ("once", Node::text(scope), timeout.map_or(Node::Null, span))
        },
    };
    map([
        ("goal", Node::text(goal)),
        ("scope", scope),
        ("timeout", timeout),
        ("cmd", program(&task.program)),
        ("env", named(task.env.iter().map(|(name, value)| (name, Node::text(value.raw()))))),
        ("health", task.health.as_ref().map_or(Node::Null, check)),
        ("readiness", task.readiness.as_ref().map_or(Node::Null, check)),
        ("stop", map([("grace", span(task.stop_grace))])),
        (
            "volumes",
            named(task.modes.iter().map(|(name, own)| (name, map([("mode", mode(*own))])))),
        ),
    ])
}

fn program(program: &Program) -> Node {
    match program {
        Program::Shell(text) => Node::text(text.raw()),
        Program::Exec(items) => {
            Node::List(items.iter().map(|item| Node::text(item.raw())).collect())
        },
    }
}

fn check(check: &Check) -> Node {
    map([
        ("cmd", program(&check.program)),
        ("every", span(check.every)),
        ("timeout", span(check.timeout)),
        ("failures", Node::Int(i128::from(check.failures))),
        ("grace", span(check.grace)),
    ])
}
