//! The records of registry and ledger.

use super::field::{self, Choice, choice};
use super::{At, Wire};
use crate::{ledger_wire, registry_wire};
use berth_model::audit::AuditRecord;
use berth_model::declaration::LedgerDiskOrder;
use berth_model::error::Rejection;
use berth_model::orphan::LedgerOrphan;
use berth_model::record::{
    FrameworkRecord, LedgerRecord, LedgerSnapshot, LedgerTask, LedgerTaskPhase, LedgerVolume,
    RegistryRecord,
};
use berth_model::snapshot::SnapshotState;
use berth_model::units::{Bytes, Timestamp};
use berth_model::volume::VolumeState;
use ledger_wire::v1::ledger_record::Record;
use registry_wire::v1::registry_record::Record as Stored;
use std::sync::Arc;

choice!(LedgerTaskPhase, ledger_wire::v1::TaskPhase, "task phase", [Starting, Running, Ended]);

impl Wire for RegistryRecord {
    type Message = registry_wire::v1::RegistryRecord;

    fn to_wire(&self) -> Self::Message {
        let record = match self {
            Self::Meta { cluster, epoch, next_framework } => {
                Stored::Meta(registry_wire::v1::Meta {
                    cluster_id: cluster.to_string(),
                    epoch: *epoch,
                    next_framework: *next_framework,
                })
            },
            Self::Agent(info) => Stored::Agent(info.to_wire()),
            Self::AgentSeq { agent, ledger_seq } => Stored::AgentSeq(registry_wire::v1::AgentSeq {
                agent_id: agent.to_string(),
                ledger_seq: *ledger_seq,
            }),
            Self::Reservation(row) => Stored::Reservation(row.to_wire()),
            Self::Volume(volume) => Stored::Volume(volume.to_wire()),
            Self::Framework(record) => Stored::Framework(record.to_wire()),
            Self::Operation(record) => Stored::Operation(record.to_wire()),
            Self::Disk(record) => Stored::Disk(record.to_wire()),
            Self::Profile(profile) => Stored::Profile(profile.to_wire()),
            Self::Snapshot(snapshot) => Stored::Snapshot(snapshot.to_wire()),
            Self::Schedule(schedule) => Stored::Schedule(schedule.to_wire()),
            Self::Weight(weight) => Stored::Weight(weight.to_wire()),
            Self::Quota(quota) => Stored::Quota(quota.to_wire()),
            Self::Transaction(record) => Stored::Transaction(record.to_wire()),
            Self::Audit(AuditRecord::Head(head)) => Stored::AuditHead(head.to_wire()),
            Self::Audit(AuditRecord::Mark(mark)) => Stored::AuditMark(mark.to_wire()),
            Self::Audit(AuditRecord::Entry(entry)) => Stored::AuditEntry(entry.to_wire()),
        };
        registry_wire::v1::RegistryRecord { record: Some(record) }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let registry_wire::v1::RegistryRecord { record } = message;
        match record.ok_or_else(|| at.field("record").missing())? {
            Stored::Meta(registry_wire::v1::Meta { cluster_id, epoch, next_framework }) => {
                let cluster = field::id(&cluster_id, &at.field("meta").field("cluster_id"))?;
                Ok(Self::Meta { cluster, epoch, next_framework })
            },
            Stored::Agent(info) => Wire::from_wire(info, &at.field("agent")).map(Self::Agent),
            Stored::AgentSeq(registry_wire::v1::AgentSeq { agent_id, ledger_seq }) => {
                let agent = field::id(&agent_id, &at.field("agent_seq").field("agent_id"))?;
                Ok(Self::AgentSeq { agent, ledger_seq })
            },
            Stored::Reservation(row) => {
                Wire::from_wire(row, &at.field("reservation")).map(Self::Reservation)
            },
            Stored::Volume(volume) => {
                Wire::from_wire(volume, &at.field("volume")).map(Self::Volume)
            },
            Stored::Framework(record) => {
                Wire::from_wire(record, &at.field("framework")).map(Self::Framework)
            },
            Stored::Operation(record) => {
                Wire::from_wire(record, &at.field("operation")).map(Self::Operation)
            },
            Stored::Disk(record) => Wire::from_wire(record, &at.field("disk")).map(Self::Disk),
            Stored::Profile(profile) => {
                Wire::from_wire(profile, &at.field("profile")).map(Self::Profile)
            },
            Stored::Snapshot(snapshot) => {
                Wire::from_wire(snapshot, &at.field("snapshot")).map(Self::Snapshot)
            },
            Stored::Schedule(schedule) => {
                Wire::from_wire(schedule, &at.field("schedule")).map(Self::Schedule)
            },
            Stored::Weight(weight) => {
                Wire::from_wire(weight, &at.field("weight")).map(Self::Weight)
            },
            Stored::Quota(quota) => Wire::from_wire(quota, &at.field("quota")).map(Self::Quota),
            Stored::Transaction(record) => {
                Wire::from_wire(record, &at.field("transaction")).map(Self::Transaction)
            },
            Stored::AuditHead(head) => {
                let head = Wire::from_wire(head, &at.field("audit_head"))?;
                Ok(Self::Audit(AuditRecord::Head(head)))
            },
            Stored::AuditMark(mark) => {
                let mark = Wire::from_wire(mark, &at.field("audit_mark"))?;
                Ok(Self::Audit(AuditRecord::Mark(mark)))
            },
            Stored::AuditEntry(entry) => {
                let entry = Wire::from_wire(entry, &at.field("audit_entry"))?;
                Ok(Self::Audit(AuditRecord::Entry(entry)))
            },
        }
    }
}

