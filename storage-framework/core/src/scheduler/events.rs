//! What the master says: sessions, statuses, answers, operations.

use super::{Creating, Link, Pending, Scheduler};
use crate::document::Goal;
use crate::record::{Place, PodKey, Record, Run, Stop, Verdict};
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework::{Call, Event, FrameworkInfo};
use berth_model::id::{FrameworkId, OperationId};
use berth_model::operation::{OperationRecord, OperationState};
use berth_model::role::Role;
use berth_model::task::{TaskReason, TaskState, TaskStatus};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Scheduler {
    pub(super) fn connected(&mut self) {
        self.forget_session();
        self.soft.link = Link::Subscribing;
        let roles = self.roles();
        let wanted = self.wanted_roles();
        let suppressed: BTreeSet<Role> = roles.difference(&wanted).cloned().collect();
        self.soft.roles = roles.clone();
        self.soft.suppressed = suppressed.clone();
        self.soft.wanting = self.wanting();
        self.soft.revived = wanted.into_iter().map(|role| (role, self.now)).collect();
        let info = FrameworkInfo {
            name: Arc::from(self.config.name.as_str()),
            user: Arc::from(self.config.user.as_str()),
            roles,
            principal: self.config.principal.clone(),
            failover_timeout: self.config.failover_timeout,
            url: Arc::from(self.config.url.as_str()),
            hostname: Arc::from(self.config.hostname.as_str()),
            capabilities: BTreeSet::new(),
        };
        let framework = self.state.framework.clone();
        self.call(Call::Subscribe { info, framework, suppressed });
    }

    pub(super) fn disconnected(&mut self) {
        self.forget_session();
    }

    fn forget_session(&mut self) {
        self.soft.link = Link::Down;
        self.soft.calls = 0;
        self.soft.roles_told = None;
        self.soft.pending.clear();
        self.soft.heard.clear();
        self.soft.killed.clear();
        self.soft.refusals.clear();
        self.soft.empty_since.clear();
        self.soft.releasing.clear();
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Subscribed { framework, epoch: _, heartbeat: _ } => self.subscribed(framework),
            Event::Offers(offers) => self.take_offers(offers),
            // Offers are used or declined in the step that brings them; an ACCEPT that lost gets its answer.
            // It commits by offers only.
            Event::Rescind(_) | Event::Heartbeat | Event::Committed { .. } => {},
            Event::Status(status) => self.status(&status),
            Event::Operation(record) => self.operation(record),
            Event::AgentLost(agent) => drop(self.soft.unreachable.insert(agent)),
            Event::Error(rejection) => self.session_error(&rejection),
            Event::Answered { call, result } => self.answered(call, result),
        }
    }

    fn subscribed(&mut self, framework: FrameworkId) {
        self.soft.link = Link::Up;
        if self.state.framework.as_ref() != Some(&framework) {
            self.record(Record::Framework { id: framework });
        }
        self.call(Call::Reconcile(Vec::new()));
        self.reconcile();
    }

    fn session_error(&mut self, rejection: &Rejection) {
        self.soft.link = Link::Down;
        if rejection.code == ErrorCode::FrameworkRemoved && self.state.framework.is_some() {
            self.record(Record::FrameworkLost { at: self.now });
        }
    }

    fn answered(&mut self, call: u64, result: Result<Vec<OperationId>, Rejection>) {
        for id in result.iter().flatten() {
            self.soft.creating.entry(*id).and_modify(|creating| creating.accepted = true);
        }
        let Some(pending) = self.soft.pending.remove(&call) else { return };
        match (pending, result) {
            (Pending::Launch { .. }, Ok(_)) => {},
            (Pending::Launch { key, run, place }, Err(rejection)) => {
                self.launch_refused(&key, run, place, &rejection);
            },
            (Pending::Release { key, .. }, Ok(_)) => drop(self.soft.release_errors.remove(&key)),
            (Pending::Release { key, operations }, Err(rejection)) => {
                // None of them was taken in, whatever is said of each.
                self.soft.releasing.retain(|id, _| !operations.contains(id));
                self.soft.release_errors.insert(key, rejection.to_string());
            },
            (Pending::Roles(roles), Ok(_)) => self.soft.roles = roles,
            (Pending::Roles(_), Err(_)) => {},
        }
    }

    fn launch_refused(&mut self, key: &PodKey, run: u64, place: u64, rejection: &Rejection) {
        if let Some(live) = self.live_run(key, run) {
            self.end(key, &live, Verdict::NeverStarted, rejection.to_string());
        }
        let Some(pod) = self.state.pod(key).filter(|pod| pod.run.is_none()) else { return };
        // The call did nothing; with no earlier attempt here, there is nothing here.
        let nothing = |now: &Place| now.number == place && !now.confirmed && now.attempts <= 1;
        if pod.place.as_ref().is_some_and(nothing) {
            self.record(Record::Voided { key: key.clone(), place, renamed: false });
        }
    }

    fn operation(&mut self, record: OperationRecord) {
        if !record.state.is_final() {
            self.soft.creating.entry(record.id).and_modify(|creating| creating.accepted = true);
            return;
        }
        if let Some(releasing) = self.soft.releasing.remove(&record.id) {
            return self.release_ended(releasing, record.state);
        }
        let Some(creating) = self.soft.creating.remove(&record.id) else { return };
        match record.state {
            OperationState::Accepted => {},
            OperationState::Done => {
                let Creating { key, place, volume, accepted: _ } = creating;
                if let Some(id) = record.volumes.first().copied() {
                    self.record(Record::VolumeNamed { key, place, volume, id });
                }
            },
            OperationState::Failed(rejection) => self.create_failed(&creating, &rejection),
        }
    }

    /// A volume will not come to be: the pod starts over, elsewhere if need be.
    fn create_failed(&mut self, creating: &Creating, rejection: &Rejection) {
        let Creating { key, place, volume: _, accepted } = creating;
        let Some(pod) = self.state.pod(key) else { return };
        let here = |now: &Place| now.number == *place && !now.confirmed;
        let Some(attempts) = pod.place.as_ref().filter(|now| here(now)).map(|now| now.attempts)
        else {
            return;
        };
        if let Some(run) = pod.run.clone() {
            self.end(key, &run, Verdict::NeverStarted, rejection.to_string());
        }
        // A CREATE that was refused says nothing about an earlier one of which nothing was heard.
        if *accepted || attempts <= 1 {
            self.record(Record::Voided { key: key.clone(), place: *place, renamed: *accepted });
        }
    }

    /// The run, when it is the pod's live one.
    pub(super) fn live_run(&self, key: &PodKey, run: u64) -> Option<Run> {
        self.state.pod(key)?.run.clone().filter(|live| live.number == run)
    }

    fn status(&mut self, status: &TaskStatus) {
        let owner = self.state.keys().into_iter().find_map(|key| {
            let run = self.state.pod(&key)?.run.clone()?;
            (run.id == status.task).then_some((key, run))
        });
        match owner {
            Some((key, run)) => self.run_status(&key, &run, status),
            None => self.stray_status(status),
        }
        if let (Some(agent), Some(id)) = (status.agent, status.id) {
            self.call(Call::Acknowledge { agent, task: status.task.clone(), status: id });
        }
    }

    /// A task that no pod has: it is left over, and must not hold resources.
    fn stray_status(&mut self, status: &TaskStatus) {
        let alive = match status.state {
            TaskState::Staging | TaskState::Starting | TaskState::Running => true,
            TaskState::Killing | TaskState::Unreachable | TaskState::Unknown => false,
            TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Lost
            | TaskState::Error
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator => false,
        };
        if alive {
            self.call(Call::Kill { task: status.task.clone(), agent: status.agent, grace: None });
        }
    }

    fn run_status(&mut self, key: &PodKey, run: &Run, status: &TaskStatus) {
        self.soft.heard.insert(run.number);
        if let Some(agent) = status.agent {
            match status.state {
                TaskState::Unreachable => drop(self.soft.unreachable.insert(agent)),
                TaskState::Starting | TaskState::Running | TaskState::Killing => {
                    self.soft.unreachable.remove(&agent);
                },
                TaskState::Staging
                | TaskState::Finished
                | TaskState::Failed
                | TaskState::Killed
                | TaskState::Lost
                | TaskState::Error
                | TaskState::Dropped
                | TaskState::Gone
                | TaskState::GoneByOperator
                | TaskState::Unknown => {},
            }
        }
        let seen =
            matches!(status.state, TaskState::Starting | TaskState::Running | TaskState::Killing);
        if seen && !run.started {
            self.record(Record::Started { key: key.clone(), run: run.number });
        }
        let goal = self.pod_document(key).and_then(|pod| pod.task(&run.task)).map(|task| task.goal);
        let ready = status.state == TaskState::Running && status.ready == Some(true);
        let deployed = self.state.pod(key).is_some_and(|pod| pod.deployed);
        if ready && goal == Some(Goal::Running) && !deployed {
            self.record(Record::Ready { key: key.clone(), run: run.number });
        }
        match verdict(run, goal == Some(Goal::Running), status) {
            Some(verdict) => {
                let message = ended_message(status);
                self.end(key, run, verdict, message);
            },
            None => drop(self.soft.statuses.insert(run.number, status.clone())),
        }
    }
}

