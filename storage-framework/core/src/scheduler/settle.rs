//! What follows from the state alone, looked at after every input: kills, timeouts, ends of deletions, wanted offers.
//!
//! Level, not edge: everything here may be repeated, and a lost message only delays it.

use super::ends::Want;
use super::{Link, Pending, Scheduler};
use crate::document::Goal;
use crate::record::{Phase, Place, PodKey, Record, Stop};
use berth_model::framework::Call;
use berth_model::role::Role;
use berth_model::task::TaskState;
use std::collections::BTreeSet;
use std::time::Duration;

/// Repeated until the end is heard of.
const KILL_EVERY: Duration = Duration::from_secs(10);
/// Asked again for runs of which nothing is known.
const RECONCILE_EVERY: Duration = Duration::from_secs(10);
/// Not more often, should the master refuse them.
const ROLES_EVERY: Duration = Duration::from_secs(1);
/// Forgets filters that hide what is wanted.
const REVIVE_EVERY: Duration = Duration::from_secs(30);

impl Scheduler {
    pub(super) fn settle(&mut self) {
        for key in self.state.keys() {
            self.stop_late(&key);
            self.stop_deleted(&key);
        }
        self.finish_deletions();
        if self.soft.link != Link::Up {
            return;
        }
        self.kill_stopping();
        self.tell_roles();
        self.ask_for_offers();
        if self.now.since(self.soft.reconciled) >= RECONCILE_EVERY {
            self.reconcile();
        }
    }

    fn stop_late(&mut self, key: &PodKey) {
        let Some(run) = self.state.pod(key).and_then(|pod| pod.run.as_ref()) else { return };
        let goal = self.pod_document(key).and_then(|pod| pod.task(&run.task)).map(|task| task.goal);
        let limit = match goal {
            Some(Goal::Once { timeout, .. }) => timeout,
            Some(Goal::Running) | None => None,
        };
        let late = limit.is_some_and(|limit| self.now.since(run.at) > limit);
        if late && run.stop.is_none() && run.started {
            let run = run.number;
            self.record(Record::Stopping { key: key.clone(), run, why: Stop::Timeout });
        }
    }

    fn stop_deleted(&mut self, key: &PodKey) {
        let Some(service) = self.state.services.get(&key.service) else { return };
        let deleting = matches!(service.phase, Phase::Deleting { .. });
        let run = service.pods.get(&key.pod).and_then(|pod| pod.run.as_ref());
        if let Some(run) = run.filter(|run| deleting && run.stop != Some(Stop::Delete)) {
            let run = run.number;
            self.record(Record::Stopping { key: key.clone(), run, why: Stop::Delete });
        }
    }

    fn finish_deletions(&mut self) {
        let names: Vec<String> = self.state.services.keys().cloned().collect();
        for name in names {
            let Some(service) = self.state.services.get(&name) else { continue };
            let Phase::Deleting { volumes } = service.phase else { continue };
            let pods = &service.pods;
            let placed = pods.values().any(|pod| pod.place.is_some());
            let done =
                pods.values().all(|pod| pod.run.is_none() && (pod.released || pod.place.is_none()));
            if !done {
                continue;
            }
            let has_volumes = service.document.pods.iter().any(|pod| !pod.volumes.is_empty());
            let mut places = pods.values().filter_map(|pod| pod.place.as_ref());
            let record = if volumes || !placed || !has_volumes || places.all(Place::is_bare) {
                Record::Forgotten { service: name }
            } else {
                Record::Kept { service: name }
            };
            self.record(record);
        }
    }

    fn kill_stopping(&mut self) {
        for key in self.state.keys() {
            let Some(pod) = self.state.pod(&key) else { continue };
            let Some(run) = pod.run.as_ref().filter(|run| run.stop.is_some()) else { continue };
            let recent = self.soft.killed.get(&run.number);
            if recent.is_some_and(|at| self.now.since(*at) < KILL_EVERY) {
                continue;
            }
            let agent = pod.place.as_ref().map(|place| place.agent);
            let (number, task) = (run.number, run.id.clone());
            self.soft.killed.insert(number, self.now);
            self.call(Call::Kill { task, agent, grace: None });
        }
    }

