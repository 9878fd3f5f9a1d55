//! What the master is told about volumes and tasks, from the books and from what was found on the host.
//!
//! Invariant: the state in a report is the state in the books.

use crate::agent::Agent;
use berth_model::id::{SnapshotId, VolumeId};
use berth_model::link::{FromAgent, Registration};
use berth_model::record::{LedgerSnapshot, LedgerTask, LedgerVolume};
use berth_model::snapshot::SnapshotReport;
use berth_model::task::TaskStatus;
use berth_model::volume::{VolumeReport, VolumeState};
use berth_model::wipe::{WipeStage, Wiped};
use berth_model::{id::SessionId, link::TaskReport};

/// The message with the ledger's position, which only the shell knows: call it with the number of the last synced
/// record right before sending.
#[must_use]
pub fn stamp(message: FromAgent, seq: u64) -> FromAgent {
    match message {
        FromAgent::Register(mut registration) => {
            registration.ledger_seq = seq;
            FromAgent::Register(registration)
        },
        FromAgent::Volume { report, ledger_seq: _ } => {
            FromAgent::Volume { report, ledger_seq: seq }
        },
        FromAgent::Snapshot { report, ledger_seq: _ } => {
            FromAgent::Snapshot { report, ledger_seq: seq }
        },
        FromAgent::OrphanPurged { operation, result, ledger_seq: _ } => {
            FromAgent::OrphanPurged { operation, result, ledger_seq: seq }
        },
        FromAgent::DiskOrdered { operation, result, ledger_seq: _ } => {
            FromAgent::DiskOrdered { operation, result, ledger_seq: seq }
        },
        FromAgent::Heartbeat { ledger_seq: _ } => FromAgent::Heartbeat { ledger_seq: seq },
        other @ (FromAgent::Status(_)
        | FromAgent::Disks(_)
        | FromAgent::Declared(_)
        | FromAgent::Usage(_)
        | FromAgent::Progress(_)
        | FromAgent::FileData { .. }) => other,
    }
}

impl Agent {
    pub(crate) fn volume_report(&self, id: VolumeId) -> Option<VolumeReport> {
        self.books.volumes().get(&id).map(|volume| self.report_of(volume))
    }

    fn report_of(&self, volume: &LedgerVolume) -> VolumeReport {
        let watch = self.watches.get(&volume.spec.id);
        let found = watch.and_then(|w| w.found.as_ref());
        VolumeReport {
            spec: volume.spec.clone(),
            state: volume.state,
            operation: volume.operation,
            error: volume.error.clone(),
            host_path: found.map(|f| f.host_path.clone()).unwrap_or_default(),
            driver: volume.driver.clone(),
            enforcement: found.map(|f| f.enforcement).unwrap_or_default(),
            used: watch.and_then(|w| w.used),
            purged: watch.map(|w| w.purged.clone()).unwrap_or_default(),
            resizing: volume.resize,
            setting: volume.setting,
            wiped: wiped(volume),
            refused: false,
            unavailable: self.unavailable(volume.spec.id).cloned(),
        }
    }

    pub(crate) fn snapshot_report(&self, id: SnapshotId) -> Option<SnapshotReport> {
        self.books.snapshots().get(&id).map(|snapshot| self.report_of_snapshot(snapshot))
    }

    fn report_of_snapshot(&self, snapshot: &LedgerSnapshot) -> SnapshotReport {
        let watch = self.watches.get(&snapshot.spec.of.id);
        let path = watch.and_then(|watch| watch.snapshots.get(&snapshot.spec.id));
        SnapshotReport {
            spec: snapshot.spec.clone(),
            state: snapshot.state,
            operation: snapshot.operation,
            error: snapshot.error.clone(),
            host_path: path.cloned().unwrap_or_default(),
            group: snapshot.group,
        }
    }

    pub(crate) fn registration(&self, session: SessionId) -> Registration {
        let volumes = self.books.volumes().values();
        Registration {
            info: self.info.clone(),
            session,
            cluster: self.books.cluster(),
            epoch: self.books.epoch(),
            revision: self.books.revision(),
            ledger_seq: 0,
            volumes: volumes
                // What was wiped is told until the master knows: without that it would only be missing.
                .filter(|v| v.state != VolumeState::Gone || wiped(v).is_some())
                .map(|v| self.report_of(v))
                .collect(),
            tasks: self.books.tasks().values().map(task_report).collect(),
            snapshots: self
                .books
                .snapshots()
                .values()
                .map(|snapshot| self.report_of_snapshot(snapshot))
                .collect(),
        }
    }
}

fn wiped(volume: &LedgerVolume) -> Option<Wiped> {
    let wipe = volume.wipe.filter(|_| volume.state == VolumeState::Gone)?;
    match wipe.stage {
        WipeStage::Done(bytes) => {
            Some(Wiped { method: wipe.method, bytes, driver: volume.driver.clone() })
        },
        WipeStage::Wanted | WipeStage::Begun(_) => None,
    }
}

fn task_report(task: &LedgerTask) -> TaskReport {
    TaskReport {
        status: TaskStatus { id: None, ..task.status.clone() },
        resources: task.info.resources.clone(),
        volumes: task.volumes.iter().map(|used| used.volume).collect(),
        name: task.info.name.clone(),
        container: task.container,
    }
}
