//! What the scheduler last showed, after the commit before it; readers never touch the engine.

use berth_framework_core::scheduler::{PodView, ServiceView, TaskView};
use berth_proto::service::v1;
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct Views {
    now: watch::Sender<Arc<Vec<ServiceView>>>,
}

impl Views {
    pub(super) fn new(views: Vec<ServiceView>) -> Self {
        Self { now: watch::Sender::new(Arc::new(views)) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Vec<ServiceView>>> {
        self.now.subscribe()
    }

    /// Wakes readers when anything differs.
    pub(super) fn publish(&self, views: Vec<ServiceView>) {
        self.now.send_if_modified(|shown| {
            let changed = **shown != views;
            if changed {
                *shown = Arc::new(views);
            }
            changed
        });
    }
}

pub(super) fn message(view: &ServiceView, with_document: bool) -> v1::ServiceView {
    v1::ServiceView {
        name: view.name.clone(),
        role: view.role.clone(),
        state: view.state.to_owned(),
        pods: view.pods.iter().map(pod).collect(),
        framework_id: view.framework.as_ref().map(ToString::to_string).unwrap_or_default(),
        config_version: view.version,
        document: with_document.then(|| view.document.clone()),
        message: view.message.clone(),
    }
}

fn pod(view: &PodView) -> v1::PodView {
    let volumes = view.volumes.iter().map(|volume| v1::PodVolumeView {
        name: volume.name.clone(),
        volume_id: volume.id.map(|id| id.to_string()),
        size_bytes: volume.size.get(),
    });
    v1::PodView {
        name: view.name.clone(),
        index: 0,
        state: view.state.to_owned(),
        agent_id: view.agent.map(|agent| agent.to_string()),
        hostname: view.hostname.clone(),
        volumes: volumes.collect(),
        tasks: view.tasks.iter().map(task).collect(),
        message: view.message.clone(),
        ports: view.ports.iter().map(|(name, number)| (name.clone(), u32::from(*number))).collect(),
    }
}

fn task(view: &TaskView) -> v1::PodTaskView {
    v1::PodTaskView {
        name: view.name.clone(),
        goal: view.goal.to_owned(),
        state: view.state.to_owned(),
        task_id: view.id.as_ref().map(ToString::to_string),
        pid: view.pid,
        ready: view.ready,
        healthy: view.healthy,
        restarts: view.restarts,
        message: view.message.clone(),
        since_ms: view.since.ms(),
    }
}
