//! What the scheduler shows: services, pods, tasks, and why they wait.

use super::ends::is_done;
use super::{Link, Scheduler};
use crate::document::{Goal, Pod, Task};
use crate::record::{Ended, Phase, Place, PodKey, PodState, Removal, Run, Verdict};
use berth_model::id::{AgentId, FrameworkId, TaskId, VolumeId};
use berth_model::task::{TaskState, TaskStatus};
use berth_model::units::{Bytes, Timestamp, format_duration};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Whose its resources are.
    pub role: String,
    /// DEPLOYING, RUNNING, DEGRADED, WAITING or DELETING.
    pub state: &'static str,
    /// Its pods.
    pub pods: Vec<PodView>,
    /// The scheduler's id at the master.
    pub framework: Option<FrameworkId>,
    /// Counts its documents.
    pub version: u64,
    /// Its document in canonical form.
    pub document: String,
    /// Why it is in this state; empty when there is nothing to say.
    pub message: String,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// With its index.
    pub name: String,
    /// READY, RUNNING, STARTING, INITIALIZING, WAITING, BACKOFF, HELD, STOPPING, UNREACHABLE or RELEASING.
    pub state: &'static str,
    /// Its machine.
    pub agent: Option<AgentId>,
    /// The machine's name; empty without one.
    pub hostname: String,
    /// Its volumes.
    pub volumes: Vec<VolumeView>,
    /// Its tasks, in the order they run.
    pub tasks: Vec<TaskView>,
    /// The numbers behind its ports, by name; empty without a place.
    pub ports: BTreeMap<String, u16>,
    /// Why it waits.
    pub message: String,
}

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeView {
    /// In the cluster, or in the document before it has a place.
    pub name: String,
    /// Its id, when known.
    pub id: Option<VolumeId>,
    /// How large.
    pub size: Bytes,
}

/// A task of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// Its name in the pod.
    pub name: String,
    /// RUNNING or FINISHED.
    pub goal: &'static str,
    /// PENDING, or a task state of the cluster.
    pub state: &'static str,
    /// Its latest run.
    pub id: Option<TaskId>,
    /// Its process on the agent.
    pub pid: Option<u32>,
    /// Of the readiness check.
    pub ready: Option<bool>,
    /// Of the health check.
    pub healthy: Option<bool>,
    /// Launches after the first.
    pub restarts: u64,
    /// In words.
    pub message: String,
    /// Since when it is in this state.
    pub since: Timestamp,
}

impl Scheduler {
    /// Every service that is not gone, by name.
    #[must_use]
    pub fn views(&self) -> Vec<ServiceView> {
        self.state.services.keys().filter_map(|name| self.view(name)).collect()
    }

    /// The service of this name, unless it is gone.
    #[must_use]
    pub fn view(&self, name: &str) -> Option<ServiceView> {
        let service =
            self.state.services.get(name).filter(|service| service.phase != Phase::Kept)?;
        let pods: Vec<PodView> = service
            .document
            .pods
            .iter()
            .filter_map(|pod| {
                let key = PodKey { service: name.to_owned(), pod: pod.name.clone() };
                Some(self.pod_view(&key, pod, self.state.pod(&key)?))
            })
            .collect();
        let deployed: BTreeSet<String> = service
            .pods
            .iter()
            .filter(|(_, pod)| pod.deployed)
            .map(|(pod, _)| PodKey { service: name.to_owned(), pod: pod.clone() }.instance())
            .collect();
        let state = service_state(service.phase, &pods, |pod| deployed.contains(&pod.name));
        let message = pods
            .iter()
            .filter(|pod| !pod.message.is_empty())
            .map(|pod| format!("{}: {}", pod.name, pod.message))
            .collect::<Vec<_>>()
            .join("; ");
        Some(ServiceView {
            name: name.to_owned(),
            role: service.document.role.to_string(),
            state,
            pods,
            framework: self.state.framework.clone(),
            version: service.version,
            document: service.document.to_json(),
            message,
        })
    }

