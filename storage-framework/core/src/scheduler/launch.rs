//! From a pod's description to what is asked of an offer, and to the task that is launched.

use super::Scheduler;
use crate::document::{Check, Pod, Port, Program, Service, Task, Template, Variable};
use crate::evaluate::{Fit, LABEL_PLACE, LABEL_POD, LABEL_SERVICE, Need, PortWish, VolumeWish};
use crate::record::{Place, PlacedVolume, PodKey, Removal};
use berth_model::id::{TaskId, VolumeName, fingerprint};
use berth_model::reservation::Reservation;
use berth_model::resources::{Resource, Resources};
use berth_model::role::Role;
use berth_model::task;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names what a run belongs to while its task is built.
#[derive(Debug)]
pub(super) struct Naming<'a> {
    pub(super) service: &'a Service,
    pub(super) pod: &'a Pod,
    pub(super) key: &'a PodKey,
    pub(super) place: &'a Place,
}

impl Scheduler {
    /// The level on top of everything that is reserved for a place.
    pub(super) fn level(&self, role: &Role, key: &PodKey, number: u64) -> Reservation {
        let label = |name: &str, value: &str| (Arc::from(name), Arc::from(value));
        Reservation::dynamic(role.clone())
            .with_principal(self.config.principal.clone())
            .with_labels(vec![
                label(LABEL_SERVICE, &key.service),
                label(LABEL_POD, &key.instance()),
                label(LABEL_PLACE, &number.to_string()),
            ])
    }

    pub(super) fn need(&self, role: &Role, pod: &Pod, key: &PodKey, place: &Place) -> Need {
        let ports = pod.ports.iter().map(|(name, port)| {
            let wish = match (port, place.ports.get(name)) {
                (Port::Number(number), _) => PortWish::Exactly(u64::from(*number)),
                (Port::Auto, Some(number)) => PortWish::Near(*number),
                (Port::Auto, None) => {
                    PortWish::Near(fingerprint(format!("{key}/{name}").as_bytes()))
                },
            };
            (name.clone(), wish)
        });
        let volumes = pod.volumes.iter().filter_map(|volume| {
            let name = place.volumes.get(&volume.name)?.name.clone();
            let (size, disk) = (volume.size, volume.disk);
            Some(VolumeWish { name, size, disk, path: volume.path.clone() })
        });
        Need {
            role: role.clone(),
            level: self.level(role, key, place.number),
            cpu: pod.cpu,
            memory: pod.memory,
            ports: ports.collect(),
            volumes: volumes.collect(),
        }
    }
}

/// The names of a pod's volumes in one of its places.
pub(super) fn volume_names(pod: &Pod, key: &PodKey, number: u64) -> BTreeMap<String, PlacedVolume> {
    let suffix = if number > 1 { format!(".{number}") } else { String::new() };
    let named = pod.volumes.iter().map(|volume| {
        let text = format!("{}.{}.{}{suffix}", key.service, key.instance(), volume.name);
        let name = VolumeName::new(&text).expect("labels of 40 bytes at most, joined by dots");
        (volume.name.clone(), PlacedVolume { name, id: None, removal: Removal::None })
    });
    named.collect()
}

/// Does a volume of this name belong to the pod, in whichever of its places?
pub(super) fn is_volume_of(name: &VolumeName, key: &PodKey) -> bool {
    // Neither part has a dot in it, so that the prefix is the pod's alone.
    name.as_str().starts_with(&format!("{}.{}.", key.service, key.instance()))
}

pub(super) fn task_id(key: &PodKey, task: &str, number: u64) -> TaskId {
    let text = format!("{}.{}.{task}.{number}", key.service, key.instance());
    TaskId::new(&text).expect("labels of 40 bytes at most, joined by dots")
}

pub(super) fn task_info(naming: &Naming<'_>, task: &Task, id: TaskId, fit: Fit) -> task::TaskInfo {
    let fill = |template: &Template| template.fill(|variable| value(naming, task, variable));
    let program = |program: &Program| match program {
        Program::Shell(text) => task::Program::Shell(fill(text)),
        Program::Exec(items) => task::Program::Exec(items.iter().map(fill).collect()),
    };
    let check = |check: &Check| task::Check {
        program: program(&check.program),
        every: check.every,
        timeout: check.timeout,
        failures: check.failures,
        grace: check.grace,
    };
    let labels = [(LABEL_SERVICE, naming.key.service.clone()), (LABEL_POD, naming.key.instance())];
    task::TaskInfo {
        id,
        name: format!("{}.{}", naming.key.instance(), task.name),
        agent: naming.place.agent,
        resources: as_seen(naming, task, &fit.used),
        command: task::Command {
            program: program(&task.program),
            env: task.env.iter().map(|(name, value)| (name.clone(), fill(value))).collect(),
            user: naming.pod.user.clone(),
        },
        health: task.health.as_ref().map(check),
        readiness: task.readiness.as_ref().map(check),
        kill_grace: task.stop_grace,
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}

/// What the task uses, each volume in the mode in which it sees it.
fn as_seen(naming: &Naming<'_>, task: &Task, used: &Resources) -> Resources {
    let mode = |resource: &Resource| {
        let name = &resource.persistence()?.name;
        let mut placed = naming.place.volumes.iter();
        let (own, _) = placed.find(|(_, placed)| placed.name == *name)?;
        Some(naming.pod.mode(task, own))
    };
    let seen = used.iter().map(|mut resource| {
        let mode = mode(&resource);
        let disk = resource.disk.iter_mut();
        let mount = disk.filter_map(|disk| disk.mount.as_mut());
        mount.zip(mode).for_each(|(mount, mode)| mount.mode = mode);
        resource
    });
    Resources::from_list(seen).expect("the same resources add up as before")
}

fn value(naming: &Naming<'_>, task: &Task, variable: &Variable) -> String {
    match variable {
        Variable::ServiceName => naming.service.name.clone(),
        Variable::ServiceRole => naming.service.role.to_string(),
        Variable::PodName => naming.pod.name.clone(),
        Variable::InstanceName => naming.key.instance(),
        Variable::InstanceOrdinal => "0".to_owned(),
        Variable::InstanceHost => naming.place.hostname.clone(),
        Variable::TaskName => task.name.clone(),
        Variable::Port(name) => {
            naming.place.ports.get(name).map(u64::to_string).unwrap_or_default()
        },
        Variable::Volume(name) => {
            let volume = naming.pod.volumes.iter().find(|volume| volume.name == *name);
            volume.map(|volume| volume.path.clone()).unwrap_or_default()
        },
    }
}
