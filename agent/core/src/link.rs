//! The connection to the master: registration, epochs, heartbeats, and the dispatch of what the master says.
//!
//! Rules: a message of another cluster or a lower epoch closes the connection and changes nothing; a higher epoch is
//! written down in the same step as whatever the message leads to, hence synced before any of it is acted on; no
//! volume is made, moved or deleted and no task started before a registration of this life was taken in. Invariant: the
//! stored epoch never goes down.

use crate::agent::Agent;
use crate::step::{Output, Severity};
use crate::timer::Timer;
use berth_model::error::{ErrorCode, Rejection};
use berth_model::id::{FrameworkId, OperationId, SessionId, SnapshotId, TaskId, VolumeId};
use berth_model::link::{Envelope, FromAgent, OutputStream, ToAgent};
use berth_model::record::LedgerRecord;
use berth_model::task::TaskKey;
use berth_model::volume::VolumeState;
use std::collections::BTreeSet;
use std::time::Duration;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Open; the registration waits for the first verification.
    Open,
    /// The registration is on its way.
    Registering,
    /// Taken in by the master.
    Registered,
}

/// A connection to the master.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    session: SessionId,
    phase: Phase,
    heartbeat: Duration,
    /// Volumes that changed after the registration left and before it was taken in.
    changed: BTreeSet<VolumeId>,
    /// Snapshots, likewise.
    snapshots: BTreeSet<SnapshotId>,
    /// What could not be done of operations, likewise.
    refusals: Vec<(VolumeId, OperationId, Rejection)>,
    /// The disks, likewise.
    disks: bool,
    /// What is declared, likewise.
    declared: bool,
}

/// A part of a task's output.
struct Part {
    stream: OutputStream,
    offset: u64,
    length: u32,
}

impl Agent {
    pub(crate) fn connected(&mut self, session: SessionId) {
        self.disconnected();
        self.link = Some(Link {
            session,
            phase: Phase::Open,
            heartbeat: Duration::ZERO,
            changed: BTreeSet::new(),
            snapshots: BTreeSet::new(),
            refusals: Vec::new(),
            disks: false,
            declared: false,
        });
        self.register();
    }

    pub(crate) fn disconnected(&mut self) {
        self.link = None;
        self.reads.clear();
        self.drop_wishes();
        self.timers.clear(&Timer::Heartbeat);
        self.timers.clear(&Timer::Silence);
        for key in self.books.tasks().keys() {
            self.timers.clear(&Timer::Status(key.clone()));
        }
    }

    /// Sends the registration when there is a connection that waits for it and every volume was looked at.
    pub(crate) fn register(&mut self) {
        let Some(link) = self.link.as_mut().filter(|link| link.phase == Phase::Open) else {
            return;
        };
        if !self.unverified.is_empty() {
            return;
        }
        link.phase = Phase::Registering;
        let session = link.session;
        let registration = self.registration(session);
        self.emit(Output::Send(FromAgent::Register(Box::new(registration))));
        self.timers.set(Timer::Silence, self.now.after(self.config.register_wait));
    }

    /// Sends when the master has taken the agent in; otherwise the next registration says it.
    pub(crate) fn tell(&mut self, message: FromAgent) {
        if self.is_registered() {
            self.emit(Output::Send(message));
        }
    }

