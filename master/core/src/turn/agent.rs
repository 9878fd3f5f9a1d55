//! What agents say.

use super::Turn;
use crate::boundary::Output;
use crate::decide;
use crate::decide::admit;
use crate::decide::adopt;
use crate::decide::disk_order;
use crate::decide::group;
use crate::decide::orphan;
use crate::decide::report::{Occasion, is_sane, take_in};
use crate::decide::report_snapshot;
use crate::decide::rescind::disks_changed;
use crate::event::{AgentEvent, Event, TaskEvent};
use crate::state::State;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::framework;
use berth_model::id::{AgentId, SessionId, SnapshotId, TransferId, VolumeId};
use berth_model::link::{FromAgent, OutputStream, Registration, ToAgent};
use berth_model::record::RegistryRecord;
use berth_model::snapshot::SnapshotReport;
use berth_model::task::{TaskKey, TaskStatus};
use berth_model::transfer::TransferWish;
use berth_model::volume::VolumeReport;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Turn<'_> {
    pub(super) fn agent(&mut self, agent: AgentId, session: SessionId, message: FromAgent) {
        if let FromAgent::Register(registration) = message {
            self.register(agent, session, &registration);
            return;
        }
        let live = self.state.agents.get(&agent).and_then(|a| a.session());
        if live != Some(session) {
            // A connection that was given up: the agent is to dial and register again.
            self.say(Output::CloseAgent { agent, session });
            return;
        }
        self.apply(AgentEvent::Heard(agent).into());
        match message {
            FromAgent::Register(_) | FromAgent::Heartbeat { .. } => {},
            FromAgent::Volume { ledger_seq, report } => self.volume(agent, ledger_seq, &report),
            FromAgent::Snapshot { ledger_seq, report } => {
                let id = report.spec.id;
                self.merge_snapshot(agent, id, Some(&report), Occasion::Report);
                self.remember_seq(agent, ledger_seq);
            },
            FromAgent::OrphanPurged { ledger_seq, operation, result } => {
                let events = orphan::purged(self.state, agent, operation, result, self.now);
                self.apply_all(events);
                self.remember_seq(agent, ledger_seq);
            },
            FromAgent::Declared(info) => {
                let events = disk_order::declared(self.state, agent, &info);
                self.apply_all(events);
            },
            FromAgent::DiskOrdered { ledger_seq, operation, result } => {
                let events = disk_order::ordered(self.state, agent, operation, result, self.now);
                self.apply_all(events);
                self.remember_seq(agent, ledger_seq);
            },
            FromAgent::Status(status) => self.status(agent, status),
            FromAgent::Disks(disks) => {
                let events = disks_changed(self.state, agent, disks);
                self.apply_all(events);
            },
            FromAgent::Usage(measured) => {
                for (volume, measured) in measured {
                    let entry = self.state.volumes.get(&volume);
                    if entry.is_some_and(|e| e.volume.agent == agent) {
                        self.apply(AgentEvent::VolumeMeasured { volume, measured }.into());
                    }
                }
            },
            FromAgent::Progress(volumes) => {
                for (volume, progress) in volumes {
                    let entry = self.state.volumes.get(&volume);
                    if entry.is_some_and(|e| e.volume.agent == agent) {
                        self.apply(AgentEvent::VolumeProgressed { volume, progress }.into());
                    }
                }
            },
            FromAgent::FileData { read, offset, data } => {
                if self.state.reads.get(&read) == Some(&agent) {
                    self.apply(AgentEvent::ReadEnded(read).into());
                    self.say(Output::FileData { read, offset, data });
                }
            },
        }
    }

    fn register(&mut self, agent: AgentId, session: SessionId, registration: &Registration) {
        if let Err(rejection) = admit::check(self.state, agent, session, registration) {
            // What an agent of this cluster has seen counts even when it may not come in.
            if registration.cluster == Some(self.state.config.cluster) {
                let rollback = admit::rollback(self.state, agent, registration);
                self.apply_all(rollback);
            }
            let message = ToAgent::Refused(rejection);
            self.say(Output::ToAgent { agent, session, message });
            self.say(Output::CloseAgent { agent, session });
            self.apply(AgentEvent::Met(agent).into());
            return;
        }
        let heartbeat = self.state.config.heartbeat;
        let known = self.state.agents.get(&agent);
        if known.is_some_and(|known| known.session() == Some(session)) {
            // A repeated first message; what it says may be older than what came since.
            self.tell(agent, ToAgent::Registered { heartbeat });
            return;
        }
        let declared = admit::declare(known, &registration.info);
        let rollback = admit::rollback(self.state, agent, registration);
        self.apply_all(rollback);
        self.apply(AgentEvent::Met(agent).into());
        self.apply_all(declared);
        self.record_seq(agent, registration.ledger_seq);
        self.apply(AgentEvent::Opened { agent, session }.into());
        self.tell(agent, ToAgent::Registered { heartbeat });
        // Tasks first: a launch that only now goes out must not be missed among the reported ones.
        self.merge_tasks(agent, registration);
        self.merge_volumes(agent, &registration.volumes);
        // After the volumes: whether a snapshot may be gone depends on its volume.
        self.merge_snapshots(agent, &registration.snapshots);
        let again = self.state.agents.get(&agent).map(|known| orphan::repeat(self.state, known));
        self.apply_all(again.unwrap_or_default());
        let again =
            self.state.agents.get(&agent).map(|known| disk_order::repeat(self.state, known));
        self.apply_all(again.unwrap_or_default());
    }

    /// How far the agent's ledger has come. A report that changes nothing in the registry is no reason for a write of
    /// its own: then the number is remembered until the master ends, and stored with the next result.
    fn remember_seq(&mut self, agent: AgentId, ledger_seq: u64) {
        if self.step.writes.is_empty() {
            self.apply(AgentEvent::LedgerHeard { agent, ledger_seq }.into());
        } else {
            self.record_seq(agent, ledger_seq);
        }
    }

    fn record_seq(&mut self, agent: AgentId, ledger_seq: u64) {
        if self.state.agents.get(&agent).is_some_and(|known| known.ledger_seq < ledger_seq) {
            self.apply(Event::Put(RegistryRecord::AgentSeq { agent, ledger_seq }));
        }
    }

    fn merge_volumes(&mut self, agent: AgentId, reports: &[VolumeReport]) {
        let reported: BTreeMap<VolumeId, &VolumeReport> =
            reports.iter().filter(|r| is_sane(r)).map(|r| (r.spec.id, r)).collect();
        let mut ids: BTreeSet<VolumeId> = reported.keys().copied().collect();
        ids.extend(self.state.agents.get(&agent).iter().flat_map(|known| &known.volumes));
        for id in ids {
            self.merge_volume(agent, id, reported.get(&id).copied(), Occasion::Registration);
        }
    }

    fn merge_volume(
        &mut self,
        agent: AgentId,
        id: VolumeId,
        report: Option<&VolumeReport>,
        occasion: Occasion,
    ) {
        let Some(known) = self.state.agents.get(&agent) else { return };
        let events = take_in(self.state, known, id, report, occasion, self.now);
        self.apply_all(events);
        self.resume_waiting(id);
    }

    fn merge_snapshots(&mut self, agent: AgentId, reports: &[SnapshotReport]) {
        let reported: BTreeMap<SnapshotId, &SnapshotReport> =
            reports.iter().map(|r| (r.spec.id, r)).collect();
        let mut ids: BTreeSet<SnapshotId> = reported.keys().copied().collect();
        ids.extend(self.state.agents.get(&agent).iter().flat_map(|known| &known.snapshots));
        for id in ids {
            self.merge_snapshot(agent, id, reported.get(&id).copied(), Occasion::Registration);
        }
    }

    fn merge_snapshot(
        &mut self,
        agent: AgentId,
        id: SnapshotId,
        report: Option<&SnapshotReport>,
        occasion: Occasion,
    ) {
        let state = &*self.state;
        let before = state.snapshots.get(&id).map(|entry| Arc::clone(&entry.snapshot));
        let events = report_snapshot::take_in(state, agent, id, report, occasion, self.now);
        self.apply_all(events);
        let after = self.state.snapshots.get(&id).map(|entry| Arc::clone(&entry.snapshot));
        if let Some(snapshot) = after.or(before) {
            let ended = group::settle(self.state, &snapshot, self.now);
            self.apply_all(ended);
        }
    }

    fn merge_tasks(&mut self, agent: AgentId, registration: &Registration) {
        let mut reported = BTreeSet::new();
        for report in &registration.tasks {
            reported.insert(key_of(&report.status));
            let Some(known) = self.state.agents.get(&agent) else { return };
            let events = adopt::adopt(self.state, known, report);
            self.apply_all(events);
        }
        let Some(known) = self.state.agents.get(&agent) else { return };
        let events = adopt::missing(self.state, known, &reported, self.now);
        self.apply_all(events);
    }

    fn volume(&mut self, agent: AgentId, ledger_seq: u64, report: &VolumeReport) {
        if !is_sane(report) {
            return;
        }
        self.merge_volume(agent, report.spec.id, Some(report), Occasion::Report);
        self.remember_seq(agent, ledger_seq);
    }

    fn status(&mut self, agent: AgentId, status: TaskStatus) {
        let key = key_of(&status);
        let removed =
            self.state.frameworks.get(&key.framework).is_some_and(|f| f.record.removed.is_some());
        let known = self.state.tasks.get(&key).filter(|t| t.agent == agent && !t.told);
        let overtaken = known.is_some_and(|t| t.ended() && !status.state.is_terminal());
        if known.is_some_and(|t| t.status != status) && !overtaken {
            let status = TaskStatus { agent: Some(agent), ..status.clone() };
            let nobody_acknowledges = status.state.is_terminal() && status.id.is_none();
            self.apply(TaskEvent::Said(Box::new(status)).into());
            if nobody_acknowledges {
                self.apply(TaskEvent::Told(key.clone()).into());
            }
            self.charge_late(agent);
        }
        if !removed && !adopt::is_elsewhere(self.state, agent, &key) {
            self.inform(&key.framework, framework::Event::Status(status));
            return;
        }
        // Nobody else will: the framework is gone for good, or means another task by this id.
        if let Some(id) = status.id {
            self.acknowledge(agent, &key, id);
        }
    }

    /// Passes an acknowledgement on; the last one lets the task be forgotten.
    pub(super) fn acknowledge(
        &mut self,
        agent: AgentId,
        key: &TaskKey,
        status: berth_model::id::StatusId,
    ) {
        let (framework, task) = (key.framework.clone(), key.task.clone());
        self.tell(agent, ToAgent::Acknowledge { framework, task, status });
        let known = self.state.tasks.get(key).filter(|t| t.agent == agent && !t.told);
        if known.is_some_and(|t| t.ended() && t.status.id == Some(status)) {
            self.apply(TaskEvent::Told(key.clone()).into());
        }
    }

    /// Something became free: tasks that the books had no room for may fit now.
    fn charge_late(&mut self, agent: AgentId) {
        let Some(known) = self.state.agents.get(&agent) else { return };
        if !known.is_overcommitted() {
            return;
        }
        for key in known.uncharged.clone() {
            let fits = |state: &State| {
                let task = state.tasks.get(&key)?;
                let room = &state.agents.get(&agent)?.books.available;
                room.contains(&task.plain).then_some(())
            };
            if fits(self.state).is_some() {
                self.apply(TaskEvent::Charged(key.clone()).into());
            }
        }
    }

    pub(super) fn agent_disconnected(&mut self, agent: AgentId, session: SessionId) {
        let live = self.state.agents.get(&agent).and_then(|a| a.session());
        if live == Some(session) {
            let events = adopt::lost(self.state, agent, self.now);
            self.apply_all(events);
        }
    }

    pub(super) fn transfer(&mut self, transfer: TransferId, wish: &TransferWish) {
        match decide::transfer::order(self.state, wish) {
            Ok((agent, order)) => self.tell(agent, ToAgent::Transfer { transfer, order }),
            Err(reason) => self.say(Output::TransferRefused { transfer, reason }),
        }
    }

    pub(super) fn read_file(
        &mut self,
        read: u64,
        key: TaskKey,
        stream: OutputStream,
        offset: u64,
        length: u32,
    ) {
        let refused = match self.state.tasks.get(&key) {
            None => Rejection::new(ErrorCode::UnknownTask, format!("no task {key}"))
                .remedy("list the tasks with `berth task list`"),
            Some(task) => match self.state.agents.get(&task.agent).and_then(|a| a.session()) {
                Some(_) => {
                    let agent = task.agent;
                    self.apply(AgentEvent::ReadStarted { read, agent }.into());
                    let TaskKey { framework, task } = key;
                    let message =
                        ToAgent::ReadFile { read, framework, task, stream, offset, length };
                    self.tell(agent, message);
                    return;
                },
                None => Rejection::new(
                    ErrorCode::AgentUnreachable,
                    format!("agent {} of task {key} is not connected", task.agent),
                )
                .remedy("try again when the agent is back"),
            },
        };
        self.say(Output::FileData { read, offset: 0, data: Err(refused) });
    }
}

fn key_of(status: &TaskStatus) -> TaskKey {
    TaskKey { framework: status.framework.clone(), task: status.task.clone() }
}
