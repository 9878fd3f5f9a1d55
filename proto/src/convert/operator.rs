//! What operators ask.

use super::audit;
use super::declaration;
use super::disk::{self, disk_request_to_wire, profile_request_to_wire};
use super::field;
use super::orphan;
use super::quota;
use super::resource::{called_sum, sum_to_wire};
use super::role;
use super::schedule;
use super::snapshot;
use super::transfer;
use super::wipe;
use super::{At, Wire, access};
use crate::v1;
use crate::v1::submit_request as submit;
use crate::v1::{disk_choice, volume_choice};
use berth_model::audit::{Said, Who};
use berth_model::disk::ProfileRequest;
use berth_model::error::Rejection;
use berth_model::id::OperationId;
use berth_model::operator::{DiskChoice, Property, Request, VolumeChoice};
use std::time::Duration;

impl Wire for DiskChoice {
    type Message = v1::DiskChoice;

    fn to_wire(&self) -> v1::DiskChoice {
        let choice = match self {
            Self::Any => None,
            Self::Id(id) => Some(disk_choice::Choice::DiskId(id.to_string())),
            Self::Named(name) => Some(disk_choice::Choice::Name(name.to_string())),
            Self::Source(source) => Some(disk_choice::Choice::Source(source.to_wire())),
            Self::Profile(name) => Some(disk_choice::Choice::Profile(name.to_string())),
        };
        v1::DiskChoice { choice }
    }

    fn from_wire(message: v1::DiskChoice, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::DiskChoice { choice } = message;
        match choice {
            None => Ok(Self::Any),
            Some(disk_choice::Choice::DiskId(id)) => {
                field::id(&id, &at.field("disk_id")).map(Self::Id)
            },
            Some(disk_choice::Choice::Name(name)) => {
                Ok(Self::Named(field::filled(name, &at.field("name"))?.into()))
            },
            Some(disk_choice::Choice::Source(source)) => {
                Wire::from_wire(source, &at.field("source")).map(Self::Source)
            },
            Some(disk_choice::Choice::Profile(name)) => {
                field::id(&name, &at.field("profile")).map(Self::Profile)
            },
        }
    }
}

impl Wire for VolumeChoice {
    type Message = v1::VolumeChoice;

    fn to_wire(&self) -> v1::VolumeChoice {
        let choice = match self {
            Self::Id(id) => volume_choice::Choice::VolumeId(id.to_string()),
            Self::Named { role, name } => volume_choice::Choice::Named(volume_choice::Named {
                role: role.as_ref().map(ToString::to_string),
                name: name.to_string(),
            }),
        };
        v1::VolumeChoice { choice: Some(choice) }
    }

    fn from_wire(message: v1::VolumeChoice, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::VolumeChoice { choice } = message;
        match choice {
            None => Err(at.invalid("no volume is named", "set one of volume_id and named")),
            Some(volume_choice::Choice::VolumeId(id)) => {
                field::id(&id, &at.field("volume_id")).map(Self::Id)
            },
            Some(volume_choice::Choice::Named(volume_choice::Named { role, name })) => {
                let at = at.field("named");
                let role_at = at.field("role");
                Ok(Self::Named {
                    role: role.map(|role| field::owner(&role, &role_at)).transpose()?,
                    name: field::id(&name, &at.field("name"))?,
                })
            },
        }
    }
}

/// A call, the id of the operation it asks for, and who asks for it and why.
impl Wire for (OperationId, Request, Said) {
    type Message = v1::SubmitRequest;

    fn to_wire(&self) -> v1::SubmitRequest {
        let (id, request, Said { who, reason, in_earnest }) = self;
        let claimed_by = match who {
            Who::Claimed(name) => Some(name.to_string()),
            // Nobody else speaks through a call.
            Who::Unknown | Who::Framework { .. } | Who::Berth => None,
        };
        v1::SubmitRequest {
            operation_id: id.to_string(),
            request: Some(request_to_wire(request)),
            claimed_by,
            reason: reason.as_ref().map(ToString::to_string),
            in_earnest: *in_earnest,
        }
    }

