//! Ends of runs, and when the next one may begin.

use super::Scheduler;
use crate::document::{Goal, Pod, Scope, Task};
use crate::record::{Ended, Phase, PodKey, PodState, Record, Run, Verdict};
use berth_model::units::Timestamp;

/// What a pod wants of offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Launch,
    Release,
}

impl Scheduler {
    pub(super) fn end(&mut self, key: &PodKey, run: &Run, verdict: Verdict, message: String) {
        self.soft.statuses.remove(&run.number);
        self.soft.heard.remove(&run.number);
        self.soft.killed.remove(&run.number);
        self.soft.refusals.remove(key);
        let ended = Ended { task: run.task.clone(), at: self.now, verdict, message };
        self.record(Record::Ended { key: key.clone(), run: run.number, ended });
    }

    /// The pod's description.
    pub(super) fn pod_document(&self, key: &PodKey) -> Option<&Pod> {
        self.state.services.get(&key.service)?.document.pod(&key.pod)
    }

    pub(super) fn is_releasing(&self, key: &PodKey) -> bool {
        self.want(key) == Some(Want::Release)
    }

    pub(super) fn want(&self, key: &PodKey) -> Option<Want> {
        let service = self.state.services.get(&key.service)?;
        let pod = service.pods.get(&key.pod)?;
        if pod.run.is_some() {
            return None;
        }
        match service.phase {
            Phase::Active => {
                (pod.held.is_none() && self.not_before(key) <= self.now).then_some(Want::Launch)
            },
            Phase::Deleting { .. } => {
                (!pod.released && pod.place.is_some()).then_some(Want::Release)
            },
            Phase::Kept => None,
        }
    }

    /// Before this time a pod that failed is not started again.
    pub(super) fn not_before(&self, key: &PodKey) -> Timestamp {
        let pod = self.state.pod(key);
        let ended = pod.and_then(|pod| Some((pod.failures, pod.ended.as_ref()?.at)));
        match (ended, self.pod_document(key)) {
            (Some((failures, at)), Some(document)) => at.after(document.backoff.after(failures)),
            (Some(_), None) | (None, _) => Timestamp::default(),
        }
    }
}

/// The task a pod has to run next.
pub(super) fn next_task<'d>(document: &'d Pod, pod: &PodState) -> Option<&'d Task> {
    document.tasks.iter().find(|task| !is_done(document, pod, task))
}

/// Has a one-shot task done its work?
pub(super) fn is_done(document: &Pod, pod: &PodState, task: &Task) -> bool {
    match task.goal {
        Goal::Running => false,
        Goal::Once { scope: Scope::Service, .. } => pod.done_service.contains(&task.name),
        Goal::Once { scope: Scope::Volume, .. } => pod.done_volume.contains(&task.name),
        Goal::Once { scope: Scope::Config, .. } => {
            pod.done_config.get(&task.name) == Some(&document.fingerprint())
        },
    }
}