    /// The roles of everything that is not gone.
    pub(super) fn roles(&self) -> BTreeSet<Role> {
        let live = self.state.services.values().filter(|service| service.phase != Phase::Kept);
        live.map(|service| service.document.role.clone()).collect()
    }

    /// The roles whose offers are of use now.
    pub(super) fn wanted_roles(&self) -> BTreeSet<Role> {
        self.wanting().iter().filter_map(|key| self.role_of(key)).collect()
    }

    /// The pods that have a use for offers now.
    pub(super) fn wanting(&self) -> BTreeSet<PodKey> {
        let wants = |key: &PodKey| match self.want(key) {
            Some(Want::Launch | Want::Release) => true,
            None => self.is_missing(key),
        };
        self.state.keys().into_iter().filter(wants).collect()
    }

    fn role_of(&self, key: &PodKey) -> Option<Role> {
        Some(self.state.services.get(&key.service)?.document.role.clone())
    }

    /// A run the master does not know: an offer of its volumes would prove that it has ended.
    fn is_missing(&self, key: &PodKey) -> bool {
        let run = self.state.pod(key).and_then(|pod| pod.run.as_ref());
        let status = run.and_then(|run| self.soft.statuses.get(&run.number));
        status.is_some_and(|status| status.state == TaskState::Unknown)
    }

    fn tell_roles(&mut self) {
        let roles = self.roles();
        let recent = self.soft.roles_told.is_some_and(|at| self.now.since(at) < ROLES_EVERY);
        let asked = self.soft.pending.values().any(|pending| matches!(pending, Pending::Roles(_)));
        if roles == self.soft.roles || asked || recent {
            return;
        }
        self.soft.roles_told = Some(self.now);
        let number = self.call(Call::UpdateRoles(roles.clone()));
        for role in roles.difference(&self.soft.roles) {
            // A new role is offered for from the start.
            self.soft.revived.insert(role.clone(), self.now);
            self.soft.suppressed.remove(role);
        }
        self.soft.pending.insert(number, Pending::Roles(roles));
    }

    fn ask_for_offers(&mut self) {
        let wanting = self.wanting();
        // What a pod wants now may have been declined a moment ago, for another pod's sake.
        let fresh: BTreeSet<Role> =
            wanting.difference(&self.soft.wanting).filter_map(|key| self.role_of(key)).collect();
        let wanted: BTreeSet<Role> = wanting.iter().filter_map(|key| self.role_of(key)).collect();
        self.soft.wanting = wanting;
        let known = self.soft.roles.clone();
        for role in known.intersection(&self.roles()) {
            if wanted.contains(role) {
                let revived = self.soft.revived.get(role);
                let recent = revived.is_some_and(|at| self.now.since(*at) < REVIVE_EVERY);
                if recent && !fresh.contains(role) && !self.soft.suppressed.contains(role) {
                    continue;
                }
                self.soft.suppressed.remove(role);
                self.soft.revived.insert(role.clone(), self.now);
                self.call(Call::Revive(BTreeSet::from([role.clone()])));
            } else if self.soft.suppressed.insert(role.clone()) {
                self.call(Call::Suppress(BTreeSet::from([role.clone()])));
            }
        }
    }

    /// Asks for every run of which nothing certain is known in this session.
    pub(super) fn reconcile(&mut self) {
        self.soft.reconciled = self.now;
        let mut unsure = Vec::new();
        for key in self.state.keys() {
            let Some(pod) = self.state.pod(&key) else { continue };
            let Some(run) = &pod.run else { continue };
            let asked = |pending: &Pending| matches!(pending, Pending::Launch { run: of, .. } if *of == run.number);
            // Before the answer to its ACCEPT the master may say of a run that it does not know it.
            if self.soft.pending.values().any(asked) {
                continue;
            }
            let state = self.soft.statuses.get(&run.number).map(|status| status.state);
            let sure = self.soft.heard.contains(&run.number)
                && !matches!(state, Some(TaskState::Unreachable | TaskState::Unknown) | None);
            if !sure {
                unsure.push((run.id.clone(), pod.place.as_ref().map(|place| place.agent)));
            }
        }
        if !unsure.is_empty() {
            self.call(Call::Reconcile(unsure));
        }
    }
}