fn ended_message(status: &TaskStatus) -> String {
    let mut message = status.state.to_string();
    if !status.message.is_empty() {
        message = format!("{message}: {}", status.message);
    }
    match &status.error {
        Some(error) if !status.message.contains(&error.message) => format!("{message} ({error})"),
        Some(_) | None => message,
    }
}

/// What a status says about the end of a run; nothing while it may still run.
fn verdict(run: &Run, server: bool, status: &TaskStatus) -> Option<Verdict> {
    let wanted = |otherwise: Verdict| match run.stop {
        Some(Stop::Restart | Stop::Update | Stop::Delete) => Verdict::Stopped,
        Some(Stop::Timeout) => Verdict::Failed,
        None => otherwise,
    };
    let lost = if run.started { Verdict::Unknown } else { Verdict::NeverStarted };
    match status.state {
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Unreachable => None,
        // A run that was seen alive may be on an agent that nobody can ask now.
        TaskState::Unknown => (!run.started).then_some(Verdict::NeverStarted),
        TaskState::Finished if server => Some(wanted(Verdict::Succeeded)),
        TaskState::Finished => Some(Verdict::Succeeded),
        TaskState::Failed if status.reason == TaskReason::LaunchFailed && !run.started => {
            Some(Verdict::NeverStarted)
        },
        TaskState::Failed | TaskState::Killed => Some(wanted(Verdict::Failed)),
        TaskState::Error | TaskState::Dropped => Some(Verdict::NeverStarted),
        TaskState::Lost | TaskState::Gone | TaskState::GoneByOperator => Some(lost),
    }
}
