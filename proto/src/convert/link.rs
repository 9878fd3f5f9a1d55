//! The link between an agent and the master.

use super::declaration;
use super::field;
use super::orders::{message_to_wire, read_message};
use super::orphan;
use super::resource::{sum, sum_to_wire};
use super::transfer;
use super::{At, Wire};
use crate::v1;
use crate::v1::from_agent as from;
use berth_model::error::Rejection;
use berth_model::id::VolumeId;
use berth_model::link::{Envelope, FromAgent, Registration, TaskReport};
use berth_model::units::Bytes;
use berth_model::usage::Measured;

impl Wire for TaskReport {
    type Message = v1::TaskReport;

    fn to_wire(&self) -> v1::TaskReport {
        let Self { status, resources, volumes, name, container } = self;
        v1::TaskReport {
            status: Some(status.to_wire()),
            resources: sum_to_wire(resources),
            volume_ids: field::id_texts(volumes),
            name: name.clone(),
            container_id: container.to_string(),
        }
    }

    fn from_wire(message: v1::TaskReport, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::TaskReport { status, resources, volume_ids, name, container_id } = message;
        Ok(Self {
            status: field::required(status, &at.field("status"))?,
            resources: sum(resources, &at.field("resources"))?,
            volumes: field::ids(&volume_ids, &at.field("volume_ids"))?,
            name,
            container: field::id(&container_id, &at.field("container_id"))?,
        })
    }
}

impl Wire for Registration {
    type Message = from::Register;

    fn to_wire(&self) -> from::Register {
        let Self { info, session, cluster, epoch, revision, ledger_seq, volumes, tasks, snapshots } =
            self;
        from::Register {
            info: Some(info.to_wire()),
            session_id: session.to_string(),
            cluster_id: cluster.as_ref().map(ToString::to_string),
            epoch: *epoch,
            revision: *revision,
            ledger_seq: *ledger_seq,
            volumes: field::messages(volumes),
            tasks: field::messages(tasks),
            snapshots: field::messages(snapshots),
        }
    }

    fn from_wire(message: from::Register, at: &At<'_>) -> Result<Self, Rejection> {
        let from::Register {
            info,
            session_id,
            cluster_id,
            epoch,
            revision,
            ledger_seq,
            volumes,
            tasks,
            snapshots,
        } = message;
        Ok(Self {
            info: field::required(info, &at.field("info"))?,
            session: field::id(&session_id, &at.field("session_id"))?,
            cluster: field::optional_id(cluster_id.as_deref(), &at.field("cluster_id"))?,
            epoch,
            revision,
            ledger_seq,
            volumes: field::list(volumes, &at.field("volumes"))?,
            tasks: field::list(tasks, &at.field("tasks"))?,
            snapshots: field::list(snapshots, &at.field("snapshots"))?,
        })
    }
}

impl Wire for FromAgent {
    type Message = v1::FromAgent;

    fn to_wire(&self) -> v1::FromAgent {
        let body = match self {
            Self::Register(registration) => from::Body::Register(registration.to_wire()),
            Self::Volume { ledger_seq, report } => from::Body::Volume(from::Volume {
                ledger_seq: *ledger_seq,
                report: Some(report.to_wire()),
            }),
            Self::Status(status) => from::Body::Status(status.to_wire()),
            Self::Disks(disks) => from::Body::Disks(from::Disks { disks: field::messages(disks) }),
            Self::Usage(usage) => {
                let used = |(volume, used): &(VolumeId, Measured)| {
                    let Measured { bytes, inodes, inodes_limit } = *used;
                    let (volume_id, used_bytes) = (volume.to_string(), bytes.get());
                    from::usage::Used { volume_id, used_bytes, inodes, inodes_limit }
                };
                from::Body::Usage(from::Usage { volumes: usage.iter().map(used).collect() })
            },
            Self::FileData { read, offset, data } => from::Body::FileData(from::FileData {
                read: *read,
                offset: *offset,
                result: Some(match data {
                    Ok(data) => from::file_data::Result::Data(data.clone()),
                    Err(error) => from::file_data::Result::Error(error.to_wire()),
                }),
            }),
            Self::Heartbeat { ledger_seq } => {
                from::Body::Heartbeat(from::Heartbeat { ledger_seq: *ledger_seq })
            },
            Self::Snapshot { ledger_seq, report } => from::Body::Snapshot(from::Snapshot {
                ledger_seq: *ledger_seq,
                report: Some(report.to_wire()),
            }),
            Self::Progress(volumes) => transfer::progress_to_wire(volumes),
            Self::OrphanPurged { ledger_seq, operation, result } => {
                from::Body::OrphanPurged(from::OrphanPurged {
                    ledger_seq: *ledger_seq,
                    operation_id: operation.to_string(),
                    error: result.as_ref().err().map(Wire::to_wire),
                })
            },
            Self::Declared(info) => {
                from::Body::Declared(from::Declared { info: Some(info.to_wire()) })
            },
            Self::DiskOrdered { ledger_seq, operation, result } => {
                from::Body::DiskOrdered(from::DiskOrdered {
                    ledger_seq: *ledger_seq,
                    operation_id: operation.to_string(),
                    error: result.as_ref().err().map(Wire::to_wire),
                })
            },
        };
        v1::FromAgent { body: Some(body) }
    }

