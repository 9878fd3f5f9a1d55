//! What users ask for: documents, restarts, deletions.
//!
//! Invariant: a refused command changes nothing; a repeated one changes nothing more.

use super::{Command, Reply, Scheduler};
use crate::document::{DiskKind, Pod, Port, Service, Volume};
use crate::record::{Phase, PodKey, PodState, Record, Removal, ServiceState, Stop};
use berth_model::error::{ErrorCode, Rejection};

impl Scheduler {
    pub(super) fn command(&mut self, command: Command) -> Result<Reply, Rejection> {
        match command {
            Command::Apply { services, dry_run } => self.apply(services, dry_run),
            Command::Restart { service, instance } => self.restart(&service, instance.as_deref()),
            Command::Delete { service, volumes } => self.delete(&service, volumes),
        }
    }

    fn apply(&mut self, services: Vec<Service>, dry_run: bool) -> Result<Reply, Rejection> {
        let names: Vec<String> = services.iter().map(|service| service.name.clone()).collect();
        let mut changes = Vec::new();
        for service in &services {
            changes.extend(self.changes(service)?);
        }
        if !dry_run {
            for service in services {
                self.take(service);
            }
        }
        Ok(Reply::Applied { services: names, changes })
    }

    /// What taking the document would change, or why it cannot be taken.
    fn changes(&self, service: &Service) -> Result<Vec<String>, Rejection> {
        let name = &service.name;
        let Some(state) = self.state.services.get(name) else {
            return Ok(vec![format!("{name}: created with {}", instances(service))]);
        };
        match state.phase {
            Phase::Deleting { .. } => {
                let message = format!("service {name} is being deleted");
                return Err(Rejection::new(ErrorCode::ServiceNotReady, message)
                    .remedy("wait until it is gone, then apply the document again"));
            },
            Phase::Kept => {
                check_compatible(state, service)?;
                return Ok(vec![format!(
                    "{name}: created with {}, on the volumes that were kept",
                    instances(service)
                )]);
            },
            Phase::Active => {},
        }
        if state.document == *service {
            return Ok(vec![format!("{name}: no change")]);
        }
        check_compatible(state, service)?;
        let lines = service.pods.iter().filter_map(|pod| {
            let instance = format!("{}-0", pod.name);
            match state.document.pod(&pod.name) {
                None => Some(format!("{name}: pod {instance} added")),
                Some(old) if old.fingerprint() != pod.fingerprint() => {
                    Some(format!("{name}: pod {instance} changed, it will restart"))
                },
                Some(old) if old != pod => {
                    Some(format!("{name}: pod {instance} changed, without a restart"))
                },
                Some(_) => None,
            }
        });
        let lines: Vec<String> = lines.collect();
        Ok(if lines.is_empty() {
            vec![format!("{name}: changed, without a restart")]
        } else {
            lines
        })
    }

    fn take(&mut self, service: Service) {
        let state = self.state.services.get(&service.name);
        let same =
            state.is_some_and(|state| state.phase == Phase::Active && state.document == service);
        if same {
            return;
        }
        self.record(Record::Applied { document: service.clone() });
        for pod in &service.pods {
            let key = PodKey { service: service.name.clone(), pod: pod.name.clone() };
            self.soft.refusals.remove(&key);
            let run = self.state.pod(&key).and_then(|pod| pod.run.clone());
            if let Some(run) = run.filter(|run| run.config != pod.fingerprint()) {
                self.record(Record::Stopping { key, run: run.number, why: Stop::Update });
            }
        }
    }

    fn restart(&mut self, name: &str, instance: Option<&str>) -> Result<Reply, Rejection> {
        let state = self.active(name)?;
        let all: Vec<PodKey> = state
            .pods
            .keys()
            .map(|pod| PodKey { service: name.to_owned(), pod: pod.clone() })
            .collect();
        let chosen: Vec<PodKey> = all
            .iter()
            .filter(|key| instance.is_none_or(|wanted| key.instance() == wanted))
            .cloned()
            .collect();
        if chosen.is_empty() {
            let known: Vec<String> = all.iter().map(PodKey::instance).collect();
            let message = format!("service {name} has no pod {}", instance.unwrap_or_default());
            return Err(Rejection::new(ErrorCode::InvalidArgument, message)
                .field("pod")
                .remedy(format!("name one of {}", known.join(", "))));
        }
        for key in &chosen {
            let record = match self.state.pod(key).and_then(|pod| pod.run.as_ref()) {
                Some(run) if run.stop.is_some() => continue,
                Some(run) => {
                    Record::Stopping { key: key.clone(), run: run.number, why: Stop::Restart }
                },
                None => Record::Retry { key: key.clone() },
            };
            self.record(record);
        }
        Ok(Reply::Restarting { instances: chosen.iter().map(PodKey::instance).collect() })
    }