impl Wire for FrameworkRecord {
    type Message = registry_wire::v1::Framework;

    fn to_wire(&self) -> Self::Message {
        let Self { id, info, registered, removed } = self;
        registry_wire::v1::Framework {
            framework_id: id.to_string(),
            info: Some(info.to_wire()),
            registered_ms: registered.ms(),
            removed_ms: removed.map(Timestamp::ms),
        }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let registry_wire::v1::Framework { framework_id, info, registered_ms, removed_ms } =
            message;
        Ok(Self {
            id: field::id(&framework_id, &at.field("framework_id"))?,
            info: field::required(info, &at.field("info"))?,
            registered: Timestamp::from_ms(registered_ms),
            removed: field::point(removed_ms),
        })
    }
}

impl Wire for LedgerVolume {
    type Message = ledger_wire::v1::Volume;

    fn to_wire(&self) -> Self::Message {
        let Self {
            spec,
            state,
            operation,
            restore,
            error,
            driver,
            changed,
            resize,
            origin,
            setting,
            wipe,
        } = self;
        ledger_wire::v1::Volume {
            spec: Some(spec.to_wire()),
            state: state.number(),
            operation_id: operation.as_ref().map(ToString::to_string),
            restore: *restore,
            error: error.as_ref().map(Wire::to_wire),
            driver: driver.to_string(),
            changed_ms: changed.ms(),
            resize_bytes: resize.map(Bytes::get),
            origin: origin.as_deref().map(Wire::to_wire),
            setting: setting.as_ref().map(Wire::to_wire),
            wipe: wipe.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let ledger_wire::v1::Volume {
            spec,
            state,
            operation_id,
            restore,
            error,
            driver,
            changed_ms,
            resize_bytes,
            origin,
            setting,
            wipe,
        } = message;
        Ok(Self {
            spec: field::required(spec, &at.field("spec"))?,
            state: VolumeState::read(state, &at.field("state"))?,
            operation: field::optional_id(operation_id.as_deref(), &at.field("operation_id"))?,
            restore,
            error: field::optional(error, &at.field("error"))?,
            driver: Arc::from(driver),
            changed: Timestamp::from_ms(changed_ms),
            resize: field::optional_volume_size(resize_bytes, &at.field("resize_bytes"))?,
            origin: field::optional(origin, &at.field("origin"))?.map(Box::new),
            setting: field::optional(setting, &at.field("setting"))?,
            wipe: field::optional(wipe, &at.field("wipe"))?,
        })
    }
}

impl Wire for LedgerSnapshot {
    type Message = ledger_wire::v1::Snapshot;

