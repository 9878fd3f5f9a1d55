//! The link between an agent and the master.

use super::field::{self, Choice};
use super::resource::{sum, sum_to_wire};
use super::{At, Wire};
use crate::v1;
use crate::v1::{envelope as to, from_agent as from};
use berth_model::error::Rejection;
use berth_model::id::VolumeId;
use berth_model::link::{Envelope, FromAgent, OutputStream, Registration, TaskReport, ToAgent};
use berth_model::units::Bytes;
use std::time::Duration;

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
                let used = |(volume, used): &(VolumeId, Bytes)| from::usage::Used {
                    volume_id: volume.to_string(),
                    used_bytes: used.get(),
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
        }
    }
}

fn usage(volumes: Vec<from::usage::Used>, at: &At<'_>) -> Result<FromAgent, Rejection> {
    let used = volumes.into_iter().enumerate().map(|(index, used)| {
        let from::usage::Used { volume_id, used_bytes } = used;
        let at = at.index(index);
        Ok((field::id(&volume_id, &at.field("volume_id"))?, Bytes::new(used_bytes)))
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

fn message_to_wire(model: &ToAgent) -> to::Message {
    match model {
        ToAgent::Registered { heartbeat } => {
            to::Message::Registered(to::Registered { heartbeat_ms: field::millis(*heartbeat) })
        },
        ToAgent::Refused(error) => to::Message::Refused(error.to_wire()),
        ToAgent::EnsureVolume { spec, operation, restore } => {
            to::Message::EnsureVolume(to::EnsureVolume {
                spec: Some(spec.to_wire()),
                operation_id: operation.to_string(),
                restore: *restore,
            })
        },
        ToAgent::ResizeVolume { volume, generation, size, operation } => {
            to::Message::ResizeVolume(to::ResizeVolume {
                volume_id: volume.to_string(),
                generation: *generation,
                size_bytes: size.get(),
                operation_id: operation.to_string(),
            })
        },
        ToAgent::DestroyVolume { volume, generation, operation } => {
            to::Message::DestroyVolume(to::DestroyVolume {
                volume_id: volume.to_string(),
                generation: *generation,
                operation_id: operation.to_string(),
            })
        },
        ToAgent::PurgeVolume { volume, generation, operation } => {
            to::Message::PurgeVolume(to::PurgeVolume {
                volume_id: volume.to_string(),
                generation: *generation,
                operation_id: operation.to_string(),
            })
        },
        ToAgent::ForgetVolume { volume, generation } => {
            to::Message::ForgetVolume(to::ForgetVolume {
                volume_id: volume.to_string(),
                generation: *generation,
            })
        },
        ToAgent::Launch { framework, task, volumes } => to::Message::Launch(to::Launch {
            framework_id: framework.to_string(),
            task: Some(task.to_wire()),
            volumes: field::messages(volumes),
        }),
        ToAgent::Kill { framework, task, grace } => to::Message::Kill(to::Kill {
            framework_id: framework.to_string(),
            task_id: task.to_string(),
            grace_ms: grace.map(field::millis),
        }),
        ToAgent::Acknowledge { framework, task, status } => {
            to::Message::Acknowledge(to::Acknowledge {
                framework_id: framework.to_string(),
                task_id: task.to_string(),
                status_id: status.to_string(),
            })
        },
        ToAgent::ReadFile { read, framework, task, stream, offset, length } => {
            to::Message::ReadFile(to::ReadFile {
                read: *read,
                framework_id: framework.to_string(),
                task_id: task.to_string(),
                stream: stream.number(),
                offset: *offset,
                length: *length,
            })
        },
        ToAgent::Heartbeat => to::Message::Heartbeat(to::Heartbeat {}),
        ToAgent::EnsureSnapshot { spec, operation, freeze } => {
            to::Message::EnsureSnapshot(to::EnsureSnapshot {
                spec: Some(spec.to_wire()),
                operation_id: operation.to_string(),
                freeze: freeze.as_ref().map(Wire::to_wire),
            })
        },
        ToAgent::DeleteSnapshot { spec, operation } => {
            to::Message::DeleteSnapshot(to::DeleteSnapshot {
                spec: Some(spec.to_wire()),
                operation_id: operation.to_string(),
            })
        },
        ToAgent::ForgetSnapshot { snapshot } => {
            to::Message::ForgetSnapshot(to::ForgetSnapshot { snapshot_id: snapshot.to_string() })
        },
        ToAgent::DeriveVolume { spec, operation, origin } => {
            to::Message::DeriveVolume(to::DeriveVolume {
                spec: Some(spec.to_wire()),
                operation_id: operation.to_string(),
                origin: Some(origin.to_wire()),
            })
        },
    }
}

fn read_message(message: to::Message, at: &At<'_>) -> Result<ToAgent, Rejection> {
    match message {
        to::Message::Registered(to::Registered { heartbeat_ms }) => {
            let at = at.field("registered");
            let heartbeat = field::span(heartbeat_ms, &at.field("heartbeat_ms"))?;
            Ok(ToAgent::Registered { heartbeat })
        },
        to::Message::Refused(error) => {
            Wire::from_wire(error, &at.field("refused")).map(ToAgent::Refused)
        },
        to::Message::EnsureVolume(to::EnsureVolume { spec, operation_id, restore }) => {
            let at = at.field("ensure_volume");
            Ok(ToAgent::EnsureVolume {
                spec: field::required(spec, &at.field("spec"))?,
                operation: field::id(&operation_id, &at.field("operation_id"))?,
                restore,
            })
        },
        to::Message::ResizeVolume(message) => {
            let to::ResizeVolume { volume_id, generation, size_bytes, operation_id } = message;
            let at = at.field("resize_volume");
            Ok(ToAgent::ResizeVolume {
                volume: field::id(&volume_id, &at.field("volume_id"))?,
                generation: field::generation(generation, &at.field("generation"))?,
                size: field::volume_size(size_bytes, &at.field("size_bytes"))?,
                operation: field::id(&operation_id, &at.field("operation_id"))?,
            })
        },
        to::Message::DestroyVolume(to::DestroyVolume { volume_id, generation, operation_id }) => {
            let at = at.field("destroy_volume");
            Ok(ToAgent::DestroyVolume {
                volume: field::id(&volume_id, &at.field("volume_id"))?,
                generation: field::generation(generation, &at.field("generation"))?,
                operation: field::id(&operation_id, &at.field("operation_id"))?,
            })
        },
        to::Message::PurgeVolume(to::PurgeVolume { volume_id, generation, operation_id }) => {
            let at = at.field("purge_volume");
            Ok(ToAgent::PurgeVolume {
                volume: field::id(&volume_id, &at.field("volume_id"))?,
                generation: field::generation(generation, &at.field("generation"))?,
                operation: field::id(&operation_id, &at.field("operation_id"))?,
            })
        },
        to::Message::ForgetVolume(to::ForgetVolume { volume_id, generation }) => {
            let at = at.field("forget_volume");
            Ok(ToAgent::ForgetVolume {
                volume: field::id(&volume_id, &at.field("volume_id"))?,
                generation: field::generation(generation, &at.field("generation"))?,
            })
        },
        to::Message::Launch(message) => launch(message, &at.field("launch")),
        to::Message::Kill(to::Kill { framework_id, task_id, grace_ms }) => {
            let at = at.field("kill");
            Ok(ToAgent::Kill {
                framework: field::id(&framework_id, &at.field("framework_id"))?,
                task: field::id(&task_id, &at.field("task_id"))?,
                grace: grace_ms.map(Duration::from_millis),
            })
        },
        to::Message::Acknowledge(to::Acknowledge { framework_id, task_id, status_id }) => {
            let at = at.field("acknowledge");
            Ok(ToAgent::Acknowledge {
                framework: field::id(&framework_id, &at.field("framework_id"))?,
                task: field::id(&task_id, &at.field("task_id"))?,
                status: field::id(&status_id, &at.field("status_id"))?,
            })
        },
        to::Message::ReadFile(message) => read_file(message, &at.field("read_file")),
        to::Message::Heartbeat(to::Heartbeat {}) => Ok(ToAgent::Heartbeat),
        to::Message::EnsureSnapshot(to::EnsureSnapshot { spec, operation_id, freeze }) => {
            let at = at.field("ensure_snapshot");
            Ok(ToAgent::EnsureSnapshot {
                spec: field::required(spec, &at.field("spec"))?,
                operation: field::id(&operation_id, &at.field("operation_id"))?,
                freeze: field::optional(freeze, &at.field("freeze"))?,
            })
        },
        to::Message::DeleteSnapshot(to::DeleteSnapshot { spec, operation_id }) => {
            let at = at.field("delete_snapshot");
            Ok(ToAgent::DeleteSnapshot {
                spec: field::required(spec, &at.field("spec"))?,
                operation: field::id(&operation_id, &at.field("operation_id"))?,
            })
        },
        to::Message::ForgetSnapshot(to::ForgetSnapshot { snapshot_id }) => {
            let at = at.field("forget_snapshot");
            let snapshot = field::id(&snapshot_id, &at.field("snapshot_id"))?;
            Ok(ToAgent::ForgetSnapshot { snapshot })
        },
        to::Message::DeriveVolume(to::DeriveVolume { spec, operation_id, origin }) => {
            let at = at.field("derive_volume");
            Ok(ToAgent::DeriveVolume {
                spec: field::required(spec, &at.field("spec"))?,
                operation: field::id(&operation_id, &at.field("operation_id"))?,
                origin: Box::new(field::required(origin, &at.field("origin"))?),
            })
        },
    }
}

fn launch(message: to::Launch, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::Launch { framework_id, task, volumes } = message;
    Ok(ToAgent::Launch {
        framework: field::id(&framework_id, &at.field("framework_id"))?,
        task: Box::new(field::required(task, &at.field("task"))?),
        volumes: field::list(volumes, &at.field("volumes"))?,
    })
}

fn read_file(message: to::ReadFile, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::ReadFile { read, framework_id, task_id, stream, offset, length } = message;
    Ok(ToAgent::ReadFile {
        read,
        framework: field::id(&framework_id, &at.field("framework_id"))?,
        task: field::id(&task_id, &at.field("task_id"))?,
        stream: OutputStream::read(stream, &at.field("stream"))?,
        offset,
        length,
    })
}