    fn from_wire(message: v1::SubmitRequest, at: &At<'_>) -> Result<Self, Rejection> {
        let v1::SubmitRequest { operation_id, request, claimed_by, reason, in_earnest } = message;
        let id = field::id(&operation_id, &at.field("operation_id"))?;
        let request = request.ok_or_else(|| {
            at.field("request").invalid("the call says not what to do", "set one of its requests")
        })?;
        Ok((
            id,
            read_request(request, at)?,
            Said { in_earnest, ..audit::said(claimed_by, reason, at)? },
        ))
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each request")]
pub(crate) fn request_to_wire(request: &Request) -> submit::Request {
    match request {
        Request::Reserve { agent, resources } => submit::Request::Reserve(submit::Reserve {
            agent_id: agent.to_string(),
            resources: sum_to_wire(resources),
        }),
        Request::Unreserve { agent, resources } => submit::Request::Unreserve(submit::Unreserve {
            agent_id: agent.to_string(),
            resources: sum_to_wire(resources),
        }),
        Request::Release { reservation } => {
            submit::Request::Release(submit::Release { reservation_id: reservation.to_string() })
        },
        Request::CreateVolume {
            name,
            role,
            principal,
            size,
            agent,
            disk,
            container_path,
            access,
            shared,
            encrypted,
            import,
        } => {
            let volume = submit::CreateVolume {
                name: name.to_string(),
                role: role.to_string(),
                principal: principal.as_ref().map(ToString::to_string),
                size_bytes: size.get(),
                agent_id: agent.as_ref().map(ToString::to_string),
                disk: Some(disk.to_wire()),
                container_path: container_path.to_string(),
                access: access::some(access),
                shared: *shared,
                encrypted: *encrypted,
            };
            transfer::created(volume, import.as_ref())
        },
        Request::DestroyVolume { volume } => {
            submit::Request::DestroyVolume(submit::DestroyVolume { volume: Some(volume.to_wire()) })
        },
        Request::ResizeVolume { volume, size } => {
            submit::Request::ResizeVolume(submit::ResizeVolume {
                volume: Some(volume.to_wire()),
                size_bytes: size.get(),
            })
        },
        Request::RestoreVolume { volume } => {
            submit::Request::RestoreVolume(submit::RestoreVolume { volume_id: volume.to_string() })
        },
        Request::PurgeVolume { volume, wipe } => {
            let (volume_id, wipe) = (volume.to_string(), wipe::number(*wipe));
            submit::Request::PurgeVolume(submit::PurgeVolume { volume_id, wipe })
        },
        Request::Teardown { framework } => {
            submit::Request::Teardown(submit::Teardown { framework_id: framework.to_string() })
        },
        Request::KillTask { framework, task, grace } => {
            submit::Request::KillTask(submit::KillTask {
                framework_id: framework.to_string(),
                task_id: task.to_string(),
                grace_ms: grace.map(field::millis),
            })
        },
        Request::Disk(request) => disk_request_to_wire(request),
        Request::Profile(request) => profile_request_to_wire(request),
        Request::CreateSnapshot { volume, name, principal, freeze } => {
            let freeze = freeze.as_ref().map(Wire::to_wire);
            snapshot::create_to_wire(volume, name.as_ref(), principal.as_ref(), freeze)
        },
        Request::CreateGroup { volumes, name, principal, freeze } => {
            let (name, principal) = (name.as_ref(), principal.as_ref());
            snapshot::create_group_to_wire(volumes, name, principal, freeze)
        },
        Request::DeleteSnapshot { snapshot } => {
            let snapshot_id = snapshot.to_string();
            submit::Request::DeleteSnapshot(submit::DeleteSnapshot { snapshot_id })
        },
        Request::HoldSnapshot { snapshot, held } => {
            let (snapshot_id, held) = (snapshot.to_string(), *held);
            submit::Request::HoldSnapshot(submit::HoldSnapshot { snapshot_id, held })
        },
        Request::RollBackVolume { volume, snapshot } => {
            let (volume, snapshot_id) = (Some(volume.to_wire()), snapshot.to_string());
            submit::Request::RollBackVolume(submit::RollBackVolume { volume, snapshot_id })
        },
        Request::CloneVolume { snapshot, name, role, principal, container_path } => {
            submit::Request::CloneVolume(submit::CloneVolume {
                snapshot_id: snapshot.to_string(),
                name: name.to_string(),
                role: role.as_ref().map(ToString::to_string),
                principal: principal.as_ref().map(ToString::to_string),
                container_path: container_path.to_string(),
            })
        },
        Request::SetSchedule { volume, plan, principal } => {
            let (volume, plan) = (Some(volume.to_wire()), Some(plan.to_wire()));
            let principal = principal.as_ref().map(ToString::to_string);
            submit::Request::SetSchedule(submit::SetSchedule { volume, plan, principal })
        },
        Request::DeleteSchedule { volume } => {
            let volume = Some(volume.to_wire());
            submit::Request::DeleteSchedule(submit::DeleteSchedule { volume })
        },
        Request::Property { volume, property } => property_to_wire(volume, property),
        Request::AdoptOrphan { orphan } => orphan::adopt_to_wire(orphan),
        Request::PurgeOrphan { orphan } => orphan::purge_to_wire(orphan),
        Request::AddDisk { agent, disk } => declaration::add_to_wire(*agent, disk),
        Request::RemoveDisk { disk } => declaration::remove_to_wire(*disk),
        Request::ExportVolume { volume, snapshot } => transfer::export_to_wire(volume, *snapshot),
        Request::SetWeight { role, weight } => role::set_weight_to_wire(role, *weight),
        Request::Quota(request) => quota::request_to_wire(request),
    }
}

fn property_to_wire(volume: &VolumeChoice, property: &Property) -> submit::Request {
    let volume = Some(volume.to_wire());
    match property {
        Property::Protected(protected) => {
            submit::Request::ProtectVolume(submit::ProtectVolume { volume, protected: *protected })
        },
        Property::Access(access) => submit::Request::SetVolumeAccess(submit::SetVolumeAccess {
            volume,
            access: Some(access.to_wire()),
        }),
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each request")]
fn read_request(request: submit::Request, at: &At<'_>) -> Result<Request, Rejection> {
    match request {
        submit::Request::Reserve(submit::Reserve { agent_id, resources }) => {
            let at = at.field("reserve");
            Ok(Request::Reserve {
                agent: field::id(&agent_id, &at.field("agent_id"))?,
                resources: called_sum(resources, &at.field("resources"))?,
            })
        },
        submit::Request::Unreserve(submit::Unreserve { agent_id, resources }) => {
            let at = at.field("unreserve");
            Ok(Request::Unreserve {
                agent: field::id(&agent_id, &at.field("agent_id"))?,
                resources: called_sum(resources, &at.field("resources"))?,
            })
        },
        submit::Request::Release(submit::Release { reservation_id }) => {
            let reservation =
                field::id(&reservation_id, &at.field("release").field("reservation_id"))?;
            Ok(Request::Release { reservation })
        },
        submit::Request::CreateVolume(message) => {
            transfer::create_volume(message, None, &at.field("create_volume"))
        },
        submit::Request::ImportVolume(message) => {
            let at = at.field("import_volume");
            let (volume, import) = transfer::import(message, &at)?;
            transfer::create_volume(volume, Some(import), &at.field("volume"))
        },
        submit::Request::DestroyVolume(submit::DestroyVolume { volume }) => {
            let volume = field::required(volume, &at.field("destroy_volume").field("volume"))?;
            Ok(Request::DestroyVolume { volume })
        },
        submit::Request::ResizeVolume(submit::ResizeVolume { volume, size_bytes }) => {
            let at = at.field("resize_volume");
            Ok(Request::ResizeVolume {
                volume: field::required(volume, &at.field("volume"))?,
                size: field::volume_size(size_bytes, &at.field("size_bytes"))?,
            })
        },
        submit::Request::RestoreVolume(submit::RestoreVolume { volume_id }) => {
            let volume = field::id(&volume_id, &at.field("restore_volume").field("volume_id"))?;
            Ok(Request::RestoreVolume { volume })
        },
        submit::Request::PurgeVolume(message) => wipe::purge(&message, &at.field("purge_volume")),
        submit::Request::Teardown(submit::Teardown { framework_id }) => {
            let framework = field::id(&framework_id, &at.field("teardown").field("framework_id"))?;
            Ok(Request::Teardown { framework })
        },
        submit::Request::KillTask(message) => kill_task(message, &at.field("kill_task")),
        submit::Request::CordonDisk(message) => {
            disk::cordon(message, &at.field("cordon_disk")).map(Request::Disk)
        },
        submit::Request::UncordonDisk(message) => {
            disk::uncordon(message, &at.field("uncordon_disk")).map(Request::Disk)
        },
        submit::Request::LabelDisk(message) => {
            disk::label(message, &at.field("label_disk")).map(Request::Disk)
        },
        submit::Request::CreateProfile(submit::CreateProfile { profile }) => {
            let profile = field::required(profile, &at.field("create_profile").field("profile"))?;
            Ok(Request::Profile(ProfileRequest::Create(profile)))
        },
        submit::Request::DeleteProfile(submit::DeleteProfile { name }) => {
            let name = field::id(&name, &at.field("delete_profile").field("name"))?;
            Ok(Request::Profile(ProfileRequest::Delete(name)))
        },
        submit::Request::CreateSnapshot(message) => {
            snapshot::create(message, &at.field("create_snapshot"))
        },
        submit::Request::CreateGroup(message) => {
            snapshot::create_group(message, &at.field("create_group"))
        },
        submit::Request::DeleteSnapshot(submit::DeleteSnapshot { snapshot_id }) => {
            let at = at.field("delete_snapshot");
            Ok(Request::DeleteSnapshot {
                snapshot: field::id(&snapshot_id, &at.field("snapshot_id"))?,
            })
        },
        submit::Request::HoldSnapshot(submit::HoldSnapshot { snapshot_id, held }) => {
            let at = at.field("hold_snapshot");
            Ok(Request::HoldSnapshot {
                snapshot: field::id(&snapshot_id, &at.field("snapshot_id"))?,
                held,
            })
        },
        submit::Request::RollBackVolume(submit::RollBackVolume { volume, snapshot_id }) => {
            let at = at.field("roll_back_volume");
            Ok(Request::RollBackVolume {
                volume: field::required(volume, &at.field("volume"))?,
                snapshot: field::id(&snapshot_id, &at.field("snapshot_id"))?,
            })
        },
        submit::Request::CloneVolume(message) => {
            snapshot::clone_volume(message, &at.field("clone_volume"))
        },
        submit::Request::SetSchedule(message) => schedule::set(message, &at.field("set_schedule")),
        submit::Request::DeleteSchedule(message) => {
            schedule::delete(message, &at.field("delete_schedule"))
        },
        submit::Request::ProtectVolume(submit::ProtectVolume { volume, protected }) => {
            let volume = field::required(volume, &at.field("protect_volume").field("volume"))?;
            Ok(Request::Property { volume, property: Property::Protected(protected) })
        },
        submit::Request::SetVolumeAccess(submit::SetVolumeAccess { volume, access }) => {
            let at = at.field("set_volume_access");
            Ok(Request::Property {
                volume: field::required(volume, &at.field("volume"))?,
                property: Property::Access(field::required(access, &at.field("access"))?),
            })
        },
        submit::Request::AdoptOrphan(message) => orphan::adopt(message, &at.field("adopt_orphan")),
        submit::Request::PurgeOrphan(message) => orphan::purge(message, &at.field("purge_orphan")),
        submit::Request::AddDisk(message) => declaration::add(message, &at.field("add_disk")),
        submit::Request::RemoveDisk(message) => declaration::remove(message, at),
        submit::Request::ExportVolume(message) => {
            transfer::export(message, &at.field("export_volume"))
        },
        submit::Request::SetWeight(message) => role::set_weight(&message, &at.field("set_weight")),
        submit::Request::SetQuota(message) => quota::set(message, &at.field("set_quota")),
        submit::Request::UnsetQuota(message) => quota::unset(&message, &at.field("unset_quota")),
    }
}

fn kill_task(message: submit::KillTask, at: &At<'_>) -> Result<Request, Rejection> {
    let submit::KillTask { framework_id, task_id, grace_ms } = message;
    Ok(Request::KillTask {
        framework: field::id(&framework_id, &at.field("framework_id"))?,
        task: field::id(&task_id, &at.field("task_id"))?,
        grace: grace_ms.map(Duration::from_millis),
    })
}
