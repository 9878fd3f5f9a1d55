//! From tables to services, pods and volumes; tasks are read next door.
//!
//! Invariant: returns a value only together with every problem found in it; callers drop the value when there is any.

use super::node::Node;
use super::table::{Place, Problems, Table, check_label, entries, join};
use super::template::Scope as Names;
use super::{Backoff, DiskKind, Goal, Pod, Port, Service, Task, Volume, task};
use berth_model::resources::{MountMode, check_container_path};
use berth_model::role::Role;
use berth_model::units::{Bytes, Scalar};
use std::collections::BTreeMap;

pub(super) fn service(place: &Place<'_>, problems: &mut Problems) -> Option<Service> {
    let mut table = Table::open(place, problems);
    if let Some(version) = table.need("apiVersion", "berth/v1", problems) {
        let text = version.text(problems);
        if text.as_deref().is_some_and(|text| text != "berth/v1") {
            problems.add(&version.path, "unknown apiVersion", "write berth/v1");
        }
    }
    if let Some(kind) = table.need("kind", "Service", problems) {
        match kind.text(problems).as_deref() {
            None | Some("Service") => {},
            Some("Web" | "Batch" | "Job") => {
                problems.unsupported(&kind.path, "this kind", "write Service");
            },
            Some(_) => problems.add(&kind.path, "unknown kind", "write Service"),
        }
    }
    let name = table.need("name", "orders-db", problems).and_then(|place| {
        let text = place.text(problems)?;
        check_label(&place.path, "service", &text, problems).then_some(text)
    });
    let role =
        table.need("role", "storage/mysql", problems).and_then(|place| role(&place, problems));
    let pods = table.need("pods", "{ db: … }", problems);
    table.refuse(
        &[
            "params",
            "artifacts",
            "config",
            "secrets",
            "endpoints",
            "backup",
            "plans",
            "owner",
            "principal",
            "availability",
            "placement",
            "schedule",
            "update",
        ],
        problems,
    );
    table.finish(problems);
    let pods = read_pods(&pods?, problems);
    Some(Service { name: name?, role: role?, pods })
}

fn role(place: &Place<'_>, problems: &mut Problems) -> Option<Role> {
    let text = place.text(problems)?;
    match Role::new(&text) {
        Ok(role) if !role.is_star() => Some(role),
        Ok(_) => {
            problems.add(
                &place.path,
                "nothing can be reserved to the role *",
                "name a role such as storage/mysql",
            );
            None
        },
        Err(error) => {
            problems.add(&place.path, error.to_string(), "name a role such as storage/mysql");
            None
        },
    }
}

fn read_pods(place: &Place<'_>, problems: &mut Problems) -> Vec<Pod> {
    let found = entries(place, problems);
    if found.is_empty() {
        problems.add(&place.path, "there is no pod", "describe at least one");
    }
    found
        .into_iter()
        .filter_map(|(name, node)| {
            let path = join(&place.path, name);
            check_label(&path, "pod", name, problems);
            pod(name, &Place { path, node }, problems)
        })
        .collect()
}

fn pod<'a>(name: &str, place: &Place<'a>, problems: &mut Problems) -> Option<Pod> {
    // By their keys alone, so that a mistake in a port or volume is reported once.
    let keys = |node: Option<&'a Node>| node.map(Node::keys).unwrap_or_default();
    let names = Names {
        ports: keys(place.node.get("resources").and_then(|resources| resources.get("ports"))),
        volumes: keys(place.node.get("volumes")),
    };
    let mut table = Table::open(place, problems);
    if let Some(count) = table.take("count") {
        let many = matches!(count.node, Node::Int(n) if *n > 1);
        if many {
            problems.unsupported(&count.path, "more than one instance of a pod", "write 1");
        } else {
            count.whole(1, 1, problems);
        }
    }
    let user = table.take("user").and_then(|place| user(&place, problems));
    let resources = table.need("resources", "{ cpu: 1, memory: 1GiB }", problems);
    let resources = resources.and_then(|place| read_resources(&place, problems));
    let volumes = table.take("volumes");
    let described =
        matches!(&volumes, Some(place) if !matches!(place.node, Node::Map(map) if map.is_empty()));
    let volumes = volumes.map(|place| read_volumes(&place, problems)).unwrap_or_default();
    let tasks = table.need("tasks", "{ server: { goal: running, cmd: … } }", problems);
    let backoff = read_backoff(&mut table, problems);
    table.refuse(
        &[
            "image",
            "placement",
            "availability",
            "leader",
            "hooks",
            "env",
            "secrets",
            "config",
            "expose",
            "update",
            "endpoints",
        ],
        problems,
    );
    table.finish(problems);
    let (cpu, memory, ports) = resources.unwrap_or_default();
    if !described {
        problems.unsupported(&place.path, "a pod without volumes", "give it a volume");
    }
    let tasks = tasks.map(|place| read_tasks(&place, &names, problems))?;
    Some(Pod { name: name.to_owned(), user, cpu, memory, ports, volumes, tasks, backoff })
}

