//! One step: takes an input through decisions and events, and gathers writes and outputs.
//!
//! A step is a sequence of small decisions, each made on the state that the one before left. Nothing is
//! ever taken back: a decision that is refused has changed nothing.

mod accept;
mod agent;
mod commit;
mod disk;
mod framework;
mod operator;
mod running;
mod time;

pub(crate) use operator::check;

use crate::audit::gather::Gathered;
use crate::boundary::{Input, Output, Step};
use crate::decide::{export, launch};
use crate::event::{AgentEvent, Event, FrameworkEvent, TaskEvent};
use crate::evolve::evolve;
use crate::state::State;
use berth_model::framework::Event as FrameworkNews;
use berth_model::id::{AgentId, FrameworkId, VolumeId};
use berth_model::operation::OperationRecord;
use berth_model::record::{RegistryKey, RegistryRecord, RegistryWrite};
use berth_model::snapshot::{Snapshot, SnapshotState};
use berth_model::task::TaskKey;
use berth_model::units::Timestamp;
use berth_model::view::{AgentState, Change};
use berth_model::volume::{Volume, VolumeState};
use std::sync::Arc;

/// A step in the making.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    state: &'a mut State,
    now: Timestamp,
    step: Step,
    audit: Gathered,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(state: &'a mut State, now: Timestamp) -> Self {
        Self { state, now, step: Step::default(), audit: Gathered::default() }
    }

    pub(crate) fn state(&self) -> &State {
        self.state
    }

    /// Takes one input in, then whatever is due.
    pub(crate) fn take(mut self, input: Input) -> Step {
        match input {
            Input::Agent { agent, session, message } => self.agent(agent, session, message),
            Input::AgentDisconnected { agent, session } => {
                self.agent_disconnected(agent, session);
            },
            Input::Framework { session, framework, call, fingerprint: _, body } => {
                self.framework(session, framework, call, body);
            },
            Input::FrameworkDisconnected { framework, session } => {
                self.framework_disconnected(&framework, session);
            },
            Input::Operator { reply, operation, fingerprint, request, said } => {
                self.operator(reply, (operation, fingerprint), &request, &said);
            },
            Input::Refused { operation, request, said, error } => {
                self.refused(operation, &request, &said, error);
            },
            Input::ReadFile { read, framework, task, stream, offset, length } => {
                let key = TaskKey { framework, task };
                self.read_file(read, key, stream, offset, length);
            },
            Input::Transfer { transfer, wish } => self.transfer(transfer, &wish),
            Input::ExportEnded { operation, result } => {
                let events = export::ended(self.state, operation, result, self.now);
                self.apply_all(events);
            },
            Input::TryDisk { read, request } => self.try_disk(read, &request),
            Input::Tick => {},
        }
        self.finish()
    }

    /// Does what is due and forgets what is kept only for a while.
    pub(crate) fn finish(mut self) -> Step {
        self.settle();
        self.run_timers();
        self.forget();
        let gathered = std::mem::take(&mut self.audit);
        let entries = gathered.into_events(self.state, self.now);
        self.apply_all(entries);
        self.state.end_turn();
        self.step
    }

    /// Notes that a term begins.
    pub(crate) fn opened(&mut self) {
        self.audit.opened();
    }

    /// Applies the events of one decision.
    fn apply_all(&mut self, events: impl IntoIterator<Item = Event>) {
        self.audit.next_decision();
        for event in events {
            self.apply_next(event);
        }
    }

    /// Applies the one event of a decision.
    pub(crate) fn apply(&mut self, event: Event) {
        self.apply_all([event]);
    }

    /// Applies one event: to the registry, to watchers, to the books.
    fn apply_next(&mut self, event: Event) {
        match &event {
            Event::Put(record) => {
                self.audit.put(self.state, record);
                self.step.writes.push(RegistryWrite::Put(record.clone()));
                self.announce_record(record);
            },
            Event::Delete(key) => {
                self.audit.delete(self.state, key);
                self.step.writes.push(RegistryWrite::Delete(key.clone()));
                self.announce_removal(key);
            },
            Event::Agent(AgentEvent::Opened { agent, .. }) => {
                self.announce_agent(*agent, AgentState::Registered);
            },
            Event::Agent(AgentEvent::Cut(agent)) => {
                self.announce_agent(*agent, AgentState::Unreachable);
            },
            Event::Framework(FrameworkEvent::Opened { framework, .. }) => {
                self.announce_framework(framework.clone(), true);
            },
            Event::Framework(FrameworkEvent::Cut { framework, .. }) => {
                self.announce_framework(framework.clone(), false);
            },
            Event::Task(TaskEvent::Said(status)) => {
                self.say(Output::Changed(Change::Task(Arc::new((**status).clone()))));
            },
            Event::Task(TaskEvent::Added(task)) => {
                self.say(Output::Changed(Change::Task(Arc::new(task.status.clone()))));
            },
            Event::Say(output) => self.say((**output).clone()),
            Event::Tell { agent, message } => self.tell(*agent, (**message).clone()),
            Event::Inform { framework, event } => self.inform(framework, (**event).clone()),
            Event::Certified(certificate) => self.audit.certified(certificate),
            Event::Agent(_) | Event::Framework(_) | Event::Task(_) | Event::Refusals { .. } => {},
        }
        evolve(self.state, self.now, event);
    }

    fn say(&mut self, output: Output) {
        self.step.outputs.push(output);
    }
    fn tell(&mut self, agent: AgentId, message: berth_model::link::ToAgent) {
        if let Some(session) = self.state.agents.get(&agent).and_then(|a| a.session()) {
            self.say(Output::ToAgent { agent, session, message });
        }
    }
    fn inform(&mut self, framework: &FrameworkId, event: FrameworkNews) {
        if let Some(session) = self.state.frameworks.get(framework).and_then(|f| f.session) {
            self.say(Output::ToFramework { framework: framework.clone(), session, event });
        }
    }
    fn announce_agent(&mut self, agent: AgentId, state: AgentState) {
        self.say(Output::Changed(Change::Agent { agent, state }));
    }
    fn announce_framework(&mut self, framework: FrameworkId, connected: bool) {
        self.say(Output::Changed(Change::Framework { framework, connected }));
    }
    fn announce_record(&mut self, record: &RegistryRecord) {
        match record {
            RegistryRecord::Volume(volume) => {
                self.say(Output::Changed(Change::Volume(Arc::clone(volume))));
            },
            RegistryRecord::Operation(operation) => self.announce_operation(operation),
            RegistryRecord::Snapshot(snapshot) => {
                self.say(Output::Changed(Change::Snapshot(Arc::clone(snapshot))));
            },
            RegistryRecord::Framework(framework) if framework.removed.is_some() => {
                self.announce_framework(framework.id.clone(), false);
            },
            RegistryRecord::Meta { .. }
            | RegistryRecord::Agent(_)
            | RegistryRecord::AgentSeq { .. }
            | RegistryRecord::Reservation(_)
            | RegistryRecord::Framework(_)
            | RegistryRecord::Disk(_)
            | RegistryRecord::Profile(_)
            | RegistryRecord::Schedule(_)
            | RegistryRecord::Weight(_)
            | RegistryRecord::Quota(_)
            | RegistryRecord::Transaction(_)
            | RegistryRecord::Audit(_) => {},
        }
    }
    fn announce_operation(&mut self, operation: &Arc<OperationRecord>) {
        if let Some(framework) = &operation.framework {
            self.inform(
                &framework.clone(),
                FrameworkNews::Operation(OperationRecord::clone(operation)),
            );
        }
        self.say(Output::Changed(Change::Operation(Arc::clone(operation))));
    }
    fn announce_removal(&mut self, key: &RegistryKey) {
        if let RegistryKey::Snapshot(id) = key
            && let Some(entry) = self.state.snapshots.get(id)
        {
            let gone = Snapshot {
                state: SnapshotState::Gone,
                changed: self.now,
                ..Snapshot::clone(&entry.snapshot)
            };
            self.say(Output::Changed(Change::Snapshot(Arc::new(gone))));
        }
        let RegistryKey::Volume(id) = key else { return };
        if let Some(entry) = self.state.volumes.get(id) {
            let gone = Volume {
                state: VolumeState::Gone,
                changed: self.now,
                ..Volume::clone(&entry.volume)
            };
            self.say(Output::Changed(Change::Volume(Arc::new(gone))));
        }
    }

    /// Starts or drops the tasks that wait for a volume.
    fn resume_waiting(&mut self, volume: VolumeId) {
        let waiting = self.state.volumes.get(&volume).map(|entry| entry.waiting.clone());
        for key in waiting.into_iter().flatten() {
            let events = launch::resume(self.state, &key, self.now);
            self.apply_all(events);
        }
    }

    /// Drops the oldest of what is remembered for a while only.
    fn forget(&mut self) {
        while self.state.ended.len() > self.state.config.operations_kept {
            let Some((_, oldest)) = self.state.ended.first().copied() else { break };
            self.apply(Event::Delete(RegistryKey::Operation(oldest)));
        }
        while self.state.told.len() > self.state.config.tasks_kept {
            let Some((_, oldest)) = self.state.told.first().cloned() else { break };
            self.apply(TaskEvent::Forgotten(oldest).into());
        }
        while let Some((framework, oldest)) = self.state.transactions.superfluous() {
            self.apply(Event::Delete(RegistryKey::Transaction(framework, oldest)));
        }
        while self.state.removed.len() > self.state.config.frameworks_kept {
            let Some((_, oldest)) = self.state.removed.first().cloned() else { break };
            self.apply(Event::Delete(RegistryKey::Framework(oldest)));
        }
    }
}