    /// Does the master hear on this connection what becomes of operations? While the registration is on its way that
    /// waits for the answer.
    pub(crate) fn is_heard(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.phase != Phase::Open)
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.phase == Phase::Registered)
    }

    /// Tells the master where a volume stands.
    pub(crate) fn tell_volume(&mut self, id: VolumeId) {
        if let Some(link) = self.link.as_mut().filter(|link| link.phase == Phase::Registering) {
            link.changed.insert(id);
        }
        if let Some(report) = self.volume_report(id) {
            self.tell(FromAgent::Volume { ledger_seq: 0, report });
        }
    }

    /// Tells the master how the disks are now.
    pub(crate) fn tell_disks(&mut self) {
        if let Some(link) = self.link.as_mut().filter(|link| link.phase == Phase::Registering) {
            link.disks = true;
        }
        self.tell(FromAgent::Disks(self.info.disks.clone()));
    }

    /// Tells the master what the agent declares now.
    pub(crate) fn tell_declared(&mut self) {
        if let Some(link) = self.link.as_mut().filter(|link| link.phase == Phase::Registering) {
            link.declared = true;
        }
        self.tell(FromAgent::Declared(Box::new(self.info.clone())));
    }

    /// Tells the master where a snapshot stands.
    pub(crate) fn tell_snapshot(&mut self, id: SnapshotId) {
        if let Some(link) = self.link.as_mut().filter(|link| link.phase == Phase::Registering) {
            link.snapshots.insert(id);
        }
        if let Some(report) = self.snapshot_report(id) {
            self.tell(FromAgent::Snapshot { ledger_seq: 0, report });
        }
    }

    /// Answers a call about a snapshot that cannot be done now; the books stay as they are.
    pub(crate) fn refuse_snapshot(
        &mut self,
        id: SnapshotId,
        operation: OperationId,
        error: Rejection,
    ) {
        if let Some(mut report) = self.snapshot_report(id) {
            report.operation = Some(operation);
            report.error = Some(error);
            self.tell(FromAgent::Snapshot { ledger_seq: 0, report });
        }
    }

    /// Answers a call that cannot be done now; the books stay as they are.
    pub(crate) fn tell_refusal(&mut self, id: VolumeId, operation: OperationId, error: Rejection) {
        if let Some(link) = self.link.as_mut().filter(|link| link.phase == Phase::Registering) {
            // The registration that is on its way says that it goes on.
            link.refusals.push((id, operation, error));
            return;
        }
        if let Some(mut report) = self.volume_report(id) {
            let failed = self.watches.get(&id).and_then(|watch| watch.failed.as_ref());
            report.refused = failed.is_some_and(|(id, why)| *id == operation && *why == error);
            report.operation = Some(operation);
            report.error = Some(error);
            self.tell(FromAgent::Volume { ledger_seq: 0, report });
        }
    }

    pub(crate) fn beat(&mut self) {
        let Some(link) = self.link.as_ref().filter(|link| link.phase == Phase::Registered) else {
            return;
        };
        let next = self.now.after(link.heartbeat);
        self.emit(Output::Send(FromAgent::Heartbeat { ledger_seq: 0 }));
        self.timers.set(Timer::Heartbeat, next);
    }

    pub(crate) fn give_up_master(&mut self) {
        let reason = Rejection::new(ErrorCode::Unavailable, "the master says nothing any more")
            .remedy(
                "check that the master runs and can be reached; the agent dials again by itself",
            );
        self.hang_up(reason);
    }

    fn hang_up(&mut self, reason: Rejection) {
        if self.link.is_some() {
            self.disconnected();
            self.emit(Output::Disconnect { reason });
        }
    }

    pub(crate) fn hear(&mut self, envelope: Envelope) {
        if self.link.is_none() {
            return;
        }
        if let ToAgent::Refused(reason) = envelope.message {
            self.hang_up(reason);
            return;
        }
        if let Err(reason) = self.admit(&envelope) {
            self.log(Severity::Warning, format!("message from a master refused: {reason}"));
            self.hang_up(reason);
            return;
        }
        self.expect_master();
        self.obey(envelope.message);
    }

    /// Checks cluster and epoch and writes down what is new about them.
    fn admit(&mut self, envelope: &Envelope) -> Result<(), Rejection> {
        let Envelope { cluster, epoch, revision, message: _ } = envelope;
        match self.books.cluster() {
            Some(mine) if mine != *cluster => {
                return Err(Rejection::new(
                    ErrorCode::WrongCluster,
                    format!("agent {} belongs to cluster {mine}, not to {cluster}", self.info.id),
                )
                .remedy(
                    "point the agent at its own master, or start it with an empty work directory",
                ));
            },
            Some(_) | None => {},
        }
        if *epoch < self.books.epoch() {
            return Err(Rejection::new(
                ErrorCode::StaleEpoch,
                format!("epoch {epoch} is over: the agent has seen epoch {}", self.books.epoch()),
            )
            .remedy("an older registry or a second master is running: stop it"));
        }
        if self.books.cluster().is_none() {
            self.write(LedgerRecord::Joined(*cluster));
        }
        if *epoch > self.books.epoch() {
            self.revision_seen = *revision;
            self.write(LedgerRecord::Epoch { epoch: *epoch, revision: *revision });
        } else {
            self.revision_seen = self.revision_seen.max(*revision);
        }
        Ok(())
    }

    fn expect_master(&mut self) {
        let Some(link) = &self.link else { return };
        let patience = if link.phase == Phase::Registered {
            link.heartbeat.saturating_mul(self.config.silence_heartbeats)
        } else {
            self.config.register_wait
        };
        self.timers.set(Timer::Silence, self.now.after(patience));
    }

    fn obey(&mut self, message: ToAgent) {
        match message {
            ToAgent::Registered { heartbeat } => self.registered(heartbeat),
            ToAgent::Refused(reason) => self.hang_up(reason),
            ToAgent::EnsureVolume { spec, operation, restore } => {
                self.ensure(spec, operation, restore);
            },
            ToAgent::DestroyVolume { volume, generation, operation } => {
                self.destroy(volume, generation, operation);
            },
            ToAgent::ResizeVolume { volume, generation, size, operation } => {
                self.resize(volume, generation, size, operation);
            },
            ToAgent::PurgeVolume { volume, generation, operation, wipe } => {
                self.purge(volume, generation, operation, wipe);
            },
            ToAgent::ForgetVolume { volume, generation } => self.forget(volume, generation),
            ToAgent::Launch { framework, task, volumes } => self.launch(framework, *task, volumes),
            ToAgent::Kill { framework, task, grace } => {
                self.kill(&TaskKey { framework, task }, grace);
            },
            ToAgent::Acknowledge { framework, task, status } => {
                self.acknowledge(&TaskKey { framework, task }, status);
            },
            ToAgent::ReadFile { read, framework, task, stream, offset, length } => {
                self.read_file(read, framework, task, Part { stream, offset, length });
            },
            ToAgent::SetAccess { volume, generation, access, operation } => {
                self.set_access(volume, generation, access, operation);
            },
            ToAgent::Heartbeat => {},
            ToAgent::EnsureSnapshot { spec, operation, freeze } => {
                self.ensure_snapshot(spec, operation, freeze);
            },
            ToAgent::EnsureGroup { group, members, operation, freeze } => {
                self.ensure_group(group, members, operation, freeze);
            },
            ToAgent::DeleteSnapshot { spec, operation } => self.delete_snapshot(spec, operation),
            ToAgent::ForgetSnapshot { snapshot } => self.forget_snapshot(snapshot),
            ToAgent::DeriveVolume { spec, operation, origin } => {
                self.derive_volume(spec, operation, origin);
            },
            ToAgent::VerifyVolume { volume, generation, operation } => {
                self.look_again(volume, generation, operation);
            },
            ToAgent::Transfer { transfer, order } => {
                self.transfer(transfer, order);
            },
            ToAgent::PurgeOrphan { operation, order } => self.purge_orphan(operation, *order),
            ToAgent::ForgetOrphan { operation } => self.forget_orphan(operation),
            ToAgent::OrderDisk { operation, order } => self.order_disk(operation, *order),
            ToAgent::ForgetDiskOrder { operation } => self.forget_order(operation),
            ToAgent::TryDisk { read, order } => self.try_disk(read, *order),
        }
    }

    fn registered(&mut self, heartbeat: Duration) {
        // Only the answer to a registration judges the ledger; said twice, it says nothing new.
        let Some(link) = self.link.as_mut().filter(|link| link.phase == Phase::Registering) else {
            return;
        };
        // A heartbeat of zero would leave no time between two of them.
        link.heartbeat = heartbeat.max(Duration::from_millis(10));
        link.phase = Phase::Registered;
        let first = self.now.after(link.heartbeat);
        let mut changed = std::mem::take(&mut link.changed);
        let snapshots = std::mem::take(&mut link.snapshots);
        let refusals = std::mem::take(&mut link.refusals);
        let disks = std::mem::take(&mut link.disks);
        let declared = std::mem::take(&mut link.declared);
        // The registration does not list what is gone.
        let gone = self.books.volumes().values().filter(|v| v.state == VolumeState::Gone);
        changed.extend(gone.map(|v| v.spec.id));
        self.timers.set(Timer::Heartbeat, first);
        self.expect_master();
        let (epoch, seen) = (self.books.epoch(), changed.len());
        self.log(Severity::Info, format!("registered in epoch {epoch}, {seen} volumes to tell of"));
        for id in changed {
            self.tell_volume(id);
        }
        for id in snapshots {
            self.tell_snapshot(id);
        }
        for (id, operation, error) in refusals {
            self.tell_refusal(id, operation, error);
        }
        if declared {
            self.tell_declared();
        } else if disks {
            self.tell_disks();
        }
        self.tell_orders();
        self.tell_orphans();
        let keys: Vec<TaskKey> = self.books.tasks().keys().cloned().collect();
        for key in keys {
            self.send_status(&key);
        }
        if !std::mem::replace(&mut self.taken_in, true) {
            self.continue_volumes();
            self.continue_orphans();
            self.continue_orders();
            self.start_held();
        }
    }

    fn read_file(&mut self, read: u64, framework: FrameworkId, task: TaskId, part: Part) {
        let key = TaskKey { framework, task };
        let Part { stream, offset, length } = part;
        let released = self.released.iter().rev().find(|(k, _)| *k == key).map(|(_, c)| *c);
        let container = self.books.tasks().get(&key).map(|t| t.container).or(released);
        match container {
            Some(container) => {
                self.reads.insert(read);
                self.emit(Output::ReadFile { read, container, stream, offset, length });
            },
            None => {
                let error = Rejection::new(
                    ErrorCode::UnknownTask,
                    format!("agent {} has no output of task {key}", self.info.id),
                )
                .remedy("the output of ended tasks is kept only for a while");
                self.tell(FromAgent::FileData { read, offset, data: Err(error) });
            },
        }
    }
}