    fn active(&self, name: &str) -> Result<&ServiceState, Rejection> {
        let state = self.state.services.get(name).ok_or_else(|| unknown(name))?;
        match state.phase {
            Phase::Active => Ok(state),
            Phase::Deleting { .. } => {
                let message = format!("service {name} is being deleted");
                Err(Rejection::new(ErrorCode::ServiceNotReady, message)
                    .remedy("wait until it is gone, then apply its document again"))
            },
            Phase::Kept => Err(unknown(name).remedy(
                "it was deleted and its volumes were kept: apply its document to take them up again",
            )),
        }
    }

    fn delete(&mut self, name: &str, volumes: bool) -> Result<Reply, Rejection> {
        let state = self.state.services.get(name).ok_or_else(|| unknown(name))?;
        let kept_volumes = if volumes { Vec::new() } else { volume_names(state) };
        let wanted = Phase::Deleting { volumes };
        let done = state.phase == wanted || (state.phase == Phase::Kept && !volumes);
        if !done {
            self.record(Record::Deleting { service: name.to_owned(), volumes });
        }
        Ok(Reply::Deleting { kept_volumes })
    }
}

fn unknown(name: &str) -> Rejection {
    Rejection::new(ErrorCode::UnknownService, format!("no service is named {name}"))
        .remedy("berth service list shows all")
        .field("name")
}

fn instances(service: &Service) -> String {
    let names: Vec<String> = service.pods.iter().map(|pod| format!("{}-0", pod.name)).collect();
    format!("pod {}", names.join(", "))
}

fn volume_names(state: &ServiceState) -> Vec<String> {
    let places = state.pods.values().filter_map(|pod| pod.place.as_ref());
    let volumes = places.flat_map(|place| place.volumes.values());
    let left = volumes.filter(|volume| volume.removal != Removal::Gone);
    left.map(|volume| volume.name.to_string()).collect()
}

/// A change of what cannot change while volumes and reservations stay.
#[derive(Debug)]
struct Conflict {
    field: String,
    old: String,
    new: String,
}

/// Checks that only such things changed that can change while volumes and reservations stay.
fn check_compatible(state: &ServiceState, new: &Service) -> Result<(), Rejection> {
    let old = &state.document;
    let placed = |pod: &PodState| pod.place.is_some() || pod.run.is_some();
    let mut conflicts = Vec::new();
    if state.pods.values().any(placed) {
        differ(&mut conflicts, "role", old.role.to_string(), new.role.to_string());
    }
    for pod in &old.pods {
        let field = format!("pods.{}", pod.name);
        match new.pod(&pod.name) {
            None => differ(&mut conflicts, &field, "present".to_owned(), "absent".to_owned()),
            Some(changed) if state.pods.get(&pod.name).is_some_and(placed) => {
                compare_pods(&mut conflicts, &field, pod, changed);
            },
            Some(_) => {},
        }
    }
    refusal(&new.name, &conflicts)
}

fn differ(conflicts: &mut Vec<Conflict>, field: &str, old: String, new: String) {
    if old != new {
        conflicts.push(Conflict { field: field.to_owned(), old, new });
    }
}

fn compare_pods(conflicts: &mut Vec<Conflict>, field: &str, old: &Pod, new: &Pod) {
    let mut differ = |part: &str, old, new| differ(conflicts, &format!("{field}.{part}"), old, new);
    let volumes = |pod: &Pod| {
        let mut names: Vec<&str> = pod.volumes.iter().map(|volume| volume.name.as_str()).collect();
        names.sort_unstable();
        names.join(", ")
    };
    let ports = |pod: &Pod| {
        let ports = pod.ports.iter().map(|(name, port)| match port {
            Port::Auto => format!("{name}: auto"),
            Port::Number(number) => format!("{name}: {number}"),
        });
        ports.collect::<Vec<_>>().join(", ")
    };
    differ("volumes", volumes(old), volumes(new));
    for volume in &old.volumes {
        if let Some(changed) = new.volumes.iter().find(|other| other.name == volume.name) {
            let part = format!("volumes.{}.size", volume.name);
            differ(&part, volume.size.to_string(), changed.size.to_string());
            let disk = |volume: &Volume| volume.disk.map_or("any", DiskKind::as_str).to_owned();
            differ(&format!("volumes.{}.disk", volume.name), disk(volume), disk(changed));
        }
    }
    differ("resources.cpu", old.cpu.to_string(), new.cpu.to_string());
    differ("resources.memory", old.memory.to_string(), new.memory.to_string());
    differ("resources.ports", ports(old), ports(new));
}

/// One refusal for all of them; its field is the first one's.
fn refusal(service: &str, conflicts: &[Conflict]) -> Result<(), Rejection> {
    let Some(first) = conflicts.first() else { return Ok(()) };
    let lines: Vec<String> = conflicts
        .iter()
        .map(|Conflict { field, old, new }| format!("{field} from {old:?} to {new:?}"))
        .collect();
    let message = format!("service {service} cannot change {}", lines.join(", nor "));
    Err(Rejection::new(ErrorCode::ServiceConflict, message).field(&first.field).remedy(
        "put the old value back, or delete the service with its volumes and apply the document again",
    ))
}