    fn pod_view(&self, key: &PodKey, document: &Pod, pod: &PodState) -> PodView {
        let (state, message) = self.pod_state(key, document, pod);
        let place = pod.place.as_ref();
        let volumes = document.volumes.iter().map(|volume| {
            let placed = place.and_then(|place| place.volumes.get(&volume.name));
            let name = placed.map_or_else(|| volume.name.clone(), |placed| placed.name.to_string());
            VolumeView { name, id: placed.and_then(|placed| placed.id), size: volume.size }
        });
        PodView {
            name: key.instance(),
            state,
            agent: place.map(|place| place.agent),
            hostname: place.map(|place| place.hostname.clone()).unwrap_or_default(),
            volumes: volumes.collect(),
            tasks: document.tasks.iter().map(|task| self.task_view(document, pod, task)).collect(),
            ports: place.map(ports).unwrap_or_default(),
            message,
        }
    }

    fn pod_state(&self, key: &PodKey, document: &Pod, pod: &PodState) -> (&'static str, String) {
        if let Some(run) = &pod.run {
            return self.run_state(document, run, self.soft.statuses.get(&run.number));
        }
        let deleting = self.state.services.get(&key.service).map(|service| service.phase);
        if let Some(Phase::Deleting { .. }) = deleting {
            return ("RELEASING", self.release_message(key, pod));
        }
        if let Some(task) = &pod.held {
            let message = format!(
                "nobody knows whether {task} did its work, which may be done only once: see to it, then berth service restart {}",
                key.service
            );
            return ("HELD", message);
        }
        let ended = pod
            .ended
            .as_ref()
            .filter(|ended| ended.verdict != Verdict::Stopped && pod.failures > 0);
        let until = self.not_before(key);
        if until > self.now {
            // In whole seconds, so that watchers are not woken by every tick.
            let pause = until.since(self.now) + Duration::from_millis(999);
            let pause = format_duration(Duration::from_secs(pause.as_secs()));
            let after = ended.map(|ended| format!(" after: {}", last_words(ended)));
            return ("BACKOFF", format!("trying again in {pause}{}", after.unwrap_or_default()));
        }
        ("WAITING", self.wait_message(key, pod.place.as_ref(), ended))
    }

    fn run_state(
        &self,
        document: &Pod,
        run: &Run,
        status: Option<&TaskStatus>,
    ) -> (&'static str, String) {
        let state = status.map(|status| status.state);
        if state == Some(TaskState::Unreachable) {
            return (
                "UNREACHABLE",
                "the agent is unreachable; its task may still run: waiting for the agent"
                    .to_owned(),
            );
        }
        if state == Some(TaskState::Unknown) {
            return (
                "UNREACHABLE",
                "the master does not know the task: waiting for its agent".to_owned(),
            );
        }
        if run.stop.is_some() {
            return ("STOPPING", String::new());
        }
        let words = status.map(|status| status.message.clone()).unwrap_or_default();
        let once = document.task(&run.task).is_some_and(|task| task.goal != Goal::Running);
        if once {
            return ("INITIALIZING", words);
        }
        match (state, status.and_then(|status| status.ready)) {
            (Some(TaskState::Running), Some(true)) => ("READY", String::new()),
            (Some(TaskState::Running), Some(false) | None) => {
                ("RUNNING", "not ready yet".to_owned())
            },
            (Some(_) | None, _) => ("STARTING", words),
        }
    }

    fn release_message(&self, key: &PodKey, pod: &PodState) -> String {
        let refused = self.soft.release_refused.get(key).into_iter().flatten();
        let refused = refused.map(|(given, refused)| format!("{given}: {}; ", refused.why));
        let error = self.soft.release_errors.get(key).map(|error| format!("{error}; "));
        let error: String = refused.chain(error).collect();
        let Some(place) = pod.place.as_ref().filter(|_| !pod.released) else { return error };
        let phase = self.state.services.get(&key.service).map(|service| service.phase);
        let with_volumes = phase == Some(Phase::Deleting { volumes: true });
        let left = place.volumes.values().filter(|volume| volume.removal != Removal::Gone);
        let left: Vec<String> = left.map(|volume| volume.name.to_string()).collect();
        let agent = self.agent_name(place);
        let keep = format!("berth service delete {} ends the service without it", key.service);
        match place.owed_mib {
            _ if with_volumes && !left.is_empty() => {
                format!(
                    "{error}waiting for {agent} to remove volume {} ({keep})",
                    left.join(", volume ")
                )
            },
            owed if with_volumes && owed > 0 => format!(
                "{error}waiting for {agent} to give back {} of disk, which it does not offer while the disk is cordoned or faulty: see berth disk health ({keep})",
                Bytes::from_mib(owed)
            ),
            _ => format!("{error}waiting for {agent} to give back what is reserved there"),
        }
    }