    fn to_wire(&self) -> Self::Message {
        let Self { spec, state, operation, freeze, error, changed, group } = self;
        ledger_wire::v1::Snapshot {
            spec: Some(spec.to_wire()),
            state: state.number(),
            operation_id: operation.as_ref().map(ToString::to_string),
            freeze: freeze.as_ref().map(Wire::to_wire),
            error: error.as_ref().map(Wire::to_wire),
            changed_ms: changed.ms(),
            group: group.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let ledger_wire::v1::Snapshot {
            spec,
            state,
            operation_id,
            freeze,
            error,
            changed_ms,
            group,
        } = message;
        Ok(Self {
            spec: field::required(spec, &at.field("spec"))?,
            state: SnapshotState::read(state, &at.field("state"))?,
            operation: field::optional_id(operation_id.as_deref(), &at.field("operation_id"))?,
            freeze: field::optional(freeze, &at.field("freeze"))?,
            error: field::optional(error, &at.field("error"))?,
            changed: Timestamp::from_ms(changed_ms),
            group: field::optional(group, &at.field("group"))?,
        })
    }
}

impl Wire for LedgerTask {
    type Message = ledger_wire::v1::Task;

    fn to_wire(&self) -> Self::Message {
        let Self { framework, info, volumes, container, phase, killing, status, unacknowledged } =
            self;
        ledger_wire::v1::Task {
            framework_id: framework.to_string(),
            info: Some(info.to_wire()),
            volumes: field::messages(volumes),
            container_id: container.to_string(),
            phase: phase.number(),
            killing: *killing,
            status: Some(status.to_wire()),
            unacknowledged: field::messages(unacknowledged),
        }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let ledger_wire::v1::Task {
            framework_id,
            info,
            volumes,
            container_id,
            phase,
            killing,
            status,
            unacknowledged,
        } = message;
        Ok(Self {
            framework: field::id(&framework_id, &at.field("framework_id"))?,
            info: field::required(info, &at.field("info"))?,
            volumes: field::list(volumes, &at.field("volumes"))?,
            container: field::id(&container_id, &at.field("container_id"))?,
            phase: LedgerTaskPhase::read(phase, &at.field("phase"))?,
            killing,
            status: field::required(status, &at.field("status"))?,
            unacknowledged: field::list(unacknowledged, &at.field("unacknowledged"))?,
        })
    }
}

impl Wire for LedgerRecord {
    type Message = ledger_wire::v1::LedgerRecord;

    fn to_wire(&self) -> Self::Message {
        let record = match self {
            Self::Joined(cluster) => {
                Record::Joined(ledger_wire::v1::Joined { cluster_id: cluster.to_string() })
            },
            Self::Epoch { epoch, revision } => {
                Record::Epoch(ledger_wire::v1::Epoch { epoch: *epoch, revision: *revision })
            },
            Self::Disk(disk) => Record::Disk(disk.to_wire()),
            Self::Volume(volume) => Record::Volume(volume.to_wire()),
            Self::VolumeForgotten(volume) => {
                Record::VolumeForgotten(ledger_wire::v1::VolumeForgotten {
                    volume_id: volume.to_string(),
                })
            },
            Self::Task(task) => Record::Task(task.to_wire()),
            Self::TaskForgotten(key) => Record::TaskForgotten(key.to_wire()),
            Self::Snapshot(snapshot) => Record::Snapshot(snapshot.to_wire()),
            Self::Snapshots(snapshots) => {
                let snapshots = field::messages(snapshots);
                Record::Snapshots(ledger_wire::v1::Snapshots { snapshots })
            },
            Self::SnapshotForgotten(snapshot) => {
                Record::SnapshotForgotten(ledger_wire::v1::SnapshotForgotten {
                    snapshot_id: snapshot.to_string(),
                })
            },
            Self::Orphan(orphan) => Record::Orphan(orphan.to_wire()),
            Self::OrphanForgotten(operation) => {
                Record::OrphanForgotten(ledger_wire::v1::OrphanForgotten {
                    operation_id: operation.to_string(),
                })
            },
            Self::DiskOrder(order) => Record::DiskOrder(order.to_wire()),
            Self::DiskOrderForgotten(operation) => {
                Record::DiskOrderForgotten(ledger_wire::v1::DiskOrderForgotten {
                    operation_id: operation.to_string(),
                })
            },
            Self::DiskDeclared(disk) => Record::DiskDeclared(disk.to_wire()),
            Self::DiskUndeclared(source) => Record::DiskUndeclared(source.to_wire()),
        };
        ledger_wire::v1::LedgerRecord { record: Some(record) }
    }

