//! What the master tells an agent to do: the bodies of its envelopes.

use super::declaration;
use super::field::{self, Choice};
use super::orphan;
use super::snapshot;
use super::transfer;
use super::{At, Wire, wipe};
use crate::v1::envelope as to;
use berth_model::error::Rejection;
use berth_model::link::{OutputStream, ToAgent};
use std::time::Duration;

#[expect(clippy::too_many_lines, reason = "one arm for each message")]
pub(super) fn message_to_wire(model: &ToAgent) -> to::Message {
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
        ToAgent::PurgeVolume { volume, generation, operation, wipe } => {
            to::Message::PurgeVolume(to::PurgeVolume {
                wipe: wipe::number(*wipe),
                volume_id: volume.to_string(),
                generation: *generation,
                operation_id: operation.to_string(),
            })
        },
        ToAgent::ForgetVolume { volume, generation } => {
            let (volume_id, generation) = (volume.to_string(), *generation);
            to::Message::ForgetVolume(to::ForgetVolume { volume_id, generation })
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
            let (spec, operation_id) = (Some(spec.to_wire()), operation.to_string());
            let freeze = freeze.as_ref().map(Wire::to_wire);
            to::Message::EnsureSnapshot(to::EnsureSnapshot { spec, operation_id, freeze })
        },
        ToAgent::EnsureGroup { group, members, operation, freeze } => {
            to::Message::EnsureGroup(to::EnsureGroup {
                group_id: group.to_string(),
                members: field::messages(members),
                operation_id: operation.to_string(),
                freeze: freeze.as_ref().map(Wire::to_wire),
            })
        },
        ToAgent::DeleteSnapshot { spec, operation } => {
            let (spec, operation_id) = (Some(spec.to_wire()), operation.to_string());
            to::Message::DeleteSnapshot(to::DeleteSnapshot { spec, operation_id })
        },
        ToAgent::ForgetSnapshot { snapshot } => {
            to::Message::ForgetSnapshot(to::ForgetSnapshot { snapshot_id: snapshot.to_string() })
        },
        ToAgent::DeriveVolume { spec, operation, origin } => {
            let (spec, origin) = (Some(spec.to_wire()), Some(origin.to_wire()));
            let operation_id = operation.to_string();
            to::Message::DeriveVolume(to::DeriveVolume { spec, operation_id, origin })
        },
        ToAgent::SetAccess { volume, generation, access, operation } => {
            to::Message::SetAccess(to::SetAccess {
                volume_id: volume.to_string(),
                generation: *generation,
                access: Some(access.to_wire()),
                operation_id: operation.to_string(),
            })
        },
        ToAgent::VerifyVolume { volume, generation, operation } => {
            orphan::verify_to_wire(*volume, *generation, *operation)
        },
        ToAgent::Transfer { transfer, order } => transfer::order_to_wire(*transfer, order),
        ToAgent::PurgeOrphan { operation, order } => orphan::order_to_wire(*operation, order),
        ToAgent::ForgetOrphan { operation } => orphan::forget_to_wire(*operation),
        ToAgent::OrderDisk { operation, order } => declaration::order_to_wire(*operation, order),
        ToAgent::ForgetDiskOrder { operation } => {
            to::Message::ForgetDiskOrder(to::ForgetDiskOrder {
                operation_id: operation.to_string(),
            })
        },
        ToAgent::TryDisk { read, order } => {
            to::Message::TryDisk(to::TryDisk { read: *read, order: Some(order.to_wire()) })
        },
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each message")]
pub(super) fn read_message(message: to::Message, at: &At<'_>) -> Result<ToAgent, Rejection> {
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
        to::Message::PurgeVolume(to::PurgeVolume { volume_id, generation, operation_id, wipe }) => {
            let at = at.field("purge_volume");
            Ok(ToAgent::PurgeVolume {
                wipe: wipe::read(wipe, &at.field("wipe"))?,
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
        to::Message::EnsureSnapshot(message) => {
            ensure_snapshot(message, &at.field("ensure_snapshot"))
        },
        to::Message::EnsureGroup(message) => {
            snapshot::ensure_group(message, &at.field("ensure_group"))
        },
        to::Message::DeleteSnapshot(message) => {
            delete_snapshot(message, &at.field("delete_snapshot"))
        },
        to::Message::ForgetSnapshot(to::ForgetSnapshot { snapshot_id }) => {
            let at = at.field("forget_snapshot");
            let snapshot = field::id(&snapshot_id, &at.field("snapshot_id"))?;
            Ok(ToAgent::ForgetSnapshot { snapshot })
        },
        to::Message::DeriveVolume(message) => derive_volume(message, &at.field("derive_volume")),
        to::Message::SetAccess(message) => set_access(message, &at.field("set_access")),
        to::Message::VerifyVolume(message) => orphan::verify(message, &at.field("verify_volume")),
        to::Message::Transfer(message) => transfer::order(message, &at.field("transfer")),
        to::Message::PurgeOrphan(message) => orphan::order(message, &at.field("purge_orphan")),
        to::Message::ForgetOrphan(message) => orphan::forget(message, &at.field("forget_orphan")),
        to::Message::OrderDisk(message) => declaration::order(message, &at.field("order_disk")),
        to::Message::ForgetDiskOrder(message) => {
            declaration::forget(message, &at.field("forget_disk_order"))
        },
        to::Message::TryDisk(message) => declaration::attempt(message, &at.field("try_disk")),
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

fn ensure_snapshot(message: to::EnsureSnapshot, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::EnsureSnapshot { spec, operation_id, freeze } = message;
    Ok(ToAgent::EnsureSnapshot {
        spec: field::required(spec, &at.field("spec"))?,
        operation: field::id(&operation_id, &at.field("operation_id"))?,
        freeze: field::optional(freeze, &at.field("freeze"))?,
    })
}

fn delete_snapshot(message: to::DeleteSnapshot, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::DeleteSnapshot { spec, operation_id } = message;
    Ok(ToAgent::DeleteSnapshot {
        spec: field::required(spec, &at.field("spec"))?,
        operation: field::id(&operation_id, &at.field("operation_id"))?,
    })
}

fn derive_volume(message: to::DeriveVolume, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::DeriveVolume { spec, operation_id, origin } = message;
    Ok(ToAgent::DeriveVolume {
        spec: field::required(spec, &at.field("spec"))?,
        operation: field::id(&operation_id, &at.field("operation_id"))?,
        origin: Box::new(field::required(origin, &at.field("origin"))?),
    })
}

fn set_access(message: to::SetAccess, at: &At<'_>) -> Result<ToAgent, Rejection> {
    let to::SetAccess { volume_id, generation, access, operation_id } = message;
    Ok(ToAgent::SetAccess {
        volume: field::id(&volume_id, &at.field("volume_id"))?,
        generation: field::generation(generation, &at.field("generation"))?,
        access: field::required(access, &at.field("access"))?,
        operation: field::id(&operation_id, &at.field("operation_id"))?,
    })
}