fn user(place: &Place<'_>, problems: &mut Problems) -> Option<String> {
    let text = place.text_or_number(problems)?;
    let (user, group) = text.split_once(':').unwrap_or((&text, "0"));
    let number = |part: &str| part.parse::<u32>().is_ok();
    let name = |part: &str| {
        !part.is_empty()
            && part.len() <= 32
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            && !part.starts_with('-')
    };
    if name(user) && number(group) && (number(user) || !text.contains(':')) {
        return Some(text);
    }
    problems.add(&place.path, format!("{text:?} is not a user"), "write a name, a uid, or uid:gid");
    None
}

type PodResources = (Scalar, Bytes, BTreeMap<String, Port>);

fn read_resources(place: &Place<'_>, problems: &mut Problems) -> Option<PodResources> {
    let mut table = Table::open(place, problems);
    let cpu = table.need("cpu", "0.5", problems).and_then(|place| place.scalar(problems));
    let memory = table.need("memory", "512MiB", problems).and_then(|place| place.size(problems));
    let ports = table.take("ports").map(|place| read_ports(&place, problems)).unwrap_or_default();
    table.refuse(&["gpus", "scratch"], problems);
    table.finish(problems);
    Some((cpu?, memory?, ports))
}

fn read_ports(place: &Place<'_>, problems: &mut Problems) -> BTreeMap<String, Port> {
    let mut ports: BTreeMap<String, Port> = BTreeMap::new();
    for (name, node) in entries(place, problems) {
        let path = join(&place.path, name);
        check_label(&path, "port", name, problems);
        let port = match node {
            Node::Text(text) if text == "auto" => Some(Port::Auto),
            Node::Int(number) => u16::try_from(*number).ok().filter(|n| *n > 0).map(Port::Number),
            Node::Null
            | Node::Bool(_)
            | Node::Decimal(_)
            | Node::Text(_)
            | Node::List(_)
            | Node::Map(_) => None,
        };
        match port {
            Some(Port::Number(number))
                if ports.values().any(|other| *other == Port::Number(number)) =>
            {
                problems.add(
                    &path,
                    format!("port {number} is given twice"),
                    "give each port a number of its own",
                );
            },
            Some(port) => drop(ports.insert(name.to_owned(), port)),
            None => problems.add(&path, "not a port", "write auto or a number from 1 to 65535"),
        }
    }
    ports
}

fn read_volumes(place: &Place<'_>, problems: &mut Problems) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for (name, node) in entries(place, problems) {
        let path = join(&place.path, name);
        check_label(&path, "volume", name, problems);
        let Some(volume) = volume(name, &Place { path: path.clone(), node }, problems) else {
            continue;
        };
        let parts = |path: &str| -> Vec<String> { path.split('/').map(str::to_owned).collect() };
        let nested =
            |a: &str, b: &str| parts(a).starts_with(&parts(b)) || parts(b).starts_with(&parts(a));
        if let Some(other) = volumes.iter().find(|other| nested(&other.path, &volume.path)) {
            let message = format!(
                "path {} and path {} of volume {} lie in each other",
                volume.path, other.path, other.name
            );
            problems.add(&join(&path, "path"), message, "mount them beside each other");
        }
        volumes.push(volume);
    }
    volumes
}