    fn from_wire(message: Self::Message, at: &At<'_>) -> Result<Self, Rejection> {
        let ledger_wire::v1::LedgerRecord { record } = message;
        match record.ok_or_else(|| at.field("record").missing())? {
            Record::Joined(ledger_wire::v1::Joined { cluster_id }) => {
                field::id(&cluster_id, &at.field("joined").field("cluster_id")).map(Self::Joined)
            },
            Record::Epoch(ledger_wire::v1::Epoch { epoch, revision }) => {
                Ok(Self::Epoch { epoch, revision })
            },
            Record::Disk(disk) => Wire::from_wire(disk, &at.field("disk")).map(Self::Disk),
            Record::Volume(volume) => {
                Wire::from_wire(volume, &at.field("volume")).map(Self::Volume)
            },
            Record::VolumeForgotten(ledger_wire::v1::VolumeForgotten { volume_id }) => {
                let at = at.field("volume_forgotten");
                field::id(&volume_id, &at.field("volume_id")).map(Self::VolumeForgotten)
            },
            Record::Task(task) => {
                let task = LedgerTask::from_wire(task, &at.field("task"))?;
                Ok(Self::Task(Box::new(task)))
            },
            Record::TaskForgotten(key) => {
                Wire::from_wire(key, &at.field("task_forgotten")).map(Self::TaskForgotten)
            },
            Record::Snapshot(snapshot) => {
                let snapshot = LedgerSnapshot::from_wire(snapshot, &at.field("snapshot"))?;
                Ok(Self::Snapshot(Box::new(snapshot)))
            },
            Record::Snapshots(ledger_wire::v1::Snapshots { snapshots }) => {
                let at = at.field("snapshots");
                field::list(snapshots, &at.field("snapshots")).map(Self::Snapshots)
            },
            Record::SnapshotForgotten(ledger_wire::v1::SnapshotForgotten { snapshot_id }) => {
                let at = at.field("snapshot_forgotten");
                field::id(&snapshot_id, &at.field("snapshot_id")).map(Self::SnapshotForgotten)
            },
            Record::Orphan(orphan) => {
                let orphan = LedgerOrphan::from_wire(orphan, &at.field("orphan"))?;
                Ok(Self::Orphan(Box::new(orphan)))
            },
            Record::OrphanForgotten(ledger_wire::v1::OrphanForgotten { operation_id }) => {
                let at = at.field("orphan_forgotten");
                field::id(&operation_id, &at.field("operation_id")).map(Self::OrphanForgotten)
            },
            Record::DiskOrder(order) => {
                let order = LedgerDiskOrder::from_wire(order, &at.field("disk_order"))?;
                Ok(Self::DiskOrder(Box::new(order)))
            },
            Record::DiskOrderForgotten(ledger_wire::v1::DiskOrderForgotten { operation_id }) => {
                let at = at.field("disk_order_forgotten");
                field::id(&operation_id, &at.field("operation_id")).map(Self::DiskOrderForgotten)
            },
            Record::DiskDeclared(disk) => {
                let disk = Wire::from_wire(disk, &at.field("disk_declared"))?;
                Ok(Self::DiskDeclared(Box::new(disk)))
            },
            Record::DiskUndeclared(source) => {
                Wire::from_wire(source, &at.field("disk_undeclared")).map(Self::DiskUndeclared)
            },
        }
    }
}