    fn from_wire(message: v1::FromAgent, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::FromAgent { body } = message;
        match body.ok_or_else(|| at.field("body").missing())? {
            from::Body::Register(message) => {
                let registration = Registration::from_wire(message, &at.field("register"))?;
                Ok(Self::Register(Box::new(registration)))
            },
            from::Body::Volume(from::Volume { ledger_seq, report }) => {
                let report = field::required(report, &at.field("volume").field("report"))?;
                Ok(Self::Volume { ledger_seq, report })
            },
            from::Body::Status(status) => {
                Wire::from_wire(status, &at.field("status")).map(Self::Status)
            },
            from::Body::Disks(from::Disks { disks }) => {
                field::list(disks, &at.field("disks").field("disks")).map(Self::Disks)
            },
            from::Body::Usage(from::Usage { volumes }) => {
                usage(volumes, &at.field("usage").field("volumes"))
            },
            from::Body::FileData(message) => file_data(message, &at.field("file_data")),
            from::Body::Heartbeat(from::Heartbeat { ledger_seq }) => {
                Ok(Self::Heartbeat { ledger_seq })
            },
            from::Body::Snapshot(from::Snapshot { ledger_seq, report }) => {
                let report = field::required(report, &at.field("snapshot").field("report"))?;
                Ok(Self::Snapshot { ledger_seq, report })
            },
            from::Body::Progress(message) => transfer::progress(message, &at.field("progress")),
            from::Body::OrphanPurged(message) => {
                orphan::purged(message, &at.field("orphan_purged"))
            },
            from::Body::Declared(from::Declared { info }) => {
                let info = field::required(info, &at.field("declared").field("info"))?;
                Ok(Self::Declared(Box::new(info)))
            },
            from::Body::DiskOrdered(message) => {
                declaration::ordered(message, &at.field("disk_ordered"))
            },
        }
    }
}

fn usage(volumes: Vec<from::usage::Used>, at: &At<'_>) -> Result<FromAgent, Rejection> {
    let used = volumes.into_iter().enumerate().map(|(index, used)| {
        let from::usage::Used { volume_id, used_bytes, inodes, inodes_limit } = used;
        let at = at.index(index);
        let measured = Measured { bytes: Bytes::new(used_bytes), inodes, inodes_limit };
        Ok((field::id(&volume_id, &at.field("volume_id"))?, measured))
    });
    used.collect::<Result<Vec<_>, Rejection>>().map(FromAgent::Usage)
}

fn file_data(message: from::FileData, at: &At<'_>) -> Result<FromAgent, Rejection> {
    let from::FileData { read, offset, result } = message;
    let data = match result.ok_or_else(|| at.field("result").missing())? {
        from::file_data::Result::Data(data) => Ok(data),
        from::file_data::Result::Error(error) => Err(Wire::from_wire(error, &at.field("error"))?),
    };
    Ok(FromAgent::FileData { read, offset, data })
}

impl Wire for Envelope {
    type Message = v1::Envelope;

    fn to_wire(&self) -> v1::Envelope {
        let Self { cluster, epoch, revision, message } = self;
        v1::Envelope {
            cluster_id: cluster.to_string(),
            epoch: *epoch,
            revision: *revision,
            message: Some(message_to_wire(message)),
        }
    }

    fn from_wire(message: v1::Envelope, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::Envelope { cluster_id, epoch, revision, message } = message;
        Ok(Self {
            cluster: field::id(&cluster_id, &at.field("cluster_id"))?,
            epoch,
            revision,
            message: read_message(message.ok_or_else(|| at.field("message").missing())?, at)?,
        })
    }
}
