//! The fold: one record applied to the state. It cannot fail.

use super::{
    Ended, Phase, Place, PodKey, PodState, Record, Removal, Run, ServiceState, State, Verdict,
};
use crate::document::{Goal, Scope, Service, Task};
use berth_model::units::Timestamp;
use std::time::Duration;

/// A run this long makes earlier failures history.
const STABLE: Duration = Duration::from_mins(1);

impl State {
    /// Applies one record.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Whole(state) => *self = (**state).clone(),
            Record::Framework { id } => self.framework = Some(id.clone()),
            Record::FrameworkLost { at } => self.framework_lost(*at),
            Record::Applied { document } => self.take_document(document),
            Record::Launching { key, place, run } => self.launch(key, place, run),
            Record::VolumeNamed { key, place, volume, id } => {
                let place = self.place_mut(key).filter(|now| now.number == *place);
                if let Some(volume) = place.and_then(|place| place.volumes.get_mut(volume)) {
                    volume.id = Some(*id);
                }
            },
            Record::Destroying { key, place, volume, mib } => {
                let place = self.place_mut(key).filter(|now| now.number == *place);
                if let Some(volume) = place.and_then(|place| place.volumes.get_mut(volume))
                    && volume.removal != Removal::Gone
                {
                    volume.removal = Removal::Asked { mib: *mib };
                }
            },
            Record::VolumeGone { key, place, volume } => {
                let place = self.place_mut(key).filter(|now| now.number == *place);
                let Some(place) = place else { return };
                let Some(volume) = place.volumes.get_mut(volume) else { return };
                if let Removal::Asked { mib } =
                    std::mem::replace(&mut volume.removal, Removal::Gone)
                {
                    place.owed_mib = place.owed_mib.saturating_add(mib);
                }
            },
            Record::DiskReturned { key, place, mib } => {
                if let Some(place) = self.place_mut(key).filter(|now| now.number == *place) {
                    place.return_disk(*mib);
                }
            },
            Record::Started { key, run } => {
                let Some(pod) = self.pod_mut(key) else { return };
                if let Some(live) = pod.run.as_mut().filter(|live| live.number == *run) {
                    live.started = true;
                    pod.place.iter_mut().for_each(|place| place.confirmed = true);
                }
            },
            Record::Ready { key, run } => {
                let Some(pod) = self.pod_mut(key) else { return };
                pod.deployed |= pod.run.as_ref().is_some_and(|live| live.number == *run);
            },
            Record::Stopping { key, run, why } => {
                let run = self
                    .pod_mut(key)
                    .and_then(|pod| pod.run.as_mut())
                    .filter(|live| live.number == *run);
                if let Some(live) = run {
                    live.stop = Some(*why);
                }
            },
            Record::Ended { key, run, ended } => self.end(key, *run, ended),
            Record::Voided { key, place, renamed } => {
                let Some(pod) = self.pod_mut(key) else { return };
                if pod.place.as_ref().is_some_and(|now| now.number == *place) {
                    pod.place = None;
                    pod.done_volume.clear();
                    pod.next_place = place + u64::from(*renamed);
                }
            },
            Record::Retry { key } => {
                if let Some(pod) = self.pod_mut(key) {
                    pod.failures = 0;
                    pod.held = None;
                }
            },
            Record::Deleting { service, volumes } => {
                if let Some(state) = self.services.get_mut(service) {
                    state.phase = Phase::Deleting { volumes: *volumes };
                    state.pods.values_mut().for_each(|pod| pod.released = false);
                }
            },
            Record::Released { key } => {
                if let Some(pod) = self.pod_mut(key) {
                    pod.released = true;
                }
            },
            Record::Kept { service } => {
                if let Some(state) = self.services.get_mut(service) {
                    state.phase = Phase::Kept;
                }
            },
            Record::Forgotten { service } => drop(self.services.remove(service)),
        }
    }

    fn framework_lost(&mut self, at: Timestamp) {
        self.framework = None;
        for key in self.keys() {
            let Some(run) = self.pod(&key).and_then(|pod| pod.run.clone()) else { continue };
            let verdict = if run.started { Verdict::Unknown } else { Verdict::NeverStarted };
            let message = "the framework was removed from the master".to_owned();
            let ended = Ended { task: run.task.clone(), at, verdict, message };
            self.end(&key, run.number, &ended);
        }
    }

    fn pod_mut(&mut self, key: &PodKey) -> Option<&mut PodState> {
        self.services.get_mut(&key.service)?.pods.get_mut(&key.pod)
    }

    fn place_mut(&mut self, key: &PodKey) -> Option<&mut Place> {
        self.pod_mut(key)?.place.as_mut()
    }

    fn take_document(&mut self, document: &Service) {
        let state = self.services.entry(document.name.clone()).or_insert_with(|| ServiceState {
            document: document.clone(),
            version: 0,
            phase: Phase::Active,
            pods: Default::default(),
        });
        let anew = state.phase == Phase::Kept;
        state.document = document.clone();
        state.version += 1;
        state.phase = Phase::Active;
        for pod in &document.pods {
            let pod = state
                .pods
                .entry(pod.name.clone())
                .or_insert_with(|| PodState { next_place: 1, ..PodState::default() });
            pod.released = false;
            pod.failures = 0;
            pod.deployed &= !anew;
        }
    }

    fn task(&self, key: &PodKey, name: &str) -> Option<&Task> {
        self.services.get(&key.service)?.document.pod(&key.pod)?.task(name)
    }

    fn launch(&mut self, key: &PodKey, place: &Place, run: &Run) {
        let server = self.task(key, &run.task).is_some_and(|task| task.goal == Goal::Running);
        self.runs = self.runs.max(run.number);
        let Some(pod) = self.pod_mut(key) else { return };
        pod.place = Some(place.clone());
        pod.run = Some(run.clone());
        if server {
            pod.launches += 1;
        } else {
            *pod.tries.entry(run.task.clone()).or_default() += 1;
        }
    }

    fn end(&mut self, key: &PodKey, run: u64, ended: &Ended) {
        let goal = self.task(key, &ended.task).map(|task| task.goal);
        let Some(pod) = self.pod_mut(key) else { return };
        let Some(run) = pod.run.take_if(|live| live.number == run) else { return };
        let scope = match goal {
            Some(Goal::Once { scope, .. }) => Some(scope),
            Some(Goal::Running) | None => None,
        };
        match (ended.verdict, scope) {
            (Verdict::Succeeded, Some(scope)) => {
                match scope {
                    Scope::Service => drop(pod.done_service.insert(run.task.clone())),
                    Scope::Volume => drop(pod.done_volume.insert(run.task.clone())),
                    Scope::Config => drop(pod.done_config.insert(run.task.clone(), run.config)),
                }
                pod.failures = 0;
            },
            (Verdict::Stopped, _) => pod.failures = 0,
            (Verdict::Unknown, Some(Scope::Service)) => pod.held = Some(run.task.clone()),
            (Verdict::Succeeded, None)
            | (Verdict::Failed | Verdict::NeverStarted | Verdict::Unknown, _) => {
                let stable = run.started && ended.at.since(run.at) >= STABLE;
                pod.failures = if stable { 1 } else { pod.failures.saturating_add(1) };
            },
        }
        if ended.verdict == Verdict::NeverStarted {
            let count = match scope {
                Some(_) => pod.tries.entry(run.task).or_default(),
                None => &mut pod.launches,
            };
            *count = count.saturating_sub(1);
        }
        pod.ended = Some(ended.clone());
    }
}