    fn agent_name(&self, place: &Place) -> String {
        let away = if self.soft.unreachable.contains(&place.agent) {
            ", which is unreachable"
        } else {
            ""
        };
        format!("agent {} ({}){away}", place.hostname, place.agent)
    }

    fn wait_message(&self, key: &PodKey, place: Option<&Place>, ended: Option<&Ended>) -> String {
        let refusals = self.soft.refusals.get(key);
        let reason = match place {
            _ if self.soft.link != Link::Up => "not connected to the master".to_owned(),
            Some(place) => {
                let refusal = refusals.and_then(|refusals| refusals.get(&place.hostname));
                let away = self.soft.unreachable.contains(&place.agent);
                if let Some(ended) = ended.filter(|_| refusal.is_none() && !away) {
                    // Its machine is there: the next offer, which is about to come, will do.
                    return format!("trying again now after: {}", last_words(ended));
                }
                self.wait_for(place, refusal)
            },
            None => match refusals {
                None => "waiting for an offer".to_owned(),
                Some(refusals) => {
                    let lines: Vec<String> =
                        refusals.iter().map(|(host, reason)| format!("{host}: {reason}")).collect();
                    format!("no offer fits: {}", lines.join("; "))
                },
            },
        };
        match ended {
            Some(ended) => format!("{}; {reason}", last_words(ended)),
            None => reason,
        }
    }

    fn wait_for(&self, place: &Place, refusal: Option<&String>) -> String {
        let volumes: Vec<String> =
            place.volumes.values().map(|volume| volume.name.to_string()).collect();
        let refusal =
            refusal.map(|reason| format!(" (its latest offer: {reason})")).unwrap_or_default();
        let volumes = volumes.join(", ");
        format!("waiting for {}, where {volumes} lies{refusal}", self.agent_name(place))
    }

    fn task_view(&self, document: &Pod, pod: &PodState, task: &Task) -> TaskView {
        let server = task.goal == Goal::Running;
        let done = is_done(document, pod, task);
        let launches = if server { Some(&pod.launches) } else { pod.tries.get(&task.name) };
        let mut view = TaskView {
            name: task.name.clone(),
            goal: if server { "running" } else { "once" },
            state: if done { TaskState::Finished.as_str() } else { "PENDING" },
            id: None,
            pid: None,
            ready: None,
            healthy: None,
            restarts: launches.map_or(0, |launches| launches.saturating_sub(1)),
            message: String::new(),
            since: Timestamp::default(),
        };
        if let Some(run) = pod.run.as_ref().filter(|run| run.task == task.name) {
            let status = self.soft.statuses.get(&run.number);
            let running = status.filter(|status| status.state == TaskState::Running);
            view.id = Some(run.id.clone());
            view.state = status.map_or(TaskState::Staging, |status| status.state).as_str();
            view.pid = status.and_then(|status| status.pid);
            // What a check said before the task was lost from sight, or began to end, holds no more.
            view.ready = running.and_then(|status| status.ready);
            view.healthy = running.and_then(|status| status.healthy);
            view.message = status.map(|status| status.message.clone()).unwrap_or_default();
            view.since = status.map_or(run.at, |status| status.at);
        } else if let Some(ended) = pod.ended.as_ref().filter(|ended| ended.task == task.name) {
            // That it finished is its state already.
            if !done {
                view.message.clone_from(&ended.message);
            }
            view.since = ended.at;
        }
        view
    }
}

fn ports(place: &Place) -> BTreeMap<String, u16> {
    let number =
        |(name, number): (&String, &u64)| Some((name.clone(), u16::try_from(*number).ok()?));
    place.ports.iter().filter_map(number).collect()
}

fn last_words(ended: &Ended) -> String {
    format!("{} ended ({})", ended.task, ended.message)
}

fn service_state(
    phase: Phase,
    pods: &[PodView],
    deployed: impl Fn(&PodView) -> bool,
) -> &'static str {
    if phase != Phase::Active {
        return "DELETING";
    }
    let mut unready = pods.iter().filter(|pod| pod.state != "READY").peekable();
    if unready.peek().is_none() {
        return "RUNNING";
    }
    let any = |states: &[&str]| pods.iter().any(|pod| states.contains(&pod.state));
    if any(&["WAITING", "HELD"]) {
        "WAITING"
    } else if unready.any(deployed) {
        "DEGRADED"
    } else if any(&["UNREACHABLE"]) {
        "WAITING"
    } else {
        "DEPLOYING"
    }
}
