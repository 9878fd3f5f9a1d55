//! What a refused request was about, in words; an accepted one has its operation's own.

use crate::state::State;
use berth_model::audit::AuditMark;
use berth_model::disk::{DiskRequest, ProfileRequest};
use berth_model::operator::{Property, Request, VolumeChoice};
use berth_model::orphan::OrphanChoice;
use berth_model::quota::{QuotaRequest, show_amounts};
use berth_model::volume::VolumeSpec;

/// The volume that a request is about, which refused ones are found under too.
pub(crate) fn volume(request: &Request) -> Option<VolumeChoice> {
    match request {
        Request::DestroyVolume { volume }
        | Request::CreateSnapshot { volume, .. }
        | Request::SetSchedule { volume, .. }
        | Request::DeleteSchedule { volume }
        | Request::ResizeVolume { volume, .. }
        | Request::RollBackVolume { volume, .. }
        | Request::Property { volume, .. }
        | Request::AdoptOrphan { orphan: OrphanChoice::Record(volume) }
        | Request::PurgeOrphan { orphan: OrphanChoice::Record(volume) } => Some(volume.clone()),
        Request::RestoreVolume { volume } | Request::PurgeVolume { volume, .. } => {
            Some(VolumeChoice::Id(*volume))
        },
        _other => None,
    }
}

/// `meant` is the volume that the request is about, where there is one.
pub(crate) fn object(request: &Request, meant: Option<&VolumeSpec>) -> String {
    let chosen = |choice: &VolumeChoice| match meant {
        Some(spec) => format!("volume {} of role {}", spec.name, spec.role),
        None => chosen(choice),
    };
    match request {
        Request::Reserve { agent, resources } | Request::Unreserve { agent, resources } => {
            format!("{resources} on agent {agent}")
        },
        Request::Release { reservation } => format!("reservation {reservation}"),
        Request::CreateVolume { name, role, size, .. } => {
            format!("volume {name} of role {role}, {size}")
        },
        Request::DestroyVolume { volume }
        | Request::CreateSnapshot { volume, .. }
        | Request::SetSchedule { volume, .. }
        | Request::DeleteSchedule { volume } => chosen(volume),
        Request::ResizeVolume { volume, size } => format!("{} to {size}", chosen(volume)),
        Request::RestoreVolume { volume } | Request::PurgeVolume { volume, wipe: _ } => {
            chosen(&VolumeChoice::Id(*volume))
        },
        Request::Teardown { framework } => format!("framework {framework}"),
        Request::KillTask { framework, task, .. } => format!("task {framework}/{task}"),
        Request::Disk(
            DiskRequest::Cordon { disk, .. }
            | DiskRequest::Uncordon { disk, .. }
            | DiskRequest::Label { disk, .. },
        ) => format!("disk {disk}"),
        Request::Profile(ProfileRequest::Create(profile)) => format!("profile {}", profile.name),
        Request::Profile(ProfileRequest::Delete(name)) => format!("profile {name}"),
        Request::CreateGroup { volumes, .. } => {
            let all: Vec<String> = volumes.iter().map(chosen).collect();
            all.join(", ")
        },
        Request::DeleteSnapshot { snapshot } | Request::HoldSnapshot { snapshot, .. } => {
            format!("snapshot {snapshot}")
        },
        Request::RollBackVolume { volume, snapshot } => {
            format!("{} to snapshot {snapshot}", chosen(volume))
        },
        Request::CloneVolume { snapshot, name, .. } => {
            format!("volume {name} from snapshot {snapshot}")
        },
        Request::AdoptOrphan { orphan } | Request::PurgeOrphan { orphan } => match orphan {
            OrphanChoice::Data { agent, path } => format!("{path} on agent {agent}"),
            OrphanChoice::Record(volume) => chosen(volume),
        },
        Request::AddDisk { agent, disk } => {
            format!("disk {} ({}) of agent {agent}", disk.name, disk.source)
        },
        Request::RemoveDisk { disk } => format!("disk {disk}"),
        Request::ExportVolume { volume, snapshot: None } => chosen(volume),
        Request::ExportVolume { volume, snapshot: Some(snapshot) } => {
            format!("snapshot {snapshot} of {}", chosen(volume))
        },
        Request::SetWeight { role, weight } => format!("role {role}, weight {weight}"),
        Request::Quota(request) => quota(request),
        Request::Property { volume, property: Property::Protected(_) } => chosen(volume),
        Request::Property { volume, property: Property::Access(access) } => {
            format!("{}: {access}", chosen(volume))
        },
    }
}

/// What a quota is about.
pub(crate) fn quota(request: &QuotaRequest) -> String {
    match request {
        QuotaRequest::Set { role, guarantees, limits, force } => {
            let forced = if *force { ", by force" } else { "" };
            let (guarantees, limits) = (show_amounts(guarantees), show_amounts(limits));
            format!("quota of role {role}: guarantees {guarantees}; limits {limits}{forced}")
        },
        QuotaRequest::Unset { role } => format!("quota of role {role}"),
    }
}

fn chosen(volume: &VolumeChoice) -> String {
    match volume {
        VolumeChoice::Id(id) => format!("volume {id}"),
        VolumeChoice::Named { role: Some(role), name } => format!("volume {name} of role {role}"),
        VolumeChoice::Named { role: None, name } => format!("volume {name}"),
    }
}

/// Why a disk is cordoned is also why the operation was asked for.
pub(crate) fn own_reason(request: &Request) -> Option<&str> {
    if let Request::Disk(DiskRequest::Cordon { reason, .. } | DiskRequest::Uncordon { reason, .. }) =
        request
        && !reason.is_empty()
    {
        return Some(reason);
    }
    None
}

/// Which entries were removed by the bounds of the log.
pub(crate) fn trimmed(state: &State, from: u64, mark: &AuditMark) -> String {
    let entries = state.config.audit_entries;
    let age = state
        .config
        .audit_age
        .map(|age| format!(" or {}", berth_model::units::format_duration(age)));
    let age = age.unwrap_or_default();
    format!(
        "entries {from} to {} removed (kept are {entries} entries{age}); the last of them has hash {}",
        mark.seq, mark.hash
    )
}