fn volume(name: &str, place: &Place<'_>, problems: &mut Problems) -> Option<Volume> {
    let mut table = Table::open(place, problems);
    let size = table.need("size", "10GiB", problems).and_then(|place| place.size(problems));
    let path = table.need("path", "data", problems).and_then(|place| {
        let text = place.text(problems)?;
        match check_container_path(&text) {
            Ok(()) => Some(text),
            Err(error) => {
                problems.add(
                    &place.path,
                    error.to_string(),
                    "write for example data or /var/lib/mysql",
                );
                None
            },
        }
    });
    if let Some(owner) = table.take("owner") {
        problems.unsupported(
            &owner.path,
            "\"owner\"",
            "remove it: a volume belongs to the pod's user",
        );
    }
    let mode =
        table.take("mode").map_or(Some(MountMode::ReadWrite), |place| mode(&place, problems));
    let disk = table.take("disk").and_then(|place| disk_kind(&place, problems));
    if let Some(profile) = table.take("profile") {
        problems.unsupported(
            &profile.path,
            "\"profile\"",
            "an offer does not say which profiles its disks satisfy: choose by kind, with disk: root, path or mount",
        );
    }
    table.refuse(
        &[
            "onRemove",
            "snapshot",
            "encrypt",
            "grow",
            "instances",
            "spread",
            "io",
            "tolerateLoss",
            "shared",
            "type",
        ],
        problems,
    );
    table.finish(problems);
    Some(Volume { name: name.to_owned(), size: size?, path: path?, disk, mode: mode? })
}

/// How tasks see a volume.
pub(super) fn mode(place: &Place<'_>, problems: &mut Problems) -> Option<MountMode> {
    let text = place.text_or_number(problems)?;
    match text.as_str() {
        "RW" => Some(MountMode::ReadWrite),
        "RO" => Some(MountMode::ReadOnly),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let remedy = "write RW or RO; berth volume set --mode says who may do what in a volume";
            problems.unsupported(&place.path, "the mode of a volume's directory", remedy);
            None
        },
        other => {
            problems.add(&place.path, format!("{other:?} is no mode"), "write RW or RO");
            None
        },
    }
}

fn disk_kind(place: &Place<'_>, problems: &mut Problems) -> Option<DiskKind> {
    let text = place.text(problems)?;
    let kinds = [DiskKind::Root, DiskKind::Path, DiskKind::Mount];
    let found = kinds.into_iter().find(|kind| kind.as_str() == text);
    if found.is_none() {
        let message = format!("{text:?} is no kind of disk");
        problems.add(&place.path, message, "write root, path or mount");
    }
    found
}

fn read_backoff(table: &mut Table<'_>, problems: &mut Problems) -> Backoff {
    let short = table.take("restart");
    let long = table.take("recovery").and_then(|place| {
        let mut recovery = Table::open(&place, problems);
        let restart = recovery.take("restart");
        recovery.refuse(&["replace"], problems);
        recovery.finish(problems);
        restart
    });
    if let (Some(short), Some(long)) = (&short, &long) {
        problems.add(&short.path, format!("also given as {}", long.path), "keep one of the two");
    }
    let Some(place) = long.or(short) else { return Backoff::default() };
    let mut restart = Table::open(&place, problems);
    let mut backoff = Backoff::default();
    if let Some(place) = restart.take("backoff") {
        let mut table = Table::open(&place, problems);
        let start = table.take("start").and_then(|place| place.duration(problems));
        let max = table.take("max").and_then(|place| place.duration(problems));
        backoff.start = start.unwrap_or(backoff.start);
        backoff.max = max.unwrap_or_else(|| backoff.max.max(backoff.start));
        if backoff.max < backoff.start {
            problems.add(
                &join(&place.path, "max"),
                "max is shorter than start",
                "make it at least as long",
            );
        }
        table.finish(problems);
    }
    restart.refuse(&["max", "per"], problems);
    restart.finish(problems);
    backoff
}

fn read_tasks(place: &Place<'_>, names: &Names<'_>, problems: &mut Problems) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    let found = entries(place, problems);
    let complete = found.len();
    for (name, node) in found {
        let path = join(&place.path, name);
        check_label(&path, "task", name, problems);
        tasks.extend(task::task(name, &Place { path, node }, names, problems));
    }
    let running: Vec<&str> = tasks
        .iter()
        .filter(|task| task.goal == Goal::Running)
        .map(|task| task.name.as_str())
        .collect();
    match running.as_slice() {
        [_] => {},
        [] if tasks.len() < complete => {},
        [] => problems.add(
            &place.path,
            "no task has goal: running",
            "give the pod one task with goal: running",
        ),
        [_, second, ..] => problems.unsupported(
            &join(&place.path, second),
            "a second task with goal: running in one pod",
            "make it a pod or a service of its own",
        ),
    }
    tasks.sort_by_key(|task| task.goal == Goal::Running);
    tasks
}
